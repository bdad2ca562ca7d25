"""An encoder of the dates, texts, sets and ordered categories of a table."""

from __future__ import annotations

import datetime
import re
import warnings
from collections import Counter
from collections.abc import Hashable
from itertools import compress
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.base import TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from metricalign._arrays import find_missing, is_frame, is_missing
from metricalign._estimator import SavedWithVersion, keeps_last_fit, level_of_call, validate_data
from metricalign.features.contents import (
    are_texts,
    finite_numbers,
    first_present,
    form_of,
    has_numbers,
    is_date,
    is_free_text,
    present_objects,
)
from metricalign.features.identifiers import identifier_of
from metricalign.features.numerals import dates_but_for, numbers_as_texts
from metricalign.features.sets import (
    are_sets,
    frequent_members,
    indicators_of_members,
    separator_of_sets,
    sets_of,
)

__all__ = ["DateTextEncoder"]

# The first two numbers may be a day and a month, or a month and a day.
_DAY_OR_MONTH = re.compile("(0?[1-9]|1[0-2])[-/.](0?[1-9]|1[0-2])[-/.][0-9]")
# One or two numbers outside the range of the training samples may just be new extremes.
_FEWEST_OUTSIDE = 3


class DateTextEncoder(TransformerMixin, SavedWithVersion):
    """Encode dates, free texts, sets and ordered categories. Leave other columns as they are.

    The result has numbers and categories only, as `PiecewiseLinearEncoder` takes them.

    Dates, durations and free texts are encoded by skrub's ``TableVectorizer``. A date becomes its
    year, month, day, hour, weekday and the seconds since 1970. A period of pandas becomes those of
    its start. A duration becomes its length. A text becomes 30 coordinates, in which texts with the
    same sequences of characters are near. If skrub finds dates or numbers in texts, these are
    encoded. Texts whose day and month cannot be told apart are refused.

    Sets are lists of texts, sets of Python, and texts such as "drama, comedy" whose parts occur
    again in other combinations and numbers. A set becomes an indicator for each member that at
    least 1 % of the sets have. An ordered category of pandas becomes its rank, from 0.

    Numbers, booleans, categories and texts of few values stay as they are. So do arrays. skrub is
    needed only for dates and free texts. A column of texts is free if it has more than 40 values
    and most rows have a rare value. A value is rare if fewer than 5 rows or 1 % of the rows share
    it. A column is also free if it has more than 10 values, more than half as many values as texts,
    and at least 3 words on average.

    `fit` warns of columns that look like identifiers, and of columns of texts that are mostly
    numbers. The command line leaves out the former. It reads the latter as numbers if all texts are
    numbers, and leaves them out otherwise. `transform` warns of columns of numbers if most numbers
    lie outside the range of those in `fit`, since their unit may be another one. If there are only
    one or two numbers, it warns if they are outside by more than the extent of the range.

    Attributes
    ----------
    encoded_columns_ : list of str
        Names of the columns of dates, free texts and sets. Their encoding follows the other columns
        in the result.
    vectorizer_ : skrub.TableVectorizer or None
        The encoder of dates and free texts. None if there are none.
    members_ : dict from str to list of str
        The members that have an indicator, for each column of sets.
    separators_ : dict from str to str or None
        The separator of the members, for each column of sets. None if it has lists or sets.
    orders_ : dict from str to list
        The categories in their order, for each column of ordered categories.
    ranges_ : dict from str to (float, float)
        The smallest and the largest number, for each column of numbers of a DataFrame.
    blocks_ : list of ndarray of int of length n_features
        Columns of the result for each column of X.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X, if all names are strings.

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
            If two columns have the same name, if a column is encoded and a name is no string, or if
            the day and the month of texts cannot be told apart.
        ImportError
            If there are dates or free texts, and skrub is not installed.
        """
        self.encoded_columns_: list[Any] = []
        self.vectorizer_: Any = None
        self.members_: dict[Any, list[str]] = {}
        self.separators_: dict[Any, str | None] = {}
        self.orders_: dict[Any, list[Any]] = {}
        self.ranges_: dict[Any, tuple[float, float]] = {}
        if not is_frame(X):
            self._validated(X, reset=True)
            self.blocks_ = [np.array([number]) for number in range(self.n_features_in_)]
            return self
        for name, number in Counter(X.columns).items():
            if number > 1:
                raise ValueError(f"X has two columns named {name!r}. Give each its own name.")
        validate_data(self, X, skip_check_array=True)
        self._library = _library_of(X)
        for name in X.columns:
            if has_numbers(X[name]) and len(values := finite_numbers(X[name])):
                self.ranges_[name] = (float(values.min()), float(values.max()))
        kinds = {name: self._kind(X[name], name) for name in X.columns}
        self.encoded_columns_ = [name for name, kind in kinds.items() if kind]
        self._refuse_other_names(X)
        n_parts = {name: 1 for name, kind in kinds.items() if not kind}
        self._forms = {name: form_of(X[name]) for name in self._of_skrub()}
        if self._forms:
            self.vectorizer_ = _vectorizer({name: kinds[name] for name in self._forms})
            # skrub uses transformers of scikit-learn whose results must be arrays.
            with config_context(transform_output="default"):
                self.vectorizer_.fit(self._to_encode(X))
            self._refuse_two_readings(X)
            outputs = self.vectorizer_.input_to_outputs_
            n_parts |= {name: len(parts) for name, parts in outputs.items()}
        n_parts |= {name: len(members) for name, members in self.members_.items()}
        ends = np.cumsum([*n_parts.values()])
        places = dict(zip(n_parts, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        self.blocks_ = [places[name] for name in X.columns]
        for name in X.columns:
            self._warn_of(X, name)
        return self

    def _kind(self, column, name) -> Literal["date", "text", "set"] | None:
        """Choose the encoding of a column, and learn its members or order. None is no encoding."""
        if getattr(column.dtype, "ordered", False):
            self.orders_[name] = list(column.dtype.categories)
            return None
        values = present_objects(column)
        if is_date(column) or (len(values) and all(isinstance(v, datetime.date) for v in values)):
            return "date"
        separator = separator_of_sets(values.tolist()) if are_texts(values) else None
        if separator is not None or (len(values) and are_sets(values)):
            members = frequent_members(sets_of(values.tolist(), separator))
            if members:
                self.members_[name], self.separators_[name] = members, separator
                return "set"
        return "text" if are_texts(values) and is_free_text(values) else None

    def _of_skrub(self):
        """Names of the columns that skrub encodes."""
        return [name for name in self.encoded_columns_ if name not in self.members_]

    def _refuse_other_names(self, X):
        """Refuse names that are no strings if a column is encoded, as its new names are strings."""
        others = [name for name in X.columns if not isinstance(name, str)]
        if others and (changed := [*self.encoded_columns_, *self.orders_]):
            raise ValueError(
                f"X has columns to encode, such as {changed[0]!r}, and names that are no strings, "
                f"such as {others[0]!r}. Make them strings: X.columns = X.columns.astype(str)."
            )

    def _refuse_two_readings(self, X):
        """Refuse dates in texts if the first number may be the day or the month."""
        for name, form in self._forms.items():
            if form == "texts" and self.vectorizer_.column_to_kind_[name] == "datetime":
                texts = present_objects(X[name])
                if all(map(_DAY_OR_MONTH.match, texts)):
                    advice = f"pandas.to_datetime(X[{name!r}], dayfirst=True), or dayfirst=False"
                    if not hasattr(X, "iloc"):
                        advice = f"X[{name!r}].str.to_date('%d/%m/%Y'), or '%m/%d/%Y'"
                    raise ValueError(
                        f"Column {name!r} of X has dates such as {texts[0]!r}, whose day and month "
                        f"cannot be told apart. Turn it into dates: {advice}."
                    )

    def _warn_of(self, X, name):
        """Warn of a column that a person would leave out, or turn into numbers."""
        kinds = {} if self.vectorizer_ is None else self.vectorizer_.column_to_kind_
        column = X[name]
        values = present_objects(column)
        is_number = has_numbers(column)
        if is_number:
            values = finite_numbers(column)
        elif name in self.members_ or not are_texts(values):
            return
        elif kinds.get(name, "high_cardinality") != "high_cardinality":
            return  # skrub has read these texts as dates or numbers.
        drop = f"X.drop(columns=[{name!r}])" if hasattr(X, "iloc") else f"X.drop({name!r})"
        words = None
        if not is_number and (odd := dates_but_for(values)) is not None:
            words = "has dates that cannot be read. They are used as texts; turn them into dates, "
            words += f"or leave the column out by {drop}"
            if odd:
                words = f"has dates, but for texts such as {odd!r}. They are used as texts; "
                words += f"X[{name!r}].replace({odd!r}, None) makes {odd!r} missing"
        elif not is_number and (reason := numbers_as_texts(values)):
            words = f"has {reason}. They are used as texts; turn them into numbers, or leave the "
            words += f"column out by {drop}"
        elif reason := identifier_of(values, str(name), len(column) - len(values)):
            words = f"is {reason}. It is used as it is; {drop} leaves it out"
        if words is not None:
            warnings.warn(f"Column {name!r} of X {words}.", stacklevel=level_of_call())

    def transform(self, X: Any) -> Any:
        """Encode dates and free texts.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X_new : {ndarray, DataFrame, sparse matrix} of shape (n_samples, n_features_out)
            X itself if no column is encoded. Otherwise a DataFrame of the same library, in which
            the encoded columns follow the others.
        """
        check_is_fitted(self)
        changed = [*self.encoded_columns_, *self.orders_]
        if not changed and not is_frame(X):
            return self._validated(X, reset=False)
        validate_data(self, X, reset=False, skip_check_array=True)
        is_other = self.vectorizer_ is not None and _library_of(X) != self._library
        if not is_frame(X) or is_other:
            raise TypeError(
                f"X must be a DataFrame of {self._library}, as in fit, for its columns {changed}; "
                f"got {type(X).__name__} of {_library_of(X)}."
            )
        for name in self.ranges_:
            if has_numbers(X[name]):
                self._warn_of_range(finite_numbers(X[name]), name)
        if not changed:
            return X
        parts = {name: _ranks(X[name], name, order) for name, order in self.orders_.items()}
        if self.vectorizer_ is not None:
            parts |= self._encoded_by_skrub(X)
        for name, members in self.members_.items():
            indicators = self._indicators(X[name], name)
            parts |= {
                f"{name}: {member}": indicator
                for member, indicator in zip(members, indicators.T, strict=True)
            }
        kept = [name for name in X.columns if name not in self.encoded_columns_]
        if hasattr(X, "iloc"):
            return X[kept].assign(**parts)
        # Polars takes X[[]] for no rows, and X.select([]) has none either.
        return X[kept].with_columns(**parts) if kept else type(X)(parts)

    def _warn_of_range(self, values, name):
        """Warn if most numbers are outside the range in fit."""
        lowest, highest = self.ranges_[name]
        tolerance = highest - lowest if len(values) < _FEWEST_OUTSIDE else 0.0
        n_outside = np.sum((values < lowest - tolerance) | (values > highest + tolerance))
        if 2 * n_outside > len(values):
            warnings.warn(
                f"Most numbers of column {name!r} are outside {lowest:g} to {highest:g}, the range "
                "that was learned from. Is the unit the same?",
                stacklevel=level_of_call(),
            )

    def _encoded_by_skrub(self, X):
        for name, was in self._forms.items():
            form = form_of(X[name])
            if form not in (was, None):
                raise ValueError(
                    f"Column {name!r} of X had {was} in fit, and has {form} now, such as "
                    f"{first_present(X[name])!r}. Turn them into {was}."
                )
        with config_context(transform_output="default"):
            encoded = self.vectorizer_.transform(self._to_encode(X))
        for name, parts in self.vectorizer_.input_to_outputs_.items():
            is_number = self.vectorizer_.column_to_kind_[name] != "high_cardinality"
            if self._forms[name] == "texts" and is_number:
                # skrub has found dates or numbers of one form. Later texts may have another form.
                is_lost = np.isnan(np.asarray(encoded[parts[0]], dtype=np.float64))
                for value in compress(X[name].to_list(), is_lost):
                    if not is_missing(value):
                        raise ValueError(
                            f"Column {name!r} of X has {value!r}, which is not of the form that "
                            "its texts had in fit. Write it alike, or None if it is missing."
                        )
        parts = [encoded[name] for name in encoded.columns]
        if hasattr(X, "iloc"):
            parts = [part.to_numpy() for part in parts]
        return dict(zip(self._names_by_skrub(), parts, strict=True))

    def _names_by_skrub(self):
        for name, parts in self.vectorizer_.input_to_outputs_.items():
            for part in parts:
                end = str(part)[len(str(name)) + 1 :]
                yield f"{name}: {end}" if end else name

    def _indicators(self, column, name):
        members = self.members_[name]
        try:
            sets = sets_of(column.to_list(), self.separators_[name])
        except TypeError as error:
            raise ValueError(
                f"Column {name!r} of X had sets in fit, of members such as {members[0]!r}, and has "
                f"{error} now. Turn it into sets."
            ) from None
        indicators = indicators_of_members(sets, members)
        if any(sets) and not np.any(indicators == 1):
            warnings.warn(
                f"Column {name!r} of X has none of its members in fit, such as {members[0]!r}, but "
                f"others, such as {min(next(filter(None, sets)))!r}. Are they written otherwise?",
                stacklevel=level_of_call(),
            )
        return indicators

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Names of the columns of the result.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,) or None, default=None
            Names of the columns of X, if X had no names in fit. None takes `feature_names_in_`, or
            x0, x1 and so on.

        Returns
        -------
        feature_names_out : ndarray of str of shape (n_features_out,)
            Names of the columns. Those of encoded columns are such as "born: year", "review: 7" and
            "genres: drama".
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        kept = [name for name in names if name not in self.encoded_columns_]
        if self.vectorizer_ is not None:
            kept += self._names_by_skrub()
        for name, members in self.members_.items():
            kept += [f"{name}: {member}" for member in members]
        return np.asarray(kept, dtype=object)

    @property
    def _n_features_out(self):
        return sum(len(block) for block in self.blocks_)

    def _validated(self, X, reset):
        # NumPy would turn a list of numbers and strings into strings.
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
        columns = X[self._of_skrub()]
        if not hasattr(columns, "iloc"):
            return columns
        columns = columns.copy()
        for name, form in self._forms.items():
            column = _as_skrub_reads(columns[name])
            if form == "durations":
                # Old releases of skrub encode durations in the unit of the column, and a missing
                # one as a number.
                column = column.astype("timedelta64[ns]").dt.total_seconds()
            columns[name] = column
        return columns


def _as_skrub_reads(column):
    """A column of pandas in a form in which skrub recognises its dates."""
    dtype = str(column.dtype)
    if dtype.startswith("period"):
        return column.dt.to_timestamp()
    if dtype.endswith("[pyarrow]") and is_date(column):
        column = column.array.__arrow_array__().to_pandas().set_axis(column.index)
    if column.dtype != object:
        return column
    # The column may have dates of Python.
    values = [v.isoformat() if isinstance(v, datetime.date) else v for v in column]
    return type(column)(values, index=column.index)


def _library_of(X):
    return type(X).__module__.partition(".")[0]


def _ranks(column, name, order):
    """The ranks of categories. A missing one becomes NaN."""
    values = np.asarray(column, dtype=object)
    is_present = ~find_missing(values)
    ranks = {category: float(rank) for rank, category in enumerate(order)}
    unknown = [
        value
        for value in values[is_present]
        if not isinstance(value, Hashable) or value not in ranks
    ]
    if unknown:
        raise ValueError(
            f"Column {name!r} of X has {unknown[0]!r}, which is not among its ordered categories "
            f"in fit: {order}. Turn it into one of them, or None."
        )
    places = np.full(len(values), np.nan)
    places[is_present] = [ranks[value] for value in values[is_present]]
    return places


def _vectorizer(kinds):
    try:
        from skrub import DatetimeEncoder, StringEncoder, TableVectorizer
    except ImportError as error:
        name, kind = next(iter(kinds.items()))
        what, advice = {
            "date": ("dates", "numbers, such as the year"),
            "text": ("free text", "a category, of which the frequent values count"),
        }[kind]
        raise ImportError(
            f"Column {name!r} of X has {what}, for which skrub is needed: "
            f'pip install "metricalign[table]" ({error}). Or leave the column out, or make it '
            f"{advice}."
        ) from error
    return TableVectorizer(
        cardinality_threshold=0,  # so every text counts as free
        high_cardinality=StringEncoder(random_state=0),
        datetime=DatetimeEncoder(add_weekday=True),
    )
