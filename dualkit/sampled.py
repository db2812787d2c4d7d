"""A heuristic support function for ReLU units on general data, where the exact one is out of reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.features import Support


@dataclass(frozen=True)
class SampledReLUFeatures:
    """The feature set H = {(X u)_+ : ||u||_2 <= 1} with a support function found by local ascent.

    The value is attained by a feature, so it is a lower bound of the support; a dual point scaled with it may
    be infeasible, and the bound it gives is called heuristic. Among the starts are the units handed in, so
    for the network they come from the bound never exceeds its objective.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    units : ndarray, shape (d, m)
        Hidden weights of the network at hand.
    starts : int
        Number of random starts, from seed 0.

    Examples
    --------
    >>> H = SampledReLUFeatures(np.eye(2), np.eye(2))
    >>> round(H.support([3.0, 4.0]).value, 12)
    5.0
    """

    X: Array
    units: Array
    starts: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "X", check.data(self.X))
        object.__setattr__(self, "units", check.array(self.units, "units", ndim=(2,)))

    def support(self, Lambda: ArrayLike) -> Support:
        """Return the largest ||Lambda^T (X u)_+||_2 met on the way from all starts."""
        Lambda = check.columns(check.labels(Lambda, len(self.X), "Lambda"))
        rng = np.random.default_rng(0)
        U = np.hstack([self.units, rng.normal(size=(self.X.shape[1], self.starts))])
        U = U[:, np.linalg.norm(U, axis=0) > 0]
        best, value = U[:, 0], -1.0
        for _ in range(60):
            U = U / np.maximum(np.linalg.norm(U, axis=0), np.finfo(float).tiny)
            H = np.maximum(self.X @ U, 0)
            images = Lambda.T @ H
            values = np.linalg.norm(images, axis=0)
            if values.max() > value:
                best, value = U[:, values.argmax()], float(values.max())
            # The gradient of ||Lambda^T (X u)_+|| in u, as far as the pattern of u does not change.
            U = self.X.T @ ((H > 0) * (Lambda @ (images / np.maximum(values, np.finfo(float).tiny))))
            U = U[:, np.linalg.norm(U, axis=0) > 0]
            if U.size == 0:
                break
        h = np.maximum(self.X @ best, 0)
        output = Lambda.T @ h / value if value > 0 else np.eye(Lambda.shape[1])[0]
        return Support(value, best, h, output)

    def gauge(self, F: ArrayLike) -> float:
        """Raise NotCovered: there is no formula."""
        raise NotCovered("the gauge of ReLU units on general data has no formula; for one output and rank at "
                         "most 3 use dualkit.arrangements.ReLUFeatures")
