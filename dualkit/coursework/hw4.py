"""Coursework 4: splines and other losses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator

from dualkit._validate import Array
from dualkit.coursework._pieces import (
    angle_bound,
    below,
    certified,
    chain,
    class_domain,
    cross_entropy,
    decay,
    entropy,
    sane,
    two_layers,
)
from dualkit.coursework._questions import Answer, Assignment, Condition, Instance, Proof, Question
from dualkit.data import random_whitened_rows


def _predict(x: Array, answer: Answer) -> Array:
    return np.maximum(np.outer(x, answer["u"]) + answer["b"], 0) @ answer["w"] + answer["c"]


def _line_network(given: Instance) -> dict[str, tuple[int | None, ...]]:
    return {"u": (None,), "b": (None,), "w": (None,), "c": (), "lam": given["x"].shape}


def _agree(answer: Answer) -> Iterator[Condition]:
    yield from sane(answer)
    sizes = [len(answer[name]) for name in ("u", "b", "w")]
    if len(set(sizes)) > 1:
        yield Condition(f"u, b and w must have one entry a unit, found {sizes}", False)


def _signs(values: Array, what: str) -> Condition:
    worst = float(values.min(initial=0.0))
    return Condition(f"{what}, found {worst:.3g}", bool(worst >= 0))


def _centred(lam: Array) -> Condition:
    total = float(lam.sum())
    return Condition(
        f"the constant c is free, so the entries of lam must add up to zero, found {total:.2e}",
        bool(abs(total) <= 1e-8),
    )


def _draw_one_sided(rng: Generator) -> Instance:
    n, kinks = 16, np.array([1.2, 2.6, 3.8])
    x = np.linspace(0, 5, n) + rng.uniform(-0.06, 0.06, n)
    bends = np.array([2.0, -4.0, 4.0]) * rng.uniform(0.95, 1.05, 3) * rng.choice([-1, 1])
    y = np.maximum(x[:, None] - kinks, 0) @ bends + rng.uniform(-0.5, 0.5) + rng.uniform(-0.06, 0.06, n)
    far = 2 + 4 * np.arange(3) + rng.integers(0, 2, 3)
    y[far] += rng.permutation([2.0, -2.0, 2.5])
    return {"x": x, "y": y, "beta": 0.3}


def _verify_one_sided(given: Instance, answer: Answer) -> Iterator[Condition]:
    x, y, beta, lam = given["x"], given["y"], float(given["beta"]), answer["lam"]
    conditions = list(_agree(answer))
    if not conditions:
        hinges = np.maximum(x[:, None] - x, 0)
        conditions = [
            _signs(answer["u"], "every unit must open to the right: the smallest u must be >= 0"),
            below(
                "the dual point must be in the domain of the conjugate of the loss: max |lam_i| <= 1",
                np.abs(lam).max(),
                1.0,
            ),
            _centred(lam),
            below(
                "the dual constraint is max |sum lam_i (x_i - t)_+| <= beta over all kinks t",
                np.abs(lam @ hinges).max(),
                beta,
            ),
        ]
    yield from conditions
    if all(c.holds for c in conditions):
        primal = np.abs(_predict(x, answer) - y).sum() + beta * decay(answer["u"], answer["w"])
        yield from certified(primal, lam @ y, {1e-1: 0.2, 1e-2: 0.3, 1e-6: 0.5})


def _draw_convex(rng: Generator) -> Instance:
    n = 14
    x = np.linspace(-3, 3, n) + rng.uniform(-0.08, 0.08, n)
    left, right = rng.uniform(1.2, 1.4), rng.uniform(0.9, 1.1)
    y = left * np.maximum(-1.2 - x, 0) + right * np.maximum(x - 0.4, 0) + 1.2 * np.maximum(x - 1.9, 0)
    y += 2.2 * np.exp(-2 * (x + 0.4) ** 2) + rng.uniform(-0.1, 0.1, n) + rng.uniform(-0.5, 0.5)
    return {"x": x, "y": y, "beta": 0.15}


def _verify_convex(given: Instance, answer: Answer) -> Iterator[Condition]:
    x, y, beta, lam = given["x"], given["y"], float(given["beta"]), answer["lam"]
    conditions = list(_agree(answer))
    if not conditions:
        hinges = np.maximum(x[:, None] - x, 0)
        pull = max(float((lam @ H).max()) for H in (hinges, np.maximum(x - x[:, None], 0)))
        conditions = [
            _signs(answer["w"], "the function must be convex by its weights: the smallest w must be >= 0"),
            _centred(lam),
            below(
                "no unit that is allowed may pull by more than beta: the largest of sum lam_i (x_i - t)_+ and "
                "sum lam_i (t - x_i)_+ over all kinks t must be <= beta",
                pull,
                beta,
            ),
        ]
    yield from conditions
    if all(c.holds for c in conditions):
        primal = 0.5 * np.sum((_predict(x, answer) - y) ** 2) + beta * decay(answer["u"], answer["w"])
        yield from certified(primal, lam @ y - 0.5 * lam @ lam, {1e-1: 0.2, 1e-2: 0.3, 1e-6: 0.5})


def _draw_exponential(rng: Generator) -> Instance:
    n, d, beta = 11, 13, 1.2
    y, omega = np.repeat([1.0, -1.0], [6, 5]), np.zeros(n)
    for label, pull in zip(rng.permutation([1.0, -1.0]), (3.2, 1.7), strict=True):
        mine = y == label
        size = rng.permutation(np.geomspace(0.25, 2.5, mine.sum())) * rng.uniform(0.9, 1.1, mine.sum())
        omega[mine] = size * pull * rng.uniform(0.97, 1.03) * beta / np.linalg.norm(size)
    order = rng.permutation(n)
    return {"X": random_whitened_rows(n, d, rng), "y": y[order], "omega": omega[order], "beta": beta}


def _verify_exponential(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, y, omega, beta = given["X"], given["y"], given["omega"], float(given["beta"])
    lam, U, w = answer["lam"], answer["U"], answer["w"]
    conditions = [*sane(answer), *chain(answer, ("U", "w"))]
    if not conditions:
        support = max(np.linalg.norm(np.maximum(lam, 0)), np.linalg.norm(np.maximum(-lam, 0)))
        conditions = [
            Condition(
                f"the dual point must be in the domain of the conjugate of the loss: min y_i lam_i >= 0, found "
                f"{np.min(y * lam):.3g}",
                bool(np.min(y * lam) >= 0),
            ),
            below("the dual constraint is max |lam^T (Xu)_+| <= beta over ||u||_2 <= 1", support, beta),
        ]
    yield from conditions
    if all(c.holds for c in conditions):
        a = y * lam
        primal = np.sum(omega * np.exp(-y * (np.maximum(X @ U, 0) @ w))) + beta * decay(U, w)
        dual = np.sum(a - a * np.log(np.where(a > 0, a / omega, 1.0)))
        yield from certified(primal, dual, {1e-2: 0.3, 1e-4: 0.3, 1e-7: 0.4})


def _draw_smoothed(rng: Generator) -> Instance:
    K, counts = 4, np.array([6, 5, 4, 2])
    smoothing = rng.permutation([0.08, 0.12, 0.16]) * rng.uniform(0.97, 1.03, 3)
    kept = 1 - np.append(smoothing, 0.2)  # of the class's own label, before a share of the rest
    rows = kept[:, None] * np.eye(K) + (1 - kept[:, None]) / K
    n = int(counts.sum())
    Y = np.repeat(rows[:, rng.permutation(K)], counts, axis=0)[rng.permutation(n)]
    return {"X": random_whitened_rows(n, n + 3, rng), "Y": Y, "beta": 1.18}


def _verify_smoothed(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, Y, beta = given["X"], given["Y"], float(given["beta"])
    Lam, U, W = answer["Lam"], answer["U"], answer["W"]
    conditions = [*sane(answer), *chain(answer, ("U", "W"))]
    if not conditions:
        conditions = [
            *class_domain(Y, Lam),
            below(
                "the dual point needs support(Lam) <= beta; the bound on the support from the angles between the "
                "rows of Lam must be at most beta",
                angle_bound(Lam),
                beta,
            ),
        ]
    yield from conditions
    if all(c.holds for c in conditions):
        primal = cross_entropy(np.maximum(X @ U, 0) @ W, Y) + beta * decay(U, W)
        yield from certified(primal, entropy(Y - Lam), {1e-2: 0.2, 1e-4: 0.4, 1e-8: 0.4})


assignment = Assignment(
    name="hw4",
    title="Splines and other losses",
    goals=(
        "write training on the line as a finite program when the units, their signs or the loss change",
        "read a dual point off a linear or quadratic program and check every constraint it must meet",
        "derive the conjugate of a loss, its domain, and the optimal outputs on whitened data",
        "close the gap of a classifier trained on smoothed labels",
    ),
    hours=7,
    imports=("numpy", "scipy", "matplotlib"),
    questions=(
        Question(
            "hw4-q1",
            "Units that open to the right, outliers in the data",
            20,
            _draw_one_sided,
            _line_network,
            _verify_one_sided,
        ),
        Question(
            "hw4-q2", "Networks that are convex in their input", 20, _draw_convex, _line_network, _verify_convex
        ),
        Question(
            "hw4-q3",
            "Exponential loss with costs",
            20,
            _draw_exponential,
            lambda given: two_layers(given, "lam", "w"),
            _verify_exponential,
        ),
        Question(
            "hw4-q4",
            "Smoothed labels",
            20,
            _draw_smoothed,
            lambda given: two_layers(given, "Lam", "W"),
            _verify_smoothed,
        ),
    ),
    proofs=(
        Proof(
            "hw4-p1",
            "What convexity costs",
            20,
            (
                "the lower bound on the cost holds for every network with non-negative output weights, not only "
                "for those with kinks at data points (6 points)",
                "an interpolating network attains it, for all signs of the first and the last slope (5 points)",
                "data that no such network interpolates are characterised, proof in both directions (4 points)",
                "the comparison with networks of any signs is complete and uses the book's formula as it "
                "stands (5 points)",
            ),
        ),
    ),
)
