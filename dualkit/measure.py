"""What a trained network looks like: ranks, norms, alignment, kinks, neural collapse.

The weights of a chain f(X) = X W_1 ... W_L (a ReLU may follow each layer but the last) are a list of
matrices, W_l of shape (m_{l-1}, m_l). Every function raises TypeError or ValueError for arrays that are not
finite, or whose shapes do not fit, and names the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array


def effective_rank(W: ArrayLike, tol: float = 1e-3) -> int:
    """Return how many singular values of W exceed tol times the largest one; 0 for W = 0.

    Trained weights are never exactly of low rank: `tol` says what counts as zero.

    >>> effective_rank([[1.0, 0.0], [0.0, 1e-5]])
    1
    """
    s = np.linalg.svd(check.array(W, "W", ndim=(2,)), compute_uv=False)
    return int(np.sum(s > check.nonnegative(tol, "tol") * s[0]))


def layer_norms(weights: Sequence[ArrayLike]) -> tuple[Array, Array]:
    """Return the Frobenius and the operator norm of every layer, shapes (L,) and (L,).

    Chapter "Deep linear networks: rank-K alignment": at an optimum all Frobenius norms agree, and each equals the
    operator norm exactly when the rank is one.

    >>> [norms.tolist() for norms in layer_norms([[[3.0, 0.0], [0.0, 4.0]], [[5.0], [0.0]]])]
    [[5.0, 5.0], [4.0, 5.0]]
    """
    chain = check.chain(weights, "weights")
    return (np.array([np.linalg.norm(W) for W in chain]), np.array([np.linalg.norm(W, 2) for W in chain]))


def balancedness(weights: Sequence[ArrayLike]) -> Array:
    """Return ||W_l^T W_l - W_{l+1} W_{l+1}^T||_F, shape (L - 1,); all zero at an optimal linear network.

    >>> balancedness([[[2.0]], [[2.0]], [[1.0]]]).tolist()
    [0.0, 3.0]
    """
    return np.array([np.linalg.norm(A.T @ A - B @ B.T) for A, B in pairwise(check.chain(weights, "weights"))])


def alignment_angles(weights: Sequence[ArrayLike], rank: int = 1) -> Array:
    """Return the principal angles between neighbouring layers in radians, ascending, shape (L - 1, rank).

    Row l compares the span of the top `rank` right singular vectors of W_l with that of the top left ones of
    W_{l+1}; all angles are zero at an optimal linear network whose rank is `rank`. ValueError is raised where
    no gap follows singular value number `rank`: the subspace is not determined.

    >>> alignment_angles([[[1.0, 0.0], [0.0, 0.5]], [[0.0], [1.0]]]).round(6).tolist()
    [[1.570796]]
    """
    chain, rank = check.chain(weights, "weights"), check.integer(rank, "rank", 1)
    frames = []
    for i, W in enumerate(chain):
        U, s, Vt = np.linalg.svd(W)
        top, following = np.append(s, np.zeros(rank + 1))[rank - 1:rank + 1]
        if top - following <= 1e-12 * s[0]:
            raise ValueError(f"rank must end at a gap in the singular values of weights[{i}], found {rank} "
                             f"with {top:.3g} before and {following:.3g} behind it; pass another rank")
        frames.append((U[:, :rank], Vt[:rank].T))
    angles = []
    for (_, A), (B, _) in pairwise(frames):
        cosines = np.linalg.svd(A.T @ B, compute_uv=False)
        sines = np.linalg.svd(B - A @ (A.T @ B), compute_uv=False)[::-1]
        angles.append(np.arctan2(sines, cosines))  # the cosine alone loses angles below 1e-8
    return np.array(angles)


def kinks(branches: Sequence, biases: Sequence | None = None, tol: float = 1e-9) -> tuple[Array, Array]:
    """Return (positions, slope changes) of a ReLU network with one input and one output, ascending.

    The network is a sum of chains: `branches` lists the weights of each, `[weights]` if there is one, and
    `biases` has one entry per branch: an array is the bias of the last hidden layer, a list holds one array
    or None per hidden layer. Kinks are exact crossings, followed from layer to layer. Those closer than
    tol (1 + |position|) are added up; changes of slope below tol times the largest slope are left out.

    >>> x, change = kinks([[[[1.0, -1.0]], [[2.0], [3.0]]]], [np.array([-1.0, 0.0])])
    >>> x.tolist(), change.tolist()
    ([0.0, 1.0], [3.0, 2.0])
    """
    biases = [None] * len(branches) if biases is None else biases
    if not len(branches) or len(biases) != len(branches):
        raise ValueError(f"biases must have one entry per branch, found {len(biases)} for {len(branches)}; "
                         f"pass at least one branch, and [weights] for a single chain")
    chains = [check.chain(branch, "weights") for branch in branches]
    pieces = [_slopes(chain, bias) for chain, bias in zip(chains, biases, strict=True)]
    return _merged_kinks(pieces, check.nonnegative(tol, "tol"))


def _hidden_biases(chain: Sequence[Array], bias: ArrayLike | Sequence | None) -> list[Array]:
    """Return one array per hidden layer from a list, from the last layer's bias alone, or from None."""
    given = bias if isinstance(bias, (list, tuple)) else [None] * (len(chain) - 2) + [bias]
    if len(given) != len(chain) - 1:
        raise ValueError(f"biases must list one array or None per hidden layer, found {len(given)} for "
                         f"{len(chain) - 1}; a numpy array stands for the last hidden layer only")
    out = [np.zeros(W.shape[1]) if b is None else check.array(b, "biases", ndim=(1,))
           for W, b in zip(chain, given, strict=False)]
    for W, b in zip(chain, out, strict=False):
        if len(b) != W.shape[1]:
            raise ValueError(f"biases must have one number per unit, found {len(b)} for {W.shape[1]} units")
    return out


