"""A classifier of pairs: are the two samples the same?"""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from sklearn.base import ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import roc_auc_score
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from metricalign._decorators import _fit_context, available_if
from metricalign._estimator import SavedWithVersion, check_sample_pairs, keeps_last_fit
from metricalign.learners.alignment.regression import PSDSVR
from metricalign.learners.base import EmbeddingDistance, MahalanobisDistance, MetricLearner
from metricalign.pair_classification.calibration import best_threshold, log_odds
from metricalign.pair_classification.distances import distance_of_pairs
from metricalign.pair_classification.judgments import (
    check_judgments,
    precomputed_relations,
    set_pairs,
    warn_of_scales,
)

__all__ = ["PairClassifier"]

Strategy = Literal["accuracy", "f_beta", "equal_error_rate", "max_tpr", "max_tnr"]


def _metric_has(name):
    """Check for `available_if` that the metric has a method. It raises an error otherwise."""

    def check(classifier):
        metric = PSDSVR if classifier.metric is None else classifier.metric
        getattr(getattr(classifier, "metric_", metric), name)
        return True

    return check


class PairClassifier(ClassifierMixin, MetaEstimatorMixin, SavedWithVersion):
    """Classifier of pairs as the same or different, by a metric that is learned from judged pairs.

    A pair is classified as the same, +1, if its learned distance is at most `threshold_`, and as
    different, -1, otherwise. Judgments may also be 0 and 1, or False and True. The predictions are
    of the same kind.

    `fit` learns the metric from judged pairs, and then calibrates the threshold on them. The metric
    separates these pairs better than new ones, since it was learned from them. So call
    `calibrate_threshold` with held-out pairs, or use
    :class:`sklearn.model_selection.TunedThresholdClassifierCV` with
    ``response_method="decision_function"``, which holds pairs out.

    Parameters
    ----------
    metric : object or None, default=None
        Metric learner, or a pipeline that ends in one. The distance is Euclid's after its
        ``transform``. `fit` sets the `relation` and the `pairs` of the learner; `HRAML` refuses
        pairs of another weight than 1. Learners without `pairs`, such as
        `GradientAlignment` and `MetricEnsemble`, need more than the judged pairs, and are refused.
        Other transformers learn nothing from the judgments, so only the threshold is calibrated:
        ``StandardScaler()`` is scaled Euclid's distance, and ``FrozenEstimator(metric)`` a metric
        that was fitted before. None is ``PSDSVR()``. Its M is optimal among the matrices of
        distances, so the threshold cuts the fitted distances themselves.
    strategy : {"accuracy", "f_beta", "equal_error_rate", "max_tpr", "max_tnr"}, \
            default="accuracy"
        The measure that the threshold maximises. "accuracy" is the share of correct predictions,
        and "f_beta" the F-score with `beta`. "equal_error_rate" is minus the larger of both error
        rates, which are then about equal. "max_tpr" is the true positive rate, the share of the
        pairs +1 that are classified as +1, under the condition that the true negative rate is at
        least `min_rate`. "max_tnr" is the true negative rate, under the condition that the true
        positive rate is at least `min_rate`.
    min_rate : float or None, default=None
        Smallest allowed value of the other rate, from 0 to 1. "max_tpr" and "max_tnr" need it. For
        a false-accept rate of at most one in a thousand take ``strategy="max_tpr"`` and
        ``min_rate=0.999``.
    beta : float, default=1.0
        Weight of recall relative to precision in "f_beta". It is above 0.

    Attributes
    ----------
    metric_ : object
        The fitted metric.
    components_ : ndarray of shape (n_components, n_features)
        Linear map of the metric, if it has one.
    threshold_ : float
        Largest distance that is classified as the same. Calibration sets it halfway between the
        largest distance that is classified as the same and the smallest that is classified as
        different. It is minus infinity if no pair is classified as the same, and plus infinity if
        every pair is.
    calibration_ : tuple of float
        Slope and intercept of the log-odds of a pair being the same, as a function of its distance.
        They are fitted together with the threshold by Platt's method. The slope is at most zero.
    classes_ : ndarray of shape (2,)
        The judgment "different" and the judgment "the same": -1 and +1, 0 and 1, or False and True.
    n_features_in_ : int
        Number of features.

    Notes
    -----
    The metric is fitted to the distinct samples of the pairs. The relation of a pair is -1 if it is
    judged +1, and +1 if it is judged -1. A pair may be judged several times, in either order of its
    samples. It then counts with the sum of its judgments times their weights. If all agree, it
    counts as often as it was judged, and if they cancel, it does not count. For the
    epsilon-insensitive and the hinge loss, this is the same as a term for each judgment, as long as
    the fitted distance of the pair lies between both relations: there the sum of two opposite terms
    is constant. A pair of identical samples has distance 0 under every metric. It is used for the
    threshold only.

    If several thresholds are equally good, the smallest is chosen. "max_tnr" chooses the largest,
    which raises the true positive rate.

    The ``calibration_params`` of metric-learn's ``fit`` are parameters of this class. Its
    ``preprocessor`` is replaced by ``X[indices]``.

    References
    ----------
    J. Platt. "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized
    Likelihood Methods". Advances in Large Margin Classifiers, 1999.

    W. de Vazelhes, C. Carey, Y. Tang, N. Vauquier, A. Bellet. "metric-learn: Metric Learning
    Algorithms in Python". Journal of Machine Learning Research 21, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import PSDSVR
    >>> from metricalign.pair_classification import PairClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> indices = np.random.default_rng(0).choice(len(X), (600, 2))
    >>> pairs, judgments = X[indices], np.where(np.equal(*y[indices].T), 1, -1)
    >>> verifier = PairClassifier(make_pipeline(StandardScaler(), PSDSVR()))
    >>> verifier.fit(pairs[:200], judgments[:200]).calibrate_threshold(
    ...     pairs[200:400], judgments[200:400], strategy="max_tpr", min_rate=0.9
    ... )
    PairClassifier(...)
    >>> bool(verifier.score(pairs[400:], judgments[400:]) > 0.95)
    True
    """

    threshold_: float
    calibration_: tuple[float, float]

    _parameter_constraints: ClassVar[dict] = {
        "metric": [None, HasMethods(["fit", "transform"])],
        "strategy": [StrOptions({"accuracy", "f_beta", "equal_error_rate", "max_tpr", "max_tnr"})],
        "min_rate": [None, Interval(Real, 0, 1, closed="both")],
        "beta": [Interval(Real, 0, None, closed="neither")],
    }

    # Pairs take the place of X, which scikit-learn does not route either.
    __metadata_request__fit: ClassVar[dict] = {"pairs": UNUSED}
    __metadata_request__predict: ClassVar[dict] = {"pairs": UNUSED}
    __metadata_request__predict_proba: ClassVar[dict] = {"pairs": UNUSED}
    __metadata_request__decision_function: ClassVar[dict] = {"pairs": UNUSED}
    __metadata_request__score: ClassVar[dict] = {"pairs": UNUSED}

    def __init__(
        self,
        metric: Any = None,
        *,
        strategy: Strategy = "accuracy",
        min_rate: float | None = None,
        beta: float = 1.0,
    ):
        self.metric = metric
        self.strategy = strategy
        self.min_rate = min_rate
        self.beta = beta

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = False
        tags.classifier_tags.multi_class = False
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, pairs: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metric from judged pairs, and calibrate the threshold on them.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair.
        y : array-like of shape (n_pairs,)
            Judgments: +1, 1 or True for the same, -1, 0 or False for different.
        sample_weight : array-like of shape (n_pairs,) or None, default=None
            Weight 2 is the same as having the pair twice, weight 0 as not having it.

        Returns
        -------
        self : PairClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If an argument is not valid, or if the judgments are all the same or cancel out.

        Warns
        -----
        UserWarning
            If a few features have far larger standard deviations than the others, and should be
            scaled.
        """
        settings = self._calibration()
        pairs = check_sample_pairs(pairs)
        classes, y, weights = check_judgments(pairs, y, sample_weight)
        samples, relations, judged = precomputed_relations(pairs, y, weights)
        metric = PSDSVR() if self.metric is None else clone(self.metric)
        parameters = metric.get_params()
        for name in parameters:
            step, _, parameter = name.rpartition("__")
            if parameter == "relation":
                set_pairs(parameters[step] if step else metric, judged)
        if isinstance(metric, MetricLearner):
            warn_of_scales(samples, type(metric).__name__)
        self.metric_ = metric.fit(samples, relations)
        self.n_features_in_ = pairs.shape[2]
        self.classes_ = classes
        self._calibrate(self.pair_distance(pairs), y, weights, settings)
        return self

    def _calibrate(self, distances, y, weights, settings):
        threshold = best_threshold(distances, y, weights, **settings)
        calibration = log_odds(distances, y, weights)
        # Both are set in one step, so that an interruption leaves no mixture.
        self.__dict__ |= {"threshold_": threshold, "calibration_": calibration}

    def calibrate_threshold(
        self,
        pairs_valid: ArrayLike,
        y_valid: ArrayLike,
        strategy: Strategy | None = None,
        min_rate: float | None = None,
        beta: float | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Calibrate the threshold and the probabilities on judged pairs. The metric stays as it is.

        Parameters
        ----------
        pairs_valid : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair. They should not be pairs of the fit of the metric.
        y_valid : array-like of shape (n_pairs,)
            Judgments: +1, 1 or True for the same, -1, 0 or False for different.
        strategy, min_rate, beta
            See the parameters of the class. None takes those of this classifier.
        sample_weight : array-like of shape (n_pairs,) or None, default=None
            Weights of the pairs.

        Returns
        -------
        self : PairClassifier
            The same classifier.

        Raises
        ------
        ValueError
            If an argument is not valid, or the judgments are all the same.
        """
        check_is_fitted(self)
        settings = self._calibration(strategy=strategy, min_rate=min_rate, beta=beta)
        distances = self.pair_distance(pairs_valid)
        _, y_valid, weights = check_judgments(distances, y_valid, sample_weight)
        self._calibrate(distances, y_valid, weights, settings)
        return self

    def set_threshold(self, threshold: float) -> Self:
        """Set the largest distance that is classified as the same.

        Parameters
        ----------
        threshold : float
            The threshold, in the units of `pair_distance`.

        Returns
        -------
        self : PairClassifier
            The same classifier.

        Raises
        ------
        ValueError
            If the threshold is not a number.
        """
        check_is_fitted(self)
        if not isinstance(threshold, Real) or np.isnan(threshold):
            raise ValueError(f"threshold must be a number, a distance; got {threshold!r}.")
        self.threshold_ = float(threshold)
        return self

    def pair_distance(self, pairs: ArrayLike) -> NDArray:
        """Learned distance of each pair.

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
        return distance_of_pairs(self.metric_, pairs)

    def pair_score(self, pairs: ArrayLike) -> NDArray:
        """Similarity of each pair: minus the learned distance.

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

    def decision_function(self, pairs: ArrayLike) -> NDArray:
        """Minus the learned distance, which is higher for pairs that are more surely the same.

        The threshold of predictions is ``-threshold_`` and not 0, as in metric-learn.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            The scores of `pair_score`.
        """
        return self.pair_score(pairs)

    def predict(self, pairs: ArrayLike) -> NDArray:
        """Tell whether the two samples of each pair are the same.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair.

        Returns
        -------
        y : ndarray of shape (n_pairs,)
            ``classes_[1]``, the same, if the distance is at most `threshold_`, and
            ``classes_[0]``, different, otherwise.
        """
        distances = self.pair_distance(pairs)
        return self.classes_[(distances <= self.threshold_).astype(int)]

    def predict_proba(self, pairs: ArrayLike) -> NDArray:
        """Probability of each judgment, which is calibrated together with the threshold.

        The probability at the threshold need not be one half, as the strategy decides where
        `predict` cuts the distances.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair.

        Returns
        -------
        probabilities : ndarray of shape (n_pairs, 2)
            Probabilities of being different and of being the same. They hold for pairs like those
            of the calibration.
        """
        distances = self.pair_distance(pairs)
        slope, intercept = self.calibration_
        same = special.expit(slope * distances + intercept)
        return np.stack([1 - same, same], axis=1)

    def score(
        self, pairs: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Area under the ROC curve: the probability that a pair +1 is closer than a pair -1.

        It does not depend on the threshold. Scorers such as ``scoring="accuracy"`` do.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features)
            The two samples of each pair.
        y : array-like of shape (n_pairs,)
            Judgments: +1, 1 or True for the same, -1, 0 or False for different.
        sample_weight : array-like of shape (n_pairs,) or None, default=None
            Weights of the pairs.

        Returns
        -------
        score : float
            Between 0 and 1.
        """
        scores = self.decision_function(pairs)
        _, y, weights = check_judgments(scores, y, sample_weight)
        return float(roc_auc_score(y, scores, sample_weight=weights))

    def transform(self, X: ArrayLike) -> NDArray:
        """Map samples, not pairs. Euclid's distance of the images is the learned distance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The images.
        """
        check_is_fitted(self)
        return self.metric_.transform(X)

    @property
    def components_(self) -> NDArray:
        """Linear map of the metric. The distance is Euclid's after ``X @ components_.T``."""
        return self.metric_.components_

    @available_if(_metric_has("get_metric"))
    def get_metric(self) -> EmbeddingDistance | MahalanobisDistance:
        """Learned distance as a function of two samples, if the metric has one.

        Returns
        -------
        distance : MahalanobisDistance
            It is called with two samples of shape (n_features,).
        """
        check_is_fitted(self)
        return self.metric_.get_metric()

    @available_if(_metric_has("get_mahalanobis_matrix"))
    def get_mahalanobis_matrix(self) -> NDArray:
        """Positive semidefinite matrix of the learned distance, if the metric has one.

        Returns
        -------
        matrix : ndarray of shape (n_features, n_features)
            ``components_.T @ components_``.
        """
        check_is_fitted(self)
        return self.metric_.get_mahalanobis_matrix()

    def _calibration(self, **given):
        """Validated strategy, min_rate and beta. Those of the classifier replace None."""
        settings = {
            name: getattr(self, name) if given.get(name) is None else given[name]
            for name in ("strategy", "min_rate", "beta")
        }
        validate_parameter_constraints(
            {name: self._parameter_constraints[name] for name in settings},
            settings,
            caller_name=type(self).__name__,
        )
        if settings["strategy"] in ("max_tpr", "max_tnr") and settings["min_rate"] is None:
            raise ValueError(
                f"strategy={settings['strategy']!r} needs min_rate, the least value of the other "
                "rate, from 0 to 1; got None."
            )
        return settings
