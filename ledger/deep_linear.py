"""Checks of the chapter "Deep linear networks: rank-K alignment"."""

from functools import reduce
from itertools import pairwise

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize, minimize_scalar

from dualkit._secular import secular_roots
from dualkit.depth import (
    aligned_factors,
    depth_prox,
    depth_prox_value,
    jump_point,
    local_minimum_point,
    scalar_linear,
)
from dualkit.measure import balancedness
from ledger import Chapter

chapter = Chapter("deep_linear")
TWO_MINIMA = (np.diag([10.0, 1.0]), np.array([1.0, 3.0]), 2.0)
THREE_MINIMA = (np.diag([100.0, 10.0, 1.0]), np.array([1.0, 3.0, 10.0]), 10.0)


def product(weights):
    return reduce(np.matmul, weights)


def decay(weights):
    return 0.5 * sum(np.sum(W**2) for W in weights)


def singular_values(W):
    return np.linalg.svd(W, compute_uv=False)


def spectral(W, power):
    """Return sum_i sigma_i^power without the singular values that are rounding noise."""
    s = singular_values(W)
    return np.sum(s[s > 1e-9 * max(1.0, s[0])] ** power)


def split(theta, widths):
    sizes = [a * b for a, b in pairwise(widths)]
    parts = np.split(theta, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, pairwise(widths), strict=True)]


def runs(X, Y, beta, widths, rng, starts=6, scale=1.2):
    """Quasi-Newton runs from random starts: a list of (objective, weights), best first."""

    def objective(theta):
        W = split(theta, widths)
        before = [np.eye(widths[0])]
        for layer in W:
            before.append(before[-1] @ layer)
        R = X @ before[-1] - Y
        gradient, after = [], np.eye(widths[-1])
        for layer, left in zip(W[::-1], before[-2::-1], strict=True):
            gradient.append(left.T @ X.T @ R @ after.T)
            after = layer @ after
        flat = np.concatenate([g.ravel() for g in gradient[::-1]])
        return 0.5 * np.sum(R**2) + 0.5 * beta * theta @ theta, flat + beta * theta

    found = []
    for _ in range(starts):
        start = np.concatenate([scale * rng.normal(size=a * b) / np.sqrt(a) for a, b in pairwise(widths)])
        run = minimize(objective, start, jac=True, method="L-BFGS-B",
                       options={"maxiter": 4000, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-11})
        found.append((run.fun, split(run.x, widths)))
    return sorted(found, key=lambda pair: pair[0])


def whitened(rng, n, d):
    Q = np.linalg.qr(rng.normal(size=(max(n, d), min(n, d))))[0]
    return Q if n >= d else Q.T


def labels(rng, X, singular, noise=0.0):
    """Return labels for which X^T Y has the given singular values; X whitened."""
    d, K = X.shape[1], len(singular)
    V = np.linalg.qr(rng.normal(size=(K, K)))[0]
    inside = np.linalg.qr(X.T @ rng.normal(size=(len(X), K)))[0] if len(X) < d else whitened(rng, d, K)
    return X @ (inside * singular) @ V.T


# ---- the penalty


