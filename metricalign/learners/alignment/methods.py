"""One general estimator, and one class per method of the papers.

The module is long because each class spells out its parameters and documents them, so that
``help`` of it is complete.
"""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from metricalign.learners.alignment.base import CONSTRAINTS, LinearMetricLearner
from metricalign.losses import (
    LOSSES,
    EpsilonInsensitive,
    Hinge,
    Loss,
    OneSided,
    Squared,
)
from metricalign.regularizers import (
    REGULARIZERS,
    PairMatrices,
    PositiveSemidefinite,
    Regularizer,
    Symmetric,
)
from metricalign.solvers import (
    CoefficientRidgeProblem,
    NuAlignmentProblem,
    coefficient_ridge,
    newton,
    nu_svr,
)

__all__ = [
    "NCML",
    "PCML",
    "PSDSVR",
    "RAMLKRR",
    "RAMLNCSVR",
    "RAMLPCSVR",
    "RAMLSVR",
    "DoubletSVM",
    "RelationAlignment",
]


def _only(*names: str) -> dict[str, list[Any]]:
    """What these parameters may be."""
    return {name: CONSTRAINTS[name] for name in names}


class GeneralAlignment(LinearMetricLearner):
    """Relation alignment with any loss and any regularizer, each by name or by object."""

    _parameter_constraints: ClassVar[dict] = {
        **LinearMetricLearner._parameter_constraints,
        **_only("fit_intercept", "prior", "solver"),
        "loss": [StrOptions(set(LOSSES)), Loss],
        "cone": [StrOptions(set(REGULARIZERS)), Regularizer],
    }

    loss: str | Loss
    cone: str | Regularizer

    def _loss(self):
        return LOSSES[self.loss]() if isinstance(self.loss, str) else self.loss

    def _regularizer(self):
        cone = self.cone
        return REGULARIZERS[cone]() if isinstance(cone, str) else cone


class RelationAlignment(GeneralAlignment):
    """Mahalanobis distance aligned with the relations of the targets: the general method.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and relation t_p,

        min over M, b   1/2 norm(M - M0)^2 + R(M) + C sum_p w_p loss(z_p^T M z_p + b, t_p).

    Parameters
    ----------
    loss : str or Loss, default="epsilon_insensitive"
        "epsilon_insensitive", "squared_epsilon_insensitive", "squared", "one_sided" (without
        intercept), "hinge" and "logistic" (for relations that are +1 or -1), or an object of
        `metricalign.losses`.
    cone : str or Regularizer, default="symmetric"
        Which M are allowed, and at what price R(M): "symmetric" (all), "positive_semidefinite",
        "pair_matrices" (nonnegative combinations of the z_p z_p^T), "diagonal" (nonnegative: a
        weight for each feature, in memory that grows with the number of features and not its
        square; features that the pairs do not speak of weigh 0, or as all do with
        ``prior="identity"``), "above_prior" (M - M0 positive semidefinite), or an object of
        `metricalign.regularizers`.
    C : float or "scale", default="scale"
        Weight of one pair. "scale" does not depend on the units of X and of the relations,
        nor on the number of pairs: C = c s^(2 - k) / (sum_p w_p m^2), m the mean of
        norm(z_p)^2, s the standard deviation of the relations, k = 1 for losses that grow
        linearly and k = 2 for quadratic ones, c = 3 for targets that are numbers and 300
        for others.
    relation : str or callable, default="auto"
        How different two targets are: "auto" (see `metricalign.relations`), the name of a
        relation, an instance of `metricalign.relations.Relation`, a function of two targets, or
        "precomputed" (y is the n x n matrix of relations; the stored entries of a sparse one are
        the pairs; cross-validation, which slices y by rows only, cannot be used).
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
        "newton" ("auto"), "quasi_newton", "projected_gradient", "cvxpy" (a reference for small
        problems), or a function like those of `metricalign.solvers`.
    tol : float, default=1e-2
        Relative duality gap to reach; a hundredth of it where the gap would not tell M from its
        prior, which is zero by default.
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
        Linear map: the learned distance is Euclid's after ``X @ components_.T``. A SciPy
        sparse array for ``cone="diagonal"``.
    matrix_ : ndarray of shape (n_features, n_features)
        M as solved; its negative eigenvalues, if any, are not in `components_`. A SciPy sparse
        array for ``cone="diagonal"``. With fewer samples than features it is kept in
        factors and made each time it is asked for.
    coef_ : ndarray of shape (n_pairs,)
        mu, with M = sum_p mu_p z_p z_p^T; for ``cone="pair_matrices"`` only.
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
        Bound on how far `objective_` is above the optimum, relative to it; or to the rounding of
        1/2 norm(M0)^2 in float64, where the objective is below that and M is M0 to 8 digits.
    metric_error_bound_ : float
        Bound on the distance of `matrix_` from the optimal M, in the Frobenius norm: the root
        of twice the absolute duality gap.
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
        **GeneralAlignment._parameter_constraints,
        **_only("C", "warm_start"),
    }

    def __init__(
        self,
        loss: str | Loss = "epsilon_insensitive",
        *,
        cone: str | Regularizer = "symmetric",
        C: float | Literal["scale"] = "scale",
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = True,
        prior: Any = None,
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-2,
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


class _SVRMetricLearner(LinearMetricLearner):
    """What the methods of support vector regression have in common."""

    _parameter_constraints: ClassVar[dict] = {
        **LinearMetricLearner._parameter_constraints,
        **EpsilonInsensitive._parameter_constraints,
        **_only("C", "fit_intercept", "solver", "warm_start"),
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


class RAMLSVR(_SVRMetricLearner):
    """RAML with support vector regression: distances aligned by the epsilon-insensitive loss.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and relation t_p,

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, abs(z_p^T M z_p + b - t_p) - epsilon)

    over all symmetric M. The learned distance is that of the positive part of M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is of the right
        size to start from: a thousandth to ten times that is the useful range.
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
    solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    epsilon_ : float
        Half width of the tube that was used.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
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
        **_SVRMetricLearner._parameter_constraints,
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


