"""The checks of `metricalign.testing` let what is right pass, and name what is wrong."""

import re
from dataclasses import replace
from functools import partial
from itertools import count

import cvxpy
import numpy as np
import pytest
from priced_regularizers import BoundedTrace, TraceNorm

from metricalign.losses import (
    LOSSES,
    EpsilonInsensitive,
    Loss,
    PiecewiseQuadraticConjugate,
    Squared,
)
from metricalign.regularizers import (
    REGULARIZERS,
    PairMatrices,
    PositiveSemidefinite,
    Projection,
    Regularizer,
    Shrinkage,
    Symmetric,
)
from metricalign.relations import RELATIONS
from metricalign.solvers import SOLVERS, newton
from metricalign.testing import check_loss, check_regularizer, check_relation, check_solver


class Huber(Loss):
    """(a - t)^2 / 2 up to `delta`, and a straight line beyond."""

    degree = 2
    is_shift_invariant = True

    def __init__(self, delta=0.5):
        self.delta = delta

    def value(self, prediction, target):
        error = np.abs(prediction - target)
        return np.where(error <= self.delta, error**2 / 2, self.delta * (error - self.delta / 2))

    def conjugate(self, target, weight):
        bound = self.delta * weight
        return PiecewiseQuadraticConjugate(target, 0.0, 1 / weight, -bound, bound)


@pytest.mark.parametrize(
    "loss", [*(loss() for loss in LOSSES.values()), EpsilonInsensitive(0.0), Huber()], ids=repr
)
def test_losses_pass(loss):
    check_loss(loss)


@pytest.mark.parametrize(
    "regularizer",
    [*(each() for each in REGULARIZERS.values()), TraceNorm(0.4), BoundedTrace(1.5)],
    ids=repr,
)
def test_regularizers_pass(regularizer):
    check_regularizer(regularizer)


def _targets(kind):
    rng = np.random.default_rng(0)
    return {
        "class": rng.integers(0, 3, 12),
        "number": rng.normal(size=12),
        "sets": rng.integers(0, 2, (12, 4)),
        "shares": rng.dirichlet(np.ones(4), 12),
    }[kind]


KINDS = {"class": "class", "zero_one": "class", "absolute_difference": "number"}
KINDS |= dict.fromkeys(["hamming", "jaccard", "manhattan"], "sets")


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_pass(name):
    check_relation(name, _targets(KINDS.get(name, "shares")))


@pytest.mark.parametrize("name", sorted(set(SOLVERS) - {"auto"}))
def test_solvers_pass(name):
    check_solver(SOLVERS[name])


# Faults, and a part of the sentence that names each


class Faulty:
    """A conjugate or a projection of which some methods and attributes are replaced."""

    def __init__(self, right, faults):
        self.right = right
        for name, fault in faults.items():
            setattr(self, name, partial(fault, right) if callable(fault) else fault)

    def __getattr__(self, name):
        return getattr(self.right, name)


def with_faulty_conjugate(loss, **faults):
    def conjugate(self, target, weight):
        return Faulty(type(loss).conjugate(self, target, weight), faults)

    return changed(loss, conjugate=conjugate)


def with_faulty_projection(regularizer, **faults):
    def project(self, matrix, step=1.0):
        return Faulty(type(regularizer).project(self, matrix, step), faults)

    return changed(regularizer, project=project)


def changed(part, **attributes):
    """An instance of a subclass with other attributes."""
    return type("Changed", (type(part),), attributes)(**part.get_params())


class Narrow(EpsilonInsensitive):
    def conjugate(self, target, weight):
        conjugate = super().conjugate(target, weight)
        return replace(conjugate, upper=0.7 * conjugate.upper)


class Weighted(Squared):
    """Weights depend on the target, so that a shift matters."""

    def value(self, prediction, target):
        return (1 + target**2) * super().value(prediction, target)

    def conjugate(self, target, weight):
        return super().conjugate(target, weight * (1 + target**2))


