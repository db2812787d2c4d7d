"""General two-layer ReLU networks without bias: the rectified ellipsoid, on data of rank at most 3.

The planes x_i^T u = 0 cut the space of hidden weights u into open cells; on each, (X u)_+ = D X u is linear.
A list of all cells makes the dual constraint computable and training one convex program. Rounding decides
nothing: unit rows are made isotropic, which moves no cell; distances that decide "parallel" or "in one plane"
are zero to 1e-13 * condition number (thinner cells are left out), nonzero from 100 times that, else refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.features import Support, exposed
from dualkit.losses import Loss, get_loss

GIGABYTES = 2.5     # of memory; the needs of lists of cells and of programs were measured


def pattern_count_bound(n: int, r: int) -> int:
    """Return 2 sum_{k<r} C(n-1, k), the most cells n >= 1 samples of rank r >= 1 can have (Cover 1965).

    >>> pattern_count_bound(200, 3)
    39802
    """
    n, r = check.integer(n, "n", 1), check.integer(r, "r", 1)
    return 2 * sum(comb(n - 1, k) for k in range(r))


def arrangement_patterns(X: ArrayLike) -> tuple[NDArray[np.bool_], Array]:
    """Return every activation pattern 1[X u >= 0] of an open cell, and a weight vector inside each cell.

    X, shape (n, d), has rank 1 to 3: singular values of the unit rows are zero up to 1e-10 of the largest. At
    rank 3 there are n^2 cells, listed for up to 500 rows of different directions; NotCovered beyond. Parallel rows
    share a hyperplane. Rows up to 1e-13 of the longest are zero rows, on in every pattern as 0 >= 0. ValueError if
    all are, or if X is nearly but not clearly in a degenerate position.

    Return D, bool of shape (n, P), with each pattern once, and U, shape (d, P), with unit weight vectors in the row
    space, one column a cell. In general position P is `pattern_count_bound(n, r)`, otherwise less.

    >>> sorted(arrangement_patterns([[1, 0], [0, 1]])[0].T.astype(int).tolist())
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return _faces(check.data(X))[:2]


@dataclass(frozen=True)
class ReLUFeatures:
    """The rectified ellipsoid H = {(X u)_+ : ||u||_2 <= 1} of a two-layer ReLU network without bias.

    X, shape (n, d), obeys the conditions of `arrangement_patterns`; its cells are listed once, at creation.

    >>> H = ReLUFeatures([[3.0, 0.0], [0.0, 4.0]])
    >>> round(H.support([1.0, 1.0]).value, 9), round(H.gauge([3.0, -4.0]), 6)
    (5.0, 2.0)
    """

    X: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "X", check.data(self.X))
        object.__setattr__(self, "_faces", _faces(self.X))

    def support(self, Lambda: ArrayLike) -> Support:
        """Return the exact maximum of |lam^T (X u)_+| over the unit ball, and a unit that attains it.

        Lambda has shape (n,) or (n, 1); NotCovered for more. On a face of a cell the function is g^T u with
        g = X^T D lam. A maximum inside the face is the normalised projection of g on the face's span, and its
        value that projection's length: the lengths bound the maximum; the longest candidates are tried first.
        """
        X, (D, U, cell, row, rays) = self.X, self._faces
        lam = _one_output(Lambda, len(X), "Lambda")
        G = (X * lam[:, None]).T @ D
        g, a = G[:, cell], (X[row] / np.linalg.norm(X[row], axis=1, keepdims=True)).T
        C = np.hstack([G, g - a * (a * g).sum(axis=0), rays * (lam @ np.maximum(X @ rays, 0.0))])
        length = np.linalg.norm(C, axis=0)
        best, unit = 0.0, U[:, 0]
        for batch in np.array_split(np.argsort(-length), range(1024, len(length), 1024)):
            pick = batch[length[batch] > best]
            if pick.size == 0:
                break
            U = np.hstack([C[:, pick], -C[:, pick]]) / np.tile(length[pick], 2)
            value = np.abs(lam @ np.maximum(X @ U, 0.0))
            if value.max() > best:
                best, unit = value.max(), U[:, value.argmax()]
        return exposed(unit, np.maximum(X @ unit, 0.0), lam[:, None])

    def gauge(self, F: ArrayLike) -> float:
        """Return the least sum |w_j| with sum_j (X u_j)_+ w_j = F, ||u_j||_2 <= 1; ``inf`` if there is none.

        F has shape (n,) or (n, 1); NotCovered for more. A cone program, for some hundred cells at most.
        """
        F, (D, _, cell, row, _) = _one_output(F, len(self.X), "F"), self._faces
        # Cones of open cells have interior points, so H spans all that the D_i X span.
        Q, s, _ = np.linalg.svd(np.hstack([on[:, None] * self.X for on in D.T]), full_matrices=False)
        Q = Q[:, s > 1e-10 * s[0]]
        a, b = np.linalg.norm(self.X), np.linalg.norm(F)    # the solver's tolerances are absolute: scale
        if np.linalg.norm(F - Q @ (Q.T @ F)) > 1e-9 * b:
            return float("inf")
        value = _solve(self.X / a, D, (cell, row), 1.0, lambda G: (0.0, [Q.T @ (G - F / (b or 1.0)) == 0]))[0]
        return float(value * b / a)