def _slopes(chain: Sequence[Array], bias: ArrayLike | Sequence | None) -> tuple[Array, Array]:
    """Return breakpoints t of one chain, ascending, shape (m,), and its slopes on the m + 1 intervals.

    All units of a layer are carried as values at common breakpoints and slopes between them. A layer maps
    both linearly; its ReLU adds the points where a unit crosses zero and clears the slopes where the unit is
    off. Slopes are products of weights, never quotients of differences; a breakpoint need not be a kink.
    """
    ends = chain[0].shape[0], chain[-1].shape[1]
    if ends != (1, 1):
        raise ValueError(f"branches must have one input and one output, found {ends[0]} and {ends[1]}; "
                         f"kinks are points on a line")
    t, values, slopes = np.zeros(1), np.zeros((1, 1)), np.ones((2, 1))
    for W, b in zip(chain, _hidden_biases(chain, bias), strict=False):
        values, slopes = values @ W + b, slopes @ W
        sign = np.sign(values)
        left = np.flatnonzero(sign[0] * slopes[0] > 0)
        right = np.flatnonzero(sign[-1] * slopes[-1] < 0)
        i, inner = np.nonzero(sign[:-1] * sign[1:] < 0)
        fraction = values[i, inner] / (values[i, inner] - values[i + 1, inner])
        crossings = np.concatenate([
            t[0] - values[0, left] / slopes[0, left],
            t[i] + fraction * (t[i + 1] - t[i]),
            t[-1] - values[-1, right] / slopes[-1, right],
        ])
        points = np.union1d(t, crossings)
        gap = np.searchsorted(t, points, side="right")  # the old interval to the right of each point
        anchor = np.maximum(gap - 1, 0)
        values = values[anchor] + slopes[gap] * (points - t[anchor])[:, None]
        values[np.searchsorted(points, crossings), np.concatenate([left, inner, right])] = 0.0
        t, slopes = points, slopes[np.append(0, gap)]
        # A unit is on in a tail if it grows outwards, in between if it is positive at either end.
        inside = (values[:-1] > 0) | (values[1:] > 0)
        on = np.concatenate([slopes[:1] < 0, inside, slopes[-1:] > 0])
        values, slopes = np.maximum(values, 0.0), np.where(on, slopes, 0.0)
    return t, (slopes @ chain[-1])[:, 0]


def _merged_kinks(pieces: Sequence[tuple[Array, Array]], tol: float) -> tuple[Array, Array]:
    """Return the kinks of a sum of chains, given as pairs (t, slopes), and their changes of slope.

    Kinks closer than tol (1 + |position|) become one; changes below tol times the largest slope are dropped.
    """
    x = np.concatenate([t for t, _ in pieces])
    change = np.concatenate([np.diff(slopes) for _, slopes in pieces])
    order = np.argsort(x, kind="stable")
    x, change = x[order], change[order]
    first = np.append(True, np.diff(x) > tol * (1 + np.abs(x[1:])))
    change = np.add.reduceat(change, np.flatnonzero(first))
    keep = np.abs(change) > tol * sum(np.abs(slopes).max() for _, slopes in pieces)
    return x[first][keep], change[keep]


