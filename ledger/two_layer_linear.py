"""Checks of the chapter "Two-layer linear networks"."""

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize

from dualkit import certify, solve
from dualkit.depth import aligned_factors, scalar_linear
from dualkit.linear import interpolate, nuclear_regression, soft_threshold
from ledger import Chapter

chapter = Chapter("two_layer_linear")
SHAPES = ((1, 1, 1), (4, 3, 2), (3, 5, 3), (8, 4, 3), (6, 6, 1))  # (n, d, K)


def problem(rng, n, d, K, fraction=0.3):
    """Random data with beta a fraction of the value above which the optimum is zero."""
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, K))
    return X, Y, fraction * np.linalg.norm(X.T @ Y, 2)


def nuclear_optimum(X, Y, beta):
    """Optimal value of the nuclear-norm problem by a general convex solver."""
    W = cp.Variable((X.shape[1], Y.shape[1]))
    objective = cp.Minimize(0.5 * cp.sum_squares(X @ W - Y) + beta * cp.normNuc(W))
    return cp.Problem(objective).solve(solver="CLARABEL")


def train(X, Y, beta, width, rng, starts=5):
    """Weights (W_1, W_2) of least objective over several quasi-Newton runs from random starts."""
    d, K = X.shape[1], Y.shape[1]

    def objective(theta):
        W1, W2 = theta[: d * width].reshape(d, width), theta[d * width :].reshape(width, K)
        R = X @ W1 @ W2 - Y
        gradient = np.concatenate([(X.T @ R @ W2.T).ravel(), (W1.T @ X.T @ R).ravel()]) + beta * theta
        return 0.5 * np.sum(R**2) + 0.5 * beta * theta @ theta, gradient

    runs = [
        minimize(
            objective,
            rng.normal(size=width * (d + K)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "ftol": 1e-16, "gtol": 1e-11},
        )
        for _ in range(starts)
    ]
    best = min(runs, key=lambda run: run.fun).x
    return best[: d * width].reshape(d, width), best[d * width :].reshape(width, K)


@chapter.statement(
    "lem-nuclear",
    "least weight decay of a factorisation, by semidefinite programming, against the nuclear norm",
    1e-6,
    {"Frobenius norm instead": {"norm": "fro"}, "largest singular value instead": {"norm": 2}},
)
def nuclear_from_factors(rng, norm="nuc"):
    for d, K in ((2, 2), (4, 2), (3, 3)):
        W = rng.normal(size=(d, K))
        # [[A, W], [W^T, B]] >= 0 says A = W_1 W_1^T, B = W_2^T W_2 for some factors of W, up to slack.
        block = cp.Variable((d + K, d + K), PSD=True)
        least = cp.Problem(cp.Minimize(0.5 * cp.trace(block)), [block[:d, d:] == W]).solve(solver="CLARABEL")
        yield abs(least / np.linalg.norm(W, norm) - 1)
        W1, W2 = aligned_factors(W, 2, width=min(d, K) + 2, rng=rng)
        yield np.abs(W1 @ W2 - W).max()
        yield np.abs(W1.T @ W1 - W2 @ W2.T).max()
        yield abs(0.5 * (np.sum(W1**2) + np.sum(W2**2)) / np.linalg.norm(W, norm) - 1)
        G = rng.normal(size=(len(W2), len(W2))) + 2 * np.eye(len(W2))
        other = 0.5 * (np.sum((W1 @ G) ** 2) + np.sum((np.linalg.inv(G) @ W2) ** 2))
        yield max(0.0, np.linalg.norm(W, "nuc") - other)


@chapter.violation("lem-nuclear", "ass-width", "one hidden unit cannot produce a matrix of rank two: best distance")
def nuclear_without_width(rng):
    yield np.linalg.svd(rng.normal(size=(3, 2)), compute_uv=False)[1]


@chapter.statement(
    "thm-linear-units",
    "networks of min(d, K) units, trained, against the dual by a general convex solver, and their units",
    1e-6,
    {"dual constraint at $2 \\beta$": {"bound": 2.0},
     "$u_j$ against $X^\\T \\Lambda^* \\hat w_j$ without $1/\\beta$": {"scale": 1.0},
     "sign of the dual variable flipped": {"sign": -1.0}},
)
def linear_units(rng, bound=1.0, scale=None, sign=1.0):
    for n, d, K in SHAPES:
        X, Y, beta = problem(rng, n, d, K)
        Lambda = cp.Variable(Y.shape)
        dual = cp.Problem(
            cp.Maximize(0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda)),
            [cp.sigma_max(X.T @ Lambda) <= bound * beta],
        ).solve(solver="CLARABEL")
        W1, W2 = train(X, Y, beta, min(d, K), rng)
        R = sign * (Y - X @ W1 @ W2)
        primal = 0.5 * np.sum(R**2) + 0.5 * beta * (np.sum(W1**2) + np.sum(W2**2))
        yield abs(primal / dual - 1)
        yield abs(np.linalg.norm(X.T @ R, 2) / beta - 1)
        gains = np.linalg.norm(W1, axis=0)
        for u, w in zip(W1.T[gains > 1e-3 * gains.max()], W2[gains > 1e-3 * gains.max()], strict=True):
            u, w = u / np.linalg.norm(u), w / np.linalg.norm(w)
            yield np.abs(u - X.T @ R @ w / (scale or beta)).max()
            yield np.abs(w - R.T @ X @ u / (scale or beta)).max()


