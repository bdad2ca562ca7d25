"""Picture of the features that make the distance of two samples."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metricalign._arrays import one_sample
from metricalign.learners.base import MetricLearner
from metricalign.plotting.drawing import (
    NEGATIVE,
    POSITIVE,
    axes_of_panels,
    check_count,
    check_matplotlib,
    draw_signed_matrix,
    shortened,
)
from metricalign.plotting.estimators import (
    euclidean_learner,
    feature_names_of,
    metric_learner_of,
    prepared,
)

__all__ = ["DistanceDecompositionDisplay"]


class DistanceDecompositionDisplay:
    """Contributions of features and pairs of features to the learned distance of two samples.

    Let z be the difference of the two samples, and M the positive semidefinite matrix of the
    learned distance. The squared distance is a sum over all pairs of features::

        d^2 = sum_ij z_i M_ij z_j = sum_i z_i (M z)_i

    The term of i and j is the contribution of this pair of features. The sum of row i, z_i (M z)_i,
    is the contribution of feature i. Both kinds of contributions sum to d^2 exactly. If one is
    negative, the feature makes up for the difference in others.

    Use `from_estimator` to make a display. All parameters are stored as attributes.

    Parameters
    ----------
    pair_contributions : ndarray of shape (n_features, n_features)
        Contributions z_i M_ij z_j of the pairs of features.
    feature_names : array-like of str of shape (n_features,)
        Names of the features.
    name : str or None, default=None
        Name of the distance in the title.

    Attributes
    ----------
    contributions : ndarray of shape (n_features,)
        Contributions z_i (M z)_i of the features, the row sums of `pair_contributions`.
    squared_distance : float
        The squared distance d^2, the sum of all contributions.
    features_ : ndarray of int
        The features with a bar of their own, by decreasing size of their contribution.
    bars_ : matplotlib BarContainer
        The contributions of these features, and the sum of the others.
    image_ : matplotlib AxesImage
        The contributions of the pairs of these features.
    axes_ : ndarray of two matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure of `axes_`.

    Examples
    --------
    Why is the nearest sample near?

    >>> from sklearn.datasets import load_wine
    >>> from sklearn.neighbors import NearestNeighbors
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RAMLSVR
    >>> from metricalign.plotting import DistanceDecompositionDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), RAMLSVR()).fit(X, y)
    >>> images = model.transform(X)
    >>> neighbor = NearestNeighbors(n_neighbors=2).fit(images).kneighbors(images[:1])[1][0, 1]
    >>> display = DistanceDecompositionDisplay.from_estimator(
    ...     model, X.iloc[[0]], X.iloc[[neighbor]]
    ... )
    >>> bool(abs(display.contributions.sum() - display.squared_distance) < 1e-12)
    True
    """

    def __init__(
        self, *, pair_contributions: NDArray, feature_names: ArrayLike, name: str | None = None
    ):
        self.pair_contributions = pair_contributions
        self.feature_names = feature_names
        self.name = name

    @property
    def contributions(self) -> NDArray:
        """Contribution of each feature, z_i (M z)_i."""
        return self.pair_contributions.sum(axis=1)

    @property
    def squared_distance(self) -> float:
        """Squared distance, the sum of all contributions."""
        return float(self.pair_contributions.sum())

    def plot(
        self, *, max_features: int = 10, ax: ArrayLike | None = None, name: str | None = None
    ) -> Self:
        """Draw the contributions of features as bars, those of pairs as a matrix.

        Parameters
        ----------
        max_features : int, default=10
            Largest number of features with a bar of their own. They have the largest contributions.
            The other features share one bar.
        ax : array-like of two matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.
        name : str or None, default=None
            Name of the distance in the title. None takes the name of the display.

        Returns
        -------
        display : DistanceDecompositionDisplay
            This display.

        Raises
        ------
        ValueError
            If `max_features` is not an integer of at least 1, or `ax` is not two axes.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        check_count("max_features", max_features)
        order = np.argsort(-np.abs(self.contributions), kind="stable")
        self.features_ = shown = order[:max_features]
        names = shortened(np.asarray(self.feature_names)[shown])
        sums = self.contributions[shown]
        labels = names
        n_others = len(order) - len(shown)
        if n_others:
            sums = np.append(sums, self.contributions[order[max_features:]].sum())
            labels = [*names, f"{n_others} other{'s' if n_others > 1 else ''}"]

        self.axes_ = axes = axes_of_panels(ax, figsize=(11.0, 4.4 + 0.16 * len(labels)))
        self.figure_ = axes[0].figure
        places = np.arange(len(labels))
        colors = np.where(sums < 0, NEGATIVE, POSITIVE)
        self.bars_ = axes[0].barh(places, sums, color=colors)
        # This leaves room for the shares at the ends of the bars.
        lowest, highest = min(sums.min(), 0.0), max(sums.max(), 0.0)
        reach = 0.2 * (highest - lowest or 1.0)
        axes[0].set_xlim(lowest - reach if lowest < 0 else 0.0, highest + reach)
        if self.squared_distance > 0:
            # The sum turns -0.0 into 0.0.
            shares = np.round(sums / self.squared_distance, 2) + 0.0
            axes[0].bar_label(self.bars_, [f"{share:.0%}" for share in shares], padding=3)
        axes[0].axvline(0, color="black", linewidth=0.8)
        axes[0].set_yticks(places, labels)
        axes[0].set_ylim(len(labels) - 0.5, -0.5)
        title = self.name if name is None else name
        axes[0].set(
            xlabel="contribution to the squared distance",
            title=f"{title + ': ' if title else ''}squared distance {self.squared_distance:.3g}",
        )
        pairs = self.pair_contributions[np.ix_(shown, shown)]
        self.image_ = draw_signed_matrix(axes[1], pairs, names, "contribution")
        axes[1].set_title("pairs of features")
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        x_left: ArrayLike,
        x_right: ArrayLike,
        *,
        feature_names: ArrayLike | None = None,
        max_features: int = 10,
        name: str | None = None,
        ax: ArrayLike | None = None,
    ) -> Self:
        """Decompose the learned distance of two samples, such as one and its neighbour.

        Parameters
        ----------
        estimator : linear metric learner or Pipeline
            Fitted linear metric learner, or a pipeline that ends in one.
        x_left, x_right : {array-like, sparse matrix} of shape (n_features,) or (1, n_features)
            The two samples. For a pipeline that selects columns by name, tables of one row.
        feature_names : array-like of str of shape (n_features,) or None, default=None
            Names of the features of the metric learner. None takes the names that it knows.
        max_features : int, default=10
            Largest number of features with a bar of their own. They have the largest contributions.
            The other features share one bar.
        name : str or None, default=None
            Name of the distance in the title. None takes the name of the class of the learner.
        ax : array-like of two matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : DistanceDecompositionDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If `estimator` is neither of them.
        ValueError
            If `x_left` or `x_right` is not one sample, if there is not one name for each feature,
            if `max_features` is not an integer of at least 1, or if `ax` is not two axes.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        learner = metric_learner_of(estimator, MetricLearner)
        euclid = euclidean_learner(learner)
        left, right = (
            np.asarray(euclid.transform(prepared(estimator, one_sample(sample, which))))[0]
            for sample, which in ((x_left, "x_left"), (x_right, "x_right"))
        )
        difference = left - right
        display = cls(
            pair_contributions=np.outer(difference, difference) * learner.get_mahalanobis_matrix(),
            feature_names=feature_names_of(estimator, feature_names),
            name=type(learner).__name__ if name is None else name,
        )
        return display.plot(max_features=max_features, ax=ax)