@chapter.statement(
    "lem-schatten",
    "least weight decay of a factorisation, by numerical descent, against $\\frac{L}{2} \\sum_i \\sigma_i^{2/L}$",
    1e-6,
    {"$L$ instead of $L/2$": {"factor": 2.0}, "exponent $1/L$ instead of $2/L$": {"power": 1.0}},
)
def schatten(rng, factor=1.0, power=2.0):
    for W, depth in ((rng.normal(size=(2, 2)), 2), (rng.normal(size=(2, 2)), 3), (rng.normal(size=(3, 2)), 3),
                     (np.eye(2), 3), (np.diag([2.0, 0.5]), 4)):
        d = len(W)

        def cost(theta, d=d, W=W, depth=depth):
            free = list(theta.reshape(depth - 1, d, d))
            return decay([*free, np.linalg.solve(product(free), W)])

        starts = [(np.eye(d) + 0.3 * rng.normal(size=(depth - 1, d, d))).ravel() for _ in range(2)]
        least = min(minimize(cost, s, method="BFGS", options={"gtol": 1e-8}).fun for s in starts)
        claim = factor * depth / 2 * spectral(W, power / depth)
        # A square chain has a nearly singular last layer where rank(W) < d: the infimum is only approached.
        yield max(0.0, claim - least) / claim
        if W.shape[0] == W.shape[1]:
            yield abs(least / claim - 1)
    for shape, depth, widths in (((5, 3), 3, [4, 6]), ((2, 4), 5, [2, 3, 4, 5]), ((4, 1), 4, [1, 2, 3])):
        W = rng.normal(size=shape)
        chain = aligned_factors(W, depth, widths, rng)
        yield np.abs(product(chain) - W).max()
        yield np.abs(balancedness(chain)).max()
        yield abs(decay(chain) / (factor * depth / 2 * spectral(W, power / depth)) - 1)


@chapter.violation("lem-schatten", "ass-deep-width",
                   "one hidden unit in a layer cannot carry a matrix of rank two: best distance")
def schatten_without_width(rng):
    yield singular_values(rng.normal(size=(3, 2)))[1]


@chapter.statement(
    "thm-alignment",
    "trained networks, stuck ones included: singular values and frames layer by layer; the best objective "
    "against proximal descent on the end-to-end matrix",
    1e-6,
    {"penalty of two layers, the nuclear norm": {"power": 1.0},
     "layers with singular values $\\sigma_i^{1/(L-1)}$": {"root": -1},
     "all singular values of a layer equal": {"flat": True}},
)
def alignment(rng, power=None, root=0, flat=False):
    for n, d, K, depth, fraction in ((7, 3, 1, 3, 0.1), (8, 4, 2, 3, 0.06), (9, 4, 3, 4, 0.05)):
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, K))
        beta = fraction * singular_values(X.T @ Y)[0]
        found = runs(X, Y, beta, [d] + [max(d, K)] * (depth - 1) + [K], rng, starts=4)
        for value, W in found:
            end = singular_values(product(W))
            expected = end ** (1 / (depth + root))
            if flat:
                expected = np.full_like(end, expected.mean())
            for layer in W:
                s = singular_values(layer)
                size = max(1.0, s[0])
                on = expected > 1e-2  # roots of rounding noise are large
                yield np.abs(s[: len(end)] - expected)[on].max(initial=0.0) / size
            yield np.abs(balancedness(W)).max()
            p = 2 / depth if power is None else power
            rest = 0.5 * np.sum((X @ product(W) - Y) ** 2)
            yield abs(rest + beta * depth / 2 * spectral(product(W), p) - value) / value
        # independent route: gradient step on the loss, then the proximal map of the penalty
        step, best = 1 / np.linalg.norm(X, 2) ** 2, np.inf
        for start in [np.linalg.lstsq(X, Y, rcond=None)[0], product(found[0][1])]:
            W = start
            for _ in range(300):
                U, s, Vt = np.linalg.svd(W - step * X.T @ (X @ W - Y), full_matrices=False)
                W = (U * depth_prox(s, step * beta, depth)) @ Vt
            value = 0.5 * np.sum((X @ W - Y) ** 2) + beta * depth / 2 * spectral(W, 2 / depth)
            best = min(best, value)
        yield abs(best / found[0][0] - 1)


@chapter.violation("thm-alignment", "ass-optimal", "random weights: $\\|W_l^\\T W_l - W_{l+1} W_{l+1}^\\T\\|_F$")
def alignment_without_optimality(rng):
    yield balancedness([rng.normal(size=s) for s in ((4, 5), (5, 5), (5, 2))]).max()


