import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from scipy import sparse
from scipy.spatial.distance import mahalanobis, pdist
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from metricalign import (
    PSDSVR,
    RAMLKRR,
    RAMLSVR,
    DiscriminantAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    NeighborhoodAlignment,
    RelationAlignment,
)
from metricalign.features import PiecewiseLinearEncoder
from metricalign.plotting import (
    ConvergenceDisplay,
    DistanceDecompositionDisplay,
    DistanceRelationDisplay,
    EmbeddingDisplay,
    MetricHeatmapDisplay,
    MetricSpectrumDisplay,
)

ONE_PANEL = [ConvergenceDisplay, MetricHeatmapDisplay, MetricSpectrumDisplay]
TWO_PANELS = [DistanceDecompositionDisplay, DistanceRelationDisplay, EmbeddingDisplay]

pytestmark = pytest.mark.usefixtures("agg", "closed_figures")


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), RAMLSVR(prior=None)).fit(X, y)
    return SimpleNamespace(X=X, y=y, model=model, Z=StandardScaler().fit_transform(X))


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[::4], y[::4]
    return SimpleNamespace(X=X, y=y, learner=RAMLSVR().fit(X, y))


def arguments(display, problem):
    """What `from_estimator` takes after the estimator."""
    if display is DistanceDecompositionDisplay:
        return (problem.X[:1], problem.X[1:2])
    return () if display in ONE_PANEL else (problem.X, problem.y)


def titles(display):
    return [axis.get_title() for axis in display.axes_]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_xticklabels()]


def make_axes(display):
    return Figure().subplots() if display in ONE_PANEL else Figure().subplots(1, 2)


# All displays


@pytest.mark.parametrize("display", ONE_PANEL + TWO_PANELS)
def test_display_is_drawn_again_elsewhere(display, wine):
    drawn = display.from_estimator(wine.model, *arguments(display, wine))
    assert isinstance(drawn, display)
    axes = make_axes(display)
    figure = np.ravel(axes)[0].figure
    assert drawn.figure_ is not figure
    assert drawn.plot(ax=axes, name="another name") is drawn
    assert drawn.figure_ is figure
    if display in ONE_PANEL:
        assert drawn.ax_ is axes
    else:
        assert list(drawn.axes_) == list(axes)
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    assert any("another name" in text for text in texts)


@pytest.mark.parametrize("display", ONE_PANEL + TWO_PANELS)
def test_given_axes_are_drawn_in_without_a_new_figure(display, wine):
    import matplotlib.pyplot as plt

    axes = make_axes(display)
    drawn = display.from_estimator(wine.model, *arguments(display, wine), ax=axes)
    assert drawn.figure_ is np.ravel(axes)[0].figure
    assert not plt.get_fignums()


@pytest.mark.parametrize("display", TWO_PANELS)
def test_other_than_two_axes_are_refused(display, wine):
    drawn = display.from_estimator(wine.model, *arguments(display, wine))
    with pytest.raises(ValueError, match="ax must be 2 axes, one for each panel; got 1"):
        drawn.plot(ax=Figure().subplots())


@pytest.mark.parametrize("display", ONE_PANEL + TWO_PANELS)
def test_learner_alone_gives_the_picture_of_its_pipeline(display, wine):
    learner = wine.model[-1]
    prepared = SimpleNamespace(X=wine.Z, y=wine.y)
    options = {"random_state": 0} if display is DistanceRelationDisplay else {}
    alone = display.from_estimator(learner, *arguments(display, prepared), **options)
    piped = display.from_estimator(wine.model, *arguments(display, wine), **options)
    alone, piped = vars(alone), vars(piped)
    compared = [key for key in alone if not key.endswith("_") and key != "feature_names"]
    for key in compared:
        if isinstance(alone[key], np.ndarray):
            assert np.allclose(alone[key], piped[key], atol=1e-12)
        else:
            assert alone[key] == piped[key] or key == "target_name"