@dataclass(frozen=True)
class ReLUProgram:
    """Solution of `convex_program`, with bounds on the least training objective over all widths.

    Attributes
    ----------
    objective, bound : float, str
        Value of the program, and what it is: "optimum", "lower bound", "upper bound" or "neither".
    v, w, W1, W2 : ndarrays, shapes (P, d), (P, d), (d, m), (m, 1)
        Solution, one row a pattern, and the network of units v_i/sqrt(||v_i||), output weights sqrt(||v_i||),
        negative for w; groups up to 1e-8 of the longest are dropped. Without cones its outputs differ.
    primal, dual : float
        Upper and lower bound: the network's objective, a dual feasible value (``-inf`` if X has rank > 3
        or, with `patterns`, more than 500 rows).
    """

    objective: float
    bound: str
    v: Array
    w: Array
    W1: Array
    W2: Array
    primal: float
    dual: float


def convex_program(X: ArrayLike, y: ArrayLike, beta: float, loss: str | Loss = "squared",
                   patterns: ArrayLike | None = None, cones: bool = True) -> ReLUProgram:
    """Train a two-layer ReLU network with one output to global optimality, as one cone program.

    min l(sum_i D_i X (v_i - w_i), y) + beta sum_i (||v_i|| + ||w_i||) with (2 D_i - I) X v_i >= 0, also w_i,
    is min l((X W1)_+ W2, y) + (beta/2)(||W1||^2 + ||W2||^2) over all widths (Pilanci & Ergen, ICML 2020).

    Parameters
    ----------
    X, y, beta : array_like, shapes (n, d) and (n,) or (n, 1), and float
        Data, targets (labels -1 and 1 for margin losses), weight decay > 0. NotCovered for several outputs, for
        too many patterns (n P d > 1e7; 150 samples of rank 3) and, unless `patterns` is given, rank above 3.
    loss : {"squared", "logistic", "hinge"}
        Summed over the samples; squared means 0.5||f - y||^2, with no 1/n.
    patterns : array_like of bool, shape (n, P), optional
        Use these, not all (some hundred at most): with cones an upper bound of the optimum, without neither.
    cones : bool
        False drops the cone constraints (gated ReLU): a lower bound if all patterns are there.

    Examples
    --------
    >>> fit = convex_program([[1.0], [-1.0]], [3.0, -2.0], beta=0.5)
    >>> fit.bound, round(fit.objective, 6), fit.primal - fit.dual < 1e-6
    ('optimum', 2.25, True)
    """
    X, beta = check.data(X), check.positive(beta, "beta")
    loss = get_loss(loss)
    y = loss.check_labels(_one_output(y, len(X), "y"))
    H = None if patterns is not None and (len(X) > 500 or np.linalg.matrix_rank(X) > 3) else ReLUFeatures(X)
    if patterns is None:
        D, _, *facets, _ = H._faces
    else:
        D = check.columns(check.labels(patterns, len(X), "patterns")) != 0
        facets = np.indices(D.T.shape).reshape(2, -1)
    complete = H is not None and {c.tobytes() for c in H._faces[0].T} <= {c.tobytes() for c in D.T}
    # The solver's tolerances are absolute, so the squared loss is solved for y of length one.
    b = (np.linalg.norm(y) or 1.0) if loss.name == "squared" else 1.0
    solution = _solve(X, D, facets if cones else None, beta / b, lambda F: (_expression(loss, F, y / b), []))
    objective, v, w, lam = (b * part for part in solution)
    W = np.vstack([v, w])
    root = np.sqrt(np.linalg.norm(W, axis=1))
    keep = root > max(1e-4 * root.max(), 1e-150)
    W1, W2 = (W[keep] / root[keep, None]).T, (root * np.repeat([1.0, -1.0], len(v)))[keep, None]
    primal = loss.value((np.maximum(X @ W1, 0.0) @ W2)[:, 0], y) + beta * (W2**2).sum()    # ||W1|| = ||W2||
    dual = -np.inf
    if H is not None:
        if loss.name != "squared":
            lam = y * np.clip(lam * y, 0.0, 1.0)    # the domain of the margin losses' conjugates
        support = H.support(lam).value
        dual = loss.dual_value(loss.scale(lam, y, beta / support if support > 0 else np.inf) * lam, y)
    bound = (("neither", "upper bound"), ("lower bound", "optimum"))[complete][bool(cones)]
    return ReLUProgram(float(b * objective), bound, v, w, W1, W2, float(primal), float(dual))