@chapter.violation("thm-alignment", "ass-beta", "no decay, $f = Y$ exactly: layers of different norms")
def alignment_without_decay(rng):
    chain = [np.array([[4.0]]), np.array([[1.0]]), np.array([[0.5]])]
    yield balancedness(chain).max() if product(chain) == 2.0 else 0.0


@chapter.violation("thm-alignment", "ass-deep-width",
                   "one hidden unit in every layer, two outputs: relative excess of the trained objective")
def alignment_without_width(rng):
    X, Y, beta = np.eye(2), np.diag([3.0, 2.5]), 0.5
    best = runs(X, Y, beta, [2, 1, 1, 2], rng)[0][0]
    yield best / np.sum(depth_prox_value([3.0, 2.5], beta, 3)) - 1


@chapter.statement(
    "lem-rotfeld",
    "gains of rank-one decompositions, random and numerically optimal, against the singular values",
    1e-6,
    {"exponent 2, a convex function": {"power": 2.0}, "ties at $L = 3$ too": {"ties": 3},
     "singular values counted twice": {"factor": 2.0}},
)
def rotfeld(rng, power=None, ties=2, factor=1.0):
    for d, K, depth in ((2, 2, 3), (3, 2, 3), (3, 3, 4), (4, 3, 2)):
        p = 2 / depth if power is None else power
        W = rng.normal(size=(d, K))
        U, s, Vt = np.linalg.svd(W, full_matrices=False)
        claim = factor * np.sum(s**p)
        for m in (len(s), len(s) + 2):
            G = rng.normal(size=(len(s), m))
            A, B = (U * s) @ G, Vt.T @ np.linalg.pinv(G).T
            gains = np.linalg.norm(A, axis=0) * np.linalg.norm(B, axis=0)
            yield np.abs(A @ B.T - W).max()
            yield max(0.0, claim - np.sum(gains**p)) / claim

        def cost(theta, U=U, s=s, Vt=Vt, p=p):
            G = theta.reshape(len(s), len(s))
            A, B = (U * s) @ G, Vt.T @ np.linalg.inv(G).T
            return np.sum((np.linalg.norm(A, axis=0) * np.linalg.norm(B, axis=0)) ** p)

        starts = [np.linalg.qr(rng.normal(size=(len(s), len(s))))[0].ravel() for _ in range(4)]
        least = min(minimize(cost, g, method="BFGS", options={"gtol": 1e-9}).fun for g in starts)
        yield abs(least / claim - 1)
    # a tie at L = 2: I_2 is the sum of three rank-one matrices at 120 degrees with gains 2/3
    angles = 2 * np.pi * np.arange(3) / 3
    A = np.array([np.cos(angles), np.sin(angles)])
    yield np.abs(2 / 3 * A @ A.T - np.eye(2)).max()
    yield abs(3 * (2 / 3) ** (2 / ties) - 2)
    for depth in (3, 5):  # equality of the frames fails, so the inequality is strict
        yield max(0.0, 2 + 0.1 - 3 * (2 / 3) ** (2 / depth))


@chapter.violation("lem-rotfeld", "ass-deep-width", "one branch cannot carry a matrix of rank two: best distance")
def rotfeld_without_width(rng):
    yield singular_values(rng.normal(size=(3, 2)))[1]


@chapter.statement(
    "lem-mirsky",
    "best inner product over all rotations of one matrix, by alternating Procrustes steps, against "
    "$\\sum_i \\sigma_i(A) \\sigma_i(B)$",
    1e-8,
    {"singular values paired in opposite order": {"reverse": True}, "largest pair only": {"count": 1}},
)
def mirsky(rng, reverse=False, count=None):
    for d, K in ((3, 3), (4, 2), (2, 5)):
        A, B = rng.normal(size=(d, K)), rng.normal(size=(d, K))
        a, b = singular_values(A)[:count], singular_values(B)[:count]
        claim = np.sum(a * (b[::-1] if reverse else b))
        best = -np.inf
        for _ in range(6):
            Q, R = np.linalg.qr(rng.normal(size=(d, d)))[0], np.linalg.qr(rng.normal(size=(K, K)))[0]
            for _ in range(300):
                left, _, right = np.linalg.svd(B @ R.T @ A.T)
                Q = left @ right
                left, _, right = np.linalg.svd(A.T @ Q.T @ B)
                R = left @ right
            best = max(best, np.sum(Q @ A @ R * B))
        yield abs(best / claim - 1)
        distance = np.sum(a**2) + np.sum(b**2) - 2 * claim
        yield max(0.0, distance - np.sum((A - B) ** 2))


