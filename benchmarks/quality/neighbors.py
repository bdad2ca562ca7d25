"""Do the neighbours predict better than trees? MetricNeighbors, forests and boosting.

For each data set and method, at its defaults, the error in outer folds that are the same for all:
Euclid's neighbours with their number chosen in training, scikit-learn's ExtraTrees, RandomForest
and HistGradientBoosting (of classes and one number), and MetricNeighbors with and without trees.
With "tuned", the number of trees or rounds is chosen by three inner folds.
Tables go in as they are; forests and Euclid's neighbours get missing values imputed, and
MetricNeighbors the groups of samples, such as persons, where the outer folds are by group. Printed
per kind of target: error of each method, geometric means of error over Euclid's, over that of each
tree method and of the best of them on the same set, with their standard errors and on how many sets
it is less, mean rank, and CPU seconds of a fit. A figure of the errors over Euclid's goes to
benchmarks/results/neighbors.png. A draw chooses the samples of larger sets and the folds; of
several draws the mean errors are compared. The best of three on few test samples is better than
each of them is on others; with --best-on also printed: error over that of the tree method that is
best on other draws of the set.

    METRICALIGN_DATA=folder python benchmarks/quality/neighbors.py [--kinds continuous]
        [--sets glass sonar] [--methods Euclid MetricNeighbors] [--max-samples 450] [--n-folds 3]
        [--draws 0] [--best-on 1 2]

Finished cells are kept in benchmarks/results/neighbors.json and not computed again.
"""

import argparse
import json
import os
import sys
import warnings
from functools import partial
from itertools import product
from pathlib import Path
from time import process_time

import numpy as np
from compare import (
    FLOOR,
    KINDS,
    LEFT_OUT,
    N_FOLDS,
    NEIGHBORS,
    folds_of,
    print_row,
    print_tests,
    ratios_to_first,
)
from scipy import stats
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.metrics import label_ranking_average_precision_score, log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits

from metricalign.datasets import fetch_dataset, list_datasets
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor

RESULTS = Path(__file__).parents[1] / "results" / "neighbors.json"
TREES = ("ExtraTrees", "RandomForest", "HistGradientBoosting")
# Numbers of trees, or of rounds of boosting, to choose from.
SIZES = {
    "ExtraTrees": {"n_estimators": (50, 100, 300)},
    "RandomForest": {"n_estimators": (50, 100, 300)},
    "HistGradientBoosting": {"max_iter": (10, 30, 100, 300)},
}
TUNED = {f"{method}, tuned": method for method in TREES}
# Larger ratios are drawn here.
MOST_DRAWN = 2.0
METHODS = ("Euclid", *TREES, *TUNED, "MetricNeighbors", "without trees")


def model_of(method, kind):
    """An estimator at its defaults, or None where it does not take such targets."""
    is_class = kind in ("single_label", "multi_label")
    if method == "MetricNeighbors" or method == "without trees":
        neighbors = MetricNeighborsClassifier if is_class else MetricNeighborsRegressor
        return neighbors(trees=method == "MetricNeighbors", random_state=0)
    if method == "Euclid":
        neighbors = KNeighborsClassifier() if kind == "single_label" else KNeighborsRegressor()
        search = GridSearchCV(neighbors, {"n_neighbors": NEIGHBORS}, error_score=-np.inf)
        return make_pipeline(SimpleImputer(), StandardScaler(), search)
    if method in TUNED:
        if kind not in ("single_label", "continuous"):
            return None
        model = model_of(TUNED[method], kind)
        prefix = "" if method.startswith("Hist") else f"{model.steps[-1][0]}__"
        sizes = {prefix + name: values for name, values in SIZES[TUNED[method]].items()}
        return GridSearchCV(model, sizes, cv=3)
    if method == "HistGradientBoosting":
        if kind not in ("single_label", "continuous"):
            return None
        boosting = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
        return boosting(random_state=0)
    forests = {
        "ExtraTrees": (ExtraTreesRegressor, ExtraTreesClassifier),
        "RandomForest": (RandomForestRegressor, RandomForestClassifier),
    }
    return make_pipeline(SimpleImputer(), forests[method][is_class](random_state=0))


def sets_of(kind, folder):
    """Names of the data sets of a kind of target in a folder."""
    here = {path.stem for path in Path(folder).glob("*.npz")} - set(LEFT_OUT)
    names = [n for n in list_datasets(kind) if n in here]
    # The label distributions of yeast carry no signal.
    return [n for n in names if n == "yeast_ml" or not n.startswith("yeast")]


