"""Discriminant analysis for every kind of target, which learns a metric in closed form."""

from __future__ import annotations

import warnings
from functools import reduce
from numbers import Integral, Real
from operator import add
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from metricalign._arrays import as_dense, in_memory
from metricalign._decorators import _fit_context
from metricalign._estimator import check_sample_weight, keeps_last_fit, level_of_call
from metricalign.learners.base import MetricLearner
from metricalign.learners.components import components_of, mixture
from metricalign.learners.coordinates import relations_to_landmarks, target_groups
from metricalign.learners.moments import Moments, SeenSamples, group_members, moments_of
from metricalign.learners.shrinkage import least_error, shrunk_root, spectrum_of
from metricalign.pairs.distinct import check_extent, check_magnitude, in_span
from metricalign.pairs.identical import (
    RemoteSamples,
    first_identical,
    map_blocks,
    merge_identical_samples,
)
from metricalign.relations import check_targets, resolve_relation, select_targets

__all__ = ["DiscriminantAlignment"]

# shrinkage="auto" for classes, and where generalised cross-validation has no minimum.
# docs/defaults.md has the measurements.
_SHRINKAGE = 0.5


class DiscriminantAlignment(MetricLearner):
    r"""Distance of the predictions of the targets by ridge regression, in closed form.

    This is linear discriminant analysis for every kind of target. The relation g is taken as the
    squared distance of two targets. Then the matrix

    .. math::
        M = S^{-1} B S^{-1}, \qquad
        B = -\frac{1}{2 n^2} \sum_{i,j} g(y_i, y_j) (x_i - \bar x)(x_j - \bar x)^T,

    is that of the distance of their predictions by ridge regression on the features, where S is the
    shrunk covariance of the samples. Targets need not be vectors, as only their relations are
    needed. The part of B that is positive semidefinite is taken. The metric uses only the part of
    the targets that is linear in the features. If they are nearly linear, it is hard to beat.

    With k classes, M has rank k - 1, which is too low for neighbours. So a share of the distance of
    whitened samples is added, whose matrix is the inverse of S where the samples vary. Neighbours
    are then near in the other directions as well. The sum is
    :math:`S^{-1/2} (B^* + \epsilon I) S^{-1/2}` with the positive part :math:`B^*` of
    :math:`S^{-1/2} B S^{-1/2}`, as in discriminant adaptive nearest neighbors, but with one metric
    for all samples, and with the covariance of all samples in place of that within classes. It has
    norm 1 in coordinates in which S is the identity, as only ratios of distances count.

    Parameters
    ----------
    shrinkage : float or "auto", default="auto"
        S is the covariance of the samples, shrunk toward the multiple of the identity with the same
        trace. Values near 0 are regression without a penalty, and 1 is the matrix of largest
        kernel-target alignment. "auto" is 0.5 for classes. For other targets it is the shrinkage of
        the ridge regression with the least error by generalised cross-validation, from 0.001 to
        0.99. A sparse X becomes dense if this is below 1, or if X has fewer samples than features.
    whitening : float or "auto", default="auto"
        Share of the distance of whitened samples in the mean squared distance of the samples, from
        0 to 1, before Euclid's distance is added. "auto" is 0.2 for classes and 0 for other
        targets, such as precomputed relations.
    euclidean : float or "auto", default="auto"
        Share of Euclid's distance, in the directions in which the samples vary, in the mean
        squared distance of the whole sum, from 0 to 1. The learned and the whitened part share the
        rest. "auto" is 0.1 for classes and 0 for other targets.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`. Precomputed ones must be dense.
    n_components : int, float or None, default=None
        How many components to keep: a number, the share of the spectrum in coordinates in which S
        is the identity (between 0 and 1), or all. If a part is added, the leading principal
        components of the images are kept, and the share is that of the mean squared distance.
    n_landmarks : int or None, default=2000
        If there are more distinct targets (samples, if relations are precomputed), all are compared
        only with those of this many random samples, the landmarks. Time is proportional to the
        product of both numbers. None: all are compared with all.
    random_state : int, RandomState instance or None, default=None
        Seed of the landmarks.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Linear map of the metric, which is Euclid's distance after ``X @ components_.T``.
    relation_ : TargetRelation
        The relation that was used.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.
    shrinkage_ : float
        The shrinkage that was used.

    References
    ----------
    Golub, Heath, Wahba, Generalized Cross-Validation as a Method for Choosing a Good Ridge
    Parameter, Technometrics 21 (1979), for shrinkage="auto".
    Hastie, Tibshirani, Discriminant Adaptive Nearest Neighbor Classification, IEEE PAMI 18 (1996),
    equation 2, for the whitened part.
    Ye, Least Squares Linear Discriminant Analysis, ICML 2007, for classes.
    Cristianini, Shawe-Taylor, Elisseeff, Kandola, On Kernel-Target Alignment, NIPS 2001, for
    shrinkage=1.
    Torgerson, Multidimensional Scaling, Psychometrika 17 (1952), for targets given by distances.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import DiscriminantAlignment
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), DiscriminantAlignment(), KNeighborsClassifier())
    >>> bool(cross_val_score(model, X, y).mean() > 0.97)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "shrinkage": [Interval(Real, 0, 1, closed="right"), StrOptions({"auto"})],
        "whitening": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "euclidean": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "relation": [str, callable],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
            None,
        ],
        "n_landmarks": [Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        shrinkage: float | Literal["auto"] = "auto",
        whitening: float | Literal["auto"] = "auto",
        euclidean: float | Literal["auto"] = "auto",
        relation: Any = "auto",
        n_components: int | float | None = None,
        n_landmarks: int | None = 2000,
        random_state: Any = None,
    ):
        self.shrinkage = shrinkage
        self.whitening = whitening
        self.euclidean = euclidean
        self.relation = relation
        self.n_components = n_components
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : {array-like, sparse matrix, Dask array or DataFrame} of shape (n_samples, n_features)
            Samples. float32 stays float32.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Their targets. The relations of all pairs if ``relation="precomputed"``.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight 2 is the same as having the sample twice, weight 0 as not having it.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid, or no metric can be learned from the targets.

        Warns
        -----
        UserWarning
            If nothing is learned, as the targets have no linear relation to the features, or the
            relations grow with the similarity of the samples. M is zero then, but for the whitened
            and the Euclidean part.
        """
        X, y, samples = self._validate_distinct(X, y, sample_weight)
        unit = samples.weight.max()
        X, weight = X[samples.rows], samples.weight / unit
        relation, targets = samples.relation, samples.targets
        n_samples, n_features = X.shape
        span = None
        if n_samples < n_features and not isinstance(X, RemoteSamples):
            check_extent(float((X.max(axis=0) - X.min(axis=0)).max()), X.dtype)
            X, span = in_span(X, np.asarray(X.T @ (weight / weight.sum()).astype(X.dtype)))
        representatives, group = target_groups(relation, targets)
        if self.n_landmarks is None or len(representatives) <= self.n_landmarks:
            moments = _sum_of_moments(X, weight, group, len(representatives))
            several = representatives[np.bincount(group) > 1]
            comparison = _compare_groups(relation, targets, representatives, several, moments)
        else:
            order = check_random_state(self.random_state).permutation(n_samples)
            drawn = np.sort(order[: self.n_landmarks])
            moments = _sum_of_moments(X, weight, np.full(n_samples, -1), 0)
            comparison = _compare_with_landmarks(
                relation, targets, representatives, group, drawn, X, weight, moments
            )
        components, shrinkage = self._components(relation, moments, comparison, n_samples, X.dtype)
        self._seen = None
        if span is not None:
            components = components @ span
        elif len(moments.group_sums) and _is_known_from_groups(relation):
            y = samples.select(y)[representatives]
            self._seen = SeenSamples(y, np.bincount(group), moments, unit)
        self.relation_, self.shrinkage_, self.components_ = relation, shrinkage, components
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from further samples. The metric is that of one `fit` to all samples so far.

        Only sums over the samples so far are kept: one of their products, a matrix of shape
        (n_features, n_features), and one of the samples of each distinct target. So there must be
        no more distinct targets than `n_landmarks`. With ``shrinkage="auto"``, equal samples of
        several calls count as several samples. `fit` takes them for one of a larger weight.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. After the first call, one sample is enough.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets. New ones may occur.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight 2 is the same as having the sample twice, weight 0 as not having it.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid, no metric can be learned from the targets so far, or sums
            are not enough, as for more distinct targets than `n_landmarks`, several columns of
            numbers, precomputed relations, and after a `fit` to fewer samples than features.
        """
        seen = getattr(self, "_seen", None)
        if seen is None and hasattr(self, "components_"):
            raise ValueError(
                f"partial_fit cannot go on from the fit of this {type(self).__name__}, as the sums "
                "that it kept are not enough. Begin with partial_fit, or fit all samples at once."
            )
        X = self._validate_samples(X, y, reset=seen is None, ensure_min_samples=1)
        check_magnitude(X)
        y = check_targets(y)
        check_consistent_length(X, y)
        weight = check_sample_weight(sample_weight, X)
        rows, weight = merge_identical_samples(X, y, weight)
        X, y = X[rows], y[rows]
        known = y if seen is None else seen.targets_with(y)
        n_seen = known.shape[0] - len(rows)
        representatives, group = np.unique(first_identical(known), return_inverse=True)
        n_groups = len(representatives)
        if self.n_landmarks is not None and n_groups > self.n_landmarks:
            raise ValueError(
                f"partial_fit keeps a sum for each distinct target. By now there are {n_groups} of "
                f"them, more than n_landmarks={self.n_landmarks}. Increase it, or fit all samples "
                "at once."
            )
        if n_groups < 2:
            raise ValueError(
                "y has the same target in all samples so far. Begin with samples of at least two "
                "different targets."
            )
        relation = resolve_relation(self.relation, known[representatives])
        if not _is_known_from_groups(relation):
            raise ValueError(
                f"partial_fit cannot use a relation of the kind {relation.kind!r}, as it depends "
                "on all samples. Fit all samples at once."
            )
        unit = weight.max() if seen is None else seen.unit
        moments = moments_of(X, weight / unit, group[n_seen:], n_groups)
        sizes = np.bincount(group[n_seen:], minlength=n_groups)
        if seen is not None:
            moments = seen.moments.regrouped(group[:n_seen], n_groups) + moments
            sizes += np.bincount(group[:n_seen], seen.sizes, minlength=n_groups).astype(int)
        seen = SeenSamples(known[representatives], sizes, moments, unit)
        targets = relation.encode(seen.y)
        groups, several = np.arange(n_groups), np.flatnonzero(sizes > 1)
        comparison = _compare_groups(relation, targets, groups, several, moments)
        learned = self._components(relation, moments, comparison, sizes.sum(), X.dtype)
        self._seen, self.relation_ = seen, relation
        self.components_, self.shrinkage_ = learned
        return self

    def _components(self, relation, moments, comparison, n_samples, dtype):
        """Return the components of the metric and its shrinkage."""
        extents = moments.largest - moments.smallest
        check_extent(float(extents.max()), dtype)
        # A constant feature may have a variance by rounding, which is removed.
        varies = extents > 0
        covariance = np.where(np.outer(varies, varies), moments.scatter / moments.weight, 0)
        between = np.where(np.outer(varies, varies), comparison.between, 0)
        values, vectors = spectrum_of(covariance, n_samples < len(covariance))
        shrinkage: Any = self.shrinkage
        if shrinkage == "auto" and not relation.is_of_classes:
            of_targets = comparison.scatter, moments.effective_size
            shrinkage = least_error(values, vectors, between, *of_targets)
        if shrinkage in (None, "auto"):
            shrinkage = _SHRINKAGE
        whitening_map = shrunk_root(values, vectors, shrinkage)
        covariance = whitening_map @ covariance @ whitening_map
        between = comparison.normed(whitening_map @ between @ whitening_map)
        whitening, euclidean = self.whitening, self.euclidean
        # docs/tried.md and docs/defaults.md have the measurements.
        if whitening == "auto":
            whitening = 0.2 if relation.is_of_classes else 0.0
        if euclidean == "auto":
            euclidean = 0.1 if relation.is_of_classes else 0.0
        share = max(whitening, euclidean)
        n_learned = None if share > 0 else self.n_components
        components = components_of(between.astype(dtype), n_learned)
        if share < 1 and not components.any():
            cause = "no linear relation to the features"
            if between.any():
                cause = "a relation that is larger for similar samples, as no distance can be"
            result = "only the part without targets" if share else "the zero metric"
            warnings.warn(
                f"{type(self).__name__} learned {result}: the targets have {cause}. Check "
                "the sign of the relation, or try another learner.",
                UserWarning,
                stacklevel=level_of_call(),
            )
        if share > 0:
            components = _mixture(
                components, whitening, euclidean, covariance, whitening_map, self.n_components
            )
        return components.astype(dtype) @ whitening_map.astype(dtype), shrinkage


class _Comparison(NamedTuple):
    """The matrix B of the samples, and what is known of the relations in it.

    Attributes
    ----------
    between : ndarray of shape (n_features, n_features)
        B.
    scatter : float
        Half of the mean relation: the variance of the targets.
    smallest, largest : float
        The smallest and the largest relation.
    """

    between: NDArray
    scatter: float
    smallest: float
    largest: float

    def normed(self, between) -> NDArray:
        """Return B, given in other coordinates, with norm 1, or zero if it is only rounding."""
        with np.errstate(over="ignore", invalid="ignore"):
            size, spread = np.abs(between).max(), self.largest - self.smallest
        if not (np.isfinite(size) and np.isfinite(spread)):
            raise ValueError(
                f"The relations are from {self.smallest:.1e} to {self.largest:.1e}. Their sums "
                "leave the range of numbers. Scale the relations."
            )
        magnitude = max(abs(self.smallest), abs(self.largest))
        if not spread > 1e-12 * magnitude:
            raise ValueError(
                "All relations are equal, so no metric can be learned from them. Check y and "
                "relation."
            )
        # Rounding leaves about so much of sums whose terms have the size of the relations.
        if not size > 1e-13 * magnitude:
            return np.zeros_like(between)
        between = (between + between.T) / size
        return between / np.linalg.norm(between)


def _is_known_from_groups(relation):
    """Whether a relation depends on the distinct targets only, not on their numbers of samples."""
    return relation.kind != "precomputed" and (
        relation.kind != "multioutput" or relation.scale is None
    )


def _sum_of_moments(X, weight, group, n_groups) -> Moments:
    parts = map_blocks(X, moments_of, lambda rows: (weight[rows], group[rows], n_groups))
    return reduce(add, parts)


def _compare_groups(relation, targets, representatives, several, moments) -> _Comparison:
    """Compare all groups of equal targets; `several` has a sample of each of more than one."""
    groups = np.arange(len(representatives))
    # The shares of the groups are one more column, which gives the mean relation.
    sums = np.column_stack([moments.group_sums, moments.group_weights]) / moments.weight
    with np.errstate(over="ignore", invalid="ignore"):
        within = relation(targets, np.column_stack([several, several]))
        products, smallest, largest = _sums_of_relations(
            sums, relation, targets, representatives, groups, representatives, groups
        )
        products = -0.5 * products @ sums
    smallest, largest = within.min(initial=smallest), within.max(initial=largest)
    return _Comparison(products[:-1, :-1], -products[-1, -1], smallest, largest)


def _compare_with_landmarks(
    relation, targets, representatives, group, drawn, X, weight, moments
) -> _Comparison:
    """Compare the targets of all samples with those of the landmarks, which were drawn."""
    share = weight / moments.weight
    landmarks, group_of_drawn = np.unique(group[drawn], return_inverse=True)

    def arguments(rows):
        present, group_here = np.unique(group[rows], return_inverse=True)
        targets_here, compared = targets, (representatives[present], representatives[landmarks])
        if isinstance(X, RemoteSamples):
            targets_here = select_targets(
                targets, np.concatenate(compared), is_precomputed=relation.kind == "precomputed"
            )
            compared = tuple(np.split(np.arange(targets_here.shape[0]), [len(present)]))
        samples, others = compared
        relations = relation, targets_here, samples, present, others, landmarks
        return group_here, share[rows], moments.mean, *relations

    with np.errstate(over="ignore", invalid="ignore"):
        parts = map_blocks(X, _sums_of_block, arguments)
        products, smallest, largest = zip(*parts, strict=True)
        weight_of_drawn = share[drawn] / share[drawn].sum()
        sums = _sums_of_groups(
            in_memory(X[drawn]), moments.mean, weight_of_drawn, group_of_drawn, len(landmarks)
        )
        products = -0.5 * sum(products)
        sums, shares = sums[:, :-1], sums[:, -1]
        # They are centred, so that a number that a relation adds to a whole row does not count.
        sums -= np.multiply.outer(shares, sums.sum(axis=0))
        between, scatter = products[:-1] @ sums, -products[-1] @ shares
        several = representatives[np.bincount(group) > 1]
        within = relation(targets, np.column_stack([several, several]))
    smallest, largest = within.min(initial=min(smallest)), within.max(initial=max(largest))
    return _Comparison(between, scatter, smallest, largest)


def _sums_of_block(X, group, share, mean, *relations):
    sums = _sums_of_groups(X, mean, share, group, group.max() + 1)
    return _sums_of_relations(sums, *relations)


def _sums_of_relations(sums, relation, targets, samples, groups, landmarks, groups_of_landmarks):
    """Sum of the products of sums and relations to landmarks, and the extremes of the relations."""
    products, smallest, largest = np.zeros((sums.shape[1], len(landmarks))), np.inf, -np.inf
    for rows, relations in relations_to_landmarks(relation, targets, samples, landmarks):
        others = relations[groups[rows, None] != groups_of_landmarks]
        smallest = others.min(initial=smallest)
        largest = others.max(initial=largest)
        products += sums[rows].T @ relations
    return products, smallest, largest


def _sums_of_groups(X, mean, share, group, n_groups):
    """Weighted sum of the centred samples of each group. The last column is its share of weight."""
    members = group_members(group, share, n_groups)
    shares = members.sum(axis=1)
    return np.column_stack([as_dense(members @ X) - np.multiply.outer(shares, mean), shares])


def _mixture(learned, whitening, euclidean, covariance, whitening_map, n_components):
    """Components of the mixture of learned, whitened and Euclidean distance, of norm 1.

    All matrices are in the coordinates of whitened samples. Most eigenvalues of the mixture are
    equal, so that its eigenvectors depend on rounding. Its symmetric root does not, nor do the
    leading principal components of the images.
    """
    variances, directions = np.linalg.eigh(covariance)
    # Directions in which the samples do not vary would have the largest weight.
    directions = directions[:, variances > 1e-12 * variances[-1]]
    learned = learned.astype(np.float64)
    parts = [
        ((1 - euclidean) * (1 - whitening), learned.T @ learned),
        ((1 - euclidean) * whitening, directions @ directions.T),
    ]
    if euclidean > 0:
        images = whitening_map @ directions
        of_features = directions @ np.linalg.solve(images.T @ images, directions.T)
        parts.append((euclidean, of_features))
    values, vectors = np.linalg.eigh(mixture(parts, covariance))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    if n_components is None:
        return root
    principal = components_of(root @ covariance @ root, n_components)
    return principal / np.linalg.norm(principal, axis=1, keepdims=True) @ root
