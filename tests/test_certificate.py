"""Networks as arrays, balancing, and certificates against the known optimum."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualkit import Network, NotCovered, as_network, certify, solve
from dualkit.arrangements import ReLUFeatures
from dualkit.features import LinearFeatures
from dualkit.losses import Hinge, MarginLoss
from dualkit.training import standard_network, train
from dualkit.whitened import WhitenedReLUFeatures

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


def test_data_that_are_nearly_whitened_get_a_heuristic_bound_and_no_error():
    X = np.eye(25) * (1 + 4e-10)  # within 1e-9 in every singular value, but not in all together
    c = certify([np.ones((25, 1)), np.ones((1, 1))], X, np.ones(25), 0.1, activation="relu")
    assert c.status == "heuristic bound"


def test_a_module_is_not_mistaken_for_the_network_inside_it():
    class Doubled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = standard_network([2, 3, 1], activation="relu", seed=0)

        def forward(self, X):
            return 2 * self.network(X)

    with pytest.raises(NotCovered, match="is a Doubled"):
        certify(Doubled(), X2, Y2, 1.0)


class Rounded(MarginLoss):
    """The hinge loss with its kink rounded off over a width mu: gradient methods train it to high accuracy."""

    name, steepest = "rounded hinge", 1.0

    def __init__(self, mu):
        self.mu, self.smoothness = mu, 1 / mu

    def phi(self, m):
        return np.where(1 - m > self.mu, 1 - m - self.mu / 2, np.maximum(1 - m, 0.0) ** 2 / (2 * self.mu))

    def slope(self, m):
        return -np.clip((1 - m) / self.mu, 0.0, 1.0)

    def entropy(self, a):
        return a * (self.mu * a / 2 - 1)


def trained_on_hinge(X, y, beta, activation, seed):
    net = standard_network([X.shape[1], 6, 1], activation=activation, seed=seed)
    for mu in 10.0 ** -np.arange(9):
        net = train(net, X, y, beta, loss=Rounded(mu), steps=300, every=300, progress=False).module
    return net


WHITE = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 6)))[0].T
SIGNS = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("beta", [0.05, 0.3, 1.5])  # at 1.5 the minority class is given up
def test_a_network_trained_on_the_hinge_loss_is_certified_at_its_kinks(activation, beta):
    net = trained_on_hinge(WHITE, SIGNS, beta, activation, seed=0)
    c = certify(net, WHITE, SIGNS, beta, loss="hinge")
    assert (c.status, c.relative_gap < 1e-6) == ("proven", True)
    features = (LinearFeatures if activation == "linear" else WhitenedReLUFeatures)(WHITE)
    assert features.support(c.dual_point).value <= beta * (1 + 1e-12)
    assert Hinge().dual_value(c.dual_point, SIGNS) == c.dual
    if activation == "relu":
        assert c.dual <= solve(WHITE, SIGNS, beta, activation="relu", loss="hinge").objective <= c.primal


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_the_hinge_bound_on_general_data_agrees_with_a_cone_solver(beta):
    cp = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(12, 3)), rng.choice([-1.0, 1.0], size=12)
    w = cp.Variable(3)
    svm = cp.Problem(cp.Minimize(cp.sum(cp.pos(1 - cp.multiply(y, X @ w))) + beta * cp.norm(w)))
    optimum = svm.solve(solver="CLARABEL")
    c = certify(trained_on_hinge(X, y, beta, "linear", seed=1), X, y, beta, loss="hinge")
    assert c.relative_gap < 1e-6
    assert c.dual <= optimum * (1 + 1e-8) and optimum <= c.primal * (1 + 1e-8)


@given(seeds, st.integers(1, 4), st.floats(0.01, 2.0), st.sampled_from(["linear", "relu"]))
def test_the_choice_at_kinks_never_makes_the_bound_invalid(seed, m, beta, activation):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(7, 2)), rng.choice([-1.0, 1.0], size=(7, 1))
    W1, W2 = rng.normal(size=(2, m)), rng.normal(size=(m, 1))
    A = X @ W1 if activation == "linear" else np.maximum(X @ W1, 0.0)
    y = np.where(np.abs(A @ W2) > 0.1, np.sign(A @ W2), y)
    W2 = W2 / np.abs(A @ W2).max()  # the largest margin is a kink
    c = certify([W1, W2], X, y, beta, loss="hinge", activation=activation)
    features = LinearFeatures(X) if activation == "linear" else ReLUFeatures(X)
    assert features.support(c.dual_point).value <= beta * (1 + 1e-9)
    simple = Hinge().dual_point(A @ W2, y)
    scale = Hinge().scale(simple, y, beta / (features.support(simple).value or 1.0))
    assert Hinge().dual_value(scale * simple, y) <= c.dual + 1e-12 <= c.primal + 2e-12


@given(seeds, st.integers(1, 3), st.floats(0.05, 2.0))
def test_on_general_data_the_bound_is_called_heuristic(seed, K, beta):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(9, 5)), rng.normal(size=(9, K))
    c = certify([rng.normal(size=(5, 4)), rng.normal(size=(4, K))], X, Y, beta, activation="relu")
    assert (c.status, c.gap >= 0) == ("heuristic bound", True)
    assert "it seems that" in str(c)
