"""Checks of the chapter "Where strong duality stops"."""

from itertools import product
from math import prod

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize, minimize_scalar

from dualkit import solve
from dualkit.depth import depth_prox, depth_prox_value, jump_point
from ledger import Chapter

chapter = Chapter("duality_gap")
TIGHT = {"maxiter": 5000, "maxfun": 10**6, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-11}


def schatten(W, depth):
    """The Schatten-2/L quasi-norm."""
    return np.sum(np.linalg.svd(W, compute_uv=False) ** (2 / depth)) ** (depth / 2)


def nuclear(W):
    return np.linalg.norm(W, "nuc")


def matrix(rng, d, K, singular):
    """A random matrix with the given singular values."""
    U, V = (np.linalg.qr(rng.normal(size=(size, len(singular))))[0] for size in (d, K))
    return U * singular @ V.T


def chain_product(arrays):
    return arrays[0] if len(arrays) == 1 else np.linalg.multi_dot(arrays)


def descend(shapes, objective, rng, starts=3, scale=1.0):
    """Least value of objective(list of matrices) -> (value, gradients) over some quasi-Newton runs."""
    sizes = np.cumsum([prod(shape) for shape in shapes])[:-1]

    def flat(theta):
        value, gradients = objective([A.reshape(s) for A, s in zip(np.split(theta, sizes), shapes, strict=True)])
        return value, np.concatenate([G.ravel() for G in gradients])

    best = None
    for _ in range(starts):
        x = scale * np.concatenate([rng.normal(size=prod(s)) / np.sqrt(s[0]) for s in shapes])
        for _ in range(2):  # restarted from the plain gradient
            run = minimize(flat, x, jac=True, method="L-BFGS-B", options=TIGHT)
            x = run.x
        best = run if best is None or run.fun < best.fun else best
    return best.fun, [A.reshape(s) for A, s in zip(np.split(best.x, sizes), shapes, strict=True)]


def product_gradients(weights, G):
    """Gradients of <G, W_1 ... W_L> in the factors."""
    L = len(weights)
    left = [np.eye(weights[0].shape[0])]
    right = [np.eye(weights[-1].shape[1])]
    for A in weights[:-1]:
        left.append(left[-1] @ A)
    for A in weights[:0:-1]:
        right.insert(0, A @ right[0])
    return [left[k].T @ G @ right[k].T for k in range(L)]


def squared_power(weights_of, X, Y, beta, power):
    """Squared loss plus (beta/power) sum ||W||_F^power over branches, as a function of the matrices."""

    def objective(matrices):
        branches = weights_of(matrices)
        R = X @ sum(chain_product(b) for b in branches) - Y
        value, gradients = 0.5 * np.sum(R**2), []
        for b in branches:
            norms = [np.linalg.norm(W) for W in b]
            value += beta / power * sum(a**power for a in norms)
            gradients += [
                G + beta * a ** (power - 2) * W
                for G, a, W in zip(product_gradients(b, X.T @ R), norms, b, strict=True)
            ]
        return value, gradients

    return objective


def train_standard(X, Y, beta, depth, width, rng, power=None, starts=3):
    """Best objective of standard linear networks with the penalty (beta/power) sum ||W_l||_F^power."""
    shapes = [(X.shape[1], width), *[(width, width)] * (depth - 2), (width, Y.shape[1])]
    return descend(shapes, squared_power(lambda m: [m], X, Y, beta, power or depth), rng, starts)


def train_parallel(X, Y, beta, depth, branches, rng, power=None, starts=3):
    """The same for a sum of chains of width 2 whose last hidden layer has one unit."""
    d, K = X.shape[1], Y.shape[1]
    widths = [d, *[2] * (depth - 2), 1, K]
    shapes = [(a, b) for _ in range(branches) for a, b in zip(widths, widths[1:], strict=False)]

    def split(m):
        return [m[depth * j : depth * (j + 1)] for j in range(branches)]

    value, matrices = descend(shapes, squared_power(split, X, Y, beta, power or depth), rng, starts)
    return value, split(matrices)


def fixed_norms(X, Y, beta, depth, t, rng, starts=2):
    """Best objective when the first L - 2 layers have Frobenius norm t and only the last two are penalised."""
    d, K, width = X.shape[1], Y.shape[1], min(X.shape[1], Y.shape[1])
    shapes = [(d, width), *[(width, width)] * (depth - 2), (width, K)]

    def objective(raw):
        norms = [np.linalg.norm(A) for A in raw[:-2]]
        weights = [t * A / a for A, a in zip(raw, norms, strict=False)] + list(raw[-2:])
        R = X @ chain_product(weights) - Y
        gradients = product_gradients(weights, X.T @ R)
        for k, (A, a) in enumerate(zip(raw, norms, strict=False)):
            G = gradients[k]
            gradients[k] = t / a * (G - A * np.vdot(A, G) / a**2)
        for k in (-2, -1):
            gradients[k] = gradients[k] + beta * raw[k]
        return 0.5 * np.sum(R**2) + 0.5 * beta * sum(np.sum(A**2) for A in raw[-2:]), gradients

    return descend(shapes, objective, rng, starts)[0]


