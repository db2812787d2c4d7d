"""Whitened data, ReLU: support function, gauge and networks against enumeration, cvxpy and training."""

from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from dualkit._level import best_level
from dualkit._validate import NotCovered
from dualkit.data import random_whitened_rows
from dualkit.depth import depth_prox_value
from dualkit.losses import Loss, MarginLoss, get_loss
from dualkit.networks import Network
from dualkit.training import parallel_network, train
from dualkit.whitened import (
    WhitenedReLUFeatures,
    _planar_maximiser,
    optimal_atoms,
    relu_network,
    row_directions,
    standard_lower_bound,
    value_bounds,
    whitened_relu_network,
)

seeds = st.integers(0, 2**32 - 1)
depths = st.integers(2, 6)
KINDS = ["scalar", "one line", "one-hot", "orthonormal", "mixed sign", "simplex", "obtuse"]


def labels(kind, seed, n=7, K=3):
    """Labels without acute angles between rows; the kinds up to "orthonormal" are covered at every depth."""
    rng = np.random.default_rng(seed)
    weight, member = rng.uniform(0.5, 2.0, n)[:, None], rng.integers(0, K, n)
    if kind == "scalar":
        return rng.normal(size=n)
    if kind == "one line":
        return rng.normal(size=(n, 1)) * rng.normal(size=K)
    if kind == "one-hot":
        return np.eye(K)[member]
    if kind == "orthonormal":
        return weight * np.linalg.qr(rng.normal(size=(K, K)))[0][member]
    if kind == "mixed sign":
        return weight * np.eye(K)[member] * rng.choice([-1, 1], (n, 1))
    if kind == "simplex":
        return weight * (np.eye(K) - 1 / K)[member]
    # Two directions at more than 90 degrees in a plane, and a third, of both signs, orthogonal to them.
    directions = np.array([[1.0, 0.0, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, rng.choice([-1, 1])]])
    return weight * directions[member] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]


def objective(network, X, Y, beta, loss="squared"):
    return get_loss(loss).value(network.predict(X), np.reshape(Y, (len(X), -1))) + beta * network.penalty


def random_features(n, rng, count=200):
    H = np.maximum(rng.normal(size=(n, count)), 0)
    return H / np.maximum(np.linalg.norm(H, axis=0), 1e-300)


def enumerated_support(Lambda):
    """The exact support: at the maximiser with active set S, h_S leads M_SS and has one sign."""
    M, best = Lambda @ Lambda.T, 0.0
    for size in range(1, len(M) + 1):
        for S in combinations(range(len(M)), size):
            values, vectors = np.linalg.eigh(M[np.ix_(S, S)])
            if np.all(vectors[:, -1] >= 0) or np.all(vectors[:, -1] <= 0):
                best = max(best, values[-1])
    return np.sqrt(best)


# ---- support function


@given(seeds, st.integers(1, 6), st.integers(1, 4), st.sampled_from([1e-200, 1.0, 1e200]))
def test_the_bounds_hold_and_the_lower_one_is_attained(seed, n, K, scale):
    rng = np.random.default_rng(seed)
    X, Lambda = random_whitened_rows(n, n + 1, rng), rng.normal(size=(n, K))
    found, upper = WhitenedReLUFeatures(X).support_bounds(scale * Lambda)
    exact = enumerated_support(Lambda)
    assert found.value / scale <= exact * (1 + 1e-12) and exact <= upper / scale * (1 + 1e-12)
    assert upper <= scale * np.linalg.norm(Lambda, 2) * (1 + 1e-12)
    assert np.linalg.norm(found.unit) == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(np.maximum(X @ found.unit, 0), found.feature, atol=1e-12)
    np.testing.assert_allclose(Lambda.T @ found.feature, found.value / scale * found.output, atol=1e-12)
    assert np.linalg.norm(Lambda.T @ random_features(n, rng), axis=0).max() <= upper / scale * (1 + 1e-12)


@given(seeds, st.integers(1, 7), st.integers(1, 4))
def test_it_is_exact_for_rank_up_to_two(seed, n, K):
    rng = np.random.default_rng(seed)
    Lambda = rng.normal(size=(n, 2)) @ rng.normal(size=(2, K))
    if seed % 3 == 0:  # repeated, opposite and zero rows
        Lambda[rng.integers(n)] = -Lambda[0]
        Lambda[rng.integers(n)] = 0
    value = WhitenedReLUFeatures(np.eye(n)).support(Lambda).value
    assert value == pytest.approx(enumerated_support(Lambda), rel=1e-10, abs=1e-12)


