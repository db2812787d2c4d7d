"""Cells, support, gauge and the convex program of general two-layer ReLU networks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from dualkit._validate import NotCovered
from dualkit.arrangements import ReLUFeatures, arrangement_patterns, convex_program, pattern_count_bound

DEGENERATE = {
    "one sample": [[2.0, -1.0, 3.0]],
    "duplicates": [[1, 2], [1, 2], [2, 4], [-1, 3]],
    "antiparallel and zero": [[1, 0], [-2, 0], [0, 0], [1, 1], [-3, -3]],
    "rank one": [[1, 2], [-2, -4], [0, 0], [3, 6]],
    "pencil": [[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, -1, 0], [2, 1, 0], [0, 0, 1]],
    "two pencils": [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 1, -1], [1, 1, 1]],
    "cube": list(itertools.product([-1, 0, 1], repeat=3)),
}


def integers(*shape):
    return arrays(np.int64, shape, elements=st.integers(-2, 2))


# Small integers: many duplicate, antiparallel, zero and coplanar rows.
shapes = st.tuples(st.integers(1, 8), st.integers(1, 3))
small_data = shapes.flatmap(lambda shape: integers(*shape)).filter(lambda X: X.any())


def primitive(v):
    """The integer vector on the same line with coprime entries, the first nonzero one positive."""
    v = [int(x) for x in v]
    sign = 1 if next(x for x in v if x) > 0 else -1
    return tuple(sign * x // math.gcd(*v) for x in v)


def exact_cell_count(X):
    """Number of cells of integer data, in integer arithmetic (Zaslavsky's theorem)."""
    X = np.pad(X, ((0, 0), (0, 3 - X.shape[1])))
    lines = {primitive(x) for x in X if x.any()}
    crossings = {primitive(np.cross(a, b)) for a, b in itertools.combinations(lines, 2)}
    if not crossings:
        return 2
    if len(crossings) == 1:
        return 2 * len(lines)
    return 2 + 2 * sum(sum(np.dot(a, p) == 0 for a in lines) - 1 for p in crossings)


def pattern_set(D):
    return {tuple(column) for column in D.T.tolist()}


def check_cells(X, D, U):
    """Each pattern is there once, and its weight vector lies clearly inside the cell."""
    X = np.asarray(X, dtype=float)
    values = X @ U
    np.testing.assert_array_equal(D, values >= 0)
    live = np.linalg.norm(X, axis=1) > 0
    assert np.abs(values[live]).min() > 1e-9
    assert D[~live].all()
    np.testing.assert_allclose(np.linalg.norm(U, axis=0), 1.0)
    assert len(pattern_set(D)) == D.shape[1]


def rotation(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


# ------------------------------------------------------------------------------------------------ the cells

@pytest.mark.parametrize(("n", "r"), [(1, 1), (7, 1), (2, 2), (9, 2), (40, 2), (3, 3), (4, 3), (40, 3)])
@pytest.mark.parametrize("extra", [0, 2])
def test_general_position_attains_the_bound(n, r, extra):
    rng = np.random.default_rng(100 * n + r)
    X = rng.standard_normal((n, r)) @ rng.standard_normal((r, r + extra))
    D, U = arrangement_patterns(X)
    check_cells(X, D, U)
    assert D.shape[1] == pattern_count_bound(n if r > 1 else 1, r)


@given(st.integers(2, 60), st.integers(2, 6))
def test_bound_obeys_deletion_and_restriction(n, r):
    assert pattern_count_bound(1, r) == 2
    assert pattern_count_bound(n, 1) == 2
    assert pattern_count_bound(n, r) == pattern_count_bound(n - 1, r) + pattern_count_bound(n - 1, r - 1)
    assert pattern_count_bound(r, r) == 2**r


@settings(max_examples=150)
@given(small_data)
def test_number_of_cells_is_exact_on_integer_data(X):
    D, U = arrangement_patterns(X)
    check_cells(X, D, U)
    assert D.shape[1] == exact_cell_count(X)


@settings(max_examples=50)
@given(small_data, st.integers(0, 2**32 - 1))
def test_rounding_does_not_split_or_merge_cells(X, seed):
    # Rotating, embedding and rescaling rows spoils every exact zero but keeps the patterns.
    rng = np.random.default_rng(seed)
    D, _ = arrangement_patterns(X)
    n, d = X.shape
    moved = (10.0 ** rng.uniform(-5, 5, (n, 1)) * X) @ rotation(5, seed)[:d]
    E, V = arrangement_patterns(moved)
    check_cells(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-300), E, V)
    assert pattern_set(D) == pattern_set(E)


@pytest.mark.parametrize("name", DEGENERATE)
def test_dense_sampling_finds_the_same_patterns(name):
    X = np.array(DEGENERATE[name], dtype=float)
    D, U = arrangement_patterns(X)
    check_cells(X, D, U)
    sampled = X @ np.random.default_rng(0).standard_normal((X.shape[1], 20_000)) >= 0
    assert pattern_set(sampled) == pattern_set(D)


def test_near_copies_are_told_apart():
    rows = np.array([[10**9, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
    X = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    D, U = arrangement_patterns(X)
    np.testing.assert_array_equal(D, X @ U >= 0)
    assert len(pattern_set(D)) == D.shape[1] == exact_cell_count(rows)


# -------------------------------------------------------------------------------------- support and gauge

def search(X, lam, rng):
    """Largest |lam^T (X u)_+| that a dense search with local ascent finds; it knows no cells."""
    def f(U):
        return np.abs(lam @ np.maximum(X @ U, 0.0))

    def unit(U):
        return U / np.maximum(np.linalg.norm(U, axis=0), 1e-300)

    normals = unit(X[np.linalg.norm(X, axis=1) > 0].T)
    best = unit(rng.standard_normal((X.shape[1], 2000)))
    best = best[:, np.argsort(f(best))[-8:]]
    for step in 2.0 ** -np.arange(42):
        U = np.hstack([best, np.repeat(best, 20, axis=1) + step * rng.standard_normal((len(best), 160))])
        # Maxima often sit on kinks, which random steps never hit: try each point's projections on them too.
        flat = U[:, :, None] - normals[:, None, :] * (U.T @ normals)
        U = unit(np.hstack([U, flat.reshape(len(U), -1)]))
        best = U[:, np.argsort(f(U))[-8:]]
    return f(best).max()


@settings(max_examples=60)
@given(small_data, st.data())
def test_support_is_what_dense_search_climbs_to(X, data):
    n = len(X)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    X = X @ rotation(X.shape[1], 3) if data.draw(st.booleans()) else X.astype(float)
    lam = data.draw(integers(n)) if data.draw(st.booleans()) else rng.normal(size=n)
    s = ReLUFeatures(X).support(lam)
    scale = max(1.0, np.linalg.norm(lam) * np.linalg.norm(X))
    assert np.linalg.norm(s.unit) <= 1 + 1e-12
    np.testing.assert_allclose(s.feature, np.maximum(X @ s.unit, 0.0), atol=1e-14)
    assert abs(s.output[0] * (lam @ s.feature) - s.value) <= 1e-12 * scale
    assert s.output.shape == (1,)
    assert abs(s.output[0]) == 1
    found = search(X, lam, rng)
    assert found <= s.value + 1e-12 * scale
    assert found >= s.value - 1e-9 * scale


@pytest.mark.parametrize(("X", "lam", "unit"), [
    ([[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], [1, -0.5, -0.5, -0.5, -0.5], [0, 0, 1]),
    ([[0, 0.6, 0.8], [1, 0, 0], [-1, 0, 0], [0, 1, 0]], [1, -0.5, -0.5, 0], [0, 0.6, 0.8]),
    ([[-0.48, -0.64, 0.6], [1, 0, 0], [0, 1, 0]], [-1, 0, 0], [-0.48, -0.64, 0.6]),
], ids=["vertex", "arc", "cell"])
def test_support_finds_maxima_on_faces_of_every_dimension(X, lam, unit):
    s = ReLUFeatures(X).support(lam)
    assert math.isclose(s.value, 1.0)
    np.testing.assert_allclose(s.unit, unit, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3))
def test_support_is_even_homogeneous_and_does_not_depend_on_the_axes(seed, n, d):
    rng = np.random.default_rng(seed)
    X, lam = rng.normal(size=(n, d)), rng.normal(size=n)
    value = ReLUFeatures(X).support(lam).value
    Q = rotation(5, seed)[:d]
    assert math.isclose(ReLUFeatures(X @ Q).support(lam).value, value, rel_tol=1e-10)
    assert math.isclose(ReLUFeatures(X[::-1]).support(-3 * lam[::-1, None]).value, 3 * value, rel_tol=1e-10)
    # A network may be homogeneous in each sample too: row c x with weight lam / c.
    c = 10.0 ** rng.uniform(-2, 2, n)
    assert math.isclose(ReLUFeatures(c[:, None] * X).support(lam / c).value, value, rel_tol=1e-10)


def test_support_of_zero_and_of_one_sample():
    X = np.array([[3.0, -4.0]])
    assert ReLUFeatures(X).support([0.0]).value == 0.0
    s = ReLUFeatures(X).support([-2.0])
    assert math.isclose(s.value, 10.0)
    assert s.output.tolist() == [-1.0]
    np.testing.assert_allclose(s.unit, [0.6, -0.8], atol=1e-15)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3))
def test_gauge_and_support_are_polar(seed, n, d):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    X[-1] = rng.choice([1.0, 0.0, -2.0]) * X[0] if n > 1 else X[0]
    H = ReLUFeatures(X)
    W = rng.normal(size=(d, 3))
    F = np.maximum(X @ W, 0.0) @ [1.0, -1.0, 2.0]
    gauge = H.gauge(F)
    assert gauge <= np.linalg.norm(W, axis=0) @ [1, 1, 2] * (1 + 1e-6)
    lam = rng.normal(size=n)
    assert lam @ F <= H.support(lam).value * gauge * (1 + 1e-6) + 1e-9
    c = 10.0 ** rng.uniform(-6, 6)
    assert math.isclose(H.gauge(-c * F[:, None]), c * gauge, rel_tol=1e-6, abs_tol=1e-8 * c)


def test_gauge_of_unreachable_outputs_is_infinite():
    H = ReLUFeatures([[1.0], [2.0], [-1.0]])
    assert math.isclose(H.gauge([1.0, 2.0, -3.0]), 4.0, rel_tol=1e-7)      # |F_1| / |x_1| + |F_3| / |x_3|
    assert H.gauge([1.0, 1.0, 0.0]) == math.inf
    assert H.gauge([0.0, 0.0, 0.0]) == 0.0


# --------------------------------------------------------------------------------------- the convex program

def network_objective(X, y, beta, W1, W2, loss="squared"):
    f = np.maximum(X @ W1, 0.0) @ W2[:, 0]
    value = {"squared": lambda: 0.5 * np.sum((f - y) ** 2), "hinge": lambda: np.maximum(1 - y * f, 0).sum(),
             "logistic": lambda: np.logaddexp(0, -y * f).sum()}[loss]()
    return value + 0.5 * beta * (np.sum(W1**2) + np.sum(W2**2))


def instance(seed, n, r, d=None, loss="squared"):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, r)) @ (rng.normal(size=(r, d)) if d else np.eye(r))
    teacher = np.maximum(X @ rng.normal(size=(X.shape[1], 3)), 0) @ rng.choice([-1.0, 1.0], 3)
    y = teacher + 0.1 * rng.normal(size=n)
    return X, y if loss == "squared" else np.where(y > np.median(y), 1.0, -1.0)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize(("n", "r", "d"), [(1, 1, None), (5, 1, 3), (10, 2, None), (8, 2, 4), (7, 3, None)])