@pytest.mark.parametrize("display", ONE_PANEL + TWO_PANELS)
def test_other_estimators_are_refused(display, wine):
    rest = arguments(display, wine)
    with pytest.raises(TypeError, match="Pipeline whose last step is one; got StandardScaler"):
        display.from_estimator(StandardScaler(), *rest)
    longer = make_pipeline(StandardScaler(), RAMLSVR(), KNeighborsClassifier())
    with pytest.raises(TypeError, match=r"ends in KNeighborsClassifier.*Pass pipeline\[:2\]"):
        display.from_estimator(longer, *rest)
    with pytest.raises(TypeError, match="got GridSearchCV"):
        display.from_estimator(GridSearchCV(RAMLSVR(), {"C": [1]}), *rest)
    with pytest.raises(NotFittedError):
        display.from_estimator(RAMLSVR(), *rest)


@pytest.mark.parametrize("display", ONE_PANEL + TWO_PANELS)
def test_missing_matplotlib_is_named(display, wine, monkeypatch):
    drawn = display.from_estimator(wine.model, *arguments(display, wine))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    install = r'needs matplotlib: pip install "metricalign\[plot\]"'
    with pytest.raises(ImportError, match=rf"{display.__name__}.from_estimator {install}"):
        display.from_estimator(wine.model, *arguments(display, wine))
    with pytest.raises(ImportError, match=rf"{display.__name__}.plot {install}"):
        drawn.plot()


@pytest.mark.slow
def test_matplotlib_is_not_imported_before_it_is_needed():
    code = "import sys, metricalign.plotting; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Distance decomposition


@pytest.mark.parametrize("learner", [RAMLSVR(), PSDSVR(), RelationAlignment(cone="diagonal")])
def test_decomposition_is_exact(learner, diabetes):
    learner.fit(diabetes.X, diabetes.y)
    left, right = diabetes.X[3], diabetes.X[40]
    display = DistanceDecompositionDisplay.from_estimator(learner, left, right)
    M, z = learner.get_mahalanobis_matrix(), left - right
    squared_distance = learner.pair_distance([[left, right]])[0] ** 2
    total = 0.0
    for i in range(len(z)):
        of_feature = 0.0
        for j in range(len(z)):
            assert display.pair_contributions[i, j] == pytest.approx(z[i] * M[i, j] * z[j])
            of_feature += z[i] * M[i, j] * z[j]
        assert display.contributions[i] == pytest.approx(of_feature)
        total += of_feature
    assert display.squared_distance == pytest.approx(total)
    assert squared_distance == pytest.approx(total)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), n_features=st.integers(1, 30))
def test_contributions_and_bars_sum_to_the_squared_distance(seed, n_features):
    rng = np.random.default_rng(seed)
    components, z = rng.normal(size=(3, n_features)), rng.normal(size=n_features)
    names = [f"x{feature}" for feature in range(n_features)]
    display = DistanceDecompositionDisplay(
        pair_contributions=np.outer(z, z) * (components.T @ components), feature_names=names
    )
    display.plot(max_features=4, ax=Figure().subplots(1, 2))
    squared_distance = np.sum((components @ z) ** 2)
    assert display.squared_distance == pytest.approx(squared_distance)
    assert display.contributions.sum() == pytest.approx(squared_distance)
    widths = [bar.get_width() for bar in display.bars_]
    assert len(widths) == min(5, n_features)
    assert sum(widths) == pytest.approx(squared_distance)


def test_decomposition_draws_the_largest_contributions(wine):
    display = DistanceDecompositionDisplay.from_estimator(
        wine.model, wine.X.iloc[[0]], wine.X.iloc[[100]], max_features=3
    )
    shown = display.features_
    assert list(shown) == list(np.argsort(-np.abs(display.contributions))[:3])
    labels = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert labels == [*wine.X.columns[shown], "10 others"]
    M, z = wine.model[-1].get_mahalanobis_matrix(), wine.Z[0] - wine.Z[100]
    expected = (np.diag(z) @ M @ np.diag(z))[np.ix_(shown, shown)]
    assert np.allclose(display.image_.get_array(), expected)
    assert f"squared distance {z @ M @ z:.3g}" in titles(display)[0]


def test_decomposition_takes_samples_in_every_form(wine):
    expected = DistanceDecompositionDisplay.from_estimator(
        wine.model, wine.X.iloc[[0]], wine.X.iloc[[7]]
    )
    rows = DistanceDecompositionDisplay.from_estimator(wine.model, wine.X.iloc[0], wine.X.iloc[7])
    assert np.array_equal(rows.pair_contributions, expected.pair_contributions)
    learner = wine.model[-1]
    for form in (list, sparse.csr_array, lambda z: sparse.csr_matrix(z.reshape(1, -1))):
        left, right = (
            form(wine.Z[[row]] if form is sparse.csr_array else wine.Z[row]) for row in (0, 7)
        )
        display = DistanceDecompositionDisplay.from_estimator(learner, left, right)
        assert np.allclose(display.pair_contributions, expected.pair_contributions)


