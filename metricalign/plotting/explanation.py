"""Picture of the nearest training rows of a sample, and of the columns in their distances."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from metricalign.plotting.drawing import (
    COLORS,
    check_count,
    check_matplotlib,
    literal,
    one_axes,
    shortened,
)
from metricalign.predictors.explanation import Explanation, name_of_column

__all__ = ["ExplanationDisplay"]

_OTHERS = "#cccccc"


class ExplanationDisplay:
    """Nearest training rows of a sample, and the part of each column in their distances.

    Each of the nearest rows has a bar, and the nearest row is on top. The bar is the squared
    distance, cut into the parts of the columns of the table. A part to the left of zero is
    negative: the column makes up for the difference in others.

    Use `from_estimator` to make a display. The parameter is stored as an attribute.

    Parameters
    ----------
    explanation : Explanation
        The result of ``explain`` of a predictor by neighbours.

    Attributes
    ----------
    columns_ : ndarray of int
        The columns with a colour of their own. They have the largest shares.
    bars_ : list of matplotlib BarContainer
        The parts of these columns, and the sums of the positive and negative parts of the others.
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from metricalign.plotting import ExplanationDisplay
    >>> from metricalign.predictors import MetricNeighborsClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = MetricNeighborsClassifier(trees=False, random_state=0).fit(X[1:], y[1:])
    >>> display = ExplanationDisplay.from_estimator(model, X.iloc[[0]])
    >>> len(display.explanation.rows)
    5
    """

    def __init__(self, *, explanation: Explanation):
        self.explanation = explanation

    def plot(self, *, max_columns: int = 5, ax: Any = None) -> Self:
        """Draw the bars.

        Parameters
        ----------
        max_columns : int, default=5
            Number of columns with a colour of their own, at most ten. They have the largest shares.
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ExplanationDisplay
            This display.

        Raises
        ------
        ValueError
            If `max_columns` is not an integer of at least 1.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        check_count("max_columns", max_columns)
        found = self.explanation
        order = found.order()
        self.columns_ = shown = order[: min(max_columns, len(COLORS))]
        self.ax_ = ax = one_axes(ax, (8.4, 1.9 + 0.42 * len(found.rows)))
        self.figure_ = ax.figure
        parts = [found.contributions[:, column] for column in shown]
        labels = shortened([name_of_column(name) for name in found.columns[shown]])
        others = found.contributions[:, order[len(shown) :]]
        colors = list(COLORS[: len(shown)])
        if others.shape[1]:
            parts += [np.maximum(others, 0).sum(axis=1), np.minimum(others, 0).sum(axis=1)]
            labels += 2 * [f"{others.shape[1]} other{'s' if others.shape[1] > 1 else ''}"]
            colors += [_OTHERS, _OTHERS]
        places = np.arange(len(found.rows))
        ends = np.zeros((2, len(places)))  # right and left ends of the bars
        self.bars_ = []
        for part, label, color in zip(parts, labels, colors, strict=True):
            side = (part < 0).astype(int)
            start = ends[side, places]
            self.bars_.append(ax.barh(places, part, 0.7, start, color=color, label=label))
            ends[side, places] += part
        ax.axvline(0, color="black", linewidth=0.8)
        texts = [f"row {row}: {found.text_of_target(n)}" for n, row in enumerate(found.rows)]
        ax.set_yticks(places, [literal(text) for text in texts])
        ax.set_ylim(len(places) - 0.5, -0.5)
        title = f"nearest rows; prediction {found.text_of_prediction()}"
        if found.n_others:
            title += f"\n{found.n_others} more rows have {found.others_weight:.0%} of the votes"
        ax.set(xlabel="part in the squared distance", title=literal(title))
        ax.spines[["top", "right"]].set_visible(False)
        # Both parts of the others have one entry.
        named = len(shown) + 1 if others.shape[1] else len(shown)
        ax.legend(
            self.bars_[:named],
            labels[:named],
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            frameon=False,
        )
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        n_neighbors: int = 5,
        max_columns: int = 5,
        ax: Any = None,
    ) -> Self:
        """Explain the neighbours of a sample, and draw them.

        Parameters
        ----------
        estimator : MetricNeighborsClassifier or MetricNeighborsRegressor
            Fitted predictor.
        X : {array-like, DataFrame} of shape (n_features,) or (1, n_features)
            One sample.
        n_neighbors : int, default=5
            Number of nearest rows.
        max_columns : int, default=5
            Number of columns with a colour of their own, at most ten. They have the largest shares.
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : ExplanationDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If the metric is not a sum over columns.
        ValueError
            If X is not one sample, or if `max_columns` is not an integer of at least 1.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        display = cls(explanation=estimator.explain(X, n_neighbors))
        return display.plot(max_columns=max_columns, ax=ax)
