"""Checks of the chapter "Whitened data: the non-negative part of the ball"."""

from functools import cache
from itertools import combinations

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize

from dualkit import Network, as_network, certify, solve
from dualkit.data import random_whitened_rows
from dualkit.depth import depth_prox, depth_prox_value
from dualkit.training import parallel_network, standard_network, train
from dualkit.whitened import WhitenedReLUFeatures, relu_network, row_directions, standard_lower_bound
from ledger import Chapter

chapter = Chapter("whitened_relu")
KINDS = ("scalar", "one-hot", "mixed sign", "simplex", "obtuse")
SIGNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # a Hadamard matrix without its first column


def labels(kind, rng, n=6):
    """Labels whose rows form no acute angle unless they are parallel; every direction occurs."""
    member, weight = np.arange(n) % 3, rng.uniform(0.5, 2.0, (n, 1))
    if kind == "scalar":
        return weight * np.where(np.arange(n) % 3 == 1, -1.0, 1.0)[:, None]
    if kind == "one line":
        return labels("scalar", rng, n) * np.array([0.6, 0.8])
    if kind == "one-hot":
        return np.eye(3)[member]
    if kind == "orthonormal":
        return weight * np.linalg.qr(rng.normal(size=(3, 3)))[0][member]
    if kind == "mixed sign":
        return weight * np.eye(2)[np.arange(n) % 2] * np.where(np.arange(n) < n // 2, 1, -1)[:, None]
    if kind == "simplex":
        return weight * (np.eye(3) - 1 / 3)[member]
    directions = np.array([[1.0, 0.0, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
    return weight * directions[member] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]


def enumerated_support(Lambda):
    """max ||Lambda^T h||, h >= 0, ||h|| <= 1, over all faces: h_S leads M_SS there and has one sign."""
    M, best = Lambda @ Lambda.T, 0.0
    for size in range(1, len(M) + 1):
        for S in combinations(range(len(M)), size):
            values, vectors = np.linalg.eigh(M[np.ix_(S, S)])
            if np.all(vectors[:, -1] >= -1e-12) or np.all(vectors[:, -1] <= 1e-12):
                best = max(best, values[-1])
    return np.sqrt(best)


def semidefinite_dual(Y, beta):
    """A lower bound on two-layer training, exact for n <= 4: beta^2 I - Lambda Lambda^T = PSD + non-negative."""
    (n, K), Lambda = Y.shape, cp.Variable(Y.shape)
    N = cp.Variable((n, n), symmetric=True)
    block = cp.bmat([[beta**2 * np.eye(n) - N, Lambda], [Lambda.T, np.eye(K)]])
    bound = 0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda)
    return cp.Problem(cp.Maximize(bound), [N >= 0, block >> 0]).solve(solver="CLARABEL")


def unconstrained(Y, beta, depth, units=9, starts=4):
    """Least objective of L-BFGS runs on F = sum_j g_j^(L-2) (z_j)_+ w_j^T: parallel networks with X = I."""
    return _unconstrained(Y.tobytes(), Y.shape, beta, depth, units, starts)


@cache
def _unconstrained(data, shape, beta, depth, units, starts):
    Y, (n, K) = np.frombuffer(data).reshape(shape), shape

    def value_and_gradient(v):
        Z, W, g = v[: n * units].reshape(n, units), v[n * units : -units].reshape(units, K), v[-units:]
        A, G = np.maximum(Z, 0), g ** (depth - 2)
        R = A * G @ W - Y
        inner = (depth - 2) * (np.sum(A * (R @ W.T), axis=0) * g ** max(depth - 3, 0) + beta * g)
        gradient = [(R @ W.T * G * (Z > 0) + beta * Z).ravel(), ((A * G).T @ R + beta * W).ravel(), inner]
        decay = v[:-units] @ v[:-units] + (depth - 2) * g @ g
        return 0.5 * np.sum(R**2) + beta / 2 * decay, np.concatenate(gradient)

    def run(seed):
        rng = np.random.default_rng(seed)
        start = [1.2 * rng.normal(size=units * (n + K)), 1 + np.abs(rng.normal(size=units)) / 2]
        options = {"maxiter": 1000, "maxcor": 30, "ftol": 1e-15, "gtol": 1e-10}
        return minimize(value_and_gradient, np.concatenate(start), jac=True, method="L-BFGS-B", options=options).fun

    return min(run(seed) for seed in range(starts))


@cache
def trained(kind, depth, beta, seeds, standard=None):
    """Objectives of real networks on random whitened data, and the best one; a chain of the widths, or parallel."""
    X, Y = random_whitened_rows(6, 7, 3), labels(kind, np.random.default_rng(5))
    K = Y.shape[1]
    starts = [parallel_network(7, K, depth, 6, 2, seed=s) if standard is None
              else standard_network([7, *standard, K], activation="relu", seed=s) for s in seeds]
    runs = [train(start, X, Y, beta, steps=300, progress=False) for start in starts]
    best = min(runs, key=lambda run: run.objective[-1])
    return X, Y, [run.objective[-1] for run in runs], as_network(best.module)


def by_direction(Y, beta, depth):
    """The closed form: the rows' directions, and for each the scalar problem of its norm."""
    y, V = row_directions(Y)
    sigma = np.linalg.norm(y, axis=0)
    return (y / sigma * depth_prox(sigma, beta, depth)) @ V, float(np.sum(depth_prox_value(sigma, beta, depth)))


@chapter.statement(
    "lem-whitened-features",
    "random units, chains and free features; closed support functions against all faces of the ball, gauge against "
    "a convex solver",
    1e-6,
    {"support: norm of the whole vector": {"whole": True}, "gauge: norm of the whole vector": {"flat": True}},
)
def features(rng, whole=False, flat=False):
    for n, d in ((1, 1), (3, 5), (6, 6)):
        X = random_whitened_rows(n, d, rng)
        U, h = rng.normal(size=(d, 50)), np.abs(rng.normal(size=n))
        yield max(0.0, np.max(np.linalg.norm(np.maximum(X @ U, 0), axis=0) / np.linalg.norm(U, axis=0)) - 1)
        yield np.abs(np.maximum(X @ (X.T @ h), 0) - h).max()
        yield abs(np.linalg.norm(X.T @ h) - np.linalg.norm(h))
        chain = [rng.normal(size=shape) for shape in ((d, 4), (4, 3), (3, 1), (1, 2))]
        last = Network((tuple(chain),), "relu").hidden(X)[0]
        yield max(0.0, np.linalg.norm(last) / np.prod([np.linalg.norm(W) for W in chain[:-1]]) - 1)
        H, lam, P = WhitenedReLUFeatures(X), rng.normal(size=n), rng.normal(size=(n, 2))
        plus, minus = (np.linalg.norm(np.maximum(v, 0)) for v in (lam, -lam))
        exact = enumerated_support(lam[:, None])
        yield abs((np.linalg.norm(lam) if whole else max(plus, minus)) / exact - 1)
        yield abs(H.support(lam).value / exact - 1)
        yield abs(H.support(P).value / enumerated_support(P) - 1)
        p, q = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
        least = cp.Problem(cp.Minimize(cp.norm(p) + cp.norm(q)), [p - q == lam]).solve(solver="CLARABEL")
        yield abs((np.linalg.norm(lam) if flat else plus + minus) / least - 1)


@chapter.violation("lem-whitened-features", "ass-whitened-rows", "data diag(2, 1): excess of the true support")
def features_without_whitening(rng):
    angles = np.linspace(0, np.pi / 2, 2001)
    H = np.maximum(np.diag([2.0, 1.0]) @ np.array([np.cos(angles), np.sin(angles)]), 0)
    yield np.max(np.ones(2) @ H) - 2**0.5


@chapter.statement(
    "thm-obtuse-rows",
    "one unit for each direction against a semidefinite dual (four samples), trained networks, and the residual's "
    "support over all faces",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "one unit for all directions": {"merged": True}},
)
def obtuse_rows(rng, factor=1.0, merged=False):
    def closed(Y, beta):
        if merged:
            return by_direction(np.linalg.norm(Y, axis=1)[:, None], beta, 2)[1]
        F = by_direction(Y, factor * beta, 2)[0]
        y, _ = row_directions(F) if F.any() else (np.zeros(1), None)
        return 0.5 * np.sum((F - Y) ** 2) + beta * np.linalg.norm(y, axis=0).sum()

    for kind in KINDS:
        for beta in (0.3, 1.0):
            Y = labels(kind, rng, n=4)
            yield abs(closed(Y, beta) / semidefinite_dual(Y, beta) - 1)
        Y, beta = labels(kind, rng), 0.4
        yield abs(closed(Y, beta) / unconstrained(Y, beta, 2) - 1)
        yield max(0.0, enumerated_support(Y - by_direction(Y, beta, 2)[0]) / beta - 1)
        found = solve(random_whitened_rows(6, 8, rng), Y, beta, activation="relu")
        yield abs(closed(Y, beta) / found.certificate.dual - 1)
    X, Y, runs, _ = trained("simplex", 2, 0.3, (0, 1))
    yield abs(closed(Y, 0.3) / min(runs) - 1)


@chapter.violation("thm-obtuse-rows", "ass-label-rows", "two rows at 60 degrees: relative excess of the formula")
def rows_at_an_acute_angle(rng):
    Y = np.array([[1.0, 0.0], [0.5, 0.75**0.5]])
    formula = np.sum(depth_prox_value(np.linalg.norm(Y, axis=1), 0.2, 2))
    yield formula / semidefinite_dual(Y, 0.2) - 1


@chapter.violation("thm-obtuse-rows", "ass-whitened-rows", "data diag(3, 1): the formula misses a trained network")
def obtuse_without_whitening(rng):
    X, Y = np.diag([3.0, 1.0]), np.eye(2)
    start = standard_network([2, 6, 2], activation="relu", seed=0)
    yield by_direction(Y, 0.5, 2)[1] / train(start, X, Y, 0.5, progress=False).objective[-1] - 1


@chapter.violation("thm-obtuse-rows", "ass-branches", "one hidden unit for two directions: relative excess")
def obtuse_without_units(rng):
    best = min(train(standard_network([2, 1, 2], activation="relu", seed=s), np.eye(2), np.eye(2), 0.2,
                     progress=False).objective[-1] for s in range(3))
    yield best / by_direction(np.eye(2), 0.2, 2)[1] - 1


@chapter.statement(
    "thm-whitened",
    "the scalar problem of each direction against singular values of $Y$ and parallel networks trained from several"
    " starts, with their features",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "one layer less": {"less": 1}},
)
def parallel_networks(rng, factor=1.0, less=0):
    for kind in ("one-hot", "orthonormal", "one line"):
        for depth, beta in ((2, 0.4), (3, 0.25), (4, 0.15)):
            Y = labels(kind, rng)
            value = by_direction(Y, factor * beta, depth - less if depth > 2 else depth)[1]
            if kind != "one line":
                singular = np.linalg.svd(Y, compute_uv=False)
                yield abs(np.sum(depth_prox_value(singular, beta, depth)) / value - 1)
            yield abs(unconstrained(Y, beta, depth) / value - 1)
            X = random_whitened_rows(6, 7, rng)
            yield abs(certify(solve(X, Y, beta, depth=depth, activation="relu"), X, Y, beta).primal / value - 1)
    for kind, seeds in (("one-hot", (1, 2)), ("one line", (1, 4))):
        X, Y, runs, best = trained(kind, 3, 0.1, seeds)
        yield abs(min(runs) / by_direction(Y, factor * 0.1, 3 - less)[1] - 1)
        y, _ = row_directions(Y)  # the optimal network is of one form: one branch for each direction, its feature
        y_hat, h = y / np.linalg.norm(y, axis=0), np.hstack(best.hidden(X))
        h = h[:, np.linalg.norm(h, axis=0) > 1e-3]
        yield float(h.shape[1] != y.shape[1])
        yield np.max(1 - np.max(y_hat.T @ h / np.linalg.norm(h, axis=0), axis=0))


