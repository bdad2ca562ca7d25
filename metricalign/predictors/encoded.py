"""The encoded rows of a table, of which not all are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from metricalign._arrays import batches
from metricalign.features import PiecewiseLinearEncoder
from metricalign.features.piecewise_linear import ENTRIES_OF_BATCH

__all__ = ["EncodedRows", "encoded_batches"]

# Largest encoding that is kept in memory, 256 MB.
_ENTRIES_KEPT = 2**25


class EncodedRows:
    """Rows of a table that are encoded when they are asked for; all at once if there are few.

    Parameters
    ----------
    encoder : PiecewiseLinearEncoder
        The fitted encoder.
    X : array-like or DataFrame of shape (n_samples, n_features)
        The table.
    """

    def __init__(self, encoder: PiecewiseLinearEncoder, X: Any):
        self.encoder = encoder
        self.X = X
        is_kept = len(X) * encoder.linear_map_.shape[1] <= _ENTRIES_KEPT
        self._encoding = encoder.transform(X) if is_kept else None

    def __getitem__(self, rows: NDArray | slice) -> NDArray:
        """The encoding of some rows, of shape (n_rows, n_columns)."""
        if self._encoding is not None:
            return self._encoding[rows]
        return np.asarray(self.encoder.transform(_safe_indexing(self.X, rows)))


def encoded_batches(n_samples: int, n_columns: int) -> Iterator[slice]:
    """Slices of samples whose encoding is made at a time."""
    return batches(n_samples, max(1, ENTRIES_OF_BATCH // n_columns))
