"""The size of the main memory."""

import os

import numpy as np

__all__ = ["machine_memory"]


def machine_memory() -> float:
    """Size of the main memory of this machine.

    Returns
    -------
    n_bytes : float
        In bytes. Infinity if the system does not tell.
    """
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return np.inf
