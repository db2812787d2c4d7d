"""Batch norm before the last ReLU: closed forms against torch, training, duality and invariances."""

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualkit import certify
from dualkit._validate import NotCovered
from dualkit.batchnorm import BatchNormNetwork, batchnorm_network_optimum
from dualkit.conversion import to_arrays
from dualkit.losses import get_loss
from dualkit.training import batchnorm_network, train
from dualkit.whitened import WhitenedReLUFeatures, whitened_relu_network

seeds = st.integers(0, 2**32 - 1)
depths = st.integers(2, 4)


def data(seed, n=6, extra=0):
    """Data of any scale and offset with rank[X, 1] = n, and n - 1 + extra features."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-3, 3) + 10.0 ** rng.uniform(-1, 1) * rng.normal(size=(n, n - 1 + extra))


def labels(kind, seed, n=6):
    rng = np.random.default_rng(seed)
    one_hot = np.eye(3)[np.r_[0, 1, 2, rng.integers(0, 3, n - 3)]]
    y = rng.normal(size=n)
    return {"one-hot": one_hot, "scalar": y, "mixed sign": one_hot * y[:, None]}[kind]


def objective(network, X, Y, beta, loss="squared"):
    return get_loss(loss).value(network.predict(X), np.reshape(Y, (len(X), -1))) + beta * network.penalty


@given(seeds, st.sampled_from(["one-hot", "scalar", "mixed sign"]), depths, st.floats(-3, 0.5),
       st.integers(0, 2))
def test_the_network_has_the_objective_returned_and_no_network_has_less(seed, kind, depth, log_beta, extra):
    X, Y, beta = data(seed, extra=extra), labels(kind, seed), 10.0**log_beta
    network, value = batchnorm_network_optimum(X, Y, beta, depth)
    assert value == pytest.approx(objective(network, X, Y, beta), rel=1e-9)
    assert len(network.below) == depth - 1
    # A unit (gamma, alpha) gives h >= 0 with ||h||^2 <= gamma^2 + alpha^2: weak duality over all such h.
    residual = Y - network.predict(X).reshape(Y.shape)
    assert WhitenedReLUFeatures(np.eye(6)).support(residual).value <= beta * (1 + 1e-8)
    assert get_loss("squared").dual_value(residual, Y) == pytest.approx(value, rel=1e-8)
    rng = np.random.default_rng(seed)
    gamma, alpha = rng.normal(size=(2, 4))
    below, outer = (rng.normal(size=(X.shape[1], 4)),), rng.normal(size=(4, Y[0].size))
    random = BatchNormNetwork(below, gamma, alpha, outer)
    squares = np.sum(random.hidden(X) ** 2, axis=0)
    assert np.all(squares <= (gamma**2 + alpha**2) * (1 + 1e-12))
    assert objective(random, X, Y, beta) >= value


@given(seeds, st.floats(-2, 0.3))
def test_one_hot_labels_have_the_closed_form_whatever_the_data_and_the_depth(seed, log_beta):
    Y, beta = labels("one-hot", seed), 10.0**log_beta
    counts = Y.sum(axis=0)
    s = np.maximum(np.sqrt(counts) - beta, 0)
    value = np.sum(0.5 * (s - np.sqrt(counts)) ** 2 + beta * s)
    networks = [batchnorm_network_optimum(data(seed + k), Y, beta, 2 + k) for k in range(2)]
    for k, (network, found) in enumerate(networks):
        assert found == pytest.approx(value, rel=1e-12)
        F, features = network.predict(data(seed + k)), network.hidden(data(seed + k))
        np.testing.assert_allclose(F, Y * s / np.sqrt(counts), atol=1e-9)
        if np.all(s > 0):
            np.testing.assert_allclose(np.linalg.norm(features, axis=1), np.sqrt(Y @ (s / counts)), atol=1e-9)
            k = np.argmax(network.outer, axis=1)  # unit j serves class k[j] alone
            h, root = Y[:, k] / np.sqrt(counts[k]), np.sqrt(s[k])
            spread = np.linalg.norm(h - h.mean(axis=0), axis=0)
            np.testing.assert_allclose(network.gamma, root * spread, atol=1e-12)
            np.testing.assert_allclose(network.alpha, root * h.mean(axis=0) * 6**0.5, atol=1e-12)
            np.testing.assert_allclose(network.outer, root[:, None] * np.eye(3)[k], atol=1e-12)


@settings(max_examples=15)
@given(seeds, st.sampled_from(["one-hot", "scalar"]), depths)
def test_the_torch_module_has_the_same_outputs_objective_and_stationary_outer_layer(seed, kind, depth):
    X, Y, beta = data(seed), labels(kind, seed), 0.3
    network, value = batchnorm_network_optimum(X, Y, beta, depth)
    module = network.to_torch()
    assert module.training
    outputs = module(torch.tensor(X))
    np.testing.assert_allclose(outputs.detach(), network.predict(X), atol=1e-12)
    names = ["scale", "shift", f"{len(module) - 1}.weight"]
    decayed = [p for name, p in module.named_parameters() if any(name.endswith(end) for end in names)]
    assert len(decayed) == 3
    loss = 0.5 * (outputs - torch.tensor(Y).reshape(outputs.shape)).square().sum()
    total = loss + beta / 2 * sum(p.square().sum() for p in decayed)
    assert total.item() == pytest.approx(value, rel=1e-9)
    total.backward()
    assert decayed[2].grad.abs().max().item() <= 1e-9  # the other layers end at kinks of the ReLU


@pytest.mark.parametrize(("kind", "depth", "beta", "loss", "tolerance"), [
    ("one-hot", 2, 0.4, "squared", 1e-6), ("one-hot", 3, 0.4, "squared", 1e-6),
    ("scalar", 2, 0.3, "squared", 1e-5), ("one-hot", 2, 0.3, "cross-entropy", 1e-5)])  # kinks slow it down
def test_training_ends_at_the_optimum_and_never_below(kind, depth, beta, loss, tolerance):
    X, Y = data(1, n=5, extra=1), labels(kind, 1, n=5)
    value = batchnorm_network_optimum(X, Y, beta, depth, loss)[1]
    starts = [batchnorm_network([5, *[6] * (depth - 1), Y[0].size], seed=seed) for seed in (0, 2)]
    reached = np.array([train(start, X, Y, beta, loss=loss, decay="last", steps=150,
                              progress=False).objective[-1] for start in starts])
    assert reached.min() == pytest.approx(value, rel=tolerance)
    assert np.all(reached >= value * (1 - 1e-12))


def test_without_the_rank_the_value_is_out_of_reach():
    X, Y = np.arange(4.0)[:, None], np.eye(4)  # rank[X, 1] = 2
    with pytest.raises(NotCovered, match="n = 4 and rank 2"):
        batchnorm_network_optimum(X, Y, 0.1)
    closed = batchnorm_network_optimum(np.eye(4), Y, 0.1)[1]
    reached = min(train(batchnorm_network([1, 10, 4], seed=seed), X, Y, 0.1, decay="last", steps=60,
                        progress=False).objective[-1] for seed in range(2))
    assert reached > 2 * closed


def random_network(rng, d, K, depth, units=4):
    sizes = [d, *[16] * (depth - 2), units]  # wide, so that no layer is off on all samples
    below = tuple(rng.normal(size=shape) for shape in zip(sizes, sizes[1:], strict=False))
    size = 10.0 ** rng.uniform(-1, 0.5)
    return BatchNormNetwork(below, *(size * rng.normal(size=shape) for shape in (units, units, (units, K))))


@given(seeds, depths, st.sampled_from(["one-hot", "scalar", "mixed sign", "any"]), st.integers(1, 6),
       st.floats(-2, 1))
def test_every_network_on_every_data_is_above_every_bound(seed, depth, kind, d, log_beta):
    rng, beta = np.random.default_rng(seed), 10.0**log_beta
    X = rng.normal(size=(6, d))
    Y = rng.normal(size=(6, 3)) if kind == "any" else labels(kind, seed).reshape(6, -1)
    losses = ["squared"] + {"one-hot": ["cross-entropy"], "scalar": ["logistic", "hinge"]}.get(kind, [])
    for loss in losses:
        targets = Y if loss in ("squared", "cross-entropy") else np.sign(Y)
        bounds = [certify(random_network(rng, d, Y.shape[1], depth), X, targets, beta, loss=loss)
                  for _ in range(4)]
        assert min(c.primal for c in bounds) >= max(c.dual for c in bounds) * (1 - 1e-12)
        assert {c.status for c in bounds} == {"proven" if d >= 5 else "proven, perhaps out of reach"}
        for c in bounds:
            closed = loss == "squared" and kind != "any"
            assert c.theorem == ("thm-batchnorm" if closed else "lem-batchnorm-whitens")
            if kind == "any":
                assert WhitenedReLUFeatures(np.eye(6)).support_bounds(c.dual_point)[1] <= beta * (1 + 1e-12)
                assert c.dual == pytest.approx(0.5 * np.sum(Y**2 - (Y - c.dual_point) ** 2), rel=1e-9)
            else:
                assert c.dual == batchnorm_network_optimum(np.eye(6), targets, beta, 2, loss)[1]


@pytest.mark.parametrize(("classes", "reached"), [([1, 0, 0], True), ([0, 1, 0], False)])
def test_on_a_line_the_bound_is_reached_where_the_classes_are_affine_in_the_data(classes, reached):
    X, Y = np.outer([-1.0, 1.0 if reached else 0.0, 1.0], [1.0, 2.0, 0.0]), np.eye(2)[classes]
    runs = [train(batchnorm_network([3, 6, 2], seed=seed), X, Y, 0.3, decay="last", steps=100, progress=False)
            for seed in range(3)]
    best = min((certify(run.module, X, Y, 0.3) for run in runs), key=lambda c: c.primal)
    assert best.status == "proven, perhaps out of reach"
    assert (best.relative_gap < 1e-6) == reached
    assert reached or best.relative_gap > 0.3


@pytest.mark.parametrize(("X", "depth"), [
    (np.eye(4, 3) + 1, 2), (np.array([[1.0, 0], [0, 1], [-1, 2], [-2, -1]]), 3)])
def test_labels_without_a_closed_form_are_bounded_by_the_residual(X, depth):
    """For n = 4 "copositive" is "semidefinite plus non-negative", and the dual problem a semidefinite program."""
    Y, beta = np.random.default_rng(0).normal(size=(4, 3)), 0.4
    with pytest.raises(NotCovered, match="acute angle"):
        whitened_relu_network(np.eye(4), Y, beta)
    Lambda, N = cp.Variable((4, 3)), cp.Variable((4, 4), symmetric=True)
    block = cp.bmat([[beta**2 * np.eye(4) - N, Lambda], [Lambda.T, np.eye(3)]])
    problem = cp.Problem(cp.Maximize(0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda)), [block >> 0, N >= 0])
    optimum = problem.solve(solver="CLARABEL")
    runs = [train(batchnorm_network([X.shape[1], *[8] * (depth - 1), 3], seed=seed), X, Y, beta, decay="last",
                  steps=400, progress=False) for seed in range(4)]
    best = min((certify(run.module, X, Y, beta) for run in runs), key=lambda c: c.primal)
    assert best.dual <= optimum * (1 + 1e-6) and optimum <= best.primal * (1 + 1e-6)
    assert best.primal == pytest.approx(optimum, rel=1e-4)
    assert best.relative_gap < 0.05


@given(seeds, depths)
def test_shifts_and_invertible_maps_of_the_features_change_nothing(seed, depth):
    X, Y, rng = data(seed), labels("mixed sign", seed), np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(5, 5)))[0] * rng.uniform(0.3, 3, 5)
    network, value = batchnorm_network_optimum(X, Y, 0.2, depth)
    moved, moved_value = batchnorm_network_optimum(X @ Q + rng.normal(size=5), Y, 0.2, depth)
    assert moved_value == value
    np.testing.assert_array_equal(moved.gamma, network.gamma)
    below = (3 * network.below[0], *network.below[1:])
    again = BatchNormNetwork(below, network.gamma, network.alpha, network.outer)
    np.testing.assert_allclose(again.predict(X), network.predict(X), atol=1e-9)


def test_batch_norm_is_whitening():
    for loss, Y in [("squared", labels("mixed sign", 3)), ("logistic", np.sign(labels("scalar", 3))),
                    ("cross-entropy", labels("one-hot", 3))]:
        network, value = batchnorm_network_optimum(data(3), Y, 0.2, 3, loss)
        assert value == whitened_relu_network(np.eye(6), Y, 0.2, 2, loss)[1]
        assert value == pytest.approx(objective(network, data(3), Y, 0.2, loss), rel=1e-9)


@pytest.mark.parametrize("depth", [2, 3])
def test_degenerate_cases(depth):
    X, one_class = data(0, n=4), np.ones((4, 1))
    network, value = batchnorm_network_optimum(X, one_class, 0.5, depth)
    assert value == pytest.approx(0.5 * 2 - 0.125)
    assert value == pytest.approx(objective(network, X, one_class, 0.5))
    assert abs(network.gamma[0]) < 1e-15
    Y = np.eye(2)[[0, 0, 0, 1]]
    for beta in (3**0.5, 50.0):  # both classes collapse
        network, value = batchnorm_network_optimum(X, Y, beta, depth)
        assert value == pytest.approx(2) and network.penalty < 1e-15
        assert np.abs(network.predict(X)).max() < 1e-15
        np.testing.assert_allclose(network.to_torch()(torch.tensor(X)).detach(), 0, atol=1e-15)
    network, value = batchnorm_network_optimum(X, Y, 1.2, depth)  # minority collapse
    assert np.all(network.predict(X)[:3, 0] > 0.1) and not network.predict(X)[:, 1].any()
    assert batchnorm_network_optimum(X, np.zeros((4, 2)), 0.1, depth)[1] == 0
    network, value = batchnorm_network_optimum(X, Y, 0.0, depth)
    np.testing.assert_allclose(network.predict(X), Y, atol=1e-12)


@pytest.mark.parametrize(("arguments", "message"), [
    (([[1.0, 2.0]], [[1.0, 0.0]], 0.1), "n = 1 and rank 1"),
    ((np.ones((2, 3)), np.eye(2), 0.1), "n = 2 and rank 1"),
    ((np.eye(2), np.ones((3, 2)), 0.1), "Y must have as many rows"),
    ((np.eye(2), np.eye(2), -0.1), "beta must be"),
    ((np.eye(2), np.eye(2), 0.1, 1), "depth must be at least 2"),
    ((np.eye(2), [[1.0, 0.0], [1.0, 1.0]], 0.1), "acute angle"),
])
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        batchnorm_network_optimum(*arguments)


@pytest.mark.parametrize(("arguments", "message"), [
    (((np.eye(2),), [1.0], np.ones(2), np.eye(2)), "gamma must have one entry per unit, found 1 for 2 units"),
    (((np.eye(2),), np.ones(2), np.ones((2, 1)), np.eye(2)), "alpha must be 1-D"),
    (((np.eye(2),), np.ones(2), [1.0, np.nan], np.eye(2)), "alpha must be finite"),
    (((np.eye(2, 3),), np.ones(2), np.ones(2), np.eye(2)), r"below, outer\[0\] of shape \(2, 3\) does not fit"),
    (((), np.ones(2), np.ones(2), np.eye(2)), "at least 2 matrices"),
])
def test_a_network_that_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchNormNetwork(*arguments)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_torch_and_back_gives_the_same_arrays(depth):
    network, _ = batchnorm_network_optimum(data(2), labels("one-hot", 2), 0.3, depth)
    back = to_arrays(network.to_torch())
    for name in ("gamma", "alpha", "outer"):
        np.testing.assert_array_equal(getattr(back, name), getattr(network, name))
    assert len(back.below) == depth - 1
    for W, V in zip(back.below, network.below, strict=True):
        np.testing.assert_array_equal(W, V)


def test_other_modules_are_refused():
    with pytest.raises(NotCovered, match="eps of the batch norm must be 0"):
        to_arrays(batchnorm_network([2, 3, 1], seed=0, eps=1e-5))
    module = batchnorm_network([2, 3, 1], seed=0)
    module[-1] = torch.nn.Linear(3, 1, dtype=torch.float64)
    with pytest.raises(NotCovered, match="no bias"):
        to_arrays(module)
    with pytest.raises(NotCovered, match="BatchNorm, .2. Linear"):
        to_arrays(torch.nn.Sequential(module[0], module[1], torch.nn.Linear(3, 1)))


def test_other_data_are_refused_by_the_network():
    network, _ = batchnorm_network_optimum(np.eye(3), np.eye(3), 0.1)
    with pytest.raises(ValueError, match="X must have 3 columns, found 2"):
        network.predict(np.eye(2))
    with pytest.raises(ValueError, match="batch norm is undefined"):
        network.predict(np.eye(3)[:1])


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1 / 3])
@pytest.mark.parametrize("n", [3, 6, 7, 10, 11])
def test_a_unit_that_is_constant_up_to_rounding_is_refused(n, value):
    """Its centred values are nothing but rounding, not centred, and lengthen v at no cost: below the bound."""
    network = BatchNormNetwork((np.full((n, 1), value),), np.ones(1), np.ones(1), np.ones((1, 1)))
    with pytest.raises(ValueError, match="batch norm is undefined"):
        certify(network, np.eye(n), np.ones(n), 0.1)


def test_far_from_the_origin_pre_activations_have_the_length_that_is_paid_for():
    rng = np.random.default_rng(0)
    network = BatchNormNetwork((rng.normal(size=(3, 4)),), np.ones(4), 3 * np.ones(4), np.eye(4))
    H = network.hidden(1e9 + rng.normal(size=(5, 3)))
    np.testing.assert_allclose(np.linalg.norm(H, axis=0), 10**0.5, rtol=1e-14)
