"""Batch normalisation before the last ReLU whitens: the closed forms of whitened data hold for other data.

A hidden unit gives v = gamma z + alpha 1/sqrt(n), z its centred pre-activations scaled to unit norm, so that
||v||^2 = gamma^2 + alpha^2. If z can be any centred unit vector, v can be any vector: with weight decay on
(gamma, alpha, W_L) alone this is the two-layer problem on whitened data, whatever the depth below. The
objective is l(f(X), Y) + (beta/2) * (sum of squares of gamma, alpha and W_L), squared loss 0.5 ||.||^2, no
1/n. Chapter "Batch normalisation and neural collapse".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.losses import Loss
from dualkit.structure import structure
from dualkit.whitened import optimal_atoms

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BatchNormNetwork:
    """f(X) = relu(gamma z + alpha / sqrt(n)) W_L, z the centred unit-norm columns of the layers below.

    `below` holds W_1, ..., W_{L-1}, a ReLU after each but the last, not penalised; gamma and alpha, shape (m,), are
    scale and shift (with columns of unit variance, as in torch, they are divided by sqrt(n)); `outer`, shape
    (m, K), is W_L.
    """

    below: tuple[Array, ...]
    gamma: Array
    alpha: Array
    outer: Array

    def __post_init__(self) -> None:
        *below, outer = check.chain((*self.below, self.outer), "below, outer")
        scales = {name: check.array(getattr(self, name), name, ndim=(1,)) for name in ("gamma", "alpha")}
        for name, value in scales.items():
            if len(value) != len(outer):
                raise ValueError(f"{name} must have one entry per unit, found {len(value)} for {len(outer)} units")
        for name, value in {"below": tuple(below), "outer": outer, **scales}.items():
            object.__setattr__(self, name, value)

    @property
    def penalty(self) -> float:
        """0.5 * (sum of squares of gamma, alpha and W_L), the weight decay per unit of beta."""
        return 0.5 * sum(float(np.vdot(A, A)) for A in (self.gamma, self.alpha, self.outer))

    def hidden(self, X: ArrayLike) -> Array:
        """Return the last hidden layer's outputs, shape (n, m), normalised over all rows of X together."""
        A = check.data(X)
        if A.shape[1] != len(self.below[0]):
            raise ValueError(f"X must have {len(self.below[0])} columns, found {A.shape[1]}")
        for W in self.below[:-1]:
            A = np.maximum(A @ W, 0.0)
        A = A @ self.below[-1]
        sizes = np.linalg.norm(A, axis=0)
        A = A - A.mean(axis=0)
        A = A - A.mean(axis=0)  # the second pass removes what rounding left of the first
        norms = np.linalg.norm(A, axis=0)
        if np.any(norms <= 1e-12 * sizes):
            raise ValueError("X must not give a unit the same value on all samples, found one that does, and "
                             "batch norm is undefined; pass the training data")
        return np.maximum(self.gamma * A / norms + self.alpha / np.sqrt(len(A)), 0.0)

    def predict(self, X: ArrayLike) -> Array:
        """Return f(X), shape (n, K), normalised over all rows of X: pass the training data."""
        return self.hidden(X) @ self.outer

    def to_torch(self) -> torch.nn.Module:
        """Return the network as a `dualkit.modules.batchnorm_network` with eps = 0, in training mode."""
        import torch

        from dualkit.modules import batchnorm_network

        widths = [len(self.below[0]), *(W.shape[1] for W in (*self.below, self.outer))]
        module = batchnorm_network(widths, seed=0)
        values = (*(W.T for W in self.below), self.gamma, self.alpha, self.outer.T)
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), values, strict=True):
                parameter.copy_(torch.tensor(value.copy()))
        return module


def batchnorm_network_optimum(X: ArrayLike, Y: ArrayLike, beta: float, depth: int = 2,
                              loss: str | Loss = "squared") -> tuple[BatchNormNetwork, float]:
    """Return a globally optimal ReLU network with batch norm before the last ReLU, and its objective.

    Parameters
    ----------
    X : array_like, shape (n, d)
        n >= 2 and rank[X, 1] = n, else NotCovered.
    Y : array_like, shape (n,) or (n, K)
        As for `dualkit.whitened.whitened_relu_network` at depth 2: one-hot labels, one output, and more.
    beta : float, > 0
        Decay on gamma, alpha and W_L; with the squared loss also 0, the limit. For columns of unit variance
        instead of unit norm the optimal outputs are those for beta / sqrt(n).
    depth : int
        Number of weight matrices L >= 2. The optimum does not depend on it.
    loss : str or Loss

    Notes
    -----
    One-hot Y: unit k serves class k alone. With s_k = (sqrt(n_k) - beta)_+ and the unit vector h_k of class
    k, gamma_k = sqrt(s_k) ||h_k - mean||, alpha_k = sqrt(s_k n) mean, f = sum_k s_k h_k e_k^T. The weights
    below solve X u = h_k - mean up to a constant, which batch norm removes. Deeper, W_1 holds u and -u, the
    ReLUs pass on the two parts of X u, and W_{L-1} subtracts them.

    >>> X, Y = np.array([[1.0], [0.0]]), np.eye(2)
    >>> net, objective = batchnorm_network_optimum(X, Y, 0.5)
    >>> round(objective, 12), net.predict(X).round(12).tolist()
    (0.75, [[0.5, 0.0], [0.0, 0.5]])
    """
    X = check.data(X)
    n = len(X)
    Y, depth = check.labels(Y, n), check.integer(depth, "depth", 2)
    rank = structure(X).affine_rank
    if rank < n or n < 2:
        raise NotCovered(f"X must have n >= 2 rows and rank[X, 1] = n, found n = {n} and rank {rank}: batch "
                         f"norm then misses some centred vectors; drop samples or add features, or let certify "
                         f"bound a trained network")
    features, outputs, gains, value, _ = optimal_atoms(Y, beta, 2, loss)
    on = gains > 0 if gains.any() else np.arange(len(gains)) == 0  # keep a silent unit rather than none
    features, outputs, root = features[:, on], outputs[on], np.sqrt(gains[on])
    mean = features.mean(axis=0)
    gamma, z = np.linalg.norm(features - mean, axis=0), features - mean
    z[0, gamma < 1e-14] += 1.0  # a constant feature has gamma = 0, and any z will do
    below = (np.linalg.lstsq(X - X.mean(axis=0), z - z.mean(axis=0), rcond=1e-11)[0],)
    if depth > 2:
        m = len(root)
        pair = np.vstack([np.eye(m), -np.eye(m)])
        below = (below[0] @ pair.T, *[np.eye(2 * m)] * (depth - 3), pair)
    return BatchNormNetwork(below, root * gamma, root * mean * np.sqrt(n), root[:, None] * outputs), value
