"""The relations against direct loops and SciPy, and every decision and error about targets."""

import math
import pickle
import re
import warnings
from numbers import Real
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from public_estimators import EVERY, data_of, output
from scipy import sparse
from scipy.spatial import distance
from scipy.stats import entropy
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    make_multilabel_classification,
    make_regression,
)
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import Interval

from metricalign import PSDSVR
from metricalign.metrics import chebyshev_loss
from metricalign.multilabel import MLkNN
from metricalign.relations import (
    RELATIONS,
    Relation,
    TargetRelation,
    kinds,
    register_relation,
    resolve_relation,
    sums_to_one,
    table,
)
from metricalign.relations.formulas import PROBABILITY_FLOOR

DISTRIBUTION_RELATIONS = ["chebyshev", "canberra", "clark", "cosine", "intersection"]
DISTRIBUTION_RELATIONS += ["kullback_leibler", "manhattan", "euclidean"]


class AroundTheClock(Relation):
    """A relation as a person would write one."""

    targets = "numbers"
    _parameter_constraints: ClassVar[dict] = {"period": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, period=24):
        self.period = period

    def __call__(self, left, right):
        apart = np.abs(left - right) % self.period
        return np.minimum(apart, self.period - apart)


def hours_apart(left, right):
    """The same of two targets, as a function."""
    apart = abs(left - right) % 24
    return float(min(apart, 24 - apart))


class Grades(Relation):
    """Whether two targets of any kind are in different halves of the grades."""

    def __call__(self, left, right):
        return np.where((left > 1) != (right > 1), 1.0, -1.0)


def grades_apart(left, right):
    return 1.0 if (left > 1) != (right > 1) else -1.0


@pytest.fixture
def registered(monkeypatch):
    """Names that end with the test."""
    monkeypatch.setattr(table, "registered", {})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def all_pairs(n_samples):
    return np.column_stack(np.triu_indices(n_samples, k=1))


def evaluate(relation, y, pairs=None):
    relation = resolve_relation(relation, y)
    targets = relation.encode(y)
    return relation(targets, all_pairs(targets.shape[0]) if pairs is None else pairs)


def condensed(function, y):
    """Call a function of two rows on each pair, in the order of all_pairs."""
    return np.array([function(y[i], y[j]) for i, j in all_pairs(len(y))], dtype=float)


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


def label_sets(rng, n_samples=12, n_labels=5):
    y = rng.integers(0, 2, size=(n_samples, n_labels))
    y[0], y[1], y[2], y[3] = 0, 0, 1, [1, 0, 0, 0, 0][:n_labels]
    return y


def distributions(rng, n_samples=12, n_labels=4):
    y = rng.dirichlet(np.full(n_labels, 0.7), size=n_samples)
    y[0] = np.eye(n_labels)[0]
    y[1] = np.eye(n_labels)[1]
    y[2] = [0.5, 0.5] + [0.0] * (n_labels - 2)
    return y


# Values


@pytest.mark.parametrize("y", [[0, 1, 1, 2], ["a", "b", "b", "c"], [True, False, False, True]])
def test_class_relations_tell_same_from_different(y):
    same = np.array([y[i] == y[j] for i, j in all_pairs(len(y))])
    assert_array_equal(evaluate("class", y), np.where(same, -1.0, 1.0))
    assert_array_equal(evaluate("zero_one", y), np.where(same, 0.0, 1.0))


def test_absolute_difference_is_divided_by_the_range_of_the_training_targets():
    y = [3.0, -1.0, 7.0, 3.0]
    expected = condensed(lambda u, v: abs(u - v) / 8, y)
    assert_allclose(evaluate("absolute_difference", y), expected)
    relation = resolve_relation("absolute_difference", y)
    held_out = relation.encode([7.0, 23.0])
    assert_allclose(relation(held_out, [[0, 1]]), [2.0])


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("manhattan", distance.cityblock),
        ("euclidean", distance.euclidean),
        ("chebyshev", distance.chebyshev),
        ("hamming", distance.hamming),
        ("jaccard", lambda u, v: distance.jaccard(u.astype(bool), v.astype(bool))),
    ],
)
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.coo_matrix])
def test_label_set_relations_agree_with_scipy(rng, name, function, container):
    y = label_sets(rng)
    assert_allclose(evaluate(name, container(y)), condensed(function, y), atol=1e-15)


def test_jaccard_of_empty_label_sets_is_zero():
    y = [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert_array_equal(evaluate("jaccard", y), [0, 1, 1, 1, 1, 0.5])


def test_hamming_takes_integers_of_any_number_of_values():
    y = np.array([[1, 2, 3], [1, 5, 4], [0, 2, 3]])
    assert_allclose(evaluate("hamming", y), [2 / 3, 1 / 3, 1.0])


def floored_jeffreys(u, v):
    u, v = np.maximum(u, PROBABILITY_FLOOR), np.maximum(v, PROBABILITY_FLOOR)
    return sum((a - b) * math.log(a / b) for a, b in zip(u, v, strict=True)) / 2


def direct_clark(u, v):
    terms = [(a - b) ** 2 / (a + b) ** 2 for a, b in zip(u, v, strict=True) if a + b > 0]
    return math.sqrt(sum(terms))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("chebyshev", distance.chebyshev),
        ("manhattan", distance.cityblock),
        ("euclidean", distance.euclidean),
        ("canberra", distance.canberra),
        ("clark", direct_clark),
        ("cosine", distance.cosine),
        ("intersection", lambda u, v: 1 - np.minimum(u, v).sum()),
        ("kullback_leibler", floored_jeffreys),
    ],
)
def test_distribution_relations_agree_with_direct_formulas(rng, name, function):
    y = distributions(rng)
    assert_allclose(evaluate(name, y), condensed(function, y), rtol=1e-12, atol=1e-14)


def test_kullback_leibler_is_the_mean_of_both_directions_where_nothing_is_zero(rng):
    y = rng.dirichlet(np.full(4, 5.0), size=8)
    expected = condensed(lambda u, v: (entropy(u, v) + entropy(v, u)) / 2, y)
    assert_allclose(evaluate("kullback_leibler", y), expected, rtol=1e-10)


def test_kullback_leibler_of_disjoint_distributions_is_finite():
    value = evaluate("kullback_leibler", [[1.0, 0.0], [0.0, 1.0]])
    assert_allclose(value, -math.log(PROBABILITY_FLOOR) * (1 - PROBABILITY_FLOOR))


