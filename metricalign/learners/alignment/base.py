"""How a linear metric is fitted: from samples and targets to a matrix and its error bound."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import cache
from numbers import Integral, Real
from threading import current_thread, main_thread
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import ThreadpoolController

from metricalign._callbacks import CallbackSupportMixin, with_callbacks
from metricalign._decorators import _fit_context, available_if
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign.learners.alignment.preparation import Preparation, prepare
from metricalign.learners.base import MetricLearner
from metricalign.losses import Loss
from metricalign.regularizers import Regularizer
from metricalign.solvers import SOLVERS, AlignmentProblem, certify, solve

__all__ = ["LinearMetricLearner", "check_path", "constraints_of"]

# Up to so many features, threads do not pay: on busy cores they mostly wait for each other (with
# 156 features, as an encoder makes of a table, 9 CPU seconds in place of .2).
_FEATURES_OF_ONE_THREAD = 200


# Constraints of the parameters that only some of the methods have.
_CONSTRAINTS: dict[str, list[Any]] = {
    "C": [Interval(Real, 0, None, closed="neither"), StrOptions({"scale"})],
    "fit_intercept": ["boolean"],
    "prior": [None, StrOptions({"identity"}), "array-like"],
    "solver": [StrOptions(set(SOLVERS)), callable],
    "warm_start": ["boolean"],
}


def constraints_of(*names: str) -> dict[str, list[Any]]:
    """Return the constraints of these parameters, which only some of the methods have."""
    return {name: _CONSTRAINTS[name] for name in names}


class LinearMetricLearner(CallbackSupportMixin, MetricLearner):
    """Base of the linear metric learners, each of which names a loss and a regularizer."""

    C_: float

    _parameter_constraints: ClassVar[dict] = {
        "relation": [str, callable],
        "pairs": [str, "array-like", HasMethods("select")],
        "n_components": [
            None,
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @property
    def matrix_(self) -> NDArray | sparse.sparray:
        """M as solved; its negative eigenvalues, if any, are not in `components_`.

        Made from factors each time it is asked for where X has fewer samples than features.
        """
        check_is_fitted(self)
        return self._solved.in_features()

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
            Samples. float32 stays float32. A Dask array stays with its workers, but for the samples
            of the pairs if these are few, see `metricalign.pairs.distributed.DistributedSamples`.
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
        preparation = self._prepare(X, y, sample_weight)
        start = self.dual_coef_ if self._starts_warm() else None
        if start is not None and len(start) != len(preparation.pairs):
            start = None
        return self._fit_prepared(preparation, self._weight_of_pair(preparation), start, X, y)

    # RelationAlignmentCV chooses C itself.
    @available_if(lambda self: hasattr(self, "C"))
    def fit_path(
        self, X: ArrayLike, y: Any, Cs: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> list[Self]:
        """Learn the metric for each of several C, every one from the solution of the one before.

        The pairs are chosen once, and operator passes are saved, the more the denser the path is
        (docs/solvers.md has numbers). nu-SVR and ridge regression hardly save any.

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
        """The path over Cs; these are weights of one pair, or of all pairs if they are totals."""
        # A given C may be another problem than "scale", and this estimator is left as it is.
        given = clone(self) if are_totals else clone(self).set_params(C=Cs[0])
        preparation = given._prepare(X, y, sample_weight)
        learners: list[Self] = []
        for C in given._weights_of_pair(preparation, Cs, are_totals).tolist():
            learner = clone(self).set_params(C=C)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(given, name):
                    setattr(learner, name, getattr(given, name))
            start = learners[-1].dual_coef_ if learners else None
            learners.append(learner._fit_prepared(preparation, C, start, X, y))
        return learners

    def _weight_of_pair(self, preparation) -> float:
        """C as a number."""
        return float(self._scale(preparation) if self.C == "scale" else self.C)

    def _scale(self, preparation) -> float:
        """The number that ``C="scale"`` stands for."""
        return preparation.scale

    def _weights_of_pair(self, preparation, Cs, are_totals):
        """Weights of one pair, from such weights or from totals of all pairs."""
        unit = self._scale(preparation) / preparation.total_weight if are_totals else 1.0
        return unit * Cs

    def _prepare(self, X, y, sample_weight) -> Preparation:
        X, y, sample_weight = self._validate_given(X, y, sample_weight)
        relation, targets = self._relation_of(y, X.shape[0], sample_weight)
        return prepare(
            X,
            y,
            relation,
            targets,
            sample_weight,
            given_relation=self.relation,
            pairs=self.pairs,
            loss=self._loss(),
            regularizer=self._regularizer(),
            prior=self._prior_for(relation),
            random_state=self.random_state,
            verbose=bool(self.verbose),
        )

    def _prior_for(self, relation) -> Any:
        """The prior of the problem: what it is called, a matrix, or None."""
        return getattr(self, "prior", None)

    def _problem(self, preparation, C) -> AlignmentProblem:
        return preparation.problem(C, getattr(self, "fit_intercept", False))

    @with_callbacks
    def _fit_prepared(self, preparation, C, start, X, y) -> Self:
        problem = self._problem(preparation, C)
        context = self._begin_callbacks(X, y)
        latest = None

        def callback(result):
            nonlocal latest
            latest = result
            return self._report(preparation, C, problem, result, context, X, y)

        with _threads_for(self.n_features_in_):
            try:
                latest = solve(
                    problem,
                    self._solver(),
                    tol=self.tol,
                    max_iter=self.max_iter,
                    dual_coef=start,
                    callback=callback,
                )
            except KeyboardInterrupt:
                # Keep what was reached: the estimator is fitted, and its gap says how well.
                if latest is not None and latest.dual_point is not None:
                    latest.is_interrupted = True
                    certify(problem, latest)
                    self._store(preparation, C, problem, latest)
                raise
            self._store(preparation, C, problem, latest)
        if context is not None:
            context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})
        self._warn(problem, latest)
        return self

    def _starts_warm(self):
        return getattr(self, "warm_start", False) and hasattr(self, "dual_coef_")

    def _solver(self):
        return SOLVERS[self.solver] if isinstance(self.solver, str) else self.solver

    def _begin_callbacks(self, X, y):
        if not hasattr(self, "_init_callback_context"):
            return None
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        return context

    def _report(self, preparation, C, problem, result, context, X, y) -> bool:
        """Report how far the solver is, if asked for, and say whether to stop."""
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
            reconstruction_attributes=lambda: self._fitted(preparation, C, problem, result),
        )
        return bool(stops)

    def _fitted(self, preparation, C, problem, result) -> dict[str, Any]:
        """All fitted attributes."""
        solved = preparation.solved(result.matrix)
        fitted = {
            "relation_": preparation.relation,
            "pairs_": preparation.pairs,
            "pair_strategy_": preparation.strategy,
            "relations_": preparation.relations,
            "pair_weights_": preparation.weights,
            "C_": C,
            "_solved": solved,
            "components_": solved.components(self.n_components, problem.operator.dtype),
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

    def _store(self, preparation, C, problem, result):
        # The last fit may have set these, and this one may not.
        for name in ("coef_", "epsilon_"):
            self.__dict__.pop(name, None)
        self.__dict__.update(self._fitted(preparation, C, problem, result))

    def _warn(self, problem, result):
        if result.is_interrupted:
            return
        name = type(self).__name__
        ran_out = not self.converged_ and result.n_iter >= self.max_iter
        is_told = problem.tells_from_prior(result.primal_point, result.gap)
        has_components = abs(self.components_).max() > 0
        is_zero, prior = not has_components, "none"
        if np.any(problem.prior):
            prior = "its prior"
            # It may be left where no samples differ, and all their distances be zero.
            rounding = problem.operator.resolution * np.linalg.norm(result.matrix)
            is_zero |= bool((result.primal_point.distances <= rounding).all())
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
            if np.any(result.matrix) and not has_components:
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
        # The limit holds for the whole process: fits in other threads would undo it.
        return nullcontext()
    return _threadpools().limit(limits=1, user_api="blas")


@cache
def _threadpools() -> ThreadpoolController:
    """The thread pools of this process; finding them takes as long as a small fit.

    Libraries that are loaded later are missing, but no solver calls them.
    """
    return ThreadpoolController()
