"""The scalar problem of depth, aligned factors, and scalar-output deep linear networks."""

from decimal import Decimal, localcontext

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from dualkit._validate import NotCovered
from dualkit.depth import (
    aligned_factors,
    depth_prox,
    depth_prox_value,
    jump_point,
    local_minimum_point,
    scalar_linear,
    schatten_power,
)

EPS = np.finfo(float).eps
depths = st.sampled_from([2, 3, 4, 5, 7, 10, 33, 1000])
deep = st.sampled_from([3, 4, 5, 8])
exponents = st.floats(-150, 150)
seeds = st.integers(0, 10**6)


def powers_of_ten(low, high):
    return st.floats(low, high).map(lambda e: 10.0**e)


def objective(s, sigma, beta, depth):
    return 0.5 * (s - sigma) ** 2 + beta * depth / 2 * s ** (2 / depth)


def reference_prox(sigma, beta, depth):
    """Argmin and minimum with 40 digits: bisection for the larger stationary point, compared with zero."""
    with localcontext(prec=40):
        sigma, beta, p = Decimal(sigma), Decimal(beta), Decimal(2) / depth
        at_zero = sigma**2 / 2
        if depth == 2:
            s = max(sigma - beta, Decimal(0))
            return s, (s - sigma) ** 2 / 2 + beta * s
        # s + beta s^(p-1) is smallest at low, increases to its right, and equals sigma at a stationary point
        low, high = (beta * (1 - p)) ** (1 / (2 - p)), sigma
        if sigma <= low or low + beta * low ** (p - 1) > sigma:
            return Decimal(0), at_zero
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if middle + beta * middle ** (p - 1) < sigma else (low, middle)
        value = (high - sigma) ** 2 / 2 + beta / p * high**p
        return (high, value) if value <= at_zero else (Decimal(0), at_zero)


# ---- the scalar problem


@settings(max_examples=60, deadline=None)
@given(log_beta=exponents, ratio=powers_of_ten(-1, 4), depth=depths)
def test_prox_agrees_with_forty_digits_at_every_scale(log_beta, ratio, depth):
    beta = 10.0**log_beta
    sigma = ratio * jump_point(beta, depth)[0]
    assume(abs(ratio - 1) > 1e-13)
    argmin, minimum = reference_prox(sigma, beta, depth)
    s = depth_prox(sigma, beta, depth)
    assert abs(Decimal(float(s)) - argmin) <= Decimal(4 * EPS) * argmin
    if 1e-140 < sigma < 1e150:  # outside, the value itself leaves the range of a double
        value = depth_prox_value(sigma, beta, depth)
        assert abs(Decimal(float(value)) - minimum) <= Decimal(6 * EPS) * minimum


@settings(max_examples=60, deadline=None)
@given(sigma=st.floats(0.01, 10), beta=st.floats(0.01, 10), depth=depths)
def test_prox_value_agrees_with_a_search_on_both_sides_of_the_fold(sigma, beta, depth):
    fold = min(local_minimum_point(beta, depth)[1], sigma)
    search = minimize_scalar(objective, bounds=(fold, sigma), args=(sigma, beta, depth), method="bounded",
                             options={"xatol": 1e-12})
    best = min(search.fun, *objective(np.linspace(0, fold, 50), sigma, beta, depth))
    value = float(depth_prox_value(sigma, beta, depth))
    assert value == pytest.approx(best, rel=1e-12)
    assert value == pytest.approx(objective(depth_prox(sigma, beta, depth), sigma, beta, depth), rel=1e-14)


@settings(max_examples=50, deadline=None)
@given(log_beta=exponents, depth=deep)
def test_the_jump_is_exact(log_beta, depth):
    beta = 10.0**log_beta
    sigma, s = jump_point(beta, depth)
    for distance in (1e-9, 1e-14):
        assert depth_prox(sigma * (1 - distance), beta, depth) == 0
        assert depth_prox(sigma * (1 + distance), beta, depth) >= s * (1 - 4 * EPS)
    assert depth_prox(sigma, beta, depth) == pytest.approx(s, rel=4 * EPS)
    assert s * (depth - 1) == pytest.approx(sigma * (depth - 2), rel=4 * EPS)
    with localcontext(prec=40):
        exact = (Decimal(beta) * (depth - 2)) ** (Decimal(depth) / (2 * depth - 2))
    assert abs(Decimal(s) - exact) <= Decimal(4 * EPS) * exact