class RAMLKRR(LinearMetricLearner):
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
    tol : float, default=1e-2
        Relative duality gap to reach; a hundredth of it where the gap would not tell M from zero
        and ``penalty="metric"``. A direct solve, for up to 2000 pairs or 62 features, goes to
        rounding.
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
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
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
        **LinearMetricLearner._parameter_constraints,
        **_only("C"),
        "penalty": [StrOptions({"metric", "coefficients"})],
    }

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
        penalty: Literal["metric", "coefficients"] = "metric",
        relation: Any = "auto",
        pairs: Any = "auto",
        n_components: int | float | None = None,
        tol: float = 1e-2,
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

    def _regularizer(self):
        return Symmetric()

    def _scale(self, preparation):
        scale = super()._scale(preparation)
        return scale**2 if self.penalty == "coefficients" else scale

    def _problem(self, preparation, C):
        if self.penalty == "metric":
            return super()._problem(preparation, C)
        return preparation.problem(C, False, CoefficientRidgeProblem, C=C)

    def _solver(self):
        return newton if self.penalty == "metric" else coefficient_ridge

    def _metric_error_bound(self, problem, result):
        if self.penalty == "metric":
            return super()._metric_error_bound(problem, result)
        # The objective grows with 1/2 sum_p (a_p - a*_p)^2 / w_p, and norm(M) is at most norm(a)
        # times the root of the trace of K.
        largest_weight = problem.weights.max() / problem.C
        trace = np.sum(problem.operator.squared_lengths.astype(np.float64) ** 2)
        return float(np.sqrt(2 * result.gap * largest_weight * trace))


class RAMLPCSVR(_SVRMetricLearner):
    """RAML with positively constrained coefficients: a metric that comes out semidefinite.

    The dual of support vector regression with coefficients alpha_p >= 0 only,

        max over 0 <= alpha_p <= C w_p   sum_p alpha_p (t_p - epsilon)
                                         - 1/2 norm(sum_p alpha_p z_p z_p^T)^2,

    M = sum_p alpha_p z_p z_p^T, which is positive semidefinite as it stands. It is the dual of
    one-sided regression,

        min over M   1/2 norm(M)^2 + C sum_p w_p max(0, t_p - epsilon - z_p^T M z_p):

    distances are asked to be large enough and never to be small. A pair with t_p <= epsilon has no
    part in it, and an intercept would force M = 0.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is of the right
        size to start from: a thousandth to ten times that is the useful range.
    epsilon : float or "scale", default="scale"
        Shortfall of a distance that costs nothing, in units of the relation; "scale" is a tenth
        of the standard deviation of the relations. Must be below the largest relation.
    relation : str or callable, default="auto"
        How different two targets are; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    fit_intercept : bool, default=False
        Has to be False; True is refused, in words that say why.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    epsilon_ : float
        The epsilon that was used.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    n_features_in_, feature_names_in_
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
    """RAML with nonnegative coefficients: a metric that is a sum of the pairs' matrices.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and relation t_p,

        min over mu, b   1/2 norm(M)^2 + C sum_p w_p max(0, abs(z_p^T M z_p + b - t_p) - epsilon)
        with M = sum_p mu_p z_p z_p^T, mu_p >= 0

    to its optimum; every such M is positive semidefinite.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is of the right
        size to start from: a thousandth to ten times that is the useful range.
    epsilon : float or "scale", default="scale"
        Error of a distance that costs nothing, in units of the relation; "scale" is a tenth
        of the standard deviation of the relations.
    relation : str or callable, default="auto"
        How different two targets are; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    fit_intercept : bool, default=True
        Whether to fit b.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_pairs,)
        The coefficients mu.
    epsilon_ : float
        The epsilon that was used.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    n_features_in_, feature_names_in_
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


