"""Coursework 3: ReLU networks on structured data."""

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
    decay,
    deep_names,
    deep_network,
    deep_outputs,
    rotation,
    sane,
    two_layers,
    undercut,
)
from dualkit.coursework._questions import Answer, Assignment, Condition, Instance, Proof, Question
from dualkit.data import random_whitened_rows

DEPTH = 6  # of question 4


def _draw_leaky(rng: Generator) -> Instance:
    n, d, a = 10, 12, float(rng.uniform(0.25, 0.35))
    size, sign = rng.uniform(0.5, 1.5, n), np.repeat([1.0, -1.0], [6, 4])
    y = np.zeros(n)
    for s, length in ((1.0, 3.0), (-1.0, 1.6)):
        part = np.where(sign == s, size, 0.0)
        y += s * length * rng.uniform(0.97, 1.03) * part / np.linalg.norm(part)
    betas = np.array([0.68, 2.27]) * rng.uniform(0.97, 1.03, 2)  # far from every change of structure
    return {
        "X": random_whitened_rows(n, d, rng),
        "y": rng.permutation(rng.choice([-1, 1]) * y),
        "betas": betas,
        "a": a,
    }


def _verify_leaky(given: Instance, answer: Answer) -> Iterator[Condition]:
    problems = [*sane(answer), *chain(answer, ("U", "w"))]
    if problems:
        yield from problems
        return
    X, y, a = given["X"], given["y"], float(given["a"])
    for k, beta in enumerate(given["betas"]):
        lam, U, w, name = answer["lam"][k], answer["U"][k], answer["w"][k], f"beta = {beta:.4g}: "
        p, q = np.sum(np.maximum(lam, 0) ** 2), np.sum(np.maximum(-lam, 0) ** 2)
        support = np.sqrt(max(p + a**2 * q, a**2 * p + q))
        feasible = below(
            f"{name}the dual constraint is max |lam^T phi(Xu)| <= beta over ||u||_2 <= 1", support, beta
        )
        yield feasible
        if feasible.holds:
            Z = X @ U
            F = np.maximum(Z, a * Z) @ w
            primal = 0.5 * np.sum((F - y) ** 2) + beta * decay(U, w)
            yield from certified(primal, y @ lam - 0.5 * lam @ lam, {1e-3: 0.2, 1e-7: 0.3}, name)


def _draw_weighted(rng: Generator) -> Instance:
    n, d, K, beta = 10, 12, 3, 1.0
    classes = np.repeat(np.arange(K), (4, 3, 3))
    omega, size = (
        np.concatenate([rng.permutation(np.geomspace(*ends, k)) for k in (4, 3, 3)]) * rng.uniform(0.95, 1.05, n)
        for ends in ((0.4, 2.5), (0.7, 1.5))
    )
    for k, pull in enumerate(rng.permutation([2.6, 1.9, 0.75]) * rng.uniform(0.97, 1.03, K)):
        mine = classes == k
        size[mine] *= pull * beta / np.linalg.norm((omega * size)[mine])
    corners = (np.eye(K) - 1 / K) @ rotation(K, rng) / np.sqrt(1 - 1 / K)
    order = rng.permutation(n)
    return {
        "X": random_whitened_rows(n, d, rng),
        "Y": (size[:, None] * corners[classes])[order],
        "omega": omega[order],
        "beta": beta,
    }


def _verify_weighted(given: Instance, answer: Answer) -> Iterator[Condition]:
    problems = [*sane(answer), *chain(answer, ("U", "W"))]
    if problems:
        yield from problems
        return
    X, Y, omega, beta = given["X"], given["Y"], given["omega"][:, None], float(given["beta"])
    Lam, U, W = answer["Lam"], answer["U"], answer["W"]
    feasible = below(
        "the dual point needs support(Lam) <= beta; the bound on the support from the angles between the "
        "rows of Lam must be at most beta",
        angle_bound(Lam),
        beta,
    )
    yield feasible
    if feasible.holds:
        F = np.maximum(X @ U, 0) @ W
        primal = 0.5 * np.sum(omega * (F - Y) ** 2) + beta * decay(U, W)
        dual = np.sum(Lam * Y) - 0.5 * np.sum(Lam**2 / omega)
        yield from certified(primal, dual, {2e-2: 0.3, 1e-3: 0.3, 1e-7: 0.4})


def _draw_lines(rng: Generator) -> Instance:
    d, lines, beta = 6, 4, 1.5
    directions = rotation(d, rng)[:lines]
    # Pull of the labels on the two sides of each line: same signs, opposite signs, same signs, one side weak.
    pulls = rng.choice([-1, 1]) * np.array([[3.0, 2.5], [2.6, -2.6], [-2.9, -2.4], [2.4, 0.4]])
    X, y = [], []
    for a, pull in zip(directions, pulls * rng.uniform(0.97, 1.03, (lines, 2)), strict=True):
        a = rng.choice([-1, 1]) * a
        for side, count, wanted in ((1, 3, pull[0]), (-1, 2, pull[1])):
            c = rng.uniform(0.6, 1.4, count)
            c *= rng.uniform(0.9, 1.1) / np.linalg.norm(c)
            noise = rng.normal(size=count) * 0.2
            X += [side * t * a for t in c]
            y += list(wanted * c / (c @ c) + noise - c * (c @ noise) / (c @ c))
    order = rng.permutation(len(y))
    return {"X": np.array(X)[order], "y": np.array(y)[order], "beta": beta}


