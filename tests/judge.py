"""Judges what the fit of a random problem certifies, by the oracle in long double.

Violations:

gap         the objective is further above the optimum than `dual_gap_` says
objective   `objective_` is not the value at `matrix_` and `intercept_`
distance    `matrix_` is further from the optimum than `metric_error_bound_`
cone        `matrix_` is outside of the cone
refusal     an error that the problem does not deserve
silent      convergence or its absence without the warning that belongs to it, or with that of the
            other; an attribute that is not finite; a warning of NumPy
offset      a constant added to the relations changes the metric by more than the bounds allow

A gap may be off by a thousandth of the one reported, and by what 4 roundings to float64 change in
the predictions of the pairs and 16 in the matrix and its prior; an objective by the same where the
predictions are sums over centred samples and not over their differences.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from drawn import Drawn
from oracle import LONG, ULP, Optimum, Problem, Ridge, interior_point, norm
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

VIOLATIONS = ("gap", "objective", "distance", "cone", "refusal", "silent", "offset")
#: Refusals of problems that have no metric, and when they are true.
NO_METRIC: dict[str, Callable[[Drawn], bool]] = {
    # Or so near that the squares are zero in the type of X.
    "samples of every pair are identical": lambda drawn: (
        not np.any(drawn.differences.astype(drawn.X.dtype) ** 2)
    ),
    "fit_intercept=True does not go": lambda drawn: len({*np.sign(drawn.used_relations)}) == 1,
    "is not below the largest relation": lambda drawn: drawn.loss == "one_sided",
    "every pair has a sample of weight 0": lambda drawn: not np.any(drawn.weights),
    "at least one non-zero number": lambda drawn: not np.any(drawn.sample_weight),
    "at least two different relations": lambda drawn: len(set(drawn.used_relations)) < 2,
    "a pair needs at least 2 samples": lambda drawn: np.count_nonzero(drawn.sample_weight) < 2,
}
OUT_OF_RANGE = ("the range of",)
FINITE = (
    "objective_",
    "dual_gap_",
    "metric_error_bound_",
    "intercept_",
    "dual_coef_",
    "C_",
    "matrix_",
    "components_",
    "gap_history_",
)


def dense(array: Any) -> np.ndarray:
    return array.toarray() if sparse.issparse(array) else np.asarray(array)


class Judge:
    """What became of one problem.

    Attributes
    ----------
    violations : list of (kind, words)
    is_refused : bool
    are_resolved : list of bool
        Of each fit, whether the optimum is known to a tenth of the gap reported, or to 1e-9.
    """

    def __init__(self, drawn: Drawn, talks: bool = False):
        self.drawn, self.talks = drawn, talks
        self.violations: list[tuple[str, str]] = []
        self.is_refused = False
        self.are_resolved: list[bool] = []
        self._say(str(drawn))
        {"path": self._try_path, "warm start": self._try_again, "offset": self._try_offset}.get(
            drawn.kind, self._try_once
        )()

    def _say(self, words):
        if self.talks:
            print(words)

    def _blame(self, kind, words):
        self.violations.append((kind, words))
        self._say(f"  ** {kind}: {words}")

    # Ways to fit

    def _try_once(self):
        for learner in self._fit(self.drawn.estimator(), self.drawn.relations):
            self._check(learner, self.drawn.relations)

    def _try_path(self):
        drawn = self.drawn
        targets = drawn.targets(drawn.relations)
        learner = drawn.estimator()
        for fitted in self._caught(
            lambda: learner.fit_path(drawn.X, targets, drawn.Cs, drawn.sample_weight)
        ):
            self._check(fitted, drawn.relations)

    def _try_again(self):
        learner = self.drawn.estimator()
        for C in self.drawn.Cs:
            learner.set_params(C=C)
            for fitted in self._fit(learner, self.drawn.relations):
                self._check(fitted, self.drawn.relations)

    def _try_offset(self):
        drawn, fitted = self.drawn, []
        for relations in (drawn.relations, drawn.relations + drawn.offset):
            for learner in self._fit(drawn.estimator(), relations):
                self._check(learner, relations)
                fitted.append(learner)
        # Of equal relations the units, and with them a prior by name, are their size.
        if len(fitted) < 2 or np.ptp(drawn.relations) == 0:
            return
        first, second = (dense(learner.matrix_).astype(LONG) for learner in fitted)
        bounds = sum(LONG(learner.metric_error_bound_) for learner in fitted)
        if not norm(first - second) <= 1.001 * bounds + 1e-15 * norm(first):
            self._blame(
                "offset", f"metrics differ by {norm(first - second):.2e}, bounds {bounds:.2e}"
            )

    def _fit(self, learner, relations):
        drawn = self.drawn
        targets = drawn.targets(relations)
        return self._caught(lambda: [learner.fit(drawn.X, targets, drawn.sample_weight)])

    def _caught(self, fit):
        """Fitted learners, none if refused; warnings must go with what the learners say."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                learners = fit()
            except Exception as error:
                self._judge_error(error)
                return []
        for entry in caught:
            self._say(f"  warning: {entry.message}")
            if issubclass(entry.category, RuntimeWarning):
                place = f"{Path(entry.filename).name}:{entry.lineno}"
                self._blame("silent", f"NumPy warns, {place}: {entry.message}")
        n_warned = sum(issubclass(entry.category, ConvergenceWarning) for entry in caught)
        n_missed = sum(not learner.converged_ for learner in learners)
        if n_warned < n_missed or (n_warned and not n_missed):
            self._blame("silent", f"{n_missed} fits not converged, {n_warned} warnings of that")
        elif not n_missed and any("ncrease max_iter" in str(entry.message) for entry in caught):
            self._blame("silent", "converged_ is True beside advice to increase max_iter")
        return learners

    def _judge_error(self, error):
        self.is_refused = True
        text = f"{type(error).__name__}: {error}"
        self._say(f"  error: {text}")
        if isinstance(error, ValueError):
            for claim, is_true in NO_METRIC.items():
                if claim in text and is_true(self.drawn):
                    return
            if any(claim in text for claim in OUT_OF_RANGE) and self.drawn.is_extreme():
                return
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._blame("refusal", f"{Path(frame.filename).name}:{frame.lineno}: {text}")

    # What a fit reports

    def _problem(self, learner, relations) -> Problem:
        drawn = self.drawn
        used = drawn.weights > 0
        weights, t, prior = drawn.weights[used].astype(LONG), relations[used], drawn.prior
        if isinstance(prior, str):
            mean = np.average(t.astype(LONG), weights=weights)
            spread = np.sqrt(np.average((t - mean) ** 2, weights=weights))
            spread = spread if np.ptp(t) > 0 else np.abs(t).max()
            length = np.average(np.sum(drawn.differences**2, axis=1), weights=weights)
            prior = np.eye(drawn.X.shape[1], dtype=LONG) * (spread / length)
        return Problem.of(
            drawn.dense,
            drawn.pairs[used],
            t,
            learner.C_ * weights,
            drawn.loss,
            # epsilon of nu-SVR is a variable.
            0.0 if drawn.nu is not None else getattr(learner.loss_, "epsilon", 0.0),
            drawn.regularizer,
            drawn.fit_intercept,
            prior,
            drawn.nu,
            # A sum over sparse samples is over them as they are.
            centred=not sparse.issparse(drawn.X),
        )

    def _check(self, learner, relations):
        for name in FINITE:
            value = getattr(learner, name)
            if value is None or not np.all(np.isfinite(dense(value).astype(float))):
                self._blame("silent", f"{name} is {value}")
                return
        if learner.converged_ and not learner.dual_gap_ <= learner.tol:
            self._blame("silent", f"converged_ with dual_gap_ {learner.dual_gap_}")
        problem = self._problem(learner, relations)
        matrix = dense(learner.matrix_)
        matrix = matrix.diagonal() if problem.regularizer == "diagonal" else matrix
        M = matrix.astype(LONG) / problem.matrix_unit
        if self.drawn.penalty == "coefficients":
            self._check_ridge(learner, Ridge(problem, learner.C_), M)
            return
        b, epsilon = (LONG(learner.intercept_) - problem.offset) / problem.relation_unit, None
        if problem.nu is not None:
            epsilon = LONG(learner.epsilon_) / problem.relation_unit
        optimum = self._optimum(learner, problem, M)
        self._compare(
            learner,
            M,
            (problem.matrix_unit, problem.value_unit),
            # What is smaller the rounding of the prior's square hides, says `dual_gap_`.
            ULP * norm(problem.prior) ** 2,
            problem.primal(M, b, epsilon),
            (optimum.dual, optimum.primal),
            norm(M - optimum.M) - optimum.distance,
            problem.rounding(M, b, epsilon),
            problem.rounding(M, b, epsilon, problem.reach),
        )
        self._check_cone(problem, M, matrix.dtype)

    def _check_ridge(self, learner, ridge, M):
        a = learner.dual_coef_.astype(LONG) / ridge.coef_unit
        best = min(a, ridge.solution(), key=lambda a: ridge.values(a)[0])
        optimum, dual = ridge.values(best)
        self._compare(
            learner,
            M,
            (ridge.problem.matrix_unit, ridge.value_unit),
            LONG(0),
            ridge.values(a, M)[0],
            (max(dual, ridge.values(a)[1]), optimum),
            norm(M - ridge.problem.adjoint(best)) - ridge.distance(best),
            ridge.rounding(M),
            ridge.rounding(M, ridge.problem.reach),
        )

    def _compare(self, learner, M, units, floor, value, optimum, distance, rounding, loose):
        """What is reported against a value, bounds of the optimum and a distance to it."""
        reported = LONG(learner.objective_) / units[1]
        gap = LONG(learner.dual_gap_) * max(reported, floor)
        bound = LONG(learner.metric_error_bound_) / units[0]
        dual, lowest = optimum
        size, true = max(abs(value), abs(reported)), value - lowest
        self._say(
            f"  objective {value:.12g}, reported {reported:.12g}, optimum in [{dual:.12g}, "
            f"{lowest:.12g}]\n  gap at least {true:.3e}, reported {gap:.3e} (relative "
            f"{learner.dual_gap_:.1e}), rounding {rounding:.1e}\n  distance at least "
            f"{distance:.3e}, bound {bound:.3e}, norm of M {norm(M):.3e}, converged "
            f"{learner.converged_}"
        )
        # What its own bounds cross by the oracle is off by.
        crossing = max(dual - lowest, LONG(0))
        if crossing > 1e-6 * abs(lowest) + 0.01 * rounding:
            raise AssertionError(
                f"Seed {self.drawn.seed}: the oracle's dual value {dual} is above its primal value "
                f"{lowest}."
            )
        rounding += crossing
        self.are_resolved.append(bool(lowest - dual <= max(0.1 * gap, 1e-9 * abs(lowest))))
        if abs(value - reported) > 1e-12 * size + loose:
            words = f"{reported:.12g}, is {value:.12g}, off {abs(value - reported) / size:.1e}"
            self._blame("objective", words)
        if true > 1.001 * gap + 1e-12 * size + rounding:
            self._blame("gap", f"reported {gap / size:.2e}, at least {true / size:.2e}")
        if distance > 1.001 * bound + 1e-15 * norm(M) + np.sqrt(2 * rounding):
            words = f"bound {bound:.2e}, at least {distance:.2e}, norm {norm(M):.2e}"
            self._blame("distance", words)

    def _check_cone(self, problem, M, dtype):
        outside, size = problem.distance_to_cone(M), norm(M) + norm(problem.prior)
        self._say(f"  outside of the cone by {outside:.2e}, norm of M and prior {size:.2e}")
        eps = np.finfo(dtype).eps
        if problem.regularizer == "pair_matrices":
            # Nonnegative least squares, the oracle's and the package's, is no more exact.
            eps = max(eps, 1e-11)
        if outside > 30 * len(M) * eps * size:
            self._blame("cone", f"norm {outside:.2e} of {size:.2e}")

    def _optimum(self, learner, problem, M) -> Optimum:
        """The best points that can be found, from anywhere."""
        found = Optimum(problem)
        found.offer_matrix(M)
        found.offer_dual(learner.dual_coef_ * problem.relation_unit / problem.value_unit)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for candidates in (interior_point, lambda problem: self._refit(learner, problem)):
                try:
                    matrix, beta = candidates(problem)
                except Exception as error:
                    self._say(f"  a candidate failed: {error}")
                    continue
                found.offer_matrix(matrix)
                found.offer_dual(beta)
                found.polish()
                if found.gap <= 1e-13 * found.primal:
                    break
        return found

    def _refit(self, learner, problem):
        """Matrix and dual coefficients of the package itself, in the oracle's units."""
        drawn = self.drawn
        X = drawn.dense.astype(LONG)
        t = np.zeros(len(drawn.pairs))
        t[drawn.weights > 0] = problem.relations
        degree = learner.loss_.degree
        again = clone(learner).set_params(
            C=float(learner.C_ * problem.relation_unit**degree / problem.value_unit),
            tol=1e-13,
            max_iter=300,
        )
        if hasattr(again, "solver"):
            again.set_params(solver="newton")
        if drawn.epsilon is not None and drawn.nu is None:
            again.set_params(loss=type(learner.loss_)(epsilon=float(problem.epsilon)))
        if drawn.prior is not None:
            prior = problem.prior.astype(float)
            again.set_params(prior=np.diag(prior) if prior.ndim == 1 else prior)
        again.fit(
            ((X - X[0]) / problem.length_unit).astype(float), drawn.targets(t), drawn.sample_weight
        )
        matrix = dense(again.matrix_)
        return matrix.diagonal() if problem.regularizer == "diagonal" else matrix, again.dual_coef_


# The table
