"""One-dimensional networks with biases: support, gauge, interpolants, and the exact fit with its certificate."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualkit import Network, NotCovered
from dualkit.hinge import HingeFeatures, fit_spline, hinge_weights
from dualkit.spline import interpolant_envelope, spline_interpolant

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)


def instance(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    if seed % 3 == 0 and n > 2:
        x[1] = x[0]
    return rng, x, rng.normal(size=n)


def hinges(x, b):
    return np.hstack([np.maximum(x[:, None] - b, 0), np.maximum(b - x[:, None], 0)])


def lasso(x, y, beta, b):
    """Least 0.5 ||A a + c - y||^2 + beta ||a||_1 over all hinges with kinks b, by a general convex solver."""
    A, a, c = hinges(x, b), cp.Variable(2 * len(b)), cp.Variable()
    loss = 0.5 * cp.sum_squares(A @ a + c - y) + beta * cp.norm1(a)
    return cp.Problem(cp.Minimize(loss)).solve(solver="CLARABEL")


@given(seeds, sizes)
def test_support_is_the_maximum_over_all_kinks(seed, n):
    rng, x, lam = instance(seed, n)
    H = HingeFeatures(x)
    lam = H.project(lam)
    assert abs(lam.sum()) < 1e-12
    found = H.support(lam)
    everywhere = np.concatenate([x, rng.uniform(x.min() - 2, x.max() + 2, 400)])
    assert np.abs(lam @ hinges(x, everywhere)).max() == pytest.approx(found.value, abs=1e-12)
    sign, b = found.unit
    np.testing.assert_allclose(found.feature, np.maximum(sign * (x - b), 0), atol=1e-12)
    assert abs(lam @ found.feature) == pytest.approx(found.value, abs=1e-12)


def test_a_dual_variable_that_does_not_sum_to_zero_is_refused():
    with pytest.raises(ValueError, match="project"):
        HingeFeatures([0.0, 1.0]).support([1.0, 1.0])


@given(seeds, st.integers(2, 8))
def test_gauge_is_the_least_total_slope_over_free_kinks(seed, n):
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.normal(size=n)), rng.normal(size=n)
    b = np.concatenate([x, rng.uniform(x[0] - 3, x[-1] + 3, 60)])
    A, a, c = hinges(x, b), cp.Variable(2 * len(b)), cp.Variable()
    least = cp.Problem(cp.Minimize(cp.norm1(a)), [A @ a + c == y]).solve(solver="CLARABEL")
    assert HingeFeatures(x).gauge(y) == pytest.approx(least, rel=1e-6)
    spline = spline_interpolant(x, y)
    np.testing.assert_allclose(spline.predict(x), y, atol=1e-9)
    assert spline.penalty == pytest.approx(least, rel=1e-6)


def test_gauge_of_repeated_inputs_with_different_outputs_is_infinite():
    assert HingeFeatures([0.0, 0.0, 1.0]).gauge([0.0, 1.0, 1.0]) == np.inf


def test_an_optimal_unit_need_not_be_extreme():
    x, y = np.arange(4.0), np.array([0.0, 0.0, 1.0, 3.0])
    # slope 1 at kink 1 and slope 1 at kink 2, or slope 2 at kink 1.5: the same total, the same data
    assert HingeFeatures(x).gauge(y) == 2.0
    np.testing.assert_array_equal(2 * np.maximum(x - 1.5, 0), y)
    envelope = interpolant_envelope(x, y)
    middle = np.linspace(1, 2, 11)
    other = 2 * np.maximum(middle - 1.5, 0)
    assert np.all(envelope.lower(middle) <= other + 1e-12)
    assert np.all(other <= envelope.upper(middle) + 1e-12)
    assert envelope.upper([1.5])[0] > envelope.lower([1.5])[0]


@given(seeds, sizes, st.floats(1e-3, 1.5))
def test_fit_agrees_with_the_lasso_on_hinges_and_is_certified(seed, n, fraction):
    _, x, y = instance(seed, n)
    H = HingeFeatures(x)
    beta = fraction * H.support(H.project(y)).value
    if beta == 0:
        return
    fit = fit_spline(x, y, beta)
    assert fit.gap <= 1e-9 * fit.primal + 1e-14
    assert H.support(fit.Lambda).value <= beta
    assert fit.primal == pytest.approx(lasso(x, y, beta, x), rel=1e-6, abs=1e-9)
    if fraction >= 1:
        np.testing.assert_allclose(fit.predict(x), y.mean(), atol=1e-12)


@given(seeds, st.integers(3, 12), st.floats(0.01, 0.9), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_fit_is_equivariant(seed, n, fraction, a, b):
    _, x, y = instance(seed, n)
    H = HingeFeatures(x)
    beta = fraction * H.support(H.project(y)).value
    F = fit_spline(x, y, beta).predict(x)
    np.testing.assert_allclose(
        fit_spline(-a * x, b * y + 1, a * b * beta).predict(-a * x), b * F + 1, atol=1e-6 * b + 1e-6
    )


@given(seeds, st.integers(2, 9), st.floats(0.01, 0.9))
def test_weights_are_a_balanced_network_of_that_function_and_penalty(seed, n, fraction):
    _, x, y = instance(seed, n)
    H = HingeFeatures(x)
    fit = fit_spline(x, y, fraction * H.support(H.project(y)).value)
    W1, b1, W2, c = hinge_weights(fit)
    net = Network(((W1, W2),), "relu", (b1,), np.array([c]))
    t = np.linspace(x.min() - 1, x.max() + 1, 50)
    np.testing.assert_allclose(net.predict(t[:, None])[:, 0], fit.predict(t), atol=1e-9)
    assert net.penalty == pytest.approx(fit.penalty, rel=1e-9, abs=1e-12)


def test_twenty_thousand_points_are_fitted_exactly():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=20_000)
    y = np.sin(12 * x) + 0.2 * rng.normal(size=len(x))
    fit = fit_spline(x, y, 1.0)
    assert fit.gap <= 1e-10 * fit.primal
    assert HingeFeatures(x).support(fit.Lambda).value <= 1.0
    assert 5 < len(fit.knots) < 500


@pytest.mark.parametrize(
    ("x", "y", "beta", "error", "message"),
    [
        ([0.0, np.nan], [0.0, 1.0], 1.0, ValueError, "x must be finite"),
        ([0.0, 1.0], [0.0], 1.0, ValueError, "y must"),
        ([0.0, 1.0], [0.0, 1.0], -1.0, ValueError, "beta must be finite and >= 0"),
        ([[0.0, 1.0], [1.0, 2.0]], [0.0, 1.0], 1.0, NotCovered, "feature"),
        ([0.0, 1.0], [[0.0, 1.0], [1.0, 2.0]], 1.0, NotCovered, "column"),
    ],
)
def test_bad_input_names_the_argument(x, y, beta, error, message):
    with pytest.raises(error, match=message):
        fit_spline(x, y, beta)
