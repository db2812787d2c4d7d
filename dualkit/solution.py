"""Global optima of training problems, by the theorem that covers the case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.certificate import Certificate, certify
from dualkit.depth import aligned_factors, scalar_linear
from dualkit.linear import interpolate, nuclear_regression
from dualkit.losses import Loss, get_loss
from dualkit.networks import Network

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Solution:
    """A globally optimal network, the theorem that gives it, and its certificate.

    Attributes
    ----------
    network : Network
        The optimal weights.
    objective : float
        Loss plus weight decay at the optimum.
    theorem : str
        Label of the statement of the book that was used.
    certificate : Certificate or None
        Primal and dual value; None for the limit beta = 0, where the dual problem is unbounded in scale.
    """

    network: Network
    objective: float
    theorem: str
    certificate: Certificate | None

    @property
    def weights(self) -> tuple[Array, ...]:
        """The weight matrices (W_1, ..., W_L) of a network of one chain."""
        if len(self.network.branches) > 1:
            raise ValueError(f"weights are those of one chain, but this network has "
                             f"{len(self.network.branches)} branches; use solution.network.branches")
        return self.network.branches[0]

    def predict(self, X: ArrayLike) -> Array:
        """Return f(X), shape (n, K)."""
        return self.network.predict(X)

    def to_torch(self) -> torch.nn.Module:
        """Return the network as an ordinary torch module in float64."""
        return self.network.to_torch()


def solve(X: ArrayLike, Y: ArrayLike, beta: float, *, depth: int = 2, activation: str = "linear",
          loss: str | Loss = "squared", width: int | None = None) -> Solution:
    """Train a network to global optimality without training.

    The objective is ``0.5 ||f(X) - Y||_F^2 + (beta/2) * sum of squared weights``, with no 1/n.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Data, one sample a row.
    Y : array_like, shape (n,) or (n, K)
        Labels.
    beta : float, >= 0
        Weight decay; beta = 0 means the limit, the interpolation of least norm.
    depth : int
        Number of weight matrices.
    activation : {"linear"}
    loss : {"squared"}
    width : int, optional
        Hidden width of the network returned; by default the rank of the optimum (at least 1). More width
        never lowers the objective.

    Returns
    -------
    Solution

    Raises
    ------
    NotCovered
        If no theorem of the book covers the case; the message names the nearest covered one.
    ValueError
        For bad input, naming the argument, or for a width below the rank of the optimum.

    Notes
    -----
    Theorems ``thm-scalar`` (one output), ``thm-nuclear`` (K outputs) and ``prop-interpolation`` (beta = 0)
    of the chapter "Two-layer linear networks".

    Examples
    --------
    >>> import numpy as np
    >>> solution = solve(np.eye(2), np.array([3.0, 0.0]), beta=1.0)
    >>> solution.objective, solution.theorem
    (2.5, 'thm-scalar')
    >>> solution.predict(np.eye(2)).ravel().round(12).tolist()
    [2.0, 0.0]
    """
    X = check.data(X)
    Y = check.labels(Y, X.shape[0])
    beta = check.nonnegative(beta, "beta")
    depth = check.integer(depth, "depth", 2)
    if (depth, activation, get_loss(loss).name) != (2, "linear", "squared"):
        raise NotCovered(f"no theorem covers depth={depth}, activation={activation!r}, loss={loss!r}; "
                         f"the nearest covered case is depth=2, activation='linear', loss='squared'")
    targets = check.columns(Y)
    if beta == 0:
        W, theorem = interpolate(X, targets), "prop-interpolation"
    elif targets.shape[1] == 1:
        W, theorem = scalar_linear(X, targets[:, 0], beta, 2).w[:, None], "thm-scalar"
    else:
        W, theorem = nuclear_regression(X, targets, beta).W, "thm-nuclear"
    network = Network((tuple(aligned_factors(W, 2, width)),))
    if beta == 0:
        return Solution(network, 0.0, theorem, None)
    certificate = certify(network, X, Y if Y.ndim == 2 else targets, beta, loss=loss)
    return Solution(network, certificate.primal, theorem, certificate)
