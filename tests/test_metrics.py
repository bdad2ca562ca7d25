import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_wine, make_multilabel_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import (
    coverage_error,
    hamming_loss,
    label_ranking_average_precision_score,
    label_ranking_loss,
    ndcg_score,
)
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.metadata_routing import get_routing_for_object

from metricalign import RAMLSVR
from metricalign.metrics import (
    SCORERS,
    LabelRankingScorer,
    RetrievalScorer,
    canberra_loss,
    chebyshev_loss,
    clark_loss,
    cosine_score,
    coverage_loss,
    intersection_score,
    kullback_leibler_loss,
    mean_average_precision_score,
    neighbors_ndcg_score,
    one_error,
    pairwise_relations,
    precision_at_k_score,
)
from metricalign.relations import resolve_relation

EPSILON = np.finfo(float).eps

# Each measure of one sample, as the textbook writes it.


def clark(d, p):
    total = 0.0
    for a, b in zip(d, p, strict=True):
        if a + b > 0:
            total += (a - b) ** 2 / (a + b) ** 2
    return math.sqrt(total)


def canberra(d, p):
    return sum(abs(a - b) / (a + b) for a, b in zip(d, p, strict=True) if a + b > 0)


def kullback_leibler(d, p):
    return sum(a * math.log(a / max(b, EPSILON)) for a, b in zip(d, p, strict=True) if a > 0)


def cosine(d, p):
    product = sum(a * b for a, b in zip(d, p, strict=True))
    return product / math.sqrt(sum(a * a for a in d)) / math.sqrt(sum(b * b for b in p))


DISTRIBUTION_MEASURES = {
    "chebyshev": (
        chebyshev_loss,
        lambda d, p: max(abs(a - b) for a, b in zip(d, p, strict=True)),
        lambda q: 1,
    ),
    "clark": (clark_loss, clark, math.sqrt),
    "canberra": (canberra_loss, canberra, lambda q: q),
    "kullback_leibler": (kullback_leibler_loss, kullback_leibler, lambda q: -math.log(EPSILON)),
    "cosine": (cosine_score, cosine, lambda q: 1),
    "intersection": (
        intersection_score,
        lambda d, p: sum(min(a, b) for a, b in zip(d, p, strict=True)),
        lambda q: 1,
    ),
}
SCORES = ("cosine", "intersection")
LABEL_SCORERS = ("ranking", "one_error", "coverage", "average_precision")
every_distribution_measure = pytest.mark.parametrize("name", DISTRIBUTION_MEASURES)


@st.composite
def distributions(draw):
    """True and predicted distributions and weights; zeros are common."""
    n, q = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    row = st.lists(st.integers(0, 9), min_size=q, max_size=q).filter(any)
    both = np.array(draw(st.lists(row, min_size=2 * n, max_size=2 * n)), dtype=float)
    both /= both.sum(axis=1, keepdims=True)
    weights = st.lists(st.integers(0, 5), min_size=n, max_size=n).filter(any)
    return both[:n], both[n:], np.array(draw(weights), dtype=float)


@st.composite
def label_sets(draw):
    """Label sets, empty and full ones too, scores with ties, and weights."""
    n, q = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    bits = st.lists(st.integers(0, 1), min_size=q, max_size=q)
    row = st.lists(st.integers(0, 4), min_size=q, max_size=q)
    y = np.array(draw(st.lists(bits, min_size=n, max_size=n)))
    scores = np.array(draw(st.lists(row, min_size=n, max_size=n))) / 4
    weights = st.lists(st.integers(0, 5), min_size=n, max_size=n).filter(any)
    return y, scores, np.array(draw(weights), dtype=float)


@st.composite
def retrievals(draw):
    """Images on a coarse grid, so that distances tie, and relations."""
    n = draw(st.integers(3, 8))
    X = np.array(draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)), dtype=float)
    y = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    return X[:, None], abs(y[:, None] - y)


# Label distributions


