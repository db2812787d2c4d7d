"""Coursework 4: each question is solvable by a general solver, and wrong answers earn what they deserve."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

from dualkit.coursework import instance, verdict
from dualkit.coursework._pieces import angle_bound

IDS = [f"student-{k}" for k in range(20)]


def convex(objective, constraints=()):
    cp.Problem(cp.Minimize(objective), list(constraints)).solve(solver="CLARABEL")


def hinges(x):
    """Outputs of units with kinks at the data, with their input weights and biases."""
    u, b = np.repeat([1.0, -1.0], len(x)), np.concatenate([-x, x])
    return np.maximum(np.outer(x, u) + b, 0), u, b


def scaled(u, b, gains, c, lam):
    root = np.sqrt(np.abs(gains))
    return {"u": u * root, "b": b * root, "w": np.sign(gains) * root, "c": c, "lam": lam}


def shrunk(lam, H, beta, both=True):
    """A centred dual point, scaled into its constraints."""
    lam = lam - lam.mean()
    pull = lam @ H
    return lam * min(1, beta / np.max(np.abs(pull) if both else pull), 1 / np.abs(lam).max() if both else 1)


def solve_one_sided(x, y, beta):
    H, u, b = (A[..., :len(x)] for A in hinges(x))
    gains, c, lam = cp.Variable(len(x)), cp.Variable(), cp.Variable(len(x))
    convex(cp.norm1(H @ gains + c - y) + beta * cp.norm1(gains))
    convex(-lam @ y, [cp.abs(lam) <= 1, cp.sum(lam) == 0, cp.abs(H.T @ lam) <= beta])
    return scaled(u, b, gains.value, float(c.value), shrunk(lam.value, H, beta))


def solve_convex(x, y, beta):
    H, u, b = hinges(x)
    gains, c = cp.Variable(len(u)), cp.Variable()
    convex(0.5 * cp.sum_squares(H @ gains + c - y) + beta * cp.sum(gains), [gains >= 0])
    gains = np.maximum(gains.value, 0)
    return scaled(u, b, gains, float(c.value), shrunk(y - H @ gains - c.value, H, beta, both=False))


def from_features(objective, X, K, m, seeds=3):
    """Minimise over non-negative hidden outputs A and output weights W by projected quasi-Newton steps."""
    n = len(X)
    bounds = [(0, None)] * (n * m) + [(None, None)] * (m * K)
    def cost(theta):
        A, W = theta[:n * m].reshape(n, m), theta[n * m:].reshape(m, K)
        value, G, beta = objective(A @ W)
        return value + 0.5 * beta * theta @ theta, np.concatenate([(G @ W.T).ravel(), (A.T @ G).ravel()]) + beta * theta

    runs = [minimize(cost, np.random.default_rng(seed).uniform(-1, 1, (n + K) * m) + np.repeat([1, 0], [n * m, K * m]),
                     jac=True, bounds=bounds, method="L-BFGS-B",
                     options={"maxiter": 5000, "maxfun": 9000, "ftol": 1e-16, "gtol": 1e-11}) for seed in range(seeds)]
    best = min(runs, key=lambda run: run.fun).x
    return best[:n * m].reshape(n, m), best[n * m:].reshape(m, K)


def solve_exponential(X, y, omega, beta):
    def objective(F):
        terms = omega * np.exp(-y * F[:, 0])
        return terms.sum(), -(y * terms)[:, None], beta

    A, W = from_features(objective, X, 1, 4)
    lam = omega * y * np.exp(-y * (A @ W)[:, 0])
    support = max(np.linalg.norm(np.maximum(s * lam, 0)) for s in (1, -1))
    return {"U": X.T @ A, "w": W[:, 0], "lam": lam * min(1, beta / support)}


def softmax(F):
    p = np.exp(F - F.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def solve_smoothed(X, Y, beta):
    A, W = from_features(lambda F: (-np.sum(Y * np.log(softmax(F))), softmax(F) - Y, beta), X, Y.shape[1], 8, 4)
    Lam = Y - softmax(A @ W)
    return {"U": X.T @ A, "W": W, "Lam": Lam * min(1, beta / angle_bound(Lam))}


SOLVERS = {"hw4-q1": solve_one_sided, "hw4-q2": solve_convex, "hw4-q3": solve_exponential, "hw4-q4": solve_smoothed}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS:
        given = instance(question, student)
        result = verdict(question, given, SOLVERS[question](**given))
        assert result.fraction == pytest.approx(1), f"{student}\n{result}"
