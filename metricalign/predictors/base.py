"""Base class of the predictors, long since all that they answer is computed from one fit.

Neighbours under a learned metric vote with corrected targets.
"""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from metricalign._arrays import in_memory, is_of_dask, map_samples, named_columns, one_sample
from metricalign._decorators import _fit_context
from metricalign._estimator import (
    SavedWithVersion,
    check_sample_weight,
    keeps_last_fit,
    require_targets,
    steps_without_names,
    validate_data,
)
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.learners.base import require_chosen_pairs, with_relation
from metricalign.learners.columns import column_map
from metricalign.learners.ensemble import MetricEnsemble
from metricalign.pairs.anchors import systematic_sample
from metricalign.pairs.identical import merge_identical_samples, order_of_values
from metricalign.pairs.search import NEIGHBORS_CONSTRAINT
from metricalign.predictors.encoded import EncodedRows
from metricalign.predictors.explanation import Explanation, Rows, explanation_of
from metricalign.predictors.fold_metric import FoldMetric, table_of_views
from metricalign.predictors.labels import predictions_as_array
from metricalign.predictors.regressions import (
    EncodedRidge,
    GaussianKernelRidge,
    KernelRidge,
    SmoothKernelRidge,
    predict_together,
)
from metricalign.predictors.samples import DistinctSamples, present_samples
from metricalign.predictors.search import own_transformer, search_among
from metricalign.predictors.training import (
    Fitted,
    HeldOut,
    MetricToFit,
    Training,
    dense_table,
    folds_of,
    held_out,
    images_near_origin,
)
from metricalign.predictors.trees import MANY_SAMPLES, MOST_OF_TREES, tree_regressions
from metricalign.predictors.votes import (
    NEAREST,
    Neighborhood,
    best_votes,
    mean_of_copies,
    mean_vote,
    share_of_copies,
    simplex_weights,
)

__all__ = ["MetricNeighbors"]

# Folds in which many samples choose the vote, where each fits a metric, and folds of the trees,
# which take less time. Two folds choose as well as three; trees of half of the samples are worse,
# unless the half has more samples than a tree takes.
_FOLDS_OF_MANY, _FOLDS_OF_TREES = 2, 5
# Of more samples, so many stand for all in the shares of the columns: they differ by a hundredth.
_MOST_OF_IMPORTANCES = 20_000


