"""Estimators: one general class, and one thin named class per method."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    validate_data,
)
from threadpoolctl import threadpool_limits

from metricalign._callbacks import CallbackSupportMixin, with_callbacks
from metricalign.base import MetricLearner, components_of
from metricalign.cones import CONES, Cone, Symmetric
from metricalign.losses import LOSSES, EpsilonInsensitive, Loss, Squared
from metricalign.operators import PairOperator
from metricalign.pairs import check_pairs, merge_identical_samples, resolve_pairs
from metricalign.relations import TargetRelation, check_targets, resolve_relation
from metricalign.solvers import (
    SOLVERS,
    AlignmentProblem,
    SolverResult,
    coefficient_ridge,
    newton,
    nu_svr,
)

__all__ = ["RAMLKRR", "RAMLSVR", "RelationAlignment"]

# C summed over the pairs, in units in which the mean squared difference of the features of a
# pair is 1: benchmarks/quality/defaults.py shows what else does.
_TOTAL_WEIGHT_OF_NUMBERS, _TOTAL_WEIGHT = 3.0, 300.0

# Up to so many features threads do not pay: on busy cores they mostly wait for each other.
_FEATURES_OF_ONE_THREAD = 100


class _LinearMetricLearner(CallbackSupportMixin, MetricLearner):
    """What fitting has in common: relation, pairs and scale in, a matrix and its bound out."""

    _parameter_constraints: ClassVar[dict] = {
        "C": [Interval(Real, 0, None, closed="neither"), StrOptions({"scale"})],
        "relation": [str, callable],
        "pairs": [str, "array-like", HasMethods("select")],
        "fit_intercept": ["boolean"],
        "prior": [None, StrOptions({"identity"}), "array-like"],
        "n_components": [
            None,
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "solver": [StrOptions(set(SOLVERS)), callable],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.two_d_labels = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _objective_has_metric(self) -> bool:
        """Whether 1/2 norm(M)^2 is a term of the objective."""
        return True

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _cone(self) -> Cone:
        raise NotImplementedError

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. float32 stays float32.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Their targets: classes, label sets, distributions or numbers; or the matrix of
            relations, if ``relation="precomputed"``.
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
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        X = validate_data(
            self,
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_min_samples=2,
        )
        problem = self._problem(X, y, sample_weight)
        start = self.dual_coef_ if self._starts_warm() else None
        if start is not None and len(start) != len(problem.relations):
            start = None
        context = self._begin_callbacks(X, y)
        latest = None

        def callback(result):
            nonlocal latest
            latest = result
            return self._report(problem, result, context, X, y)

        with _threads_for(X.shape[1]):
            try:
                latest = self._solve(problem, start, callback)
            except KeyboardInterrupt:
                # Nothing that was finished is lost: the estimator is fitted, with its gap.
                if latest is not None:
                    self._store(problem, latest)
                raise
            self._store(problem, latest)
        if context is not None:
            context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})
        self._warn(problem, latest)
        return self

    def _starts_warm(self):
        return getattr(self, "warm_start", False) and hasattr(self, "dual_coef_")

    def _problem(self, X, y, sample_weight) -> AlignmentProblem:
        """Validate the targets, choose the pairs and put the problem together."""
        n_samples, n_features = X.shape
        _check_magnitude(X)
        self.relation_, targets = self._relation_of(y, n_samples)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        prior = self._prior_of(n_features, X.dtype)
        rows, pairs, weights, relations = self._select_pairs(X, y, targets, sample_weight)
        # A weight of zero is absence.
        pairs, relations, weights = (kept[weights > 0] for kept in (pairs, relations, weights))
        if len(pairs) == 0:
            raise ValueError("No pair is left: every pair has a sample of weight 0.")
        self.pairs_, self.relations_ = rows[pairs], relations
        operator = PairOperator(sparse.csr_array(X[rows]) if sparse.issparse(X) else X[rows], pairs)
        mean_squared_length = float(np.average(operator.squared_lengths, weights=weights))
        if mean_squared_length == 0:
            raise ValueError(
                "The two samples of every pair are identical in X, so no distance can be learned "
                "from them. Check X and pairs."
            )
        if mean_squared_length**2 == 0:
            raise ValueError(
                "The features in X are so small (mean squared difference "
                f"{mean_squared_length:.1e}) that products of them vanish. Scale X, for example "
                "with StandardScaler."
            )
        spread = _spread(self.relations_, weights)
        loss = self._loss().resolved(spread)
        is_number = self.relation_.kind in ("continuous", "multioutput")
        total = _TOTAL_WEIGHT_OF_NUMBERS if is_number else _TOTAL_WEIGHT
        scale = total / (weights.sum() * mean_squared_length**2)
        self.C_ = self._weight_of_pair(
            scale * max(spread, np.finfo(float).tiny) ** (2 - loss.degree)
        )
        if isinstance(getattr(self, "prior", None), str):
            prior = prior * X.dtype.type(spread / mean_squared_length)
        return AlignmentProblem(
            operator,
            self.relations_,
            self.C_ * weights,
            loss,
            self._cone(),
            getattr(self, "fit_intercept", False),
            prior,
        )

    def _weight_of_pair(self, scale) -> float:
        return float(scale if self.C == "scale" else self.C)

    def _relation_of(self, y, n_samples) -> tuple[TargetRelation, Any]:
        relation = resolve_relation(self.relation, y)
        targets = relation.encode(y)
        if targets.shape[0] != n_samples:
            raise ValueError(
                f"X and y must have as many samples; got {n_samples} and {targets.shape[0]}."
            )
        return relation, targets

    def _prior_of(self, n_features, dtype):
        prior = getattr(self, "prior", None)
        if prior is None:
            return None
        if isinstance(prior, str):
            return np.eye(n_features, dtype=dtype)
        if np.shape(prior) != (n_features, n_features):
            raise ValueError(
                f"prior must be None, 'identity' or a symmetric matrix of shape ({n_features}, "
                f"{n_features}); got shape {np.shape(prior)}."
            )
        prior = check_array(prior, dtype=dtype, input_name="prior")
        if np.abs(prior - prior.T).max() > 1e-6 * np.abs(prior).max():
            raise ValueError("prior must be symmetric, but it differs from its transpose.")
        return (prior + prior.T) / 2

    def _select_pairs(self, X, y, targets, sample_weight):
        """Samples to work on as rows of X, pairs of them, their weights and relations."""
        n_samples = X.shape[0]
        is_precomputed = self.relation_.kind == "precomputed"
        is_given = not isinstance(self.pairs, str) and not hasattr(self.pairs, "select")
        if is_given or (is_precomputed and self.pairs == "auto"):
            if is_given:
                pairs = check_pairs(self.pairs, n_samples)
            else:
                pairs = self.relation_.stored_pairs(targets)
            weights = np.ones(len(pairs))
            if sample_weight is not None:
                weights = sample_weight[pairs].prod(axis=1)
            return np.arange(n_samples), pairs, weights, self.relation_(targets, pairs)
        random_state = check_random_state(self.random_state)
        strategy = resolve_pairs(self.pairs, self.relation_.kind)
        if is_precomputed:
            weight = np.ones(n_samples) if sample_weight is None else sample_weight
            rows = np.flatnonzero(weight)
            pairs, weights = strategy.select(X[rows], None, weight[rows], random_state)
            return rows, pairs, weights, self.relation_(targets, rows[pairs])
        rows, weight = merge_identical_samples(X, targets, sample_weight)
        targets = targets[rows]
        if len(rows) < n_samples:
            # What the relation learns from the targets must not depend on repetition.
            kept = check_targets(y)[rows]
            self.relation_ = resolve_relation(self.relation, kept)
            targets = self.relation_.encode(kept)
            strategy = resolve_pairs(self.pairs, self.relation_.kind)
        order = _canonical_order(X[rows])
        rows, targets = rows[order], targets[order]
        pairs, weights = strategy.select(X[rows], targets, weight[order], random_state)
        return rows, pairs, weights, self.relation_(targets, pairs)

    def _solver(self):
        return SOLVERS[self.solver] if isinstance(self.solver, str) else self.solver

    def _solve(self, problem, start, callback) -> SolverResult:
        return self._solver()(
            problem, tol=self.tol, max_iter=self.max_iter, dual_coef=start, callback=callback
        )

    def _begin_callbacks(self, X, y):
        if not hasattr(self, "_init_callback_context"):
            return None
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        return context

    def _report(self, problem, result, context, X, y) -> bool:
        """Tell who asked for it how far the solver is, and say whether to stop."""
        if self.verbose:
            print(
                f"[{type(self).__name__}] iteration {result.n_iter}: objective "
                f"{result.primal:.6g}, relative duality gap {result.relative_gap:.1e}, "
                f"{result.n_passes:.0f} operator passes",
                flush=True,
            )
        if context is None:
            return False
        task = context.subcontext(task_name=f"iteration {result.n_iter}")
        task.call_on_fit_task_begin(estimator=self, X=X, y=y)
        stops = task.call_on_fit_task_end(
            estimator=self,
            X=X,
            y=y,
            reconstruction_attributes=lambda: self._fitted(problem, result),
        )
        return bool(stops)

    def _fitted(self, problem, result) -> dict[str, Any]:
        """Attributes that the result of a solve sets."""
        return {
            "matrix_": result.matrix,
            "components_": components_of(result.matrix, self.n_components),
            "intercept_": float(result.intercept),
            "dual_coef_": result.dual_coef,
            "objective_": result.primal,
            "dual_gap_": result.relative_gap,
            "gap_history_": np.array(
                [(passes, primal - dual) for passes, primal, dual in result.history]
            ),
            "n_iter_": result.n_iter,
            "n_passes_": result.n_passes,
            "converged_": result.relative_gap <= self.tol,
            "loss_": problem.loss,
        }

    def _store(self, problem, result):
        for name, value in self._fitted(problem, result).items():
            setattr(self, name, value)

    def _warn(self, problem, result):
        if result.stopped_by_callback:
            return
        if not self.converged_:
            reason = (
                f"used max_iter={self.max_iter} iterations"
                if result.n_iter >= self.max_iter
                else "could make no further progress in floating point"
            )
            warnings.warn(
                f"{type(self).__name__} {reason}: relative duality gap {self.dual_gap_:.1e}, "
                f"tol={self.tol:.1e}. Increase max_iter or tol, decrease C, or scale X.",
                ConvergenceWarning,
                stacklevel=5,
            )
        if np.any(problem.prior):
            return
        if not np.any(self.components_):
            cause = "negative eigenvalues only" if np.any(self.matrix_) else "equal distances only"
            warnings.warn(
                f"{type(self).__name__} learned the zero metric, since {cause} fit these relations "
                "best. Choose other pairs or another relation, or change epsilon (or nu) and C.",
                UserWarning,
                stacklevel=5,
            )
        elif self._objective_has_metric and result.gap > problem.penalty(result.matrix):
            # Then no metric at all is as good, within the gap: what was learned may be noise.
            warnings.warn(
                f"{type(self).__name__} cannot tell the learned metric from none: its share of the "
                f"objective, {problem.penalty(result.matrix):.1e}, is below the duality gap, "
                f"{result.gap:.1e}. Lower tol; if this stays, no metric is optimal (as often in "
                "nu-SVR with balanced classes): change epsilon (or nu) and C.",
                UserWarning,
                stacklevel=5,
            )


def _threads_for(n_features):
    """Keep BLAS to one thread where matrices are so small that more only wait for each other."""
    limit = 1 if n_features <= _FEATURES_OF_ONE_THREAD else None
    return threadpool_limits(limits=limit, user_api="blas")


def _check_magnitude(X) -> None:
    """Refuse samples whose fourth powers, which distances are made of, leave their range."""
    values = X.data if sparse.issparse(X) else X
    largest = float(np.abs(values).max(initial=0))
    limit = float(np.finfo(X.dtype).max) ** 0.25 / X.shape[1] ** 0.5
    if largest > limit:
        raise ValueError(
            f"X has entries as large as {largest:.1e}; above {limit:.1e} products of features "
            f"leave the range of {X.dtype}. Scale X, for example with StandardScaler."
        )


def _canonical_order(X) -> NDArray:
    """Order of distinct samples that is their own: M must not depend on how they came."""
    weights = np.sqrt(np.arange(2, X.shape[1] + 2))
    weighted = X.multiply(weights) if sparse.issparse(X) else X * weights
    return np.argsort(np.asarray(weighted.sum(axis=1)).ravel(), kind="stable")


def _spread(relations, weights) -> float:
    """Weighted standard deviation of the relations, or their size where they are all equal."""
    mean = np.average(relations, weights=weights)
    deviation = np.sqrt(np.average((relations - mean) ** 2, weights=weights))
    size = np.abs(relations).max()
    return float(deviation if deviation > 1e-12 * size else size)


class RelationAlignment(_LinearMetricLearner):
    """Mahalanobis distance aligned with the relations of the targets: the general method.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and relation t_p,

        min over M in cone, b   1/2 norm(M - M0)^2 + C sum_p w_p loss(z_p^T M z_p + b, t_p).

    Parameters
    ----------
    loss : str or Loss, default="epsilon_insensitive"
        "epsilon_insensitive", "squared_epsilon_insensitive", "squared", or an object of
        `metricalign.losses`.
    cone : str or Cone, default="symmetric"
        "symmetric", "positive_semidefinite", or an object of `metricalign.cones`.
    C : float or "scale", default="scale"
        Weight of one pair. "scale" does not depend on the units of X and of the relations,
        nor on the number of pairs: C = c s^(2 - k) / (sum_p w_p m^2), m the mean of
        norm(z_p)^2, s the standard deviation of the relations, k = 1 for losses that grow
        linearly and k = 2 for quadratic ones, c = 3 for targets that are numbers and 300
        for others.
    relation : str or callable, default="auto"
        How different two targets are: "auto" (see `metricalign.relations`), the name of a
        relation, a function of two targets, or "precomputed" (y is the n x n matrix of
        relations; the stored entries of a sparse one are the pairs; cross-validation, which
        slices y by rows only, cannot be used).
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit: "auto" (the nearest of the same and of other classes for classes, the
        nearest otherwise), "nearest", "nearest_class", "random", "all", an object of
        `metricalign.pairs`, or an array of rows of X used exactly as given (so not in
        cross-validation, where rows are other samples in each fold).
    fit_intercept : bool, default=True
        Whether to fit b.
    prior : "identity", array-like of shape (n_features, n_features) or None, default=None
        M0: a matrix, zero (None), or the multiple of the identity under which the mean
        squared distance of the pairs is the standard deviation of the relations.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver : str or callable, default="auto"
        "newton" ("auto"), "projected_gradient", "cvxpy" (a reference for small problems), or a
        function like those of `metricalign.solvers`.
    tol : float, default=1e-4
        Relative duality gap to reach.
    max_iter : int, default=1000
        Iterations at most.
    warm_start : bool, default=False
        Whether to start from the dual coefficients of the last fit.
    random_state : int, RandomState instance or None, default=None
        Where pairs are chosen at random.
    verbose : int, default=0
        Whether to print the progress of each iteration.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Linear map: the learned distance is Euclid's after ``X @ components_.T``.
    matrix_ : ndarray of shape (n_features, n_features)
        M as solved; its negative eigenvalues, if any, are not in `components_`.
    intercept_ : float
        b.
    C_ : float
        Weight of one pair that was used.
    loss_ : Loss
        Loss that was used, all its parameters numbers.
    relation_ : TargetRelation
        Relation that was used; see its `name`.
    pairs_ : ndarray of shape (n_pairs, 2)
        Pairs that were fitted, as rows of X.
    relations_ : ndarray of shape (n_pairs,)
        Their relations t_p.
    dual_coef_ : ndarray of shape (n_pairs,)
        Dual coefficients beta_p.
    objective_ : float
        Value of the problem above at `matrix_` and `intercept_`.
    dual_gap_ : float
        Bound on how far `objective_` is above the optimum, relative to it.
    gap_history_ : ndarray of shape (n_iter, 2)
        Operator passes and absolute duality gap after each iteration.
    n_iter_ : int
        Iterations.
    n_passes_ : float
        Applications of the two operators, one over a part of the pairs counted as that part.
    converged_ : bool
        Whether `dual_gap_` is at most `tol`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Their names, if X had names.

    References
    ----------
    Zhu et al., Beyond Similar and Dissimilar Relations: A Kernel Regression Formulation for
    Metric Learning, IJCAI 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from metricalign import RelationAlignment
    >>> X, y = load_diabetes(return_X_y=True)
    >>> learner = RelationAlignment(cone="positive_semidefinite").fit(X, y)
    >>> learner.relation_.name
    'absolute_difference'
    >>> bool(learner.dual_gap_ <= learner.tol)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **_LinearMetricLearner._parameter_constraints,
        "loss": [StrOptions(set(LOSSES)), Loss],
        "cone": [StrOptions(set(CONES)), Cone],
    }

    def __init__(
        self,
        loss: str | Loss = "epsilon_insensitive",
        *,
        cone: str | Cone = "symmetric",
        C: float | Literal["scale"] = "scale",
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = True,
        prior: Any = None,
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-4,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.loss = loss
        self.cone = cone
        self.C = C
        self.relation = relation
        self.pairs = pairs
        self.fit_intercept = fit_intercept
        self.prior = prior
        self.n_components = n_components
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _loss(self):
        return LOSSES[self.loss]() if isinstance(self.loss, str) else self.loss

    def _cone(self):
        return CONES[self.cone]() if isinstance(self.cone, str) else self.cone


class RAMLSVR(_LinearMetricLearner):
    """RAML with support vector regression: distances aligned by the epsilon-insensitive loss.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and relation t_p,

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, abs(z_p^T M z_p + b - t_p) - epsilon)

    over all symmetric M. The learned distance is that of the positive part of M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`.
    epsilon : float or "scale", default="scale"
        Error of a distance that costs nothing, in units of the relation; "scale" is a tenth
        of the standard deviation of the relations. Not used with `nu`.
    nu : float or None, default=None
        If given, nu-SVR: epsilon is chosen so that at most this share of the pairs lies
        outside the tube and at least this share is on or outside it.
    relation : str or callable, default="auto"
        How different two targets are; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    fit_intercept : bool, default=True
        Whether to fit b.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver : str or callable, default="auto"
        "newton" ("auto"), "projected_gradient", "cvxpy" (a reference for small problems), or a
        function like those of `metricalign.solvers`.
    tol : float, default=1e-4
        Relative duality gap to reach.
    max_iter : int, default=1000
        Iterations at most.
    warm_start : bool, default=False
        Whether to start from the dual coefficients of the last fit.
    random_state : int, RandomState instance or None, default=None
        Where pairs are chosen at random.
    verbose : int, default=0
        Whether to print the progress of each iteration.

    Attributes
    ----------
    epsilon_ : float
        Half width of the tube that was used.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`; with `nu` of the nu-SVR problem, which adds nu C sum(w) epsilon
        to the objective and minimises over epsilon too.
    n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Zhu et al., Beyond Similar and Dissimilar Relations: A Kernel Regression Formulation for
    Metric Learning, IJCAI 2018; nu-SVR: Schoelkopf et al., New support vector algorithms,
    Neural Computation 12 (2000).

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RAMLSVR
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), RAMLSVR(), KNeighborsClassifier())
    >>> bool(cross_val_score(model, X, y).mean() > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **_LinearMetricLearner._parameter_constraints,
        **EpsilonInsensitive._parameter_constraints,
        "nu": [None, Interval(Real, 0, 1, closed="right")],
    }
    del _parameter_constraints["prior"]

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
        epsilon: float | Literal["scale"] = "scale",
        nu: float | None = None,
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = True,
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-4,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.C = C
        self.epsilon = epsilon
        self.nu = nu
        self.relation = relation
        self.pairs = pairs
        self.fit_intercept = fit_intercept
        self.n_components = n_components
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _loss(self):
        return EpsilonInsensitive(self.epsilon)

    def _cone(self):
        return Symmetric()

    def _solve(self, problem, start, callback):
        if self.nu is None:
            return super()._solve(problem, start, callback)
        return nu_svr(
            problem,
            self.nu,
            solver=self._solver(),
            tol=self.tol,
            max_iter=self.max_iter,
            dual_coef=start,
            callback=callback,
        )

    def _fitted(self, problem, result):
        return super()._fitted(problem, result) | {"epsilon_": problem.loss.epsilon}


class RAMLKRR(_LinearMetricLearner):
    """RAML with kernel ridge regression: distances aligned by the squared loss.

    With K_pq = (z_p^T z_q)^2 over the pairs and M = sum_p a_p z_p z_p^T, the penalty is on the
    metric or on the coefficients:

        "metric"         min over M   1/2 norm(M)^2 + C/2 sum_p w_p (z_p^T M z_p - t_p)^2,
                         a = (K + I/C)^-1 t, textbook kernel ridge regression;
        "coefficients"   min over a   1/2 norm(a)^2 + C/2 norm(K a - t)^2,
                         a = (K^2 + I/C)^-1 K t, as the authors' code has it

    (weights w_p = 1 in the formulas for a). The learned distance is that of the positive part
    of M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair, the inverse of the ridge. "scale" does not depend on the units of
        X and of the relations, nor on the number of pairs; see `RelationAlignment`, and for
        penalty="coefficients" the square of that.
    penalty : {"metric", "coefficients"}, default="metric"
        What the ridge is on.
    relation : str or callable, default="auto"
        How different two targets are; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    tol : float, default=1e-4
        Relative duality gap to reach; a direct solve, for up to 2000 pairs or 62 features,
        goes to rounding.
    max_iter : int, default=1000
        Iterations at most.
    random_state : int, RandomState instance or None, default=None
        Where pairs are chosen at random.
    verbose : int, default=0
        Whether to print the progress of each iteration.

    Attributes
    ----------
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`; `dual_coef_` holds a, `intercept_` is 0.
    objective_, dual_gap_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`; the objective is the one above.
    n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Zhu et al., Beyond Similar and Dissimilar Relations: A Kernel Regression Formulation for
    Metric Learning, IJCAI 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from metricalign import RAMLKRR
    >>> X, y = load_diabetes(return_X_y=True)
    >>> RAMLKRR(n_components=2).fit_transform(X, y).shape
    (442, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        **_LinearMetricLearner._parameter_constraints,
        "penalty": [StrOptions({"metric", "coefficients"})],
    }
    for _name in ("fit_intercept", "prior", "solver", "warm_start"):
        del _parameter_constraints[_name]
    del _name

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
        penalty: Literal["metric", "coefficients"] = "metric",
        relation: Any = "auto",
        pairs: Any = "auto",
        n_components: int | float | None = None,
        tol: float = 1e-4,
        max_iter: int = 1000,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.C = C
        self.penalty = penalty
        self.relation = relation
        self.pairs = pairs
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose

    def _loss(self):
        return Squared()

    def _cone(self):
        return Symmetric()

    @property
    def _objective_has_metric(self):
        return self.penalty == "metric"

    def _weight_of_pair(self, scale):
        return super()._weight_of_pair(scale**2 if self.penalty == "coefficients" else scale)

    def _solve(self, problem, start, callback):
        options = {"tol": self.tol, "max_iter": self.max_iter, "callback": callback}
        if self.penalty == "metric":
            return newton(problem, **options)
        return coefficient_ridge(problem, self.C_, **options)
