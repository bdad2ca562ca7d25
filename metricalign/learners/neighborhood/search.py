"""The search for a linear map with a small loss of held-out samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.learners.neighborhood.objective import NeighborhoodObjective

__all__ = ["NeighborhoodSearch"]

# The start is scaled to the best of these root mean squared lengths of the images, on the training
# samples, times this share. With 300 samples, the errors over Euclid's on 8 sets of classes and 7
# of numbers are .856 and .667. With the share 1 they are .874 and .716, and with 1/4 .915 and .651.
_LENGTHS, _SHARE_OF_LENGTH = np.geomspace(0.5, 32.0, 9), 0.5
# Number of samples of a step, and the largest number of candidates, which are at most half of the
# samples. With 1,000 candidates, the error of letter at 18,000 rows is .022 in place of .019, as
# the nearest candidates are farther away.
_SAMPLES_OF_STEP, _LARGEST_NUMBER_OF_CANDIDATES = 256, 2000
# An iteration is a pass over the samples that are not held out, or so many steps if that is less.
_STEPS_OF_ITERATION = 10
# The loss is computed for at most so many held-out samples.
_SAMPLES_OF_VALIDATION = 1000
# A fall is compared with the loss, or with this number if the loss is smaller. A loss near zero
# would fall for ever.
_SMALLEST_LOSS = 0.1
# Decay of the mean of gradients and of the mean of their squares.
_DECAY, _DECAY_OF_SQUARES = 0.9, 0.999


class NeighborhoodSearch:
    """Stochastic gradient steps, until the loss of held-out samples stops falling.

    The steps are those of Adam, but with one mean square for all entries of the gradient. So the
    result does not depend on a rotation of the features.

    Parameters
    ----------
    objective : NeighborhoodObjective
        The objective of all samples.
    start : ndarray of shape (n_components, n_features)
        Start of the search, up to a factor.
    learning_rate : float
        Length of the first step, relative to the norm of the map.
    validation_fraction : float
        Share of the samples to hold out.
    random_state : RandomState
        Draws the held-out samples, and the samples and candidates of each step.

    Attributes
    ----------
    components : ndarray of shape (n_components, n_features)
        The best map so far.
    value : float
        Loss of the held-out samples under the best map.
    n_iter : int
        Number of iterations.

    References
    ----------
    Kingma, Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """

    def __init__(
        self,
        objective: NeighborhoodObjective,
        start: NDArray,
        learning_rate: float,
        validation_fraction: float,
        random_state: Any,
    ):
        self._objective, self._random_state = objective, random_state
        order = _by_distance_from_the_mean(objective.images(start), objective.weight)
        order = random_state.permutation(order)
        n_held_out = min(max(1, int(validation_fraction * len(order))), len(order) - 2)
        self._train = order[n_held_out:]
        candidates = self._train[:_LARGEST_NUMBER_OF_CANDIDATES]
        self._held_out = Neighborhoods(order[:n_held_out][:_SAMPLES_OF_VALIDATION], candidates)
        images = objective.images(start, self._train)
        length = np.sqrt(np.mean(np.sum(images**2, axis=1)))
        factors = _LENGTHS / length
        sample = Neighborhoods(self._train[:_SAMPLES_OF_STEP], candidates)
        best = np.argmin(objective.values(start, factors, sample))
        self._current = start * start.dtype.type(_SHARE_OF_LENGTH * factors[best])
        self._step = learning_rate * np.linalg.norm(self._current)
        self._gradient, self._square = np.zeros_like(self._current), 0.0
        self._n_steps, self._n_iter_of_best = 0, 0
        self.n_iter = 0
        self.components, self.value = self._current, self._loss()

    def iterate(self, tol: float) -> None:
        """Make the steps of an iteration. Keep the map if its loss falls by at least this share."""
        n_train = len(self._train)
        n_candidates = min(max(n_train // 2, 2), _LARGEST_NUMBER_OF_CANDIDATES)
        for _ in range(min(-(-n_train // _SAMPLES_OF_STEP), _STEPS_OF_ITERATION)):
            samples = self._random_state.permutation(self._train)[:_SAMPLES_OF_STEP]
            candidates = self._random_state.permutation(self._train)[:n_candidates]
            self._go(Neighborhoods(samples, candidates))
        self.n_iter += 1
        value = self._loss()
        if self.value - value > tol * max(self.value, _SMALLEST_LOSS):
            self.components, self.value = self._current, value
            self._n_iter_of_best = self.n_iter

    def converged(self, n_iter_no_change: int) -> bool:
        """Whether the loss has not fallen in so many iterations."""
        return self.n_iter - self._n_iter_of_best >= n_iter_no_change

    def _go(self, neighborhoods) -> None:
        _, gradient = self._objective.value_and_gradient(self._current, neighborhoods)
        self._n_steps += 1
        self._gradient = _DECAY * self._gradient + (1 - _DECAY) * gradient
        square = float(np.sum(gradient.astype(np.float64) ** 2))
        self._square = _DECAY_OF_SQUARES * self._square + (1 - _DECAY_OF_SQUARES) * square
        if self._square > 0:
            # This corrects both means for their start at zero.
            size = np.sqrt(self._square / (1 - _DECAY_OF_SQUARES**self._n_steps))
            size *= (1 - _DECAY**self._n_steps) / self._step
            self._current = self._current - self._gradient / self._gradient.dtype.type(size)

    def _loss(self) -> float:
        return self._objective.values(self._current, np.ones(1), self._held_out)[0]


def _by_distance_from_the_mean(images, weight) -> NDArray:
    """Order of the samples that does not depend on a rotation of the features."""
    centred = images - np.average(images, axis=0, weights=weight)
    return np.argsort(np.sum(centred**2, axis=1), kind="stable")
