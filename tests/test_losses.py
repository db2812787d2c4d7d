"""Losses: Fenchel duality, domains, dual scaling and the scaling of weight decay."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from dualkit import certify, solve
from dualkit.losses import (
    Hinge,
    Logistic,
    Loss,
    MarginLoss,
    SoftmaxCrossEntropy,
    Squared,
    beta_from_mean,
    get_loss,
    mean_from_beta,
    weight_decay,
)
from dualkit.training import standard_network, train

LOSSES = [Squared(), Logistic(), Hinge(), SoftmaxCrossEntropy()]
MARGIN = [Logistic(), Hinge()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
quick = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def draw_labels(loss, rng, n=4, K=3, soft=False):
    """Random labels of the loss's kind; `soft` gives the cross-entropy rows of probabilities."""
    if loss.name == "squared":
        return rng.normal(size=(n, K))
    if loss.name == "cross-entropy":
        return rng.dirichlet(np.ones(K), size=n) if soft else np.eye(K)[rng.integers(K, size=n)]
    return rng.choice([-1.0, 1.0], size=n)


def draw_dual(loss, Y, rng):
    """A random Lambda inside the domain of the dual objective."""
    if loss.name == "squared":
        return rng.normal(size=Y.shape)
    if loss.name == "cross-entropy":
        return Y - rng.dirichlet(np.ones(Y.shape[1]), size=len(Y))
    return Y * rng.uniform(size=Y.shape)


# Fenchel duality

@every_loss
@quick
@given(seed=seeds, size=st.sampled_from([1e-3, 1.0, 30.0]), soft=st.booleans())
def test_fenchel_young_inequality_and_its_equality_at_the_gradient(loss, seed, size, soft):
    rng = np.random.default_rng(seed)
    Y = draw_labels(loss, rng, soft=soft)
    F, Lambda = size * rng.normal(size=Y.shape), draw_dual(loss, Y, rng)
    tolerance = 1e-13 * (1 + np.sum(F**2))
    assert loss.value(F, Y) + loss.conjugate(-Lambda, Y) >= np.sum(-Lambda * F) - tolerance
    assert loss.dual_value(Lambda, Y) == -loss.conjugate(-Lambda, Y)
    best = loss.dual_point(F, Y)
    assert np.array_equal(best, -loss.gradient(F, Y))
    assert abs(loss.value(F, Y) - loss.dual_value(best, Y) + np.sum(best * F)) <= tolerance


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_the_conjugate_is_the_supremum_that_cvxpy_finds(loss, seed):
    import cvxpy as cp

    rng = np.random.default_rng(seed)
    Y = draw_labels(loss, rng, soft=True)
    Z, F = -draw_dual(loss, Y, rng), cp.Variable(Y.shape)
    value = {
        "squared": lambda: 0.5 * cp.sum_squares(F - Y),
        "logistic": lambda: cp.sum(cp.logistic(-cp.multiply(Y, F))),
        "hinge": lambda: cp.sum(cp.pos(1 - cp.multiply(Y, F))),
        "cross-entropy": lambda: cp.sum(cp.log_sum_exp(F, axis=1)) - cp.sum(cp.multiply(Y, F)),
    }[loss.name]()
    program = cp.Problem(cp.Maximize(cp.sum(cp.multiply(Z, F)) - value))
    assert program.solve(solver=cp.CLARABEL) == pytest.approx(loss.conjugate(Z, Y), abs=1e-6)
    assert value.value == pytest.approx(loss.value(F.value, Y), rel=1e-9)


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_the_conjugate_of_the_conjugate_is_the_loss(loss, seed):
    rng = np.random.default_rng(seed)
    Y = draw_labels(loss, rng, n=1, soft=True)
    F = rng.normal(size=Y.shape)

    def dual(parameters):  # a smooth map onto the interior of the domain, so that no constraint is left
        t = parameters.reshape(Y.shape)
        if loss.name == "squared":
            return t
        if loss.name == "cross-entropy":
            return Y - np.exp(t) / np.exp(t).sum(axis=1, keepdims=True)
        return Y / (1 + np.exp(-t))

    start = np.zeros(Y.size)
    lowest = minimize(lambda t: loss.conjugate(-dual(t), Y) + np.sum(dual(t) * F), start, tol=1e-10)
    assert -lowest.fun == pytest.approx(loss.value(F, Y), abs=1e-5)