def scaled(factor, which):
    """A proximal step of which the coefficients (0) or the response (1) are multiplied."""

    def proximal(right, *arguments):
        found = list(right.proximal(*arguments))
        found[which] = factor * found[which]
        return tuple(found)

    return proximal


TUBE = EpsilonInsensitive(0.3)
WRONG_LOSSES = {
    "one number for each pair": changed(Squared(), value=lambda self, a, t: np.sum((a - t) ** 2)),
    "must be finite": changed(Squared(), value=lambda self, a, t: np.where(a == t, np.nan, 1.0)),
    "must be convex": changed(Squared(), value=lambda self, a, t: np.sqrt(np.abs(a - t))),
    "do not belong together": with_faulty_conjugate(
        TUBE, value=lambda right, beta: right.value(beta) + 0.01 * np.sum(beta**2)
    ),
    "bounds of the conjugate are too narrow": Narrow(0.3),
    "is not the minimiser": with_faulty_conjugate(TUBE, proximal=scaled(0.9, 0)),
    "leaves the bounds": with_faulty_conjugate(TUBE, proximal=scaled(1.1, 0)),
    "response of the conjugate is not": with_faulty_conjugate(TUBE, proximal=scaled(1.2, 1)),
    "response of the conjugate must be": with_faulty_conjugate(TUBE, proximal=scaled(-1.0, 1)),
    "changes its arguments": with_faulty_conjugate(
        TUBE,
        proximal=lambda right, a, center, rho: right.proximal(
            np.add(a, 0.0, out=a) if np.ndim(a) == 0 else np.multiply(a, 1.5, out=a), center, rho
        ),
    ),
    "gradient of the conjugate": with_faulty_conjugate(
        TUBE, gradient=lambda right, beta: right.gradient(beta) + 0.1
    ),
    "kink of the conjugate is": with_faulty_conjugate(TUBE, kink=0.1),
    "says that the loss is smooth": with_faulty_conjugate(
        Squared(),
        proximal=lambda right, a, center, rho: (
            right.proximal(a, center, rho) if np.any(rho) else (0 * a, 0 * a)
        ),
    ),
    "not the sum over the pairs": with_faulty_conjugate(
        TUBE, value=lambda right, beta: right.value(beta) / len(beta)
    ),
    "restricted is not": with_faulty_conjugate(
        TUBE, restricted=lambda right, some: right.restricted(some - 1)
    ),
    "is_shift_invariant is true": Weighted(),
    "degree is 1": changed(Squared(), degree=1),
    "but the weighted sum of value is": changed(
        Squared(), expression=lambda self, a, t, c: c @ cvxpy.square(a - t)
    ),
    "not convex by the rules of cvxpy": changed(
        Squared(), expression=lambda self, a, t, c: -c @ cvxpy.square(a - t)
    ),
}


@pytest.mark.parametrize(("sentence", "loss"), WRONG_LOSSES.items(), ids=WRONG_LOSSES)
def test_wrong_loss_is_named(sentence, loss):
    with pytest.raises(AssertionError, match=re.escape(sentence)):
        check_loss(loss)


class Rounded(Regularizer):
    """Its slack hides that it is no proximal step."""

    def project(self, matrix, step=1.0):
        return Projection(2 * np.round(matrix / 2), slack=1e3)


class Claimed(Regularizer):
    """Diagonal matrices, written as matrices: turned ones are not diagonal."""

    is_constraint = True
    keeps_span = True

    def project(self, matrix, step=1.0):
        return Projection(np.diag(np.diag(matrix)))


def clipped_in_place(self, matrix, step=1.0):
    return Projection(np.clip(matrix, -1, 1, out=matrix))


def shrunk(function):
    """Semidefinite matrices with another step of the eigenvalues."""
    return changed(PositiveSemidefinite(), shrink=lambda self, values, step: function(values))


