"""Picture of the information that a representation has on the parts of a sample."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metricalign.plotting.drawing import (
    COLORS,
    axes_of_panels,
    check_count,
    check_matplotlib,
    one_axes,
    shortened,
)

__all__ = ["InformationDisplay"]

# It goes from dark to light for every kind of colour vision.
_CMAP = "cividis"
_PARTS = ("total", "decision", "redundant")
_TITLES = ("known", "known and decides", "known, does not decide")
# Lines of the picture, which are visible on dark and on light colours.
_LINES = (("black", 2.5), ("white", 1.0))


class InformationDisplay:
    """Total, decision-related and redundant information of the parts of a sample.

    An image has three maps with the same scale of colours, and its outline is drawn over them. A
    table or a text has a bar for each column or token, which is made of the decision-related and
    the redundant part.

    Use `from_estimator` to make a display. All parameters are stored as attributes.

    Parameters
    ----------
    total, decision, redundant : ndarray of shape (height, width) or (n_locations,)
        The maps, in nats.
    total_error : ndarray of the same shape
        Standard error of the total.
    picture : ndarray of shape (height, width) or (height, width, 3) or None, default=None
        The image, in any resolution. Its outline is drawn over the maps, as shades under the maps
        would change their colours.
    feature_names : array-like of str of shape (n_locations,) or None, default=None
        Names of the columns or tokens. None numbers them.
    name : str or None, default=None
        Title.

    Attributes
    ----------
    images_ : list of three matplotlib AxesImage
        The maps, for images only.
    bars_ : list of two matplotlib BarContainer
        The decision-related and the redundant parts, for columns and tokens only.
    features_ : ndarray of int
        The drawn columns or tokens, for these only.
    axes_ : ndarray of matplotlib Axes
        Axes of the picture: three for maps, one for bars.
    figure_ : matplotlib Figure
        The figure of `axes_`.
    """

    def __init__(
        self,
        *,
        total: NDArray,
        decision: NDArray,
        redundant: NDArray,
        total_error: NDArray,
        picture: NDArray | None = None,
        feature_names: ArrayLike | None = None,
        name: str | None = None,
    ):
        self.total = total
        self.decision = decision
        self.redundant = redundant
        self.total_error = total_error
        self.picture = picture
        self.feature_names = feature_names
        self.name = name

    def plot(
        self, *, max_features: int = 25, ax: Any | None = None, name: str | None = None
    ) -> Self:
        """Draw the maps, or the bars.

        Parameters
        ----------
        max_features : int, default=25
            Largest number of columns or tokens. If there are more, those with the largest total
            are drawn in their order, and the title says so.
        ax : matplotlib Axes, array-like of three of them, or None, default=None
            Axes to draw in: three for maps, one for bars. None makes a new figure.
        name : str or None, default=None
            Title. None takes the name of the display.

        Returns
        -------
        display : InformationDisplay
            This display.

        Raises
        ------
        ValueError
            If `max_features` is not an integer of at least 1, or `ax` is not three axes for maps.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        check_count("max_features", max_features)
        title = self.name if name is None else name
        if self.total.ndim == 2:
            return self._plot_maps(ax, title)
        return self._plot_bars(ax, title, max_features)

    def _plot_maps(self, ax, title) -> Self:
        self.axes_ = axes = axes_of_panels(ax, len(_PARTS), (10.0, 3.6))
        self.figure_ = axes[0].figure
        height, width = self.total.shape if self.picture is None else self.picture.shape[:2]
        place = (-0.5, width - 0.5, height - 0.5, -0.5)
        largest = float(self.total.max()) or 1.0
        self.images_ = []
        for axis, part, label in zip(axes, _PARTS, _TITLES, strict=True):
            values = getattr(self, part)
            image = axis.imshow(values, cmap=_CMAP, vmin=0, vmax=largest, extent=place)
            self.images_.append(image)
            if self.picture is not None:
                _draw_outline(axis, self.picture)
            axis.set(xticks=[], yticks=[], title=label)
        self.figure_.colorbar(image, ax=list(axes), label="nats", shrink=0.8)
        if title:
            axes[0].set_title(f"{title}\n{axes[0].get_title()}")
        return self

    def _plot_bars(self, ax, title, max_features) -> Self:
        largest = np.argsort(-self.total, kind="stable")[:max_features]
        self.features_ = shown = np.sort(largest)
        axis = one_axes(ax, (6.4, 1.6 + 0.28 * len(shown)))
        self.axes_, self.figure_ = np.array([axis], dtype=object), axis.figure
        names = self.feature_names
        names = np.arange(len(self.total)) if names is None else np.asarray(names)
        places = np.arange(len(shown))
        decision = axis.barh(
            places, self.decision[shown], color=COLORS[0], label="known and decides"
        )
        redundant = axis.barh(
            places,
            self.redundant[shown],
            left=self.decision[shown],
            color=COLORS[1],
            hatch="//",
            edgecolor="white",
            xerr=self.total_error[shown],
            label="known, does not decide",
        )
        self.bars_ = [decision, redundant]
        axis.set_yticks(places, shortened(names[shown]))
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.set_xlim(left=0)
        if len(shown) < len(self.total):
            part = f"{len(shown)} of {len(self.total)}, of largest total"
            title = f"{title}\n{part}" if title else part
        axis.set_xlabel("information, nats")
        # The legend is above the bars, as these may reach any corner.
        axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
        axis.set_title(title, pad=28.0)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        feature_names: ArrayLike | None = None,
        max_features: int = 25,
        name: str | None = None,
        ax: Any | None = None,
    ) -> Self:
        """Explain samples and draw the mean of their maps.

        Parameters
        ----------
        estimator : InformationExplainer
            Fitted explainer.
        X : array-like of shape (n_samples, ...)
            One or several samples. Images of one or three channels are outlined on the maps.
        feature_names : array-like of str of shape (n_locations,) or None, default=None
            Names of the columns or tokens. None takes the names of the columns in the fit of the
            explainer, if these are the locations.
        max_features : int, default=25
            Largest number of columns or tokens. If there are more, those with the largest total are
            drawn.
        name : str or None, default=None
            Title.
        ax : matplotlib Axes, array-like of three of them, or None, default=None
            Axes to draw in: three for maps, one for bars. None makes a new figure.

        Returns
        -------
        display : InformationDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If `estimator` is no explainer.
        ValueError
            If there is not one name for each column or token, if `max_features` is not an integer
            of at least 1, or if `ax` is not three axes for maps.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        if not hasattr(estimator, "explain"):
            raise TypeError(
                f"estimator must be an InformationExplainer; got {type(estimator).__name__}."
            )
        explanation = estimator.explain(X)
        means = {part: getattr(explanation, part).mean(axis=0) for part in _PARTS}
        shape = means["total"].shape
        if feature_names is not None:
            feature_names = np.asarray(feature_names, dtype=str)
            if feature_names.shape != shape:
                raise ValueError(
                    f"feature_names must be {shape[0]} names, one for each column or token; got an "
                    f"array of shape {feature_names.shape}."
                )
        elif len(getattr(estimator, "feature_names_in_", ())) == np.prod(shape):
            feature_names = estimator.feature_names_in_
        display = cls(
            **means,
            total_error=explanation.total_error.mean(axis=0),
            picture=_picture(X),
            feature_names=feature_names,
            name=name,
        )
        return display.plot(max_features=max_features, ax=ax)


def _draw_outline(axis, picture):
    """Draw lines where a picture is halfway between dark and light."""
    shades = picture if picture.ndim == 2 else picture.mean(axis=2)
    lowest, highest = shades.min(), shades.max()
    if lowest < highest:
        for color, width in _LINES:
            axis.contour(shades, levels=[(lowest + highest) / 2], colors=color, linewidths=width)


def _picture(X) -> NDArray | None:
    """Mean of images, in the form that matplotlib draws. None if the samples are no images."""
    if np.ndim(X) != 4 or np.shape(X)[1] not in (1, 3):
        return None
    picture = np.asarray(X, dtype=float).mean(axis=0)
    lowest, highest = picture.min(), picture.max()
    picture = (picture - lowest) / (highest - lowest or 1.0)
    return picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, 2)
