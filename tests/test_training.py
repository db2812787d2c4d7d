from threading import Event
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn
from torch.nn import functional

from dualkit import training
from dualkit._objective import Objective, vector
from dualkit._validate import NotCovered
from dualkit.data import one_hot, random_whitened_rows
from dualkit.losses import get_loss
from dualkit.modules import BatchNorm
from dualkit.networks import Network
from dualkit.training import (
    batchnorm_network,
    from_arrays,
    parallel_network,
    standard_network,
    to_arrays,
    train,
    train_many,
)

X = np.random.default_rng(7).normal(size=(9, 4))
y = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * np.random.default_rng(8).normal(size=9)
BETA = 0.7


def group_norm_regression(X, y, beta):
    """min_w 0.5 ||X w - y||^2 + beta ||w||_2, by the root tau = ||w|| of its optimality condition."""
    if np.linalg.norm(X.T @ y) <= beta:
        return 0.5 * y @ y
    def w(tau):
        return np.linalg.solve(X.T @ X + beta / tau * np.eye(X.shape[1]), X.T @ y)
    most = np.linalg.norm(np.linalg.pinv(X) @ y)
    tau = brentq(lambda tau: np.linalg.norm(w(tau)) - tau, 1e-9, most + 1, xtol=1e-14)
    return 0.5 * np.sum((X @ w(tau) - y) ** 2) + beta * tau


def threshold(sigma, beta):
    """min over s >= 0 of 0.5 (s - sigma)^2 + beta s."""
    return beta * sigma - beta**2 / 2 if sigma > beta else sigma**2 / 2


def linear_start(seed=0, widths=(4, 3, 1), **kwargs):
    return standard_network(widths, activation="linear", seed=seed, **kwargs)


def quiet(module, X=X, Y=y, beta=BETA, **kwargs):
    return train(module, X, Y, beta, progress=False, **kwargs)


def weights_of(module):
    return vector(list(module.parameters()))


def objective(module, X, Y, beta, loss="squared", decay="all"):
    return Objective(module, X, Y, beta, get_loss(loss), decay, "cpu")


# Training reaches the values that theorems give.

@pytest.mark.parametrize(("seed", "beta"), [(0, 0.7), (1, 3.0), (2, 0.05), (3, 100.0)])
def test_two_layer_linear_scalar_reaches_the_group_norm_value(seed, beta):
    reached = quiet(linear_start(seed), beta=beta, steps=2000).objective[-1]
    assert reached == pytest.approx(group_norm_regression(X, y, beta), abs=1e-8)


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.1), ("sgd", 0.04)])
def test_first_order_methods_reach_the_group_norm_value(optimizer, lr):
    reached = quiet(linear_start(), optimizer=optimizer, lr=lr, steps=300, every=300).objective[-1]
    assert reached == pytest.approx(group_norm_regression(X, y, BETA), rel=1e-7)


def test_whitened_relu_reaches_the_two_unit_value():
    W = random_whitened_rows(6, 7, 0)
    t = np.array([2.0, -1.5, 0.5, 1.0, -0.2, 0.0])
    want = sum(threshold(np.linalg.norm(np.maximum(sign * t, 0)), 0.3) for sign in (1, -1))
    start = standard_network([7, 20, 1], activation="relu", seed=1)
    assert quiet(start, W, t, 0.3, steps=3000).objective[-1] == pytest.approx(want, abs=1e-7)


def test_parallel_network_reaches_the_whitened_value_of_depth_three():
    # y >= 0 of length sigma: one chain of gain s costs 0.5 (s - sigma)^2 + beta (3/2) s^(2/3).
    W = random_whitened_rows(4, 5, 0)
    t = np.array([1.0, 2.0, 0.0, 2.0])
    s = np.linspace(0, 4, 2_000_001)
    want = np.min(0.5 * (s - 3) ** 2 + 0.2 * 1.5 * s ** (2 / 3))
    starts = [parallel_network(5, 1, 3, branches=4, inner_width=3, seed=seed) for seed in range(3)]
    reached = min(quiet(start, W, t, 0.2, steps=1500).objective[-1] for start in starts)
    assert reached == pytest.approx(want, abs=1e-7)