# ---- whitened data


@chapter.statement(
    "thm-deep-linear",
    "proximal map of the singular values against trained networks and, for $L = 2$, a general convex solver",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "soft threshold at every depth": {"soft": True}},
)
def deep_linear(rng, factor=1.0, soft=False):
    for n, d, depth in ((6, 4, 2), (3, 5, 2), (6, 4, 3), (3, 5, 3), (5, 5, 4)):
        X, K = whitened(rng, n, d), 3
        Y = labels(rng, X, np.array([3.0, 2.0, 0.6]))
        Y = Y + 0.1 * (rng.normal(size=Y.shape) if n < d else Y - X @ X.T @ Y)
        beta = 0.4
        U, s, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
        W = (U * depth_prox(s, factor * beta, 2 if soft else depth)) @ Vt
        value = 0.5 * np.sum((X @ W - Y) ** 2) + beta * depth / 2 * spectral(W, 2 / depth)
        rest = 0.5 * (np.sum(Y**2) - np.sum(s**2))
        if not soft and factor == 1:
            yield abs(rest + np.sum(depth_prox_value(s, beta, depth)) - value) / value
        trained, layers = runs(X, Y, beta, [d] + [d] * (depth - 1) + [K], rng, starts=8)[0]
        yield abs(value / trained - 1)
        yield np.abs(product(layers) - W).max()  # no singular value lies at the jump: unique
        if depth == 2:
            variable = cp.Variable((d, K))
            objective = 0.5 * cp.sum_squares(X @ variable - Y) + beta * cp.normNuc(variable)
            yield abs(value / cp.Problem(cp.Minimize(objective)).solve(solver="CLARABEL") - 1)
    # two singular values at the jump: ranks 0, 1 and 2 tie, whatever frames the repeated pair has
    X, beta = whitened(rng, 5, 3), 0.4
    sigma_star, s_star = 2 * beta**0.75, beta**0.75
    Y = labels(rng, X, np.array([sigma_star, sigma_star, 0.3]))
    U, _, Vt = np.linalg.svd(X.T @ Y)
    R = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    trained = runs(X, Y, beta, [3, 3, 3, 3], rng)[0][0]
    for on in ([0.0, 0.0], [s_star, 0.0], [s_star, s_star]):
        W = ((U[:, :2] @ R) * on) @ (R.T @ Vt[:2])
        yield abs((0.5 * np.sum((X @ W - Y) ** 2) + beta * 1.5 * spectral(W, 2 / 3)) / trained - 1)


@chapter.violation("thm-deep-linear", "ass-whitened",
                   "data with singular values 3 and 1: relative excess over a trained network")
def deep_linear_without_whitening(rng):
    X, Y, beta = np.diag([3.0, 1.0]), np.array([[1.0, 0.5], [0.0, 1.0]]), 0.1
    U, s, Vt = np.linalg.svd(X.T @ Y)
    W = (U * depth_prox(s, beta, 3)) @ Vt
    value = 0.5 * np.sum((X @ W - Y) ** 2) + beta * 1.5 * spectral(W, 2 / 3)
    yield value / runs(X, Y, beta, [2, 2, 2, 2], rng)[0][0] - 1


