"""The requirement of a check, and the accuracy of finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np

# For functions with a curvature of about 1, both errors of finite differences are about 1e-9.
STEP = 1e-5
DIFFERENCE_ERROR = 1e-5


def require(is_true: Any, sentence: str) -> None:
    """Raise an AssertionError with this sentence unless all values are true."""
    if not np.all(is_true):
        raise AssertionError(sentence)
