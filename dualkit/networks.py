"""Networks as plain arrays: a sum of chains of weight matrices, with the weight decay of the book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Network:
    """f(X) = constant + sum over branches of one chain of weight matrices.

    A *standard* network is one chain. A *parallel* network is a sum of chains whose last hidden layer
    has one unit. For two layers the two are the same thing, and one chain is the form used here.

    `branches` holds one tuple (W_1, ..., W_L) per branch; all have the same depth, input and output sizes. The
    activation, "linear" or "relu", follows every layer but the last. `biases` of the last hidden layer, one array
    per branch, and the output `constant`, shape (K,), are None for none and never penalised.

    Weight decay is `penalty`, 0.5 * (sum of all squared entries of all matrices), to be multiplied by beta.

    >>> net = Network(((np.array([[1.0, -1.0]]), np.array([[2.0], [3.0]])),), "relu")
    >>> net.predict(np.array([[1.0], [-1.0]])).ravel().tolist()
    [2.0, 3.0]
    >>> net.penalty
    7.5
    """

    branches: tuple[tuple[Array, ...], ...]
    activation: str = "linear"
    biases: tuple[Array, ...] | None = None
    constant: Array | None = None

    def __post_init__(self) -> None:
        check.choice(self.activation, "activation", ("linear", "relu"))
        branches = tuple(check.chain(branch, f"branches[{j}]") for j, branch in enumerate(self.branches))
        biases, constant = self.biases, self.constant
        if not branches:
            raise ValueError("branches must hold at least one chain of matrices, found none")
        kinds = [(len(branch), len(branch[0]), branch[-1].shape[1]) for branch in branches]
        if len(set(kinds)) > 1:
            raise ValueError(f"branches must agree in (layers, inputs, outputs), found {kinds}")
        if biases is not None:
            biases = tuple(check.array(b, f"biases[{j}]", ndim=(1,)) for j, b in enumerate(biases))
            if [len(b) for b in biases] != (widths := [len(branch[-1]) for branch in branches]):
                raise ValueError(f"biases must hold one array per branch, of lengths {widths}, the widths of the "
                                 f"last hidden layers; found lengths {[len(b) for b in biases]}")
        if constant is not None and len(constant := check.array(constant, "constant", ndim=(1,))) != kinds[0][2]:
            raise ValueError(f"constant must have one entry per output, found {len(constant)} entries "
                             f"for {kinds[0][2]} outputs")
        for name, value in (("branches", branches), ("biases", biases), ("constant", constant)):
            object.__setattr__(self, name, value)

    @property
    def depth(self) -> int:
        """Number L of weight matrices in a chain."""
        return len(self.branches[0])

    @property
    def penalty(self) -> float:
        """0.5 * (sum of squares of all weights), the weight decay per unit of beta."""
        return 0.5 * sum(float(np.vdot(W, W)) for branch in self.branches for W in branch)

    def hidden(self, X: ArrayLike) -> list[Array]:
        """Return the last hidden layer's outputs on the data, one array (n, m_j) per branch."""
        X = check.data(X)
        d = self.branches[0][0].shape[0]
        if X.shape[1] != d:
            raise ValueError(f"X must have {d} columns, the network's input size, found {X.shape[1]}")
        out = []
        for j, branch in enumerate(self.branches):
            A = X
            for k, W in enumerate(branch[:-1]):
                A = A @ W
                if self.biases is not None and k == self.depth - 2:
                    A = A + self.biases[j]
                if self.activation == "relu":
                    A = np.maximum(A, 0)
            out.append(A)
        return out

    def predict(self, X: ArrayLike) -> Array:
        """Return f(X), shape (n, K)."""
        F = sum(A @ branch[-1] for A, branch in zip(self.hidden(X), self.branches, strict=True))
        return F if self.constant is None else F + self.constant

    def to_torch(self) -> torch.nn.Module:
        """Return the same network as a torch module in float64; see `dualkit.modules.assemble`."""
        from dualkit.modules import assemble

        return assemble(self.branches, self.activation, self.biases, self.constant)