@given(seeds, st.integers(1, 9))
def test_one_output_has_the_norms_of_both_parts(seed, n):
    lam = np.random.default_rng(seed).normal(size=n)
    H = WhitenedReLUFeatures(np.eye(n))
    expected = np.sqrt(max(np.sum(lam[lam > 0] ** 2), np.sum(lam[lam < 0] ** 2)))
    assert H.support(lam).value == pytest.approx(expected, rel=1e-13)
    assert H.support(np.outer(lam, [0.6, 0.0, -0.8])).value == pytest.approx(expected, rel=1e-10)


def test_the_ascent_nearly_always_ends_at_the_maximum_and_the_interval_is_narrow():
    ratios = []
    for seed in range(20):
        Lambda = np.random.default_rng(seed).normal(size=(7, 4))
        found, upper = WhitenedReLUFeatures(np.eye(7)).support_bounds(Lambda)
        ratios.append((found.value / enumerated_support(Lambda), upper / found.value))
    lower, width = np.array(ratios).T
    assert np.mean(lower > 1 - 1e-10) >= 0.9 and lower.min() > 0.95
    assert width.max() < 1.15


@pytest.mark.parametrize("seed", [11, 12])
def test_no_random_start_ascends_higher(seed):
    rng = np.random.default_rng(seed)
    Lambda = rng.normal(size=(30, 5))
    H = random_features(30, rng, 300)
    for _ in range(60):
        H = np.maximum(Lambda @ (Lambda.T @ H), 0)
        H /= np.linalg.norm(H, axis=0)
    best = np.linalg.norm(Lambda.T @ H, axis=0).max()
    assert WhitenedReLUFeatures(np.eye(30)).support_bounds(Lambda)[0].value >= best * (1 - 1e-12)


@given(seeds, st.integers(1, 7), st.integers(1, 2))
def test_the_maximum_over_one_angle_is_exact(seed, n, K):
    P = np.random.default_rng(seed).normal(size=(n, K))
    if seed % 3 == 0:
        P = np.round(P)  # ties between angles
    assert np.linalg.norm(_planar_maximiser(P)) == pytest.approx(enumerated_support(P), rel=1e-12, abs=1e-12)


def test_where_the_bounds_differ_both_are_reported():
    H, Lambda = WhitenedReLUFeatures(np.eye(6)), np.random.default_rng(0).normal(size=(6, 3))
    lower, upper = H.support_bounds(Lambda)
    with pytest.raises(NotCovered, match="NP-hard") as error:
        H.support(Lambda)
    assert repr(lower.value) in str(error.value) and repr(upper) in str(error.value)


def test_nearly_equal_classes_slow_the_ascent_but_features_stay_in_the_unit_ball():
    Lambda = np.array([[1.0, 0.0, 0.0], [0.0, 1.0 + 1e-5, 0.0], [0.0, 0.0, 1.0 + 2e-5]]) + 1e-9
    found = WhitenedReLUFeatures(np.eye(3)).support(Lambda)
    assert np.linalg.norm(found.feature) == pytest.approx(1, rel=1e-14)
    assert found.value == pytest.approx(np.linalg.norm(Lambda, 2), rel=1e-10)


def test_a_zero_dual_variable_has_zero_support():
    found = WhitenedReLUFeatures(np.eye(3)).support(np.zeros((3, 4)))
    assert found.value == 0 and np.linalg.norm(found.feature) == np.linalg.norm(found.output) == 1


# ---- gauge


@given(seeds, st.sampled_from(KINDS))
def test_gauge_and_support_are_polar(seed, kind):
    F, rng = labels(kind, seed), np.random.default_rng(seed)
    H = WhitenedReLUFeatures(random_whitened_rows(7, 9, rng))
    y, V = row_directions(F)
    np.testing.assert_allclose(y @ V, F.reshape(7, -1), atol=1e-12)
    Lambda = (y / np.linalg.norm(y, axis=0)) @ V
    assert H.support(Lambda).value == pytest.approx(1, rel=1e-10)
    assert np.vdot(Lambda, F) == pytest.approx(H.gauge(F), rel=1e-12)
    other = rng.normal(size=F.shape)
    assert abs(np.vdot(other, F)) <= H.gauge(F) * H.support_bounds(other)[1] * (1 + 1e-10)


