import cvxpy
import numpy as np
import pytest
from formulas import LOSSES as FORMULAS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from sklearn.utils._param_validation import InvalidParameterError

from metricalign.losses import LOSSES

EPSILON = 0.3
CLASSES = {"hinge", "logistic"}  # losses whose relations are +1 and -1
# Losses whose margin is fixed at 1 do not scale.
HOMOGENEOUS = [name for name in LOSSES if name not in CLASSES]
WITH_EPSILON = [name for name, loss in LOSSES.items() if "epsilon" in loss().get_params()]

each_loss = pytest.mark.parametrize("name", LOSSES)


def make_loss(name, epsilon=EPSILON):
    loss = LOSSES[name]
    return loss(epsilon=epsilon) if name in WITH_EPSILON else loss()


def targets_of(name):
    if name in CLASSES:
        return [-1.0, 1.0]
    # The one-sided loss of pairs that it ignores all is refused.
    return [0.31, 0.5, 1.0] if name == "one_sided" else [-1.0, -0.2, 0.0, 0.5, 1.0]


def conjugate_of(name, t, c, epsilon=EPSILON):
    return make_loss(name, epsilon).conjugate(np.array([float(t)]), np.array([float(c)]))


def supremum(name, beta, t, c, reach):
    """Of -beta a - c loss(a, t) over abs(a) <= reach."""

    def negative(a):
        return beta * a + c * FORMULAS[name].value(a, t, EPSILON)

    inner = minimize_scalar(negative, bounds=(-reach, reach), options={"xatol": 1e-10})
    return -min(inner.fun, negative(-reach), negative(reach))


def random_setting(name, n, seed=0):
    """Predictions, targets, weights, centers and penalties of n pairs."""
    rng = np.random.default_rng(seed)
    prediction = rng.uniform(-4, 4, n)
    target = rng.choice([-1.0, 1.0], n) if name in CLASSES else rng.uniform(-1.5, 1.5, n)
    weight = rng.uniform(0.2, 3, n)
    return prediction, target, weight, rng.uniform(-2, 2, n), rng.uniform(0.3, 5, n)


@each_loss
def test_value_is_the_formula(name):
    loss = make_loss(name)
    for t in targets_of(name):
        a = np.linspace(-3, 3, 61)
        expected = [FORMULAS[name].value(x, t, EPSILON) for x in a]
        assert_allclose(loss.value(a, np.full_like(a, t)), expected, atol=1e-15)


@each_loss
@pytest.mark.parametrize("c", [0.3, 2.0])
def test_conjugate_is_the_supremum(name, c):
    for t in targets_of(name):
        form = conjugate_of(name, t, c)
        lower, upper = (float(np.clip(end[0], -3, 3)) for end in form.bounds)
        for beta in np.linspace(lower, upper, 13):
            expected = supremum(name, beta, t, c, reach=60)
            assert form.value(np.array([beta])) == pytest.approx(expected, abs=1e-6)


@each_loss
def test_box_is_where_the_supremum_is_finite(name):
    for t in targets_of(name):
        form, c = conjugate_of(name, t, 0.7), 0.7
        lower, upper = (end[0] for end in form.bounds)
        assert (lower, upper) == pytest.approx(FORMULAS[name].box(t, c))
        for bound, outward in [(lower, -0.01), (upper, 0.01)]:
            if np.isfinite(bound):
                near, far = (supremum(name, bound + outward, t, c, r) for r in (1e3, 1e5))
                assert far > near + 100
                inside = (supremum(name, bound, t, c, r) for r in (1e3, 1e5))
                assert np.ptp(list(inside)) < 1e-6


@each_loss
def test_conjugate_of_several_pairs_is_the_sum(name):
    _prediction, target, weight, center, _penalty = random_setting(name, 20)
    form = make_loss(name).conjugate(target, weight)
    beta = np.clip(center, *form.bounds)
    each = [
        FORMULAS[name].conjugate(b, t, c, EPSILON)
        for b, t, c in zip(beta, target, weight, strict=True)
    ]
    assert form.value(beta) == pytest.approx(sum(each), rel=1e-12)
    # Only a loss with a tube on both sides has a kink at beta = 0.
    if name != "logistic":
        assert form.kink == (EPSILON if "epsilon_insensitive" in name else 0)


