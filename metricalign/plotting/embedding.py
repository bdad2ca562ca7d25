"""Picture of samples in two dimensions, before and after a metric was learned."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import _num_samples

from metricalign.plotting.drawing import (
    COLORS,
    MARKERS,
    axes_of_panels,
    check_count,
    check_matplotlib,
    literal,
    shortened,
)
from metricalign.plotting.estimators import euclidean_learner, metric_learner_of, prepared
from metricalign.relations import check_targets

__all__ = ["EmbeddingDisplay"]

# Up to so many classes have a legend.
_LONGEST_LEGEND = 30


class EmbeddingDisplay:
    """Samples in the plane of their largest variance, under Euclid's and the learned distance.

    The left panel has the first two principal components of the samples. The right panel has those
    of the transformed samples. In each panel, both axes have the same unit, so distances are right.

    Use `from_estimator` to make a display. All parameters are stored as attributes.

    Parameters
    ----------
    before, after : ndarray of shape (n_samples, 2)
        Points of the two panels.
    target : ndarray of shape (n_samples,) or None, default=None
        A class or a number that colours each sample. None gives all samples one colour.
    is_class : bool, default=False
        Whether `target` is a class.
    target_name : str or None, default=None
        Title of the legend or of the colour bar.
    name : str or None, default=None
        Title of the second panel.

    Attributes
    ----------
    scatters_ : list of two lists of matplotlib PathCollection
        The points of each panel. There is one collection for each class, or one for all samples.
    colorbar_ : matplotlib Colorbar or None
        The colour bar, if the target is a number.
    legend_ : matplotlib Legend or None
        The legend, if there are at most 30 classes.
    axes_ : ndarray of two matplotlib Axes
        Axes of the panels.
    figure_ : matplotlib Figure
        The figure of `axes_`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RAMLSVR
    >>> from metricalign.plotting import EmbeddingDisplay
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), RAMLSVR()).fit(X, y)
    >>> display = EmbeddingDisplay.from_estimator(model, X, y)
    >>> display.after.shape
    (178, 2)
    """

    def __init__(
        self,
        *,
        before: NDArray,
        after: NDArray,
        target: NDArray | None = None,
        is_class: bool = False,
        target_name: str | None = None,
        name: str | None = None,
    ):
        self.before = before
        self.after = after
        self.target = target
        self.is_class = is_class
        self.target_name = target_name
        self.name = name

    def plot(self, *, ax: ArrayLike | None = None, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the two panels.

        Classes differ in colour and marker, and have a legend if there are at most 30. A number
        has a colour bar.

        Parameters
        ----------
        ax : array-like of two matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure. The legend is on the right of the second
            axes. A figure with constrained layout makes room for it.
        name : str or None, default=None
            Title of the second panel. None takes the name of the display.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : EmbeddingDisplay
            This display.

        Raises
        ------
        ValueError
            If `ax` is not two axes.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        self.axes_ = axes = axes_of_panels(ax)
        self.figure_ = axes[0].figure
        self.legend_ = self.colorbar_ = None
        draw = self._draw_classes if self.is_class else self._draw_numbers
        self.scatters_ = [
            draw(axis, points, kwargs)
            for axis, points in zip(axes, (self.before, self.after), strict=True)
        ]
        titles = ("Euclid", self.name if name is None else name)
        for axis, title in zip(axes, titles, strict=True):
            axis.set(
                title=title,
                xlabel="first principal component",
                ylabel="second principal component",
            )
            axis.set_aspect("equal", adjustable="datalim")
        target_name = None if self.target_name is None else literal(str(self.target_name))
        if self.is_class:
            n_classes = len(self.scatters_[1])
            if n_classes <= _LONGEST_LEGEND:
                # Of itself matplotlib leaves out labels that begin with an underscore.
                self.legend_ = axes[1].legend(
                    self.scatters_[1],
                    [drawn.get_label() for drawn in self.scatters_[1]],
                    title=target_name,
                    loc="upper left",
                    bbox_to_anchor=(1.02, 1.0),
                    borderaxespad=0.0,
                    ncols=1 if n_classes <= 15 else 2,
                    frameon=False,
                )
        elif self.target is not None:
            # Both panels have the same scale of colours.
            self.scatters_[0][0].set_norm(self.scatters_[1][0].norm)
            self.colorbar_ = self.figure_.colorbar(
                self.scatters_[1][0], ax=list(axes), label=target_name
            )
        return self

    def _draw_classes(self, axis, points, kwargs):
        classes, codes = np.unique(np.asarray(self.target), return_inverse=True)
        labels = shortened(classes)
        drawn = []
        for code, label in enumerate(labels):
            # With ten colours and eleven markers, no two of 110 classes look the same.
            color, marker = COLORS[code % len(COLORS)], MARKERS[code % len(MARKERS)]
            style = {"s": 20, "color": color, "marker": marker, "alpha": 0.8}
            drawn.append(
                axis.scatter(*points[codes == code].T, **{**style, "label": label, **kwargs})
            )
        return drawn

    def _draw_numbers(self, axis, points, kwargs):
        if self.target is None:
            return [
                axis.scatter(*points.T, **{"s": 20, "color": COLORS[0], "alpha": 0.8, **kwargs})
            ]
        style = {"s": 20, "c": self.target, "cmap": "viridis"}
        return [axis.scatter(*points.T, **{**style, **kwargs})]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        subsample: int | None = 2000,
        random_state: Any = None,
        name: str | None = None,
        ax: ArrayLike | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw samples before and after a fitted metric learner.

        Parameters
        ----------
        estimator : metric learner or Pipeline
            Fitted metric learner, or a pipeline that ends in one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, seen in training or not.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs) or None, default=None
            Targets of the kind in fit. Classes and numbers colour the samples. Several columns
            colour them by their first principal component. Columns of several numbers are
            standardised before. None gives all samples one colour.
        subsample : int or None, default=2000
            If there are more samples, so many random ones are drawn. None draws all.
        random_state : int, RandomState instance or None, default=None
            Seed of the random choice.
        name : str or None, default=None
            Title of the second panel. None takes the name of the class of the learner.
        ax : array-like of two matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : EmbeddingDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If `estimator` is neither of them.
        ValueError
            If X and y do not fit together, if y is not of the kind in fit or is a matrix of
            relations, if `subsample` is not an integer of at least 1, or if `ax` is not two axes.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        if subsample is not None:
            check_count("subsample", subsample)
        learner = metric_learner_of(estimator)
        target, target_name = None, None
        if y is not None:
            check_consistent_length(X, y)
            target_name = getattr(y, "name", None) or "target"
            y = _checked_targets(learner.relation_, y)
        n_samples = _num_samples(X)
        if subsample is not None and subsample < n_samples:
            rows = sample_without_replacement(n_samples, subsample, random_state=random_state)
            rows.sort()
            X = _safe_indexing(X, rows)
            y = None if y is None else y[rows]
        X = prepared(estimator, X)
        if y is not None:
            target = y
            if y.ndim == 2:
                if sparse.issparse(y):
                    y = y.toarray()
                if learner.relation_.kind == "multioutput":
                    y = StandardScaler().set_output(transform="default").fit_transform(y)
                target = _principal_components(y)[:, 0]
                target_name = "first principal component of the targets"
        display = cls(
            before=_principal_components(euclidean_learner(learner)._images_to_compare(X)),
            after=_principal_components(learner._images_to_compare(X)),
            target=target,
            is_class=learner.relation_.is_of_classes and target is not None,
            target_name=target_name,
            name=type(learner).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)


def _checked_targets(relation, y):
    if relation.kind == "precomputed":
        raise ValueError(
            "The metric was fitted to a matrix of relations, which does not colour samples. Use "
            "y=None, or give the colours to EmbeddingDisplay as target."
        )
    relation.encode(y)
    return check_targets(y)


def _principal_components(X) -> NDArray:
    """Return the first two principal components. They are zeros if the samples have fewer."""
    components = np.zeros((len(X), 2))
    if len(X) > 1 and np.ptp(X, axis=0).any():
        analysis = PCA(min(2, *X.shape), random_state=0).set_output(transform="default")
        found = analysis.fit_transform(X)
        components[:, : found.shape[1]] = found
    return components