@given(seeds)
def test_special_gauges(seed):
    H, f, Y = WhitenedReLUFeatures(np.eye(7)), labels("scalar", seed), labels("mixed sign", seed)
    assert H.gauge(np.abs(Y)) == pytest.approx(np.linalg.norm(Y, "nuc"), rel=1e-12)
    assert H.gauge(f) == pytest.approx(np.linalg.norm(f[f > 0]) + np.linalg.norm(f[f < 0]), rel=1e-13)
    assert H.gauge(Y) == pytest.approx(sum(H.gauge(column) for column in Y.T), rel=1e-12)


def test_scalar_gauge_against_cvxpy():
    f = np.array([1.0, -2.0, 0.5, 3.0, -0.1])
    p, q = cp.Variable(5, nonneg=True), cp.Variable(5, nonneg=True)
    value = cp.Problem(cp.Minimize(cp.norm(p) + cp.norm(q)), [p - q == f]).solve(solver="CLARABEL")
    assert WhitenedReLUFeatures(np.eye(5)).gauge(f) == pytest.approx(value, rel=1e-7)


def test_rows_at_an_acute_angle_have_no_closed_gauge():
    assert row_directions([[1.0, 0.0], [1.0, 1e-6]]) is None
    assert row_directions(np.random.default_rng(0).normal(size=(9, 2))) is None
    # Equal up to 1e-12, and zero compared with the longest.
    assert row_directions([[1.0, 0.0], [1e6, 1e-6], [1e-20, 1e-20]]) is not None
    with pytest.raises(NotCovered, match="acute angle"):
        WhitenedReLUFeatures(np.eye(2)).gauge([[1.0, 0.0], [1.0, 1.0]])


# ---- squared loss


@given(seeds, st.sampled_from(KINDS), depths, st.floats(-3, 1))
def test_the_network_has_the_objective_returned_and_balanced_layers(seed, kind, depth, log_beta):
    X, Y, beta = random_whitened_rows(7, 8, seed), labels(kind, seed), 10.0**log_beta
    V = row_directions(Y)[1]
    if depth > 2 and np.linalg.matrix_rank(V) > 1 and not np.allclose(V @ V.T, np.eye(len(V))):
        with pytest.raises(NotCovered, match="upper bound"):
            whitened_relu_network(X, Y, beta, depth)
        return
    network, value, _ = whitened_relu_network(X, Y, beta, depth)
    assert value == pytest.approx(objective(network, X, Y, beta), rel=1e-12)
    assert network.depth == depth
    for branch in network.branches:
        norms = [np.linalg.norm(W) for W in branch]
        np.testing.assert_allclose(norms, norms[0], rtol=1e-12)
    assert standard_lower_bound(Y, beta, depth) <= value * (1 + 1e-12)
    assert value <= 0.5 * np.sum(Y**2) * (1 + 1e-12)


@given(seeds, st.sampled_from(KINDS), st.floats(-3, 1))
def test_the_duality_gap_closes_at_depth_two(seed, kind, log_beta):
    X, Y, beta = random_whitened_rows(7, 7, seed), labels(kind, seed), 10.0**log_beta
    network, value, _ = whitened_relu_network(X, Y, beta)
    residual = Y - network.predict(X).reshape(Y.shape)
    assert WhitenedReLUFeatures(X).support(residual).value <= beta * (1 + 1e-10)
    assert get_loss("squared").dual_value(residual, Y) == pytest.approx(value, rel=1e-12)


def unconstrained_features(Y, beta, depth, units, seed):
    """Train F = relu(H) diag(g)^(L-2) W with decay on H, W and g: parallel networks on whitened data."""
    n, K = Y.shape
    rng = np.random.default_rng(seed)

    def value_and_gradient(v):
        H, W, g = v[:n * units].reshape(n, units), v[n * units:-units].reshape(units, K), v[-units:]
        A, G = np.maximum(H, 0), g ** (depth - 2)
        R = A * G @ W - Y
        slope = (depth - 2) * (np.sum(A * (R @ W.T), axis=0) * g ** max(depth - 3, 0) + beta * g)
        gradient = [(R @ W.T * G * (H > 0) + beta * H).ravel(), ((A * G).T @ R + beta * W).ravel(), slope]
        decay = v[:-units] @ v[:-units] + (depth - 2) * g @ g
        return 0.5 * np.sum(R**2) + beta / 2 * decay, np.concatenate(gradient)

    start = np.concatenate([1.2 * rng.normal(size=units * (n + K)), 1 + np.abs(rng.normal(size=units)) / 2])
    return minimize(value_and_gradient, start, jac=True, method="L-BFGS-B",
                    options={"maxiter": 1000, "maxcor": 30, "ftol": 1e-15, "gtol": 1e-10}).fun


