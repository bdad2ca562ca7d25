"""How much memory there is."""

import os

import numpy as np

__all__ = ["machine_memory"]


def machine_memory() -> float:
    """Find out how much main memory this machine has.

    Returns
    -------
    n_bytes : float
        Infinity where the system does not say.
    """
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return np.inf