def dual_value(X, Y, bound):
    """max over sigma_max(X^T Lambda) <= bound of the dual of the squared loss, by a general convex solver."""
    Lambda = cp.Variable(Y.shape)
    objective = 0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda)
    return cp.Problem(cp.Maximize(objective), [cp.sigma_max(X.T @ Lambda) <= bound]).solve(solver="CLARABEL")


def huber(sigma, c):
    """min over s >= 0 of 0.5 (s - sigma)^2 + c s."""
    return np.where(sigma <= c, sigma**2 / 2, c * sigma - c**2 / 2)


def separable_minimum(sigma, c, depth):
    """min over s >= 0 of 0.5 ||s - sigma||^2 + c (sum s^(2/L))^(L/2), by a grid refined where it is best."""
    best = np.inf
    for zero in product((False, True), repeat=len(sigma)):
        on = ~np.array(zero)
        rest = 0.5 * np.sum(sigma[~on] ** 2)
        if not on.any():
            best = min(best, rest)
            continue
        low, high = np.zeros(on.sum()), sigma[on]
        for _ in range(12):
            axes = [np.linspace(a, b, 61) for a, b in zip(low, high, strict=True)]
            mesh = np.meshgrid(*axes, indexing="ij")
            value = sum(0.5 * (s - z) ** 2 for s, z in zip(mesh, sigma[on], strict=True))
            value = value + c * sum(s ** (2 / depth) for s in mesh) ** (depth / 2)
            at = np.unravel_index(np.argmin(value), value.shape)
            centre = np.array([a[i] for a, i in zip(axes, at, strict=True)])
            reach = 3 * (high - low) / 60
            low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach, sigma[on])
        best = min(best, rest + value.min())
    return best


def double_well_gap(beta=0.5):
    """Best value of (f^2 - 1)^2 + beta |f| minus the dual value, one sample, by a fine grid."""
    f = np.linspace(-3, 3, 6001)
    loss = (f**2 - 1) ** 2
    return np.min(loss + beta * np.abs(f)) - max(np.min(loss + z * f) for z in np.linspace(-beta, beta, 401))


def orthonormal(rng, n, d):
    return np.linalg.qr(rng.normal(size=(n, d)))[0]


def whitened_data(rng, sigma, wide):
    """X and Y for which X^T Y has two given singular values: X^T X = I with misfit, or X X^T = I (wide)."""
    if wide:
        return orthonormal(rng, 3, 2).T, matrix(rng, 2, 2, sigma)
    X = orthonormal(rng, 4, 2)
    return X, X @ matrix(rng, 2, 2, sigma) + 0.3 * (np.eye(4) - X @ X.T) @ rng.normal(size=(4, 2))


def finite_problem(rng, points, dimension):
    """Costs p_i >= 0 of finitely many outputs F_i, zero among them: p is p_i at F_i and infinite elsewhere."""
    F = np.vstack([np.zeros(dimension), 2 * rng.normal(size=(points, dimension))])
    return F, np.concatenate([[0.0], rng.uniform(0.1, 2.0, points)])


@chapter.statement(
    "prop-convexified",
    "largest dual bound against training with the convex hull of the penalty, finitely many networks",
    1e-6,
    {
        "conjugate at half the multiplier": {"argument": 0.5},
        "hull without the constraint that weights add up to one": {"mass": False},
    },
)
def convexified(rng, argument=1.0, mass=True):
    for loss, (points, dimension) in product(("squared", "logistic"), ((1, 1), (6, 2), (12, 3))):
        F, costs = finite_problem(rng, points, dimension)
        y = 3 * rng.normal(size=dimension) if loss == "squared" else rng.choice([-1.0, 1.0], dimension)
        Lambda, weights = cp.Variable(dimension), cp.Variable(len(F), nonneg=True)
        conjugate = cp.max(argument * F @ Lambda - costs)
        output = F.T @ weights
        if loss == "squared":
            dual_loss = Lambda @ y - 0.5 * cp.sum_squares(Lambda)
            primal_loss = 0.5 * cp.sum_squares(output - y)
        else:
            share = cp.multiply(y, Lambda)
            dual_loss = cp.sum(cp.entr(share) + cp.entr(1 - share))
            primal_loss = cp.sum(cp.logistic(cp.multiply(-y, output)))
        dual = cp.Problem(cp.Maximize(dual_loss - conjugate)).solve(solver="CLARABEL")
        constraint = [cp.sum(weights) == 1] if mass else []
        convex = cp.Problem(cp.Minimize(primal_loss + costs @ weights), constraint).solve(solver="CLARABEL")
        yield abs(dual - convex) / (1 + abs(convex))
        if loss == "squared":  # weak duality: no single network is below the bound
            yield max(0.0, dual - np.min(0.5 * np.sum((F - y) ** 2, axis=1) + costs))


@chapter.violation("prop-convexified", "ass-convex", "the loss $(f^2 - 1)^2$ on one sample with a convex penalty")
def convexified_without_convexity(rng):
    yield double_well_gap()


