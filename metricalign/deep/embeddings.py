"""What becomes of the columns of a table before the first layer of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn.functional import relu

from metricalign.deep.batches import AlignmentData
from metricalign.features import PiecewiseLinearEncoder

__all__ = [
    "EMBEDDINGS",
    "ColumnPieces",
    "NormalScores",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
]

# Samples from which the pieces of the columns are learned, and pieces of normal scores.
_N_ROWS, _N_SCORES = 20_000, 100

# Standard deviation of frequencies at the start: of .044, .2 and .5 best on california_housing.
_FREQUENCY_SCALE = 0.2


class NormalScores(nn.Module):
    r"""Each number by the normal score of its rank, so that it has a normal distribution.

    The edges of a column become the scores :math:`\Phi^{-1}(F)` of the shares F of smaller values,
    those of equal values counting one half; between them, and beyond, the map is linear. Other
    columns stay as they are.

    Parameters
    ----------
    edges : sequence of ndarray of shape (n_edges,) or None
        Ascending edges of each column of numbers, two at least, such as
        `metricalign.features.PiecewiseLinearEncoder` finds; None for other columns.
    shares : sequence of ndarray of shape (n_edges,) or None
        Share of the samples that are smaller than each edge, between 0 and 1.
    """

    numbers: Tensor
    edges: Tensor
    scores: Tensor
    n_pieces: Tensor

    def __init__(self, edges: Sequence[NDArray | None], shares: Sequence[NDArray | None]):
        super().__init__()
        known = [number for number, ends in enumerate(edges) if ends is not None]
        n_edges = max((len(edges[number]) for number in known), default=2)
        # Columns of fewer edges repeat the last one, before which no piece begins.
        padded = np.array([_padded(edges[number], n_edges) for number in known])
        scores = np.array([_padded(norm.ppf(shares[number]), n_edges) for number in known])
        self.register_buffer("numbers", torch.tensor(known, dtype=torch.long))
        self.register_buffer("edges", torch.tensor(padded.reshape(-1, n_edges)).float())
        self.register_buffer("scores", torch.tensor(scores.reshape(-1, n_edges)).float())
        n_pieces = [len(edges[number]) - 1 for number in known]
        self.register_buffer("n_pieces", torch.tensor(n_pieces, dtype=torch.long)[:, None])

    def forward(self, X: Tensor) -> Tensor:
        """Scores of shape (n_samples, n_features)."""
        columns = X[:, self.numbers].T.contiguous()
        piece = torch.searchsorted(self.edges, columns).clamp_min(1)
        piece = torch.minimum(piece, self.n_pieces)
        low, high = self.edges.gather(1, piece - 1), self.edges.gather(1, piece)
        from_, to = self.scores.gather(1, piece - 1), self.scores.gather(1, piece)
        # Edges that are equal in this precision have no piece between them.
        width = (high - low).where(high > low, 1)
        scores = from_ + (columns - low) * (to - from_) / width
        return X.index_copy(1, self.numbers, scores.T)


class PiecewiseLinearEmbedding(nn.Module):
    """Each number by the pieces of its range, as `PiecewiseLinearEncoder` encodes it.

    Other columns stay as they are.

    Parameters
    ----------
    edges : sequence of ndarray of shape (n_edges,) or None
        Ascending edges of each column of numbers, two at least; None for other columns.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko. "On Embeddings for Numerical Features in Tabular Deep
    Learning". NeurIPS 2022, section 3.2.
    """

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
            # Linear beyond the ends.
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
        """Encoding of shape (n_samples, n_outputs)."""
        pieces = (X[:, self.columns] - self.starts) / self.widths
        return torch.minimum(torch.maximum(pieces, self.low), self.high)


class PeriodicEmbedding(nn.Module):
    r"""Each number by waves of trained frequencies, then a linear layer and ReLU.

    A column x becomes

    .. math::
        \max(0, A [\cos(2 \pi c_1 x), \ldots, \cos(2 \pi c_k x),
        \sin(2 \pi c_1 x), \ldots, \sin(2 \pi c_k x)] + b)

    with frequencies c of its own, drawn from a normal distribution. Columns that are not numbers
    stay as they are.

    Parameters
    ----------
    n_features : int
        Number of columns.
    numbers : sequence of int
        Columns that are numbers, of variance about 1.
    n_frequencies : int, default=48
        Frequencies of a column.
    n_units : int, default=24
        Rows of A: what a column becomes.
    frequency_scale : float, default=0.044
        Standard deviation of the frequencies at the start, in waves per standard deviation.
    is_shared : bool, default=True
        Whether A and b are the same for all columns, which is faster: PLR(lite).

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko. "On Embeddings for Numerical Features in Tabular Deep
    Learning". NeurIPS 2022: PLR; PLR(lite) is that of "TabR: Tabular Deep Learning Meets Nearest
    Neighbors", ICLR 2024, by the same and others.
    """

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
        # As torch initialises a linear layer.
        bound = (2 * n_frequencies) ** -0.5
        self.weight = nn.Parameter(
            torch.empty(n_layers, 2 * n_frequencies, n_units).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(n_layers, 1, n_units).uniform_(-bound, bound))

    def forward(self, X: Tensor) -> Tensor:
        """Embedding of shape (n_samples, n_outputs)."""
        # Column by column, which is one product of matrices for each.
        angles = 2 * math.pi * self.frequencies[:, None] * X[:, self.numbers].T[..., None]
        waves = torch.cat([angles.cos(), angles.sin()], dim=2)
        units = relu(waves @ self.weight + self.bias)
        embedded = units.transpose(0, 1).flatten(start_dim=1)
        return torch.cat([embedded, X[:, self.others]], dim=1)


class ColumnPieces:
    """Pieces of the columns of numbers of the samples that a network gets.

    Parameters
    ----------
    data : AlignmentData
        The samples.
    numbers : ndarray of int
        Columns that are numbers.
    random_state : RandomState
        Draws the samples that are looked at.
    """

    def __init__(self, data: AlignmentData, numbers: NDArray, random_state: np.random.RandomState):
        n_samples, self.n_features = data.X.shape
        self.numbers = numbers
        rows = np.sort(random_state.permutation(n_samples)[:_N_ROWS])
        self.columns = data.samples(rows).cpu().numpy()[:, numbers].astype(np.float64)

    def edges(self, n_bins: int | str) -> list[NDArray | None]:
        """Edges of each feature; None for those that do not vary or are no numbers."""
        encoder = PiecewiseLinearEncoder(n_bins=n_bins).fit(self.columns)
        edges: list[NDArray | None] = [None] * self.n_features
        for number, ends in zip(self.numbers, encoder.edges_, strict=True):
            edges[number] = ends if len(ends) > 1 else None
        return edges

    def shares(self, edges: Sequence[NDArray | None]) -> list[NDArray | None]:
        """Share of the samples that are smaller than each edge, plus half of those equal to it."""
        shares: list[NDArray | None] = [None] * self.n_features
        n_samples = len(self.columns)
        for number, column in zip(self.numbers, np.sort(self.columns, axis=0).T, strict=True):
            ends = edges[number]
            if ends is not None:
                smaller = np.searchsorted(column, ends, side="left")
                no_larger = np.searchsorted(column, ends, side="right")
                share = (smaller + no_larger) / (2 * n_samples)
                shares[number] = np.clip(share, 0.5 / n_samples, 1 - 0.5 / n_samples)
        return shares


def _normal_scores(pieces) -> tuple[nn.Module, int]:
    edges = pieces.edges(_N_SCORES)
    return NormalScores(edges, pieces.shares(edges)), pieces.n_features


def _periodic(pieces, is_shared) -> tuple[nn.Module, int]:
    scores, n_features = _normal_scores(pieces)
    numbers = scores.numbers.tolist()
    waves = PeriodicEmbedding(
        n_features, numbers, frequency_scale=_FREQUENCY_SCALE, is_shared=is_shared
    )
    return nn.Sequential(scores, waves), waves.n_outputs


def _piecewise_linear(pieces) -> tuple[nn.Module, int]:
    embedding = PiecewiseLinearEmbedding(pieces.edges("auto"))
    return embedding, embedding.n_outputs


EMBEDDINGS: dict[str, Callable[[ColumnPieces], tuple[nn.Module, int]]] = {
    "normal_scores": _normal_scores,
    "piecewise_linear": _piecewise_linear,
    "plr": partial(_periodic, is_shared=False),
    "plr_lite": partial(_periodic, is_shared=True),
}
"""What makes an embedding, and the number of its outputs, by name."""


def _padded(values, n_values) -> NDArray:
    return np.append(values, np.repeat(values[-1], n_values - len(values)))