def with_unit_variance(network):
    return nn.Sequential(*(nn.BatchNorm1d(len(layer.scale), eps=1e-12, dtype=torch.float64)
                           if isinstance(layer, BatchNorm) else layer for layer in network))


@pytest.mark.parametrize("unit_variance", [False, True])
def test_batch_norm_network_reaches_the_whitened_value_on_any_data_of_full_affine_rank(unit_variance):
    Z = np.random.default_rng(0).normal(size=(6, 5))  # rank [Z, 1] = 6
    Y = one_hot([0, 0, 0, 1, 1, 2], 3)
    beta = 0.3
    want = sum(threshold(np.sqrt(n_k), beta) for n_k in (3, 2, 1))
    start = batchnorm_network([5, 24, 3], seed=0)
    if unit_variance:
        start, beta = with_unit_variance(start), beta * np.sqrt(6)
    assert quiet(start, Z, Y, beta, decay="last", steps=4000).objective[-1] == pytest.approx(want, abs=1e-6)


def test_lbfgs_starts_again_after_a_stall(monkeypatch):
    def stall(*args, options, **kwargs):
        return minimize(*args, options={**options, "maxiter": min(4, options["maxiter"])}, **kwargs)
    monkeypatch.setattr(training, "minimize", stall)
    history = quiet(linear_start(), steps=1001)
    assert history.objective[-1] == pytest.approx(group_norm_regression(X, y, BETA), abs=1e-8)
    assert quiet(linear_start(), steps=10).steps[-1] == 10


def test_lbfgs_never_increases_the_objective():
    # The hinge loss has kinks, where the line search fails.
    signs = np.sign(y)
    start = standard_network([4, 6, 1], activation="relu", seed=0)
    history = quiet(start, Y=signs, loss="hinge", steps=300, every=1)
    assert (np.diff(history.objective) <= 0).all()
    assert history.objective[-1] < 0.9 * history.objective[0]


# One definition of the objective.

TORCH_LOSSES = {
    "squared": lambda F, Y: 0.5 * functional.mse_loss(F, Y, reduction="sum"),
    "logistic": lambda F, Y: functional.binary_cross_entropy_with_logits(F, (Y + 1) / 2, reduction="sum"),
    "hinge": lambda F, Y: functional.relu(1 - F * Y).sum(),
    "cross-entropy": lambda F, Y: functional.cross_entropy(F, Y, reduction="sum"),
}
LABELS = {"squared": X[:, :2] + 1, "logistic": np.sign(y)[:, None], "hinge": np.sign(y),
          "cross-entropy": one_hot(np.arange(9) % 3, 3)}


@pytest.mark.parametrize("loss", TORCH_LOSSES)
@pytest.mark.parametrize("kind", ["standard", "parallel", "batchnorm"])
def test_value_and_gradient_agree_with_torch(loss, kind):
    Y = LABELS[loss].reshape(9, -1)
    K = Y.shape[1]
    module = {"standard": standard_network([4, 5, 6, K], activation="relu", seed=2),
              "parallel": parallel_network(4, K, 4, branches=3, inner_width=2, seed=2),
              "batchnorm": batchnorm_network([4, 5, 6, K], seed=2)}[kind]
    weights = list(module.parameters())
    value = TORCH_LOSSES[loss](module(torch.tensor(X)), torch.tensor(Y))
    value = value + 0.35 * sum(p.square().sum() for p in weights)
    gradient = torch.autograd.grad(value, weights)
    run = objective(module, X, LABELS[loss], 0.7, loss)
    assert run.evaluate(gradient=True) == pytest.approx(value.item(), rel=1e-13)
    found = vector([p.grad for p in run.parameters])
    np.testing.assert_allclose(found, vector(gradient), rtol=1e-11, atol=1e-12)
    assert quiet(module, Y=LABELS[loss], loss=loss, steps=1).objective[0] == run.evaluate()


