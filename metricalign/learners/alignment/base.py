"""The fit of a linear metric, from samples and targets to a matrix and its error bound."""

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

# Up to so many features, one thread is best. On busy cores, threads mostly wait for each other:
# with 156 features, as an encoder makes of a table, a fit took 9 CPU seconds in place of .2.
_FEATURES_OF_ONE_THREAD = 200


# Constraints of parameters that only some methods have.
_CONSTRAINTS: dict[str, list[Any]] = {
    "C": [Interval(Real, 0, None, closed="neither"), StrOptions({"scale"})],
    "fit_intercept": ["boolean"],
    "prior": [None, StrOptions({"identity"}), "array-like"],
    "solver": [StrOptions(set(SOLVERS)), callable],
    "warm_start": ["boolean"],
}


def constraints_of(*names: str) -> dict[str, list[Any]]:
    """Return the constraints of parameters that only some methods have."""
    return {name: _CONSTRAINTS[name] for name in names}


class LinearMetricLearner(CallbackSupportMixin, MetricLearner):
    """Base class of the linear metric learners. Each subclass names a loss and a regularizer."""

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
        """The solved M. `components_` does not have its negative eigenvalues.

        If X has fewer samples than features, the matrix is computed from factors at each access.
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
            Samples. float32 stays float32. A Dask array stays on its workers, except for the
            samples of the pairs if these are few, see
            `metricalign.pairs.distributed.DistributedSamples`.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Targets: classes, label sets, distributions or numbers. If ``relation="precomputed"``,
            the matrix of relations.
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
        """Learn the metric for each of several C. Each fit starts from the solution before it.

        The pairs are chosen once. A path saves operator passes, and a denser path saves more
        (docs/solvers.md has numbers). nu-SVR and ridge regression save hardly any.

        Parameters
        ----------
        X, y
            See `fit`.
        Cs : array-like of float
            Weights of one pair, in the order in which they are used. They usually increase or
            decrease.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            See `fit`.

        Returns
        -------
        learners : list of object
            Fitted copies of this estimator, one for each C. The estimator itself is not fitted.

        Raises
        ------
        ValueError
            If an argument is not valid, or no metric can be learned from the targets.
        """
        self._validate_params()
        return self._fit_path(X, y, check_path(Cs), sample_weight)

    def _fit_path(self, X, y, Cs, sample_weight, are_totals=False) -> list[Self]:
        """The path over Cs, which are weights of one pair, or of all pairs if `are_totals`."""
        # A number for C may state another problem than "scale". This estimator stays as it is.
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
        """The number for which ``C="scale"`` stands."""
        return preparation.scale

    def _weights_of_pair(self, preparation, Cs, are_totals):
        """Weights of one pair. Totals of all pairs are converted."""
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
        """The prior of the problem: its name, a matrix, or None."""
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
                # The estimator keeps the best metric so far, and its gap says how good that is.
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
        """Report the progress of the solver, and return whether a callback asks it to stop."""
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
        # The objective is at least 1/2 norm(M - M*)^2 above its optimum.
        return float(np.sqrt(2 * result.gap))

    def _loss_of(self, problem, result) -> Loss:
        """The loss, with the parameters of the fit."""
        return problem.loss

    def _store(self, preparation, C, problem, result):
        # The last fit may have set attributes that this one does not set.
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
            # The prior may have weight only where no samples differ. Then all distances are zero.
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
            # The prior is as good up to the gap, so the learned change may be noise.
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
        If there are none, or one is not positive and finite.
    """
    Cs = np.asarray(Cs, dtype=np.float64)
    if Cs.ndim != 1 or len(Cs) == 0 or not np.all((Cs > 0) & np.isfinite(Cs)):
        raise ValueError(f"Cs must be an array of positive numbers, at least one; got {Cs}.")
    return Cs


def _threads_for(n_features):
    """Limit BLAS to one thread if matrices are so small that threads wait for each other."""
    if n_features > _FEATURES_OF_ONE_THREAD or current_thread() is not main_thread():
        # The limit holds for the whole process, so fits in other threads would undo it.
        return nullcontext()
    return _threadpools().limit(limits=1, user_api="blas")


@cache
def _threadpools() -> ThreadpoolController:
    """The thread pools of this process.

    They are searched once, as the search takes as long as a small fit. Libraries that are loaded
    later are missing, but no solver calls them.
    """
    return ThreadpoolController()