@pytest.mark.parametrize("beta", [0.03, 0.5])
def test_strong_duality(loss, n, r, d, beta):
    X, y = instance(n + r, n, r, d, loss)
    X = np.vstack([X, -2 * X[:1], 0 * X[:1]])
    y = np.append(y, [1.0, -1.0])
    fit = convex_program(X, y, beta, loss)
    assert fit.bound == "optimum"
    primal = network_objective(X, y, beta, fit.W1, fit.W2, loss)
    assert math.isclose(fit.primal, primal, rel_tol=1e-12)
    assert -1e-9 <= primal - fit.dual <= 1e-6 * primal
    assert abs(fit.objective - primal) <= 1e-6 * primal


@pytest.mark.parametrize("a", [[1.0], [3.0, -4.0]])
@pytest.mark.parametrize("y", [[1.0, 2.0, 1.0, 2.0], [1.0, 0.0, -1.0, 2.0], [0.1, 0.0, 0.0, -3.0]])
def test_rank_one_data_have_the_closed_form(a, y):
    # H is spanned by c_+ and c_-, which are orthogonal: two scalar soft thresholds.
    c, y, beta = np.array([1.0, 2.0, -1.0, -2.0]), np.array(y), 0.3
    optimum = 0.5 * y @ y
    for h in (np.maximum(c, 0) * np.linalg.norm(a), np.maximum(-c, 0) * np.linalg.norm(a)):
        optimum -= 0.5 * max(abs(h @ y) - beta, 0.0) ** 2 / (h @ h)
    fit = convex_program(np.outer(c, a), y, beta)
    assert math.isclose(network_objective(np.outer(c, a), y, beta, fit.W1, fit.W2), optimum, rel_tol=1e-7)
    assert math.isclose(fit.dual, optimum, rel_tol=1e-7)


