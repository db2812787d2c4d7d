"""Duality certificates: how far a given network is from the global optimum, proven."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.features import FeatureSet, LinearFeatures
from dualkit.losses import Loss, Squared, get_loss
from dualkit.networks import Network, as_network

ROUNDING = 1e-10


@dataclass(frozen=True)
class Certificate:
    """A primal value, a dual value, and what the gap between them proves.

    Attributes
    ----------
    primal : float
        Objective of the network: loss + beta * (sum of squared weights) / 2.
    dual : float
        A lower bound on the objective of every network of the same kind, whatever its width.
    dual_point : ndarray
        The dual-feasible variable that gives the bound, in the shape of the labels.
    support : float
        Value of the support function at minus the loss gradient; at an optimum it equals beta, unless
        all weights are zero.
    status : str
        "proven": the dual value is a lower bound by the theorem named.
    theorem : str
        Label of the statement in the book.
    """

    primal: float
    dual: float
    dual_point: Array
    support: float
    status: str
    theorem: str

    @property
    def gap(self) -> float:
        """primal - dual, an upper bound on the distance to the global optimum; never negative."""
        gap = self.primal - self.dual
        if gap < -ROUNDING * max(1.0, abs(self.primal)):
            raise ArithmeticError(f"weak duality is violated: primal {self.primal!r} < dual {self.dual!r}; "
                                  f"this is a defect of the package, please report it with the data")
        return max(gap, 0.0)

    @property
    def relative_gap(self) -> float:
        """The gap divided by the primal value (0 if both are zero)."""
        return self.gap / abs(self.primal) if self.primal else 0.0 if self.gap == 0 else float("inf")

    def __str__(self) -> str:
        return (f"objective {self.primal:.8g}, lower bound {self.dual:.8g} ({self.theorem}, {self.status}): "
                f"no network of this kind is better by more than {self.gap:.1e} "
                f"({100 * self.relative_gap:.2g} %)")


def certify(network: object, X: ArrayLike, Y: ArrayLike, beta: float, *, loss: str | Loss = "squared",
            activation: str = "linear") -> Certificate:
    """Bound the distance of a network to the global optimum of its training problem.

    The objective is ``l(f(X), Y) + (beta/2) * sum of squared weights`` with no 1/n. Minus the gradient of
    the loss at the network's outputs, scaled until it is dual feasible, gives a lower bound; at an
    optimal network the bound is the objective itself.

    Parameters
    ----------
    network : torch.nn.Module, Solution, Network, or sequence of ndarray
        Trained, solved, or made by hand; a sequence W_1, ..., W_L is read with `activation`.
    X : array_like, shape (n, d)
    Y : array_like, shape (n,) or (n, K)
    beta : float, > 0
        Weight decay.
    loss : str or Loss
        "squared" for 0.5 ||.||_F^2; see `dualkit.losses`.
    activation : {"linear", "relu"}
        Used only when `network` is a sequence of arrays.

    Returns
    -------
    Certificate

    Raises
    ------
    NotCovered
        If no lower bound is known for networks of this kind.
    ValueError
        If the network's outputs and the labels have different shapes.

    Notes
    -----
    Theorem ``thm-duality`` and corollary ``cor-certificate``, chapter "Two-layer linear networks".

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.eye(2), np.array([3.0, 0.0])
    >>> optimal = [np.array([[np.sqrt(2.0)], [0.0]]), np.array([[np.sqrt(2.0)]])]
    >>> round(certify(optimal, X, y, beta=1.0).gap, 12)
    0.0
    >>> round(certify([W / 2 for W in optimal], X, y, beta=1.0).gap, 4)
    1.125
    """
    X = check.data(X)
    Y = check.labels(Y, X.shape[0])
    beta = check.positive(beta, "beta")
    loss = get_loss(loss)
    net = as_network(network, activation)
    F = net.predict(X)
    if F.shape != check.columns(Y).shape:
        raise ValueError(f"Y must have the shape of the network's outputs {F.shape}, found {Y.shape}")
    F = F.reshape(Y.shape)
    features = feature_set(net, X)
    direction = loss.dual_point(F, Y)
    feasible = _feasible(direction, Y, beta, features, loss)
    return Certificate(primal=float(loss.value(F, Y)) + beta * net.penalty,
                       dual=float(loss.dual_value(feasible, Y)), dual_point=feasible,
                       support=features.support(direction).value, status="proven", theorem="thm-duality")


def _feasible(direction: Array, Y: Array, beta: float, features: FeatureSet, loss: Loss) -> Array:
    """Scale minus the loss gradient into the dual-feasible set, for as large a dual value as possible."""
    if isinstance(features, LinearFeatures) and isinstance(loss, Squared) and direction.ndim == 2:
        # In the right singular basis of X^T Lambda constraint and objective split into columns, so each
        # column gets its own scale; with one scale for all, the gap of a network at distance eps from an
        # optimum with several active directions would be of order eps, not eps^2.
        _, s, Vt = np.linalg.svd(features.X.T @ direction)
        columns, targets = direction @ Vt.T, Y @ Vt.T
        # Directions that X does not see are bounded by a large number: rounding must not be blown up.
        limits = np.minimum(1e6, beta / np.maximum(np.pad(s, (0, len(Vt) - len(s))), 1e-300))
        scales = [loss.scale(c, t, limit) for c, t, limit in zip(columns.T, targets.T, limits, strict=True)]
        direction = columns * scales @ Vt
    support = features.support(direction).value
    return loss.scale(direction, Y, beta / support if support > 0 else np.inf) * direction


def feature_set(network: Network, X: Array) -> FeatureSet:
    """Return the feature set of a network's hidden units on the data.

    Raises
    ------
    NotCovered
        If the book has no feature set for this kind of network.
    """
    if network.biases is not None or network.constant is not None:
        raise NotCovered("certificates here cover networks without biases, found biases; "
                         "the nearest covered case is the same network with bias=False")
    if network.activation == "linear" and network.depth == 2:
        return LinearFeatures(X)
    raise NotCovered(f"no certificate for a {network.activation} network of depth {network.depth}; "
                     f"the nearest covered case is a linear network of depth 2")
