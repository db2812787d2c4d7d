"""ReLU networks on whitened data (X X^T = I_n): the non-negative part of the ball.

X u runs over the unit ball of R^n, so the feature set is H = {h >= 0 : ||h||_2 <= 1}, whatever X. Where no
two rows of a matrix form an acute angle unless they are parallel, its gauge and the training problem have
closed forms. The objective is l(f(X), Y) + (beta/2) * (sum of squared weights), squared loss 0.5 ||.||^2, no
1/n. Chapter "Whitened data: the non-negative part of the ball".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._level import best_level
from dualkit._validate import Array, NotCovered
from dualkit.depth import depth_prox, depth_prox_value
from dualkit.features import Support, exposed
from dualkit.losses import Loss, MarginLoss, SoftmaxCrossEntropy, Squared, get_loss
from dualkit.networks import Network
from dualkit.structure import whitening_residual

TOLERANCE = 1e-9


def _whitened(X: ArrayLike) -> Array:
    X = check.data(X)
    residual = whitening_residual(X, "rows")
    if residual > TOLERANCE:
        raise ValueError(f"X must be whitened, X X^T = I_n, found ||X X^T - I_n||_F = {residual:.3g}; "
                         f"if X has rank n = {len(X)}, pass dualkit.data.whiten(X, 'rows')[0]")
    return X


@dataclass(frozen=True)
class WhitenedReLUFeatures:
    """The feature set H = {(X u)_+ : ||u||_2 <= 1} of a ReLU unit on whitened data, X of shape (n, d).

    X X^T = I_n must hold up to 1e-9, else ValueError.

    >>> H = WhitenedReLUFeatures(np.eye(3))
    >>> H.support([3.0, 4.0, -2.0]).value, H.gauge([3.0, 4.0, -2.0])
    (5.0, 7.0)
    """

    X: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "X", _whitened(self.X))

    def support(self, Lambda: ArrayLike) -> Support:
        """Return max over h in H of ||Lambda^T h||_2 if `support_bounds` agree to 1e-10, else NotCovered.

        One output: max(||Lambda_+||, ||Lambda_-||). They also agree whenever Lambda has rank two.
        """
        lower, upper = self.support_bounds(Lambda)
        if upper - lower.value > 1e-10 * upper:
            raise NotCovered(f"the support function of such a Lambda is NP-hard (copositivity), found only "
                             f"that it is between {lower.value!r} and {upper!r}; use support_bounds")
        return lower

    def support_bounds(self, Lambda: ArrayLike) -> tuple[Support, float]:
        """Return a feature with its ||Lambda^T h||_2, a lower bound, and an upper bound on the support.

        Lambda has shape (n,) or (n, K). The squared support is max h^T M h, h in H, M = Lambda Lambda^T,
        NP-hard as K grows, as deciding copositivity is. Upper bounds: sigma_1(Lambda); as h >= 0, the root of
        lambda_max(max(M, 0)); sqrt(s^2 + sigma_3^2), s the support of the two leading components of Lambda, a
        maximum over one angle. Lower bound: h <- (M h)_+, normalised, which ascends as M is semidefinite.
        """
        Lambda = check.columns(check.labels(Lambda, len(self.X), "Lambda"))
        size = float(np.abs(Lambda).max()) or 1.0
        Lambda = Lambda / size
        U, s, Vt = np.linalg.svd(Lambda, full_matrices=False)
        leading, third = _planar_maximiser(Lambda @ Vt[:2].T), s[2] if len(s) > 2 else 0.0
        upper, starts = min(s[0], np.hypot(np.linalg.norm(leading), third)), [leading, Lambda, -Lambda, U, -U]
        if third > 1e-12 * s[0]:
            eigenvalues, vectors = np.linalg.eigh(np.maximum(Lambda @ Lambda.T, 0.0))
            upper = min(upper, sqrt(eigenvalues[-1]))
            starts.append(np.abs(vectors[:, -1]))
        H, values = np.maximum(np.column_stack(starts), 0.0), np.array(-1.0)
        for _ in range(500):
            H = np.maximum(Lambda @ (Lambda.T @ H), 0.0)
            H /= np.maximum(np.linalg.norm(H, axis=0), np.finfo(float).tiny)
            before, values = values, np.linalg.norm(Lambda.T @ H, axis=0)
            if np.all(values <= before * (1 + 1e-14)):
                break
        # For Lambda = 0 every feature and every output will do.
        h = H[:, np.argmax(values)] if values.any() else np.eye(len(H))[0]
        lower = exposed(self.X.T @ h, h, size * Lambda)
        return lower, max(size * float(upper), lower.value)

    def gauge(self, F: ArrayLike) -> float:
        """Return the least total gain of units that add up to F, shape (n,) or (n, K).

        One output: ||F_+|| + ||F_-||. Several: sum_k ||f_k|| if F splits as in `row_directions`, else
        NotCovered. Columns of disjoint supports do, of any sign; for F >= 0 it is then the nuclear norm.
        """
        parts = row_directions(check.labels(F, len(self.X), "F"))
        if parts is None:
            raise NotCovered("F must have no rows at an acute angle unless they are parallel, found two; no "
                             "closed form is known; columns of disjoint supports are covered")
        return float(np.linalg.norm(parts[0], axis=0).sum())


def _planar_maximiser(P: Array) -> Array:
    """Return the (P w)_+ of greatest norm over unit vectors w, P of shape (n, 2) or (n, 1).

    ||(P w)_+||^2 is continuously differentiable, and a quadratic form on each arc between the angles where an
    entry of P w changes sign. At a maximum w leads the form of its arc, or the form is constant there.
    """
    x, y = np.pad(P, ((0, 0), (0, 2 - P.shape[1]))).T
    quarter = np.pi / 2 * np.array([[1], [-1]])
    cuts = np.unique(np.mod(np.arctan2(y, x) + quarter, 2 * np.pi))
    middle = cuts + np.diff(cuts, append=cuts[0] + 2 * np.pi) / 2
    on = (np.outer(x, np.cos(middle)) + np.outer(y, np.sin(middle)) > 0).astype(float)
    leading = np.arctan2(2 * (x * y) @ on, (x**2 - y**2) @ on) / 2
    theta = np.concatenate([middle, leading, leading + np.pi])
    features = np.maximum(np.outer(x, np.cos(theta)) + np.outer(y, np.sin(theta)), 0.0)
    return features[:, np.argmax(np.linalg.norm(features, axis=0))]


def row_directions(Y: ArrayLike, acute: bool = False) -> tuple[Array, Array] | None:
    """Split Y = sum_k y_k v_k^T: y_k >= 0 of disjoint supports, v_k unit vectors with <v_j, v_k> <= 0.

    Y has shape (n,) or (n, K). Return (y, V), shapes (n, m) and (m, K), m <= 2K, or None if two directions
    form an acute angle (tolerance 1e-9); acute=True allows such angles, and then m <= n. Rows up to 1e-12 of the
    longest count as zero.

    Lambda = sum_k y_k v_k^T / ||y_k|| has max(Lambda Lambda^T, 0) = sum_k y_k y_k^T / ||y_k||^2, hence
    support 1, and <Lambda, Y> = sum_k ||y_k||, the total gain of the obvious units: that is the gauge. One
    output has the directions 1 and -1, one-hot labels e_k, columns of disjoint supports e_k and -e_k.

    >>> y, V = row_directions([[2.0, 0.0], [0.0, -1.0], [3.0, 0.0]])
    >>> y.T.tolist(), V.tolist()
    ([[2.0, 0.0, 3.0], [0.0, 1.0, 0.0]], [[1.0, 0.0], [0.0, -1.0]])
    """
    Y = check.columns(check.array(Y, "Y"))
    norms = np.linalg.norm(Y, axis=1)
    left, y, V = norms > 1e-12 * norms.max(), [], []
    while left.any():
        i = int(np.argmax(left))
        V.append(Y[i] / norms[i])
        same = left & (np.linalg.norm(Y - norms[:, None] * V[-1], axis=1) <= TOLERANCE * norms)
        y.append(np.where(same, norms, 0.0))
        left &= ~same
    y, V = np.array(y).reshape(-1, len(Y)).T, np.array(V).reshape(-1, Y.shape[1])
    return None if not acute and np.any(np.triu(V @ V.T, 1) > TOLERANCE) else (y, V)


def relu_network(units: Array, outputs: Array, gains: Array, depth: int) -> Network:
    """Return sum_k gains_k (X units_k)_+ outputs_k^T with layers of norm gains_k^(1/L), the cheapest way.

    Units (d, m) and outputs (m, K) are unit vectors. L = 2 gives one chain, else a unit is a branch.
    """
    if not np.any(on := gains > 0):
        units, outputs, gains, on = 0 * units[:, :1], 0 * outputs[:1], gains[:1], [True]
    units, outputs, r = units[:, on], outputs[on], gains[on] ** (1 / depth)
    if depth == 2:
        return Network(((units * r, r[:, None] * outputs),), "relu")
    return Network(tuple((np.outer(u, s), *[np.full((1, 1), s)] * (depth - 2), np.outer(s, w))
                         for u, w, s in zip(units.T, outputs, r, strict=True)), "relu")


def whitened_relu_network(X: ArrayLike, Y: ArrayLike, beta: float, depth: int = 2,
                          loss: str | Loss = "squared") -> tuple[Network, float, str]:
    """Return a globally optimal parallel ReLU network on whitened data, its objective, and the theorem's label.

    Parameters
    ----------
    X : array_like, shape (n, d)
        X X^T = I_n up to 1e-9, else ValueError.
    Y : array_like, shape (n,) or (n, K)
        Squared loss, any depth: one output, or rows along orthonormal directions (one-hot, balanced or not;
        non-negative columns of disjoint supports); depth 2: all that `row_directions` splits. Margin losses
        (logistic, hinge): labels 1 and -1, any depth. Cross-entropy: one-hot, depth 2, or two classes and any
        depth. Else NotCovered.
    beta : float, > 0
        With the squared loss also 0, the limit.
    depth : int
        Number of weight matrices L >= 2. For L >= 3 and the squared loss a *standard* network can be better, down
        to no less than `standard_lower_bound`; for the other losses none is (``thm-margin``, ``cor-two-classes``).
        What is known beyond these cases is in `value_bounds`.
    loss : str or Loss

    Examples
    --------
    >>> net, objective, theorem = whitened_relu_network(np.eye(2), [3.0, -2.0], 1.0)
    >>> objective, net.predict(np.eye(2)).round(12).ravel().tolist(), theorem
    (4.0, [2.0, -1.0], 'thm-whitened')
    >>> whitened_relu_network(np.eye(2), np.eye(2), 0.1, 3, "cross-entropy")[2]
    'cor-two-classes'
    """
    X = _whitened(X)
    features, outputs, gains, value, theorem = optimal_atoms(check.labels(Y, len(X)), beta, depth, loss)
    return relu_network(X.T @ features, outputs, gains, depth), value, theorem


Atoms = tuple[Array, Array, Array, float, str]


def optimal_atoms(Y: Array, beta: float, depth: int, loss: str | Loss, proven: bool = True) -> Atoms:
    """Return an optimum F = sum_k gains_k features_k outputs_k^T on whitened data; it does not depend on X.

    Features (n, m), m >= 1, are non-negative unit columns, outputs (m, K) unit rows; with them come the gains
    (m,), the objective, and the theorem's label. Arguments as for `whitened_relu_network`. With proven=False labels
    without a theorem get one atom for each direction of their rows, and the label of that bound, a ``prop-``.
    """
    loss, depth = get_loss(loss), check.integer(depth, "depth", 2)
    Y = check.columns(loss.check_labels(Y))
    atoms = (_squared(Y, check.nonnegative(beta, "beta"), depth) if isinstance(loss, Squared)
             else _class_by_class(Y, check.positive(beta, "beta"), depth, loss))
    if proven and atoms[-1].startswith("prop-"):
        covered = ("one column or rows along orthonormal directions, or no rows at an acute angle at depth 2"
                   if isinstance(loss, Squared) else "two classes, or any number at depth 2")
        raise NotCovered(f"Y must have {covered}, found {Y.shape[1]} columns at depth {depth}, where no closed "
                         f"form is known (in general even the dual constraint is NP-hard): one unit for each "
                         f"direction of the rows gives {atoms[3]!r}, only an upper bound, as shared units can win")
    return atoms


def _squared(Y: Array, beta: float, depth: int) -> Atoms:
    if not Y.any():
        return np.eye(len(Y), 1), np.eye(1, Y.shape[1]), np.zeros(1), 0.0, "thm-whitened"
    y, V = row_directions(Y, acute=True)
    sigma, inner = np.linalg.norm(y, axis=0), (V @ V.T)[np.triu_indices(len(V), 1)]
    value = float(np.sum(depth_prox_value(sigma, beta, depth)))
    theorem = "thm-obtuse-rows" if depth == 2 and np.all(inner <= TOLERANCE) else "prop-standard-bound"
    # Orthonormal directions, or all on one line.
    if np.all(np.abs(inner) <= TOLERANCE) or (len(V) == 2 and inner[0] <= TOLERANCE - 1):
        theorem = "thm-whitened"
    return y / sigma, V, depth_prox(sigma, beta, depth), value, theorem


def _class_by_class(Y: Array, beta: float, depth: int, loss: Loss) -> Atoms:
    """Return one atom a class, F = level * (label row, for cross-entropy minus 1/K) on its samples.

    Two classes of cross-entropy are one output with a margin loss: only F (e_1 - e_2) counts. A class without
    samples is left out.
    """
    centre, theorem, K = 0.0, "thm-margin", Y.shape[1]
    if isinstance(loss, SoftmaxCrossEntropy):
        deep = "cor-two-classes" if K == 2 else "prop-class-bounds"
        centre, theorem = 1 / K, "thm-cross-entropy" if depth == 2 else deep
        if np.any((Y != 0) & (Y != 1)):
            raise NotCovered("Y must be one-hot for cross-entropy, found other probabilities")
    elif not isinstance(loss, MarginLoss):
        raise NotCovered(f"no theorem covers the loss {loss.name!r} on whitened data; covered are the "
                         f"squared loss, margin losses (logistic, hinge) and cross-entropy")
    rows, member = np.unique(Y, axis=0, return_inverse=True)
    features = np.eye(len(rows))[member.ravel()]
    counts, outputs = features.sum(axis=0), rows - centre
    sizes = np.sqrt(counts) * np.linalg.norm(outputs, axis=1)
    solved = [best_level(lambda v, w=w, t=t: loss.value(v * w, t),
                         lambda v, w=w, t=t: np.vdot(loss.gradient(v * w, t), w), n, size, beta, depth)
              for w, t, n, size in zip(outputs[:, None], rows[:, None], counts, sizes, strict=True)]
    levels, values = np.array(solved).T
    outputs = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    return features / np.sqrt(counts), outputs, sizes * levels, values.sum().item(), theorem


def standard_lower_bound(Y: ArrayLike, beta: float, depth: int) -> float:
    """Return a lower bound on the squared-loss objective of every ReLU network on whitened data.

    Standard or parallel: ReLU is 1-Lipschitz and ||X||_2 = 1, so a chain has ||f(X)||_F <= prod_l ||W_l||_F
    and weight decay costs it at least beta (L/2) ||f(X)||_F^(2/L); a sum of chains costs no less. Over all
    outputs this is depth_prox_value(||Y||_F, beta, L), for beta >= 0 and Y of shape (n,) or (n, K). It is
    attained if Y = y v^T, y >= 0, and loose in general.

    >>> standard_lower_bound([3.0, 4.0], 1.0, 2)
    4.5
    """
    return float(depth_prox_value(np.linalg.norm(check.array(Y, "Y")), beta, depth))


def value_bounds(Y: ArrayLike, beta: float, depth: int, loss: str | Loss = "squared") -> tuple[float, float, str]:
    """Return two bounds on the least objective of ReLU networks on whitened data, and the label of their proof.

    Standard or parallel networks: `dualkit.networks.one_chain` makes a parallel one standard. The lower bound is
    the value if all rows of Y, shape (n, K), had one direction (class), the upper one that of one path for each,
    which shared units can beat. Squared loss: any Y; margin losses; cross-entropy: one-hot Y. Else NotCovered.

    >>> lower, upper, theorem = value_bounds(np.eye(3), 0.1, 3, "cross-entropy")
    >>> round(lower, 3), round(upper, 3), theorem
    (0.58, 1.082, 'prop-class-bounds')
    """
    *_, upper, theorem = optimal_atoms(Y, beta, depth, loss, proven=False)
    if isinstance(get_loss(loss), Squared):
        return standard_lower_bound(Y, beta, depth), upper, "prop-standard-bound"
    if theorem != "prop-class-bounds":
        return upper, upper, theorem
    return optimal_atoms(np.tile(Y[:1], (len(Y), 1)), beta, depth, loss, proven=False)[3], upper, theorem
