"""Base class of the predictors, long since all that they answer is computed from one fit.

Neighbours under a learned metric vote with corrected targets.
"""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_regressor
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
    require_samples,
    require_targets,
    steps_without_names,
    validate_data,
)
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.learners.base import require_chosen_pairs, with_relation
from metricalign.learners.columns import column_map
from metricalign.learners.components import as_dense
from metricalign.learners.ensemble import MetricEnsemble
from metricalign.pairs.anchors import systematic_sample
from metricalign.pairs.identical import merge_identical_samples, order_of_values
from metricalign.pairs.search import NEIGHBORS_CONSTRAINT
from metricalign.predictors.encoded import EncodedRows
from metricalign.predictors.explanation import Explanation, Rows, explanation_of
from metricalign.predictors.fold_metric import FoldMetric, table_of_views
from metricalign.predictors.labels import has_label_sets, predictions_as_array
from metricalign.predictors.regressions import (
    MANY_SAMPLES,
    MOST_OF_TREES,
    EncodedRidge,
    KernelRidge,
    SmoothKernelRidge,
    predict_together,
    tree_regressions,
)
from metricalign.predictors.search import own_transformer, search_among
from metricalign.predictors.targets import check_predictable
from metricalign.predictors.training import (
    MetricToFit,
    Training,
    dense_table,
    folds_of,
    group_numbers,
    held_out,
    images_near_origin,
)
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
        given, y = dense_table(X), in_memory(y)
        require_samples(self, given, 2)
        sample_weight = in_memory(sample_weight)
        groups = None if groups is None else group_numbers(in_memory(groups))
        check_consistent_length(given, y, groups)
        n_given, present = len(given), np.arange(len(given))
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, given)
        if sample_weight is not None and not sample_weight.all():
            # Samples of weight 0 must decide nothing: what is free text, a class or a distribution.
            if not has_label_sets(y):
                check_predictable(y, is_regressor(self))  # whose messages name rows of all
            present = np.flatnonzero(sample_weight)
            given, y, sample_weight = (
                _safe_indexing(values, present) for values in (given, as_dense(y), sample_weight)
            )
            groups = None if groups is None else groups[present]
            require_samples(self, given, 2)
        # Whatever the output that scikit-learn is configured to make.
        columns = DateTextEncoder().set_output(transform="default")
        table = PiecewiseLinearEncoder(n_bins=1).set_output(transform="default")
        X = columns.fit(given).transform(given)
        Z = table.fit(X, sample_weight=sample_weight).transform(X)
        validate_data(self, given, skip_check_array=True)
        weight = check_sample_weight(sample_weight, Z)
        y, targets, relation, is_class = self._set_targets(y, weight, classes)
        # The result must not depend on the order of the samples, nor on whether they are repeated.
        rows, weight = merge_identical_samples(Z, targets, weight, groups)
        ties = [targets] if groups is None else [targets, groups]
        order = order_of_values(Z[rows], *(values[rows] for values in ties))
        self._n_given, self._weight_unit = n_given, weight.mean()
        rows, weight = rows[order], weight[order] / self._weight_unit
        X = _safe_indexing(X, rows)
        encoder, encoding = PiecewiseLinearEncoder().set_output(transform="default"), None
        # Regressions of other targets than classes take it, and the metric of a fold.
        if not is_class or self._is_ensemble():
            encoding = EncodedRows(encoder.fit(X, sample_weight=weight), X)
        # A metric that the user gives gets the columns as they are.
        X = X if isinstance(self.metric, str) else _safe_indexing(given, rows)
        targets = targets[rows]
        metric = self._resolve_metric(table, relation)
        of_all = MetricToFit(metric, X, _safe_indexing(y, rows))
        of_folds = self._metric_of_folds(of_all, encoder, encoding, targets, weight, random_state)
        is_many = len(rows) > MANY_SAMPLES
        # Of six large sets of numbers, the smooth one has .99 of the error (docs/tried.md).
        ridge = SmoothKernelRidge if is_many and not is_class else KernelRidge
        training = Training(of_all, of_folds, Z[rows], targets, weight, table, ridge, random_state)
        groups = None if groups is None else groups[rows]
        n_folds = _FOLDS_OF_MANY if is_many else self.n_folds
        folds = of_trees = folds_of(training, n_folds, is_class, groups)
        trees = tree_regressions(targets, is_class) if self.trees and folds else []
        if trees and is_many and len(rows) < 2 * MOST_OF_TREES:
            of_trees = folds_of(training, _FOLDS_OF_TREES, is_class, groups)
        # Where columns of classes act together, their encoding hides it (docs/tried.md).
        seen = (None, Z[rows]) if is_class else (encoder, encoding)
        encoded = [EncodedRidge(seen[0])] if folds else []
        arguments = targets, weight, folds, random_state
        fitted, *others = Parallel(n_jobs=self.n_jobs)(
            [
                delayed(training.fit)(training.of_all, np.arange(len(rows))),
                *(delayed(ridge.fit)(seen[1], *arguments) for ridge in encoded),
                *(
                    delayed(tree.fit)(training.table, targets, weight, of_trees, random_state)
                    for tree in trees
                ),
                *(delayed(held_out)(training, fold, self.n_neighbors) for fold in folds),
            ]
        )
        self.columns_, self.table_, self.metric_ = columns, table, fitted.metric
        steps = [("columns", columns)] if isinstance(self.metric, str) else []
        self.pipeline_ = Pipeline([*steps, ("metric", fitted.metric)])
        n_others = len(encoded) + len(trees)
        self.scale_, self._ridge = fitted.scale, fitted.ridge
        self._encoded, self._trees = others[: len(encoded)], others[len(encoded) : n_others]
        self._origin, self.samples_ = fitted.origin, present[rows]
        title = type(self).__name__ if self.verbose else None
        self._search, self.search_recall_ = search_among(
            fitted.images, neighbors, self.n_neighbors, title
        )
        self._weight, self._targets = weight, training.targets
        self._values = [column[rows] for column in Rows(given).columns]
        try:
            of_columns = column_map(self.pipeline_)
        except TypeError:
            pass  # The metric is no sum over columns.
        else:
            some, of_some = systematic_sample(weight, _MOST_OF_IMPORTANCES)
            of_rows = _safe_indexing(given, rows[some]), of_some
            self.feature_importances_ = of_columns.importances(*of_rows)
        copies = mean_of_copies(training.table, targets, weight * self._weight_unit, groups)
        self._choose_votes(folds, others[n_others:], *copies)
        return self

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

    def _resolve_metric(self, table, relation) -> Any:
        """Return the estimator to fit to all samples, or the table, which is fitted."""
        if not isinstance(self.metric, str):
            require_chosen_pairs(self.metric, type(self).__name__)
            return with_relation(self.metric, relation)
        if self.metric == "euclidean":
            return table
        return MetricEnsemble(relation=relation, random_state=self.random_state)

    def _metric_of_folds(
        self, of_all, encoder, encoding, targets, weight, random_state
    ) -> MetricToFit:
        """Return what is fitted in folds: a simpler metric tells as well how neighbours vote."""
        if not self._is_ensemble():
            return of_all
        views, blocks = table_of_views(encoder, encoding, weight)
        return MetricToFit(FoldMetric(blocks, random_state), views, targets)

    def _choose_votes(self, folds, parts, copied, copies) -> None:
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
        the fewest columns that would have to change for another prediction. Print it, or draw it
        with `metricalign.plotting.ExplanationDisplay`.

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
