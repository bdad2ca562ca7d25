"""Base classes of the metric learners, with and without a linear map."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils.validation import check_is_fitted

from metricalign._arrays import (
    as_dask_array,
    as_dense,
    batches,
    in_memory,
    is_dask_array,
    is_of_dask,
    map_rows,
    named_columns,
    stand_in,
    sum_duplicates,
)
from metricalign._estimator import (
    SavedWithVersion,
    check_sample_pairs,
    check_sample_weight,
    require_targets,
    validate_data,
)
from metricalign.pairs import RandomPairs
from metricalign.pairs.distinct import DistinctSamples, check_magnitude, distinct_samples
from metricalign.pairs.distributed import DistributedSamples
from metricalign.pairs.identical import merge_identical_samples
from metricalign.pairs.search import middle_of
from metricalign.relations import TargetRelation, check_targets, resolve_relation, select_targets
from metricalign.relations.kinds import check_n_samples

__all__ = [
    "EmbeddingDistance",
    "EmbeddingLearner",
    "MahalanobisDistance",
    "MetricLearner",
    "require_chosen_pairs",
    "with_relation",
]

# `score` compares at most so many pairs.
_LARGEST_SCORE = 100_000

# `score` computes differences with so many entries at a time.
_ENTRIES_OF_BATCH = 1_000_000

# The middle of so many rows of a Dask array stands for that of all rows.
_ROWS_OF_MIDDLE = 1000


class MahalanobisDistance:
    """A learned distance as a function of two samples, for code that takes one.

    Euclid's distance after `transform` is the same distance. In a search of neighbours, it is
    faster by a factor of a hundred.

    Parameters
    ----------
    components : {ndarray, sparse array} of shape (n_components, n_features)
        Linear map of the metric. The distance is Euclid's distance after it.

    Examples
    --------
    >>> import numpy as np
    >>> distance = MahalanobisDistance(np.array([[2.0, 0.0]]))
    >>> float(distance([0.0, 0.0], [1.0, 5.0]))
    2.0
    """

    def __init__(self, components: NDArray | sparse.sparray):
        self.components = components

    def __call__(self, left: ArrayLike, right: ArrayLike, squared: bool = False) -> float:
        """Distance of two samples, each of shape (n_features,)."""
        # Floats are needed, since differences of unsigned integers would wrap around.
        left, right = (np.asarray(sample, dtype=np.float64) for sample in (left, right))
        difference = self.components @ (left - right)
        squared_distance = float(difference @ difference)
        return squared_distance if squared else squared_distance**0.5


class EmbeddingDistance:
    """A learned distance as a function of two samples, for code that takes one.

    Euclid's distance after `transform` is the same distance, and much faster to compute.

    Parameters
    ----------
    learner : EmbeddingLearner
        Fitted metric learner.
    """

    def __init__(self, learner: EmbeddingLearner):
        self.learner = learner

    def __call__(self, left: ArrayLike, right: ArrayLike, squared: bool = False) -> float:
        """Distance of two samples, each of shape (n_features,)."""
        distance = float(self.learner.pair_distance(np.stack([left, right])[None])[0])
        return distance**2 if squared else distance


class EmbeddingLearner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SavedWithVersion):
    """Base class of the metric learners, with the methods that follow from `transform`.

    The ``fit`` of a subclass sets `relation_`, the relation of the targets. Its ``transform`` maps
    samples so that Euclid's distance of the images is the learned distance.
    """

    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Learn the metric."""
        raise NotImplementedError

    def _relation_of(self, y, n_samples, sample_weight=None) -> tuple[TargetRelation, Any]:
        """Relation of the samples with positive weight, and encoded targets of all samples."""
        known = y
        check_n_samples(y, n_samples)
        if sample_weight is not None and not sample_weight.all():
            known, y = _without_absent(y, sample_weight, self.relation)
        relation = resolve_relation(self.relation, known)
        return relation, relation.encode(y, n_samples)

    def _distinct_samples(self, X, y, sample_weight) -> DistinctSamples:
        """Distinct samples with positive weight, and their relation."""
        relation, targets = self._relation_of(y, X.shape[0], sample_weight)
        return distinct_samples(X, y, relation, targets, sample_weight, self.relation)

    def pair_distance(self, pairs: ArrayLike) -> NDArray:
        """Learned distance of each pair of samples.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair.

        Returns
        -------
        distances : ndarray of shape (n_pairs,)
            Distances, not squared.
        """
        check_is_fitted(self)
        pairs = check_sample_pairs(pairs, self.n_features_in_)
        return np.linalg.norm(self._differences(pairs[:, 0], pairs[:, 1]), axis=1)

    def _differences(self, left, right) -> NDArray:
        """Images of the first samples minus those of the second samples."""
        raise NotImplementedError

    def _rows_to_compare(self, X) -> Any:
        """Rows of numbers, which are equal if the samples are."""
        return X

    def _images_to_compare(self, X) -> Any:
        """Images of samples, moved by one vector so that their differences lose no digits."""
        images = self.transform(X)
        # set_output may have made a frame.
        return images if is_dask_array(images) else np.asarray(images)

    def pair_score(self, pairs: ArrayLike) -> NDArray:
        """Similarity of each pair of samples: minus the learned distance.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            A higher score means more similar samples.
        """
        return -self.pair_distance(pairs)

    def get_metric(self) -> EmbeddingDistance | MahalanobisDistance:
        """Learned distance as a function of two samples.

        Returns
        -------
        distance : EmbeddingDistance
            It is called with two samples of shape (n_features,). It does not change if the
            estimator is fitted again.
        """
        check_is_fitted(self)
        return EmbeddingDistance(deepcopy(self))

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Share of pairs of samples that the learned distance orders by their relation.

        Two pairs with different relations are in order if the pair with the larger relation has the
        larger distance. The score is the share of such two pairs that are in order, where equal
        distances count one half. For classes it is the area under the ROC curve.

        All pairs of samples are used. If there are more than 100,000, so many random pairs are
        used, and always the same. If relations are precomputed, all pairs that y stores are used.
        Samples with the same features and target count as one sample of greater weight.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like
            Targets of the samples, of the kind in fit.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples. The weight of a pair is the product of both.

        Returns
        -------
        score : float
            Between 0 and 1. It is 0.5 if distances do not depend on the relation, or if all pairs
            have the same relation.

        Raises
        ------
        ValueError
            If X and y do not fit together, or no sample has a positive weight.
        """
        X = as_dask_array(X)
        images = self._images_to_compare(X)
        n_samples = images.shape[0]
        targets = self.relation_.encode(in_memory(y), n_samples)
        X = self._rows_to_compare(X)
        if is_dask_array(X):
            X, sample_weight = DistributedSamples(X), in_memory(sample_weight)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        if self.relation_.kind == "precomputed":
            pairs = self.relation_.stored_pairs(targets)
            samples = np.arange(n_samples)
            weight = np.ones(n_samples) if sample_weight is None else sample_weight
        else:
            samples, weight = merge_identical_samples(X, targets, sample_weight)
            targets = targets[samples]
            if len(samples) < 2:
                return 0.5
            rows = np.arange(len(samples), dtype=np.float64)[:, None]
            pairs = RandomPairs(_LARGEST_SCORE).select(rows, None, random_state=0).indices
        relations = self.relation_(targets, pairs)
        # Relations that differ by rounding only count as equal.
        relations = np.round(relations / (np.abs(relations).max() or 1.0), 12)
        used, rows = np.unique(samples[pairs], return_inverse=True)
        left, right = rows.reshape(-1, 2).T
        images = in_memory(images[used])
        distances = np.empty(len(left), images.dtype)
        for batch in batches(len(left), max(1, _ENTRIES_OF_BATCH // images.shape[1])):
            differences = images[left[batch]] - images[right[batch]]
            distances[batch] = np.linalg.norm(differences, axis=1)
        # Only ratios of weights matter, and their products must stay in the range of float64.
        weight = weight / (weight.max() or 1.0)
        return concordance(distances, relations, weight[pairs].prod(axis=1))


class MetricLearner(EmbeddingLearner):
    """Base class of the linear metric learners, with the methods that follow from `components_`.

    The ``fit`` of a subclass sets `components_` of shape (n_components, n_features), and
    `relation_`, the relation of the targets.
    """

    def __sklearn_is_fitted__(self):
        return hasattr(self, "components_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.two_d_labels = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _validate_samples(self, X, y, **options):
        require_targets(self, y)
        options = {
            "accept_sparse": "csr",
            "dtype": [np.float64, np.float32],
            "ensure_min_samples": 2,
        } | options
        # scikit-learn computes the sum of all entries, which may overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            X = validate_data(self, X, **options)
        return sum_duplicates(X) if sparse.issparse(X) else X

    def _validate_given(self, X, y, sample_weight) -> tuple[Any, Any, Any]:
        """Validated samples, targets and weights. Samples of Dask stay on their workers."""
        if is_of_dask(X):
            samples = as_dask_array(X)
            # An array of the same shape stands for X here. The workers check the entries.
            self._validate_samples(stand_in(samples), y, dtype=None, ensure_all_finite=False)
            if samples is not X:
                validate_data(self, named_columns(X), skip_check_array=True)
            X = DistributedSamples(samples, estimator_name=type(self).__name__)
            y, sample_weight = in_memory(y), in_memory(sample_weight)
        else:
            X = self._validate_samples(X, y)
        check_magnitude(X)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        return X, y, sample_weight

    def _validate_distinct(self, X, y, sample_weight) -> tuple[Any, Any, DistinctSamples]:
        """Validated samples and targets, and the distinct samples. All pairs have a relation."""
        X, y, sample_weight = self._validate_given(X, y, sample_weight)
        samples = self._distinct_samples(X, y, sample_weight)
        if sparse.issparse(samples.targets) and samples.relation.kind == "precomputed":
            raise ValueError(
                "relation='precomputed' needs the relations of all pairs here, and a sparse y may "
                "lack some. Give a dense array, or use RelationAlignment or RelationAlignmentCV."
            )
        return X, y, samples

    @property
    def _n_features_out(self):
        return self.components_.shape[0]

    def transform(self, X: ArrayLike) -> NDArray:
        """Map samples so that Euclid's distance of the images is the learned distance.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The images, ``X @ components_.T``. If X is a Dask array or DataFrame, they are a Dask
            array that is not yet computed.
        """
        return self._images(X, is_moved=False)

    def _images_to_compare(self, X):
        return self._images(X, is_moved=True)

    def _images(self, X, is_moved: bool) -> NDArray:
        """Images of samples. If `is_moved`, the samples are moved to the origin first."""
        check_is_fitted(self, "components_")
        if is_of_dask(X):
            validate_data(self, named_columns(X), reset=False, skip_check_array=True)
            X = as_dask_array(X, lengths=False)
            origin = middle_of(in_memory(X[:_ROWS_OF_MIDDLE])) if is_moved else 0
            images = partial(_images, components=self.components_, origin=origin)
            return map_rows(images, X, self._n_features_out)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=[np.float64, np.float32])
        return _images(X, self.components_, middle_of(X) if is_moved else 0)

    def _differences(self, left, right) -> NDArray:
        return (left - right) @ self.components_.T

    def get_metric(self) -> MahalanobisDistance:
        """Learned distance as a function of two samples.

        Returns
        -------
        distance : MahalanobisDistance
            It is called with two samples of shape (n_features,).
        """
        check_is_fitted(self, "components_")
        return MahalanobisDistance(self.components_.copy())

    def get_mahalanobis_matrix(self) -> NDArray:
        """Positive semidefinite matrix of the learned distance.

        Returns
        -------
        matrix : ndarray of shape (n_features, n_features)
            ``components_.T @ components_``.
        """
        check_is_fitted(self, "components_")
        return as_dense(self.components_.T @ self.components_)


def with_relation(learner: Any, relation: Any) -> Any:
    """Copy a learner, or a pipeline with one, and set its relation if that is "auto".

    A learner passes its relation on to the learners inside it, so only outermost ones are set.

    Parameters
    ----------
    learner : estimator
        An unfitted learner, or a frozen one.
    relation : str or callable
        The relation that replaces "auto".

    Returns
    -------
    learner : estimator
        The copy.

    Examples
    --------
    >>> from metricalign import IteratedMetricLearner, PSDSVR
    >>> from metricalign.learners.base import with_relation
    >>> with_relation(IteratedMetricLearner(PSDSVR()), "class")
    IteratedMetricLearner(learner=PSDSVR(), relation='class')
    """
    learner = clone(learner)
    parameters = learner.get_params()
    owners = [name[: -len("relation")] for name in parameters if _is_relation(name)]
    outermost = [
        owner
        for owner in owners
        if not any(owner != other and owner.startswith(other) for other in owners)
    ]
    for name in (f"{owner}relation" for owner in outermost):
        if isinstance(parameters[name], str) and parameters[name] == "auto":
            learner.set_params(**{name: relation})
    return learner


def require_chosen_pairs(learner: Any, caller: str) -> None:
    """Refuse pairs that are rows of X where a learner is fitted to other rows.

    Parameters
    ----------
    learner : estimator
        Unfitted learner, or a pipeline with one. A frozen learner is not fitted again.
    caller : str
        Name of the estimator that fits it.

    Raises
    ------
    ValueError
        If its pairs, or those of a part of it, are given.
    """
    parameters = {"": learner, **learner.get_params()}
    for name, value in parameters.items():
        owner, _, parameter = name.rpartition("__")
        # Some strategies have a parameter of this name too.
        is_pairs = parameter == "pairs" and hasattr(parameters[owner], "fit")
        if is_pairs and not isinstance(value, str) and not hasattr(value, "select"):
            raise ValueError(
                f"{name} is an array of rows of X, and {caller} fits its learners to other rows: "
                "to parts of X, in another order. Use a name or an object of metricalign.pairs."
            )


def _is_relation(name) -> bool:
    return name.split("__")[-1] == "relation"


def _without_absent(y, sample_weight, relation) -> tuple[Any, Any]:
    """Targets of the samples with positive weight, and targets of all samples.

    In the latter, a sample of weight 0 has the target of another sample. If there are too few
    samples, or shapes are wrong, both are y as it was given, and a later check refuses it.
    """
    present, n_samples = np.flatnonzero(sample_weight), len(sample_weight)
    if isinstance(relation, str) and relation == "precomputed":
        if len(present) < 2 or np.shape(y) != (n_samples, n_samples):
            return y, y
        return select_targets(y, present, is_precomputed=True), y
    y = check_targets(y)
    if len(present) < 2 or y.shape[0] != n_samples:
        return y, y
    return y[present], y[np.where(sample_weight > 0, np.arange(n_samples), present[0])]


def concordance(distances: NDArray, relations: NDArray, weights: NDArray) -> float:
    """Weighted share of pairs of pairs with different relations whose distances have that order."""
    rank = np.unique(relations, return_inverse=True)[1]
    place = np.unique(distances, return_inverse=True)[1]
    n_places = len(place) + 1
    agreeing = total = 0.0
    # Two different ranks have one highest bit in which they differ. So two pairs meet at one level.
    for level in range(int(rank.max()).bit_length()):
        group = (rank >> (level + 1)) * n_places
        is_larger = (rank >> level) & 1 == 1
        smaller = np.flatnonzero(~is_larger)
        smaller = smaller[np.argsort((group + place)[smaller])]
        keys = (group + place)[smaller]
        mass = np.concatenate([[0.0], np.cumsum(weights[smaller])])
        group, place_of_larger = group[is_larger], place[is_larger]
        start = mass[np.searchsorted(keys, group)]
        below = mass[np.searchsorted(keys, group + place_of_larger)] - start
        up_to = mass[np.searchsorted(keys, group + place_of_larger, side="right")] - start
        agreeing += weights[is_larger] @ (below + up_to) / 2
        total += weights[is_larger] @ (mass[np.searchsorted(keys, group + n_places)] - start)
    return float(agreeing / total) if total > 0 else 0.5


def _images(X, components, origin) -> NDArray:
    X = X if np.ndim(origin) == 0 else X - origin
    return as_dense(X @ components.T.astype(X.dtype, copy=False))
