"""Every public class that has `fit`, fitted quickly, and a few samples that it takes."""

from importlib.util import find_spec

import numpy as np
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

import metricalign
from metricalign import NCML, PCML, PSDSVR, RAMLNCSVR, RAMLPCSVR, RAMLSVR, DoubletSVM
from metricalign.learners.base import MetricLearner
from metricalign.multilabel import MLkNN
from metricalign.neighbors import FaissTransformer
from metricalign.pair_classification import PairClassifier

# Few fits where one estimator fits many times.
OPTIONS = {
    "IteratedMetricLearner": {"n_rounds": 2},
    "MetricNeighborsClassifier": {"n_folds": 2, "random_state": 0},
    "MetricNeighborsRegressor": {"n_folds": 2, "random_state": 0},
    "NeighborhoodAlignment": {"random_state": 0},
    "RelationAlignmentCV": {"Cs": 2, "cv": 2},
}
# An encoder learns nothing from targets, which most tests are about.
NAMED = [
    getattr(metricalign, name)(**OPTIONS.get(name, {}))
    for name in metricalign.__all__
    if name != "PiecewiseLinearEncoder"
]
LINEAR = [estimator for estimator in NAMED if isinstance(estimator, MetricLearner)]
EVERY = [*NAMED, MLkNN(5), PairClassifier()]
if find_spec("torch") and find_spec("skorch"):
    import torch

    from metricalign.deep import HRAML

    torch.set_num_threads(1)  # which would mostly wait for each other
    # The default network compares three kinds.
    network = {"embedding": None, "n_blocks": 0}
    EVERY.append(HRAML(n_ensemble=2, max_iter=2, random_state=0, **network))
# Each is RelationAlignment with one loss and one cone, as test_linear.py shows. What holds whatever
# these are is tested on other estimators, and on these in .ci/run.
SPECIAL_CASES = (RAMLSVR, RAMLPCSVR, RAMLNCSVR, PSDSVR, DoubletSVM, PCML, NCML)
# A search of neighbours learns nothing from targets, which most tests are about.
SEARCHES = [FaissTransformer()] if find_spec("faiss") else []


def is_special_case(estimator):
    """Whether it is RelationAlignment in all but its name; nu-SVR is a problem of its own."""
    return isinstance(estimator, SPECIAL_CASES) and getattr(estimator, "nu", None) is None


def data_of(estimator):
    """Read-only samples of three classes, or judged pairs of them, which suit every method."""
    X, y = load_wine(return_X_y=True)
    X, y = StandardScaler().fit_transform(X[::5, :4]), y[::5]
    if isinstance(estimator, PairClassifier):
        pairs = np.random.default_rng(0).choice(len(X), (40, 2))
        X, y = X[pairs], np.where(np.equal(*y[pairs].T), 1, -1)
    for array in (X, y):
        array.flags.writeable = False
    return X, y


def output(learner, X):
    """What a fitted estimator makes of samples, before any decision."""
    for name in ("predict_proba", "decision_function", "transform", "predict"):
        if hasattr(learner, name):
            return getattr(learner, name)(X)
    raise AttributeError(f"{learner} has no output.")