@chapter.statement(
    "lem-product",
    "least product of norms over all factors, numerically, against the Schatten quasi-norm; its comparison",
    1e-6,
    {
        "nuclear norm instead": {"norm": "nuclear"},
        "sum of powers without the outer power": {"norm": "sum"},
        "comparison with the nuclear norm reversed": {"sign": -1.0},
    },
)
def least_product(rng, norm="quasi", sign=1.0):
    cases = ((2, (2.0, 1.0)), (3, (1.0, 1.0)), (3, (2.0, 0.5)), (4, (1.5, 1.0)), (3, (2.0, 1.0, 0.4)))
    for depth, singular in cases:
        r = len(singular)
        W = matrix(rng, r, r, np.array(singular))

        def log_product(factors, W=W):
            # The last factor is what is missing: W_L = (W_1 ... W_{L-1})^{-1} W.
            weights = [*factors, np.linalg.solve(chain_product(factors), W)]
            value, gradients = 0.0, []
            for k, A in enumerate(factors):
                tail = chain_product([*weights[k + 1 : -1], np.eye(len(W))])
                last = weights[-1]
                pull = (tail @ last) @ last.T @ np.linalg.inv(tail) @ np.linalg.inv(A)
                gradients.append(A / np.sum(A**2) - pull.T / np.sum(last**2))
            value = sum(np.log(np.linalg.norm(A)) for A in weights)
            return value, gradients

        least = np.exp(descend([(r, r)] * (depth - 1), log_product, rng, starts=3)[0])
        power = np.sum(np.array(singular) ** (2 / depth))
        claimed = {"quasi": power ** (depth / 2), "nuclear": sum(singular), "sum": power}[norm]
        yield abs(least / claimed - 1)
    for depth, r in product((2, 3, 5), (1, 2, 4)):
        s = rng.uniform(0.2, 2.0, r)
        quasi = np.sum(s ** (2 / depth)) ** (depth / 2)
        yield max(0.0, sign * (np.sum(s) - quasi))
        yield max(0.0, sign * (quasi - r ** (depth / 2 - 1) * np.sum(s)))
        equal = np.sum(np.full(r, 0.7) ** (2 / depth)) ** (depth / 2)
        yield abs(equal - r ** (depth / 2 - 1) * 0.7 * r)
        rank_one = schatten(np.outer(s, s), depth)
        yield 1e-3 * abs(rank_one - nuclear(np.outer(s, s)))  # rounding of zero singular values, to the power 2/L


@chapter.violation("lem-product", "ass-deep-width", "one hidden unit cannot produce a matrix of rank two")
def product_without_width(rng):
    yield np.linalg.svd(rng.normal(size=(3, 2)), compute_uv=False)[1]


def largest_gain(X, Lambda, depth, t, rng):
    """max of ||(X W_1 ... W_{L-2})^T Lambda||_2 over layers of norm at most t, by alternating maximisation."""
    best = 0.0
    for _ in range(2):
        chain = [t * A / np.linalg.norm(A) for A in (rng.normal(size=(X.shape[1],) * 2) for _ in range(depth - 2))]
        for _ in range(100):
            for k in range(len(chain)):
                left = chain_product([np.eye(X.shape[1]), *chain[:k]]).T @ X.T @ Lambda
                tail = chain_product([*chain[k + 1 :], np.eye(X.shape[1])])
                u, _, vt = np.linalg.svd(tail.T @ chain[k].T @ left)
                G = left @ np.outer(vt[0], u[:, 0] @ tail.T)  # gradient of the top singular value in W_k
                chain[k] = t * G / np.linalg.norm(G)
        best = max(best, np.linalg.norm(chain_product(chain).T @ X.T @ Lambda, 2))
    return best


@chapter.statement(
    "thm-gap",
    "trained interpolation with fixed norms, and the dual by a convex solver, against the two closed forms",
    1e-5,
    {
        "exponent of t is 1 - L": {"exponent": 1},
        "primal value is the nuclear norm": {"primal": "nuclear"},
        "sum of powers without the outer power": {"primal": "sum"},
    },
)
def gap(rng, exponent=2, primal="quasi"):
    for depth, t, (n, d), singular in (
        (2, 1.0, (2, 3), (1.5, 1.0)),
        (3, 1.0, (2, 2), (1.0, 1.0)),
        (3, 2.0, (2, 3), (2.0, 1.0)),
        (4, 0.7, (2, 2), (1.0, 0.6)),
        (3, 1.5, (3, 3), (1.2,)),
    ):
        X = orthonormal(rng, d, n).T * 2 if len(singular) > 1 else rng.normal(size=(n, d))
        Y = (
            X @ (X.T @ matrix(rng, n, 2, np.array(singular))) / 4
            if len(singular) > 1
            else (rng.normal(size=(n, 1)) @ rng.normal(size=(1, 2)))
        )
        W0 = np.linalg.pinv(X) @ Y
        # rank W_0 = rank Y, whatever rounding leaves below
        s = np.linalg.svd(W0, compute_uv=False)[: len(singular)]
        power = np.sum(s ** (2 / depth))
        value = {"quasi": power ** (depth / 2), "nuclear": s.sum(), "sum": power}[primal]
        # Objective / beta tends to the interpolation value, linearly in beta: extrapolate twice.
        betas = 8e-3 * np.array([1.0, 0.5, 0.25])
        a, b, c = (fixed_norms(X, Y, beta, depth, t, rng) / beta for beta in betas)
        extrapolated = (8 * c - 6 * b + a) / 3
        yield abs(extrapolated / (t ** (exponent - depth) * value) - 1)
        Lambda = cp.Variable(Y.shape)
        feasible = [t ** (depth - 2) * cp.sigma_max(X.T @ Lambda) <= 1]
        dual = cp.Problem(cp.Maximize(cp.sum(cp.multiply(Lambda, Y))), feasible).solve(solver="CLARABEL")
        yield abs(dual / (t ** (exponent - depth) * s.sum()) - 1)
        if depth > 2:  # the constraint itself, from its definition
            Z = rng.normal(size=Y.shape)
            gain = largest_gain(X, Z, depth, t, rng)
            yield abs(gain / (t ** (depth - 2) * np.linalg.norm(X.T @ Z, 2)) - 1)
        if len(s) == 1:
            yield abs(extrapolated / dual - 1)


