"""Relation alignment a second time: values, bounds and optima that share no line with the package.

    min over M in K, b in B   1/2 norm(M - M0)^2 + sum_p c_p loss(z_p^T M z_p + b, t_p)

Everything that is proven is computed in long double (64 bits of mantissa, exponents to 4932), in
units in which the mean squared length of the differences z_p and the spread of the relations t_p
are 1; an intercept first takes the middle of the relations. Candidates for the optimum come from
anywhere, since each is judged here: a matrix of the cone proves how low the optimum is at most,
dual coefficients prove how low at least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import clarabel
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

LONG = np.longdouble
ULP = LONG(2) ** -53
QUADRATIC = ("squared", "squared_epsilon_insensitive")
# Of relations +1 and -1, which have no other scale.
SIGNED = ("hinge", "logistic")


def power_of_two(number: LONG) -> LONG:
    """The power of 2 near a positive number: dividing by it rounds nothing."""
    return np.ldexp(LONG(1), int(np.frexp(LONG(number))[1])) if number > 0 else LONG(1)


def exact_sum(numbers: NDArray) -> LONG:
    """Sum of long doubles, the small ones first."""
    numbers = np.ravel(numbers)
    return np.sum(numbers[np.argsort(np.abs(numbers))], dtype=LONG)


def entropy(share: NDArray) -> NDArray:
    """Minus x log x, 0 at 0."""
    return -share * np.log(np.where(share > 0, share, 1))


def norm(matrix: NDArray) -> LONG:
    """Frobenius norm."""
    return np.sqrt(exact_sum(matrix**2))


@dataclass
class Problem:
    """One problem in the units above.

    `matrix_unit` and `value_unit` take a matrix and a value of the objective back to the
    user's units, `offset` and `relation_unit` an intercept; `reach` is the sum of the sizes of the
    two samples of a pair, less the center.
    """

    differences: NDArray
    relations: NDArray
    weights: NDArray
    loss: str
    epsilon: LONG
    regularizer: str
    fit_intercept: bool
    prior: NDArray
    nu: float | None
    offset: LONG
    relation_unit: LONG
    length_unit: LONG
    reach: NDArray
    products: NDArray = field(init=False)

    def __post_init__(self):
        z = self.differences
        self.products = z**2 if self.regularizer == "diagonal" else z[:, :, None] * z[:, None, :]

    @classmethod
    def of(
        cls,
        X,
        pairs,
        relations,
        weights,
        loss,
        epsilon,
        regularizer,
        fit_intercept,
        prior=None,
        nu=None,
        centred=True,
    ) -> Problem:
        """Problem in the user's units: everything as it was given, C in the weights."""
        X = X.astype(LONG)
        center = X.mean(axis=0) if centred else LONG(0)
        z = X[pairs[:, 0]] - X[pairs[:, 1]]
        t = relations.astype(LONG)
        squared = np.average(np.sum(z**2, axis=1), weights=weights)
        length_unit = power_of_two(np.sqrt(squared))
        offset, scale = LONG(0), LONG(1)
        if loss not in SIGNED:
            if fit_intercept:
                offset = LONG(0.5) * (t.max() + t.min())
            scale = power_of_two(np.sqrt(np.mean((t - offset) ** 2)))
        degree = 2 if loss in QUADRATIC else 1
        d = z.shape[1]
        prior = np.zeros((d, d), LONG) if prior is None else np.asarray(prior).astype(LONG)
        if regularizer == "diagonal":
            prior = np.diag(prior).copy()
        matrix_unit = scale / length_unit**2
        return cls(
            z / length_unit,
            (t - offset) / scale,
            weights.astype(LONG) * scale**degree / matrix_unit**2,
            loss,
            LONG(epsilon) / scale,
            regularizer,
            fit_intercept,
            prior / matrix_unit,
            nu,
            offset,
            scale,
            length_unit,
            np.sum(np.abs(X - center)[pairs], axis=1) / length_unit,
        )

    @property
    def matrix_unit(self):
        return self.relation_unit / self.length_unit**2

    @property
    def value_unit(self):
        return self.matrix_unit**2

    @property
    def budget(self):
        return LONG(self.nu) * exact_sum(self.weights)

    # Values

    def distances(self, M):
        axes = 1 if self.regularizer == "diagonal" else 2
        return np.tensordot(self.products, M.astype(LONG), axes)

    def adjoint(self, beta):
        return np.tensordot(beta, self.products, 1)

    def losses(self, prediction, epsilon=None):
        """The losses, by their formulas."""
        epsilon = self.epsilon if epsilon is None else epsilon
        error = prediction - self.relations
        if self.loss == "epsilon_insensitive":
            return np.maximum(np.abs(error) - epsilon, 0)
        if self.loss == "squared_epsilon_insensitive":
            return np.maximum(np.abs(error) - epsilon, 0) ** 2 / 2
        if self.loss == "squared":
            return error**2 / 2
        if self.loss == "one_sided":
            return np.maximum(-error - epsilon, 0)
        if self.loss == "logistic":
            return np.logaddexp(LONG(0), -self.relations * prediction)
        return np.maximum(1 - self.relations * prediction, 0)

    def primal(self, M, b, epsilon=None) -> LONG:
        """Value at a matrix and an intercept, and at epsilon for nu-SVR."""
        value = exact_sum((M - self.prior) ** 2) / 2
        value += exact_sum(self.weights * self.losses(self.distances(M) + b, epsilon))
        if self.nu is not None:
            value += self.budget * epsilon
        return value

    def rounding(self, M, b, epsilon=None, lengths=None) -> LONG:
        """How much the value changes where float64 rounds the matrix and the predictions.

        Those are sums of products of the differences, or of `lengths` that are larger.
        """
        lengths = np.abs(self.differences) if lengths is None else lengths
        sizes = np.diag(np.abs(M)) if self.regularizer == "diagonal" else np.abs(M)
        size = np.einsum("pi,ij,pj->p", lengths, sizes, lengths)
        offset = self.offset / self.relation_unit
        size += np.abs(b + offset) + np.abs(self.relations + offset)
        step = 4 * ULP * size
        a = self.distances(M)
        at = self.losses(a + b, epsilon)
        changes = [np.abs(self.losses(a + b + s, epsilon) - at) for s in (step, -step)]
        step = 16 * ULP * (norm(M) + norm(self.prior))
        change = step * norm(M - self.prior) + step**2 / 2 if np.any(self.prior) else LONG(0)
        return change + exact_sum(self.weights * np.maximum(*changes))

    def dual(self, beta) -> LONG:
        """A lower bound of the optimum, from coefficients that are made feasible first."""
        beta = self.feasible(beta)
        D = self.adjoint(beta)
        E = D - self.polar_part(self.prior + D)
        epsilon = LONG(0) if self.nu is not None else self.epsilon
        t, c = self.relations, self.weights
        gain = {
            "epsilon_insensitive": lambda: beta * t - epsilon * np.abs(beta),
            "squared_epsilon_insensitive": lambda: (
                beta * t - epsilon * np.abs(beta) - beta**2 / (2 * c)
            ),
            "squared": lambda: beta * t - beta**2 / (2 * c),
            "one_sided": lambda: beta * (t - epsilon),
            "hinge": lambda: beta * t,
            "logistic": lambda: c * (entropy(t * beta / c) + entropy(1 - t * beta / c)),
        }[self.loss]()
        # 1/2 norm(M0)^2 - 1/2 norm(M0 + E)^2, without the cancellation of a large prior.
        along = D if self.regularizer == "above_prior" else E
        penalty = exact_sum(self.prior * along) + exact_sum(E**2) / 2
        return exact_sum(gain) - penalty

    def box(self):
        c = self.weights
        if self.loss in QUADRATIC:
            return np.full_like(c, -np.inf), np.full_like(c, np.inf)
        if self.loss == "one_sided":
            return 0 * c, c
        if self.loss in SIGNED:
            return np.minimum(self.relations * c, 0), np.maximum(self.relations * c, 0)
        return -c, c

    def feasible(self, beta):
        """Coefficients near the given ones in the box, with sum zero and inside the budget."""
        lower, upper = self.box()
        beta = np.clip(np.asarray(beta).astype(LONG), lower, upper)
        if self.fit_intercept:
            for _ in range(60):
                excess = exact_sum(beta)
                if excess == 0:
                    break
                # Those that have room share the excess by their room.
                room = upper - beta if excess < 0 else beta - lower
                if not np.all(np.isfinite(room)):
                    room = np.ones_like(beta)
                total = exact_sum(room)
                if not total > 0:
                    break
                beta = np.clip(beta - excess * (room / total), lower, upper)
        if self.nu is not None:
            size = exact_sum(np.abs(beta))
            if size > self.budget:
                beta = beta * (self.budget / size) * (1 - LONG(2) ** -60)
        return beta

    # The cone

    def polar_part(self, S):
        """A matrix N of the polar cone near S - P(S), so that norm(S - N) >= norm(P(S))."""
        if self.regularizer == "symmetric":
            return np.zeros_like(S)
        if self.regularizer == "diagonal":
            return np.minimum(S, 0)
        if self.regularizer == "pair_matrices":
            residual = S - self.nearest_of_pairs(S)[0]
            squared = np.sum(self.differences**2, axis=1)
            used = squared > 0
            excess = np.max(self.distances(residual)[used] / squared[used], initial=LONG(0))
            return residual - max(excess, LONG(0)) * np.eye(len(S), dtype=LONG)
        values, vectors = eigen(S - self.prior if self.regularizer == "above_prior" else S)
        kept = values < 0
        return (vectors[:, kept] * values[kept]) @ vectors[:, kept].T

    def project(self, S):
        """A matrix of the cone, near the projection of S."""
        if self.regularizer == "symmetric":
            return S
        if self.regularizer == "diagonal":
            return np.maximum(S, 0)
        if self.regularizer == "pair_matrices":
            return self.nearest_of_pairs(S)[0]
        base = self.prior if self.regularizer == "above_prior" else 0 * S
        values, vectors = eigen(S - base)
        kept = values > 0
        if np.all(values >= 0):
            return S
        return base + (vectors[:, kept] * values[kept]) @ vectors[:, kept].T

    def nearest_of_pairs(self, S):
        """Nonnegative least squares in float64, its free coefficients refined in long double."""
        squared = np.sum(self.differences**2, axis=1)
        used = np.flatnonzero(squared > 0)
        # Columns that are there twice make it go round in circles.
        signs = np.sign(
            self.differences[np.arange(len(squared)), np.abs(self.differences).argmax(1)]
        )
        _, first = np.unique(signs[used, None] * self.differences[used], axis=0, return_index=True)
        used = used[first]
        columns = (self.products[used] / squared[used, None, None]).reshape(len(used), -1).T
        size = np.abs(S).max()
        if not size > 0 or len(used) == 0:
            return np.zeros_like(S), np.zeros(len(self.products), LONG)
        target = S.ravel() / size
        try:
            coef = optimize.nnls(columns.astype(float), target.astype(float), maxiter=3000)[0]
        except RuntimeError:
            coef = np.zeros(len(used))
        coef = coef.astype(LONG)
        free = np.flatnonzero(coef > 0)
        if len(free):
            inverse = np.linalg.pinv(columns[:, free].astype(float), rcond=1e-13)
            for _ in range(4):
                residual = target - columns @ coef
                step = coef.copy()
                step[free] += inverse @ residual.astype(float)
                step = np.maximum(step, 0)
                if np.sum((target - columns @ step) ** 2) >= np.sum(residual**2):
                    break
                coef = step
        whole = np.zeros(len(self.products), LONG)
        whole[used] = size * coef / squared[used]
        return size * (columns @ coef).reshape(S.shape), whole

    def distance_to_cone(self, M):
        """Frobenius norm of what has to be added to a matrix to be in the cone."""
        outside = M - self.project(M) if self.regularizer == "pair_matrices" else self.polar_part(M)
        return np.sqrt(exact_sum(outside**2))

    # Candidates

    def best_intercept(self, M):
        """The intercept, and epsilon for nu-SVR, of the lowest value at a matrix."""
        a = self.distances(M)
        error = self.relations - a
        c = self.weights
        if self.nu is not None:
            return self._best_tube(error)
        if not self.fit_intercept:
            return LONG(0), None
        if self.loss == "squared":
            return exact_sum(c * error) / exact_sum(c), None
        if self.loss == "logistic":
            return self._root_of_slope(M), None
        kinks = {
            "epsilon_insensitive": lambda: [error - self.epsilon, error + self.epsilon],
            "squared_epsilon_insensitive": lambda: [error - self.epsilon, error + self.epsilon],
            "one_sided": lambda: [error - self.epsilon],
            "hinge": lambda: [1 / self.relations - a],
        }[self.loss]()
        kinks = np.unique(np.concatenate(kinks))
        values = np.array([exact_sum(c * self.losses(a + kink)) for kink in kinks])
        best = int(np.argmin(values))
        if self.loss != "squared_epsilon_insensitive":
            return kinks[best], None

        def slope(b):
            return -exact_sum(
                c * np.sign(error - b) * np.maximum(np.abs(error - b) - self.epsilon, 0)
            )

        low, high = kinks[max(best - 1, 0)], kinks[min(best + 1, len(kinks) - 1)]
        for left, right in ((low, kinks[best]), (kinks[best], high)):
            below, above = slope(left), slope(right)
            if below < 0 < above:
                return left - below * (right - left) / (above - below), None
        return kinks[best], None

    def _root_of_slope(self, M):
        """Intercept of a smooth loss by bisection: the slopes fall as it grows."""
        reach = LONG(1)
        while reach < 1e30 and exact_sum(self.slopes(M, -reach)) < 0:
            reach *= 2
        low = -reach
        while reach < 1e30 and exact_sum(self.slopes(M, reach)) > 0:
            reach *= 2
        high = reach
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if exact_sum(self.slopes(M, middle)) > 0 else (low, middle)
        return (low + high) / 2

    def _best_tube(self, error):
        """Intercept and epsilon of nu-SVR: a tube around the errors, by linear programming."""
        candidates = [LONG(0)]
        if self.fit_intercept:
            P = len(error)
            scale = np.abs(error).max() or LONG(1)
            e, c = (error / scale).astype(float), (self.weights / self.weights.max()).astype(float)
            cost = np.concatenate([[0, self.nu * c.sum()], c])
            ones, eye = np.ones((P, 1)), np.eye(P)
            A = np.vstack([np.hstack([ones, -ones, -eye]), np.hstack([-ones, -ones, -eye])])
            solved = optimize.linprog(
                cost, A, np.concatenate([e, -e]), bounds=[(None, None)] + [(0, None)] * (P + 1)
            )
            if solved.x is not None:
                candidates.append(scale * LONG(solved.x[0]))
            candidates.append((error.max() + error.min()) / 2)
        best = None
        for b in candidates:
            size = np.abs(error - b)
            order = np.argsort(-size)
            outside = np.cumsum(self.weights[order])
            epsilon = size[order[min(np.searchsorted(outside, self.budget), len(order) - 1)]]
            for eps in (epsilon, LONG(0)):
                value = self.budget * eps + exact_sum(self.weights * np.maximum(size - eps, 0))
                if best is None or value < best[0]:
                    best = value, b, eps
        return best[1], best[2]

    def slopes(self, M, b):
        """Minus the derivatives of the losses, dual coefficients where these are smooth."""
        error = self.relations - self.distances(M) - b
        if self.loss == "logistic":
            signs = self.relations
            return signs * self.weights * np.exp(-np.logaddexp(LONG(0), 1 - signs * error))
        if self.loss == "squared":
            return self.weights * error
        return self.weights * np.sign(error) * np.maximum(np.abs(error) - self.epsilon, 0)