def test_biases_and_constant_are_trained_but_not_penalised():
    net = Network(((np.ones((4, 2)), np.ones((2, 1))),), "relu", (np.array([5.0, 3.0]),), np.array([9.0]))
    doubled = Network(net.branches * 2, "relu", net.biases * 2, net.constant)
    for module in (net.to_torch(), doubled.to_torch()):
        assert objective(module, X, y, 2.0).decay(module).item() == to_arrays(module).penalty
        trained = to_arrays(quiet(module, steps=5).module)
        assert trained.constant != net.constant
        assert (trained.biases[0] != net.biases[0]).all()


def test_decay_last_leaves_the_inner_weights_free():
    module = batchnorm_network([4, 5, 6, 2], seed=0)
    run = objective(module, X, X[:, :2], 1.0, decay="last")
    kept = [module[3].scale, module[3].shift, module[5].weight]
    assert run.decay(None).item() == pytest.approx(0.5 * np.sum(vector(kept) ** 2), rel=1e-14)


def test_a_callable_decay_replaces_the_weight_decay():
    # ||W_1||^4/2 + ||W_2||^4/2 >= gain^2: ridge regression with 2 beta in place of beta.
    def fourth_powers(module):
        return sum(W.square().sum() ** 2 / 2 for W in module.parameters())
    ridge = 0.5 * y @ y - 0.5 * y @ X @ np.linalg.solve(X.T @ X + 2 * BETA * np.eye(4), X.T @ y)
    history = quiet(linear_start(), decay=fourth_powers, steps=1000)
    assert history.objective[-1] == pytest.approx(ridge, abs=1e-8)


def test_a_module_may_return_a_flat_vector():
    flat = nn.Sequential(linear_start(), nn.Flatten(0))
    assert objective(flat, X, y, BETA).evaluate() == objective(linear_start(), X, y, BETA).evaluate()


def test_batches_partition_the_samples_and_give_the_gradient_on_average():
    run = objective(linear_start(), X, y, BETA)
    run.evaluate(gradient=True)
    full = vector([p.grad for p in run.parameters])
    source, total = run.batches(3, 0), np.zeros_like(full)
    for _ in range(2):
        epoch = [next(source) for _ in range(3)]
        assert sorted(np.concatenate(epoch)) == list(range(9))
        for rows in epoch:
            run.evaluate(rows, gradient=True)
            total += vector([p.grad for p in run.parameters]) / 6
    np.testing.assert_allclose(total, full, rtol=1e-12, atol=1e-12)


def test_batch_norm_in_evaluation_mode_is_that_of_the_last_training_batch():
    module = batchnorm_network([4, 5, 3, 2], seed=0)
    whole = module(torch.tensor(X))
    torch.testing.assert_close(module.eval()(torch.tensor(X)), whole)
    torch.testing.assert_close(module(torch.tensor(X[:2])), whole[:2])
    history = quiet(module, Y=X[:, :2], steps=20)
    value = objective(history.module, X, X[:, :2], BETA)
    outputs = history.module(torch.tensor(X)).detach().numpy()
    assert history.objective[-1] == pytest.approx(value.evaluate(), rel=1e-12)
    assert history.objective[-1] == pytest.approx(
        0.5 * np.sum((outputs - X[:, :2]) ** 2) + BETA * value.decay(None).item(), rel=1e-12)


def test_batch_norm_is_that_of_torch_up_to_the_unit_of_length():
    ours, theirs = BatchNorm(4, 0.3), nn.BatchNorm1d(4, eps=0.3, dtype=torch.float64)
    with torch.no_grad():
        for mine, other, values in ((ours.scale, theirs.weight, X[0]), (ours.shift, theirs.bias, X[1])):
            mine.copy_(torch.tensor(3.0 * values))  # n = 9 samples, sqrt(n) = 3
            other.copy_(torch.tensor(values))
    torch.testing.assert_close(ours(torch.tensor(X)), theirs(torch.tensor(X)))


def test_batch_norm_refuses_a_constant_column():
    constant = np.ones((9, 4))
    with pytest.raises(ValueError, match="unit 0 receives the same value from all samples"):
        quiet(batchnorm_network([4, 3, 1], seed=0), constant)
    quiet(batchnorm_network([4, 3, 1], seed=0, eps=1e-3), constant, steps=1)


