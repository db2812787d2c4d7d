"""Coursework 2: rank and alignment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator

from dualkit._validate import Array
from dualkit.coursework._pieces import certified, decay
from dualkit.coursework._questions import Answer, Assignment, Condition, Instance, Proof, Question, tiers


def _orthonormal(rng: Generator, rows: int, columns: int) -> Array:
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0]


def _whitened(rng: Generator, n: int, d: int, K: int, singular: Array) -> tuple[Array, Array]:
    """Draw X with X^T X = I and Y such that X^T Y has these singular values."""
    X = _orthonormal(rng, n, d)
    r = len(singular)
    inside = (X @ _orthonormal(rng, d, r) * singular) @ _orthonormal(rng, K, r).T
    noise = rng.normal(size=(n, K))
    noise -= X @ (X.T @ noise)
    return X, inside + 0.5 * noise / np.linalg.norm(noise)


def _sigma(A: Array) -> float:
    return float(np.linalg.norm(A, 2))


def _draw_weighted(rng: Generator) -> Instance:
    n, d, K = 24, 6, 4
    X = _orthonormal(rng, n, d) * rng.permutation(np.geomspace(3.5, 2.5, d)) + 0.5 * rng.normal(size=d)
    W = (_orthonormal(rng, d, K) * [3, 2.3, 0.2, 0.1]) @ _orthonormal(rng, K, K).T
    Y = X @ W + 2 * rng.normal(size=K) + 0.15 * rng.normal(size=(n, K))
    return {"X": X, "Y": Y, "weights": rng.permutation(np.geomspace(0.4, 2.5, n)), "beta": 6.0}


def _verify_weighted(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, Y, weights, beta = given["X"], given["Y"], given["weights"], float(given["beta"])
    W1, W2, b, Lambda = answer["W1"], answer["W2"], answer["b"], answer["Lambda"]
    sums = np.abs(Lambda.sum(axis=0)).max() / (1 + np.abs(Lambda).sum())
    yield Condition("the bias costs nothing, so Lambda^T 1 = 0 must hold (to 1e-9), found an entry "
                    f"{np.abs(Lambda.sum(axis=0)).max():.2e}", bool(sums <= 1e-9))
    top = _sigma(X.T @ Lambda)
    yield Condition("Lambda must satisfy sigma_max(X^T Lambda) <= beta (to 1e-9), found "
                    f"{top / beta:.10f} beta", bool(top <= beta * (1 + 1e-9)))
    if not (sums <= 1e-9 and top <= beta * (1 + 1e-9)):
        return
    residual = Y - X @ W1 @ W2 - b
    primal = 0.5 * weights @ np.sum(residual**2, axis=1) + beta * decay(W1, W2)
    dual = np.sum(Lambda * Y) - 0.5 * np.sum(Lambda**2 / weights[:, None])
    yield from certified(primal, dual, {1e-2: 0.4, 1e-7: 0.6})


def _draw_dropout(rng: Generator) -> Instance:
    beta, gamma = 0.5, 1.0
    singular = np.array([4, 3.4, 2.8, 0.7, 0.4]) * rng.uniform(0.95, 1.05, 5)
    X, Y = _whitened(rng, 12, 6, 5, singular)
    return {"X": X, "Y": Y, "beta": beta, "gamma": gamma, "width": 8.0}


def _verify_dropout(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, Y, beta, gamma, m = (given[name] for name in ("X", "Y", "beta", "gamma", "width"))
    W1, W2, Lambda = answer["W1"], answer["W2"], answer["Lambda"]
    gains = np.linalg.norm(W1, axis=0) * np.linalg.norm(W2, axis=1)
    primal = 0.5 * np.sum((X @ W1 @ W2 - Y) ** 2) + beta * decay(W1, W2) + gamma / 2 * np.sum(gains**2)
    excess = max(_sigma(X.T @ Lambda) - beta, 0)
    dual = np.sum(Lambda * Y) - 0.5 * np.sum(Lambda**2) - m * excess**2 / (2 * gamma)
    yield from certified(primal, dual, {1e-2: 0.4, 1e-7: 0.6})


def _draw_mixed(rng: Generator) -> Instance:
    """Draw one problem in other units: the singular values lie on both sides of the jump, by a clear margin."""
    unit1, unit2 = np.exp(rng.uniform(-0.4, 0.4, 2))
    singular = unit1 * unit2 * np.array([3.6, 2.45, 1.86, 1.0]) * rng.uniform(0.98, 1.02, 4)
    X, Y = _whitened(rng, 12, 6, 4, singular)
    return {"X": X, "Y": Y, "beta1": unit1 * unit2**2, "beta2": unit1**2}


def _not_above(objective: float, best: float, weight: float) -> Condition:
    low = bool(objective <= best * (1 + 1e-9))
    return Condition(f"the objective {objective:.8f} must not exceed {best:.8f}, the least of many networks "
                     "that are aligned with X^T Y, with strengths on a coarse grid", low, weight)


def _verify_mixed(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, Y, beta1, beta2 = given["X"], given["Y"], float(given["beta1"]), float(given["beta2"])
    W1, W2 = answer["W1"], answer["W2"]
    G = X.T @ (Y - X @ W1 @ W2)
    objective = 0.5 * np.sum((X @ W1 @ W2 - Y) ** 2) + beta1 * np.linalg.norm(W1, "nuc") + beta2 * decay(W2)
    singular = np.linalg.svd(X.T @ Y, compute_uv=False)
    a, b = np.meshgrid(*2 * [np.append(0, np.geomspace(1e-2, 1e2, 600))])
    price = beta1 * a + beta2 / 2 * b**2
    best = 0.5 * np.sum(Y**2) + sum((price - a * b * s + 0.5 * (a * b) ** 2).min() for s in singular)
    low = _not_above(objective, best, 0.4)
    yield low
    if not low.holds:
        return
    yield from tiers("stationary in W_2: ||W_1^T G - beta_2 W_2||_F / ||beta_2 W_2||_F, G = X^T (Y - X W_1 W_2),",
                     np.linalg.norm(W1.T @ G - beta2 * W2) / np.linalg.norm(beta2 * W2), {1e-6: 0.3})
    M = G @ W2.T / beta1
    off = max(_sigma(M) - 1, abs(np.sum(M * W1) / np.linalg.norm(W1, "nuc") - 1))
    yield from tiers("stationary in W_1: M = G W_2^T / beta_1 is a subgradient of the nuclear norm at W_1, that is "
                     "sigma_max(M) <= 1 and <M, W_1> = ||W_1||_*; error", off, {1e-6: 0.3})


def _draw_branches(rng: Generator) -> Instance:
    """Draw one problem in other units: two singular values for each kind of direction, by a clear margin."""
    unit = np.exp(rng.uniform(-0.4, 0.4))
    singular = unit * np.array([9, 6, 3.4, 1.8, 0.75, 0.4]) * rng.uniform(0.95, 1.05, 6)
    X, Y = _whitened(rng, 12, 8, 6, singular)
    return {"X": X, "Y": Y, "beta_shallow": unit, "beta_deep": unit ** (4 / 3)}


def _verify_branches(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, Y, shallow, deep = (given[name] for name in ("X", "Y", "beta_shallow", "beta_deep"))
    V1, V2, W1, W2, W3 = (answer[name] for name in ("V1", "V2", "W1", "W2", "W3"))
    residual = Y - X @ (V1 @ V2 + W1 @ W2 @ W3)
    objective = 0.5 * np.sum(residual**2) + shallow * decay(V1, V2) + deep * decay(W1, W2, W3)
    one, two = np.meshgrid(*2 * [np.linspace(0, 1, 401)])
    best = 0.5 * np.sum(Y**2)
    for s in np.linalg.svd(X.T @ Y, compute_uv=False):
        price = shallow * s * one + 1.5 * deep * (s * two) ** (2 / 3)
        best += (price + 0.5 * (s * (1 - one - two)) ** 2 - 0.5 * s**2).min()
    low = _not_above(objective, best, 0.5)
    yield low
    if not low.holds:
        return
    G = X.T @ residual
    slopes = {"V_1": G @ V2.T - shallow * V1, "V_2": V1.T @ G - shallow * V2,
              "W_1": G @ (W2 @ W3).T - deep * W1, "W_2": W1.T @ G @ W3.T - deep * W2,
              "W_3": (W1 @ W2).T @ G - deep * W3}
    sizes = {name: np.linalg.norm(slope) for name, slope in slopes.items()}
    worst = max(sizes, key=sizes.get)
    yield from tiers(f"gradient of the objective, largest in {worst}: its norm divided by beta_shallow",
                     sizes[worst] / shallow, {1e-6: 0.5})


assignment = Assignment(
    name="hw2",
    title="Rank and alignment",
    goals=("certify a linear network with a bias and samples of unequal weight",
           "see why dropout makes all units of a linear network equally strong, and build such a network",
           "recognise a deep penalty in a shallow network: rank by a norm on one layer",
           "decide which singular directions a network with shallow and deep branches gives to which branch"),
    hours=6,
    imports=("numpy", "scipy", "matplotlib"),
    questions=(
        Question("hw2-q1", "A free bias and unequal samples", 15, _draw_weighted, lambda given: {
            "W1": (6, 4), "W2": (4, 4), "b": (4,), "Lambda": (24, 4)}, _verify_weighted),
        Question("hw2-q2", "Dropout makes units equal", 25, _draw_dropout, lambda given: {
            "W1": (6, 8), "W2": (8, 5), "Lambda": (12, 5)}, _verify_dropout),
        Question("hw2-q3", "A nuclear norm on the first layer", 20, _draw_mixed, lambda given: {
            "W1": (6, 4), "W2": (4, 4)}, _verify_mixed),
        Question("hw2-q4", "Shallow and deep branches", 20, _draw_branches, lambda given: {
            "V1": (8, 6), "V2": (6, 6), "W1": (8, 6), "W2": (6, 6), "W3": (6, 6)}, _verify_branches),
    ),
    proofs=(
        Proof("hw2-p1", "Each direction chooses one branch", 20, (
            "(a) lower bound for every pair of branches, and a pair that attains it (6)",
            "(b) alignment with X^T Y, with the equality case of the pairing of singular values (6)",
            "(c) no direction is shared; the exceptional gain is named, or excluded with a reason (3)",
            "(d) both directions of the equivalence, with the reason why one comparison of values decides (5)")),
    ),
)
