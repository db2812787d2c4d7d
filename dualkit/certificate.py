"""Duality certificates: how far a given network is from the global optimum, proven."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.arrangements import ReLUFeatures
from dualkit.batchnorm import BatchNormNetwork
from dualkit.conversion import as_network
from dualkit.features import FeatureSet, LinearFeatures
from dualkit.hinge import HingeFeatures
from dualkit.losses import Loss, Squared, get_loss
from dualkit.networks import Network
from dualkit.optimum import linear_optimum, relu_optimum, rows_whitened, standard_theorem
from dualkit.rank_one import RankOneFeatures
from dualkit.sampled import SampledReLUFeatures
from dualkit.structure import structure
from dualkit.whitened import WhitenedReLUFeatures, optimal_atoms, value_bounds

ROUNDING = 1e-10
KINKS = 1e-2, 1e-4, 1e-6        # distances from a kink of the loss within which the network may mean the kink


@dataclass(frozen=True)
class Certificate:
    """A primal value, a dual value, and what the gap between them proves.

    Attributes
    ----------
    primal : float
        Objective of the network: loss + beta * (sum of squared weights) / 2.
    dual : float
        A lower bound on the objective of every network of the same kind, whatever its width.
    status : str
        "proven": `dual` is, and at an optimal network it is the objective (some gap may remain where `support` is
        only bounded). "proven, perhaps out of reach": batch norm where rank[X, 1] < n; an optimal network may keep
        a gap. "reference value, proof open": `dual` is proven but loose, and the optimum is at most `reference`.
        "heuristic bound": the support function was only searched, so the bound may be too high.
    theorem : str
        Label of the statement of the book that gives `dual`.
    dual_point : ndarray or None
        The dual-feasible variable behind the bound, in the shape of the labels; None where the bound is a value
        by a closed form, which is how networks of three and more layers are certified.
    support : float or None
        Value of the support function at minus the loss gradient, from which `dual_point` is scaled (an upper
        bound of it where the exact value is NP-hard); at an optimum it equals beta, unless all weights are zero.
    reference : float or None
        Objective of the network with one path for each direction of the label rows, for one-hot Y each class: an
        upper bound of the optimum that other networks can pass (not parallel ones where ``thm-whitened`` holds).
    """

    primal: float
    dual: float
    status: str
    theorem: str
    dual_point: Array | None = None
    support: float | None = None
    reference: float | None = None

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
        text = (f"objective {self.primal:.8g}, lower bound {self.dual:.8g} ({self.theorem}, {self.status}): "
                f"{'it seems that ' if self.status == 'heuristic bound' else ''}"
                f"no network of this kind is better by more than {self.gap:.1e} "
                f"({100 * self.relative_gap:.2g} %)")
        if self.reference is None:
            return text
        return f"{text}; one path for each direction of the label rows gives {self.reference:.8g}"


def certify(network: object, X: ArrayLike, Y: ArrayLike, beta: float, *, loss: str | Loss = "squared",
            activation: str = "linear") -> Certificate:
    """Bound the distance of a network to the global optimum of its training problem.

    The objective is ``l(f(X), Y) + (beta/2) * sum of squared weights`` with no 1/n. Minus the gradient of
    the loss at the network's outputs, scaled until it is dual feasible, gives a lower bound; at an
    optimal network the bound is the objective itself. At a kink of the loss the subgradient is chosen for
    which the weights are nearest to being stationary.

    Parameters
    ----------
    network : torch.nn.Module, Solution, Network, BatchNormNetwork, or sequence of ndarray
        Trained, solved, or made by hand; a sequence W_1, ..., W_L is read with `activation`. Two-layer
        networks are compared with the dual problem, deeper ones with the optimal value where a theorem gives
        it, on whitened data otherwise with a lower bound (ReLU, squared loss or cross-entropy of one-hot Y).
        Batch norm (decay on scale, shift and last layer) is covered at any depth, on any data, for any loss.
    X : array_like, shape (n, d)
    Y : array_like, shape (n,) or (n, K)
    beta : float, > 0
        Weight decay.
    loss : str or Loss
        "squared" for 0.5 ||.||_F^2; see `dualkit.losses`.
    activation : {"linear", "relu"}
        Used only when `network` is a sequence of arrays.

    Raises
    ------
    NotCovered, ValueError
        If no lower bound is known for networks of this kind; for bad input.

    Notes
    -----
    Theorem ``thm-duality`` and corollary ``cor-certificate``, chapter "Optimal weights are extreme points".
    Rounding of the outputs moves the support by about 1e-16 ||X|| ||Y||. Where beta is not much larger, this limits
    the relative gap: to about 1e-10 at 1e-10 times the beta that switches a linear network off, 1e-7 at 1e-12.

    >>> X, y = np.eye(2), np.array([3.0, 0.0])
    >>> optimal = [np.array([[np.sqrt(2.0)], [0.0]]), np.array([[np.sqrt(2.0)]])]
    >>> round(certify(optimal, X, y, beta=1.0).gap, 12)
    0.0
    >>> round(certify([W / 2 for W in optimal], X, y, beta=1.0).gap, 4)
    1.125
    >>> line, Y = [[0.0], [1.0], [2.0]], np.eye(2)[[0, 1, 0]]  # rank[X, 1] = 2 < n = 3
    >>> c = certify(BatchNormNetwork((np.eye(1),), np.ones(1), np.ones(1), np.eye(1, 2)), line, Y, beta=0.5)
    >>> round(c.dual, 6), c.theorem, c.status
    (0.957107, 'thm-batchnorm', 'proven, perhaps out of reach')
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
    primal = float(loss.value(F, Y)) + beta * net.penalty
    if isinstance(net, BatchNormNetwork):
        return _certify_batchnorm(net, X, Y, beta, loss, primal)
    if net.depth > 2:
        return _certify_by_value(net, X, Y, beta, loss, primal)
    features = feature_set(net, X)
    directions = [loss.dual_point(F, Y)]
    if isinstance(features, HingeFeatures):
        if not isinstance(loss, Squared):
            raise NotCovered(f"networks with biases are certified for the squared loss, found {loss.name!r}: "
                             f"centring the dual variable may leave the domain of other losses")
        directions = [features.project(directions[0])]
    if loss.smoothness == np.inf and F.size == len(X):
        directions += [_multipliers(net, X, loss.dual_point(F + tol, Y), loss.dual_point(F - tol, Y), beta, tol)
                       for tol in KINKS]
    points = [_feasible(direction, Y, beta, features, loss) for direction in directions]
    best = int(np.argmax(values := [float(loss.dual_value(point, Y)) for point in points]))
    status = "heuristic bound" if isinstance(features, SampledReLUFeatures) else "proven"
    return Certificate(primal, values[best], status, "thm-duality", points[best],
                       _support(features, directions[best]))


