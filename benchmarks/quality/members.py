"""Which learners does the ensemble need? Other members than its own, over the default.

The neighbours of other ensembles on the folds of neighbors.py, without trees: geometric means of
their error over that of the default, with standard errors in brackets, and of the CPU seconds of
their fit over those of the default.

    METRICALIGN_DATA=folder python benchmarks/quality/members.py [--draw 1]
"""

import argparse
import os
from functools import partial
from unittest import mock

import numpy as np
from compare import FLOOR, N_FOLDS
from neighbors import cell, sets_of
from scipy import stats

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

DISCRIMINANT, PSD = DiscriminantAlignment(), PSDSVR(tol=0.03)
GRADIENT = GradientAlignment(shrinkage=1.0, n_landmarks=500)
TWO_ROUNDS = GradientAlignment(shrinkage=1.0, n_landmarks=500, n_rounds=2)
DEFAULT = [DISCRIMINANT, GRADIENT, PSD]
VARIANTS = {
    "the default": (DEFAULT, 64),
    "32 principal components in place of 64": (DEFAULT, 32),
    "PSDSVR with `tol=0.1` in place of 0.03": ([DISCRIMINANT, GRADIENT, PSDSVR(tol=0.1)], 64),
    "without PSDSVR": ([DISCRIMINANT, GRADIENT], 64),
    "RAMLSVR with `tol=0.1` in place of PSDSVR": ([DISCRIMINANT, GRADIENT, RAMLSVR(tol=0.1)], 64),
    "two rounds of gradient alignment in place of three": ([DISCRIMINANT, TWO_ROUNDS, PSD], 64),
}
KINDS = {
    "single_label": (MetricNeighborsClassifier, "class"),
    "continuous": (MetricNeighborsRegressor, "absolute_difference"),
}


def model_of(learners, kind):
    predictor, relation = KINDS[kind]
    metric = MetricEnsemble(learners, relation=relation, random_state=0)
    return predictor(metric, trees=False, random_state=0)


def ratio(values, of_default):
    """Geometric mean of the ratios over the sets, and its standard error."""
    logs = np.log(values / of_default)
    return np.exp(logs.mean()), stats.sem(logs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-samples", type=int, default=450)
    parser.add_argument("--draw", type=int, default=1, help="seed of the samples and the folds")
    arguments = parser.parse_args()
    folder = os.environ.get("METRICALIGN_DATA")
    if not folder:
        parser.error("set METRICALIGN_DATA to the folder of the data sets")
    size = arguments.max_samples, N_FOLDS, arguments.draw
    rows = {variant: [] for variant in VARIANTS}
    for kind in KINDS:
        names = sets_of(kind, folder)
        cell(partial(model_of, DEFAULT), names[0], *size)  # loads the compiled kernels
        errors, seconds = [], []
        for learners, n_components in VARIANTS.values():
            with mock.patch.object(ensemble, "_N_COMPONENTS", n_components):
                cells = [cell(partial(model_of, learners), name, *size) for name in names]
            errors.append(np.array([np.mean(c["errors"]) for c in cells]) + FLOOR)
            seconds.append(np.array([np.mean(c["seconds"]) for c in cells]))
        for variant, error, second in zip(VARIANTS, errors, seconds, strict=True):
            of_error, spread = ratio(error, errors[0])
            rows[variant] += [
                f"{of_error:.3f} ({spread:.3f})",
                f"{ratio(second, seconds[0])[0]:.2f}",
            ]
        print(f"{kind}: {len(names)} sets, {np.exp(np.log(seconds[0]).mean()):.2f} s by default")
    print("\n| | classes | seconds | numbers | seconds |\n| --- | --- | --- | --- | --- |")
    for variant, row in rows.items():
        print(f"| {variant} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
