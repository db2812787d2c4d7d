"""Two-layer linear networks with K outputs: nuclear-norm regression and interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array


@dataclass(frozen=True)
class NuclearFit:
    """Minimiser of 0.5 ||XW - Y||_F^2 + beta ||W||_* with its dual variable.

    W, shape (d, K), is the end-to-end matrix W_1 W_2 of an optimal network, `residual`, shape (n, K), is Y - X W,
    the dual optimum up to the accuracy reached, `relative_gap` the duality gap divided by the primal value, and
    `iterations` counts rounds of the solver, 0 where a closed form was used.
    """

    W: Array
    residual: Array
    relative_gap: float
    iterations: int


def soft_threshold(Z: ArrayLike, tau: float) -> Array:
    """Shrink every singular value of Z, shape (d, K), by tau >= 0: the proximal map of tau * nuclear norm.

    >>> soft_threshold([[3.0, 0.0], [0.0, 1.0]], 2.0).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    Z, tau = check.array(Z, "Z", ndim=(2,)), check.nonnegative(tau, "tau")
    U, s, Vt = np.linalg.svd(Z, full_matrices=False)
    return (U * np.maximum(s - tau, 0)) @ Vt


def interpolate(X: ArrayLike, Y: ArrayLike) -> Array:
    """Return pinv(X) Y, the fit of least nuclear norm among all W with X W = Y.

    X, shape (n, d), must have full row rank, so that every Y, shape (n,) or (n, K), can be fitted, else
    ValueError. It is the limit beta -> 0 of training, and also the fit of least Frobenius norm. Proposition
    ``prop-interpolation``.

    >>> interpolate([[2.0, 0.0]], [4.0]).tolist()
    [2.0, 0.0]
    """
    X = check.data(X)
    Y = check.labels(Y, X.shape[0])
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    rank = int((s > s[0] * max(X.shape) * np.finfo(float).eps).sum())
    if rank < X.shape[0]:
        raise ValueError(f"X must have full row rank {X.shape[0]} for interpolation, found rank {rank}; "
                         f"remove dependent samples or train with beta > 0")
    return Vt.T @ ((U.T @ Y).T / s).T


def nuclear_regression(X: ArrayLike, Y: ArrayLike, beta: float, *, tolerance: float = 1e-10,
                       max_rounds: int = 500) -> NuclearFit:
    """Minimise 0.5 ||XW - Y||_F^2 + beta ||W||_*, to a certified duality gap.

    One SVD of X makes the squared loss separable. If all singular values are equal (whitened data) the
    minimiser is a soft threshold. Otherwise rounds of two kinds of steps alternate until the duality gap
    is small enough: steps of the fixed point ``Q = (W^T W)^(1/2)``, ``X^T X W + beta W Q^{-1} = X^T Y``,
    which are fast once the rank is right, and accelerated proximal gradient steps, which find the rank.

    Parameters
    ----------
    X : array_like, shape (n, d)
    Y : array_like, shape (n, K)
    beta : float, > 0
        Weight decay, for the objective with 0.5 ||.||_F^2 and no 1/n.
    tolerance : float
        Bound on the duality gap divided by the primal value. It is not pushed below the rounding level of
        the gap itself, which grows as beta goes to zero; `relative_gap` tells what was reached.
    max_rounds : int
        Rounds before giving up.

    Raises
    ------
    RuntimeError
        If the tolerance was not reached; the message gives the gap reached.

    >>> fit = nuclear_regression(np.eye(2), np.diag([3.0, 1.0]), 2.0)
    >>> np.round(fit.W, 12).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    X = check.data(X)
    Y = check.columns(check.labels(Y, X.shape[0]))
    tolerance, max_rounds = check.nonnegative(tolerance, "tolerance"), check.integer(max_rounds, "max_rounds", 1)
    # In units a of X and b of Y, powers of two and hence exact, no square over- or underflows.
    a, b = (np.exp2(np.frexp(np.abs(A).max())[1]) for A in (X, Y))
    beta = check.positive(beta, "beta") / a / b
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    s = s / a
    keep = s > s[0] * max(X.shape) * np.finfo(float).eps if s[0] > 0 else s > 0
    U, s, Vt = U[:, keep], s[keep][:, None], Vt[keep]
    C = U.T @ (Y / b)
    # What no network can fit: a constant of the objective, computed without cancellation.
    misfit = 0.5 * float(np.sum((Y / b - U @ C) ** 2))
    if s.size == 0 or np.linalg.norm(s * C, 2) <= beta:
        W, relative_gap, rounds = np.zeros_like(C), 0.0, 0
    elif s[0] - s[-1] <= 1e-12 * s[0]:
        W, rounds = soft_threshold(C / s, beta / float(s[0, 0]) ** 2), 0
        relative_gap = _gap(s, C, W, beta, misfit)[0]
    else:
        W, relative_gap, rounds = _alternate(s, C, beta, misfit, tolerance, max_rounds)
    W = Vt.T @ W * (b / a)
    return NuclearFit(W, Y - X @ W, relative_gap, rounds)


def _gap(s: Array, C: Array, W: Array, beta: float, misfit: float) -> tuple[float, float]:
    """Relative duality gap of W in the coordinates of the SVD, and its rounding level."""
    R = C - s * W
    support = float(np.linalg.norm(s * R, 2))
    scale = min(1.0, beta / support) if support > 0 else 1.0
    primal = misfit + 0.5 * float(np.vdot(R, R)) + beta * float(np.linalg.norm(W, "nuc"))
    # primal - dual, written as a sum of non-negative terms so that small gaps are not lost to rounding
    slack = beta * float(np.linalg.norm(W, "nuc")) - scale * float(np.vdot(s * W, R))
    gap = 0.5 * (1 - scale) ** 2 * float(np.vdot(R, R)) + slack
    size = max(primal, np.finfo(float).tiny)
    # R = C - s W is known to eps ||C||, hence its support to eps ||s C||: for tiny beta this limits the gap.
    rounding = np.finfo(float).eps * 10 * (float(np.vdot(C, C)) / size + float(np.linalg.norm(s * C)) / beta)
    return max(gap, 0.0) / size, rounding


def _alternate(s: Array, C: Array, beta: float, misfit: float, tolerance: float,
               max_rounds: int) -> tuple[Array, float, int]:
    gram, right, step = s**2, s * C, 1 / float(s[0, 0]) ** 2
    W = right * step
    for rounds in range(1, max_rounds + 1):
        for _ in range(10):
            q2, V = np.linalg.eigh(W.T @ W)
            q = np.sqrt(np.where(q2 > 1e-28 * q2[-1], q2, 0))
            # Solve X^T X W + beta W Q^{-1} = X^T Y in the eigenbasis of Q; directions with q = 0 stay out.
            W = (right @ V * (q / (gram * q + beta))) @ V.T
        gap, rounding = _gap(s, C, W, beta, misfit)     # proximal steps are less accurate where s is small
        if gap <= max(tolerance, rounding):
            return W, gap, rounds
        momentum, ahead = 1.0, W
        for _ in range(20):
            new = soft_threshold(ahead - step * (gram * ahead - right), step * beta)
            if np.vdot(ahead - new, new - W) > 0:
                momentum = 1.0
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead, W, momentum = new + (momentum - 1) / following * (new - W), new, following
        gap, rounding = _gap(s, C, W, beta, misfit)
        if gap <= max(tolerance, rounding):
            return W, gap, rounds
    raise RuntimeError(f"nuclear_regression reached a relative gap of {gap:.1e} in {max_rounds} rounds, not "
                       f"{tolerance:.1e}; raise max_rounds or tolerance, or rescale the columns of X")
