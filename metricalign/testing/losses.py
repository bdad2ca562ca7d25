"""Check a loss and its conjugate."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
from scipy.optimize import minimize_scalar

from metricalign.losses import Loss
from metricalign.testing._requirement import DIFFERENCE_ERROR, STEP, require

__all__ = ["check_loss"]

# Relations and distances of the check are about 1. The extrema are not farther away than this.
_REACH = 100.0


def check_loss(loss: Loss) -> None:
    """Check a loss and its conjugate against the descriptions of `Loss` and `Conjugate`.

    Relations are numbers from -1.5 to 1.5. If the loss refuses them with a ValueError, they are
    positive numbers, and if it refuses these too, +1 and -1. Optional methods that the loss lacks,
    such as `expression` or the `gradient` of its conjugate, are not checked.

    Parameters
    ----------
    loss : Loss
        An instance.

    Raises
    ------
    AssertionError
        If a method or a class attribute is wrong. The message says which one, and where.

    Examples
    --------
    >>> from metricalign.losses import Hinge
    >>> from metricalign.testing import check_loss
    >>> check_loss(Hinge())
    >>> class Wrong(Hinge):
    ...     def value(self, prediction, target):
    ...         return 0.5 * super().value(prediction, target)
    >>> check_loss(Wrong())
    Traceback (most recent call last):
    AssertionError: Wrong(): value and conjugate do not belong together. The conjugate ...
    """
    rng = np.random.default_rng(0)
    numbers, weight = rng.uniform(-1.5, 1.5, 24), rng.uniform(0.3, 2, 24)
    loss = loss.resolved(float(np.std(numbers)))
    target, takes_numbers = _suited_relations(loss, numbers, weight)
    conjugate = loss.conjugate(target, weight)
    prediction = rng.uniform(-3, 3, len(target))
    prediction[:4] = target[:4]
    _check_value(loss, prediction, target)
    _check_bounds(loss, conjugate, target, weight)
    _check_supremum(loss, target, weight)
    _check_proximal(loss, conjugate, prediction, target, weight, rng)
    _check_smoothness(loss, conjugate, prediction, target, weight)
    _check_restricted(loss, conjugate, prediction, target, weight, rng)
    if takes_numbers:
        _check_units(loss, prediction, target)
    _check_loss_expression(loss, prediction, target, weight)


def _suited_relations(loss, numbers, weight):
    """Relations that the loss takes, and whether they are numbers other than +1 and -1."""
    for target in (numbers, 0.5 + np.abs(numbers)):
        try:
            for p in range(len(target)):
                loss.conjugate(target[p : p + 1], weight[p : p + 1])
        except ValueError:
            continue
        return target, True
    return np.sign(numbers), False


def _check_value(loss, prediction, target):
    value = loss.value(prediction, target)
    require(
        np.shape(value) == prediction.shape,
        f"{loss!r}: value must return one number for each pair, of shape {prediction.shape}; it "
        f"returned the shape {np.shape(value)}.",
    )
    require(np.isfinite(value), f"{loss!r}: value must be finite; it returned {value}.")
    grid = np.linspace(-5, 5, 101)[:, None] + 0 * target
    values = loss.value(grid, target + 0 * grid)
    bend = values[:-2] + values[2:] - 2 * values[1:-1]
    require(bend >= -1e-9 * (1 + np.abs(values[1:-1])), f"{loss!r}: value must be convex.")


def _single(loss, target, weight):
    """The conjugate of one pair as a function of its beta."""
    conjugate = loss.conjugate(np.array([target]), np.array([weight]))
    return lambda beta: conjugate.value(np.array([float(beta)]))


def _supremum(loss, beta, target, weight, reach):
    """Supremum of -beta a - weight loss(a, target) over abs(a) <= reach."""

    def negative(a):
        return beta * a + weight * float(loss.value(np.array([a]), np.array([target]))[0])

    inner = minimize_scalar(negative, bounds=(-reach, reach), options={"xatol": 1e-9})
    return -min(inner.fun, negative(-reach), negative(reach))


def _check_bounds(loss, conjugate, target, weight):
    lower, upper = conjugate.bounds
    require(
        np.shape(lower) == np.shape(upper) == target.shape,
        f"{loss!r}: bounds of the conjugate must be two arrays of shape {target.shape}.",
    )
    require(lower <= upper, f"{loss!r}: a lower bound of the conjugate is above its upper bound.")
    for p in range(6):
        for bound, outward in ((lower[p], -0.1), (upper[p], 0.1)):
            if np.isfinite(bound):
                outside = bound + outward * weight[p]
                near, far = (
                    _supremum(loss, outside, target[p], weight[p], reach)
                    for reach in (10 * _REACH, 100 * _REACH)
                )
                require(
                    far - near > abs(outward) * weight[p] * _REACH,
                    f"{loss!r}: the bounds of the conjugate are too narrow. At beta={outside:.4g}, "
                    f"outside of them, it is finite (target={target[p]:.4g}, "
                    f"weight={weight[p]:.4g}).",
                )


def _check_supremum(loss, target, weight):
    for p in range(6):
        lower, upper = (
            float(np.clip(end[0], -3 * weight[p], 3 * weight[p]))
            for end in loss.conjugate(target[p : p + 1], weight[p : p + 1]).bounds
        )
        value = _single(loss, target[p], weight[p])
        for beta in np.linspace(lower, upper, 9):
            found = value(beta)
            expected = _supremum(loss, beta, target[p], weight[p], _REACH)
            require(
                abs(found - expected) <= 1e-5 * (1 + abs(expected)),
                f"{loss!r}: value and conjugate do not belong together. The conjugate at "
                f"beta={beta:.4g} is {found:.6g}, but the supremum of -beta a - weight loss(a) is "
                f"{expected:.6g} (target={target[p]:.4g}, weight={weight[p]:.4g}).",
            )


def _check_proximal(loss, conjugate, prediction, target, weight, rng):
    center, penalty = weight * rng.uniform(-1, 1, len(target)), rng.uniform(0.3, 3, len(target))
    arguments = prediction.copy(), center.copy(), penalty.copy()
    dual_coef, response = conjugate.proximal(*arguments)
    require(
        all(map(np.array_equal, arguments, (prediction, center, penalty))),
        f"{loss!r}: proximal of the conjugate changes its arguments.",
    )
    lower, upper = conjugate.bounds
    require(
        (lower <= dual_coef) & (dual_coef <= upper),
        f"{loss!r}: proximal of the conjugate leaves the bounds.",
    )
    for p in range(len(target)):
        value = _single(loss, target[p], weight[p])

        def objective(beta, p=p, value=value):
            pull = 0.5 * penalty[p] * (beta - center[p]) ** 2
            return value(beta) + beta * prediction[p] + pull

        ends = np.clip([lower[p], upper[p]], -_REACH, _REACH)
        inner = minimize_scalar(objective, bounds=ends, options={"xatol": 1e-9})
        best = min([float(inner.x), *map(float, ends), 0.0 * ends[0]], key=objective)
        require(
            objective(dual_coef[p]) <= objective(best) + 1e-8,
            f"{loss!r}: proximal of the conjugate is not the minimiser: beta={dual_coef[p]:.6g} "
            f"where {best:.6g} is better (target={target[p]:.4g}, weight={weight[p]:.4g}, "
            f"prediction={prediction[p]:.4g}, center={center[p]:.4g}, "
            f"penalty={penalty[p]:.4g}).",
        )
    require(response >= 0, f"{loss!r}: response of the conjugate must be at least 0.")
    (above, right), (below, left) = (
        conjugate.proximal(prediction + step, center, penalty) for step in (STEP, -STEP)
    )
    is_smooth = np.isclose(left, right, rtol=1e-2) & np.isclose(left, response, rtol=1e-2)
    slope = (below - above) / (2 * STEP)
    wrong = is_smooth & ~np.isclose(response, slope, rtol=1e-4, atol=DIFFERENCE_ERROR)
    require(
        ~wrong & (is_smooth.mean() > 0.5),
        f"{loss!r}: response of the conjugate is not how much beta falls as the prediction grows: "
        f"{response[wrong][:3]} where finite differences are {slope[wrong][:3]}.",
    )


def _check_smoothness(loss, conjugate, prediction, target, weight):
    """Check `gradient`, `kink` and `is_strongly_convex`."""
    lower, upper = (np.clip(end, -2, 2) for end in conjugate.bounds)
    inside = lower + (upper - lower) * np.linspace(0.1, 0.9, len(target))
    h = STEP
    for p in range(6):
        value = _single(loss, target[p], weight[p])
        if hasattr(conjugate, "gradient") and abs(inside[p]) > h:
            slope = (value(inside[p] + h) - value(inside[p] - h)) / (2 * h)
            found = conjugate.gradient(inside)[p]
            require(
                np.isclose(found, slope, rtol=1e-4, atol=DIFFERENCE_ERROR),
                f"{loss!r}: gradient of the conjugate at beta={inside[p]:.4g} is {found:.6g}, but "
                f"finite differences of its value are {slope:.6g}.",
            )
        if hasattr(conjugate, "kink") and lower[p] < -h and upper[p] > h:
            jump = (value(h) + value(-h) - 2 * value(0)) / (2 * h)
            require(
                abs(conjugate.kink - jump) <= 1e-3 * (1 + abs(jump)),
                f"{loss!r}: kink of the conjugate is {conjugate.kink:.6g}, but half the jump of "
                f"its derivative at beta=0 is {jump:.6g}.",
            )
    if conjugate.is_strongly_convex:
        dual_coef, _ = conjugate.proximal(prediction, 0.0, 0.0)
        above, below = (loss.value(prediction + step, target) for step in (h, -h))
        slope = -weight * (above - below) / (2 * h)
        require(
            np.isclose(dual_coef, slope, rtol=1e-3, atol=1e-3),
            f"{loss!r}: is_strongly_convex says that the loss is smooth, but proximal with a "
            "penalty of 0 is not minus its derivative.",
        )


def _check_restricted(loss, conjugate, prediction, target, weight, rng):
    beta = np.clip(0.5 * weight * rng.uniform(-1, 1, len(target)), *conjugate.bounds)
    total = sum(_single(loss, t, c)(b) for t, c, b in zip(target, weight, beta, strict=True))
    require(
        np.isclose(conjugate.value(beta), total, rtol=1e-9, atol=1e-12),
        f"{loss!r}: value of the conjugate is not the sum over the pairs.",
    )
    if not hasattr(conjugate, "restricted"):
        return
    some = np.arange(1, len(target), 3)
    part = conjugate.restricted(some)
    same = [
        np.allclose(found, whole[some])
        for found, whole in chain(
            zip(part.bounds, conjugate.bounds, strict=True),
            zip(
                part.proximal(prediction[some], 0.1, 1.0),
                conjugate.proximal(prediction, 0.1, 1.0),
                strict=True,
            ),
        )
    ]
    alone = loss.conjugate(target[some], weight[some])
    same.append(np.isclose(part.value(beta[some]), alone.value(beta[some])))
    require(same, f"{loss!r}: restricted is not the conjugate of the pairs that it was given.")


def _check_units(loss, prediction, target):
    """Check the class attributes that say how a loss changes with its units."""
    value = loss.value(prediction, target)
    if loss.is_shift_invariant:
        require(
            np.allclose(loss.value(prediction + 0.7, target + 0.7), value),
            f"{loss!r}: is_shift_invariant is true, but a number that is added to prediction and "
            "target changes the loss.",
        )
    # Some of the parameters, but not all, may be in the units of the relation.
    numbers = [name for name, given in loss.get_params().items() if isinstance(given, float | int)]
    subsets = chain.from_iterable(combinations(numbers, n) for n in range(len(numbers) + 1))
    scaled = (
        type(loss)(**loss.get_params() | {name: 3 * loss.get_params()[name] for name in subset})
        for subset in subsets
    )
    require(
        any(
            np.allclose(other.value(3 * prediction, 3 * target), 3.0**loss.degree * value)
            for other in scaled
        ),
        f"{loss!r}: degree is {loss.degree}, but prediction, target and parameters times 3 do not "
        f"make the loss 3**{loss.degree} times as large.",
    )


def _check_loss_expression(loss, prediction, target, weight):
    import cvxpy

    variable = cvxpy.Variable(len(target))
    try:
        expression = loss.expression(variable, target, weight)
    except NotImplementedError:
        return
    require(
        expression.is_dcp() and expression.is_convex(),
        f"{loss!r}: expression is not convex by the rules of cvxpy.",
    )
    variable.value = prediction
    found, expected = float(expression.value), float(weight @ loss.value(prediction, target))
    require(
        np.isclose(found, expected, rtol=1e-6),
        f"{loss!r}: expression is {found:.6g}, but the weighted sum of value is {expected:.6g}.",
    )
