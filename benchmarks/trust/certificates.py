"""Random problems against an oracle: is every certificate true?

Each problem is fitted by the public estimators; what they report is checked against values,
bounds and optima of `oracle.py`, in long double. The table is that of docs/trust.md.

    python benchmarks/trust/certificates.py [--problems 5000] [--seed 0] [--seconds 900]
    python benchmarks/trust/certificates.py --only 17       # one problem, with its numbers

Violations:

gap         the objective is further above the optimum than `dual_gap_` says
objective   `objective_` is not the value at `matrix_` and `intercept_`
distance    `matrix_` is further from the optimum than `metric_error_bound_`
cone        `matrix_` is outside of the cone
refusal     a valid problem is refused, or ends in an error that is none of the problem
silent      converged or not without the warning that goes with it; numbers that are not finite
offset      a constant added to the relations changes the metric by more than both bounds
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from oracle import LONG, Optimum, Problem, coefficient_ridge, interior_point, ridge_rounding, ridge_values
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from metricalign import RAMLKRR, RAMLSVR, RelationAlignment
from metricalign.losses import LOSSES

KINDS = {"alignment": 0.58, "path": 0.08, "warm start": 0.08, "nu": 0.1, "ridge": 0.08,
         "offset": 0.08}
CONES = ("symmetric", "positive_semidefinite", "pair_matrices", "diagonal", "above_prior")
# What may be refused: numbers out of range, and problems without a metric, if it is true.
NO_METRIC = {
    "samples of every pair are identical": lambda drawn: not np.any(drawn.differences),
    "fit_intercept=True does not go": lambda drawn: len({*np.sign(drawn.used_relations)}) == 1,
    "is not below the largest relation": lambda drawn: drawn.loss == "one_sided",
    "every pair has a sample of weight 0": lambda drawn: not np.any(drawn.weights()),
    "at least one non-zero number": lambda drawn: not np.any(drawn.sample_weight),
    "at least two different relations": lambda drawn: np.ptp(drawn.relations) == 0,
}
OUT_OF_RANGE = re.compile("range of|beyond the range|leave the range|overflow")


@dataclass
class Drawn:
    """One problem in the user's terms."""

    seed: int
    kind: str
    loss: str
    epsilon: Any
    cone: str
    fit_intercept: bool
    nu: float | None
    penalty: str | None
    X: Any
    pairs: np.ndarray
    relations: np.ndarray
    sample_weight: np.ndarray | None
    prior: Any
    prior_name: str
    C: Any
    solver: str
    tol: float
    max_iter: int
    shape: str
    offset: float
    by_function: bool
    Cs: list = field(default_factory=list)

    @property
    def dense(self):
        return self.X.toarray() if sparse.issparse(self.X) else self.X

    @property
    def n_samples(self):
        return self.X.shape[0]

    def targets(self, relations=None):
        """The matrix of relations; for a function of two targets, the samples themselves."""
        if self.by_function:
            self.table = self.matrix_of(relations)
            return np.arange(self.n_samples)
        return self.matrix_of(relations)

    def look_up(self, i, j):
        return self.table[int(i), int(j)]

    def matrix_of(self, relations):
        Y = np.zeros((self.n_samples, self.n_samples))
        i, j = self.pairs.T
        Y[i, j] = Y[j, i] = self.relations if relations is None else relations
        return Y

    @property
    def differences(self):
        """Of the pairs that have a weight."""
        X, pairs = self.dense.astype(LONG), self.pairs[self.weights() > 0]
        return X[pairs[:, 0]] - X[pairs[:, 1]]

    @property
    def used_relations(self):
        return self.relations[self.weights() > 0]

    def weights(self):
        w = np.ones(len(self.pairs))
        return w if self.sample_weight is None else self.sample_weight[self.pairs].prod(axis=1)

    def estimator(self, **changes):
        relation = self.look_up if self.by_function else "precomputed"
        common = {"C": self.C, "relation": relation, "pairs": self.pairs, "tol": self.tol,
                  "max_iter": self.max_iter}
        if self.kind == "ridge":
            learner = RAMLKRR(penalty=self.penalty, **common)
        elif self.kind == "nu":
            learner = RAMLSVR(nu=self.nu, fit_intercept=self.fit_intercept, solver=self.solver,
                              **common)
        else:
            loss = LOSSES[self.loss]()
            if hasattr(loss, "epsilon"):
                loss.set_params(epsilon=self.epsilon)
            learner = RelationAlignment(
                loss, cone=self.cone, fit_intercept=self.fit_intercept, prior=self.prior,
                solver=self.solver, warm_start=self.kind == "warm start", **common)
        return learner.set_params(**changes)

    def describe(self):
        size = np.abs(self.dense).max()
        return (
            f"{self.kind}, {self.loss} (epsilon {self.epsilon}), {self.cone}, "
            f"intercept {self.fit_intercept}, prior {self.prior_name}, nu {self.nu}, "
            f"penalty {self.penalty}, {self.shape}, X {self.X.shape} {self.X.dtype} "
            f"{'sparse ' if sparse.issparse(self.X) else ''}to {size:.1e}, {len(self.pairs)} pairs, "
            f"relations {self.relations.min():.3e} to {self.relations.max():.3e}, "
            f"weights {'none' if self.sample_weight is None else 'given'}, C {self.C}, "
            f"Cs {self.Cs}, offset {self.offset}, {self.solver}, tol {self.tol}, "
            f"max_iter {self.max_iter}"
        )