@given(beta=powers_of_ten(-3, 3), depth=depths)
def test_zero_and_the_jump_tie(beta, depth):
    sigma, s = jump_point(beta, depth)
    assert objective(s, sigma, beta, depth) == pytest.approx(0.5 * sigma**2, rel=1e-13)
    assert depth_prox_value(sigma, beta, depth) == pytest.approx(0.5 * sigma**2, rel=1e-13)


def test_jump_points_known_by_hand():
    assert jump_point(16.0, 3) == (16.0, 8.0)  # beta^(3/4) and twice that
    assert jump_point(0.3, 2) == (0.3, 0.0)
    assert jump_point(0.0, 5) == (0.0, 0.0)
    assert jump_point(4.0, 4) == pytest.approx((6.0, 4.0))  # s = (2 beta)^(2/3)
    assert local_minimum_point(3.0, 3) == pytest.approx((4.0, 1.0))
    assert local_minimum_point(0.3, 2) == (0.3, 0.0)


@given(beta=powers_of_ten(-3, 3), depth=deep)
def test_local_minima_appear_at_the_fold_before_the_jump(beta, depth):
    sigma_c, s_c = local_minimum_point(beta, depth)
    s = s_c * np.geomspace(1e-3, 1e3, 4001)  # s_c in the middle
    balance = s + beta * s ** (2 / depth - 1)  # sigma makes s stationary exactly when it equals this
    assert np.argmin(balance) == 2000
    assert balance.min() == pytest.approx(sigma_c, rel=1e-13)
    assert sigma_c < jump_point(beta, depth)[0]
    sigma = 1.01 * sigma_c
    values = objective(s[s < sigma], sigma, beta, depth)
    interior = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])) + 1
    assert len(interior) == 1
    assert s[interior[0]] > s_c
    assert np.all(np.diff(objective(s, 0.99 * sigma_c, beta, depth)) > 0)


@settings(deadline=None)
@given(ratio=st.floats(1.01, 100), beta=powers_of_ten(-3, 3), depth=deep)
def test_zero_stays_a_strict_local_minimum_behind_a_maximum(ratio, beta, depth):
    sigma = ratio * local_minimum_point(beta, depth)[0]
    fit = scalar_linear([[1.0]], [sigma], beta, depth)
    assert fit.is_minimum.tolist() == [True, False]
    top = fit.stationary[1, 0]
    assert np.all(np.diff(objective(top * np.linspace(0, 0.95, 20), sigma, beta, depth)) > 0)
    assert fit.values[1] == pytest.approx(objective(top, sigma, beta, depth), rel=1e-12)
    assert objective(1.01 * top, sigma, beta, depth) < fit.values[1] * (1 + 1e-14)


@given(sigma=st.lists(st.floats(-10, 10), min_size=1, max_size=6), beta=st.floats(0, 5))
def test_two_layers_shrink_and_obey_moreau(sigma, beta):
    sigma = np.array(sigma)
    s = depth_prox(sigma, beta, 2)
    assert np.array_equal(s, np.maximum(sigma - beta, 0))
    # the prox of the conjugate, the indicator of (-inf, beta], is the projection
    np.testing.assert_allclose(s + np.minimum(sigma, beta), sigma, rtol=0, atol=1e-14)


@given(scale=powers_of_ten(-100, 100), ratio=st.floats(0.1, 50), beta=powers_of_ten(-2, 2), depth=depths)
@example(scale=1e100, ratio=1.0 + 1e-9, beta=1.0, depth=3)
def test_scaling_identity(scale, ratio, beta, depth):
    assume(abs(ratio - 1) > 1e-10)
    sigma = ratio * jump_point(beta, depth)[0]
    scaled = depth_prox(scale * sigma, scale ** (2 - 2 / depth) * beta, depth)
    assert scaled == pytest.approx(scale * depth_prox(sigma, beta, depth), rel=1e-11)


