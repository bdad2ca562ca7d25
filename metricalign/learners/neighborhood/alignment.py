"""The estimator of neighbourhood alignment."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign.learners.base import MetricLearner
from metricalign.learners.neighborhood.candidates import AllSamples, Neighborhoods, NeighborLists
from metricalign.learners.neighborhood.losses import NEIGHBORHOOD_LOSSES, NeighborhoodLoss
from metricalign.learners.neighborhood.objective import NeighborhoodObjective
from metricalign.pairs.distinct import distinct_samples, shrunk_coordinates

__all__ = ["NeighborhoodAlignment"]

# Up to so many samples all can be neighbours of each other, by default.
_LARGEST_COMPLETE = 1000
_N_NEIGHBORS = 100
# Iterations between two searches for the neighbours of the lists.
_ITERATIONS_OF_LISTS = 20
# Root mean squared lengths of the images that the start is chosen from.
_LENGTHS = np.geomspace(0.1, 8.0, 9)


class NeighborhoodAlignment(MetricLearner):
    r"""Linear map under which random neighbours have similar targets.

    Neighbourhood components analysis for every kind of target: of all maps L it seeks the one
    whose random neighbours are related best,

    .. math::
        \min_L \frac{1}{n} \sum_i \ell_i(p_i) + \frac{\alpha}{n} \operatorname{tr}(L S L^T),
        \qquad p_{ij} \propto \exp(-\|L (x_i - x_j)\|^2),

    where :math:`\ell_i = \sum_j p_{ij} g(y_i, y_j)` is the expected relation, or
    :math:`\|y_i - \sum_j p_{ij} y_j\|^2` the error of kernel regression. The samples are scaled
    so that their total variance is 1, and S is the identity, or their shrunk covariance. The
    problem is not convex: what is found depends on where the search starts, and there is no
    certificate. Solved by L-BFGS.

    Parameters
    ----------
    loss : str or NeighborhoodLoss, default="expected_relation"
        What a random neighbour costs. With classes "expected_relation" is the objective of
        `sklearn.neighbors.NeighborhoodComponentsAnalysis`, and "kernel_regression" is that of
        metric learning for kernel regression (MLKR). One of your own is an instance of a
        `metricalign.learners.neighborhood.NeighborhoodLoss`.
    alpha : float, default=0.1
        Weight of the penalty on L; does not depend on the units of X and y. From 0.01, for many
        samples, to 1 or 3, for few.
    shrinkage : float, default=1.0
        S is the covariance of the samples, shrunk toward the multiple of the identity with the same
        trace: 1 is the identity, which penalises the weight of features, and values near 0 penalise
        the spread of the images, so that correlated features cost no more. The search from Euclid's
        distance starts at the root of the inverse of S. Sparse X becomes dense if this is below 1,
        or if X has fewer samples than features.
    refine : metric learner or None, default=None
        Estimator whose solution the search starts from, such as ``PSDSVR()``; it is fitted to the
        same samples, with the relation of this estimator if its own is "auto", and its
        certificate is in `refined_`. The result has no higher rank. None starts from Euclid's
        distance.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`. Precomputed ones must be dense.
    n_components : int or None, default=None
        Largest number of rows of L; None for as many as there are features. The search keeps 40
        copies of L: with thousands of features set it, or reduce them first.
    n_neighbors : int or None, default=None
        How many samples can be the neighbour of each: the nearest under the current map, sought
        again every 20 iterations, and as many random ones. None for all others up to 1,000
        samples, 100 above. An iteration takes time proportional to n_samples * n_neighbors *
        n_components.
    max_iter : int, default=100
        Largest number of iterations.
    tol : float, default=1e-4
        Stops when an iteration lowers the objective by less than that; 1 is about the loss of
        neighbours drawn at random.
    random_state : int, RandomState instance or None, default=None
        Draws the random neighbours.
    verbose : int, default=0
        Whether to print the progress of each iteration.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The map L, in the units of X.
    objective_ : float
        Objective at the solution; 1 is about that of neighbours drawn at random.
    n_iter_ : int
        Iterations.
    converged_ : bool
        Whether an iteration lowered the objective by less than `tol`, or none could.
    refined_ : estimator or None
        The fitted learner that the search started from.
    relation_ : TargetRelation
        The relation that was used.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    References
    ----------
    Goldberger, Roweis, Hinton, Salakhutdinov, Neighbourhood Components Analysis, NIPS 2004.
    Weinberger, Tesauro, Metric Learning for Kernel Regression, AISTATS 2007.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import NeighborhoodAlignment
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NeighborhoodAlignment(), KNeighborsClassifier())
    >>> bool(cross_val_score(model, X, y).mean() > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "loss": [StrOptions(set(NEIGHBORHOOD_LOSSES)), NeighborhoodLoss],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "shrinkage": [Interval(Real, 0, 1, closed="right")],
        "refine": [None, HasMethods(["fit", "get_mahalanobis_matrix"])],
        "relation": [str, callable],
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        # With one only, nothing depends on the map.
        "n_neighbors": [None, Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        loss: str | NeighborhoodLoss = "expected_relation",
        *,
        alpha: float = 0.1,
        shrinkage: float = 1.0,
        refine: Any = None,
        relation: Any = "auto",
        n_components: int | None = None,
        n_neighbors: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-4,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.loss = loss
        self.alpha = alpha
        self.shrinkage = shrinkage
        self.refine = refine
        self.relation = relation
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

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
        ConvergenceWarning
            If `max_iter` was reached.
        """
        loss = NEIGHBORHOOD_LOSSES[self.loss]() if isinstance(self.loss, str) else self.loss
        loss._validate_params()
        X, relation, targets, sample_weight = self._validate_all(X, y, sample_weight)
        samples = distinct_samples(X, y, relation, targets, sample_weight, self.relation)
        if len(samples.rows) < 3:
            raise ValueError(
                f"Samples that differ in X or y, without those of weight 0: {len(samples.rows)}. "
                "At least 3 are needed: of two, each is the other's neighbour whatever the metric."
            )
        # Only their ratios count, and products of them must not leave the range of numbers.
        weight = samples.weight / samples.weight.max()
        coordinates, basis, inverse = shrunk_coordinates(X[samples.rows], weight, self.shrinkage)
        loss = loss.for_samples(samples.relation, samples.targets, weight)
        refined = None
        if self.refine is not None:
            refined = self._with_relation(self.refine)
            refined.fit(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))
        start = np.eye(coordinates.shape[1])
        if refined is not None and abs(refined.components_).max() > 0:
            start = refined.components_ @ inverse
        # What does not vary is not learned about, and must not count for new samples either.
        values = coordinates.max(axis=0) - coordinates.min(axis=0)
        start[
            :, np.asarray(values.toarray() if sparse.issparse(values) else values).ravel() == 0
        ] = 0
        objective = NeighborhoodObjective(coordinates, loss, weight, self.alpha)
        start = _leading(np.asarray(start, dtype=X.dtype), objective, self.n_components)
        known = {"relation_": samples.relation, "refined_": refined}
        self._minimize(objective, start, basis, known)
        if not self.converged_:
            warnings.warn(
                f"{type(self).__name__} stopped after {self.n_iter_} iterations (max_iter="
                f"{self.max_iter}), the last of which lowered the objective by more than tol="
                f"{self.tol:.1e}. Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=level_of_call(),
            )
        return self

    def _neighborhoods(self, images, random_state) -> Neighborhoods:
        n_others = len(images) - 1
        n_neighbors = self.n_neighbors
        if n_neighbors is None:
            n_neighbors = n_others if n_others < _LARGEST_COMPLETE else _N_NEIGHBORS
        if n_neighbors >= n_others:
            return AllSamples(len(images))
        n_random = n_neighbors // 2
        search = NearestNeighbors(n_neighbors=n_neighbors - n_random).fit(images)
        nearest = search.kneighbors(return_distance=False)
        steps = random_state.randint(1, n_others + 1, size=(len(images), n_random))
        others = (np.arange(len(images))[:, None] + steps) % len(images)
        return NeighborLists(np.hstack([nearest, others]))

    def _minimize(self, objective, components, basis, known):
        """Minimise from a start, and keep what is reached even where that is interrupted."""
        X = objective.X
        random_state = check_random_state(self.random_state)
        images = objective.images(components)
        objective.neighborhoods = self._neighborhoods(images, random_state)
        length = np.sqrt(objective.share @ np.sum(images**2, axis=1))
        factors = _LENGTHS / length
        values = objective.values(components, factors)
        components = X.dtype.type(factors[np.argmin(values)]) * components
        shape, n_iter, value = components.shape, 0, min(values)

        def function(vector):
            value, gradient = objective.value_and_gradient(vector.reshape(shape).astype(X.dtype))
            return value, gradient.ravel().astype(np.float64)

        def callback(intermediate_result):
            nonlocal components, n_iter, value
            # A copy, since the search goes on in the same array; in one step, which is whole.
            components, n_iter, value = (
                intermediate_result.x.reshape(shape).copy(),
                n_iter + 1,
                float(intermediate_result.fun),
            )
            if self.verbose:
                print(
                    f"[{type(self).__name__}] iteration {n_iter}: objective {value:.6g}",
                    flush=True,
                )

        is_complete = isinstance(objective.neighborhoods, AllSamples)
        converged = False
        try:
            while n_iter < self.max_iter and not converged:
                if n_iter:
                    objective.neighborhoods = self._neighborhoods(
                        objective.images(components), random_state
                    )
                left = self.max_iter - n_iter
                result = minimize(
                    function,
                    components.ravel().astype(np.float64),
                    jac=True,
                    method="L-BFGS-B",
                    callback=callback,
                    options={
                        "maxiter": left if is_complete else min(left, _ITERATIONS_OF_LISTS),
                        "maxcor": 20,
                        "ftol": self.tol,
                        "gtol": 0.0,
                    },
                )
                value = float(result.fun)
                # 1 is the number of iterations; 2, that no step lowers it in this precision.
                converged = result.status != 1
        finally:
            if np.isfinite(value):
                self.__dict__.update(
                    known,
                    components_=components.astype(X.dtype) @ basis,
                    objective_=value,
                    n_iter_=n_iter,
                    converged_=converged,
                )
        if not np.isfinite(value):
            raise ValueError(
                f"The objective is {value}: alpha={self.alpha} leads beyond the range of "
                f"{X.dtype}. Decrease alpha."
            )


def _leading(components, objective, n_components) -> NDArray:
    """Directions of the largest variance of the images, at most so many."""
    if n_components is None or n_components >= len(components):
        return components
    images = objective.images(components)
    _, vectors = np.linalg.eigh(images.T @ (objective.share[:, None] * images))
    return vectors[:, ::-1][:, :n_components].T @ components