@pytest.mark.parametrize(("name", "order"), [("manhattan", 1), ("euclidean", 2)])
def test_multioutput_columns_are_standardised_and_averaged(rng, name, order):
    y = rng.normal(size=(9, 3)) * [1.0, 100.0, 1e-3] + [0.0, 5.0, -7.0]
    z = (y - y.mean(axis=0)) / y.std(axis=0)
    expected = condensed(lambda u, v: np.mean(abs(u - v) ** order) ** (1 / order), z)
    assert_allclose(evaluate(name, y), expected)


def test_multioutput_chebyshev_is_the_largest_standardised_difference(rng):
    y = rng.normal(size=(9, 3)) * [1.0, 100.0, 1e-3]
    expected = condensed(lambda u, v: abs(u - v).max(), y / y.std(axis=0))
    assert_allclose(evaluate("chebyshev", y), expected)


@pytest.mark.parametrize("name", ["manhattan", "euclidean", "chebyshev"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 + 0.3])
def test_a_constant_output_contributes_nothing(rng, name, constant):
    y = rng.normal(size=(7, 2))
    padded = np.column_stack([y, np.full(7, constant)])
    assert_allclose(evaluate(name, padded), evaluate(name, y), rtol=1e-14)
    relation = resolve_relation(name, padded)
    held_out = padded.copy()
    held_out[:, 2] += np.arange(7)
    assert_allclose(relation(relation.encode(held_out), all_pairs(7)), evaluate(name, y))


def test_repeating_an_output_does_not_change_the_euclidean_relation(rng):
    y = rng.normal(size=(7, 2))
    assert_allclose(evaluate("euclidean", np.hstack([y, y, y])), evaluate("euclidean", y))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_is_learned_where_squares_leave_the_range_of_floats(scale):
    y = np.array([[1.0, 5.0], [2.0, 5.5], [4.0, 7.0]])
    assert_allclose(evaluate("euclidean", y * [scale, 1.0]), evaluate("euclidean", y))


@pytest.mark.parametrize("y", [[-1e308, 1.5, 1e308], [[-1e308, 1], [1e308, 2]]])
def test_range_that_overflows(y):
    with pytest.raises(ValueError, match="y is not valid: its range overflows float64"):
        resolve_relation("auto", y)


def test_held_out_targets_use_the_training_scale(rng):
    y, held_out = rng.normal(size=(20, 3)), 50 * rng.normal(size=(4, 3))
    relation = resolve_relation("euclidean", y)
    expected = condensed(lambda u, v: np.sqrt(np.mean((u - v) ** 2)), held_out / y.std(axis=0))
    assert_allclose(relation(relation.encode(held_out), all_pairs(4)), expected)


def test_callable_gets_scalars_of_one_column_and_rows_of_several():
    seen = []

    def relation(u, v):
        seen.append((np.ndim(u), np.ndim(v)))
        return abs(np.sum(u) - np.sum(v))

    assert_array_equal(evaluate(relation, [1.0, 2.5, 4.0]), [1.5, 3.0, 1.5])
    assert set(seen) == {(0, 0)}
    seen.clear()
    assert_array_equal(evaluate(relation, [[1, 2], [5, 7]]), [9.0])
    assert set(seen) == {(1, 1)}
    seen.clear()
    assert_array_equal(evaluate(relation, sparse.csr_array([[1, 0, 1], [0, 1, 0]])), [1.0])
    assert set(seen) == {(1, 1)}


def test_callable_works_on_strings():
    values = evaluate(lambda u, v: abs(len(u) - len(v)), ["a", "bbb", "cc"])
    assert_array_equal(values, [2, 1, 1])


# Properties


# Rounded, so that no square underflows.
unit_weights = arrays(float, (6, 3), elements=st.floats(0, 1).map(lambda value: round(value, 6)))


def to_distributions(weights):
    weights = weights.copy()
    weights[weights.sum(axis=1) < 1e-6] = 1.0
    weights[0], weights[1] = [1, 0, 0], [0.25, 0.25, 0.5]
    return weights / weights.sum(axis=1, keepdims=True)


@settings(max_examples=40)
@given(weights=unit_weights)
@pytest.mark.parametrize("name", DISTRIBUTION_RELATIONS)
def test_distribution_relations_are_symmetric_non_negative_and_zero_at_equality(name, weights):
    y = to_distributions(weights)
    pairs = all_pairs(6)
    values = evaluate(name, y, pairs)
    assert_array_equal(values, evaluate(name, y, pairs[:, ::-1]))
    assert_array_equal(evaluate(name, y, np.repeat(np.arange(6), 2).reshape(-1, 2)), 0.0)
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert values[0] > 0  # the first two rows differ


@settings(max_examples=60)
@given(weights=unit_weights)
def test_bounds_between_the_distribution_relations(weights):
    y = to_distributions(weights)
    value = {name: evaluate(name, y) for name in DISTRIBUTION_RELATIONS}
    room = 1 + 1e-12
    assert (value["clark"] <= room * value["canberra"]).all()
    assert (value["canberra"] <= room * np.sqrt(3) * value["clark"]).all()
    assert (value["clark"] <= room * np.sqrt(3)).all()
    assert (value["chebyshev"] <= room * value["euclidean"]).all()
    assert (value["euclidean"] <= room * value["manhattan"]).all()
    assert (value["cosine"] <= room).all()
    assert (value["intersection"] <= room).all()
    assert (value["chebyshev"] <= room * value["intersection"] + 1e-12).all()
    # Pinsker's inequality, with what the floor may take away
    assert (value["kullback_leibler"] >= 2 * value["intersection"] ** 2 - 1e-4).all()


@settings(max_examples=40)
@given(y=arrays(np.int64, (5, 4), elements=st.integers(0, 1)))
@pytest.mark.parametrize("name", ["manhattan", "euclidean", "chebyshev", "hamming", "jaccard"])
def test_label_set_relations_are_the_same_for_sparse_and_dense(name, y):
    y[0], y[1] = [0, 0, 0, 0], [1, 1, 0, 0]
    pairs = all_pairs(5)
    values = evaluate(name, y, pairs)
    assert_array_equal(values, evaluate(name, sparse.csr_array(y), pairs))
    assert_array_equal(values, evaluate(name, y, pairs[:, ::-1]))
    assert_array_equal(values == 0, (y[pairs[:, 0]] == y[pairs[:, 1]]).all(axis=1))
    if name in ("hamming", "jaccard", "chebyshev"):
        assert (values <= 1).all()