@each_loss
@pytest.mark.parametrize("epsilon", [0.0, EPSILON], ids=["epsilon=0", "epsilon>0"])
def test_proximal_step_is_the_minimiser(name, epsilon):
    prediction, target, weight, center, penalty = random_setting(name, 60)
    form = make_loss(name, epsilon).conjugate(target, weight)
    dual_coef, _ = form.proximal(prediction, center, penalty)
    for p in range(len(target)):
        t, c = target[p], weight[p]

        def objective(b, p=p, t=t, c=c):
            pull = penalty[p] / 2 * (b - center[p]) ** 2
            return FORMULAS[name].conjugate(b, t, c, epsilon) + b * prediction[p] + pull

        lower, upper = np.clip(FORMULAS[name].box(t, c), -100, 100)
        best = minimize_scalar(objective, bounds=(lower, upper), options={"xatol": 1e-10})
        candidates = [best.x, lower, upper]
        expected = min(candidates, key=objective)
        assert lower <= dual_coef[p] <= upper
        assert objective(dual_coef[p]) <= objective(expected) + 1e-12
        assert dual_coef[p] == pytest.approx(expected, abs=1e-6)


@each_loss
def test_proximal_takes_scalars_and_leaves_its_arguments(name):
    prediction, target, weight, center, _ = random_setting(name, 20)
    for array in (prediction, target, weight, center):
        array.flags.writeable = False
    form = make_loss(name).conjugate(target, weight)
    ones = np.ones(20)
    assert_array_equal(
        form.proximal(prediction, 0.5, 2.0)[0], form.proximal(prediction, 0.5 * ones, 2 * ones)[0]
    )
    assert_array_equal(
        form.proximal(prediction, center, 2.0)[0], form.proximal(prediction, center, 2 * ones)[0]
    )


@each_loss
@pytest.mark.parametrize("pulled", [True, False], ids=["pulled", "unpulled"])
def test_response_says_how_the_step_moves_with_the_prediction(name, pulled):
    prediction, target, weight, center, penalty = random_setting(name, 400, seed=1)
    form = make_loss(name).conjugate(target, weight)
    if not pulled:
        # Without any pull, only a curved conjugate defines the step.
        penalty = penalty * (0 if form.is_strongly_convex else 3e-2)
    _dual_coef, response = form.proximal(prediction, center, penalty)
    h = 1e-6
    up, above = form.proximal(prediction + h, center, penalty)
    down, below = form.proximal(prediction - h, center, penalty)
    smooth = ((above > 0) == (response > 0)) & ((below > 0) == (response > 0))
    assert smooth.mean() > 0.95
    assert np.all(response >= 0)
    assert np.any(response > 0)
    slope = ((up - down) / (2 * h))[smooth]
    assert_allclose(slope, -response[smooth], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "logistic"])
def test_gradient_is_the_mean_of_both_sides(name):
    """Inside the bounds; 1e-4 of the pairs at the kink."""
    _, target, weight, center, _ = random_setting(name, 50)
    form = make_loss(name).conjugate(target, weight)
    lower, upper = (np.clip(end, -10, 10) for end in form.bounds)
    beta = np.clip(center, lower + 1e-3, upper - 1e-3)
    if not any(end.any() == 0 for end in form.bounds) and np.all(lower < 0) and np.all(upper > 0):
        beta[::7] = 0
    h = 1e-6
    for p in range(len(beta)):
        step = h * (np.arange(len(beta)) == p)
        slope = (form.value(beta + step) - form.value(beta - step)) / (2 * h)
        assert form.gradient(beta)[p] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_logistic_conjugate_has_no_gradient_at_its_bounds_and_offers_none():
    form = conjugate_of("logistic", 1.0, 2.0)
    assert not hasattr(form, "gradient")
    assert form.value(np.array([0.0])) == form.value(np.array([2.0])) == 0


