"""Which metric has the best neighbours? Nested cross-validation of many, on many data sets.

For each data set and method the error of nearest neighbours in outer folds. Everything is chosen
inside the training part of a fold, scaling and imputation included: parameters of the metric and
the number of neighbours, by an inner cross-validation that is the same for all methods, on the
same folds (of groups, where there are some). Printed per kind of target: error of each method,
geometric mean of error / error of scaled Euclid, mean rank, Friedman's test and the critical
difference of Nemenyi's, and seconds to fit; then the ranks over all sets.

    METRICALIGN_DATA=folder python benchmarks/quality/compare.py [--sets glass sonar]
        [--methods Euclid NCA "PSDSVR(prior=None)"] [--max-samples 600] [--repeats 1] [--n-jobs 2]

Finished cells are kept in benchmarks/results/compare.json and not computed again; --fresh does.
"""

import argparse
import ast
import json
import os
import sys
import warnings
from pathlib import Path
from time import process_time

import numpy as np
from joblib import Parallel, delayed
from scipy import stats
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.neighbors import NearestNeighbors, NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from metricalign import (
    NCML,
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DiscriminantAlignment,
    DoubletSVM,
    GradientAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    NeighborhoodAlignment,
    RelationAlignment,
)
from metricalign.datasets import fetch_dataset, list_datasets

RESULTS = Path(__file__).parents[1] / "results" / "compare.json"
N_FOLDS, N_INNER_FOLDS = 3, 3
FLOOR = 1e-3
NEIGHBORS = (1, 3, 5, 10, 20)
# Of more features the leading components are taken, for every method.
MOST_FEATURES, N_COMPONENTS = 150, 100
# The copies of the authors of RAML of sets that are there already.
LEFT_OUT = tuple(
    f"raml_{name}"
    for name in ("iris", "wine", "sonar", "glass", "wdbc", "wpbc", "australian_credit")
)
KINDS = {
    "single_label": "misclassified share",
    "continuous": "root mean squared error / standard deviation",
    "multi_label": "1 - average precision",
    "label_distribution": "Chebyshev distance",
    "multi_target": "root mean squared error / standard deviation",
}


def candidates(method, kind):
    """Transformers to choose from, in one method, which may be written with parameters."""
    name, parameters = name_and_parameters(method)
    return [one.set_params(**parameters) for one in _candidates(name, kind)]


def name_and_parameters(method):
    """Both of ``"DiscriminantAlignment(whitening=0.1)"``, for example."""
    name, has_parameters, _ = method.partition("(")
    if name not in METHODS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(METHODS)}")
    keywords = ast.parse(method, mode="eval").body.keywords if has_parameters else []
    return name, {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}


def method_of(text):
    """A method as it was written, if there is one of this name."""
    name_and_parameters(text)
    return text


def _candidates(method, kind):
    if method == "Euclid":
        return [FunctionTransformer()]
    if method == "PCA":
        return [PCA(share, svd_solver="full") for share in (0.8, 0.95)]
    if method == "LDA" and kind == "single_label":
        return [LinearDiscriminantAnalysis()]
    if method == "NCA" and kind == "single_label":
        return [NeighborhoodComponentsAnalysis(random_state=0)]
    if method == "LMNN" and kind == "single_label":
        # 1,000 iterations, the default, take ten times as long; also below.
        return [metric_learn().LMNN(n_neighbors=k, max_iter=100) for k in (1, 3)]
    if method == "LFDA" and kind == "single_label":
        return [metric_learn().LFDA()]
    if method == "ITML" and kind == "single_label":
        return [metric_learn().ITML_Supervised(max_iter=100, random_state=0)]
    if method == "MLKR" and kind == "continuous":
        return [metric_learn().MLKR()]
    if method == "PLS" and kind != "single_label":
        return [PLSRegression(n) for n in (2, 5, 10)]
    if method in REGRESSIONS or (method in HINGES and kind == "single_label"):
        learner = (REGRESSIONS | HINGES)[method]
        return [learner(relation=_relation(kind), random_state=0)]
    if method == "IteratedMetricLearner":
        return [IteratedMetricLearner(relation=_relation(kind))]
    if method == "DiscriminantAlignment":
        return [DiscriminantAlignment(relation=_relation(kind), random_state=0)]
    if method == "GradientAlignment":
        return [GradientAlignment(relation=_relation(kind), random_state=0)]
    if method == "NeighborhoodAlignment":
        return [NeighborhoodAlignment(relation=_relation(kind), random_state=0)]
    if method == "MetricEnsemble":
        return [MetricEnsemble(relation=_relation(kind), random_state=0)]
    return []


