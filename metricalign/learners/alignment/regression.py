"""Methods of support vector regression. It is long, as each lists all of its parameters."""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from metricalign.learners.alignment.base import LinearMetricLearner, constraints_of
from metricalign.losses import LOSSES, EpsilonInsensitive, OneSided
from metricalign.regularizers import PairMatrices, PositiveSemidefinite, Symmetric
from metricalign.solvers import NuAlignmentProblem, nu_svr

__all__ = ["PSDSVR", "RAMLNCSVR", "RAMLPCSVR", "RAMLSVR"]


class _SVRMetricLearner(LinearMetricLearner):
    """Base class of the methods of support vector regression."""

    _parameter_constraints: ClassVar[dict] = {
        **LinearMetricLearner._parameter_constraints,
        **EpsilonInsensitive._parameter_constraints,
        **constraints_of("C", "fit_intercept", "solver", "warm_start"),
    }

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
        epsilon: float | Literal["scale"] = "scale",
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = True,
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-2,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.C = C
        self.epsilon = epsilon
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

    def _fitted(self, preparation, C, problem, result):
        fitted = super()._fitted(preparation, C, problem, result)
        return fitted | {f"{name}_": value for name, value in fitted["loss_"].get_params().items()}


class _SVRWithPrior(_SVRMetricLearner):
    """Base class of the methods with a prior, a share of Euclid's distance by default."""

    _parameter_constraints: ClassVar[dict] = {
        **_SVRMetricLearner._parameter_constraints,
        "prior": [StrOptions({"auto", "identity"}), "array-like", None],
    }

    @property
    def prior_(self) -> NDArray | None:
        """M0 of the solved problem. None if there is no prior."""
        check_is_fitted(self)
        return None if self._prior is None else self._prior.in_features()

    def _states_problem(self) -> bool:
        """Whether a parameter states a part of the problem, as in the paper."""
        chooses_pairs = isinstance(self.pairs, str) or hasattr(self.pairs, "select")
        return not isinstance(self.C, str) or not chooses_pairs

    def _prior_for(self, relation):
        if not (isinstance(self.prior, str) and self.prior == "auto"):
            return self.prior
        # If a part of the problem is stated, it is that of the paper. The prior was measured for
        # these two relations only.
        is_measured = relation.name in ("class", "absolute_difference")
        return "auto" if is_measured and not self._states_problem() else None

    def _fitted(self, preparation, C, problem, result):
        fitted = super()._fitted(preparation, C, problem, result)
        prior = preparation.prior
        return fitted | {"_prior": None if prior is None else preparation.solved(prior)}