def one_chain(network: Network) -> Network:
    """Return the network as one chain with the same outputs and penalty: its branches side by side.

    The first layers stand next to each other, inner layers are block-diagonal, the last ones stand above each
    other. So every parallel network without biases, else NotCovered, is a standard one.

    >>> net = one_chain(Network((([[1.0]], [[2.0]], [[3.0]]), ([[4.0]], [[5.0]], [[6.0]]))))
    >>> [W.tolist() for W in net.branches[0]]
    [[[1.0, 4.0]], [[2.0, 0.0], [0.0, 5.0]], [[3.0], [6.0]]]
    """
    if network.biases is not None:
        raise NotCovered("one_chain covers networks without biases, found biases; use the branches one by one")
    first, *inner, last = zip(*network.branches, strict=True)
    layers = [np.hstack(first), *map(_block_diagonal, inner), np.vstack(last)]
    return Network((tuple(layers),), network.activation, None, network.constant)


def _block_diagonal(blocks: Sequence[Array]) -> Array:
    ends = np.cumsum([[0, 0], *(W.shape for W in blocks)], axis=0)
    out = np.zeros(ends[-1])
    for W, (i, j), (k, m) in zip(blocks, ends, ends[1:], strict=False):
        out[i:k, j:m] = W
    return out


def balance(network: Network) -> Network:
    """Rescale a network, unit by unit, to its least penalty; every hidden unit then passes on what it gets.

    Multiplying the incoming weights of a hidden unit by c > 0 and dividing its outgoing weights by c leaves
    the function unchanged. Exactly one choice of all scales has the least penalty, and it is the only one
    that makes the incoming and outgoing weights of every unit equally long; all layers of a branch then have
    the same Frobenius norm. Units that contribute nothing, because no chain of non-zero weights leads
    through them from an input to an output, are set to zero.

    Networks may be standard or parallel, linear or ReLU, of any depth, without biases, else NotCovered. For two
    layers the penalty becomes sum_j ||u_j|| ||w_j||.

    Lemma ``lem-rescaling``, proposition ``prop-balance``. The penalty is convex in the logarithms of the scales.
    Cyclic exact minimisation (ENorm, Stock et al., ICLR 2019) contracts the errors of the logarithms by
    cos(pi/L)^2 in each sweep, whatever the weights are. The over-relaxation used here descends as well and
    converges from any start; near the optimum its asymptotic rate is (1 - s)/(1 + s) with s = sin(pi/L)
    (Young, 1954; exercise ``ex-overrelax``).

    >>> net = balance(Network(((np.array([[8.0]]), np.array([[0.5]]), np.array([[2.0]])),)))
    >>> [round(float(W[0, 0]), 12) for W in net.branches[0]]
    [2.0, 2.0, 2.0]
    """
    if network.biases is not None:
        raise NotCovered("balance covers networks without biases, found biases; rescale them with their units")
    return Network(tuple(_balanced(branch) for branch in network.branches), network.activation, None,
                   network.constant)


def _balanced(chain: Sequence[Array]) -> tuple[Array, ...]:
    depth, sizes = len(chain), [float(np.abs(W).max()) for W in chain]
    if not all(sizes):
        return tuple(np.zeros_like(W) for W in chain)
    squares = [(W / size) ** 2 for W, size in zip(chain, sizes, strict=True)]
    reached, reaching = [np.ones(len(squares[0]), bool)], [np.ones(squares[-1].shape[1], bool)]
    for first, last in zip(squares, reversed(squares), strict=True):
        reached.append(reached[-1] @ (first > 0))
        reaching.append((last > 0) @ reaching[-1])
    on = [a & b for a, b in zip(reached, reversed(reaching), strict=True)]
    squares = [S * np.outer(a, b) for S, a, b in zip(squares, on, on[1:], strict=False)]

    scales, relax = [np.ones(len(a)) for a in on], 2 / (1 + np.sin(np.pi / depth))  # squared; optimal (Young)
    for _ in range(100 * depth):
        change = 0.0
        for k in range(1, depth):
            inner, outer = (1 / scales[k - 1]) @ squares[k - 1], squares[k] @ scales[k + 1]
            best = np.sqrt(np.divide(outer, inner, out=scales[k] ** 2, where=on[k]))
            factor = (best / scales[k]) ** relax
            scales[k] *= factor
            change = max(change, float(np.abs(np.log(factor)).max()))
        if change <= 1e-14:
            break
    size = np.exp(np.mean(np.log(sizes)))
    return tuple(size * (W / own) * np.outer(a / np.sqrt(p), b * np.sqrt(q)) for W, own, a, b, p, q
                 in zip(chain, sizes, on, on[1:], scales, scales[1:], strict=False))
