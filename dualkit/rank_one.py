"""ReLU networks without bias on data of rank one, X = c a^T with ||a||_2 = 1: two rays.

A unit sees the positive part c_+ of c or the negative part c_- = (-c)_+, two orthogonal vectors, so outputs
are f = c_+ p^T + c_- q^T. At depth 2 the two rays are charged separately. From depth 3 on, rays whose outputs
have the same sign share a branch. The objective is 0.5 ||f - y||^2 + (beta/2) * (sum of squared weights), no
1/n. Chapter "Rank-one data: two rays".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.depth import scalar_linear
from dualkit.features import Support, exposed
from dualkit.networks import Network
from dualkit.structure import structure
from dualkit.whitened import relu_network


def _rays(X: Array) -> tuple[Array, Array]:
    """Return a, shape (d,), and the features [(X a)_+, (-X a)_+], shape (n, 2)."""
    found = structure(X)
    if not found.rank_one:
        raise ValueError(f"X must have rank one, found second / first singular value = "
                         f"{found.rank_one_residual:.3g}; pass c a^T, or the nearest one from structure(X)")
    return found.a, np.maximum(np.stack([found.c, -found.c], axis=1), 0.0)


@dataclass(frozen=True)
class RankOneFeatures:
    """The two rays {t c_+} and {t c_-}, 0 <= t <= 1, of a ReLU unit without bias on X = c a^T, ||a||_2 = 1.

    X has shape (n, d); its second singular value is at most 1e-9 of the first, else ValueError.

    >>> H = RankOneFeatures(np.array([[1.0], [2.0], [-1.0], [-2.0]]))
    >>> H.support([1.0, 2.0, 0.0, -1.0]).value, round(H.gauge([1.0, 2.0, -3.0, -6.0]), 12)
    (5.0, 4.0)
    """

    X: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "X", check.data(self.X))
        object.__setattr__(self, "_unit_and_rays", _rays(self.X))

    def support(self, Lambda: ArrayLike) -> Support:
        """Return max(||Lambda^T c_+||, ||Lambda^T c_-||), Lambda of shape (n,) or (n, K), and its ray."""
        Lambda = check.columns(check.labels(Lambda, len(self.X), "Lambda"))
        a, rays = self._unit_and_rays
        k = int(np.argmax(np.linalg.norm(rays.T @ Lambda, axis=1)))
        return exposed(-a if k else a, rays[:, k], Lambda)

    def gauge(self, F: ArrayLike) -> float:
        """Return ||p|| + ||q|| for F = c_+ p^T + c_- q^T, shape (n,) or (n, K); inf for any other F."""
        F = check.columns(check.labels(F, len(self.X), "F"))
        rays = self._unit_and_rays[1]
        slopes = np.linalg.pinv(rays) @ F
        if np.linalg.norm(rays @ slopes - F) > 1e-9 * np.linalg.norm(F):
            return inf
        return float(np.linalg.norm(slopes, axis=1).sum())


def rank_one_network(X: ArrayLike, y: ArrayLike, beta: float, depth: int) -> tuple[Network, float]:
    """Return a globally optimal parallel ReLU network without bias on data of rank one, and its objective.

    X = c a^T has shape (n, d), see `RankOneFeatures`; y has shape (n,), or at depth L = 2 also (n, K), else
    NotCovered; beta >= 0. Theorem ``thm-rank-one`` and proposition ``prop-ray-outputs``.

    The last hidden unit of a branch is alpha c_+ + gamma c_-, alpha, gamma >= 0, and alpha + gamma is at most
    the product of the layers' norms: entrywise absolute values of W_2, W_3, ... only increase it, and make it
    linear in z_+ + z_- = |z|, z = W_1^T a. Two inner units reach every such pair. Gains cost a concave power:
    branches with outputs of one sign merge, and outputs of both signs on one ray cancel. So the least cost of
    f = p c_+ + q c_- is beta (L/2) (|p| + |q|)^(2/L) if p q >= 0, else one such term for each ray.

    >>> net, objective = rank_one_network([[1.0], [2.0], [-1.0], [-2.0]], [1.0, 2.0, 1.0, 2.0], 0.3, 3)
    >>> round(objective, 5), [W.shape for W in net.branches[0]]
    (0.7028, [(1, 2), (2, 1), (1, 1)])
    """
    X = check.data(X)
    y = check.labels(y, len(X), "y")
    Y, beta, depth = check.columns(y), check.nonnegative(beta, "beta"), check.integer(depth, "depth", 2)
    if Y.shape[1] > 1 and depth > 2:
        raise NotCovered(f"y must have one column at depth {depth}, found {Y.shape[1]}; several outputs are "
                         f"covered at depth 2")
    a, rays = _rays(X)
    units, norms = np.stack([a, -a], axis=1), np.linalg.norm(rays, axis=0)
    targets = (rays / np.where(norms > 0, norms, 1.0)).T @ Y
    sizes = np.linalg.norm(targets, axis=1)
    outputs = targets / np.where(sizes > 0, sizes, 1.0)[:, None]
    # Each ray alone, its slope s in the direction of its target: it misses that by norms_k s - sizes_k.
    slopes = np.array([scalar_linear(rays[:, k:k + 1], Y @ outputs[k], beta, depth).w[0] for k in (0, 1)])
    if shared := depth > 2 and outputs[0, 0] * outputs[1, 0] > 0:
        slopes = _shared_branch(norms, sizes, slopes, beta, depth)
    loss = 0.5 * float(np.sum((rays @ (slopes[:, None] * outputs) - Y) ** 2))
    objective = loss + _cost(slopes.sum(keepdims=True) if shared else slopes, beta, depth)
    if not (shared and slopes.all()):
        return relu_network(units, outputs, slopes, depth), objective
    inner, r = np.sqrt(slopes / slopes.sum()), slopes.sum() ** (1 / depth)
    chain = (r * inner * units, r * inner[:, None], *[np.full((1, 1), r)] * (depth - 3), r * outputs[:1])
    return Network((chain,), "relu"), objective


def _cost(gains: Array, beta: float, depth: int) -> float:
    return beta * depth / 2 * float(np.sum(gains ** (2 / depth)))


def _shared_branch(norms: Array, sizes: Array, alone: Array, beta: float, depth: int) -> Array:
    """Return argmin over s >= 0 of 0.5 sum_k (norms_k s_k - sizes_k)^2 + beta (L/2) (s_1 + s_2)^(2/L).

    Given t = s_1 + s_2 the least loss is that of one ray alone for small t, then h/2 (t_0 - t)^2, where both
    rays pull equally and 1/h = 1/norms_1^2 + 1/norms_2^2. A global minimum on the first piece is one for that
    ray alone, in `alone`. On the second it is a local minimum of the problem in t, which has at most one;
    `depth_prox` would miss it if t = 0, outside the second piece, is lower. No other candidates remain.
    """
    root_h, total = norms[0] / np.hypot(*norms) * norms[1], np.sum(sizes / norms)
    fit = scalar_linear([[root_h]], [root_h * total], beta, depth)
    both = [(sizes - root_h**2 * (total - t) / norms) / norms for t in fit.stationary[fit.is_minimum, 0]]
    candidates = [*np.diag(alone), *(s for s in both if s.min() > 0)]
    return min(candidates, key=lambda s: np.sum((norms * s - sizes) ** 2) / 2 + _cost(s.sum(), beta, depth))
