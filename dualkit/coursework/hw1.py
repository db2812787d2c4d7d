"""Coursework 1: extreme points and certificates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator

from dualkit.coursework._questions import Answer, Assignment, Condition, Instance, Question


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
    for tolerance, weight in ((1e-2, 0.4), (1e-7, 0.6)):
        yield Condition(f"the pull lam^T X u = {value:.8f} must reach the bound {bound:.8f} that z proves: "
                        f"(bound - pull) / ||X^T lam||_2 <= {tolerance:.0e}, found {gap:.1e}",
                        bool(gap <= tolerance), weight)


assignment = Assignment(
    name="hw1",
    title="Extreme points and certificates",
    goals=(),
    hours=6,
    imports=("numpy", "scipy", "matplotlib"),
    questions=(
        Question("hw1-q1", "A unit with few inputs", 15, _draw_sparse_unit,
                 lambda given: {"u": given["X"].shape[1:], "z": given["X"].shape[1:]}, _verify_sparse_unit),
    ),
    proofs=(),
)