@settings(max_examples=60)
@given(
    y=arrays(float, 8, elements=st.floats(-100, 100).map(lambda value: round(value, 3))),
    slope=st.floats(0.01, 1000) | st.floats(-1000, -0.01),
    intercept=st.floats(-1000, 1000),
)
def test_absolute_difference_ignores_shift_and_scale(y, slope, intercept):
    y[0], y[1] = -101.0, 55.0
    values = evaluate("absolute_difference", y)
    transformed = evaluate("absolute_difference", slope * y + intercept)
    assert_allclose(transformed, values, atol=1e-9)
    assert values.max() == 1.0
    assert values.min() >= 0.0


@settings(max_examples=40)
@given(
    y=arrays(float, (6, 3), elements=st.floats(-100, 100).map(lambda value: round(value, 3))),
    slopes=arrays(float, 3, elements=st.floats(0.01, 1000)),
)
def test_multioutput_relation_ignores_shift_and_scale_of_each_column(y, slopes):
    y[0], y[1] = [-101, 3, 7], [102, 3.5, 7.25]
    transformed = evaluate("euclidean", slopes * y - 3)
    assert_allclose(transformed, evaluate("euclidean", y), rtol=1e-6, atol=1e-9)


# The decision of "auto"


@pytest.mark.filterwarnings("ignore:y has .* different integers", "ignore:The rows of y are")
@pytest.mark.parametrize(
    ("y", "kind", "name"),
    [
        (load_breast_cancer().target, "binary", "class"),
        (load_iris().target, "multiclass", "class"),
        (load_iris().target.astype(float), "multiclass", "class"),
        (load_iris().target_names[load_iris().target], "multiclass", "class"),
        (load_digits().target, "multiclass", "class"),
        (np.array(["a", "b"] * 3, dtype=object), "binary", "class"),
        ([True, False, True], "binary", "class"),
        ([f"person {i}" for i in range(40)] * 2, "multiclass", "class"),
        (np.arange(100) % 20, "multiclass", "class"),
        (np.arange(105) % 21, "multiclass", "class"),
        (np.arange(104) % 21, "continuous", "absolute_difference"),
        (load_diabetes().target, "continuous", "absolute_difference"),
        (load_diabetes().target.astype(int), "continuous", "absolute_difference"),
        (load_diabetes().target.reshape(-1, 1), "continuous", "absolute_difference"),
        (make_regression(30, random_state=0)[1], "continuous", "absolute_difference"),
        (make_multilabel_classification(30, random_state=0)[1], "multilabel", "manhattan"),
        (
            make_multilabel_classification(30, random_state=0, sparse=True)[1],
            "multilabel",
            "manhattan",
        ),
        (
            make_multilabel_classification(30, random_state=0, return_indicator="sparse")[1],
            "multilabel",
            "manhattan",
        ),
        (np.eye(3), "multilabel", "manhattan"),
        (np.eye(3, dtype=bool), "multilabel", "manhattan"),
        (load_iris().data / load_iris().data.sum(axis=1)[:, None], "distribution", "chebyshev"),
        ([[0.3337, 0.3337, 0.3334], [0.2, 0.3, 0.5]], "distribution", "chebyshev"),
        ([[0.34, 0.34, 0.33], [0.2, 0.3, 0.5]], "multioutput", "euclidean"),
        ([[1.5, -0.5], [0.2, 0.8]], "multioutput", "euclidean"),
        (sparse.csr_array([[0.5, 0.5, 0], [0, 0.2, 0.8]]), "distribution", "chebyshev"),
        (sparse.csr_array([[3.0, 0.5, 0], [0, 0.2, 0.8]]), "multioutput", "euclidean"),
        (load_linnerud().target, "multioutput", "euclidean"),
        ([[1, -1], [-1, 1], [1, 1]], "multioutput", "euclidean"),
        ([[1, 2], [3, 1], [2, 2]], "multioutput", "euclidean"),
    ],
)
def test_auto_decides_by_the_kind_of_target(y, kind, name):
    relation = resolve_relation("auto", y)
    assert (relation.kind, relation.name) == (kind, name)
    targets = relation.encode(y)
    assert_array_equal(
        relation(targets, all_pairs(targets.shape[0])),
        evaluate(name, y),
    )


