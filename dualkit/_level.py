"""The level that one class of labels takes: a convex loss plus the penalty of depth, in one variable."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from dualkit._validate import NotCovered


def best_level(phi: Callable[[float], float], slope: Callable[[float], float], n: float, size: float,
               beta: float, depth: int) -> tuple[float, float]:
    """Minimise J(v) = n phi(v) + beta (L/2) (size v)^(2/L) over v >= 0, globally; return v and J(v).

    phi is convex, non-increasing and >= 0, `slope` a subgradient. On [a, b] the slope of J is at least
    n phi'(a) + pull(b) and at most n phi'(b) + pull(a), and J >= n phi(b) + penalty(a): intervals where J is
    monotone or too large are dropped, the others halved down to neighbouring floats. v = 0 wins ties.

    >>> best_level(lambda v: max(1 - v, 0.0), lambda v: -1.0 if v < 1 else 0.0, 4, 2.0, 1.9, 2)
    (1.0, 3.8)
    """
    p = 2 / depth

    def pull(v: float) -> float:
        return beta * size**p * v ** (p - 1) if v or p == 1 else inf

    def bound(a: float, b: float) -> float:
        return n * phi(b) + beta / p * (size * a) ** p

    top = 1.0
    while 2 * n * phi(top / 2) >= top * pull(top) and top < 1e100:
        top *= 2  # beyond the last top J rises, as |phi'(v)| v <= 2 phi(v/2)
    if top >= 1e100 or phi(1e100) < 0:
        raise NotCovered(f"loss must fall to 0 for large margins, found {phi(1e100):.3g} at 1e100; the hinge "
                         f"and logistic losses are covered")
    intervals, candidates, least = [(0.0, top)], [0.0], bound(0.0, 0.0)
    while intervals:
        a, b = intervals.pop()
        low, high, middle = n * slope(a) + pull(b), n * slope(b) + pull(a), 0.5 * (a + b)
        least = min(least, bound(middle, middle))
        if low > 0 or high < 0 or bound(a, b) > least * (1 + 1e-12):
            continue
        if low == 0 or high == 0 or not a < middle < b:
            candidates.append(a if low == 0 else b)
        else:
            intervals += [(a, middle), (middle, b)]
    value, v = min((bound(v, v), v) for v in candidates)
    return v, value