@pytest.mark.parametrize("loss", [Squared(), Logistic(), SoftmaxCrossEntropy()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_strong_duality_of_a_norm_penalised_fit(loss, beta):
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(6, 3)), draw_labels(loss, rng, n=6, K=2)
    shape = (3, *Y.shape[1:])

    def objective(w):
        W = w.reshape(shape)
        slope = X.T @ loss.gradient(X @ W, Y) + beta * W / np.linalg.norm(W)
        return loss.value(X @ W, Y) + beta * np.linalg.norm(W), slope.ravel()

    fit = minimize(objective, 0.1 * rng.normal(size=shape).ravel(), jac=True, tol=1e-11)
    Lambda = loss.dual_point(X @ fit.x.reshape(shape), Y)
    support = np.linalg.norm(X.T @ Lambda)
    assert support == pytest.approx(beta, rel=1e-5)
    c = loss.scale(Lambda, Y, beta / support)
    assert c == pytest.approx(1, rel=1e-5)
    assert 0 <= fit.fun - loss.dual_value(c * Lambda, Y) + 1e-12 <= 1e-6


# Values and gradients

@every_loss
@quick
@given(seed=seeds)
def test_values_and_gradients_agree_with_torch(loss, seed):
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(seed)
    Y = draw_labels(loss, rng, soft=True)
    F = torch.tensor(3 * rng.normal(size=Y.shape), requires_grad=True)
    target = torch.tensor(Y)
    value = {
        "squared": lambda: 0.5 * functional.mse_loss(F, target, reduction="sum"),
        "logistic": lambda: functional.soft_margin_loss(F, target, reduction="sum"),
        "hinge": lambda: torch.relu(1 - target * F).sum(),
        "cross-entropy": lambda: functional.cross_entropy(F, target, reduction="sum"),
    }[loss.name]()
    value.backward()
    assert loss.value(F.detach().numpy(), Y) == pytest.approx(value.item(), rel=1e-13)
    np.testing.assert_allclose(loss.gradient(F.detach().numpy(), Y), F.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_at_the_hinge_kink_the_subgradient_is_zero():
    assert np.array_equal(Hinge().gradient([1.0, -1.0, 1 - 1e-15], [1.0, -1.0, 1.0]), [0, 0, -1])


@every_loss
@quick
@given(seed=seeds, step=st.sampled_from([1e-3, 1.0, 10.0]))
def test_smoothness_bounds_the_slope_of_the_gradient(loss, seed, step):
    rng = np.random.default_rng(seed)
    Y = draw_labels(loss, rng)
    F, G = rng.normal(size=(2, *Y.shape))
    change = np.linalg.norm(loss.gradient(F + step * G, Y) - loss.gradient(F, Y))
    assert change <= loss.smoothness * step * np.linalg.norm(G) * (1 + 1e-9)


@every_loss
def test_smoothness_is_the_least_such_constant(loss):
    Y = {"squared": np.zeros((1, 2)), "cross-entropy": np.eye(2)[:1]}.get(loss.name, np.ones(1))
    F = np.ones(1) if loss.name == "hinge" else np.zeros(Y.shape)
    direction = np.array([[1.0, -1.0]]) / np.sqrt(2) if Y.ndim == 2 else np.ones(1)
    after, before = (loss.gradient(F + step * direction, Y) for step in (1e-4, -1e-4))
    slope = np.linalg.norm(after - before) / 2e-4
    expected = 0.5 / 1e-4 if loss.smoothness == np.inf else loss.smoothness  # a jump of 1 over 2e-4
    assert slope == pytest.approx(expected, rel=1e-6)


@every_loss
def test_columns_and_vectors_are_the_same_labels_and_outputs(loss):
    rng = np.random.default_rng(0)
    Y = draw_labels(loss, rng, K=1).ravel() if loss.name == "squared" else draw_labels(loss, rng)
    F = rng.normal(size=Y.shape)
    assert loss.gradient(F, Y).shape == loss.dual_point(F, Y).shape == F.shape
    if loss.name != "cross-entropy":
        column = F[:, None]
        assert loss.value(column, Y) == loss.value(F, Y[:, None]) == loss.value(F, Y)
        assert np.array_equal(loss.gradient(column, Y), loss.gradient(F, Y)[:, None])
        assert loss.scale(column, Y, 0.1) == loss.scale(F, Y[:, None], 0.1) == loss.scale(F, Y, 0.1)


# Domains

@pytest.mark.parametrize("loss", MARGIN, ids=lambda loss: loss.name)
def test_margin_domain_is_the_closed_unit_interval(loss):
    y = np.array([1.0, -1.0])
    assert loss.dual_value(0 * y, y) == 0
    assert loss.dual_value(y, y) == (2 if loss.name == "hinge" else 0)
    # Within the rounding allowed, the boundary value; beyond it, minus infinity.
    for inside, outside in ((0 * y, -y), (y, y)):
        assert loss.dual_value(inside + 5e-13 * outside, y) == loss.dual_value(inside, y)
        assert loss.dual_value(inside + np.array([2e-12, 0]) * outside, y) == -np.inf
    assert loss.conjugate(y, y) == np.inf  # the sign of the argument matters


def test_cross_entropy_domain_is_the_closed_simplex():
    loss, Y = SoftmaxCrossEntropy(), np.eye(3)
    uniform = np.full((3, 3), 1 / 3)
    assert loss.dual_value(Y - uniform, Y) == pytest.approx(3 * np.log(3), rel=1e-15)
    assert loss.dual_value(Y - Y[[1, 2, 0]], Y) == 0  # the other vertices
    assert loss.dual_value(Y - [[0.5, 0.5, 0]] * 3, Y) == pytest.approx(3 * np.log(2), rel=1e-15)
    tilt = np.array([[0.0, -1.0, 1.0], [0, 0, 0], [0, 0, 0]])
    assert loss.dual_value(5e-13 * tilt, Y) == pytest.approx(0, abs=1e-10)
    assert loss.dual_value(2e-12 * tilt, Y) == -np.inf
    assert loss.dual_value(-2e-12 * np.eye(3)[[1, 2, 0]], Y) == -np.inf  # rows that do not sum to zero


@pytest.mark.parametrize("loss", LOSSES[1:], ids=lambda loss: loss.name)
@quick
@given(seed=seeds)
def test_outside_the_domain_the_supremum_is_infinite(loss, seed):
    rng = np.random.default_rng(seed)
    Y = draw_labels(loss, rng)
    Z = -draw_dual(loss, Y, rng)
    if loss.name == "cross-entropy":
        ray = np.full(Y.shape, rng.choice([-1.0, 1.0]))  # l does not change along it: the row sums of Z push
        Z = Z + 0.1 * ray
    else:
        sign = rng.choice([-1.0, 1.0])  # a = -y z must lie in [0, 1]: 1.1 leaves above, -0.1 below
        ray, Z = -sign * Y, -Y * (1.1 if sign > 0 else -0.1)
    assert loss.conjugate(Z, Y) == np.inf
    heights = [np.sum(Z * t * ray) - loss.value(t * ray, Y) for t in (1e3, 1e5)]
    assert heights[1] > 10 * heights[0] > 0


# Dual scaling

def best_multiple(loss, Lambda, Y, limit):
    """The maximiser by a second route: bisect the ends of the domain, then scipy's bounded search."""
    def end(sign):
        inside, outside = 0.0, sign * limit
        if np.isfinite(loss.dual_value(outside * Lambda, Y)):
            return outside
        for _ in range(80):
            middle = (inside + outside) / 2
            finite = np.isfinite(loss.dual_value(middle * Lambda, Y))
            inside, outside = (middle, outside) if finite else (inside, middle)
        return inside

    low, high = end(-1), end(1)
    search = minimize_scalar(lambda c: -loss.dual_value(c * Lambda, Y), bounds=(low, high),
                             options={"xatol": 1e-13 * (high - low), "maxiter": 200})
    return max([low, high, float(search.x)], key=lambda c: loss.dual_value(c * Lambda, Y))


@every_loss
@quick
@given(seed=seeds, soft=st.booleans(), limit=st.sampled_from([0.05, 0.6, 2.0, 50.0]),
       size=st.sampled_from([-3.0, -0.5, 0.2, 1.0]))
def test_scale_is_the_best_multiple_inside_the_domain(loss, seed, soft, limit, size):
    rng = np.random.default_rng(seed)
    Y = draw_labels(loss, rng, soft=soft)
    Lambda = size * draw_dual(loss, Y, rng)
    c = loss.scale(Lambda, Y, limit)
    assert -limit <= c <= limit
    reached = loss.dual_value(c * Lambda, Y)
    reference = loss.dual_value(best_multiple(loss, Lambda, Y, limit) * Lambda, Y)
    assert reached == pytest.approx(reference, rel=1e-9, abs=1e-10)
    # The curve is concave: the maximum is proven by its neighbours, to either side and at every distance.
    for step in 10.0 ** np.arange(-9, 1):
        for neighbour in (c - step, c + step):
            if abs(neighbour) <= limit:
                assert loss.dual_value(neighbour * Lambda, Y) <= reached + 1e-10 * (1 + abs(reached))
    assert reached >= loss.dual_value(0 * Lambda, Y) - 1e-15


def test_scale_on_instances_known_by_hand():
    y = np.array([1.0, -1.0])
    assert Squared().scale(2 * y, y, 9.0) == 0.5
    assert Squared().scale(-2 * y, y, 9.0) == -0.5  # the residual of an overshooting network
    assert Squared().scale(2 * y, y, 0.25) == 0.25
    assert Squared().scale([1.0, 1.0], y, 9.0) == 0
    assert Logistic().scale(y, y, 9.0) == pytest.approx(0.5, rel=1e-15)  # entropy is largest at one half
    assert Logistic().scale(-y / 4, y, 9.0) == pytest.approx(-2, rel=1e-15)
    assert Hinge().scale(y / 4, y, 9.0) == 4
    assert Hinge().scale(-y / 4, y, 3.0) == -3
    uniform = SoftmaxCrossEntropy().scale(np.eye(3) - 1 / 3, np.eye(3), 9.0)
    assert uniform == pytest.approx(1, rel=1e-12)
    # With probabilities as labels both signs may be inside the domain.
    Y = np.array([[0.7, 0.3]])
    assert SoftmaxCrossEntropy().scale([[1.0, -1.0]], Y, 9.0) == pytest.approx(0.2, rel=1e-12)
    assert SoftmaxCrossEntropy().scale([[-1.0, 1.0]], Y, 9.0) == pytest.approx(-0.2, rel=1e-12)


@pytest.mark.parametrize("loss", MARGIN, ids=lambda loss: loss.name)
def test_scale_is_zero_when_only_zero_is_in_the_domain(loss):
    assert loss.scale([1.0, 0.5], [1.0, -1.0], 9.0) == loss.scale([-1.0, -0.5], [1.0, -1.0], 9.0) == 0
    assert loss.scale([1.0, 1e-20], [1.0, -1.0], 9.0) > 0.4  # noise is not a sign
    # Rows that do not sum to zero leave the domain of the cross-entropy at once.
    assert SoftmaxCrossEntropy().scale(np.eye(2), np.eye(2), 9.0) == 0


@every_loss
def test_scale_takes_any_limit_and_a_zero_direction(loss):
    rng = np.random.default_rng(1)
    Y = draw_labels(loss, rng)
    Lambda = draw_dual(loss, Y, rng)
    assert loss.scale(0 * Lambda, Y, np.inf) == 0
    assert loss.scale(Lambda, Y, 0.0) == 0
    assert loss.scale(Lambda, Y, np.inf) == loss.scale(Lambda, Y, 1e9)


@every_loss
@pytest.mark.parametrize("factor", [1e-250, 1e-9, 1e9, 1e250])
def test_scale_undoes_any_factor(loss, factor):
    rng = np.random.default_rng(2)
    Y = draw_labels(loss, rng)
    Lambda = draw_dual(loss, Y, rng)
    expected = loss.scale(Lambda, Y, 1.0)
    assert loss.scale(factor * Lambda, Y, 1 / factor) * factor == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("margin", [5.0, 20.0, 40.0, 300.0])
def test_scale_magnifies_the_tiny_dual_points_of_confident_networks(margin):
    loss, Y = SoftmaxCrossEntropy(), np.eye(3)
    Lambda = loss.dual_point(margin * Y, Y)
    c = loss.scale(Lambda, Y, np.inf)
    # All rows tend to the uniform distribution, whose entropy is the largest there is.
    assert loss.dual_value(c * Lambda, Y) == pytest.approx(3 * np.log(3), rel=1e-12)
    # The textbook formula loses the row sums to cancellation; what is left of the domain is still used.
    softmax = np.exp(margin * (Y - 1)) / np.exp(margin * (Y - 1)).sum(axis=1, keepdims=True)
    naive = Y - softmax
    bound = loss.dual_value(loss.scale(naive, Y, np.inf) * naive, Y)
    assert bound > 0 if margin <= 20 else bound == 0


# Extreme numbers

def test_huge_and_tiny_outputs_of_the_margin_losses():
    y = np.array([1.0])
    for size in (1e4, 1e100, 1e300):
        for loss in MARGIN:
            assert loss.value([size], y) == 0
            assert loss.value([-size], y) == pytest.approx(size, rel=1e-3)
            assert np.array_equal(loss.gradient([-size], y), [-1])
            assert np.array_equal(loss.gradient([size], y), [0])
    assert Logistic().value([50.0], y) == pytest.approx(np.exp(-50), rel=1e-12, abs=0)
    assert Logistic().dual_point([50.0], y)[0] == pytest.approx(np.exp(-50), rel=1e-12, abs=0)
    tiny = 1e-200
    assert Logistic().conjugate([-tiny], y) == pytest.approx(tiny * np.log(tiny) - tiny, rel=1e-12, abs=0)
    assert Logistic().value([tiny], y) == pytest.approx(np.log(2), rel=1e-15)


@pytest.mark.parametrize("size", [0.0, 1e-12, 3.0, 40.0, 700.0, 1e4, 1e300])
@pytest.mark.parametrize("sign", [-1, 1])
def test_two_classes_of_cross_entropy_are_the_logistic_loss(size, sign):
    two, one, f = SoftmaxCrossEntropy(), Logistic(), sign * size
    pair, Y, y = np.array([[f / 2, -f / 2]]), np.array([[1.0, 0.0]]), [1.0]
    assert two.value(pair, Y) == pytest.approx(one.value([f], y), rel=1e-12, abs=0)
    slope = one.gradient([f], y)[0]
    np.testing.assert_allclose(two.gradient(pair, Y), [[slope, -slope]], rtol=1e-11, atol=0)
    assert two.conjugate([[slope, -slope]], Y) == pytest.approx(one.conjugate([slope], y), abs=1e-14)


@every_loss
@pytest.mark.parametrize("size", [1e-300, 1e-3, 1e4, 1e150, 1e300])
def test_the_dual_point_is_in_the_domain_at_any_size_and_for_many_classes(loss, size):
    rng = np.random.default_rng(7)
    Y = draw_labels(loss, rng, n=5, K=1000)
    F = min(size, 1e150 if loss.name == "squared" else np.inf) * rng.normal(size=Y.shape)
    assert np.isfinite(loss.dual_value(loss.dual_point(F, Y), Y))


def test_cross_entropy_does_not_see_a_common_shift():
    loss, rng = SoftmaxCrossEntropy(), np.random.default_rng(3)
    F, Y = rng.integers(-20, 20, size=(3, 4)) / 8, np.eye(4)[[0, 2, 3]]
    shifted = F + 2.0**40  # exact, so that nothing may change
    assert loss.value(shifted, Y) == loss.value(F, Y)
    assert np.array_equal(loss.gradient(shifted, Y), loss.gradient(F, Y))


def test_sums_beyond_float64_are_refused_and_not_returned_as_infinity():
    assert Squared().value([1e150], [0.0]) == pytest.approx(5e299)
    for broken in (lambda: Squared().value([1e200], [0.0]), lambda: Squared().conjugate([1e200], [0.0]),
                   lambda: Logistic().value([-1.7e308, -1.7e308], [1.0, 1.0])):
        with pytest.raises(OverflowError, match="exceeds the largest float64; rescale"):
            broken()


# Bad input

CASES = [
    (lambda: Squared().value([np.nan, 0.0], [0.0, 0.0]), "F must be finite, found nan at index"),
    (lambda: Squared().value([0.0], [np.inf]), "Y must be finite, found inf"),
    (lambda: Squared().value([0.0, 0.0], [1.0]), r"F must have the shape of Y, found \(2,\) against \(1,\)"),
    (lambda: Squared().gradient([[0.0, 0.0]], [0.0, 0.0]), r"F must have the shape of Y, found \(1, 2\)"),
    (lambda: Hinge().conjugate([0.0], [1.0, 1.0]), r"Z must have the shape of Y"),
    (lambda: Logistic().dual_value([0.0], [1.0, 1.0]), r"Lambda must have the shape of Y"),
    (lambda: Logistic().dual_value([np.nan], [1.0]), "Lambda must be finite"),
    (lambda: Logistic().scale([0.0], [1.0, 1.0], 1.0), r"Lambda must have the shape of Y"),
    (lambda: Logistic().scale([1.0], [1.0], -1.0), r"limit must be finite and >= 0, found -1.0"),
    (lambda: Logistic().scale([1.0], [1.0], np.nan), "limit must be finite and >= 0, found nan"),
    (lambda: Logistic().scale([1.0], [1.0], "1"), "limit must be a real number, found '1'"),
    (lambda: Logistic().check_labels([0.0, 1.0]), r"Y must hold one label .* found 0.0; map 0 and 1"),
    (lambda: Hinge().check_labels([[1.0, -1.0]]), r"Y must hold .* hinge loss, found shape \(1, 2\)"),
    (lambda: Hinge().value([0.5], [0.5]), "Y must hold one label .* found 0.5"),
    (lambda: SoftmaxCrossEntropy().check_labels([0, 1, 2]), r"found shape \(3,\); .* numpy.eye\(K\)"),
    (lambda: SoftmaxCrossEntropy().check_labels([[1.0]]), r"K >= 2 probabilities .* found shape \(1, 1\)"),
    (lambda: SoftmaxCrossEntropy().check_labels([[0.5, 0.5], [0.5, 0.6]]), r"Y .* found \[0.5 0.6\]"),
    (lambda: SoftmaxCrossEntropy().check_labels([[1.5, -0.5]]), r"Y must hold .* found \[ ?1.5 -0.5\]"),
    (lambda: SoftmaxCrossEntropy().check_labels([["a", "b"]]), "Y must be an array of real numbers"),
    (lambda: get_loss("huber"), "one of 'squared', 'logistic', 'hinge', 'cross-entropy', found 'huber'"),
    (lambda: get_loss(Squared), "loss must be one of 'squared'"),
    (lambda: get_loss(None), "loss must be one of .* found None"),
    (lambda: beta_from_mean(-1.0, 3), "beta_mean must be finite and >= 0, found -1.0"),
    (lambda: beta_from_mean(1.0, 0), "n must be at least 1, found 0"),
    (lambda: mean_from_beta(1.0, 2.5), "n must be an integer, found 2.5"),
    (lambda: weight_decay(np.nan, "sum", (2,)), "beta must be finite"),
    (lambda: weight_decay(1.0, "median", (2,)), "criterion must be one of 'sum', 'mean', 'MSELoss'"),
    (lambda: weight_decay(1.0, "mean", 2.5), "shape must be an integer"),
    (lambda: weight_decay(1.0, "mean", ()), "shape must be at least 1"),
    (lambda: weight_decay(1.0, "mean", (0, 2)), "shape must be at least 1, found 0"),
]


@pytest.mark.parametrize(("broken", "message"), CASES, ids=map(str, range(len(CASES))))
def test_bad_input_is_named(broken, message):
    with pytest.raises((ValueError, TypeError), match=message):
        broken()


@every_loss
def test_get_loss_knows_the_name_and_passes_a_loss_on(loss):
    assert get_loss(loss.name) == loss
    assert get_loss(loss) is loss


def test_a_new_loss_is_one_class():
    @dataclass(frozen=True)
    class Weighted(Loss):
        """0.5 ||F - Y||^2 / w."""

        w: float
        name, smoothness = "weighted", 0.5

        def _value(self, F, Y): return 0.5 * (F - Y) ** 2 / self.w
        def _gradient(self, F, Y): return (F - Y) / self.w
        def _conjugate(self, Z, Y): return Z * (Y + 0.5 * self.w * Z)
        def _scale(self, U, Y): return np.sum(U * Y) / np.sum(U * U) / self.w

    loss, y = get_loss(Weighted(2.0)), np.array([4.0, 0.0])
    assert loss.value(0 * y, y) == loss.dual_value(loss.dual_point(0 * y, y), y) == 4
    assert loss.scale(y, y, 9.0) == 0.5


# Weight decay

def test_the_mean_and_the_sum_of_losses_share_their_minimiser():
    rng = np.random.default_rng(4)
    X, y, beta_mean = rng.normal(size=(7, 2)), rng.normal(size=7), 0.3
    of_mean = np.linalg.solve(X.T @ X / 7 + beta_mean * np.eye(2), X.T @ y / 7)
    beta = beta_from_mean(beta_mean, 7)
    np.testing.assert_allclose(np.linalg.solve(X.T @ X + beta * np.eye(2), X.T @ y), of_mean, rtol=1e-13)
    assert mean_from_beta(beta, 7) == pytest.approx(beta_mean, rel=1e-15)


def torch_criterion(name, targets):
    """What is back-propagated for the squared loss, as a function of the outputs."""
    import torch

    total = lambda F: 0.5 * torch.sum((F - targets) ** 2)  # noqa: E731
    return {"sum": total, "mean": lambda F: total(F) / len(targets),
            "MSELoss": lambda F: torch.nn.MSELoss()(F, targets)}[name]


@pytest.fixture
def ridge():
    """Data with orthogonal columns (gradient descent is fast), beta, and the penalised minimiser."""
    X = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
    Y = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0], [2.0, 1.0, 1.0], [0.0, 3.0, -1.0]])
    beta = 0.8
    return X, Y, beta, np.linalg.solve(X.T @ X + beta * np.eye(2), X.T @ Y)