@pytest.mark.parametrize(("kind", "depth", "beta"), [
    ("scalar", 2, 0.5), ("scalar", 3, 0.3), ("scalar", 4, 0.2), ("one line", 3, 0.2), ("one-hot", 2, 0.4),
    ("one-hot", 3, 0.3), ("one-hot", 4, 0.2), ("orthonormal", 2, 0.5), ("orthonormal", 3, 0.2),
    ("mixed sign", 2, 0.3), ("simplex", 2, 0.2), ("obtuse", 2, 0.3)])
def test_training_unconstrained_features_ends_at_the_closed_form_and_never_below(kind, depth, beta):
    Y = labels(kind, 5)
    Y = Y.reshape(len(Y), -1)
    value = optimal_atoms(Y, beta, depth, "squared")[3]
    reached = np.array([unconstrained_features(Y, beta, depth, 14, seed) for seed in range(6)])
    assert reached.min() == pytest.approx(value, rel=1e-6)
    assert np.all(reached >= value * (1 - 1e-12))


@pytest.mark.parametrize(("kind", "depth", "beta", "loss"), [
    ("scalar", 3, 0.3, "squared"), ("one-hot", 3, 0.2, "squared"), ("one-hot", 2, 0.2, "cross-entropy"),
    ("sign", 3, 0.1, "logistic")])
def test_training_real_networks_ends_at_the_closed_form_and_never_below(kind, depth, beta, loss):
    X = random_whitened_rows(6, 7, 0)
    Y = np.array([1.0, 1.0, -1.0, 1.0, -1.0, 1.0]) if kind == "sign" else labels(kind, 2, n=6)
    value = whitened_relu_network(X, Y, beta, depth, loss)[1]
    outputs = 1 if Y.ndim == 1 else Y.shape[1]
    reached = np.array([train(parallel_network(7, outputs, depth, 6, 2, seed=seed), X, Y, beta, loss=loss,
                              steps=300, progress=False).objective[-1] for seed in (2, 4)])
    assert reached.min() == pytest.approx(value, rel=1e-6)
    assert np.all(reached >= value * (1 - 1e-12))


def test_shared_units_beat_one_unit_for_each_direction_of_mixed_sign_columns_at_depth_three():
    Y = np.kron(np.eye(3), [[1.0], [-1.0]])
    with pytest.raises(NotCovered, match="only an upper bound") as error:
        optimal_atoms(Y, 0.05, 3, "squared")
    bound = 6 * float(depth_prox_value(1.0, 0.05, 3))
    assert round(bound, 4) == 0.4424 and f"{bound:.12f}" in str(error.value)
    assert unconstrained_features(Y, 0.05, 3, 14, seed=0) == pytest.approx(0.3873, abs=5e-5)
    two = unconstrained_features(Y, 0.05, 2, 14, seed=0)
    assert two >= optimal_atoms(Y, 0.05, 2, "squared")[3] * (1 - 1e-12)


def test_a_standard_network_of_five_layers_beats_the_parallel_optimum_but_not_the_lower_bound():
    r, beta, Y = 0.5**0.5, 1e-3, np.eye(3)
    W1 = np.array([[1, 0], [r, r], [0, 1]])
    W4 = np.array([[r, r, -r], [-r, r, r]])
    W5 = np.array([[2**0.5, -1, 0], [0, 1, 0], [0, -1, 2**0.5]])
    scale = np.array([3**0.25, 1, 3**0.25])
    layers = [W1, np.eye(2), np.eye(2), W4 * scale, W5 / scale[:, None]]
    norms = np.array([np.linalg.norm(W) for W in layers])
    level = np.prod(norms) ** (1 / 5)
    standard = Network((tuple(W * level / size for W, size in zip(layers, norms, strict=True)),), "relu")
    np.testing.assert_allclose(standard.predict(np.eye(3)), Y, atol=1e-14)
    assert level**10 == pytest.approx(12 * (1 + 2 * 3**0.5) ** 2)
    _, parallel, theorem = whitened_relu_network(np.eye(3), Y, beta, 5)
    assert theorem == "thm-whitened"
    assert standard_lower_bound(Y, beta, 5) < objective(standard, np.eye(3), Y, beta) < 0.998 * parallel