def eigen(S):
    """Eigenvalues and vectors, as exact as long double allows."""
    size = np.abs(S).max()
    if not size > 0:
        return np.zeros(len(S), LONG), np.eye(len(S), dtype=LONG)
    S = S / size
    vectors = np.linalg.eigh(S.astype(float))[1].astype(LONG)
    for _ in range(2):
        # Ogita, Aishima, Iterative refinement for symmetric eigenvalue decomposition, 2018.
        R = np.eye(len(S), dtype=LONG) - vectors.T @ vectors
        T = vectors.T @ S @ vectors
        values = np.diag(T) / (1 - np.diag(R))
        gap = values - values[:, None]
        near = np.abs(gap) <= 1e-8
        step = np.where(near, R / 2, (T + values * R) / np.where(near, 1, gap))
        vectors = vectors + vectors @ step
    return size * np.einsum("ij,ik,kj->j", vectors, S, vectors), vectors


@dataclass
class Optimum:
    """The best points seen: the optimum lies between `dual` and `primal`."""

    problem: Problem
    primal: float = math.inf
    dual: float = -math.inf
    M: NDArray | None = None
    b: float = 0.0

    @property
    def gap(self) -> LONG:
        return max(self.primal - self.dual, LONG(0))

    @property
    def distance(self) -> LONG:
        """How far `M` is at most from the optimal matrix."""
        return np.sqrt(2 * self.gap)

    def offer_matrix(self, M) -> None:
        """Try a matrix, projected on the cone, with its best intercept."""
        M = np.asarray(M).astype(LONG)
        if not np.all(np.isfinite(M)):
            return
        M = self.problem.project((M + M.T) / 2)
        b, epsilon = self.problem.best_intercept(M)
        value = self.problem.primal(M, b, epsilon)
        if value < self.primal:
            self.primal, self.M, self.b = value, M, b

    def offer_dual(self, beta) -> None:
        """Try dual coefficients, and the matrix that they give."""
        beta = np.asarray(beta)
        if not np.all(np.isfinite(beta)):
            return
        beta = self.problem.feasible(beta)
        self.dual = max(self.dual, self.problem.dual(beta))
        self.offer_matrix(self.problem.prior + self.problem.adjoint(beta))

    def polish(self) -> None:
        """Dual coefficients from the best matrix, where the loss is smooth."""
        for _ in range(3):
            if self.M is None or self.problem.loss not in (*QUADRATIC, "logistic"):
                return
            self.offer_dual(self.problem.slopes(self.M, self.b))


