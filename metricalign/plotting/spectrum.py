"""Picture of the eigenvalues of a learned matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.base import MetricLearner
from metricalign.plotting.drawing import NEGATIVE, POSITIVE, check_matplotlib, one_axes
from metricalign.plotting.estimators import matrix_of_distance, metric_learner_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MetricSpectrumDisplay"]

# The markers of more points would hide the line.
_MOST_MARKERS = 50


class MetricSpectrumDisplay:
    """Eigenvalues of the learned matrix M, and the share of the first ones in their sum.

    The solved M may have negative eigenvalues, which are drawn below zero. The distance uses the
    positive ones only.

    Use `from_estimator` to make a display. All parameters are stored as attributes.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_features,)
        Eigenvalues of M, in decreasing order.
    n_components : int or None, default=None
        Number of eigenvalues that the distance keeps. None draws no line.
    name : str or None, default=None
        Title.

    Attributes
    ----------
    cumulative_share_ : ndarray of shape (n_features,)
        Sum of the positive eigenvalues among the first ones, divided by the sum of all positive
        ones. Zeros if there are none.
    stairs_ : list of two matplotlib StepPatch
        The positive and the negative eigenvalues.
    line_ : matplotlib Line2D
        The cumulative share.
    ax_, share_ax_ : matplotlib Axes
        Axes of the eigenvalues, and axes of the share, on the right.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RAMLSVR
    >>> from metricalign.plotting import MetricSpectrumDisplay
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), RAMLSVR()).fit(X, y)
    >>> MetricSpectrumDisplay.from_estimator(model)
    <...>
    """

    def __init__(
        self, *, eigenvalues: NDArray, n_components: int | None = None, name: str | None = None
    ):
        self.eigenvalues = eigenvalues
        self.n_components = n_components
        self.name = name

    def plot(self, *, ax: Axes | None = None, name: str | None = None) -> Self:
        """Draw the eigenvalues and their cumulative share.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.
        name : str or None, default=None
            Title. None takes the name of the display.

        Returns
        -------
        display : MetricSpectrumDisplay
            This display.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        self.ax_ = ax = one_axes(ax)
        self.figure_ = ax.figure
        positive = np.maximum(self.eigenvalues, 0)
        total = positive.sum()
        self.cumulative_share_ = np.cumsum(positive) / (total if total > 0 else 1)
        n_features = len(self.eigenvalues)
        edges = np.arange(n_features + 1) + 0.5
        negative = np.minimum(self.eigenvalues, 0)
        size = np.abs(self.eigenvalues).max()
        rounding = n_features * np.finfo(self.eigenvalues.dtype).eps * size
        note = "negative, left out" if negative.min() < -rounding else None
        self.stairs_ = [
            ax.stairs(values, edges, fill=True, color=color, label=label)
            for values, color, label in (
                (positive, POSITIVE, "positive"),
                (negative, NEGATIVE, note),
            )
        ]
        ax.axhline(0, color="black", linewidth=0.8)
        if self.n_components is not None:
            ax.axvline(
                self.n_components + 0.5,
                color="black",
                linestyle="dotted",
                label=f"{self.n_components} of {n_features} kept",
            )
        self.share_ax_ = ax.twinx()
        (self.line_,) = self.share_ax_.plot(
            np.arange(1, n_features + 1),
            self.cumulative_share_,
            color="black",
            marker="o" if n_features <= _MOST_MARKERS else None,
            markersize=3,
            linewidth=1,
            label="share of the positive sum (right)",
        )
        # Zero must be at the same height on both sides.
        lowest, highest = min(self.eigenvalues[-1], 0.0), self.eigenvalues[0]
        if highest <= 0:
            highest = -lowest or 1.0
        ax.set_ylim(1.08 * lowest, 1.08 * highest)
        self.share_ax_.set_ylim(1.08 * lowest / highest, 1.08)
        self.share_ax_.set_yticks(np.linspace(0, 1, 5))
        self.share_ax_.yaxis.set_major_formatter(PercentFormatter(1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set(
            xlim=(0.5, n_features + 0.6),
            xlabel="rank of the eigenvalue",
            ylabel="eigenvalue of M",
            title=self.name if name is None else name,
        )
        self.share_ax_.set_ylabel("cumulative share")
        handles = [*ax.get_legend_handles_labels()[0], self.line_]
        # The legend is below the axes, as no place inside them is free in every spectrum.
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
        return self

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Axes | None = None
    ) -> Self:
        """Draw the eigenvalues of a fitted metric learner's matrix.

        The matrix is `matrix_`, which includes the negative part. If there is no `matrix_`, it is
        `get_mahalanobis_matrix()`.

        Parameters
        ----------
        estimator : linear metric learner or Pipeline
            Fitted linear metric learner, or a pipeline that ends in one.
        name : str or None, default=None
            Title. None takes the name of the class of the learner.
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : MetricSpectrumDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If `estimator` is neither of them.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        learner = metric_learner_of(estimator, MetricLearner)
        if isinstance(learner, LinearMetricLearner):
            eigenvalues = learner._solved.eigenvalues()
        else:
            M = matrix_of_distance(learner)
            eigenvalues = M.diagonal() if sparse.issparse(M) else np.linalg.eigvalsh(M)
        display = cls(
            eigenvalues=np.sort(eigenvalues)[::-1],
            n_components=learner.components_.shape[0],
            name=type(learner).__name__ if name is None else name,
        )
        return display.plot(ax=ax)