@pytest.mark.parametrize("value", [0.1, 1 / 3])
@pytest.mark.parametrize("n", [3, 7, 11])
@pytest.mark.parametrize("spread", [0.0, 1e-14, 1e-9])
def test_batch_norm_refuses_the_units_that_its_arrays_refuse(n, value, spread):
    column = torch.full((n, 1), value, dtype=torch.float64) + spread * torch.arange(n)[:, None]
    module = batchnorm_network([n, 1, 1], seed=0)
    with torch.no_grad():
        module[0].weight.copy_(column.T)
    module_runs, arrays_run = (_runs(lambda f=f: f(np.eye(n))) for f in (
        lambda A: module(torch.tensor(A)), to_arrays(module).predict))
    assert module_runs == arrays_run == (spread == 1e-9)


def _runs(call):
    try:
        call()
    except ValueError as error:
        return "batch norm is undefined" not in str(error)
    return True


# Seeds.

@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"optimizer": "sgd", "batch": 4, "seed": 5}])
def test_a_run_repeats_bit_for_bit_and_touches_no_global_state(options):
    before = torch.random.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    start = standard_network([4, 6, 1], activation="relu", seed=3)
    kept = weights_of(start)
    first, second = (quiet(start, steps=30, **options) for _ in range(2))
    parallel_network(4, 1, 3, 2, 2, seed=0)
    batchnorm_network([4, 3, 1], seed=0)
    assert np.array_equal(weights_of(first.module), weights_of(second.module))
    assert np.array_equal(first.objective, second.objective)
    assert np.array_equal(kept, weights_of(start))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == str(np.random.get_state())  # noqa: NPY002


def threads():
    blas = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return {**blas, "torch": torch.get_num_threads()}


def test_a_run_takes_one_thread_and_gives_the_others_back():
    with threadpool_limits(2):
        before = threads()
        assert before["torch"] == 2
        history = quiet(linear_start(), steps=1, record=lambda _: threads())
        assert set(history.records[0].values()) == {1}
        # A library that was loaded on the way has no number to go back to.
        assert {name: threads()[name] for name in before} == before


def test_seeds_decide_the_start_and_the_batches():
    for make in (lambda seed: linear_start(seed), lambda seed: parallel_network(4, 1, 3, 2, 2, seed=seed),
                 lambda seed: batchnorm_network([4, 3, 1], seed=seed)):
        assert np.array_equal(weights_of(make(0)), weights_of(make(np.random.default_rng(0))))
        assert not np.array_equal(weights_of(make(0)), weights_of(make(1)))
    runs = [quiet(linear_start(), optimizer="sgd", batch=4, seed=seed, steps=3) for seed in (0, 1)]
    assert not np.array_equal(weights_of(runs[0].module), weights_of(runs[1].module))


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("linear", 1.0)])
def test_he_start(activation, gain):
    for W in to_arrays(standard_network([100, 300, 200, 100], activation=activation, seed=0)).branches[0]:
        assert np.mean(W**2) * W.shape[0] == pytest.approx(gain, rel=0.05)
    # A parallel network's outputs do not grow with the number of branches.
    parallel = to_arrays(parallel_network(9, 50, 3, 100, 2, activation=activation, seed=0))
    outer = [branch[-1] for branch in parallel.branches]
    assert np.mean(np.square(outer)) * 100 == pytest.approx(gain, rel=0.1)
    small = weights_of(linear_start(scale=0.01))
    np.testing.assert_allclose(small, 0.01 * weights_of(linear_start()), rtol=1e-15)


# Arrays and modules.

@st.composite
def networks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth, J = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    d, K, size = draw(st.integers(1, 3)), draw(st.integers(1, 3)), st.integers(1, 3)
    widths = [[d, *[draw(size) for _ in range(depth - 1)], K] for _ in range(J)]
    branches = tuple(tuple(rng.normal(size=s) for s in zip(w[:-1], w[1:], strict=True)) for w in widths)
    biases = tuple(rng.normal(size=w[-2]) for w in widths) if draw(st.booleans()) else None
    return Network(branches, draw(st.sampled_from(["linear", "relu"])), biases,
                   rng.normal(size=K) if draw(st.booleans()) else None)