def _multipliers(net: Network, X: Array, low: Array, high: Array, beta: float, tol: float) -> Array:
    """Return the dual point between low and high for which the network is nearest to being stationary.

    At a kink of the loss the dual point may be any in an interval, low <= Lambda <= high. At an optimum it obeys
    X^T D Lambda w = beta u for every unit of unit weights u, w and activation pattern D, in the directions in
    which no pre-activation leaves zero. These equations, weighted by the gains, are solved by bounded least
    squares; `tol` says which outputs and pre-activations count as being at a kink. One output.
    """
    from scipy.optimize import lsq_linear

    Lambda, low, high = low.copy(), low.ravel(), high.ravel()
    free, relu = low < high, net.activation == "relu"
    system = np.zeros((0, free.sum() + 1))
    for W1, W2 in net.branches if free.any() else ():
        for u, w in zip(W1.T, W2[:, 0], strict=True):
            z, size = X @ u, np.linalg.norm(u)
            near = relu & (np.abs(z) <= tol * size * np.linalg.norm(X, axis=1))
            on = ~near & (z > 0) if relu else ~near
            B = (X * (w * size * on)[:, None]).T
            rows = np.column_stack([B[:, free], beta * abs(w) * u - B[:, ~free] @ low[~free]])
            Q, s, _ = np.linalg.svd(X[near].T, full_matrices=False)
            Q = Q[:, s > 1e-10 * s.max(initial=0.0)]
            system = np.linalg.qr(np.vstack([system, rows - Q @ (Q.T @ rows)]), mode="r")
    if system.any():
        bounds = low[free], high[free]
        Lambda.flat[free] = lsq_linear(system[:, :-1], system[:, -1], bounds, method="bvls", tol=1e-14).x
    return Lambda


def _support(features: FeatureSet, Lambda: Array) -> float:
    """The support function, or a proven upper bound where the exact value is NP-hard."""
    if isinstance(features, WhitenedReLUFeatures):
        return features.support_bounds(Lambda)[1]
    return features.support(Lambda).value