@chapter.violation("thm-whitened", "ass-whitened-rows", "data diag(3, 1), L = 3: formula against training")
def parallel_without_whitening(rng):
    X, Y = np.diag([3.0, 1.0]), np.eye(2)
    starts = [parallel_network(2, 2, 3, 6, 2, seed=s) for s in range(3)]
    best = min(train(start, X, Y, 0.3, progress=False).objective[-1] for start in starts)
    yield abs(by_direction(Y, 0.3, 3)[1] / best - 1)


@chapter.violation("thm-whitened", "ass-label-frame", "three columns of mixed sign, L = 3: excess of the formula")
def parallel_with_mixed_signs(rng):
    Y = np.kron(np.eye(3), [[1.0], [-1.0]])
    yield by_direction(Y, 0.05, 3)[1] / unconstrained(Y, 0.05, 3, units=12, starts=3) - 1


def bottleneck():
    """Five layers on X = Y = I_3 through a hidden layer of width two, layers of equal norm."""
    r = 0.5**0.5
    W1, W4 = np.array([[1, 0], [r, r], [0, 1]]), np.array([[r, r, -r], [-r, r, r]])
    W5 = np.array([[2**0.5, -1, 0], [0, 1, 0], [0, -1, 2**0.5]])
    scale = np.array([3**0.25, 1, 3**0.25])
    layers = [W1, np.eye(2), np.eye(2), W4 * scale, W5 / scale[:, None]]
    norms = np.array([np.linalg.norm(W) for W in layers])
    return [W * np.prod(norms) ** (1 / 5) / norm for W, norm in zip(layers, norms, strict=True)]


