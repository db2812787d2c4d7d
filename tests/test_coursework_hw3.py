"""Coursework 3: each question is solvable by a general solver, and wrong answers earn what they deserve."""

from __future__ import annotations

from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

from dualkit.coursework import hw3, instance, verdict
from dualkit.coursework._pieces import angle_bound, decay

IDS = [f"student-{k}" for k in range(20)]


def convex(objective, constraints=()):
    cp.Problem(cp.Minimize(objective), list(constraints)).solve(solver="CLARABEL")


def units(H, weights, tiny=1e-9):
    """Units along the columns of H, which have norm one as inputs, with signed gains."""
    on = np.abs(weights) > tiny
    root = np.sqrt(np.abs(weights[on]))
    return H[:, on] * root, np.sign(weights[on]) * root


def solve_leaky(X, y, betas, a):
    """The outputs are a difference of two non-negative combinations, each charged by a quadratic form."""
    lams, networks = [], []
    for beta in betas:
        up, down = (cp.Variable((2, len(y)), nonneg=True) for _ in range(2))
        f = (up[0] - a * down[0]) - (up[1] - a * down[1])
        cost = sum(cp.norm(cp.hstack([up[k], down[k]])) for k in range(2))
        convex(0.5 * cp.sum_squares(f - y) + beta * cost)
        Z = (up.value - down.value).T
        size = np.linalg.norm(Z, axis=0)
        networks.append(units(X.T @ Z / size, size * [1, -1], 1e-5))
        lam = y - f.value
        p, q = np.linalg.norm(np.maximum(lam, 0)), np.linalg.norm(np.maximum(-lam, 0))
        lams.append(lam * min(1, beta / max(np.hypot(p, a * q), np.hypot(a * p, q))))
    m = max(len(w) for _, w in networks)
    return {"lam": np.array(lams), "U": np.array([np.pad(U, ((0, 0), (0, m - U.shape[1]))) for U, _ in networks]),
            "w": np.array([np.pad(w, (0, m - len(w))) for _, w in networks])}


def solve_weighted(X, Y, omega, beta):
    """Projected quasi-Newton steps from a random start; the residual is the dual point."""
    n, K, m = *Y.shape, 6

    def objective(theta):
        A, W = theta[:n * m].reshape(n, m), theta[n * m:].reshape(m, K)
        R = omega[:, None] * (A @ W - Y)
        grad = np.concatenate([(R @ W.T).ravel(), (A.T @ R).ravel()]) + beta * theta
        return 0.5 * np.sum(R**2 / omega[:, None]) + 0.5 * beta * theta @ theta, grad

    bounds = [(0, None)] * (n * m) + [(None, None)] * (m * K)
    runs = [minimize(objective, np.random.default_rng(seed).uniform(0.1, 1, (n + K) * m), jac=True, bounds=bounds,
                     method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 9000, "ftol": 1e-15, "gtol": 1e-10})
            for seed in range(3)]
    best = min(runs, key=lambda run: run.fun).x
    A, W = best[:n * m].reshape(n, m), best[n * m:].reshape(m, K)
    Lam = omega[:, None] * (Y - A @ W)
    return {"U": X.T @ A, "W": W, "Lam": Lam * min(1, beta / angle_bound(Lam))}


def solve_lines(X, y, beta):
    """The convex program over all activation patterns of the data."""
    length = np.linalg.norm(X, axis=1)
    first = [k for k in range(len(y)) if np.all(np.abs(X[:k] @ X[k]) < 0.5 * length[:k] * length[k])]
    A = X[first] / length[first, None]
    side = np.rint(X @ A.T / length[:, None])
    patterns = np.array([(side @ np.array(s) > 0) for s in product((-1, 1), repeat=4)], dtype=float)
    V, W = cp.Variable((6, 16)), cp.Variable((6, 16))
    keep = 2 * patterns.T - 1
    convex(0.5 * cp.sum_squares(cp.sum(cp.multiply(patterns.T, X @ (V - W)), axis=1) - y)
           + beta * (cp.sum(cp.norm(V, 2, axis=0)) + cp.sum(cp.norm(W, 2, axis=0))),
           [cp.multiply(keep, X @ V) >= 0, cp.multiply(keep, X @ W) >= 0])
    Z = np.hstack([V.value, W.value])
    size = np.maximum(np.linalg.norm(Z, axis=0), 1e-12)
    U, w = units(Z / size, size * np.repeat([1, -1], 16))
    lam = y - np.maximum(X @ U, 0) @ w
    return {"U": U, "w": w, "lam": lam * min(1, beta / hw3.line_support(X, lam))}


def forward(Ws, A):
    outputs = [A]
    for W in Ws:
        outputs.append(np.maximum(outputs[-1] @ W, 0))
    return outputs


def fit_deep(X, Y, seed, width=8, beta=1e-3):
    """Quasi-Newton training of a standard network; the last layer is then solved for an exact fit."""
    sizes = [4, *[width] * (hw3.DEPTH - 1), 4]
    shapes = list(zip(sizes, sizes[1:], strict=False))
    cuts = np.cumsum([a * b for a, b in shapes])[:-1]

    def layers(theta):
        return [part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes, strict=True)]

    def objective(theta, beta):
        Ws = layers(theta)
        As = forward(Ws[:-1], X)
        G = R = As[-1] @ Ws[-1] - Y
        grads = []
        for W, A in zip(Ws[::-1], As[::-1], strict=True):
            grads.append((A.T @ G).ravel())
            G = (G @ W.T) * (A > 0)
        return 0.5 * np.sum(R**2) + 0.5 * beta * theta @ theta, np.concatenate(grads[::-1]) + beta * theta

    rng = np.random.default_rng(seed)
    theta = np.concatenate([rng.normal(size=a * b) * np.sqrt(2 / a) for a, b in shapes])
    for b in (0.1 * beta, beta):
        theta = minimize(objective, theta, (b,), jac=True, method="L-BFGS-B",
                         options={"maxiter": 2500, "maxfun": 5000}).x
    Ws = layers(theta)
    A = forward(Ws[:-1], X)[-1]
    Ws[-1] = np.linalg.pinv(A, rcond=1e-3) @ Y
    if np.abs(A @ Ws[-1] - Y).max() > 1e-8:
        return None, np.inf
    norms = np.array([np.linalg.norm(W) for W in Ws])
    Ws = [W * np.exp(np.log(norms).mean()) / size for W, size in zip(Ws, norms, strict=True)]
    return {f"W{k + 1}": W for k, W in enumerate(Ws)}, decay(*Ws)


def solve_deep(X, Y):
    bound = 0.959 * hw3.DEPTH / 2 * np.sum(np.diag(Y) ** (2 / hw3.DEPTH))
    best = None, np.inf
    for seed in range(30):
        best = min(best, fit_deep(X, Y, seed), key=lambda run: run[1])
        if best[1] < bound:
            break
    return best[0]


SOLVERS = {"hw3-q1": solve_leaky, "hw3-q2": solve_weighted, "hw3-q3": solve_lines, "hw3-q4": solve_deep}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS[:3 if question == "hw3-q4" else 20]:
        given = instance(question, student)
        result = verdict(question, given, SOLVERS[question](**given))
        assert result.fraction == pytest.approx(1), f"{student}\n{result}"
