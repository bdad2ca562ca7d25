"""Fits in several rounds: the metric of one round chooses pairs for the next."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import Interval

from metricalign._decorators import _fit_context
from metricalign._estimator import check_sample_weight, keeps_last_fit
from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.alignment.regression import PSDSVR
from metricalign.learners.base import MetricLearner, with_relation
from metricalign.pairs import TransformedPairs, UnionPairs, resolve_pairs

__all__ = ["IteratedMetricLearner"]


class IteratedMetricLearner(MetricLearner):
    """Fits a convex method in several rounds, each with more pairs than the one before.

    A convex method sees the pairs only. The pairs of the first round are near under Euclid's
    distance. Every further round keeps the pairs of the rounds before it, and adds those that are
    near under the metric just learned. The problem of each round is convex, so the last metric has
    a certificate, that of `learner_`. There is no guarantee that a round improves the metric.

    By default the prior M0 changes too if the targets are classes. In the first round it is a share
    of Euclid's distance, see `PSDSVR`. In every further round it is the metric just learned, scaled
    so that the mean distance of the pairs stays the same. If there are fewer samples than features,
    all rounds have the prior of the first one.

    Parameters
    ----------
    learner : metric learner or None, default=None
        A linear metric learner that chooses its pairs by nearness. It keeps its own prior in all
        rounds. None is `PSDSVR`. For classes it has the priors described above. For other targets
        it has ``prior=None``, or ``prior="auto"`` if the first round would learn the zero metric.
    n_rounds : int, default=4
        Number of rounds.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`. It is used if the relation of the
        learner is "auto".

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Linear map of the metric: Euclid's distance after ``X @ components_.T``.
    learner_ : metric learner
        The fitted learner of the last round.
    relation_ : TargetRelation
        The relation that was used.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import IteratedMetricLearner
    >>> X, y = load_wine(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> iterated = IteratedMetricLearner(n_rounds=2).fit(X, y)
    >>> iterated.learner_.converged_
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "learner": [LinearMetricLearner, None],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "relation": [str, callable],
    }

    def __init__(self, learner: Any = None, *, n_rounds: int = 4, relation: Any = "auto"):
        self.learner = learner
        self.n_rounds = n_rounds
        self.relation = relation

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. float32 stays float32.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Their targets. The relations of all pairs if ``relation="precomputed"``.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight 2 is the same as having the sample twice, weight 0 as not having it.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid, or no metric can be learned from the targets.
        """
        X = self._validate_samples(X, y)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        is_default = self.learner is None
        learner = with_relation(PSDSVR() if is_default else self.learner, self.relation)
        relation, _ = learner._relation_of(y, X.shape[0], sample_weight)
        pairs = learner.pairs
        is_given = not isinstance(pairs, str) and not hasattr(pairs, "select")
        if is_given or (
            isinstance(pairs, str) and pairs == "auto" and relation.kind == "precomputed"
        ):
            raise ValueError(
                "The pairs are given, so there is nothing to choose again. Give the learner a "
                "strategy, such as pairs='nearest', or use it without IteratedMetricLearner."
            )
        strategy = resolve_pairs(pairs, relation.kind)
        moves_prior = is_default and relation.is_of_classes
        if is_default and not moves_prior:
            fitted = _fit_without_prior(learner, X, y, sample_weight)
            learner.set_params(prior=fitted.prior)
        else:
            fitted = clone(learner).fit(X, y, sample_weight=sample_weight)
        # These are random pairs if all nearest samples have the same target.
        strategies = [fitted.pair_strategy_]
        for _ in range(self.n_rounds - 1):
            if abs(fitted.components_).max() == 0:
                break
            strategies = [*strategies, TransformedPairs(strategy, FrozenEstimator(fitted))]
            last, fitted = fitted, clone(learner).set_params(pairs=UnionPairs(strategies))
            if moves_prior:
                _fit_from(fitted, last.matrix_, X, y, sample_weight)
            else:
                fitted.fit(X, y, sample_weight=sample_weight)
        self.learner_, self.relation_ = fitted, fitted.relation_
        self.components_ = fitted.components_
        return self


def _fit_without_prior(learner, X, y, sample_weight):
    """Fit without a prior, or with the default one where the metric would be zero otherwise."""
    # Numbers have better neighbours without a prior: docs/defaults.md has the measurements.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PSDSVR learned the zero metric")
        fitted = clone(learner).set_params(prior=None).fit(X, y, sample_weight)
    return fitted if fitted.components_.any() else clone(learner).fit(X, y, sample_weight)


def _fit_from(learner, matrix, X, y, sample_weight):
    """Fit with a metric in place of the default prior. The size of the prior and C stay."""
    preparation = learner._prepare(X, y, sample_weight)
    operator, weights = preparation.operator, preparation.weights
    # Few samples are fitted in their span, and a matrix as the prior would lead out of it.
    if preparation.prior is not None and preparation.basis is None:
        distances = operator.distances(matrix)
        # If no samples differ where the metric has weight, all distances are rounding errors.
        if (distances > operator.resolution * np.linalg.norm(matrix)).any():
            size = np.average(operator.distances(preparation.prior), weights=weights)
            prior = matrix * (size / np.average(distances, weights=weights))
        else:
            prior = preparation.prior
        learner.set_params(C=preparation.scale, prior=prior)
        preparation = replace(preparation, prior=prior)
    learner._fit_prepared(preparation, preparation.scale, None, X, y)
