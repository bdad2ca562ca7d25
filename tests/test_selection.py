import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_iris, make_classification
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GroupKFold, KFold
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from metricalign import (
    PSDSVR,
    DiscriminantAlignment,
    DoubletSVM,
    MetricLearnerCV,
    NeighborhoodAlignment,
    RelationAlignment,
)

CANDIDATES = ["passthrough", PSDSVR(), NeighborhoodAlignment()]


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X)[::2], y[::2]


@pytest.fixture(scope="module")
def noisy():
    """Classes that a few of many features tell."""
    X, y = make_classification(
        200, 20, n_informative=3, n_redundant=0, n_classes=3, n_clusters_per_class=1, random_state=0
    )
    return StandardScaler().fit_transform(X), y


def mean_relation(near, y_near, far, y_far, relation, n_neighbors):
    """Of every sample and its nearest neighbours, by a loop."""
    values = []
    for image, target in zip(far, y_far, strict=True):
        distances = np.sum((near - image) ** 2, axis=1)
        nearest = np.argsort(distances)[:n_neighbors]
        values.append(np.mean([relation(target, y_near[j]) for j in nearest]))
    return np.mean(values)


def test_scores_are_mean_relations_of_held_out_neighbors(iris):
    X, y = iris
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    search = MetricLearnerCV(CANDIDATES, cv=folds, n_neighbors=4).fit(X, y)
    for column, (train, test) in enumerate(folds):
        for row, candidate in enumerate(CANDIDATES):
            images = X
            if candidate != "passthrough":
                images = candidate.fit(X[train], y[train]).transform(X)
            expected = mean_relation(
                images[train],
                y[train],
                images[test],
                y[test],
                lambda left, right: 1 if left != right else -1,
                4,
            )
            assert search.scores_[row, column] == pytest.approx(expected, abs=1e-12)


def mean_matrix(members, X):
    """Mean of the matrices of linear maps, each scaled to mean squared distance 1."""
    matrices = [components.T @ components for components in members]
    covariance = np.cov(X, rowvar=False)
    return np.mean([matrix / np.sum(matrix * covariance) for matrix in matrices], axis=0)


def assert_proportional(matrix, expected):
    np.testing.assert_allclose(matrix / np.trace(matrix), expected / np.trace(expected), atol=1e-10)


@pytest.mark.parametrize("n_best", [1, 2])
def test_metrics_of_the_best_candidates_and_all_folds_are_averaged(noisy, n_best):
    X, y = noisy
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    search = MetricLearnerCV(CANDIDATES, cv=folds, n_best=n_best).fit(X, y)
    order = np.argsort(search.scores_.mean(axis=1))
    np.testing.assert_array_equal(search.best_indices_, order[:n_best])
    assert 0 not in search.best_indices_
    members = [
        CANDIDATES[index].fit(X[train], y[train]).components_
        for index in search.best_indices_
        for train, _ in folds
    ]
    assert_proportional(search.get_mahalanobis_matrix(), mean_matrix(members, X))


def test_chosen_metric_has_better_neighbors_than_euclid(noisy):
    X, y = noisy
    train, test = np.arange(len(X)) % 2 == 0, np.arange(len(X)) % 2 == 1
    search = MetricLearnerCV(cv=3).fit(X[train], y[train])
    euclid = KNeighborsClassifier().fit(X[train], y[train]).score(X[test], y[test])
    images = search.transform(X)
    learned = KNeighborsClassifier().fit(images[train], y[train]).score(images[test], y[test])
    assert learned > euclid + 0.05


def test_euclid_is_kept_where_nothing_can_be_learned():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    bad = RelationAlignment(pairs="random", prior=np.diag([1e4, 0, 0]), C=1e-9, random_state=0)
    X[:, 1] = y
    with pytest.warns(UserWarning, match="keeps Euclid's distance"):
        search = MetricLearnerCV(["passthrough", bad], cv=3).fit(X, y)
    np.testing.assert_array_equal(search.best_indices_, [0])
    assert_proportional(search.get_mahalanobis_matrix(), np.eye(3))


def test_a_candidate_that_fails_is_left_out(noisy):
    X, y = noisy
    bad = RelationAlignment(prior=np.eye(3))
    with pytest.warns(FitFailedWarning, match="prior must be"):
        search = MetricLearnerCV([bad, PSDSVR()], cv=3).fit(X, y)
    assert np.isnan(search.scores_[0]).all()
    np.testing.assert_array_equal(search.best_indices_, [1])
    with pytest.raises(ValueError, match="Every candidate failed"):
        MetricLearnerCV([bad], cv=3).fit(X, y)


def test_what_is_no_better_than_euclid_is_not_averaged(iris):
    X, y = iris
    bad = RelationAlignment(pairs="random", prior=np.diag([1e4, 0, 0, 0]), C=1e-9, random_state=0)
    search = MetricLearnerCV([PSDSVR(), bad, "passthrough"], cv=3, n_best=3).fit(X, y)
    assert search.scores_.mean(axis=1)[1] > search.scores_.mean(axis=1)[2]
    np.testing.assert_array_equal(search.best_indices_, [0])


def test_hinge_loss_is_left_out_for_numbers():
    X, y = load_diabetes(return_X_y=True)
    with pytest.warns(FitFailedWarning, match="DoubletSVM"):
        search = MetricLearnerCV([DoubletSVM(), PSDSVR()], cv=3).fit(X[::6], y[::6])
    np.testing.assert_array_equal(search.best_indices_, [1])


