"""Linear splines as functions: one that interpolates at least cost, and the set of all that do.

A two-layer ReLU network on the line with free biases and a free constant charges a function f the larger
of ``TV(f')`` and ``|f'(-inf) + f'(inf)|``. Data with equal inputs must have equal outputs here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._trend import slopes_and_kinks
from dualkit._validate import Array, NotCovered


def inputs(x: ArrayLike) -> Array:
    """Return one-dimensional inputs, given as (n,) or (n, 1), with shape (n,)."""
    x = check.array(x, "x")
    if x.ndim == 2 and x.shape[1] != 1:
        raise NotCovered(f"x must hold one feature, found shape {x.shape}; hinges describe data on a line, "
                         f"for more features use the general ReLU program")
    return x.ravel()


def outputs(y: ArrayLike, n: int, name: str = "y") -> Array:
    """Return scalar outputs, given as (n,) or (n, 1), with shape (n,)."""
    y = check.labels(y, n, name)
    if y.ndim == 2 and y.shape[1] != 1:
        raise NotCovered(f"{name} must have one column, found shape {y.shape}; the closed forms are for one "
                         f"output, for more solve a group lasso on the hinges at the data points")
    return y.ravel()


def merge(x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Return distinct inputs (m,), their counts (m,), mean outputs (m,), and each sample's group (n,)."""
    t, group, count = np.unique(x, return_inverse=True, return_counts=True)
    return t, count.astype(np.float64), np.bincount(group, y) / count, group


def single_valued(y: Array, means: Array) -> bool:
    """Tell whether samples agree with the mean of their group up to rounding."""
    return bool(np.all(np.abs(y - means) <= 1e-12 * np.abs(y).max()))


def _points(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x = inputs(x)
    y = outputs(y, len(x))
    t, _, values, group = merge(x, y)
    if not single_valued(y, values[group]):
        worst = int(np.argmax(np.abs(y - values[group])))
        raise ValueError(f"y must take one value where x repeats, found {y[worst]} at x = {x[worst]}, mean "
                         f"{values[group][worst]}; no function interpolates, use fit_spline")
    return t, values


@dataclass(frozen=True)
class Spline:
    """The least-penalty piecewise linear function through its knots that bends only there.

    Knots and values, shape (p,) each, are points of the graph, knots increasing, else ValueError. Outside them the
    function goes on at no extra penalty. Chapter "One-dimensional data: splines".

    >>> f = Spline([0.0, 1.0, 3.0], [0.0, 0.0, 4.0])
    >>> f.penalty, f.predict([2.0, 4.0]).tolist()
    (2.0, [2.0, 6.0])
    """

    knots: Array
    values: Array

    def __post_init__(self) -> None:
        knots = check.array(self.knots, "knots", ndim=(1,))
        if np.any(np.diff(knots) <= 0):
            raise ValueError(f"knots must increase, found {knots.tolist()}; sort them and drop repeated ones")
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "values", outputs(self.values, len(knots), "values"))

    @property
    def slopes(self) -> Array:
        """Chord slopes between neighbouring knots, shape (p - 1,)."""
        return np.diff(self.values) / np.diff(self.knots)

    @property
    def coefficients(self) -> tuple[Array, Array]:
        """Gains (right, left), shape (p,) each, of the hinges (t - knot)_+ and (knot - t)_+."""
        right, left = np.zeros((2, len(self.knots)))
        if len(self.knots) > 1:
            s, d = slopes_and_kinks(self.knots, self.values)
            size, outer = np.abs(d), float(s[0] + s[-1])
            tv = float(size.sum())
            # A kink may open to the right or to the left. Right minus left gains must add up to `outer`:
            # first the kinks that add to it, then those that take away, and at most one is split.
            credit = 0.5 * (tv + min(max(outer, -tv), tv)) - (np.cumsum(size) - size)
            share = size * np.clip(2 * credit / np.where(size > 0, size, 1.0) - 1, -1, 1)
            right[1:-1], left[1:-1] = 0.5 * (d + share), 0.5 * (d - share)
            # The kinks cannot supply the rest: the slope of a line, that is of one hinge at the first point.
            right[0] = 0.5 * np.sign(outer) * max(abs(outer) - tv, 0.0)
        return right, left

    @property
    def constant(self) -> float:
        """The output constant that goes with the hinges."""
        return float(self.values[0] - self.coefficients[1] @ (self.knots - self.knots[0]))

    @property
    def penalty(self) -> float:
        """Sum of the absolute gains, equal to the gauge of the values at the knots."""
        return float(np.abs(self.coefficients).sum())

    def predict(self, t: ArrayLike) -> Array:
        """Return the function at t, in the shape of t."""
        t = check.array(t, "t", ndim=(0, 1, 2))
        right, left = self.coefficients
        return (np.interp(t, self.knots, self.values) + left.sum() * np.maximum(self.knots[0] - t, 0.0)
                + right.sum() * np.maximum(t - self.knots[-1], 0.0))


