"""Kernel ridge regression of the relations, with a ridge on the metric or on the coefficients."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import StrOptions

from metricalign.learners.alignment.base import LinearMetricLearner, constraints_of
from metricalign.losses import Squared
from metricalign.regularizers import Symmetric
from metricalign.solvers import CoefficientRidgeProblem, coefficient_ridge, newton

__all__ = ["RAMLKRR"]


class RAMLKRR(LinearMetricLearner):
    """RAML with kernel ridge regression, that is, with the squared loss.

    The pairs p = (i, j) have the difference z_p = x_i - x_j and the relation t_p. The metric is
    M = sum_p a_p z_p z_p^T, and the kernel of two pairs is K_pq = (z_p^T z_q)^2. The penalty is on
    the metric, as in the textbooks, or on the coefficients a, as in the code of the authors:

        "metric"         min over M   1/2 norm(M)^2 + C/2 sum_p w_p (z_p^T M z_p - t_p)^2
                         a = (K + I/C)^-1 t
        "coefficients"   min over a   1/2 norm(a)^2 + C/2 norm(K a - t)^2
                         a = (K^2 + I/C)^-1 K t

    The formulas for a hold for the weights w_p = 1. The learned distance is that of the positive
    part of M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. It is the inverse of the ridge. With
        ``penalty="coefficients"`` "scale" is the square of that number.
    penalty : {"metric", "coefficients"}, default="metric"
        The penalty of the ridge.
    relation, pairs, n_components
        See `RelationAlignment`.
    tol : float, default=1e-2
        Relative duality gap at which a fit stops. If ``penalty="metric"`` and the gap does not tell
        M from zero, the fit goes on to a hundredth of `tol`. With up to 2000 pairs or 62 features
        the problem is solved directly, up to rounding.
    max_iter, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    components_, matrix_, C_, loss_, relation_, pairs_, relations_
        See `RelationAlignment`.
    intercept_ : float
        It is 0.
    dual_coef_ : ndarray of shape (n_pairs,)
        The coefficients a of the pairs.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
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
        **constraints_of("C"),
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
        # The objective is at least 1/2 sum_p (a_p - a*_p)^2 / w_p above its optimum, and norm(M) is
        # at most norm(a) times the root of the trace of K.
        largest_weight = problem.weights.max() / problem.C
        trace = np.sum(problem.operator.squared_lengths.astype(np.float64) ** 2)
        return float(np.sqrt(2 * result.gap * largest_weight * trace))
