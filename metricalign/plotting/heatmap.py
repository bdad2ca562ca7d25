"""Picture of the entries of the matrix of a learned distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from metricalign.learners.base import MetricLearner
from metricalign.plotting.drawing import (
    check_count,
    check_matplotlib,
    draw_signed_matrix,
    one_axes,
    shortened,
)
from metricalign.plotting.estimators import (
    feature_names_of,
    matrix_of_distance,
    metric_learner_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MetricHeatmapDisplay"]


class MetricHeatmapDisplay:
    """Matrix M of the learned distance, with a row and a column for each feature.

    Differences in a feature with a large diagonal entry count much. An entry off the diagonal is
    positive if differences of two features in the same direction add to the distance. It is
    negative if they make up for each other.

    Use `from_estimator` to make a display. All parameters are stored as attributes.

    Parameters
    ----------
    matrix : {ndarray, sparse array} of shape (n_features, n_features)
        The positive semidefinite matrix M.
    feature_names : array-like of str of shape (n_features,)
        Names of the features.
    name : str or None, default=None
        Title.

    Attributes
    ----------
    features_ : ndarray of int
        The features that are drawn.
    image_ : matplotlib AxesImage
        The entries.
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RAMLSVR
    >>> from metricalign.plotting import MetricHeatmapDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), RAMLSVR(prior=None)).fit(X, y)
    >>> display = MetricHeatmapDisplay.from_estimator(model, max_features=5)
    >>> display.feature_names[display.features_].tolist()
    ['alcohol', 'ash', 'alcalinity_of_ash', 'flavanoids', 'proline']
    """

    def __init__(
        self,
        *,
        matrix: NDArray | sparse.sparray,
        feature_names: ArrayLike,
        name: str | None = None,
    ):
        self.matrix = matrix
        self.feature_names = feature_names
        self.name = name

    def plot(
        self,
        *,
        max_features: int = 25,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the matrix.

        Parameters
        ----------
        max_features : int, default=25
            Largest number of features. If there are more, those with the largest diagonal entries
            are drawn in their order, and the title says so.
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure, which is larger for more features.
        name : str or None, default=None
            Title. None takes the name of the display.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : MetricHeatmapDisplay
            This display.

        Raises
        ------
        ValueError
            If `max_features` is not an integer of at least 1.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        check_count("max_features", max_features)
        diagonal = np.abs(self.matrix.diagonal())
        n_features = len(diagonal)
        largest = np.argsort(-diagonal, kind="stable")[:max_features]
        self.features_ = shown = np.sort(largest)
        matrix = self.matrix
        if sparse.issparse(matrix):
            matrix = sparse.csr_array(matrix)[shown][:, shown].toarray()
        else:
            matrix = matrix[np.ix_(shown, shown)]
        self.ax_ = ax = one_axes(ax, (4.2 + 0.16 * len(shown), 3.4 + 0.16 * len(shown)))
        self.figure_ = ax.figure
        names = shortened(np.asarray(self.feature_names)[shown])
        self.image_ = draw_signed_matrix(ax, matrix, names, "entry of M", **kwargs)
        title = self.name if name is None else name
        if len(shown) < n_features:
            part = f"{len(shown)} of {n_features} features, of largest diagonal"
            title = f"{title}\n{part}" if title else part
        ax.set_title(title)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        feature_names: ArrayLike | None = None,
        max_features: int = 25,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the matrix of the distance of a fitted metric learner.

        It is the matrix of `get_mahalanobis_matrix`, which does not have the negative part of
        `matrix_`. `MetricSpectrumDisplay` shows that part.

        Parameters
        ----------
        estimator : linear metric learner or Pipeline
            Fitted linear metric learner, or a pipeline that ends in one.
        feature_names : array-like of str of shape (n_features,) or None, default=None
            Names of the features of the metric learner. None takes the names that it knows.
        max_features : int, default=25
            Largest number of features. If there are more, those with the largest diagonal entries
            are drawn.
        name : str or None, default=None
            Title. None takes the name of the class of the learner.
        ax : matplotlib Axes or None, default=None
            Axes to draw in. None makes a new figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : MetricHeatmapDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If `estimator` is neither of them.
        ValueError
            If there is not one name for each feature, or if `max_features` is not an integer of at
            least 1.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        learner = metric_learner_of(estimator, MetricLearner)
        display = cls(
            matrix=matrix_of_distance(learner),
            feature_names=feature_names_of(estimator, feature_names),
            name=type(learner).__name__ if name is None else name,
        )
        return display.plot(max_features=max_features, ax=ax, **kwargs)
