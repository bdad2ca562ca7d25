"""The general method: any loss and any regularizer, each by name or by object."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from sklearn.utils._param_validation import StrOptions

from metricalign.learners.alignment.base import LinearMetricLearner, constraints_of
from metricalign.losses import LOSSES, Loss
from metricalign.regularizers import REGULARIZERS, Regularizer

__all__ = ["RelationAlignment"]


class GeneralAlignment(LinearMetricLearner):
    """Relation alignment with any loss and any regularizer, each by name or by object."""

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
        square; a feature in which no pair differs weighs 0, or what it weighs in M0),
        "above_prior" (M - M0 positive semidefinite), or an object of `metricalign.regularizers`.
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
        nearest otherwise, or random ones if all nearest have the same target), "nearest",
        "nearest_class", "random", "all", an object of `metricalign.pairs`, or an array of rows
        of X used exactly as given (so not in cross-validation, where rows are other samples in
        each fold).
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
        prior M0.
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
    pair_weights_ : ndarray of shape (n_pairs,)
        Their weights w_p: how often a pair was chosen, by the weights of its samples. With these
        the problem above is that of ``C_``, ``loss_``, `pairs_` and `relations_`.
    pair_strategy_ : object or None
        What has chosen the pairs; None if they were given.
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
        Whether `dual_gap_` is at most `tol`, or a hundredth of it where the gap would not tell M
        from its prior M0.
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
