"""One-dimensional networks with biases: support, gauge, interpolants, and the exact fit with its certificate."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from dualkit import Network, NotCovered, _trend, hinge
from dualkit._trend import Problem, fit_knots
from dualkit.hinge import HingeFeatures, fit_spline, hinge_weights
from dualkit.spline import Spline, interpolant_envelope, spline_interpolant

EPS = np.finfo(float).eps
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)
fractions = st.floats(0.003, 1.2)
powers = st.floats(-60, 60).map(lambda e: 10.0**e)


def instance(seed, n, repeats=True):
    """Random data: half of the time on a small grid, where kinks vanish, labels tie and inputs repeat."""
    rng = np.random.default_rng(seed)
    if seed % 2:
        x, y = rng.integers(-4, 5, n).astype(float), rng.integers(-2, 3, n).astype(float)
    else:
        x, y = rng.normal(size=n), rng.normal(size=n) + rng.normal() * 3 * np.arange(n)
    if not repeats:
        x = np.unique(x)
        y = y[: len(x)]
    return rng, x, y


def hinges(x, b):
    return np.hstack([np.maximum(x[:, None] - b, 0), np.maximum(b - x[:, None], 0)])


def cheapest(x, y, b, goal=None, budget=None):
    """Least total gain of hinges with kinks b through (x, y), or their least goal @ (gains, constant)."""
    A = np.hstack([hinges(x, b), np.ones((len(x), 1))])
    gains = np.ones(2 * A.shape[1])
    gains[[A.shape[1] - 1, -1]] = 0                                      # the constant is free
    cost, bound = (gains, {}) if goal is None else (np.concatenate([goal, -goal]),
                                                    {"A_ub": gains[None, :], "b_ub": [budget]})
    found = linprog(cost, A_eq=np.hstack([A, -A]), b_eq=y, **bound)
    assert found.status == 0
    return found.fun


def beta_max(x, y):
    H = HingeFeatures(x)
    return H.support(H.project(y)).value


def objective(f, x, y, beta):
    return 0.5 * np.sum((f.predict(x) - y) ** 2) + beta * HingeFeatures(x).gauge(f.predict(x))


# Support and gauge

@given(seeds, sizes, st.integers(1, 3))
def test_support_is_the_maximum_over_all_kinks(seed, n, outputs):
    rng, x, _ = instance(seed, n)
    H = HingeFeatures(x)
    Lambda = H.project(rng.normal(size=(n, outputs)))
    np.testing.assert_allclose(Lambda.sum(axis=0), 0, atol=1e-14)
    found = H.support(Lambda[:, 0] if outputs == 1 else Lambda)
    everywhere = np.concatenate([x, rng.uniform(x.min() - 2, x.max() + 2, 400), [-1e3, 1e3]])
    assert np.linalg.norm(Lambda.T @ hinges(x, everywhere), axis=0).max() == pytest.approx(found.value, abs=1e-11)
    sign, b = found.unit
    assert b in x
    np.testing.assert_array_equal(found.feature, np.maximum(sign * (x - b), 0))
    np.testing.assert_allclose(Lambda.T @ found.feature, found.value * found.output, atol=1e-12)
    assert np.linalg.norm(found.output) == pytest.approx(1)


@given(seeds, sizes)
@example(0, 1)
@example(0, 2)
def test_gauge_is_the_least_total_gain_with_free_kinks(seed, n):
    rng, x, y = instance(seed, n, repeats=False)
    gauge = HingeFeatures(x).gauge(y)
    free = np.concatenate([x, rng.uniform(x.min() - 3, x.max() + 3, 100)])
    assert cheapest(x, y, x) == pytest.approx(gauge, rel=1e-7, abs=1e-7)
    assert cheapest(x, y, free) == pytest.approx(gauge, rel=1e-7, abs=1e-7)
    again = rng.integers(0, len(x), len(x) + 3)                          # equal inputs with equal outputs
    order = np.concatenate([np.arange(len(x)), again])
    assert HingeFeatures(x[order]).gauge(y[order]) == pytest.approx(gauge)


@given(seeds, st.integers(3, 12))
def test_support_is_polar_to_the_gauge(seed, n):
    rng, x, y = instance(seed, n, repeats=False)
    H = HingeFeatures(x)
    Lambda = H.project(rng.normal(size=len(x)))
    assert Lambda @ y <= H.support(Lambda).value * H.gauge(y) + 1e-9
    beta = 0.1 * beta_max(x, y)
    fit = fit_spline(x, y, beta)
    assert fit.Lambda @ fit.predict(x) == pytest.approx(beta * H.gauge(fit.predict(x)), rel=1e-9, abs=1e-12)


def test_gauge_of_repeated_inputs_with_different_outputs_is_infinite():
    assert HingeFeatures([0.0, 0.0, 1.0]).gauge([0.0, 1.0, 1.0]) == np.inf


def test_kinks_that_are_rounding_are_none():
    x = 0.1 * np.arange(30)
    assert HingeFeatures(x).gauge(0.3 * x) == pytest.approx(0.3, rel=1e-15)
    assert hinge_weights(spline_interpolant(x, 0.3 * x))[0].shape == (1, 1)


# Interpolation

@given(seeds, sizes)
@example(0, 1)
@example(0, 2)
def test_interpolant_attains_the_gauge_with_kinks_at_data_points(seed, n):
    rng, x, y = instance(seed, n, repeats=False)
    f = spline_interpolant(x, y)
    np.testing.assert_allclose(f.predict(x), y, atol=1e-12)
    right, left = f.coefficients
    t = rng.uniform(x.min() - 5, x.max() + 5, 50)
    np.testing.assert_allclose(hinges(t, f.knots) @ np.concatenate([right, left]) + f.constant, f.predict(t),
                               atol=1e-9 * (1 + np.abs(y).max()))
    assert f.penalty == pytest.approx(HingeFeatures(x).gauge(y), rel=1e-12)
    # In terms of the function: the larger of TV(f') and |f'(-inf) + f'(inf)|.
    slopes = np.concatenate([[-left.sum()], f.slopes, [right.sum()]])
    assert f.penalty == pytest.approx(max(np.abs(np.diff(slopes)).sum(), abs(slopes[0] + slopes[-1])), rel=1e-9)


def tangent_points(band):
    """Kinks of the extreme interpolants: where the lines of the gaps before and after a free gap cross."""
    s, x, y, k = band.slopes, band.x, band.y, np.flatnonzero(band.free)
    return (y[k + 1] - y[k] + s[k] * x[k] - s[k + 2] * x[k + 1]) / (s[k] - s[k + 2])


@given(seeds, st.integers(1, 7))
@example(1, 2)
@example(6, 3)
def test_envelope_is_what_linear_programs_over_free_kinks_reach(seed, n):
    rng, x, y = instance(seed, n, repeats=False)
    band = interpolant_envelope(x, y)
    budget = HingeFeatures(x).gauge(y)
    low, high = x.min() - 1, x.max() + 1
    kinks = np.concatenate([x, tangent_points(band), rng.uniform(low, high, 20), [low - 1, high + 1]])
    for t in np.concatenate([rng.uniform(low, high, 3), tangent_points(band)[:1], [low]]):
        goal = np.append(hinges(np.array([t]), kinks)[0], 1)
        least = cheapest(x, y, kinks, goal, budget * (1 + 1e-12) + 1e-12)
        most = -cheapest(x, y, kinks, -goal, budget * (1 + 1e-12) + 1e-12)
        assert (least, most) == pytest.approx((band.lower(t), band.upper(t)), abs=1e-5 * (1 + np.abs(y).max()))


def test_an_optimal_unit_need_not_be_extreme():
    x, y = np.arange(4.0), np.array([0.0, 0.0, 1.0, 3.0])
    # Gains 1 at the kinks 1 and 2, or gain 2 at the kink 1.5: the same total, the same data.
    assert HingeFeatures(x).gauge(y) == 2.0
    np.testing.assert_array_equal(2 * np.maximum(x - 1.5, 0), y)
    band, t = interpolant_envelope(x, y), np.linspace(-1, 4, 101)
    assert band.free.tolist() == [False, True, False]
    np.testing.assert_allclose(band.lower(t), 2 * np.maximum(t - 1.5, 0), atol=1e-12)
    np.testing.assert_allclose(band.upper(t), np.maximum(t - 1, 0) + np.maximum(t - 2, 0), atol=1e-12)
    # Both halves of the extreme-point theorem: that unit lies in the face, between two extreme ones.
    fit = fit_spline(x, y, 0.01)
    gains = fit.Lambda @ np.maximum(x[:, None] - [1.0, 1.5, 2.0], 0)
    np.testing.assert_allclose(gains, 0.01, rtol=1e-9)


def test_gauge_where_depth_three_would_pay_double():
    assert HingeFeatures([-2.0, -1.0, 1.0, 2.0]).gauge([0.0, 0.0, 2.0, 3.0]) == 1.0


# Training

@given(seeds, sizes, fractions)
@example(0, 1, 0.5)
@example(0, 2, 0.5)
@example(1, 3, 0.5)
def test_fit_agrees_with_the_lasso_on_hinges_and_is_certified(seed, n, fraction):
    _, x, y = instance(seed, n)
    H, beta = HingeFeatures(x), fraction * beta_max(x, y)
    fit = fit_spline(x, y, beta)
    # The certificate, recomputed from its definition.
    assert fit.primal == pytest.approx(objective(fit, x, y, beta), rel=1e-10, abs=1e-14)
    assert fit.dual == pytest.approx(fit.Lambda @ y - 0.5 * fit.Lambda @ fit.Lambda, rel=1e-10, abs=1e-12)
    assert abs(fit.Lambda.sum()) <= 1e-12 * (1 + np.abs(fit.Lambda).sum())
    assert H.support(fit.Lambda).value <= beta or beta == 0
    assert -1e-14 * (1 + fit.primal) <= fit.gap <= 1e-10 * fit.primal + 1e-14
    A, a, c = hinges(x, x), cp.Variable(2 * n), cp.Variable()
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ a + c - y) + beta * cp.norm1(a)))
    assert fit.primal == pytest.approx(problem.solve(solver="CLARABEL"), rel=1e-6, abs=1e-6)


@given(seeds, st.integers(3, 40), fractions)
def test_every_unit_switched_on_attains_the_support(seed, n, fraction):
    _, x, y = instance(seed, n)
    beta = fraction * beta_max(x, y)
    fit = fit_spline(x, y, beta)
    gains = np.concatenate(fit.coefficients)
    touch = fit.Lambda @ hinges(x, fit.knots)
    used = np.abs(gains) > 1e-9 * np.abs(gains).max()
    np.testing.assert_allclose(touch[used], beta * np.sign(gains[used]), rtol=1e-7)


@given(seeds, st.integers(1, 40), fractions)
def test_no_other_network_is_better(seed, n, fraction):
    rng, x, y = instance(seed, n)
    beta = fraction * beta_max(x, y)
    fit = fit_spline(x, y, beta)
    for size in (1e-6, 1e-3, 1.0):
        near = Spline(fit.knots, fit.values + size * rng.normal(size=len(fit.knots)))
        assert objective(near, x, y, beta) >= fit.dual - 1e-12 * (1 + fit.primal)
        assert objective(near, x, y, beta) >= fit.primal * (1 - 1e-10) - 1e-12


@given(seeds, st.integers(1, 30), fractions, powers, powers, st.floats(-3, 3))
def test_fit_is_equivariant(seed, n, fraction, a, b, shift):
    rng, x, y = instance(seed, n)
    beta = fraction * beta_max(x, y)
    fit, order = fit_spline(x, y, beta), rng.permutation(n)
    # Shuffle, reflect, stretch and shift the inputs; reflect, stretch and shift the outputs.
    other = fit_spline(a * (shift - x[order]), b * (shift - y[order]), a * b * beta)
    scale = b * (1 + np.abs(y).max())
    np.testing.assert_allclose(other.predict(a * (shift - x)), b * (shift - fit.predict(x)), atol=1e-6 * scale)
    assert other.primal == pytest.approx(b * b * fit.primal, rel=1e-9, abs=1e-12 * scale**2)
    assert other.penalty == pytest.approx(b / a * fit.penalty, rel=1e-6, abs=1e-6 * scale / a)


@given(seeds, sizes)
def test_without_weight_decay_the_means_are_interpolated(seed, n):
    _, x, y = instance(seed, n)
    fit = fit_spline(x, y, 0.0)
    means = np.array([y[x == u].mean() for u in x])
    np.testing.assert_allclose(fit.predict(x), means, atol=1e-12)
    assert fit.penalty == pytest.approx(HingeFeatures(x).gauge(means), rel=1e-12)
    assert fit.primal == pytest.approx(0.5 * np.sum((y - means) ** 2), abs=1e-12)
    assert fit.gap == pytest.approx(0, abs=1e-12)
    if fit.penalty > 0:
        tiny = 1e-7 * beta_max(x, y)
        assert fit_spline(x, y, tiny).penalty == pytest.approx(fit.penalty, rel=1e-2)


@given(seeds, st.integers(2, 30))
def test_the_mean_is_optimal_exactly_from_the_support_on(seed, n):
    _, x, y = instance(seed, n)
    last = beta_max(x, y)
    fit = fit_spline(x, y, last)
    assert fit.penalty == 0
    np.testing.assert_array_equal(fit.values, y.mean())
    assert fit.primal == fit.dual == pytest.approx(0.5 * np.sum((y - y.mean()) ** 2))
    if last > 1e-9:
        before = fit_spline(x, y, 0.999 * last)
        assert 0 < before.penalty
        assert before.primal < fit.primal


@pytest.mark.parametrize("kind", ["noise", "smooth", "oscillating", "plateaus", "line"])
@pytest.mark.parametrize("fraction", [0.1, 1e-3, 1e-5])
def test_twenty_thousand_points_are_fitted_exactly(kind, fraction):
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(size=20_000))
    y = {"noise": np.sin(12 * x) + 0.2 * rng.normal(size=len(x)), "smooth": np.sin(12 * x),
         "oscillating": (-1.0) ** np.arange(len(x)), "plateaus": np.sign(rng.normal(size=len(x))),
         "line": 5 * x + 0.2 * rng.normal(size=len(x))}[kind]
    H, beta = HingeFeatures(x), fraction * beta_max(x, y)
    fit = fit_spline(x, y, beta)
    assert H.support(fit.Lambda).value <= beta
    assert 0.5 * np.sum((fit.predict(x) - y) ** 2) + beta * fit.penalty == pytest.approx(fit.primal, rel=1e-10)
    # Rounding of Lambda to float64 limits the certificate where beta is tiny.
    assert fit.gap <= max(1e-11, EPS * np.abs(fit.Lambda).sum() / beta) * fit.primal
    kinks = np.abs(np.diff(fit.slopes))
    assert kinks.min(initial=1.0) > 0 and len(kinks) < len(x)


def test_an_uncertified_fit_is_refused(monkeypatch):
    line = np.zeros(0, dtype=int), np.zeros(0)
    monkeypatch.setattr(hinge, "fit_knots", lambda problem, tol: _trend._solve(problem, *line))
    x = np.linspace(-1, 1, 9)
    with pytest.raises(RuntimeError, match="relative gap"):
        fit_spline(x, np.abs(x), 0.01)
    assert fit_spline(x, np.abs(x), 0.01, tol=1.0).gap > 0


# Weights

@given(seeds, sizes, st.just(0.0) | fractions)
def test_weights_are_a_balanced_network_of_that_function_and_penalty(seed, n, fraction):
    _, x, y = instance(seed, n)
    fit = fit_spline(x, y, fraction * beta_max(x, y))
    W1, b1, W2, c = hinge_weights(fit)
    net = Network(((W1, W2),), "relu", (b1,), np.array([c]))
    t = np.linspace(x.min() - 1, x.max() + 1, 50)
    np.testing.assert_allclose(net.predict(t[:, None])[:, 0], fit.predict(t), atol=1e-9 * (1 + np.abs(y).max()))
    assert net.penalty == pytest.approx(fit.penalty, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(np.abs(W1[0]), np.abs(W2[:, 0]))
    assert W1.shape[1] <= 1 + np.count_nonzero(np.diff(fit.slopes))


# Refusals

@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: HingeFeatures(np.eye(2)), NotCovered, r"x must hold one feature, found shape \(2, 2\)"),
    (lambda: HingeFeatures([0.0, np.nan]), ValueError, "x must be finite, found nan at index"),
    (lambda: HingeFeatures([0, 1]).support([1.0, 1.0]), ValueError, r"Lambda must sum .*2.0.*project\(Lambda\)"),
    (lambda: HingeFeatures([0, 1]).support([1.0]), ValueError, "Lambda must have as many rows as X"),
    (lambda: HingeFeatures([0, 1]).project([1.0]), ValueError, "Lambda must have .* found 1 against 2"),
    (lambda: HingeFeatures([0, 1]).gauge(np.eye(2)), NotCovered, r"F must have one column, found shape \(2, 2\)"),
    (lambda: fit_spline([0, 1], [0.0], 1.0), ValueError, "y must have as many rows as X, found 1 against 2"),
    (lambda: fit_spline([0, 1], np.eye(2), 1.0), NotCovered, "y must have one column"),
    (lambda: fit_spline([0, 1], [0, 1], -1.0), ValueError, "beta must be finite and >= 0, found -1.0"),
    (lambda: fit_spline([0, 1], [0, 1], 1e-200), ValueError, "beta must be 0 or at least .* found 1e-200; pass 0"),
    (lambda: fit_spline([0, 1], [0, 1], 1.0, tol=-1.0), ValueError, "tol must be finite and >= 0"),
    (lambda: spline_interpolant([0, 0], [0, 2]), ValueError, r"y must take one value .* found [02].0 at x = 0"),
    (lambda: interpolant_envelope([0, 0], [0, 2]), ValueError, "y must take one value where x repeats"),
    (lambda: interpolant_envelope([0, 1], np.eye(2)), NotCovered, r"y must .* found shape \(2, 2\)"),
    (lambda: Spline([0, 0], [1, 1]), ValueError, r"knots must increase, found \[0.0, 0.0\]"),
    (lambda: Spline([0, 1], [1]), ValueError, "values must have as many rows"),
    (lambda: Spline([0, 1], [1, 2]).predict([np.inf]), ValueError, "t must be finite"),
])
def test_bad_input_names_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Found by fuzzing

@pytest.mark.parametrize("n", [3, 30])
def test_repeated_inputs_and_no_weight_decay_give_no_gap(n):
    x = np.repeat(np.random.default_rng(n).normal(size=n), 3)
    for y in (3 * x + 1, np.maximum(x, 0.0), np.cos(x)):    # the mean of three equal numbers is rounded
        fit = fit_spline(x, y, 0.0)
        assert fit.gap == 0
        np.testing.assert_allclose(fit.predict(x), y, atol=1e-14)


def test_inputs_far_from_zero_cost_no_digits():
    x = 1e6 + np.random.default_rng(0).normal(size=8)
    for beta in (1e-12, 1e-6, 0.1):
        fit = fit_spline(x, 3 * x + 1, beta)
        assert abs(fit.gap) <= 1e-10 * fit.primal


def test_data_on_a_line_without_slope_divide_by_nothing():
    best = fit_knots(Problem(np.array([0.0, 1.0]), np.array([3.0, 3.0]), np.zeros(2), 1e-17), 1e-10)
    assert (best.primal, best.gap) == (0.0, 0.0)


def test_a_bound_broken_from_both_sides_at_one_point_bends_once():
    rng = np.random.default_rng(4)
    for _ in range(20):
        x = np.sort(rng.uniform(size=100))
        x, y = np.concatenate([x, x[:50] * (1 + 1e-15)]), rng.integers(-2, 3, size=150).astype(float)
        H = HingeFeatures(x)
        try:
            fit = fit_spline(x, y, 1e-15 * H.support(H.project(y)).value)
            assert fit.gap <= 1e-6 * fit.primal
        except RuntimeError as error:
            assert "relative gap" in str(error)     # noqa: PT017
