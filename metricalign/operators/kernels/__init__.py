"""The inner loops of the operators: in NumPy, and compiled if numba is installed.

Both modules offer the same functions, with the same results up to rounding. Neither makes an array
of shape (n_pairs, n_features).
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from metricalign.operators.kernels import plain
from metricalign.operators.kernels.graph import PairGraph

__all__ = ["PairGraph", "fastest_kernels"]


@cache
def fastest_kernels() -> ModuleType:
    """Kernels for dense samples: compiled where numba, the extra ``fast``, is installed.

    Returns
    -------
    kernels : module
    """
    # Importing numba takes as long as a small fit, so it waits until a fit begins.
    if find_spec("numba") is None:
        return plain
    try:
        from metricalign.operators.kernels import compiled
    except ImportError as error:
        warnings.warn(
            f"numba is installed but cannot be imported ({error}), so the slower kernels in NumPy "
            "are used. Install a working numba, or remove it.",
            UserWarning,
            stacklevel=2,
        )
        return plain
    return compiled
