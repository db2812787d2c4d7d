"""Convex losses, their Fenchel conjugates, and the scaling of weight decay that goes with them.

A loss is a sum over samples with no 1/n, and the book trains ``l(F, Y) + (beta/2) ||theta||^2``; the
last three functions convert beta from and to objectives that average. Chapter "Other losses".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array

#: Points outside the domain of a conjugate (slopes, probabilities) by at most this are moved to its boundary.
ROUNDING = 1e-12


@runtime_checkable
class Loss(Protocol):
    """A convex loss l(F, Y); a new one is a subclass with two constants, `check_labels` and four formulas.

    F, Y, Z and Lambda share one shape, (n,) or (n, K); only (n,) and (n, 1) may meet. Arrays come back in
    the shape of the first argument. Bad input raises a ValueError or TypeError that names it, a sum beyond
    the largest float64 an OverflowError. The formulas get checked arrays of equal shape.
    """

    name: ClassVar[str]  # what get_loss calls it
    smoothness: ClassVar[float]  # least Lipschitz constant of the gradient in the Frobenius norm, or inf
    _value: Callable[[Array, Array], Array]  # terms whose sum is l(F, Y)
    _gradient: Callable[[Array, Array], Array]
    _conjugate: Callable[[Array, Array], Array | None]  # terms whose sum is l*(Z, Y); None off the domain
    _scale: Callable[[Array, Array], float]  # best multiple of a direction whose largest entry is 1 or -1

    def check_labels(self, Y: ArrayLike) -> Array:
        """Return Y in float64, or raise a ValueError if these are not labels of the loss's kind."""
        return check.array(Y, "Y")

    @np.errstate(over="ignore", invalid="ignore")
    def value(self, F: ArrayLike, Y: ArrayLike) -> float:
        """Return l(F, Y), summed over samples."""
        return _total(self._value(*_pair(F, self.check_labels(Y), "F")), f"{self.name} loss")

    def gradient(self, F: ArrayLike, Y: ArrayLike) -> Array:
        """Return the gradient of l in F (at a kink the subgradient the class names)."""
        return self._gradient(*_pair(F, self.check_labels(Y), "F"))

    @np.errstate(over="ignore", invalid="ignore")
    def conjugate(self, Z: ArrayLike, Y: ArrayLike) -> float:
        """Return l*(Z, Y) = sup_F <Z, F> - l(F, Y); ``inf`` outside the domain, see `ROUNDING`."""
        terms = self._conjugate(*_pair(Z, self.check_labels(Y), "Z"))
        return float("inf") if terms is None else _total(terms, f"conjugate of the {self.name} loss")

    def dual_value(self, Lambda: ArrayLike, Y: ArrayLike) -> float:
        """Return -l*(-Lambda, Y), the dual objective; ``-inf`` outside the domain."""
        return -self.conjugate(-_pair(Lambda, self.check_labels(Y), "Lambda")[0], Y)

    def dual_point(self, F: ArrayLike, Y: ArrayLike) -> Array:
        """Return Lambda = -gradient(F, Y), which is always in the domain of the dual objective."""
        return 0.0 - self.gradient(F, Y)

    def scale(self, Lambda: ArrayLike, Y: ArrayLike, limit: float) -> float:
        """Return the c in [-limit, limit] that maximises dual_value(c * Lambda, Y); 0 if Lambda = 0.

        With limit = beta / support(Lambda), ``inf`` allowed, all these c are dual feasible, of either sign:
        support(c Lambda) = |c| support(Lambda). The best c is negative where Lambda points away from the
        labels, as the residual of an overshooting network does. c Lambda is in the domain, as 0 is.
        """
        limit = check.nonnegative(np.finfo(float).max if limit == np.inf else limit, "limit")
        Lambda, Y = _pair(Lambda, self.check_labels(Y), "Lambda")
        size = float(np.abs(Lambda).max())
        # A concave function of c is largest on an interval at its free maximiser, clipped.
        return float(np.clip(float(self._scale(Lambda / size, Y)) / size, -limit, limit)) if size else 0.0


@dataclass(frozen=True)
class Squared(Loss):
    """Squared loss 0.5 ||F - Y||_F^2; l*(Z, Y) = <Z, Y> + 0.5 ||Z||_F^2 for every Z.

    >>> Squared().dual_value([3.0, 4.0], [3.0, 4.0]), Squared().scale([-6.0, -8.0], [3.0, 4.0], limit=1.0)
    (12.5, -0.5)
    """

    name, smoothness = "squared", 1.0

    def _value(self, F, Y): return 0.5 * (F - Y) ** 2
    def _gradient(self, F, Y): return F - Y
    def _conjugate(self, Z, Y): return Z * (Y + 0.5 * Z)
    def _scale(self, U, Y): return np.sum(U * Y) / np.sum(U * U)


