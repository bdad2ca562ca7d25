"""Relation alignment with a choice of C by cross-validation along regularisation paths."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils._param_validation import Interval
from sklearn.utils.parallel import Parallel, delayed

from metricalign._arrays import is_dask_array
from metricalign._decorators import _fit_context
from metricalign._estimator import check_sample_weight, keeps_last_fit
from metricalign.learners.alignment.base import check_path
from metricalign.learners.alignment.general import GeneralAlignment, RelationAlignment
from metricalign.learners.folds import folds_among
from metricalign.losses import Loss
from metricalign.pairs.distinct import check_magnitude
from metricalign.regularizers import Regularizer
from metricalign.relations import check_targets, select_targets

__all__ = ["RelationAlignmentCV"]

# The useful range of C on real data. It is summed over the pairs and free of units.
_TOTAL_WEIGHTS = (0.3, 3000.0)


class RelationAlignmentCV(GeneralAlignment):
    """Relation alignment with C chosen by cross-validation.

    In every fold one regularisation path gives the metrics for all C, see
    `RelationAlignment.fit_path`. They are scored on the held-out samples. The C with the best mean
    score is fitted to all samples.

    Parameters
    ----------
    loss, cone
        See `RelationAlignment`.
    Cs : int or array-like of float, default=10
        Weights of one pair from which C is chosen. An integer is their number. The weights then
        correspond to c = 0.3 to 3000 in the formula of ``C="scale"``, see `RelationAlignment`.
    cv : int, splitter, iterable or None, default=None
        Folds, as in `sklearn.model_selection.check_cv`. They are stratified for classes. If a
        splitter needs groups, give its splits, ``list(cv.split(X, y, groups))``. None is five
        folds, or fewer if a class has fewer samples.
    scoring : callable or None, default=None
        Called as ``scoring(learner, X, y)``, without sample weights. It returns a larger number for
        a better metric. None takes the ``score`` of the learner, which says how well held-out pairs
        are ordered by their relation.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time, as in joblib.
    relation, pairs, fit_intercept, prior, n_components, solver, tol, max_iter, random_state
        See `RelationAlignment`. `pairs` cannot be an array, as its rows are other samples in each
        fold.
    verbose : int, default=0
        Whether to print the progress of each iteration.

    Attributes
    ----------
    C_ : float
        The chosen weight of one pair.
    Cs_ : ndarray of shape (n_Cs,)
        The weights from which it was chosen, in the units of the fit to all samples.
    scores_ : ndarray of shape (n_Cs, n_folds)
        Score of each C in each fold.
    components_, matrix_, coef_, intercept_, loss_, relation_, pairs_, relations_, dual_coef_
        See `RelationAlignment`.
    objective_, dual_gap_, metric_error_bound_, gap_history_, n_iter_, n_passes_, converged_
        See `RelationAlignment`.
    pair_weights_, pair_strategy_, n_features_in_, feature_names_in_
        See `RelationAlignment`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign import RelationAlignmentCV
    >>> X, y = load_wine(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> learner = RelationAlignmentCV(cone="diagonal", Cs=5).fit(X, y)
    >>> learner.scores_.shape
    (5, 5)
    """

    _parameter_constraints: ClassVar[dict] = {
        **GeneralAlignment._parameter_constraints,
        "Cs": [Interval(Integral, 2, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
        "scoring": [callable, None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        loss: str | Loss = "epsilon_insensitive",
        *,
        cone: str | Regularizer = "symmetric",
        Cs: int | ArrayLike = 10,
        cv: Any = None,
        scoring: Callable | None = None,
        n_jobs: int | None = None,
        relation: Any = "auto",
        pairs: Any = "auto",
        fit_intercept: bool = True,
        prior: Any = None,
        n_components: int | float | None = None,
        solver: Any = "auto",
        tol: float = 1e-2,
        max_iter: int = 1000,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.loss = loss
        self.cone = cone
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.relation = relation
        self.pairs = pairs
        self.fit_intercept = fit_intercept
        self.prior = prior
        self.n_components = n_components
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Choose C, and learn the metric with it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. float32 stays float32.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Targets, see `RelationAlignment.fit`.
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
        """
        if not isinstance(self.pairs, str) and not hasattr(self.pairs, "select"):
            raise ValueError(
                "pairs is an array of rows of X, which are other samples in each fold. Use a name "
                "or an object of metricalign.pairs."
            )
        parameters = self.get_params(deep=False)
        for name in ("Cs", "cv", "scoring", "n_jobs"):
            del parameters[name]
        learner = RelationAlignment(**parameters)
        if are_totals := isinstance(self.Cs, Integral):
            Cs = np.geomspace(*_TOTAL_WEIGHTS, int(self.Cs))
        else:
            Cs = check_path(self.Cs)
        # A frame is kept for its column names. A Dask array is taken into memory.
        given, X = X, self._validate_samples(X, y)
        given = X if is_dask_array(given) else given
        check_magnitude(X)
        rows = np.arange(X.shape[0])
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
            rows = np.flatnonzero(sample_weight)
        relation, _ = self._relation_of(y, X.shape[0], sample_weight)
        if isinstance(self.relation, str) and self.relation == "auto":
            # The relation follows from all targets, as the numbers of a fold may look like classes.
            learner.set_params(relation=relation.name)
        if relation.kind == "precomputed":
            y = sparse.csr_array(y) if sparse.issparse(y) else np.asarray(y)
        else:
            y = check_targets(y)
        is_class = relation.is_of_classes
        folds = folds_among(rows, X.shape[0], self.cv, y if is_class else None)
        if min(len(part) for fold in folds for part in fold) < 2:
            raise ValueError(
                "A fold has fewer than two samples to fit or to score, without those of weight 0. "
                "Use fewer folds, or give more samples."
            )
        scores = np.transpose(
            Parallel(n_jobs=self.n_jobs)(
                delayed(_scores)(learner, X, y, sample_weight, Cs, are_totals, self.scoring, fold)
                for fold in folds
            )
        )
        if not np.isfinite(scores).all():
            C, fold = np.argwhere(~np.isfinite(scores))[0]
            raise ValueError(
                f"scoring returned {scores[C, fold]} in fold {fold + 1} (number {C + 1} of "
                "Cs); it must return finite numbers."
            )
        mean = scores.mean(axis=1)
        # Among equally good C the smallest is chosen, as it has the smoothest metric.
        best = min(np.flatnonzero(mean >= mean.max() - 1e-12), key=lambda i: Cs[i])
        # The given samples have the names of the features.
        preparation = self._prepare(given, y, sample_weight)
        self.scores_, self.Cs_ = scores, self._weights_of_pair(preparation, Cs, are_totals)
        return self._fit_prepared(preparation, float(self.Cs_[best]), None, X, y)


def _scores(learner, X, y, sample_weight, Cs, are_totals, scoring, fold):
    """Score of every C on the held-out samples of one fold."""
    train, test = fold
    weights = [None if sample_weight is None else sample_weight[rows] for rows in fold]
    path = learner._fit_path(X[train], _targets_of(learner, y, train), Cs, weights[0], are_totals)
    held_out = _targets_of(learner, y, test)
    if scoring is None:
        return [step.score(X[test], held_out, weights[1]) for step in path]
    return [scoring(step, X[test], held_out) for step in path]


def _targets_of(learner, y, rows):
    is_precomputed = isinstance(learner.relation, str) and learner.relation == "precomputed"
    return select_targets(y, rows, is_precomputed=is_precomputed)