def _feasible(direction: Array, Y: Array, beta: float, features: FeatureSet, loss: Loss) -> Array:
    """Scale minus the loss gradient into the dual-feasible set, for as large a dual value as possible."""
    if isinstance(features, LinearFeatures) and isinstance(loss, Squared) and direction.ndim == 2:
        # In the right singular basis of X^T Lambda constraint and objective split into columns, so each
        # column gets its own scale; with one scale for all, the gap of a network at distance eps from an
        # optimum with several active directions would be of order eps, not eps^2.
        _, s, Vt = np.linalg.svd(features.X.T @ direction)
        columns, targets = direction @ Vt.T, Y @ Vt.T
        # Directions that X does not see are bounded by a large number: rounding must not be blown up.
        limits = beta / np.maximum(np.pad(s, (0, len(Vt) - len(s))), beta / 1e6)
        scales = [loss.scale(c, t, limit) for c, t, limit in zip(columns.T, targets.T, limits, strict=True)]
        direction = columns * scales @ Vt
    support = _support(features, direction)
    return loss.scale(direction, Y, beta / support if support > 0 else np.inf) * direction


def _certify_batchnorm(net: BatchNormNetwork, X: Array, Y: Array, beta: float, loss: Loss,
                       primal: float) -> Certificate:
    """Bound all networks with batch norm by the two-layer problem on the data I_n, whatever X and the depth.

    With its scaled pre-activations for W_1 a network has the same objective there; what X decides is only which of
    them occur, all if rank[X, 1] = n. Where the least value has no closed form, the residual gives a bound.
    """
    try:
        theorem = "thm-batchnorm" if isinstance(loss, Squared) else "lem-batchnorm-whitens"
        bound = Certificate(primal, optimal_atoms(Y, beta, 2, loss)[3], "proven", theorem)
    except NotCovered:
        plain = Network(((net.hidden(X), net.outer),), "relu")
        bound = certify(plain, np.eye(len(X)), Y, beta, loss=loss)
        bound = replace(bound, primal=primal, theorem="lem-batchnorm-whitens")
    full = structure(X).affine_rank == len(X)
    return bound if full else replace(bound, status="proven, perhaps out of reach")


def _certify_by_value(net: Network, X: Array, Y: Array, beta: float, loss: Loss, primal: float) -> Certificate:
    """Deep networks have no convex dual; where a theorem gives their optimal value, that is the bound."""
    if net.biases is not None or net.constant is not None:
        raise NotCovered("certificates of deep networks cover networks without biases; bias=False is covered")
    if net.activation == "linear":
        _, value, theorem = linear_optimum(X, Y, beta, net.depth, loss)
    else:
        try:
            _, value, theorem = relu_optimum(X, Y, beta, net.depth, loss)
        except NotCovered:
            if not rows_whitened(X):
                raise
            theorem = None
        if theorem and any(branch[-2].shape[1] > 1 for branch in net.branches):
            theorem = standard_theorem(Y, theorem)
        if theorem is None:  # of the cases without a closed form only whitened data are left
            value, upper, theorem = value_bounds(Y, beta, net.depth, loss)
            if upper - value > ROUNDING * upper:
                return Certificate(primal, value, "reference value, proof open", theorem, reference=upper)
    return Certificate(primal, value, "proven", theorem)


def feature_set(network: Network, X: Array) -> FeatureSet:
    """Return the feature set of the hidden units of a two-layer network on the data.

    For ReLU units it is exact on whitened data, data of rank one, and for one output on data of rank at most 3
    (up to 500 samples at rank 3); otherwise its support function is heuristic. Biases are covered for one feature
    and one output.
    """
    K = network.branches[0][-1].shape[1]
    if network.biases is not None or network.constant is not None:
        if network.activation == "relu" and X.shape[1] == 1 and K == 1:
            return HingeFeatures(X)
        raise NotCovered(f"networks with biases are certified for ReLU, one feature and one output, found "
                         f"{network.activation}, {X.shape[1]} and {K}; without biases more is covered")
    if network.activation == "linear":
        return LinearFeatures(X)
    if rows_whitened(X):
        return WhitenedReLUFeatures(X)
    found = structure(X)
    if found.rank_one:
        return RankOneFeatures(X)
    if K == 1 and found.rank <= 3:
        with suppress(NotCovered):  # more cells than can be listed
            return ReLUFeatures(X)
    return SampledReLUFeatures(X, np.hstack([branch[0] for branch in network.branches]))