@pytest.mark.parametrize("shape", [(2, 13), (1, 1, 13), ()])
def test_decomposition_refuses_what_is_not_one_sample(shape, wine):
    with pytest.raises(ValueError, match="x_right must be one sample"):
        DistanceDecompositionDisplay.from_estimator(wine.model[-1], wine.Z[0], np.zeros(shape))


def test_decomposition_of_identical_samples_is_zero(wine):
    left = wine.X.iloc[[0]]
    display = DistanceDecompositionDisplay.from_estimator(wine.model, left, left)
    display.figure_.canvas.draw()
    assert display.squared_distance == 0
    assert not display.contributions.any()


# Distance against relation


def test_distances_and_relations_are_those_of_all_pairs(diabetes):
    X, y = diabetes.X[:40], diabetes.y[:40]
    display = DistanceRelationDisplay.from_estimator(diabetes.learner, X, y)
    relations = pdist(y[:, None]) / np.ptp(diabetes.y)
    after = pdist(X, "mahalanobis", VI=diabetes.learner.get_mahalanobis_matrix())
    assert np.allclose(display.relations, relations)
    assert np.allclose(display.distances_before, pdist(X))
    assert np.allclose(display.distances_after, after)
    larger = np.sign((relations[:, None] - relations).round(12))
    for score, distances in (
        (display.score_before, pdist(X)),
        (display.score_after, after),
    ):
        agreement = larger * np.sign(distances[:, None] - distances)
        assert score == pytest.approx((1 + agreement.sum() / np.abs(larger).sum()) / 2)
    assert display.score_after == diabetes.learner.score(X, y)


def test_concordance_of_classes_is_the_area_under_the_roc_curve(wine):
    display = DistanceRelationDisplay.from_estimator(wine.model, wine.X, wine.y, n_pairs=100_000)
    differs = pdist(wine.y.to_numpy()[:, None]) > 0
    assert display.score_before == pytest.approx(roc_auc_score(differs, pdist(wine.Z)))
    assert display.score_after == wine.model.score(wine.X, wine.y)
    assert titles(display) == [
        f"Euclid: concordance {display.score_before:.3f}",
        f"RAMLSVR: concordance {display.score_after:.3f}",
    ]
    assert tick_labels(display.axes_[0]) == ["same", "different"]
    for boxes, distances in zip(
        display.boxes_, (display.distances_before, display.distances_after), strict=True
    ):
        medians = [line.get_ydata()[0] for line in boxes["medians"]]
        expected = [np.median(distances[~differs]), np.median(distances[differs])]
        assert medians == pytest.approx(expected)


def test_random_state_determines_the_pairs(wine):
    first, same, other = (
        DistanceRelationDisplay.from_estimator(
            wine.model, wine.X, wine.y, n_pairs=50, random_state=random_state
        )
        for random_state in (0, 0, 1)
    )
    assert len(first.relations) == 50
    assert np.array_equal(first.distances_after, same.distances_after)
    assert not np.array_equal(first.distances_after, other.distances_after)
    assert first.score_after == other.score_after


def test_precomputed_relations_draw_the_stored_pairs(diabetes):
    X, y = diabetes.X[:30], diabetes.y[:30]
    ratings = np.abs(y[:, None] - y)
    stored = sparse.csr_array(np.triu(ratings * (ratings < 60)))
    learner = RAMLSVR(relation="precomputed").fit(X, stored)
    display = DistanceRelationDisplay.from_estimator(learner, X, stored)
    assert np.allclose(np.sort(display.relations), np.sort(stored.data))
    few = DistanceRelationDisplay.from_estimator(learner, X, stored, n_pairs=9, random_state=0)
    assert len(few.relations) == 9
    assert np.isin(few.distances_after, display.distances_after).all()


