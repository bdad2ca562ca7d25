"""Approximate search of nearest neighbours, for pairs and predictions of many samples."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from metricalign._decorators import _fit_context
from metricalign._estimator import SavedWithVersion, keeps_last_fit, validate_data

__all__ = ["FaissTransformer", "import_faiss"]


def import_faiss() -> Any:
    """Import faiss.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError('FaissTransformer needs faiss: pip install "metricalign[ann]"') from error
    return faiss


class FaissTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SavedWithVersion):
    """Transform samples to the graph of their nearest neighbours, as faiss finds them.

    What :class:`~sklearn.neighbors.KNeighborsTransformer` with ``mode="distance"`` does, by a
    search that misses some neighbours and takes much less time when samples are many. It is
    made for the parameter ``neighbors`` of :class:`~metricalign.pairs.NearestPairs` and of the
    predictors, such as :class:`~metricalign.MetricNeighborsClassifier`. Needs
    ``pip install "metricalign[ann]"``.

    Parameters
    ----------
    n_neighbors : int, default=5
        The number of neighbours of each sample. One more is searched for, as a sample that was
        fitted is its own neighbour.
    index : str, default="HNSW32"
        The index that faiss's ``index_factory`` makes. ``"HNSW32"`` is a hierarchical navigable
        small world, a graph with 32 links of a sample [1]_; ``"IVF1000,Flat"`` searches some of
        1,000 cells; ``"Flat"`` compares all samples and misses none.
    index_parameters : str, default=None
        Parameters of the index in faiss's form, such as ``"efConstruction=80,efSearch=64"``
        of a small world, or ``"nprobe=16"`` of cells: larger ones miss less and take longer.
        None: faiss's own.

    Attributes
    ----------
    index_ : faiss.Index
        The index. It holds the samples in float32, less their median and over their scale.
    median_ : ndarray of shape (n_features,)
        The median of the samples, which a few far ones do not move.
    scale_ : float
        The largest absolute value of a feature of the samples less their median.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if they are all strings.

    Notes
    -----
    The index is built in one thread, so that the same samples have the same neighbours each
    time. The search takes as many threads as OpenMP does.

    References
    ----------
    .. [1] Y. Malkov and D. Yashunin, "Efficient and Robust Approximate Nearest Neighbor Search
       Using Hierarchical Navigable Small World Graphs", IEEE Transactions on Pattern Analysis
       and Machine Intelligence 42(4), 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.neighbors import FaissTransformer
    >>> from metricalign.pairs import NearestPairs
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> FaissTransformer(n_neighbors=1).fit_transform(X).toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 2., 0.]])
    >>> NearestPairs(n_neighbors=1, neighbors=FaissTransformer()).select(X).indices
    array([[0, 1],
           [1, 2]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "index": [str],
        "index_parameters": [str, None],
    }

    def __init__(
        self,
        n_neighbors: int = 5,
        index: str = "HNSW32",
        index_parameters: str | None = None,
    ):
        self.n_neighbors = n_neighbors
        self.index = index
        self.index_parameters = index_parameters

    @_fit_context(prefer_skip_nested_validation=True)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Build the index.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples among which neighbours are searched.
        y : Ignored
            Not used, present by convention.

        Returns
        -------
        self : FaissTransformer
            The fitted transformer.

        Raises
        ------
        ImportError
            If faiss is not installed.
        ValueError
            If a parameter is not valid, X or its range is not finite, or there are fewer samples
            than the index has cells.
        TypeError
            If X is sparse.
        """
        faiss = import_faiss()
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        with np.errstate(over="ignore", invalid="ignore"):
            self.median_ = np.median(X, axis=0)
            self.scale_ = float(np.abs(X - self.median_).max()) or 1.0
        # That of two samples may be twice as far, in each feature.
        if 2 * X.shape[1] ** 0.5 * self.scale_ > float(np.finfo(X.dtype).max):
            raise ValueError(
                f"X has entries so large that their differences leave the range of {X.dtype}. "
                "Scale X."
            )
        scaled = self._scaled(X)
        try:
            self.index_ = faiss.index_factory(X.shape[1], self.index)
            if self.index_parameters is not None:
                space: Any = faiss.ParameterSpace()  # its types name one of two signatures
                space.set_index_parameters(self.index_, self.index_parameters)
            # Several threads would build another graph each time.
            with threadpool_limits(1):
                self.index_.train(scaled)
                self.index_.add(scaled)
        except RuntimeError as error:
            raise ValueError(
                f"faiss cannot make index={self.index!r} with "
                f"index_parameters={self.index_parameters!r} of n_samples={X.shape[0]} and "
                f"n_features={X.shape[1]}: {error}"
            ) from error
        self._n_features_out = len(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Add samples to the index, which is not built again.

        The first call is a `fit`. Later samples are put where the index of the first ones has a
        place for them: if they lie elsewhere, a new `fit` finds more.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Further samples. In the graph their columns follow those of earlier samples.
        y : Ignored
            Not used, present by convention.

        Returns
        -------
        self : FaissTransformer
            The fitted transformer.

        Raises
        ------
        ImportError
            If faiss is not installed.
        ValueError
            If a parameter is not valid, or X is not finite, has other features, or is so far away
            that distances leave single precision.
        TypeError
            If X is sparse.
        """
        if not hasattr(self, "index_"):
            return self.fit(X)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        # An interruption must not leave some of the samples in the index.
        index = import_faiss().clone_index(self.index_)
        with threadpool_limits(1):
            index.add(self._scaled(X))
        self.index_, self._n_features_out = index, index.ntotal
        return self

    def _scaled(self, X):
        """The samples in float32, whose few digits and range no offset and no unit uses up."""
        with np.errstate(over="ignore"):
            scaled = X - self.median_
            scaled /= self.scale_
        farthest = float(np.abs(scaled).max())
        # The samples of the fit are in [-1, 1].
        if not farthest < (float(np.finfo(np.float32).max) / X.shape[1]) ** 0.5 / 2:
            raise ValueError(
                f"X has samples {farthest:.1e} times as far from the middle of those of the fit as "
                "any of these, so that single precision, in which faiss searches, cannot tell "
                "their neighbours. Check the units of X, or fit to samples of its range."
            )
        return np.ascontiguousarray(scaled, dtype=np.float32)

    def transform(self, X: ArrayLike) -> sparse.csr_array:
        """Find the nearest neighbours.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples whose neighbours are searched.

        Returns
        -------
        graph : csr_array of shape (n_samples, n_samples_fit)
            Euclid's distances to the n_neighbors + 1 nearest that were found among the samples
            of the fit, in each row in ascending order. An index that keeps codes or projections
            of the samples, such as "PQ8" and "PCA8,Flat", has the distances of these.

        Raises
        ------
        ValueError
            If fewer than n_neighbors + 1 samples were fitted, or X does not suit them, or is so
            far away that distances leave single precision.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        n_fitted = self.index_.ntotal
        if self.n_neighbors >= n_fitted:
            raise ValueError(
                f"n_neighbors={self.n_neighbors} must be less than the number of samples of the "
                f"fit, {n_fitted}."
            )
        squares, neighbors = self.index_.search(self._scaled(X), self.n_neighbors + 1)
        found = neighbors >= 0
        # In float32 they may leave its range, in the units of X.
        distances = (self.scale_ * np.sqrt(squares[found].astype(np.float64))).astype(X.dtype)
        ends = np.cumsum(found.sum(axis=1))
        return sparse.csr_array(
            (distances, neighbors[found], np.concatenate([[0], ends])), shape=(len(X), n_fitted)
        )