@pytest.mark.parametrize("criterion", ["sum", "mean", "MSELoss"])
def test_sgd_with_weight_decay_finds_the_minimiser_of_the_explicit_penalty(ridge, criterion):
    import torch

    X, Y, beta, best = ridge
    decay = weight_decay(beta, criterion, Y.shape)
    W = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([W], lr=0.5 * beta / decay / 4.8, weight_decay=decay)  # half of 1 / curvature
    objective = torch_criterion(criterion, torch.tensor(Y))
    for _ in range(60):
        optimiser.zero_grad()
        objective(torch.tensor(X) @ W).backward()
        optimiser.step()
    np.testing.assert_allclose(W.detach().numpy(), best, atol=1e-10)


@pytest.mark.parametrize("criterion", ["sum", "mean", "MSELoss"])
def test_adam_with_weight_decay_finds_it_too(ridge, criterion):
    import torch

    X, Y, beta, best = ridge
    W = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    decay = weight_decay(beta, criterion, Y.shape)
    optimiser = torch.optim.Adam([W], lr=0.05, betas=(0.9, 0.9), weight_decay=decay)
    shrink = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.98)
    objective = torch_criterion(criterion, torch.tensor(Y))
    for _ in range(800):
        optimiser.zero_grad()
        objective(torch.tensor(X) @ W).backward()
        optimiser.step()
        shrink.step()
    np.testing.assert_allclose(W.detach().numpy(), best, atol=1e-8)


