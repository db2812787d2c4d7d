"""Rank-one data, ReLU without bias: two rays, separate at depth 2, sharing branches from depth 3 on."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dualkit._validate import NotCovered
from dualkit.depth import depth_prox, depth_prox_value
from dualkit.networks import Network
from dualkit.rank_one import RankOneFeatures, rank_one_network
from dualkit.training import parallel_network, train

seeds = st.integers(0, 2**32 - 1)
depths = st.integers(2, 6)
C = np.array([1.0, 2.0, -1.0, -2.0])


def instance(seed, n=5, d=3, K=None):
    """Rank-one data c a^T and labels; on every third seed c has one sign, on every second the labels have."""
    rng = np.random.default_rng(seed)
    c, a = rng.normal(size=n), rng.normal(size=d)
    Y = rng.normal(size=n if K is None else (n, K))
    return np.outer(np.abs(c) if seed % 3 == 0 else c, a), np.abs(Y) if seed % 2 else Y


def objective(network, X, Y, beta):
    return 0.5 * np.sum((network.predict(X) - Y.reshape(len(X), -1)) ** 2) + beta * network.penalty


def rays(X):
    """||a|| c_+ and ||a|| c_- from one row of X: the unit a is x_i / ||x_i||."""
    i = np.argmax(np.linalg.norm(X, axis=1))
    c = X @ X[i] / np.linalg.norm(X[i])
    return np.maximum(c, 0), np.maximum(-c, 0)


def cost(p, q, depth):
    """(2/L) times the least weight decay of p c_+ + q c_-."""
    same = (np.abs(p) + np.abs(q)) ** (2 / depth)
    return np.where(p * q >= 0, same, np.abs(p) ** (2 / depth) + np.abs(q) ** (2 / depth))


# ---- features


@given(seeds, st.integers(1, 3))
def test_support_is_attained_and_no_unit_exceeds_it(seed, K):
    X, Lambda = instance(seed, K=K)
    found = RankOneFeatures(X).support(Lambda)
    assert np.linalg.norm(found.unit) == pytest.approx(1) and np.linalg.norm(found.output) == pytest.approx(1)
    np.testing.assert_allclose(np.maximum(X @ found.unit, 0), found.feature, atol=1e-12)
    np.testing.assert_allclose(Lambda.T @ found.feature, found.value * found.output, atol=1e-12)
    U = np.random.default_rng(seed).normal(size=(3, 300))
    features = np.maximum(X @ (U / np.linalg.norm(U, axis=0)), 0)
    assert np.linalg.norm(Lambda.T @ features, axis=0).max() <= found.value * (1 + 1e-12)
    assert found.value == pytest.approx(max(np.linalg.norm(Lambda.T @ ray) for ray in rays(X)), rel=1e-12)


@given(seeds, st.integers(1, 3))
def test_gauge_and_support_are_polar(seed, K):
    X, Lambda = instance(seed, K=K)
    rng, H = np.random.default_rng(seed), RankOneFeatures(X)
    P = rng.normal(size=(2, K))
    R = np.array(rays(X)).T
    P[~R.any(axis=0)] = 0
    F = R @ P
    assert H.gauge(F) == pytest.approx(np.linalg.norm(P, axis=1).sum(), rel=1e-10)
    assert abs(np.vdot(Lambda, F)) <= H.gauge(F) * H.support(Lambda).value * (1 + 1e-10)
    best = np.linalg.pinv(R).T @ (P / np.maximum(np.linalg.norm(P, axis=1, keepdims=True), 1e-300))
    assert H.support(best).value == pytest.approx(1, rel=1e-10)
    assert np.vdot(best, F) == pytest.approx(H.gauge(F), rel=1e-10)


def test_gauge_off_the_rays_is_infinite_and_zero_has_none():
    H = RankOneFeatures(C[:, None])
    assert H.gauge([1.0, 1.0, 0.0, 0.0]) == np.inf
    assert RankOneFeatures(np.abs(C)[:, None]).gauge(-C) == np.inf
    assert H.gauge(np.zeros((4, 2))) == 0 and H.support(np.zeros(4)).value == 0
    assert RankOneFeatures(np.zeros((2, 3))).gauge([1.0, 0.0]) == np.inf


# ---- networks


@given(seeds, depths, st.floats(-3, 1))
def test_the_network_has_the_objective_returned_and_balanced_layers(seed, depth, log_beta):
    (X, y), beta = instance(seed), 10.0**log_beta
    network, value = rank_one_network(X, y, beta, depth)
    assert value == pytest.approx(objective(network, X, y, beta), rel=1e-12)
    assert network.depth == depth
    for branch in network.branches:
        norms = [np.linalg.norm(W) for W in branch]
        np.testing.assert_allclose(norms, norms[0], rtol=1e-12)


@given(seeds, depths, st.floats(-3, 1))
def test_no_point_of_a_fine_grid_is_better(seed, depth, log_beta):
    (X, y), beta = instance(seed), 10.0**log_beta
    value = rank_one_network(X, y, beta, depth)[1]
    R = np.array(rays(X)).T
    steps = np.concatenate([[0.0], np.geomspace(1e-4, 1, 60), 1 - np.geomspace(1e-4, 0.5, 60), [-0.1, 1.1]])
    p, q = np.meshgrid(*(np.linalg.pinv(R) @ y)[:, None] * steps)
    loss = 0.5 * np.sum((np.multiply.outer(p, R[:, 0]) + np.multiply.outer(q, R[:, 1]) - y) ** 2, axis=-1)
    best = np.min(loss + beta * depth / 2 * cost(p, q, depth))
    assert value <= best * (1 + 1e-12)
    assert value >= 0.5 * np.sum((R @ np.linalg.pinv(R) @ y - y) ** 2) * (1 - 1e-12)


@given(seeds, depths, st.integers(1, 4))
def test_no_network_pays_less_than_the_cost_of_its_slopes(seed, depth, branches):
    rng = np.random.default_rng(seed)
    widths = [3, *rng.integers(1, 4, depth - 2), 1, 1]
    shapes = list(zip(widths[:-1], widths[1:], strict=True))
    network = Network(tuple(tuple(rng.normal(size=shape) for shape in shapes)
                            for _ in range(branches)), "relu")
    a = rng.normal(size=3)
    p, q = network.predict(np.array([a, -a]) / np.linalg.norm(a))[:, 0]
    assert depth / 2 * cost(p, q, depth) <= network.penalty * (1 + 1e-12)


@pytest.mark.parametrize(("depth", "value", "separable"), [(3, 0.70280, 0.8816), (4, 0.83933, 1.1814)])
def test_rays_of_one_sign_share_a_branch(depth, value, separable):
    y, norm = np.abs(C), 5**0.5
    network, found = rank_one_network(C[:, None], y, 0.3, depth)
    apart = 2 * float(depth_prox_value(norm, 0.3 * norm ** (-2 / depth), depth))
    assert found == pytest.approx(value, abs=5e-6) and apart == pytest.approx(separable, abs=5e-5)
    assert [W.shape for W in network.branches[0][:2]] == [(1, 2), (2, 1)] and len(network.branches) == 1
    # Labels of opposite sign on the two rays cannot share: there the separable value is right.
    network, found = rank_one_network(C[:, None], C, 0.3, depth)
    assert found == pytest.approx(apart, rel=1e-12) and len(network.branches) == 2


def test_an_optimum_that_the_proximal_map_of_the_shared_gain_alone_would_miss():
    # c_+ and c_- have norms 1 and 2, their targets sizes 1.75 and 2: slopes 1.75 and 1 would fit.
    X, y, beta, depth = np.array([[1.0], [-2.0]]), np.array([1.75, 2.0]), 1.0, 4
    root_h, total = 2 / 5**0.5, 1.75 + 1
    assert depth_prox(root_h * total, beta * root_h ** (-2 / depth), depth) == 0
    network, value = rank_one_network(X, y, beta, depth)
    p, q = network.predict(np.array([[1.0], [-1.0]]))[:, 0]
    assert p > 0.5 and q > 0.5 and len(network.branches) == 1
    one_ray = [0.5 * 1.75**2 + float(depth_prox_value(2.0, 2 ** (-2 / depth), depth)),
               0.5 * 2.0**2 + float(depth_prox_value(1.75, 1.0, depth)), 0.5 * np.sum(y**2)]
    assert value < min(one_ray) - 0.3
    pull = beta * (p + q) ** (2 / depth - 1)  # both slopes are stationary
    assert 1.75 - p == pytest.approx(pull) and 2 * (2.0 - 2 * q) == pytest.approx(pull)


@pytest.mark.parametrize(("labels", "depth"), [
    (np.abs(C), 3), (np.abs(C), 4), (C, 3), ([1.0, 2.0, 0.3, 0.1], 3),
    ([[1.0, 2], [0, -1], [1, 1], [2, 0]], 2)])
def test_training_real_networks_ends_at_the_optimum_and_never_below(labels, depth):
    X, Y = np.outer(C, [1.0, -2.0, 2.0]) / 3, np.array(labels)
    value = rank_one_network(X, Y, 0.3, depth)[1]
    outputs = 1 if Y.ndim == 1 else Y.shape[1]
    reached = np.array([train(parallel_network(3, outputs, depth, 5, 3, seed=seed), X, Y, 0.3, steps=300,
                              progress=False).objective[-1] for seed in (0, 3)])
    assert reached.min() == pytest.approx(value, rel=1e-6)
    assert np.all(reached >= value * (1 - 1e-12))


@given(seeds, st.integers(1, 3), st.floats(-3, 1))
def test_the_duality_gap_closes_at_depth_two(seed, K, log_beta):
    (X, Y), beta = instance(seed, K=K), 10.0**log_beta
    network, value = rank_one_network(X, Y, beta, 2)
    F = network.predict(X)
    residual, H = Y - F, RankOneFeatures(X)
    assert H.support(residual).value <= beta * (1 + 1e-10)
    assert 0.5 * np.sum(Y**2) - 0.5 * np.sum(F**2) == pytest.approx(value, rel=1e-10)  # the dual value
    assert np.vdot(residual, F) == pytest.approx(beta * H.gauge(F), rel=1e-8, abs=1e-10)


def test_two_outputs_against_cvxpy():
    X, Y = instance(2, n=6, K=2)
    R, P = np.array(rays(X)).T, cp.Variable((2, 2))
    loss = 0.5 * cp.sum_squares(R @ P - Y) + 0.4 * (cp.norm(P[0]) + cp.norm(P[1]))
    value = cp.Problem(cp.Minimize(loss)).solve(solver="CLARABEL")
    network, found = rank_one_network(X, Y, 0.4, 2)
    assert found == pytest.approx(value, rel=1e-7) and network.penalty > 0
    np.testing.assert_allclose(network.predict(X), R @ P.value, atol=1e-4)


# ---- degenerate cases, scales, arguments


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_degenerate_cases(depth):
    network, value = rank_one_network(C[:, None], np.zeros(4), 0.3, depth)
    assert value == 0 and network.penalty == 0
    network, value = rank_one_network(np.zeros((2, 3)), [1.0, -1.0], 0.3, depth)
    assert value == 1 and network.penalty == 0 and network.predict(np.zeros((2, 3))).shape == (2, 1)
    network, value = rank_one_network([[2.0]], [3.0], 0.1, depth)
    assert value == pytest.approx(float(depth_prox_value(3.0, 0.1 * 2 ** (-2 / depth), depth)), rel=1e-13)
    _, value = rank_one_network(C[:, None], C, 0.0, depth)
    assert value == pytest.approx(0, abs=1e-25)
    network, value = rank_one_network(C[:, None], np.abs(C), 5.0 if depth == 2 else 50.0, depth)
    assert value == 5.0 and network.penalty == 0  # beta >= |c_+^T y| = 5


@given(seeds, depths, st.floats(-50, 50), st.floats(-50, 50), st.floats(-2, 0.5))
def test_rescaled_data_and_labels_and_reflections(seed, depth, log_a, log_b, log_beta):
    (X, y), beta, a, b = instance(seed), 10.0**log_beta, 10.0**log_a, 10.0**log_b
    network, value = rank_one_network(X, y, beta, depth)
    beta *= a ** (2 - 2 / depth) * b ** (2 / depth)
    for sign in (1, -1):
        other, other_value = rank_one_network(sign * b * X, -a * y, beta, depth)
        assert other_value == pytest.approx(a**2 * value, rel=1e-9)
        assume(network.penalty > 0)
        np.testing.assert_allclose(other.predict(sign * b * X) / a, -network.predict(X), atol=1e-6)


@pytest.mark.parametrize(("arguments", "message"), [
    ((np.diag([2.0, 1.0]), [1.0, 1.0], 0.1, 2), r"X must have rank one, found .* = 0\.5; "),
    ((C, C, 0.1, 2), "X must be 2-D"),
    ((C[:, None], C[:2], 0.1, 2), "y must have as many rows"),
    ((C[:, None], [1.0, np.inf, 0.0, 0.0], 0.1, 2), "y must be finite"),
    ((C[:, None], C, -0.1, 2), "beta must be finite and >= 0"),
    ((C[:, None], C, 0.1, 1), "depth must be at least 2"),
])
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        rank_one_network(*arguments)


def test_other_refusals():
    with pytest.raises(NotCovered, match="one column at depth 3, found 2"):
        rank_one_network(C[:, None], np.ones((4, 2)), 0.1, 3)
    with pytest.raises(ValueError, match="X must have rank one"):
        RankOneFeatures(np.eye(2))
    with pytest.raises(ValueError, match="Lambda must have as many rows"):
        RankOneFeatures(C[:, None]).support([1.0])