def error_of(kind, model, X, y, y_train):
    """Error on held-out samples, and the log loss for classes."""
    if kind == "single_label":
        probabilities = model.predict_proba(X)
        error = np.mean(model.predict(X) != y)
        known = np.isin(y, model.classes_)
        return error, log_loss(y[known], probabilities[known], labels=model.classes_)
    if kind == "multi_label":
        scores = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
        if isinstance(scores, list):  # of forests, one array per label
            scores = [
                label[:, -1] if label.shape[1] > 1 else np.full(len(X), classes[0])
                for label, classes in zip(scores, model[-1].classes_, strict=True)
            ]
            scores = np.stack(scores, axis=1)
        return 1 - label_ranking_average_precision_score(y, scores), np.nan
    predicted = model.predict(X)
    if kind == "label_distribution":
        return np.abs(predicted - y).max(axis=1).mean(), np.nan
    predicted, y = predicted.reshape(len(X), -1), y.reshape(len(X), -1)
    variances = y_train.reshape(len(y_train), -1).var(axis=0)
    return np.sqrt(np.mean((predicted - y) ** 2 / variances)), np.nan


def cell(model_for, name, max_samples, n_folds, draw):
    """Errors, log losses and seconds of a fit in outer folds of one data set.

    `model_for` gives an estimator for a kind of target.
    """
    warnings.simplefilter("ignore")
    dataset = fetch_dataset(name)
    X, y, groups, kind = dataset.data, dataset.target, dataset.get("groups"), dataset.task
    if len(X) > max_samples:
        rows = np.random.default_rng(draw).permutation(len(X))[:max_samples]
        X, y = X[rows], y[rows]
        groups = None if groups is None else groups[rows]
    if kind == "multi_label":
        rows = y.any(axis=1)
        X, y, groups = X[rows], y[rows], None if groups is None else groups[rows]
    cells = []
    with threadpool_limits(1):
        for train, test in folds_of(kind, N_FOLDS, y, groups, draw)[:n_folds]:
            model = model_for(kind)
            takes_groups = groups is not None and has_fit_parameter(model, "groups")
            options = {"groups": groups[train]} if takes_groups else {}
            start = process_time()
            model.fit(X[train], y[train], **options)
            seconds = process_time() - start
            cells.append((*error_of(kind, model, X[test], y[test], y[train]), seconds))
    errors, losses, seconds = np.transpose(cells).tolist()
    return {"errors": errors, "losses": losses, "seconds": seconds}


def results_of(model_of, methods, kind, names, path, max_samples, n_folds, draws):
    """Cells of data sets and methods of one kind, with the folds of all draws.

    Those that are not in a file are added to it.
    """
    results = json.loads(path.read_text()) if path.exists() else {}
    found = []
    for name, draw, method in product(names, draws, methods):
        place = f"{method} {name} {max_samples} {n_folds} {draw}"
        if place not in results:
            results[place] = cell(partial(model_of, method), name, max_samples, n_folds, draw)
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(results))
            temporary.replace(path)
            print(place, file=sys.stderr, flush=True)
        found.append(results[place])
    cells = np.reshape(found, (len(names), len(draws), len(methods)))
    return [[_together(of_draws) for of_draws in of_set.T] for of_set in cells]


def _together(cells):
    """The folds of several cells in one."""
    return {key: [value for cell in cells for value in cell[key]] for key in cells[0]}


def best_trees(kind, names, methods, path, max_samples, n_folds, draws):
    """The tree method with the least mean error over some draws, for each set."""
    methods = [m for m in TREES if m in methods]
    found = results_of(model_of, methods, kind, names, path, max_samples, n_folds, draws)
    errors = [[np.mean(cell["errors"]) for cell in row] for row in found]
    return [methods[k] for k in np.argmin(errors, axis=1)]