def spline_interpolant(x: ArrayLike, y: ArrayLike) -> Spline:
    """Return an interpolant of least penalty whose kinks are data points.

    Data x, y have shape (n,) or (n, 1), in any order; ValueError where x repeats and y differs.

    >>> spline_interpolant([0, 1, 2, 3], [0, 0, 1, 3]).penalty
    2.0
    """
    return Spline(*_points(x, y))


@dataclass(frozen=True)
class Envelope:
    """The region swept by all interpolants of least penalty; see `interpolant_envelope`.

    x and y, shape (m,), are the distinct data points, sorted; `slopes`, shape (m + 1,), the m - 1 chord slopes,
    between the outer slopes that differ most from the first and last chord; `free`, bool of shape (m - 1,), tells
    whether interpolants of least penalty may leave the chord of a gap.
    """

    x: Array
    y: Array
    slopes: Array
    free: Array

    def _edges(self, t: ArrayLike) -> tuple[Array, Array]:
        t = check.array(t, "t", ndim=(0, 1, 2))
        if len(self.x) == 1:
            return np.full_like(t, self.y[0]), np.full_like(t, self.y[0])
        k = np.clip(np.searchsorted(self.x, t), 1, len(self.x) - 1)
        chord = self.y[k] + self.slopes[k] * (t - self.x[k])
        before = self.y[k - 1] + self.slopes[k - 1] * (t - self.x[k - 1])
        after = self.y[k] + self.slopes[k + 1] * (t - self.x[k])
        # Convexity (concavity) bounds a free gap by its chord and by both neighbours' lines.
        nearer = np.where(np.abs(before - chord) < np.abs(after - chord), before, after)
        inside = np.where(self.free[k - 1], nearer, chord)
        return chord, np.where(t < self.x[0], before, np.where(t > self.x[-1], after, inside))

    def lower(self, t: ArrayLike) -> Array:
        """Return the least value any of them takes at t, in the shape of t."""
        return np.minimum(*self._edges(t))

    def upper(self, t: ArrayLike) -> Array:
        """Return the largest value any of them takes at t, in the shape of t."""
        return np.maximum(*self._edges(t))


def interpolant_envelope(x: ArrayLike, y: ArrayLike) -> Envelope:
    """Describe all interpolants of least penalty, on and beyond the data.

    With chord slopes s_1, ..., s_{m-1}, TV = sum |s_{i+1} - s_i| and outer = s_1 + s_{m-1}, let
    p = sign(outer) max(|outer| - TV, 0) / 2. The outer slopes range from s_1 - p to s_1 and from s_{m-1} - p
    to s_{m-1}, and their distances to s_1 and s_{m-1} add up to |p|. Give the first point the kink p, the
    last one -p, every other the change of slope there: a gap is free, and convex (concave) in each of these
    interpolants, if the kinks at both its ends are positive (negative). On all other gaps they are linear.
    Each value between `lower` and `upper` is taken by one of them, not all values at the same time.

    Data x, y have shape (n,) or (n, 1), in any order; ValueError where x repeats and y differs.

    >>> band = interpolant_envelope([0, 1, 2, 3], [0, 0, 1, 3])
    >>> band.free.tolist(), float(band.lower(1.5)), float(band.upper(1.5))
    ([False, True, False], 0.0, 0.5)
    """
    t, v = _points(x, y)
    if len(t) == 1:
        return Envelope(t, v, np.zeros(2), np.zeros(0, dtype=bool))
    s, d = slopes_and_kinks(t, v)
    tv, outer = float(np.abs(d).sum()), float(s[0] + s[-1])
    spare = 0.5 * (abs(outer) - tv)
    p = np.sign(outer) * spare if spare > 1e-12 * (tv + abs(outer)) else 0.0
    kinks = np.concatenate(([p], d, [-p]))
    return Envelope(t, v, np.concatenate(([s[0] - p], s, [s[-1] - p])), kinks[:-1] * kinks[1:] > 0)