@chapter.violation("thm-gap", "ass-rows", "two equal samples with different labels: misfit of $X^+ Y$")
def gap_without_rows(rng):
    X, Y = np.array([[1.0, 2.0], [1.0, 2.0]]), np.eye(2)
    yield np.linalg.norm(X @ np.linalg.pinv(X) @ Y - Y)


@chapter.violation("thm-gap", "ass-deep-width", "one unit in the first layer, two outputs: misfit")
def gap_without_width(rng):
    yield np.linalg.svd(np.eye(2), compute_uv=False)[1]


@chapter.violation(
    "thm-gap", "ass-fixed-norms", "$W = I_2$, $L = 3$, a first layer free to grow: fall of the value"
)
def gap_without_fixed_norms(rng):
    W1, W2, W3 = 1e3 * np.eye(2), np.eye(2) / np.sqrt(1e3), np.eye(2) / np.sqrt(1e3)
    value = 0.5 * (np.sum(W2**2) + np.sum(W3**2)) if np.allclose(W1 @ W2 @ W3, np.eye(2)) else np.inf
    yield abs(value / 2**1.5 - 1)


def envelope_by_sampling(W, cost, atoms):
    """Least average cost of atoms whose average is W: a linear program."""
    weights = cp.Variable(len(atoms), nonneg=True)
    stack = np.array([A.ravel() for A in atoms]).T
    constraints = [stack @ weights == W.ravel(), cp.sum(weights) == 1]
    average = np.array([cost(A) for A in atoms]) @ weights
    return cp.Problem(cp.Minimize(average), constraints).solve(solver="CLARABEL")


@chapter.statement(
    "prop-envelope",
    "convex hulls of the penalties, by linear programming over many matrices, against the closed forms",
    1e-6,
    {
        "hull of the quasi-norm is the quasi-norm itself": {"quasi": True},
        "slope $\\rho^{2/L}$ on the ball": {"exponent": 0.0},
        "slope of the tangent at the edge of the ball": {"slope": "tangent"},
    },
)
def envelope(rng, quasi=False, exponent=-1.0, slope="chord"):
    for depth, rho in ((3, 1.0), (3, 2.5), (5, 1.7)):
        q = 2 / depth
        U, V = orthonormal(rng, 3, 2), orthonormal(rng, 2, 2)
        s = np.sort(rng.uniform(0.1, 0.9, 2))[::-1]
        W = U * s @ V.T

        def power_sum(A, q=q):
            s = np.linalg.svd(A, compute_uv=False)
            return np.sum(s[s > 1e-12] ** q)

        # Ball of the operator norm: partial isometries along the singular vectors, and many other matrices.
        subsets = [np.array(e, dtype=float) for e in product((0, 1), repeat=2)]
        others = [A * rng.uniform() ** 0.3 / np.linalg.norm(A, 2) for A in rng.normal(size=(150, 3, 2))]
        ball = [rho * U * e @ V.T for e in subsets] + [rho * A for A in others]
        value = envelope_by_sampling(0.9 * rho * W, power_sum, ball)
        factor = {"chord": 1.0, "tangent": q}[slope]
        yield abs(value / (factor * rho ** (q + exponent) * 0.9 * rho * s.sum()) - 1)
        # Unit ball of the quasi-norm: rank-one matrices are enough. Its hull is the nuclear ball.
        rank_one = [sign * 2 * np.outer(U[:, i], V[:, i]) for i in range(2) for sign in (1, 0, -1)]
        scaled = [2 * A / schatten(A, depth) * rng.uniform() for A in rng.normal(size=(150, 3, 2))]
        value = envelope_by_sampling(W, lambda A, L=depth: power_sum(A) ** (L / 2), rank_one + scaled)
        yield abs(value / (schatten(W, depth) if quasi else nuclear(W)) - 1)
        # All matrices: pieces of size R with probability s_i / R cost R^(q - 1) ||W||_* in the mean.
        R = 1e60
        yield sum(s_i / R * power_sum(R * np.outer(u, v)) for s_i, u, v in zip(s, U.T, V.T, strict=True))


