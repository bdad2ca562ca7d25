"""The callbacks of scikit-learn 1.9. With an older release, they do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    Method = TypeVar("Method", bound=Callable[..., Any])

    class CallbackSupportMixin: ...

    def with_callbacks(method: Method) -> Method: ...

else:
    try:
        from sklearn.callback import CallbackSupportMixin, with_callbacks
    except ImportError:

        class CallbackSupportMixin:
            """Takes the place of the mixin of scikit-learn."""

        def with_callbacks(method):
            """Return the method as it is."""
            return method


__all__ = ["CallbackSupportMixin", "with_callbacks"]
