"""Samples as networks read them: in parts, encoded if they are a table, and scaled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import pairwise
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from torch import nn

from metricalign._arrays import batches, is_dask_array, stand_in
from metricalign._estimator import validate_data
from metricalign.features import PiecewiseLinearEncoder
from metricalign.features.columns import is_categorical

__all__ = [
    "columns_of",
    "encoder_of",
    "images_of",
    "location_and_scales",
    "missing_values_explained",
    "number_columns",
    "read_batch",
    "validate_samples",
]

# Rows that are read and mapped at a time outside training.
_ROWS_AT_A_TIME = 4096


def read_batch(X: Any, rows: NDArray | slice) -> NDArray:
    """Rows of an array, in memory and dense.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        In memory, memory-mapped, in chunks or sparse.
    rows : ndarray of int or slice
        Which rows.

    Returns
    -------
    batch : ndarray of shape (n_rows, n_features)
        The rows, float32 and float64 as they are, other numbers as float64.

    Raises
    ------
    ValueError
        If the numbers are complex.
    """
    batch = X[rows]
    batch = batch.toarray() if sparse.issparse(batch) else np.asarray(batch)
    if np.iscomplexobj(batch):
        raise ValueError(f"X has complex numbers, of type {batch.dtype}; expected real ones.")
    return batch if batch.dtype == np.float32 else batch.astype(np.float64, copy=False)


def encoder_of(X: Any) -> PiecewiseLinearEncoder | None:
    """Fitted encoder of samples with categories or missing values; None for all others.

    Parameters
    ----------
    X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    encoder : PiecewiseLinearEncoder or None
    """
    is_read_in_parts = is_dask_array(X) or hasattr(type(X), "chunks") or isinstance(X, np.memmap)
    if sparse.issparse(X) or is_read_in_parts:
        return None
    is_table = hasattr(X, "columns") and any(is_categorical(dtype) for dtype in X.dtypes)
    if not is_table:
        array = np.asarray(X)
        is_table = array.dtype.kind in "OSTU"
        is_table |= array.dtype.kind == "f" and bool(np.isnan(array).any())
    encoder = PiecewiseLinearEncoder(n_bins=1).set_output(transform="default")
    return encoder.fit(X) if is_table else None


def number_columns(n_features: int, encoder: PiecewiseLinearEncoder | None) -> NDArray:
    """Columns of what the network gets that are numbers, no indicators.

    Parameters
    ----------
    n_features : int
        How many columns there are.
    encoder : PiecewiseLinearEncoder or None
        What has encoded them.

    Returns
    -------
    columns : ndarray of int
    """
    if encoder is None:
        return np.arange(n_features)
    blocks = zip(encoder.blocks_, encoder.edges_, strict=True)
    return np.array(
        [block.start for block, edges in blocks if edges is not None and len(edges) > 1], dtype=int
    )


def columns_of(encoder: PiecewiseLinearEncoder) -> NDArray:
    """Column of the table that each column of its encoding is of.

    Parameters
    ----------
    encoder : PiecewiseLinearEncoder
        Fitted encoder.

    Returns
    -------
    columns : ndarray of int of shape (n_encoded,)
    """
    columns = np.empty(len(encoder.scale_), dtype=int)
    for number, block in enumerate(encoder.blocks_):
        columns[block] = number
    return columns


def validate_samples(
    estimator: Any,
    X: Any,
    encoder: PiecewiseLinearEncoder | None,
    reset: bool,
    **options: Any,
) -> Any:
    """Samples that are checked, as `read_batch` takes them.

    Parameters
    ----------
    estimator : estimator
        Whose samples they are.
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        Samples.
    encoder : PiecewiseLinearEncoder or None
        Encodes them.
    reset : bool
        Whether they say how many features there are, and their names.
    **options
        Options of `sklearn.utils.validation.validate_data`.

    Returns
    -------
    X : array of shape (n_samples, n_features)
        In memory, memory-mapped, in chunks or sparse.

    Raises
    ------
    ValueError
        If they are not valid.
    """
    if encoder is not None:
        encoded = encoder.transform(X)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return encoded
    with missing_values_explained(estimator, is_fit=reset):
        return _validate_numbers(estimator, X, reset, options)


@contextmanager
def missing_values_explained(estimator: Any, is_fit: bool) -> Iterator[None]:
    """Say which missing values are taken, where scikit-learn would say that none are.

    Parameters
    ----------
    estimator : estimator
        Whose samples they are.
    is_fit : bool
        Whether it is being fitted to them.

    Raises
    ------
    ValueError
        In place of the error of scikit-learn.
    """
    try:
        yield
    except ValueError as error:
        if "contains NaN" not in str(error):
            raise
        name = type(estimator).__name__
        raise ValueError(
            f"X contains NaN. {name} takes missing values of dense samples in memory alone. Impute "
            "them."
            if is_fit
            else f"X contains NaN, and the samples that {name} was fitted to did not. Impute "
            "missing values, or fit it to samples that have some."
        ) from error


def _validate_numbers(estimator, X, reset, options):
    """Samples that are numbers without missing ones."""
    if is_dask_array(X):
        # An array of its shape stands for X; the entries are checked as they are computed.
        options |= {"dtype": None, "ensure_all_finite": False}
        validate_data(estimator, stand_in(X), reset=reset, **options)
        return _on_disk(X, estimator)
    if not (isinstance(X, np.memmap) or hasattr(type(X), "chunks")):
        return validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            **options,
        )
    # The checks of scikit-learn batch by batch, since the whole may not fit into memory.
    for rows in batches(X.shape[0], _ROWS_AT_A_TIME):
        check_array(read_batch(X, rows), input_name="X", copy=False, estimator=estimator)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return X


def _on_disk(X, estimator) -> np.memmap:
    """A Dask array as a temporary file: a batch of random rows would compute all its chunks."""
    with TemporaryFile() as file:
        for start, end in pairwise(np.cumsum([0, *X.chunks[0]])):
            rows = read_batch(X, slice(start, end))
            check_array(rows, input_name="X", ensure_min_samples=0, estimator=estimator)
            rows.tofile(file)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        return np.memmap(file, dtype, "r", shape=X.shape)


def location_and_scales(X: Any) -> tuple[NDArray, NDArray, float]:
    """Means and standard deviations of the features, and the root of their mean variance.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.

    Returns
    -------
    location, scales : ndarray of shape (n_features,)
        The scale of a feature that is constant is 1.
    scale : float
        One for all.

    Raises
    ------
    ValueError
        If the samples are identical, or too large.
    """
    scaler = StandardScaler()
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in batches(X.shape[0], _ROWS_AT_A_TIME):
            scaler.partial_fit(read_batch(X, rows))
    scale = float(np.sqrt(scaler.var_.mean()))
    if not 0 < scale < np.inf:
        raise ValueError(
            "All samples are identical in X, or differ so little that their squares vanish, so no "
            "distance can be learned from them. Scale X if they differ."
            if scale == 0
            else "X has entries so large that their squares overflow. Scale X."
        )
    return scaler.mean_, scaler.scale_, scale


@torch.no_grad()
def images_of(
    X: Any,
    module: nn.Module,
    offset: NDArray | float,
    scale: NDArray | float,
    n_components: int,
    device: torch.device,
) -> NDArray:
    """What a network makes of samples.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.
    module : torch.nn.Module
        Returns a list of layers, the images last. A copy of it computes.
    offset, scale : ndarray of shape (n_features,) or float
        The network gets ``(X - offset) / scale``.
    n_components : int
        Dimension of the images.
    device : torch.device
        Where to compute.

    Returns
    -------
    images : ndarray of shape (n_samples, n_components)
        In float32 for samples in float32, else in float64.
    """
    dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    module = deepcopy(module).to(device, getattr(torch, dtype.name))
    images = np.empty((X.shape[0], n_components), dtype)
    for start in range(0, X.shape[0], _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        batch = (read_batch(X, rows) - offset) / scale
        batch = torch.from_numpy(batch.astype(dtype, copy=False)).to(device)
        images[rows] = module(batch)[-1].cpu().numpy()
    return images