@given(points=st.lists(st.floats(-3, 30), min_size=2, max_size=30), beta=st.floats(0, 5), depth=depths)
def test_prox_is_monotone_and_between_zero_and_sigma(points, beta, depth):
    sigma = np.sort(points)
    s = depth_prox(sigma, beta, depth)
    assert np.all(np.diff(s) >= -1e-14 * np.abs(sigma).max())
    assert np.all((s >= 0) & (s <= np.maximum(sigma, 0)))
    assert np.all(depth_prox(sigma, beta + 1, depth) <= s)


@given(sigma=st.floats(1e-3, 1e3), depth=deep)
def test_large_weight_decay_switches_off_exactly(sigma, depth):
    # beta at which sigma = sigma_star
    beta = (sigma * (depth - 2) / (depth - 1)) ** (2 - 2 / depth) / (depth - 2)
    assert depth_prox(sigma, beta * (1 + 1e-12), depth) == 0
    assert depth_prox(sigma, beta * (1 - 1e-12), depth) > 0.4 * sigma
    assert depth_prox_value(sigma, 2 * beta, depth) == 0.5 * sigma**2


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_prox_shapes_and_edge_values(depth):
    sigma = np.array([[-2.0, 0.0, 1.5], [4.0, 1e-300, 1e300]])
    assert np.array_equal(depth_prox(sigma, 0.0, depth), np.maximum(sigma, 0))
    assert depth_prox(sigma, 1.0, depth).shape == sigma.shape
    assert np.ndim(depth_prox(3.0, 1.0, depth)) == 0
    assert depth_prox(1e300, 1e-300, depth) == 1e300
    assert depth_prox(1e-300, 1e300, depth) == 0
    assert depth_prox_value(-3.0, 1.0, depth) == 4.5
    assert sigma[0, 0] == -2.0  # the argument is left alone


def test_jump_of_enormous_depth_stays_finite():
    sigma, s = jump_point(1e308, 10**12)
    assert 1e160 < s <= sigma < 1.001e160


# ---- Schatten power and aligned factors


def low_rank(seed, d, K, rank):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(d, rank)) @ rng.normal(size=(rank, K))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, shape=st.tuples(*[st.integers(1, 6)] * 3), depth=st.integers(2, 6), random=st.booleans())
def test_aligned_factors_multiply_back_balanced_at_least_cost(seed, shape, depth, random):
    d, K, rank = shape
    W = low_rank(seed, d, K, min(shape))
    rank, size = np.linalg.matrix_rank(W), np.linalg.norm(W, 2)
    widths = np.random.default_rng(seed).integers(rank, rank + 3, depth - 1).tolist()
    factors = aligned_factors(W, depth, widths, seed if random else None)
    assert [A.shape for A in factors] == list(zip([d, *widths], [*widths, K], strict=True))
    product = factors[0] if depth == 1 else np.linalg.multi_dot(factors)
    np.testing.assert_allclose(product, W, atol=1e-12 * size)
    penalty = 0.5 * sum(np.sum(A**2) for A in factors)
    assert penalty == pytest.approx(depth / 2 * schatten_power(W, depth), rel=1e-11)
    for left, right in zip(factors, factors[1:], strict=False):  # balanced, hence aligned
        np.testing.assert_allclose(left.T @ left, right @ right.T, atol=1e-11 * size ** (2 / depth))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, depth=st.integers(2, 5))
def test_no_factorisation_is_cheaper_than_the_schatten_power(seed, depth):
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 5, depth + 1)
    factors = [rng.normal(size=shape) for shape in zip(widths[:-1], widths[1:], strict=True)]
    cost = 0.5 * sum(np.sum(A**2) for A in factors)
    assert depth / 2 * schatten_power(np.linalg.multi_dot(factors), depth) <= cost * (1 + 1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, depth=depths)
def test_schatten_power_ignores_rounding_noise_and_rotations(seed, depth):
    W = low_rank(seed, 30, 20, 1)
    exact = np.linalg.norm(W) ** (2 / depth)  # the noise of rank one, to the power 2/1000, would add up to 19
    assert schatten_power(W, depth) == pytest.approx(exact, rel=1e-12)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(30, 30)))[0]
    assert schatten_power(Q @ W, depth) == pytest.approx(exact, rel=1e-12)


