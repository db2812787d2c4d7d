"""Recognising the structure that the theorems ask of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array


@dataclass(frozen=True)
class Structure:
    """What `structure` finds in a data matrix X, shape (n, d).

    Attributes
    ----------
    rank, affine_rank : int
        Ranks of X and of [X, 1]; if affine_rank = n, batch norm whitens.
    rows_residual, columns_residual : float
        ||X X^T - I_n||_2 and ||X^T X - I_d||_2.
    rank_one_residual : float
        Second singular value over the first.
    c, a : ndarray, shapes (n,) and (d,)
        c a^T is the rank-one matrix nearest to X; ||a||_2 = 1 and the largest entry of a is positive.
    whitened_rows, whitened_columns, rank_one : bool
        The residual is within the tolerance.
    sign : {1, -1, 0}
        1 if X is of rank one and c >= 0, -1 if c <= 0, else 0.
    """

    rank: int
    affine_rank: int
    rows_residual: float
    columns_residual: float
    rank_one_residual: float
    c: Array
    a: Array
    whitened_rows: bool
    whitened_columns: bool
    rank_one: bool
    sign: int


def whitening_residual(X: Array, axis: str) -> float:
    """Return ||X X^T - I_n||_F for axis "rows" and ||X^T X - I_d||_F for "columns", without an SVD.

    >>> whitening_residual(np.eye(2, 3), "rows"), whitening_residual(np.eye(2, 3), "columns")
    (0.0, 1.0)
    """
    A = check.data(X) if check.choice(axis, "axis", ("rows", "columns")) == "rows" else check.data(X).T
    if A.shape[0] > A.shape[1]:
        # The Gram matrix is singular, and too large to be worth forming.
        squares = np.linalg.svd(A, compute_uv=False) ** 2
        return float(np.sqrt(np.sum((squares - 1) ** 2) + A.shape[0] - A.shape[1]))
    return float(np.linalg.norm(A @ A.T - np.eye(len(A))))


def structure(X: ArrayLike, tol: float = 1e-9) -> Structure:
    """Measure how far data are from the hypotheses of the theorems.

    X has shape (n, d). Residuals, singular values relative to the largest one, and entries of c relative to ||c||_2
    count as zero up to tol > 0. The hypotheses are those of the chapters "Whitened data: the non-negative part of
    the ball", "Rank-one data: two rays" and "Batch normalisation and neural collapse".

    >>> found = structure([[3.0, 4.0], [6.0, 8.0]])
    >>> found.rank_one, found.sign, found.c.round(12).tolist(), found.a.round(12).tolist()
    (True, 1, [5.0, 10.0], [0.6, 0.8])
    >>> found.whitened_rows, found.affine_rank
    (False, 2)
    """
    X, tol = check.data(X), check.positive(tol, "tol")
    n, d = X.shape
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    # Singular values beyond min(n, d) are zero.
    rows, columns = (float(np.abs(np.pad(s, (0, size - len(s))) ** 2 - 1).max()) for size in (n, d))
    second = float(s[1] / s[0]) if len(s) > 1 and s[0] > 0 else 0.0
    a = Vt[0] * np.sign(Vt[0, np.abs(Vt[0]).argmax()])
    c = X @ a
    small = tol * np.linalg.norm(c)
    sign = 0 if second > tol else 1 if c.min() >= -small else -1 if c.max() <= small else 0
    affine = np.linalg.svd(np.column_stack([X / (s[0] or 1.0), np.full(n, n**-0.5)]), compute_uv=False)
    return Structure(
        rank=int(np.sum(s > tol * s[0])), affine_rank=int(np.sum(affine > tol * affine[0])),
        rows_residual=rows, columns_residual=columns,
        rank_one_residual=second, c=c, a=a, whitened_rows=rows <= tol, whitened_columns=columns <= tol,
        rank_one=second <= tol, sign=sign)
