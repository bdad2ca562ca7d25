"""The search for a map whose neighbours are good for samples that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.learners.neighborhood.objective import NeighborhoodObjective

__all__ = ["NeighborhoodSearch"]

# Root mean squared lengths of the images of which the best for the training samples is chosen, and
# at which share of it the search starts: with 300 samples, error over Euclid's on 8 sets of classes
# and 7 of numbers: .856 and .667; at 1: .874 and .716, at 1/4: .915 and .651.
_LENGTHS, _SHARE_OF_LENGTH = np.geomspace(0.5, 32.0, 9), 0.5
# Samples of a step, and the largest number of candidates, which are half of the samples if fewer:
# with 1,000 candidates the nearest are farther, and letter's error at 18,000 rows .022, not .019.
_SAMPLES_OF_STEP, _LARGEST_NUMBER_OF_CANDIDATES = 256, 2000
# Steps between two looks at the held-out samples: a pass over the others, or so many.
_STEPS_OF_ITERATION = 10
# Held-out samples whose loss is computed.
_SAMPLES_OF_VALIDATION = 1000
# Falls are compared with the loss, or with this where it is nearly zero: there it falls for ever.
_SMALLEST_LOSS = 0.1
# Decay of the means of gradients and of their squares.
_DECAY, _DECAY_OF_SQUARES = 0.9, 0.999


class NeighborhoodSearch:
    """Stochastic gradient steps, as long as they help held-out samples.

    The steps are those of Adam, but with one mean square for all entries of the gradient, so that
    nothing depends on how the features are rotated.

    Parameters
    ----------
    objective : NeighborhoodObjective
        The objective of all samples.
    start : ndarray of shape (n_components, n_features)
        Where to start, up to a factor.
    learning_rate : float
        Length of the first step, over that of the map.
    validation_fraction : float
        Share of the samples to hold out.
    random_state : RandomState
        Draws these, and in each step samples and candidates.

    Attributes
    ----------
    components : ndarray of shape (n_components, n_features)
        The best map so far.
    value : float
        Its loss of the held-out samples.
    n_iter : int
        Iterations, passes over the other samples.

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
        """Make some steps; keep the map if its loss falls by this share."""
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
            # Both means as if all gradients before the first had been like those after it.
            size = np.sqrt(self._square / (1 - _DECAY_OF_SQUARES**self._n_steps))
            size *= (1 - _DECAY**self._n_steps) / self._step
            self._current = self._current - self._gradient / self._gradient.dtype.type(size)

    def _loss(self) -> float:
        return self._objective.values(self._current, np.ones(1), self._held_out)[0]


def _by_distance_from_the_mean(images, weight) -> NDArray:
    """Order of the samples that no rotation of the features changes, so that no draw does."""
    centred = images - np.average(images, axis=0, weights=weight)
    return np.argsort(np.sum(centred**2, axis=1), kind="stable")
