"""Random problems of relation alignment, as a user would state them.

Losses, cones, intercept, priors, weights, precisions, degenerate samples, offsets, C, scales,
sparse samples, solvers, and the ways to fit: a seed stands for each problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from oracle import LONG, QUADRATIC, SIGNED
from scipy import sparse

from metricalign import RAMLKRR, RAMLSVR, RelationAlignment
from metricalign.losses import LOSSES

#: Ways to fit, and their shares.
KINDS = {
    "alignment": 0.58,
    "path": 0.08,
    "warm start": 0.08,
    "nu": 0.1,
    "ridge": 0.08,
    "offset": 0.08,
}
SHAPES = {
    "normal": 5,
    "collinear": 1,
    "identical samples": 1,
    "constant features": 1,
    "outlier": 1,
    "one pair": 0.5,
    "integers": 1,
    "low rank": 1,
    "far columns": 0.5,
    "all close": 0.5,
    "one pair repeated": 0.5,
}
REGULARIZERS = {
    "symmetric": 1,
    "positive_semidefinite": 2,
    "pair_matrices": 1,
    "diagonal": 1,
    "above_prior": 1,
}
PRIORS = {"none": 5, "identity": 2, "dense": 1.5, "small": 0.5, "huge": 0.5, "indefinite": 0.5}


@dataclass
class Drawn:
    """One problem in the user's terms.

    `Cs` are those of a path or of repeated fits, `offset` the constant of a second fit, `table` the
    relations that a function of two targets looks up.
    """

    seed: int
    kind: str
    X: Any
    shape: str
    pairs: np.ndarray
    relations: np.ndarray
    sample_weight: np.ndarray | None
    loss: str
    epsilon: Any
    regularizer: str
    fit_intercept: bool
    prior: Any
    prior_name: str
    nu: float | None
    penalty: str | None
    C: Any
    Cs: list[float]
    offset: float
    by_function: bool
    solver: str
    tol: float
    max_iter: int
    table: np.ndarray | None = None

    @property
    def dense(self) -> np.ndarray:
        return self.X.toarray() if sparse.issparse(self.X) else self.X

    @property
    def weights(self) -> np.ndarray:
        """Of the pairs; a weight of zero is absence."""
        if self.sample_weight is None:
            return np.ones(len(self.pairs))
        return self.sample_weight[self.pairs].prod(axis=1)

    @property
    def differences(self) -> np.ndarray:
        """Of the pairs that have a weight."""
        X, pairs = self.dense.astype(LONG), self.pairs[self.weights > 0]
        return X[pairs[:, 0]] - X[pairs[:, 1]]

    @property
    def used_relations(self) -> np.ndarray:
        return self.relations[self.weights > 0]

    def targets(self, relations: np.ndarray) -> np.ndarray:
        """The matrix of relations; the samples themselves for a function of two targets."""
        n_samples = self.X.shape[0]
        self.table = np.zeros((n_samples, n_samples))
        i, j = self.pairs.T
        self.table[i, j] = self.table[j, i] = relations
        return np.arange(n_samples) if self.by_function else self.table

    def look_up(self, i: float, j: float) -> float:
        return self.table[int(i), int(j)]

    def estimator(self) -> Any:
        common = {
            "C": self.C,
            "relation": self.look_up if self.by_function else "precomputed",
            "pairs": self.pairs,
            "tol": self.tol,
            "max_iter": self.max_iter,
        }
        if self.kind == "ridge":
            return RAMLKRR(penalty=self.penalty, **common)
        common |= {"fit_intercept": self.fit_intercept, "solver": self.solver}
        if self.kind == "nu":
            return RAMLSVR(nu=self.nu, **common)
        loss = LOSSES[self.loss]()
        if self.epsilon is not None:
            loss.set_params(epsilon=self.epsilon)
        warm_start = self.kind == "warm start"
        return RelationAlignment(
            loss, cone=self.regularizer, prior=self.prior, warm_start=warm_start, **common
        )

    def is_extreme(self) -> bool:
        """Whether products that a fit cannot do without come near the ends of the type of X."""
        limit = 28 if self.X.dtype == np.float32 else 100
        X, t = self.dense.astype(LONG), self.relations.astype(LONG)
        length = np.mean(np.sum((X[self.pairs[:, 0]] - X[self.pairs[:, 1]]) ** 2, axis=1))
        # Of equal relations, the offset with them, it is their size.
        spreads = [np.std(t), *np.abs([t[0], t[0] + self.offset])]
        spreads = [spread for spread in spreads if spread > 0]
        sizes = [X.max() ** 4, length**2, *((spread / length) ** 2 for spread in spreads)]
        for C in [self.C, *self.Cs]:
            sizes += [] if C == "scale" else [LONG(C), C * length**2]
        return any(abs(np.log10(size)) > limit for size in sizes if size > 0)

    def __str__(self):
        storage = "sparse " if sparse.issparse(self.X) else ""
        weights = "without weights" if self.sample_weight is None else "with weights"
        return (
            f"{self.kind}, {self.loss} (epsilon {self.epsilon}), {self.regularizer}, intercept "
            f"{self.fit_intercept}, prior {self.prior_name}, nu {self.nu}, penalty {self.penalty}; "
            f"{self.shape}, {storage}X {self.X.shape} {self.X.dtype} to "
            f"{np.abs(self.dense).max():.1e}; {len(self.pairs)} pairs {weights}, relations "
            f"{self.relations.min():.3e} to {self.relations.max():.3e}, offset {self.offset}; "
            f"C {self.C}, Cs {self.Cs}; {self.solver}, tol {self.tol}, max_iter {self.max_iter}"
        )


def choose(rng, shares):
    """One of the keys of a dictionary of shares."""
    values = np.array(list(shares.values()))
    return list(shares)[rng.choice(len(values), p=values / values.sum())]


def draw_exponent(rng, small, large, huge):
    """Of ten: mostly 0, else up to one of three sizes."""
    return rng.uniform(-1, 1) * choose(rng, {0: 0.55, small: 0.3, large: 0.11, huge: 0.04})


def draw_samples(rng):
    """Samples, pairs of them, and what is odd about them."""
    is_large = rng.random() < 0.04
    n = 40 if is_large else int(rng.integers(2, 13))
    d = 12 if is_large else int(rng.integers(1, 9))
    P = 150 if is_large else int(rng.integers(1, 61))
    shape = choose(rng, SHAPES)
    X = rng.normal(size=(n, d))
    if shape == "collinear":
        X = np.outer(rng.normal(size=n), rng.normal(size=d))
    elif shape == "identical samples":
        X = X[rng.integers(0, max(n // 2, 1), n)]
        X[-1] += 1
    elif shape == "constant features" and d > 1:
        X[:, : d // 2] = rng.choice([0.0, -3.7, 1e8])
    elif shape == "outlier":
        X[0] *= 10 ** rng.uniform(1, 6)
    elif shape == "integers":
        X = rng.integers(-3, 4, (n, d)).astype(float)
        X[0, 0] += 0.5
    elif shape == "low rank":
        rank = max(d // 2, 1)
        X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    elif shape == "far columns":
        X = X * 10 ** rng.uniform(-4, 4, d)
    elif shape == "all close":
        X = X[:1] + 1e-3 * X
    i = rng.integers(0, n, P)
    pairs = np.column_stack([i, (i + rng.integers(1, n, P)) % n])
    if shape == "one pair":
        pairs = pairs[:1]
    elif shape == "one pair repeated":
        pairs = np.repeat(pairs[:1], min(P, 5), axis=0)
    X = X * 10 ** draw_exponent(rng, 6, 36, 150)
    if rng.random() < 0.15:
        X = X + np.abs(X).max() * 10 ** rng.uniform(0, 7)
    return X, pairs, shape


def draw_relations(rng, X, pairs, is_classes, may_move):
    """Relations of the pairs, those of a metric or not, and a constant that fits their size."""
    names = {"metric": 3, "noise": 2, "classes": 2, "equal": 0.4, "outlier": 0.6}
    name = choose(rng, names)
    name = "classes" if is_classes else name
    z = X[pairs[:, 0]] - X[pairs[:, 1]]
    squared = (z / (np.abs(z).max() or 1)) ** 2 @ rng.uniform(0, 2, X.shape[1])
    t = squared / (np.mean(squared) or 1) + 0.3 * rng.normal(size=len(pairs))
    if name == "noise":
        t = rng.normal(size=len(pairs))
    elif name == "classes":
        t = rng.choice([-1.0, 1.0], len(pairs))
    elif name == "equal":
        t = np.full(len(pairs), rng.choice([0.1, 1.0, -2.0]))
    elif name == "outlier":
        t[0] *= 10 ** rng.uniform(1, 6)
    # One relation for each pair of samples, whichever way round and however often.
    first: dict = {}
    t = np.array(
        [first.setdefault(frozenset(p), v) for p, v in zip(pairs.tolist(), t, strict=True)]
    )
    # Few enough bits that the sum with the constant is exact.
    t = np.round(t * 2**20) / 2**20
    if is_classes:
        return t, 0.0
    t = t * 2.0 ** round(draw_exponent(rng, 6, 36, 150) / np.log10(2))
    offset = float(np.abs(t).max() or 1) * 2.0 ** int(rng.integers(1, 24))
    return (t + offset if may_move and rng.random() < 0.15 else t), offset


def draw_weights(rng, n_samples):
    name = choose(rng, {"none": 6, "uniform": 2, "wide": 1, "zeros": 1})
    if name == "none":
        return None
    if name == "wide":
        return 10 ** rng.uniform(-3, 3, n_samples)
    weights = rng.uniform(0.1, 3, n_samples)
    return np.where(rng.random(n_samples) < 0.25, 0.0, weights) if name == "zeros" else weights


def draw_prior(rng, regularizer, d, unit, dtype):
    """A prior in multiples of the natural size of M, and its name."""
    name = choose(rng, PRIORS)
    if name == "none":
        name = "identity" if regularizer == "above_prior" else name
    if name in ("none", "identity"):
        return (None if name == "none" else name), name
    A = rng.normal(size=(d, d))
    A = A + A.T if name == "indefinite" else A @ A.T
    A = np.diag(np.diag(A)) if regularizer == "diagonal" else A
    factor = {"small": 1e-6, "huge": 10 ** rng.uniform(2, 7)}.get(name, 1.0)
    prior = (A * factor * unit).astype(float)
    largest = 1e37 if dtype == np.float32 else 1e300
    return (prior, name) if np.abs(prior).max() < largest else ("identity", "identity")


def draw(seed: int, kind: str | None = None) -> Drawn:
    """The problem of a seed, of any kind or of the one given."""
    rng = np.random.default_rng(seed)
    drawn_kind = choose(rng, KINDS)
    kind = kind or drawn_kind
    X, pairs, shape = draw_samples(rng)
    n, d = X.shape
    loss, regularizer = choose(rng, dict.fromkeys(LOSSES, 1)), choose(rng, REGULARIZERS)
    nu = penalty = None
    if kind == "nu":
        loss, regularizer, nu = "epsilon_insensitive", "symmetric", float(rng.uniform(0.05, 1))
    elif kind == "ridge":
        loss, regularizer = "squared", "symmetric"
        penalty = ("metric", "coefficients")[rng.integers(2)]
    elif kind == "offset" and loss in (*SIGNED, "one_sided"):
        loss = "squared_epsilon_insensitive"
    fit_intercept = bool(rng.random() < 0.6)
    fit_intercept = {"offset": True, "ridge": False}.get(kind, fit_intercept)
    fit_intercept &= loss != "one_sided"
    t, offset = draw_relations(rng, X, pairs, loss in SIGNED, kind != "offset")
    sample_weight = draw_weights(rng, n)
    dtype = np.float32 if rng.random() < 0.35 else np.float64
    largest = float(np.finfo(dtype).max)
    X = np.clip(X, -largest, largest).astype(dtype)
    z = X[pairs[:, 0]].astype(LONG) - X[pairs[:, 1]].astype(LONG)
    length = np.mean(np.sum(z**2, axis=1)) or LONG(1)
    spread = float(np.std(t) or np.abs(t).max() or 1)
    prior, prior_name = None, "none"
    if kind not in ("nu", "ridge"):
        prior, prior_name = draw_prior(rng, regularizer, d, spread / length, dtype)
    # C that counts is near this.
    natural = LONG(spread) ** (0 if loss in QUADRATIC else 1) / (len(pairs) * length**2)
    how = choose(rng, {"natural": 5, "wide": 2, "raw": 2, "scale": 2})
    power = LONG(10) ** (rng.uniform(-4, 4) if how == "natural" else rng.uniform(-12, 12))
    C = float(np.clip(power if how == "raw" else power * natural, 1e-290, 1e290))
    Cs = []
    if kind in ("path", "warm start"):
        Cs = [C, *(float(C * 10 ** rng.uniform(-3, 3)) for _ in range(2))]
    epsilon = None
    if loss not in ("squared", *SIGNED):
        epsilons = {"scale": 3, 0.0: 1, spread * 10 ** rng.uniform(-3, 0.5): 2}
        epsilon = choose(rng, epsilons)
    solver = choose(rng, {"newton": 6, "quasi_newton": 2, "projected_gradient": 2})
    if loss == "logistic" and solver == "quasi_newton":
        # Its conjugate has no gradient at the bounds.
        solver = "newton"
    most = 1000 if solver == "newton" else 200
    max_iter = int(rng.integers(1, 6)) if rng.random() < 0.2 else most
    tol = choose(rng, {1e-2: 4, 1e-4: 3, 1e-6: 2, 1e-10: 1})
    return Drawn(
        seed=seed,
        kind=kind,
        X=sparse.csr_array(X) if rng.random() < 0.15 else X,
        shape=shape,
        pairs=pairs,
        relations=t,
        sample_weight=sample_weight,
        loss=loss,
        epsilon=epsilon,
        regularizer=regularizer,
        fit_intercept=fit_intercept,
        prior=prior,
        prior_name=prior_name,
        nu=nu,
        penalty=penalty,
        C="scale" if how == "scale" and not Cs else C,
        Cs=Cs,
        offset=offset,
        # A matrix of relations must not be constant.
        by_function=bool(rng.random() < 0.2 or np.ptp(t) == 0),
        solver=solver,
        tol=tol,
        max_iter=max_iter,
    )
