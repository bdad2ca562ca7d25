"""What fitting a linear metric takes: relation, pairs and scale in, a matrix and its bound out."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from copy import copy
from functools import cache
from numbers import Integral, Real
from threading import current_thread, main_thread
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from threadpoolctl import ThreadpoolController

from metricalign._callbacks import CallbackSupportMixin, with_callbacks
from metricalign._decorators import _fit_context, available_if
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign._memory import machine_memory
from metricalign.learners.base import MetricLearner
from metricalign.learners.components import components_of
from metricalign.losses import Loss
from metricalign.operators import DistributedPairOperator, PairOperator
from metricalign.pairs import check_pairs, resolve_pairs
from metricalign.pairs.distinct import check_magnitude, distinct_samples
from metricalign.pairs.distributed import DistributedSamples, in_memory, is_dask_array, stand_in
from metricalign.regularizers import Regularizer
from metricalign.relations import PrecomputedRelation
from metricalign.solvers import SOLVERS, AlignmentProblem, SolverResult, certify, solve

__all__ = ["LinearMetricLearner", "check_path"]

# C summed over the pairs, in units in which the mean squared difference of the features of a
# pair is 1: benchmarks/quality/defaults.py shows what else does.
_TOTAL_WEIGHT_OF_NUMBERS, _TOTAL_WEIGHT = 3.0, 300.0

# Matrices that are alive at once, as tracemalloc measured it: while a problem is solved, with the
# components, and with a prior.
_MATRICES_OF_A_SOLVE, _MATRICES_OF_A_METRIC, _MATRICES_OF_A_PRIOR = 8, 2, 6
# In the span of the samples: arrays of the size of X, and with a prior matrices of the features.
_ARRAYS_OF_A_SPAN, _MATRICES_BESIDE_A_SPAN = 5, 4

# Up to so many features threads do not pay: on busy cores they mostly wait for each other.
_FEATURES_OF_ONE_THREAD = 100


class LinearMetricLearner(CallbackSupportMixin, MetricLearner):
    """Base of the linear metric learners, each of which names a loss and a regularizer."""

    C_: float

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

    @property
    def matrix_(self) -> NDArray | sparse.sparray:
        """M as solved; its negative eigenvalues, if any, are not in `components_`.

        Made from factors each time it is asked for where X has fewer samples than features.
        """
        check_is_fitted(self)
        matrix, basis, outside = self._solved
        if basis is not None:
            return _in_features(matrix, basis, outside)
        return sparse.diags_array(matrix) if matrix.ndim == 1 else matrix

    def _eigenvalues(self) -> NDArray:
        """Eigenvalues of `matrix_`, from its factors."""
        matrix, basis, outside = self._solved
        if basis is None:
            return matrix if matrix.ndim == 1 else np.linalg.eigvalsh(matrix)
        others = np.full(len(basis) - len(matrix), outside)
        return np.concatenate([np.linalg.eigvalsh(matrix), others])

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _regularizer(self) -> Regularizer:
        raise NotImplementedError

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. float32 stays float32. A Dask array stays with its workers, see
            `metricalign.pairs.distributed.DistributedSamples`.
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
        start = self.dual_coef_ if self._starts_warm() else None
        problem = self._prepare(X, y, sample_weight)
        if start is not None and len(start) != len(problem.relations):
            start = None
        return self._fit_problem(problem, start, X, y)

    # RelationAlignmentCV chooses C itself.
    @available_if(lambda self: hasattr(self, "C"))
    def fit_path(
        self, X: ArrayLike, y: Any, Cs: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> list[Self]:
        """Learn the metric for each of several C, every one from the solution of the one before.

        The pairs are chosen once, and operator passes are saved, the more the denser the path is
        (docs/solvers.md has numbers); not by nu-SVR and ridge regression, which start anew.

        Parameters
        ----------
        X, y
            See `fit`.
        Cs : array-like of float
            Weights of one pair, in the order in which they are used: mostly increasing or
            decreasing.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            See `fit`.

        Returns
        -------
        learners : list of object
            Fitted copies of this estimator, one for each C; this one is left as it is.

        Raises
        ------
        ValueError
            If an argument is not valid, or no metric can be learned from the targets.
        """
        self._validate_params()
        return self._fit_path(X, y, check_path(Cs), sample_weight)

    def _fit_path(self, X, y, Cs, sample_weight, are_totals=False) -> list[Self]:
        """The path, where C may also be given as the total weight that ``C="scale"`` sets."""
        learner = clone(self).set_params(C="scale")
        problem = learner._prepare(X, y, sample_weight)
        learners: list[Self] = []
        for C in learner._weights_of_pair(Cs, are_totals).tolist():
            learner = copy(learner).set_params(C=C)
            problem = learner._reweighted(problem, C)
            start = learners[-1].dual_coef_ if learners else None
            learners.append(learner._fit_problem(problem, start, X, y))
        return learners

    def _weights_of_pair(self, Cs, are_totals):
        """Weights of one pair, from those or from total weights, once C_ is that of "scale"."""
        return (self.C_ / self._total_weight() if are_totals else 1.0) * Cs

    def _reweighted(self, problem, C):
        """Set C_, and the problem with it."""
        problem = problem.reweighted(C / self.C_)
        self.C_ = C
        return problem

    def _prepare(self, X, y, sample_weight) -> AlignmentProblem:
        if not is_dask_array(X):
            return self._problem(self._validate_samples(X, y), y, sample_weight)
        # An array of its shape stands for X here; the entries are checked where they are.
        self._validate_samples(stand_in(X), y, dtype=None, ensure_all_finite=False)
        X = DistributedSamples(X, estimator_name=type(self).__name__)
        return self._problem(X, in_memory(y), in_memory(sample_weight))

    @with_callbacks
    def _fit_problem(self, problem, start, X, y) -> Self:
        context = self._begin_callbacks(X, y)
        latest = None

        def callback(result):
            nonlocal latest
            latest = result
            return self._report(problem, result, context, X, y)

        with _threads_for(self.n_features_in_):
            try:
                latest = self._solve(problem, start, callback)
            except KeyboardInterrupt:
                # Nothing that was finished is lost: the estimator is fitted, with its gap.
                if latest is not None and latest.dual_point is not None:
                    certify(problem, latest)
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
        check_magnitude(X)
        regularizer = self._regularizer()
        is_distributed = isinstance(X, DistributedSamples)
        may_use_span = not is_distributed and self._keeps_span(regularizer)
        if not regularizer.is_diagonal:
            has_prior = getattr(self, "prior", None) is not None
            _check_memory(X, may_use_span and n_samples < n_features, has_prior)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        self.relation_, targets = self._relation_of(y, n_samples, sample_weight)
        prior = self._given_prior(n_features, regularizer.is_diagonal)
        rows, pairs, weights, relations = self._select_pairs(X, y, targets, sample_weight)
        # A weight of zero is absence.
        pairs, relations, weights = (kept[weights > 0] for kept in (pairs, relations, weights))
        if len(pairs) == 0:
            raise ValueError("No pair is left: every pair has a sample of weight 0.")
        self.pairs_, self.relations_ = rows[pairs], relations
        X = sparse.csr_array(X[rows]) if sparse.issparse(X) else X[rows]
        operator_class: Any = DistributedPairOperator if is_distributed else PairOperator
        operator = operator_class(X, pairs, is_diagonal=regularizer.is_diagonal)
        mean_squared_length = float(np.average(operator.squared_lengths, weights=weights))
        if mean_squared_length == 0:
            raise ValueError(
                "The two samples of every pair are identical in X, or so near that their squared "
                f"difference is zero in {X.dtype}, so no distance can be learned from them. Check "
                "X and pairs, or scale X."
            )
        spread = _spread(self.relations_, weights)
        _check_scale(mean_squared_length, spread, X.dtype)
        loss = self._loss().resolved(spread)
        scale = self._total_weight() / (weights.sum() * mean_squared_length**2)
        self.C_ = self._weight_of_pair(
            scale * max(spread, np.finfo(float).tiny) ** (2 - loss.degree)
        )
        if not 1e-200 < self.C_ * weights.sum() < 1e200:
            raise ValueError(
                f"C={self.C_:.1e} and weights of the pairs with sum {weights.sum():.1e} lead to "
                "numbers beyond the range of float64. Scale X, for example with StandardScaler, "
                "the relations, or sample_weight."
            )
        basis, samples = None, operator
        if may_use_span and len(rows) < n_features:
            coordinates, basis = _in_span(X)
            operator = PairOperator(coordinates, pairs, dtype=X.dtype)
        if isinstance(getattr(self, "prior", None), str):
            # Of the samples as they were given.
            lengths = samples.astype(np.float64).squared_lengths
            size = spread / float(np.average(lengths, weights=weights))
            prior = np.full(operator.n_features, size)
            prior = prior if regularizer.is_diagonal else np.diag(prior)
        return self._make_problem(
            operator=operator,
            relations=self.relations_,
            weights=self.C_ * weights,
            loss=loss,
            regularizer=regularizer,
            fit_intercept=getattr(self, "fit_intercept", False),
            prior=prior,
            basis=basis,
        )

    def _make_problem(self, **parts: Any) -> AlignmentProblem:
        return AlignmentProblem(**parts)

    def _keeps_span(self, regularizer) -> bool:
        """Whether the optimum is in the span of the samples but for a multiple of the identity."""
        prior = getattr(self, "prior", None)
        return (
            regularizer.keeps_span
            if prior is None
            else (isinstance(prior, str) and regularizer.keeps_span_of_identity)
        )

    def _total_weight(self) -> float:
        """C summed over the pairs, scale-free, that ``C="scale"`` stands for."""
        is_number = self.relation_.kind in ("continuous", "multioutput")
        return _TOTAL_WEIGHT_OF_NUMBERS if is_number else _TOTAL_WEIGHT

    def _weight_of_pair(self, scale) -> float:
        return float(scale if self.C == "scale" else self.C)

    def _given_prior(self, n_features, is_diagonal):
        prior = getattr(self, "prior", None)
        if prior is None or isinstance(prior, str):
            return None
        if np.shape(prior) != (n_features, n_features):
            raise ValueError(
                f"prior must be None, 'identity' or a symmetric matrix of shape ({n_features}, "
                f"{n_features}); got shape {np.shape(prior)}."
            )
        prior = check_array(prior, dtype=np.float64, input_name="prior")
        if np.abs(prior - prior.T).max() > 1e-6 * np.abs(prior).max():
            raise ValueError("prior must be symmetric, but it differs from its transpose.")
        if not is_diagonal:
            return (prior + prior.T) / 2
        if np.any(prior != np.diag(np.diag(prior))):
            raise ValueError("prior must be diagonal, as the metric is; it has other entries.")
        return np.diag(prior).copy()

    def _select_pairs(self, X, y, targets, sample_weight):
        """Samples to work on as rows of X, pairs of them, their weights and relations."""
        n_samples = X.shape[0]
        is_given = not isinstance(self.pairs, str) and not hasattr(self.pairs, "select")
        pairs = None
        if is_given:
            pairs = check_pairs(self.pairs, n_samples)
        elif isinstance(self.relation_, PrecomputedRelation) and self.pairs == "auto":
            pairs = self.relation_.stored_pairs(targets)
        if pairs is not None:
            weights = np.ones(len(pairs))
            if sample_weight is not None:
                weights = sample_weight[pairs].prod(axis=1)
            return np.arange(n_samples), pairs, weights, self.relation_(targets, pairs)
        samples = distinct_samples(X, y, self.relation_, targets, sample_weight, self.relation)
        rows, weight, self.relation_, targets = samples
        pairs, weights = resolve_pairs(self.pairs, self.relation_.kind).select(
            X[rows],
            None if self.relation_.kind == "precomputed" else targets,
            weight,
            check_random_state(self.random_state),
        )
        return rows, pairs, weights, self.relation_(targets, pairs)

    def _solver(self):
        return SOLVERS[self.solver] if isinstance(self.solver, str) else self.solver

    def _solve(self, problem, start, callback) -> SolverResult:
        return solve(
            problem,
            self._solver(),
            tol=self.tol,
            max_iter=self.max_iter,
            dual_coef=start,
            callback=callback,
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
        basis = problem.basis
        # The prior is a multiple of the identity wherever the problem is in a span.
        outside = 0.0 if basis is None else float(problem.prior[0, 0])
        fitted = {
            "_solved": (result.matrix, basis, outside),
            "components_": components_of(
                result.matrix.astype(problem.operator.dtype), self.n_components, basis, outside
            ),
            "intercept_": float(result.intercept),
            "dual_coef_": result.dual_coef,
            "objective_": result.primal,
            "dual_gap_": result.relative_gap,
            "metric_error_bound_": self._metric_error_bound(problem, result),
            "gap_history_": np.array(
                [(passes, primal - dual) for passes, primal, dual in result.history]
            ),
            "n_iter_": result.n_iter,
            "n_passes_": result.n_passes,
            "converged_": result.is_solved(problem, self.tol),
            "loss_": self._loss_of(problem, result),
        }
        coef = getattr(result.projection, "coef", None)
        return fitted if coef is None else fitted | {"coef_": coef}

    def _metric_error_bound(self, problem, result) -> float:
        # The objective grows with 1/2 norm(M - M*)^2 from the optimum.
        return float(np.sqrt(2 * result.gap))

    def _loss_of(self, problem, result) -> Loss:
        """Loss with the parameters that were used."""
        return problem.loss

    def _store(self, problem, result):
        # Those that not every fit sets.
        for name in ("coef_", "epsilon_"):
            self.__dict__.pop(name, None)
        self.__dict__.update(self._fitted(problem, result))

    def _warn(self, problem, result):
        if result.stopped_by_callback:
            return
        name = type(self).__name__
        ran_out = not self.converged_ and result.n_iter >= self.max_iter
        is_told = problem.tells_from_prior(result.primal_point, result.gap)
        is_zero = abs(self.components_).max() == 0
        prior = "its prior" if np.any(problem.prior) else "none"
        if self.dual_gap_ > self.tol:
            if ran_out:
                reason, advice = f"used max_iter={self.max_iter} iterations", "max_iter or tol"
            elif result.gap <= result.rounding:
                reason, advice = "reached the limit of double precision", "tol"
            else:
                reason, advice = "could make no further progress", "tol"
            _warn_user(
                f"{name} {reason}: relative duality gap {self.dual_gap_:.1e}, tol={self.tol:.1e}. "
                f"Decrease C (here {self.C_:.1e}), scale X, or increase {advice}.",
                ConvergenceWarning,
            )
        elif not is_told and not is_zero and not (self.converged_ and prior == "its prior"):
            # Within the gap the prior is as good: what was learned may be noise.
            advice = "Increase max_iter;" if ran_out else "Decrease tol;"
            _warn_user(
                f"{name} cannot tell the learned metric from {prior}: its share of the objective, "
                f"{problem.penalty(result.matrix):.1e}, is below the duality gap, "
                f"{result.gap:.1e}. {advice} if this stays, no change is optimal: a smaller "
                "epsilon (or nu), other pairs or another relation may help.",
                UserWarning if self.converged_ else ConvergenceWarning,
            )
        if is_zero:
            if np.any(result.matrix):
                cause = "negative eigenvalues only fit these relations best"
            elif result.gap <= result.rounding:
                cause = "equal distances fit these relations best"
            elif self.dual_gap_ > self.tol:
                cause = "the fit did not converge"
            elif ran_out:
                cause = f"it is optimal to within {self.dual_gap_:.1e}: increase max_iter"
            else:
                cause = f"it is optimal to within {self.dual_gap_:.1e}: decrease tol or increase C"
            _warn_user(
                f"{name} learned the zero metric, since {cause}. A smaller epsilon (or nu), other "
                "pairs or another relation may help.",
                UserWarning if self.converged_ else ConvergenceWarning,
            )


def _warn_user(message, category):
    warnings.warn(message, category, stacklevel=level_of_call())


def check_path(Cs: ArrayLike) -> NDArray:
    """Validate the C of a regularisation path.

    Parameters
    ----------
    Cs : array-like of float
        Positive numbers.

    Returns
    -------
    Cs : ndarray of shape (n_Cs,)

    Raises
    ------
    ValueError
        If there is none, or one is not positive and finite.
    """
    Cs = np.asarray(Cs, dtype=np.float64)
    if Cs.ndim != 1 or len(Cs) == 0 or not np.all((Cs > 0) & np.isfinite(Cs)):
        raise ValueError(f"Cs must be an array of positive numbers, at least one; got {Cs}.")
    return Cs


def _threads_for(n_features):
    """Keep BLAS to one thread where matrices are so small that more only wait for each other."""
    if n_features > _FEATURES_OF_ONE_THREAD or current_thread() is not main_thread():
        # The limit is the process's: fits that overlap would lift each other's.
        return nullcontext()
    return _threadpools().limit(limits=1, user_api="blas")


@cache
def _threadpools() -> ThreadpoolController:
    """The thread pools of this process; finding them takes as long as a small fit.

    Those of libraries that are loaded later are missing, which no solver calls.
    """
    return ThreadpoolController()


def _in_span(X) -> tuple[NDArray, NDArray]:
    """Coordinates of fewer samples than features in the span of their differences, its basis.

    Both in double precision: what is certified must be of the samples as they were given.
    """
    X = (X.toarray() if sparse.issparse(X) else X).astype(np.float64, copy=False)
    basis, coordinates = linalg.qr((X - X.mean(axis=0)).T, mode="economic", check_finite=False)
    # Identical samples stay identical, whatever the rounding.
    _, first, inverse = np.unique(X, axis=0, return_index=True, return_inverse=True)
    return np.ascontiguousarray(coordinates.T[first[inverse]]), basis


def _in_features(matrix: NDArray, basis: NDArray, outside: float) -> NDArray:
    """Metric of the features, from that in coordinates and a multiple of the identity elsewhere."""
    inside = matrix - matrix.dtype.type(outside) * np.eye(len(matrix), dtype=matrix.dtype)
    metric = basis @ inside @ basis.T
    metric = metric + metric.T
    metric *= 0.5
    metric[np.diag_indices_from(metric)] += outside
    return metric


def _check_memory(X, is_in_span, has_prior) -> None:
    """Refuse arrays that this machine has no room for, before any is made."""
    n_samples, n_features = X.shape
    if is_in_span:
        n_entries = _MATRICES_OF_A_SOLVE * n_samples**2
        n_entries += _ARRAYS_OF_A_SPAN * n_samples * n_features
        n_entries += _MATRICES_BESIDE_A_SPAN * n_features**2 if has_prior else 0
    else:
        n_matrices = _MATRICES_OF_A_PRIOR if has_prior else _MATRICES_OF_A_METRIC
        n_entries = (_MATRICES_OF_A_SOLVE + n_matrices) * n_features**2
    needed = n_entries * X.dtype.itemsize
    available = machine_memory()
    if needed > available:
        raise MemoryError(
            f"X has {n_samples:,} samples of {n_features:,} features, and the matrices of a fit "
            f"need about {needed / 2**30:,.1f} GiB; this machine has {available / 2**30:,.1f} GiB. "
            "Reduce the features first, with TruncatedSVD, which takes sparse X, or PCA; or learn "
            "a weight for each, with RelationAlignment(regularizer='diagonal', prior='identity')."
        )


def _check_scale(mean_squared_length, spread, dtype) -> None:
    """Refuse units in which the squares of M or of C leave the range of numbers."""
    limit = min(float(np.finfo(dtype).max) ** 0.4, 1e70)
    sizes = (mean_squared_length, spread / mean_squared_length if spread else 1.0)
    if not all(1 / limit < size < limit for size in sizes):
        raise ValueError(
            f"The mean squared difference of the samples of a pair, {mean_squared_length:.1e}, and "
            f"the spread of the relations, {spread:.1e}, lead to numbers beyond the range of "
            f"{dtype}. Scale X, for example with StandardScaler, and the relations."
        )


def _spread(relations, weights) -> float:
    """Weighted standard deviation of the relations, or their size where they are all equal."""
    size = float(np.abs(relations).max())
    # Numbers from 0 to 1, so that no square overflows or underflows and no offset takes digits.
    smallest = relations.min()
    width = float(relations.max() - smallest)
    if width <= 1e-14 * size:
        return size
    relations = (relations - smallest) / width
    mean = np.average(relations, weights=weights)
    return float(width * np.sqrt(np.average((relations - mean) ** 2, weights=weights)))