def same(first, second):
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second


@settings(max_examples=60, deadline=None)
@given(networks())
def test_arrays_to_module_and_back_is_exact(net):
    module = from_arrays(net)
    back = to_arrays(module)
    assert all(same(getattr(net, name), getattr(back, name)) for name in vars(net))
    Z = np.random.default_rng(0).normal(size=(5, net.branches[0][0].shape[0]))
    outputs = module(torch.tensor(Z)).detach().numpy()
    np.testing.assert_allclose(outputs, net.predict(Z), rtol=1e-12, atol=1e-12)
    with torch.no_grad():  # the arrays are copies
        for p in module.parameters():
            p.add_(1.0)
    assert same(net.branches, back.branches)


def test_to_arrays_reads_ordinary_torch_networks():
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2))
    net = to_arrays(module)
    np.testing.assert_allclose(net.predict(X), module.double()(torch.tensor(X)).detach().numpy(), rtol=1e-6)
    assert net.activation == "relu"
    assert to_arrays(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))).activation == "linear"


def three_layers(**bias):
    return [nn.Linear(4, 3, **bias), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)]


class Doubled(nn.Linear):
    def forward(self, X):
        return 2 * super().forward(X)


@pytest.mark.parametrize(("module", "message"), [
    (nn.Sequential(*three_layers()), "module '0' has a bias in hidden layer 1 of 2"),
    (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)), "module '1' is a Tanh"),
    (nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Dropout())), "module '1.1' is a Dropout"),
    (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), Doubled(3, 1)), "module '2' is a Doubled"),
    (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3, bias=False), nn.Linear(3, 1)), "'3' Linear"),
    (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1), nn.ReLU()), "'3' ReLU"),
    (nn.Sequential(nn.ReLU(), nn.Linear(4, 3), nn.Linear(3, 1)), "'0' ReLU"),
    (nn.Linear(4, 1), "two or more nn.Linear"),
    (nn.Sequential(), "no layers"),
])
def test_to_arrays_refuses_what_a_network_cannot_express(module, message):
    with pytest.raises(NotCovered, match=message):
        to_arrays(module)


def test_to_arrays_accepts_an_early_bias_of_zero():
    module = nn.Sequential(*three_layers())
    nn.init.zeros_(module[0].bias)
    assert to_arrays(module).depth == 3


# The course of a run.

def test_observations_come_every_so_many_steps_and_at_the_end():
    history = quiet(linear_start(), optimizer="adam", steps=25, every=10,
                    record=lambda module: (module.training, weights_of(module)))
    assert history.steps.tolist() == [0, 10, 20, 25]
    assert len(history.records) == 4
    assert not any(training for training, _ in history.records)
    assert np.array_equal(history.records[0][1], weights_of(linear_start()))
    assert np.array_equal(history.records[-1][1], weights_of(history.module))
    assert history.objective[-1] == objective(history.module, X, y, BETA).evaluate()
    assert not history.interrupted


def test_lbfgs_ends_by_itself_at_a_stationary_point():
    history = quiet(linear_start(), steps=10**6)
    run = objective(history.module, X, y, BETA)
    run.evaluate(gradient=True)
    assert history.steps[-1] < 1000
    assert np.abs(vector([p.grad for p in run.parameters])).max() < 1e-6


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("calls", [1, 3])
def test_an_interrupt_returns_what_has_been_reached(optimizer, calls):
    seen = []

    def record(module):
        if len(seen) == calls - 1:
            raise KeyboardInterrupt
        seen.append(weights_of(module))

    history = quiet(linear_start(), optimizer=optimizer, steps=50, every=4, record=record)
    assert history.interrupted
    assert len(history.records) == calls - 1
    assert history.steps.tolist() == [0, 4, 8][:calls]
    assert history.objective[-1] == objective(history.module, X, y, BETA).evaluate()
    assert not history.module.training