def test_graded_relations_have_hexagons_and_medians(diabetes):
    display = DistanceRelationDisplay.from_estimator(diabetes.learner, diabetes.X, diabetes.y)
    assert display.boxes_ is None
    for hexbin in display.hexbins_:
        assert hexbin.get_array().sum() == len(display.relations)
    places, medians = display.lines_[1].get_data()
    assert np.all(np.diff(places) > 0)
    nearest = np.argsort(display.relations)[: len(display.relations) // 10]
    assert medians[0] == pytest.approx(np.median(display.distances_after[nearest]), rel=0.02)


def test_few_graded_relations_have_their_values_as_labels(diabetes):
    y = (diabetes.y > 100).astype(int) + (diabetes.y > 200)
    learner = RAMLSVR(relation="absolute_difference").fit(diabetes.X, y)
    display = DistanceRelationDisplay.from_estimator(learner, diabetes.X, y)
    assert tick_labels(display.axes_[1]) == ["0", "0.5", "1"]
    assert display.axes_[1].get_xlabel() == "relation of the targets (absolute difference)"


def test_constant_targets_are_drawn(diabetes):
    y = np.full(len(diabetes.y), 3.0)
    relation = DistanceRelationDisplay.from_estimator(diabetes.learner, diabetes.X, y)
    assert relation.score_after == 0.5
    embedding = EmbeddingDisplay.from_estimator(diabetes.learner, diabetes.X, y)
    for display in (relation, embedding):
        display.figure_.canvas.draw()
    left, right = (scatters[0].get_facecolors() for scatters in embedding.scatters_)
    assert np.array_equal(left, right)


# Spectrum and heat map


def test_spectrum_is_that_of_the_solved_matrix(wine):
    display = MetricSpectrumDisplay.from_estimator(wine.model)
    M = wine.model[-1].matrix_
    assert np.allclose(np.sort(np.roots(np.poly(M)).real), display.eigenvalues[::-1], atol=1e-6)
    assert display.eigenvalues.sum() == pytest.approx(np.trace(M))
    positive = display.eigenvalues[display.eigenvalues > 0]
    assert display.cumulative_share_[0] == pytest.approx(positive[0] / positive.sum())
    assert display.cumulative_share_[len(positive) - 1 :] == pytest.approx(1)
    assert display.n_components == len(positive)
    assert np.allclose(display.stairs_[0].get_data().values[: len(positive)], positive)
    assert np.allclose(display.stairs_[1].get_data().values.sum(), np.trace(M) - positive.sum())
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "negative, left out" in labels


def test_spectrum_of_a_semidefinite_matrix_names_nothing_negative(diabetes):
    learner = PSDSVR(n_components=2).fit(diabetes.X, diabetes.y)
    display = MetricSpectrumDisplay.from_estimator(learner)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "negative, left out" not in labels
    assert "2 of 10 kept" in labels


@pytest.mark.parametrize("eigenvalues", [[0.0], [0.0, -1.0], [2.0], [-3.0, -4.0], [1.0, -5.0]])
def test_zero_is_at_the_same_height_on_both_axes_of_a_spectrum(eigenvalues):
    display = MetricSpectrumDisplay(eigenvalues=np.array(eigenvalues)).plot()
    display.figure_.canvas.draw()
    heights = [axes.transData.transform((0, 0))[1] for axes in (display.ax_, display.share_ax_)]
    assert heights[0] == pytest.approx(heights[1])
    assert np.isfinite(display.cumulative_share_).all()


def test_diagonal_matrices_are_drawn_without_their_zeros(diabetes):
    learner = RelationAlignment(cone="diagonal").fit(diabetes.X, diabetes.y)
    diagonal = learner.matrix_.diagonal()
    spectrum = MetricSpectrumDisplay.from_estimator(learner)
    assert np.array_equal(spectrum.eigenvalues, np.sort(diagonal)[::-1])
    heatmap = MetricHeatmapDisplay.from_estimator(learner, max_features=3)
    largest = np.sort(np.argsort(-diagonal, kind="stable")[:3])
    assert sparse.issparse(heatmap.matrix)
    assert np.allclose(heatmap.image_.get_array(), np.diag(diagonal[largest]), atol=0)


@pytest.mark.parametrize(
    "learner",
    [
        NeighborhoodAlignment(n_components=3),
        IteratedMetricLearner(),
    ],
)
def test_learners_without_a_solved_matrix_are_drawn_by_that_of_their_distance(learner, diabetes):
    learner.fit(diabetes.X, diabetes.y)
    x = diabetes.X[3] - diabetes.X[40]
    squared_distance = learner.pair_distance([[diabetes.X[3], diabetes.X[40]]])[0] ** 2
    heatmap = MetricHeatmapDisplay.from_estimator(learner)
    assert x @ heatmap.image_.get_array() @ x == pytest.approx(squared_distance)
    spectrum = MetricSpectrumDisplay.from_estimator(learner)
    singular_values = np.linalg.svd(learner.components_, compute_uv=False)
    expected = np.zeros(10)
    expected[: len(singular_values)] = singular_values**2
    assert np.allclose(spectrum.eigenvalues, expected)
    with pytest.raises(TypeError, match="must be a convex metric learner, with a duality gap"):
        ConvergenceDisplay.from_estimator(learner)


def test_heatmap_has_the_entries_and_names_of_the_matrix_of_the_distance(wine):
    display = MetricHeatmapDisplay.from_estimator(wine.model)
    eigenvalues, eigenvectors = np.linalg.eigh(wine.model[-1].matrix_)
    assert eigenvalues[0] < -0.01 * eigenvalues[-1]
    M = eigenvectors * np.maximum(eigenvalues, 0) @ eigenvectors.T
    assert np.allclose(display.image_.get_array(), M)
    assert display.image_.get_clim() == pytest.approx((-abs(M).max(), abs(M).max()))
    assert list(display.feature_names) == list(wine.X.columns)
    assert tick_labels(display.ax_)[:2] == ["alcohol", "malic_acid"]


def test_heatmap_of_many_features_shows_the_largest_and_says_so():
    rng = np.random.default_rng(0)
    M = rng.normal(size=(200, 200))
    M = M + M.T
    names = [f"measurement of the very long sensor number {feature}" for feature in range(200)]
    display = MetricHeatmapDisplay(matrix=M, feature_names=names, name="M").plot(max_features=20)
    smallest_shown = np.abs(M.diagonal())[display.features_].min()
    assert np.sum(np.abs(M.diagonal()) >= smallest_shown) == 20
    assert np.all(np.diff(display.features_) > 0)
    assert display.ax_.get_title() == "M\n20 of 200 features, of largest diagonal"
    labels = tick_labels(display.ax_)
    assert len(set(labels)) == 20
    assert max(map(len, labels)) <= 24
    for label, feature in zip(labels, display.features_, strict=True):
        start, end = label.split("…")
        assert names[feature].startswith(start)
        assert names[feature].endswith(end)


# Names of features


def names_of(estimator, **options):
    return list(MetricHeatmapDisplay.from_estimator(estimator, **options).feature_names)


def test_names_come_from_the_data_or_the_earlier_steps():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X, y = X.iloc[::3], y.iloc[::3]
    assert names_of(PSDSVR().fit(X, y)) == list(X.columns)
    assert names_of(PSDSVR().fit(X.to_numpy(), y)) == ["x0", "x1", "x2", "x3"]
    assert names_of(make_pipeline(PSDSVR()).fit(X, y)) == list(X.columns)
    assert names_of(make_pipeline(PCA(2), PSDSVR()).fit(X, y)) == ["pca0", "pca1"]
    assert names_of(make_pipeline("passthrough", PCA(2), PSDSVR()).fit(X, y)) == ["pca0", "pca1"]
    pandas = make_pipeline(PCA(2).set_output(transform="pandas"), PSDSVR()).fit(X, y)
    assert names_of(pandas) == ["pca0", "pca1"]
    nameless = make_pipeline(FunctionTransformer(np.asarray), PSDSVR()).fit(X, y)
    assert names_of(nameless) == ["x0", "x1", "x2", "x3"]
    assert names_of(nameless, feature_names=list("abcd")) == list("abcd")


def test_names_of_another_number_are_refused(wine):
    with pytest.raises(ValueError, match="feature_names must be 13 names"):
        MetricHeatmapDisplay.from_estimator(wine.model, feature_names=["alcohol"])


# Embedding


def test_embedding_is_the_plane_of_largest_variance(wine):
    display = EmbeddingDisplay.from_estimator(wine.model, wine.X, wine.y)
    for points, samples in (
        (display.before, wine.Z),
        (display.after, wine.model.transform(wine.X)),
    ):
        _, _, directions = np.linalg.svd(samples - samples.mean(axis=0))
        expected = (samples - samples.mean(axis=0)) @ directions[:2].T
        assert np.allclose(pdist(points), pdist(expected))
        assert np.allclose(np.abs(points), np.abs(expected))
    assert display.axes_[0].get_aspect() == 1


def test_classes_differ_in_colour_and_marker(wine):
    y = np.array(["barolo", "grignolino", "barbera"])[wine.y]
    model = make_pipeline(StandardScaler(), RAMLSVR()).fit(wine.X, y)
    display = EmbeddingDisplay.from_estimator(model, wine.X, pd.Series(y, name="grape"))
    legend = [text.get_text() for text in display.legend_.get_texts()]
    assert legend == ["barbera", "barolo", "grignolino"]
    assert display.legend_.get_title().get_text() == "grape"
    for name, scatter in zip(legend, display.scatters_[1], strict=True):
        assert np.allclose(scatter.get_offsets(), display.after[y == name])
    assert len({tuple(scatter.get_facecolors()[0]) for scatter in display.scatters_[1]}) == 3


def test_a_hundred_classes_look_different():
    points = np.random.default_rng(0).normal(size=(100, 2))
    drawn = EmbeddingDisplay(before=points, after=points, target=np.arange(100), is_class=True)
    styles = {
        (tuple(scatter.get_facecolors()[0]), scatter.get_paths()[0].vertices.tobytes())
        for scatter in drawn.plot().scatters_[0]
    }
    assert len(styles) == 100


@pytest.mark.parametrize(("n_classes", "has_legend"), [(30, True), (31, False)])
def test_legend_has_up_to_thirty_classes(n_classes, has_legend):
    points = np.random.default_rng(0).normal(size=(100, 2))
    target = np.arange(100) % n_classes
    display = EmbeddingDisplay(before=points, after=points, target=target, is_class=True).plot()
    assert (display.legend_ is not None) == has_legend
    assert len(display.scatters_[0]) == n_classes


def test_numbers_have_a_colour_bar(diabetes):
    display = EmbeddingDisplay.from_estimator(
        diabetes.learner, diabetes.X, diabetes.y, cmap="cividis"
    )
    for scatters in display.scatters_:
        assert np.array_equal(scatters[0].get_array(), diabetes.y)
        assert scatters[0].get_cmap().name == "cividis"
    assert display.colorbar_.ax.get_ylabel() == "target"
    assert display.legend_ is None


@pytest.mark.parametrize("kind", ["label sets", "sparse label sets", "distributions", "numbers"])
def test_several_targets_are_coloured_by_their_first_component(kind, diabetes):
    X, grade = diabetes.X, diabetes.y
    columns = np.column_stack([grade, grade**2, np.sin(grade)])
    if "label sets" in kind:
        y = (columns > np.median(columns, axis=0)).astype(int)
    elif kind == "distributions":
        share = (grade - grade.min()) / np.ptp(grade)
        y = np.column_stack([share, 1 - share, np.ones(len(share))]) / 2
    else:
        y = columns
    given = sparse.csr_array(y) if "sparse" in kind else y
    learner = RAMLSVR().fit(X, given)
    display = EmbeddingDisplay.from_estimator(learner, X, given)
    spread = y / y.std(axis=0) if kind == "numbers" else y
    spread = spread - spread.mean(axis=0)
    expected = np.linalg.svd(spread, full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(display.target, expected)[0, 1]) == pytest.approx(1)
    assert display.target.var() == pytest.approx(np.linalg.eigvalsh(np.cov(spread.T, ddof=0))[-1])
    assert display.colorbar_.ax.get_ylabel() == "first principal component of the targets"


def test_samples_without_targets_are_drawn_alike(wine):
    display = EmbeddingDisplay.from_estimator(wine.model, wine.X)
    assert display.legend_ is display.colorbar_ is None
    assert len(display.scatters_[0][0].get_facecolors()) == 1


def test_subsample_is_of_rows_of_both(wine):
    first, same = (
        EmbeddingDisplay.from_estimator(wine.model, wine.X, wine.y, subsample=20, random_state=0)
        for _ in range(2)
    )
    assert len(first.before) == len(first.after) == len(first.target) == 20
    assert np.array_equal(first.after, same.after)
    everything = EmbeddingDisplay.from_estimator(wine.model, wine.X, wine.y, subsample=None)
    distances = pdist(wine.model.transform(wine.X))
    assert len(everything.after) == len(wine.X)
    # Distances in a plane are at most those in the space.
    assert np.all(pdist(everything.after) <= distances + 1e-12)


MONEY = [r"$0_-$\frac", "$10-$20", "_more", "100%"]  # as formulas, errors and other texts


def test_dollar_signs_and_underscores_of_data_are_drawn_as_they_are():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 4)) + 3 * np.eye(4)[np.arange(60) % 4], columns=MONEY)
    y = pd.Series(np.array(MONEY)[np.arange(60) % 4], name="$in$")
    learner = PSDSVR().fit(X, y)
    embedding = EmbeddingDisplay.from_estimator(learner, X, y)
    drawn = [text.get_text() for text in embedding.legend_.get_texts()]
    assert [as_read(text) for text in drawn] == sorted(MONEY)
    assert as_read(embedding.legend_.get_title().get_text()) == "$in$"
    heatmap = MetricHeatmapDisplay.from_estimator(learner)
    assert [as_read(text.get_text()) for text in heatmap.ax_.get_xticklabels()] == MONEY
    one, other = X.iloc[[0]], X.iloc[[1]]
    decomposition = DistanceDecompositionDisplay.from_estimator(learner, one, other)
    drawn = [text.get_text() for text in decomposition.axes_[0].get_yticklabels()]
    assert sorted(as_read(text) for text in drawn) == sorted(MONEY)
    for display in (embedding, heatmap, decomposition):
        display.figure_.canvas.draw()