@pytest.mark.parametrize(
    "y", [np.arange(500.0), load_diabetes().target, np.array([1e300, 2e300, 3.5e300])]
)
def test_no_warning_when_integers_are_taken_for_numbers(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_relation("auto", y).kind == "continuous"
        assert resolve_relation("absolute_difference", np.arange(10)).kind == "continuous"


@pytest.mark.parametrize(
    ("relation", "y", "kind"),
    [
        ("class", np.arange(60), "multiclass"),
        ("zero_one", [0, 1, 0], "binary"),
        ("absolute_difference", [1, 2, 3, 3, 2, 1], "continuous"),
        ("kullback_leibler", np.eye(3), "distribution"),
        ("euclidean", np.eye(3), "multilabel"),
        ("canberra", [[2, 3], [0, 1]], "multioutput"),
        (max, [0.5, 1.5, 1.0], "continuous"),
        (max, [0, 1, 1], "binary"),
    ],
)
def test_kind_when_the_relation_is_given(relation, y, kind):
    resolved = resolve_relation(relation, y)
    assert resolved.kind == kind
    assert resolved.name == ("callable" if callable(relation) else relation)


def as_pandas_series(y):
    return pytest.importorskip("pandas").Series(y, index=range(100, 100 + len(y)))


def as_pandas_categorical(y):
    return pytest.importorskip("pandas").Series(y, dtype="category")


def as_pandas_nullable(y):
    return pytest.importorskip("pandas").Series(y).convert_dtypes()


def as_polars_series(y):
    return pytest.importorskip("polars").Series(y)


def as_object_array(y):
    return np.array(y, dtype=object)


def as_column(y):
    return np.array(y).reshape(-1, 1)


ONE_COLUMN = [as_pandas_series, as_pandas_categorical, as_pandas_nullable, as_polars_series]
ONE_COLUMN += [as_column, tuple]


@pytest.mark.parametrize("container", [*ONE_COLUMN, as_object_array])
def test_containers_of_strings(container):
    y = ["b", "a", "b", "c"]
    assert_array_equal(evaluate("auto", container(y)), [1, -1, 1, 1, 1, 1])


@pytest.mark.parametrize("container", ONE_COLUMN)
@pytest.mark.parametrize("y", [[0, 1, 1, 2], [0.5, 1.5, 2.0, 0.5]])
def test_containers_of_numbers(container, y):
    assert_array_equal(evaluate("auto", container(y)), evaluate("auto", y))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("y", [load_linnerud().target, np.eye(3, dtype=int)])
def test_data_frames(library, y):
    columns = {f"output {i}": column for i, column in enumerate(y.T)}
    frame = pytest.importorskip(library).DataFrame(columns)
    assert_array_equal(evaluate("auto", frame), evaluate("auto", y))


def test_a_one_column_data_frame_is_one_column():
    frame = pytest.importorskip("pandas").DataFrame({"class": ["a", "b", "a"]})
    relation = resolve_relation("auto", frame)
    assert (relation.kind, relation.encode(frame).shape) == ("binary", (3,))


# Encoding


def test_new_classes_may_appear_in_held_out_targets():
    relation = resolve_relation("class", ["a", "b"])
    targets = relation.encode(["a", "a new and longer name", "z", "z"])
    assert_array_equal(relation(targets, [[0, 1], [1, 2], [2, 3]]), [1, 1, -1])


def test_held_out_targets_may_be_few_and_constant():
    assert resolve_relation("class", ["a", "b"]).encode(["a"]).tolist() == ["a"]
    assert resolve_relation("auto", [0.0, 0.5, 2.0]).encode([1.0, 1.0]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", ["manhattan", "euclidean", "hamming", "jaccard"])
def test_sparse_label_sets_stay_sparse(name):
    y = sparse.csr_array(np.eye(4))
    targets = resolve_relation(name, y).encode(y)
    assert sparse.issparse(targets)
    assert targets.dtype == np.float64


def test_held_out_sparse_zeros_and_ones_are_scaled_like_training_numbers():
    relation = resolve_relation("euclidean", sparse.csr_array([[1, 2], [3, 0], [0, 7]]))
    held_out = np.eye(2)
    assert_array_equal(relation.encode(sparse.csr_array(held_out)), relation.encode(held_out))


def test_explicit_zeros_of_sparse_label_sets_are_zeros():
    y = sparse.csr_array(([1, 0, 1], ([0, 0, 1], [0, 1, 2])), shape=(2, 3))
    assert_array_equal(evaluate("jaccard", y), evaluate("jaccard", y.toarray()))
    assert y.nnz == 3  # and the caller's matrix is left alone


@pytest.mark.parametrize("y", [[[1, 0], [0, 1]], [[0.5, 0.5], [1, 0]], [[7, 3], [1, 2]]])
def test_inputs_are_not_changed(y):
    y = read_only(y)
    before = y.copy()
    evaluate("auto", y)
    assert_array_equal(y, before)


@pytest.mark.parametrize("name", sorted(RELATIONS))
def test_encoded_targets_and_relations_are_float64_unless_classes(name):
    if name in ("class", "zero_one", "absolute_difference"):
        y = np.array([0, 1, 2], dtype=np.float32 if name == "absolute_difference" else np.int8)
    else:
        y = np.eye(3, dtype=np.float32)
    relation = resolve_relation(name, y)
    targets = relation.encode(y)
    assert targets.dtype == (np.int8 if name in ("class", "zero_one") else np.float64)
    assert relation(targets, [[0, 1]]).dtype == np.float64
    assert relation(targets, []).shape == (0,)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_chunks_change_nothing_and_bound_the_rows_at_once(rng, monkeypatch, container):
    y = label_sets(rng)
    expected = evaluate("manhattan", y)
    monkeypatch.setattr("metricalign.relations.target._ENTRIES_OF_BATCH", 20)
    relation = resolve_relation("manhattan", container(y))
    rows, manhattan = [], RELATIONS["manhattan"].function

    def watch(left, right):
        rows.append(left.shape[0])
        return manhattan(left, right)

    watched = RELATIONS["manhattan"]._replace(function=watch)
    monkeypatch.setitem(RELATIONS, "manhattan", watched)
    assert_array_equal(relation(relation.encode(container(y)), all_pairs(12)), expected)
    assert sum(rows) == 66
    assert max(rows) * 5 <= 20 or container is sparse.csr_array
    assert len(rows) > 1


@pytest.mark.parametrize("y", [["a", "b"], [0.5, 1.5, 2], [[1, 0], [0, 1]], [[1.5, 2], [3, 4]]])
def test_relations_survive_pickling(y):
    relation = resolve_relation("auto", y)
    restored = pickle.loads(pickle.dumps(relation))
    pairs = all_pairs(len(y))
    assert_array_equal(restored(restored.encode(y), pairs), relation(relation.encode(y), pairs))
    assert repr(restored) == repr(relation)


def test_callable_and_precomputed_relations_survive_pickling():
    restored = pickle.loads(pickle.dumps(resolve_relation(math.dist, [[1, 2], [4, 6]])))
    assert_array_equal(restored(restored.encode([[1, 2], [4, 6]]), [[0, 1]]), [5.0])
    restored = pickle.loads(pickle.dumps(resolve_relation("precomputed", [[0, 3], [3, 0]])))
    assert_array_equal(restored(restored.encode([[0, 4], [4, 0]]), [[0, 1]]), [4.0])


def test_repr_tells_name_kind_and_outputs():
    assert (
        repr(resolve_relation("auto", np.eye(3)))
        == "TargetRelation(name='manhattan', kind='multilabel', n_outputs=3)"
    )


# Precomputed relations


def test_dense_precomputed_relations(rng):
    y = distance.squareform(rng.normal(size=10))
    np.fill_diagonal(y, np.nan)
    relation = resolve_relation("precomputed", read_only(y))
    assert (relation.name, relation.kind) == ("precomputed", "precomputed")
    assert isinstance(relation, TargetRelation)
    targets = relation.encode(y)
    pairs = relation.stored_pairs(targets)
    assert_array_equal(pairs, all_pairs(5))
    assert_array_equal(relation(targets, pairs), y[pairs[:, 0], pairs[:, 1]])
    assert_array_equal(relation(targets, pairs[:, ::-1]), relation(targets, pairs))


@pytest.mark.parametrize("stored", ["upper", "lower", "both", "mixed"])
@pytest.mark.parametrize("container", [sparse.coo_array, sparse.csr_matrix, sparse.csc_array])
def test_sparse_precomputed_relations_with_explicit_zeros(stored, container):
    rows, columns = np.array([0, 0, 1, 2]), np.array([1, 3, 2, 3])
    values = np.array([0.5, 0.0, -1.0, 0.0])
    if stored == "lower":
        coordinates = columns, rows
    elif stored == "mixed":
        coordinates = np.array([0, 3, 1, 3]), np.array([1, 0, 2, 2])
    elif stored == "both":
        coordinates = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        values = np.tile(values, 2)
    else:
        coordinates = rows, columns
    y = container(sparse.coo_array((values, coordinates), shape=(5, 5)))
    assert y.nnz == len(values)

    relation = resolve_relation("precomputed", y)
    targets = relation.encode(y)
    pairs = relation.stored_pairs(targets)
    assert_array_equal(pairs, [[0, 1], [0, 3], [1, 2], [2, 3]])
    assert_array_equal(relation(targets, pairs), [0.5, 0.0, -1.0, 0.0])
    assert_array_equal(relation(targets, pairs[::-1, ::-1]), [0.0, -1.0, 0.0, 0.5])
    assert relation(targets, []).shape == (0,)
    assert_array_equal(targets.toarray(), targets.toarray().T)
    assert y.nnz == len(values)


def test_sparse_precomputed_diagonal_is_ignored():
    y = sparse.coo_array(([np.nan, 1.0, 2.0], ([0, 0, 1], [0, 1, 2])), shape=(3, 3))
    relation = resolve_relation("precomputed", y)
    assert_array_equal(relation.stored_pairs(relation.encode(y)), [[0, 1], [1, 2]])


@pytest.mark.parametrize("nnz", [0, 1])
def test_sparse_precomputed_refuses_pairs_that_are_not_stored(nnz):
    y = sparse.coo_array(([1.0, 2.0], ([0, 1], [1, 2])), shape=(3, 3))
    relation = resolve_relation("precomputed", y)
    held_out = sparse.coo_array(([1.0] * nnz, ([1] * nnz, [2] * nnz)), shape=(3, 3))
    with pytest.raises(ValueError, match=r"pairs must be .* y\[0, 2\] is not stored.*explicit"):
        relation(relation.encode(held_out), [[0, 2]])


def test_precomputed_rounding_is_made_symmetric():
    y = np.array([[0.0, 1.0, 2.0], [1.0 + 1e-9, 0.0, 3.0], [2.0, 3.0, 0.0]])
    targets = resolve_relation("precomputed", y).encode(y)
    assert_array_equal(targets, targets.T)
    assert_allclose(targets, y, atol=1e-9)


def test_held_out_precomputed_matrix_may_have_another_size():
    relation = resolve_relation("precomputed", [[0, 1], [1, 0]])
    assert relation.encode(np.zeros((5, 5))).shape == (5, 5)
    assert relation.encode([[0]]).shape == (1, 1)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[0, 1, 2], [1, 0, 3]], r"y must be a square matrix.*\(2, 3\)"),
        ([[0, 1], [2, 0]], r"y must be symmetric, but y\[0, 1\] is 1 and y\[1, 0\] is 2"),
        ([[0, 1e-9], [2e-9, 0]], r"y must be symmetric"),
        (sparse.csr_array([[0, 1], [2, 0]]), r"y must be symmetric.*is 1 and y\[1, 0\] is 2"),
        ([[0, np.nan], [np.nan, 0]], r"y has a relation that is NaN .*finite.*sparse"),
        ([[0, np.inf], [np.inf, 0]], r"y has a relation that is NaN or infinite"),
        (sparse.csr_array([[0, np.nan], [0, 0]]), r"y has a relation that is NaN or infinite"),
        ([[0]], r"y has 1 sample, .* at least 2 samples"),
        (sparse.csr_array((3, 3)), r"y stores no relation off its diagonal.*explicit zero"),
        (sparse.csr_array(np.eye(3)), r"y stores no relation off its diagonal"),
        (np.ones((3, 3)), r"y is constant.*every pair would have the same relation"),
        ([0, 1, 1], r"y is not valid: Expected 2D array, got 1D"),
        ([["a", "b"], ["c", "d"]], r"y is not valid"),
        (np.eye(2) * 1j, r"y is not valid: Complex data not supported"),
    ],
)
def test_invalid_precomputed_matrices(y, message):
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        resolve_relation("precomputed", y)