def _expression(loss: Loss, F: Any, y: Array) -> Any:
    import cvxpy as cp
    margin = cp.multiply(y, F)
    known = {"squared": 0.5 * cp.sum_squares(F - y), "logistic": cp.sum(cp.logistic(-margin)),
             "hinge": cp.sum(cp.pos(1 - margin))}
    if loss.name in known:
        return known[loss.name]
    raise NotCovered(f"loss {loss.name!r} has no cone program here; pass 'squared', 'logistic' or 'hinge'")


def _solve(X: Array, D: NDArray[np.bool_], facets: Any, beta: float, model: Any) -> tuple:
    """Minimise l + beta * (sum of norms), where l, constraints = model(F); return value, v, w, residual."""
    import cvxpy as cp
    from scipy.sparse import csr_array
    d, P = X.shape[1], D.shape[1]
    if (size := 250e-9 * d * D.size) > GIGABYTES:
        raise NotCovered(f"X has {len(X)} rows, and {P} patterns may take {size:.0f} GB; pass fewer of either")
    v, w, F = cp.Variable(P * d), cp.Variable(P * d), cp.Variable(len(X))
    loss, constraints = model(F)
    constraints = [F == np.hstack([on[:, None] * X for on in D.T]) @ (v - w), *constraints]
    if facets is not None:
        cell, row = facets
        normals = np.where(D[row, cell, None], X[row], -X[row]).ravel()
        index = (cell[:, None] * d + np.arange(d)).ravel(), d * np.arange(len(row) + 1)
        A = csr_array((normals, *index), shape=(len(row), P * d))
        constraints += [A @ v >= 0, A @ w >= 0]
    cost = sum(cp.sum(cp.norm(cp.reshape(g, (P, d), order="C"), 2, axis=1)) for g in (v, w))
    problem = cp.Problem(cp.Minimize(loss + beta * cost), constraints)
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return float(problem.value), v.value.reshape(P, d), w.value.reshape(P, d), constraints[0].dual_value


def _one_output(value: ArrayLike, n: int, name: str) -> Array:
    value = check.columns(check.labels(value, n, name))
    if value.shape[1] > 1:
        raise NotCovered(f"{name} has {value.shape[1]} columns; with several outputs the support function is "
                         f"a nonconvex maximum, hard in general: pass one column")
    return value[:, 0]


def _vanishes(size: Array, tol: float, what: str) -> NDArray[np.bool_]:
    doubtful = size[(size > tol) & (size < 100 * tol)]
    if doubtful.size:
        raise ValueError(f"X must be clearly degenerate or clearly not, found {what} {doubtful[0]:.1e} (zero "
                         f"to {tol:.0e}, nonzero from {100 * tol:.0e}); round, rescale or perturb X")
    return size <= tol


