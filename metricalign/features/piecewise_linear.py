"""An encoder of columns by pieces of their range, over which a linear metric is nonlinear."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import TransformerMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
)

from metricalign._arrays import (
    as_dask_array,
    find_missing,
    in_memory,
    is_frame,
    is_of_dask,
    map_rows,
    named_columns,
    stand_in,
    sum_duplicates,
)
from metricalign._decorators import _fit_context
from metricalign._estimator import (
    SavedWithVersion,
    check_sample_weight,
    keeps_last_fit,
    level_of_call,
    validate_data,
)
from metricalign.features.columns import is_categorical, read_column
from metricalign.features.observed import observe, observe_chunks, observe_sparse
from metricalign.features.pieces import (
    edges_of,
    frequent_categories,
    indicators_of,
    pieces_of,
    statistics_of,
    varies,
)

__all__ = ["ENTRIES_OF_BATCH", "PiecewiseLinearEncoder"]

# Of many samples, those who use the encoding make so many entries at a time.
ENTRIES_OF_BATCH = 2**22

# "auto" aims at so many columns of the encoding. Metrics over them are learned in seconds.
_N_ENCODED = 160
# Of 8, 16, 24, 32 and 64 bins, 16 are best for classes, and as good as the others for numbers.
_LARGEST_N_BINS = 16


class PiecewiseLinearEncoder(TransformerMixin, SavedWithVersion):
    r"""Encode every column by the pieces of its range, so that a linear metric can be nonlinear.

    A column of numbers has the edges :math:`e_0 < \ldots < e_k`. They are quantiles of the data, in
    which a frequent value counts as at most one bin. The column becomes the k columns

    .. math::
        z_b(x) = \min(\max(\frac{x - e_{b-1}}{e_b - e_{b-1}}, 0), 1),
        \qquad b = 1, \ldots, k.

    The first of them has no lower, and the last no upper bound. They are centred, and scaled
    together to a total variance of 1. A linear map of them is a curve that depends on x and bends
    at the edges. So a linear metric over encoded features is the distance between sums of such
    curves, one for each column. Since
    :math:`x = e_0 + \sum_b (e_b - e_{b-1}) z_b(x)`, every metric over the columns themselves is
    also a metric over the encoded ones, see `linear_map_`.

    A column of categories becomes indicators of the categories, which are centred and scaled in the
    same way. A missing value (NaN, None or NA) has zeros in these columns, which is the mean of the
    other values. It also has an indicator of its own. By this indicator it is as far from the other
    values as these are from each other on average. A column that does not vary has no encoding.

    Columns of strings and categorical columns of a DataFrame are categories. All other columns are
    numbers, also booleans.

    Parameters
    ----------
    n_bins : int or "auto", default="auto"
        Number of pieces of a column of numbers. There are fewer if values repeat. 1 only
        standardises the column. "auto" is 16, or fewer, but at least 1, if X would have more than
        160 pieces in all.
    min_frequency : float, default=0.01
        Share of the samples that a category needs for a column of its own. All rarer categories
        share one column. A category that fit has not seen is one of these. If no category was rare,
        it has zeros, the mean of all categories. `transform` warns if fit has seen none of the
        categories of a column, since they may be spelled differently.

    Attributes
    ----------
    blocks_ : list of slice of length n_features
        Columns of the encoding for each column of X. The column of missing values is the last.
    edges_ : list of length n_features
        Array of the edges of each column of numbers. None for a column of categories.
    categories_ : list of length n_features
        Array of the categories that have a column of their own, for each column of categories. None
        for a column of numbers.
    rare_categories_ : list of length n_features
        Array of the rarer categories, for each column of categories. None for a column of numbers.
    has_rare_ : ndarray of bool of shape (n_features,)
        Whether rare categories have a column. It follows the columns of the other categories.
    has_missing_ : ndarray of bool of shape (n_features,)
        Whether missing values have a column. It is the last one.
    mean_ : ndarray of shape (n_features_out,)
        Mean of each column of the encoding before it is subtracted, over the samples whose value is
        present.
    scale_ : ndarray of shape (n_features_out,)
        Factor of each column of the encoding.
    linear_map_ : csr_array of shape (n_standardized, n_features_out)
        ``encoding @ linear_map_.T`` are the standardised columns, which an encoder with
        ``n_bins=1`` gives. If a metric over them has `components`, the same metric over the
        encoding has ``components @ linear_map_``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X, if all names are strings.

    Notes
    -----
    A sparse X gives a sparse encoding. The encoding of 0 is subtracted from it, and not the mean,
    so zeros stay zeros, and distances are the same. Each chunk of a Dask array describes a column
    by at most 1,024 values. If there are more, edges, means and scales are approximate.

    References
    ----------
    Gorishniy, Rubachev, Babenko, On Embeddings for Numerical Features in Tabular Deep Learning,
    NeurIPS 2022, section 3.2: piecewise linear encoding.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign import PiecewiseLinearEncoder
    >>> X = np.array([[17.0], [20], [23], [40], [67], [np.nan]])
    >>> encoder = PiecewiseLinearEncoder(n_bins=2).fit(X)
    >>> list(encoder.get_feature_names_out(["age"]))
    ['age: 17 to 23', 'age: 23 to 67', 'age is missing']
    >>> encoder.transform(X).shape
    (6, 3)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_bins": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "min_frequency": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, *, n_bins: int | Literal["auto"] = "auto", min_frequency: float = 0.01):
        self.n_bins = n_bins
        self.min_frequency = min_frequency

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the edges, the categories and the scales.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix, Dask array} of shape (n_samples, n_features)
            Samples. Values may be missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight 2 is the same as having the sample twice, weight 0 as not having it.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        TypeError
            If a column has neither numbers nor strings.
        ValueError
            If an argument is not valid, a number is infinite, or no column varies.
        """
        columns = self._observe(X, sample_weight)
        categorical = [column.values.dtype == object for column in columns]
        n_bins = self.n_bins
        if n_bins == "auto":
            n_varying = sum(
                not is_category and varies(column)
                for column, is_category in zip(columns, categorical, strict=True)
            )
            n_bins = max(1, min(_LARGEST_N_BINS, _N_ENCODED // max(n_varying, 1)))
        self.blocks_: list[slice] = []
        self.edges_: list[Any] = []
        self.categories_: list[Any] = []
        self.rare_categories_: list[Any] = []
        self.has_rare_ = np.zeros(len(columns), dtype=bool)
        self.has_missing_ = np.zeros(len(columns), dtype=bool)
        means, scales, maps, start = [], [], [], 0
        for number, (column, is_category) in enumerate(zip(columns, categorical, strict=True)):
            edges = categories = rare = None
            if is_category:
                categories, rare, has_rare = frequent_categories(column, self.min_frequency)
                self.has_rare_[number] = has_rare
                pieces = indicators_of(column.values, categories, has_rare)[0]
            else:
                edges = edges_of(column, n_bins)
                pieces = pieces_of(column.values, edges)
            missing = column.missing / (column.missing + column.weights.sum())
            self.has_missing_[number] = 0 < missing < 1
            mean, scale, linear_map = statistics_of(pieces, column.weights, missing, edges)
            self.edges_.append(edges)
            self.categories_.append(categories)
            self.rare_categories_.append(rare)
            self.blocks_.append(slice(start, start + len(mean)))
            start += len(mean)
            means.append(mean)
            scales.append(scale)
            maps.append(linear_map)
        if start == 0:
            raise ValueError(
                "No column of X varies, so there is nothing to encode. Check X and sample_weight."
            )
        self.mean_, self.scale_ = np.concatenate(means), np.concatenate(scales)
        self.linear_map_ = sparse.csr_array(sparse.block_diag(maps))
        return self

    def transform(self, X: ArrayLike) -> NDArray | sparse.csr_array:
        """Encode samples.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix, Dask array} of shape (n_samples, n_features)
            Samples. Values may be missing. If the column had no missing value in fit, they are
            encoded as the mean.

        Returns
        -------
        X_new : {ndarray, csr_array} of shape (n_samples, n_features_out)
            The encoding. It is sparse if X is, and float32 if all columns are. If X is a Dask
            array, it is a Dask array that is not yet computed.
        """
        check_is_fitted(self)
        if is_of_dask(X):
            validate_data(self, named_columns(X), reset=False, skip_check_array=True)
            X = as_dask_array(X, lengths=False)
            encode = partial(self._encoded, dtype=None)
            return map_rows(encode, X, self._n_features_out, ensure_all_finite="allow-nan")
        columns, dtype = self._columns_of(X, reset=False)
        if sparse.issparse(columns):
            return self._sparse_encoding(columns)
        return self._encoded(columns, dtype)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Names of the columns of the encoding.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,) or None, default=None
            Names of the columns of X, if X had no names in fit. None takes `feature_names_in_`, or
            x0, x1 and so on.

        Returns
        -------
        feature_names_out : ndarray of str of shape (n_features_out,)
            Names such as "age: 17 to 23", "job: clerk", "job is rare" and "job is missing". A
            column with one piece keeps its name.
        """
        check_is_fitted(self)
        names: list[str] = []
        for number, name in enumerate(_check_feature_names_in(self, input_features)):
            edges, categories = self.edges_[number], self.categories_[number]
            if categories is not None:
                names += (f"{name}: {text}" for text in _texts(categories))
            elif len(edges) == 2:
                names.append(str(name))
            elif len(edges) > 2:
                texts = _texts_of_numbers(edges)
                names += (f"{name}: {low} to {high}" for low, high in pairwise(texts))
            if self.has_rare_[number]:
                names.append(f"{name} is rare")
            if self.has_missing_[number]:
                names.append(f"{name} is missing")
        return np.asarray(names, dtype=object)

    @property
    def _n_features_out(self):
        return len(self.scale_)

    def _columns_of(self, X, reset):
        """Columns of X, numbers as floats and categories as objects, and the type of the encoding.

        A sparse X is returned as a csc_array.
        """
        n_required = 2 if reset else 1
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            check_array(np.broadcast_to(0.0, X.shape), ensure_min_samples=n_required)
            rows = X.iloc if hasattr(X, "iloc") else X  # pandas or polars
            series = [rows[:, number] for number in range(X.shape[1])]
            is_category = [is_categorical(column.dtype) for column in series]
            columns = [np.asarray(column) for column in series]
        else:
            # NumPy would turn a list of numbers and strings into strings.
            has_objects = not sparse.issparse(X) and np.asarray(X).dtype.kind in "OSTU"
            X = validate_data(
                self,
                X,
                reset=reset,
                accept_sparse="csc",
                dtype=object if has_objects else [np.float64, np.float32],
                ensure_all_finite=not has_objects and "allow-nan",
                ensure_min_samples=n_required,
            )
            if sparse.issparse(X):
                return sum_duplicates(X), X.dtype
            columns, is_category = list(X.T), [False] * X.shape[1]
        names = _check_feature_names_in(self)
        if not reset:
            is_category = [categories is not None for categories in self.categories_]
        columns = [read_column(*column) for column in zip(columns, names, is_category, strict=True)]
        if not reset:
            for number, (column, name) in enumerate(zip(columns, names, strict=True)):
                self._check_kind(number, column, name)
        types = {column.dtype for column in columns if column.dtype != object}
        return columns, np.dtype(np.float32 if types == {np.dtype(np.float32)} else np.float64)

    def _check_kind(self, number, column, name):
        """Check that a column has numbers if it had numbers in fit, or else known categories."""
        if self.categories_[number] is None:
            if column.dtype == object:
                text = next(iter(column[~find_missing(column)]), None)
                raise ValueError(
                    f"Column {name!r} of X had numbers in fit, and has strings now, such as "
                    f"{text!r}. Turn them into numbers; "
                    f'pandas.to_numeric(X[{name!r}], errors="coerce") makes NaN of those that are '
                    "none."
                )
            return
        known = [*self.categories_[number], *self.rare_categories_[number]]
        new = set(column[~find_missing(column)])
        if len(known) < 2 or not new or not new.isdisjoint(known):
            return
        are_strings = {isinstance(value, str) for value in known}
        if are_strings.isdisjoint(isinstance(value, str) for value in new):
            had, has = ("strings", "numbers") if True in are_strings else ("numbers", "strings")
            raise ValueError(
                f"Column {name!r} of X had {had} for categories in fit, such as {_one_of(known)}, "
                f"and has {has} now, such as {_one_of(new)}. Turn them into {had}."
            )
        if len(self.categories_[number]) == 0:
            return  # All categories were rare, like names, so new ones are expected.
        warnings.warn(
            f"Column {name!r} of X has only categories that fit has not seen, such as "
            f"{_one_of(new)}, none such as {_one_of(known)}. Are they written otherwise?",
            stacklevel=level_of_call(),
        )

    def _observe(self, X, sample_weight):
        """The distinct values of each column, and their weights."""
        given = X
        if is_of_dask(X):
            X = as_dask_array(X)
            validate_data(self, stand_in(X), dtype=None, ensure_min_samples=2)
            validate_data(self, named_columns(given), skip_check_array=True)
            sample_weight = in_memory(sample_weight)
            n_samples = X.shape[0]
        else:
            columns, _ = self._columns_of(X, reset=True)
            n_samples = columns.shape[0] if sparse.issparse(columns) else len(columns[0])
        weight = check_sample_weight(sample_weight, np.broadcast_to(0.0, (n_samples, 1)))
        weight = weight / weight.max()
        if is_of_dask(given):
            return observe_chunks(X, weight, type(self).__name__)
        if sparse.issparse(columns):
            return observe_sparse(columns, weight)
        kept = np.flatnonzero(weight)
        return [observe(column[kept], weight[kept]) for column in columns]

    def _encoded(self, columns, dtype):
        """Encoding of samples as an array. They are given as a list of columns or as an array."""
        if isinstance(columns, np.ndarray):
            columns, dtype = columns.T, columns.dtype
        encoded = np.zeros((len(columns[0]), self._n_features_out), dtype=dtype)
        for number, column in enumerate(columns):
            block = self.blocks_[number]
            if block.start == block.stop:
                continue
            pieces, is_known, is_missing = self._pieces_of(number, column)
            end = block.start + pieces.shape[1]
            centred = (pieces - self.mean_[block.start : end]) * self.scale_[block.start : end]
            encoded[:, block.start : end] = np.where(is_known[:, None], centred, 0)
            if self.has_missing_[number]:
                encoded[:, end] = (is_missing - self.mean_[end]) * self.scale_[end]
        return encoded

    def _sparse_encoding(self, X):
        """Encoding of a sparse array, minus the encoding of 0."""
        entries = [(np.zeros(0), np.zeros(0, dtype=int), np.zeros(0, dtype=int))]
        for number, block in enumerate(self.blocks_):
            if block.start == block.stop:
                continue
            stored = slice(X.indptr[number], X.indptr[number + 1])
            rows = X.indices[stored]
            column = np.append(X.data[stored], 0)
            pieces, is_known, is_missing = self._pieces_of(number, column)
            pieces = np.where(is_known[:, None], pieces, self.mean_[block][: pieces.shape[1]])
            if self.has_missing_[number]:
                pieces = np.column_stack([pieces, is_missing])
            pieces = (pieces[:-1] - pieces[-1]) * self.scale_[block]
            piece, entry = np.nonzero(pieces.T)
            entries.append((pieces[entry, piece], rows[entry], piece + block.start))
        data, rows, columns = map(np.concatenate, zip(*entries, strict=True))
        shape = (X.shape[0], self._n_features_out)
        return sparse.csr_array((data.astype(X.dtype), (rows, columns)), shape=shape)

    def _pieces_of(self, number, column):
        """Unscaled pieces of a column, whether each value is known, and whether it is missing."""
        categories = self.categories_[number]
        if categories is not None:
            is_missing = find_missing(column)
            pieces, is_known = indicators_of(column, categories, self.has_rare_[number])
            return pieces, is_known & ~is_missing, is_missing
        is_missing = np.isnan(column.astype(np.float64))
        return pieces_of(column, self.edges_[number]), ~is_missing, is_missing


def _one_of(categories):
    """An example: a word or a number if there is one, since marks such as "-" show little."""
    words = [value for value in categories if any(map(str.isalnum, str(value)))]
    return repr(min(words or categories, key=str))


def _texts(categories: NDArray) -> Iterable[str]:
    """Categories as distinct strings."""
    texts = [str(category) for category in categories]
    return texts if len(set(texts)) == len(texts) else [repr(category) for category in categories]


def _texts_of_numbers(numbers):
    """Ascending numbers as strings, with so many digits that all are distinct."""
    for n_digits in range(3, 18):
        texts = [f"{number:.{n_digits}g}" for number in numbers]
        if len(set(texts)) == len(texts):
            break
    return texts