# Errors


@pytest.mark.parametrize("relation", [None, 3, ["class"], AroundTheClock])
def test_relation_of_a_wrong_type(relation):
    with pytest.raises(
        TypeError, match=r'relation must be a string, an instance of.*"auto".*class'
    ):
        resolve_relation(relation, [0, 1])


@pytest.mark.parametrize("relation", ["klass", "", "Class"])
def test_unknown_relation(relation):
    with pytest.raises(ValueError, match=rf"relation='{relation}' is not known") as error:
        resolve_relation(relation, [0, 1])
    for name in ["auto", "precomputed", *RELATIONS]:
        assert f'"{name}"' in str(error.value)


@pytest.mark.parametrize("relation", ["auto", "class", "precomputed", max])
def test_missing_targets(relation):
    message = "requires y to be passed, but the target y is None"
    with pytest.raises(ValueError, match=message):
        resolve_relation(relation, None)


ACCEPTED = r".*y may be one column of strings or numbers, several columns of numbers"


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            [1.0, np.nan, 2.0],
            r"NaN, the first in row 1 \(1 of 3 samples\)" + ACCEPTED,
        ),
        ([[1.0, 2.0], [np.inf, 1.0]], "y is not valid: Input y contains infinity" + ACCEPTED),
        (np.array(["a", np.nan], dtype=object), "y is not valid: Input contains NaN" + ACCEPTED),
        (sparse.csr_array([[1, np.nan], [0, 1]]), "y is not valid: Input y contains NaN"),
        ([], r"y is not valid: Found array with 0 sample\(s\)" + ACCEPTED),
        (np.empty((0, 3)), r"y is not valid: Found array with 0 sample\(s\)" + ACCEPTED),
        (np.empty((3, 0)), r"y is not valid: Found array with 0 feature\(s\)" + ACCEPTED),
        (5, "y is not valid" + ACCEPTED),
        ("text", "y is not valid" + ACCEPTED),
        (np.zeros((2, 2, 2)), "y is not valid: Found array with dim 3" + ACCEPTED),
        ([[1, 2], [3]], "y is not valid: its rows have different lengths.*MultiLabelBinarizer"),
        ([1j, 2.0], "y is not valid: Complex data not supported" + ACCEPTED),
        ([{1, 2}, {3}], "y has objects that are not strings" + ACCEPTED + ".*MultiLabelBinarizer"),
        (np.array([1, 2], dtype=object), r"not strings.*give y.astype\(int\)" + ACCEPTED),
        (np.array([1, 0.5], dtype=object), r"not strings.*give y.astype\(float\)" + ACCEPTED),
        (np.array(["a", None], dtype=object), "y has objects that are not strings" + ACCEPTED),
        ([["a", "b"], ["c", "d"]], r"y has <U1 entries and the shape \(2, 2\)" + ACCEPTED),
        ([b"a", b"b"], r"y has \|S1 entries" + ACCEPTED),
        (np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]"), "y has datetime64"),
        ([1], "y has 1 sample, .* at least 2 samples"),
        ([3, 3, 3], "y is constant, it has one class only, 3: every pair would have the same"),
        (["a", "a"], "y is constant, it has one class only, 'a': every pair"),
        ([0.5, 0.5], "y is constant.* 0.5: every pair .* at least two different targets"),
        (np.ones((3, 2)), r"y is constant, it has one target only, \[1.0, 1.0\]: every pair"),
        (sparse.csr_array([[0, 1], [0, 1]]), r"y is constant, .* \[0, 1\]: every pair"),
        (sparse.csr_array((4, 3)), r"y is constant, .* \[0.0, 0.0, 0.0\]: every pair"),
    ],
)
def test_invalid_targets(y, message):
    for relation in ("auto", max):
        with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
            resolve_relation(relation, y)


