"""Distances by column: the part of each column of a table in the distances."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OneToOneFeatureMixin
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, TargetEncoder
from sklearn.utils.validation import check_is_fitted

from metricalign._arrays import as_dense
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.learners.base import MetricLearner
from metricalign.learners.ensemble import MetricEnsemble

__all__ = ["ColumnMap", "column_map"]

# Transformers that keep the names of the columns but mix them: they scale rows, or make a column
# for each class.
_MIXING = Normalizer, TargetEncoder, TfidfTransformer


class ColumnMap(NamedTuple):
    r"""A metric as a sum of curves, one for each column of a table.

    The metric is Euclid's distance after a linear map L of an encoding. Every column j of the table
    has a block :math:`e_j(x_j)` of the encoding, and the curve :math:`f_j = L_j e_j`. The distance
    is

    .. math:: d(x, x')^2 = \lVert \sum_j v_j \rVert^2, \qquad v_j = f_j(x_j) - f_j(x'_j).

    Attributes
    ----------
    encode : callable
        Maps a table of n samples to their encoding, of shape (n, n_encoded).
    components : ndarray of shape (n_components, n_encoded)
        The linear map L.
    blocks : list of ndarray of int of length n_columns
        Columns of the encoding for each column of the table.
    names : ndarray of str of shape (n_columns,)
        Names of the columns of the table. They are x0, x1 and so on if the columns have none.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from metricalign import MetricEnsemble
    >>> from metricalign.learners.columns import column_map
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> learner = MetricEnsemble(random_state=0).fit(X, y)
    >>> columns = column_map(learner)
    >>> parts = columns.contributions(X[:1], X[1:4])
    >>> images = learner.transform(X)
    >>> np.allclose(parts.sum(axis=1), np.sum((images[0] - images[1:4]) ** 2, axis=1))
    True
    >>> importances = columns.importances(X)
    >>> str(columns.names[importances.argmax()])
    'proline'
    """

    encode: Callable[[Any], NDArray]
    components: NDArray
    blocks: list[NDArray]
    names: NDArray

    def contributions(self, left: Any, right: Any) -> NDArray:
        r"""Contribution of each column to the squared distances of pairs of samples.

        .. math:: d^2 = \sum_j c_j, \qquad c_j = \langle v_j, \sum_k v_k \rangle.

        Each of two columns gets half of their product. This is the Shapley value of column j, if
        the value of a set of columns is the squared distance in these columns alone. A contribution
        can be negative. Then the difference in this column makes up for the differences in others,
        and brings the two samples nearer.

        Parameters
        ----------
        left, right : tables of shape (n_pairs, n_columns)
            The first and the second sample of each pair. A table of one row has the same sample for
            all pairs.

        Returns
        -------
        contributions : ndarray of shape (n_pairs, n_columns)
            Contribution of each column. The sum of a row is the squared distance of the pair.
        """
        return self._contributions(self.encode(left) - self.encode(right))

    def importances(self, X: Any, sample_weight: ArrayLike | None = None) -> NDArray:
        r"""Share of each column in the squared distances of samples.

        .. math:: s_j = \frac{\sum_{i < i'} c_j(x_i, x_{i'})}{\sum_{i < i'} d(x_i, x_{i'})^2}
            = \frac{\operatorname{tr}(L_j \Sigma_{j \cdot} L^T)}{\operatorname{tr}(L \Sigma L^T)},

        with the covariance Σ of the encoding and its rows of block j.

        Parameters
        ----------
        X : table of shape (n_samples, n_columns)
            Samples.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples.

        Returns
        -------
        importances : ndarray of shape (n_columns,)
            Share of each column. The sum is 1, or all are zero if all samples are at the same
            place. A share is negative if the column makes up for others more than it separates
            samples.
        """
        encoding = self.encode(X)
        weight = np.ones(len(encoding)) if sample_weight is None else np.asarray(sample_weight)
        centred = encoding - np.average(encoding, axis=0, weights=weight)
        sums = weight @ self._contributions(centred)
        return sums / sums.sum() if sums.sum() > 0 else sums

    def curves(self, X: Any, columns: Iterable[int]) -> list[NDArray]:
        """Points f_j(x_j) of samples on the curves of some columns.

        Parameters
        ----------
        X : table of shape (n_samples, n_columns)
            Samples.
        columns : iterable of int
            Indices of the columns.

        Returns
        -------
        points : list of ndarray of shape (n_samples, n_components)
            One array for each of the columns.
        """
        encoding = self.encode(X)
        blocks = (self.blocks[column] for column in columns)
        return [encoding[:, block] @ self.components[:, block].T for block in blocks]

    def _contributions(self, differences):
        # L^T L may be much larger than L, so it is not computed.
        terms = differences * (differences @ self.components.T @ self.components)
        sums = [terms[:, block].sum(axis=1) for block in self.blocks]
        return np.stack(sums, axis=1)


def column_map(estimator: Any) -> ColumnMap:
    """Find the curves of the columns of a metric.

    Parameters
    ----------
    estimator : MetricEnsemble, MetricLearner, PiecewiseLinearEncoder or Pipeline
        Fitted metric, or a pipeline that ends in one. An encoder alone has Euclid's distance. The
        earlier steps of a pipeline must not mix columns: they are these encoders, or scalers. The
        `pipeline_` of a predictor by neighbours is such a pipeline.

    Returns
    -------
    columns : ColumnMap

    Raises
    ------
    TypeError
        If the metric is not a sum over columns.
    NotFittedError
        If the estimator is not fitted.
    """
    steps = [step for step in _steps_of(estimator) if step not in ("passthrough", None)]
    check_is_fitted(steps[-1])
    if isinstance(steps[-1], MetricEnsemble):
        steps[-1:] = [steps[-1].encoder_, steps[-1]]
    components = None
    if isinstance(steps[-1], MetricEnsemble | MetricLearner):
        components = as_dense(steps.pop().components_)
    blocks = None
    for step in steps:
        if isinstance(step, DateTextEncoder | PiecewiseLinearEncoder):
            of_step = [np.r_[block] for block in step.blocks_]
        elif isinstance(step, OneToOneFeatureMixin) and not isinstance(step, _MIXING):
            of_step = [np.array([number]) for number in range(step.n_features_in_)]
        else:
            raise TypeError(
                "Distances by column need a metric that is a sum over columns: MetricEnsemble, a "
                "linear metric learner or Euclid's distance, after encoders of this package and "
                f"scalers; {type(step).__name__} is none of them."
            )
        if blocks is not None:
            of_step = [np.concatenate([of_step[p] for p in block]) for block in blocks]
        blocks = of_step
    if components is None:
        components = np.eye(steps[-1].blocks_[-1].stop)
    if blocks is None:
        blocks = [np.array([number]) for number in range(components.shape[1])]

    def encode(X: Any) -> NDArray:
        for step in steps:
            X = step.transform(X)
        return np.asarray(as_dense(X), dtype=np.float64)

    first = steps[0] if steps else estimator
    names = getattr(first, "feature_names_in_", None)
    if names is None:
        names = np.array([f"x{number}" for number in range(len(blocks))], dtype=object)
    return ColumnMap(encode, components.astype(np.float64), blocks, names)


def _steps_of(estimator) -> list[Any]:
    """The steps of a pipeline, including those of pipelines within it."""
    if not isinstance(estimator, Pipeline):
        return [estimator]
    return [step for _, part in estimator.steps for step in _steps_of(part)]
