"""One-dimensional two-layer ReLU networks with biases: the hinge curve, and exact training on it.

The units are the hinges (x - b)_+ and (b - x)_+. Biases and one output constant are not penalised, so the
dual variable must sum to zero. The functions these networks realise are in `dualkit.spline`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._trend import EPS, Problem, fit_knots, gauge, slopes_and_kinks
from dualkit._validate import Array
from dualkit.features import Support
from dualkit.spline import (
    Envelope,
    Spline,
    inputs,
    interpolant_envelope,
    merge,
    outputs,
    single_valued,
    spline_interpolant,
)

__all__ = ["Envelope", "HingeFeatures", "Spline", "SplineFit", "fit_spline", "hinge_weights",
           "interpolant_envelope", "spline_interpolant"]


@dataclass(frozen=True)
class HingeFeatures:
    """The hinge curve on data x: the vectors (x - b)_+ and (b - x)_+, b real, modulo constants.

    Inputs x have shape (n,) or (n, 1), in any order, and may repeat; more features: NotCovered. Lambda^T (x - b)_+
    is piecewise linear in b with breaks at the data and constant outside them, so the largest norm is reached at
    a data point, for any number of outputs. Chapter "One-dimensional data: splines".

    >>> H = HingeFeatures([0.0, 1.0, 2.0, 3.0])
    >>> H.gauge([0.0, 0.0, 1.0, 3.0])
    2.0
    >>> best = H.support([0.0, 1.0, -2.0, 1.0])
    >>> best.value, best.unit.tolist(), best.output.tolist()
    (1.0, [1.0, 2.0], [1.0])
    """

    x: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", inputs(self.x))

    def project(self, Lambda: ArrayLike) -> Array:
        """Return Lambda minus its mean, column by column: the dual constraint Lambda^T 1 = 0."""
        Lambda = check.labels(Lambda, len(self.x), "Lambda")
        # The second pass removes what rounding left of the first.
        Lambda = Lambda - Lambda.mean(axis=0)
        return Lambda - Lambda.mean(axis=0)

    def support(self, Lambda: ArrayLike) -> Support:
        """Return max over hinges h of ||Lambda^T h||_2 and a hinge that attains it, in O(n log n).

        The columns of Lambda, shape (n,) or (n, K), must sum to zero, else ValueError: the maximum is infinite.
        `unit` is (sign, b), sign = +1 or -1 and b a data point, for the feature (sign (x - b))_+.
        """
        Lambda = check.columns(check.labels(Lambda, len(self.x), "Lambda"))
        total = Lambda.sum(axis=0)
        if np.any(np.abs(total) > 1e-9 * np.abs(Lambda).sum(axis=0)):
            raise ValueError(f"Lambda must sum to zero in each column, found {total.tolist()}; features are "
                             f"unbounded because biases are free, so centre it first with project(Lambda)")
        order = np.argsort(self.x, kind="stable")
        scale = float(np.abs(Lambda).max()) or 1.0
        x, rows = self.x[order], Lambda[order] / scale
        h, zero = np.diff(x)[:, None], np.zeros((1, Lambda.shape[1]))
        # From one data point to the next, a sum grows by the gap times the total weight passed so far.
        left = np.vstack((zero, np.cumsum(h * np.cumsum(rows, axis=0)[:-1], axis=0)))
        right = np.vstack((zero, np.cumsum(h[::-1] * np.cumsum(rows[::-1], axis=0)[:-1], axis=0)))[::-1]
        sums = np.stack((right, left))
        length = np.linalg.norm(sums, axis=2)
        side, k = np.unravel_index(int(length.argmax()), length.shape)
        sign, value = 1.0 - 2.0 * side, float(length[side, k]) * scale
        output = sums[side, k] / length[side, k] if value > 0 else np.eye(1, Lambda.shape[1])[0]
        return Support(value, np.array([sign, x[k]]), np.maximum(sign * (self.x - x[k]), 0.0), output)

    def gauge(self, F: ArrayLike) -> float:
        """Return the least sum of absolute gains with which hinges and a constant add up to F.

        It is max(TV, (TV + |s_1 + s_{m-1}|) / 2) for the chord slopes s of the distinct points (x_i, F_i)
        and TV = sum |s_{i+1} - s_i|; ``inf`` if F, shape (n,) or (n, 1), differs where x repeats.
        """
        F = outputs(F, len(self.x), "F")
        t, _, values, group = merge(self.x, F)
        return gauge(*slopes_and_kinks(t, values)) if single_valued(F, values[group]) else float("inf")


@dataclass(frozen=True)
class SplineFit(Spline):
    """An optimal spline with its certificate.

    The knots, see `Spline`, are the ends of the data and the kinks, all of them data points. Lambda, shape (n,), is
    dual feasible: it sums to zero and ``HingeFeatures(x).support(Lambda).value <= beta``; for beta = 0 it sums to
    zero over equal inputs instead, up to rounding. `primal` is 0.5 ||f(x) - y||^2 + beta * penalty, and `dual` is
    <Lambda, y> - 0.5 ||Lambda||^2, a bound below every network.
    """

    Lambda: Array
    primal: float
    dual: float

    @property
    def gap(self) -> float:
        """Distance to the global optimum at most, up to rounding."""
        return self.primal - self.dual


def fit_spline(x: ArrayLike, y: ArrayLike, beta: float, tol: float = 1e-10) -> SplineFit:
    """Train a one-dimensional two-layer ReLU network with biases to global optimality.

    Minimises 0.5 ||f(x) - y||^2 + beta * gauge(f(x)), which is the network's squared loss plus beta/2 times
    the squared weights, biases and output constant left free. A finite active-set method on the kinks;
    n = 100,000 takes seconds.

    Parameters
    ----------
    x, y : array_like, shape (n,) or (n, 1)
        Data, in any order; x may repeat, with different y.
    beta : float
        Weight decay, >= 0. For 0 the result interpolates (the means of y where x repeats) at least penalty;
        from ``support(y - mean)`` on it is the mean of y.
    tol : float
        Largest gap accepted, relative to the primal value. Rounding Lambda to float64 moves its support by
        about ||Lambda||_1 (max x - min x) 2e-16; where this exceeds tol * beta it sets the limit, up to 1e-6.

    Raises
    ------
    RuntimeError, NotCovered
        If the gap found is larger than that; if there is more than one feature or output.

    >>> fit = fit_spline([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 3.0], beta=0.1)
    >>> fit.gap <= 1e-10 * fit.primal
    True
    """
    H = HingeFeatures(x)
    x, y = H.x, outputs(y, len(H.x))
    beta, tol = check.nonnegative(beta, "beta"), check.nonnegative(tol, "tol")
    t, w, means, group = merge(x, y)
    mean, centred = y.mean(), H.project(y)
    span, ends = t[-1] - t[0], np.unique([0, len(t) - 1])
    if H.support(centred).value <= beta:
        knots, values, Lambda = ends, np.zeros(len(ends)), centred
    elif beta == 0:
        knots, values, Lambda = np.arange(len(t)), means - mean, y - means[group]
    else:
        # Powers of two, so that scaling is exact: ties stay ties.
        a, b = np.exp2(np.frexp((span, np.abs(means - mean).max()))[1])
        scaled = float(beta / a / b)
        if scaled < 1e-150:
            raise ValueError(f"beta must be 0 or at least 1e-150 of the range of x times that of y, found "
                             f"{beta!r}; pass 0 to interpolate")
        best = fit_knots(Problem(t / a, w, (means - mean) / b, scaled), tol)
        knots = np.concatenate((ends[:1], best.knots, ends[1:]))
        values = means[knots] - mean + b * best.deviation
        Lambda = H.project(y - means[group] + b * (best.residual / w)[group])
    # The penalty before rounding to values around the mean, which would cost digits of its slopes.
    primal = 0.5 * float(Lambda @ Lambda) + beta * Spline(t[knots], values).penalty
    if beta > 0:
        shrink = EPS
        while (value := H.support(Lambda).value) > beta:
            Lambda, shrink = Lambda * (beta / value * (1 - shrink)), min(4 * shrink, 0.5)
    dual = float(Lambda @ centred) - 0.5 * float(Lambda @ Lambda) if beta > 0 else primal
    limit = max(tol, min(EPS * float(np.abs(Lambda).sum()) * span / beta, 1e-6)) if beta > 0 else tol
    if primal - dual > limit * primal:
        raise RuntimeError(f"fit_spline stopped at a relative gap of {(primal - dual) / primal:.1e}, "
                           f"above the limit {limit:.1e}; pass a larger tol if that is close enough")
    return SplineFit(t[knots], mean + values, Lambda, primal, dual)


def hinge_weights(spline: Spline) -> tuple[Array, Array, Array, float]:
    """Return the network (W1, b1, W2, c) with x -> (x W1 + b1)_+ W2 + c equal to the spline.

    Shapes (1, m), (m,), (m, 1) and a float; one unit per hinge, at most one more than there are kinks, a single
    zero unit for a constant. The layers are balanced: 0.5 (||W1||^2 + ||W2||^2) is the penalty of the spline.

    >>> W1, b1, W2, c = hinge_weights(spline_interpolant([0, 1, 2], [0, 0, 4]))
    >>> W1.tolist(), b1.tolist(), W2.tolist(), c
    ([[2.0]], [-2.0], [[2.0]], 0.0)
    """
    gains = np.concatenate(spline.coefficients)
    signs, knots = np.repeat([1.0, -1.0], len(spline.knots)), np.tile(spline.knots, 2)
    used = np.flatnonzero(gains) if gains.any() else np.array([0])
    size = np.sqrt(np.abs(gains[used]))
    W1 = size * signs[used]
    return W1[None, :], -W1 * knots[used], (np.sign(gains[used]) * size)[:, None], spline.constant