def test_an_interrupt_inside_the_line_search_returns_the_last_accepted_step(monkeypatch):
    whole = quiet(linear_start(), steps=50, every=1, record=weights_of)
    evaluate, calls = Objective.evaluate, []

    def interrupted(self, *args, gradient=False):
        calls.append(gradient)
        value = evaluate(self, *args, gradient=gradient)
        if calls.count(True) == 8 and gradient:
            raise KeyboardInterrupt
        return value

    monkeypatch.setattr(Objective, "evaluate", interrupted)
    history = quiet(linear_start(), steps=50, every=50)
    reached = history.steps[-1]
    assert history.interrupted
    assert 0 < reached < 8
    assert history.objective.tolist() == whole.objective[[0, reached]].tolist()
    assert weights_of(history.module) == pytest.approx(whole.records[reached], rel=1e-15)


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.01), ("sgd", 0.1 / np.linalg.norm(X, 2) ** 2)])
def test_step_lengths(optimizer, lr):
    def weights(steps, lr):
        return weights_of(quiet(linear_start(), optimizer=optimizer, steps=steps, lr=lr).module)
    assert np.array_equal(weights(5, None), weights(5, lr))
    assert np.array_equal(weights(8, lambda step: lr if step < 5 else 0.0), weights(5, lr))
    assert not np.array_equal(weights(5, 2 * lr), weights(5, lr))


@pytest.mark.parametrize(("optimizer", "lr"), [("lbfgs", None), ("adam", 0.05)])
def test_training_stops_once_the_gap_is_small(optimizer, lr):
    optimum = group_norm_regression(X, y, BETA)
    gaps = []

    def certificate(module):
        value = objective(module, X, y, BETA).evaluate()
        gaps.append((value - optimum) / value)
        return SimpleNamespace(relative_gap=gaps[-1])

    history = quiet(linear_start(), optimizer=optimizer, lr=lr, steps=5000, every=2, tolerance=1e-3,
                    certificate=certificate)
    assert gaps[-1] <= 1e-3 < min(gaps[:-1])
    assert history.steps[-1] == 2 * (len(gaps) - 1) < 5000
    assert not history.interrupted


def test_the_package_certificate_can_stop_training():
    from dualkit.certificate import certify

    history = quiet(linear_start(), steps=5000, every=1, tolerance=1e-6,
                    certificate=lambda module: certify(module, X, y[:, None], BETA))
    assert certify(history.module, X, y[:, None], BETA).relative_gap <= 1e-6
    assert history.steps[-1] < 5000


def test_a_run_that_diverges_raises():
    with pytest.raises(FloatingPointError, match="smaller lr"):
        quiet(linear_start(), optimizer="sgd", lr=1e3, steps=200)


def test_the_progress_bar_goes_to_stderr_and_can_be_switched_off(capsys):
    train(linear_start(), X, y, BETA, steps=5)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "training" in shown.err
    quiet(linear_start(), steps=5)
    assert capsys.readouterr().err == ""


