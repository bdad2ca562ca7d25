"""The encoded rows of a table, of which not all are in memory at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from metricalign.features import PiecewiseLinearEncoder

__all__ = ["ENTRIES_OF_BATCH", "EncodedRows"]

# Largest encoding that is kept in memory, 256 MB, and that is made at a time.
_ENTRIES_KEPT, ENTRIES_OF_BATCH = 2**25, 2**22


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