@chapter.violation("thm-deep-linear", "ass-beta", "no decay: another minimiser, its distance from the formula")
def deep_linear_without_decay(rng):
    X, Y, other = np.eye(1, 2), np.ones((1, 1)), np.ones((2, 1))
    yield np.linalg.norm(other - X.T @ Y) if np.array_equal(X @ other, Y) else 0.0


@chapter.violation("thm-deep-linear", "ass-deep-width", "one hidden unit, two outputs: relative excess")
def deep_linear_without_width(rng):
    best = runs(np.eye(2), np.diag([3.0, 2.5]), 0.5, [2, 1, 1, 2], rng)[0][0]
    yield best / np.sum(depth_prox_value([3.0, 2.5], 0.5, 3)) - 1


# ---- the scalar problem


@chapter.statement(
    "prop-jump",
    "stationary points as roots of a polynomial, and a grid search, against the closed forms",
    1e-8,
    {"$s^*$ with $L - 1$ for $L - 2$": {"shift": 1}, "jump at $2 s^*$ for every $L$": {"twice": True}},
)
def jump(rng, shift=0, twice=False):
    def objective(s, sigma, beta, depth):
        return 0.5 * (s - sigma) ** 2 + beta * depth / 2 * s ** (2 / depth)

    for depth in (3, 4, 5, 8):
        beta = np.exp(rng.normal())
        s_star = (beta * (depth - 2 + shift)) ** (depth / (2 * depth - 2))
        sigma_star = 2 * s_star if twice else s_star * (depth - 1) / (depth - 2)
        yield np.abs(np.array(jump_point(beta, depth)) / [sigma_star, s_star] - 1).max()
        yield abs(objective(s_star, sigma_star, beta, depth) / (0.5 * sigma_star**2) - 1)
        s_c = (beta * (depth - 2) / depth) ** (depth / (2 * depth - 2))
        sigma_c = s_c * (2 * depth - 2) / (depth - 2)
        yield np.abs(np.array(local_minimum_point(beta, depth)) / [sigma_c, s_c] - 1).max()
        for ratio in (0.9, 0.99, 1.01, 1.5, 4.0):
            sigma = ratio * sigma_star
            t = np.roots(polynomial(sigma, beta, depth))
            t = np.sort(t[(np.abs(t.imag) < 1e-9) & (t.real > 0)].real)
            yield float((len(t) == 2) != (sigma > sigma_c))
            if len(t) == 2:
                low, high = t**depth
                yield float(not low < s_c < high)
                better = objective(high, sigma, beta, depth) < 0.5 * sigma**2
                yield float(better != (ratio > 1))
                yield abs(depth_prox(sigma, beta, depth) - (high if ratio > 1 else 0.0)) / sigma
                yield max(0.0, s_star - high) if ratio > 1 else 0.0
            grid = np.linspace(0, sigma, 20001)
            k = np.argmin(objective(grid, sigma, beta, depth))
            refined = minimize_scalar(objective, bounds=(grid[max(k - 1, 0)], grid[min(k + 1, 20000)]),
                                      args=(sigma, beta, depth), method="bounded", options={"xatol": 1e-13})
            least = min(refined.fun, 0.5 * sigma**2)
            yield abs(depth_prox_value(sigma, beta, depth) / least - 1)


def polynomial(sigma, beta, depth):
    """Return the coefficients of t^(2L-2) - sigma t^(L-2) + beta."""
    c = np.zeros(2 * depth - 1)
    c[0], c[depth], c[-1] = 1.0, -sigma, beta
    return c


@chapter.violation("prop-jump", "ass-beta", "no decay: fall of the objective from zero to $s = 0.1$")
def jump_without_decay(rng):
    yield 0.5 - 0.5 * (0.1 - 1) ** 2


