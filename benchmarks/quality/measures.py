"""Do the measures and ML-kNN give the published figures?

AA-kNN, the mean of the neighbours' label distributions, on s-JAFFE as it comes, and ML-kNN
(k = 10, s = 1) on emotions and yeast, standardised in training, over ten times ten folds. Beside
each mean is the standard deviation of the ten repetitions: one published figure is one of them.

    METRICALIGN_DATA=folder python benchmarks/quality/measures.py [--repeats 10]
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.model_selection import RepeatedKFold, cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign.metrics import SCORERS
from metricalign.multilabel import MLkNN

N_FOLDS = 10
DISTRIBUTION_MEASURES = (
    "chebyshev",
    "clark",
    "canberra",
    "kullback_leibler",
    "cosine",
    "intersection",
)
LABEL_MEASURES = ("hamming", "ranking", "one_error", "coverage", "average_precision")
ML_KNN = make_pipeline(StandardScaler(), MLkNN(n_neighbors=10, smoothing=1.0))

# Data set, method, its name, measures and their published figures.
RUNS = (
    (
        "sjaffe",
        KNeighborsRegressor(5),
        "AA-kNN, k = 5",
        DISTRIBUTION_MEASURES,
        (0.098, 0.349, 0.716, 0.053, 0.950, 0.877),
    ),
    (
        "sjaffe",
        KNeighborsRegressor(4),
        "AA-kNN, k = 4",
        DISTRIBUTION_MEASURES,
        (0.0955, 0.3401, 0.6958, 0.0516, 0.9507, 0.8796),
    ),
    ("emotions", ML_KNN, "ML-kNN", LABEL_MEASURES, (0.192, 0.162, 0.265, 1.78, 0.802)),
    ("yeast_ml", ML_KNN, "ML-kNN", LABEL_MEASURES, (0.195, 0.168, 0.233, 6.27, 0.764)),
)


def measure(model, X, y, names, n_repeats):
    """Mean of each measure in each repetition, of shape (n_repeats, n_measures)."""
    folds = RepeatedKFold(n_splits=N_FOLDS, n_repeats=n_repeats, random_state=0)
    scoring = {name: SCORERS[name] for name in names}
    scores = cross_validate(model, X, y, cv=folds, scoring=scoring, error_score="raise")
    # Losses come negated, and none of these measures is negative.
    of_folds = [abs(scores[f"test_{name}"]).reshape(n_repeats, N_FOLDS) for name in names]
    return np.mean(of_folds, axis=2).T


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    if not os.environ.get("METRICALIGN_DATA"):
        sys.exit("METRICALIGN_DATA must name the folder of the data sets.")
    folder = Path(os.environ["METRICALIGN_DATA"])
    print(f"{'':<43}{'measured':>8}{'deviation':>11}{'published':>11}{'difference':>12}")
    for name, model, method, measures, published in RUNS:
        archive = np.load(folder / f"{name}.npz")
        repeats = measure(
            model, archive["X"].astype(float), archive["Y"], measures, arguments.repeats
        )
        for column, (figure, reference) in enumerate(zip(measures, published, strict=True)):
            value, deviation = repeats[:, column].mean(), repeats[:, column].std()
            print(
                f"{name:<10}{method:<15}{figure.replace('_', ' '):<20}{value:>6.4f}"
                f"{deviation:>11.4f}{reference:>11}{value / reference - 1:>+12.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