@every_distribution_measure
@settings(max_examples=60)
@given(data=distributions())
def test_distribution_measures_are_the_loops(name, data):
    measure, loop, _ = DISTRIBUTION_MEASURES[name]
    d, p, weights = data
    rows = [loop(*pair) for pair in zip(d.tolist(), p.tolist(), strict=True)]
    assert measure(d, p) == pytest.approx(np.mean(rows), rel=1e-9, abs=1e-12)
    expected = np.average(rows, weights=weights)
    assert measure(d, p, sample_weight=weights) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@every_distribution_measure
@settings(max_examples=60)
@given(data=distributions())
def test_distribution_measures_at_their_bounds(name, data):
    measure, _, largest = DISTRIBUTION_MEASURES[name]
    d, p, _ = data
    assert -1e-12 <= measure(d, p) <= largest(d.shape[1]) + 1e-12
    if name in SCORES:
        assert measure(d, d) == pytest.approx(1, abs=1e-12)
        assert (measure(d, p) > 1 - 1e-9) == np.allclose(d, p, atol=1e-6)
    else:
        assert measure(d, d) == 0
        assert (measure(d, p) == 0) == np.array_equal(d, p)
    if name != "kullback_leibler":
        assert measure(d, p) == pytest.approx(measure(p, d), rel=1e-12)


@settings(max_examples=60)
@given(data=distributions())
def test_clark_and_canberra_bound_each_other(data):
    d, p, weights = data
    clark, canberra = (
        f(d, p, sample_weight=weights) * (1 + sign * 1e-12)
        for f, sign in ((clark_loss, -1), (canberra_loss, 1))
    )
    assert clark <= canberra
    assert canberra_loss(d, p) <= math.sqrt(d.shape[1]) * clark_loss(d, p) * (1 + 1e-12)


def test_zeros():
    d, p = [[0.5, 0.5, 0.0, 0.0]], [[0.5, 0.0, 0.5, 0.0]]
    assert canberra_loss(d, p) == 2  # the last term, 0 / 0, counts 0
    assert clark_loss(d, p) == math.sqrt(2)
    assert kullback_leibler_loss(d, p) == pytest.approx(0.5 * math.log(0.5 / EPSILON))
    single = np.asarray(p, dtype=np.float32)
    expected = 0.5 * math.log(0.5 / np.finfo(np.float32).eps)
    assert kullback_leibler_loss(d, single) == pytest.approx(expected)
    assert kullback_leibler_loss(p, p) == 0
    assert kullback_leibler_loss([[1, 0]], [[0, 1]]) == pytest.approx(-math.log(EPSILON))
    tiny = [[1.0, 1e-300]]
    assert kullback_leibler_loss(tiny, tiny) == 0
    assert cosine_score([[1, 0]], [[0, 1]]) == intersection_score([[1, 0]], [[0, 1]]) == 0