@chapter.violation("thm-whitened", "ass-parallel", "standard network, L = 5: excess of the formula, over $\\beta$")
def standard_beats_parallel(rng):
    net = as_network(bottleneck(), "relu")
    yield (by_direction(np.eye(3), 1e-3, 5)[1] - certify(net, np.eye(3), np.eye(3), 1e-3).primal) / 1e-3


@chapter.violation("thm-whitened", "ass-beta", "no decay: an optimal network has a unit for two directions")
def parallel_without_decay(rng):
    features, outputs = np.array([[1.0, 0, 0], [1.0, 1, 1]]), np.array([[1.0, 0], [-1.0, 0], [0, 1.0]])
    loss = 0.5 * np.sum((features @ outputs - np.eye(2)) ** 2)
    yield 0.0 if loss > 1e-20 else np.min(np.linalg.norm(features[:, :1] / 2**0.5 - np.eye(2), axis=0))


@chapter.violation("thm-whitened", "ass-branches", "one branch for two directions: relative excess")
def parallel_without_branches(rng):
    yield unconstrained(np.eye(2), 0.1, 3, units=1) / by_direction(np.eye(2), 0.1, 3)[1] - 1


def shared_network(X, y, s, depth, gain):
    """Four branches for six directions; y holds the six unit features, column 2k for +, 2k+1 for -."""
    features = np.stack([sum(y[:, 2 * k + (a < 0)] for k, a in enumerate(row)) for row in SIGNS], axis=1) / 3**0.5
    return relu_network(X.T @ features, SIGNS / 3**0.5, np.full(4, gain * s), depth)