@chapter.statement(
    "prop-zero-minimum",
    "random and worst-case weights inside the radius: fall below the objective of zero, and speed at which the "
    "gradient flow shortens the weights",
    1e-8,
    {"radius of the minimum three times as large": {"radius": 3.0},
     "radius of the flow twice as large": {"flow": 2.0}},
)
def zero_minimum(rng, radius=1.0, flow=1.0):
    for d, K, depth in ((3, 2, 3), (4, 1, 4), (2, 3, 5)):
        X, Y, beta = rng.normal(size=(6, d)), 3 * rng.normal(size=(6, K)), 0.2
        U, s, Vt = np.linalg.svd(X.T @ Y)
        rho0 = (beta * depth ** (depth / 2) / (2 * s[0])) ** (1 / (depth - 2))
        rho1 = (beta * depth ** (depth / 2 - 1) / s[0]) ** (1 / (depth - 2))
        widths = [d] + [3] * (depth - 1) + [K]
        frames = [U[:, 0], *[np.linalg.qr(rng.normal(size=(3, 1)))[0][:, 0] for _ in range(depth - 1)], Vt[0]]
        aligned = [np.outer(a, b) for a, b in pairwise(frames)]
        directions = [aligned, *[split(rng.normal(size=sum(a * b for a, b in pairwise(widths))), widths)
                                 for _ in range(5)]]
        for direction in directions:
            size = np.sqrt(2 * decay(direction))
            for fraction in (1e-3, 0.1, 0.5, 0.999):
                W = [radius * fraction * rho0 / size * layer for layer in direction]
                change = 0.5 * np.sum((X @ product(W) - Y) ** 2) - 0.5 * np.sum(Y**2) + beta * decay(W)
                yield max(0.0, -change)
            for fraction in (0.01, 0.3, 0.6, 0.9, 1.0):  # <theta, gradient>, the speed at which rho^2/2 falls
                W = [fraction * rho1 / size * layer for layer in direction]
                R = X.T @ (X @ product(W) - Y)
                fall = sum(np.sum(layer * (product([np.eye(d), *W[:k]]).T @ R @ product([*W[k + 1:], np.eye(K)]).T))
                           for k, layer in enumerate(W)) + 2 * beta * decay(W)
                rho = fraction * rho1
                yield max(0.0, beta * (1 - (fraction / flow) ** (depth - 2)) * rho**2 - fall)


@chapter.violation("prop-zero-minimum", "ass-convex",
                   "the loss $-\\min(|f|, 1)^{1/2}$, three layers: fall of the objective near zero")
def zero_without_convexity(rng):
    w = 0.05  # every layer; 1.5 beta w^2 cannot pay for -(w^3)^(1/2)
    yield w**1.5 - 1.5 * w**2


@chapter.violation("prop-zero-minimum", "ass-beta", "no decay: fall of the objective near zero, three layers")
def zero_without_decay(rng):
    yield 0.5 - 0.5 * (0.3**3 - 1) ** 2


@chapter.statement(
    "cor-rank-minima",
    "final values of descent from nearby weights against the value of the local minimum of each rank",
    1e-6,
    {"any single direction instead of the leading ones": {"other": True},
     "$s_-$, the barrier, instead of $s_+$": {"barrier": True}},
)
def rank_minima(rng, other=False, barrier=False):
    for n, d, depth in ((5, 3, 3), (3, 4, 3), (4, 3, 4)):
        X, mu, beta = whitened(rng, n, d), np.array([3.0, 2.0, 1.2]), 0.3
        Y = labels(rng, X, mu)
        U, _, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
        for k in range(4):
            s, value = np.zeros(3), 0.0
            for i in [1] if other else range(k):
                t = np.roots(polynomial(mu[i], beta, depth))
                t = np.sort(t[(np.abs(t.imag) < 1e-9) & (t.real > 0)].real)
                s[i] = t[0 if barrier else -1] ** depth
            value = np.sum(0.5 * (s - mu) ** 2 + beta * depth / 2 * s ** (2 / depth))
            value += 0.5 * (np.sum(Y**2) - np.sum(mu**2))
            chain = aligned_factors((U * s) @ Vt, depth, 4, rng)
            for size in (1e-2, 1e-3):
                W = [layer + size * rng.normal(size=layer.shape) for layer in chain]
                for _ in range(500):
                    before, after = [np.eye(d)], [np.eye(3)]
                    for A, B in zip(W[:-1], W[:0:-1], strict=True):
                        before.append(before[-1] @ A)
                        after.append(B @ after[-1])
                    R = X.T @ (X @ before[-1] @ W[-1] - Y)
                    W = [A - 0.05 * (beta * A + P.T @ R @ Q.T)
                         for A, P, Q in zip(W, before, after[::-1], strict=True)]
                final = 0.5 * np.sum((X @ product(W) - Y) ** 2) + beta * decay(W)
                yield max(0.0, 1 - final / value)  # descent finds nothing below