@pytest.mark.parametrize(
    ("relation", "y", "needs", "has", "fitting"),
    [
        ("jaccard", [[0, 2], [1, 0]], "columns of 0 and 1", "integers from 0 to 2", "hamming"),
        ("absolute_difference", ["a", "b"], "one column of numbers", "strings", "class"),
        ("absolute_difference", [[1, 2], [3, 4]], "one column of numbers", "(2, 2)", "euclidean"),
        ("clark", [[-1.0, 2.0], [3.0, 4.0]], "non-negative", "integers from -1", "euclidean"),
        ("canberra", [[-1.5, 2.0], [3.0, 4.0]], "non-negative", "from -1.5 to 4", "euclidean"),
        ("class", [[0, 1], [1, 0]], "one column of classes", "(2, 2)", "jaccard"),
        ("class", sparse.csr_array([[0, 1], [1, 0]]), "one column of classes", "(2, 2)", "hamming"),
        ("class", [[True, False], [True, True]], "one column of classes", "from 0 to 1", "hamming"),
        ("class", [0.5, 1.5, 0.5], "one column of classes", "0.5 to 1.5", "absolute_difference"),
        ("zero_one", [0.5, 1.5], "one column of classes", "numbers", "absolute_difference"),
        ("hamming", [[0.5, 1], [1, 2]], "columns of integers", "numbers from 0.5", "euclidean"),
        ("cosine", [[0.5, 1], [1, 2]], "row sums of 1", "numbers from 0.5 to 2", "clark"),
        ("intersection", [[0.5, 1], [1, 2]], "row sums of 1", "numbers", "canberra"),
        ("kullback_leibler", [[-0.5, 1.5], [0.5, 0.5]], "row sums of 1", "-0.5", "manhattan"),
        ("manhattan", [0, 1, 2], "two or more columns", "(3,)", "class"),
        ("euclidean", ["a", "b"], "two or more columns", "strings", "zero_one"),
    ],
)
def test_relation_that_does_not_fit_the_targets(relation, y, needs, has, fitting):
    with pytest.raises(ValueError, match=f"relation='{relation}' needs a y of ") as error:
        resolve_relation(relation, y)
    needed, found, accepted = re.fullmatch(
        r".* needs a y of (.*), but y has (.*)\. For this y, relation may be (.*)", str(error.value)
    ).groups()
    assert needs in needed
    assert has in found
    assert f'"{fitting}"' in accepted
    assert f'"{relation}"' not in accepted


@pytest.mark.parametrize(
    ("relation", "y", "held_out", "message"),
    [
        ("auto", np.eye(3), np.eye(2), r"y must have 3 column\(s\) as in training.*\(2, 2\)"),
        ("class", [0, 1], np.eye(2), r"y must have 1 column\(s\) as in training.*\(2, 2\)"),
        ("auto", [[1, 2], [3, 5]], [1, 2], r"y must have 2 column\(s\) as in training.*\(2,\)"),
        ("class", [0, 1], [0.5, 1.5], "relation='class' needs a y of one column of classes"),
        ("clark", [[1, 2], [3, 5]], [[-1, 2]], "relation='clark' needs a y of .*non-negative"),
        ("jaccard", np.eye(2), [[2, 0]], "relation='jaccard' needs a y of .*0 and 1"),
        ("absolute_difference", [0.5, 1], ["a", "b"], "relation='absolute_difference' needs a y"),
        ("auto", [0.5, 1.0], [np.nan, 1.0], "y is not valid: Input y contains NaN"),
    ],
)
def test_held_out_targets_that_do_not_fit(relation, y, held_out, message):
    resolved = resolve_relation(relation, y)
    with pytest.raises(ValueError, match=message):
        resolved.encode(held_out)


@pytest.mark.parametrize(
    "value", [np.nan, -np.inf, 1j, "1.5", None, [1.0, 2.0], np.ones(1), object()]
)
def test_callable_that_returns_no_finite_number(value):
    with pytest.raises(ValueError, match=r"relation, when callable, must return one finite real"):
        resolve_relation(lambda u, v: value, [0.5, 1.0, 2.0])


@pytest.mark.parametrize("y", [[0, 1, 0, 1], [0.5, 1.5, 2.0], [[1, 2], [5, 7], [1, 2]]])
def test_callable_that_is_not_symmetric(y):
    with pytest.raises(ValueError, match=r"relation=<function .* must be symmetric; it returned"):
        resolve_relation(lambda u, v: float(np.sum(u) - np.sum(v)), y)


def test_callable_rounding_passes_for_symmetric():
    assert resolve_relation(lambda u, v: abs(u - v) * (1 + 1e-12 * u), [1.0, 2.5]).n_outputs == 1


def test_many_integers_that_are_taken_as_classes_are_named():
    with pytest.warns(UserWarning, match="y has 30 different integers and is taken as classes"):
        assert resolve_relation("auto", np.arange(300) % 30).name == "class"
    resolve_relation("class", np.arange(300) % 30)
    resolve_relation("auto", np.arange(300) % 20)