@chapter.statement(
    "prop-shared-units",
    "outputs and weight decay of four shared branches against six separate ones",
    1e-8,
    {"gain 1 for 3/2": {"gain": 1.0}, "exponent $1 - 1/L$": {"power": 1.0}},
)
def shared_units(rng, gain=1.5, power=2.0):
    for depth, s in ((2, 0.7), (3, 1.0), (5, 1.3)):
        X, y = random_whitened_rows(9, 11, rng), np.zeros((9, 6))
        y[np.arange(9), np.arange(9) % 6] = rng.uniform(0.5, 2.0, 9)
        y /= np.linalg.norm(y, axis=0)
        V = np.kron(np.eye(3), [[1.0], [-1.0]])
        separate, shared = relu_network(X.T @ y, V, np.full(6, s), depth), shared_network(X, y, s, depth, gain)
        yield np.abs(separate.predict(X) - shared.predict(X)).max()
        yield np.abs(separate.predict(X) - s * y @ V).max()
        yield abs(shared.penalty / separate.penalty - (2 / 3) ** (1 - power / depth))


@chapter.violation("prop-shared-units", "ass-whitened-rows", "data that are not whitened: the outputs differ")
def shared_without_whitening(rng):
    X, y, V = np.diag(np.arange(1.0, 7.0)), np.eye(6), np.kron(np.eye(3), [[1.0], [-1.0]])
    yield np.abs(shared_network(X, y, 1.0, 3, 1.5).predict(X) - y @ V).max()


@chapter.statement(
    "prop-standard-bound",
    "explicit and trained standard networks between both bounds, and on the lower one for parallel rows",
    1e-6,
    {"upper bound with $\\beta / 2$": {"upper": 0.5}, "the upper bound as a lower one": {"parallel": True}},
)
def standard_networks(rng, upper=1.0, parallel=False):
    for kind in ("one-hot", "orthonormal", "simplex", "obtuse", "mixed sign"):
        for depth in (2, 3, 5):
            X, Y, beta = random_whitened_rows(6, 8, rng), labels(kind, rng), 0.15
            y, V = row_directions(Y)
            sigma = np.linalg.norm(y, axis=0)
            s = depth_prox(sigma, beta, depth)
            on = s > 0
            root = np.diag(s[on] ** (1 / depth))
            layers = [X.T @ (y / sigma)[:, on] @ root, *[root] * (depth - 2), root @ V[on]]
            yield abs(_objective(layers, X, Y, beta) / by_direction(Y, upper * beta, depth)[1] - 1)
    for widths, seeds in (((8, 8), (1, 2)), ((10, 10, 10), (2, 3))):
        depth = len(widths) + 1
        X, Y, runs, _ = trained("one-hot", depth, 0.15, seeds, standard=widths)
        yield max(0.0, standard_lower_bound(Y, 0.15, depth) / min(runs) - 1)
        yield max(0.0, min(runs) / by_direction(Y, upper * 0.15, depth)[1] - 1)
    lower = by_direction(np.eye(3), 1e-3, 5)[1] if parallel else standard_lower_bound(np.eye(3), 1e-3, 5)
    yield max(0.0, lower / _objective(bottleneck(), np.eye(3), np.eye(3), 1e-3) - 1)
    Y = np.abs(labels("one line", rng))
    for depth in (2, 3, 4):  # all rows parallel: both bounds agree
        yield abs(standard_lower_bound(Y, 0.2, depth) / by_direction(Y, upper * 0.2, depth)[1] - 1)