@every_distribution_measure
@pytest.mark.parametrize(
    ("d", "p", "weights", "match"),
    [
        ([[0.5, 0.5]], [[0.5, 0.25, 0.25]], None, "same shape"),
        ([[0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]], None, "same shape"),
        ([0.5, 0.5], [0.5, 0.5], None, "2D array"),
        ([[1.0]], [[1.0]], None, "minimum of 2"),
        ([[0.5, np.nan]], [[0.5, 0.5]], None, "y_true contains NaN"),
        ([[0.5, 0.5]], [[0.5, np.inf]], None, "y_pred contains infinity"),
        ([[0.5, 0.5]], [[1.5, -0.5]], None, "y_pred must have no negative .* row 0 has -0.5"),
        ([[0.5, 0.5], [0.5, 0.6]], [[0.5, 0.5]] * 2, None, "y_true .* row 1 has the sum 1.1"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [1.0, 2.0], "sample_weight"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [-1.0], "Negative values"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [0.0], "non-zero"),
        ([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2, [1e308] * 2, "by their maximum"),
        (np.ma.masked_less([[0.9, 0.1]], 0.5), [[0.5, 0.5]], None, "y_true is a masked array"),
    ],
)
def test_errors_of_distribution_measures(name, d, p, weights, match):
    with pytest.raises(ValueError, match=match):
        DISTRIBUTION_MEASURES[name][0](d, p, sample_weight=weights)


# Label sets


@settings(max_examples=60)
@given(data=label_sets())
def test_label_measures_are_the_loops(data):
    y, scores, weights = data
    errors, steps = [], []
    for labels, row in zip(y.tolist(), scores.tolist(), strict=True):
        best = [label for label, score in enumerate(row) if score == max(row)]
        wrong = [label for label in best if not labels[label]]
        errors.append(len(wrong) / len(best) if any(labels) else 0)
        own = [score for score, has in zip(row, labels, strict=True) if has]
        steps.append(sum(score >= min(own) for score in row) - 1 if own else 0)
    for function, rows in ((one_error, errors), (coverage_loss, steps)):
        assert function(y, scores) == pytest.approx(np.mean(rows))
        expected = np.average(rows, weights=weights)
        assert function(y, scores, sample_weight=weights) == pytest.approx(expected)
        for container in (sparse.csr_matrix, sparse.coo_array):
            assert function(container(y), scores) == function(y, scores)
    assert 0 <= one_error(y, scores) <= 1
    assert 0 <= coverage_loss(y, scores) <= y.shape[1] - 1


@settings(max_examples=60)
@given(data=label_sets())
def test_coverage_is_scikit_learns_minus_one(data):
    y, scores, _ = data
    labelled = y.any(axis=1)
    expected = coverage_error(y, scores) - labelled.mean()
    assert coverage_loss(y, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("function", [one_error, coverage_loss])
@pytest.mark.parametrize(
    ("y", "scores", "match"),
    [
        ([[1, 0]], [[0.5, 0.3, 0.2]], "same shape"),
        ([[2, 0]], [[0.5, 0.3]], "0 and 1"),
        ([[0.5, 0.5]], [[0.5, 0.3]], "0 and 1"),
        ([[1, 0]], [[0.5, np.nan]], "y_score contains NaN"),
        ([1, 0], [0.5, 0.3], "2D array"),
        ([[1, 0]], np.ma.masked_less([[0.9, 0.1]], 0.5), "y_score is a masked array"),
    ],
)
def test_errors_of_label_measures(function, y, scores, match):
    with pytest.raises(ValueError, match=match):
        function(y, scores)


# Retrieval


def expected_precision(distances, related, k):
    """Mean over all orders of the ties, one tied group at a time."""
    found, left = 0.0, k
    for distance in sorted(set(distances)):
        group = [r for d, r in zip(distances, related, strict=True) if d == distance]
        found += sum(group) * min(left, len(group)) / len(group)
        left -= min(left, len(group))
    return found / k


@settings(max_examples=60)
@given(data=retrievals(), k=st.integers(1, 7), threshold=st.sampled_from([0.0, 1.0]))
def test_retrieval_measures_are_the_loops(data, k, threshold):
    X, relations = data
    n = len(X)
    k = min(k, n - 1)
    weights = np.arange(n) + 1.0
    precisions, averages, gains, asked = [], [], [], []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        distances = [abs(X[i, 0] - X[j, 0]) for j in others]
        related = [bool(relations[i, j] <= threshold) for j in others]
        precisions.append(expected_precision(distances, related, k))
        if any(related):
            asked.append(i)
            hits = [d for d, r in zip(distances, related, strict=True) if r]
            at_hit = [sum(h <= d for h in hits) / sum(e <= d for e in distances) for d in hits]
            averages.append(np.mean(at_hit))
        gain = [relations[~np.eye(n, dtype=bool)].max() - relations[i, j] for j in others]
        gains.append(ndcg_score([gain], [[-d for d in distances]], k=k))

    score = precision_at_k_score(X, relations, k=k, threshold=threshold)
    assert score == pytest.approx(np.mean(precisions))
    score = precision_at_k_score(X, relations, k=k, threshold=threshold, sample_weight=weights)
    assert score == pytest.approx(np.average(precisions, weights=weights))
    score = neighbors_ndcg_score(X, relations, k=k, sample_weight=weights)
    assert score == pytest.approx(np.average(gains, weights=weights))
    if not asked:
        with pytest.raises(ValueError, match="No two samples are related"):
            mean_average_precision_score(X, relations, threshold=threshold)
        return
    score = mean_average_precision_score(X, relations, threshold=threshold)
    assert score == pytest.approx(np.mean(averages))
    score = mean_average_precision_score(X, relations, threshold=threshold, sample_weight=weights)
    assert score == pytest.approx(np.average(averages, weights=weights[asked]))


def test_ndcg_by_hand():
    X, relations = [[0.0], [1.0], [3.0]], pairwise_relations([0.0, 4.0, 1.0], "absolute_difference")
    np.testing.assert_allclose(relations, [[0, 1, 0.25], [1, 0, 0.75], [0.25, 0.75, 0]])
    discount = 1 / math.log2(3)
    rows = [
        (0 + 0.75 * discount) / 0.75,  # finds the unlike one first
        (0 + 0.25 * discount) / 0.25,
        (0.25 + 0.75 * discount) / (0.75 + 0.25 * discount),
    ]
    assert neighbors_ndcg_score(X, relations) == pytest.approx(np.mean(rows))


def test_retrieval_of_the_targets_themselves_is_perfect():
    y = np.random.default_rng(0).normal(size=20)
    relations = pairwise_relations(y)
    assert neighbors_ndcg_score(y[:, None], relations) == pytest.approx(1)
    classes = np.arange(20) % 2
    relations = pairwise_relations(classes)
    np.fill_diagonal(relations, np.nan)  # ignored
    assert precision_at_k_score(classes[:, None], relations, k=9) == 1
    assert mean_average_precision_score(classes[:, None], relations) == 1


@pytest.mark.parametrize(
    ("function", "options", "match"),
    [
        (precision_at_k_score, {"k": 0}, "k must be"),
        (precision_at_k_score, {"k": 3}, "k must be .* 2"),
        (precision_at_k_score, {"k": 1.5}, "k must be"),
        (precision_at_k_score, {"k": 1, "threshold": np.nan}, "threshold"),
        (mean_average_precision_score, {"threshold": "same"}, "threshold"),
        (mean_average_precision_score, {"threshold": -2.0}, "No two samples"),
        (neighbors_ndcg_score, {"k": 0}, "k"),
        (neighbors_ndcg_score, {"X": [[0.0], [1.0]], "relations": np.ones((2, 2))}, "3 samples"),
        (neighbors_ndcg_score, {"relations": np.ones((3, 2))}, r"\(3, 3\)"),
        (neighbors_ndcg_score, {"relations": np.full((3, 3), np.nan)}, "finite off the diagonal"),
        (neighbors_ndcg_score, {"sample_weight": [-1, 1, 1]}, "Negative values"),
        (neighbors_ndcg_score, {"X": [[0.0], [np.nan], [1.0]]}, "X contains NaN"),
        (neighbors_ndcg_score, {"X": np.ma.masked_less([[0], [1], [2]], 1)}, "X is a masked"),
        (
            mean_average_precision_score,
            {"threshold": 1.0, "relations": np.diag([1, 0], 1) + 2, "sample_weight": [1, 0, 0]},
            "No sample with a weight is related",
        ),
    ],
)
def test_errors_of_retrieval_measures(function, options, match):
    arguments = {"X": [[0.0], [1.0], [2.0]], "relations": [[0, 1, 2], [1, 0, 1], [2, 1, 0]]}
    with pytest.raises(ValueError, match=match):
        function(**(arguments | options))


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e160, 1e300])
def test_units_of_samples_and_relations_do_not_matter(unit):
    rng = np.random.default_rng(0)
    X, relations = rng.normal(size=(30, 3)), np.abs(rng.normal(size=(30, 30)))
    far = unit * X
    far[:, 2] = unit * 1e3 + np.round(1e3 * X[:, 2]) * unit  # an offset, which float64 holds
    near = (far - [0, 0, unit * 1e3]) / unit
    for function in (precision_at_k_score, mean_average_precision_score):
        score = function(far, relations, threshold=0.3)
        assert score == pytest.approx(function(near, relations, threshold=0.3))
    expected = neighbors_ndcg_score(near, relations)
    assert neighbors_ndcg_score(far, relations) == pytest.approx(expected)
    assert neighbors_ndcg_score(near, unit * relations) == pytest.approx(expected)
    # The differences of these relations are above the largest float.
    signed = relations - 0.5 * relations.max()
    expected = neighbors_ndcg_score(near, signed)
    widest = signed * (1.7e308 / np.abs(signed).max())
    assert neighbors_ndcg_score(near, widest) == pytest.approx(expected)