@pytest.mark.parametrize("factor", [1, 100])
def test_shares_that_are_rounded_are_named(factor):
    shares = factor * np.random.default_rng(0).dirichlet(np.ones(4), size=50).round(2)
    with pytest.warns(UserWarning, match="Divide each row by its sum"):
        assert resolve_relation("auto", shares).kind == "multioutput"
    resolve_relation("auto", shares / shares.sum(axis=1, keepdims=True))
    resolve_relation("euclidean", shares)


# A relation of one's own


def test_relation_of_ones_own_is_its_function(rng):
    y = rng.uniform(0, 100, 50)
    assert_allclose(evaluate(AroundTheClock(), y), condensed(hours_apart, y), rtol=1e-13)
    assert_allclose(evaluate(AroundTheClock(), y[:, None]), evaluate(AroundTheClock(), y))
    assert evaluate(AroundTheClock(period=10), [1, 10.5, 25]).tolist() == [0.5, 4, 4.5]
    resolved = resolve_relation(AroundTheClock(), y)
    assert (resolved.name, resolved.kind) == ("AroundTheClock", "continuous")
    assert not resolved.is_of_classes


@pytest.mark.parametrize(
    ("targets", "y", "kind", "dtype"),
    [
        ("classes", ["a", "b", "c"], "multiclass", "U"),
        ("classes", [3, 1, 3], "binary", "i"),
        ("numbers", [3, 1, 3], "continuous", "f"),
        ("columns", [[0.5, 2], [3, 4]], "multioutput", "f"),
        ("columns", sparse.csr_array([[1, 0], [0, 1]]), "multilabel", "f"),
        ("integer_columns", [[5, 2], [3, 4]], "multioutput", "f"),
        ("non_negative_columns", [[0.5, 2], [3, 4]], "multioutput", "f"),
        ("label_sets", [[0, 1], [1, 1]], "multilabel", "f"),
        ("distributions", [[0.5, 0.5], [1, 0]], "distribution", "f"),
        ("any", np.array([3, 1], dtype=np.uint8), "binary", "i"),
        ("any", [0.5, 1.5], "continuous", "f"),
    ],
)
def test_relation_of_ones_own_gets_the_targets_it_asks_for(targets, y, kind, dtype):
    seen = []

    class Watching(Relation):
        def __call__(self, left, right):
            seen.extend([left, right])
            return np.ones(len(left))

    Watching.targets = targets
    assert resolve_relation(Watching(), y).kind == kind
    assert {part.dtype.kind for part in seen} == {dtype}
    assert {part.ndim for part in seen} == {
        1 if kind in ("binary", "multiclass", "continuous") else 2
    }


@pytest.mark.parametrize(
    "estimator",
    [estimator for estimator in EVERY if "relation" in estimator.get_params()],
    ids=lambda estimator: type(estimator).__name__,
)
def test_every_estimator_takes_a_relation_of_ones_own(estimator, registered):
    X, y = data_of(estimator)
    register_relation("grades", Grades())
    images = []
    for relation in (Grades(), "grades", grades_apart):
        fitted = clone(estimator).set_params(relation=relation).fit(X, y)
        images.append(output(fitted, X))
        assert_array_equal(output(pickle.loads(pickle.dumps(fitted)), X), images[-1])
        assert fitted.score(X, y) > 0.5
    assert_array_equal(images[1], images[0])
    assert_array_equal(images[2], images[0])
    assert np.ptp(images[0]) > 0


def test_parameters_of_a_relation_are_searched():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.uniform(0, 48, 40)
    learner = PSDSVR(relation=AroundTheClock())
    assert learner.get_params()["relation__period"] == 24
    search = GridSearchCV(learner, {"relation__period": [3, 24]}, cv=2, error_score="raise")
    scores = search.fit(X, y).cv_results_["mean_test_score"]
    assert scores[0] != scores[1]
    assert learner.relation.period == 24


def test_fitted_relation_does_not_change_with_the_one_that_was_given(registered):
    y = [1.0, 5.0, 23.0]
    relation = AroundTheClock()
    register_relation("hours", relation)
    resolved = resolve_relation(relation, y)
    relation.set_params(period=3)
    assert evaluate("hours", y).tolist() == [4, 2, 6]
    assert resolved(resolved.encode(y), all_pairs(3)).tolist() == [4, 2, 6]


def test_model_of_a_registered_relation_knows_it_where_the_name_is_unknown(monkeypatch):
    monkeypatch.setattr(table, "registered", {})
    y = [1.0, 5.0, 23.0]
    register_relation("hours", AroundTheClock(period=10))
    assert resolve_relation("hours", y).name == "hours"
    saved = pickle.dumps(resolve_relation("hours", y))
    monkeypatch.setattr(table, "registered", {})
    resolved = pickle.loads(saved)
    assert resolved(resolved.encode(y), all_pairs(3)).tolist() == [4, 2, 2]
    with pytest.raises(ValueError, match="relation='hours' is not known"):
        resolve_relation("hours", y)


def test_unknown_relation_is_told_the_registered_names(registered):
    register_relation("hours", AroundTheClock())
    register_relation("hours", AroundTheClock(period=12))
    assert evaluate("hours", [1.0, 12.0]).tolist() == [1]
    with pytest.raises(ValueError, match=r"relation='days' is not known.*\"hours\""):
        resolve_relation("days", [0.5, 1.0])


class Nowhere(AroundTheClock):
    targets = "hours"


@pytest.mark.parametrize(
    ("name", "relation", "error", "message"),
    [
        ("class", Grades(), ValueError, "name='class' has a meaning already"),
        ("auto", Grades(), ValueError, "name='auto' has a meaning already"),
        ("", Grades(), ValueError, "name='' has a meaning already"),
        (3, Grades(), TypeError, "name must be a string, got 3"),
        ("mine", grades_apart, TypeError, "relation must be an instance of a subclass of"),
        ("mine", Grades, TypeError, "relation must be an instance of a subclass of"),
        ("mine", "class", TypeError, "relation must be an instance of a subclass of"),
        ("mine", AroundTheClock(0), ValueError, "'period' parameter of AroundTheClock"),
        ("mine", Nowhere(), ValueError, "Nowhere.targets must be one of any, classes"),
    ],
)
def test_what_cannot_be_registered(name, relation, error, message, registered):
    with pytest.raises(error, match=re.escape(message)):
        register_relation(name, relation)
    assert table.registered == {}


