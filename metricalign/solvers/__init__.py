"""Solvers: they iterate on the parts of a problem and know nothing of estimators."""

from metricalign.solvers.accelerated_gradient import projected_gradient
from metricalign.solvers.nu import NuAlignmentProblem, nu_svr
from metricalign.solvers.problem import (
    AlignmentProblem,
    DualPoint,
    OutOfRangeError,
    PrimalPoint,
)
from metricalign.solvers.quasi_newton import quasi_newton
from metricalign.solvers.reference import cvxpy_reference
from metricalign.solvers.result import SolverResult, certify, needs, solve
from metricalign.solvers.ridge import CoefficientRidgeProblem, coefficient_ridge
from metricalign.solvers.semismooth_newton import newton

SOLVERS = {
    "auto": newton,
    "newton": newton,
    "quasi_newton": quasi_newton,
    "projected_gradient": projected_gradient,
    "cvxpy": cvxpy_reference,
}
"""The solvers by name."""

__all__ = [
    "SOLVERS",
    "AlignmentProblem",
    "CoefficientRidgeProblem",
    "DualPoint",
    "NuAlignmentProblem",
    "OutOfRangeError",
    "PrimalPoint",
    "SolverResult",
    "certify",
    "coefficient_ridge",
    "cvxpy_reference",
    "needs",
    "newton",
    "nu_svr",
    "projected_gradient",
    "quasi_newton",
    "solve",
]
