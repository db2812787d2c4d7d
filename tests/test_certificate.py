"""Networks as arrays, balancing, and certificates against the known optimum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualkit import Network, NotCovered, as_network, certify, solve
from dualkit.features import LinearFeatures

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 4))
LOSSES = ["squared", "logistic", "hinge", "cross-entropy"]


def labels_for(loss, rng, n, K):
    if loss == "squared":
        return rng.normal(size=(n, K))
    if loss == "cross-entropy":
        return np.eye(max(K, 2))[rng.integers(max(K, 2), size=n)]
    return rng.choice([-1.0, 1.0], size=n)


@given(seeds, sizes, st.sampled_from(LOSSES), st.floats(1e-3, 10))
def test_weak_duality_for_random_networks(seed, size, loss, beta):
    rng = np.random.default_rng(seed)
    n, d, K = size
    X, Y = rng.normal(size=(n, d)), labels_for(loss, rng, n, K)
    weights = [rng.normal(size=(d, 3)), rng.normal(size=(3, Y.shape[1] if Y.ndim == 2 else 1))]
    if Y.ndim == 1:
        Y = Y[:, None]
    c = certify(weights, X, Y, beta, loss=loss)
    assert c.primal >= c.dual - 1e-10 * max(1, abs(c.primal))
    assert LinearFeatures(X).support(c.dual_point).value <= beta * (1 + 1e-9)
    other = [
        rng.normal(size=W.shape) * rng.uniform(0, 1) for W in weights
    ]  # the bound holds for every network
    assert certify(other, X, Y, beta, loss=loss).primal >= c.dual - 1e-9 * max(1, abs(c.dual))


@given(seeds, sizes, st.floats(1e-3, 1.5))
def test_gap_bounds_the_distance_and_closes_at_the_optimum(seed, size, fraction):
    rng = np.random.default_rng(seed)
    n, d, K = size
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, K))
    beta = fraction * np.linalg.norm(X.T @ Y, 2)
    optimum = solve(X, Y, beta)
    assert optimum.certificate.relative_gap < 1e-8
    noisy = certify([W + 0.1 * rng.normal(size=W.shape) for W in optimum.weights], X, Y, beta)
    assert noisy.gap >= noisy.primal - optimum.objective - 1e-9 * noisy.primal >= -2e-9 * noisy.primal


def test_gap_is_quadratic_in_the_perturbation_also_with_several_active_directions():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(12, 5)), rng.normal(size=(12, 3))
    beta = 0.1 * np.linalg.norm(X.T @ Y, 2)
    optimum = solve(X, Y, beta)
    noise = [rng.normal(size=W.shape) for W in optimum.weights]
    gaps = [
        certify([W + eps * N for W, N in zip(optimum.weights, noise, strict=True)], X, Y, beta).gap
        for eps in (1e-3, 1e-4)
    ]
    assert 80 < gaps[0] / gaps[1] < 125


def test_scalar_labels_of_shape_n_and_n_1_agree():
    X, y = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([1.0, -1.0])
    net = [np.ones((2, 2)), np.ones((2, 1))]
    flat, column = certify(net, X, y, 0.3), certify(net, X, y[:, None], 0.3)
    assert flat.gap == pytest.approx(column.gap, rel=1e-12)
    assert flat.dual_point.shape == (2,)


def test_branches_add_up_and_constants_are_not_penalised():
    a, b = (np.eye(2), np.ones((2, 1))), (2 * np.eye(2), np.ones((2, 1)))
    X = np.array([[1.0, -1.0]])
    net = Network((a, b), "relu", constant=np.array([5.0]))
    assert net.predict(X)[0, 0] == 1 + 2 + 5
    assert net.penalty == 0.5 * (2 + 2 + 8 + 2)
    biased = Network((a,), "relu", biases=(np.array([0.0, 3.0]),))
    assert biased.predict(X)[0, 0] == 1 + 2


def test_torch_modules_are_read_exactly():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), torch.nn.Linear(4, 2, bias=False)
    ).double()
    c = certify(module, X, Y, 0.5)
    with torch.no_grad():
        residual = module(torch.tensor(X)).numpy() - Y
        decay = sum((p**2).sum().item() for p in module.parameters())
    assert c.primal == pytest.approx(0.5 * np.sum(residual**2) + 0.25 * decay, rel=1e-12)


def test_the_printed_form_says_what_is_proven():
    c = certify([np.zeros((1, 1)), np.zeros((1, 1))], [[1.0]], [0.5], 1.0)
    assert str(c) == (
        "objective 0.125, lower bound 0.125 (thm-duality, proven): no network of this kind is better "
        "by more than 0.0e+00 (0 %)"
    )


X2, Y2 = np.eye(2), np.ones((2, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: certify([np.ones((2, 1)), np.ones((1, 1))], X2, Y2, -1.0),
            ValueError,
            "beta must be finite and >= 0",
        ),
        (lambda: certify([np.ones((2, 1)), np.ones((1, 1))], X2, Y2, 0.0), ValueError, "beta must be > 0"),
        (
            lambda: certify([np.ones((2, 1)), np.ones((1, 1))], X2, Y2, np.nan),
            ValueError,
            "beta must be finite",
        ),
        (
            lambda: certify([np.ones((2, 1)), np.ones((1, 1))], X2, Y2, "1"),
            TypeError,
            "beta must be a real number",
        ),
        (
            lambda: certify([np.ones((2, 1)), np.ones((1, 3))], X2, Y2, 1.0),
            ValueError,
            "Y must have the shape of the net",
        ),
        (
            lambda: certify([np.ones((3, 1)), np.ones((1, 1))], X2, Y2, 1.0),
            ValueError,
            "X must have 3 columns",
        ),
        (
            lambda: certify([np.ones((2, 1)), np.ones((2, 1))], X2, Y2, 1.0),
            ValueError,
            r"branches\[0\]\[0\] of shape",
        ),
        (lambda: certify([np.ones((2, 1)), np.ones((1, 1))], X2, Y2, 1.0, loss="huber"), ValueError, "huber"),
        (lambda: certify("weights.npz", X2, Y2, 1.0), NotCovered, "network must be a torch module"),
        (lambda: Network(()), ValueError, "branches must hold at least one chain"),
        (lambda: Network(((np.ones((1, 1)),),)), ValueError, "at least 2"),
        (lambda: Network(((np.eye(1), np.eye(1)),), "tanh"), ValueError, "activation must be one of"),
        (
            lambda: Network(((np.eye(1), np.full((1, 1), np.nan)),)),
            ValueError,
            r"branches\[0\]\[1\] must be finite",
        ),
        (lambda: as_network([np.eye(1)]), ValueError, "branches.0. must hold at least 2 matrices"),
    ],
)
def test_bad_input_names_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


@given(seeds, st.integers(1, 3), st.floats(0.05, 2.0))
def test_on_general_data_the_bound_is_called_heuristic(seed, K, beta):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(9, 5)), rng.normal(size=(9, K))
    c = certify([rng.normal(size=(5, 4)), rng.normal(size=(4, K))], X, Y, beta, activation="relu")
    assert (c.status, c.gap >= 0) == ("heuristic bound", True)
    assert "it seems that" in str(c)
