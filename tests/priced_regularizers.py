"""Two regularizers that are no cones, as somebody outside of the package would write them."""

import cvxpy
import numpy as np

from metricalign.regularizers import Shrinkage, SpectralRegularizer


class TraceNorm(SpectralRegularizer):
    """Positive semidefinite matrices at the price weight * trace: few directions remain."""

    keeps_span = True

    def __init__(self, weight=1.0):
        self.weight = weight

    def shrink(self, eigenvalues, step):
        threshold = step * self.weight
        return Shrinkage(
            np.maximum(eigenvalues - threshold, 0), (eigenvalues >= threshold).astype(float)
        )

    def price(self, eigenvalues):
        return self.weight * eigenvalues.sum()

    def expression(self, matrix):
        return self.weight * cvxpy.trace(matrix), [matrix >> 0]


class BoundedTrace(SpectralRegularizer):
    """Positive semidefinite matrices of a trace of at most `bound`."""

    is_constraint = True
    keeps_span = True

    def __init__(self, bound=1.0):
        self.bound = bound

    def shrink(self, eigenvalues, step):
        clipped = np.maximum(eigenvalues, 0)
        if clipped.sum() <= self.bound:
            return Shrinkage(clipped, (eigenvalues >= 0).astype(float))
        # The projection on a simplex, Duchi et al., ICML 2008.
        falling = eigenvalues[::-1]
        excess = (np.cumsum(falling) - self.bound) / np.arange(1, len(falling) + 1)
        threshold = excess[np.flatnonzero(falling > excess)[-1]]
        slope = (eigenvalues > threshold).astype(float)
        return Shrinkage(
            np.maximum(eigenvalues - threshold, 0), slope, slope / np.sqrt(slope.sum())
        )

    def expression(self, matrix):
        return 0.0, [matrix >> 0, cvxpy.trace(matrix) <= self.bound]