def test_schatten_power_by_hand():
    assert schatten_power(np.diag([8.0, 27.0, 0.0]), 3) == pytest.approx(13.0)
    assert schatten_power([3.0, 4.0], 2) == pytest.approx(5.0)
    assert schatten_power(np.zeros((2, 3)), 4) == 0


def test_aligned_factors_of_zero_of_a_vector_and_free_frames():
    assert all(not A.any() for A in aligned_factors(np.zeros((3, 2)), 3))
    assert [A.shape for A in aligned_factors(np.zeros((3, 2)), 3)] == [(3, 1), (1, 1), (1, 2)]
    w = np.array([3.0, 4.0])
    np.testing.assert_allclose(np.linalg.multi_dot(aligned_factors(w, 4, 5))[:, 0], w)
    plain, drawn = aligned_factors(np.eye(2), 3, 4), aligned_factors(np.eye(2), 3, 4, rng=0)
    np.testing.assert_allclose(plain[1], np.diag([1.0, 1.0, 0.0, 0.0]), atol=1e-15)
    assert np.linalg.norm(drawn[1] - plain[1]) > 0.1


# ---- scalar-output deep linear networks


def regression(seed, n, d, spread=1.0):
    """Data whose singular values span `spread` decades, and labels of unit length."""
    rng = np.random.default_rng(seed)
    r = min(n, d)
    U, V = (np.linalg.qr(rng.normal(size=(k, r)))[0] for k in (n, d))
    y = rng.normal(size=n)
    return (U * 10.0 ** -np.sort(rng.uniform(0, spread, r))) @ V.T, y / np.linalg.norm(y)


def training_value(w, X, y, beta, depth):
    return 0.5 * np.sum((X @ w - y) ** 2) + beta * depth / 2 * np.sum(w**2) ** (1 / depth)


shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
fractions = st.floats(0.01, 1.3)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, shape=shapes, fraction=fractions, depth=st.integers(2, 6), spread=st.floats(0, 3))
def test_stationary_points_solve_the_equation_and_curvature_flags_them(seed, shape, fraction, depth, spread):
    X, y = regression(seed, *shape, spread)
    beta = fraction * np.linalg.norm(X.T @ y)
    fit = scalar_linear(X, y, beta, depth)
    p = 2 / depth
    for w, value, is_minimum in zip(fit.stationary, fit.values, fit.is_minimum, strict=True):
        tau = np.linalg.norm(w)
        gradient = X.T @ (X @ w - y) + beta * tau ** (p - 2) * w
        assert np.linalg.norm(gradient) <= 1e-12 * (np.linalg.norm(X.T @ y) + beta * tau ** (p - 1))
        assert value == pytest.approx(training_value(w, X, y, beta, depth), rel=1e-13)
        unit = w / tau
        bend = beta * tau ** (p - 2) * (np.eye(len(w)) - (2 - p) * np.outer(unit, unit))
        lowest = np.linalg.eigvalsh(X.T @ X + bend)[0]
        scale = np.linalg.norm(X, 2) ** 2 + beta * tau ** (p - 2)
        assert is_minimum == (lowest > 0) or abs(lowest) <= 1e-9 * scale
    assert np.all(np.diff(np.linalg.norm(fit.stationary, axis=1)) <= 0)
    at_zero = 0.5 * y @ y
    assert fit.value == pytest.approx(min([at_zero, *fit.values]), rel=1e-14)
    assert fit.value == pytest.approx(training_value(fit.w, X, y, beta, depth), rel=1e-13)


def secular_curve(log_mu, s, c, q):
    """log of mu tau(mu)^q on a grid."""
    return log_mu + q / 2 * np.log(np.sum((s * c / (s**2 + np.exp(log_mu)[:, None])) ** 2, axis=1))


