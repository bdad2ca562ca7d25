"""Parts of every estimator: checked releases of saved models, fits in one step, and checks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, validation
from sklearn.utils.validation import _check_sample_weight

from metricalign._version import __version__

__all__ = []


class SavedWithVersion(BaseEstimator):
    """Base of all estimators. Their saved files are refused by an incompatible release.

    Two releases are compatible if their first number is the same. Before 1.0, the second number
    must be the same too. Files without a version are refused.
    """

    # scikit-learn would read the signature of `__init__` at each call.
    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        return super()._get_param_names()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_metricalign_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved, current = state.pop("_metricalign_version", None), __version__
        if saved is None:
            raise ValueError(
                f"This {type(self).__name__} was saved without the number of a release. Fit it "
                "again."
            )
        if _compatible_releases(saved) != _compatible_releases(current):
            raise ValueError(
                f"This {type(self).__name__} was saved by metricalign {saved}, and metricalign "
                f"{current} does not load it. Fit it again, or load it with the release that saved "
                f'it: pip install "metricalign=={saved}"'
            )
        super().__setstate__(state)


def _compatible_releases(version: str) -> list[str]:
    numbers = version.split(".")
    return numbers[: 2 if numbers[0] == "0" else 1]


_Arguments = ParamSpec("_Arguments")

_Fitted = TypeVar("_Fitted")


def keeps_last_fit(fit: Callable[_Arguments, _Fitted]) -> Callable[_Arguments, _Fitted]:
    """Let `fit` work on a copy, and give all fitted attributes to the estimator in one step.

    So a fit that fails or is interrupted leaves the estimator as it was, without a mixture of two
    fits. There is one exception: a fit that has set `components_` counts, since it sets them last.
    Attributes of the last fit that this one does not set are deleted, unless the fit starts from
    them by `warm_start`.
    """

    @wraps(fit)
    def fit_copy(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Fitted:
        estimator: Any = args[0]
        fit_of_copy: Any = fit
        # copy.copy would lose the attributes that a subclass keeps out of its pickles.
        copied = object.__new__(type(estimator))
        vars(copied).update(vars(estimator))
        if not getattr(estimator, "warm_start", False):
            for name in vars(estimator):
                if name.endswith("_") and not name.endswith("__"):
                    delattr(copied, name)
        try:
            fit_of_copy(copied, *args[1:], **kwargs)
        except BaseException:
            components = vars(copied).get("components_")
            if components is not None and components is not vars(estimator).get("components_"):
                estimator.__dict__ = vars(copied)
            raise
        estimator.__dict__ = vars(copied)
        return estimator

    return fit_copy


def require_targets(estimator: Any, y: Any) -> None:
    """Refuse to fit without targets.

    Raises
    ------
    ValueError
        If `y` is None. The message begins with the words that scikit-learn's checks look for.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )


def require_samples(estimator: Any, X: Any, n_samples: int) -> None:
    """Refuse to fit to fewer samples.

    A step of the estimator would refuse them too, but the message would have the name of the step.

    Raises
    ------
    ValueError
        If there are fewer samples. The message has the words of scikit-learn's checks.
    """
    found = validation._num_samples(X)
    if found < n_samples:
        raise ValueError(
            f"Found array with {found} sample(s) (shape={np.shape(X)}) while a minimum of "
            f"{n_samples} is required by {type(estimator).__name__}."
        )


def check_sample_pairs(pairs: ArrayLike, n_features: int | None = None) -> NDArray[np.floating]:
    """Pairs of samples as one array, of shape (n_pairs, 2, n_features).

    Raises
    ------
    ValueError
        If they have another shape, or are not all finite numbers.
    """
    refuse_masked(pairs, "pairs")
    pairs = check_array(pairs, allow_nd=True, dtype=[np.float64, np.float32], input_name="pairs")
    if pairs.ndim != 3 or pairs.shape[1] != 2 or n_features not in (None, pairs.shape[2]):
        raise ValueError(
            f"pairs must have shape (n_pairs, 2, {n_features or 'n_features'}), the two samples of "
            f"each pair; got {pairs.shape}. X[indices] makes them from samples X and indices of "
            "shape (n_pairs, 2)."
        )
    return pairs


def check_sample_weight(sample_weight: ArrayLike | None, X: Any) -> NDArray[np.float64]:
    """Weights of the samples as floats. None gives ones.

    Raises
    ------
    ValueError
        If they are not one non-negative number for each sample, if all are zero, or if sums and
        products of them leave the range of float64. scikit-learn accepts weights that are all zero
        before release 1.9.
    """
    refuse_masked(sample_weight, "sample_weight")
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not np.any(weight):
        raise ValueError(
            "sample_weight must have at least one non-zero number; got zeros only, and a sample "
            "of weight 0 is as good as absent."
        )
    largest, limits = weight.max(), np.finfo(np.float64)
    if not limits.tiny <= largest < limits.max / len(weight):
        raise ValueError(
            f"sample_weight has weights of at most {largest:.1e}, so that sums and products of "
            "them leave the range of float64. Divide the weights by their maximum."
        )
    return weight


def validate_data(estimator: BaseEstimator, X: Any, *args: Any, **options: Any) -> Any:
    """Validate X by scikit-learn, and refuse masked entries.

    Raises
    ------
    ValueError
        If X is a masked array with masked entries, whose values scikit-learn would use, or if
        scikit-learn refuses X. If a column has texts, the message names it.
    """
    refuse_masked(X, "X")
    try:
        return validation.validate_data(estimator, X, *args, **options)
    except ValueError as error:
        if "could not convert string to float" in str(error) and hasattr(X, "columns"):
            name, text = _first_text(X)
            raise ValueError(
                f"Column {name!r} of X has texts, such as {text!r}, and {type(estimator).__name__} "
                "takes numbers. MetricEnsemble and MetricNeighbors take categories and texts as "
                "they are; for others put PiecewiseLinearEncoder() before it."
            ) from error
        raise


@contextmanager
def steps_without_names() -> Iterator[None]:
    """Keep the steps of an estimator from warning that X has no names: the estimator warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        yield


def refuse_masked(array: Any, name: str) -> None:
    """Refuse an array with masked entries, as scikit-learn would use the values behind the mask."""
    if np.ma.is_masked(array):
        fill = (
            " or, where missing values are accepted, give X.filled(np.nan)" if name == "X" else ""
        )
        raise ValueError(
            f"{name} is a masked array with {np.ma.count_masked(array)} masked entries, which "
            f"would count as given. Leave out their samples{fill}."
        )


def _first_text(table):
    columns = ((name, np.asarray(table[name])) for name in table.columns)
    return next(
        (name, value) for name, column in columns for value in column if isinstance(value, str)
    )


def level_of_call() -> int:
    """Stack level, for a warning, at which user code calls this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(
        ("metricalign", "sklearn")
    ):
        frame, level = frame.f_back, level + 1
    return level
