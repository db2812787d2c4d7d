"""Checks of the chapter "One-dimensional data: splines"."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import cvxpy as cp
import numpy as np
from scipy.optimize import linprog, minimize_scalar
from scipy.spatial import ConvexHull

from dualkit import Network, as_network
from dualkit.hinge import HingeFeatures, fit_spline, interpolant_envelope
from dualkit.training import from_arrays, train
from ledger import Chapter

chapter = Chapter("splines")

V_DATA = np.arange(4.0), np.array([0.0, -1.0, -0.5, 1.5])
TWO_SIGNS = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 2.0, 3.0])


# ---- tools: none of them uses the closed forms under test --------------------------------------------------------

def right(x, b):
    return np.maximum(np.subtract.outer(np.asarray(x), np.asarray(b)), 0)


def left(x, b):
    return np.maximum(-np.subtract.outer(np.asarray(x), np.asarray(b)), 0)


def dictionary(x, both=True, constant_removed=True):
    """The 2n - 3 features of the lemma as columns; `both=False` leaves the left hinges out."""
    D = np.hstack([right(x, x[:-1]), left(x, x[1:-1])] if both else [right(x, x[:-1])])
    return D - D.mean(axis=0) if constant_removed else D


def wide(x, rng, extra=60):
    """Hinges of both directions with kinks at the data and at many other places, inside and outside."""
    b = np.concatenate([x, rng.uniform(x[0] - 1, x[-1] + 1, extra)])
    return np.hstack([right(x, b), left(x, b)])


def least(objective, constraints=()):
    return float(cp.Problem(cp.Minimize(objective), list(constraints)).solve(
        solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10))


def lasso(D, Y, beta, constant=True):
    """min 0.5 ||D W + 1 c - Y||^2 + beta sum ||w_j||_2 by cvxpy."""
    Y = Y.reshape(len(D), -1)
    W, c = cp.Variable((D.shape[1], Y.shape[1])), cp.Variable((1, Y.shape[1]))
    shift = np.ones((len(D), 1)) @ c if constant else 0
    return least(0.5 * cp.sum_squares(D @ W + shift - Y) + beta * cp.sum(cp.norm(W, 2, axis=1)))


def least_gain(D, F, free=None, below=None, objective=None, budget=None):
    """Least sum |a_j| with D a + (free) c = F, a linear program; the constant alone is free by default.

    `below`, rows like those of [D, free], must not exceed zero. With an `objective`, a row of the same kind, its
    least value is returned instead, over all a with sum |a_j| <= budget.
    """
    free = np.ones((len(F), 1)) if free is None else free
    m, k = D.shape[1], free.shape[1]

    def split(rows):
        return np.hstack([rows[:, :m], -rows[:, :m], rows[:, m:]])

    cost = total = np.concatenate([np.ones(2 * m), np.zeros(k)])
    upper, bound = np.zeros((0, 2 * m + k)), np.zeros(0)
    if below is not None:
        upper, bound = split(below), np.zeros(len(below))
    if objective is not None:
        cost, upper, bound = split(objective[None])[0], np.vstack([upper, total]), np.append(bound, budget)
    return linprog(cost, A_ub=upper, b_ub=bound, A_eq=split(np.hstack([D, free])), b_eq=F,
                   bounds=[(0, None)] * (2 * m) + [(None, None)] * k, method="highs").fun


def start(depth, branches, inner, last, x, seed):
    """A random network with free biases in the last hidden layer, kinks among the data."""
    rng = np.random.default_rng(seed)
    chains, biases = [], []
    for _ in range(branches):
        widths = [1] + [inner] * (depth - 2) + [last, 1]
        chain = [rng.normal(size=s) / np.sqrt(s[0]) for s in zip(widths, widths[1:], strict=False)]
        chain[:-2] = [np.abs(W) for W in chain[:-2]]
        slope = np.ones((1, 1))
        for W in chain[:-1]:
            slope = slope @ W
        chains.append(tuple(chain))
        biases.append(-slope[0] * rng.uniform(x[0], x[-1], last))
    return from_arrays(Network(tuple(chains), "relu", tuple(biases), np.zeros(1)))


def power_penalty(depth):
    """(1/L) sum ||W||_F^L over all layers of all branches; a branch is one slice of a stacked parameter."""
    def penalty(module):
        weights = [W for name, W in module.named_parameters() if not name.endswith(("bias", "constant"))]
        return sum((W**2).flatten(1).sum(1).pow(depth / 2).sum() for W in weights) / depth
    return penalty


@cache
def training(depth, branches, inner, last, data, beta, seeds, power=False):
    """The best of several random starts; the perturbed statements meet the same runs again."""
    x, y = np.array(data)
    decay = power_penalty(depth) if power else "all"
    runs = [train(start(depth, branches, inner, last, x, s), x[:, None], y, beta, decay=decay, steps=1500,
                  progress=False) for s in seeds]
    return min(runs, key=lambda run: run.objective[-1])


def best_training(depth, branches, inner, last, x, y, beta, seeds, power=False):
    return training(depth, branches, inner, last, (tuple(x), tuple(y)), beta, tuple(seeds), power)


def chords(x, F):
    s = np.diff(F) / np.diff(x)
    return s, np.diff(s)


def sample(rng, n):
    return np.cumsum(rng.uniform(0.3, 1.5, n)) - rng.uniform(0, 2)


# ---- two layers --------------------------------------------------------------------------------------------------

@chapter.statement(
    "lem-hinges",
    "largest pull over a fine grid of kinks and both directions against the 2n - 3 hinges; vertices of the hull of "
    "the sampled curve against the same hinges",
    1e-9,
    {"left hinges left out": {"both": False}, "kinks midway between data points": {"midway": True}},
)
def hinge_dictionary(rng, both=True, midway=False):
    for n, K in ((2, 1), (4, 1), (7, 1), (9, 3)):
        x = sample(rng, n)
        Lambda = rng.normal(size=(n, K))
        Lambda -= Lambda.mean(axis=0)
        at = np.sort(np.concatenate([x[[0, -1]], (x[1:] + x[:-1]) / 2])) if midway and n > 2 else x
        D = np.hstack([right(x, at[:-1])] + ([left(x, at[1:-1])] if both else []))
        claim = np.linalg.norm(Lambda.T @ D, axis=0).max()
        b = np.concatenate([np.linspace(x[0] - 2, x[-1] + 2, 4001), x])
        brute = np.linalg.norm(Lambda.T @ np.hstack([right(x, b), left(x, b)]), axis=0).max()
        yield abs(claim - brute) / brute
    for n in (3, 4, 5):
        x = sample(rng, n)
        basis = np.linalg.svd(np.eye(n) - 1 / n)[0][:, :n - 1]
        b = np.concatenate([x, np.linspace(x[0] - 1, x[-1] + 1, 41)])
        curve = basis.T @ np.hstack([right(x, b), left(x, b)])
        points = np.hstack([curve, -curve]).T
        vertices = np.unique(points[ConvexHull(points).vertices].round(9), axis=0)
        claim = basis.T @ dictionary(x, both)
        claim = np.unique(np.hstack([claim, -claim]).T.round(9), axis=0)
        yield float(len(vertices) != len(claim) or np.abs(vertices - claim).max() > 1e-8)


@chapter.violation("lem-hinges", "ass-line", "two inputs: relative shortfall of hinges along the two axes")
def two_inputs(rng):
    X, Lambda = rng.normal(size=(8, 2)), rng.normal(size=8)
    Lambda -= Lambda.mean()
    axes = max(HingeFeatures(X[:, k]).support(Lambda).value for k in (0, 1))
    every = max(HingeFeatures(X @ [np.cos(t), np.sin(t)]).support(Lambda).value for t in np.linspace(0, 3.2, 400))
    yield 1 - axes / every


@chapter.violation("lem-hinges", "ass-free-bias",
                   "bias inside the norm, u^2 + b^2 <= 1: relative shortfall of kinks at data points")
def penalised_bias(rng):
    x, lam = np.array([1.0, 2.0, 4.0]), np.array([-1.0, 0.0, 1.0])

    def pull(t):
        return abs(lam @ np.maximum(np.cos(t) * x + np.sin(t), 0))

    every = max(pull(t) for t in np.linspace(-np.pi, np.pi, 20001))
    data = np.arctan2(np.append(-x, 1), np.append(np.ones(3), 0))
    yield 1 - max(max(pull(t), pull(t + np.pi)) for t in data) / every


@chapter.statement(
    "thm-spline",
    "lasso on 2n - 3 hinges (cvxpy) against an active-set spline solver, hinges with 60 further kinks, and "
    "training; two outputs; the pull at the kinks of trained networks; the number of units",
    1e-6,
    {"right hinges only": {"both": False}, "no output constant": {"constant": False}, "$2\\beta$": {"factor": 2.0}},
)
def spline_training(rng, both=True, constant=True, factor=1.0):
    for n, beta in ((4, 0.1), (7, 0.2), (12, 0.4)):
        x, y = sample(rng, n), rng.normal(size=n)
        fit = fit_spline(x, y, beta)
        claim = lasso(dictionary(x, both, constant), y, factor * beta, constant)
        yield abs(claim - fit.primal) / fit.primal
        yield abs(lasso(wide(x, rng), y, beta) - claim) / claim
        kinks = np.isin(fit.knots, x).all() and sum(c.astype(bool).sum() for c in fit.coefficients) <= n - 1
        yield float(not kinks)
    (x, y), beta = V_DATA, 0.2
    run = best_training(2, 1, 1, 20, x, y, beta, (1, 2))
    claim = lasso(dictionary(x, both, constant), y, factor * beta, constant)
    yield abs(run.objective[-1] - claim) / claim
    net = as_network(run.module)
    (U, W), lam = net.branches[0], y - net.predict(x[:, None])[:, 0]
    on = np.abs(U[0] * W[:, 0]) > 1e-2
    pulls = lam @ np.maximum(x[:, None] * np.sign(U[0, on]) + net.biases[0][on] / np.abs(U[0, on]), 0)
    yield np.abs(np.abs(pulls) / (factor * beta) - 1).max()
    Y = rng.normal(size=(6, 2))
    x = sample(rng, 6)
    yield abs(lasso(dictionary(x, both), Y, factor * beta, constant) / lasso(wide(x, rng), Y, beta) - 1)


@chapter.violation("thm-spline", "ass-line", "two inputs: lasso on hinges along the axes against training")
def plane_training(rng):
    X, y = rng.normal(size=(6, 2)), rng.normal(size=6)
    D = np.hstack([dictionary(np.sort(X[:, k]))[np.argsort(np.argsort(X[:, k]))] for k in (0, 1)])
    layers = rng.normal(size=(2, 20)), rng.normal(size=(20, 1))
    net = Network((layers,), "relu", (rng.normal(size=20),), np.zeros(1))
    trained = train(from_arrays(net), X, y, 0.2, steps=500, progress=False).objective[-1]
    yield lasso(D, y, 0.2) / trained - 1


@chapter.violation("thm-spline", "ass-free-bias", "no biases: objective of training above the lasso")
def unbiased_training(rng):
    x, y = sample(rng, 5), rng.normal(size=5)
    net = from_arrays(Network(((rng.normal(size=(1, 9)), rng.normal(size=(9, 1))),), "relu"))
    yield train(net, x[:, None], y, 0.2, progress=False).objective[-1] / lasso(dictionary(x), y, 0.2) - 1


@chapter.violation("thm-spline", "ass-units", "one unit, a zigzag: best of six runs above the lasso")
def one_unit(rng):
    x, y = np.arange(4.0), np.array([0.0, 1.0, 0.0, 1.0])
    yield best_training(2, 1, 1, 1, x, y, 0.01, range(4)).objective[-1] / lasso(dictionary(x), y, 0.01) - 1


@chapter.violation("thm-spline", "ass-convex", "two samples, a double well in the slope: primal minus dual")
def non_convex(rng):
    # x = 0, 1 and l(f) = ((f_2 - f_1)^2 - 1)^2; the gauge is |f_2 - f_1|, beta = 1/2.
    s = np.linspace(-3, 3, 6001)
    loss = (s**2 - 1) ** 2
    yield np.min(loss + 0.5 * np.abs(s)) - max(np.min(loss + z * s) for z in np.linspace(-0.5, 0.5, 401))


# ---- the gauge, functions, all interpolants ----------------------------------------------------------------------

@chapter.statement(
    "prop-chord-slopes",
    "closed form against the least gain over hinges at the data and at 60 other places, a linear program",
    1e-7,
    {"total variation alone": {"rule": lambda tv, o: tv},
     "$\\max(TV, |s_1 + s_{n-1}|)$, the price of the chords' own continuation": {"rule": max},
     "no one half": {"rule": lambda tv, o: max(tv, tv + o)}},
)
def chord_slopes(rng, rule=lambda tv, o: max(tv, (tv + o) / 2)):
    for n, tilt in ((2, 0.0), (3, 0.0), (5, 0.0), (5, 8.0), (8, -3.0), (8, 20.0)):
        x = sample(rng, n)
        F = rng.normal(size=n) + tilt * x
        s, d = chords(x, F)
        claim = rule(np.abs(d).sum(), abs(s[0] + s[-1]))
        yield abs(claim / least_gain(wide(x, rng), F) - 1)
        yield abs(HingeFeatures(x).gauge(F) / least_gain(wide(x, rng), F) - 1)


@chapter.violation("prop-chord-slopes", "ass-free-bias", "no output constant: relative excess of the least gain")
def no_constant(rng):
    x, F = np.arange(4.0), np.array([1.0, 1.0, 2.0, 1.0])
    yield least_gain(wide(x, rng), F, free=np.zeros((4, 1))) / HingeFeatures(x).gauge(F) - 1


@chapter.violation("prop-chord-slopes", "ass-line", "labels along a second input: formula over price")
def second_input(rng):
    X = np.column_stack([np.arange(4.0), [0, 1, 0, 1]])
    yield abs(HingeFeatures(X[:, 0]).gauge(2 * X[:, 1]) / 2.0 - 1)  # one unit (x_2)_+ of gain 2 does it


@chapter.statement(
    "prop-function-space",
    "formula against the least gain of hinges, kinks anywhere, that reproduce the function on a wide grid, a "
    "linear program",
    1e-7,
    {"total variation alone": {"rule": lambda tv, o: tv},
     "sum in the place of the maximum": {"rule": lambda tv, o: tv + o}},
)
def function_space(rng, rule=max):
    for kinks, tilt in ((1, 0.0), (3, 0.0), (4, 3.0), (0, 1.0)):
        b, jump, slope = np.sort(rng.uniform(-2, 2, kinks)), rng.normal(size=kinks), rng.normal() + tilt
        grid = np.sort(np.concatenate([b, np.linspace(-3, 3, 25), [-50.0, 50.0]]))
        f = slope * grid + right(grid, b) @ jump
        claim = rule(np.abs(jump).sum(), abs(2 * slope + jump.sum()))
        others = np.concatenate([b, rng.uniform(-2.9, 2.9, 20)])
        yield abs(claim / least_gain(np.hstack([right(grid, others), left(grid, others)]), f) - 1)


@chapter.violation("prop-function-space", "ass-free-bias", "biases penalised too: least sum |a| sqrt(1 + b^2)")
def weighted_kinks(rng):
    grid, b = np.linspace(-5, 5, 41), np.linspace(-2, 2, 17)
    f = right(grid, [1.0])[:, 0] - right(grid, [-1.0])[:, 0]
    D = np.hstack([right(grid, b), left(grid, b)]) / np.sqrt(1 + np.tile(b, 2) ** 2)
    yield least_gain(D, f) / 2.0 - 1


@chapter.statement(
    "prop-interpolants",
    "extreme values among all hinge networks of least gain, kinks on a fine grid (linear programs), against what "
    "the sign conditions allow, point by point; the price of random functions that satisfy them against the gauge",
    1e-6,
    {"first and last chord always continued": {"spare": 0.0}, "every inner gap free": {"all_free": True}},
)
def interpolants(rng, spare=1.0, all_free=False):
    for F, tilt in (([0, 0, 1, 3, 3.5], 0), ([0, -1, -0.5, 1.5, 1], 0), ([0, 1, 1.5, 3, 3.2], 3)):
        x = np.arange(5.0)
        F = np.array(F, dtype=float) + tilt * x
        s, d = chords(x, F)
        o, tv = s[0] + s[-1], np.abs(d).sum()
        p = spare * np.sign(o) * max(abs(o) - tv, 0) / 2
        b = np.unique(np.concatenate([np.linspace(-2, 6, 33), x]))
        t = np.array([-1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
        D = np.hstack([right(x, b), left(x, b)])
        gauge = least_gain(D, F)
        values = np.hstack([right(t, b), left(t, b), np.ones((len(t), 1))])
        kinks = np.concatenate([[p], d, [-p]])
        free = (kinks[:-1] * kinks[1:] > 0) | all_free
        # Chord and neighbours' lines, written out here; the outer lines have slopes s_1 - p and s_{n-1} - p.
        lines = np.concatenate([[s[0] - p], s, [s[-1] - p]])
        for k, point in enumerate(t):
            g = int(np.clip(np.floor(point), -1, 4))  # the gap, -1 and 4 are outside
            if g in (-1, 4):
                at, inner, outer = (0, lines[1], lines[0]) if g == -1 else (4, lines[4], lines[5])
                ends = F[at] + np.array([inner, outer]) * (point - at)
            else:
                chord = F[g] + s[g] * (point - g)
                around = F[g] + lines[g] * (point - g), F[g + 1] + lines[g + 2] * (point - g - 1)
                ends = np.array([chord, min(around, key=lambda v: abs(v - chord)) if free[g] else chord])
            low, high = (sign * least_gain(D, F, objective=sign * values[k], budget=gauge * (1 + 1e-9))
                         for sign in (1, -1))
            # Kinks on a grid of step 1/4 reach the corner of the band only if it lies on the grid.
            yield max(0.0, ends.min() - low - 1e-5, high - ends.max() - 1e-5)
            if g in (-1, 4) or not free[g]:
                yield max(0.0, abs(low - ends.min()) - 1e-5, abs(high - ends.max()) - 1e-5)
            else:
                yield max(0.0, 0.3 * np.ptp(ends) - (high - low))
        band = interpolant_envelope(x, F)
        yield np.abs(np.concatenate([[s[0] - p], s, [s[-1] - p]]) - band.slopes).max()
        # A function with the signs of the proposition: insert further points on the right side of the chords.
        share = rng.uniform()
        D = np.concatenate([[share * p], d, [-(1 - share) * p]])
        knots, values = list(x), list(F)
        for g in range(4):
            if D[g] * D[g + 1] > 0:
                room = min(abs(D[g]), abs(D[g + 1])) / 4
                knots.append(g + 0.5)
                values.append((F[g] + F[g + 1]) / 2 - np.sign(D[g]) * room * rng.uniform(0.2, 0.9))
        order = np.argsort(knots)
        slopes = np.diff(np.array(values)[order]) / np.diff(np.array(knots)[order])
        slopes = np.concatenate([[s[0] - share * p], slopes, [s[-1] - (1 - share) * p]])
        yield abs(max(np.abs(np.diff(slopes)).sum(), abs(slopes[0] + slopes[-1])) - gauge)


@chapter.violation("prop-interpolants", "ass-free-bias",
                   "biases penalised too, x = -1, 0, 1, 2 and F = 0, 0, 1, 3: one hinge over two, less 1")
def biased_interpolants(rng):
    costs = [2 * np.hypot(1, 0.5), np.hypot(1, 0) + np.hypot(1, 1)]
    yield abs(costs[0] / costs[1] - 1)


@chapter.violation("prop-interpolants", "ass-line", "samples on the diagonal of a plane: ratio of prices, less 1")
def plane_interpolants(rng):
    # Units that look along the diagonal see the inputs sqrt(2) times as far apart.
    F, t = [0.0, 0.0, 1.0], np.arange(3.0)
    yield abs(HingeFeatures(np.sqrt(2) * t).gauge(F) / HingeFeatures(t).gauge(F) - 1)


@chapter.statement(
    "prop-trend-filtering",
    "second differences (cvxpy) against hinges at many places with a free line (cvxpy), and against the dual with "
    "two linear constraints (cvxpy)",
    1e-6,
    {"$2\\beta$": {"factor": 2.0}, "differences not divided by the gaps": {"divide": False},
     "line not free": {"line": False}},
)
def trend(rng, factor=1.0, divide=True, line=True):
    for n, beta in ((3, 0.1), (7, 0.2), (10, 0.5)):
        x, y = sample(rng, n), rng.normal(size=n)
        a, c, F = cp.Variable(2 * (n + 60)), cp.Variable(2), cp.Variable(n)
        D = wide(x, rng)
        network = least(0.5 * cp.sum_squares(D @ a + np.column_stack([np.ones(n), x * line]) @ c - y)
                        + beta * cp.norm1(a))
        h = np.diff(x) if divide else np.full(n - 1, np.diff(x).mean())
        slopes = cp.multiply(cp.diff(F), 1 / h)
        filtering = least(0.5 * cp.sum_squares(F - y) + factor * beta * cp.norm1(cp.diff(slopes)))
        yield abs(network / filtering - 1)
        z = cp.Variable(n)
        fence = [cp.sum(z) == 0, x @ z == 0, cp.abs(right(x, x).T @ z) <= factor * beta]
        yield abs(-least(0.5 * cp.sum_squares(z) - z @ y, fence) / network - 1)


@chapter.violation("prop-trend-filtering", "ass-skip", "no skip connection, labels on a line: objective, not zero")
def no_skip(rng):
    yield fit_spline(np.arange(4.0), np.arange(4.0), 0.1).primal


# ---- depth -------------------------------------------------------------------------------------------------------

@chapter.statement(
    "lem-deep-hinges",
    "pre-activation of random networks on both sides of zero against two slopes and a bias; the slopes against the "
    "product of the norms; the networks that attain it",
    1e-9,
    {"slopes bounded by half the product": {"factor": 0.5}, "one slope only, as for a hinge": {"one": True}},
)
def deep_hinges(rng, factor=1.0, one=False):
    for depth, m in ((3, 1), (3, 4), (4, 3), (5, 3)):
        widths = [1] + [m] * (depth - 2) + [1]
        chain = [rng.normal(size=s) for s in zip(widths, widths[1:], strict=False)]
        bias, t = rng.normal(), np.linspace(-3, 3, 61)

        def unit(points, chain=chain, bias=bias):
            A = points[:, None]
            for W in chain[:-1]:
                A = np.maximum(A @ W, 0)
            return (A @ chain[-1])[:, 0] + bias

        alpha, gamma = unit(np.array([1.0, -1.0])) - bias
        if one:
            gamma = -alpha
        yield np.abs(unit(t) - alpha * np.maximum(t, 0) - gamma * np.maximum(-t, 0) - bias).max()
        yield max(0.0, abs(alpha) + abs(gamma) - factor * np.prod([np.linalg.norm(W) for W in chain]))
    for alpha, gamma, depth in ((1.0, 2.0, 3), (1.0, -2.0, 3), (-1.5, -0.5, 4), (0.0, 2.0, 5), (3.0, 0.0, 4)):
        r = np.sqrt(np.abs([alpha, gamma]))
        chain = [np.array([[r[0], -r[1]]])]
        if depth == 3:
            chain += [(r * np.sign([alpha, gamma]))[:, None]]
        else:
            chain += [r[:, None], *[np.eye(1)] * (depth - 4), np.array([[np.sign(alpha + gamma)]])]
        out = []
        for point in (1.0, -1.0):
            A = np.array([[point]])
            for W in chain[:-1]:
                A = np.maximum(A @ W, 0)
            out.append(float((A @ chain[-1])[0, 0]))
        yield abs(out[0] - alpha) + abs(out[1] - gamma)
        yield max(0.0, factor * np.prod([np.linalg.norm(W) for W in chain]) - abs(alpha) - abs(gamma))
        yield max(0.0, abs(alpha) + abs(gamma) - factor * np.prod([np.linalg.norm(W) for W in chain]))


@chapter.violation("lem-deep-hinges", "ass-last-bias", "bias in the first layer: distance from two slopes, a bias")
def first_bias(rng):
    t = np.array([-1.0, 0.0, 0.5, 1.0])
    g = np.maximum(t - 0.5, 0)
    D = np.column_stack([np.ones(4), np.maximum(t, 0), np.maximum(-t, 0)])
    yield np.abs(g - D @ np.linalg.lstsq(D, g, rcond=None)[0]).max()


def standard_value(x, y, beta, depth, exponent=None):
    """min 0.5 ||F - y||^2 + beta (L/2) gauge(F)^(2/L), over the splines of two layers with all weight decays."""
    p = 2 / depth if exponent is None else exponent

    def value(log_c):
        fit = fit_spline(x, y, float(np.exp(log_c)))
        return 0.5 * np.sum((fit.predict(x) - y) ** 2) + beta * depth / 2 * fit.penalty**p
    grid = np.linspace(-8, 2, 41)
    k = int(np.argmin([value(c) for c in grid]))
    found = minimize_scalar(value, bounds=(grid[max(k - 1, 0)], grid[min(k + 1, 40)]), method="bounded",
                            options={"xatol": 1e-10})
    return min(found.fun, 0.5 * np.sum((y - y.mean()) ** 2))


@chapter.statement(
    "thm-deep-spline",
    "training of parallel networks with the power penalty and of standard networks with weight decay, L = 3 and 4, "
    "against two layers; fixed norms: a network built from the spline, and the pull on random deep branches",
    1e-6,
    {"$2\\beta$": {"factor": 2.0}, "standard networks with exponent 1": {"exponent": 1.0}},
)
def deep_spline(rng, factor=1.0, exponent=None):
    x, y = V_DATA
    for depth, beta, seed in ((3, 0.05, 1), (4, 0.05, 4), (3, 0.2, 0)):
        two = fit_spline(x, y, factor * beta).primal
        yield abs(best_training(depth, 12, 1, 1, x, y, beta, (seed,), power=True).objective[-1] / two - 1)
    for depth in (3, 4):
        trained = best_training(depth, 1, 3, 12, x, y, 0.05, (0, 1)).objective[-1]
        yield abs(trained / standard_value(x, y, factor * 0.05, depth, exponent) - 1)
    # Inner norms t: the network of the spline by hand, and the pull on random branches of these norms.
    t, depth, beta = 1.7, 5, 0.1
    fit = fit_spline(x, y, factor * beta * t ** (2 - depth))
    gains, sign = np.concatenate(fit.coefficients), np.repeat([1, -1], len(fit.knots))
    on = np.flatnonzero(gains)
    v = np.sqrt(np.abs(gains[on]) * t ** (2 - depth))
    chains = tuple((*[np.array([[t]])] * (depth - 2), np.array([[s * w]]), np.array([[np.sign(a) * w]]))
                   for s, w, a in zip(sign[on], v, gains[on], strict=True))
    biases = tuple(np.array([-s * w * t ** (depth - 2) * b]) for s, w, b in
                   zip(sign[on], v, np.tile(fit.knots, 2)[on], strict=True))
    net = Network(chains, "relu", biases, np.array([fit.constant]))
    penalty = 0.5 * sum(np.sum(W**2) for chain in net.branches for W in chain[-2:])
    yield abs(0.5 * np.sum((net.predict(x[:, None])[:, 0] - y) ** 2) + beta * penalty - fit.primal) / fit.primal
    for _ in range(200):
        A = x[:, None]
        for shape in ((1, 3), (3, 4), (4, 2)):
            W = rng.normal(size=shape)
            A = np.maximum(A @ (t * W / np.linalg.norm(W)), 0)
        w = rng.normal(size=2)
        h = np.maximum(A @ (w / np.linalg.norm(w)) + 3 * rng.normal(), 0)
        yield max(0.0, abs(fit.Lambda @ h) / beta - 1)


@chapter.violation("thm-deep-spline", "ass-one-sign", "x = -2, -1, 1, 2: least gain at L = 3 over L = 2, less 1")
def both_signs(rng):
    yield abs(two_sided_gain(*TWO_SIGNS, rng) / HingeFeatures(TWO_SIGNS[0]).gauge(TWO_SIGNS[1]) - 1)


@chapter.violation("thm-deep-spline", "ass-power-penalty",
                   "weight decay, parallel, L = 3: trained objective over that of two layers, less 1")
def parallel_decay(rng):
    x, y = V_DATA
    yield abs(best_training(3, 8, 1, 1, x, y, 0.05, (0,)).objective[-1] / fit_spline(x, y, 0.05).primal - 1)


@chapter.violation("thm-deep-spline", "ass-last-bias", "biases in every layer: a hat costs half")
def hat_below(rng):
    x, F = np.arange(5.0), np.array([0.0, 0, 1, 0, 0])
    yield abs(rectified_gain(np.linspace(-1, 5, 49), lambda t: np.maximum(1 - np.abs(t - 2), 0))
              / HingeFeatures(x).gauge(F) - 1)


def two_sided_gain(x, F, rng, atoms=600):
    """Least gain of (alpha x_+ + gamma x_- + b)_+, |alpha| + |gamma| = 1, sampled, with the pure ones at all b."""
    mix = rng.uniform(-1, 1, atoms)
    alpha, gamma = mix, (1 - np.abs(mix)) * rng.choice([-1, 1], atoms)
    scale = np.concatenate([np.abs(x), np.linspace(0, np.abs(x).max(), 21)])
    pure = [(s * (side == 0), s * (side == 1), -s * b) for s in (1, -1) for side in (0, 1) for b in scale]
    alpha, gamma, b = np.concatenate([np.array(pure).T, [alpha, gamma, rng.uniform(-2, 2, atoms)]], axis=1)
    D = np.maximum(np.multiply.outer(np.maximum(x, 0), alpha) + np.multiply.outer(np.maximum(-x, 0), gamma) + b, 0)
    return least_gain(D, F)


def two_splines(x, F, joined=True):
    """min over z of the gauges of the two halves, each with the point (0, z); z is F_i if x_i = 0."""
    def total(z):
        parts = []
        for side in (1, -1):
            keep = side * x > 0
            t, v = np.append(0.0, x[keep]), np.append(z, F[keep])
            parts.append(HingeFeatures(t).gauge(v) if keep.any() else 0.0)
        return sum(parts)
    if not joined:
        sides = [side * x > 0 for side in (1, -1) if np.any(side * x > 0)]
        return sum(HingeFeatures(x[keep]).gauge(F[keep]) for keep in sides)
    if np.any(x == 0):
        return total(float(F[x == 0][0]))
    # Piecewise linear and convex in z: the minimum is at a break, found by ternary search.
    low, high = F.min() - 20 * np.ptp(F), F.max() + 20 * np.ptp(F)
    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if total(a) <= total(b) else (a, high)
    return total((low + high) / 2)


@chapter.statement(
    "prop-two-signs",
    "two splines that meet at zero against the least gain over sampled units with two slopes, a linear program; "
    "the power penalty of a ramp built by hand",
    1e-6,
    {"the gauge of two layers": {"rule": lambda x, F: HingeFeatures(x).gauge(F)},
     "two splines that need not meet": {"rule": lambda x, F: two_splines(x, F, joined=False)}},
)
def two_signs(rng, rule=two_splines):
    cases = [TWO_SIGNS, (np.array([-1.0, 0, 1, 2]), np.array([0.0, 0, 1, 1])),
             (np.array([-2.0, -1, -0.5, 0.5, 1.5]), rng.normal(size=5)),
             (np.array([-1.0, 1, 2, 3]), rng.normal(size=4)), (np.array([0.0, 1, 2, 4]), rng.normal(size=4))]
    for x, F in cases:
        yield abs(rule(x, F) / two_sided_gain(x, F, rng) - 1)
    x, y = np.array([-1.0, 0, 1, 2]), np.array([0.0, 0, 1, 1])  # a ramp: one unit at L = 3, two at L = 2
    r = np.sqrt(0.98)  # of the best F = (0, 0, v, v): (v - 1)^2 + beta v at beta = 0.04
    g = r ** (2 / 3)
    chain = np.array([[g]]), np.array([[-g]]), np.array([[-g]])
    ramp = Network((chain,), "relu", (np.array([g**2]),), np.array([g**3]))
    f, weights = ramp.predict(x[:, None])[:, 0], ramp.branches[0]
    objective = 0.5 * np.sum((f - y) ** 2) + 0.04 / 3 * sum(np.linalg.norm(W) ** 3 for W in weights)
    v = np.linspace(0.9, 1.1, 20001)
    yield abs(objective - np.min((v - 1) ** 2 + 0.04 * v * rule(x, y)))


@chapter.violation("prop-two-signs", "ass-last-bias", "biases in every layer, a ramp: formula minus its gain 1")
def bias_below(rng):
    x, F = np.array([-2.0, -1, 1, 2]), np.array([0.0, 0, 2, 2])
    # The ramp (2 - 2 (. )_+) from -1 to 1 costs its slope 1 in one branch.
    yield two_splines(x, F) - 1.0


@chapter.violation("prop-two-signs", "ass-power-penalty", "weight decay at L = 3, |x|: cost over formula, less 1")
def decay_two_signs(rng):
    x, F = np.array([-1.0, 0, 1]), np.array([1.0, 0, 1])
    chain = [np.array([[1.0, -1.0]]), np.array([[1.0], [1.0]]), np.array([[1.0]])]
    product = np.prod([np.linalg.norm(W) for W in chain])
    yield abs(1.5 * product ** (2 / 3) / two_splines(x, F) - 1)


def data_spline_cost(x, F, p):
    """Least sum |a|^p with kinks at data points: a concave cost is least at a basis of n - 1 columns."""
    D, n = dictionary(x), len(x)
    F = F - F.mean()
    costs = []
    for columns in combinations(range(D.shape[1]), n - 1):
        a, _, rank, _ = np.linalg.lstsq(D[:, columns], F, rcond=None)
        if rank == n - 1 and np.abs(D[:, columns] @ a - F).max() < 1e-9:
            costs.append(np.sum(np.abs(a[np.abs(a) > 1e-12]) ** p))
    return min(costs)


@chapter.statement(
    "prop-kinks-leave",
    "outputs and weight decay of the two-branch networks along the segment of kinks; the least cost of kinks at "
    "data points over all bases of hinges; random sums of hinges with free kinks against the lower bound; training",
    1e-6,
    {"$b_1 + b_2 = 3$": {"weight": 1.0}, "exponent $1/L$": {"power": 1.0},
     "kinks at data points cost no more": {"tie": True}},
)
def kinks_leave(rng, weight=2.0, power=2.0, tie=False):
    x, y = V_DATA
    for depth in (2, 3, 4, 7):
        p = power / depth
        for b2 in (1.25, 1.4, 1.5, 1.62, 1.75):
            b1 = (2.5 + weight) - weight * b2 if weight == 2.0 else 3 - b2
            gains = np.array([1.0, 2.0])
            layers = gains ** (1 / depth)
            chains = tuple(tuple(np.array([[s * (v if k == depth - 2 else 1)]]) for k in range(depth))
                           for s, v in zip(layers, (-1, 1), strict=True))
            biases = tuple(np.array([-v * b * s ** (depth - 1)])
                           for v, b, s in zip((-1, 1), (b1, b2), layers, strict=True))
            net = Network(chains, "relu", biases, np.zeros(1))
            f = net.predict(x[:, None])[:, 0]
            yield np.abs(f - f[0] - y).max()
            yield abs(net.penalty / (depth / 2 * (1 + 2**p)) - 1)
        claim = 1 + 2**p if tie else 1 + 0.5**p + 1.5**p
        yield abs(data_spline_cost(x, y, 2 / depth) / claim - 1)
        for _ in range(200):
            a, b, sign = rng.normal(size=4), rng.uniform(0, 3, 4), rng.choice([-1, 1], 4)
            F = np.maximum(sign * (x[:, None] - b), 0) @ a
            s = np.diff(F) / np.diff(x)
            yield max(0.0, max(s.max(), 0) ** p + max(-s.min(), 0) ** p - np.sum(np.abs(a) ** p)) * (power == 2.0)
    beta = 1e-3
    trained = best_training(3, 6, 1, 1, x, y, beta, (0, 2, 6)).objective[-1] / beta
    # The optimum for this beta lies between the interpolation's cost and what its own shrinking can gain.
    yield max(0.0, trained / (1.5 * (1 + 2 ** (power / 3))) - 1)
    yield 1e-2 * max(0.0, 1 - 1e-2 - trained / (1.5 * (1 + 2 ** (power / 3))))


@chapter.violation("prop-kinks-leave", "ass-one-sign", "|x| on -1, 0, 1, L = 3: cost of one branch below the bound")
def absolute_value(rng):
    chain = [np.array([[1.0, -1.0]]), np.array([[1.0], [1.0]]), np.array([[1.0]])]
    cost = np.prod([np.linalg.norm(W) for W in chain]) ** (2 / 3)
    yield max(0.0, 2.0 - cost)


@chapter.violation("prop-kinks-leave", "ass-last-bias", "biases in every layer, a hat: bound minus cost")
def hat_bound(rng):
    gain = rectified_gain(np.linspace(-1, 5, 49), lambda t: np.maximum(1 - np.abs(t - 2), 0))
    yield max(0.0, 2.0 - gain ** (2 / 3))


@chapter.violation("prop-kinks-leave", "ass-parallel", "standard networks, L = 3: kinks at data cost no more")
def standard_ties(rng):
    x, y = V_DATA
    gauge = HingeFeatures(x).gauge(y)
    yield abs(gauge ** (2 / 3) / (1 + 2 ** (2 / 3)) - 1)


def rectified_gain(grid, f):
    """Least gain of a two-layer function g with g_+ = f, kinks on the grid, by a linear program."""
    t = np.concatenate([[grid[0] - 60], grid, [grid[-1] + 60]])
    rows, value = np.hstack([right(t, grid), left(t, grid), np.ones((len(t), 1))]), f(t)
    on = value > 1e-12
    return least_gain(rows[on, :-1], value[on], below=rows[~on])


@chapter.statement(
    "prop-hats",
    "least gain of a function whose positive part is given (linear program, kinks on a fine grid) against the "
    "formula; random branches with biases in both layers against the bounds; the hat built by hand",
    1e-6,
    {"price of two layers": {"saved": 0.0}, "only one outer kink saved": {"saved": 0.5}},
)
def hats(rng, saved=1.0):
    for knots, values in (([1, 2, 3], [0, 1, 0]), ([0, 1, 2, 3, 4], [0, 1, 0, 2, 0]), ([0, 1, 2, 4], [0, 2, 1, 0]),
                          ([0, 1, 2, 3, 5], [0, 1, 0, 0, 0]), ([0, 1, 2, 3, 4], [0, 1, 0, 0, 0])):
        knots, values = np.array(knots, dtype=float), np.array(values, dtype=float)
        s = np.concatenate([[0], np.diff(values) / np.diff(knots), [0]])
        d = np.abs(np.diff(s))
        d = d[d > 0]
        claim = d.sum() - saved * (d[0] + d[-1])
        grid = np.unique(np.concatenate([knots, np.linspace(-1, 6, 29)]))
        yield abs(rectified_gain(grid, lambda t, k=knots, v=values: np.interp(t, k, v)) / claim - 1)
    for _ in range(300):
        W1, w, a = rng.normal(size=(1, 4)), rng.normal(size=(4, 1)), rng.normal()
        t = np.sort(rng.uniform(-2, 2, 9))
        f = a * np.maximum(np.maximum(t[:, None] @ W1 + rng.normal(size=4), 0) @ w + rng.normal(), 0)[:, 0]
        s = np.diff(f) / np.diff(t)
        yield max(0.0, max(s.max(), 0) + max(-s.min(), 0) - np.linalg.norm(W1) * np.linalg.norm(w) * abs(a))
    x, F = np.arange(5.0), np.array([0.0, 0, 1, 0, 0])
    W1, w = np.array([[1.0, -1.0]]), np.array([[-1.0], [-1.0]])
    f = np.maximum(np.maximum(x[:, None] @ W1 + [-2, 2], 0) @ w + 1, 0)[:, 0]
    yield np.abs(f - F).max() + abs(np.linalg.norm(W1) * np.linalg.norm(w) - (4 - 2 * saved))


@chapter.violation("prop-hats", "ass-every-bias", "bias in the last hidden layer only: a hat's gain over 2, less 1")
def last_only(rng):
    x, F = np.arange(5.0), np.array([0.0, 0, 1, 0, 0])
    yield least_gain(wide(x, rng), F) / 2 - 1
