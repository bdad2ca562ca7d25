"""Colours, axes and labels of the displays."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COLORS",
    "MARKERS",
    "NEGATIVE",
    "POSITIVE",
    "SIGNED_CMAP",
    "axes_of_panels",
    "check_count",
    "check_matplotlib",
    "draw_signed_matrix",
    "literal",
    "one_axes",
    "shortened",
]

# M. A. Petroff. "Accessible Color Sequences for Data Visualization". arXiv 2107.02270, 2021.
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">", "p")
# Blue and red are told apart by every kind of colour vision.
POSITIVE, NEGATIVE = COLORS[0], COLORS[2]
SIGNED_CMAP = "RdBu"

# Names of more characters are shortened, as they would take the space of the picture.
_LONGEST_LABEL = 24


def check_matplotlib(caller: str) -> None:
    """Raise an error if matplotlib is not installed, before anything is computed.

    Parameters
    ----------
    caller : str
        Name of the function that needs matplotlib.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f'{caller} needs matplotlib: pip install "metricalign[plot]"') from error


def one_axes(ax: Any, figsize: tuple[float, float] = (6.4, 4.8)) -> Any:
    """Return the given axes, or the axes of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1]


def axes_of_panels(
    ax: Any, n_panels: int = 2, figsize: tuple[float, float] = (9.6, 4.4)
) -> NDArray:
    """Return the given axes of panels, or the axes of a new figure.

    Raises
    ------
    ValueError
        If `ax` has another number of axes.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(1, n_panels, figsize=figsize, layout="constrained")[1]
    axes = np.asarray(ax, dtype=object).ravel()
    if len(axes) != n_panels:
        raise ValueError(f"ax must be {n_panels} axes, one for each panel; got {len(axes)}.")
    return axes


def check_count(name: str, count: Any) -> None:
    """Refuse what is not a number of things to draw.

    Raises
    ------
    ValueError
        If `count` is not an integer above 0.
    """
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {count!r}.")


def literal(text: str) -> str:
    """Text of a user's data, such as "$10-$20", which matplotlib would take for a formula."""
    return text.replace("$", r"\$")


def shortened(names: ArrayLike, longest: int = _LONGEST_LABEL) -> list[str]:
    """Cut the middle out of long names, as their ends often tell them apart.

    If different names would become equal, all names are cut less. Dollar signs stay such signs.
    """
    names = [str(name) for name in np.asarray(names)]
    half = (longest - 1) // 2
    cut = [
        name if len(name) <= longest else f"{name[:half]}…{name[len(name) - half :]}"
        for name in names
    ]
    if len(set(cut)) < len(set(names)):
        return shortened(names, longest + 2)
    return [literal(name) for name in cut]


def draw_signed_matrix(
    ax: Any, matrix: NDArray, names: list[str], label: str, **kwargs: Any
) -> Any:
    """Draw a symmetric matrix in colours that are white at zero, with a colour bar.

    Returns
    -------
    image : matplotlib.image.AxesImage
    """
    largest = float(np.abs(matrix).max()) or 1.0
    image = ax.imshow(matrix, **{"cmap": SIGNED_CMAP, "vmin": -largest, "vmax": largest, **kwargs})
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.figure.colorbar(image, ax=ax, label=label)
    return image