@settings(max_examples=60, deadline=None)
@given(seed=seeds, d=st.integers(1, 6), depth=deep, below=st.floats(0.001, 0.5))
def test_every_root_of_a_fine_grid_is_found(seed, d, depth, below):
    rng = np.random.default_rng(seed)
    s, q = 10.0 ** -np.sort(rng.uniform(0, 4, d)), 2 - 2 / depth
    c = s ** (1 - 2 / q) * 10 ** rng.uniform(-0.25, 0.25, d)  # humps of similar height: many local minima
    log_mu = np.linspace(2 * np.log(s[-1]) - 8, 8, 20001)
    curve = secular_curve(log_mu, s, c, q)
    level = curve.max() - below
    turns = curve[1:-1][(curve[1:-1] - curve[:-2]) * (curve[2:] - curve[1:-1]) < 0]
    assume(np.abs(turns - level).min(initial=np.inf) > 1e-5)
    fit = scalar_linear(np.diag(s), c, float(np.exp(level)), depth)
    found = level - q * np.log(np.linalg.norm(fit.stationary, axis=1))
    inside = (found > log_mu[0]) & (found < log_mu[-1])
    i = np.flatnonzero((curve[1:] >= level) != (curve[:-1] >= level))
    assert inside.sum() == len(i)
    assert np.all((log_mu[i] - 1e-9 <= found[inside]) & (found[inside] <= log_mu[i + 1] + 1e-9))
    assert np.array_equal(fit.is_minimum[inside], curve[i + 1] >= level)


@settings(max_examples=12, deadline=None)
@given(seed=seeds, shape=st.tuples(st.integers(2, 5), st.integers(2, 4)), fraction=st.floats(0.05, 0.6),
       depth=deep)
def test_no_descent_from_many_starts_is_better(seed, shape, fraction, depth):
    X, y = regression(seed, *shape)
    beta = fraction * np.linalg.norm(X.T @ y)
    fit = scalar_linear(X, y, beta, depth)

    def value_and_gradient(w):
        residual, tau = X @ w - y, np.linalg.norm(w)
        slope = beta * tau ** (2 / depth - 1)
        return training_value(w, X, y, beta, depth), X.T @ residual + slope * w / tau

    rng = np.random.default_rng(seed)
    directions = [X.T @ y, np.linalg.pinv(X) @ y, *rng.normal(size=(4, X.shape[1]))]
    starts = [size * v / np.linalg.norm(v) for v in directions for size in (0.1, 1, 5)]
    reached = [minimize(value_and_gradient, w, jac=True, method="L-BFGS-B").fun for w in starts]
    assert fit.value <= min(reached) + 1e-12
    assert fit.value == pytest.approx(min(*reached, 0.5 * y @ y), rel=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
@pytest.mark.parametrize("fraction", [0.02, 0.4, 0.95, 1.05])
def test_two_layers_against_cvxpy(shape, fraction):
    X, y = regression(3, *shape)
    beta = fraction * np.linalg.norm(X.T @ y)
    w = cp.Variable(shape[1])
    loss = 0.5 * cp.sum_squares(X @ w - y) + beta * cp.norm(w, 2)
    optimum = cp.Problem(cp.Minimize(loss)).solve(solver="CLARABEL")
    fit = scalar_linear(X, y, beta, 2)
    assert fit.value == pytest.approx(optimum, rel=1e-7)
    np.testing.assert_allclose(fit.w, w.value, atol=1e-4)
    assert fit.w.any() == (fraction < 1)


@pytest.mark.parametrize("scale", [1e-120, 1.0, 1e120])
def test_two_layers_vanish_exactly_at_the_threshold(scale):
    X, y = np.eye(2), scale * np.array([3.0, 4.0])  # ||X^T y|| = 5 without rounding
    beta = float(np.linalg.norm(y))
    assert not scalar_linear(X, y, beta, 2).w.any()
    assert not scalar_linear(X, y, beta * (1 + EPS), 2).w.any()
    fit = scalar_linear(X, y, beta * (1 - 1e-6), 2)
    assert np.linalg.norm(fit.w) == pytest.approx(1e-6 * beta, rel=1e-7)


@given(seed=seeds)
def test_two_layers_keep_zero_at_the_threshold_of_any_data_and_leave_it_below(seed):
    X, y = regression(seed, 4, 3)
    beta = float(np.linalg.norm(X.T @ y))
    assert not scalar_linear(X, y, beta, 2).w.any()
    for below in (np.nextafter(beta, 0), beta * (1 - 1e-15)):  # rounding decides, and must not break
        assert np.linalg.norm(scalar_linear(X, y, float(below), 2).w) < 1e-12
    assert scalar_linear(X, y, beta * (1 - 1e-12), 2).w.any()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, log_beta=st.floats(-60, 60), ratio=powers_of_ten(-0.5, 2), depth=st.integers(2, 7))
