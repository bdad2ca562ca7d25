"""Are the defaults near the best that a search finds?

For each data set the error of nearest neighbours on the learned metric, by cross-validation, over
a grid around the defaults of one estimator: C times powers of ten, epsilon, and the number of
pairs. The table gives per kind of target the geometric mean over the data sets of

    error / error of scaled Euclid

for the defaults, for the best single setting of the grid over all sets of the kind, and for the
best setting of each set by itself (an optimistic bound: it is chosen on the same folds).

    METRICALIGN_DATA=folder python benchmarks/quality/defaults.py [--method RAMLSVR]
"""

import argparse
import itertools
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import metricalign
from metricalign.pairs import NearestClassPairs, NearestPairs

DATA_SETS = {
    "single label": "wine wdbc sonar glass australian_credit digits satimage letter pendigits "
    "vowel raml_zoo",
    "continuous": "concrete energy_heating energy_cooling auto_mpg diabetes yacht kin8nm abalone "
    "wine_quality_red parkinsons_total_updrs",
    "multi-label": "emotions yeast_ml birds foodtruck",
    "label distribution": "sjaffe emotion6 scut_fbp",
    "several numbers": "mt_wq mt_slump",
}
LARGEST_DATA_SET = 600
N_FOLDS = 3
N_NEIGHBORS = 5

C_FACTORS = (1e-2, 1e-1, 1.0, 10.0)
EPSILON_FACTORS = (0.0, 1.0, 5.0)
PAIR_FACTORS = (0.5, 1.0, 2.0)


def load(folder, name):
    """Features, targets and groups of one data set, cut to a random part if it is large."""
    archive = np.load(folder / f"{name}.npz")
    X, y = archive["X"].astype(float), archive["Y"]
    groups = archive.get("groups")
    if len(X) > LARGEST_DATA_SET:
        rows = np.random.default_rng(0).permutation(len(X))[:LARGEST_DATA_SET]
        X, y, groups = X[rows], y[rows], None if groups is None else groups[rows]
    return X, y, groups


def folds_of(kind, X, y, groups):
    """The same folds for every setting."""
    if groups is not None:
        return list(GroupKFold(N_FOLDS).split(X, y, groups))
    if kind == "single label":
        return list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(X, y))
    return list(KFold(N_FOLDS, shuffle=True, random_state=0).split(X))


def error_of(kind, X_train, y_train, X_test, y_test):
    """Error of nearest neighbours in the space given."""
    if kind == "single label":
        # Votes are the mean of the indicators: one regressor serves every kind.
        classes = np.unique(y_train)
        y_train = (y_train[:, None] == classes).astype(float)
    predicted = KNeighborsRegressor(N_NEIGHBORS).fit(X_train, y_train).predict(X_test)
    if kind == "single label":
        return np.mean(classes[predicted.argmax(axis=1)] != y_test)
    if kind == "multi-label":
        wrong = (predicted > 0.5) != (y_test > 0)
        return wrong.mean()
    if kind == "label distribution":
        return np.abs(predicted - y_test).max(axis=1).mean()
    return np.sqrt(np.mean((predicted - y_test) ** 2 / np.var(y_train, axis=0)))


def pairs_of(kind, factor):
    """The default pairs, more or fewer of them."""
    if kind == "single label":
        default = NearestClassPairs()
        return NearestClassPairs(round(default.n_same * factor), round(default.n_other * factor))
    return NearestPairs(max(1, round(NearestPairs().n_neighbors * factor)))


def cell(folder, kind, name, method):
    """Error of Euclid, and of every setting of the grid, on one data set."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", UserWarning)
    X, y, groups = load(folder, name)
    relation = {"single label": "class", "continuous": "absolute_difference"}.get(kind, "auto")
    errors = {}
    for train, test in folds_of(kind, X, y, groups):
        scaler = make_pipeline(SimpleImputer(), StandardScaler()).fit(X[train])
        X_train, X_test = scaler.transform(X[train]), scaler.transform(X[test])
        euclid = error_of(kind, X_train, y[train], X_test, y[test])
        errors.setdefault("Euclid", []).append(euclid)
        for pair_factor in PAIR_FACTORS:
            learner = method(relation=relation, pairs=pairs_of(kind, pair_factor))
            learner.fit(X_train, y[train])
            C = learner.C_
            epsilons = EPSILON_FACTORS if hasattr(learner.loss_, "epsilon") else (1.0,)
            epsilon = getattr(learner.loss_, "epsilon", None)
            for epsilon_factor, C_factor in itertools.product(epsilons, C_FACTORS):
                learner.set_params(C=C * C_factor)
                if "epsilon" in learner.get_params():
                    learner.set_params(epsilon=epsilon * epsilon_factor)
                elif epsilon_factor != 1.0:
                    continue
                learner.fit(X_train, y[train])
                error = error_of(
                    kind, learner.transform(X_train), y[train], learner.transform(X_test), y[test]
                )
                setting = (C_factor, epsilon_factor, pair_factor)
                errors.setdefault(setting, []).append(error)
    print(f"{kind}: {name} done", file=sys.stderr, flush=True)
    return {setting: np.mean(values) for setting, values in errors.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="RAMLSVR", choices=metricalign.__all__)
    parser.add_argument("--n-jobs", type=int, default=2)
    arguments = parser.parse_args()
    folder = Path(os.environ.get("METRICALIGN_DATA", "data"))
    if not folder.is_dir():
        parser.error(f"set METRICALIGN_DATA to the folder of the data sets; {folder} is none")
    method = getattr(metricalign, arguments.method)
    print("| kind | sets | defaults | best single setting | (C, epsilon, pairs) | best of each |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind, names in DATA_SETS.items():
        names = names.split()
        cells = Parallel(arguments.n_jobs)(
            delayed(cell)(folder, kind, name, method) for name in names
        )
        settings = [setting for setting in cells[0] if setting != "Euclid"]
        floor = 1e-3
        logs = np.array(
            [[np.log((c[s] + floor) / (c["Euclid"] + floor)) for s in settings] for c in cells]
        )
        default = settings.index((1.0, 1.0, 1.0))
        best = logs.mean(axis=0).argmin()
        values = np.exp([logs[:, default].mean(), logs[:, best].mean(), logs.min(axis=1).mean()])
        print(
            f"| {kind} | {len(names)} | {values[0]:.3f} | {values[1]:.3f} | "
            f"{', '.join(f'{factor:g}' for factor in settings[best])} | {values[2]:.3f} |"
        )


if __name__ == "__main__":
    main()
