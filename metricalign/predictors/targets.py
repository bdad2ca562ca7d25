"""Checks of targets, with messages that name the row and say what to do."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from scipy import sparse

from metricalign._arrays import find_missing
from metricalign._estimator import refuse_masked
from metricalign.features.contents import is_date
from metricalign.predictors.labels import has_label_sets
from metricalign.relations.kinds import is_ordered

__all__ = ["check_predictable"]


def check_predictable(y: Any, wants_numbers: bool) -> None:
    """Refuse dates, missing values, and strings or sets where numbers are wanted.

    Parameters
    ----------
    y : array-like, Series or DataFrame of shape (n_samples,) or (n_samples, n_outputs)
        Targets. What scikit-learn's own checks report as well is left to them.
    wants_numbers : bool
        Whether they must be numbers.

    Raises
    ------
    ValueError
        If there is such a value. The message names its row, from 0.
    """
    if sparse.issparse(y):
        return
    refuse_masked(y, "y")
    columns = [y[name] for name in y.columns] if hasattr(y, "columns") else [y]
    for column in columns:
        if hasattr(column, "dtype") and is_date(column):
            raise _of_dates(column)
        if wants_numbers and is_ordered(column):
            raise ValueError(
                "y has ordered categories; expected numbers. Give their ranks, y.cat.codes; "
                "MetricNeighborsClassifier predicts the categories themselves."
            )
    if wants_numbers and has_label_sets(y):
        raise ValueError(
            "y has a set of labels for each sample; expected numbers, as many for each. "
            "MetricNeighborsClassifier predicts sets of labels."
        )
    values = np.asarray(y)
    kind = values.dtype.kind
    if kind not in "OSTUf" or values.ndim not in (1, 2) or not values.size:
        return
    is_missing = find_missing(values).reshape(len(values), -1)
    rows = np.flatnonzero(is_missing.any(axis=1))
    if len(rows):
        raise ValueError(
            f"Input y contains missing values, such as NaN, in {len(rows)} of {len(values)} "
            f"samples, the first in row {rows[0]}. Leave out these samples."
        )
    if kind == "O" and all(isinstance(value, datetime.date) for value in values.flat):
        raise _of_dates(y)
    if wants_numbers and kind != "f":
        for row, value in enumerate(values.reshape(len(values), -1)):
            for each in value:
                if isinstance(each, str) and not _is_number(each):
                    raise ValueError(
                        f"y has strings, such as {str(each)!r} in row {row}; expected numbers. "
                        "MetricNeighborsClassifier predicts classes and label sets."
                    )


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _of_dates(y):
    """The error for dates and durations, with what makes numbers of them in their library."""
    dtype = str(getattr(y, "dtype", "")).lower()
    is_duration = dtype.startswith(("timedelta", "duration"))
    if type(y).__module__.startswith("polars"):
        days = "y.dt.total_days()" if is_duration else "(y - y.min()).dt.total_days()"
    elif is_duration:
        days = "pandas.Series(y).dt.days"
    elif dtype.startswith("period"):
        days = "(pandas.Series(y).dt.start_time - min(y).start_time).dt.days"
    else:
        days = "(pandas.to_datetime(pandas.Series(y)) - pandas.to_datetime(min(y))).dt.days"
    return ValueError(
        "Unknown label type: y has dates or durations. Predict a number, such as days since the "
        f"first: {days}."
    )