WRONG_REGULARIZERS = {
    "project is not the proximal step": shrunk(lambda e: Shrinkage(np.abs(e), np.sign(e))),
    "has a smaller value": changed(TraceNorm(0.4), price=lambda self, values: values.sum()),
    "project changes its argument": changed(Symmetric(), project=clipped_in_place),
    "must return a symmetric matrix": changed(
        Symmetric(), project=lambda self, matrix, step=1.0: Projection(np.triu(matrix))
    ),
    "further apart": Rounded(),
    "with a step of 0": changed(
        TraceNorm(0.4),
        shrink=lambda self, values, step: TraceNorm.shrink(self, values, max(step, 0.5)),
    ),
    "slack of a projection is negative": with_faulty_projection(
        PositiveSemidefinite(), slack=-1e-12
    ),
    "is_constraint is true": changed(TraceNorm(0.4), is_constraint=True),
    "derivative of the projection is not": shrunk(
        lambda e: Shrinkage(np.maximum(e, 0), 0.9 * (e >= 0))
    ),
    "but n_products is": with_faulty_projection(
        PositiveSemidefinite(), n_products=lambda right, d: right.n_products(d) + 1
    ),
    "products of the projection does not": with_faulty_projection(
        PositiveSemidefinite(), products=lambda right, Z: 1.1 * right.products(Z)
    ),
    "gram of the projection does not": with_faulty_projection(
        PositiveSemidefinite(), gram=lambda right, Z: 1.1 * right.gram(Z)
    ),
    "coordinates of a sum of pairs": with_faulty_projection(
        PositiveSemidefinite(), coordinates=lambda right, total: 1.1 * right.coordinates(total)
    ),
    "from_coordinates after coordinates": with_faulty_projection(
        PositiveSemidefinite(), from_coordinates=lambda right, c: 1.1 * right.from_coordinates(c)
    ),
    "is_subspace is true": changed(PositiveSemidefinite(), is_subspace=True),
    "keeps_span is true": Claimed(),
    "keeps_span_of_identity is true": changed(
        PairMatrices(), keeps_span=True, keeps_span_of_identity=True
    ),
    "expression is not what project solves": changed(
        PositiveSemidefinite(), expression=lambda self, matrix: (0.0, [])
    ),
    "expression is not convex": changed(
        PositiveSemidefinite(),
        expression=lambda self, matrix: (0.0, [cvxpy.lambda_max(matrix) >= 0]),
    ),
}


@pytest.mark.parametrize(
    ("sentence", "regularizer"), WRONG_REGULARIZERS.items(), ids=WRONG_REGULARIZERS
)
def test_wrong_regularizer_is_named(sentence, regularizer):
    with pytest.raises(AssertionError, match=re.escape(sentence)):
        check_regularizer(regularizer)


def test_wrong_relation_is_named():
    y = _targets("number")
    with pytest.raises(AssertionError, match="two equal targets, 0, is above another one"):
        check_relation(lambda u, v: -abs(u - v), y)
    calls = count()
    with pytest.raises(AssertionError, match=r"changes with their order|depends on the other"):
        check_relation(lambda u, v: abs(u - v) * (1 + (next(calls) > 30)), y)


def off(result, **changes):
    """A result whose primal point is another one."""
    result.primal_point = replace(result.primal_point, **changes)
    return result


WRONG_SOLVERS = {
    "is not between the dual value": lambda problem, **options: off(
        result := newton(problem, **options), value=result.primal * (1 - 1e-5)
    ),
    "the relative gap is": lambda problem, *, max_iter, **options: newton(
        problem, max_iter=2, **options
    ),
    "M is off by": lambda problem, **options: off(
        result := newton(problem, **options), projection=Projection(1.1 * result.matrix)
    ),
}


@pytest.mark.parametrize("sentence", WRONG_SOLVERS)
def test_wrong_solver_is_named(monkeypatch, sentence):
    # Uncertified: `solve` computes the bounds of what it returns itself.
    monkeypatch.setattr(
        "metricalign.testing.solvers.solve",
        lambda problem, solver, **options: solver(problem, **options),
    )
    with pytest.raises(AssertionError, match=re.escape(sentence)):
        check_solver(WRONG_SOLVERS[sentence])