def interior_point(problem: Problem) -> tuple[NDArray, NDArray]:
    """Matrix and dual coefficients by Clarabel, from matrices that are written down here.

    The variables are M, b, a slack for each pair, epsilon of nu-SVR, and the coefficients of the
    pairs' matrices.
    """
    d, P = problem.differences.shape[1], len(problem.relations)
    c, t = problem.weights.astype(float), problem.relations.astype(float)
    T, prior = problem.products.astype(float), problem.prior.astype(float)
    column, row = np.tril_indices(d)
    root = np.where(row == column, 1.0, math.sqrt(2))
    if problem.regularizer != "diagonal":
        # The order and the weights of Clarabel's triangles.
        T, prior = T[:, row, column] * root, prior[row, column] * root
    is_nu, is_pairs = problem.nu is not None, problem.regularizer == "pair_matrices"
    is_logistic = problem.loss == "logistic"
    sizes = [
        len(prior),
        int(problem.fit_intercept),
        P,
        int(is_nu),
        P * is_pairs,
        2 * P * is_logistic,
    ]
    ends = np.cumsum(sizes)
    matrix, intercept, slack, tube, coef, powers = map(slice, ends - sizes, ends)
    quadratic, linear = np.zeros(ends[-1]), np.zeros(ends[-1])
    quadratic[matrix], linear[matrix] = 1.0, -prior
    (quadratic if problem.loss in QUADRATIC else linear)[slack] = c
    if is_nu:
        linear[tube] = float(problem.budget)
    unit = 1 / max(1.0, c.max())
    parts: list = []

    def constrain(cone, bound, **blocks):
        """Add bound - (sum of block times variables) in cone."""
        A = np.zeros((len(bound), ends[-1]))
        places = {"M": matrix, "b": intercept, "u": slack, "tube": tube, "mu": coef, "r": powers}
        for name, block in blocks.items():
            A[:, places[name]] = block
        parts.append((A, bound, cone(len(bound))))

    def shortfall(sign, bound):
        """Slack of at least sign times the prediction less a bound."""
        sign = np.broadcast_to(sign, (P,))[:, None]
        exact = problem.loss == "squared"
        cone = clarabel.ZeroConeT if exact else clarabel.NonnegativeConeT
        constrain(cone, bound, M=sign * T, b=sign, u=-np.eye(P), tube=-1.0)

    epsilon = 0.0 if is_nu else float(problem.epsilon)
    if problem.loss == "squared":
        shortfall(1.0, t)
    elif problem.loss == "one_sided":
        shortfall(-1.0, epsilon - t)
    elif problem.loss == "hinge":
        shortfall(-t, -np.ones(P))
    elif is_logistic:
        # exp(-u) + exp(-t a - u) <= 1, each power below a variable.
        constrain(clarabel.NonnegativeConeT, np.ones(P), r=np.hstack([np.eye(P), np.eye(P)]))
        for p, k in np.ndindex(P, 2):
            A, unit_vector = np.zeros((3, P)), np.eye(2 * P)[p + k * P]
            A[0, p] = 1
            along = np.array([[k * t[p]], [0], [0]])
            constrain(
                lambda _: clarabel.ExponentialConeT(),
                np.array([0.0, 1.0, 0.0]),
                M=along * T[p],
                b=along,
                u=A,
                r=-np.array([[0], [0], [1]]) * unit_vector,
            )
    else:
        shortfall(-1.0, epsilon - t)
        shortfall(1.0, t + epsilon)
    if problem.loss not in ("squared", "logistic"):
        constrain(clarabel.NonnegativeConeT, np.zeros(P), u=-np.eye(P))
    if is_nu:
        constrain(clarabel.NonnegativeConeT, np.zeros(1), tube=-1.0)
    none, eye = np.zeros(len(prior)), np.eye(len(prior))
    if problem.regularizer == "diagonal":
        constrain(clarabel.NonnegativeConeT, none, M=-eye)
    elif is_pairs:
        squared = np.maximum(np.sum(problem.differences**2, axis=1).astype(float), 1e-300)
        constrain(clarabel.ZeroConeT, none, M=-eye, mu=T.T / squared)
        constrain(clarabel.NonnegativeConeT, np.zeros(P), mu=-np.eye(P))
    elif problem.regularizer != "symmetric":
        bound = -prior if problem.regularizer == "above_prior" else none
        constrain(lambda _: clarabel.PSDTriangleConeT(d), bound, M=-eye)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter, settings.max_threads = 100, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-13
    blocks, bounds, cones = zip(*parts, strict=True)
    solver = clarabel.DefaultSolver(
        sparse.csc_array(np.diag(unit * quadratic)),
        unit * linear,
        sparse.csc_array(np.vstack(blocks)),
        np.concatenate(bounds),
        list(cones),
        settings,
    )
    try:
        solved = solver.solve()
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ArithmeticError("Clarabel has given up") from error
    x, z = np.array(solved.x)[matrix], np.array(solved.z) / unit
    first, second = z[:P], z[P : 2 * P]
    beta = {
        "squared": lambda: -first,
        "one_sided": lambda: first,
        "hinge": lambda: t * first,
    }.get(problem.loss, lambda: first - second)()
    if problem.regularizer == "diagonal":
        return x, 0 * t if is_logistic else beta
    M = np.zeros((d, d))
    M[row, column] = M[column, row] = x / root
    # Those of the logistic loss follow from M.
    return M, 0 * t if is_logistic else beta