@chapter.violation("thm-linear-units", "ass-width", "one unit for two outputs: trained objective minus dual value")
def units_without_width(rng):
    X, Y, beta = np.eye(2), np.diag([3.0, 2.0]), 1.0
    yield certify(list(train(X, Y, beta, 1, rng)), X, Y, beta).primal - solve(X, Y, beta).certificate.dual


@chapter.violation("thm-linear-units", "ass-optimal", "a saddle point: excess of the largest singular value")
def units_without_optimality(rng):
    X, Y, W1, W2 = np.eye(2), np.diag([3.0, 2.0]), np.array([[0.0], [1.0]]), np.array([[0.0, 1.0]])
    yield np.linalg.norm(X.T @ (Y - X @ W1 @ W2), 2) - 1.0


@chapter.violation(
    "thm-linear-units", "ass-convex",
    "the unbounded loss $-3f$: its fall from $f = 0$ to $f = 1000$",
)
def units_without_lower_bound(rng):
    yield 3 * 1000.0 - 1000.0


@chapter.violation(
    "thm-linear-units", "ass-beta",
    "no decay: an optimal unit whose weight vectors differ in length",
)
def units_without_decay(rng):
    u, w = np.array([[4.0]]), np.array([[0.5]])  # f = 2 = y on the sample x = 1
    yield abs(np.linalg.norm(u) / np.linalg.norm(w) - 1) if u @ w == 2.0 else 0.0


@chapter.statement(
    "thm-scalar",
    "one SVD and one root against a general convex solver and the optimality condition",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "squared norm, not norm": {"ridge": True}},
)
def scalar_output(rng, factor=1.0, ridge=False):
    for n, d in ((1, 1), (5, 3), (3, 6), (20, 8)):
        for fraction in (0.01, 0.5, 0.99):
            X, Y, beta = problem(rng, n, d, 1, fraction)
            y, variable = Y[:, 0], cp.Variable(d)
            penalty = 0.5 * cp.sum_squares(variable) if ridge else cp.norm(variable)
            least = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(X @ variable - y) + beta * penalty)).solve(
                solver="CLARABEL"
            )
            w = scalar_linear(X, y, factor * beta, 2).w
            yield abs(0.5 * np.sum((X @ w - y) ** 2) + beta * np.linalg.norm(w) - least) / least
            if w.any():
                tau = np.linalg.norm(w)
                left, s, _ = np.linalg.svd(X, full_matrices=False)
                yield abs(np.sum((s * (left.T @ y) / (tau * s**2 + factor * beta)) ** 2) - 1)
                W1, W2 = solve(X, y, beta, width=2).weights
                yield np.linalg.svd(W1, compute_uv=False)[1:].sum()
                yield np.linalg.norm(X.T @ (y - X @ w) - beta * w / np.linalg.norm(w)) / beta
        yield np.abs(scalar_linear(X, y, np.linalg.norm(X.T @ y) * (1 + 1e-12), 2).w).max()


@chapter.violation(
    "thm-scalar", "ass-beta", "no weight decay: an optimal first layer of rank two, its second singular value"
)
def scalar_without_decay(rng):
    X, W1 = rng.normal(size=(3, 3)), np.eye(3)[:, :2]
    y = X @ W1 @ np.ones(2)
    singular = np.linalg.svd(W1, compute_uv=False)
    yield singular[1] / singular[0] if np.allclose(X @ W1 @ np.ones(2), y) else 0.0


@chapter.statement(
    "thm-nuclear",
    "our solver against a general convex solver, trained networks, and the rank bound",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "$\\beta$ halved": {"factor": 0.5}},
)
def nuclear_regression_is_training(rng, factor=1.0):
    for n, d, K in SHAPES:
        X, Y, beta = problem(rng, n, d, K)
        fit = nuclear_regression(X, Y, factor * beta)
        value = 0.5 * np.sum(fit.residual**2) + beta * np.linalg.norm(fit.W, "nuc")
        yield abs(value / nuclear_optimum(X, Y, beta) - 1)
        U, s, Vt = np.linalg.svd(fit.W, full_matrices=False)
        U, V = U[:, s > 1e-9], Vt[s > 1e-9].T
        Z = X.T @ fit.residual / beta - U @ V.T
        yield 1e-3 * max(0.0, np.linalg.norm(Z, 2) - 1, np.abs(U.T @ Z).max(), np.abs(Z @ V).max())
        W1, W2 = train(X, Y, beta, min(d, K), rng)
        yield abs(value / certify([W1, W2], X, Y, beta).primal - 1)
    X, B = rng.normal(size=(9, 5)), rng.normal(size=(9, 2))
    Y = B @ rng.normal(size=(2, 4))  # X^T Y has rank two, four outputs
    beta = 0.01 * np.linalg.norm(X.T @ Y, 2)
    yield np.linalg.svd(nuclear_regression(X, Y, factor * beta).W, compute_uv=False)[2]


