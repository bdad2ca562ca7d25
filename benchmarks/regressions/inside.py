"""CPU time, memory and passes of the parts of a fit, one commit against another.

    pip install asv virtualenv
    cd benchmarks/regressions && asv machine --yes && asv continuous HEAD~1 HEAD

asv builds and measures both commits in one run, so that no time is compared with one of another
machine or day.
"""

import time

import numpy as np

from metricalign import PSDSVR
from metricalign.operators import PairOperator
from metricalign.pairs import NearestClassPairs, NearestPairs
from metricalign.regularizers import PositiveSemidefinite


def samples(n_samples, n_features):
    """Five classes in noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(5, size=n_samples)
    X = rng.standard_normal((n_samples, n_features))
    X[np.arange(n_samples), y] += 3.0
    return X, y


class Operators:
    """100,000 random pairs of 10,000 samples with 100 features."""

    timer = time.process_time
    param_names = ("dtype",)
    params = (["float32", "float64"],)

    def setup(self, dtype):
        X = samples(10_000, 100)[0].astype(dtype)
        rng = np.random.default_rng(0)
        self.operator = PairOperator(X, rng.choice(len(X), (100_000, 2)))
        self.matrix = np.eye(100, dtype=dtype)
        self.dual_coef = rng.standard_normal(100_000, dtype=dtype)

    def time_distances(self, dtype):
        self.operator.distances(self.matrix)

    def time_adjoint(self, dtype):
        self.operator.adjoint(self.dual_coef)


class Projection:
    """A symmetric matrix with as many positive as negative eigenvalues."""

    timer = time.process_time
    param_names = ("n_features",)
    params = ([30, 100, 400],)

    def setup(self, n_features):
        matrix = np.random.default_rng(0).standard_normal((n_features, n_features))
        self.matrix = matrix + matrix.T

    def time_positive_semidefinite(self, n_features):
        PositiveSemidefinite().project(self.matrix)


class Pairs:
    """The default pairs of 5,000 samples with 20 features."""

    timer = time.process_time

    def setup(self):
        self.X, self.y = samples(5000, 20)

    def time_nearest(self):
        NearestPairs().select(self.X)

    def time_nearest_class(self):
        NearestClassPairs().select(self.X, self.y)


class Fit:
    """PSDSVR over the default pairs of 2,000 samples with 50 features."""

    timer = time.process_time

    def setup(self):
        self.X, self.y = samples(2000, 50)
        self.learner = PSDSVR(pairs=NearestClassPairs().select(self.X, self.y).indices)
        self.learner.fit(self.X, self.y)  # compiles

    def time_fit(self):
        self.learner.fit(self.X, self.y)

    def peakmem_fit(self):
        self.learner.fit(self.X, self.y)

    def track_passes(self):
        return self.learner.n_passes_

    track_passes.unit = "passes"