REGRESSIONS = {
    learner.__name__: learner
    for learner in (RAMLSVR, PSDSVR, RAMLKRR, RAMLPCSVR, RAMLNCSVR, RelationAlignment)
}
# Of relations that are +1 or -1.
HINGES = {learner.__name__: learner for learner in (DoubletSVM, PCML, NCML)}

METHODS = (
    "Euclid",
    "PCA",
    "LDA",
    "NCA",
    "LMNN",
    "LFDA",
    "ITML",
    "MLKR",
    "PLS",
    *REGRESSIONS,
    *HINGES,
    "IteratedMetricLearner",
    "DiscriminantAlignment",
    "GradientAlignment",
    "NeighborhoodAlignment",
    "MetricEnsemble",
)


def metric_learn():
    """metric-learn 0.7.0, which uses an argument that scikit-learn 1.8 no longer has."""
    import metric_learn as package
    from metric_learn import _util
    from sklearn.utils import check_array, check_X_y

    def renamed(function):
        def call(*arguments, force_all_finite=True, **options):
            return function(*arguments, ensure_all_finite=force_all_finite, **options)

        return call

    _util.check_array, _util.check_X_y = renamed(check_array), renamed(check_X_y)
    return package


def _relation(kind):
    return {"single_label": "class", "continuous": "absolute_difference"}.get(kind, "auto")


def folds_of(kind, n_folds, y, groups, seed):
    """The same folds for every method."""
    rows = np.zeros((len(y), 1))
    if groups is not None:
        return list(GroupKFold(n_folds, shuffle=True, random_state=seed).split(rows, y, groups))
    if kind == "single_label":
        return list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rows, y))
    return list(KFold(n_folds, shuffle=True, random_state=seed).split(rows))


def errors_of(kind, train, y_train, test, y_test):
    """Error of the neighbours' mean, for each number of neighbours."""
    if kind == "single_label":
        classes = np.unique(y_train)
        targets = (y_train[:, None] == classes).astype(float)
    else:
        targets = y_train.reshape(len(y_train), -1).astype(float)
        y_test = y_test.reshape(len(y_test), -1)
    search = NearestNeighbors(n_neighbors=min(max(NEIGHBORS), len(train))).fit(train)
    nearest = search.kneighbors(test, return_distance=False)
    errors = []
    for number in NEIGHBORS:
        predicted = targets[nearest[:, :number]].mean(axis=1)
        if kind == "single_label":
            error = np.mean(classes[predicted.argmax(axis=1)] != y_test)
        elif kind == "multi_label":
            error = 1 - label_ranking_average_precision_score(y_test, predicted)
        elif kind == "label_distribution":
            error = np.abs(predicted - y_test).max(axis=1).mean()
        else:
            error = np.sqrt(np.mean((predicted - y_test) ** 2 / targets.var(axis=0)))
        errors.append(error)
    return np.array(errors)


def images_of(transformer, X_train, y_train, X_test, groups=None):
    """Fit scaling and metric to the training part, and map both parts."""
    if isinstance(transformer, PLSRegression):
        number = min(transformer.n_components, *X_train.shape)
        transformer = clone(transformer).set_params(n_components=number)
    steps = [SimpleImputer(), StandardScaler()]
    if X_train.shape[1] > MOST_FEATURES:
        steps.append(PCA(min(N_COMPONENTS, len(X_train) - 1), random_state=0))
    model = make_pipeline(*steps, clone(transformer))
    model.fit(X_train, y_train)
    return model.transform(X_train), model.transform(X_test)


def cell(method, name, max_samples, seed):
    """Error of a method in each outer fold of one data set, and seconds to fit.

    Those of Euclid's distance, and why, if the method cannot be fitted.
    """
    warnings.simplefilter("ignore")
    try:
        return nested_cross_validation(method, name, max_samples, seed)
    except ValueError as error:
        failure = " ".join(str(error).split())[:200]
        result = nested_cross_validation("Euclid", name, max_samples, seed)
        return result | {"failure": failure, "seconds": [np.nan]}