class RAMLSVR(_SVRWithPrior):
    """RAML with support vector regression, that is, with the epsilon-insensitive loss.

    The pairs p = (i, j) have the difference z_p = x_i - x_j and the relation t_p. The method solves

        min over M, b   1/2 norm(M - M0)^2
                        + C sum_p w_p max(0, abs(z_p^T M z_p + b - t_p) - epsilon)

    over all symmetric M. The learned distance is that of the positive part of M. The paper has
    M0 = 0. So has this method if ``prior`` is None, if `nu` is given, or if C is a number. By
    default M0 is `prior_`, a share of Euclid's distance. It remains in the directions about which
    the pairs say little.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. With the prior that "auto" gives to classes, c
        is 1.5 times the number of features, at most 300. `C_` of a fit with "scale" is a good value
        to start from. The useful range is from a thousandth of it to ten times it. The parameters
        ``C=C_, prior=prior_`` give the same metric.
    epsilon : float or "scale", default="scale"
        Error of a distance that costs nothing, in units of the relation. "scale" is a tenth
        of the standard deviation of the relations. It is not used with `nu`.
    nu : float or None, default=None
        A number makes it nu-SVR. epsilon is then chosen so that at most this share of the pairs
        lies outside the tube, and at least this share on its border or outside.
    relation, pairs, fit_intercept
        See `RelationAlignment`.
    prior : "auto", "identity", array-like of shape (n_features, n_features) or None, default="auto"
        M0; see `RelationAlignment`. "auto" is 0.3 times "identity" for classes, 300 / n times it if
        pairs have n > 1,000 samples, and 0.03 times "identity" for a number. With fewer samples
        than features, it is so only in the directions in which samples differ. "auto" is
        None if C is a number, if `nu` is given, if the pairs are given, or if the relation is
        neither "class" nor "absolute_difference".
    n_components, solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    epsilon_ : float
        Half width of the tube in the fit.
    prior_ : ndarray of shape (n_features, n_features) or None
        M0. None if ``prior`` is None, or "auto" stands for None.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`. With `nu` it is that of the nu-SVR problem, which adds
        nu C sum(w) epsilon to the objective and minimises over epsilon too.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
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
        **_SVRWithPrior._parameter_constraints,
        "nu": [None, Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
        epsilon: float | Literal["scale"] = "scale",
        nu: float | None = None,
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = True,
        prior: Any = "auto",
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-2,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ):
        super().__init__(
            C,
            epsilon=epsilon,
            relation=relation,
            pairs=pairs,
            fit_intercept=fit_intercept,
            n_components=n_components,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.nu = nu
        self.prior = prior

    def _states_problem(self):
        return self.nu is not None or super()._states_problem()

    def _regularizer(self):
        return Symmetric()

    def _problem(self, preparation, C):
        if self.nu is None:
            return super()._problem(preparation, C)
        return preparation.problem(C, self.fit_intercept, NuAlignmentProblem, nu=self.nu)

    def _solver(self):
        solver = super()._solver()
        return solver if self.nu is None else partial(nu_svr, solver=solver)

    def _loss_of(self, problem, result):
        if self.nu is None:
            return super()._loss_of(problem, result)
        return EpsilonInsensitive(problem.epsilon_of(result.primal_point))


class RAMLPCSVR(_SVRMetricLearner):
    """RAML with positively constrained coefficients, which make the metric semidefinite.

    This is the dual of support vector regression with only the coefficients alpha_p >= 0,

        max over 0 <= alpha_p <= C w_p   sum_p alpha_p (t_p - epsilon)
                                         - 1/2 norm(sum_p alpha_p z_p z_p^T)^2,

    and M = sum_p alpha_p z_p z_p^T, which is positive semidefinite without a constraint. It is also
    the dual of one-sided regression,

        min over M   1/2 norm(M)^2 + C sum_p w_p max(0, t_p - epsilon - z_p^T M z_p).

    So a distance costs if it is too small, and never if it is too large. A pair with t_p <= epsilon
    has no effect. An intercept would force M = 0.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is a good value to
        start from. The useful range is from a thousandth of it to ten times it.
    epsilon : float or "scale", default="scale"
        Shortfall of a distance that costs nothing, in units of the relation. It must be below the
        largest relation. "scale" is a tenth of the standard deviation of the relations.
    relation, pairs
        See `RelationAlignment`.
    fit_intercept : bool, default=False
        It must be False. True is refused, since M would be 0.
    n_components, solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    epsilon_ : float
        The epsilon of the fit.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Gu, Positive semidefinite support vector regression metric learning, arXiv 2008.07739.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RAMLPCSVR
    >>> X, y = load_wine(return_X_y=True)
    >>> learner = RAMLPCSVR().fit(StandardScaler().fit_transform(X), y)
    >>> bool(np.linalg.eigvalsh(learner.matrix_).min() > -1e-10)
    True
    """

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
        epsilon: float | Literal["scale"] = "scale",
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = False,
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-2,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ):
        super().__init__(
            C,
            epsilon=epsilon,
            relation=relation,
            pairs=pairs,
            fit_intercept=fit_intercept,
            n_components=n_components,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )

    def _loss(self):
        return OneSided(self.epsilon)

    def _regularizer(self):
        return Symmetric()


class RAMLNCSVR(_SVRMetricLearner):
    """RAML with nonnegative coefficients: the metric is a sum of the matrices of the pairs.

    The pairs p = (i, j) have the difference z_p = x_i - x_j and the relation t_p. The method solves

        min over mu, b   1/2 norm(M)^2 + C sum_p w_p max(0, abs(z_p^T M z_p + b - t_p) - epsilon)
        with M = sum_p mu_p z_p z_p^T, mu_p >= 0

    to its optimum. Every such M is positive semidefinite.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is a good value to
        start from. The useful range is from a thousandth of it to ten times it.
    epsilon : float or "scale", default="scale"
        Error of a distance that costs nothing, in units of the relation. "scale" is a tenth
        of the standard deviation of the relations.
    relation, pairs, fit_intercept, n_components, solver, tol, max_iter, warm_start, random_state
        See `RelationAlignment`.
    verbose : int, default=0
        Whether to print the progress of each iteration.

    Attributes
    ----------
    coef_ : ndarray of shape (n_pairs,)
        The coefficients mu.
    epsilon_ : float
        The epsilon of the fit.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Gu, Positive semidefinite support vector regression metric learning, arXiv 2008.07739.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RAMLNCSVR
    >>> X, y = load_wine(return_X_y=True)
    >>> learner = RAMLNCSVR().fit(StandardScaler().fit_transform(X), y)
    >>> bool((learner.coef_ >= 0).all())
    True
    """

    def _regularizer(self):
        return PairMatrices()


class PSDSVR(_SVRWithPrior):
    """Support vector regression over the positive semidefinite matrices, solved exactly.

    The pairs p = (i, j) have the difference z_p = x_i - x_j and the relation t_p. The method solves

        min over M, b   1/2 norm(M - M0)^2 + C sum_p w_p loss(z_p^T M z_p + b, t_p)

    over all positive semidefinite M. The paper has M0 = 0. So has this method if ``prior`` is None
    or C is a number. By default M0 is `prior_`, a share of Euclid's distance. It remains in the
    directions about which the pairs say little. `RAMLSVR` projects on the semidefinite matrices
    only after training, which gives another M. `RAMLPCSVR` and `RAMLNCSVR` search a part of the
    semidefinite matrices.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. With the prior that "auto" gives to classes, c
        is 1.5 times the number of features, at most 300. `C_` of a fit with "scale" is a good value
        to start from. The useful range is from a thousandth of it to ten times it. The parameters
        ``C=C_, prior=prior_`` give the same metric.
    loss : str, default="epsilon_insensitive"
        "epsilon_insensitive", "squared_epsilon_insensitive", or "squared", which does not use
        epsilon.
    epsilon : float or "scale", default="scale"
        Error of a distance that costs nothing, in units of the relation. "scale" is a tenth
        of the standard deviation of the relations.
    relation, pairs, fit_intercept
        See `RelationAlignment`.
    prior : "auto", "identity", array-like of shape (n_features, n_features) or None, default="auto"
        M0; see `RelationAlignment`. "auto" is 0.3 times "identity" for classes, 300 / n times it if
        pairs have n > 1,000 samples, and 0.03 times "identity" for a number. With fewer samples
        than features, it is so only in the directions in which samples differ. "auto" is
        None if C is a number, if the pairs are given, or if the relation is neither "class" nor
        "absolute_difference".
    n_components, solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    epsilon_ : float
        The epsilon of the fit. The squared loss has none.
    prior_ : ndarray of shape (n_features, n_features) or None
        M0. None if ``prior`` is None, or "auto" stands for None.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Gu, Positive semidefinite support vector regression metric learning, arXiv 2008.07739: the
    primal problem. The paper solves it in a part of the cone only.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import PSDSVR
    >>> X, y = load_wine(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> learner = PSDSVR(tol=1e-8).fit(X, y)
    >>> bool(learner.metric_error_bound_ < 1e-3 * np.linalg.norm(learner.matrix_))
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **_SVRWithPrior._parameter_constraints,
        "loss": [StrOptions({"epsilon_insensitive", "squared_epsilon_insensitive", "squared"})],
    }

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
        loss: str = "epsilon_insensitive",
        epsilon: float | Literal["scale"] = "scale",
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = True,
        prior: Any = "auto",
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-2,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ):
        super().__init__(
            C,
            epsilon=epsilon,
            relation=relation,
            pairs=pairs,
            fit_intercept=fit_intercept,
            n_components=n_components,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss
        self.prior = prior

    def _loss(self):
        loss = LOSSES[self.loss]()
        return loss.set_params(epsilon=self.epsilon) if loss.get_params() else loss

    def _regularizer(self):
        return PositiveSemidefinite()
