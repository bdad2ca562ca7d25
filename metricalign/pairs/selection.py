"""The result of a strategy: pairs and their weights."""

from typing import NamedTuple

import numpy as np

__all__ = ["PairSelection"]


class PairSelection(NamedTuple):
    """Pairs of samples and their weights.

    Parameters
    ----------
    indices : ndarray of shape (n_pairs, 2), dtype intp
        The two samples of each pair, the smaller index first. The rows are unique and in
        lexicographic order.
    weights : ndarray of shape (n_pairs,), dtype float64
        The weight of each pair.
    """

    indices: np.ndarray
    weights: np.ndarray


def merge_directions(
    anchor: np.ndarray, neighbor: np.ndarray, weight: np.ndarray, n_samples: int
) -> PairSelection:
    """Merge (i, j) and (j, i) into one pair, whose weight is the sum of their weights.

    Parameters
    ----------
    anchor, neighbor : ndarray of int of shape (n_found,)
        Indices of the samples of each pair.
    weight : ndarray of shape (n_found,)
        Weight of each pair.
    n_samples : int
        Number of samples.

    Returns
    -------
    selection : PairSelection
        The merged pairs, in lexicographic order.
    """
    key = np.minimum(anchor, neighbor).astype(np.int64) * n_samples + np.maximum(anchor, neighbor)
    key, inverse = np.unique(key, return_inverse=True)
    return PairSelection(split_key(key, n_samples), np.bincount(inverse, weights=weight))


def split_key(key: np.ndarray, n_samples: int) -> np.ndarray:
    """Turn numbers i n_samples + j into pairs (i, j)."""
    return np.column_stack(np.divmod(key, n_samples)).astype(np.intp, copy=False)


def no_pairs(n_samples: int, reason: str = "") -> ValueError:
    """Make the error for samples without any pair."""
    return ValueError(
        f"No pairs can be formed from n_samples={n_samples}: {reason}a pair needs two samples "
        "with different features. Give more samples, or check that the features vary."
    )
