"""General solvers for the tests of the coursework; none of them knows what a question is about."""

from __future__ import annotations

import warnings

import cvxpy as cp
import numpy as np
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from dualkit.coursework import find, instance, verdict

IDS = [f"student-{k}" for k in range(20)]


def convex(objective, constraints=(), tolerance=1e-8):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the verdict judges the accuracy
        cp.Problem(cp.Minimize(objective), list(constraints)).solve(
            solver="CLARABEL", tol_gap_abs=tolerance, tol_gap_rel=tolerance, tol_feas=tolerance
        )


def units(H, gains, tiny=1e-9):
    """Unit input directions, the columns of H, with signed gains, as balanced weights."""
    on = np.abs(gains) > tiny
    root = np.sqrt(np.abs(gains[on]))
    return H[:, on] * root, np.sign(gains[on]) * root


def from_features(objective, n, K, m, seeds=4):
    """Minimise over hidden outputs A >= 0, (n, m), and output weights W, (m, K), by projected quasi-Newton steps.

    `objective` maps the outputs A W to the loss and its gradient; beta is its third value.
    """

    def split(theta):
        return theta[: n * m].reshape(n, m), theta[n * m :].reshape(m, K)

    def cost(theta):
        A, W = split(theta)
        value, G, beta = objective(A @ W)
        return value + 0.5 * beta * theta @ theta, np.concatenate(
            [(G @ W.T).ravel(), (A.T @ G).ravel()]
        ) + beta * theta

    bounds, runs = [(0, None)] * (n * m) + [(None, None)] * (m * K), []
    for seed in range(seeds):
        start = np.random.default_rng(seed).uniform(-1, 1, (n + K) * m) + np.repeat([1, 0], [n * m, K * m])
        runs.append(
            minimize(
                cost,
                start,
                jac=True,
                bounds=bounds,
                method="L-BFGS-B",
                options={"maxiter": 5000, "maxfun": 9000, "ftol": 1e-16, "gtol": 1e-11},
            )
        )
    return split(min(runs, key=lambda run: run.fun).x)


def train_deep(X, Y, sizes, beta, seed, steps=1500):
    """Quasi-Newton training of a standard ReLU network from a random start: its layers and its objective."""
    shapes = list(zip(sizes, sizes[1:], strict=False))
    cuts = np.cumsum([a * b for a, b in shapes])[:-1]

    def layers(theta):
        return [part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes, strict=True)]

    def objective(theta, beta):
        Ws, As = layers(theta), [X]
        for W in Ws[:-1]:
            As.append(np.maximum(As[-1] @ W, 0))
        G = R = As[-1] @ Ws[-1] - Y
        grads = []
        for W, A in zip(Ws[::-1], As[::-1], strict=True):
            grads.append((A.T @ G).ravel())
            G = (G @ W.T) * (A > 0)
        return 0.5 * np.sum(R**2) + 0.5 * beta * theta @ theta, np.concatenate(grads[::-1]) + beta * theta

    rng = np.random.default_rng(seed)
    theta = np.concatenate([rng.normal(size=a * b) * np.sqrt(2 / a) for a, b in shapes])
    for b in (0.1 * beta, beta):
        run = minimize(
            objective, theta, (b,), jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxfun": 2 * steps}
        )
        theta = run.x
    return layers(theta), run.fun


def nearest(H, y, beta):
    """Minimise 0.5 ||H g + c - y||^2 + beta sum g over g >= 0 and c by the method of Lawson and Hanson."""
    H, y = H - H.mean(axis=0), y - y.mean()
    E = np.vstack([-H, H.T @ y - beta])
    u, _ = nnls(E, np.eye(len(E))[-1], maxiter=10_000)
    gains = u / (1 - E[-1] @ u)
    return gains, 0.5 * np.sum((H @ gains - y) ** 2) + beta * gains.sum()


def softmax(F):
    p = np.exp(F - F.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def spread(question, statistic, ids=1000):
    """Least and largest value of each number that `statistic` computes from an instance, over many students."""
    values = np.array([np.atleast_1d(statistic(**instance(question, f"id{k}"))) for k in range(ids)])
    return values.min(axis=0), values.max(axis=0)


@st.composite
def garbage(draw, question):
    """A dict that looks like an answer: arrays of the right shapes, with any numbers; or anything else."""
    given, width, answer = instance(question, "ada"), draw(st.integers(0, 4)), {}
    for name, shape in find(question).shapes(given).items():
        size = tuple(draw(st.sampled_from([width, width, width, 1])) if k is None else k for k in shape)
        numbers = np.random.default_rng(draw(st.integers(0, 99))).normal(size=size)
        kind = draw(st.sampled_from([np.abs, np.ones_like, np.negative]))
        scale = draw(st.sampled_from([0.0, 1e-320, 1e-9, 0.1, 1.0, 1e6, 1e80, 1e307]))
        answer[name] = scale * kind(numbers)
        if draw(st.integers(0, 9)) == 0:
            answer[name] = draw(
                st.sampled_from([None, "text", [], [[1.0], [1.0, 2.0]], np.nan, [1j], {}, object()])
            )
    return answer


def scaled_dual_shares(question, solve, factors):
    """The shares of the points that the right answer earns with its dual point multiplied by each factor."""
    mine = instance(question, "ada")
    answer = solve(**mine)
    point = "lam" if "lam" in answer else "Lam"
    return [verdict(question, mine, {**answer, point: factor * answer[point]}).fraction for factor in factors]
