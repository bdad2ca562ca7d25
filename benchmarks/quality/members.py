"""Which learners does the ensemble need, and which of them the folds of the predictors?

The neighbours of other ensembles on the folds of neighbors.py, without trees: geometric means of
their error over that of the first, with standard errors in brackets, and of the CPU seconds of
their fit over those of the first. One table is of the members of an ensemble, which is fitted in
the folds of the predictor too, the other of the members that the predictor has in folds alone.

    METRICALIGN_DATA=folder python benchmarks/quality/members.py [--tables folds] [--draw 1]
"""

import argparse
import os
from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np
from compare import FLOOR, N_FOLDS
from neighbors import cell, sets_of
from scipy import stats
from sklearn.base import clone

from metricalign import (
    PSDSVR,
    RAMLSVR,
    DiscriminantAlignment,
    GradientAlignment,
    MetricEnsemble,
    MetricNeighborsClassifier,
    MetricNeighborsRegressor,
)
from metricalign.learners import ensemble
from metricalign.predictors import base

DISCRIMINANT = DiscriminantAlignment(shrinkage=0.5, euclidean=0.0)
PSD = PSDSVR(prior=None, tol=0.03)
GRADIENT = GradientAlignment(shrinkage=1.0, euclidean=0.0, n_landmarks=500)
TWO_ROUNDS = GradientAlignment(shrinkage=1.0, euclidean=0.0, n_landmarks=500, n_rounds=2)
DEFAULT = [DISCRIMINANT, GRADIENT, PSD]
ONE_ROUND = GradientAlignment(shrinkage=1.0, euclidean=0.0, n_rounds=1, n_landmarks=500)
MEMBERS = {
    "the default": (DEFAULT, 64),
    "32 principal components in place of 64": (DEFAULT, 32),
    "PSDSVR with `tol=0.1` in place of 0.03": (
        [DISCRIMINANT, GRADIENT, PSDSVR(prior=None, tol=0.1)],
        64,
    ),
    "without PSDSVR": ([DISCRIMINANT, GRADIENT], 64),
    "RAMLSVR with `tol=0.1` in place of PSDSVR": (
        [DISCRIMINANT, GRADIENT, RAMLSVR(prior=None, tol=0.1)],
        64,
    ),
    "two rounds of gradient alignment in place of three": ([DISCRIMINANT, TWO_ROUNDS, PSD], 64),
    "the shrinkage of least cross-validation error": (
        [DiscriminantAlignment(euclidean=0.0), GRADIENT, PSD],
        64,
    ),
}
FOLDS = {
    "the default": None,
    "one round of gradient alignment": [ONE_ROUND],
    "and the discriminant metric": [DISCRIMINANT, ONE_ROUND],
    "the discriminant metric alone": [DISCRIMINANT],
    "the whole ensemble": None,
}
KINDS = {
    "single_label": (MetricNeighborsClassifier, "class"),
    "continuous": (MetricNeighborsRegressor, "absolute_difference"),
}


def model_of(learners, kind):
    predictor, relation = KINDS[kind]
    metric = "ensemble"
    if learners is not None:
        metric = MetricEnsemble(learners, relation=relation, random_state=0)
    return predictor(metric, trees=False, random_state=0)


@contextmanager
def member(variant):
    """What gives the model of a kind of target, for a row of MEMBERS."""
    learners, n_components = MEMBERS[variant]
    with mock.patch.object(ensemble, "_N_COMPONENTS", n_components):
        yield partial(model_of, learners)


@contextmanager
def in_folds(variant):
    """What gives the model of a kind of target, for a row of FOLDS."""
    if variant == "the default":
        yield partial(model_of, None)
        return

    def of_folds(self, of_all, *others):
        return of_all._replace(metric=clone(of_all.metric).set_params(learners=FOLDS[variant]))

    with mock.patch.object(base.MetricNeighbors, "_metric_of_folds", of_folds):
        yield partial(model_of, None)


def ratio(values, of_default):
    """Geometric mean of the ratios over the sets, and its standard error."""
    logs = np.log(values / of_default)
    return np.exp(logs.mean()), stats.sem(logs)


TABLES = {"members": (member, MEMBERS), "folds": (in_folds, FOLDS)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--max-samples", type=int, default=450)
    parser.add_argument("--draw", type=int, default=1, help="seed of the samples and the folds")
    arguments = parser.parse_args()
    folder = os.environ.get("METRICALIGN_DATA")
    if not folder:
        parser.error("set METRICALIGN_DATA to the folder of the data sets")
    for table in arguments.tables:
        print_table(*TABLES[table], folder, arguments.max_samples, N_FOLDS, arguments.draw)


def print_table(model_for, variants, folder, *size):
    rows = {variant: [] for variant in variants}
    for kind in KINDS:
        names = sets_of(kind, folder)
        with model_for(next(iter(variants))) as model:
            cell(model, names[0], *size)  # loads the compiled kernels
        errors, seconds = [], []
        for variant in variants:
            with model_for(variant) as model:
                cells = [cell(model, name, *size) for name in names]
            errors.append(np.array([np.mean(c["errors"]) for c in cells]) + FLOOR)
            seconds.append(np.array([np.mean(c["seconds"]) for c in cells]))
        for variant, error, second in zip(variants, errors, seconds, strict=True):
            of_error, spread = ratio(error, errors[0])
            rows[variant] += [
                f"{of_error:.3f} ({spread:.3f})",
                f"{ratio(second, seconds[0])[0]:.2f}",
            ]
        print(f"{kind}: {len(names)} sets, {np.exp(np.log(seconds[0]).mean()):.2f} s for the first")
    print("\n| | classes | seconds | numbers | seconds |\n| --- | --- | --- | --- | --- |")
    for variant, row in rows.items():
        print(f"| {variant} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