def nested_cross_validation(method, name, max_samples, seed):
    """Error of a method in each outer fold of one data set, and seconds to fit."""
    dataset = fetch_dataset(name)
    X, y, groups, kind = dataset.data, dataset.target, dataset.get("groups"), dataset.task
    if len(X) > max_samples:
        rows = np.random.default_rng(seed).permutation(len(X))[:max_samples]
        X, y = X[rows], y[rows]
        groups = None if groups is None else groups[rows]
    if kind == "multi_label":
        rows = y.any(axis=1)
        X, y, groups = X[rows], y[rows], None if groups is None else groups[rows]
    errors, seconds = [], []
    with threadpool_limits(1):
        for train, test in folds_of(kind, N_FOLDS, y, groups, seed):
            inner_groups = None if groups is None else groups[train]
            inner_folds = folds_of(kind, N_INNER_FOLDS, y[train], inner_groups, seed)
            best = np.inf, None, None
            failure = None
            for transformer in candidates(method, kind):
                inner_errors = np.zeros(len(NEIGHBORS))
                try:
                    for fit, held_out in inner_folds:
                        rows, others = train[fit], train[held_out]
                        fit_groups = None if groups is None else groups[rows]
                        near, far = images_of(transformer, X[rows], y[rows], X[others], fit_groups)
                        inner_errors += errors_of(kind, near, y[rows], far, y[others])
                except ValueError as error:
                    failure = error
                    continue
                number = inner_errors.argmin()
                if inner_errors[number] < best[0]:
                    best = inner_errors[number], transformer, number
            if best[1] is None:
                raise failure or ValueError("No candidate has a finite error.")
            start = process_time()
            near, far = images_of(best[1], X[train], y[train], X[test], inner_groups)
            seconds.append(process_time() - start)
            errors.append(errors_of(kind, near, y[train], far, y[test])[best[2]])
    return {"errors": errors, "seconds": seconds}


def report(kind, names, methods, results, max_samples, repeats):
    """Print the table of one kind of target; the methods, and their errors on each set."""
    methods = [method for method in methods if candidates(method, kind)]
    cells = {
        (method, name): [results.get(key(method, name, max_samples, s)) for s in range(repeats)]
        for method in methods
        for name in names
    }
    names = [name for name in names if all(all(cells[method, name]) for method in methods)]
    if not names:
        return methods, np.empty((0, len(methods)))
    fold_errors = {
        place: np.concatenate([found["errors"] for found in values])
        for place, values in cells.items()
        if place[1] in names
    }
    errors = np.array([[fold_errors[m, name].mean() for m in methods] for name in names])
    spread = np.array([[stats.sem(fold_errors[m, name]) for m in methods] for name in names])
    seconds = np.array(
        [
            [np.mean(np.concatenate([cell["seconds"] for cell in cells[m, name]])) for m in methods]
            for name in names
        ]
    )
    print(f"\n{kind} ({KINDS[kind]})\n")
    print("| set | " + " | ".join(methods) + " |")
    print("| --- |" + " --- |" * len(methods))
    for name, row, deviation in zip(names, errors, spread, strict=True):
        values = [f"{e:.4f} ({s:.3f})" for e, s in zip(row, deviation, strict=True)]
        for place, method in enumerate(methods):
            if any("failure" in found for found in cells[method, name]):
                values[place] = "failed"
        print(f"| {name} | " + " | ".join(values) + " |")
    print_row("error / Euclid's", np.exp(np.log(ratios_to_first(errors)).mean(axis=0)), ".3f")
    print_row("mean rank", stats.rankdata(errors, axis=1).mean(axis=0), ".2f")
    print_row("CPU seconds to fit", np.exp(np.nanmean(np.log(seconds + 1e-3), axis=0)), ".2f")
    worse = np.mean(errors > errors[:, :1] + spread, axis=0)
    print_row("worse than Euclid by over a standard error", worse, ".0%")
    chances = [
        np.mean([chance_of_worse(fold_errors[m, n], fold_errors[methods[0], n]) for n in names])
        for m in methods
    ]
    print_row("the same by chance, were it as good as Euclid", chances, ".0%")
    print_tests(errors)
    return methods, errors


