"""Balanced networks: the least penalty over all rescalings of the units, at any depth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from dualkit import Network, NotCovered, balance

seeds = st.integers(0, 10**6)
activations = st.sampled_from(["linear", "relu"])


def chain(rng, widths, spread=1.0):
    """Random weights; the units' scales are spread over several powers of ten."""
    weights = [rng.normal(size=shape) for shape in zip(widths[:-1], widths[1:], strict=True)]
    for left, right in zip(weights, weights[1:], strict=False):
        c = np.exp(spread * rng.normal(size=left.shape[1]))
        left *= c
        right /= c[:, None]
    return weights


def random_network(rng, activation, depth, branches=1, spread=1.0):
    widths = [rng.integers(1, 6, depth + 1) for _ in range(branches)]
    ends = widths[0][0], widths[0][-1]
    return Network(tuple(tuple(chain(rng, [ends[0], *w[1:-1], ends[1]], spread)) for w in widths), activation)


def imbalance(network):
    """Largest difference of squared incoming and outgoing length of a unit, relative to the penalty."""
    return max(np.abs((A**2).sum(0) - (B**2).sum(1)).max() for branch in network.branches
               for A, B in zip(branch, branch[1:], strict=False)) / network.penalty


@given(seeds, activations, st.integers(2, 6), st.integers(1, 3), st.floats(0, 4))
def test_balancing_keeps_the_function_balances_every_unit_and_is_idempotent(seed, activation, depth, J, spread):
    rng = np.random.default_rng(seed)
    net = random_network(rng, activation, depth, J, spread)
    balanced, X = balance(net), rng.normal(size=(5, net.branches[0][0].shape[0]))
    size = sum(np.prod([np.linalg.norm(W) for W in branch]) for branch in balanced.branches)
    np.testing.assert_allclose(balanced.predict(X), net.predict(X), rtol=0, atol=1e-12 * size * np.linalg.norm(X))
    assert balanced.penalty <= net.penalty * (1 + 1e-12)
    assert imbalance(balanced) < 1e-12
    for branch in balanced.branches:
        norms = [np.linalg.norm(W) for W in branch]
        np.testing.assert_allclose(norms, norms[0], rtol=1e-12)
    for before, after in zip(balanced.branches, balance(balanced).branches, strict=True):
        for A, B in zip(before, after, strict=True):
            np.testing.assert_allclose(B, A, rtol=1e-11)


@settings(max_examples=20)
@given(seeds, st.integers(2, 4))
def test_no_rescaling_has_a_smaller_penalty(seed, depth):
    """Against a general minimiser of the penalty, convex in the logarithms of the scales."""
    rng = np.random.default_rng(seed)
    net = random_network(rng, "relu", depth)
    squares = [W**2 for W in net.branches[0]]
    cuts = np.cumsum([0] + [S.shape[1] for S in squares[:-1]])

    def penalty(t):
        logs = [np.zeros(len(squares[0])), *(t[a:b] for a, b in zip(cuts, cuts[1:], strict=False)),
                np.zeros(squares[-1].shape[1])]
        flows = [S * np.exp(2 * (b - a[:, None])) for S, a, b in zip(squares, logs, logs[1:], strict=False)]
        slope = [A.sum(0) - B.sum(1) for A, B in zip(flows, flows[1:], strict=False)]
        return 0.5 * sum(S.sum() for S in flows), np.concatenate(slope)

    least = minimize(penalty, np.zeros(cuts[-1]), jac=True, method="BFGS", options={"gtol": 1e-9}).fun
    assert balance(net).penalty == pytest.approx(least, rel=1e-9)


@given(seeds, activations)
def test_two_layers_cost_the_sum_of_the_products_of_lengths(seed, activation):
    rng = np.random.default_rng(seed)
    U, W = chain(rng, [3, 4, 2], 3.0)
    balanced = balance(Network(((U, W),), activation))
    scale = np.sqrt(np.linalg.norm(W, axis=1) / np.linalg.norm(U, axis=0))
    np.testing.assert_allclose(balanced.branches[0][0], U * scale, rtol=1e-13)
    assert balanced.penalty == pytest.approx(np.linalg.norm(U, axis=0) @ np.linalg.norm(W, axis=1), rel=1e-13)


@given(seeds, st.integers(2, 9))
def test_branches_of_width_one_cost_a_power_of_their_gain(seed, depth):
    rng = np.random.default_rng(seed)
    branches = tuple(tuple(chain(rng, [2] + [1] * (depth - 1) + [3], 5.0)) for _ in range(3))
    gains = np.array([np.prod([np.linalg.norm(W) for W in branch]) for branch in branches])
    balanced = balance(Network(branches, "relu"))
    assert balanced.penalty == pytest.approx(depth / 2 * np.sum(gains ** (2 / depth)), rel=1e-12)


@given(seeds, activations, st.integers(2, 5))
def test_units_without_a_path_from_input_to_output_are_switched_off(seed, activation, depth):
    rng = np.random.default_rng(seed)
    weights = [W * (rng.random(W.shape) < 0.4) for W in chain(rng, rng.integers(1, 6, depth + 1))]
    net = Network((tuple(weights),), activation)
    balanced, X = balance(net), rng.normal(size=(4, len(weights[0])))
    np.testing.assert_allclose(balanced.predict(X), net.predict(X), atol=1e-11)
    for A, B in zip(balanced.branches[0], balanced.branches[0][1:], strict=False):
        np.testing.assert_allclose(np.linalg.norm(A, axis=0), np.linalg.norm(B, axis=1), rtol=1e-11, atol=0)
    paths = np.linalg.multi_dot([np.abs(W) for W in weights])
    assert (balanced.penalty == 0) == (not paths.any())


def test_scales_near_the_ends_of_the_floating_range_are_no_trouble():
    big, one = np.array([[1e200, 2e200]]), np.array([[3e-200], [4e-200]])
    balanced = balance(Network(((big, one),)))
    assert balanced.penalty == pytest.approx(11, rel=1e-12)
    deep = balance(Network(((np.array([[1e-250]]), np.array([[1e250]]), np.array([[8.0]])),)))
    assert [W.item() for W in deep.branches[0]] == pytest.approx([2, 2, 2], rel=1e-12)


def test_fifty_layers():
    rng = np.random.default_rng(0)
    net = Network((tuple(chain(rng, [3] + [4] * 49 + [2], 3.0)),), "relu")
    assert imbalance(balance(net)) < 1e-12


def test_the_constant_is_kept_and_biases_are_refused():
    net = Network(((np.eye(2), np.ones((2, 1))),), "relu", constant=np.array([5.0]))
    assert balance(net).constant.tolist() == [5.0]
    with pytest.raises(NotCovered, match="without biases"):
        balance(Network(((np.eye(2), np.ones((2, 1))),), "relu", biases=(np.zeros(2),)))