@pytest.mark.parametrize(("optimiser", "rests"), [("SGD", True), ("Adam", True), ("AdamW", False)])
def test_the_penalised_minimiser_is_a_rest_point_of_sgd_and_adam_but_not_of_adamw(ridge, optimiser, rests):
    import torch

    X, Y, beta, best = ridge
    W = torch.tensor(best, requires_grad=True)
    step = getattr(torch.optim, optimiser)([W], lr=0.1, weight_decay=weight_decay(beta, "sum", Y.shape))
    torch_criterion("sum", torch.tensor(Y))(torch.tensor(X) @ W).backward()
    step.step()
    assert np.allclose(W.detach().numpy(), best, atol=1e-7) == rests


def test_weight_decay_divides_by_what_torch_averages_over():
    import torch

    rng = np.random.default_rng(6)
    F, Y, classes = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.integers(3, size=5)
    mean = torch.nn.MSELoss()(torch.tensor(F), torch.tensor(Y)).item()
    assert mean == pytest.approx(weight_decay(1.0, "MSELoss", Y.shape) * Squared().value(F, Y), rel=1e-13)
    mean = torch.nn.CrossEntropyLoss()(torch.tensor(F), torch.tensor(classes)).item()
    total = SoftmaxCrossEntropy().value(F, np.eye(3)[classes])
    assert mean == pytest.approx(weight_decay(1.0, "mean", Y.shape) * total, rel=1e-13)
    assert weight_decay(1.0, "MSELoss", (5,)) == weight_decay(1.0, "MSELoss", (5, 1)) == 0.4