def report_over_all(tables):
    """Print ranks and tests of the methods that take every kind of target."""
    common = [m for m in tables[0][0] if all(m in methods for methods, _ in tables)]
    errors = np.concatenate(
        [errors[:, [methods.index(m) for m in common]] for methods, errors in tables]
    )
    print(f"\nAll {len(errors)} sets\n")
    print("| | " + " | ".join(common) + " |")
    print("| --- |" + " --- |" * len(common))
    print_row("error / Euclid's", np.exp(np.log(ratios_to_first(errors)).mean(axis=0)), ".3f")
    print_row("mean rank", stats.rankdata(errors, axis=1).mean(axis=0), ".2f")
    print_tests(errors)


def ratios_to_first(errors):
    """Errors over those of the first method; neither counts as less than a thousandth."""
    return (errors + FLOOR) / (errors[:, :1] + FLOOR)


def chance_of_worse(errors, reference, n_draws=2000):
    """How often a method is clearly worse on resampled folds, were its mean error the reference's.

    In each fold it differs from the reference as much as it does, less the mean difference.
    """
    folds = np.random.default_rng(0).integers(len(errors), size=(n_draws, len(errors)))
    errors = errors - np.mean(errors - reference)
    is_worse = np.mean((errors - reference)[folds], axis=1) > stats.sem(errors[folds], axis=1)
    return np.mean(is_worse)


def print_row(name, values, form):
    print(f"| {name} | " + " | ".join(format(value, form) for value in values) + " |")


def print_tests(errors):
    """Friedman's test, and the critical difference of Nemenyi's."""
    n, k = errors.shape
    if k < 3 or n < 2:
        return
    statistic, p = stats.friedmanchisquare(*errors.T)
    difference = stats.studentized_range.ppf(0.95, k, np.inf) * np.sqrt(k * (k + 1) / (12 * n))
    print(
        f"\nFriedman's test: chi2 = {statistic:.1f}, p = {p:.1e}; mean ranks that differ by "
        f"{difference:.2f} differ at the level .05 (Nemenyi)."
    )


def key(method, name, max_samples, seed):
    return f"{method} {name} {max_samples} {seed}"


def is_finished(results, *place):
    return "failure" not in results.get(key(*place), {"failure": "not computed"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--methods", nargs="+", type=method_of, default=METHODS)
    parser.add_argument("--max-samples", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="compute finished cells again")
    arguments = parser.parse_args()
    folder = os.environ.get("METRICALIGN_DATA")
    if not folder:
        parser.error("set METRICALIGN_DATA to the folder of the data sets")
    RESULTS.parent.mkdir(exist_ok=True)
    results = {}
    if RESULTS.exists():
        results = json.loads(RESULTS.read_text())
    here = {path.stem for path in Path(folder).glob("*.npz")} - set(LEFT_OUT)
    sets = {kind: [n for n in list_datasets(kind) if n in here] for kind in arguments.kinds}
    sets["label_distribution"] = [
        n for n in sets.get("label_distribution", []) if not n.startswith("yeast")
    ]
    if arguments.sets:
        sets = {kind: [n for n in names if n in arguments.sets] for kind, names in sets.items()}
    todo = [
        (method, name, arguments.max_samples, seed)
        for kind, names in sets.items()
        for seed in range(arguments.repeats)
        for name in names
        for method in arguments.methods
        if candidates(method, kind)
        and (arguments.fresh or not is_finished(results, method, name, arguments.max_samples, seed))
    ]
    finished = Parallel(arguments.n_jobs, return_as="generator_unordered")(
        delayed(_keyed_cell)(*place) for place in todo
    )
    for number, (place, result) in enumerate(finished, start=1):
        results[key(*place)] = result
        temporary = RESULTS.with_suffix(".tmp")
        temporary.write_text(json.dumps(results))
        temporary.replace(RESULTS)
        print(f"{number} of {len(todo)}: {key(*place)}", file=sys.stderr, flush=True)
    size = arguments.max_samples, arguments.repeats
    tables = {
        kind: report(kind, names, arguments.methods, results, *size) for kind, names in sets.items()
    }
    tables = {kind: table for kind, table in tables.items() if len(table[1])}
    if tables:
        report_over_all(list(tables.values()))


def _keyed_cell(*place):
    return place, cell(*place)


if __name__ == "__main__":
    main()