@pytest.mark.parametrize(
    "name", [name for name in LOSSES if conjugate_of(name, 1.0, 1.0).is_strongly_convex]
)
def test_step_without_penalty_is_minus_the_derivative_of_the_loss(name):
    prediction, target, weight, center, _ = random_setting(name, 100)
    loss = make_loss(name)
    dual_coef, _ = loss.conjugate(target, weight).proximal(prediction, center, 0.0)
    h = 1e-6
    slope = (loss.value(prediction + h, target) - loss.value(prediction - h, target)) / (2 * h)
    assert_allclose(dual_coef, -weight * slope, rtol=1e-6, atol=1e-6)


@each_loss
def test_strongly_convex_conjugate_means_smooth_loss(name):
    """A loss has a kink where its one-sided slopes differ."""
    loss, t = make_loss(name), 1.0
    a = np.linspace(-3, 3, 60001)
    slope = np.diff(loss.value(a, np.full_like(a, t))) / np.diff(a)
    has_kink = np.abs(np.diff(slope)).max() > 0.1
    assert conjugate_of(name, t, 1.5).is_strongly_convex == (not has_kink)


numbers = st.floats(-10, 10)


@each_loss
@settings(max_examples=100)
@given(a=numbers, t=numbers, c=st.floats(1e-3, 10), beta=numbers, epsilon=st.floats(0, 2))
def test_fenchel_young(name, a, t, c, beta, epsilon):
    """c loss(a) + phi*(-beta) >= -beta a, with equality at the step without a pull."""
    t = np.copysign(1.0, t) if name in CLASSES else t
    t = epsilon + 1e-3 + abs(t) if name == "one_sided" else t
    loss, form = make_loss(name, epsilon), conjugate_of(name, t, c, epsilon)
    beta = np.clip(np.array([beta]), *form.bounds)
    a, t = np.array([a]), np.array([float(t)])
    primal = c * loss.value(a, t)[0]
    assert primal + form.value(beta) >= -(beta @ a) - 1e-12 * (1 + primal + abs(beta @ a))
    if form.is_strongly_convex:
        tight, _ = form.proximal(a, 0.0, 0.0)
    else:
        # Far from a kink, a subgradient: the slope of the loss.
        h = 1e-4
        slopes = np.diff([loss.value(a + s, t)[0] for s in (-h, 0, h)]) / h
        if abs(slopes[1] - slopes[0]) > 1e-6:
            return
        tight = np.clip(-c * slopes[:1], *form.bounds)
    assert primal + form.value(tight) == pytest.approx(-(tight @ a), abs=1e-6 * (1 + primal))


@pytest.mark.parametrize("name", HOMOGENEOUS)
@pytest.mark.parametrize("scale", [0.01, 7.0])
def test_degree_is_the_homogeneity(name, scale):
    prediction, target, *_ = random_setting(name, 50)
    loss, scaled = make_loss(name), make_loss(name, scale * EPSILON)
    assert loss.value(prediction, target).max() > 0
    assert_allclose(
        scaled.value(scale * prediction, scale * target),
        scale**loss.degree * loss.value(prediction, target),
        rtol=1e-12,
        atol=1e-14,
    )


@each_loss
def test_cvxpy_expression_is_the_weighted_sum_and_convex(name):
    prediction, target, weight, *_ = random_setting(name, 50)
    variable = cvxpy.Variable(50)
    expression = make_loss(name).expression(variable, target, weight)
    assert expression.is_dcp()
    assert expression.is_convex()
    variable.value = prediction
    expected = sum(
        c * FORMULAS[name].value(a, t, EPSILON)
        for a, t, c in zip(prediction, target, weight, strict=True)
    )
    assert float(expression.value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", WITH_EPSILON)
def test_scale_is_a_tenth_of_the_spread(name):
    loss = LOSSES[name](epsilon="scale")
    resolved = loss.resolved(2.5)
    assert type(resolved) is type(loss)
    assert resolved.epsilon == pytest.approx(0.25)
    assert loss.epsilon == LOSSES[name]().epsilon == "scale"
    assert LOSSES[name](epsilon=0.7).resolved(2.5).epsilon == 0.7


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in WITH_EPSILON])
def test_loss_without_parameters_resolves_to_itself(name):
    prediction, target, *_ = random_setting(name, 20)
    loss = LOSSES[name]()
    assert_array_equal(loss.resolved(3.0).value(prediction, target), loss.value(prediction, target))


