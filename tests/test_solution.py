"""`solve` against training and its own certificate, for every structure it knows; what it refuses."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualkit import Network, NotCovered, as_network, balance, certify, solve
from dualkit.arrangements import arrangement_patterns
from dualkit.losses import get_loss
from dualkit.training import batchnorm_network, parallel_network, standard_network, train
from dualkit.whitened import optimal_atoms, relu_network

rng = np.random.default_rng(0)
WHITE = np.linalg.qr(rng.normal(size=(8, 5)))[0].T
TALL = WHITE.T.copy()
GENERAL, PLANE, LINE = rng.normal(size=(15, 6)), rng.normal(size=(8, 2)), rng.normal(size=(9, 1))
RAYS = np.outer([1.0, 2.0, -1.0, -2.0], [0.6, 0.8])
WIDE = rng.normal(size=(5, 6))
ONE_HOT = np.eye(3)[[0, 1, 2, 0, 1]]
SIGNS = np.array([1.0, -1.0, 1.0, 1.0, -1.0])


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape)


RELU, STANDARD = {"activation": "relu"}, {"activation": "relu", "architecture": "standard"}
SAME, OPPOSITE = np.array([1.0, 2.0, 1.0, 2.0]), np.array([1.0, 2.0, -1.0, -2.0])
MIXED = np.array([[1.0, 0], [-2, 0], [0, 1], [0, -1], [0, 2]])
TWO = np.eye(2)[[0, 1, 1, 0, 1]]

CASES = {
    "two-layer scalar": (GENERAL, normal(15), 1.0, {}, "thm-scalar"),
    "two-layer outputs": (GENERAL, normal(15, 4), 1.0, {}, "thm-nuclear"),
    "deep scalar, any data": (GENERAL, normal(15), 0.5, {"depth": 4}, "thm-deep-scalar"),
    "deep outputs, white rows": (WHITE, normal(5, 3), 0.1, {"depth": 3}, "thm-deep-linear"),
    "deep outputs, white columns": (TALL, normal(8, 3), 0.1, {"depth": 5}, "thm-deep-linear"),
    "whitened, one output": (WHITE, normal(5), 0.1, RELU, "thm-whitened"),
    "whitened, one output, deep": (WHITE, normal(5), 0.1, RELU | {"depth": 3}, "thm-whitened"),
    "whitened, one-hot": (WHITE, ONE_HOT, 0.1, RELU, "thm-whitened"),
    "whitened, one-hot, deep": (WHITE, ONE_HOT, 0.05, RELU | {"depth": 4}, "thm-whitened"),
    "whitened, mixed signs": (WHITE, MIXED, 0.1, RELU, "thm-obtuse-rows"),
    "whitened, mixed signs, two layers": (WHITE, MIXED, 0.1, STANDARD, "thm-obtuse-rows"),
    "whitened, cross-entropy": (WHITE, ONE_HOT, 0.05, RELU | {"loss": "cross-entropy"}, "thm-cross-entropy"),
    "whitened, two classes, deep": (WHITE, TWO, 0.1, RELU | {"loss": "cross-entropy", "depth": 3},
                                    "cor-two-classes"),
    "whitened, logistic, deep": (WHITE, SIGNS, 0.05, RELU | {"loss": "logistic", "depth": 3}, "thm-margin"),
    "whitened, hinge": (WHITE, SIGNS, 0.05, RELU | {"loss": "hinge"}, "thm-margin"),
    "standard, parallel rows": (WHITE, np.outer([1, 2, 0, 1, 3], [1, -1, 1]), 0.2, STANDARD | {"depth": 3},
                                "prop-standard-bound"),
    "standard, one output": (WHITE, normal(5), 0.05, STANDARD | {"depth": 3}, "prop-one-output"),
    "standard, one output, deep": (WHITE, normal(5), 0.02, STANDARD | {"depth": 4}, "prop-one-output"),
    "standard, two classes": (WHITE, TWO, 0.05, STANDARD | {"depth": 3}, "prop-two-classes"),
    "standard, logistic": (WHITE, SIGNS, 0.05, STANDARD | {"loss": "logistic", "depth": 3}, "thm-margin"),
    "standard, hinge, deep": (WHITE, SIGNS, 0.1, STANDARD | {"loss": "hinge", "depth": 4}, "thm-margin"),
    "standard, two classes of cross-entropy": (WHITE, TWO, 0.1, STANDARD | {"loss": "cross-entropy", "depth": 3},
                                               "cor-two-classes"),
    "standard, two classes of cross-entropy, deep": (
        WHITE, TWO, 0.1, STANDARD | {"loss": "cross-entropy", "depth": 5}, "cor-two-classes"),
    "standard, rank one": (RAYS, SAME, 0.3, STANDARD | {"depth": 3}, "thm-standard-rays"),
    "standard, rank one, two signs": (RAYS, OPPOSITE, 0.1, STANDARD | {"depth": 4}, "thm-standard-rays"),
    "rank one": (RAYS, SAME, 0.3, RELU, "thm-rank-one"),
    "rank one, outputs": (RAYS, normal(4, 2), 0.3, RELU, "prop-ray-outputs"),
    "rank one, deep": (RAYS, SAME, 0.3, RELU | {"depth": 3}, "thm-rank-one"),
    "one dimension": (LINE, normal(9), 0.1, RELU | {"bias": True}, "thm-spline"),
    "plane": (PLANE, normal(8), 0.3, RELU, "thm-convex-program"),
    "batch norm": (WIDE, ONE_HOT, 0.3, RELU | {"batch_norm": True}, "thm-batchnorm"),
    "batch norm, deep": (WIDE, ONE_HOT, 0.3, RELU | {"batch_norm": True, "depth": 3}, "thm-batchnorm"),
}


@pytest.mark.parametrize("name", CASES)
def test_solution_is_certified_and_its_torch_module_has_its_objective(name):
    X, Y, beta, options, theorem = CASES[name]
    optimum = solve(X, Y, beta, **options)
    assert optimum.theorem == theorem
    # Closed forms are exact; the general program is as accurate as its solver.
    assert optimum.certificate.relative_gap < (1e-5 if name == "plane" else 1e-8)
    loss = options.get("loss", "squared")
    module = certify(optimum.to_torch(), X, Y, beta, loss=loss)
    assert module.primal == pytest.approx(optimum.objective, rel=1e-12)
    F = optimum.predict(X).reshape(Y.shape)
    assert np.isfinite(F).all()


# Deep networks for which one of the starts below ends at the optimum.
REACHED = ["standard, parallel rows", "standard, one output", "standard, two classes", "standard, logistic",
           "standard, two classes of cross-entropy", "standard, rank one"]


def start(X, Y, options, seed):
    d, K, depth = X.shape[1], Y.shape[1] if Y.ndim == 2 else 1, options.get("depth", 2)
    if options.get("batch_norm"):
        return batchnorm_network([d, *[8] * (depth - 1), K], seed=seed)
    if options.get("activation") == "relu" and depth > 2 and "architecture" not in options:
        return parallel_network(d, K, depth, 6, 3, seed=seed)
    return standard_network([d, *[8] * (depth - 1), K], activation=options.get("activation", "linear"), seed=seed)


@pytest.mark.parametrize("name", [n for n in CASES if n != "one dimension" and "hinge" not in n])
def test_training_never_beats_the_solution_and_reaches_it(name):
    X, Y, beta, options, _ = CASES[name]
    optimum = solve(X, Y, beta, **options).objective
    decay = "last" if options.get("batch_norm") else "all"
    reached = [
        train(
            start(X, Y, options, seed),
            X,
            Y,
            beta,
            loss=options.get("loss", "squared"),
            decay=decay,
            steps=400,
            progress=False,
        ).objective[-1]
        for seed in range(3)
    ]
    assert min(reached) >= optimum * (1 - 1e-6)
    # Deep ReLU networks have many poor local minima; three starts need not find the best one.
    if options.get("depth", 2) == 2 or name in REACHED:
        assert min(reached) <= optimum * (1 + 1e-4)


def test_a_standard_deep_network_is_compared_with_a_proven_bound_and_a_reference():
    net = standard_network([8, 6, 6, 3], activation="relu", seed=0)
    c = certify(net, WHITE, ONE_HOT, 0.05)
    parallel = solve(WHITE, ONE_HOT, 0.05, activation="relu", depth=3)
    assert c.status == "reference value, proof open"
    assert c.reference == pytest.approx(parallel.objective, rel=1e-12)
    assert c.dual <= c.reference <= c.primal
    assert "one path for each direction of the label rows gives" in str(c)


@pytest.mark.parametrize(("Y", "loss", "theorem"), [
    (normal(5, 3), "squared", "prop-standard-bound"), (MIXED - 0.1, "squared", "prop-standard-bound"),
    (MIXED, "squared", "prop-standard-bound"), (ONE_HOT, "cross-entropy", "prop-class-bounds")],
    ids=["acute", "nearly a frame", "obtuse", "three classes"])
@pytest.mark.parametrize("architecture", ["standard", "parallel"])
def test_deep_networks_without_a_closed_form_are_above_a_proven_bound(Y, loss, theorem, architecture):
    K, rng = Y.shape[1], np.random.default_rng(0)
    for depth, beta in ((3, 0.1), (4, 0.02)):
        standard = standard_network([8, *[6] * (depth - 1), K], activation="relu", seed=1)
        net = standard if architecture == "standard" else parallel_network(8, K, depth, 6, 3, seed=1)
        run = train(net, WHITE, Y, beta, loss=loss, steps=200, progress=False)
        c = certify(run.module, WHITE, Y, beta, loss=loss)
        assert (c.status, c.theorem) == ("reference value, proof open", theorem)
        assert c.dual < c.primal and c.dual < c.reference
        rows, columns = rng.permutation(5), rng.permutation(K)  # the order of samples and labels is nothing
        moved = as_network(run.module)
        moved = Network(tuple((*branch[:-1], branch[-1][:, columns]) for branch in moved.branches), "relu")
        again = certify(moved, WHITE[rows], Y[rows][:, columns], beta, loss=loss)
        assert [again.primal, again.dual] == pytest.approx([c.primal, c.dual], rel=1e-9)
        assert again.reference == pytest.approx(c.reference, rel=1e-9)
    with pytest.raises(NotCovered, match="whitened data|one column"):
        certify(run.module, 2 * WHITE, Y, beta, loss=loss)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_where_both_bounds_agree_the_bound_is_proven(loss):
    theorem = "prop-standard-bound" if loss == "squared" else "prop-class-bounds"
    net = standard_network([8, 4, 4, 3], activation="relu", seed=0)
    one = np.eye(3)[np.ones(5, int)]
    c = certify(net, WHITE, one, 0.1, loss=loss)
    assert (c.status, c.theorem, c.reference) == ("proven", theorem, None)
    features, outputs, gains, *_ = optimal_atoms(one, 0.1, 3, loss, proven=False)
    best = certify(relu_network(WHITE.T @ features, outputs, gains, 3), WHITE, one, 0.1, loss=loss)
    assert (best.relative_gap < 1e-12, best.dual) == (True, pytest.approx(c.dual, rel=1e-12))
    zero = Network((tuple(np.zeros(shape) for shape in ((8, 2), (2, 2), (2, 3))),), "relu")
    for Y in (ONE_HOT, normal(5, 3)) if loss == "squared" else (ONE_HOT,):
        c = certify(zero, WHITE, Y, 100.0, loss=loss)
        assert (c.status, c.theorem, c.gap < 1e-12) == ("proven", theorem, True)


def test_two_branches_for_four_classes_are_below_the_reference_and_above_the_bound():
    """The quarter circle of ``prop-shared-classes``, eight layers."""
    K, depth, beta, theta = 4, 8, 0.003, np.arange(4) * np.pi / 6
    A = np.column_stack([np.cos(theta), np.sin(theta)])
    W = A.T / (1 - np.cos(theta[1]))
    W = (W - W.mean(axis=1, keepdims=True)) * 7.0
    branches = []
    for a, w in zip(A.T, W, strict=True):
        size = (np.linalg.norm(a) * np.linalg.norm(w)) ** (1 / depth)
        units = [np.full((1, 1), size)] * (depth - 2)
        branches.append((size * a[:, None] / np.linalg.norm(a), *units, size * w[None] / np.linalg.norm(w)))
    c = certify(Network(tuple(branches), "relu"), np.eye(K), np.eye(K), beta, loss="cross-entropy")
    assert c.dual < c.primal < 0.9 * c.reference


def test_samples_beyond_the_lists_get_a_heuristic_bound_or_a_number_and_a_remedy():
    X = np.random.default_rng(0).normal(size=(2000, 3))
    net = [np.ones((3, 1)), np.ones((1, 1))]
    c = certify(net, X, X[:, 0], 300.0, activation="relu")
    assert (c.status, c.dual <= c.primal) == ("heuristic bound", True)
    with pytest.raises(NotCovered, match=r"rank 3 and 2000 rows, found some 3998002 cells .* fewer samples"):
        solve(X, X[:, 0], 300.0, activation="relu")
    corners = np.tile(np.array(list(itertools.product([-1.0, 1.0], repeat=3))), (200, 1))  # 1600 rows, few cells
    assert certify(net, corners, corners[:, 0], 300.0, activation="relu").status == "proven"
    with pytest.raises(NotCovered, match="rank 400 and 1000 rows"):
        arrangement_patterns(np.random.default_rng(0).normal(size=(1000, 400)))
    with pytest.raises(NotCovered, match=r"X has 160 rows, and 25442 patterns may take 3 GB; pass fewer"):
        solve(X[:160], X[:160, 0], 30.0, activation="relu")


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("standard")])
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 4))
def test_no_standard_network_is_below_the_optimum_where_parallel_ones_share_it(name, seed, width):
    X, Y, beta, options, theorem = CASES[name]
    optimum, rng = solve(X, Y, beta, **options), np.random.default_rng(seed)
    noise = 10 ** rng.uniform(-3, 1)
    solved = [np.pad(W, ((0, width * (k > 0)), (0, width * (k < options["depth"] - 1))))
              for k, W in enumerate(optimum.weights)]
    net = balance(Network((tuple(W + noise * rng.normal(size=W.shape) for W in solved),), "relu"))
    loss = get_loss(options.get("loss", "squared"))
    F, targets, total = net.predict(X), Y.reshape(len(X), -1), beta * net.penalty
    for scale in np.geomspace(0.05, 20, 40) * np.linalg.norm(targets) / (np.linalg.norm(F) or 1.0):
        objective = loss.value(scale * F, targets) + total * scale ** (2 / net.depth)
        assert objective >= optimum.objective * (1 - 1e-9)
    certificate = certify(net, X, Y, beta, loss=loss)
    assert (certificate.status, certificate.theorem) == ("proven", theorem)
    assert certificate.dual == pytest.approx(optimum.objective, rel=1e-12)


@pytest.mark.parametrize("Y", [ONE_HOT, MIXED[:, :1] @ [[0.6, 0.8]], 2 * TWO], ids=["classes", "line", "twice"])
def test_a_standard_network_without_a_proof_is_refused(Y):
    assert solve(WHITE, Y, 0.05, **RELU, depth=3).theorem == "thm-whitened"
    with pytest.raises(NotCovered, match="Deep standard networks do better.* an upper bound"):
        solve(WHITE, Y, 0.05, **STANDARD, depth=3)
    assert certify(standard_network([8, 4, 4, Y.shape[1]], activation="relu", seed=0), WHITE, Y, 0.05).reference


def test_width_is_respected_and_does_not_change_the_objective():
    X, Y = GENERAL, normal(15, 4)
    wide = solve(X, Y, 1.0, width=9)
    assert wide.weights[0].shape == (6, 9)
    assert wide.objective == pytest.approx(solve(X, Y, 1.0).objective, rel=1e-12)
    with pytest.raises(ValueError, match="width must be at least rank"):
        solve(X, Y, 0.01, width=1)


@pytest.mark.parametrize("depth", [2, 3])
def test_no_weight_decay_is_the_interpolation_of_least_norm(depth):
    X, Y = np.random.default_rng(2).normal(size=(4, 7)), normal(4, 2)
    limit = solve(X, Y, 0.0, depth=depth)
    assert (limit.theorem, limit.certificate) == ("prop-interpolation", None)
    assert limit.objective < 1e-20
    np.testing.assert_allclose(limit.predict(X), Y, atol=1e-10)


@pytest.mark.parametrize(("depth", "K"), [(2, 3), (3, 3), (4, 1)])
def test_without_full_row_rank_the_interpolation_of_the_projected_data_is_the_limit(depth, K):
    X, Y = GENERAL, normal(15, K)
    with pytest.raises(NotCovered, match=r"found rank 6; .* solve\(U\.T @ X, U\.T @ Y, 0\) gives the limit"):
        solve(X, Y, 0.0, depth=depth)
    U = np.linalg.svd(X, full_matrices=False)[0]
    limit = solve(U.T @ X, U.T @ Y, 0.0, depth=depth)
    F = limit.predict(X)
    np.testing.assert_allclose(F, U @ (U.T @ Y), atol=1e-10)
    if depth == 2 or K == 1:
        errors = [np.linalg.norm(solve(X, Y, beta, depth=depth).predict(X) - F) for beta in (1e-3, 1e-5)]
        assert errors[1] < 0.02 * errors[0] < 1e-3


def test_weights_of_several_branches_are_asked_for_by_branch():
    with pytest.raises(ValueError, match="use solution.network.branches"):
        _ = solve(WHITE, ONE_HOT, 0.05, activation="relu", depth=3).weights


REFUSED = {
    "deep outputs, general data": ((GENERAL, normal(15, 4), 1.0), {"depth": 3}, "whiten the data"),
    "linear logistic": ((WHITE, SIGNS, 1.0), {"loss": "logistic"}, "certify bounds the gap"),
    "standard deep ReLU": (
        (WHITE, ONE_HOT, 0.05),
        {"activation": "relu", "depth": 3, "architecture": "standard"},
        "parallel networks have .* an upper bound",
    ),
    "high rank": ((GENERAL, normal(15), 1.0), {"activation": "relu"}, "rank 6; the nearest covered cases"),
    "bias in two dimensions": ((PLANE, normal(8), 1.0), {"activation": "relu", "bias": True}, "one feature"),
    "bias in linear": ((PLANE, normal(8), 1.0), {"bias": True}, "activation='relu' only"),
    "batch norm, few features": ((PLANE, normal(8), 1.0), {"activation": "relu", "batch_norm": True}, "rank 3"),
    "bias behind batch norm": (
        (WIDE, ONE_HOT, 1.0), {"activation": "relu", "bias": True, "batch_norm": True}, "pass bias=False"),
    "width of a ReLU network": ((WHITE, ONE_HOT, 1.0), {"activation": "relu", "width": 5}, "found 5"),
    "general labels": ((WHITE, normal(5, 3), 0.1), {"activation": "relu"}, "NP-hard"),
    "deep cross-entropy": (
        (WHITE, ONE_HOT, 0.05),
        {"activation": "relu", "loss": "cross-entropy", "depth": 3},
        "two classes, or any number at depth 2, found 3 columns at depth 3.* only an upper bound",
    ),
    "deep cross-entropy, a third class without samples": (
        (WHITE, np.pad(TWO, ((0, 0), (0, 1))), 0.05),
        {"activation": "relu", "loss": "cross-entropy", "depth": 3},
        "found 3 columns at depth 3",
    ),
    "deep cross-entropy, uncertain labels": (
        (WHITE, np.full((5, 2), 0.5), 0.05),
        {"activation": "relu", "loss": "cross-entropy", "depth": 3},
        "one-hot",
    ),
    "deep cross-entropy, general data": (
        (GENERAL, np.eye(2)[np.arange(15) % 2], 0.05),
        {"activation": "relu", "loss": "cross-entropy", "depth": 3},
        "nearest covered cases are whitened data",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cases_without_a_theorem_are_refused_with_the_reason(name):
    arguments, options, message = REFUSED[name]
    with pytest.raises(NotCovered, match=message):
        solve(*arguments, **options)


class Frame:
    """An object that numpy turns into an array, as it does with tables of other packages."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.eye(2), [1.0, np.nan], 1.0), ValueError, "Y must be finite"),
        ((np.eye(2), [1.0], 1.0), ValueError, "Y must have as many rows as X"),
        ((np.eye(2), [1.0, 2.0], -0.1), ValueError, "beta must be finite and >= 0, found -0.1"),
        (([1.0, 2.0], [1.0, 2.0], 1.0), ValueError, r"X must be 2-D .* pass X.reshape\(-1, 1\)"),
        ((np.eye(2), [1.0, 2.0], True), TypeError, "beta must be a real number"),
        ((1j * np.eye(2), [1.0, 2.0], 1.0), TypeError, "X must be an array of real numbers"),
        ((np.eye(2), np.ma.array([1.0, 2.0], mask=[False, True]), 1.0), TypeError,
         "Y must be an array of real numbers, found MaskedArray; .* no mask"),
        ((np.ma.array(np.eye(2)), [1.0, 2.0], 1.0), TypeError, "found MaskedArray"),
        ((Frame(np.array([[1.0, np.nan], [0.0, 1.0]])), [1.0, 2.0], 1.0), ValueError,
         r"X must be finite, found nan at index \(0, 1\); remove or impute it"),
    ],
)
def test_bad_input_names_the_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        solve(*arguments)


@pytest.mark.parametrize(
    "option", [{"activation": "tanh"}, {"architecture": "residual"}, {"depth": 1}, {"loss": "huber"}]
)
def test_unknown_options_are_refused(option):
    with pytest.raises(ValueError, match=str(next(iter(option.values())))):
        solve(np.eye(2), [1.0, 2.0], 1.0, **option)