def test_two_opposite_samples_have_the_closed_forms_of_the_margin_losses():
    X, y, price = [[2.0], [-2.0]], [1.0, -1.0], 0.2      # each sample pays price * |output|
    logistic = 2 * (price * np.log(1 / price - 1) - np.log(1 - price))
    assert math.isclose(convex_program(X, y, 2 * price, "logistic").primal, logistic, rel_tol=1e-7)
    assert math.isclose(convex_program(X, y, 2 * price, "hinge").primal, 2 * price, rel_tol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_unit_of_the_optimum_attains_the_support_of_the_residual(seed):
    X, y = instance(seed, 9, 2 + seed % 2)
    beta = 0.2
    fit = convex_program(X, y, beta)
    hidden = np.maximum(X @ fit.W1, 0.0)
    residual = y - (hidden @ fit.W2)[:, 0]
    assert math.isclose(ReLUFeatures(X).support(residual).value, beta, rel_tol=1e-5)
    big = np.abs(fit.W2[:, 0]) > 1e-2
    alignment = residual @ hidden / np.linalg.norm(fit.W1, axis=0)
    np.testing.assert_allclose(alignment[big], beta * np.sign(fit.W2[big, 0]), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(fit.W1, axis=0), np.abs(fit.W2[:, 0]), rtol=1e-12)
    # The gauge of the outputs is the network's gain, and the residual is the direction that proves it.
    gauge = ReLUFeatures(X).gauge(hidden @ fit.W2)
    assert math.isclose(gauge, np.sum(fit.W2**2), rel_tol=1e-5)
    assert math.isclose(gauge, residual @ hidden @ fit.W2[:, 0] / beta, rel_tol=1e-5)


def train(X, y, beta, width, seed):
    """The objective that L-BFGS on the weights of the network reaches from a random start."""
    rng = np.random.default_rng(seed)
    d = X.shape[1]

    def objective(theta):
        W, a = theta[:d * width].reshape(d, width), theta[d * width:]
        Z = X @ W
        r = np.maximum(Z, 0) @ a - y
        gradient_W = X.T @ (np.outer(r, a) * (Z > 0)) + beta * W
        gradient_a = np.maximum(Z, 0).T @ r + beta * a
        return 0.5 * r @ r + 0.5 * beta * theta @ theta, np.append(gradient_W.ravel(), gradient_a)

    theta, best = rng.normal(size=(d + 1) * width), np.inf
    options = {"maxiter": 2000, "maxcor": 30, "ftol": 1e-15}
    for _ in range(3):      # at a kink L-BFGS gives up: shake the best weights and try again
        run = minimize(objective, theta, jac=True, method="L-BFGS-B", options=options)
        if run.fun < best:
            best, weights = run.fun, run.x
        theta = weights * (1 + 1e-3 * rng.normal(size=weights.size))
    return best


@pytest.mark.parametrize(("n", "r", "d", "beta"),
                         [(6, 2, None, 0.1), (8, 2, 3, 0.3), (7, 3, None, 0.1), (9, 3, None, 0.3)])
def test_training_reaches_the_program_and_never_goes_below(n, r, d, beta):
    X, y = instance(10 * n + r, n, r, d)
    fit = convex_program(X, y, beta)
    trained = [train(X, y, beta, 40, seed) for seed in range(4)]
    assert min(trained) >= fit.dual - 1e-9
    assert min(trained) <= fit.primal * (1 + 1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_variant_bounds_what_it_says(seed):
    rng = np.random.default_rng(seed)
    X, y = instance(seed, 12, 2 + seed % 2)
    beta = 0.1
    full = convex_program(X, y, beta)
    gated = convex_program(X, y, beta, cones=False)
    few = X @ rng.normal(size=(X.shape[1], 5)) >= 0
    upper = convex_program(X, y, beta, patterns=few)
    neither = convex_program(X, y, beta, patterns=few, cones=False)
    D, _ = arrangement_patterns(X)
    again = convex_program(X, y, beta, patterns=np.hstack([few, D[:, ::-1]]))
    assert [p.bound for p in (full, gated, again)] == ["optimum", "lower bound", "optimum"]
    assert [p.bound for p in (upper, neither)] == ["upper bound", "neither"]
    assert math.isclose(again.objective, full.objective, rel_tol=1e-7)
    assert gated.objective < full.objective * (1 - 1e-3)
    assert upper.objective > full.objective * (1 + 1e-3)
    for p in (gated, upper, neither):
        assert p.dual <= full.objective + 1e-8
        assert p.primal >= full.objective - 1e-8
    np.testing.assert_allclose(upper.primal, upper.objective, rtol=1e-6)


def test_sampling_without_cones_bounds_from_neither_side():
    # One pattern that is on for both samples fits worse than the network, all patterns fit better.
    X, y, beta = np.array([[1.0, 0.2], [1.0, -0.2], [-1.0, 0.1]]), np.array([1.0, -1.0, 1.0]), 0.01
    best = convex_program(X, y, beta).objective
    D, _ = arrangement_patterns(X)
    poor = convex_program(X, y, beta, patterns=np.array([[True], [True], [False]]), cones=False)
    rich = convex_program(X, y, beta, patterns=D[:, :-1], cones=False)
    assert rich.bound == poor.bound == "neither"
    assert rich.objective < best < poor.objective


def test_program_does_not_depend_on_the_axes():
    X, y = instance(4, 8, 3)
    Q = rotation(4, 7)[:3]
    here, there = convex_program(X, y, 0.2), convex_program(X @ Q, y[:, None], 0.2)
    assert math.isclose(here.primal, there.primal, rel_tol=1e-7)
    assert math.isclose(here.dual, there.dual, rel_tol=1e-7)


def test_sampled_patterns_give_an_upper_bound_beyond_rank_three():
    X, y = instance(2, 8, 5)
    D = X @ np.random.default_rng(0).normal(size=(5, 40)) >= 0
    few, many = (convex_program(X, y, 0.2, patterns=D[:, :P]) for P in (2, 40))
    for fit in (few, many):
        assert fit.bound == "upper bound"
        assert fit.dual == -math.inf
        assert math.isclose(fit.objective, network_objective(X, y, 0.2, fit.W1, fit.W2), rel_tol=1e-6)
    assert many.objective < few.objective * (1 - 1e-3)


def test_large_weight_decay_gives_the_zero_network():
    X, y = instance(5, 6, 2)
    beta = 1.001 * ReLUFeatures(X).support(y).value
    fit = convex_program(X, y, beta)
    np.testing.assert_allclose([fit.primal, fit.dual], 0.5 * y @ y, rtol=1e-7)
    assert convex_program(X, y, 0.95 * beta).primal < 0.5 * y @ y * (1 - 1e-4)
    zero = convex_program(X, 0 * y, beta)
    assert zero.W1.shape == (2, zero.W2.size)
    assert abs(zero.primal) <= 1e-9


# ---------------------------------------------------------------------------------------------------- errors

@pytest.mark.parametrize(("X", "message"), [
    ([[0.0, 0.0]], "X must have a nonzero row"),
    ([[1.0, np.nan]], "X must be finite"),
    ([1.0, 2.0], "X must be 2-D"),
    ([[1.0, 0.0], [1e-12, 0.0]], "a row, against the longest"),
    ([[1.0, 0.0], [1.0, 3e-9]], "a singular value"),
    ([[1, 0, 0], [1, 3e-12, 0], [0, 1, 0], [0, 0, 1]], "distance of a row"),
    ([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 2, 0], [1, 1, 3e-12]], "distance of a row"),
    # The first two planes meet in a line that rounding blurs: the next two both seem to contain it.
    ([[0, 0, 1], [1e-6, 0, 1], [1, 5e-8, 0], [1, -5e-8, 0], [0, 1, 0]], "two pairs of three"),
])
def test_unclear_data_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        arrangement_patterns(X)


def test_what_is_not_covered_says_why():
    rng = np.random.default_rng(0)
    X4, X2 = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    for call in (lambda: arrangement_patterns(X4), lambda: ReLUFeatures(X4),
                 lambda: convex_program(X4, X4[:, 0], 1.0)):
        with pytest.raises(NotCovered, match=r"rank 4.*bounds only"):
            call()
    for call in (lambda: ReLUFeatures(X2).support(X2), lambda: ReLUFeatures(X2).gauge(X2),
                 lambda: convex_program(X2, X2, 1.0)):
        with pytest.raises(NotCovered, match=r"2 columns.*nonconvex.*hard"):
            call()


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"beta": 0.0}, ValueError, "beta must be > 0"),
    ({"beta": -1.0}, ValueError, "beta must be finite and >= 0"),
    ({"y": [1.0]}, ValueError, "Y must have as many rows|y must have as many rows"),
    ({"loss": "absolute"}, ValueError, "loss must be one of"),
    ({"loss": "hinge", "y": [0.0, 1.0]}, ValueError, "label"),
    ({"patterns": [[True, False]]}, ValueError, "patterns must have as many rows as X"),
])
def test_bad_arguments_are_named(change, error, message):
    arguments = {"X": np.eye(2), "y": [1.0, -1.0], "beta": 1.0} | change
    with pytest.raises(error, match=message):
        convex_program(**arguments)


def test_bad_counts_are_named():
    for n, r, name in ((0, 1, "n"), (1, 0, "r")):
        with pytest.raises(ValueError, match=f"^{name} must be at least 1"):
            pattern_count_bound(n, r)
    with pytest.raises(ValueError, match="Lambda must have as many rows"):
        ReLUFeatures(np.eye(2)).support(np.ones(3))