@pytest.mark.parametrize("name", WITH_EPSILON)
@pytest.mark.parametrize("epsilon", [-0.1, "wide", None])
def test_invalid_epsilon_is_refused(name, epsilon):
    with pytest.raises(InvalidParameterError, match="epsilon"):
        LOSSES[name](epsilon=epsilon).resolved(1.0)


@pytest.mark.parametrize(
    "target", [[0.0, 1.0], [1.0, -1.0, 0.5], [2.0, 2.0], [-1.0, np.nan]], ids=str
)
def test_hinge_refuses_relations_that_are_not_classes(target):
    target = np.array(target)
    with pytest.raises(ValueError, match=r"\+1 \(different\) or -1 \(similar\)") as error:
        LOSSES["hinge"]().conjugate(target, np.ones(len(target)))
    # The relations are named, and the way out.
    assert f"from {target.min():g} to {target.max():g}" in str(error.value)
    assert "relation='class'" in str(error.value)


def test_one_sided_ignores_pairs_below_epsilon():
    """Nonnegative distances satisfy them, so that their coefficients are zero."""
    form = make_loss("one_sided").conjugate(np.array([EPSILON, -1.0, 1.0]), np.ones(3))
    for distance in (0.0, 0.4, 3.0):
        dual_coef, _ = form.proximal(np.full(3, distance), 0.0, 1.0)
        assert_array_equal(dual_coef[:2], 0)
    assert form.proximal(np.zeros(3), 0.0, 1.0)[0][2] == pytest.approx(0.7)


@pytest.mark.parametrize("epsilon", [1.0, 1.5])
def test_one_sided_refuses_an_epsilon_that_ignores_every_pair(epsilon):
    with pytest.raises(ValueError, match=rf"epsilon={epsilon:g} .* largest relation, 1:"):
        make_loss("one_sided", epsilon).conjugate(np.array([0.2, 1.0]), np.ones(2))


@pytest.mark.parametrize(
    ("largest", "advice"),
    [
        (0.2, "Decrease epsilon, or choose pairs with larger relations."),
        # No epsilon is below these.
        (0.0, " zero. Choose pairs with larger relations."),
        (-0.2, " zero. Choose pairs with larger relations."),
    ],
)
def test_one_sided_advice_is_one_that_helps(largest, advice):
    with pytest.raises(ValueError, match=r"epsilon=0\.3 is not below") as error:
        make_loss("one_sided").conjugate(np.array([-1.0, largest]), np.ones(2))
    assert str(error.value).endswith(advice)


@each_loss
def test_restricted_conjugate_is_that_of_the_pairs(name):
    prediction, target, weight, center, penalty = random_setting(name, 12)
    some = np.array([7, 0, 3])
    restricted = make_loss(name).conjugate(target, weight).restricted(some)
    expected = make_loss(name).conjugate(target[some], weight[some])
    assert restricted.is_strongly_convex == expected.is_strongly_convex
    assert_array_equal(restricted.bounds, expected.bounds)
    arguments = prediction[some], center[some], penalty[some]
    found, wanted = restricted.proximal(*arguments), expected.proximal(*arguments)
    assert_array_equal(found, wanted)
    assert restricted.value(found[0]) == expected.value(wanted[0])


@each_loss
def test_weights_may_be_integers(name):
    prediction, target, _, center, penalty = random_setting(name, 12)
    whole = np.arange(1, 13)
    found, expected = (make_loss(name).conjugate(target, each) for each in (whole, whole * 1.0))
    assert_array_equal(found.bounds, expected.bounds)
    arguments = prediction, center, penalty
    assert_array_equal(found.proximal(*arguments), expected.proximal(*arguments))
