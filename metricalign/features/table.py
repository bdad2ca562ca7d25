"""Dates and free texts of a table as numbers, beside the columns that need no preparation."""

from __future__ import annotations

import datetime
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.base import TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from metricalign._arrays import find_missing
from metricalign._estimator import SavedWithVersion, keeps_last_fit, level_of_call, validate_data
from metricalign.features.identifiers import identifier_of
from metricalign.features.numerals import numbers_as_texts

__all__ = ["DateTextEncoder"]

# Texts of more values, as skrub has it, are free if most rows have a rare one: rare as a category
# that PiecewiseLinearEncoder gives no column, or shared by fewer rows than a neighbourhood has.
_MOST_CATEGORIES, _RARE_SHARE, _RARE_COUNT = 40, 0.01, 5
_DATES = ("date", "timestamp", "timedelta", "duration", "period")
# Texts that all differ are free from so many values and words on average, as in a small table.
_FEWEST_TEXTS, _FEWEST_WORDS = 10, 3


class DateTextEncoder(TransformerMixin, SavedWithVersion):
    """Encode dates and free texts of a DataFrame as numbers; leave the other columns as they are.

    So a table goes into `PiecewiseLinearEncoder`, and into whatever takes numbers and categories.
    Dates, durations and free texts are encoded by skrub's ``TableVectorizer``: a date becomes its
    year, month, day, hour, weekday and the seconds since 1970, a period of pandas does so by its
    start, a duration becomes its length, and a text
    30 coordinates in which texts with the same sequences of characters are near. Texts in which
    skrub finds dates or numbers are taken as these.

    Numbers, booleans, categories and texts of few values need nothing, and then skrub need not be
    installed. A text is free if it has more than 40 values and most rows have a rare one, shared by
    fewer than 5 rows or 1 % of them; also if it has more than 10, more than half as many as there
    are texts, with 3 words or more on average. Arrays have neither dates nor free texts and stay as
    they are.

    A warning names columns that the command line leaves out: those that look like identifiers, and
    texts most of which are numbers.

    Attributes
    ----------
    encoded_columns_ : list of str
        Names of the columns that are encoded: dates and free texts.
    vectorizer_ : skrub.TableVectorizer or None
        What encodes them; None if there are none.
    blocks_ : list of ndarray of int of length n_features
        Columns of the result that each column of X becomes.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names that are all strings.

    Notes
    -----
    skrub comes with ``pip install "metricalign[table]"``.

    Examples
    --------
    >>> import pandas as pd
    >>> from metricalign.features import DateTextEncoder
    >>> frame = pd.DataFrame({"age": [31, 45, None], "job": ["clerk", None, "smith"]})
    >>> encoder = DateTextEncoder().fit(frame)
    >>> encoder.encoded_columns_
    []
    >>> encoder.transform(frame) is frame
    True
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @keeps_last_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the dates and the free texts, and learn their encoding.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. Values may be missing.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If two columns have the same name.
        ImportError
            If there are dates or free texts, and skrub is not installed.
        """
        self.encoded_columns_: list[Any] = []
        self.vectorizer_: Any = None
        if not _is_frame(X):
            self._validated(X, reset=True)
            self.blocks_ = [np.array([number]) for number in range(self.n_features_in_)]
            return self
        for name, number in Counter(X.columns).items():
            if number > 1:
                raise ValueError(f"X has two columns named {name!r}. Give each its own name.")
        validate_data(self, X, skip_check_array=True)
        kinds = {name: _kind(X[name]) for name in X.columns}
        self.encoded_columns_ = [name for name, kind in kinds.items() if kind]
        n_parts = {name: 1 for name, kind in kinds.items() if not kind}
        if self.encoded_columns_:
            self._library = _library_of(X)
            self.vectorizer_ = _vectorizer(kinds)
            # Inside of skrub are transformers whose arrays must be no frames.
            with config_context(transform_output="default"):
                self.vectorizer_.fit(self._to_encode(X))
            outputs = self.vectorizer_.input_to_outputs_
            n_parts |= {name: len(parts) for name, parts in outputs.items()}
        ends = np.cumsum([*n_parts.values()])
        places = dict(zip(n_parts, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        self.blocks_ = [places[name] for name in X.columns]
        for name in X.columns:
            self._warn_of(X, name)
        return self

    def _warn_of(self, X, name):
        """Say what a person would rather leave out, or turn into numbers."""
        kinds = {} if self.vectorizer_ is None else self.vectorizer_.column_to_kind_
        column = X[name]
        values = _objects(column)
        is_number = re.match(r"u?int\d|float\d", str(column.dtype).lower()) is not None
        if is_number:
            values = np.asarray(column, dtype=np.float64)
            values = values[np.isfinite(values)]
        # skrub has turned texts of other kinds into dates or numbers.
        elif kinds.get(name, "high_cardinality") != "high_cardinality" or not _are_texts(values):
            return
        drop = f"X.drop(columns=[{name!r}])" if hasattr(X, "iloc") else f"X.drop({name!r})"
        remedy = f"{drop} leaves it out"
        reason = None if is_number else numbers_as_texts(values)
        if reason is not None:
            remedy = f"turn it into numbers, or leave it out by {drop}"
        reason = reason or identifier_of(values, str(name), len(column) - len(values))
        if reason is not None:
            warnings.warn(
                f"Column {name!r} of X is {reason}. It is used as it is; {remedy}.",
                stacklevel=level_of_call(),
            )

    def transform(self, X: Any) -> Any:
        """Encode dates and free texts.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X_new : {ndarray, DataFrame, sparse matrix} of shape (n_samples, n_features_out)
            X itself if there is nothing to encode; else a DataFrame as X, in which the encoded
            columns follow the others.
        """
        check_is_fitted(self)
        if not self.encoded_columns_ and not _is_frame(X):
            return self._validated(X, reset=False)
        validate_data(self, X, reset=False, skip_check_array=True)
        if not self.encoded_columns_:
            return X
        if not _is_frame(X) or _library_of(X) != self._library:
            raise TypeError(
                f"X must be a DataFrame of {self._library}, as in fit, for its dates and texts in "
                f"{self.encoded_columns_}; got {type(X).__name__} of {_library_of(X)}."
            )
        with config_context(transform_output="default"):
            encoded = self.vectorizer_.transform(self._to_encode(X))
        names = self.get_feature_names_out()[-encoded.shape[1] :]
        kept = X[[name for name in X.columns if name not in self.encoded_columns_]]
        parts = {name: encoded[part] for name, part in zip(names, encoded.columns, strict=True)}
        if hasattr(X, "iloc"):
            return kept.assign(**{name: part.to_numpy() for name, part in parts.items()})
        return kept.with_columns(**parts)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Names of the columns of the result.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,) or None, default=None
            Names of the columns of X, if it had none; `feature_names_in_` otherwise.

        Returns
        -------
        feature_names_out : ndarray of str of shape (n_features_out,)
            Such as "born: year" and "review: 7" for encoded columns.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        kept = [name for name in names if name not in self.encoded_columns_]
        if self.encoded_columns_:
            for name, parts in self.vectorizer_.input_to_outputs_.items():
                ends = [str(part)[len(str(name)) + 1 :] for part in parts]
                kept += [f"{name}: {end}" if end else name for end in ends]
        return np.asarray(kept, dtype=object)

    @property
    def _n_features_out(self):
        return sum(len(block) for block in self.blocks_)

    def _validated(self, X, reset):
        # Of a list of numbers and strings NumPy would make strings.
        is_array = hasattr(X, "shape")
        has_objects = not is_array and np.asarray(X).dtype.kind in "OSTU"
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse=True,
            dtype=object if has_objects else None,
            ensure_all_finite=False,
        )

    def _to_encode(self, X):
        columns = X[self.encoded_columns_]
        if not hasattr(columns, "iloc"):
            return columns
        columns = columns.copy()
        for name in columns.columns:
            columns[name] = _as_skrub_reads(columns[name])
        return columns


