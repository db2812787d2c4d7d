"""What the verifiers share: sizes, two-layer networks, conditions on a certified gap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from dualkit._validate import Array
from dualkit.coursework._questions import Answer, Condition, Instance, tiers

LARGEST = 1e6  # entries beyond it are refused: products of them may overflow


def sane(answer: Answer) -> Iterator[Condition]:
    """Yield a condition that fails for each array with huge entries."""
    for name, value in answer.items():
        size = float(np.abs(value).max(initial=0.0))
        if not size <= LARGEST:
            yield Condition(f"the entries of {name} must be at most {LARGEST:.0e} in size, found {size:.1e}", False)


def chain(answer: Answer, names: Sequence[str]) -> Iterator[Condition]:
    """Yield a condition that fails where neighbouring weight arrays disagree on the number of units.

    Where the first has a leading axis for problems, so has the second.
    """
    for first, second in pairwise(names):
        out, into = answer[first].shape[-1], answer[second].shape[answer[first].ndim - 2]
        if out != into:
            yield Condition(f"{first} has {out} hidden units and {second} has {into}; they must agree", False)


def below(text: str, found: float, most: float, weight: float = 0.0, slack: float = 1e-9) -> Condition:
    """Return the condition that a number is at most `most`, up to rounding."""
    return Condition(
        f"{text}, found {found:.10g} against {most:.10g}", bool(found <= most + slack * max(1.0, abs(most))), weight
    )


def certified(primal: float, dual: float, steps: Mapping[float, float], what: str = "") -> Iterator[Condition]:
    """Yield the conditions on the gap relative to the network's objective, one for each tolerance in steps."""
    yield from tiers(f"{what}the gap, objective {primal:.9g} minus bound {dual:.9g}, divided by the objective,",
                     abs((primal - dual) / primal), steps)


def decay(*weights: Array) -> float:
    """Return half the sum of the squared entries."""
    return 0.5 * sum(float(np.sum(W**2)) for W in weights)


def deep_names(depth: int) -> list[str]:
    """Return the names of the layers in an answer that is a standard network."""
    return [f"W{k + 1}" for k in range(depth)]


def deep_network(depth: int, d: int, K: int) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of an answer that is a standard network of any widths."""
    ends = [d, *(depth - 1) * [None], K]
    return dict(zip(deep_names(depth), pairwise(ends), strict=True))


def deep_outputs(X: Array, layers: Sequence[Array]) -> Array:
    """Return the outputs of a standard ReLU network."""
    for W in layers[:-1]:
        X = np.maximum(X @ W, 0)
    return X @ layers[-1]


def undercut(what: str, found: float, of: str, whole: float, steps: Mapping[float, float]) -> Iterator[Condition]:
    """Yield the conditions that a number is at most a part of another, one for each part in steps."""
    for part, weight in steps.items():
        text = f"{what} must be at most {part:g} times {of} {whole:.5f}, found {found:.5f}"
        yield Condition(f"{text}, {found / whole:.4f} times", bool(found <= part * whole), weight)


def rotation(k: int, rng: Generator) -> Array:
    """Return a random orthogonal matrix of k rows."""
    Q, R = np.linalg.qr(rng.normal(size=(k, k)))
    return Q * np.sign(np.diag(R))


def angle_bound(Lam: Array) -> float:
    """Return a bound on ||Lam^T h||_2 over h >= 0, ||h||_2 <= 1: products of obtuse rows count as zero."""
    return float(np.sqrt(np.linalg.eigvalsh(np.maximum(Lam @ Lam.T, 0))[-1]))


def cross_entropy(F: Array, Y: Array) -> float:
    """Return -sum Y log softmax(F)."""
    F = F - F.max(axis=1, keepdims=True)
    return float(np.sum(Y * (np.log(np.exp(F).sum(axis=1, keepdims=True)) - F)))


def entropy(q: Array) -> float:
    """Return -sum q log q, with 0 log 0 = 0."""
    return -float(np.sum(q * np.log(np.where(q > 0, q, 1.0))))


def class_domain(Y: Array, Lam: Array) -> Iterator[Condition]:
    """Yield the conditions that a dual point is in the domain of the conjugate of cross-entropy."""
    off, lowest = float(np.abs(Lam.sum(axis=1)).max()), float((Y - Lam).min())
    yield Condition(f"the rows of Lam must add up to zero, largest sum found {off:.2e}", bool(off <= 1e-9))
    yield Condition(
        f"the rows of Y - Lam must be probabilities, smallest entry found {lowest:.3g}", bool(lowest >= 0)
    )


def two_layers(given: Instance, point: str, outer: str) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of an answer of hidden weights U, output weights and a dual point."""
    (n, d), K = given["X"].shape, given["Y"].shape[1:] if "Y" in given else ()
    return {"U": (d, None), outer: (None, *K), point: (n, *K)}
