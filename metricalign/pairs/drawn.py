"""Pairs that do not depend on distances: random pairs, and all pairs."""

from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from metricalign._memory import machine_memory
from metricalign.pairs.identical import first_identical
from metricalign.pairs.selection import PairSelection, no_pairs, split_key
from metricalign.pairs.strategy import PairStrategy

__all__ = ["AllPairs", "RandomPairs"]

# Largest memory in use while pairs are listed, sorted and weighted, measured by tracemalloc.
_BYTES_PER_PAIR = 48

# Random pairs per sample: as many as the default nearest neighbours.
_RANDOM_PAIRS_PER_SAMPLE = 5


class _DistinctPairs:
    """All pairs of samples with different features, numbered from 0 without a list of them.

    The samples are ordered so that identical ones are next to each other. Each sample is paired
    with all samples after its group.
    """

    def __init__(self, X):
        rows = first_identical(X)
        self.order = np.argsort(rows, kind="stable")
        ordered = rows[self.order]
        n_partners = rows.size - np.searchsorted(ordered, ordered, side="right")
        self.ends = np.cumsum(n_partners, dtype=np.int64)
        self.n_pairs = int(self.ends[-1])
        if self.n_pairs == 0:
            raise no_pairs(rows.size)

    def select(self, numbers, weight) -> PairSelection:
        """Return the pairs with these numbers, each with the product of its samples' weights."""
        n_samples = weight.size
        first = np.searchsorted(self.ends, numbers, side="right")
        second = self.order[n_samples - (self.ends[first] - numbers)]
        first = self.order[first]
        key = np.minimum(first, second).astype(np.int64) * n_samples + np.maximum(first, second)
        del first, second
        key.sort()
        indices = split_key(key, n_samples)
        return PairSelection(indices, weight[indices[:, 0]] * weight[indices[:, 1]])


class RandomPairs(PairStrategy):
    """Choose different pairs of samples at random, all with the same probability.

    Two samples with identical features are not a pair. The memory grows with the number of chosen
    pairs, not with the number of all pairs.

    Parameters
    ----------
    n_pairs : int, default=None
        The number of pairs. None: five times the number of samples. If there are fewer pairs, all
        are chosen.

    Notes
    -----
    The weight of a pair is the product of the weights of its two samples.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import RandomPairs
    >>> X = np.arange(1000.0).reshape(-1, 1)
    >>> indices, weights = RandomPairs(n_pairs=3).select(X, random_state=0)
    >>> indices.shape, weights
    ((3, 2), array([1., 1., 1.]))
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_pairs": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, n_pairs: int | None = None):
        self.n_pairs = n_pairs

    def _select(self, X, y, weight, random_state) -> PairSelection:
        n_samples = X.shape[0]
        pairs = _DistinctPairs(X)
        wanted = _RANDOM_PAIRS_PER_SAMPLE * n_samples if self.n_pairs is None else self.n_pairs
        _check_memory(min(wanted, pairs.n_pairs), n_samples)
        numbers = _distinct_integers(pairs.n_pairs, wanted, check_random_state(random_state))
        return pairs.select(np.sort(numbers), weight)


def _distinct_integers(
    n_available: int, n_wanted: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Draw `n_wanted` integers below `n_available`. All sets have the same probability."""
    if n_wanted >= n_available:
        return np.arange(n_available)
    if 2 * n_wanted > n_available:
        return random_state.permutation(n_available)[:n_wanted]
    numbers = np.empty(0, dtype=np.int64)
    while numbers.size < n_wanted:
        n_more = int(1.1 * (n_wanted - numbers.size)) + 10
        more = random_state.randint(n_available, size=n_more, dtype=np.int64)
        numbers = np.sort(np.concatenate([numbers, more]))  # np.unique hashes, which is slower
        numbers = numbers[np.diff(numbers, prepend=-1) > 0]
    # The surplus is dropped at random: dropping the end would favour small numbers.
    return random_state.permutation(numbers)[:n_wanted]


class AllPairs(PairStrategy):
    """Take every pair of samples.

    Samples with identical features are not a pair. For small data only: n samples have
    n (n - 1) / 2 pairs.

    Notes
    -----
    The weight of a pair is the product of the weights of its two samples.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import AllPairs
    >>> indices, weights = AllPairs().select(np.array([[0.0], [1.0], [3.0]]))
    >>> indices
    array([[0, 1],
           [0, 2],
           [1, 2]])
    >>> weights
    array([1., 1., 1.])
    """

    _parameter_constraints: ClassVar[dict] = {}

    def _select(self, X, y, weight, random_state) -> PairSelection:
        pairs = _DistinctPairs(X)
        _check_memory(pairs.n_pairs, X.shape[0])
        return pairs.select(np.arange(pairs.n_pairs), weight)


def _check_memory(n_pairs: int, n_samples: int) -> None:
    """Refuse to list more pairs than the machine has memory for."""
    needed, available = n_pairs * _BYTES_PER_PAIR, machine_memory()
    if needed > available:
        raise MemoryError(
            f"The {n_pairs:,} pairs of n_samples={n_samples} need about "
            f"{needed / 2**30:,.1f} GiB and this machine has {available / 2**30:,.1f} GiB. "
            "Use RandomPairs(n_pairs=...) with a smaller number, or NearestPairs() instead."
        )