def report(kind, names, methods, found, best_on_others=None):
    """Print the table of one kind of target; the mean error of each method on each set.

    `best_on_others` is the tree method of each set that is best on other draws of it.
    """
    errors = np.array([[np.mean(c["errors"]) for c in row] for row in found])
    if not names or methods[0] != "Euclid":
        return errors
    spread = np.array([[stats.sem(c["errors"]) for c in row] for row in found])
    seconds = np.array([[np.mean(c["seconds"]) for c in row] for row in found])
    print(f"\n{kind} ({KINDS[kind]}), {len(names)} sets\n")
    print("| set | " + " | ".join(methods) + " |")
    print("| --- |" + " --- |" * len(methods))
    for name, row in zip(names, errors, strict=True):
        print_row(name, row, ".4f")
    print_row("error / Euclid's", np.exp(np.log(ratios_to_first(errors)).mean(axis=0)), ".3f")
    of_trees = {f"{m}'s": errors[:, [methods.index(m)]] for m in TREES if m in methods}
    if of_trees:
        of_trees["best trees'"] = np.min(list(of_trees.values()), axis=0)
    for name, of_others in of_trees.items():
        logs = np.log((errors + FLOOR) / (of_others + FLOOR))
        means, deviations = np.exp(logs.mean(axis=0)), stats.sem(logs)
        n_less = np.sum(errors < of_others, axis=0)
        values = zip(means, deviations, n_less, strict=True)
        row = " | ".join(f"{mean:.3f} ({deviation:.3f}), {n}" for mean, deviation, n in values)
        print(f"| error / {name} (standard error), less on | {row} |")
    if best_on_others:
        columns = [methods.index(m) for m in best_on_others]
        of_best = np.take_along_axis(errors, np.array(columns)[:, None], axis=1)
        ratios = (errors + FLOOR) / (of_best + FLOOR)
        row = "error / that of the trees that are best on other draws"
        print_row(row, np.exp(np.log(ratios).mean(axis=0)), ".3f")
    if kind == "single_label":
        print_row("log loss", np.mean([[np.mean(c["losses"]) for c in r] for r in found], 0), ".3f")
    print_row("mean rank", stats.rankdata(errors, axis=1).mean(axis=0), ".2f")
    worse = np.mean(errors > errors[:, :1] + spread, axis=0)
    print_row("worse than Euclid by over a standard error", worse, ".0%")
    print_row("CPU seconds to fit", np.exp(np.log(seconds + 1e-3).mean(axis=0)), ".2f")
    print_tests(errors)
    return errors


def draw_errors(tables, kinds, path):
    """Each set's error over Euclid's as a dot, by method, and their geometric mean as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(tables), 4), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, kind, (methods, errors) in zip(panels, kinds, tables, strict=True):
        ratios = ratios_to_first(errors)[:, 1:]
        places = np.arange(ratios.shape[1])
        dots = np.minimum(ratios, MOST_DRAWN).T
        axes.plot(dots, places, "o", color="tab:blue", alpha=0.4, markersize=4)
        axes.plot(np.exp(np.log(ratios).mean(axis=0)), places, "|", color="black", markersize=16)
        axes.axvline(1, color="gray", linewidth=1)
        axes.set(
            title=kind.replace("_", " "),
            xlabel="error / Euclid's",
            yticks=places,
            yticklabels=methods[1:],
        )
        axes.invert_yaxis()
    figure.savefig(path)


def read_options(parser, kinds, methods):
    """The arguments; samples, folds and draws among them; and the folder of the data sets."""
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=list(kinds))
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--max-samples", type=int, default=450)
    parser.add_argument("--n-folds", type=int, default=N_FOLDS, help="of three, how many")
    parser.add_argument(
        "--draws", nargs="+", type=int, default=[0], help="seeds of the samples and the folds"
    )
    arguments = parser.parse_args()
    folder = os.environ.get("METRICALIGN_DATA")
    if not folder:
        parser.error("set METRICALIGN_DATA to the folder of the data sets")
    return arguments, (arguments.max_samples, arguments.n_folds, arguments.draws), folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+")
    parser.add_argument(
        "--best-on", nargs="+", type=int, default=[], help="draws that choose the best trees"
    )
    arguments, size, folder = read_options(parser, KINDS, METHODS)
    tables = {}
    for kind in arguments.kinds:
        names = sets_of(kind, folder)
        if arguments.sets:
            names = [n for n in names if n in arguments.sets]
        methods = [m for m in arguments.methods if model_of(m, kind) is not None]
        found = results_of(model_of, methods, kind, names, RESULTS, *size)
        draws = arguments.best_on
        best = best_trees(kind, names, methods, RESULTS, *size[:2], draws) if draws else None
        errors = report(kind, names, methods, found, best)
        if names and methods[0] == "Euclid":
            tables[kind] = methods, errors
    if tables:
        draw_errors(list(tables.values()), list(tables), RESULTS.with_suffix(".png"))


if __name__ == "__main__":
    main()