def test_relation_of_ones_own_says_what_it_lacks():
    class Empty(Relation):
        pass

    with pytest.raises(TypeError, match=r"Empty.*__call__"):
        Empty()


@pytest.mark.parametrize(
    "returned",
    [
        lambda left: 1.0,
        lambda left: np.ones((len(left), 1)),
        lambda left: np.ones(len(left) + 1),
        lambda left: np.full(len(left), np.nan),
        lambda left: np.full(len(left), np.inf),
        lambda left: np.full(len(left), 1j),
        lambda left: None,
    ],
)
def test_relation_of_ones_own_that_returns_no_finite_numbers(returned):
    class Wrong(Relation):
        def __call__(self, left, right):
            return returned(left)

    with pytest.raises(
        ValueError, match=r"relation=Wrong\(\) must return one finite real number a"
    ):
        resolve_relation(Wrong(), [0.5, 1.0, 2.0])


def test_relation_of_ones_own_that_is_refused(registered):
    class Signed(Relation):
        def __call__(self, left, right):
            return left - right

    with pytest.raises(ValueError, match=r"relation=Signed\(\) must be symmetric; it returned"):
        resolve_relation(Signed(), [0.5, 1.0, 2.0])
    with pytest.raises(ValueError, match="relation='AroundTheClock' needs a y of one column of n"):
        resolve_relation(AroundTheClock(), ["a", "b"])
    with pytest.raises(ValueError, match="'period' parameter of AroundTheClock"):
        PSDSVR(relation=AroundTheClock(-1)).fit(np.eye(3), [0.5, 1.0, 2.0])
    with pytest.raises(ValueError, match=r"Nowhere.targets must be one of"):
        resolve_relation(Nowhere(), [0.5, 1.0])


@pytest.mark.parametrize("relation", ["class", "precomputed"])
def test_number_of_targets_is_that_of_the_samples(relation):
    y = [[0, 1, 2], [1, 0, 3], [2, 3, 0]] if relation == "precomputed" else [0, 1, 1]
    resolved = resolve_relation(relation, y)
    assert resolved.encode(y, 3).shape[0] == 3
    with pytest.raises(ValueError, match="X and y must have as many samples; got 4 and 3"):
        resolved.encode(y, 4)


# Rounded and unsigned targets


@pytest.mark.parametrize("n_outputs", [3, 4, 6, 68])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shares_may_be_rounded_to_three_decimals(n_outputs, dtype, rng):
    y = rng.dirichlet(np.ones(n_outputs), 300).round(3).astype(dtype)
    assert np.ptp(y.sum(axis=1)) > 5e-4
    relation = resolve_relation("auto", y)
    assert relation.kind == "distribution"
    assert_allclose(relation(relation.encode(y), [[0, 1]]), abs(y[0] - y[1]).max(), rtol=1e-6)


@pytest.mark.parametrize("decimals", [3, 4, 5])
def test_many_columns_are_shares_if_their_sums_differ_from_one_by_rounding_only(decimals, rng):
    exact = rng.dirichlet(np.ones(300), 40)
    for shares in (exact, exact.round(decimals), exact.round(decimals).astype(np.float32)):
        assert resolve_relation("auto", shares).kind == "distribution"
    # Each row is judged by itself, in every container.
    mixed = np.concatenate([exact[:20], exact[20:].round(decimals), 1.2 * exact[:1]])
    for container in (np.asarray, sparse.csr_array, sparse.coo_array):
        assert_array_equal(sums_to_one(container(mixed)), np.arange(41) < 40)
    # Loadings, whose sums are near 1 but are none of a distribution
    loadings = exact * rng.uniform(0.9, 1.1, (40, 1))
    assert resolve_relation("auto", loadings).kind == "multioutput"
    assert not sums_to_one(loadings).all()
    with pytest.raises(ValueError, match="y_true must have rows that sum to 1"):
        chebyshev_loss(loadings, exact)


def test_strings_of_the_type_of_numpy_are_classes(rng):
    names = np.array(["a", "b", "c"])[rng.integers(0, 3, 40)]
    of_numpy = names.astype(np.dtypes.StringDType())
    X = rng.normal(size=(40, 2))
    assert resolve_relation("auto", of_numpy).kind == "multiclass"
    found, expected = (MLkNN().fit(X, y).predict(X) for y in (of_numpy, names))
    assert_array_equal(found, expected)


@pytest.mark.parametrize("total", [0.999, 1.001])
def test_rows_of_printed_sums(total):
    y = [[total - 0.5, 0.5], [0.25, 0.75], [total - 0.125, 0.125]]
    assert resolve_relation("auto", y).kind == "distribution"
    y[0][0] += np.copysign(1e-3, total - 1)
    with pytest.warns(UserWarning, match="sum to between"):
        assert resolve_relation("auto", y).kind == "multioutput"


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "bool", "int64", "float32"])
@pytest.mark.parametrize("name", ["auto", *RELATIONS])
def test_type_of_the_targets_does_not_matter(name, dtype, rng):
    entries = RELATIONS[name].domain if name != "auto" else None
    single = entries in (kinds.CLASSES, kinds.NUMBERS)
    if entries is kinds.DISTRIBUTIONS:
        values = np.eye(3, dtype=int)[rng.integers(0, 3, 40)]
    else:
        values = rng.integers(0, 2, 40 if single else (40, 3))
    if dtype not in ("bool",) and name in ("absolute_difference", "manhattan", "euclidean"):
        values = rng.integers(0, 100, values.shape)
    expected, found = (resolve_relation(name, y) for y in (values, values.astype(dtype)))
    pairs = rng.integers(0, 40, (50, 2))
    assert_array_equal(
        found(found.encode(values.astype(dtype)), pairs), expected(expected.encode(values), pairs)
    )


@pytest.mark.parametrize("dtype", ["uint8", "bool", "uint16", "float16"])
def test_a_callable_can_subtract_targets(dtype):
    y = np.array([0, 1, 1, 0, 1] if dtype == "bool" else [3, 90, 250, 7, 0]).astype(dtype)
    relation = resolve_relation(lambda u, v: abs(u - v), y)
    i, j = np.triu_indices(5, 1)
    expected = abs(y.astype(float)[i] - y.astype(float)[j])
    assert_array_equal(relation(relation.encode(y), np.stack([i, j], axis=1)), expected)
