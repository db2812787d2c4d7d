"""Which theorem covers a training problem: the optimal network by the structure of the data."""

from __future__ import annotations

import numpy as np

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.arrangements import convex_program
from dualkit.depth import aligned_factors, depth_prox, scalar_linear
from dualkit.hinge import fit_spline, hinge_weights
from dualkit.linear import interpolate, nuclear_regression
from dualkit.losses import Loss, Squared
from dualkit.networks import Network
from dualkit.rank_one import rank_one_network
from dualkit.structure import structure, whitening_residual
from dualkit.whitened import TOLERANCE, row_directions, whitened_relu_network


def linear_optimum(X: Array, Y: Array, beta: float, depth: int, loss: Loss,
                   width: int | None = None) -> tuple[Network, float, str]:
    """Return an optimal linear network, its objective and its theorem; arguments as for `dualkit.solve`."""
    Y = check.columns(Y)
    if not isinstance(loss, Squared):
        raise NotCovered(f"linear networks are solved for loss='squared', found {loss.name!r}; certify bounds "
                         f"the gap of a trained two-layer network for every loss")
    if beta == 0:
        # Every singular value of another fit is at least as large, so the fit is the same for every depth.
        theorem = "prop-interpolation"
        try:
            W = interpolate(X, Y)
        except ValueError as error:
            raise NotCovered(f"{error}; with the compact SVD X = U S V^T, the data U.T @ X, U.T @ Y have full row "
                             f"rank and the same objective but for the misfit 0.5 ||Y - U U^T Y||^2 of every "
                             f"network, so solve(U.T @ X, U.T @ Y, 0) gives the limit") from error
    elif Y.shape[1] == 1:
        W = scalar_linear(X, Y[:, 0], beta, depth).w[:, None]
        theorem = "thm-scalar" if depth == 2 else "thm-deep-scalar"
    elif depth == 2:
        W, theorem = nuclear_regression(X, Y, beta).W, "thm-nuclear"
    elif (residual := whitening_residual(X, "columns" if X.shape[0] >= X.shape[1] else "rows")) <= TOLERANCE:
        U, s, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
        singular = depth_prox(s, beta, depth)
        W, theorem = U * singular @ Vt, "thm-deep-linear"
    else:
        raise NotCovered(f"deep linear networks with {Y.shape[1]} outputs are solved on whitened data, found a "
                         f"residual of {residual:.1e} in X^T X = I or X X^T = I; whiten the data "
                         f"(dualkit.data.whiten), or take depth=2 or one output")
    if theorem != "thm-deep-linear":  # there rounding of a zero singular value, to the power 2/L, would count
        singular = np.linalg.svd(W, compute_uv=False)
    cost = depth / 2 * float(np.sum(singular ** (2 / depth)))
    value = 0.5 * float(np.sum((X @ W - Y) ** 2)) + beta * cost
    return Network((tuple(aligned_factors(W, depth, width)),)), value, theorem


def relu_optimum(X: Array, Y: Array, beta: float, depth: int, loss: Loss,
                 bias: bool = False) -> tuple[Network, float, str]:
    """Return an optimal parallel ReLU network, its objective and its theorem; arguments as for `dualkit.solve`."""
    K = check.columns(Y).shape[1]
    if bias:
        if X.shape[1] > 1 or K > 1 or depth > 2 or not isinstance(loss, Squared):
            raise NotCovered(f"bias=True is covered for one feature, one output, depth 2 and the squared loss, "
                             f"found {X.shape[1]}, {K}, {depth} and {loss.name!r}; bias=False covers more")
        fit = fit_spline(X[:, 0], check.columns(Y)[:, 0], beta)
        W1, b1, W2, c = hinge_weights(fit)
        return Network(((W1, W2),), "relu", (b1,), np.array([c])), fit.primal, "thm-spline"
    if rows_whitened(X):
        return whitened_relu_network(X, Y, beta, depth, loss)
    found = structure(X)
    if found.rank_one and isinstance(loss, Squared):
        network, value = rank_one_network(X, Y, beta, depth)
        return network, value, "thm-rank-one" if K == 1 else "prop-ray-outputs"
    if depth == 2 and K == 1 and found.rank <= 3 and beta > 0:
        program = convex_program(X, check.columns(Y)[:, 0], beta, loss)
        return Network(((program.W1, program.W2),), "relu"), program.primal, "thm-convex-program"
    raise NotCovered(f"no theorem covers a ReLU network of depth {depth} with {K} outputs, loss {loss.name!r} and "
                     f"beta {beta} on data of rank {found.rank}; the nearest covered cases are whitened data "
                     f"(X X^T = I), data of rank one with the squared loss, batch_norm=True where rank[X, 1] = n, "
                     f"and depth 2 with one output at rank <= 3")


def rows_whitened(X: Array) -> bool:
    """Say whether X X^T = I_n, shape (n, d), up to the tolerance of `dualkit.whitened`.

    >>> rows_whitened(np.eye(2, 3)), rows_whitened(np.eye(3, 2))
    (True, False)
    """
    return X.shape[0] <= X.shape[1] and whitening_residual(X, "rows") <= TOLERANCE


def standard_theorem(Y: Array, theorem: str) -> str | None:
    """Return the label of the proof that standard ReLU networks of every depth have the parallel optimum.

    `theorem` gives that optimum for labels Y. None where no proof is known; there standard networks can be
    better. Data of rank one: one output. Whitened data: margin losses, and cross-entropy of two classes;
    with the squared loss parallel rows of Y, one output, or one-hot labels of two classes.
    """
    Y = check.columns(Y)
    if theorem == "thm-rank-one":
        return "thm-standard-rays"
    if theorem in ("thm-margin", "cor-two-classes"):
        return theorem
    if theorem != "thm-whitened":
        return None
    if not Y.any() or row_directions(Y)[1].shape[0] == 1:
        return "prop-standard-bound"
    if Y.shape[1] == 1:
        return "prop-one-output"
    two = Y.shape[1] == 2 and np.isin(Y, (0, 1)).all() and (Y.sum(axis=1) == 1).all()
    return "prop-two-classes" if two else None