@given(seeds, st.floats(-2, 1), depths)
def test_the_lower_bound_holds_for_random_standard_networks_and_is_reached(seed, log_beta, depth):
    rng, beta = np.random.default_rng(seed), 10.0**log_beta
    widths = [6, *rng.integers(1, 5, depth - 1), 2]
    layers = tuple(rng.normal(size=shape) for shape in zip(widths[:-1], widths[1:], strict=True))
    X, Y = random_whitened_rows(5, 6, rng), rng.normal(size=(5, 2))
    assert standard_lower_bound(Y, beta, depth) <= objective(Network((layers,), "relu"), X, Y, beta)
    y = np.abs(Y[:, 0])
    assert standard_lower_bound(y, beta, depth) == pytest.approx(whitened_relu_network(X, y, beta, depth)[1])


# ---- other losses


def class_signs(seed, n=9):
    return np.where(np.random.default_rng(seed).uniform(size=n) < 0.4, -1.0, 1.0)


class SmoothHinge(MarginLoss):
    """A margin loss given by class: 0 above margin 1, slope -1 below 0, a parabola between."""

    name, smoothness = "smooth hinge", 1.0

    def _value(self, F, Y):
        m = 1 - Y * F
        return np.where(m > 1, m - 0.5, 0.5 * np.maximum(m, 0) ** 2)

    def _gradient(self, F, Y): return -Y * np.clip(1 - Y * F, 0, 1)
    def _entropy(self, a): return 0.5 * a**2 - a
    def _scale(self, U, Y): raise NotImplementedError


class Linear(SmoothHinge):
    name = "linear"

    def _value(self, F, Y): return -Y * F
    def _gradient(self, F, Y): return -Y


class Odd(Loss):
    name, smoothness = "odd", 1.0


@settings(max_examples=15)
@given(seeds, depths, st.floats(-3, 1), st.sampled_from(["logistic", "hinge", SmoothHinge()]))
def test_margin_losses_against_a_grid_and_their_own_network(seed, depth, log_beta, loss):
    y, beta, X = class_signs(seed), 10.0**log_beta, np.eye(9)
    network, value, _ = whitened_relu_network(X, y, beta, depth, loss)
    assert value == pytest.approx(objective(network, X, y, beta, loss), rel=1e-12)
    levels = np.concatenate([np.linspace(0, 2, 2001), np.geomspace(1e-6, 40, 3000)])
    phi = get_loss(loss)._value(levels, np.ones_like(levels))
    least = sum((n * phi + beta * depth / 2 * (np.sqrt(n) * levels) ** (2 / depth)).min()
                for n in (np.sum(y > 0), np.sum(y < 0)))
    assert least * (1 - 1e-4) <= value <= least * (1 + 1e-12)
    assert np.all(network.predict(X)[:, 0] * y >= 0)


@settings(max_examples=10)
@given(seeds, st.floats(-3, 1))
def test_logistic_levels_have_a_closed_form_at_depth_two_and_no_gap(seed, log_beta):
    y, beta = class_signs(seed), 10.0**log_beta
    network, value, _ = whitened_relu_network(np.eye(9), y, beta, 2, "logistic")
    f = network.predict(np.eye(9))[:, 0]
    counts = np.where(y > 0, np.sum(y > 0), np.sum(y < 0))
    np.testing.assert_allclose(y * f, np.log(np.maximum(1, np.sqrt(counts) / beta - 1)), atol=1e-12)
    Lambda = get_loss("logistic").dual_point(f, y)
    assert WhitenedReLUFeatures(np.eye(9)).support(Lambda).value <= beta * (1 + 1e-12)
    assert get_loss("logistic").dual_value(Lambda, y) == pytest.approx(value, rel=1e-12)


def test_logistic_loss_against_cvxpy():
    y, beta = class_signs(0), 0.4
    p, q = cp.Variable(9, nonneg=True), cp.Variable(9, nonneg=True)
    loss = cp.sum(cp.logistic(-cp.multiply(y, p - q))) + beta * (cp.norm(p) + cp.norm(q))
    value = cp.Problem(cp.Minimize(loss)).solve(solver="CLARABEL")
    assert whitened_relu_network(np.eye(9), y, beta, 2, "logistic")[1] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_hinge_fits_exactly_below_its_threshold_and_has_no_gap(n):
    y, X = np.ones(n), np.eye(n)
    for beta, level in [(0.999 * n**0.5, 1.0), (n**0.5, 0.0), (1.001 * n**0.5, 0.0)]:
        network, value, _ = whitened_relu_network(X, y, beta, 2, "hinge")
        np.testing.assert_allclose(network.predict(X), level, rtol=1e-14)
        Lambda = y * min(1.0, beta / n**0.5)  # a subgradient at the kink, where needed
        assert WhitenedReLUFeatures(X).support(Lambda).value <= beta * (1 + 1e-14)
        assert get_loss("hinge").dual_value(Lambda, y) == pytest.approx(value, rel=1e-12)