@dataclass(frozen=True)
class NeuralCollapse:
    """The measures of neural collapse; `neural_collapse` has the formulas.

    nc1 compares the variation inside the classes with that between them. The next four are distances:
    nc2_centred of the centred class means from a simplex equiangular tight frame, nc2_uncentred of the class
    means from an orthogonal frame of equal lengths, nc3 of W_L from the centred class means, nc3_centred the
    same for W_L centred. nc4 is the share of samples that the nearest class mean classifies differently.
    """

    nc1: float
    nc2_centred: float
    nc2_uncentred: float
    nc3: float
    nc3_centred: float
    nc4: float


def _distance(A: Array, B: Array) -> float:
    return float(np.linalg.norm(A / np.linalg.norm(A) - B / np.linalg.norm(B)))


def neural_collapse(features: ArrayLike, labels: ArrayLike, W_L: ArrayLike,
                    bias: ArrayLike | None = None) -> NeuralCollapse:
    """Return the neural-collapse measures of a last hidden layer `features`, shape (n, m).

    `labels` (n,) holds the classes 0, ..., K - 1, each at least once. The network predicts the argmax of
    features @ W_L + bias, W_L of shape (m, K). ValueError is raised when all classes share one mean or one
    column of W_L.

    Chapter "Batch normalisation and neural collapse". M (m, K) holds the class means, R = I - 11^T/K, C = M R
    the means less their (unweighted) mean, S_W the mean over samples of (h_i - m_i)(h_i - m_i)^T with m_i the
    mean of the own class, and S_B = C C^T / K. With d(A, B) = || A/||A||_F - B/||B||_F ||_F:

    * nc1 = tr(S_W pinv(S_B)) / K,
    * nc2_centred = d(C^T C, R) and nc2_uncentred = d(M^T M, I),
    * nc3 = d(W_L, C) and nc3_centred = d(W_L R, C). For W_L parallel to an orthogonal frame M, nc3 is
      sqrt(2 - 2 sqrt((K-1)/K)), not 0.

    >>> collapse = neural_collapse(np.eye(3), [0, 1, 2], np.eye(3))
    >>> round(collapse.nc3, 4), round(collapse.nc3_centred, 4)
    (0.6058, 0.0)
    """
    H, W_L = check.array(features, "features", ndim=(2,)), check.array(W_L, "W_L", ndim=(2,))
    (n, m), K = H.shape, W_L.shape[1]
    b = np.zeros(K) if bias is None else check.array(bias, "bias", ndim=(1,))
    if len(W_L) != m or K < 2 or len(b) != K:
        raise ValueError(f"W_L and bias must have shapes ({m}, K) and (K,), K >= 2, found "
                         f"{W_L.shape} and {b.shape}")
    given = check.labels(check.array(labels, "labels", ndim=(1,)), n, "labels")
    if not np.array_equal(np.unique(given), np.arange(K)):
        raise ValueError(f"labels must hold every class 0, ..., {K - 1} and no other value, found "
                         f"{np.unique(given).tolist()}; renumber the classes")
    classes = given.astype(int)
    M, R = np.stack([H[classes == k].mean(axis=0) for k in range(K)], axis=1), np.eye(K) - 1 / K
    C = M @ R
    for name, centred, whole in (("features", C, M), ("W_L", W_L @ R, W_L)):
        if np.linalg.norm(centred) <= 1e-12 * np.linalg.norm(whole):
            raise ValueError(f"{name} must differ between classes, found the same for all; lower beta")
    within = (H - M.T[classes]) @ np.linalg.pinv(C, rcond=1e-10).T  # pinv(S_B) = K pinv(C)^T pinv(C)
    nearest = np.argmin([np.linalg.norm(H - mean, axis=1) for mean in M.T], axis=0)
    return NeuralCollapse(
        nc1=float(np.sum(within**2) / n),
        nc2_centred=_distance(C.T @ C, R),
        nc2_uncentred=_distance(M.T @ M, np.eye(K)),
        nc3=_distance(W_L, C),
        nc3_centred=_distance(W_L @ R, C),
        nc4=float(np.mean(np.argmax(H @ W_L + b, axis=1) != nearest)),
    )