@chapter.violation("cor-rank-minima", "ass-whitened",
                   "data with singular values 3 and 1: fall of the objective from the claimed minimum of rank two")
def rank_minima_without_whitening(rng):
    X, Y, beta = np.diag([3.0, 1.0]), np.array([[1.0, 0.5], [0.0, 1.0]]), 0.1
    U, mu, Vt = np.linalg.svd(X.T @ Y)
    W = (U * depth_prox(mu, beta, 3)) @ Vt
    slope = X.T @ (X @ W - Y)
    value = [0.5 * np.sum((X @ V - Y) ** 2) + beta * 1.5 * spectral(V, 2 / 3) for V in (W, W - 1e-2 * slope)]
    yield 1 - value[1] / value[0]


@chapter.violation("cor-rank-minima", "ass-beta", "no decay: fall of the objective near zero, rank zero")
def rank_minima_without_decay(rng):
    yield 0.5 - 0.5 * (0.3**3 - 1) ** 2


@chapter.violation("cor-rank-minima", "ass-deep-width",
                   "one hidden unit has no aligned network of rank two: best distance")
def rank_minima_without_width(rng):
    yield singular_values(np.diag([3.0, 2.0]))[1]


# ---- one output


@chapter.statement(
    "thm-deep-scalar",
    "every stationary point against the gradient and the Hessian of the objective; the optimum against "
    "descent from many starts and against trained networks",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "penalty $\\|w\\|$ at every depth": {"power": 1.0}},
)
def deep_scalar(rng, factor=1.0, power=None):
    instances = [(*TWO_MINIMA, 3), (*THREE_MINIMA, 3)]
    for n, d, depth, fraction in ((5, 3, 3, 0.05), (3, 5, 3, 0.2), (8, 4, 4, 0.05), (6, 2, 5, 0.4)):
        X, y = rng.normal(size=(n, d)), rng.normal(size=n)
        instances.append((X, y, fraction * np.linalg.norm(X.T @ y), depth))
    for X, y, beta, depth in instances:
        fit = scalar_linear(X, y, factor * beta, depth)
        p = 2 / depth if power is None else power

        def objective(w, X=X, y=y, beta=beta, depth=depth, p=p):
            t = np.linalg.norm(w)
            slope = beta * depth / 2 * p * t ** (p - 2)
            return (0.5 * np.sum((X @ w - y) ** 2) + beta * depth / 2 * t**p,
                    X.T @ (X @ w - y) + slope * w)

        for w, is_minimum in zip(fit.stationary, fit.is_minimum, strict=True):
            t = np.linalg.norm(w)
            yield np.linalg.norm(objective(w)[1]) / np.linalg.norm(X.T @ y)
            curvature = beta * t ** (2 / depth - 2)
            hessian = X.T @ X + curvature * (np.eye(len(w)) + (2 / depth - 2) * np.outer(w, w) / t**2)
            yield float((np.linalg.eigvalsh(hessian)[0] > 0) != is_minimum)
        r = np.linalg.matrix_rank(X)
        yield float(np.sum(fit.is_minimum) > (3 * r - 1) // 2)
        starts = [s * v for s in (1e-3, 1e-2, 0.1, 1.0, 3.0)
                  for v in [X.T @ y / np.linalg.norm(X.T @ y), *rng.normal(size=(2, X.shape[1]))]]
        least = min(minimize(objective, s, jac=True, method="BFGS", options={"gtol": 1e-10}).fun for s in starts)
        least = min(least, 0.5 * np.sum(y**2))
        w = fit.w
        value = objective(w)[0] if w.any() else 0.5 * np.sum(y**2)
        yield abs(value / least - 1)
        if np.linalg.cond(X) < 20 and power is None:
            trained = min(runs(X, y[:, None], beta, [len(w), *[2] * (depth - 1), 1], rng, 6, scale)[0][0]
                          for scale in (0.1, 1.0))
            yield max(0.0, 1 - trained / value)  # no network is below the claimed optimum
            yield abs(value / trained - 1)


@chapter.violation("thm-deep-scalar", "ass-beta", "no decay, two weights, one sample: distance of two minimisers")
def deep_scalar_without_decay(rng):
    X, y, other = np.eye(1, 2), np.ones(1), np.ones(2)
    yield np.linalg.norm(other - X.T @ y) if np.array_equal(X @ other, y) else 0.0


@chapter.statement(
    "prop-all-roots",
    "roots found by bounds against sign changes on a grid of 40 001 points; speed of the logit, by differences",
    1e-6,
    {"logit falls at speed at most 1": {"down": 1.0}, "logit rises at speed at most 1/2": {"up": 0.5},
     "only the two outer roots": {"outer": True}},
)
def all_roots(rng, down=2.0, up=1.0, outer=False):
    theta = np.linspace(-60, 60, 40001)
    instances = [(10.0 ** np.arange(r)[::-1], 3.0 ** np.arange(r), b, 3) for r, b in ((2, 2.0), (3, 10.0))]
    instances += [(np.exp(3 * rng.normal(size=r)), np.exp(2 * rng.normal(size=r)), np.exp(2 * rng.normal()), L)
                  for r in (1, 2, 3, 6) for L in (3, 4, 6) for _ in range(3)]
    # one dominant direction beside a weak one: rho falls almost as fast as the bound permits
    instances.append((np.array([1e3, 1.0]), np.array([1e2, 1.0]), 1.0, 3))
    for s, c, beta, depth in instances:
        q = 2 - 2 / depth
        log_b = np.log(s * np.abs(c))
        mu = np.exp(theta)[:, None]
        weights = (np.exp(log_b) / (s**2 + mu)) ** 2
        psi = theta + q / 2 * np.log(weights.sum(1)) - np.log(beta)
        t = mu / (s**2 + mu)
        rho = (weights * t).sum(1) / weights.sum(1)
        one_minus = (weights * s**2 / (s**2 + mu)).sum(1) / weights.sum(1)
        speed = np.diff(np.log(rho) - np.log(one_minus)) / np.diff(theta)
        yield max(0.0, speed.max() - up - 1e-7, -down - 1e-7 - speed.min())
        total = ((np.exp(log_b) / (s**2 + np.exp(theta + 1e-20j)[:, None])) ** 2).sum(1)
        slope = 1 + q / 2 * np.log(total).imag * 1e20  # derivative by a complex step
        yield np.abs(slope - (1 - q * rho)).max()
        signs = np.flatnonzero((psi[:-1] >= 0) != (psi[1:] >= 0))
        found, rising = secular_roots(np.log(s), log_b, np.log(beta), depth)
        if outer and len(found):
            found, rising = found[[0, -1]], rising[[0, -1]]
        yield float(len(found) != len(signs))
        if len(found) == len(signs):
            inside = (theta[signs] <= found) & (found <= theta[signs + 1])
            yield float(not np.all(inside)) + float(not np.array_equal(rising, psi[signs + 1] >= 0))