def _as_skrub_reads(column):
    """A column of pandas, with the dates that skrub takes for something else in another form."""
    dtype = str(column.dtype)
    if dtype.startswith("period"):
        return column.dt.to_timestamp()
    if dtype.endswith("[pyarrow]") and is_date(column):
        column = column.array.__arrow_array__().to_pandas().set_axis(column.index)
    if column.dtype != object:
        return column
    # Dates of Python.
    values = [v.isoformat() if isinstance(v, datetime.date) else v for v in column]
    return type(column)(values, index=column.index)


def _library_of(X):
    return type(X).__module__.partition(".")[0]


def _is_frame(X):
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def is_date(column: Any) -> bool:
    """Whether a column of a DataFrame has dates, periods or durations by its type."""
    return str(column.dtype).lower().startswith(_DATES)


def _objects(column):
    """Values of a column of objects or strings, those that are not missing; none of others."""
    if not str(column.dtype).lower().startswith(("object", "str")):
        return np.array([], dtype=object)
    values = np.asarray(column, dtype=object)
    return values[~find_missing(values)]


def _kind(column) -> Literal["date", "text"] | None:
    """What a column has to be encoded as, if it has to be."""
    values = _objects(column)
    if is_date(column) or (len(values) and all(isinstance(v, datetime.date) for v in values)):
        return "date"
    return "text" if _are_texts(values) and is_free_text(values) else None


def _are_texts(values):
    return len(values) > 0 and all(isinstance(value, str) for value in values)


def is_free_text(values: Iterable[str | None]) -> bool:
    """Whether texts, None where they are missing, are free and no categories."""
    counts = Counter(value for value in values if value is not None)
    n_texts = counts.total()
    if _FEWEST_TEXTS < len(counts) <= _MOST_CATEGORIES:
        n_words = sum(len(value.split()) for value in counts)
        return 2 * len(counts) > n_texts and n_words >= _FEWEST_WORDS * len(counts)
    rare = max(_RARE_SHARE * n_texts, _RARE_COUNT)
    n_rare = sum(number for number in counts.values() if number < rare)
    return len(counts) > _MOST_CATEGORIES and 2 * n_rare > n_texts


def _vectorizer(kinds):
    try:
        from skrub import DatetimeEncoder, StringEncoder, TableVectorizer
    except ImportError as error:
        name, kind = next((name, kind) for name, kind in kinds.items() if kind)
        what, advice = {
            "date": ("dates", "numbers, such as the year"),
            "text": ("free text", "a category, of which the frequent values count"),
        }[kind]
        raise ImportError(
            f"Column {name!r} of X has {what}, for which skrub is needed: "
            f'pip install "metricalign[table]". Or leave the column out, or make it {advice}.'
        ) from error
    return TableVectorizer(
        cardinality_threshold=0,  # every text here is a free one
        high_cardinality=StringEncoder(random_state=0),
        datetime=DatetimeEncoder(add_weekday=True),
    )