def as_read(text):
    """What matplotlib draws of a text that it does not take for a formula."""
    assert not is_math_text(text)
    return text.replace(r"\$", "$")


@pytest.mark.parametrize("number", [0, -1, 2.5])
def test_numbers_of_what_to_draw_are_checked(wine, number):
    for display, data, name in (
        (MetricHeatmapDisplay, (), "max_features"),
        (DistanceDecompositionDisplay, (wine.X[:1], wine.X[1:2]), "max_features"),
        (EmbeddingDisplay, (wine.X, wine.y), "subsample"),
        (DistanceRelationDisplay, (wine.X, wine.y), "n_pairs"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
            display.from_estimator(wine.model, *data, **{name: number})


def test_embedding_far_from_the_origin_is_the_same():
    rng = np.random.default_rng(0)
    near = (np.round(64 * rng.normal(size=(80, 3))) / 64).astype(np.float32)
    far = near + np.float32(2**17)  # float32 holds the same digits
    learner = PSDSVR().fit(far, near[:, 0])
    display = EmbeddingDisplay.from_estimator(learner, far)
    for points, samples in (
        (display.before, near),
        (display.after, near.astype(float) @ learner.components_.T),
    ):
        centered = samples - samples.mean(axis=0)
        expected = centered @ np.linalg.svd(centered)[2][:2].T
        assert np.allclose(pdist(points), pdist(expected), rtol=1e-4, atol=1e-4 * np.ptp(expected))


def test_embedding_of_one_feature_is_a_line():
    X, y = load_iris(return_X_y=True)
    X = X[:, 2:3]
    display = EmbeddingDisplay.from_estimator(PSDSVR().fit(X, y), X, y)
    display.figure_.canvas.draw()
    assert np.allclose(pdist(display.before), pdist(X))
    assert not display.after[:, 1].any()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_output_that_is_configured_for_all_transformers_changes_no_picture(wine, library):
    X, several = wine.X, np.column_stack([wine.X.iloc[:, 0], wine.X.iloc[:, 1]])

    def numbers():
        learner, model = PSDSVR().fit(X, several), clone(wine.model).fit(X, wine.y)
        embedding = EmbeddingDisplay.from_estimator(learner, X, several)
        parts = DistanceDecompositionDisplay.from_estimator(model, X.iloc[0], X.iloc[7])
        return embedding.before, embedding.target, parts.pair_contributions

    expected = numbers()
    with config_context(transform_output=library):
        found = numbers()
    for part, expected_part in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, expected_part)


def test_embedding_refuses_targets_that_do_not_colour(diabetes):
    X, y = diabetes.X, diabetes.y
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EmbeddingDisplay.from_estimator(diabetes.learner, X, y[1:])
    with pytest.raises(ValueError, match=r"y must have 1 column"):
        EmbeddingDisplay.from_estimator(diabetes.learner, X, np.column_stack([y, y]))
    ratings = np.abs(y[:, None] - y)
    learner = RAMLSVR(relation="precomputed", tol=1e-2).fit(X, ratings)
    with pytest.raises(ValueError, match="matrix of relations, which does not colour samples"):
        EmbeddingDisplay.from_estimator(learner, X, ratings)


def test_sparse_samples_are_drawn_as_dense_ones(diabetes):
    X = sparse.csr_array(diabetes.X)
    dense = EmbeddingDisplay.from_estimator(diabetes.learner, diabetes.X, diabetes.y)
    display = EmbeddingDisplay.from_estimator(diabetes.learner, X, diabetes.y)
    assert np.allclose(display.before, dense.before)
    assert np.allclose(display.after, dense.after)


def test_distance_of_the_display_is_that_of_scipy(wine):
    display = DistanceDecompositionDisplay.from_estimator(
        wine.model, wine.X.iloc[[5]], wine.X.iloc[[90]]
    )
    M = wine.model[-1].get_mahalanobis_matrix()
    assert display.squared_distance == pytest.approx(mahalanobis(wine.Z[5], wine.Z[90], M) ** 2)


# Convergence


def test_last_relative_gap_is_that_of_the_fit(diabetes):
    learner = diabetes.learner
    display = ConvergenceDisplay.from_estimator(learner)
    assert display.relative_gap[-1] == pytest.approx(learner.dual_gap_)
    assert display.relative_gap[-2] > learner.tol >= display.relative_gap[-1]
    assert display.passes[-1] == learner.n_passes_
    assert np.array_equal(display.line_.get_ydata(), display.relative_gap)
    assert display.ax_.get_yscale() == "log"
    assert display.tol_line_.get_segments()[0][:, 1] == pytest.approx(learner.tol)
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["RAMLSVR"]


def test_several_fits_share_the_axes(diabetes):
    first = ConvergenceDisplay.from_estimator(diabetes.learner)
    other = PSDSVR().fit(diabetes.X, diabetes.y)
    second = ConvergenceDisplay.from_estimator(other, name="exact", ax=first.ax_)
    assert second.figure_ is first.figure_
    assert first.line_.get_color() != second.line_.get_color()
    assert first.line_.get_marker() != second.line_.get_marker()
    labels = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert labels == ["RAMLSVR", "exact"]
    assert [text.get_text() for text in first.ax_.texts] == ["tol = 0.01"]


def test_gap_of_zero_is_drawn():
    display = ConvergenceDisplay(passes=np.array([1.0, 2.0]), relative_gap=np.array([1.0, 0.0]))
    display.plot(color="black")
    display.figure_.canvas.draw()
    assert display.line_.get_ydata()[1] == np.finfo(float).eps
    assert display.line_.get_color() == "black"
    assert display.tol_line_ is None
    assert display.ax_.get_legend() is None


def test_closed_form_has_a_gap_to_draw(diabetes):
    learner = RAMLKRR().fit(diabetes.X, diabetes.y)
    display = ConvergenceDisplay.from_estimator(learner)
    assert len(display.passes) == len(learner.gap_history_) > 0


def test_spectrum_of_fewer_samples_than_features_is_that_of_the_matrix():
    X = np.random.default_rng(0).normal(size=(12, 30))
    for prior in (None, "identity"):
        learner = RelationAlignment(prior=prior).fit(X, X[:, 0] ** 2)
        display = MetricSpectrumDisplay.from_estimator(learner)
        expected = np.linalg.eigvalsh(learner.matrix_)[::-1]
        np.testing.assert_allclose(display.eigenvalues, expected, atol=1e-12)


def test_before_an_ensemble_is_euclid_of_the_standardised_columns(wine):
    y = wine.y[::2]
    table = wine.X.iloc[::2, :3].assign(grade=np.where(y > 0, "x", "y"))
    ensemble = MetricEnsemble([DiscriminantAlignment()], random_state=0).fit(table, y)
    standardised = PiecewiseLinearEncoder(n_bins=1).fit_transform(table)
    display = DistanceRelationDisplay.from_estimator(ensemble, table, y, n_pairs=10**6)
    np.testing.assert_allclose(np.sort(display.distances_before), np.sort(pdist(standardised)))
    before = EmbeddingDisplay.from_estimator(ensemble, table, y).before
    np.testing.assert_allclose(pdist(before), pdist(PCA(2).fit_transform(standardised)))
