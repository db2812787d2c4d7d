"""Global optima of training problems, by the theorem that covers the case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.batchnorm import BatchNormNetwork, batchnorm_network_optimum
from dualkit.certificate import Certificate, certify
from dualkit.losses import Loss, Squared, get_loss
from dualkit.networks import Network, one_chain
from dualkit.optimum import linear_optimum, relu_optimum, standard_theorem

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Solution:
    """A globally optimal network, the theorem that gives it, and its certificate.

    Attributes
    ----------
    network : Network or BatchNormNetwork
        The optimal weights.
    objective : float
        Loss plus weight decay at the optimum.
    theorem : str
        Label of the statement of the book that was used.
    certificate : Certificate or None
        Primal and dual value; None for the limit beta = 0, where scaling a dual point gives no bound.
    """

    network: Network | BatchNormNetwork
    objective: float
    theorem: str
    certificate: Certificate | None

    @property
    def weights(self) -> tuple[Array, ...]:
        """The weight matrices (W_1, ..., W_L) of a network of one chain."""
        if isinstance(self.network, BatchNormNetwork):
            return (*self.network.below, self.network.outer)
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
          loss: str | Loss = "squared", architecture: str = "parallel", bias: bool = False,
          batch_norm: bool = False, width: int | None = None) -> Solution:
    """Train a network to global optimality without training.

    The objective is ``l(f(X), Y) + (beta/2) * sum of squared weights``, with 0.5 ||.||_F^2 for the squared
    loss and no 1/n. The structure of the data decides which theorem applies; `Solution.theorem` names it.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Data, one sample a row.
    Y : array_like, shape (n,) or (n, K)
        Labels.
    beta : float, >= 0
        Weight decay; beta = 0 means the limit, an interpolation of least norm.
    depth : int
        Number L of weight matrices.
    activation : {"linear", "relu"}
    loss : str or Loss
        "squared", or on whitened data and with batch norm also "logistic", "hinge", "cross-entropy".
    architecture : {"parallel", "standard"}
        A sum of chains whose last hidden layer has one unit, or one chain. The optimal values agree for
        linear networks, for depth 2, and where a standard ReLU network is returned.
    bias : bool
        ReLU, depth 2, one feature, one output: hidden biases and an output constant, not penalised.
    batch_norm : bool
        ReLU: batch norm before the last ReLU; decay on its scale and shift and on the last layer alone.
    width : int, optional
        Hidden width of a linear network; by default the rank of the optimum (at least 1). More width never
        lowers the objective.

    Raises
    ------
    NotCovered
        If no theorem of the book covers the case; the message names the nearest covered one.
    ValueError, TypeError
        For bad input, naming the argument, or for a width below the rank of the optimum.

    >>> import numpy as np
    >>> solution = solve(np.eye(2), np.array([3.0, 0.0]), beta=1.0)
    >>> solution.objective, solution.theorem
    (2.5, 'thm-scalar')
    >>> solution.predict(np.eye(2)).ravel().round(12).tolist()
    [2.0, 0.0]
    >>> solve(np.eye(2), np.array([3.0, -2.0]), beta=1.0, activation="relu").theorem
    'thm-whitened'
    >>> deep = {"activation": "relu", "architecture": "standard", "depth": 3}
    >>> solve(np.eye(2), np.eye(2), beta=0.1, loss="cross-entropy", **deep).theorem
    'cor-two-classes'
    """
    X = check.data(X)
    Y = check.labels(Y, X.shape[0])
    beta, depth = check.nonnegative(beta, "beta"), check.integer(depth, "depth", 2)
    loss = get_loss(loss)
    check.choice(activation, "activation", ("linear", "relu"))
    check.choice(architecture, "architecture", ("parallel", "standard"))
    if activation == "linear" and (bias or batch_norm):
        raise NotCovered("bias and batch_norm are covered for activation='relu' only; pass False")
    if activation == "relu" and width is not None:
        raise NotCovered(f"width is fixed by the theorem for activation='relu', found {width}; pass None")
    if bias and batch_norm:
        raise NotCovered("bias=True is not covered with batch_norm=True, whose shift moves units; pass bias=False")
    if activation == "linear":
        network, value, theorem = linear_optimum(X, Y, beta, depth, loss, width)
    elif batch_norm:
        network, value = batchnorm_network_optimum(X, Y, beta, depth, loss)
        theorem = "thm-batchnorm" if isinstance(loss, Squared) else "lem-batchnorm-whitens"
    else:
        network, value, theorem = relu_optimum(X, Y, beta, depth, loss, bias)
        if architecture == "standard" and depth > 2:
            if (proof := standard_theorem(Y, theorem)) is None:
                raise NotCovered(f"standard ReLU networks of depth {depth} can be better than the closed form, as "
                                 f"the chapter 'Deep standard networks do better' shows; parallel networks have "
                                 f"{value!r}, an upper bound; covered are one output on whitened data or data of "
                                 f"rank one, and parallel label rows or two classes on whitened data")
            network, theorem = one_chain(network), proof
    if beta == 0:
        return Solution(network, value, theorem, None)
    if depth > 2 or batch_norm:
        F = network.predict(X).reshape(Y.shape)
        primal = float(loss.value(F, Y)) + beta * network.penalty
        return Solution(network, primal, theorem, Certificate(primal, value, "proven", theorem))
    certificate = certify(network, X, Y, beta, loss=loss)
    return Solution(network, certificate.primal, theorem, certificate)
