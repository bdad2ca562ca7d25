"""How a check fails, and the accuracy of finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np

# Finite differences of functions that are curved by about 1: both of their errors are about 1e-9.
STEP = 1e-5
DIFFERENCE_ERROR = 1e-5


def require(is_true: Any, sentence: str) -> None:
    """Raise an AssertionError with this sentence unless all is true."""
    if not np.all(is_true):
        raise AssertionError(sentence)
