"""The metric of the gradients of a kernel regression, for every kind of target."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from metricalign._arrays import batches, in_memory
from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign.learners.base import MetricLearner
from metricalign.learners.components import leading_eigenvalues, mixture, scaled_eigenvectors
from metricalign.learners.coordinates import target_coordinates
from metricalign.learners.exponential_kernel import (
    ENTRIES_OF_PART,
    euclidean,
    exponential_kernel,
    kernel_products,
    solve_positive,
)
from metricalign.pairs.distinct import (
    representative_samples,
    shrunk_coordinates,
    warn_of_single_samples,
)
from metricalign.pairs.identical import first_identical

__all__ = ["GradientAlignment"]

# Bandwidth of the kernel over the mean distance, and exponent of the matrix of the metric. With 450
# rows, the mean error relative to that of Euclid's distance is .647 on 18 sets of classes and .712
# on 15 of numbers. With bandwidth 1, exponent 1/2 and no whitening it is .714 and .736, with
# bandwidth 4 .636 and .731.
_BANDWIDTH = 2.0
_POWER = 0.75
# euclidean="auto" for classes. docs/defaults.md has the measurements.
_EUCLIDEAN_OF_CLASSES = 0.2
# So many gradients are averaged, those of all outputs at as many samples as that takes, but at no
# fewer samples than the second number.
_N_GRADIENTS = 4_000
_FEWEST_POINTS = 500
# Targets with more columns are projected to so many at random.
N_OUTPUTS = 32


class GradientAlignment(MetricLearner):
    r"""Distance that is long where a kernel regression of the targets changes fast.

    A kernel ridge regression f with the kernel :math:`\exp(-\|z - z'\| / h)` predicts the targets.
    The mean outer product of its gradients

    .. math::
        M = \frac{1}{n} \sum_i \sum_c \nabla f_c(x_i) \, \nabla f_c(x_i)^T

    tells in which directions the predictions change. It is large for features that matter, and zero
    for those that do not, whether or not the targets are linear in them. The regression is repeated
    with the distance of M, so that it ignores directions that were found useless, as in recursive
    feature machines. After the last round the matrix of the metric is :math:`M^{3/4}`. For classes,
    a share of Euclid's distance is added, so that neighbours are near in other directions as well.

    The first round starts from samples that are partly whitened. The bandwidth h is twice their
    mean distance. Targets are predicted as vectors: classes as indicators, others as they are. With
    another relation than ``"auto"``, targets become vectors by classical multidimensional scaling:
    their squared distances are the relations, as nearly as possible.

    Parameters
    ----------
    n_rounds : int, default=3
        Number of regressions. Each uses the distance of the one before.
    alpha : float, default=0.1
        Penalty of the ridge regression, for targets of total variance 1.
    shrinkage : float, default=0.5
        Samples are whitened by their covariance, shrunk toward the multiple of the identity with
        the same trace. 1 only scales them.
    euclidean : float or "auto", default="auto"
        Share of Euclid's distance in the mean squared distance of the samples, from 0 to 1.
        "auto" is 0.2 for classes and 0 for other targets.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`. Precomputed ones must be dense.
    n_components : int, float or None, default=None
        How many components to keep: a number, the share of the spectrum in whitened coordinates
        (between 0 and 1), or all.
    n_landmarks : int or None, default=1000
        The regression is a sum of the kernels of so many random samples, the landmarks. It is
        fitted to all samples. Time grows with the number of samples, and with the square of the
        number of landmarks. None: all samples are landmarks.
    max_samples : int or None, default=20000
        Largest number of samples to learn from. If there are more, this many stand for all, spread
        evenly over classes and values, each with the weight of those that it stands for. None: no
        limit.
    random_state : int, RandomState instance or None, default=None
        Seed of the landmarks, of the samples whose gradients are averaged if there are many, and of
        the random projections of targets with more than 32 columns.

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

    References
    ----------
    Radhakrishnan, Beaglehole, Pandit, Belkin, Mechanism for feature learning in neural networks and
    backpropagation-free machine learning models, Science 383 (2024).
    Beaglehole, Holzmüller, Radhakrishnan, Belkin, xRFM, arXiv 2508.10053 (2025).
    Williams, Seeger, Using the Nyström Method to Speed Up Kernel Machines, NIPS 2000, for the
    landmarks.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign import GradientAlignment
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(300, 4))
    >>> y = np.cos(3 * X[:, 0])  # even, so not linear in any feature
    >>> matrix = GradientAlignment().fit(X, y).get_mahalanobis_matrix()
    >>> bool(matrix[0, 0] > 0.9 * np.trace(matrix))
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "shrinkage": [Interval(Real, 0, 1, closed="right")],
        "euclidean": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "relation": [str, callable],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
            None,
        ],
        "n_landmarks": [Interval(Integral, 2, None, closed="left"), None],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        n_rounds: int = 3,
        alpha: float = 0.1,
        shrinkage: float = 0.5,
        euclidean: float | Literal["auto"] = "auto",
        relation: Any = "auto",
        n_components: int | float | None = None,
        n_landmarks: int | None = 1000,
        max_samples: int | None = 20_000,
        random_state: Any = None,
    ):
        self.n_rounds = n_rounds
        self.alpha = alpha
        self.shrinkage = shrinkage
        self.euclidean = euclidean
        self.relation = relation
        self.n_components = n_components
        self.n_landmarks = n_landmarks
        self.max_samples = max_samples
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : {array-like, sparse matrix, Dask array or DataFrame} of shape (n_samples, n_features)
            Samples. float32 stays float32. A sparse X becomes dense.
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
            If the metric is zero, but for the share of Euclid's distance, as the relations grow
            with the similarity of targets; or if no two samples are of the same class.
        """
        X, _, samples = self._validate_distinct(X, y, sample_weight)
        warn_of_single_samples(samples.relation, samples.targets)
        # If all samples are repeated, the weight of the penalty shall stay the same.
        n_distinct = len(np.unique(first_identical(X[samples.rows])))
        samples = representative_samples(samples, X, self.max_samples)
        weight = samples.weight / samples.weight.sum() * n_distinct
        X = in_memory(X[samples.rows])
        random_state = check_random_state(self.random_state)
        order = random_state.permutation(len(weight))
        landmarks = np.sort(order[: self.n_landmarks])
        targets = target_coordinates(
            samples.relation, samples.targets, weight, landmarks, N_OUTPUTS, random_state
        )
        share = self.euclidean
        if share == "auto":
            share = _EUCLIDEAN_OF_CLASSES if samples.relation.is_of_classes else 0.0
        if targets.shape[1] == 0 and share < 1:
            result = "only Euclid's distance" if share else "the zero metric"
            warnings.warn(
                f"{type(self).__name__} learned {result}: the relations of similar targets are "
                "large, but distances of similar targets must be small. Check the sign of the "
                "relation.",
                UserWarning,
                stacklevel=level_of_call(),
            )
        components = gradient_components(self, X, targets, weight, order, share)
        self.relation_, self.components_ = samples.relation, components
        return self


def gradient_components(
    learner: GradientAlignment,
    X: Any,
    targets: NDArray,
    weight: NDArray,
    order: NDArray,
    share: float = 0.0,
) -> NDArray:
    """Learn the components of a metric.

    Parameters
    ----------
    learner : GradientAlignment
        Its parameters are used.
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    targets : ndarray of shape (n_samples, n_outputs)
        Coordinates of their targets.
    weight : ndarray of shape (n_samples,)
        Their weights.
    order : ndarray of int of shape (n_samples,)
        A random order of the samples. The first of them are the landmarks.
    share : float, default=0.0
        Share of Euclid's distance in the mean squared distance of the samples.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        `components_` of the metric.
    """
    coordinates, basis, inverse = shrunk_coordinates(X, weight, learner.shrinkage)
    if sparse.issparse(coordinates):
        coordinates = coordinates.toarray()
    coordinates = coordinates.astype(np.float64)
    values, vectors = np.zeros(coordinates.shape[1]), np.eye(coordinates.shape[1])
    if targets.shape[1] > 0:
        landmarks = np.sort(order[: learner.n_landmarks])
        n_points = max(_FEWEST_POINTS, _N_GRADIENTS // targets.shape[1])
        points = np.sort(order[:n_points])
        values, vectors = _spectrum(learner, coordinates, targets, weight, landmarks, points)
    if share > 0:
        share_of_sample = weight / weight.sum()
        deviations = coordinates - share_of_sample @ coordinates
        covariance = deviations.T @ (share_of_sample[:, None] * deviations)
        learned = (vectors * values) @ vectors.T
        of_features = inverse.T.astype(np.float64) @ inverse
        parts = [(1 - share, learned), (share, of_features)]
        values, vectors = np.linalg.eigh(mixture(parts, covariance))
    values = leading_eigenvalues(values.astype(X.dtype)[::-1], len(values), learner.n_components)
    return scaled_eigenvectors(values, vectors.astype(X.dtype)[:, ::-1]) @ basis


def _spectrum(learner, X, targets, weight, landmarks, points):
    """Return ascending eigenvalues, of norm 1, and eigenvectors of the matrix of the metric."""
    share = weight[landmarks] / weight[landmarks].sum()
    root = np.eye(X.shape[1])
    for _ in range(learner.n_rounds):
        Z = X @ root
        centres = Z[landmarks]
        distances = euclidean(centres, centres)
        bandwidth = _BANDWIDTH * (share @ distances @ share)
        kernel = exponential_kernel(distances.copy(), bandwidth)
        coef = _kernel_ridge(Z, targets, weight, centres, kernel, bandwidth, learner.alpha)
        # If all samples are landmarks, no more distances and kernels are needed than these.
        known = (distances[points], kernel[points]) if len(landmarks) == len(Z) else None
        matrix = _gradient_products(Z[points], weight[points], centres, coef, bandwidth, known)
        if not matrix.any():
            # The mean distance is so small beside others that all kernels vanish at other samples.
            raise ValueError(
                "The regression of the targets has no gradient at any sample, as nearly all weight "
                "is on few samples. Give weights that differ less."
            )
        values, vectors = np.linalg.eigh(root @ matrix @ root)
        values = np.maximum(values, 0) / values[-1]
        root = (vectors * np.sqrt(values)) @ vectors.T
    values **= _POWER
    return values / np.linalg.norm(values), vectors


def _kernel_ridge(Z, targets, weight, landmarks, kernel, bandwidth, alpha):
    """Return the coefficients of the landmarks, whose kernel matrix is `kernel`."""
    n_landmarks = len(landmarks)
    if n_landmarks == len(Z):
        # This is equivalent to the normal equations below, divided by the kernel matrix.
        roots = np.sqrt(weight)[:, None]
        products = roots * kernel * roots.T
        products[np.diag_indices(n_landmarks)] += alpha
        return roots * solve_positive(products, roots * targets)
    of_distances = partial(exponential_kernel, width=bandwidth)
    products, sums = kernel_products(Z, landmarks, of_distances, targets, weight)
    products += alpha * kernel
    # Landmarks that are nearly the same make the matrix singular.
    rounding = 10 * n_landmarks * np.finfo(products.dtype).eps * np.trace(products)
    products[np.diag_indices(n_landmarks)] += rounding
    return solve_positive(products, sums)


def _gradient_products(points, weight, landmarks, coef, bandwidth, known=None):
    """Return the weighted sum over points and outputs of the outer products of the gradients.

    `known` are the distances of points and landmarks and their kernels, if they have been computed.
    """
    matrix = np.zeros((points.shape[1],) * 2)
    # The batches fit the cache of a core.
    for batch in batches(len(points), max(1, ENTRIES_OF_PART // len(landmarks))):
        if known is None:
            distances = euclidean(points[batch], landmarks)
            kernel = exponential_kernel(distances.copy(), bandwidth)
        else:
            distances, kernel = (values[batch] for values in known)
        for gradients in _gradients(points[batch], landmarks, distances, kernel, coef, bandwidth):
            matrix += gradients.T @ (weight[batch, None] * gradients)
    return matrix


def _gradients(points, landmarks, distances, kernel, coef, bandwidth):
    """Gradients of each output at the points, up to the sign.

    The kernel of a landmark has no gradient at the landmark itself, and is left out there.
    """
    slopes = kernel / np.where(distances > 1e-6 * bandwidth, bandwidth * distances, np.inf)
    for coefficients in coef.T:
        weights = slopes * coefficients
        yield weights.sum(axis=1)[:, None] * points - weights @ landmarks
