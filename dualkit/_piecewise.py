"""The exact piecewise linear form of ReLU networks with one input and one output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array


def _hidden_biases(chain: Sequence[Array], bias: ArrayLike | Sequence | None) -> list[Array]:
    """Return one array per hidden layer from a list, from the last layer's bias alone, or from None."""
    given = bias if isinstance(bias, (list, tuple)) else [None] * (len(chain) - 2) + [bias]
    if len(given) != len(chain) - 1:
        raise ValueError(f"biases must list one array or None per hidden layer, found {len(given)} for "
                         f"{len(chain) - 1}; a numpy array stands for the last hidden layer only")
    out = [np.zeros(W.shape[1]) if b is None else check.array(b, "biases", ndim=(1,))
           for W, b in zip(chain, given, strict=False)]
    for W, b in zip(chain, out, strict=False):
        if len(b) != W.shape[1]:
            raise ValueError(f"biases must have one number per unit, found {len(b)} for {W.shape[1]} units")
    return out


def slopes_of_chain(chain: Sequence[Array], bias: ArrayLike | Sequence | None) -> tuple[Array, Array]:
    """Return breakpoints t of one chain, ascending, shape (m,), and its slopes on the m + 1 intervals.

    All units of a layer are carried as values at common breakpoints and slopes between them. A layer maps
    both linearly; its ReLU adds the points where a unit crosses zero and clears the slopes where the unit is
    off. Slopes are products of weights, never quotients of differences; a breakpoint need not be a kink.
    """
    ends = chain[0].shape[0], chain[-1].shape[1]
    if ends != (1, 1):
        raise ValueError(f"branches must have one input and one output, found {ends[0]} and {ends[1]}; "
                         f"kinks are points on a line")
    t, values, slopes = np.zeros(1), np.zeros((1, 1)), np.ones((2, 1))
    for W, b in zip(chain, _hidden_biases(chain, bias), strict=False):
        values, slopes = values @ W + b, slopes @ W
        sign = np.sign(values)
        left = np.flatnonzero(sign[0] * slopes[0] > 0)
        right = np.flatnonzero(sign[-1] * slopes[-1] < 0)
        i, inner = np.nonzero(sign[:-1] * sign[1:] < 0)
        fraction = values[i, inner] / (values[i, inner] - values[i + 1, inner])
        crossings = np.concatenate([
            t[0] - values[0, left] / slopes[0, left],
            t[i] + fraction * (t[i + 1] - t[i]),
            t[-1] - values[-1, right] / slopes[-1, right],
        ])
        points = np.union1d(t, crossings)
        gap = np.searchsorted(t, points, side="right")  # the old interval to the right of each point
        anchor = np.maximum(gap - 1, 0)
        values = values[anchor] + slopes[gap] * (points - t[anchor])[:, None]
        values[np.searchsorted(points, crossings), np.concatenate([left, inner, right])] = 0.0
        t, slopes = points, slopes[np.append(0, gap)]
        # A unit is on in a tail if it grows outwards, in between if it is positive at either end.
        inside = (values[:-1] > 0) | (values[1:] > 0)
        on = np.concatenate([slopes[:1] < 0, inside, slopes[-1:] > 0])
        values, slopes = np.maximum(values, 0.0), np.where(on, slopes, 0.0)
    return t, (slopes @ chain[-1])[:, 0]


def merged_kinks(pieces: Sequence[tuple[Array, Array]], tol: float) -> tuple[Array, Array]:
    """Return the kinks of a sum of chains, given as pairs (t, slopes), and their changes of slope.

    Kinks closer than tol (1 + |position|) become one; changes below tol times the largest slope are dropped.
    """
    x = np.concatenate([t for t, _ in pieces])
    change = np.concatenate([np.diff(slopes) for _, slopes in pieces])
    order = np.argsort(x, kind="stable")
    x, change = x[order], change[order]
    first = np.append(True, np.diff(x) > tol * (1 + np.abs(x[1:])))
    change = np.add.reduceat(change, np.flatnonzero(first))
    keep = np.abs(change) > tol * sum(np.abs(slopes).max() for _, slopes in pieces)
    return x[first][keep], change[keep]
