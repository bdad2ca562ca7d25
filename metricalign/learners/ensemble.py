"""The average of different metrics over raw and encoded columns, which is one matrix."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgWarning
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, check_is_fitted

from metricalign._arrays import (
    as_dense,
    in_memory,
    is_dask_array,
    is_dask_frame,
    is_of_dask,
    map_samples,
    named_columns,
)
from metricalign._decorators import _fit_context
from metricalign._estimator import (
    check_sample_weight,
    keeps_last_fit,
    level_of_call,
    require_samples,
    require_targets,
    steps_without_names,
    validate_data,
)
from metricalign.features import PiecewiseLinearEncoder
from metricalign.features.piecewise_linear import ENTRIES_OF_BATCH
from metricalign.learners.alignment.regression import PSDSVR
from metricalign.learners.base import (
    EmbeddingLearner,
    MetricLearner,
    require_chosen_pairs,
    with_relation,
)
from metricalign.learners.components import components_of, fixed_signs
from metricalign.learners.discriminant import DiscriminantAlignment
from metricalign.learners.gradient import GradientAlignment
from metricalign.pairs.distinct import representative_samples
from metricalign.pairs.distributed import DistributedSamples

__all__ = ["MetricEnsemble", "principal_components", "scaled_deviations", "views_of"]

# If there are more encoded columns, so many leading principal components are taken. On 20 sets of
# classes the neighbours have the same error as with all columns up to 200, in two thirds of the
# time.
_N_COMPONENTS = 64
# Up to so many columns, principal components by products of columns take less time than by random
# projections: with 128 columns a quarter for 300 samples, and a twentieth for 16,000.
_FEATURES_OF_PRODUCTS = 500
# `n_landmarks` of GradientAlignment, whose own default is twice as many.
_N_LANDMARKS = 500
_ZERO_METRIC = "it learned the zero metric."


class MetricEnsemble(EmbeddingLearner):
    r"""Average of different metrics over the columns of a table and over their encoding.

    Metrics that are learned in different ways make different errors, and their average has better
    neighbours than each of them. Every learner is fitted twice: to the standardised columns, which
    is better if columns act together, and to their piecewise linear encoding, over which a metric
    can be nonlinear in the columns. The standardised columns are linear in the encoding. So both
    metrics are matrices over the encoding, and their average

    .. math::
        M = \sum_k M_k / s_k, \qquad
        s_k = \text{mean of } \tfrac12 (x_i - x_j)^T M_k (x_i - x_j),

    is one positive semidefinite matrix. Its leading principal components are kept.

    Tables need no preparation: columns may have any unit, categories and missing values.

    Parameters
    ----------
    learners : sequence of MetricLearner or None, default=None
        The learners whose metrics are averaged. None: ``DiscriminantAlignment(euclidean=0.0,
        shrinkage=0.5)``, ``GradientAlignment(euclidean=0.0, n_landmarks=500, shrinkage=1.0)`` and
        ``PSDSVR(prior=None, tol=0.03)``. If their parameter `relation` is "auto", it is set to that
        of this estimator.
    encoder : PiecewiseLinearEncoder or None, default=None
        The encoder of the columns. None: ``PiecewiseLinearEncoder()``.
    n_components : int, float or None, default=0.999
        How many of the leading principal components of the images to keep: a number, their share
        of the mean squared distance (between 0 and 1), or all.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`. Precomputed ones must be dense.
    max_samples : int or None, default=20000
        Largest number of samples to learn from. If there are more, this many stand for all, spread
        evenly over classes and values, each with the weight of those that it stands for. None: no
        limit.
    n_jobs : int or None, default=None
        Number of fits that run at the same time, as in joblib.
    random_state : int, RandomState instance or None, default=None
        The parameter `random_state` of the learners in which it is None.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns)
        Linear map of the metric, which is Euclid's distance after
        ``encoder_.transform(X) @ components_.T``.
    encoder_ : PiecewiseLinearEncoder
        The fitted encoder.
    learners_ : list of tuple (str, MetricLearner)
        The fitted learners that were averaged. The string says what each was fitted to,
        ``"columns"`` or ``"encoding"``. Empty if none could be fitted.
    relation_ : TargetRelation
        The relation that was used.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names that are all strings.

    Notes
    -----
    A sparse X becomes dense. If there are more than 64 encoded columns, the learners are fitted to
    their 64 leading principal components.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from metricalign import MetricEnsemble
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(MetricEnsemble(random_state=0), KNeighborsClassifier())
    >>> bool(cross_val_score(model, X, y).mean() > 0.97)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "learners": ["array-like", None],
        "encoder": [HasMethods(["fit", "transform"]), None],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
            None,
        ],
        "relation": [str, callable],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        learners: Sequence[MetricLearner] | None = None,
        *,
        encoder: PiecewiseLinearEncoder | None = None,
        n_components: int | float | None = 0.999,
        relation: Any = "auto",
        max_samples: int | None = 20_000,
        n_jobs: int | None = None,
        random_state: Any = None,
    ):
        self.learners = learners
        self.encoder = encoder
        self.n_components = n_components
        self.relation = relation
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_is_fitted__(self):
        return hasattr(self, "components_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.two_d_labels = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the metrics and average them.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. Values may be missing.
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
            If an argument or a parameter of one of `learners` is not valid, or there is nothing to
            learn from the targets.

        Warns
        -----
        FitFailedWarning
            If a learner raises an error for these samples or targets, or one of `learners` learns
            the zero metric. It is left out of the average.
        UserWarning
            If no learner is left. The distance is then that of the standardised columns.
        """
        require_targets(self, y)
        encoder = PiecewiseLinearEncoder() if self.encoder is None else clone(self.encoder)
        encoder.set_output(transform="default")
        X, y, sample_weight = as_dense(X), in_memory(y), in_memory(sample_weight)
        if is_dask_frame(X):
            X = in_memory(X)
        if self.max_samples is not None and _num_samples(X) > self.max_samples:
            X, y, sample_weight = self._represent(X, y, sample_weight)
        X = in_memory(X)
        require_samples(self, X, 2)
        encoding = encoder.fit(X, sample_weight=sample_weight).transform(X)
        validate_data(self, X, skip_check_array=True)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, encoding)
        samples = self._distinct_samples(encoding, y, sample_weight)
        # Repeated samples count once, so that they change neither the order of sums nor rounding.
        encoding, y, weight = encoding[samples.rows], samples.select(y), samples.weight
        scaled = scaled_deviations(encoding, weight)
        views = views_of(encoder, scaled)
        fits = list(product(views, self._resolve_learners(samples.relation)))
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_or_fail)(learner, encoding @ views[view].T, y, weight)
            for view, learner in fits
        )
        scaled = scaled.astype(np.float64, copy=False)
        linear_map, learners, failures = _average(fits, fitted, views, scaled)
        for learner, reason in failures:
            # Some default learners have no metric for some targets, which users need not know.
            if reason == _ZERO_METRIC and self.learners is None:
                continue
            warnings.warn(
                f"{learner} is left out: {reason}", FitFailedWarning, stacklevel=level_of_call()
            )
        if not learners:
            warnings.warn(
                f"{type(self).__name__} keeps Euclid's distance of the standardised columns: no "
                "learner could be fitted. Check the targets.",
                UserWarning,
                stacklevel=level_of_call(),
            )
            linear_map = as_dense(encoder.linear_map_)
        self.relation_, self.encoder_, self.learners_ = samples.relation, encoder, learners
        components = principal_components(linear_map, scaled, self.n_components)
        self.components_ = components.astype(encoding.dtype)
        return self

    def _represent(self, X, y, sample_weight) -> tuple[Any, Any, NDArray]:
        """Choose some samples for all, spread evenly over classes and standardised columns."""
        encoder = PiecewiseLinearEncoder(n_bins=1).set_output(transform="default")
        table = encoder.fit(X, sample_weight=sample_weight).transform(X)
        if is_dask_array(table):
            table = DistributedSamples(table, estimator_name=type(self).__name__)
        weight = check_sample_weight(sample_weight, table)
        samples = self._distinct_samples(table, y, weight)
        samples = representative_samples(samples, table, self.max_samples)
        rows, y, weight = samples.rows, samples.select(y), samples.weight
        if is_dask_array(X):
            # Dask takes rows in ascending order. Then they are put into their own.
            return in_memory(X[np.sort(rows)])[np.argsort(np.argsort(rows))], y, weight
        return _safe_indexing(X, rows), y, weight

    def _resolve_learners(self, relation) -> list[MetricLearner]:
        learners = self.learners
        if learners is None:
            learners = [
                # The shrinkage of cross-validation is no better here (docs/tried.md).
                DiscriminantAlignment(shrinkage=0.5, euclidean=0.0),
                # The discriminant metric is whitened already. Without whitening here as well, the
                # error on numbers is less by a twentieth.
                GradientAlignment(shrinkage=1.0, euclidean=0.0, n_landmarks=_N_LANDMARKS),
                PSDSVR(prior=None, tol=0.03),
            ]
        is_automatic = isinstance(self.relation, str) and self.relation == "auto"
        relation = relation.name if is_automatic else self.relation
        if len(learners) == 0:
            raise ValueError("learners is empty. Give at least one metric learner, or None.")
        resolved = []
        for learner in learners:
            if not isinstance(learner, MetricLearner):
                raise ValueError(
                    "learners must be linear metric learners of this package, such as "
                    f"DiscriminantAlignment(); got {learner!r}."
                )
            require_chosen_pairs(learner, type(self).__name__)
            learner = with_relation(learner, relation)
            if getattr(learner, "random_state", 0) is None:
                learner.random_state = self.random_state
            for part in (learner, *learner.get_params().values()):
                if hasattr(part, "_parameter_constraints") and not isinstance(part, type):
                    part._validate_params()
            resolved.append(learner)
        return resolved

    @property
    def _n_features_out(self):
        return self.components_.shape[0]

    def transform(self, X: ArrayLike) -> NDArray:
        """Map samples so that Euclid's distance of the images is the learned distance.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The images, ``encoder_.transform(X) @ components_.T``.
        """
        check_is_fitted(self)
        if is_of_dask(X):
            validate_data(self, named_columns(X), reset=False, skip_check_array=True)
            example = np.empty((0, self._n_features_out), self.components_.dtype)
            return map_samples(self._images, X, example)
        return self._images(X)

    def _images(self, X) -> NDArray:
        X = as_dense(X)
        n_samples, n_rows = _num_samples(X), max(1, ENTRIES_OF_BATCH // self.components_.shape[1])
        with steps_without_names():
            if n_samples <= n_rows:
                images = self._of_batch(X)
            else:
                # Each batch has rows from all parts of X. Otherwise a batch of a sorted X may have
                # only categories that fit has not seen, and the encoder would warn.
                n_batches = -(-n_samples // n_rows)
                batches = [slice(first, None, n_batches) for first in range(n_batches)]
                parts = [self._of_batch(_safe_indexing(X, batch)) for batch in batches]
                images = np.empty((n_samples, parts[0].shape[1]), parts[0].dtype)
                for batch, part in zip(batches, parts, strict=True):
                    images[batch] = part
        validate_data(self, X, reset=False, skip_check_array=True)
        return images

    def _of_batch(self, X) -> NDArray:
        encoding = self.encoder_.transform(X)
        return encoding @ self.components_.T.astype(encoding.dtype, copy=False)

    def _differences(self, left, right) -> NDArray:
        return self.transform(left) - self.transform(right)

    def _rows_to_compare(self, X) -> Any:
        return self.encoder_.transform(as_dense(X))

    def get_mahalanobis_matrix(self) -> NDArray:
        """Positive semidefinite matrix of the learned distance, over the encoding.

        Returns
        -------
        matrix : ndarray of shape (n_columns, n_columns)
            ``components_.T @ components_``. Its rows are named by
            ``encoder_.get_feature_names_out()``.
        """
        check_is_fitted(self)
        return self.components_.T @ self.components_


def _fit_or_fail(learner, X, y, weight) -> MetricLearner | str:
    """Return the fitted learner, or the message of its error."""
    with warnings.catch_warnings():
        # A metric that is near zero or has not converged is still of use in an average.
        for category in (UserWarning, LinAlgWarning):
            warnings.simplefilter("ignore", category)
        try:
            # The parameters have been validated. A second time would take noticeably longer.
            with config_context(skip_parameter_validation=True):
                return clone(learner).fit(X, y, sample_weight=weight)
        except ValueError as error:
            return str(error)


def _average(fits, fitted, views, scaled) -> tuple[NDArray, list, list]:
    """Return a linear map of the sum of the metrics, each with mean squared distance 2.

    Also return view and learner of each metric in it, and the learners that are left out, with the
    reasons. The encoding may have too many columns for a matrix over it.
    """
    parts, learners, failures = [np.empty((0, scaled.shape[1]))], [], []
    for (view, learner), result in zip(fits, fitted, strict=True):
        failure, size = result, 0.0
        if not isinstance(result, str):
            components = as_dense(result.components_) @ views[view]
            size = float(np.sum((scaled @ components.T) ** 2))
            # If the samples do not vary in the directions of a metric, all distances are rounding.
            rounding = np.finfo(np.float32).eps * np.linalg.norm(components)
            rounding *= np.linalg.norm(scaled)
            size = size if size > rounding**2 else 0.0
            failure = _ZERO_METRIC
        if size > 0:
            parts.append(components / np.sqrt(size))
            learners.append((view, result))
        else:
            failures.append((learner, failure))
    return np.concatenate(parts), learners, failures


def scaled_deviations(samples: NDArray, weight: NDArray) -> NDArray:
    """Return deviations from the weighted mean, scaled so that their products are the covariance.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_columns)
        Samples.
    weight : ndarray of shape (n_samples,)
        Their weights.

    Returns
    -------
    scaled : ndarray of shape (n_samples, n_columns)
        Centred samples, times the square roots of their shares of the weight.
    """
    share = (weight / weight.sum())[:, None]
    deviations: NDArray = samples - np.sum(share * samples, axis=0)
    return np.sqrt(share) * deviations


def views_of(encoder: PiecewiseLinearEncoder, scaled: NDArray) -> dict[str, Any]:
    """Return the views to which learners are fitted: linear maps of the encoding.

    Parameters
    ----------
    encoder : PiecewiseLinearEncoder
        The fitted encoder.
    scaled : ndarray of shape (n_samples, n_columns)
        The `scaled_deviations` of the encoding.

    Returns
    -------
    views : dict of {ndarray, csr_array} of shape (n_features, n_columns)
        "encoding" is the identity, or the leading principal axes if there are many columns.
        "columns" maps to the standardised columns. It is missing if these are the encoding.
    """
    views: dict[str, Any] = {"encoding": _principal_axes(scaled)}
    if encoder.linear_map_.shape[0] < scaled.shape[1]:
        views["columns"] = encoder.linear_map_
    return views


def _principal_axes(scaled) -> NDArray:
    """Return all axes, or the leading principal axes of many columns, one in each row."""
    n_features = scaled.shape[1]
    if n_features <= _N_COMPONENTS:
        return np.eye(n_features, dtype=scaled.dtype)
    if n_features <= _FEATURES_OF_PRODUCTS:
        axes = np.linalg.eigh((scaled.T @ scaled).astype(np.float64))[1]
        return axes[:, : -_N_COMPONENTS - 1 : -1].T.astype(scaled.dtype)
    return randomized_svd(scaled, _N_COMPONENTS, random_state=0)[2].astype(scaled.dtype)


def principal_components(
    linear_map: NDArray, scaled: NDArray, n_components: int | float | None
) -> NDArray:
    """Return the components of the metric of a linear map, on the principal axes of its images.

    Parameters
    ----------
    linear_map : ndarray of shape (n_rows, n_columns)
        The map.
    scaled : ndarray of shape (n_samples, n_columns)
        The `scaled_deviations` of the samples.
    n_components : int, float or None
        How many components to return: a number, their share of the mean squared distance, or all.

    Returns
    -------
    components : ndarray of shape (n_components, n_columns)
        Those with the largest mean squared distance come first.
    """
    if len(linear_map) > linear_map.shape[1]:
        # This rotates the images, so that they need fewer coordinates.
        linear_map = np.asarray(np.linalg.qr(linear_map, mode="r"))
    images = scaled @ linear_map.T
    axes = components_of(images.T @ images, n_components)
    return fixed_signs(axes / np.linalg.norm(axes, axis=1, keepdims=True) @ linear_map)