class MarginLoss(Loss, Protocol):
    """A sum over samples of phi(y f), phi convex and non-increasing, for labels +1 and -1 of shape (n,) or (n, 1).

    A new one needs a name, `smoothness`, `steepest` and three formulas. The conjugate depends on a = -y z alone
    and is finite for 0 <= a <= `steepest`. For `solve` phi must be >= 0 and fall to 0.

    >>> class SquaredHinge(MarginLoss):
    ...     name, smoothness, steepest = "squared hinge", 1.0, float("inf")
    ...     def phi(self, m): return 0.5 * np.maximum(1 - m, 0.0) ** 2
    ...     def slope(self, m): return -np.maximum(1 - m, 0.0)
    ...     def entropy(self, a): return a * (0.5 * a - 1)
    >>> SquaredHinge().value([0.0, 0.5], [1.0, -1.0]), SquaredHinge().scale([0.5], [1.0], limit=9)
    (1.625, 2.0)
    """

    steepest: ClassVar[float]  # the largest -phi'
    phi: Callable[[Array], Array]
    slope: Callable[[Array], Array]  # phi', at a kink a subgradient
    entropy: Callable[[Array], Array]  # phi*(-a)

    def check_labels(self, Y: ArrayLike) -> Array:
        Y = check.array(Y, "Y")
        if (several := check.columns(Y).shape[1] > 1) or (np.abs(Y) != 1).any():
            raise ValueError(f"Y must hold one label +1 or -1 a sample for the {self.name} loss, found "
                             f"{f'shape {Y.shape}' if several else Y[np.abs(Y) != 1][0]}; map 0 and 1 by "
                             f"2 * Y - 1, pass several classes to 'cross-entropy'")
        return Y

    def _value(self, F, Y): return self.phi(Y * F)
    def _gradient(self, F, Y): return Y * self.slope(Y * F)

    def _conjugate(self, Z, Y):
        a = -Y * Z
        inside = a.min() >= -ROUNDING and a.max() <= self.steepest + ROUNDING
        return self.entropy(np.clip(a, 0.0, self.steepest)) if inside else None

    def _scale(self, U, Y):
        from scipy.optimize import minimize_scalar

        a, top = Y * U, min(self.steepest, 1.0)
        if a.min() < -ROUNDING and a.max() > ROUNDING:
            return 0.0  # nothing else is in the domain
        def cost(c): return float(np.sum(self.entropy(c * np.abs(a))))
        while top < self.steepest and cost(2 * top) < cost(top):
            top *= 2
        top = min(2 * top, self.steepest)
        inner = minimize_scalar(cost, bounds=(0.0, top), method="bounded", options={"xatol": 1e-12 * top}).x
        return np.sign(a.sum()) * min(inner, top, key=cost)


@dataclass(frozen=True)
class Logistic(MarginLoss):
    """Logistic loss sum log(1 + exp(-y f)), labels +1 and -1 of shape (n,) or (n, 1).

    With a = -y z in [0, 1]: l*(z, y) = sum a log a + (1 - a) log(1 - a), 0 log 0 = 0.

    >>> Logistic().dual_point([0.0, 1e300], [1.0, -1.0]).tolist(), Logistic().dual_value([2.0], [1.0])
    ([0.5, -1.0], -inf)
    """

    name, smoothness, steepest = "logistic", 0.25, 1.0

    def phi(self, m): return np.logaddexp(0.0, -m)
    def slope(self, m): return -np.exp(-np.logaddexp(0.0, m))
    def entropy(self, a): return a * np.log(a + (a == 0)) + (1 - a) * np.log1p((a == 1) - a)
    def _scale(self, U, Y): return _most_entropy(np.tile([1.0, 0.0], (U.size, 1)), np.outer(Y * U, [1, -1]))