@chapter.statement(
    "cor-ball",
    "trained weight decay and the dual with a radius, by a convex solver, against sums over singular values",
    1e-6,
    {
        "slope $\\beta \\rho^{2/L - 1}$": {"slope": "short"},
        "gap closed up to the jump point": {"threshold": "jump"},
        "radius ignored: dual value of the unpenalised loss": {"slope": "none"},
    },
)
def ball(rng, slope="chord", threshold="kappa"):
    for depth, sigma, beta, rho in (
        (3, (3.0, 2.0), 0.5, 3.0),
        (3, (1.2, 0.4), 1.0, 1.3),
        (3, (1.7, 0.4), 1.0, 1.7),
        (4, (2.0, 1.0), 0.3, 2.5),
    ):
        sigma = np.array(sigma)
        X, Y = whitened_data(rng, sigma, wide=depth == 4)
        misfit = 0.5 * np.sum(Y**2) - 0.5 * np.sum((X.T @ Y) ** 2)
        kappa = {"chord": depth / 2, "short": 1.0, "none": 0.0}[slope] * beta * rho ** (2 / depth - 1)
        dual = misfit + np.sum(huber(sigma, kappa))
        primal = misfit + np.sum(depth_prox_value(sigma, beta, depth))
        trained, _ = train_standard(X, Y, beta, depth, 2, rng, power=2, starts=8)
        zero = 0.5 * np.sum(Y**2)  # a strict local minimum of training, which descent from random starts may miss
        yield abs(min(trained, zero) / primal - 1)
        # Conjugate of the penalty on the ball: sum_i max(0, rho l_i - price), l the singular values of X^T Lambda,
        # which is the least rho ||B||_* over X^T Lambda = A + B, ||A||_2 <= price / rho.
        price = beta * depth / 2 * rho ** (2 / depth)  # of one singular value rho
        Lambda, B = cp.Variable(Y.shape), cp.Variable((X.shape[1], 2))
        objective = 0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda) - rho * cp.normNuc(B)
        split = [cp.sigma_max(X.T @ Lambda - B) <= price / rho]
        yield abs(dual / cp.Problem(cp.Maximize(objective), split).solve(solver="CLARABEL") - 1)
        limit = depth / 2 * beta * rho ** (2 / depth - 1) if threshold == "kappa" else jump_point(beta, depth)[0]
        yield abs(primal - dual) if sigma[0] <= limit else max(0.0, 1e-3 - (primal - dual))


@chapter.violation("cor-ball", "ass-whitened", "unequal singular values of $X$: error of the primal formula")
def ball_without_whitening(rng):
    X, Y, beta = np.diag([3.0, 1.0]), np.array([[1.0, 0.5], [0.0, 1.0]]), 0.3
    sigma = np.linalg.svd(X.T @ Y, compute_uv=False)
    formula = 0.5 * np.sum(Y**2) - 0.5 * np.sum(sigma**2) + np.sum(depth_prox_value(sigma, beta, 3))
    yield abs(formula - train_standard(X, Y, beta, 3, 2, rng, power=2)[0])


@chapter.violation("cor-ball", "ass-deep-width", "layers of one unit: excess of the trained value")
def ball_without_width(rng):
    X, Y, beta = np.eye(2), np.diag([3.0, 2.0]), 0.3
    yield train_standard(X, Y, beta, 3, 1, rng, power=2)[0] - np.sum(depth_prox_value([3.0, 2.0], beta, 3))


@chapter.violation("cor-ball", "ass-beta", "no decay: equal values, yet $\\mu_1 > \\kappa = 0$")
def ball_without_decay(rng):
    yield 3.0 if np.sum(huber(np.array([3.0, 2.0]), 0.0)) == 0.0 else 0.0


