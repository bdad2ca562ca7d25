"""Discriminant analysis for every kind of target: a metric in closed form."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign.learners.base import MetricLearner
from metricalign.learners.components import _dense, components_of
from metricalign.learners.coordinates import relations_to_landmarks, target_groups
from metricalign.pairs.distinct import distinct_samples, shrunk_coordinates

__all__ = ["DiscriminantAlignment"]


class DiscriminantAlignment(MetricLearner):
    r"""Distance of what ridge regression predicts of the targets, in closed form.

    Linear discriminant analysis for every kind of target: with the relation g as the squared
    distance of two targets, the matrix

    .. math::
        M = S^{-1} B S^{-1}, \qquad
        B = -\frac{1}{2 n^2} \sum_{i,j} g(y_i, y_j) (x_i - \bar x)(x_j - \bar x)^T,

    is that of the distance of their predictions by ridge regression on the features, where S is
    the shrunk covariance of the samples. Targets need not be vectors: the relation is enough. Of B
    the part that is positive semidefinite is taken. Only what is linear in the features is seen of
    the targets; where they are nearly linear it is hard to beat.

    Of k classes this sees k - 1 directions, too few for neighbours. A share of the distance of
    whitened samples is added, whose matrix is the inverse of S where the samples vary, so that
    neighbours are near in the other directions as well:
    :math:`S^{-1/2} (B^* + \epsilon I) S^{-1/2}` with the positive part :math:`B^*` of
    :math:`S^{-1/2} B S^{-1/2}`, as in discriminant adaptive nearest neighbors, but with one metric
    for all places, and the covariance of all samples in place of that within classes. The sum has
    norm 1 in coordinates in which S is the identity: only ratios of distances count.

    Parameters
    ----------
    shrinkage : float, default=0.5
        S is the covariance of the samples, shrunk toward the multiple of the identity with the same
        trace: values near 0 are plain regression, 1 is the matrix of largest kernel-target
        alignment. Sparse X becomes dense if this is below 1, or if X has fewer samples than
        features.
    whitening : float or "auto", default="auto"
        Share of the distance of whitened samples in the mean squared distance of the samples, from
        0 to 1. "auto" is 0.2 for classes and 0 for other targets, precomputed relations among
        them.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`. Precomputed ones must be dense.
    n_components : int, float or None, default=None
        How many components to keep: a number, the share of the spectrum in coordinates in which S
        is the identity (between 0 and 1), or all. With whitening, the leading principal components
        of the images, and their share of the mean squared distance.
    n_landmarks : int or None, default=2000
        Of more distinct targets (samples, if relations are precomputed), all are compared with
        those of so many samples only, drawn at random, which takes time proportional to the
        product of both numbers. None: all with all.
    random_state : int, RandomState instance or None, default=None
        Draws the landmarks.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Linear map of the metric: Euclid's distance after ``X @ components_.T``.
    relation_ : TargetRelation
        The relation that was used.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    References
    ----------
    Hastie, Tibshirani, Discriminant Adaptive Nearest Neighbor Classification, IEEE PAMI 18 (1996),
    equation 2: the whitened part.
    Ye, Least Squares Linear Discriminant Analysis, ICML 2007: the case of classes.
    Cristianini, Shawe-Taylor, Elisseeff, Kandola,
    On Kernel-Target Alignment, NIPS 2001: shrinkage=1.
    Torgerson, Multidimensional Scaling, Psychometrika 17 (1952): targets from their distances.

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
        "shrinkage": [Interval(Real, 0, 1, closed="right")],
        "whitening": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
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
        shrinkage: float = 0.5,
        whitening: float | Literal["auto"] = "auto",
        relation: Any = "auto",
        n_components: int | float | None = None,
        n_landmarks: int | None = 2000,
        random_state: Any = None,
    ):
        self.shrinkage = shrinkage
        self.whitening = whitening
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
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. float32 stays float32.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Their targets; relations of all pairs with ``relation="precomputed"``.
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
            If nothing is learned, as the targets have no linear relation to the features, or one
            that grows with their similarity. M is zero then, but for the whitened part.
        """
        X, relation, targets, sample_weight = self._validate_all(X, y, sample_weight)
        samples = distinct_samples(X, y, relation, targets, sample_weight, self.relation)
        weight = samples.weight / samples.weight.max()
        coordinates, basis, _ = shrunk_coordinates(X[samples.rows], weight, self.shrinkage)
        between = self._between(coordinates, weight, samples)
        whitening = self.whitening
        if whitening == "auto":
            whitening = 0.2 if samples.relation.is_of_classes else 0.0
        n_learned = None if whitening > 0 else self.n_components
        components = components_of(between.astype(X.dtype), n_learned)
        if whitening < 1 and not components.any():
            cause = "no linear relation to the features"
            if between.any():
                cause = (
                    "only such a relation as no distance can have: similar samples, large values"
                )
            result = "only the distance of whitened samples" if whitening else "the zero metric"
            warnings.warn(
                f"{type(self).__name__} learned {result}: the targets have {cause}. Check "
                "the sign of the relation, or try another learner.",
                UserWarning,
                stacklevel=level_of_call(),
            )
        if whitening > 0:
            components = _whitened(components, whitening, coordinates, weight, self.n_components)
        components = components.astype(X.dtype) @ basis
        self.relation_, self.components_ = samples.relation, components
        return self

    def _between(self, X, weight, samples):
        """B in these coordinates, of norm 1, from the sums of the samples with equal targets."""
        share = weight / weight.sum()
        n_samples = len(share)
        representatives, group = target_groups(samples.relation, samples.targets)
        n_groups = len(representatives)
        sums, shares = _sums_of_groups(X, share, group)
        landmarks, sums_of_landmarks, shares_of_landmarks = np.arange(n_groups), sums, shares
        if self.n_landmarks is not None and self.n_landmarks < n_groups:
            order = check_random_state(self.random_state).permutation(n_samples)
            drawn = np.sort(order[: self.n_landmarks])
            landmarks, group_of_drawn = np.unique(group[drawn], return_inverse=True)
            sums_of_landmarks, shares_of_landmarks = _sums_of_groups(
                X[drawn], share[drawn] / share[drawn].sum(), group_of_drawn
            )
        products = np.zeros((X.shape[1], len(landmarks)))
        mean_relations = np.zeros(len(landmarks))
        with np.errstate(over="ignore", invalid="ignore"):
            # Within the groups that make pairs, which the landmarks may miss.
            several = representatives[np.bincount(group) > 1]
            within = samples.relation(samples.targets, np.column_stack([several, several]))
            smallest, largest = within.min(initial=np.inf), within.max(initial=-np.inf)
            for rows, relations in relations_to_landmarks(
                samples.relation, samples.targets, representatives, representatives[landmarks]
            ):
                others = relations[rows[:, None] != landmarks]
                smallest = min(smallest, others.min(initial=np.inf))
                largest = max(largest, others.max(initial=-np.inf))
                products += sums[rows].T @ relations
                mean_relations += shares[rows] @ relations
            # Both sides centred, so that what a relation adds to a whole row does not count.
            products -= np.multiply.outer(np.asarray(sums.sum(axis=0)), mean_relations)
            centred = _dense(sums_of_landmarks)
            centred = centred - np.multiply.outer(shares_of_landmarks, centred.sum(axis=0))
            between = -0.5 * products @ centred
            size, spread = np.abs(between).max(), largest - smallest
        if not (np.isfinite(size) and np.isfinite(spread)):
            raise ValueError(
                f"The relations, from {smallest:.1e} to {largest:.1e}, lead beyond the range of "
                "numbers. Scale them."
            )
        magnitude = max(abs(smallest), abs(largest))
        if not spread > 1e-12 * magnitude:
            raise ValueError(
                "All relations are equal, so no metric can be learned from them. Check y and "
                "relation."
            )
        # Below what rounding leaves of sums of terms of the size of the relations.
        if not size > 1e-13 * magnitude:
            return np.zeros_like(between)
        between = (between + between.T) / size
        return between / np.linalg.norm(between)


def _sums_of_groups(X, share, group):
    """Weighted sum of the samples of each group, and the sum of their shares."""
    members = sparse.csr_array((share, (group, np.arange(len(share)))))
    return members @ X, members.sum(axis=1)


def _whitened(learned, whitening, X, weight, n_components):
    """Components of the mixture of the learned metric and that of whitened samples, of norm 1.

    Most eigenvalues of the mixture are equal. Its symmetric root does not turn with rounding, nor
    do the leading principal components of the images.
    """
    share = weight / weight.sum()
    X = X.astype(np.float64)
    if sparse.issparse(X):
        mean = X.T @ share
        covariance = _dense(X.T @ X.multiply(share[:, None])) - np.outer(mean, mean)
    else:
        X = X - share @ X
        covariance = X.T @ (share[:, None] * X)
    variances, directions = np.linalg.eigh(covariance)
    # What does not vary among the samples shall not weigh most.
    directions = directions[:, variances > 1e-12 * variances[-1]]
    whitened = directions @ directions.T
    learned = learned.astype(np.float64)
    variance = np.sum(learned @ covariance * learned)
    matrix = whitening / variances.sum() * whitened
    if variance > 0:
        matrix += (1 - whitening) / variance * (learned.T @ learned)
    values, vectors = np.linalg.eigh(matrix / np.linalg.norm(matrix))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    if n_components is None:
        return root
    principal = components_of(root @ covariance @ root, n_components)
    return principal / np.linalg.norm(principal, axis=1, keepdims=True) @ root
