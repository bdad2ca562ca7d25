"""The average of the best metrics, chosen by cross-validation of their neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval
from sklearn.utils.parallel import Parallel, delayed

from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign.learners.alignment.methods import PSDSVR
from metricalign.learners.base import MetricLearner
from metricalign.learners.components import _dense
from metricalign.learners.discriminant import DiscriminantAlignment
from metricalign.learners.folds import folds_among
from metricalign.learners.iterated import IteratedMetricLearner
from metricalign.learners.neighborhood import NeighborhoodAlignment
from metricalign.pairs.identical import merge_identical_samples
from metricalign.pairs.search import middle_of
from metricalign.relations import TargetRelation, check_targets, select_targets

__all__ = ["MetricLearnerCV"]

_SAMPLES_OF_BATCH = 1000


def _default_candidates(kind):
    losses = ["expected_relation"]
    # What the candidates were compared with, in docs/quality.md.
    convex = PSDSVR(tol=1e-3)
    learners = [convex, DiscriminantAlignment(whitening=0)]
    if kind != "precomputed":
        losses.append("kernel_regression")
        learners.append(IteratedMetricLearner(convex))
    return [
        "passthrough",
        *learners,
        *(
            NeighborhoodAlignment(loss, shrinkage=shrinkage, random_state=0)
            for loss in losses
            for shrinkage in (1.0, 0.5)
        ),
    ]


class MetricLearnerCV(MetricLearner):
    """Average of the metrics whose neighbours have the most similar targets, by cross-validation.

    Each candidate is fitted to the training part of every fold, and judged by the mean relation of
    the held-out samples and their nearest neighbours in the training part: how different the
    targets of neighbours are. The matrices of the best few, of all folds, are scaled to the same
    mean squared distance and averaged: what is particular to one fit averages out. Euclid's
    distance is a candidate too: what is no better is left out, and it is kept as it is where
    nothing is better.

    Parameters
    ----------
    candidates : list of metric learners and "passthrough", or None, default=None
        What to choose from; ``"passthrough"`` is Euclid's distance of the features as they are.
        Their parameter `relation` is set to that of this estimator. None is Euclid's distance,
        `PSDSVR` fitted once and in several rounds, `DiscriminantAlignment(whitening=0)`, and
        `NeighborhoodAlignment` with two losses and two shrinkages.
    n_best : int, default=3
        How many of the best candidates are averaged, at most.
    n_neighbors : int, default=10
        How many neighbours are looked at.
    cv : int, splitter, iterable or None, default=None
        Folds, as in `sklearn.model_selection.check_cv`; stratified for classes. None is five, or
        fewer where a class has fewer samples, that are shuffled, always in the same way, as samples
        often come in the order of a session or of their targets; those of a number are not. Of
        splitters that need groups give the splits, ``list(cv.split(X, y, groups))``.
    max_samples : int or None, default=1000
        Largest number of samples that candidates are compared on, drawn at random; None for all.
        If there are more, the best candidates are fitted again to all of them.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`.
    n_jobs : int or None, default=None
        Fits to work on at the same time, as in joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the samples that candidates are compared on, and is given to the candidates that have
        such a parameter and none set.
    verbose : int, default=0
        Whether to print the score of each candidate.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Linear map of the metric: Euclid's distance after ``X @ components_.T``.
    candidates_ : list
        What was chosen from.
    scores_ : ndarray of shape (n_candidates, n_folds)
        Mean relation of held-out samples and their neighbours, for each candidate and fold; low is
        good, NaN where the candidate could not be fitted or learned the zero metric.
    best_indices_ : ndarray of int of shape (n_best,)
        Candidates that were averaged, by their mean score, the best first; only that of Euclid's
        distance if none is better.
    relation_ : TargetRelation
        The relation that was used.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import MetricLearnerCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MetricLearnerCV(), KNeighborsClassifier())
    >>> model.fit(X, y)["metriclearnercv"].scores_.shape
    (8, 5)
    """

    _parameter_constraints: ClassVar[dict] = {
        "candidates": [list, tuple, None],
        "n_best": [Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "relation": [str, callable],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        candidates: Sequence[Any] | None = None,
        *,
        n_best: int = 3,
        n_neighbors: int = 10,
        cv: Any = None,
        max_samples: int | None = 1000,
        relation: Any = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.candidates = candidates
        self.n_best = n_best
        self.n_neighbors = n_neighbors
        self.cv = cv
        self.max_samples = max_samples
        self.relation = relation
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Choose a metric, and learn it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. float32 stays float32.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Their targets; relations of all pairs with ``relation="precomputed"``.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight 2 is the same as having the sample twice in its fold, weight 0 as not having
            it.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid, or no metric can be learned from the targets.

        Warns
        -----
        UserWarning
            If no candidate is better than Euclid's distance, which is then kept.
        FitFailedWarning
            If a candidate cannot be fitted in a fold; it is left out.
        """
        X, relation, targets, sample_weight = self._validate_all(X, y, sample_weight)
        y = targets if relation.kind == "precomputed" else check_targets(y)
        candidates = self._resolve_candidates(relation)
        data = _Data(X, y, relation, targets, sample_weight, middle_of(X))
        everyone = np.arange(X.shape[0])
        if sample_weight is not None:
            everyone = everyone[sample_weight > 0]
        compared = everyone
        if self.max_samples is not None and len(everyone) > self.max_samples:
            order = check_random_state(self.random_state).permutation(len(everyone))
            compared = everyone[np.sort(order[: self.max_samples])]
        is_class = relation.is_of_classes
        folds = folds_among(
            compared, X.shape[0], self.cv, y if is_class else None, is_shuffled=True
        )
        if min(len(train) for train, _ in folds) < 2 or min(len(test) for _, test in folds) < 1:
            raise ValueError(
                "A fold has fewer than two samples to fit, or none to judge, without those of "
                "weight 0. Use fewer folds, or give more samples."
            )
        is_whole = len(compared) == len(everyone)
        judged = Parallel(n_jobs=self.n_jobs)(
            delayed(_judge)(candidate, data, fold, self.n_neighbors, is_whole)
            for candidate in candidates
            for fold in folds
        )
        scores, components, errors = zip(*judged, strict=True)
        scores = np.reshape(scores, (len(candidates), len(folds)))
        self._report_failures(candidates, np.reshape(errors, scores.shape))
        mean = scores.mean(axis=1)
        if self.verbose:
            for candidate, score in zip(candidates, mean, strict=True):
                print(f"[{type(self).__name__}] {score:.6g} {candidate}", flush=True)
        # NaN comes last.
        best = np.argsort(mean, kind="stable")[: min(self.n_best, np.count_nonzero(mean == mean))]
        if len(best) == 0:
            raise ValueError(
                "Every candidate learned the zero metric in some fold, under which no sample is "
                "nearer than another. Add 'passthrough' or others to candidates."
            )
        if "passthrough" in candidates:
            euclid = candidates.index("passthrough")
            better = best[mean[best] < mean[euclid]]
            best = better if len(better) else np.array([euclid])
        if candidates[best[0]] == "passthrough" and len(candidates) > 1:
            warnings.warn(
                f"{type(self).__name__} keeps Euclid's distance: no candidate has neighbours "
                f"with more similar targets (mean relation {mean[best[0]]:.4g}, next best "
                f"{np.sort(mean)[1]:.4g}).",
                UserWarning,
                stacklevel=level_of_call(),
            )
        if is_whole:
            members = [
                components[index * len(folds) + fold]
                for index in best
                for fold in range(len(folds))
            ]
        else:
            members = Parallel(n_jobs=self.n_jobs)(
                delayed(data.components)(candidates[index], everyone) for index in best
            )
        average = _root_of_mean(members, data)
        self.relation_, self.candidates_, self.scores_ = relation, candidates, scores
        self.best_indices_, self.components_ = best, average
        return self

    def _report_failures(self, candidates, errors):
        is_learned = np.array([candidate != "passthrough" for candidate in candidates])
        has_failed = errors.astype(bool)
        if is_learned.any() and has_failed.any(axis=1)[is_learned].all():
            raise ValueError(
                f"Every candidate failed to fit in some fold; the first: {errors[has_failed][0]}"
            )
        for candidate, row in zip(candidates, errors, strict=True):
            if reasons := [error for error in row if error]:
                warnings.warn(
                    f"{candidate} failed to fit in {len(reasons)} of {len(row)} folds and is left "
                    f"out: {reasons[0]}",
                    FitFailedWarning,
                    stacklevel=level_of_call(),
                )

    def _resolve_candidates(self, relation) -> list:
        candidates = self.candidates
        if candidates is None:
            candidates = _default_candidates(relation.kind)
        if len(candidates) == 0:
            raise ValueError("candidates is empty; give at least one metric learner.")
        resolved = []
        for candidate in candidates:
            if isinstance(candidate, str) and candidate == "passthrough":
                resolved.append(candidate)
                continue
            if not isinstance(candidate, MetricLearner):
                raise ValueError(
                    "candidates must be linear metric learners of this package or 'passthrough'; "
                    f"got {candidate!r}."
                )
            candidate = clone(candidate)
            # What the targets are is seen from all of them: few numbers may look like classes.
            is_name = isinstance(self.relation, str)
            candidate.set_params(relation=relation.name if is_name else self.relation)
            if "random_state" in candidate.get_params() and candidate.random_state is None:
                candidate.set_params(random_state=self.random_state)
            resolved.append(candidate)
        return resolved


class _Data(NamedTuple):
    """What the candidates are fitted to and judged on."""

    X: Any
    y: Any
    relation: TargetRelation
    targets: Any
    sample_weight: NDArray | None
    middle: Any

    def images(self, rows, components) -> NDArray:
        """Images of some of the samples, near the origin, where they keep their digits."""
        return (self.X[rows] - self.middle) @ components.T

    def components(self, candidate, rows) -> NDArray:
        """Fit a candidate to some of the samples."""
        if candidate == "passthrough":
            return np.eye(self.X.shape[1], dtype=self.X.dtype)
        is_precomputed = self.relation.kind == "precomputed"
        y = select_targets(self.y, rows, is_precomputed=is_precomputed)
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        components = clone(candidate).fit(self.X[rows], y, sample_weight=weight).components_
        return _dense(components)

    def distinct(self, rows):
        """Rows without repetition, and how much each counts."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        if self.relation.kind == "precomputed":
            return rows, np.ones(len(rows)) if weight is None else weight
        kept, weight = merge_identical_samples(self.X[rows], self.targets[rows], weight)
        return rows[kept], weight


def _judge(candidate, data, fold, n_neighbors, is_kept) -> tuple[float, NDArray | None, str]:
    """Mean relation of the held-out samples of a fold and their neighbours.

    And the components of the candidate, if they are to be kept, or why it could not be fitted.
    """
    train, test = fold
    try:
        components = data.components(candidate, train)
    except ValueError as error:
        return np.nan, None, str(error)
    if not components.any():
        # Of equal distances none is the nearest.
        return np.nan, components, ""
    train, train_weight = data.distinct(train)
    test, test_weight = data.distinct(test)
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(train)))
    search.fit(data.images(train, components))
    nearest = search.kneighbors(data.images(test, components), return_distance=False)
    pairs = np.column_stack([np.repeat(test, nearest.shape[1]), train[nearest].ravel()])
    relations = data.relation(data.targets, pairs).reshape(nearest.shape)
    means = np.average(relations, axis=1, weights=train_weight[nearest])
    score = float(np.average(means, weights=test_weight))
    return score, components if is_kept else None, ""


def _root_of_mean(members, data) -> NDArray:
    """Components of the mean of metrics, each scaled to the same mean squared distance."""
    X, weight = data.X, data.sample_weight
    weight = np.ones(X.shape[0]) if weight is None else weight
    share = (weight / weight.sum()).astype(X.dtype)
    # The images of many samples in many dimensions are not kept all at once.
    batches = list(gen_batches(X.shape[0], _SAMPLES_OF_BATCH))
    scaled = []
    for components in members:
        center = sum(share[batch] @ data.images(batch, components) for batch in batches)
        size = sum(
            share[batch] @ np.sum((data.images(batch, components) - center) ** 2, axis=1)
            for batch in batches
        )
        # Fitted to all samples, one may be the zero metric though it was not in the folds.
        if size > 0:
            scaled.append(components / X.dtype.type(np.sqrt(size * len(members))))
    if not scaled:
        return np.zeros((1, X.shape[1]), X.dtype)
    # The symmetric root: unlike a map by eigenvectors it is unique where eigenvalues are equal.
    n_features = X.shape[1]
    if sum(len(components) for components in scaled) < n_features:
        _, roots, rows = np.linalg.svd(np.concatenate(scaled), full_matrices=False)
        values, vectors = roots[::-1] ** 2, rows[::-1].T
    else:
        mean = sum(components.T @ components for components in scaled)
        values, vectors = np.linalg.eigh(mean)
    values[values < n_features * np.finfo(X.dtype).eps * values[-1]] = 0
    return (vectors * np.sqrt(values)) @ vectors.T