@chapter.statement(
    "prop-regularised-gap",
    "trained networks and the dual, by a convex solver, against closed forms and their condition for a gap",
    1e-6,
    {
        "gap exactly for unequal singular values": {"rule": "unequal"},
        "threshold $2c$ in the dual value": {"factor": 2.0},
        "bound on the gap halved": {"bound": 0.5},
        "fixed norms give $c = \\beta t$": {"power_of_t": 1},
    },
)
def regularised_gap(rng, rule="rank", factor=1.0, bound=1.0, power_of_t=None):
    unequal, equal = (3.0, 2.0), (2.0, 2.0)
    for depth, sigma, c in (
        (3, unequal, 0.3),
        (3, unequal, 1.0),
        (3, equal, 0.4),
        (4, unequal, 2.2),
        (2, unequal, 0.5),
    ):
        sigma = np.array(sigma)
        X, Y = whitened_data(rng, sigma, wide=depth == 4)
        misfit = 0.5 * np.sum(Y**2) - 0.5 * np.sum((X.T @ Y) ** 2)
        dual = misfit + np.sum(huber(sigma, factor * c))
        yield abs(dual / dual_value(X, Y, c) - 1)
        primal = misfit + separable_minimum(sigma, c, depth)
        trained, _ = train_standard(X, Y, c, depth, 2, rng)
        yield abs(trained / primal - 1)
        t = 1.3
        beta = c * t ** (depth - 2) if power_of_t is None else c / t**power_of_t
        yield abs(fixed_norms(X, Y, beta, depth, t, rng, starts=6) / primal - 1)
        excess = primal - dual - bound * 0.5 * np.sum(np.maximum(sigma[1:] - c, 0) ** 2)
        yield max(0.0, excess)
        closed = depth == 2 or (c >= sigma[1] if rule == "rank" else sigma[0] == sigma[1])
        yield abs(primal - dual) if closed else max(0.0, 1e-2 - (primal - dual))
    # From c L / 2 = sigma_2 on a deep network learns one direction at most: equality in the bound.
    for depth, sigma in ((3, (3.0, 2.0)), (5, (3.0, 2.0)), (4, (2.0, 2.0))):
        c = 2 * sigma[1] / depth
        yield abs(separable_minimum(np.array(sigma), c, depth) - huber(sigma[0], c) - sigma[1] ** 2 / 2)
    # General data: the gap closes exactly when the two-layer optimum has rank one.
    X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    top = np.linalg.norm(X.T @ Y, 2)
    for fraction in (0.05, 0.9):
        dual = solve(X, Y, fraction * top).objective
        trained, weights = train_standard(X, Y, fraction * top, 3, 2, rng)
        rank_one = np.linalg.matrix_rank(solve(X, Y, fraction * top).weights[0], tol=1e-6) <= 1
        yield max(0.0, dual - trained)
        yield trained - dual if rank_one else max(0.0, 1e-2 - (trained - dual))


@chapter.violation("prop-regularised-gap", "ass-convex", "the loss $(f^2 - 1)^2$: a gap with one output, rank one")
def regularised_without_convexity(rng):
    yield double_well_gap()


@chapter.violation("prop-regularised-gap", "ass-beta", "no decay: equal values, yet the optimum has rank two")
def regularised_without_decay(rng):
    # P = D = 0 at the only minimiser W = Y of rank two; the criterion asks for one of rank one.
    yield np.linalg.svd(np.diag([3.0, 2.0]), compute_uv=False)[1]


@chapter.violation("prop-regularised-gap", "ass-deep-width", "layers of one unit: excess of the trained value")
def regularised_without_width(rng):
    X, Y, c = np.eye(2), np.diag([3.0, 2.0]), 0.3
    yield train_standard(X, Y, c, 3, 1, rng)[0] - separable_minimum(np.array([3.0, 2.0]), c, 3)


@chapter.violation(
    "prop-regularised-gap", "ass-fixed-norms", "weight decay on all layers: distance from the claimed primal value"
)
def regularised_without_fixed_norms(rng):
    X, Y, c = np.eye(2), np.diag([3.0, 2.0]), 0.3
    yield abs(train_standard(X, Y, c, 3, 2, rng, power=2)[0] - separable_minimum(np.array([3.0, 2.0]), c, 3))


@chapter.violation(
    "prop-regularised-gap", "ass-power-penalty", "power 4 instead of 3 at L = 3: distance from the claimed value"
)
def regularised_with_another_power(rng):
    X, Y, c = np.eye(2), np.diag([3.0, 2.0]), 0.3
    yield abs(train_standard(X, Y, c, 3, 2, rng, power=4)[0] - separable_minimum(np.array([3.0, 2.0]), c, 3))


@chapter.violation("prop-regularised-gap", "ass-whitened", "unequal singular values of $X$: error of the formula")
def regularised_without_whitening(rng):
    X, Y, c = np.diag([3.0, 1.0]), np.array([[1.0, 0.5], [0.0, 1.0]]), 0.3
    sigma = np.linalg.svd(X.T @ Y, compute_uv=False)
    formula = 0.5 * np.sum(Y**2) - 0.5 * np.sum((X.T @ Y) ** 2)
    yield abs(formula + np.sum(huber(sigma, c)) - dual_value(X, Y, c))


@chapter.statement(
    "prop-sharper-bound",
    "largest bound of the family against the least objective, by a refined grid",
    1e-6,
    {"without the subtracted term": {"subtract": 0.0}, "$\\kappa = c N$": {"kappa": "linear"}},
)
def sharper_bound(rng, subtract=1.0, kappa="power"):
    for depth, sigma, c in (
        (3, (3.0, 2.0), 0.3),
        (3, (3.0, 2.0), 1.0),
        (4, (3.0, 2.0), 0.1),
        (4, (3.0, 2.0), 0.3),
        (5, (3.0, 2.0), 1.5),
        (3, (3.0, 2.0, 1.8), 0.2),
    ):
        sigma = np.array(sigma)
        primal = separable_minimum(sigma, c, depth)

        def bound(N, sigma=sigma, c=c, depth=depth):
            k = c * (N ** (depth / 2 - 1) if kappa == "power" else N)
            return np.sum(depth_prox_value(sigma, k, depth)) - subtract * c * (depth / 2 - 1) * N ** (depth / 2)

        grid = np.geomspace(1e-3, 2 * np.sum(sigma ** (2 / depth)), 60)
        values = [bound(N) for N in grid]
        yield max(0.0, max(values) - primal)
        at = int(np.argmax(values))
        refined = minimize_scalar(
            lambda N: -bound(N),
            bounds=(grid[max(at - 1, 0)], grid[min(at + 1, 59)]),
            method="bounded",
            options={"xatol": 1e-12},
        )
        N = refined.x
        s = depth_prox(sigma, c * N ** (depth / 2 - 1), depth)
        if abs(np.sum(s ** (2 / depth)) - N) < 1e-4:  # the fixed point of the statement: the bound is the value
            yield abs(-refined.fun / primal - 1)


