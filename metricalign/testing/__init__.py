"""Checks of losses, regularizers, relations and solvers of your own, and solved problems.

Each check is one call. It compares a part with its definition by a supremum, a minimiser, finite
differences or cvxpy. If something is wrong, it raises an AssertionError that says what.
"""

from metricalign.testing.deep import check_deep_loss
from metricalign.testing.losses import check_loss
from metricalign.testing.neighborhood import check_neighborhood_loss
from metricalign.testing.regularizers import check_regularizer
from metricalign.testing.relations import check_relation
from metricalign.testing.solvers import SolvedProblem, check_solver, solved_problems

__all__ = [
    "SolvedProblem",
    "check_deep_loss",
    "check_loss",
    "check_neighborhood_loss",
    "check_regularizer",
    "check_relation",
    "check_solver",
    "solved_problems",
]