@settings(max_examples=15)
@given(seeds, st.integers(2, 4), st.floats(-2, 0.7))
def test_cross_entropy_levels_have_a_closed_form_and_no_gap(seed, K, log_beta):
    beta, X = 10.0**log_beta, np.eye(8)
    Y = np.eye(K)[np.random.default_rng(seed).choice(K, 8, p=np.arange(1, K + 1) / (K * (K + 1) / 2))]
    network, value, _ = whitened_relu_network(X, Y, beta, 2, "cross-entropy")
    F, counts, c = network.predict(X), Y.sum(axis=0), np.sqrt((K - 1) / K)
    alpha = np.log(np.maximum(1, (K - 1) * (np.sqrt(counts) / (beta * c) - 1)))
    np.testing.assert_allclose(F, Y @ (alpha[:, None] * (np.eye(K) - 1 / K)), atol=1e-12)
    assert value == pytest.approx(objective(network, X, Y, beta, "cross-entropy"), rel=1e-13)
    Lambda = get_loss("cross-entropy").dual_point(F, Y)
    assert WhitenedReLUFeatures(X).support(Lambda).value <= beta * (1 + 1e-10)
    assert get_loss("cross-entropy").dual_value(Lambda, Y) == pytest.approx(value, rel=1e-11)


class TwoClasses(MarginLoss):
    """Cross-entropy of two classes in the margin (F_1 - F_2) / sqrt 2."""

    name, smoothness, steepest = "two classes", 0.5, 2**0.5

    def phi(self, m): return np.logaddexp(0, -(2**0.5) * m)
    def slope(self, m): return -(2**0.5) / (1 + np.exp(2**0.5 * m))


@settings(max_examples=15)
@given(seeds, st.integers(1, 8), depths, st.floats(-3, 1))
def test_two_classes_of_cross_entropy_are_one_output_with_a_margin_loss(seed, n, depth, log_beta):
    y, beta, X = class_signs(seed, n), 10.0**log_beta, random_whitened_rows(n, 9, seed)
    Y = np.eye(2)[(y < 0).astype(int)]  # the second class may be without samples
    network, value, theorem = whitened_relu_network(X, Y, beta, depth, "cross-entropy")
    assert theorem == ("thm-cross-entropy" if depth == 2 else "cor-two-classes")
    assert value == pytest.approx(objective(network, X, Y, beta, "cross-entropy"), rel=1e-12)
    single, margin_value, _ = whitened_relu_network(X, y, beta, depth, TwoClasses())
    assert value == pytest.approx(margin_value, rel=1e-11)
    F, f = network.predict(X), single.predict(X)[:, 0] / 2**0.5
    np.testing.assert_allclose(F, np.column_stack([f, -f]), atol=1e-6)
    for branch in network.branches:
        norms = [np.linalg.norm(W) for W in branch]
        np.testing.assert_allclose(norms, norms[0], rtol=1e-12)
    levels = np.concatenate([np.linspace(0, 2, 2001), np.geomspace(1e-6, 80, 4000)])
    least = sum((k * np.log1p(np.exp(-levels)) + beta * depth / 2 * ((k / 2) ** 0.5 * levels) ** (2 / depth)).min()
                for k in Y.sum(axis=0) if k)
    assert least * (1 - 1e-4) <= value <= least * (1 + 1e-12)


@pytest.mark.parametrize(("depth", "beta"), [(3, 0.3), (4, 0.2), (3, 1.2)])  # at 1.2 the minority is given up
def test_two_classes_of_cross_entropy_against_features_of_every_sample_and_output_weights(depth, beta):
    Y, K, m = np.eye(2)[[0, 0, 0, 1, 1]], 2, 3
    _, value, _ = whitened_relu_network(np.eye(5), Y, beta, depth, "cross-entropy")

    def cost(x):  # a branch of gain s costs beta (L/2) s^(2/L)
        H, W = np.split(x, [5 * m])
        H, W = H.reshape(5, m) ** 2, W.reshape(m, K)
        gains = np.linalg.norm(H, axis=0) * np.linalg.norm(W, axis=1)
        return get_loss("cross-entropy").value(H @ W, Y) + beta * depth / 2 * np.sum(gains ** (2 / depth))

    rng = np.random.default_rng(0)
    found = min(minimize(cost, rng.normal(size=(5 + K) * m), method="L-BFGS-B").fun for _ in range(12))
    assert value * (1 - 1e-9) <= found <= value * (1 + 1e-4)


