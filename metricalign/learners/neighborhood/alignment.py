"""The estimator of neighbourhood alignment."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from metricalign._arrays import as_dense, in_memory
from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign.learners.base import MetricLearner, with_relation
from metricalign.learners.components import components_of
from metricalign.learners.neighborhood.losses import NEIGHBORHOOD_LOSSES, NeighborhoodLoss
from metricalign.learners.neighborhood.objective import NeighborhoodObjective
from metricalign.learners.neighborhood.search import NeighborhoodSearch
from metricalign.pairs.distinct import representative_samples, shrunk_coordinates
from metricalign.relations import is_automatic

__all__ = ["NeighborhoodAlignment"]


class NeighborhoodAlignment(MetricLearner):
    r"""Linear map under which random neighbours have similar targets.

    This is neighbourhood components analysis for every kind of target. It searches a linear map L
    with a small loss of random neighbours,

    .. math::
        \min_L \frac{1}{n} \sum_i \ell_i(p_i), \qquad p_{ij} \propto \exp(-\|L (x_i - x_j)\|),

    where :math:`p_{ij}` is the probability that sample j is the random neighbour of sample i. The
    loss :math:`\ell_i` is minus the logarithm of the probability of a neighbour of the same class,
    or the error :math:`\|y_i - \sum_j p_{ij} y_j\|^2` of kernel regression, or the expected
    relation :math:`\sum_j p_{ij} g(y_i, y_j)`.

    The problem is not convex, and its minimum does not predict best. So the search makes small
    steps. The possible neighbours of a step are a random half of the samples, at most 2,000. The
    search ends when the loss of held-out samples stops falling. Several searches hold out different
    samples. Their metrics are scaled to the same mean squared distance and averaged.

    Parameters
    ----------
    loss : str or NeighborhoodLoss, default="auto"
        Loss of random neighbours: "log" (classes only), "kernel_regression", "expected_relation",
        or an instance of a subclass of `metricalign.learners.neighborhood.NeighborhoodLoss`. With
        the relation that ``relation="auto"`` chooses, "auto" is "log" for classes, and
        "kernel_regression" for other targets. With another relation, "auto" is
        "expected_relation". For classes, the latter is the loss of
        `sklearn.neighbors.NeighborhoodComponentsAnalysis`, except that distances are not squared.
    n_starts : int, default=3
        Number of searches.
    learning_rate : float, default=0.2
        Length of the first step, relative to the norm of L.
    shrinkage : float, default=1.0
        A search from Euclid's distance starts with whitened samples. The covariance is shrunk by
        this share toward the multiple of the identity with the same trace, so 1 only scales the
        samples. Sparse X becomes dense if `shrinkage` is below 1, or if X has fewer samples than
        features.
    refine : metric learner or None, default=None
        Estimator whose solution is the start of the searches, such as ``PSDSVR()``. It is fitted to
        the same samples. If its relation is "auto", it gets the relation of this estimator. Its
        certificate is in `refined_`. The rank of the result is not higher than that of its
        solution. None starts from Euclid's distance.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`. A matrix of precomputed relations must
        be dense.
    n_components : int or None, default=None
        Largest number of rows of L. None takes the number of features.
    validation_fraction : float, default=0.2
        Share of the samples that each search holds out.
    n_iter_no_change : int, default=8
        A search stops if the loss of the held-out samples has not fallen in so many iterations.
    tol : float, default=5e-3
        The loss counts as fallen if it falls by this share of its value, or by this share of 0.1 if
        it is below 0.1.
    max_iter : int, default=2000
        Largest number of iterations of a search. An iteration is a pass over the samples that are
        not held out, or over 2,560 of them if there are more.
    max_samples : int or None, default=10000
        If there are more samples, so many of them are chosen, evenly over classes and values. Each
        gets the weight of the samples that it stands for. So the time of a fit is bounded. None
        takes all samples.
    random_state : int, RandomState instance or None, default=0
        Seed of the held-out samples and the candidates. With None, every fit is different.
    verbose : int, default=0
        Whether to print the loss of the held-out samples after each iteration.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The linear map of the metric, in the units of X.
    objective_ : float
        Loss of the held-out samples, mean over the searches. It is about 1 for neighbours that are
        drawn uniformly.
    n_iter_ : int
        Number of iterations of the longest search.
    converged_ : bool
        Whether all searches stopped before `max_iter`.
    refined_ : estimator or None
        The fitted learner whose solution was the start. None for Euclid's distance.
    relation_ : TargetRelation
        The relation of the fit.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if all names in X are strings.

    References
    ----------
    Goldberger, Roweis, Hinton, Salakhutdinov, Neighbourhood Components Analysis, NIPS 2004.

    Weinberger, Tesauro, Metric Learning for Kernel Regression, AISTATS 2007.

    Ye, Yin, Zhan, Chao, Revisiting Nearest Neighbor for Tabular Data, ICLR 2025: distances that are
    not squared, and random candidates.

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
        "loss": [StrOptions({"auto", *NEIGHBORHOOD_LOSSES}), NeighborhoodLoss],
        "n_starts": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "shrinkage": [Interval(Real, 0, 1, closed="right")],
        "refine": [None, HasMethods(["fit", "get_mahalanobis_matrix"])],
        "relation": [str, callable],
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [None, Interval(Integral, 3, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        loss: str | NeighborhoodLoss = "auto",
        *,
        n_starts: int = 3,
        learning_rate: float = 0.2,
        shrinkage: float = 1.0,
        refine: Any = None,
        relation: Any = "auto",
        n_components: int | None = None,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 8,
        tol: float = 5e-3,
        max_iter: int = 2000,
        max_samples: int | None = 10_000,
        random_state: Any = 0,
        verbose: int = 0,
    ):
        self.loss = loss
        self.n_starts = n_starts
        self.learning_rate = learning_rate
        self.shrinkage = shrinkage
        self.refine = refine
        self.relation = relation
        self.n_components = n_components
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.max_iter = max_iter
        self.max_samples = max_samples
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : {array-like, sparse matrix, Dask array or DataFrame} of shape (n_samples, n_features)
            Samples. float32 stays float32.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Targets, or the relations of all pairs if ``relation="precomputed"``.
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
        given = X, y, sample_weight
        X, _, samples = self._validate_distinct(X, y, sample_weight)
        if len(samples.rows) < 3:
            raise ValueError(
                f"Samples that differ in X or y, without those of weight 0: {len(samples.rows)}. "
                "At least 3 are needed: of two, each is the other's neighbour whatever the metric."
            )
        rows, weight, relation, targets = representative_samples(samples, X, self.max_samples)
        # Only ratios of weights matter, and their products must stay in the range of numbers.
        weight = weight / weight.max()
        X = in_memory(X[rows])
        coordinates, basis, inverse = shrunk_coordinates(X, weight, self.shrinkage)
        loss = self._resolve_loss(relation).for_samples(relation, targets, weight)
        refined = None
        if self.refine is not None:
            refined = with_relation(self.refine, self.relation)
            X_given, y_given, weight_given = given
            weights = {} if weight_given is None else {"sample_weight": weight_given}
            refined.fit(X_given, y_given, **weights)
        start = np.eye(coordinates.shape[1])
        if refined is not None and abs(refined.components_).max() > 0:
            start = refined.components_ @ inverse
        # Nothing is learned about features that do not vary, so they must not count for new
        # samples.
        values = coordinates.max(axis=0) - coordinates.min(axis=0)
        start[:, np.asarray(as_dense(values)).ravel() == 0] = 0
        objective = NeighborhoodObjective(coordinates, loss, weight)
        start = np.asarray(start, dtype=X.dtype)
        if self.n_components is not None and self.n_components < len(start):
            start = _principal_images(start, objective, self.n_components)
        searches: list[NeighborhoodSearch] = []
        try:
            self._search(objective, start, searches)
        finally:
            # The estimator keeps the best metric so far if the search is interrupted.
            if searches and np.isfinite([search.value for search in searches]).all():
                self.relation_, self.refined_ = relation, refined
                self._store(searches, objective, basis)
        if not self.converged_:
            warnings.warn(
                f"{type(self).__name__} stopped a search after max_iter={self.max_iter} "
                "iterations, while the loss of the held-out samples still fell. Increase max_iter, "
                "learning_rate or tol.",
                ConvergenceWarning,
                stacklevel=level_of_call(),
            )
        return self

    def _resolve_loss(self, relation) -> NeighborhoodLoss:
        if isinstance(self.loss, NeighborhoodLoss):
            self.loss._validate_params()
            return self.loss
        name = self.loss
        if name == "auto":
            name = "expected_relation"
            if is_automatic(relation):
                name = "log" if relation.is_of_classes else "kernel_regression"
        return NEIGHBORHOOD_LOSSES[name]()

    def _search(self, objective, start, searches) -> None:
        random_state = check_random_state(self.random_state)
        for number in range(self.n_starts):
            search = NeighborhoodSearch(
                objective, start, self.learning_rate, self.validation_fraction, random_state
            )
            searches.append(search)
            if not np.isfinite(search.value):
                raise ValueError(
                    f"The loss of the held-out samples is {search.value}, so that it cannot say "
                    "when to stop. Check y, relation and loss."
                )
            for n_iter in range(1, self.max_iter + 1):
                search.iterate(self.tol)
                if self.verbose:
                    print(
                        f"[{type(self).__name__}] search {number + 1}, iteration {n_iter}: loss of "
                        f"held-out samples {search.value:.6g}",
                        flush=True,
                    )
                if search.converged(self.n_iter_no_change):
                    break

    def _store(self, searches, objective, basis) -> None:
        """Average the metrics, each scaled to the same mean squared distance."""
        maps = []
        for search in searches:
            images = objective.images(search.components)
            size = float(np.average(np.sum(images**2, axis=1), weights=objective.weight))
            maps.append(search.components / np.sqrt(size))
        mean = np.concatenate(maps) / np.sqrt(len(maps))
        n_rows = len(maps[0])
        if n_rows < mean.shape[1]:
            components = _principal_images(mean, objective, n_rows)
        else:
            components = components_of(mean.T @ mean)
        self.objective_ = float(np.mean([search.value for search in searches]))
        self.n_iter_ = max(search.n_iter for search in searches)
        self.converged_ = all(search.converged(self.n_iter_no_change) for search in searches)
        # They are set last, as an interrupted fit counts if they are set.
        self.components_ = components.astype(objective.X.dtype) @ basis


def _principal_images(components, objective, n_components) -> NDArray:
    """Rows that map to the first `n_components` principal components of the images."""
    images = objective.images(components)
    share = objective.weight / objective.weight.sum()
    _, vectors = np.linalg.eigh(images.T @ (share[:, None] * images))
    return vectors[:, ::-1][:, :n_components].T @ components
