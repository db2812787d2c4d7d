"""The final project: certify a trained network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from scipy.optimize import brentq

from dualkit._validate import Array
from dualkit.coursework._pieces import (
    below,
    certified,
    chain,
    class_domain,
    cross_entropy,
    decay,
    deep_names,
    deep_network,
    deep_outputs,
    entropy,
    rotation,
    sane,
    two_layers,
    undercut,
)
from dualkit.coursework._questions import Answer, Assignment, Condition, Instance, Proof, Question
from dualkit.data import one_hot, random_whitened_rows
from dualkit.depth import depth_prox_value

DEPTH = 6  # of question 3
EXCESS = 0.02  # objective of the network that question 2 hands out, over the optimum


def phi(Z: Array, a: float) -> Array:
    """Return max(z, a z): a = -1 is the absolute value, 0 < a < 1 a leaky ReLU."""
    return np.maximum(Z, a * Z)


def plane_support(X: Array, Lam: Array) -> float:
    """Return the largest ||Lam^T |Xu| ||_2 over ||u||_2 <= 1 for two features.

    Between neighbouring directions orthogonal to a sample it is ||G u||_2 for one matrix G: largest at the ends or
    along a leading singular vector.
    """
    ends = np.sort(np.arctan2(X[:, 0], -X[:, 1]) % np.pi)
    middle = 0.5 * (ends + np.append(ends[1:], ends[0] + np.pi))
    signs = np.sign(X @ np.array([np.cos(middle), np.sin(middle)]))
    G = np.einsum("nk,ns,nd->skd", Lam, signs, X)
    M = G.transpose(0, 2, 1) @ G
    along = 0.5 * np.arctan2(2 * M[:, 0, 1], M[:, 0, 0] - M[:, 1, 1])
    u = np.concatenate([ends, along])
    return float(np.linalg.norm(Lam.T @ np.abs(X @ np.array([np.cos(u), np.sin(u)])), axis=0).max())


def _draw_classes(rng: Generator) -> Instance:
    n, K = 36, 3
    angle = np.pi * (np.arange(n) + rng.uniform(0.2, 0.8, n)) / n
    classes = np.repeat(np.arange(K), n // K)  # three double cones
    for k in range(K):  # and two stray samples in each
        classes[k * n // K + rng.choice(np.arange(2, 10), 2, replace=False)] = (k + rng.permutation([1, 2])) % K
    angle += rng.uniform(0, np.pi) + np.pi * rng.integers(0, 2, n)
    X = (rng.permutation(np.linspace(0.6, 1.4, n)) * np.array([np.cos(angle), np.sin(angle)])).T
    order = rng.permutation(n)
    return {"X": X[order], "Y": one_hot(classes[order], K), "beta": 0.5}


def _verify_classes(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, Y, beta = given["X"], given["Y"], float(given["beta"])
    U, W, Lam = answer["U"], answer["W"], answer["Lam"]
    conditions = [*sane(answer), *chain(answer, ("U", "W"))]
    if not conditions:
        conditions = [
            *class_domain(Y, Lam),
            below(
                "the dual constraint is max ||Lam^T |Xu| ||_2 <= beta over ||u||_2 <= 1",
                plane_support(X, Lam),
                beta,
            ),
        ]
    yield from conditions
    if all(c.holds for c in conditions):
        primal = cross_entropy(np.abs(X @ U) @ W, Y) + beta * decay(U, W)
        yield from certified(primal, entropy(Y - Lam), {1e-1: 0.2, 1e-2: 0.25, 1e-3: 0.25, 1e-5: 0.3})


def space_support(X: Array, lam: Array, a: float) -> float:
    """Return the largest |lam^T phi(Xu)| over ||u||_2 <= 1 for three features.

    The planes orthogonal to the samples cut the sphere into cells with |g^T u| in each: largest along g, on an
    edge along the projection of g, or in a corner. Every pattern of a cell is found next to an edge.
    """
    n = len(X)
    normal = X / np.linalg.norm(X, axis=1, keepdims=True)
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    plane = np.stack([first, np.cross(normal, first)])  # two directions for each sample

    def on_plane(angle: Array) -> Array:
        return np.cos(angle)[..., None] * plane[0][:, None] + np.sin(angle)[..., None] * plane[1][:, None]

    flat = plane @ X.T
    ends = np.sort(np.arctan2(flat[0], -flat[1])[~np.eye(n, dtype=bool)].reshape(n, n - 1) % np.pi, axis=1)
    ends = np.hstack([ends, ends + np.pi])
    middle = 0.5 * (ends + np.hstack([ends[:, 1:], ends[:, :1] + 2 * np.pi]))
    slopes = np.where(on_plane(middle) @ X.T > 0, 1.0, a)
    slopes[np.arange(n), :, np.arange(n)] = 0.0
    g, side = (lam * slopes) @ X, (lam[:, None] * X)[:, None]
    edge = g - (g * normal[:, None]).sum(axis=2, keepdims=True) * normal[:, None]
    u = np.concatenate([edge, g + side, g + a * side, on_plane(ends)], axis=1).reshape(-1, 3)
    Z = u @ X.T / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
    return float(max(np.abs(phi(s * Z, a) @ lam).max() for s in (1, -1)))


def _sphere(rng: Generator, n: int) -> Array:
    u = rng.normal(size=(3, n))
    return u / np.linalg.norm(u, axis=0)


def _objective(given: Instance, U: Array, w: Array) -> float:
    F = phi(given["X"] @ U, given["a"]) @ w
    return float(0.5 * np.sum((F - given["y"]) ** 2) + given["beta"] * decay(U, w))


def _propose(rng: Generator, probe: Array) -> Instance | None:
    """Draw data for which a dual point exposes three given units; None where it exposes others as well."""
    n, units, beta = 18, 3, 1.0
    fan = 2 * np.pi * np.arange(units) / units  # three directions far from each other, roughly
    u = rotation(3, rng) @ np.array([np.cos(fan), np.sin(fan), 0.15 + 0 * fan]) + 0.2 * rng.normal(size=(3, units))
    u /= np.linalg.norm(u, axis=0)
    a, sign = float(rng.uniform(0.1, 0.3)), rng.permutation([1.0, -1.0, 1.0])
    X = (_sphere(rng, 60) * rng.uniform(0.6, 1.4, 60)).T
    X = X[np.abs(X @ u).min(axis=1) > 0.1][:n]  # no unit near a kink
    slopes = np.where(X @ u > 0, 1.0, a)
    # The gradient of the pull at u_j is sign_j beta u_j: stationary on the sphere, with the pull beta.
    rows = np.vstack([slopes[:, j] * X.T for j in range(units)])
    if len(X) < n or np.linalg.cond(rows @ rows.T) > 1e4:
        return None
    lam = rows.T @ np.linalg.solve(rows @ rows.T, (beta * sign * u).T.ravel())
    if any(np.abs(lam @ phi(X @ part, a)).max() > beta for part in (probe[:, :80], probe)):
        return None
    gains = rng.permutation([1.0, 1.5, 2.0]) * rng.uniform(0.95, 1.05, units)
    stretch, shift = rng.permutation([-1.0, 0.8, -0.9]), _sphere(rng, units)
    y, best = lam + phi(X @ u, a) @ (sign * gains), 0.5 * lam @ lam + beta * gains.sum()
    given: Instance = {"X": X, "y": y, "beta": beta, "a": a}

    def moved(t: float) -> tuple[Array, Array]:
        root, turned = np.sqrt(gains * (1 + t * stretch)), u + t * shift
        return root * turned / np.linalg.norm(turned, axis=0), sign * root

    def excess(t: float) -> float:
        return _objective(given, *moved(t)) - (1 + EXCESS) * best

    if not 0.3 * y @ y > best > 0.1 * y @ y or excess(0.9) < 0:
        return None
    U, w = moved(brentq(excess, 0.0, 0.9, xtol=1e-13))
    residual = y - phi(X @ U, a) @ w
    scale = min(beta / np.abs(residual @ phi(X @ probe, a)).max(), residual @ y / (residual @ residual))
    loose = 1 - scale * (residual @ y - 0.5 * scale * residual @ residual) / ((1 + EXCESS) * best)
    if not 0.25 < loose < 0.4 or space_support(X, lam, a) > beta * (1 + 1e-10):
        return None
    return {**given, "U": U, "w": w}


def _draw_handed(rng: Generator) -> Instance:
    probe = _sphere(rng, 1000)
    while (found := _propose(rng, probe)) is None:
        pass
    return found


def _verify_handed(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, y, beta, a, lam = given["X"], given["y"], float(given["beta"]), float(given["a"]), answer["lam"]
    conditions = list(sane(answer))
    if not conditions:
        conditions = [
            below(
                "the dual constraint is max |lam^T phi(Xu)| <= beta over ||u||_2 <= 1",
                space_support(X, lam, a),
                beta,
            )
        ]
    yield from conditions
    if all(c.holds for c in conditions):
        primal = _objective(given, given["U"], given["w"])
        yield from certified(
            primal, y @ lam - 0.5 * lam @ lam, {0.1: 0.15, 0.05: 0.25, 0.025: 0.25, 0.0198: 0.35}
        )


def _draw_deep(rng: Generator) -> Instance:
    counts = rng.permutation([1, 1, 2, 2, 3, 3])
    classes = rng.permutation(np.repeat(np.arange(6), counts))
    return {"X": random_whitened_rows(12, 14, rng), "Y": one_hot(classes, 6), "beta": 0.03}


def _verify_deep(given: Instance, answer: Answer) -> Iterator[Condition]:
    names = deep_names(DEPTH)
    problems = [*sane(answer), *chain(answer, names)]
    if problems:
        yield from problems
        return
    Y, beta, layers = given["Y"], float(given["beta"]), [answer[name] for name in names]
    found = 0.5 * np.sum((deep_outputs(given["X"], layers) - Y) ** 2) + beta * decay(*layers)
    parallel = sum(depth_prox_value(float(size), beta, DEPTH) for size in np.sqrt(Y.sum(axis=0)))
    yield from undercut("the objective", found, "the parallel optimum", parallel,
                        {0.999: 0.2, 0.95: 0.25, 0.9: 0.25, 0.87: 0.3})


assignment = Assignment(
    name="project",
    title="Certify a trained network",
    goals=(
        "train a network whose activation the book does not treat, without a deep learning package",
        "bound from below what any network could reach, for one's own network and for a stranger's",
        "search for networks below a formula, and tell a finding from an artefact",
        "report numerical evidence so that a reader can check it",
    ),
    hours=15,
    imports=("numpy", "scipy", "matplotlib"),
    questions=(
        Question(
            "project-q1",
            "Train and certify",
            25,
            _draw_classes,
            lambda given: two_layers(given, "Lam", "W"),
            _verify_classes,
        ),
        Question(
            "project-q2",
            "A stranger's network",
            20,
            _draw_handed,
            lambda given: {"lam": given["y"].shape},
            _verify_handed,
        ),
        Question(
            "project-q3",
            "Below the parallel optimum",
            20,
            _draw_deep,
            lambda given: deep_network(DEPTH, 14, 6),
            _verify_deep,
            most=16,
        ),
    ),
    proofs=(
        Proof(
            "project-r1",
            "Report",
            35,
            (
                "method: the training problem, its dual and the algorithm are stated so that another could write "
                "the code; what is proved and what is only observed is told apart (10 points)",
                "evidence: figures or tables of the gap against the effort, over ten starts or more, failures "
                "included; the shares of network and bound in the gap (8 points)",
                "structure: the optimal units are compared with the dual point and the data; the claim about them "
                "is checked on several instances and argued (7 points)",
                "question 3: a mechanism for the network below the parallel optimum is proposed, tested by an "
                "intervention, and judged by what would have refuted it (7 points)",
                "presentation: at most five pages, sources cited, every number reproducible (3 points)",
            ),
        ),
    ),
)
