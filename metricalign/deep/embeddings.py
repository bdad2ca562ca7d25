"""Embeddings of the columns of a table, which are the input of the first layer of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn.functional import relu

from metricalign.features import PiecewiseLinearEncoder

__all__ = [
    "EMBEDDINGS",
    "Embedding",
    "NormalScores",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "column_pieces",
]

# Number of pieces of a column for normal scores.
_N_SCORES = 100

# Standard deviation of the frequencies at the start. Of .044, .2 and .5 this is the best one on
# california_housing.
_FREQUENCY_SCALE = 0.2


class NormalScores(nn.Module):
    r"""Map each column of numbers to normal scores, so that it has a normal distribution.

    The edges of a column become the scores :math:`\Phi^{-1}(F)`, where F is the share of smaller
    values plus half the share of equal ones. The map is linear between the edges, and beyond them.
    Other columns stay as they are.

    Parameters
    ----------
    edges : sequence of ndarray of shape (n_edges,) or None
        Ascending edges of each column of numbers, at least two, such as those of
        `metricalign.features.PiecewiseLinearEncoder`. None for other columns.
    shares : sequence of ndarray of shape (n_edges,) or None
        Share of the samples that are smaller than each edge, between 0 and 1. None for other
        columns.
    """

    numbers: Tensor
    edges: Tensor
    scores: Tensor
    n_pieces: Tensor

    def __init__(self, edges: Sequence[NDArray | None], shares: Sequence[NDArray | None]):
        super().__init__()
        numbers = [number for number, ends in enumerate(edges) if ends is not None]
        known: list[Any] = [ends for ends in edges if ends is not None]
        n_edges = max(map(len, known), default=2)
        # Columns with fewer edges repeat the last one. The repeated edges have no pieces.
        padded = np.array([_padded(ends, n_edges) for ends in known])
        scores = np.array(
            [_padded(norm.ppf(share), n_edges) for share in shares if share is not None]
        )
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.long))
        self.register_buffer("edges", torch.tensor(padded.reshape(-1, n_edges)).float())
        self.register_buffer("scores", torch.tensor(scores.reshape(-1, n_edges)).float())
        n_pieces = [len(ends) - 1 for ends in known]
        self.register_buffer("n_pieces", torch.tensor(n_pieces, dtype=torch.long)[:, None])

    def forward(self, X: Tensor) -> Tensor:
        """Return the scores, of shape (n_samples, n_features)."""
        columns = X[:, self.numbers].T.contiguous()
        piece = torch.searchsorted(self.edges, columns).clamp_min(1)
        piece = torch.minimum(piece, self.n_pieces)
        low, high = self.edges.gather(1, piece - 1), self.edges.gather(1, piece)
        from_, to = self.scores.gather(1, piece - 1), self.scores.gather(1, piece)
        # Edges that are equal in single precision have no piece between them.
        width = (high - low).where(high > low, 1)
        scores = from_ + (columns - low) * (to - from_) / width
        return X.index_copy(1, self.numbers, scores.T)


class PiecewiseLinearEmbedding(nn.Module):
    """Encode each column of numbers by the pieces of its range, as `PiecewiseLinearEncoder` does.

    Other columns stay as they are.

    Parameters
    ----------
    edges : sequence of ndarray of shape (n_edges,) or None
        Ascending edges of each column of numbers, at least two. None for other columns.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko. "On Embeddings for Numerical Features in Tabular Deep
    Learning". NeurIPS 2022, section 3.2.
    """

    columns: Tensor
    starts: Tensor
    widths: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, edges: Sequence[NDArray | None]):
        super().__init__()
        columns: list[int] = []
        starts: list[float] = []
        widths: list[float] = []
        is_first: list[bool] = []
        is_last: list[bool] = []
        for number, ends in enumerate(edges):
            n_pieces = 1 if ends is None else len(ends) - 1
            columns += [number] * n_pieces
            starts += [0.0] if ends is None else ends[:-1].tolist()
            widths += [1.0] if ends is None else np.diff(ends).tolist()
            # The first and the last piece go on beyond the ends.
            is_first += [piece == 0 for piece in range(n_pieces)]
            is_last += [piece == n_pieces - 1 for piece in range(n_pieces)]
        self.n_outputs = len(columns)
        self.register_buffer("columns", torch.tensor(columns))
        self.register_buffer("starts", torch.tensor(starts))
        self.register_buffer("widths", torch.tensor(widths))
        low, high = torch.zeros(self.n_outputs), torch.ones(self.n_outputs)
        self.register_buffer("low", low.masked_fill(torch.tensor(is_first), -torch.inf))
        self.register_buffer("high", high.masked_fill(torch.tensor(is_last), torch.inf))

    def forward(self, X: Tensor) -> Tensor:
        """Return the encoding, of shape (n_samples, n_outputs)."""
        pieces = (X[:, self.columns] - self.starts) / self.widths
        return torch.minimum(torch.maximum(pieces, self.low), self.high)


class PeriodicEmbedding(nn.Module):
    r"""Map each column of numbers to waves of trained frequencies, a linear layer and ReLU.

    A column x becomes

    .. math::
        \max(0, A [\cos(2 \pi c_1 x), \ldots, \cos(2 \pi c_k x),
        \sin(2 \pi c_1 x), \ldots, \sin(2 \pi c_k x)] + b)

    with its own frequencies c, which are drawn from a normal distribution at the start. Columns
    that are not numbers stay as they are.

    Parameters
    ----------
    n_features : int
        Number of columns.
    numbers : sequence of int
        Indices of the columns of numbers. Their variance should be about 1.
    n_frequencies : int, default=48
        Number of frequencies of a column.
    n_units : int, default=24
        Number of rows of A, which is the number of outputs for each column.
    frequency_scale : float, default=0.044
        Standard deviation of the frequencies at the start, in waves per standard deviation.
    is_shared : bool, default=True
        Whether A and b are the same for all columns, as in PLR(lite). This is faster.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko. "On Embeddings for Numerical Features in Tabular Deep
    Learning". NeurIPS 2022, for PLR.

    Y. Gorishniy et al. "TabR: Tabular Deep Learning Meets Nearest Neighbors". ICLR 2024, for
    PLR(lite).
    """

    numbers: Tensor
    others: Tensor

    def __init__(
        self,
        n_features: int,
        numbers: Sequence[int],
        n_frequencies: int = 48,
        n_units: int = 24,
        frequency_scale: float = 0.044,
        is_shared: bool = True,
    ):
        super().__init__()
        others = sorted(set(range(n_features)) - set(numbers))
        self.register_buffer("numbers", torch.tensor(list(numbers), dtype=torch.long))
        self.register_buffer("others", torch.tensor(others, dtype=torch.long))
        n_numbers = len(self.numbers)
        self.n_outputs = n_numbers * n_units + len(others)
        self.frequencies = nn.Parameter(frequency_scale * torch.randn(n_numbers, n_frequencies))
        n_layers = 1 if is_shared else n_numbers
        # torch initialises a linear layer in this way.
        bound = (2 * n_frequencies) ** -0.5
        self.weight = nn.Parameter(
            torch.empty(n_layers, 2 * n_frequencies, n_units).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(n_layers, 1, n_units).uniform_(-bound, bound))

    def forward(self, X: Tensor) -> Tensor:
        """Return the embedding, of shape (n_samples, n_outputs)."""
        # There is one product of matrices for each column.
        angles = 2 * math.pi * self.frequencies[:, None] * X[:, self.numbers].T[..., None]
        waves = torch.cat([angles.cos(), angles.sin()], dim=2)
        units = relu(waves @ self.weight + self.bias)
        embedded = units.transpose(0, 1).flatten(start_dim=1)
        return torch.cat([embedded, X[:, self.others]], dim=1)


class Embedding(NamedTuple):
    """A kind of embedding.

    Attributes
    ----------
    n_bins : int or "auto"
        Number of pieces of a column, as in `PiecewiseLinearEncoder`.
    build : callable
        Takes the edges of the columns and the shares of smaller samples. Returns the module and the
        number of its outputs.
    """

    n_bins: int | Literal["auto"]
    build: Callable[[Sequence[NDArray | None], Sequence[NDArray | None]], tuple[nn.Module, int]]


def column_pieces(
    columns: NDArray, n_bins: int | Literal["auto"]
) -> tuple[list[NDArray | None], list[NDArray | None]]:
    """Return the edges of the pieces of columns of numbers, and the shares of smaller samples.

    Parameters
    ----------
    columns : ndarray of shape (n_samples, n_columns)
        The columns.
    n_bins : int or "auto"
        Number of pieces of a column. There may be fewer if values repeat.

    Returns
    -------
    edges : list of ndarray of shape (n_edges,) or None
        Ascending edges. None for a column that does not vary.
    shares : list of ndarray of shape (n_edges,) or None
        Share of the samples that are smaller than each edge, plus half of those equal to it.
    """
    encoder = PiecewiseLinearEncoder(n_bins=n_bins).fit(columns)
    edges = [ends if len(ends) > 1 else None for ends in encoder.edges_]
    shares: list[NDArray | None] = []
    n_samples = len(columns)
    for ends, column in zip(edges, np.sort(columns, axis=0).T, strict=True):
        if ends is None:
            shares.append(None)
            continue
        n_smaller = np.searchsorted(column, ends, side="left")
        n_no_larger = np.searchsorted(column, ends, side="right")
        share = (n_smaller + n_no_larger) / (2 * n_samples)
        shares.append(np.clip(share, 0.5 / n_samples, 1 - 0.5 / n_samples))
    return edges, shares


def _normal_scores(edges, shares) -> tuple[nn.Module, int]:
    return NormalScores(edges, shares), len(edges)


def _periodic(edges, shares, is_shared) -> tuple[nn.Module, int]:
    scores = NormalScores(edges, shares)
    waves = PeriodicEmbedding(
        len(edges),
        scores.numbers.tolist(),
        frequency_scale=_FREQUENCY_SCALE,
        is_shared=is_shared,
    )
    return nn.Sequential(scores, waves), waves.n_outputs


def _piecewise_linear(edges, shares) -> tuple[nn.Module, int]:
    embedding = PiecewiseLinearEmbedding(edges)
    return embedding, embedding.n_outputs


EMBEDDINGS: dict[str, Embedding] = {
    "normal_scores": Embedding(_N_SCORES, _normal_scores),
    "piecewise_linear": Embedding("auto", _piecewise_linear),
    "plr": Embedding(_N_SCORES, partial(_periodic, is_shared=False)),
    "plr_lite": Embedding(_N_SCORES, partial(_periodic, is_shared=True)),
}
"""The embeddings by name."""


def _padded(values, n_values) -> NDArray:
    return np.append(values, np.repeat(values[-1], n_values - len(values)))
