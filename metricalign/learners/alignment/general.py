"""The general method, with any loss and any regularizer."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from sklearn.utils._param_validation import StrOptions

from metricalign.learners.alignment.base import LinearMetricLearner, constraints_of
from metricalign.losses import LOSSES, Loss
from metricalign.regularizers import REGULARIZERS, Regularizer

__all__ = ["RelationAlignment"]


class GeneralAlignment(LinearMetricLearner):
    """Base class of `RelationAlignment` and `RelationAlignmentCV`."""

    _parameter_constraints: ClassVar[dict] = {
        **LinearMetricLearner._parameter_constraints,
        **constraints_of("fit_intercept", "prior", "solver"),
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
    """Mahalanobis distance whose squares are fitted to the relations of the targets.

    This is the general method. Over pairs p = (i, j) with z_p = x_i - x_j and relation t_p, it
    solves

        min over M, b   1/2 norm(M - M0)^2 + R(M) + C sum_p w_p loss(z_p^T M z_p + b, t_p).

    Parameters
    ----------
    loss : str or Loss, default="epsilon_insensitive"
        "epsilon_insensitive", "squared_epsilon_insensitive", "squared", "one_sided" (without
        intercept), "hinge" and "logistic" (for relations that are +1 or -1), or an object of
        `metricalign.losses`.
    cone : str or Regularizer, default="symmetric"
        The regularizer R. It says which M are allowed, and at what price R(M): "symmetric" (all),
        "positive_semidefinite", "pair_matrices" (nonnegative combinations of the z_p z_p^T),
        "diagonal" (a nonnegative weight for each feature), "above_prior" (M - M0 positive
        semidefinite), or an object of `metricalign.regularizers`. The memory of "diagonal" grows
        with the number of features and not with its square. A feature in which no pair differs then
        has the weight 0, or its weight in M0.
    C : float or "scale", default="scale"
        Weight of one pair. "scale" does not depend on the units of X and of the relations, nor on
        the number of pairs: C = c s^(2 - k) / (sum_p w_p m^2). Here m is the mean of norm(z_p)^2,
        and s the standard deviation of the relations. k is 1 for losses that grow linearly, and 2
        for quadratic ones. c is 3 for targets that are numbers, and 300 for others.
    relation : str or callable, default="auto"
        Relation of two targets, which says how different they are: "auto" (see
        `metricalign.relations`), the name of a relation, an instance of
        `metricalign.relations.Relation`, a function of two targets, or "precomputed". If it is
        "precomputed", y is the n x n matrix of relations. The stored entries of a sparse matrix are
        the pairs. scikit-learn's cross-validation cannot be used, as it slices the rows of y only.
    pairs : str, object or array-like of int of shape (n_pairs, 2), default="auto"
        Pairs to fit: "auto", "nearest", "nearest_class", "random", "all", an object of
        `metricalign.pairs`, or an array of rows of X. "auto" is "nearest_class" for classes, and
        "nearest" for other targets, or "random" if all nearest samples have the same target. An
        array is used exactly as given, so it cannot be cross-validated: its rows are other samples
        in each fold.
    fit_intercept : bool, default=True
        Whether to fit b. Otherwise b is 0.
    prior : "identity", array-like of shape (n_features, n_features) or None, default=None
        M0: a matrix, zero (None), or "identity". The latter is the multiple of the identity under
        which the mean squared distance of the pairs is the standard deviation of the relations.
    n_components : int, float or None, default=None
        Dimensions to keep: a number, a share of the sum of the positive eigenvalues, or all (None).
    solver : str or callable, default="auto"
        "newton", which is "auto", "quasi_newton", "projected_gradient", "cvxpy" (a reference for
        small problems), or a function like those of `metricalign.solvers`.
    tol : float, default=1e-2
        Relative duality gap at which a fit stops. If the gap does not tell M from its prior M0, the
        fit goes on to a hundredth of `tol`.
    max_iter : int, default=1000
        Largest number of iterations.
    warm_start : bool, default=False
        Whether to start from the dual coefficients of the last fit.
    random_state : int, RandomState instance or None, default=None
        Seed of pairs that are chosen at random.
    verbose : int, default=0
        Whether to print the progress of each iteration.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Linear map. The learned distance is Euclid's distance after ``X @ components_.T``. A SciPy
        sparse array for ``cone="diagonal"``.
    matrix_ : ndarray of shape (n_features, n_features)
        The solved M. If it has negative eigenvalues, `components_` does not have them. With fewer
        samples than features the matrix is computed from factors at each access. A SciPy sparse
        array for ``cone="diagonal"``.
    coef_ : ndarray of shape (n_pairs,)
        The coefficients mu of M = sum_p mu_p z_p z_p^T, for ``cone="pair_matrices"`` only.
    intercept_ : float
        The intercept b.
    C_ : float
        Weight of one pair in the fit.
    loss_ : Loss
        Loss of the fit. All its parameters are numbers.
    relation_ : TargetRelation
        Relation of the fit. Its `name` says which one it is.
    pairs_ : ndarray of shape (n_pairs, 2)
        Fitted pairs, as rows of X.
    relations_ : ndarray of shape (n_pairs,)
        Relations t_p of the pairs.
    pair_weights_ : ndarray of shape (n_pairs,)
        Weights w_p of the pairs: the number of times that a pair was chosen, by the weights of its
        samples. Together with ``C_``, ``loss_``, `pairs_` and `relations_` they state the problem
        above.
    pair_strategy_ : object or None
        The strategy that chose the pairs. None if they were given.
    dual_coef_ : ndarray of shape (n_pairs,)
        Dual coefficients beta_p.
    objective_ : float
        Value of the problem above at `matrix_` and `intercept_`.
    dual_gap_ : float
        Bound on how far `objective_` is above the optimum, relative to `objective_`. If
        `objective_` is below the rounding of 1/2 norm(M0)^2 in float64, M is M0 to 8 digits, and
        the bound is relative to that rounding.
    metric_error_bound_ : float
        Bound on the distance of `matrix_` from the optimal M in the Frobenius norm. It is the
        square root of twice the absolute duality gap.
    gap_history_ : ndarray of shape (n_iter, 2)
        Operator passes and absolute duality gap after each iteration.
    n_iter_ : int
        Number of iterations.
    n_passes_ : float
        Number of applications of the two operators. One over a part of the pairs counts as that
        part.
    converged_ : bool
        Whether `dual_gap_` is at most `tol`, or at most a hundredth of `tol` if the gap does not
        tell M from its prior M0.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, if X had names.

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
        **constraints_of("C", "warm_start"),
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
