"""Checks of arguments: every error names the argument, the value found and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class NotCovered(ValueError):
    """No theorem of the book covers the case asked for; the message names the nearest covered one."""


def array(value: ArrayLike, name: str, ndim: tuple[int, ...] = (1, 2)) -> Array:
    """Return `value` as a finite float64 array with one of the allowed numbers of axes."""
    try:
        if np.iscomplexobj(value) or np.ma.isMaskedArray(value):
            raise TypeError
        out = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of real numbers, found {type(value).__name__}; "
                        f"pass what numpy.asarray turns into float64, no mask") from error
    if out.ndim not in ndim:
        wanted = " or ".join(f"{k}-D" for k in ndim)
        raise ValueError(f"{name} must be {wanted}, found shape {out.shape}; reshape it")
    if out.size == 0:
        raise ValueError(f"{name} must not be empty, found shape {out.shape}; pass at least one row and column")
    if not np.isfinite(out).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(out))[0])
        raise ValueError(f"{name} must be finite, found {out[where]} at index {where}; remove or impute it")
    return out


def data(X: ArrayLike, name: str = "X") -> Array:
    """Return the data matrix, shape (n, d): one sample a row."""
    out = np.asarray(X)
    if out.ndim == 1:
        raise ValueError(f"{name} must be 2-D (n samples as rows, d features), found shape {out.shape}; "
                         f"for a single feature pass {name}.reshape(-1, 1)")
    return array(X, name, ndim=(2,))


def labels(Y: ArrayLike, n: int, name: str = "Y") -> Array:
    """Return labels with n rows, shape (n,) or (n, K), as given."""
    out = array(Y, name)
    if out.shape[0] != n:
        raise ValueError(f"{name} must have as many rows as X, found {out.shape[0]} against {n}; "
                         f"one label (row) per sample")
    return out


def columns(Y: Array) -> Array:
    """View labels or outputs of shape (n,) as one column, (n, 1); leave (n, K) alone."""
    return Y[:, None] if Y.ndim == 1 else Y


def _number(value: float, name: str, kind: type, what: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, found {value!r}")
    return value


def nonnegative(value: float, name: str) -> float:
    """Return a finite number >= 0."""
    if not np.isfinite(_number(value, name, Real, "a real number")) or value < 0:
        raise ValueError(f"{name} must be finite and >= 0, found {value!r}; pass a float >= 0")
    return float(value)


def positive(value: float, name: str) -> float:
    """Return a finite number > 0."""
    if nonnegative(value, name) == 0:
        raise ValueError(f"{name} must be > 0, found {value!r}; pass a positive number")
    return float(value)


def integer(value: int, name: str, least: int) -> int:
    """Return an integer at least `least`."""
    if _number(value, name, Integral, "an integer") < least:
        raise ValueError(f"{name} must be at least {least}, found {value!r}; pass an int >= {least}")
    return int(value)


def choice(value: str, name: str, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed strings."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, found {value!r}")
    return value


def generator(rng: np.random.Generator | int, name: str = "rng") -> np.random.Generator:
    """Return a Generator from a Generator or an integer seed; global randomness is refused."""
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(int(_number(rng, name, Integral, "a numpy Generator or an integer seed")))


def chain(weights: Sequence[ArrayLike], name: str) -> tuple[Array, ...]:
    """Return the matrices W_1, ..., W_L of a chain, L >= 2, the columns of each the rows of the next."""
    out = tuple(array(W, f"{name}[{k}]", ndim=(2,)) for k, W in enumerate(weights))
    if len(out) < 2:
        raise ValueError(f"{name} must hold at least 2 matrices, found {len(out)}; pass every layer")
    for k, (left, right) in enumerate(pairwise(out)):
        if left.shape[1] != right.shape[0]:
            raise ValueError(f"{name}[{k}] of shape {left.shape} does not fit {name}[{k + 1}] of shape "
                             f"{right.shape}; the columns of a layer are the rows of the next")
    return out