@pytest.mark.parametrize("units", [(1e150, 1e-20), (1e250, 1e-20)])
def test_small_differences_count_where_large_ones_are_equal(units):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 2, 30), 1e-3 * rng.normal(size=30)])
    relations = cdist(X, X)
    assert precision_at_k_score(X * units, relations, k=3, threshold=1e-4) == pytest.approx(
        precision_at_k_score(X, relations, k=3, threshold=1e-4)
    )
    assert neighbors_ndcg_score(X * units, relations) == pytest.approx(1.0)


def test_pairwise_relations_that_are_stored_sparsely():
    relations = np.array([[0.0, 1, 2], [1, 0, 0], [2, 0, 0]])
    pairs = np.triu_indices(3, k=1)
    stored = sparse.coo_array((relations[pairs], pairs), shape=(3, 3))
    np.testing.assert_array_equal(pairwise_relations(stored, "precomputed"), relations)
    incomplete = sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 2])), shape=(3, 3))
    with pytest.raises(ValueError, match=r"y\[1, 2\] is not stored"):
        pairwise_relations(incomplete, "precomputed")


def test_pairwise_relations_of_a_fitted_relation():
    y = np.array([0.0, 2.0, 10.0])
    relation = resolve_relation("absolute_difference", y)
    np.testing.assert_allclose(pairwise_relations(y[:2], relation), [[0, 0.2], [0.2, 0]])
    labels = sparse.csr_array([[1, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(pairwise_relations(labels), [[0, 2], [2, 0]])


# Scorers


@pytest.fixture(scope="module")
def label_data():
    return make_multilabel_classification(n_samples=60, n_classes=4, random_state=0)


@pytest.fixture(scope="module")
def distribution_data():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3))
    y = np.exp(X @ generator.normal(size=(3, 4)))
    return X, y / y.sum(axis=1, keepdims=True)


@every_distribution_measure
def test_distribution_scorers(name, distribution_data):
    X, y = distribution_data
    model = KNeighborsRegressor(3).fit(X[:40], y[:40])
    value = DISTRIBUTION_MEASURES[name][0](y[40:], model.predict(X[40:]))
    sign = 1 if name in SCORES else -1
    assert SCORERS[name](model, X[40:], y[40:]) == sign * value
    search = GridSearchCV(
        KNeighborsRegressor(), {"n_neighbors": [1, 5]}, scoring=SCORERS[name], error_score="raise"
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_all_scorers_of_a_kind_at_once(distribution_data, label_data):
    scoring = {name: SCORERS[name] for name in DISTRIBUTION_MEASURES}
    results = cross_validate(
        KNeighborsRegressor(), *distribution_data, scoring=scoring, error_score="raise"
    )
    assert all(np.isfinite(results[f"test_{name}"]).all() for name in scoring)
    scoring = {name: SCORERS[name] for name in ("hamming", *LABEL_SCORERS)}
    results = cross_validate(KNeighborsClassifier(), *label_data, scoring=scoring, n_jobs=1)
    assert all(np.isfinite(results[f"test_{name}"]).all() for name in scoring)


ONE_LABEL_CLASSIFIERS = {
    "list": KNeighborsClassifier(),
    "list of trees": RandomForestClassifier(5, random_state=0),
    "list of a wrapper": MultiOutputClassifier(LogisticRegression()),
    "array": OneVsRestClassifier(LogisticRegression()),
    "decision function": RidgeClassifier(),
    "regressor": KNeighborsRegressor(),
    "pipeline": make_pipeline(StandardScaler(), KNeighborsClassifier()),
}


@pytest.mark.parametrize("kind", ONE_LABEL_CLASSIFIERS)
def test_label_scorers_take_any_scores(kind, label_data):
    X, y = label_data
    model = clone(ONE_LABEL_CLASSIFIERS[kind]).fit(X[:40], y[:40])
    if kind == "decision function":
        scores = model.decision_function(X[40:])
    elif kind == "regressor":
        scores = model.predict(X[40:])
    else:
        scores = model.predict_proba(X[40:])
        if isinstance(scores, list):
            scores = np.column_stack([score[:, 1] for score in scores])
    expected = {
        "ranking": -label_ranking_loss(y[40:], scores),
        "one_error": -one_error(y[40:], scores),
        "coverage": 1 - coverage_error(y[40:], scores),
        "average_precision": label_ranking_average_precision_score(y[40:], scores),
    }
    if not y[40:].any(axis=1).all():
        expected["coverage"] = -coverage_loss(y[40:], scores)
    for name, value in expected.items():
        assert SCORERS[name](model, X[40:], y[40:]) == pytest.approx(value)
        assert SCORERS[name](model, X[40:], sparse.csr_array(y[40:])) == pytest.approx(value)
    if kind != "regressor":
        assert SCORERS["hamming"](model, X, y) == -hamming_loss(y, model.predict(X))


def test_label_that_no_training_sample_has():
    X = np.arange(8.0)[:, None]
    y = np.column_stack([np.tile([1, 0], 4), np.zeros(8, int), np.tile([0, 1], 4), np.ones(8, int)])
    model = KNeighborsClassifier(1).fit(X, y)
    assert [p.shape[1] for p in model.predict_proba(X)] == [2, 1, 2, 1]
    assert SCORERS["ranking"](model, X, y) == 0
    assert SCORERS["one_error"](model, X, y) == 0
    assert SCORERS["coverage"](model, X, y) == -1


@pytest.mark.parametrize("name", ["hamming", *LABEL_SCORERS])
def test_search_by_label_scorers(name, label_data):
    search = GridSearchCV(
        KNeighborsClassifier(), {"n_neighbors": [1, 5]}, scoring=SCORERS[name], error_score="raise"
    ).fit(*label_data)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert clone(search).scoring is not None


def test_classes_are_not_label_sets():
    X, y = load_wine(return_X_y=True)
    with pytest.raises(ValueError, match="2D array"):
        SCORERS["one_error"](KNeighborsClassifier().fit(X, y), X, y)


@pytest.mark.filterwarnings("ignore:n_same=")
@pytest.mark.parametrize("name", ["precision_at_k", "mean_average_precision", "ndcg"])
def test_retrieval_scorers(name):
    X, y = load_wine(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:60]
    X, y = X[rows], y[rows]
    model = make_pipeline(StandardScaler(), RAMLSVR()).fit(X, y)
    function = SCORERS[name].score_function
    expected = function(model.transform(X), pairwise_relations(y, model[-1].relation_))
    assert SCORERS[name](model, X, y) == expected
    search = GridSearchCV(
        model, {"ramlsvr__C": [1e-3, "scale"]}, cv=3, scoring=SCORERS[name], error_score="raise"
    ).fit(X, y)
    assert 0.5 < search.best_score_ <= 1
    assert SCORERS[name](search, X, y) == SCORERS[name](search.best_estimator_, X, y)
    with pytest.raises(TypeError, match="has no transform"):
        SCORERS[name](KNeighborsClassifier().fit(X, y), X, y)


@pytest.mark.parametrize(
    "estimator",
    [
        RAMLSVR(),
        make_pipeline(RAMLSVR()),
        make_pipeline(FunctionTransformer(), RAMLSVR()),
        GridSearchCV(make_pipeline(FunctionTransformer(), RAMLSVR()), {"ramlsvr__C": [1.0]}, cv=2),
    ],
)
def test_far_from_the_origin_the_neighbors_are_the_same(estimator):
    rng = np.random.default_rng(0)
    near = (np.round(64 * rng.normal(size=(80, 3))) / 64).astype(np.float32)
    y = (near[:, 0] > 0).astype(int)
    far = near + np.float32(2**17)  # float32 holds the same digits
    np.testing.assert_array_equal(far - np.float32(2**17), near)
    learner = clone(estimator).fit(far, y)
    images = near.astype(float) @ _last_step(learner).components_.T
    expected = precision_at_k_score(images, pairwise_relations(y), k=5)
    scorer = RetrievalScorer(precision_at_k_score, {"k": 5})
    assert scorer(learner, far, y) == pytest.approx(expected, abs=1e-3)


def _last_step(estimator):
    estimator = getattr(estimator, "best_estimator_", estimator)
    return estimator[-1] if hasattr(estimator, "steps") else estimator


def test_scale_of_the_relation_is_that_of_training():
    X = y = np.arange(10.0)
    model = RAMLSVR(relation="absolute_difference").fit(X[:, None], y)
    scorer = RetrievalScorer(precision_at_k_score, {"k": 1, "threshold": 0.15})
    assert scorer(model, X[:4, None], y[:4]) == 1  # 1 of 9, but of the 3 here too much


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_are_values(name):
    scorer = pickle.loads(pickle.dumps(SCORERS[name]))
    assert repr(scorer) == repr(SCORERS[name])
    assert callable(scorer)


@pytest.mark.parametrize("name", ["chebyshev", "hamming", "one_error", "ranking"])
def test_sample_weights_are_routed(name, label_data, distribution_data):
    X, y = distribution_data if name == "chebyshev" else label_data
    model = KNeighborsRegressor() if name == "chebyshev" else KNeighborsClassifier()
    weights = np.arange(len(y)) % 3 + 0.5
    with config_context(enable_metadata_routing=True):
        scorer = SCORERS[name].set_score_request(sample_weight=True)
        # which is not asked of the next user of the name
        assert "True" in str(get_routing_for_object(scorer))
        assert "True" not in str(get_routing_for_object(SCORERS[name]))
        scores = cross_val_score(
            model, X, y, cv=2, scoring=scorer, params={"sample_weight": weights}
        )
    half = len(y) // 2
    model.fit(X[half:], y[half:])
    expected = SCORERS[name](model, X[:half], y[:half], sample_weight=weights[:half])
    assert scores[0] == pytest.approx(expected)
    assert scores[0] != SCORERS[name](model, X[:half], y[:half])


@settings(max_examples=5)
@given(seed=st.integers(0, 100))
def test_random_predictions_have_worse_scores(seed):
    X, y = make_multilabel_classification(n_samples=80, n_classes=4, random_state=seed)
    good = KNeighborsRegressor(5).fit(X, y)
    bad = DummyClassifier(strategy="uniform", random_state=0).fit(X, y)
    scorer = LabelRankingScorer(label_ranking_loss, greater_is_better=False)
    assert scorer(good, X, y) > scorer(bad, X, y)


class _Constant(ClassifierMixin, BaseEstimator):
    """Predicts the same probabilities for every sample."""

    def __init__(self, probabilities=None, classes=None):
        self.probabilities = probabilities
        self.classes = classes

    def fit(self, X, y):
        self.classes_ = self.classes
        return self

    def predict_proba(self, X):
        return self.probabilities


def test_sparse_probabilities_are_scored_as_dense_ones():
    true, probabilities = np.array([[1, 0, 0], [0, 1, 1]]), np.array([[0.6, 0, 0.4], [0, 0.2, 0.1]])
    dense = _Constant(probabilities).fit(None, true)
    stored = _Constant(sparse.csr_array(probabilities)).fit(None, true)
    for name in LABEL_SCORERS:
        assert SCORERS[name](stored, true, true) == SCORERS[name](dense, true, true), name


def test_probabilities_without_a_class_are_refused():
    true = np.array([[1, 0], [1, 1]])
    model = _Constant([np.ones((2, 1)), np.full((2, 2), 0.5)], [[0, 1], [0, 1]]).fit(None, true)
    with pytest.raises(
        ValueError, match=r"1 column\(s\) for label 0, which has the classes \[0, 1"
    ):
        SCORERS["ranking"](model, true, true)


def test_scorers_are_a_mapping():
    assert len(SCORERS) == len(list(SCORERS))
    assert all(name in repr(SCORERS) for name in SCORERS)


def test_distributions_of_three_decimals():
    rng = np.random.default_rng(0)
    exact = rng.dirichlet(np.ones(6), 200)
    rounded = exact.round(3)
    assert np.abs(rounded.sum(axis=1) - 1).max() > 1e-3
    for loss in (chebyshev_loss, kullback_leibler_loss, intersection_score):
        assert loss(rounded, exact) == pytest.approx(loss(exact, exact), abs=2e-3)
    rounded[0, 0] += 4e-3
    with pytest.raises(ValueError, match="y_true must have rows that sum to 1"):
        chebyshev_loss(rounded, exact)
