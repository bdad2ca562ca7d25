"""Draw the pictures of the landing page: ``python docs/pictures.py``.

Writes docs/static/neighbors.png, curves.png and relation.png; needs the extra ``plot``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from sklearn.datasets import load_breast_cancer, make_friedman1
from sklearn.model_selection import train_test_split

from metricalign import MetricEnsemble, MetricNeighborsClassifier
from metricalign.plotting import CurvesDisplay, DistanceRelationDisplay, ExplanationDisplay

FOLDER = Path(__file__).parent / "static"


def main() -> None:
    """Draw them."""
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9.5, "axes.labelsize": 9})
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    y = y.map({0: "malignant", 1: "benign"})
    X, X_test, y, _ = train_test_split(X, y, train_size=0.5, random_state=0)
    model = MetricNeighborsClassifier(random_state=0).fit(X, y)
    sizes = {"figsize": (4.4, 2.8), "layout": "constrained"}

    figure, axis = plt.subplots(**sizes)
    ExplanationDisplay.from_estimator(model, X_test.iloc[[1]], max_columns=3, ax=axis)
    axis.legend(loc="upper center", bbox_to_anchor=(0.4, -0.2), ncols=2, frameon=False)
    figure.savefig(FOLDER / "neighbors.png", dpi=200)

    figure, axes = plt.subplots(2, 2, **sizes)
    CurvesDisplay.from_estimator(model, X, max_columns=4, ax=axes)
    figure.savefig(FOLDER / "curves.png", dpi=200)

    X, y = make_friedman1(800, n_features=10, noise=0.5, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    learner = MetricEnsemble(random_state=0).fit(X, y)
    figure, axes = plt.subplots(1, 2, **sizes)
    display = DistanceRelationDisplay.from_estimator(
        learner, X_test, y_test, random_state=0, ax=axes
    )
    for axis, title, score in zip(
        axes, ("Euclid", "learned"), (display.score_before, display.score_after), strict=True
    ):
        axis.set_title(f"{title}: {score:.0%} in order")
        axis.set_xlabel("difference of targets")
        axis.set_yticks([])
    axes[1].set_ylabel("")
    figure.savefig(FOLDER / "relation.png", dpi=200)


if __name__ == "__main__":
    main()