def test_candidates_are_compared_on_some_samples_and_the_best_fitted_to_all(noisy):
    X, y = noisy
    options = {"candidates": CANDIDATES[1:], "cv": 2, "random_state": 0}
    search = MetricLearnerCV(max_samples=80, **options).fit(X, y)
    whole = MetricLearnerCV(max_samples=None, **options).fit(X, y)
    assert not np.allclose(search.scores_, whole.scores_)
    members = [search.candidates_[index].fit(X, y).components_ for index in search.best_indices_]
    assert_proportional(search.get_mahalanobis_matrix(), mean_matrix(members, X))
    again = MetricLearnerCV(max_samples=80, **options).fit(X, y)
    np.testing.assert_array_equal(search.scores_, again.scores_)


def test_splits_by_groups_are_used(iris):
    X, y = iris
    folds = list(GroupKFold(3).split(X, y, np.arange(len(X)) % 7))
    search = MetricLearnerCV(CANDIDATES, cv=folds).fit(X, y)
    assert search.scores_.shape == (3, 3)


def test_precomputed_relations(iris):
    X, y = iris
    relations = np.abs(np.subtract.outer(y, y)).astype(float)
    candidates = ["passthrough", NeighborhoodAlignment()]
    search = MetricLearnerCV(candidates, relation="precomputed", cv=KFold(3, shuffle=True))
    assert search.fit(X, relations).relation_.name == "precomputed"
    with pytest.raises(ValueError, match="needs the relations of all pairs"):
        search.fit(X, sparse.csr_array(relations))


@pytest.mark.slow
def test_jobs_do_not_change_the_result(iris):
    X, y = iris
    one, two = (MetricLearnerCV(CANDIDATES, cv=3, n_jobs=n).fit(X, y) for n in (1, 2))
    np.testing.assert_array_equal(one.scores_, two.scores_)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "is empty"),
        ([NearestNeighbors()], "must be linear metric learners"),
        (["euclid"], "must be linear metric learners"),
    ],
)
def test_wrong_candidates_are_refused(iris, candidates, message):
    with pytest.raises(ValueError, match=message):
        MetricLearnerCV(candidates).fit(*iris)


def test_folds_without_samples_of_weight_are_refused(iris):
    X, y = iris
    folds = [(np.arange(10), np.arange(10, len(y)))]
    weight = (np.arange(len(y)) >= 10).astype(float)
    with pytest.raises(ValueError, match="fewer than two samples"):
        MetricLearnerCV(CANDIDATES, cv=folds).fit(X, y, sample_weight=weight)


def test_fewer_folds_where_a_class_has_fewer_samples(iris):
    X, y = iris
    few = np.flatnonzero((y != 2) | (np.arange(len(y)) >= len(y) - 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        search = MetricLearnerCV(["passthrough", DiscriminantAlignment()]).fit(X[few], y[few])
    assert search.scores_.shape == (2, 3)
    # A class of one sample leaves the number to the others.
    few = few[:-2]
    assert MetricLearnerCV(["passthrough"]).fit(X[few], y[few]).scores_.shape == (1, 5)
    assert MetricLearnerCV(["passthrough"]).fit(X[:6], X[:6, 0]).scores_.shape == (1, 3)


def test_progress_is_printed_when_asked(iris, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        MetricLearnerCV(CANDIDATES, cv=2, verbose=1).fit(*iris)
    assert capsys.readouterr().out.count("[MetricLearnerCV]") == len(CANDIDATES)


def test_a_tie_keeps_euclid(iris):
    X, y = iris
    X, y = X[y < 2], y[y < 2]
    with pytest.warns(UserWarning, match="keeps Euclid's distance"):
        search = MetricLearnerCV([PSDSVR(), "passthrough"], cv=3, n_neighbors=1).fit(X, y)
    assert search.scores_[0].mean() == search.scores_[1].mean()
    np.testing.assert_array_equal(search.best_indices_, [1])


@pytest.mark.filterwarnings("ignore:.*zero metric")
@pytest.mark.filterwarnings("ignore:.*keeps Euclid's distance")
def test_the_zero_metric_is_not_chosen():
    # The first samples, which ties would take for the nearest, are all of the frequent class.
    X, y = np.random.default_rng(0).normal(size=(200, 4)), np.repeat([0, 1], [180, 20])
    zero = PSDSVR(epsilon=5.0)
    search = MetricLearnerCV([zero, "passthrough"], cv=3).fit(X, y)
    assert np.isnan(search.scores_[0]).all()
    np.testing.assert_array_equal(search.best_indices_, [1])
    with pytest.raises(ValueError, match="learned the zero metric"):
        MetricLearnerCV([zero], cv=3).fit(X, y)


@pytest.mark.parametrize("form", [np.ndarray.tolist, lambda rows: np.isin(np.arange(75), rows)])
def test_folds_may_be_lists_or_masks(iris, form):
    X, y = iris
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    expected = MetricLearnerCV(CANDIDATES, cv=folds).fit(X, y).scores_
    given = [(form(train), form(test)) for train, test in folds]
    np.testing.assert_array_equal(MetricLearnerCV(CANDIDATES, cv=given).fit(X, y).scores_, expected)


def test_default_folds_do_not_follow_the_order_of_the_targets():
    X, y = load_diabetes(return_X_y=True)
    order = np.argsort(y)
    X, y = StandardScaler().fit_transform(X)[order], y[order]
    by_order = MetricLearnerCV(["passthrough", PSDSVR()], cv=5).fit(X, y)
    shuffled = MetricLearnerCV(["passthrough", PSDSVR()]).fit(X, y)
    again = MetricLearnerCV(["passthrough", PSDSVR()]).fit(X, y)
    # A fold of the largest targets has no like neighbours.
    assert shuffled.scores_[0].max() < by_order.scores_[0].max()
    assert shuffled.scores_[0].std() < 0.2 * by_order.scores_[0].std()
    np.testing.assert_array_equal(shuffled.components_, again.components_)