@chapter.violation(
    "prop-sharper-bound", "ass-whitened", "unequal singular values of $X$: bound minus a trained value"
)
def sharper_without_whitening(rng):
    X, Y, c = np.diag([3.0, 1.0]), np.array([[1.0, 0.5], [0.0, 1.0]]), 0.3
    sigma = np.linalg.svd(X.T @ Y, compute_uv=False)
    offset = 0.5 * np.sum(Y**2) - 0.5 * np.sum((X.T @ Y) ** 2)
    grid = np.geomspace(0.01, 9, 50)
    bound = max(np.sum(depth_prox_value(sigma, c * N**0.5, 3)) - 0.5 * c * N**1.5 for N in grid)
    yield abs(offset + bound - train_standard(X, Y, c, 3, 2, rng)[0])


@chapter.violation("prop-sharper-bound", "ass-beta", "$\\beta = -1/10$: bound minus the objective of one network")
def sharper_without_decay(rng):
    # With c < 0 the tangent of c x^(L/2) lies above the curve: N = 1 against s = sigma, L = 3.
    sigma, c, N = np.array([3.0, 2.0]), -0.1, 1.0
    k = c * N**0.5
    s = np.linspace(0, 6, 60001)
    bound = sum(np.min(0.5 * (s - z) ** 2 + k * 1.5 * s ** (2 / 3)) for z in sigma) - 0.5 * c * N**1.5
    yield bound - (c * np.sum(sigma ** (2 / 3)) ** 1.5)


def power_method(f, size, rng, starts=20):
    """Largest value of f over the unit sphere, by quasi-Newton runs on f(theta / ||theta||)."""
    return max(-minimize(lambda x: -f(x / np.linalg.norm(x)), rng.normal(size=size)).fun for _ in range(starts))


@chapter.statement(
    "prop-collapse",
    "least loss without penalty, by least squares, against the dual: multipliers whose conjugate stays finite",
    1e-8,
    {
        "dual bound is the trained value": {"claim": "primal"},
        "the conjugate stays finite at depth 3": {"finite": True},
    },
)
def collapse(rng, claim="collapse", finite=False):
    for n, d, K, depth in ((4, 2, 2, 3), (3, 3, 2, 4), (5, 2, 1, 3)):
        X, Y, beta = rng.normal(size=(n, d)), rng.normal(size=(n, K)), 0.4
        M = X @ np.linalg.pinv(X)  # projection on the span of the outputs of linear networks
        least = 0.5 * np.sum((Y - M @ Y) ** 2)
        if claim == "primal":
            least = train_standard(X, Y, beta, depth, min(d, K) + 1, rng, power=2, starts=2)[0]
        # Best multiplier with X^T Lambda = 0: the projection of Y.
        Lambda = Y - M @ Y
        yield np.abs(X.T @ Lambda).max()
        yield abs(0.5 * np.sum(Y**2) - 0.5 * np.sum((Y - Lambda) ** 2) - least)
        # Any other multiplier: along a growing network the Lagrangian has no lower bound.
        Z = Lambda + 1e-3 * X @ rng.normal(size=(d, K))
        shapes = [(d, 2), *[(2, 2)] * (depth - 2), (2, K)]
        theta = [rng.normal(size=s) for s in shapes]
        slope = np.vdot(Z, X @ chain_product(theta))
        theta[-1] = theta[-1] * np.sign(slope)
        c = 1e8
        grown = c**depth * abs(slope) - 0.5 * beta * c**2 * sum(np.sum(W**2) for W in theta)
        yield 0.0 if (grown > 1e6) != finite else 1.0
    for L in (3, 4):  # ReLU, parallel or standard: the same growth, on the span of the outputs
        X, Z = rng.normal(size=(5, 2)), rng.normal(size=5)
        A, theta = X, [rng.normal(size=s) for s in ((2, 3), *[(3, 3)] * (L - 2), (3, 1))]
        for W in theta[:-1]:
            A = np.maximum(A @ W, 0)
        slope = abs(Z @ (A @ theta[-1])[:, 0])
        c = 1e8
        yield 0.0 if (c**L * slope > c**2 * sum(np.sum(W**2) for W in theta)) != finite else 1.0