@given(seeds, st.integers(3, 5), depths, st.floats(-3, 1), st.booleans())
def test_no_network_is_below_the_bound_of_one_class(seed, K, depth, log_beta, parallel):
    rng, beta, n = np.random.default_rng(seed), 10.0**log_beta, 6
    X, Y = random_whitened_rows(n, 7, rng), np.eye(K)[rng.integers(0, K, n)]
    lower, upper, theorem = value_bounds(Y, beta, depth, "cross-entropy")
    assert theorem == ("thm-cross-entropy" if depth == 2 else "prop-class-bounds")
    v = np.concatenate([np.linspace(0, 2, 2001), np.geomspace(1e-6, 80, 4000)])  # J_n of the book on a grid
    levels = [np.min(m * np.log1p((K - 1) * np.exp(-v))
                     + beta * depth / 2 * ((m - m / K) ** 0.5 * v) ** (2 / depth)) for m in (n, *Y.sum(axis=0))]
    assert sum(levels[1:]) * (1 - 1e-4) <= upper <= sum(levels[1:]) * (1 + 1e-12)
    if depth > 2:
        assert levels[0] * (1 - 1e-4) <= lower <= levels[0] * (1 + 1e-12)
    widths = [7, *[4] * (depth - 2), 1 if parallel and depth > 2 else 4, K]
    for size in 10.0 ** rng.uniform(-1, 1, 10):
        net = Network(tuple(tuple(size * rng.normal(size=shape) for shape in zip(widths, widths[1:], strict=False))
                            for _ in range(1 + 3 * parallel)), "relu")
        assert lower <= objective(net, X, Y, beta, "cross-entropy") * (1 + 1e-12)


@given(seeds, st.sampled_from([*KINDS, "any"]), depths, st.floats(-3, 1))
def test_the_bounds_of_the_squared_loss_are_attained_by_the_network_they_describe(seed, kind, depth, log_beta):
    beta, rng = 10.0**log_beta, np.random.default_rng(seed)
    Y = rng.normal(size=(7, 3)) if kind == "any" else labels(kind, seed).reshape(7, -1)
    lower, upper, theorem = value_bounds(Y, beta, depth)
    features, outputs, gains, value, _ = optimal_atoms(Y, beta, depth, "squared", proven=False)
    net = relu_network(features, outputs, gains, depth)
    assert (theorem, value) == ("prop-standard-bound", upper)
    assert upper == pytest.approx(objective(net, np.eye(7), Y, beta), rel=1e-9)
    assert lower <= upper * (1 + 1e-12)
    assert kind == "any" or upper == pytest.approx(
        optimal_atoms(Y, beta, 2, "squared")[3] if depth == 2 else upper, rel=1e-12)


def test_deep_cross_entropy_names_its_upper_bound():
    Y = np.eye(4)
    with pytest.raises(NotCovered, match="only an upper bound") as error:
        whitened_relu_network(np.eye(4), Y, 0.003, 3, "cross-entropy")
    v, c = np.geomspace(1e-3, 50, 200_001), 0.75**0.5
    least = 4 * (np.log1p(3 * np.exp(-v)) + 0.003 * 1.5 * (c * v) ** (2 / 3)).min()
    stated = float(str(error.value).split("gives ")[1].split(",")[0])
    assert stated == pytest.approx(least, rel=1e-8) and stated <= least


@given(st.floats(-8, 4), depths, st.floats(0, 4), st.floats(0.1, 5))
def test_best_level_is_stationary_to_rounding(log_beta, depth, log_n, size):
    n, beta = 10.0**log_n, 10.0**log_beta
    v, value = best_level(lambda v: np.logaddexp(0, -v), lambda v: -1 / (1 + np.exp(v)), n, size, beta, depth)
    assert value <= n * np.log(2)
    if v:
        pull = np.log(beta * size ** (2 / depth) * v ** (2 / depth - 1))
        assert np.log(n) - np.logaddexp(0, v) == pytest.approx(pull, abs=1e-9)


