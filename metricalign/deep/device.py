"""The device on which networks compute, and the generator of their random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch

__all__ = ["computing_device", "own_generator", "seeded"]

# torch has one generator for all threads, so only one thread at a time makes or trains networks.
_GENERATOR_LOCK = RLock()


def computing_device(device: str | torch.device) -> torch.device:
    """Return the device of a name. ``"auto"`` is a GPU if there is one, and else the CPU.

    Parameters
    ----------
    device : str or torch.device
        The name.

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        If the device cannot be used.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used: {error}. Use 'auto' or 'cpu'."
        ) from error
    return found


@contextmanager
def own_generator(device: torch.device | str = "cpu") -> Iterator[None]:
    """Restore the generators of torch at the end of a block. Other threads wait for the end.

    In the meantime networks are made in single precision, and may be trained, whatever the caller
    has set: ``torch.set_default_dtype`` and ``torch.inference_mode``.

    Parameters
    ----------
    device : torch.device or str, default="cpu"
        The device on which random numbers are drawn.
    """
    device = torch.device(device)
    with (
        _GENERATOR_LOCK,
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.inference_mode(False),
    ):
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextmanager
def seeded(random_state: np.random.RandomState, device: torch.device | str) -> Iterator[None]:
    """Seed the generators of torch in a block, and restore them at its end.

    Parameters
    ----------
    random_state : RandomState
        The generator from which the seed is drawn.
    device : torch.device or str
        The device on which random numbers are drawn.
    """
    with own_generator(device):
        torch.manual_seed(random_state.randint(2**31 - 1))
        yield
