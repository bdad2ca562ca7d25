"""Picture of distances against relations, before and after a metric was learned."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.random import sample_without_replacement

from metricalign.pairs import RandomPairs
from metricalign.plotting.drawing import COLORS, axes_of_panels, check_count, check_matplotlib
from metricalign.plotting.estimators import euclidean_learner, metric_learner_of, prepared

__all__ = ["DistanceRelationDisplay"]

# If there are at most so many distinct relations, each has a box.
_MOST_BOXES = 10
# A cloud of pairs has so many medians.
_N_MEDIANS = 10


class DistanceRelationDisplay:
    """Distance of pairs of samples against the relation of their targets.

    The left panel has Euclid's distance, and the right panel the learned one. Under a good metric,
    the distance grows with the relation. The title of each panel has the concordance, which is the
    `score` of a metric learner: among two pairs with different relations, the share for which the
    pair with the larger relation has the larger distance.

    Use `from_estimator` to make a display. All parameters are stored as attributes.

    Parameters
    ----------
    relations : ndarray of shape (n_pairs,)
        Relation of each pair.
    distances_before, distances_after : ndarray of shape (n_pairs,)
        Euclid's and the learned distance of each pair, not squared.
    score_before, score_after : float or None, default=None
        Concordance of each of the two distances. None leaves it out.
    relation_name : str or None, default=None
        Name of the relation, see `metricalign.relations`.
    name : str or None, default=None
        Title of the second panel.

    Attributes
    ----------
    boxes_ : list of two dict, or None
        The boxes, if the pairs have at most 10 distinct relations.
    hexbins_ : list of two matplotlib PolyCollection, or None
        Counts of pairs in hexagons, if there are more relations.
    lines_ : list of two matplotlib Line2D, or None
        Median distances of ten groups of pairs, if there are more relations. The groups have equal
        size and are made by relation.
    axes_ : ndarray of two matplotlib Axes
        Axes of the panels.
    figure_ : matplotlib Figure
        The figure of `axes_`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from metricalign import RAMLSVR
    >>> from metricalign.plotting import DistanceRelationDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> learner = RAMLSVR().fit(X, y)
    >>> display = DistanceRelationDisplay.from_estimator(learner, X, y, random_state=0)
    >>> display.score_after > display.score_before
    True
    """

    def __init__(
        self,
        *,
        relations: NDArray,
        distances_before: NDArray,
        distances_after: NDArray,
        score_before: float | None = None,
        score_after: float | None = None,
        relation_name: str | None = None,
        name: str | None = None,
    ):
        self.relations = relations
        self.distances_before = distances_before
        self.distances_after = distances_after
        self.score_before = score_before
        self.score_after = score_after
        self.relation_name = relation_name
        self.name = name

    def plot(self, *, ax: ArrayLike | None = None, name: str | None = None) -> Self:
        """Draw the two panels.

        If there are at most ten distinct relations, each has a box with the median, the quartiles,
        and whiskers from the 5th to the 95th percentile. Otherwise pairs are counted in hexagons.

        Parameters
        ----------
        ax : array-like of two matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.
        name : str or None, default=None
            Title of the second panel. None takes the name of the display.

        Returns
        -------
        display : DistanceRelationDisplay
            This display.

        Raises
        ------
        ValueError
            If `ax` is not two axes.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        self.axes_ = axes = axes_of_panels(ax)
        self.figure_ = axes[0].figure
        self.boxes_: list[Any] | None = None
        self.hexbins_: list[Any] | None = None
        self.lines_: list[Any] | None = None
        # Equal relations may differ by the rounding of their scale.
        size = np.abs(self.relations).max() or 1.0
        values, group = np.unique(np.round(self.relations / size, 12), return_inverse=True)
        distances = (self.distances_before, self.distances_after)
        if len(values) <= _MOST_BOXES:
            labels = self._labels(values * size)
            self.boxes_ = [
                _draw_boxes(axis, [distance[group == k] for k in range(len(values))], labels)
                for axis, distance in zip(axes, distances, strict=True)
            ]
        else:
            self._draw_hexagons(axes, distances)
        relation = (self.relation_name or "").replace("_", " ")
        names = ("Euclid", self.name if name is None else name)
        scores = (self.score_before, self.score_after)
        for axis, title, score in zip(axes, names, scores, strict=True):
            parts = [title] if title else []
            parts += [] if score is None else [f"concordance {score:.3f}"]
            axis.set(
                title=": ".join(parts),
                xlabel=f"relation of the targets{f' ({relation})' if relation else ''}",
                ylabel="distance of the samples",
            )
        return self

    def _labels(self, values):
        if self.relation_name in ("class", "zero_one"):
            return ["same" if value <= 0 else "different" for value in values]
        return [f"{value:.3g}" for value in values]

    def _draw_hexagons(self, axes, distances):
        from matplotlib.colors import LogNorm
        from matplotlib.patheffects import withStroke

        self.hexbins_ = [
            axis.hexbin(self.relations, distance, gridsize=30, mincnt=1, cmap="Blues", linewidths=0)
            for axis, distance in zip(axes, distances, strict=True)
        ]
        norm = LogNorm(1, max(2, *(hexbin.get_array().max() for hexbin in self.hexbins_)))
        for hexbin in self.hexbins_:
            hexbin.set_norm(norm)
        order = np.argsort(self.relations, kind="stable")
        groups = np.array_split(order, _N_MEDIANS)
        places = [np.median(self.relations[group]) for group in groups]
        self.lines_ = []
        for axis, distance in zip(axes, distances, strict=True):
            medians = [np.median(distance[group]) for group in groups]
            self.lines_ += axis.plot(places, medians, color=COLORS[6], marker="o", zorder=3)
            # The label is beside the line, as a legend would cover pairs.
            axis.annotate(
                "median",
                (places[-1], medians[-1]),
                (0, 9),
                textcoords="offset points",
                ha="center",
                weight="bold",
                color=COLORS[6],
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
        self.figure_.colorbar(self.hexbins_[1], ax=list(axes), label="pairs")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_pairs: int = 10_000,
        random_state: Any = None,
        name: str | None = None,
        ax: ArrayLike | None = None,
    ) -> Self:
        """Draw pairs of samples before and after a fitted metric learner.

        Parameters
        ----------
        estimator : metric learner or Pipeline
            Fitted metric learner, or a pipeline that ends in one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, seen in training or not.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Targets of the samples, of the kind in fit.
        n_pairs : int, default=10000
            If there are more pairs, so many random ones are drawn. If relations are precomputed,
            only pairs with a relation are drawn. The concordances do not depend on the drawn pairs.
        random_state : int, RandomState instance or None, default=None
            Seed of the random choice.
        name : str or None, default=None
            Title of the second panel. None takes the name of the class of the learner.
        ax : array-like of two matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.

        Returns
        -------
        display : DistanceRelationDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If `estimator` is neither of them.
        ValueError
            If X and y do not fit together, if y is not of the kind in fit, if no two samples
            differ, if `n_pairs` is not an integer of at least 1, or if `ax` is not two axes.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        check_count("n_pairs", n_pairs)
        learner = metric_learner_of(estimator)
        X = prepared(estimator, X)
        euclid = euclidean_learner(learner)
        relation = learner.relation_
        score_before, score_after = euclid.score(X, y), learner.score(X, y)
        targets = relation.encode(y)
        before, after = euclid._images_to_compare(X), learner._images_to_compare(X)
        if relation.kind == "precomputed":
            pairs = relation.stored_pairs(targets)
            if n_pairs < len(pairs):
                chosen = sample_without_replacement(len(pairs), n_pairs, random_state=random_state)
                pairs = pairs[np.sort(chosen)]
        else:
            pairs = RandomPairs(n_pairs).select(before, random_state=random_state).indices
        left, right = pairs.T
        display = cls(
            relations=relation(targets, pairs),
            distances_before=np.linalg.norm(before[left] - before[right], axis=1),
            distances_after=np.linalg.norm(after[left] - after[right], axis=1),
            score_before=score_before,
            score_after=score_after,
            relation_name=relation.name,
            name=type(learner).__name__ if name is None else name,
        )
        return display.plot(ax=ax)


def _draw_boxes(axis, groups, labels):
    boxes = axis.boxplot(
        groups,
        positions=range(len(groups)),
        widths=0.6,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": COLORS[9]},
        medianprops={"color": "black", "linewidth": 2},
    )
    axis.set_xticks(range(len(groups)), labels)
    axis.set_ylim(bottom=0)
    return boxes
