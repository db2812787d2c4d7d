"""Exact active-set method for the one-dimensional training problem, on sorted distinct inputs.

Solves ``min_v 0.5 sum_k w_k (v_k - y_k)^2 + beta * max(TV, (TV + |s_1 + s_{m-1}|) / 2)``, where s are the
chord slopes of v and TV is the sum of their absolute changes: linear trend filtering with a charge on the
outer slopes. `dualkit.hinge` prepares its input and certifies its output.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dualkit._validate import Array

EPS = float(np.finfo(np.float64).eps)


class Problem(NamedTuple):
    """Inputs t (sorted, distinct, range about 1), weights w >= 1, centred targets y, and beta > 0."""

    t: Array
    w: Array
    y: Array
    beta: float


class Iterate(NamedTuple):
    """The spline that minimises the objective for given kinks and signs, and what the dual makes of it.

    `knots` are the interior indices where it bends; `kinks` holds the size of each change of slope,
    negative where its sign came out wrong; `deviation` is v - y at the knots and both ends; `residual` is
    w (y - v); `moment` is its double sum u_k = sum_i residual_i (t_i - t_k)_+, which the dual bounds.
    """

    knots: np.ndarray
    signs: Array
    kinks: Array
    deviation: Array
    residual: Array
    moment: Array
    primal: float
    gap: float


def slopes_and_kinks(t: Array, v: Array) -> tuple[Array, Array]:
    """Return chord slopes and their changes, with changes that are nothing but rounding set to zero."""
    h = np.diff(t)
    s, noise = np.diff(v) / h, 8 * EPS * (np.abs(v[1:]) + np.abs(v[:-1])) / h
    d = np.diff(s)
    return s, np.where(np.abs(d) > noise[1:] + noise[:-1], d, 0.0)


def gauge(s: Array, d: Array) -> float:
    """Return max(TV, (TV + |s_1 + s_{m-1}|) / 2) from the slopes s and their changes d."""
    tv = float(np.abs(d).sum())
    return max(tv, 0.5 * (tv + abs(float(s[0] + s[-1])))) if s.size else 0.0


def _solve(p: Problem, K: np.ndarray, signs: Array) -> Iterate:
    """Minimise over splines with kinks at the interior indices K, their signs taken as given."""
    from scipy.linalg import cho_solve_banded, cholesky_banded  # slow to import, so not at the top

    full = np.concatenate(([0], K, [len(p.t) - 1]))
    T, gaps = p.t[full], len(full) - 1
    H, seg = np.diff(T), np.append(np.repeat(np.arange(gaps), np.diff(full)), gaps - 1)
    right = (p.t - T[seg]) / H[seg]
    left = 1.0 - right

    def hats(falling: Array, rising: Array) -> Array:
        """Sum over the data below the falling and the rising side of each hat function."""
        return np.append(np.bincount(seg, falling, gaps), 0) + np.append(0, np.bincount(seg, rising, gaps))

    def gradient(c: Array) -> Array:
        """Gradient of sum_j c_j s_j in the values at the knots."""
        return np.append(-c / H, 0.0) + np.append(0.0, c / H)

    # The unknown is the deviation from the data at the knots. It is small where beta is, so the residual
    # keeps its relative accuracy down to beta -> 0. Every knot is a data point, hence the Gram matrix of
    # the hat functions is at least the identity.
    yk = p.y[full]
    rest = p.y - (left * yk[seg] + right * yk[seg + 1])
    band = np.array([np.append(0.0, np.bincount(seg, p.w * left * right, gaps)),
                     hats(p.w * left * left, p.w * right * right)])
    chol, rhs = (cholesky_banded(band), False), hats(p.w * rest * left, p.w * rest * right)

    # gauge = max(TV, (TV + outer) / 2, (TV - outer) / 2), each piece given by its weights on the slopes.
    padded = np.concatenate(([0.0], signs, [0.0]))
    tv, outer = padded[:-1] - padded[1:], np.zeros(gaps)
    outer[0] += 1.0
    outer[-1] += 1.0
    pieces = [tv, 0.5 * (tv + outer), 0.5 * (tv - outer)]

    def edge(first: Array, second: Array) -> tuple[Array, Array]:
        """Minimise with the larger of two pieces: a mixture of both, whose share is affine in the minimiser.

        Mixing the weights cancels large entries before they are rounded. Each pass solves again with the
        new share, because the first may start from values that are huge.
        """
        share, rate, step = 0.0, 0.0, second - first
        for _ in range(5):
            deviation = cho_solve_banded(chol, rhs - p.beta * gradient(first + share * step))
            s = np.diff(yk + deviation) / H
            if rate == 0.0:
                ascent = gradient(step)
                rate = p.beta * float(ascent @ cho_solve_banded(chol, ascent))
            last, share = share, min(max(share + float(step @ s) / rate, 0.0), 1.0)
            if share == last:
                break
        return deviation, s

    # With wrong signs TV may be negative and any two pieces be the larger ones; the third tells.
    least = np.inf
    for i, j in ((0, 1), (0, 2), (1, 2)):
        trial, s = edge(pieces[i], pieces[j])
        sizes = [float(c @ s) for c in pieces]
        excess = max(sizes) - max(sizes[i], sizes[j])
        if excess < least:
            deviation, least = trial, excess
        if excess == 0:
            break

    residual = p.w * (rest - (left * deviation[seg] + right * deviation[seg + 1]))
    residual -= p.w * (residual.sum() / p.w.sum())
    u = np.append(-np.cumsum((np.diff(p.t) * np.cumsum(residual)[:-1])[::-1])[::-1], 0.0)
    s, d = slopes_and_kinks(T, yk + deviation)
    cost = 0.5 * float(residual @ (residual / p.w))
    primal = cost + p.beta * gauge(s, d)
    c = min(1.0, p.beta / max(np.abs(u).max(), np.abs(u - u[0]).max(), 1e-300))
    gap = primal - c * float(residual @ p.y) + c * c * cost
    return Iterate(K, signs, signs * d, deviation, residual, u, primal, gap)


def _settle(p: Problem, K: np.ndarray, signs: Array, before: Array | None = None) -> Iterate | None:
    """Drop kinks until all that remain have the sign assumed; None if that takes too long.

    Without `before` all offenders go at once: quick, but the objective may rise. With it, the kinks before
    this step, only the one that passes zero first on the way from there goes, and the objective falls.
    """
    for _ in range(12 if before is None else 50):
        it = _solve(p, K, signs)
        bad = it.kinks <= 0
        if not bad.any():
            return it
        if before is None:
            keep = ~bad
        else:
            when = np.full(len(K), np.inf)
            when[bad] = before[bad] / np.maximum(before[bad] - it.kinks[bad], 1e-300)
            keep = when > when.min()
            before = (before + when.min() * (it.kinks - before))[keep]
        K, signs = K[keep], signs[keep]
    return None


def _peaks(excess: Array, knots: np.ndarray) -> np.ndarray:
    """Return the place of the largest positive entry of `excess` in each gap between knots."""
    cuts = np.append(0, knots)
    top = np.repeat(np.maximum.reduceat(excess, cuts), np.diff(cuts, append=len(excess)))
    at = np.flatnonzero((excess > 0) & (excess == top))
    return at[np.unique(np.searchsorted(cuts, at, side="right"), return_index=True)[1]]


def _descend(p: Problem, it: Iterate) -> Iterate:
    """Add kinks where the dual bound is broken, drop those of the wrong sign, until neither is needed."""
    best, stalled = it, 0
    for _ in range(200):
        # u and u - u_1 both lie in [-beta, beta]: hinges that open to the right and to the left.
        u, inner = it.moment, np.ones(len(p.t), dtype=bool)
        inner[it.knots] = inner[[0, -1]] = False
        above = np.where(inner, np.maximum(u - min(p.beta, u[0] + p.beta), 0.0), 0.0)
        below = np.where(inner, np.maximum(max(-p.beta, u[0] - p.beta) - u, 0.0), 0.0)
        excess = np.maximum(above, below)
        if (best.gap <= 1e-12 * best.primal or excess.max() <= EPS * np.linalg.norm(it.residual)
                or stalled == 3):
            break
        peaks = np.union1d(_peaks(above, it.knots), _peaks(below, it.knots))
        # If the objective rises, the rest waits for the places that break the bound most.
        strong, worst = peaks[excess[peaks] >= 0.01 * excess.max()], excess.argmax(keepdims=True)
        for new, quick in ((peaks, True), (strong, True), (strong, False), (worst, False)):
            K = np.concatenate((it.knots, new))
            order = np.argsort(K)
            signs = np.concatenate((it.signs, np.where(above[new] >= below[new], 1.0, -1.0)))[order]
            before = None if quick else np.concatenate((it.kinks, np.zeros(len(new))))[order]
            following = _settle(p, K[order], signs, before)
            if following is not None and (following.primal < it.primal or following.gap < best.gap):
                break
        else:
            # A single new kink lowers the objective for certain; if that does not show, it is rounding.
            stalled += 1
        it = it if following is None else following
        best = min(best, it, key=lambda it: it.gap)
    return best


def fit_knots(p: Problem, tol: float) -> Iterate:
    """Return the minimiser, with a relative gap of at most `tol` unless rounding forbids it.

    Every accepted step lowers the objective or the best gap, so no set of kinks returns for ever. The two
    starts are a line and the interpolant; the latter suits data that oscillate from point to point.
    """
    d = slopes_and_kinks(p.t, p.y)[1]
    bent = np.flatnonzero(d)
    none = np.zeros(0, dtype=int)
    starts = [_settle(p, none, np.zeros(0)), _settle(p, bent + 1, np.sign(d[bent]))]
    best = None
    for start in sorted((it for it in starts if it is not None), key=lambda it: it.primal):
        best = min((it for it in (best, _descend(p, start)) if it is not None), key=lambda it: it.gap)
        if best.gap <= max(tol, EPS * np.abs(best.residual).sum() / p.beta) * best.primal:
            break
    return best