def choose(rng, options):
    """One of the keys of a dictionary of shares."""
    shares = np.array(list(options.values()))
    return list(options)[rng.choice(len(shares), p=shares / shares.sum())]


def draw_samples(rng):
    large = rng.random() < 0.04
    n = int(rng.integers(2, 13) if not large else 40)
    d = int(rng.integers(1, 9) if not large else 12)
    P = int(rng.integers(1, 61) if not large else 150)
    shape = choose(rng, {"normal": 5, "collinear": 1, "identical samples": 1, "constant features": 1,
                         "outlier": 1, "one pair": 0.5, "integers": 1, "low rank": 1,
                         "far columns": 0.5, "all close": 0.5, "one pair repeated": 0.5})
    X = rng.normal(size=(n, d))
    if shape == "collinear":
        X = np.outer(rng.normal(size=n), rng.normal(size=d))
    elif shape == "identical samples":
        X = X[rng.integers(0, max(n // 2, 1), n)]
        X[-1] += 1
    elif shape == "constant features":
        X[:, : max(d // 2, 1)] = rng.choice([0.0, -3.7, 1e8]) if d > 1 else X
    elif shape == "outlier":
        X[0] *= 10 ** rng.uniform(1, 6)
    elif shape == "integers":
        X = rng.integers(-3, 4, (n, d)).astype(float)
        X[0, 0] += 0.5
    elif shape == "low rank":
        r = max(d // 2, 1)
        X = rng.normal(size=(n, r)) @ rng.normal(size=(r, d))
    elif shape == "far columns":
        X = X * 10 ** rng.uniform(-4, 4, d)
    elif shape == "all close":
        X = X[:1] + 1e-3 * X
    i = rng.integers(0, n, P)
    j = (i + rng.integers(1, n, P)) % n
    pairs = np.column_stack([i, j])
    if shape == "one pair":
        pairs = pairs[:1]
    elif shape == "one pair repeated":
        pairs = np.repeat(pairs[:1], min(P, 5), axis=0)
    X = X * 10 ** choose_exponent(rng, 6, 36, 150)
    if rng.random() < 0.15:
        X = X + np.abs(X).max() * 10 ** rng.uniform(0, 7)
    return X, pairs, shape


def choose_exponent(rng, small, large, huge):
    return rng.uniform(-1, 1) * choose(rng, {0: 0.55, small: 0.3, large: 0.11, huge: 0.04})


def draw(seed: int, kind: str | None = None) -> Drawn:
    """The problem of a seed."""
    rng = np.random.default_rng(seed)
    drawn_kind = choose(rng, KINDS)
    kind = kind or drawn_kind
    X, pairs, shape = draw_samples(rng)
    n, d = X.shape
    loss = choose(rng, {name: 1 for name in LOSSES})
    cone = choose(rng, {"symmetric": 1, "positive_semidefinite": 2, "pair_matrices": 1,
                        "diagonal": 1, "above_prior": 1})
    nu = penalty = None
    if kind == "nu":
        loss, cone, nu = "epsilon_insensitive", "symmetric", float(rng.uniform(0.05, 1))
    elif kind == "ridge":
        loss, cone = "squared", "symmetric"
        penalty = ("metric", "coefficients")[rng.integers(2)]
    elif kind == "offset" and loss in ("hinge", "one_sided"):
        loss = "squared_epsilon_insensitive"
    fit_intercept = bool(rng.random() < 0.6)
    fit_intercept = {"offset": True, "ridge": False}.get(kind, fit_intercept)
    if loss == "one_sided":
        fit_intercept = False
    # Relations: those of a metric, or not.
    z = X[pairs[:, 0]] - X[pairs[:, 1]]
    squared = np.sum((z / (np.abs(z).max() or 1)) ** 2 @ np.diag(rng.uniform(0, 2, d)), axis=1)
    relations = choose(rng, {"metric": 3, "noise": 2, "classes": 2, "equal": 0.4, "outlier": 0.6})
    t = squared / (np.mean(squared) or 1) + 0.3 * rng.normal(size=len(pairs))
    if loss == "hinge":
        relations = "classes"
    if relations == "noise":
        t = rng.normal(size=len(pairs))
    elif relations == "classes":
        t = rng.choice([-1.0, 1.0], len(pairs))
    elif relations == "equal":
        t = np.full(len(pairs), rng.choice([0.1, 1.0, -2.0]))
    elif relations == "outlier":
        t[0] *= 10 ** rng.uniform(1, 6)
    # One relation for each pair of samples, whichever way round and however often.
    drawn = {}
    t = np.array([drawn.setdefault(frozenset(p), v) for p, v in zip(pairs.tolist(), t)])
    t = np.round(t * 2**20) / 2**20
    offset = 0.0
    if loss != "hinge":
        t = t * 2.0 ** round(choose_exponent(rng, 6, 36, 150) / np.log10(2))
        offset = float(np.abs(t).max() or 1) * 2.0 ** int(rng.integers(1, 24))
        if kind != "offset" and rng.random() < 0.15:
            t = t + offset
    weight = choose(rng, {"none": 6, "uniform": 2, "wide": 1, "zeros": 1})
    sample_weight = {
        "none": lambda: None,
        "uniform": lambda: rng.uniform(0.1, 3, n),
        "wide": lambda: 10 ** rng.uniform(-3, 3, n),
        "zeros": lambda: np.where(rng.random(n) < 0.25, 0.0, rng.uniform(0.1, 3, n)),
    }[weight]()
    dtype = np.float32 if rng.random() < 0.35 else np.float64
    with np.errstate(over="ignore", under="ignore"):
        X = X.astype(dtype)
        if not np.all(np.isfinite(X)):
            X = np.clip(X, np.finfo(dtype).min, np.finfo(dtype).max)
    z = X[pairs[:, 0]].astype(LONG) - X[pairs[:, 1]].astype(LONG)
    length = np.mean(np.sum(z**2, axis=1)) or LONG(1)
    spread = np.std(t.astype(LONG)) or np.abs(t).max() or 1.0
    natural = LONG(spread) / length
    prior_name = "none"
    if kind not in ("nu", "ridge"):
        prior_name = choose(rng, {"none": 5, "identity": 2, "dense": 1.5, "small": 0.5, "huge": 0.5,
                                  "indefinite": 0.5})
        if cone == "above_prior" and prior_name == "none":
            prior_name = "identity"
    prior = None
    if prior_name == "identity":
        prior = "identity"
    elif prior_name != "none":
        A = rng.normal(size=(d, d))
        A = A + A.T if prior_name == "indefinite" else A @ A.T
        if cone == "diagonal":
            A = np.diag(np.diag(A))
        factor = {"small": 1e-6, "huge": 10 ** rng.uniform(2, 7)}.get(prior_name, 1.0)
        prior = (A * factor * natural).astype(float)
        if not np.all(np.isfinite(prior)) or (
            dtype == np.float32 and np.abs(prior).max() > 1e37
        ):
            prior, prior_name = None, "none"
            cone = "positive_semidefinite" if cone == "above_prior" else cone
    degree = 2 if loss in ("squared", "squared_epsilon_insensitive") else 1
    scale = LONG(spread) ** (2 - degree) / (len(pairs) * length**2)

    def draw_C():
        how = choose(rng, {"natural": 5, "wide": 2, "raw": 2, "scale": 2})
        if how == "scale":
            return "scale"
        exponent = rng.uniform(-4, 4) if how == "natural" else rng.uniform(-12, 12)
        C = LONG(10) ** LONG(exponent) * (1 if how == "raw" else scale)
        return float(np.clip(C, 1e-290, 1e290))

    C = draw_C()
    Cs = []
    if kind in ("path", "warm start"):
        if C == "scale":
            C = float(np.clip(scale, 1e-290, 1e290))
        Cs = [C] + [float(C * 10 ** rng.uniform(-3, 3)) for _ in range(2)]
    epsilon = None
    if loss in ("epsilon_insensitive", "squared_epsilon_insensitive", "one_sided"):
        epsilon = choose(rng, {"scale": 3, "zero": 1, "number": 2})
        size = float(np.std(t) or np.abs(t).max() or 1)
        epsilon = {"scale": "scale", "zero": 0.0, "number": size * 10 ** rng.uniform(-3, 0.5)}[
            epsilon]
    solver = choose(rng, {"newton": 6, "quasi_newton": 2, "projected_gradient": 2})
    few = rng.random() < 0.2
    max_iter = int(rng.integers(1, 6)) if few else 1000 if solver == "newton" else 200
    tol = choose(rng, {1e-2: 4, 1e-4: 3, 1e-6: 2, 1e-10: 1})
    by_function = bool(rng.random() < 0.2 or np.ptp(t) == 0)
    if rng.random() < 0.15:
        X = sparse.csr_array(X)
    return Drawn(seed, kind, loss, epsilon, cone, fit_intercept, nu, penalty, X, pairs, t,
                 sample_weight, prior, prior_name, C, solver, tol, max_iter, shape, offset, by_function, Cs)


# The judge


class Judge:
    """The violations of one problem."""

    def __init__(self, drawn: Drawn, talk: bool = False):
        self.drawn, self.talk = drawn, talk
        self.violations: list[tuple[str, str]] = []
        self.outcome = "fitted"
        self.resolved: list[bool] = []

    def say(self, *words):
        if self.talk:
            print(*words)

    def blame(self, kind, words):
        self.violations.append((kind, words))
        self.say("  **", kind, words)

    def run(self):
        drawn = self.drawn
        self.say(drawn.describe())
        if drawn.kind == "path":
            learners = self.fit(lambda e: e.fit_path(
                drawn.X, drawn.targets(), drawn.Cs, drawn.sample_weight))
            for learner in learners or []:
                self.check(learner, drawn.relations)
        elif drawn.kind == "warm start":
            learner = self.fit(lambda e: [e.fit(drawn.X, drawn.targets(), drawn.sample_weight)])
            if learner:
                for C in drawn.Cs[1:]:
                    again = self.fit(lambda e, C=C, learner=learner: [
                        learner[0].set_params(C=C).fit(
                            drawn.X, drawn.targets(), drawn.sample_weight)])
                    if again:
                        self.check(again[0], drawn.relations)
        elif drawn.kind == "offset":
            first = self.fit(lambda e: [e.fit(drawn.X, drawn.targets(), drawn.sample_weight)])
            moved = drawn.relations + drawn.offset
            second = self.fit(lambda e: [e.fit(drawn.X, drawn.targets(moved), drawn.sample_weight)])
            if first:
                self.check(first[0], drawn.relations)
            if second:
                self.check(second[0], moved)
            # Of equal relations the units, and with them a prior by name, are their size.
            if first and second and np.ptp(drawn.relations) > 0:
                self.compare(first[0], second[0])
        else:
            learner = self.fit(lambda e: [e.fit(drawn.X, drawn.targets(), drawn.sample_weight)])
            if learner:
                self.check(learner[0], drawn.relations)
        return self

    def fit(self, how):
        """Fitted learners, or None; warnings must go with what the learners say."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                learners = how(self.drawn.estimator())
            except Exception as error:
                self.judge_error(error)
                return None
        texts = [str(entry.message) for entry in caught]
        n_warned = sum(issubclass(entry.category, ConvergenceWarning) for entry in caught)
        n_missed = sum(not learner.converged_ for learner in learners)
        for entry in caught:
            if issubclass(entry.category, RuntimeWarning):
                self.blame("silent", f"NumPy warns: {entry.filename}:{entry.lineno} {entry.message}")
        for text in texts:
            self.say("  warning:", text)
        if n_warned < n_missed:
            self.blame("silent", f"{n_missed} fits not converged, {n_warned} warnings")
        elif n_warned > n_missed:
            self.blame("silent", "converged_ is True beside a ConvergenceWarning")
        if len(learners) == 1 and learners[0].converged_:
            for text in texts:
                if re.search("ncrease max_iter", text):
                    self.blame("silent", f"converged_ is True beside: {text}")
        return learners

    def judge_error(self, error):
        text = f"{type(error).__name__}: {error}"
        self.say("  error:", text)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        self.outcome = "refused"
        if isinstance(error, ValueError):
            for claim, is_true in NO_METRIC.items():
                if claim in text:
                    if not is_true(self.drawn):
                        self.blame("refusal", f"for a reason that is not true: {text}")
                    return
            if OUT_OF_RANGE.search(text):
                if is_extreme(self.drawn):
                    return
                self.blame("refusal", f"of numbers that are in range, {place}: {text}")
                return
        self.blame("refusal", f"{place}: {text}")

    def problem(self, learner, relations) -> Problem:
        """The problem of a fit, in long double."""
        drawn = self.drawn
        weights = drawn.weights()
        used = weights > 0
        pairs, t, weights = drawn.pairs[used], relations[used], weights[used]
        X = drawn.dense
        prior = drawn.prior
        if isinstance(prior, str):
            z = X[pairs[:, 0]].astype(LONG) - X[pairs[:, 1]].astype(LONG)
            w = weights.astype(LONG)
            mean = np.average(t.astype(LONG), weights=w)
            spread = np.sqrt(np.average((t - mean) ** 2, weights=w))
            size = np.abs(t).max()
            if spread <= 1e-12 * size:
                spread = size or LONG(1)
            length = np.average(np.sum(z**2, axis=1), weights=w)
            prior = np.eye(X.shape[1], dtype=LONG) * (spread / length)
        epsilon = 0.0 if drawn.nu is not None else getattr(learner.loss_, "epsilon", 0.0)
        return Problem.of(X, pairs, t, learner.C_ * weights.astype(LONG), drawn.loss, epsilon,
                          drawn.cone, drawn.fit_intercept, prior, drawn.nu)

    def check(self, learner, relations):
        """Everything that a fit reports."""
        numbers = {name: getattr(learner, name) for name in (
            "objective_", "dual_gap_", "metric_error_bound_", "intercept_", "dual_coef_", "C_",
            "components_", "gap_history_", "matrix_")}
        for name, value in numbers.items():
            value = value.toarray() if sparse.issparse(value) else value
            if value is None or not np.all(np.isfinite(np.asarray(value, dtype=float))):
                self.blame("silent", f"{name} is {value}")
                return
        if learner.converged_ and not learner.dual_gap_ <= learner.tol:
            self.blame("silent", f"converged_, but dual_gap_ {learner.dual_gap_}")
        problem = self.problem(learner, relations)
        unit = problem.scale_of_value
        matrix = numbers["matrix_"]
        matrix = matrix.diagonal() if sparse.issparse(matrix) else matrix
        M = matrix.astype(LONG) / problem.scale_of_M
        b = (LONG(learner.intercept_) - problem.offset) / problem.scale_of_relation
        if not problem.fit_intercept and learner.intercept_ != 0:
            self.blame("objective", f"intercept_ {learner.intercept_} without an intercept")
        if self.drawn.penalty == "coefficients":
            self.check_ridge(learner, problem, M)
            return
        if not problem.fit_intercept:
            b = LONG(0)
        epsilon = None
        if problem.nu is not None:
            epsilon = LONG(learner.epsilon_) / problem.scale_of_relation
        value = problem.primal(M, b, epsilon)
        reported = LONG(learner.objective_) / unit
        gap = LONG(learner.dual_gap_) * reported
        bound = LONG(learner.metric_error_bound_) / problem.scale_of_M
        optimum = self.optimum(learner, problem, M)
        self.compare_numbers(
            value, reported, gap, bound, optimum.primal, optimum.dual,
            np.sqrt(np.sum((M - optimum.M) ** 2)) - optimum.distance, M,
            problem.rounding(M, b, epsilon))
        outside = problem.distance_to_cone(M)
        size = np.sqrt(np.sum(M**2)) + np.sqrt(np.sum(problem.prior**2))
        eps = np.finfo(matrix.dtype).eps
        if problem.cone == "pair_matrices":
            eps = max(eps, 1e-11)
        self.say(f"  outside the cone {float(outside):.2e}, size {float(size):.2e}")
        if outside > 30 * len(M) * eps * size and problem.cone != "symmetric":
            self.blame("cone", f"norm {float(outside):.2e} of {float(size):.2e}")

    def compare_numbers(self, value, reported, gap, bound, lowest, highest_dual, distance, M,
                        rounding):
        size = max(abs(value), abs(reported))
        true = value - lowest
        self.say(
            f"  objective {float(value):.10g} reported {float(reported):.10g}\n"
            f"  optimum in [{float(highest_dual):.10g}, {float(lowest):.10g}]\n"
            f"  gap reported {float(gap):.3e} (relative {float(gap / (reported or 1)):.1e}), "
            f"proven {float(true):.3e}, rounding {float(rounding):.1e}\n"
            f"  bound of the distance {float(bound):.3e}, proven {float(distance):.3e}, "
            f"norm of M {float(np.sqrt(np.sum(M**2))):.3e}")
        least = 1e-15 * max(abs(lowest), abs(highest_dual)) + 1e-2 * rounding
        if highest_dual - lowest > least:
            raise AssertionError(f"the oracle is wrong: {highest_dual} > {lowest}")
        self.resolved.append(bool(lowest - highest_dual <= max(0.1 * gap, 1e-9 * abs(lowest))))
        if abs(value - reported) > 1e-12 * size + rounding:
            self.blame("objective", f"{float(reported):.10g}, is {float(value):.10g} "
                       f"(off {float(abs(value - reported) / size):.1e}, gap {float(gap/size):.1e})")
        if true > (1 + 1e-3) * gap + 1e-12 * size + rounding:
            self.blame("gap", f"reported {float(gap / size):.2e}, at least {float(true / size):.2e}")
        least = 1e-15 * np.sqrt(np.sum(M**2)) + np.sqrt(2 * rounding)
        if distance > (1 + 1e-3) * bound + least:
            self.blame("distance", f"bound {float(bound):.2e}, at least {float(distance):.2e}, "
                       f"norm {float(np.sqrt(np.sum(M**2))):.2e}")

    def optimum(self, learner, problem, M) -> Optimum:
        """The best that can be found."""
        found = Optimum(problem)
        found.offer_matrix(M)
        degree_of_C = problem.scale_of_relation ** (
            2 if problem.loss.startswith("squared") else 1) / problem.scale_of_value
        found.offer_dual(learner.dual_coef_.astype(LONG) * problem.scale_of_relation
                         / problem.scale_of_value)
        with np.errstate(all="ignore"):
            try:
                matrix, beta = interior_point(problem)
                found.offer_matrix(matrix)
                found.offer_dual(beta)
            except Exception as error:
                self.say("  Clarabel:", error)
        found.polish()
        if found.gap > 1e-13 * found.primal:
            self.refit(learner, problem, found, degree_of_C)
            found.polish()
        return found

    def refit(self, learner, problem, found, unit):
        """Points of the package itself, on this problem in the oracle's units."""
        drawn = self.drawn
        X = drawn.dense.astype(LONG)
        X = ((X - X[0]) / problem.scale_of_X).astype(float)
        used = drawn.weights() > 0
        t = np.zeros(len(used))
        t[used] = problem.relations.astype(float)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                changes = {"C": float(learner.C_ * unit), "tol": 1e-13, "max_iter": 300}
                if hasattr(learner, "solver"):
                    changes["solver"] = "newton"
                again = drawn.estimator(**changes)
                if getattr(learner.loss_, "epsilon", None) is not None and problem.nu is None:
                    again.set_params(loss=type(learner.loss_)(epsilon=float(problem.epsilon)))
                if drawn.prior is not None:
                    prior = problem.prior.astype(float)
                    again.set_params(prior=np.diag(prior) if prior.ndim == 1 else prior)
                again.fit(X, drawn.targets(t), drawn.sample_weight)
                matrix = again.matrix_
                found.offer_matrix(
                    matrix.diagonal() if sparse.issparse(matrix) else matrix)
                found.offer_dual(again.dual_coef_)
            except Exception as error:
                self.say("  refit:", error)

    def check_ridge(self, learner, problem, M):
        unit = problem.scale_of_relation**2 / problem.scale_of_value
        C = LONG(learner.C_) * unit
        # In these units the penalty on a keeps its own.
        kernel_unit = problem.scale_of_X**4
        C = LONG(learner.C_) * kernel_unit**2
        weights = problem.weights * (C / (LONG(learner.C_) * unit))
        problem.weights = weights
        a = learner.dual_coef_.astype(LONG) * kernel_unit / problem.scale_of_relation
        value, dual = ridge_values(problem, C, a)
        scale = (problem.scale_of_relation / kernel_unit) ** 2
        reported = LONG(learner.objective_) / scale
        gap = LONG(learner.dual_gap_) * reported
        bound = LONG(learner.metric_error_bound_) / problem.scale_of_M
        best = coefficient_ridge(problem, C)
        lowest, highest_dual = ridge_values(problem, C, best)
        if value < lowest:
            best, lowest = a, value
        highest_dual = max(dual, highest_dual)
        own = problem.adjoint(best)
        # norm(M) is at most norm(a) times the root of the trace of K.
        trace = np.sum(np.sum(problem.differences**2, axis=1) ** 2)
        distance = np.sqrt(2 * max(lowest - highest_dual, LONG(0)) * trace * (weights / C).max())
        self.compare_numbers(value, reported, gap, bound, lowest, highest_dual,
                             np.sqrt(np.sum((M - own) ** 2)) - distance, M, ridge_rounding(problem, a))

    def compare(self, first, second):
        """Two fits of relations that differ by a constant."""
        matrices = [
            (m.diagonal() if sparse.issparse(m) else m).astype(LONG)
            for m in (first.matrix_, second.matrix_)]
        distance = np.sqrt(np.sum((matrices[0] - matrices[1]) ** 2))
        bounds = LONG(first.metric_error_bound_) + LONG(second.metric_error_bound_)
        if not distance <= 1.001 * bounds + 1e-15 * np.sqrt(np.sum(matrices[0] ** 2)):
            self.blame("offset", f"metrics differ by {float(distance):.2e}, "
                       f"bounds {float(bounds):.2e}")


def is_extreme(drawn: Drawn) -> bool:
    """Whether products that a fit cannot do without come near the ends of the type of X."""
    limit = 28 if drawn.X.dtype == np.float32 else 130
    X, t = drawn.dense.astype(LONG), drawn.used_relations.astype(LONG)
    length = np.mean(np.sum(drawn.differences**2, axis=1))
    # The spread may be taken with the offset, or as the size where all are equal.
    sizes = [X.max() ** 4, length**2]
    sizes += [(spread / length) ** 2 for spread in (np.std(t), np.abs(t).max()) if spread > 0]
    for C in [drawn.C, *drawn.Cs]:
        sizes += [] if C == "scale" else [LONG(C), C * length**2]
    return any(abs(np.log10(size)) > limit for size in sizes if size > 0)


# The table


def check(seed: int, kind: str | None = None, talk: bool = False) -> Judge:
    return Judge(draw(seed, kind), talk).run()


def table(judged: list[Judge], seconds: float) -> str:
    violations = Counter()
    seeds = defaultdict(list)
    for judge in judged:
        for kind in {kind for kind, _ in judge.violations}:
            violations[kind] += 1
            seeds[kind].append(judge.drawn.seed)
    lines = ["| violation | problems | first seeds |", "| --- | --- | --- |"]
    for kind in ("gap", "objective", "distance", "cone", "refusal", "silent", "offset"):
        lines.append(f"| {kind} | {violations[kind]} | {' '.join(map(str, seeds[kind][:12]))} |")
    lines += ["", "| problems | fitted | refused | with a violation | resolved |",
              "| --- | --- | --- | --- | --- |"]
    groups = {"all": judged}
    for name in ("kind", "loss", "cone", "solver", "prior_name", "shape"):
        for judge in judged:
            groups.setdefault(getattr(judge.drawn, name), []).append(judge)
    for judge in judged:
        groups.setdefault(str(judge.drawn.X.dtype), []).append(judge)
        groups.setdefault("sparse" if sparse.issparse(judge.drawn.X) else "dense", []).append(judge)
    for name, some in groups.items():
        n_refused = sum(judge.outcome == "refused" for judge in some)
        n_bad = sum(bool(judge.violations) for judge in some)
        resolved = [flag for judge in some for flag in judge.resolved]
        share = f"{100 * np.mean(resolved):.1f} %" if resolved else ""
        lines.append(f"| {name} | {len(some) - n_refused} | {n_refused} | {n_bad} | {share} |")
    return "\n".join(lines) + f"\n\n{len(judged)} problems in {seconds:.0f} s\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0, help="of the first problem")
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop after this time")
    parser.add_argument("--kind", choices=KINDS, help="only problems of this kind")
    parser.add_argument("--only", type=int, metavar="SEED", help="one problem, with its numbers")
    arguments = parser.parse_args()
    if arguments.only is not None:
        return int(bool(check(arguments.only, arguments.kind, talk=True).violations))
    judged, start = [], time.monotonic()
    try:
        for seed in range(arguments.seed, arguments.seed + arguments.problems):
            if time.monotonic() - start > arguments.seconds:
                break
            judge = check(seed, arguments.kind)
            judged.append(judge)
            for kind, words in judge.violations:
                print(f"{seed}: {kind}: {words}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        pass
    print(table(judged, time.monotonic() - start))
    return int(any(judge.violations for judge in judged))


if __name__ == "__main__":
    sys.exit(main())