class PSDSVR(_SVRMetricLearner):
    """Support vector regression over the positive semidefinite matrices, solved exactly.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and relation t_p,

        min over M, b   1/2 norm(M - M0)^2 + C sum_p w_p loss(z_p^T M z_p + b, t_p)

    over all positive semidefinite M. `RAMLSVR` projects on them after training, which is not the
    same; `RAMLPCSVR` and `RAMLNCSVR` search a part of them.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is of the right
        size to start from: a thousandth to ten times that is the useful range.
    loss : str, default="epsilon_insensitive"
        "epsilon_insensitive", "squared_epsilon_insensitive" or "squared" (which has no use for
        epsilon).
    epsilon : float or "scale", default="scale"
        Error of a distance that costs nothing, in units of the relation; "scale" is a tenth
        of the standard deviation of the relations.
    relation : str or callable, default="auto"
        How different two targets are; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    fit_intercept : bool, default=True
        Whether to fit b.
    prior : "identity", array-like of shape (n_features, n_features) or None, default=None
        M0; see `RelationAlignment`.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    epsilon_ : float
        The epsilon that was used; not for the squared loss.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    The primal problem of Gu, Positive semidefinite support vector regression metric learning,
    arXiv 2008.07739, which is solved there in part of the cone only.

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
        **_SVRMetricLearner._parameter_constraints,
        "loss": [StrOptions({"epsilon_insensitive", "squared_epsilon_insensitive", "squared"})],
        **_only("prior"),
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
        prior: Any = None,
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


class _HingeMetricLearner(LinearMetricLearner):
    """What the methods of the hinge loss have in common."""

    def __init__(
        self,
        C: float | Literal["scale"] = "scale",
        *,
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

    _parameter_constraints: ClassVar[dict] = {
        **LinearMetricLearner._parameter_constraints,
        **_only("C", "fit_intercept", "solver", "warm_start"),
    }

    def _loss(self):
        return Hinge()


class DoubletSVM(_HingeMetricLearner):
    """Doublet-SVM: the hinge loss over all symmetric matrices.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and h_p = +1 for different, -1 for similar
    ones,

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, 1 - h_p (z_p^T M z_p + b))

    over all symmetric M. The learned distance is that of the positive part of M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is of the right
        size to start from: a thousandth to ten times that is the useful range.
    relation : str or callable, default="auto"
        How different two targets are, +1 or -1; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    fit_intercept : bool, default=True
        Whether to fit b.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Wang et al., A kernel classification framework for metric learning, IEEE Transactions on
    Neural Networks and Learning Systems 26 (2015); Zuo et al., Distance Metric Learning via
    Iterated Support Vector Machines, arXiv 1502.00363.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import DoubletSVM
    >>> X, y = load_wine(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> bool(DoubletSVM().fit(X, y).score(X, y) > 0.9)
    True
    """

    def _regularizer(self):
        return Symmetric()


class PCML(_HingeMetricLearner):
    """Positive-semidefinite constrained metric learning: the hinge loss, exactly.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and h_p = +1 for different, -1 for similar
    ones,

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, 1 - h_p (z_p^T M z_p + b))

    over all positive semidefinite M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is of the right
        size to start from: a thousandth to ten times that is the useful range.
    relation : str or callable, default="auto"
        How different two targets are, +1 or -1; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    fit_intercept : bool, default=True
        Whether to fit b.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Zuo et al., Distance Metric Learning via Iterated Support Vector Machines, arXiv 1502.00363.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import PCML
    >>> X, y = load_wine(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> bool(PCML().fit(X, y).score(X, y) > 0.9)
    True
    """

    def _regularizer(self):
        return PositiveSemidefinite()


class NCML(_HingeMetricLearner):
    """Nonnegative-coefficient constrained metric learning: the hinge loss.

    Solves, over pairs p = (i, j) with z_p = x_i - x_j and h_p = +1 for different, -1 for similar
    ones,

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, 1 - h_p (z_p^T M z_p + b))

    over all M = sum_p mu_p z_p z_p^T with mu_p >= 0, which are positive semidefinite.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is of the right
        size to start from: a thousandth to ten times that is the useful range.
    relation : str or callable, default="auto"
        How different two targets are, +1 or -1; see `RelationAlignment`.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit; see `RelationAlignment`.
    fit_intercept : bool, default=True
        Whether to fit b.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all.
    solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_pairs,)
        The coefficients mu.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    n_features_in_, feature_names_in_
        See `RelationAlignment`.

    References
    ----------
    Zuo et al., Distance Metric Learning via Iterated Support Vector Machines, arXiv 1502.00363.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import NCML
    >>> X, y = load_wine(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> bool(NCML().fit(X, y).score(X, y) > 0.9)
    True
    """

    def _regularizer(self):
        return PairMatrices()
