"""Coursework 1: extreme points and certificates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator

from dualkit._validate import Array
from dualkit.coursework._pieces import certified, decay
from dualkit.coursework._questions import Answer, Assignment, Condition, Instance, Proof, Question, tiers


def _draw_sparse_unit(rng: Generator) -> Instance:
    n, d = 8, 12
    pull = np.geomspace(1, 0.15, d) * rng.uniform(0.9, 1.1, d)
    pull = rng.permutation(pull * rng.choice([-1, 1], d))
    X, lam = rng.normal(size=(n, d)), rng.normal(size=n)
    X += np.outer(lam, pull - X.T @ lam) / (lam @ lam)  # now X.T @ lam = pull
    return {"X": X, "lam": lam, "c": 1.9}


def _verify_sparse_unit(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, lam, c, u, z = given["X"], given["lam"], float(given["c"]), answer["u"], answer["z"]
    for text, found, most in (("||u||_2 <= 1", np.linalg.norm(u), 1.0), ("||u||_1 <= c", np.abs(u).sum(), c)):
        inside = bool(found <= most * (1 + 1e-9))
        yield Condition(f"the input weights must satisfy {text}, found {found:.10g} against {most:.10g}", inside)
        if not inside:
            return
    value = lam @ X @ u
    bound = np.linalg.norm(X.T @ lam - z) + c * np.abs(z).max()
    gap = (bound - value) / np.linalg.norm(X.T @ lam)
    yield from tiers(f"bound by z {bound:.8f} minus pull lam^T X u = {value:.8f}, in units of ||X^T lam||_2,",
                     gap, {1e-2: 0.4, 1e-7: 0.6})


def _draw_balance(rng: Generator) -> Instance:
    d, m, K = 5, 6, 3
    W1, W2, W3 = (rng.choice([-1, 1], size) * rng.uniform(0.3, 1.5, size) for size in ((d, m), (m, m), (m, K)))
    first, second = (np.exp(rng.permutation(np.linspace(-1, 1, m))) for _ in range(2))
    return {"W1": W1 * first, "W2": W2 * second / first[:, None], "W3": W3 / second[:, None],
            "beta": rng.permutation([0.4, 1.0, 2.5])}


def _verify_balance(given: Instance, answer: Answer) -> Iterator[Condition]:
    c = np.array([answer["c1"], answer["c2"]])
    positive = bool((c > 0).all())
    yield Condition(f"all factors must be positive, the smallest is {c.min():.3g}", positive)
    if not positive:
        return

    def penalty(c: Array) -> float:
        W1, W2, W3 = given["W1"] * c[0], given["W2"] * c[1] / c[0][:, None], given["W3"] / c[1][:, None]
        return given["beta"] @ [np.abs(W1).sum(), 0.5 * np.sum(W2**2), 0.5 * np.sum(W3**2)]

    step, slopes = 1e-4, np.empty(c.shape)
    for place in np.ndindex(c.shape):
        up, down = c.copy(), c.copy()
        up[place] *= np.exp(step)
        down[place] *= np.exp(-step)
        slopes[place] = (penalty(up) - penalty(down)) / (2 * step * penalty(c))
    place = np.unravel_index(np.abs(slopes).argmax(), c.shape)  # NaN counts as the largest
    worst = slopes[place]
    change = "raises" if worst > 0 else "lowers"
    yield from tiers(f"no change of one factor may lower the penalty {penalty(c):.8f}; raising the factor of unit "
                     f"{place[1] + 1} in hidden layer {place[0] + 1} by 1 % {change} it, in %,", abs(worst),
                     {1e-3: 0.3, 1e-6: 0.7})


def _draw_thinning(rng: Generator) -> Instance:
    """Draw groups of branches of which one can go: a branch with a multiple of the sum of the parts, or a part.

    In most the sum of the gains misleads. In the last it is the size of anything: the branch that may go has the
    larger gain, the larger share in the outputs and the longer way to zero, and most prices that fall faster than
    the tangent of the penalty spare it. Going wrong in one group costs more than being right in all others saves.
    """
    n, K = 20, 2
    groups = [(0.42, strong, (3e-5, 1e-4)) for strong in np.geomspace(18, 26, 14)] + [(0.0067, 1.0, (0.004,) * 12)]
    gains = np.concatenate([[whole, *parts] for _, whole, parts in groups])
    group = np.concatenate([[k] * (1 + len(parts)) for k, (_, _, parts) in enumerate(groups)])
    while True:
        H, V = np.abs(rng.normal(size=(n, len(gains)))), rng.normal(size=(len(groups), K))[group]
        H, V = H / np.linalg.norm(H, axis=0), V / np.linalg.norm(V, axis=1, keepdims=True)
        for k, (factor, _, _) in enumerate(groups):
            whole, *parts = np.flatnonzero(group == k)
            H[:, whole] = factor * H[:, parts].sum(axis=1)
        equations = (H[:, None] * V.T).reshape(n * K, -1)
        if np.linalg.svd(equations, compute_uv=False)[-1] > 5e-3:  # the parts are well apart
            order = rng.permutation(len(gains))
            return {"H": H[:, order], "V": V[order], "s": (gains * rng.uniform(0.98, 1.02, len(gains)))[order]}


def _verify_thinning(given: Instance, answer: Answer) -> Iterator[Condition]:
    H, V, old, new = given["H"], given["V"], given["s"], answer["s"]
    F, most = (H * old) @ V, len(H) * V.shape[1]
    yield Condition(f"gains must not be negative, the smallest is {new.min():.3g}", bool((new >= 0).all()))
    change = np.linalg.norm((H * new) @ V - F) / np.linalg.norm(F)
    yield Condition("the outputs must stay the same: ||F_new - F||_F / ||F||_F must be at most 1e-8, "
                    f"found {change:.1e}", bool(change <= 1e-8))
    if not ((new >= 0).all() and change <= 1e-8):
        return
    count = int(np.count_nonzero(new))
    yield Condition(f"at most n K = {most} gains may be different from zero (exactly), found {count}",
                    count <= most, 0.5)
    if count > most:
        return
    penalty, before = 1.5 * np.sum(new ** (2 / 3)), 1.5 * np.sum(old ** (2 / 3))
    yield Condition(f"the penalty must not grow: at most {before:.6f}, found {penalty:.6f}",
                    bool(penalty <= before * (1 + 1e-9)), 0.5)


def _directions(angles: Array) -> Array:
    return np.array([np.cos(angles), np.sin(angles)])


def _leaky(Z: Array, leak: float) -> Array:
    return np.where(Z > 0, Z, leak * Z)


def _draw_leaky(rng: Generator) -> Instance:
    """Draw an instance whose optimal network has exactly three directions: its dual optimum is made first."""
    n, beta, units = 11, 0.3, 3
    circle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    while True:
        around = 2 * np.pi * (np.arange(n) + rng.uniform(-0.3, 0.3, n)) / n
        X = (rng.uniform(0.8, 1.2, n) * _directions(around)).T
        leak = rng.uniform(0.1, 0.3)
        angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * (np.arange(units) + rng.uniform(-0.2, 0.2, units)) / units
        signs = rng.choice([-1, 1]) * rng.permutation([1, 1, -1])
        features = _leaky(X @ _directions(angles), leak)
        tangents = np.where(features > 0, 1, leak) * (X @ _directions(angles + np.pi / 2))
        equations = np.column_stack([features, tangents, np.ones(n)]).T
        inverse, rest = np.linalg.pinv(equations), rng.normal(size=n)
        rest -= inverse @ (equations @ rest)
        lam = inverse @ [*(beta * signs), 0, 0, 0, 0]
        lam += 0.3 * beta * rest / np.linalg.norm(rest)
        pulls = np.abs(lam @ _leaky(X @ _directions(circle), leak))
        far = np.abs(np.exp(1j * circle)[:, None] - np.exp(1j * angles)).min(axis=1) > 0.25
        if pulls.max() <= beta and pulls[far].max() <= 0.97 * beta:
            y = lam + features @ (signs * rng.uniform(0.8, 1.4, units)) + rng.choice([-1, 1]) * rng.uniform(0.5, 1)
            return {"X": X, "y": y, "beta": beta, "leak": leak}


def _verify_leaky(given: Instance, answer: Answer) -> Iterator[Condition]:
    X, y, beta, leak = given["X"], given["y"], float(given["beta"]), float(given["leak"])
    U, w, c, lam = answer["U"], answer["w"], answer["c"], answer["lam"]
    fits = U.shape[1] == len(w)
    yield Condition(f"a column of U and an entry of w for each unit, found {U.shape[1]} and {len(w)}", fits)
    mean = abs(lam.sum()) / (1 + np.abs(lam).sum())
    yield Condition("the output constant c costs nothing, so lam must satisfy 1^T lam = 0 (to 1e-9), found "
                    f"{lam.sum():.2e}", bool(mean <= 1e-9))
    kinks = np.arctan2(X[:, 1], X[:, 0]) + np.pi / 2
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 20_000), kinks, kinks + np.pi])
    pulls = np.abs(lam @ _leaky(X @ _directions(angles), leak))
    worst = int(pulls.argmax())
    yield Condition("lam may pull no unit with ||u||_2 = 1 by more than beta: |lam^T phi(X u)| / beta - 1 <= 1e-6, "
                    f"found {pulls[worst] / beta - 1:.1e} at u = ({np.cos(angles[worst]):.4f}, "
                    f"{np.sin(angles[worst]):.4f})", bool(pulls[worst] <= beta * (1 + 1e-6)))
    if not (fits and mean <= 1e-9 and pulls[worst] <= beta * (1 + 1e-6)):
        return
    lam = lam * min(1, beta / pulls[worst]) if pulls[worst] > 0 else lam
    residual = y - _leaky(X @ U, leak) @ w - c
    primal = 0.5 * residual @ residual + beta * decay(U, w)
    dual = lam @ y - 0.5 * lam @ lam
    yield from certified(primal, dual, {1e-1: 0.3, 1e-2: 0.3, 1e-5: 0.4})


assignment = Assignment(
    name="hw1",
    title="Extreme points and certificates",
    goals=("find the point of a feature set that a dual direction exposes, and prove it",
           "balance a network under a penalty other than weight decay",
           "thin out a network without changing its outputs or paying more",
           "certify a network with another activation and an unpenalised constant"),
    hours=6,
    imports=("numpy", "scipy", "matplotlib"),
    questions=(
        Question("hw1-q1", "A unit with few inputs", 15, _draw_sparse_unit,
                 lambda given: {"u": given["X"].shape[1:], "z": given["X"].shape[1:]}, _verify_sparse_unit),
        Question("hw1-q2", "Balance under another penalty", 15, _draw_balance,
                 lambda given: {"c1": given["W2"].shape[:1], "c2": given["W3"].shape[:1]}, _verify_balance),
        Question("hw1-q3", "Fewer units, no higher price", 20, _draw_thinning,
                 lambda given: {"s": given["s"].shape}, _verify_thinning),
        Question("hw1-q4", "Certify a leaky network", 30, _draw_leaky,
                 lambda given: {"U": (2, None), "w": (None,), "c": (), "lam": given["y"].shape}, _verify_leaky),
    ),
    proofs=(
        Proof("hw1-p1", "Which penalties are gauges", 20, (
            "(a) least cost and where it is attained, with the case of a unit that is zero (6)",
            "(b) equality of the training values in both directions, for every feature set and loss (4)",
            "(c) an explicit family of networks and the limit of its objective; what is used of the width (5)",
            "(d) the claim about nK units, with the reason why the set of gains has an extreme point; the instance "
            "checked by hand (5)")),
    ),
)
