"""Samples for networks: they are read in parts, encoded if they are a table, and scaled."""

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

# Outside training, so many rows are read and mapped at a time, which limits the memory.
_ROWS_AT_A_TIME = 4096


def read_batch(X: Any, rows: NDArray | slice) -> NDArray:
    """Return rows of an array, in memory and dense.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        An array in memory, memory-mapped, in chunks or sparse.
    rows : ndarray of int or slice
        Indices of the rows.

    Returns
    -------
    batch : ndarray of shape (n_rows, n_features)
        The rows. float32 stays float32, and all other numbers become float64.

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
    """Return a fitted encoder of samples with categories or missing values.

    Parameters
    ----------
    X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    encoder : PiecewiseLinearEncoder or None
        None if the samples are numbers without missing values.
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
    """Return the columns of numbers in the input of a network. All others are indicators.

    Parameters
    ----------
    n_features : int
        Number of columns of the input.
    encoder : PiecewiseLinearEncoder or None
        Fitted encoder of the table. None: all columns are numbers.

    Returns
    -------
    columns : ndarray of int of shape (n_numbers,)
        Indices of the columns.
    """
    if encoder is None:
        return np.arange(n_features)
    blocks = zip(encoder.blocks_, encoder.edges_, strict=True)
    return np.array(
        [block.start for block, edges in blocks if edges is not None and len(edges) > 1], dtype=int
    )


def columns_of(encoder: PiecewiseLinearEncoder) -> NDArray:
    """Return for each column of the encoding the column of the table that it encodes.

    Parameters
    ----------
    encoder : PiecewiseLinearEncoder
        Fitted encoder.

    Returns
    -------
    columns : ndarray of int of shape (n_encoded,)
        Indices of the columns of the table.
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
    """Check samples, and return them as an array that `read_batch` takes.

    Parameters
    ----------
    estimator : estimator
        The estimator that was given the samples.
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        Samples.
    encoder : PiecewiseLinearEncoder or None
        Fitted encoder of the samples, if they are encoded.
    reset : bool
        Whether to set the number of features and their names. If not, they are checked.
    **options
        Options of `sklearn.utils.validation.validate_data`.

    Returns
    -------
    X : array of shape (n_samples, n_features)
        An array in memory, memory-mapped, in chunks or sparse.

    Raises
    ------
    ValueError
        If the samples are not valid.
    """
    if encoder is not None:
        encoded = encoder.transform(X)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return encoded
    with missing_values_explained(estimator, is_fit=reset):
        return _validate_numbers(estimator, X, reset, options)


@contextmanager
def missing_values_explained(estimator: Any, is_fit: bool) -> Iterator[None]:
    """Replace scikit-learn's error about missing values by one that says which are accepted.

    Parameters
    ----------
    estimator : estimator
        The estimator that was given the samples.
    is_fit : bool
        Whether the estimator is being fitted to them.

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
    """Check samples that are numbers, without missing values."""
    if is_dask_array(X):
        # An array of the shape of X is checked first. Its entries are checked as they are computed.
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
    # scikit-learn checks one batch at a time, since the whole array may not fit into memory.
    for rows in batches(X.shape[0], _ROWS_AT_A_TIME):
        check_array(read_batch(X, rows), input_name="X", copy=False, estimator=estimator)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return X


def _on_disk(X, estimator) -> np.memmap:
    """Write a Dask array to a temporary file, as random rows would compute all its chunks."""
    with TemporaryFile() as file:
        for start, end in pairwise(np.cumsum([0, *X.chunks[0]])):
            rows = read_batch(X, slice(start, end))
            check_array(rows, input_name="X", ensure_min_samples=0, estimator=estimator)
            rows.tofile(file)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        return np.memmap(file, dtype, "r", shape=X.shape)


def location_and_scales(X: Any) -> tuple[NDArray, NDArray, float]:
    """Return means and standard deviations of the features, and the root of their mean variance.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.

    Returns
    -------
    location, scales : ndarray of shape (n_features,)
        Means and standard deviations. The scale of a constant feature is 1.
    scale : float
        One scale for all features, the root of their mean variance.

    Raises
    ------
    ValueError
        If all samples are identical, or their variances are out of the range of numbers.
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
    """Map samples to images by a network.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.
    module : torch.nn.Module
        Returns a list of the outputs of layers, the images last. A copy of it is used.
    offset, scale : ndarray of shape (n_features,) or float
        The network gets ``(X - offset) / scale``.
    n_components : int
        Number of components of the images.
    device : torch.device
        The device on which to compute.

    Returns
    -------
    images : ndarray of shape (n_samples, n_components)
        Images in float32 if the samples are float32, and else in float64.
    """
    dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    module = deepcopy(module).to(device, getattr(torch, dtype.name))
    images = np.empty((X.shape[0], n_components), dtype)
    for rows in batches(X.shape[0], _ROWS_AT_A_TIME):
        batch = (read_batch(X, rows) - offset) / scale
        batch = torch.from_numpy(batch.astype(dtype, copy=False)).to(device)
        images[rows] = module(batch)[-1].cpu().numpy()
    return images