@dataclass
class Ridge:
    """min over a of 1/2 sum_p a_p^2 / w_p + C/2 sum_p w_p ((K a)_p - t_p)^2, in units as above.

    In h = a / sqrt(c), c = C w, G = sqrt(c c^T) K and u = sqrt(c) t it is 1/2 norm(G h - u)^2
    + C/2 norm(h)^2.
    """

    problem: Problem
    C: LONG

    def __post_init__(self):
        # Weights are those of the penalty on M, whose units are others.
        unit = self.problem.length_unit**4
        self.C = LONG(self.C) * unit**2
        root = np.sqrt(self.problem.weights * unit)
        kernel = (self.problem.differences @ self.problem.differences.T) ** 2
        self.coef_unit = self.problem.relation_unit / unit
        self.value_unit = self.coef_unit**2
        self.root, self.kernel = root, root[:, None] * kernel * root
        self.target = root * self.problem.relations

    def values(self, a, M=None) -> tuple[LONG, LONG]:
        """Primal value of coefficients, and the dual value of their residual.

        At a matrix M, which rounding may have moved from that of the coefficients, if one is given.
        """
        h = a / self.root
        image = self.kernel @ h if M is None else self.root * self.problem.distances(M)
        residual = self.target - image
        primal = (exact_sum(residual**2) + self.C * exact_sum(h**2)) / 2
        dual = exact_sum(self.target * residual - residual**2 / 2)
        return primal, dual - exact_sum((self.kernel @ residual) ** 2) / (2 * self.C)

    def rounding(self, M, lengths=None) -> LONG:
        """How much the value changes where float64 rounds predictions; see `Problem.rounding`."""
        lengths = np.abs(self.problem.differences) if lengths is None else lengths
        size = self.root * np.einsum("pi,ij,pj->p", lengths, np.abs(M), lengths)
        error = np.abs(self.target - self.root * self.problem.distances(M))
        step = 4 * ULP * (size + np.abs(self.target))
        return exact_sum(error * step + step**2 / 2)

    def distance(self, a) -> LONG:
        """How far the matrix of coefficients is at most from the optimal one.

        The value grows with 1/2 sum a^2 / w, and norm(M) is at most norm(a) times the root of the
        trace of K.
        """
        primal, dual = self.values(a)
        trace = exact_sum(np.sum(self.problem.differences**2, axis=1) ** 2)
        return np.sqrt(2 * max(primal - dual, LONG(0)) * trace * np.max(self.root**2) / self.C)

    def solution(self) -> NDArray:
        """The optimal h is the real part of (G + i sqrt(C) I)^-1 u."""
        shift = np.sqrt(self.C) * np.eye(len(self.target), dtype=LONG)
        system = np.block([[self.kernel, -shift], [shift, self.kernel]])
        return self.root * solve(system, np.append(self.target, 0 * self.target))[: len(shift)]


def solve(A, b):
    """Gaussian elimination with partial pivoting in long double."""
    A = np.column_stack([A, b]).astype(LONG)
    n = len(b)
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(A[k:, k])))
        A[[k, pivot]] = A[[pivot, k]]
        if A[k, k] == 0:
            continue
        A[k + 1 :, k:] -= np.outer(A[k + 1 :, k] / A[k, k], A[k, k:])
    x = np.zeros(n, LONG)
    for k in range(n - 1, -1, -1):
        x[k] = (A[k, n] - A[k, k + 1 : n] @ x[k + 1 :]) / A[k, k] if A[k, k] != 0 else 0
    return x