@example(seed=0, log_beta=0.0, ratio=1 + 1e-9, depth=3)
@example(seed=0, log_beta=40.0, ratio=1 - 1e-9, depth=5)
def test_whitened_data_reduce_to_the_scalar_problem(seed, log_beta, ratio, depth):
    assume(abs(ratio - 1) > 1e-10)
    rng, beta = np.random.default_rng(seed), 10.0**log_beta
    X = np.linalg.qr(rng.normal(size=(6, 3)))[0]
    u = rng.normal(size=3)
    sigma = ratio * jump_point(beta, depth)[0]
    y = sigma * X @ u / np.linalg.norm(u)
    fit = scalar_linear(X, y, beta, depth)
    np.testing.assert_allclose(fit.w, depth_prox(sigma, beta, depth) * u / np.linalg.norm(u),
                               rtol=1e-12, atol=1e-14 * sigma)
    roots = 1 if depth == 2 else 2  # for depth > 2 a maximum comes with the minimum
    assert len(fit.values) == roots * (sigma > local_minimum_point(beta, depth)[0])


def test_several_positive_local_minima_the_middle_one_global():
    """Three scales of the data give three non-zero minima besides zero; the best is neither end."""
    X, y, beta, depth = np.diag([100.0, 10.0, 1.0]), np.array([1.0, 3.0, 10.0]), 10.0, 3
    fit = scalar_linear(X, y, beta, depth)
    assert fit.is_minimum.tolist() == [True, False] * 3
    minima = fit.values[::2]
    assert np.argmin(minima) == 1
    assert fit.value == minima[1] < 0.5 * y @ y < minima[2] < minima[0]
    # A path of descent from each perturbed minimum comes back to it: they are minima of the full problem.
    for w, value in zip(fit.stationary[::2], minima, strict=True):
        end = minimize(lambda v: training_value(v, X, y, beta, depth), w * [1.01, 0.98, 1.01], method="BFGS",
                       options={"gtol": 1e-6})
        assert end.fun == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(end.x, w, rtol=1e-2)


def test_the_optimum_jumps_twice_as_weight_decay_grows():
    X, y = np.diag([10.0, 1.0]), np.array([1.0, 3.0])
    betas = np.linspace(1.5, 2.5, 41)
    norms = np.array([np.linalg.norm(scalar_linear(X, y, beta, 3).w) for beta in betas])
    assert np.all(np.diff(norms) <= 0)
    assert len(scalar_linear(X, y, 2.0, 3).values) == 4
    assert np.sum(norms[1:] < 0.5 * norms[:-1]) == 2
    assert norms[-1] == 0


@settings(max_examples=30, deadline=None)
@given(seed=seeds, shape=shapes, rank=st.integers(1, 7), depth=st.integers(2, 6))
def test_no_weight_decay_gives_the_least_norm_fit_and_is_the_limit(seed, shape, rank, depth):
    X = low_rank(seed, *shape, min(rank, *shape))
    y = np.random.default_rng(seed + 1).normal(size=shape[0])
    w = np.linalg.pinv(X, rcond=1e-12) @ y
    np.testing.assert_allclose(scalar_linear(X, y, 0.0, depth).w, w, rtol=1e-8, atol=1e-8 * np.linalg.norm(w))
    near = scalar_linear(X, y, 1e-14 * np.linalg.norm(X.T @ y), depth).w
    np.testing.assert_allclose(near, w, rtol=1e-4, atol=1e-4 * np.linalg.norm(w))


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_degenerate_data(depth, beta):
    y = np.array([1.0, 2.0, -2.0])
    nothing = scalar_linear(np.zeros((3, 2)), y, beta, depth)
    assert not nothing.w.any()
    assert nothing.value == 4.5
    assert nothing.stationary.shape == (0, 2)
    orthogonal = scalar_linear(np.array([[2.0], [-1.0], [0.0]]), y, beta, depth)
    np.testing.assert_allclose(orthogonal.w, 0, atol=1e-15)
    assert orthogonal.value == 4.5
    assert not orthogonal.w.any() or beta == 0
    twin = scalar_linear(np.ones((3, 2)), np.ones(3), beta, depth)  # two equal columns share the weight
    assert twin.w[0] == pytest.approx(twin.w[1], rel=1e-14)
    assert twin.w[0] > 0