class MetricNeighbors(SavedWithVersion):
    """Base of both predictors; a subclass turns targets into coordinates and back."""

    _parameter_constraints: ClassVar[dict] = {
        "metric": [StrOptions({"ensemble", "euclidean"}), HasMethods(["fit", "transform"])],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "neighbors": NEIGHBORS_CONSTRAINT,
        "trees": ["boolean"],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        metric: Any = "ensemble",
        *,
        n_neighbors: int = 100,
        neighbors: Any = None,
        trees: bool = True,
        n_folds: int = 3,
        n_jobs: int | None = None,
        verbose: bool = False,
        random_state: Any = None,
    ):
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.neighbors = neighbors
        self.trees = trees
        self.n_folds = n_folds
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "votes_")

    def _set_targets(self, y, weight, classes) -> tuple[Any, NDArray, str, bool]:
        """Return targets, their coordinates, name of their relation, whether they are classes."""
        raise NotImplementedError

    def _further_targets(self, y) -> NDArray:
        """Return the coordinates of targets that are added after the fit."""
        raise NotImplementedError

    def _decoded(self, coordinates) -> Any:
        """Turn coordinates into targets."""
        raise NotImplementedError

    def _in_units(self, neighborhood) -> tuple[Any, Any]:
        """Return the first sample's votes and prediction: probabilities, or numbers in units."""
        raise NotImplementedError

    def _names_of_outputs(self) -> list[str] | None:
        """Return the names of the columns of the targets, or None."""
        raise NotImplementedError

    def _is_other(self, coordinates, before) -> NDArray:
        """Return which targets clearly differ from the prediction of one sample."""
        raise NotImplementedError

    def _is_changed(self, after, before, goal) -> NDArray:
        """Return which predictions have clearly moved from `before` towards `goal`."""
        raise NotImplementedError

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn the metric, and how the neighbours vote.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. Values may be missing. Dask arrays are loaded into memory.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or iterable of iterables
            Their targets. Classifier: classes, a column for each label, or the set of labels of
            each sample. Regressor: numbers, or the shares of a distribution.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight 2 is the same as having the sample twice, weight 0 as not having it.
        groups : array-like of shape (n_samples,) or None, default=None
            Group of each sample, such as the person that it is of. No group is split between
            folds, so that the votes are chosen for samples of new groups.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid.
        ImportError
            If X has dates or free texts, and skrub is not installed.
        """
        return self._fit(X, y, sample_weight, groups)

    @keeps_last_fit
    def _fit(self, X, y, sample_weight=None, groups=None, classes=None) -> Self:
        require_targets(self, y)
        random_state = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        neighbors = own_transformer(self.neighbors, random_state)
        given = present_samples(self, X, y, sample_weight, groups)
        samples = self._distinct_samples(given, classes)
        encoder, encoding = self._encoded_columns(samples)
        training = self._training(given, samples, encoder, encoding, random_state)
        folds, of_trees = self._choose_folds(training, samples)
        fitted, parts = self._fit_parts(training, samples, encoder, encoding, folds, of_trees)
        self._keep(given, samples, fitted, neighbors)
        self._choose_votes(folds, parts, samples)
        return self

    def _distinct_samples(self, given, classes) -> DistinctSamples:
        """Encode the table and the targets, and merge and sort the samples.

        So the result does not depend on the order of the samples, nor on whether they are repeated.
        """
        # Whatever the output that scikit-learn is configured to make.
        self.columns_ = DateTextEncoder().set_output(transform="default")
        self.table_ = PiecewiseLinearEncoder(n_bins=1).set_output(transform="default")
        X = self.columns_.fit(given.X).transform(given.X)
        table = self.table_.fit(X, sample_weight=given.weight).transform(X)
        validate_data(self, given.X, skip_check_array=True)
        weight, groups = check_sample_weight(given.weight, table), given.groups
        y, targets, relation, is_class = self._set_targets(given.y, weight, classes)
        places, weight = merge_identical_samples(table, targets, weight, groups)
        ties = [targets] if groups is None else [targets, groups]
        order = order_of_values(table[places], *(values[places] for values in ties))
        places, weight = places[order], weight[order]
        self._n_given, self._weight_unit = given.n_rows, weight.mean()
        return DistinctSamples(
            places=places,
            X=_safe_indexing(X, places),
            table=table[places],
            y=_safe_indexing(y, places),
            targets=targets[places],
            weight=weight / self._weight_unit,
            groups=None if groups is None else groups[places],
            relation=relation,
            is_class=is_class,
        )

    def _encoded_columns(self, samples) -> tuple[PiecewiseLinearEncoder, EncodedRows | None]:
        """Encode the columns for the regressions of other targets than classes, and for folds."""
        encoder = PiecewiseLinearEncoder().set_output(transform="default")
        if samples.is_class and not self._is_ensemble():
            return encoder, None
        encoder.fit(samples.X, sample_weight=samples.weight)
        return encoder, EncodedRows(encoder, samples.X)

    def _training(self, given, samples, encoder, encoding, random_state) -> Training:
        """Put together all that is fitted to all samples, and to those outside a fold."""
        # A metric that the user gives gets the columns as they are.
        is_own = isinstance(self.metric, str)
        X = samples.X if is_own else _safe_indexing(given.X, samples.places)
        of_all = MetricToFit(self._resolve_metric(samples.relation), X, samples.y)
        of_folds = self._metric_of_folds(of_all, encoder, encoding, samples, random_state)
        is_many = len(samples.places) > MANY_SAMPLES
        # Of six large sets of numbers, the smooth one has .99 of the error (docs/tried.md).
        ridge = SmoothKernelRidge if is_many and not samples.is_class else KernelRidge
        known = samples.table, samples.targets, samples.weight
        return Training(of_all, of_folds, *known, self.table_, ridge, random_state)

    def _choose_folds(self, training, samples) -> tuple[list, list]:
        """Return folds by which the votes are chosen, and those of the trees."""
        n_samples = len(samples.places)
        is_many = n_samples > MANY_SAMPLES
        n_folds = _FOLDS_OF_MANY if is_many else self.n_folds
        folds = of_trees = folds_of(training, n_folds, samples.is_class, samples.groups)
        if self.trees and folds and is_many and n_samples < 2 * MOST_OF_TREES:
            of_trees = folds_of(training, _FOLDS_OF_TREES, samples.is_class, samples.groups)
        return folds, of_trees

    def _fit_parts(
        self, training, samples, encoder, encoding, folds, of_trees
    ) -> tuple[Fitted, list[HeldOut]]:
        """Fit the metric, the regressions and the metric of each fold, at the same time."""
        known, random_state = (samples.targets, samples.weight), training.random_state
        # Where columns of classes act together, their encoding hides it (docs/tried.md).
        of_columns, seen = EncodedRidge(encoder, SmoothKernelRidge), encoding
        if samples.is_class:
            of_columns, seen = EncodedRidge(None, GaussianKernelRidge), samples.table
        encoded = [of_columns] if folds else []
        trees = tree_regressions(samples.targets, samples.is_class) if self.trees and folds else []
        fitted, *others = Parallel(n_jobs=self.n_jobs)(
            [
                delayed(training.fit)(training.of_all, np.arange(len(samples.places))),
                *(delayed(ridge.fit)(seen, *known, folds, random_state) for ridge in encoded),
                *(
                    delayed(tree.fit)(samples.table, *known, of_trees, random_state)
                    for tree in trees
                ),
                *(delayed(held_out)(training, fold, self.n_neighbors) for fold in folds),
            ]
        )
        n_regressions = len(encoded) + len(trees)
        self._encoded, self._trees = others[: len(encoded)], others[len(encoded) : n_regressions]
        return fitted, others[n_regressions:]

    def _keep(self, given, samples, fitted, neighbors) -> None:
        """Keep what predictions and explanations need of the samples and of the metric."""
        self.metric_, self.scale_, self._ridge = fitted.metric, fitted.scale, fitted.ridge
        steps = [("columns", self.columns_)] if isinstance(self.metric, str) else []
        self.pipeline_ = Pipeline([*steps, ("metric", fitted.metric)])
        self._origin, self.samples_ = fitted.origin, given.rows[samples.places]
        title = type(self).__name__ if self.verbose else None
        self._search, self.search_recall_ = search_among(
            fitted.images, neighbors, self.n_neighbors, title
        )
        self._weight, self._targets = samples.weight, samples.targets
        self._values = [column[samples.places] for column in Rows(given.X).columns]
        try:
            of_columns = column_map(self.pipeline_)
        except TypeError:
            return  # The metric is no sum over columns.
        some, weight = systematic_sample(samples.weight, _MOST_OF_IMPORTANCES)
        some_rows = _safe_indexing(given.X, samples.places[some])
        self.feature_importances_ = of_columns.importances(some_rows, weight)

    def _add(self, X, y, sample_weight) -> None:
        """Add samples to those among which neighbours are searched."""
        given, y = dense_table(X), in_memory(y)
        images, X, table = self._images_of(given)
        targets = self._further_targets(y)
        check_consistent_length(table, targets)
        weight = check_sample_weight(in_memory(sample_weight), table)
        rows, weight = merge_identical_samples(table, targets, weight)
        images, targets = images[rows], targets[rows]
        predicted, _ = self._regressions(images, _safe_indexing(X, rows), table[rows])
        columns = Rows(given).columns
        # All in one step, so that an interruption leaves no mixture.
        self.__dict__ |= {
            "_search": self._search.added(images),
            "_targets": np.concatenate([self._targets, targets]),
            # As for all other samples, these regressions have not seen the samples.
            "_predicted": np.concatenate([self._predicted, predicted]),
            "_weight": np.concatenate([self._weight, weight / self._weight_unit]),
            "_values": [
                np.concatenate([values, column[rows]])
                for values, column in zip(self._values, columns, strict=True)
            ],
            "samples_": np.concatenate([self.samples_, self._n_given + rows]),
            "_n_given": self._n_given + len(table),
        }

    def _is_ensemble(self) -> bool:
        return isinstance(self.metric, str) and self.metric == "ensemble"

    def _resolve_metric(self, relation) -> Any:
        """Return the estimator to fit to all samples, or the table, which is fitted."""
        if not isinstance(self.metric, str):
            require_chosen_pairs(self.metric, type(self).__name__)
            return with_relation(self.metric, relation)
        if self.metric == "euclidean":
            return self.table_
        return MetricEnsemble(relation=relation, random_state=self.random_state)

    def _metric_of_folds(self, of_all, encoder, encoding, samples, random_state) -> MetricToFit:
        """Return what is fitted in folds: a simpler metric tells as well how neighbours vote."""
        if not self._is_ensemble():
            return of_all
        views, blocks = table_of_views(encoder, encoding, samples.weight)
        return MetricToFit(FoldMetric(blocks, random_state), views, samples.targets)

    def _choose_votes(self, folds, parts, samples) -> None:
        """Choose weights of regressions and votes by the squared error in held-out folds.

        Also how far the mean targets of the copies of copied samples are believed.
        """
        n_samples, n_outputs = self._targets.shape
        self._predicted = np.zeros((n_samples, n_outputs))
        self.votes_, self.regression_weights_ = [NEAREST], np.zeros(0)
        self.share_of_copies_ = 0.0
        if not parts:
            return
        of_ridge = np.empty((n_samples, parts[0].predicted.shape[1], n_outputs))
        for (_, test), part in zip(folds, parts, strict=True):
            of_ridge[test] = part.predicted
        others = [regression.held_out_ for regression in (*self._encoded, *self._trees)]
        predicted = np.concatenate([of_ridge, *others], axis=1)
        self._mean = np.average(self._targets, axis=0, weights=self._weight)
        weights = simplex_weights(predicted, self._targets, self._mean, self._weight)
        self._predicted = np.einsum("ijk,j->ik", predicted, weights)
        self._predicted += (1 - weights.sum()) * self._mean
        self.regression_weights_ = weights
        n_neighbors = min(part.indices.shape[1] for part in parts)
        distances = np.concatenate([part.distances[:, :n_neighbors] for part in parts])
        indices = np.concatenate([part.indices[:, :n_neighbors] for part in parts])
        judged = np.concatenate([part.judged for part in parts])
        known = self._targets, self._predicted, self._weight
        self.votes_ = best_votes(
            distances, indices, judged, *known, self._bounded, not self._has_later_classes()
        )
        _, mean, added = mean_vote(self.votes_, distances, indices, *known, self._predicted[judged])
        voted = self._bounded(mean + added)
        copied, copies = mean_of_copies(
            samples.table, self._targets, self._weight * self._weight_unit, samples.groups
        )
        _, of_copied, of_judged = np.intersect1d(copied, judged, return_indices=True)
        rows = judged[of_judged]
        self.share_of_copies_ = share_of_copies(
            copies[of_copied], voted[of_judged], self._targets[rows], self._weight[rows]
        )
        self._fit_pool([voted, *(held_out[judged].mean(axis=1) for held_out in others)], judged)

    # For classes, the vote is pooled with the regressions on the columns.

    def _has_later_classes(self) -> bool:
        """Whether there are classes that no sample has, which regressions cannot predict."""
        return False

    def _fit_pool(self, predictions, rows) -> None:
        """Learn how to pool predictions of some rows."""

    def _is_pooled(self) -> bool:
        return False

    def _pooled(self, predictions) -> NDArray:
        """Pool predictions in coordinates."""
        raise NotImplementedError

    def _regressions(self, images, X, table) -> tuple[NDArray, list[NDArray]]:
        """Return what the regressions predict together, and what is pooled with the vote."""
        if not len(self.regression_weights_):
            return np.zeros((len(images), self._targets.shape[1])), []
        is_pooled = self._is_pooled()
        regressions = [(self._ridge, images, False)]
        for ridge in self._encoded:
            regressions.append((ridge, table if ridge.encoder is None else X, is_pooled))
        regressions += [(tree, table, is_pooled) for tree in self._trees]
        with steps_without_names():
            return predict_together(regressions, self.regression_weights_, self._mean)

    def _bounded(self, targets):
        """Return the nearest possible targets, in coordinates."""
        return targets

    def _predict(self, X, predict) -> Any:
        """Apply `predict` to the predicted coordinates, lazily if X is a Dask array."""
        check_is_fitted(self)
        if not is_of_dask(X):
            return predict(self._coordinates(X))
        validate_data(self, named_columns(X), reset=False, skip_check_array=True)
        example = predictions_as_array(predict(np.empty((0, self._targets.shape[1]))))
        return map_samples(partial(_predictions, predictor=self, predict=predict), X, example)

    def _coordinates(self, X) -> NDArray:
        """Return the prediction in coordinates of the targets."""
        neighborhood = self.neighborhood(X)
        return self._bounded(neighborhood.neighbors_part + neighborhood.correction)

    def explain(self, X: ArrayLike, n_neighbors: int = 5) -> Explanation:
        """Explain a prediction by the nearest training rows and by the columns of the table.

        It says what part each column has in the squared distance to each of these rows, and names
        the fewest columns that would have to change for another prediction. Rows have their
        positions in the X of `fit`, as of ``X.iloc``. Print it, or draw it with
        `metricalign.plotting.ExplanationDisplay`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_features,) or (1, n_features)
            One sample.
        n_neighbors : int, default=5
            Number of nearest rows to show.

        Returns
        -------
        explanation : Explanation

        Raises
        ------
        TypeError
            If the metric is not a sum over columns, see `metricalign.learners.columns.column_map`.
        ValueError
            If X is not one sample.
        """
        check_is_fitted(self)
        return explanation_of(self, dense_table(one_sample(X, "X")), n_neighbors)

    def neighborhood(self, X: ArrayLike) -> Neighborhood:
        """Find the neighbours, their weights, and the two parts of the prediction.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        neighborhood : Neighborhood
        """
        check_is_fitted(self)
        images, prepared, table = self._images_of(X)
        distances, indices = self._search.nearest(images, self.n_neighbors)
        predicted, of_columns = self._regressions(images, prepared, table)
        known = self._targets, self._predicted, self._weight
        weights, neighbors_part, correction = mean_vote(
            self.votes_, distances / self.scale_, indices, *known, predicted, self.share_of_copies_
        )
        if self._is_pooled():
            voted = self._bounded(neighbors_part + correction)
            correction = self._pooled([voted, *of_columns]) - neighbors_part
        return Neighborhood(
            self.samples_[indices],
            distances,
            weights,
            neighbors_part,
            correction,
            predicted,
            indices,
        )

    def kneighbors(
        self, X: ArrayLike, n_neighbors: int = 5, return_distance: bool = True
    ) -> tuple[NDArray, NDArray] | NDArray:
        """Find the nearest training samples under the metric.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.
        n_neighbors : int, default=5
            Number of neighbours. Samples that were repeated in fit count once.
        return_distance : bool, default=True
            Whether to return the distances.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_neighbors)
            Distances, ascending; only if `return_distance`.
        indices : ndarray of int of shape (n_samples, n_neighbors)
            Rows of the training samples.

        Raises
        ------
        ValueError
            If there are fewer distinct training samples.
        """
        check_is_fitted(self)
        if not 1 <= n_neighbors <= len(self.samples_):
            raise ValueError(
                f"n_neighbors must be from 1 to {len(self.samples_)}, the number of distinct "
                f"training samples; got {n_neighbors}."
            )
        distances, indices = self._search.nearest(self._images_of(X)[0], n_neighbors)
        indices = self.samples_[indices]
        return (distances, indices) if return_distance else indices

    def _images_of(self, X):
        """Return images under the metric, columns without dates and texts, and the table."""
        given = dense_table(X)
        validate_data(self, given, reset=False, skip_check_array=True)
        if len(given) == 0:
            raise ValueError("X has no rows (0 samples), so there is nothing to predict.")
        with steps_without_names():
            X = self.columns_.transform(given)
            table = self.table_.transform(X)
            if self.metric_ is self.table_:
                return images_near_origin(table, self._origin), X, table
            images = self.metric_.transform(X if len(self.pipeline_) > 1 else given)
        return images_near_origin(images, self._origin), X, table


def _predictions(X, predictor, predict) -> NDArray:
    """Return the predictions for a chunk of samples."""
    return predictions_as_array(predict(predictor._coordinates(X)))
