"""A heuristic support function for ReLU units on general data, where the exact one is out of reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.features import Support, exposed

STARTS = 60                 # random starts, from seed 0, and the most samples taken as starts
KEPT, HOPS = 5, 40          # maxima from which the search goes on, and the random hops from each
PLANES, WORK = 32, 3e7      # most planes tried at a time, and products of a step that all starts share


@dataclass(frozen=True)
class SampledReLUFeatures:
    """The feature set H = {(X u)_+ : ||u||_2 <= 1} with a support function found by local search.

    The value is attained by a feature, so it is a lower bound of the support; a dual point scaled with it may
    be infeasible, and the bound it gives is called heuristic. Among the starts are the units handed in, so
    for the network they come from the bound never exceeds its objective.

    X has shape (n, d); `units`, shape (d, m), are hidden weights of the network at hand.
    For one output, c = +-Lambda, a unit maximises c^T (X u)_+ only if it lies on planes x_i^T u = 0 of samples
    with c_i < 0 and is there the projection of the gradient X^T D c, D its pattern. A step of the ascent tries
    the projections on its 0, 1, ..., r - 1 nearest such planes; for K outputs c = Lambda w with w renewed after
    each step. In our tests on Gaussian data of rank 3 to 5, where the maximum can be listed, it was found in
    every case.

    >>> H = SampledReLUFeatures(np.eye(2), np.eye(2))
    >>> round(H.support([3.0, 4.0]).value, 12)
    5.0
    """

    X: Array
    units: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "X", check.data(self.X))
        object.__setattr__(self, "units", check.array(self.units, "units", ndim=(2,)))

    def support(self, Lambda: ArrayLike) -> Support:
        """Return the largest ||Lambda^T (X u)_+||_2 found, Lambda of shape (n,) or (n, K), and its unit."""
        Lambda = check.columns(check.labels(Lambda, len(self.X), "Lambda"))
        unit = self._search(Lambda) if self.X.any() and Lambda.any() else np.eye(self.X.shape[1])[0]
        return exposed(unit, np.maximum(self.X @ unit, 0.0), Lambda)

    def gauge(self, F: ArrayLike) -> float:
        """Raise NotCovered: there is no formula."""
        raise NotCovered("the gauge of ReLU units on general data has no formula; for one output and rank at "
                         "most 3 use dualkit.arrangements.ReLUFeatures")

    def _search(self, Lambda: Array) -> Array:
        K, rng = Lambda.shape[1], np.random.default_rng(0)
        _, s, Vt = np.linalg.svd(self.X, full_matrices=False)
        basis = Vt[s > 1e-10 * s[0]].T
        # Samples on one ray act as one; their lengths go to the dual variable.
        B = self.X @ (basis / s[0])
        length = np.linalg.norm(B, axis=1)
        B, ray = np.unique((B[length > 0] / length[length > 0, None]).round(13), axis=0, return_inverse=True)
        weights = np.zeros((len(B), K))
        np.add.at(weights, ray.ravel(), (Lambda * (length / np.abs(Lambda).max())[:, None])[length > 0])
        rows = B[np.argsort(-np.linalg.norm(weights, axis=1))[:STARTS]].T
        U = np.hstack([basis.T @ self.units, rows, -rows, np.linalg.svd(weights.T @ B)[2].T,
                       rng.normal(size=(len(rows), STARTS))])
        U = _unit_columns(np.hstack([U, U])[:, np.tile(np.linalg.norm(U, axis=0) > 0, 2)])
        W = weights.T @ np.maximum(B @ U, 0.0) if K > 1 else np.repeat([[1.0, -1.0]], U.shape[1] // 2, axis=1)
        best, unit = 0.0, basis[:, 0]
        while True:
            U, W, values = _climb(B, weights, U, _unit_columns(W))
            order = np.argsort(-values)
            if not values[order[0]] > best * (1 + 1e-12):
                return unit
            best, unit = values[order[0]], basis @ U[:, order[0]]
            kept = order[np.append(True, np.diff(values[order]) < -1e-9 * best)][:KEPT]
            size = 10 ** rng.uniform(-2.5, 0, size=(1, HOPS * len(kept)))
            U, W = np.repeat(U[:, kept], HOPS, axis=1), np.repeat(W[:, kept], HOPS, axis=1)
            U = _unit_columns(U + size * rng.normal(size=U.shape))


def _unit_columns(A: Array) -> Array:
    return A / np.maximum(np.linalg.norm(A, axis=0), np.finfo(float).tiny)


def _climb(B: Array, Lambda: Array, U: Array, W: Array) -> tuple[Array, Array, Array]:
    """Increase w^T Lambda^T (B u)_+ from each column u of U and w of W while a step gains anything."""
    k = min(B.shape[1] - 1, len(B), PLANES)
    values = np.sum(W * (Lambda.T @ np.maximum(B @ U, 0.0)), axis=0)
    left = np.argsort(-values)[:10 + int(WORK / (B.size * (k + 1)))]    # all, unless the data are large
    while left.size:
        C, Z = Lambda @ W[:, left], B @ U[:, left]
        G = B.T @ ((Z > 0) * C)
        near = np.argsort(np.where(C < 0, np.abs(Z), np.inf), axis=0)[:k]
        Q, R = np.linalg.qr(B[near].transpose(1, 2, 0))
        Q = Q * (np.abs(np.diagonal(R, axis1=1, axis2=2)) > 1e-9)[:, None]      # a plane met twice
        new, best = U[:, left], values[left]
        for j in range(k + 1):
            u = _unit_columns(G)
            value = np.sum(C * np.maximum(B @ u, 0.0), axis=0)
            new, best = np.where(value > best, u, new), np.maximum(value, best)
            if j < k:
                G = G - Q[:, :, j].T * np.sum(Q[:, :, j].T * G, axis=0)
        if Lambda.shape[1] > 1:
            image = Lambda.T @ np.maximum(B @ new, 0.0)
            W[:, left], best = _unit_columns(image), np.linalg.norm(image, axis=0)
        gained = best > values[left] + 1e-11 * np.abs(values[left])
        U[:, left], values[left] = new, best
        left = left[gained]
    return U, W, values