def _bundles(B: Array, tol: float) -> NDArray[np.intp]:
    """Return for each row the longest row parallel to it, once "parallel" is known to be transitive."""
    length = np.linalg.norm(B, axis=1)
    order = np.argsort(-length, kind="stable")
    b, e = B[order].T, B[order].T / length[order]
    minors = (np.outer(e[p], b[q]) - np.outer(e[q], b[p]) for p, q in combinations(range(len(b)), 2))
    apart = np.triu(np.sqrt(sum((m**2 for m in minors), np.zeros((len(B), len(B))))))
    parallel = _vanishes(apart + apart.T, tol, "the distance of a row from a longer row's line,")
    lead = parallel.argmax(axis=0)
    if (parallel != (lead[:, None] == lead)).any():
        raise ValueError("X must be clearly degenerate or clearly not, found 'parallel' or 'in one plane' "
                         "true of two pairs of three rows, not of the third; round, rescale or perturb X")
    return order[lead][np.argsort(order)]


def _faces(X: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Return the cells' D and U, each facet's cell and row of X, and unit vectors where two planes meet."""
    length = np.linalg.norm(X, axis=1)
    if length.max() == 0:
        raise ValueError("X must have a nonzero row, found only zeros; every network without bias outputs 0")
    live = np.flatnonzero(~_vanishes(length / length.max(), 1e-13, "a row, against the longest, of"))
    _, s, Vt = np.linalg.svd(X[live] / length[live, None], full_matrices=False)
    s = s[~_vanishes(s / s[0], 1e-10, "a singular value of the unit rows, against the largest, of")]
    r, basis, tol = len(s), Vt[:len(s)].T, 1e-13 * s[0] / s[-1]
    B = X[live] @ (basis / s)
    B /= np.linalg.norm(B, axis=1, keepdims=True)
    P = pattern_count_bound(len(np.unique(B.round(12), axis=0)), min(r, 3))
    if r > 3 or 18e-9 * len(X) * max(P, 4 * len(X)) > GIGABYTES:
        raise NotCovered(f"X has rank {r} and {len(X)} rows, found some {P} cells or more, which are listed up to "
                         f"rank 3 and {GIGABYTES} GB of memory only; fewer samples or sampled patterns, "
                         f"X @ rng.standard_normal((d, P)) >= 0, give bounds only")
    leads, plane = np.unique(_bundles(B, tol), return_inverse=True)
    L, rows, points, packed, row = B[leads], live[leads], [], [], []
    for k in range(len(L)):     # facets in plane k: the cells that the other planes cut out of it, up to sign
        Q, t = np.linalg.svd(L[k:k + 1])[2][1:].T, np.zeros(1)
        if r == 3:
            R = np.delete(L, k, axis=0) @ Q
            R = R[np.unique(_bundles(R, tol))]
            t = np.sort(np.mod(np.arctan2(R[:, 0], -R[:, 1]), np.pi))
            t = (t + np.append(t[1:], t[0] + np.pi)) / 2
        M = np.repeat(np.column_stack([np.cos(t), np.sin(t)])[:, :r - 1] @ Q.T, 2, axis=0)
        on = L @ M.T > 0
        on[k] = np.tile([True, False], len(t))      # the two cells at each facet
        points.append(np.where(on[0][:, None], M, -M))      # of u and -u the one with L[0] on
        packed.append(np.packbits(on == on[0], axis=0).T)
        row.append(np.full(len(M), rows[k]))
    packed, row = np.ascontiguousarray(np.vstack(packed)), np.concatenate(row * 2)
    keys = packed.view(f"V{packed.shape[1]}")[:, 0]
    _, first, cell = np.unique(keys, return_index=True, return_inverse=True)
    on = np.unpackbits(packed[first], axis=1, count=len(L)).T[plane] == ((B * L[plane]).sum(1) > 0)[:, None]
    D = np.ones((len(X), 2 * len(first)), dtype=bool)
    D[live] = np.hstack([on, ~on])
    # A cell contains the sum of its facets' points; in rank 1 the only facet is the origin.
    U = L.T if r == 1 else np.vstack([np.bincount(cell, x) for x in np.vstack(points).T])
    U = basis @ (U / s[:, None])
    U /= np.linalg.norm(U, axis=0)
    Z = X[rows] @ basis
    rays = np.vstack([np.cross(z, Z[i + 1:]) for i, z in enumerate(Z)]).T if r == 3 else np.zeros((r, 0))
    rays = basis @ (rays / np.linalg.norm(rays, axis=0))
    return D, np.hstack([U, -U]), np.append(cell, cell + len(first)), row, np.hstack([rays, -rays])
