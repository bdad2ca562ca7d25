"""Fitting again with pairs that are chosen under the metric learned before."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, ClassVar, Self

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
    """Fits a metric several times, each time with the pairs that are near under the last one too.

    The pairs decide what a convex method sees. In the first round they are near under Euclid's
    distance; in each further one those near under the metric just learned are added to all that
    were chosen before. The problem of every round is convex, so the last metric has its
    certificate, in `learner_`; that it gets better from round to round is not certain.

    Parameters
    ----------
    learner : metric learner or None, default=None
        A linear metric learner that chooses its pairs by nearness. None for ``PSDSVR(prior=None)``,
        or ``PSDSVR()`` where the first round learns the zero metric without a prior.
    n_rounds : int, default=4
        How often it is fitted.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`; for a learner whose own is "auto".

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Linear map of the metric: Euclid's distance after ``X @ components_.T``.
    learner_ : metric learner
        The learner of the last round, with its pairs, certificate and so on.
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
            Their targets; relations of all pairs with ``relation="precomputed"``.
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
        # Its neighbours are better without one: docs/defaults.md has the numbers.
        learner = PSDSVR(prior=None) if self.learner is None else self.learner
        learner = with_relation(learner, self.relation)
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
        with warnings.catch_warnings():
            if self.learner is None:
                warnings.filterwarnings("ignore", message="PSDSVR learned the zero metric")
            fitted = clone(learner).fit(X, y, sample_weight=sample_weight)
        if self.learner is None and not fitted.components_.any():
            learner = with_relation(PSDSVR(), self.relation)
            fitted = clone(learner).fit(X, y, sample_weight=sample_weight)
        # Random pairs, if all nearest samples have the same target.
        strategies = [fitted.pair_strategy_]
        for _ in range(self.n_rounds - 1):
            if abs(fitted.components_).max() == 0:
                break
            strategies = [*strategies, TransformedPairs(strategy, FrozenEstimator(fitted))]
            fitted = clone(learner).set_params(pairs=UnionPairs(strategies))
            fitted.fit(X, y, sample_weight=sample_weight)
        self.learner_, self.relation_ = fitted, fitted.relation_
        self.components_ = fitted.components_
        return self
