"""Feature sets: what one hidden unit can produce on the data, and what a dual direction sees of it.

A feature set H collects the vectors h = phi(X u), ||u||_2 <= 1, that one hidden unit with a weight
vector of unit length can produce on the n samples. Two numbers describe the training problem:

* ``support(Lambda) = max over h in H of ||Lambda^T h||_2``, the dual constraint, and
* ``gauge(F)``, the least total gain sum_j ||w_j||_2 with which units of H add up to F.

Everything else in the package is driven by these two methods. Chapter "Optimal weights are extreme points".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array
from dualkit.depth import safe_norm


@dataclass(frozen=True)
class Support:
    """The value of a support function and the extreme point that attains it.

    `value` is max over h in H of ||Lambda^T h||_2, `unit` a weight vector u, shape (d,), ||u||_2 <= 1, whose
    feature attains it, `feature` that feature h = phi(X u), shape (n,), and `output` the unit output weight that
    goes with it, w = Lambda^T h / ||Lambda^T h||_2, shape (K,).
    """

    value: float
    unit: Array
    feature: Array
    output: Array


def exposed(unit: Array, feature: Array, Lambda: Array) -> Support:
    """Return the Support of Lambda, shape (n, K), if the feature of that unit attains it; w = e_1 if it is 0."""
    image = Lambda.T @ feature
    value = float(safe_norm(image))
    return Support(value, unit, feature, image / value if value else np.eye(len(image))[0])


class FeatureSet(Protocol):
    """What a feature set must offer; a new one is one class with these two methods."""

    def support(self, Lambda: ArrayLike) -> Support: ...

    def gauge(self, F: ArrayLike) -> float: ...


@dataclass(frozen=True)
class LinearFeatures:
    """The ellipsoid H = {X u : ||u||_2 <= 1} of a linear network, X of shape (n, d).

    The support function is the largest singular value of X^T Lambda, the gauge the nuclear norm of the least-norm
    W with X W = F. Chapter "Two-layer linear networks".

    >>> H = LinearFeatures(np.diag([2.0, 1.0]))
    >>> H.support(np.array([1.0, 0.0])).value
    2.0
    >>> round(H.gauge(np.array([2.0, 0.0])), 12)
    1.0
    """

    X: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "X", check.data(self.X))

    def support(self, Lambda: ArrayLike) -> Support:
        """Return sigma_max(X^T Lambda), Lambda of shape (n,) or (n, K), and the exposed extreme point X u."""
        Lambda = check.columns(check.labels(Lambda, self.X.shape[0], "Lambda"))
        U, s, Vt = np.linalg.svd(self.X.T @ Lambda, full_matrices=False)
        # The pair (u, w) is defined up to a common sign; make the largest entry of w positive.
        sign = 1.0 if Vt[0, np.argmax(np.abs(Vt[0]))] >= 0 else -1.0
        return Support(float(s[0]), sign * U[:, 0], sign * (self.X @ U[:, 0]), sign * Vt[0])

    def gauge(self, F: ArrayLike) -> float:
        """Return min ||W||_* over X W = F, shape (n,) or (n, K); ``inf`` if F is not in the range of X."""
        F = check.columns(check.labels(F, self.X.shape[0], "F"))
        W = np.linalg.pinv(self.X) @ F
        if np.linalg.norm(self.X @ W - F) > 1e-9 * max(1.0, float(np.linalg.norm(F))):
            return float("inf")
        return float(np.linalg.norm(W, "nuc"))