# A loss of one's own

class SmoothedHinge(MarginLoss):
    name, smoothness, steepest = "smoothed hinge", 2.0, 1.0

    def phi(self, m): return np.where(m > 1, 0.0, np.where(m > 0.5, (1 - m) ** 2, 0.75 - m))
    def slope(self, m): return -np.clip(2 * (1 - m), 0.0, 1.0)
    def entropy(self, a): return a * (0.25 * a - 1)


class SquaredHinge(MarginLoss):
    name, smoothness, steepest = "squared hinge", 1.0, float("inf")

    def phi(self, m): return 0.5 * np.maximum(1 - m, 0.0) ** 2
    def slope(self, m): return -np.maximum(1 - m, 0.0)
    def entropy(self, a): return a * (0.5 * a - 1)


@pytest.mark.parametrize("loss", [SmoothedHinge(), SquaredHinge()], ids=lambda loss: loss.name)
def test_a_new_margin_loss_is_solved_certified_and_trained(loss):
    rng = np.random.default_rng(0)
    X, y = np.linalg.qr(rng.normal(size=(7, 6)))[0].T, np.array([1.0, 1.0, 1.0, -1.0, -1.0, 1.0])
    for beta in (0.3, 3.0):
        optimum = solve(X, y, beta, activation="relu", loss=loss)
        assert optimum.certificate.relative_gap < 1e-9
        start = standard_network([7, 8, 1], activation="relu", seed=1)
        run = train(start, X, y, beta, loss=loss, progress=False)
        assert run.objective[-1] == pytest.approx(optimum.objective, rel=1e-7)
        assert certify(run.module, X, y, beta, loss=loss).relative_gap < 1e-6
    a = rng.uniform(size=6)     # conjugate and scale by brute force
    grid = np.linspace(-30, 30, 200001)
    sup = [np.max(-v * grid - loss.phi(grid)) for v in a]
    assert loss.conjugate(-y * a, y) == pytest.approx(sum(sup), abs=1e-6)
    c = loss.scale(y * a, y, np.inf)
    values = [loss.dual_value(t * y * a, y) for t in np.linspace(0, 1 / a.max(), 2001)]
    assert loss.dual_value(c * y * a, y) >= max(values) - 1e-12
    assert loss.scale(y - 2 * y * (np.arange(6) == 0), y, 1.0) == 0.0