@dataclass(frozen=True)
class Hinge(MarginLoss):
    """Hinge loss sum max(1 - y f, 0), labels +1 and -1 of shape (n,) or (n, 1).

    With a = -y z in [0, 1]: l*(z, y) = -sum a. At the kink y f = 1 the subgradients are -a y, and `gradient`
    takes a = 0. An optimal F often sits on kinks: the bound from `dual_point` is then valid but loose, and
    `dualkit.certify` looks for a better a.

    >>> Hinge().dual_point([1.0, 0.5], [1.0, -1.0]).tolist(), Hinge().scale([0.1, -0.2], [1.0, -1.0], limit=9)
    ([0.0, -1.0], 5.0)
    """

    name, smoothness, steepest = "hinge", float("inf"), 1.0

    def phi(self, m): return np.maximum(1 - m, 0.0)
    def slope(self, m): return np.where(m < 1, -1.0, 0.0)
    def entropy(self, a): return -a


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Cross-entropy -sum Y log softmax(F); rows of Y are one-hot or probabilities, shape (n, K), K >= 2.

    With q = Z + Y >= 0, rows of Z summing to 0: l*(Z, Y) = sum q log q, 0 log 0 = 0.

    >>> SoftmaxCrossEntropy().dual_point([[0.0, 0.0], [-1e300, 1e300]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
    [[0.5, -0.5], [0.0, 0.0]]
    """

    name, smoothness = "cross-entropy", 0.5

    def check_labels(self, Y: ArrayLike) -> Array:
        rows = check.columns(Y := check.array(Y, "Y"))
        wrong = (rows.min(axis=1) < 0) | (np.abs(rows.sum(axis=1) - 1) > ROUNDING)
        if (one := rows.shape[1] < 2) or wrong.any():
            raise ValueError(f"Y must hold rows of K >= 2 probabilities for the {self.name} loss, found "
                             f"{f'shape {Y.shape}' if one else rows[wrong][0]}; integer labels become "
                             f"one-hot rows by numpy.eye(K)[labels]")
        return Y

    def _value(self, F, Y): return np.where(Y > 0, -Y * _log_softmax(F), 0.0)

    def _gradient(self, F, Y):
        # expm1 keeps the sum of a row 0 relative to its size: scale magnifies rows of confident networks.
        log_p = _log_softmax(F)
        return np.where(Y == 1, np.expm1(log_p), np.exp(log_p) - Y)

    def _conjugate(self, Z, Y):
        inside = (Z + Y).min() >= -ROUNDING and np.abs(Z.sum(axis=1)).max() <= ROUNDING
        return (Z + Y) * np.log(np.where(Z + Y > 0, Z + Y, 1.0)) if inside else None

    def _scale(self, U, Y):
        off = np.abs(U.sum(axis=1)).max()
        if off > 1e-6:  # more than rounding: only c = 0 is in the domain
            return 0.0
        reach = 0.5 * ROUNDING / max(off, ROUNDING**2)
        return np.clip(_most_entropy(Y, U), -reach, reach)


def get_loss(loss: str | Loss) -> Loss:
    """Return the loss called "squared", "logistic", "hinge" or "cross-entropy"; return a `Loss` as it is."""
    if isinstance(loss, Loss) and not isinstance(loss, type):
        return loss
    known: dict[str, Loss] = {kind.name: kind() for kind in (Squared, Logistic, Hinge, SoftmaxCrossEntropy)}
    return known[check.choice(loss, "loss", tuple(known))]


def beta_from_mean(beta_mean: float, n: int) -> float:
    """Return the beta of ``l + (beta/2) ||theta||^2`` that matches ``l / n + (beta_mean/2) ||theta||^2``."""
    return check.nonnegative(beta_mean, "beta_mean") * check.integer(n, "n", 1)


def mean_from_beta(beta: float, n: int) -> float:
    """Return beta / n, the inverse of `beta_from_mean`."""
    return check.nonnegative(beta, "beta") / check.integer(n, "n", 1)


def weight_decay(beta: float, criterion: str, shape: tuple[int, ...]) -> float:
    """Return the ``weight_decay`` with which torch.optim's SGD or Adam minimises l + (beta/2) ||theta||^2.

    They add weight_decay * theta to the gradient, so a criterion l / m needs beta / m. AdamW decays outside
    the gradient and has other stationary points. Keep biases in a parameter group without decay.

    `criterion` is what is back-propagated: "sum" for l; "mean" for l / n, as torch's CrossEntropyLoss;
    "MSELoss" for torch's mean over n K entries, no one half, 2 l / (n K). `shape` is Y's, (n,) or (n, K).

    >>> [weight_decay(6.0, criterion, (3, 4)) for criterion in ("sum", "mean", "MSELoss")]
    [6.0, 2.0, 1.0]
    """
    sizes = [check.integer(k, "shape", 1) for k in np.atleast_1d(shape).tolist() or [0]]
    m = {"sum": 1.0, "mean": float(sizes[0]), "MSELoss": float(np.prod(sizes)) / 2}
    return check.nonnegative(beta, "beta") / m[check.choice(criterion, "criterion", tuple(m))]


def _pair(A: ArrayLike, Y: Array, name: str) -> tuple[Array, Array]:
    """Return A, and Y in the shape of A."""
    A = check.array(A, name)
    if check.columns(A).shape != check.columns(Y).shape:
        raise ValueError(f"{name} must have the shape of Y, found {A.shape} against {Y.shape}; reshape it")
    return A, Y.reshape(A.shape)


def _total(terms: Array, what: str) -> float:
    if not np.isfinite(total := float(np.sum(terms))):
        raise OverflowError(f"the {what} exceeds the largest float64; rescale data, labels or outputs")
    return total


def _log_softmax(F: Array) -> Array:
    F = F - F.max(axis=1, keepdims=True)
    return F - np.logaddexp.reduce(F, axis=1, keepdims=True)


@np.errstate(divide="ignore")
def _most_entropy(P: Array, D: Array) -> float:
    """Return the c for which P - c D >= 0 has the largest entropy; rows of D sum to 0, max |D| = 1.

    Bisection finds the zero of the decreasing slope sum D log(P - c D) to rounding. Entries of D of the size
    of rounding are left out: no c in the domain makes them larger.
    """
    P, D = P[np.abs(D) > ROUNDING], D[np.abs(D) > ROUNDING]
    low, high = float((P / D)[D < 0].max()), float((P / D)[D > 0].min())
    while low < (middle := (low + high) / 2) < high:
        slope = np.sum(D * np.log(np.maximum(P - middle * D, 0.0)))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return low