# ---- degenerate cases, scales, arguments


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_degenerate_cases(depth):
    network, value, _ = whitened_relu_network([[0.6, 0.8]], [-3.0], 0.1, depth)
    assert value == pytest.approx(float(depth_prox_value(3.0, 0.1, depth)), rel=1e-14)
    assert value == pytest.approx(objective(network, np.array([[0.6, 0.8]]), [-3.0], 0.1), rel=1e-13)
    network, value, _ = whitened_relu_network(np.eye(3), np.zeros((3, 2)), 0.1, depth)
    assert value == 0 and network.penalty == 0 and network.predict(np.eye(3)).shape == (3, 2)
    Y = np.array([[3.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    network, value, _ = whitened_relu_network(np.eye(3), Y, 25.0 if depth > 2 else 5.0, depth)
    assert value == 13.0 and network.penalty == 0
    network, value, _ = whitened_relu_network(np.eye(3), Y, 0.0, depth)
    assert value == 0
    np.testing.assert_allclose(network.predict(np.eye(3)), Y, atol=1e-14)
    network, value, _ = whitened_relu_network(np.eye(2), [1.0, 1.0], 100.0, depth, "logistic")
    assert network.penalty == 0 and value == pytest.approx(2 * np.log(2))


@given(seeds, st.sampled_from(KINDS[:4]), depths, st.floats(-60, 60))
def test_rescaled_labels_give_rescaled_optima(seed, kind, depth, log_scale):
    Y, a, X = labels(kind, seed), 10.0**log_scale, np.eye(7)
    network, value, _ = whitened_relu_network(X, Y, 0.3, depth)
    scaled, scaled_value, _ = whitened_relu_network(X, a * Y, 0.3 * a ** (2 - 2 / depth), depth)
    assert scaled_value == pytest.approx(a**2 * value, rel=1e-10)
    np.testing.assert_allclose(scaled.predict(X) / a, network.predict(X), atol=1e-9)


@pytest.mark.parametrize(("arguments", "message"), [
    ((2 * np.eye(2), [1.0, 1.0], 0.1), r"X must be whitened, .* = 4.24; "),
    ((np.ones((3, 2)), [1.0, 1.0, 1.0], 0.1), "X must be whitened"),
    ((np.eye(2), [1.0], 0.1), "Y must have as many rows"),
    ((np.eye(2), [1.0, np.nan], 0.1), "Y must be finite"),
    ((np.eye(2), [1.0, 1.0], -0.1), "beta must be finite and >= 0"),
    ((np.eye(2), [1.0, -1.0], 0.0, 2, "logistic"), "beta must be > 0"),
    ((np.eye(2), [1.0, 0.0], 0.1, 2, "hinge"), "map 0 and 1 by"),
    ((np.eye(2), [1.0, 1.0], 0.1, 1), "depth must be at least 2"),
    ((np.eye(2), [1.0, 1.0], 0.1, 2, "absolute"), "loss must be one of"),
])
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        whitened_relu_network(*arguments)


@pytest.mark.parametrize(("Y", "depth", "loss", "message"), [
    ([[1.0, 0.0], [1.0, 1.0]], 2, "squared", "NP-hard"),
    ([[1.0, 0.0], [-1.0, 1.0]], 3, "squared", "only an upper bound"),
    ([[0.5, 0.5], [0.0, 1.0]], 2, "cross-entropy", "one-hot"),
    ([1.0, -1.0], 2, Odd(), "no theorem covers the loss 'odd'"),
    ([1.0, -1.0], 3, Linear(), "must fall to 0 for large margins, found -1e"),
])
def test_uncovered_cases_are_refused(Y, depth, loss, message):
    with pytest.raises(NotCovered, match=message):
        whitened_relu_network(np.eye(2), Y, 0.1, depth, loss)


def test_bad_arguments_of_the_other_functions():
    with pytest.raises(ValueError, match="X must be whitened"):
        WhitenedReLUFeatures(np.ones((2, 2)))
    with pytest.raises(ValueError, match="Lambda must have as many rows"):
        WhitenedReLUFeatures(np.eye(2)).support(np.ones(3))
    with pytest.raises(ValueError, match="F must be finite"):
        WhitenedReLUFeatures(np.eye(2)).gauge([np.inf, 0.0])
    with pytest.raises(ValueError, match="beta must be"):
        standard_lower_bound([1.0], -1.0, 2)
