"""C chosen by cross-validation along a path."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import RelationAlignment, RelationAlignmentCV
from metricalign.pairs import NearestPairs, RandomPairs

CS = np.array([1e-3, 3e-2, 1.0])


def data_of(load, step, n_features=6):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X[::step, :n_features]) / np.sqrt(n_features), y[::step]


@pytest.fixture(scope="module")
def numbers():
    return data_of(load_diabetes, 6)


@pytest.fixture(scope="module")
def classes():
    return data_of(load_wine, 3)


@pytest.fixture(scope="module", params=["numbers", "classes"])
def data(request):
    return request.getfixturevalue(request.param)


def scores_by_hand(X, y, folds, Cs, score=None, **parameters):
    scores = np.empty((len(Cs), len(folds)))
    for column, (train, test) in enumerate(folds):
        for row, C in enumerate(Cs):
            learner = RelationAlignment(C=C, **parameters).fit(X[train], y[train])
            scores[row, column] = (score or RelationAlignment.score)(learner, X[test], y[test])
    return scores


@pytest.mark.parametrize("regularizer", ["symmetric", "positive_semidefinite"])
def test_scores_are_those_of_separate_fits(regularizer, data):
    X, y = data
    parameters = {"cone": regularizer, "tol": 1e-8}
    learner = RelationAlignmentCV(Cs=CS, cv=3, **parameters).fit(X, y)
    splitter = StratifiedKFold(3) if y.dtype.kind == "i" else KFold(3)
    expected = scores_by_hand(X, y, list(splitter.split(X, y)), CS, **parameters)
    np.testing.assert_allclose(learner.scores_, expected, atol=2e-3)
    np.testing.assert_array_equal(learner.Cs_, CS)
    assert CS[learner.scores_.mean(axis=1).argmax()] == learner.C_
    alone = RelationAlignment(C=learner.C_, **parameters).fit(X, y)
    bound = learner.metric_error_bound_ + alone.metric_error_bound_
    assert np.linalg.norm(learner.matrix_ - alone.matrix_) <= bound + 1e-12
    np.testing.assert_array_equal(learner.pairs_, alone.pairs_)
    assert learner.converged_


def test_number_of_weights_is_a_range_without_a_scale(data):
    X, y = data
    learner = RelationAlignmentCV(Cs=3, cv=3).fit(X, y)
    assert learner.scores_.shape == (3, 3)
    np.testing.assert_allclose(learner.Cs_ / learner.Cs_[0], [1, 100, 10_000])
    scale = RelationAlignment().fit(X, y).C_
    usual = 300 if y.dtype.kind == "i" else 3
    np.testing.assert_allclose(learner.Cs_[0], 0.3 / usual * scale)
    assert learner.C_ in learner.Cs_
    # In other units the same is chosen, with the same scores.
    other = RelationAlignmentCV(Cs=3, cv=3).fit(100 * X, y)
    np.testing.assert_allclose(other.Cs_ * 100**4, learner.Cs_)
    np.testing.assert_allclose(other.scores_, learner.scores_, atol=1e-2)


def test_few_numbers_in_a_fold_are_no_classes():
    X, y = data_of(load_diabetes, 12)
    learner = RelationAlignmentCV(Cs=CS, cv=2, tol=1e-8).fit(X, y)
    assert learner.relation_.name == "absolute_difference"
    folds = list(KFold(2).split(X))
    expected = scores_by_hand(X, y, folds, CS, relation="absolute_difference", tol=1e-8)
    np.testing.assert_allclose(learner.scores_, expected, atol=5e-3)


def test_one_weight_is_used(numbers):
    X, y = numbers
    learner = RelationAlignmentCV(Cs=[0.1], cv=2).fit(X, y)
    assert learner.C_ == 0.1
    assert learner.scores_.shape == (1, 2)


def test_order_of_the_weights_does_not_matter(classes):
    X, y = classes
    forth = RelationAlignmentCV(Cs=CS, cv=3, tol=1e-8).fit(X, y)
    back = RelationAlignmentCV(Cs=CS[::-1], cv=3, tol=1e-8).fit(X, y)
    assert forth.C_ == back.C_
    np.testing.assert_allclose(back.scores_[::-1], forth.scores_, atol=2e-3)


def test_of_equal_scores_the_smallest_weight_is_chosen(classes):
    X, y = classes
    learner = RelationAlignmentCV(Cs=CS[::-1], cv=2, scoring=lambda learner, X, y: 1.0).fit(X, y)
    assert CS.min() == learner.C_


@pytest.mark.slow
def test_jobs_do_not_change_a_bit(data):
    X, y = data
    one = RelationAlignmentCV(Cs=CS, cv=3, pairs=RandomPairs(150), random_state=0)
    two = RelationAlignmentCV(Cs=CS, cv=3, pairs=RandomPairs(150), random_state=0, n_jobs=2)
    one.fit(X, y)
    with warnings.catch_warnings():
        # Workers do not know the filters of the tests.
        warnings.simplefilter("ignore")
        two.fit(X, y)
    np.testing.assert_array_equal(two.scores_, one.scores_)
    np.testing.assert_array_equal(two.matrix_, one.matrix_)
    assert two.C_ == one.C_


def test_splitter_and_scoring_of_ones_own(classes):
    X, y = classes
    splitter = ShuffleSplit(2, random_state=0)

    def separation(learner, X, y):
        images = learner.transform(X)
        return KNeighborsClassifier(1).fit(images[::2], y[::2]).score(images[1::2], y[1::2])

    learner = RelationAlignmentCV(Cs=CS, cv=splitter, scoring=separation, tol=1e-8).fit(X, y)
    folds = list(splitter.split(X))
    expected = scores_by_hand(X, y, folds, CS, separation, tol=1e-8)
    np.testing.assert_array_equal(learner.scores_, expected)
    given = RelationAlignmentCV(Cs=CS, cv=folds, scoring=separation, tol=1e-8).fit(X, y)
    np.testing.assert_array_equal(given.scores_, learner.scores_)


@pytest.mark.parametrize("stored", [np.asarray, sparse.coo_array, list])
def test_both_sides_of_precomputed_relations_are_split(stored, numbers):
    X, y = numbers
    # No zero, which a sparse matrix would not store.
    relations = 0.1 + np.abs(y[:, None] - y) / np.ptp(y)
    parameters = {"relation": "precomputed", "pairs": NearestPairs(), "tol": 1e-8}
    learner = RelationAlignmentCV(Cs=CS, cv=2, **parameters).fit(X, stored(relations))
    for column, (train, test) in enumerate(KFold(2).split(X)):
        for row, C in enumerate(CS):
            fold = RelationAlignment(C=C, **parameters)
            fold.fit(X[train], relations[np.ix_(train, train)])
            score = fold.score(X[test], relations[np.ix_(test, test)])
            assert learner.scores_[row, column] == pytest.approx(score, abs=2e-3)


def test_weights_of_the_samples_are_used_in_the_folds(numbers):
    X, y = numbers
    weight = np.where(np.arange(len(y)) % 3 == 1, 0.0, 1.0)
    folds = list(KFold(2).split(X))
    learner = RelationAlignmentCV(Cs=CS, cv=folds, tol=1e-8).fit(X, y, sample_weight=weight)
    kept = [[rows[weight[rows] > 0] for rows in fold] for fold in folds]
    expected = scores_by_hand(X, y, kept, CS, tol=1e-8)
    np.testing.assert_allclose(learner.scores_, expected, atol=2e-3)


def test_array_of_pairs_is_refused(numbers):
    X, y = numbers
    with pytest.raises(ValueError, match=r"pairs is an array of rows of X, .*metricalign.pairs"):
        RelationAlignmentCV(pairs=np.array([[0, 1], [1, 2]])).fit(X, y)


@pytest.mark.parametrize("Cs", [0, [], [0.0], [-1.0, 1.0], [np.nan], 2.5, "many", None], ids=repr)
def test_bad_weights_are_refused(Cs, numbers):
    X, y = numbers
    with pytest.raises(ValueError, match=r"\bCs\b"):
        RelationAlignmentCV(Cs=Cs).fit(X, y)


@pytest.mark.parametrize("cv", [1, 1000, "folds"])
def test_bad_folds_are_refused(cv, numbers):
    X, y = numbers
    with pytest.raises(ValueError, match=r"\bcv\b|splits"):
        RelationAlignmentCV(cv=cv).fit(X, y)


def test_it_has_no_path_of_its_own():
    assert not hasattr(RelationAlignmentCV(), "fit_path")
    assert hasattr(RelationAlignment(), "fit_path")


def test_pipeline_around_it(classes):
    X, y = classes
    metric = RelationAlignmentCV(Cs=CS, cv=2, pairs=NearestPairs(), tol=1e-4)
    model = make_pipeline(StandardScaler(), metric, KNeighborsClassifier(3))
    assert cross_val_score(model, X, y, cv=2).mean() > 0.85


def test_warnings_point_at_the_call(classes):
    X, y = classes
    learner = RelationAlignmentCV(Cs=CS, cv=2, max_iter=1, tol=1e-12)
    with pytest.warns(UserWarning, match="used max_iter|zero metric|cannot tell") as caught:
        learner.fit(X, y)
    if hasattr(learner, "set_callbacks"):
        mine = [warning for warning in caught if "RelationAlignmentCV" in str(warning.message)]
        assert mine
        assert {warning.filename for warning in mine} == {__file__}


def test_score_that_is_no_number_is_refused(classes):
    with pytest.raises(ValueError, match=r"scoring returned nan in fold 1 \(number 1 of Cs\)"):
        RelationAlignmentCV(Cs=2, cv=2, scoring=lambda *_: np.nan).fit(*classes)


def test_fewer_folds_where_a_class_has_fewer_samples(classes):
    X, y = classes
    few = np.flatnonzero((y != 2) | (np.arange(len(y)) >= len(y) - 3))
    assert RelationAlignmentCV(Cs=2).fit(X[few], y[few]).scores_.shape == (2, 3)
    assert RelationAlignmentCV(Cs=2).fit(X, y).scores_.shape == (2, 5)
    assert RelationAlignmentCV(Cs=2).fit(X[:7], X[:7, 0]).scores_.shape == (2, 3)
    with pytest.raises(ValueError, match="fewer than two samples"):
        RelationAlignmentCV(Cs=2).fit(X[:3], X[:3, 0])


def test_fold_without_weight_is_refused(classes):
    X, y = classes
    folds = [(np.arange(10, len(y)), np.arange(10))]
    weight = (np.arange(len(y)) >= 10).astype(float)
    with pytest.raises(ValueError, match="fewer than two samples"):
        RelationAlignmentCV(Cs=2, cv=folds).fit(X, y, weight)
