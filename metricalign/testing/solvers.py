"""Check a solver on small problems with known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metricalign.losses import EpsilonInsensitive, Squared
from metricalign.operators import PairOperator
from metricalign.regularizers import PositiveSemidefinite, Symmetric
from metricalign.solvers import AlignmentProblem, SolverResult, solve
from metricalign.testing._requirement import require

__all__ = ["SolvedProblem", "check_solver", "solved_problems"]


class SolvedProblem(NamedTuple):
    """A small problem whose solution has a closed form.

    Attributes
    ----------
    name : str
        Description of the problem.
    problem : AlignmentProblem
        The problem.
    matrix : ndarray of shape (n_features, n_features)
        The optimal M.
    value : float
        The optimal value.
    """

    name: str
    problem: AlignmentProblem
    matrix: NDArray
    value: float


def solved_problems() -> list[SolvedProblem]:
    """Small problems whose solutions have a closed form.

    Returns
    -------
    problems : list of SolvedProblem
        Problems of different losses and regularizers.

    Examples
    --------
    >>> from metricalign.testing import solved_problems
    >>> for solved in solved_problems():
    ...     print(solved.name)
    one pair, squared loss
    one pair at its bound
    orthogonal pairs, symmetric matrices
    orthogonal pairs, positive semidefinite matrices
    ridge regression
    ridge regression with an intercept
    ridge regression around a prior
    """
    rng = np.random.default_rng(0)
    z, t, c = np.array([[1.0, 2.0]]), np.array([2.0]), np.array([3.0])
    T = np.outer(z, z)
    # One pair: minimise length^2 beta^2 / 2 + beta^2 / (2 c) - beta t over beta.
    beta = t[0] / (25 + 1 / c[0])
    solved = [_solved("one pair, squared loss", z, t, c, beta * T)]
    solved.append(
        _solved(
            "one pair at its bound", z, t, c / 1000, c[0] / 1000 * T, loss=EpsilonInsensitive(0.1)
        )
    )
    # With differences along the axes, each pair determines one entry of M.
    lengths = np.array([1.0, 1.5, 0.5, 2.0])
    t, c = np.array([1.0, -1.0, 0.05, 0.4]), np.full(4, 0.3)
    beta = np.clip(np.sign(t) * np.maximum(np.abs(t) - 0.1, 0) / lengths**4, -c, c)
    for regularizer, kept in ((Symmetric(), beta), (PositiveSemidefinite(), np.maximum(beta, 0))):
        kind = "symmetric" if regularizer.is_subspace else "positive semidefinite"
        solved.append(
            _solved(
                f"orthogonal pairs, {kind} matrices",
                np.diag(lengths),
                t,
                c,
                np.diag(kept * lengths**2),
                loss=EpsilonInsensitive(0.1),
                regularizer=regularizer,
            )
        )
    # The dual of the squared loss is a linear system in beta, and b.
    Z, t, c = rng.normal(size=(12, 3)), rng.uniform(-1, 2, 12), rng.uniform(0.5, 2, 12)
    prior = np.diag([0.5, 0.2, -0.3])
    kernel = (Z @ Z.T) ** 2 + np.diag(1 / c)
    for name, b, M0 in (
        ("ridge regression", False, 0 * prior),
        ("ridge regression with an intercept", True, 0 * prior),
        ("ridge regression around a prior", False, prior),
    ):
        ones = np.full((12, 1), float(b))
        system = np.block([[kernel, ones], [ones.T, np.full((1, 1), float(not b))]])
        right = np.append(t - np.einsum("pi,ij,pj->p", Z, M0, Z), 0)
        beta = np.linalg.solve(system, right)[:12]
        M = M0 + (Z.T * beta) @ Z
        intercept = float(np.linalg.solve(system, right)[12]) if b else None
        solved.append(_solved(name, Z, t, c, M, intercept=intercept, prior=M0))
    return solved


def _solved(name, Z, t, c, M, *, loss=None, regularizer=None, intercept=None, prior=None):
    """A solved problem whose pairs consist of the origin and a sample."""
    loss = Squared() if loss is None else loss
    X = np.vstack([np.zeros(Z.shape[1]), Z])
    pairs = np.column_stack([np.zeros(len(Z), dtype=int), np.arange(1, len(Z) + 1)])
    problem = AlignmentProblem(
        PairOperator(X, pairs),
        t,
        c,
        loss,
        Symmetric() if regularizer is None else regularizer,
        intercept is not None,
        prior,
    )
    predictions = np.einsum("pi,ij,pj->p", Z, M, Z) + (intercept or 0.0)
    change = M if prior is None else M - prior
    value = 0.5 * np.sum(change**2) + c @ loss.value(predictions, t)
    return SolvedProblem(name, problem, M, float(value))


def check_solver(solver: Callable[..., SolverResult], *, tol: float = 1e-6) -> None:
    """Check that a solver finds the answers of `solved_problems` and certifies them.

    Parameters
    ----------
    solver : callable
        A function like those of `metricalign.solvers`.
    tol : float, default=1e-6
        Relative duality gap that the solver must reach, in at most 10,000 iterations.

    Raises
    ------
    AssertionError
        If a solution is wrong, or a bound of the optimum is wrong.

    Examples
    --------
    >>> from metricalign.solvers import newton
    >>> from metricalign.testing import check_solver
    >>> check_solver(newton)
    """
    for name, problem, matrix, value in solved_problems():
        result = solve(problem, solver, tol=tol, max_iter=10_000)
        rounding = 1e-9 * (1 + abs(value))
        require(
            result.dual <= value + rounding and value <= result.primal + rounding,
            f"{name}: the optimum {value:.9g} is not between the dual value {result.dual:.9g} and "
            f"the primal value {result.primal:.9g}.",
        )
        require(
            result.relative_gap <= tol,
            f"{name}: the relative gap is {result.relative_gap:.2g} and not {tol:.2g} after "
            f"{result.n_iter} iterations.",
        )
        error = np.linalg.norm(result.matrix - matrix)
        require(
            error <= np.sqrt(2 * result.gap) + rounding,
            f"{name}: M is off by {error:.2g}, more than its certificate says.",
        )
        require(
            result.n_iter >= 1 and len(result.history) >= 1,
            f"{name}: n_iter and history must tell of at least one iteration.",
        )