@chapter.violation("prop-collapse", "ass-homogeneous", "tanh chain on one sample: dual bound minus least loss")
def collapse_without_homogeneity(rng):
    y, beta, lam = 1.0, 0.4, 0.3

    def lagrangian(x):  # minus the conjugate's objective
        return -(lam * x[0] * np.tanh(x[1] * np.tanh(x[2])) - 0.5 * beta * x @ x)

    conjugate = max(-minimize(lagrangian, 3 * rng.normal(size=3)).fun for _ in range(30))
    yield lam * y - 0.5 * lam**2 - conjugate  # the least loss is zero


@chapter.violation("prop-collapse", "ass-convex", "the loss $(f_2^2 - 1)^2$ and $f_2 = 0$: least loss minus dual")
def collapse_without_convexity(rng):
    f = np.linspace(-3, 3, 6001)
    yield 1.0 - max(np.min((f**2 - 1) ** 2 + z * f) for z in np.linspace(-2, 2, 401))


@chapter.violation("prop-collapse", "ass-beta", "no decay: no gap, although the zero network is far from optimal")
def collapse_without_decay(rng):
    yield 0.5 * 2.0**2 - 0.0  # l(0) - inf l for y = 2 on one sample; P = D = inf l


@chapter.statement(
    "thm-power-penalty",
    "trained parallel networks against two-layer nuclear-norm training and its dual; weights of the optima",
    1e-6,
    {
        "quasi-norm instead of the nuclear norm": {"norm": "quasi"},
        "dual constraint at $\\beta / 2$": {"bound": 0.5},
        "layer norms $s_j^{1/2}$": {"root": 2},
    },
)
def power_penalty(rng, norm="nuclear", bound=1.0, root=None):
    for n, d, K, depth in ((4, 3, 2, 2), (4, 3, 2, 3), (3, 2, 2, 4), (4, 2, 1, 5)):
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, K))
        beta = 0.15 * np.linalg.norm(X.T @ Y, 2)
        trained, branches = train_parallel(X, Y, beta, depth, min(d, K), rng, starts=6)
        optimum = solve(X, Y, beta)
        value = optimum.objective
        if norm == "quasi":
            W = chain_product(list(optimum.weights))
            value += beta * (schatten(W, max(depth, 3)) - nuclear(W)) + 1e-2 * (K == 1)
        yield abs(trained / value - 1)
        yield abs(trained / dual_value(X, Y, bound * beta) - 1)
        for branch in branches:
            s = np.linalg.norm(chain_product(branch))
            if s > 1e-3:
                norms = np.array([np.linalg.norm(W) for W in branch])
                yield 1e-2 * np.abs(norms - s ** (1 / (root or depth))).max()
                yield 1e-2 * max(np.linalg.norm(W, "nuc") - np.linalg.norm(W) for W in branch)  # rank one
    # The exact minimisers: any A with A A^T = S gives an optimal network, also more branches than the rank.
    for depth, m in ((3, 2), (4, 5)):
        W = matrix(rng, 3, 2, np.array([2.0, 0.7]))
        U, s, Vt = np.linalg.svd(W, full_matrices=False)
        A = np.sqrt(s)[:, None] * np.linalg.qr(rng.normal(size=(m, 2)))[0].T
        total, penalty = np.zeros_like(W), 0.0
        for a in A.T:
            gain = a @ a
            chain = [
                U @ a / np.sqrt(gain),
                *[v / np.linalg.norm(v) for v in rng.normal(size=(depth - 1, 4))],
                Vt.T @ a / np.sqrt(gain),
            ]
            layers = [gain ** (1 / depth) * np.outer(x, z) for x, z in zip(chain, chain[1:], strict=False)]
            total = total + chain_product(layers)
            penalty += sum(np.linalg.norm(B) ** depth for B in layers) / depth
        yield np.abs(total - W).max()
        yield abs(penalty / (schatten(W, depth) if norm == "quasi" else nuclear(W)) - 1)


@chapter.violation(
    "thm-power-penalty", "ass-power-penalty", "weight decay at L = 3: distance from the claimed value"
)
def power_penalty_with_weight_decay(rng):
    X, Y, beta = np.eye(2), np.diag([3.0, 2.0]), 0.3
    yield abs(train_parallel(X, Y, beta, 3, 3, rng, power=2)[0] - solve(X, Y, beta).objective)


@chapter.violation("thm-power-penalty", "ass-width", "one branch for two outputs: excess of the trained value")
def power_penalty_without_width(rng):
    X, Y, beta = np.eye(2), np.diag([3.0, 2.0]), 0.3
    yield train_parallel(X, Y, beta, 3, 1, rng)[0] - solve(X, Y, beta).objective


@chapter.violation("thm-power-penalty", "ass-convex", "the loss $(f^2 - 1)^2$, one sample: primal minus dual value")
def power_penalty_without_convexity(rng):
    yield double_well_gap()


@chapter.violation("thm-power-penalty", "ass-beta", "no decay: an optimal chain whose three layers differ in norm")
def power_penalty_without_decay(rng):
    a, b, c = 4.0, 0.5, 1.0  # output 2 = y on the sample x = 1
    yield abs(a / b - 1) if a * b * c == 2.0 else 0.0