def line_support(X: Array, lam: Array) -> float:
    """Return the largest |lam^T (Xu)_+| over ||u||_2 <= 1 for samples on orthogonal lines."""
    length = np.linalg.norm(X, axis=1)
    cosines, left, best = X @ X.T / np.outer(length, length), np.ones(len(X), dtype=bool), np.zeros(2)
    while left.any():
        row = cosines[np.flatnonzero(left)[0]]
        left &= np.abs(row) < 0.5
        sides = [float(np.sum((lam * length)[on])) for on in (row > 0.5, row < -0.5)]
        best += [max(0.0, *sides) ** 2, max(0.0, *(-s for s in sides)) ** 2]
    return float(np.sqrt(best.max()))


def _verify_lines(given: Instance, answer: Answer) -> Iterator[Condition]:
    problems = [*sane(answer), *chain(answer, ("U", "w"))]
    if problems:
        yield from problems
        return
    X, y, beta, lam, U, w = given["X"], given["y"], float(given["beta"]), answer["lam"], answer["U"], answer["w"]
    feasible = below(
        "the dual constraint is max |lam^T (Xu)_+| <= beta over ||u||_2 <= 1", line_support(X, lam), beta
    )
    yield feasible
    if feasible.holds:
        primal = 0.5 * np.sum((np.maximum(X @ U, 0) @ w - y) ** 2) + beta * decay(U, w)
        yield from certified(primal, y @ lam - 0.5 * lam @ lam, {1e-2: 0.3, 1e-4: 0.3, 1e-6: 0.4})


def _draw_deep(rng: Generator) -> Instance:
    gains = rng.permutation(np.geomspace(0.85, 1.18, 4)) * rng.uniform(0.99, 1.01, 4)
    return {"X": rotation(4, rng), "Y": np.diag(gains)}


def _verify_deep(given: Instance, answer: Answer) -> Iterator[Condition]:
    names = deep_names(DEPTH)
    problems = [*sane(answer), *chain(answer, names)]
    if problems:
        yield from problems
        return
    Y, layers = given["Y"], [answer[name] for name in names]
    error = np.abs(deep_outputs(given["X"], layers) - Y).max()
    fits = bool(error <= 1e-6)
    yield Condition(f"the network must fit Y: max |f(X) - Y| <= 1e-6, found {error:.1e}", fits, 0.2)
    if fits:
        formula = DEPTH / 2 * np.sum(np.diag(Y) ** (2 / DEPTH))
        yield from undercut("the weight decay", decay(*layers), "the parallel formula", formula,
                            {0.999: 0.3, 0.98: 0.25, 0.96: 0.25})


assignment = Assignment(
    name="hw3",
    title="ReLU networks on structured data",
    goals=(
        "find the feature set of an activation that the book does not treat, with its support function",
        "turn optimality conditions of a weighted loss into units, and certify them",
        "split a gauge into the units that attain it",
        "build a standard network that is better than the parallel optimum",
    ),
    hours=7,
    imports=("numpy", "scipy", "matplotlib"),
    questions=(
        Question(
            "hw3-q1",
            "Leaky units on whitened data",
            20,
            _draw_leaky,
            lambda given: {"lam": (2, 10), "U": (2, 12, None), "w": (2, None)},
            _verify_leaky,
        ),
        Question(
            "hw3-q2",
            "Samples that count differently",
            20,
            _draw_weighted,
            lambda given: two_layers(given, "Lam", "W"),
            _verify_weighted,
        ),
        Question(
            "hw3-q3",
            "Samples on orthogonal lines",
            25,
            _draw_lines,
            lambda given: two_layers(given, "lam", "w"),
            _verify_lines,
        ),
        Question(
            "hw3-q4",
            "Beat the formula",
            15,
            _draw_deep,
            lambda given: deep_network(DEPTH, 4, 4),
            _verify_deep,
            most=12,
        ),
    ),
    proofs=(
        Proof(
            "hw3-p1",
            "What samples on orthogonal lines cost",
            20,
            (
                "the feature set is described for all input weights; only their part in the span of the samples is "
                "charged (4 points)",
                "the support function is derived for both signs of the output weight, ties and empty sides "
                "included (5 points)",
                "a lower bound on the cost of given outputs is proved for every network, each inequality with its "
                "reason (6 points)",
                "a network that attains the bound is constructed, its units are counted, degenerate cases (a side "
                "that is off) are covered (5 points)",
            ),
        ),
    ),
)
