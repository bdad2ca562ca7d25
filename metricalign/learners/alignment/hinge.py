"""Methods of the hinge loss. They tell similar pairs from different ones."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from metricalign.learners.alignment.base import LinearMetricLearner, constraints_of
from metricalign.losses import Hinge
from metricalign.regularizers import PairMatrices, PositiveSemidefinite, Symmetric

__all__ = ["NCML", "PCML", "DoubletSVM"]


class _HingeMetricLearner(LinearMetricLearner):
    """Base class of the methods of the hinge loss."""

    _parameter_constraints: ClassVar[dict] = {
        **LinearMetricLearner._parameter_constraints,
        **constraints_of("C", "fit_intercept", "solver", "warm_start"),
    }

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

    def _loss(self):
        return Hinge()


class DoubletSVM(_HingeMetricLearner):
    """Doublet-SVM: hinge loss over all symmetric matrices.

    The pairs p = (i, j) have the difference z_p = x_i - x_j, and h_p is +1 for different and -1 for
    similar samples. The method solves

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, 1 - h_p (z_p^T M z_p + b))

    over all symmetric M. The learned distance is that of the positive part of M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is a good value to
        start from. The useful range is from a thousandth of it to ten times it.
    relation : str or callable, default="auto"
        Relation of two targets; see `RelationAlignment`. It must be +1 or -1.
    pairs, fit_intercept, n_components, solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
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
    """Positive-semidefinite constrained metric learning: hinge loss, solved exactly.

    The pairs p = (i, j) have the difference z_p = x_i - x_j, and h_p is +1 for different and -1 for
    similar samples. The method solves

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, 1 - h_p (z_p^T M z_p + b))

    over all positive semidefinite M.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is a good value to
        start from. The useful range is from a thousandth of it to ten times it.
    relation : str or callable, default="auto"
        Relation of two targets; see `RelationAlignment`. It must be +1 or -1.
    pairs, fit_intercept, n_components, solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
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
    """Nonnegative-coefficient constrained metric learning: hinge loss, solved exactly.

    The pairs p = (i, j) have the difference z_p = x_i - x_j, and h_p is +1 for different and -1 for
    similar samples. The method solves

        min over M, b   1/2 norm(M)^2 + C sum_p w_p max(0, 1 - h_p (z_p^T M z_p + b))

    over all M = sum_p mu_p z_p z_p^T with mu_p >= 0. These M are positive semidefinite.

    Parameters
    ----------
    C : float or "scale", default="scale"
        Weight of one pair; see `RelationAlignment`. `C_` of a fit with "scale" is a good value to
        start from. The useful range is from a thousandth of it to ten times it.
    relation : str or callable, default="auto"
        Relation of two targets; see `RelationAlignment`. It must be +1 or -1.
    pairs, fit_intercept, n_components, solver, tol, max_iter, warm_start, random_state, verbose
        See `RelationAlignment`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_pairs,)
        The coefficients mu.
    components_, matrix_, intercept_, C_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
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