@chapter.violation(
    "thm-nuclear", "ass-width", "one hidden unit for two outputs: relative excess of the trained objective"
)
def nuclear_without_enough_units(rng):
    X, Y, beta = np.eye(2), np.diag([3.0, 2.0]), 1.0
    yield certify(list(train(X, Y, beta, 1, rng)), X, Y, beta).primal / nuclear_optimum(X, Y, beta) - 1


@chapter.statement(
    "cor-whitened",
    "soft threshold of the singular values of $X^\\T Y$ against a general convex solver",
    1e-6,
    {"threshold $2 \\beta$": {"factor": 2.0}, "hard threshold": {"hard": True}},
)
def whitened(rng, factor=1.0, hard=False):
    for n, d, K in ((6, 3, 2), (3, 6, 2), (4, 4, 3)):
        Q = np.linalg.qr(rng.normal(size=(max(n, d), min(n, d))))[0]
        X, Y = Q if n >= d else Q.T, rng.normal(size=(n, K))
        singular = np.linalg.svd(X.T @ Y, compute_uv=False)
        for beta in (0.5 * singular[-1], 0.5 * (singular[0] + singular[1])):
            W = soft_threshold(X.T @ Y, factor * beta)
            if hard:
                U, s, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
                W = (U * np.where(s > beta, s, 0)) @ Vt
            value = 0.5 * np.sum((X @ W - Y) ** 2) + beta * np.linalg.norm(W, "nuc")
            yield abs(value / nuclear_optimum(X, Y, beta) - 1)


@chapter.violation(
    "cor-whitened", "ass-whitened", "data with unequal singular values: relative excess of the soft threshold"
)
def whitened_without_whitening(rng):
    X, Y, beta = np.diag([3.0, 1.0]), np.array([[1.0, 0.5], [0.0, 1.0]]), 0.3
    W = soft_threshold(X.T @ Y, beta)
    yield (0.5 * np.sum((X @ W - Y) ** 2) + beta * np.linalg.norm(W, "nuc")) / nuclear_optimum(X, Y, beta) - 1


@chapter.statement(
    "prop-interpolation",
    "$X^+ Y$ against the least nuclear norm, by a convex solver, and the rate of the limit against its bound",
    1e-5,
    {"twice the pseudoinverse": {"factor": 2.0}, "half the bound on the rate": {"rate": 0.5}},
)
def interpolation(rng, factor=1.0, rate=1.0):
    for n, K in ((2, 1), (3, 2), (4, 4)):
        X, Y = rng.normal(size=(n, n + 2)), rng.normal(size=(n, K))
        variable = cp.Variable((X.shape[1], K))
        least = cp.Problem(cp.Minimize(cp.normNuc(variable)), [X @ variable == Y]).solve(solver="CLARABEL")
        W = factor * interpolate(X, Y)
        yield np.abs(X @ W - Y).max()
        yield abs(np.linalg.norm(W, "nuc") / least - 1)
        for fraction in (1e-2, 1e-3):
            beta = fraction * np.linalg.norm(X.T @ Y, 2)
            distance = np.linalg.norm(nuclear_regression(X, Y, beta).W - W, 2)
            bound = rate * beta / np.linalg.svd(X, compute_uv=False)[-1] ** 2
            yield max(0.0, distance / bound - 1)


@chapter.violation("prop-interpolation", "ass-rows", "two equal samples with different labels: misfit of $X^+ Y$")
def interpolation_without_rank(rng):
    X, Y = np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([[1.0], [0.0]])
    yield np.linalg.norm(X @ np.linalg.pinv(X) @ Y - Y)


@chapter.violation("thm-nuclear", "ass-beta", "no decay, $X = 0$: a minimiser of rank two although $X^\\T Y = 0$")
def rank_bound_without_decay(rng):
    X, W = np.zeros((2, 2)), np.eye(2)
    yield np.linalg.svd(W, compute_uv=False)[1] if np.array_equal(X @ W, 0 * W) else 0.0


@chapter.violation("cor-whitened", "ass-beta", "no decay: another minimiser, its distance from the formula")
def whitened_without_decay(rng):
    X, Y, other = np.eye(1, 2), np.ones((1, 1)), np.ones((2, 1))
    W = soft_threshold(X.T @ Y, 0.0)
    yield np.linalg.norm(other - W) if np.array_equal(X @ other, X @ W) else 0.0


@chapter.violation("prop-interpolation", "ass-beta", "no decay: another minimiser, its distance from $X^+ Y$")
def rate_without_decay(rng):
    X, Y, other = np.eye(1, 2), np.ones((1, 1)), np.ones((2, 1))
    yield np.linalg.norm(other - interpolate(X, Y)) if np.array_equal(X @ other, Y) else 0.0
