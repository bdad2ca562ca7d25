"""Picture of the duality gap during a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.plotting.drawing import COLORS, MARKERS, check_matplotlib, one_axes
from metricalign.plotting.estimators import metric_learner_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ConvergenceDisplay"]


class ConvergenceDisplay:
    """Relative duality gap against operator passes.

    The gap bounds how far the objective is above its optimum. It is divided by the final objective,
    as in `dual_gap_`. A fit stops when it is below `tol`.

    Use `from_estimator` to make a display. All parameters are stored as attributes.

    Parameters
    ----------
    passes : ndarray of shape (n_iter,)
        Number of operator passes after each iteration. A pass computes the distances of all pairs,
        or a sum over all pairs.
    relative_gap : ndarray of shape (n_iter,)
        Duality gap divided by the final objective, at least 0.
    tol : float or None, default=None
        The gap at which the fit should stop. None draws no line.
    name : str or None, default=None
        Name of the fit in the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The gap.
    tol_line_ : matplotlib LineCollection or None
        The line at `tol`.
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from metricalign import PSDSVR, RAMLSVR
    >>> from metricalign.plotting import ConvergenceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = ConvergenceDisplay.from_estimator(PSDSVR().fit(X, y))
    >>> ConvergenceDisplay.from_estimator(RAMLSVR().fit(X, y), ax=display.ax_)
    <...>
    """

    def __init__(
        self,
        *,
        passes: NDArray,
        relative_gap: NDArray,
        tol: float | None = None,
        name: str | None = None,
    ):
        self.passes = passes
        self.relative_gap = relative_gap
        self.tol = tol
        self.name = name

    def plot(self, *, ax: Axes | None = None, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the gap on a logarithmic axis.

        A gap of zero is drawn at 2.2e-16, the precision of float64. Several displays in the same
        axes have different colours and markers, and share the line of the same `tol`.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.
        name : str or None, default=None
            Name of the fit in the legend. None takes the name of the display.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : ConvergenceDisplay
            This display.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        self.ax_ = ax = one_axes(ax)
        self.figure_ = ax.figure
        place = len(ax.lines)
        style = {
            "label": self.name if name is None else name,
            "color": COLORS[place % len(COLORS)],
            "marker": MARKERS[place % len(MARKERS)],
            "markersize": 4,
        }
        drawn = np.maximum(self.relative_gap, np.finfo(np.float64).eps)
        (self.line_,) = ax.plot(self.passes, drawn, **{**style, **kwargs})
        self.tol_line_ = None
        if self.tol:
            placement = {"transform": ax.get_yaxis_transform()}
            style = {"colors": "black", "linestyles": "dashed", "linewidth": 1}
            self.tol_line_ = ax.hlines(self.tol, 0, 1, **style, **placement)
            label = f"tol = {self.tol:g}"
            if label not in [text.get_text() for text in ax.texts]:
                ax.text(1.01, self.tol, label, va="center", **placement)
        ax.set(yscale="log", xlabel="operator passes", ylabel="relative duality gap")
        if ax.get_legend_handles_labels()[1]:
            ax.legend()
        return self

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw the gap of a fitted metric learner.

        Parameters
        ----------
        estimator : convex metric learner or Pipeline
            Fitted metric learner with `gap_history_`, or a pipeline that ends in one.
        name : str or None, default=None
            Name of the fit in the legend. None takes the name of the class of the learner.
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : ConvergenceDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If `estimator` is neither of them.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        learner = metric_learner_of(estimator, LinearMetricLearner)
        passes, gap = learner.gap_history_.T
        size = max(abs(learner.objective_), np.finfo(np.float64).tiny)
        display = cls(
            passes=passes,
            relative_gap=np.maximum(gap, 0.0) / size,
            tol=learner.tol,
            name=type(learner).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)
