"""A predictor of label sets that scikit-learn does not have."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.neighbors import NearestNeighbors, sort_graph_by_row_values
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from metricalign._arrays import as_dense, exponent_of_extent, sum_duplicates
from metricalign._decorators import _fit_context
from metricalign._estimator import (
    SavedWithVersion,
    keeps_last_fit,
    level_of_call,
    require_targets,
    validate_data,
)
from metricalign.pairs.identical import order_keys
from metricalign.pairs.search import middle_of, sees_only_differences
from metricalign.relations.kinds import check_classes

__all__ = ["MLkNN"]

# Samples with a label, and samples without it, that its likelihoods are counted from at most. They
# are then known to .007, and the time of a fit does not grow by the square of the samples.
_MOST_COUNTED = 5000


class MLkNN(ClassifierMixin, SavedWithVersion):
    """ML-kNN: nearest neighbours vote for each label, calibrated by Bayes' rule.

    Let j be the number of the `n_neighbors` neighbours of a sample that have a label. The sample
    gets the label if P(label | j) is above one half. With the smoothing s, and n(label) the number
    of training samples with the label::

        P(label | j) = P(label) P(j | label) / (P(label) P(j | label) + P(no label) P(j | no label))
        P(label)     = (s + n(label)) / (2 s + n_samples)
        P(j | label) = (s + number of samples with the label and with j such neighbours)
                       / ((n_neighbors + 1) s + n(label))

    P(j | no label) is the same for samples without the label. A training sample is not its own
    neighbour.

    To predict on a learned metric, put the metric in front in a pipeline.

    Parameters
    ----------
    n_neighbors : int, default=10
        Number of neighbours. If there are not more samples, all other samples are neighbours, and
        a warning says so.
    smoothing : float, default=1.0
        Number above 0 that is added to each count, s in the paper. 1 is Laplace's rule.
    metric : str or callable, default="minkowski"
        Metric of :class:`sklearn.neighbors.NearestNeighbors`. The default is Euclid's distance.
        ``"precomputed"`` takes distances in place of features.
    n_jobs : int or None, default=None
        Number of threads or processes of the neighbour search, as in joblib.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels, 2) or (n_classes,)
        The values 0 and 1 of each label, or the classes if `y` has one column.
    labels_ : ndarray of shape (n_labels,) or None
        Names of the labels, if `y` is a DataFrame with a column for each.
    n_labels_ : int
        Number of labels, or of classes if `y` has one column.
    n_neighbors_ : int
        Number of neighbours that vote.
    prior_ : ndarray of shape (n_labels,)
        P(label).
    likelihood_ : ndarray of shape (2, n_labels, `n_neighbors_` + 1)
        P(j | no label) and P(j | label).
    neighbors_ : NearestNeighbors
        The neighbour search over the training samples. They are moved to the origin if that does
        not change their distances, and divided by a power of two if they are so large or small that
        squares of them would leave the range of floats.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if all names in X are strings.

    Notes
    -----
    If `y` has one column of classes, each class is a label. The most probable class is predicted,
    and the probabilities are scaled to sum to 1.

    If several samples are at the same distance, scikit-learn's search chooses the neighbours.

    The neighbours of at most 5,000 samples with a label and 5,000 without it are counted for its
    P(j | label) and P(j | no label). These samples are spread evenly over the values of all
    samples, and their neighbours are sought among all.

    References
    ----------
    M.-L. Zhang, Z.-H. Zhou. "ML-KNN: A Lazy Learning Approach to Multi-Label Learning".
    Pattern Recognition 40(7), 2007.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.metrics import hamming_loss
    >>> from metricalign.multilabel import MLkNN
    >>> X, y = make_multilabel_classification(n_samples=200, n_classes=4, random_state=1)
    >>> model = MLkNN().fit(X[:100], y[:100])
    >>> model.predict_proba(X[100:]).shape
    (100, 4)
    >>> round(hamming_loss(y[100:], model.predict(X[100:])), 2)
    0.26
    """

    classes_: Any

    _parameter_constraints: ClassVar[dict] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
        "metric": [str, callable],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_neighbors: int = 10,
        smoothing: float = 1.0,
        metric: Any = "minkowski",
        n_jobs: int | None = None,
    ):
        self.n_neighbors = n_neighbors
        self.smoothing = smoothing
        self.metric = metric
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: ArrayLike | sparse.spmatrix | sparse.sparray) -> Self:
        """Count the neighbours with each label, of the samples with and without it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. If ``metric="precomputed"``, the distances of all pairs.
        y : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Label sets as 0 and 1, or classes.

        Returns
        -------
        self : MLkNN
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid.

        Warns
        -----
        UserWarning
            If there are fewer than `n_neighbors` other samples.
        """
        X = self._validate_samples(X, ensure_min_samples=2)
        labels = self._fit_labels(y)
        check_consistent_length(X, labels)
        n_samples, self.n_labels_ = labels.shape
        self.n_neighbors_ = min(self.n_neighbors, n_samples - 1)
        if self.n_neighbors_ < self.n_neighbors:
            warnings.warn(
                f"n_neighbors={self.n_neighbors} is too many for {n_samples} samples; "
                f"{self.n_neighbors_} are used.",
                stacklevel=level_of_call(),
            )
        is_of_differences = sees_only_differences(self.metric)
        self._exponent = exponent_of_extent(X) if is_of_differences else 0
        self._origin = middle_of(self._in_unit(X)) if is_of_differences else 0
        self.neighbors_ = NearestNeighbors(
            n_neighbors=self.n_neighbors_, metric=self.metric, n_jobs=self.n_jobs
        ).fit(self._moved(X))
        self._labels = labels
        is_counted = _counted(X, labels, self.metric == "precomputed")
        rows = np.flatnonzero(is_counted.any(axis=1))
        votes = self._votes_of(self._others_near(X, rows))

        n_votes = self.n_neighbors_ + 1
        # One bin for each state of the label, label and number of votes.
        bins = (labels[rows] * self.n_labels_ + np.arange(self.n_labels_)) * n_votes + votes
        shape = 2, self.n_labels_, n_votes
        counts = np.bincount(bins[is_counted[rows]], minlength=np.prod(shape)).reshape(shape)
        s = self.smoothing
        self.prior_ = (s + labels.sum(axis=0)) / (2 * s + n_samples)
        self.likelihood_ = (s + counts) / (n_votes * s + counts.sum(axis=2, keepdims=True))
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Probability of each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. If ``metric="precomputed"``, their distances to the training samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_labels)
            Probability of each label. If the training targets were classes, the probability of
            each class, with row sums of 1.
        """
        check_is_fitted(self)
        X = self._moved(self._validate_samples(X, reset=False))
        votes = self._votes_of(self.neighbors_.kneighbors(X, return_distance=False))
        without, having = self.likelihood_[:, np.arange(self.n_labels_), votes]
        having = having * self.prior_
        probabilities = having / (having + without * (1 - self.prior_))
        if not self._is_multilabel:
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray | sparse.csr_array:
        """Labels that are more probable than not, or the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. If ``metric="precomputed"``, their distances to the training samples.

        Returns
        -------
        y : ndarray or csr_array of shape (n_samples, n_labels), or ndarray of shape (n_samples,)
            Label sets as 0 and 1, or classes. The label sets are sparse if those in training were.
        """
        probabilities = self.predict_proba(X)
        if not self._is_multilabel:
            return self.classes_[probabilities.argmax(axis=1)]
        labels = (probabilities > 0.5).astype(int)
        return sparse.csr_array(labels) if self._sparse_output else labels

    def _fit_labels(self, y):
        """Return the targets as dense indicators, and remember their form."""
        self._sparse_output = sparse.issparse(y)
        require_targets(self, y)
        names = getattr(y, "columns", ())
        self.labels_ = np.asarray(names, dtype=object) if len(names) > 1 else None
        y = check_classes(y)
        self._is_multilabel = y.ndim == 2
        if not self._is_multilabel:
            self.classes_, indices = np.unique(y, return_inverse=True)
            return (indices[:, None] == np.arange(len(self.classes_))).astype(int)
        # scikit-learn's scorers recognise label sets by the two columns, and its
        # cross_val_predict asks for an array with a row for each column of probabilities.
        self.classes_ = np.tile([0, 1], (y.shape[1], 1))
        return y

    def _others_near(self, X, rows):
        """Return the neighbours of some training samples, which are not their own."""
        if len(rows) == X.shape[0]:
            return self.neighbors_.kneighbors(return_distance=False)
        near = self.neighbors_.kneighbors(
            self._moved(X[rows]), self.n_neighbors_ + 1, return_distance=False
        )
        is_other = near != rows[:, None]
        # Among many copies a sample need not be near itself.
        is_other[is_other.all(axis=1), -1] = False
        return near[is_other].reshape(len(rows), -1)

    def _votes_of(self, neighbors):
        """Return for each sample and label how many of its neighbours have the label."""
        votes = np.zeros((len(neighbors), self.n_labels_), dtype=int)
        for column in neighbors.T:  # so no array has n_samples x n_neighbors x n_labels entries
            votes += self._labels[column]
        return votes

    def _in_unit(self, X):
        """Samples in a unit in which the search can square their differences."""
        if not self._exponent:
            return X
        if not sparse.issparse(X):
            return np.ldexp(X, -self._exponent)
        X = X.copy()
        X.data = np.ldexp(X.data, -self._exponent)
        return X

    def _moved(self, X):
        """Samples in that unit, moved to the origin, where the search loses no digits."""
        X = self._in_unit(X)
        return as_dense(X) - self._origin if np.any(self._origin) else X

    def _validate_samples(self, X, **options):
        finite = "allow-nan" if self.metric == "nan_euclidean" else True
        X = validate_data(self, X, accept_sparse="csr", ensure_all_finite=finite, **options)
        if not sparse.issparse(X):
            return X
        X = sum_duplicates(X)
        if self.metric == "precomputed":
            X = sort_graph_by_row_values(X, copy=True, warn_when_not_sorted=False)
        if max(X.nnz, *X.shape) <= np.iinfo(np.int32).max:
            # Some metrics of scikit-learn cannot read 64-bit indices.
            indices = X.indices.astype(np.int32), X.indptr.astype(np.int32)
            X = sparse.csr_array((X.data, *indices), shape=X.shape)
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self.metric == "precomputed"
        tags.input_tags.positive_only = tags.input_tags.pairwise
        tags.input_tags.allow_nan = self.metric == "nan_euclidean"
        return tags


def _counted(X, labels, is_precomputed):
    """Return which samples are counted for the likelihoods of each label."""
    if len(labels) <= _MOST_COUNTED:
        return np.ones(labels.shape, dtype=bool)
    # Columns of distances are in the order of the samples, which must not matter.
    keys = np.asarray(X.sum(axis=1)).ravel() if is_precomputed else order_keys(X)
    rank = np.argsort(np.argsort(keys, kind="stable"))
    # The first samples of this order are from all of the range of values, however many are taken.
    # So labels share most of the samples whose neighbours are sought.
    order = np.argsort(rank * (np.sqrt(5) - 1) / 2 % 1)
    counted = np.zeros(labels.shape, dtype=bool)
    for column, is_counted in zip(labels.T, counted.T, strict=True):
        for state in (0, 1):
            is_counted[order[column[order] == state][:_MOST_COUNTED]] = True
    return counted
