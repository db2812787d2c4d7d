"""What depth does to weight decay: the penalty (L/2) s^(2/L), its proximal map, and deep linear networks.

A chain of L layers with total gain s costs beta (L/2) s^(2/L) under weight decay (beta/2) sum_l ||W_l||_F^2.
For L = 2 its proximal map shrinks; for L > 2 it is concave and the map jumps. Chapter "Deep linear networks:
rank-K alignment".
Every function raises TypeError or ValueError when beta is negative, depth (L) is not an integer >= 2, or an
array is not finite or has the wrong shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, inf, log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._secular import secular_roots
from dualkit._validate import Array, NotCovered


def _root(x: ArrayLike, n: int) -> Array:
    """Return x^(1/n), x >= 0; splitting off whole powers 2^(kn) keeps every digit at any scale."""
    k = np.trunc(np.frexp(x)[1] / n).astype(int)
    return np.ldexp(np.ldexp(x, -k * n) ** (1 / n), k)


def safe_norm(A: Array, axis: int | None = None) -> Array:
    """Return Euclidean norms; scaling by a power of two, which is exact, keeps squares from over- and underflow."""
    k = np.frexp(np.abs(A).max(initial=0.0))[1]
    return np.ldexp(np.linalg.norm(np.ldexp(A, -k), axis=axis), k)


def _natural_scale(beta: float, depth: int) -> float:
    """Return beta^(L/(2L-2)), the unit of s in which the scalar problem has beta = 1."""
    return sqrt(beta) * float(_root(beta, 2 * depth - 2))


def _penalty(s: ArrayLike, beta: float, depth: int) -> Array:
    return beta * (depth / 2) * _root(s, depth) ** 2


def _beta_and_depth(beta: float, depth: int) -> tuple[float, int]:
    return check.nonnegative(beta, "beta"), check.integer(depth, "depth", 2)


def jump_point(beta: float, depth: int) -> tuple[float, float]:
    """Return (sigma_star, s_star): where `depth_prox` leaves zero, and the value it jumps to.

    s_star = (beta (L-2))^(L/(2L-2)) ties with 0 at sigma_star = s_star (L-1)/(L-2). For L = 2 there is no
    jump and the pair is (beta, 0), the threshold of soft thresholding.

    >>> jump_point(1.0, 3)
    (2.0, 1.0)
    """
    beta, depth = _beta_and_depth(beta, depth)
    if depth == 2:
        return beta, 0.0
    s = _natural_scale(beta, depth) * _natural_scale(float(depth - 2), depth)
    return s * (depth - 1) / (depth - 2), s


def local_minimum_point(beta: float, depth: int) -> tuple[float, float]:
    """Return (sigma_c, s_c): for sigma > sigma_c the scalar problem has a local minimum at some s > s_c.

    s_c = (beta (L-2)/L)^(L/(2L-2)) and sigma_c = s_c (2L-2)/(L-2). For L > 2 this lies below `jump_point`: in
    between the local minimum exists but zero is better. For L = 2 the pair is (beta, 0).

    >>> sigma_c, s_c = local_minimum_point(3.0, 3)
    >>> round(sigma_c, 12), round(s_c, 12)
    (4.0, 1.0)
    """
    beta, depth = _beta_and_depth(beta, depth)
    if depth == 2:
        return beta, 0.0
    s = _natural_scale(beta * ((depth - 2) / depth), depth)
    return s * (2 * depth - 2) / (depth - 2), s


def depth_prox(sigma: ArrayLike, beta: float, depth: int) -> Array:
    """Return argmin over s >= 0 of 0.5 (s - sigma)^2 + beta (L/2) s^(2/L), entry by entry.

    `sigma` has at most two axes; the answer has its shape and is exact to rounding at any scale. A negative
    sigma gives 0. At sigma = sigma_star (`jump_point`) both 0 and s_star are minimisers: s_star is returned.

    L = 2 is soft thresholding. For L > 2 and s = sigma v, stationarity reads g(v) = v - 1 + kappa v^(2/L - 1)
    = 0 with the scale-free kappa = beta sigma^(2/L - 2). g is convex, so Newton's method from v = 1 falls
    monotonically on its largest root, which beats v = 0 exactly when sigma > sigma_star.

    >>> depth_prox([-1.0, 1.0, 2.0, 3.0], 1.0, 2)
    array([0., 0., 1., 2.])
    >>> depth_prox([1.9, 2.0], 1.0, 3)
    array([0., 1.])
    """
    sigma = check.array(sigma, "sigma", ndim=(0, 1, 2))
    beta, depth = _beta_and_depth(beta, depth)
    if depth == 2:
        return np.maximum(sigma - beta, 0.0)
    on = (sigma > 0) & (sigma >= jump_point(beta, depth)[0])
    s = np.zeros_like(sigma)
    kappa = (_natural_scale(beta, depth) / sigma[on]) ** (2 - 2 / depth)
    v, falling = np.ones_like(kappa), True
    while np.any(falling):  # ends: v only moves down, and Newton stops at the root
        pull = kappa * v ** (2 / depth - 1)
        new = v - (v - 1 + pull) / (1 - (1 - 2 / depth) * pull / v)
        falling, v = new < v, np.minimum(v, new)
    s[on] = sigma[on] * v
    return s[()]


def depth_prox_value(sigma: ArrayLike, beta: float, depth: int) -> Array:
    """Return min over s >= 0 of 0.5 (s - sigma)^2 + beta (L/2) s^(2/L); arguments as for `depth_prox`.

    >>> float(depth_prox_value(2.0, 1.0, 3))
    2.0
    """
    s = depth_prox(sigma, beta, depth)
    return 0.5 * (s - np.asarray(sigma)) ** 2 + _penalty(s, beta, depth)


def _compact_svd(A: Array) -> tuple[Array, Array, Array]:
    """Return U, s, Vt with the singular values that are zero to rounding cut off."""
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    r = int(np.sum(s > max(A.shape) * np.finfo(float).eps * s[0]))
    return U[:, :r], s[:r], Vt[:r]


def schatten_power(W: ArrayLike, depth: int) -> float:
    """Return sum_i sigma_i(W)^(2/L), W of shape (d,) or (d, K): the Schatten-2/L quasi-norm to its power.

    (L/2) times it is the least (1/2) sum_l ||W_l||_F^2 over W_1 ... W_L = W. Singular values at or below
    max(W.shape) eps sigma_1 count as zero: the small power would blow their rounding noise up.

    >>> schatten_power([[8.0, 0.0], [0.0, 1.0]], 3)
    5.0
    """
    W, depth = check.columns(check.array(W, "W")), check.integer(depth, "depth", 2)
    return float(np.sum(_root(_compact_svd(W)[1], depth) ** 2))


def aligned_factors(W: ArrayLike, depth: int, width: int | Sequence[int] | None = None,
                    rng: np.random.Generator | int | None = None) -> list[Array]:
    """Return W_1, ..., W_L with product W and the least weight decay (L/2) sum_i sigma_i(W)^(2/L).

    W_l = U_{l-1} S^(1/L) U_l^T with the compact SVD W = U_0 S U_L^T (rank as in `schatten_power`): the layers
    share their singular values, and the right singular vectors of each are the left ones of the next.

    W has shape (d,) or (d, K). `width` is one hidden width or L - 1 of them, each at least the rank of W, else
    ValueError; by default the rank (1 for W = 0). `rng` draws the free hidden frames U_1, ..., U_{L-1}; without it
    they are columns of the identity.

    >>> [A.tolist() for A in aligned_factors([[8.0]], 3)]
    [[[2.0]], [[2.0]], [[2.0]]]
    """
    W, depth = check.columns(check.array(W, "W")), check.integer(depth, "depth", 2)
    U, s, Vt = _compact_svd(W)
    width = max(len(s), 1) if width is None else width
    widths = [width] * (depth - 1) if np.ndim(width) == 0 else list(width)
    if len(widths) != depth - 1:
        raise ValueError(f"width must hold depth - 1 = {depth - 1} hidden widths, found {len(widths)}; "
                         f"pass one per hidden layer, or a single int for all")
    for m in widths:
        if check.integer(m, "width", 1) < len(s):
            raise ValueError(f"width must be at least rank(W) = {len(s)}, found {m}; widen that hidden layer")
    frames = [np.eye(m, len(s)) for m in widths]
    if rng is not None:
        rng = check.generator(rng)
        frames = [np.linalg.qr(rng.standard_normal((m, len(s))))[0] for m in widths]
    frames = [U, *frames, Vt.T]
    return [(left * _root(s, depth)) @ right.T for left, right in zip(frames, frames[1:], strict=False)]


@dataclass(frozen=True)
class ScalarLinear:
    """The global optimum of a scalar-output deep linear network, and every other stationary point.

    w, shape (d,) or (d, 1) like y, is the product W_1 ... W_L at the global minimum (ties go to the larger norm),
    and `value` is 0.5 ||X w - y||^2 + beta (L/2) ||w||^(2/L). `stationary`, shape (m, d), lists the non-zero
    stationary points, largest norm first, `values` their objectives, and `is_minimum` tells which are local minima.
    Zero is a strict local minimum too when L > 2.
    """

    w: Array
    value: float
    stationary: Array
    values: Array
    is_minimum: Array


def scalar_linear(X: ArrayLike, y: ArrayLike, beta: float, depth: int) -> ScalarLinear:
    """Minimise 0.5 ||X w - y||^2 + beta (L/2) ||w||_2^(2/L) over w, globally, for any X.

    This is training a linear network of L layers and one output; X has shape (n, d), y (n,) or (n, 1), else
    NotCovered is raised. beta = 0 gives pinv(X) y. Singular values of X at or below max(n, d) eps sigma_1
    count as zero.

    A stationary w != 0 is w(mu) = (X^T X + mu I)^{-1} X^T y with mu ||w(mu)||^(2 - 2/L) = beta. L = 2: one
    root, and only if ||X^T y|| > beta. L > 2: every root is found (`dualkit._secular`). Cost: one SVD of X.

    >>> fit = scalar_linear([[10.0, 0.0], [0.0, 1.0]], [1.0, 3.0], 2.0, 3)
    >>> fit.is_minimum.tolist(), fit.values.round(3).tolist(), round(fit.value, 3)
    ([True, False, True, False], [5.01, 5.04, 4.978, 5.04], 4.978)
    """
    X = check.data(X)
    y = check.labels(y, len(X), "y")
    beta, depth = _beta_and_depth(beta, depth)
    if y.size > len(y):
        raise NotCovered(f"y must have one column, found {y.shape[1]}; for several outputs and whitened X "
                         f"apply depth_prox to the singular values of X^T Y")
    U, s, Vt = _compact_svd(X)
    c = U.T @ y.ravel()
    s, c, Vt = s[c != 0], c[c != 0], Vt[c != 0]
    log_mu, rising = np.empty(0), np.empty(0, dtype=bool)
    if beta == 0 and len(c):
        log_mu, rising = np.array([-inf]), np.array([True])
    elif len(c) and (depth > 2 or safe_norm(X.T @ y) > beta):
        unit, size = s[0], float(safe_norm(c))  # in these units sigma_1 = ||c|| = 1
        (b, i), (u, j), (v, k) = frexp(beta), frexp(unit), frexp(size)  # so that exponents cancel exactly
        log_beta = log(b / v**2) + 2 / depth * log(v / u) + (i - 2 * k + 2 * (k - j) / depth) * log(2)
        log_mu, rising = secular_roots(np.log(s / unit), np.log(s / unit * np.abs(c / size)), log_beta, depth)
    # g_i = s_i^2 / (s_i^2 + mu): the part of c_i that is fitted
    g = np.exp(-np.logaddexp(0, log_mu[:, None] - 2 * np.log(s / s[:1])))
    stationary = (g * (c / s)) @ Vt
    penalties = _penalty(safe_norm(g * (c / s), axis=1), beta, depth)
    values = 0.5 * np.sum((stationary @ X.T - y.ravel()) ** 2, axis=1) + penalties
    w, value = np.zeros(X.shape[1]), 0.5 * float(np.sum(y**2))
    if len(values):
        # The objective minus its value at zero: neither term suffers from cancellation.
        change = penalties - 0.5 * np.sum(g * (2 - g) * c**2, axis=1)
        best = int(np.argmin(np.where(rising, change, inf)))
        if depth == 2 or change[best] <= 0:
            w, value = stationary[best], float(values[best])
    return ScalarLinear(w.reshape(len(w), *y.shape[1:]), value, stationary, values, rising)