def _objective(layers, X, Y, beta):
    net = as_network(layers, "relu")
    return 0.5 * np.sum((net.predict(X) - Y) ** 2) + beta * net.penalty


@chapter.violation("prop-standard-bound", "ass-whitened-rows", "data 3 I: a network below the lower bound")
def standard_without_whitening(rng):
    net = [np.array([[1.0, 0], [0, 1]]) * 3 ** (-1 / 3)] * 3
    yield 1 - _objective(net, 3 * np.eye(2), np.eye(2), 0.5) / standard_lower_bound(np.eye(2), 0.5, 3)


@chapter.violation("prop-standard-bound", "ass-branches", "width one for two directions: excess over the bound")
def standard_without_width(rng):
    starts = [standard_network([2, 1, 1, 2], activation="relu", seed=s) for s in range(3)]
    best = min(train(start, np.eye(2), np.eye(2), 0.05, progress=False).objective[-1] for start in starts)
    yield best / by_direction(np.eye(2), 0.05, 3)[1] - 1


CYCLE = {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)}


def clique_labels(edges, n, k):
    """Integer labels of the reduction: a column of ones, k of e_i - e_j for pairs not joined, and copies of e_i."""
    eye = np.eye(n)
    apart = [(i, j) for i, j in combinations(range(n), 2) if (i, j) not in edges]
    missing = np.zeros(n, dtype=int)
    for i, j in apart:
        missing[[i, j]] += 1
    columns = [np.ones(n)]
    columns += [eye[i] - eye[j] for i, j in apart for _ in range(k)]
    columns += [eye[i] for i in range(n) for _ in range(n * n - k * (1 + missing[i]))]
    return np.array(columns).T


def clique_number(edges, n):
    """By trying all subsets of vertices."""
    return max(len(S) for size in range(1, n + 1) for S in combinations(range(n), size)
               if all(pair in edges for pair in combinations(S, 2)))


@chapter.statement(
    "prop-hardness",
    "zero is optimal, decided by the support over all faces, against the clique number by trying all subsets",
    1e-6,
    {"cliques one vertex larger": {"shift": 1}, "threshold $n - 1/2$": {"threshold": -0.5}},
)
def hardness(rng, shift=0, threshold=0.0):
    for trial in range(6):
        n = 5
        pairs = list(combinations(range(n), 2))
        edges = {p for p in pairs if rng.random() < 0.55} if trial else CYCLE
        omega = clique_number(edges, n)
        for k in range(1, n):
            Y = clique_labels(edges, n, k)
            support = enumerated_support(Y)
            yield float((support <= n + threshold + 1e-9) != (omega + shift <= k))
            joined = np.array([[i == j or (min(i, j), max(i, j)) in edges for j in range(n)] for i in range(n)])
            B = k * (np.eye(n) + ~joined) - 1
            yield np.abs(Y @ Y.T - n**2 * np.eye(n) + B).max()
            if omega > k:  # the uniform weights on a largest clique prove it
                S = next(S for S in combinations(range(n), omega) if all(p in edges for p in combinations(S, 2)))
                h = np.isin(np.arange(n), S) / omega**0.5
                yield max(0.0, np.sqrt(n**2 + omega - k) - np.linalg.norm(Y.T @ h))


@chapter.violation("prop-hardness", "ass-whitened-rows", "data 2 I: zero is no longer optimal, support - $\\beta$")
def hardness_without_whitening(rng):
    yield 2 * enumerated_support(clique_labels(CYCLE, 5, 2)) - 5  # clique number 2: zero is optimal for X = I