def test_many_exact_ties_of_scale_do_not_stall_the_search():
    # at sigma = sigma_c two roots merge; nothing to find there, and no minimum is missed
    for depth in (3, 4, 7):
        sigma = local_minimum_point(1.0, depth)[0]
        fit = scalar_linear([[1.0]], [sigma], 1.0, depth)
        assert fit.value == 0.5 * sigma**2
        assert not fit.w.any()


@settings(max_examples=20, deadline=None)
@given(seed=seeds, shape=shapes, fraction=fractions, depth=st.integers(2, 5), log_scale=st.floats(-60, 60))
def test_rescaled_data_and_rotations_give_rescaled_optima(seed, shape, fraction, depth, log_scale):
    X, y = regression(seed, *shape)
    beta, a = fraction * np.linalg.norm(X.T @ y), 10.0**log_scale
    fit = scalar_linear(X, y, beta, depth)
    # w -> w / a in X, then y -> a y
    scaled = scalar_linear(a * X, y, beta * a ** (2 / depth), depth)
    assert scaled.value == pytest.approx(fit.value, rel=1e-11)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(shape[1],) * 2))[0]
    turned = scalar_linear(X @ Q, y, beta, depth)
    assert turned.value == pytest.approx(fit.value, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, fraction=st.floats(0.05, 0.9), depth=st.integers(2, 5))
def test_the_value_is_that_of_the_trained_factors(seed, fraction, depth):
    X, y = regression(seed, 5, 4)
    beta = fraction * np.linalg.norm(X.T @ y)
    fit = scalar_linear(X, y[:, None], beta, depth)
    assert fit.w.shape == (4, 1)
    layers = aligned_factors(fit.w, depth, 3, seed)
    output = X @ np.linalg.multi_dot(layers)
    value = 0.5 * np.sum((output[:, 0] - y) ** 2) + 0.5 * beta * sum(np.sum(W**2) for W in layers)
    assert value == pytest.approx(fit.value, rel=1e-12)


# ---- arguments


@pytest.mark.parametrize(("function", "arguments", "message"), [
    (depth_prox, ([1.0, np.nan], 1.0, 3), "sigma must be finite, found nan"),
    (depth_prox, (1.0, -1.0, 3), "beta must be finite and >= 0, found -1.0"),
    (depth_prox_value, (1.0, np.inf, 3), "beta must be finite"),
    (jump_point, (-1e-300, 3), "beta must be"),
    (jump_point, (1.0, 1), "depth must be at least 2, found 1"),
    (local_minimum_point, (1.0, 0), "depth must be at least 2"),
    (schatten_power, ([[np.inf]], 3), "W must be finite"),
    (schatten_power, ([[1.0]], 1), "depth must be"),
    (aligned_factors, (np.eye(3), 3, 2), r"width must be at least rank\(W\) = 3, found 2"),
    (aligned_factors, (np.eye(3), 3, [3, 2]), r"width must be at least rank\(W\) = 3, found 2"),
    (aligned_factors, (np.eye(3), 3, [3]), "width must hold depth - 1 = 2 hidden widths, found 1"),
    (scalar_linear, (np.eye(3), np.ones(2), 1.0, 3), "y must have as many rows as X"),
    (scalar_linear, (np.ones(3), np.ones(3), 1.0, 3), "X must be 2-D"),
    (scalar_linear, (np.eye(3), np.ones(3), -1.0, 3), "beta must be"),
])
def test_bad_values_are_refused_by_name(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize(("function", "arguments", "message"), [
    (depth_prox, (1.0, 1.0, 2.5), "depth must be an integer"),
    (jump_point, ("1", 3), "beta must be a real number"),
    (aligned_factors, (np.eye(3), 3, 3.0), "width must be an integer"),
    (aligned_factors, (np.eye(3), 3, None, 0.5), "rng must be"),
])
def test_bad_types_are_refused_by_name(function, arguments, message):
    with pytest.raises(TypeError, match=message):
        function(*arguments)


def test_several_outputs_are_not_covered():
    with pytest.raises(NotCovered, match="one column, found 2"):
        scalar_linear(np.eye(3), np.ones((3, 2)), 1.0, 3)