NAN = np.where(np.arange(9) == 3, np.nan, y)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"X": X[:, :3]}, ValueError, r"X of shape \(9, 3\) does not fit the module"),
    ({"X": X[:, 0]}, ValueError, "X must be 2-D"),
    ({"Y": NAN}, ValueError, "Y must be finite, found nan at index"),
    ({"Y": y[:5]}, ValueError, "Y must have as many rows as X"),
    ({"Y": X[:, :2]}, ValueError, r"Y must have the shape of the module's outputs \(9, 1\), found \(9, 2\)"),
    ({"loss": "logistic"}, ValueError, "Y must"),
    ({"loss": "huber"}, ValueError, "loss must be one of"),
    ({"beta": -1.0}, ValueError, "beta must be finite and >= 0"),
    ({"steps": 0}, ValueError, "steps must be at least 1"),
    ({"every": 2.5}, TypeError, "every must be an integer"),
    ({"optimizer": "newton"}, ValueError, "optimizer must be one of"),
    ({"decay": "first"}, ValueError, "decay must be one of"),
    ({"decay": "last"}, NotCovered, "batch norm, found none"),
    ({"lr": 0.1}, ValueError, "lr and batch must be None"),
    ({"optimizer": "sgd", "lr": -0.1}, ValueError, "lr must be"),
    ({"optimizer": "sgd", "batch": 3}, TypeError, "seed must be"),
    ({"optimizer": "sgd", "batch": 10, "seed": 0}, ValueError, "batch must be at most the 9 samples"),
    ({"tolerance": -1.0, "certificate": print}, ValueError, "tolerance must be"),
    ({"tolerance": 1e-3}, ValueError, "tolerance and certificate go together"),
    ({"module": [np.ones((4, 1))]}, TypeError, "module must be a torch.nn.Module, found list"),
    ({"module": nn.ReLU()}, ValueError, "module must have parameters"),
    ({"module": batchnorm_network([4, 3, 1], seed=0), "optimizer": "sgd", "batch": 3, "seed": 0}, NotCovered,
     "batch norm"),
])
def test_bad_input_names_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        quiet(**{"module": linear_start(), **change})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no GPU"):
        quiet(linear_start(), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_reaches_the_same_value():
    assert quiet(linear_start(), device="cuda", steps=2000).objective[-1] == pytest.approx(
        group_norm_regression(X, y, BETA), abs=1e-8)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: standard_network([4, 1], activation="relu", seed=0), "at least one hidden"),
    (lambda: standard_network([4, 0, 1], activation="relu", seed=0), r"widths\[1\] must be at least 1"),
    (lambda: standard_network([4, 3, 1], activation="tanh", seed=0), "activation must be one of"),
    (lambda: parallel_network(4, 1, 1, 2, 2, seed=0), "depth must be at least 2"),
    (lambda: parallel_network(4, 1, 3, 0, 2, seed=0), "branches must be at least 1"),
    (lambda: batchnorm_network([4, 3, 1], seed=0, eps=-1.0), "eps must be"),
])
def test_bad_widths_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Many runs.

def reached(seed):
    history = quiet(linear_start(seed), steps=200)
    return history.objective[-1], weights_of(history.module)


def test_many_runs_on_a_local_dask_cluster_equal_the_runs_one_by_one():
    from distributed import Client, LocalCluster

    alone = train_many(reached, range(4), progress=False)
    with (LocalCluster(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
          Client(cluster), joblib.parallel_config(backend="dask")):
        together = train_many(reached, range(4), progress=False)
    for (value, weights), (other, others) in zip(alone, together, strict=True):
        assert value == other
        assert np.array_equal(weights, others)
    assert not np.array_equal(alone[0][1], alone[1][1])


def test_many_runs_in_one_process_leave_each_other_their_single_thread():
    entered, overlap, left = Event(), Event(), Event()

    def first(_):
        entered.set()
        assert overlap.wait(60)

    def second(_):
        overlap.set()
        assert left.wait(60)
        return max(threads().values())

    def job(number):
        if number == 0:
            quiet(linear_start(), steps=1, every=2, record=first)
            left.set()
            return None
        assert entered.wait(60)
        return quiet(linear_start(), steps=1, every=2, record=second).records

    with threadpool_limits(2), joblib.parallel_config(backend="threading", n_jobs=2):
        assert train_many(job, [0, 1], progress=False) == [None, (1, 1)]
        assert threads()["torch"] == 2


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_first_order_steps_are_those_of_torch(optimizer):
    rng = np.random.default_rng(5)
    X, Y, beta = rng.normal(size=(9, 4)), rng.normal(size=(9, 2)), 0.1
    ours = train(standard_network([4, 6, 2], activation="relu", seed=0), X, Y, beta, optimizer=optimizer.lower(),
                 lr=0.01, steps=30, progress=False).module
    theirs = standard_network([4, 6, 2], activation="relu", seed=0)
    method = getattr(torch.optim, optimizer)(theirs.parameters(), lr=0.01)
    for _ in range(30):
        method.zero_grad()
        loss = 0.5 * (theirs(torch.tensor(X)) - torch.tensor(Y)).square().sum()
        (loss + 0.5 * beta * sum(p.square().sum() for p in theirs.parameters())).backward()
        method.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
