"""Decorators of scikit-learn, with types: they keep the type of the decorated function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    Function = TypeVar("Function", bound=Callable[..., Any])

    def _fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Function], Function]: ...

    def available_if(check: Callable[[Any], bool]) -> Callable[[Function], Function]: ...

    def validate_params(
        parameter_constraints: Mapping[str, list[Any]], *, prefer_skip_nested_validation: bool
    ) -> Callable[[Function], Function]: ...

else:
    from sklearn.base import _fit_context
    from sklearn.utils._param_validation import validate_params
    from sklearn.utils.metaestimators import available_if

__all__ = ["_fit_context", "available_if", "validate_params"]
