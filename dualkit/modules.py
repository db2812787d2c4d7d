"""Networks as torch modules: standard, parallel and batch norm, with random weights or given arrays.

Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import torch
from torch import Tensor, nn

from dualkit import _validate as check
from dualkit._validate import Array


class Chains(nn.Module):
    """A sum of chains of equal widths, evaluated together: weight k holds layer k of all, shape (J, a, b)."""

    def __init__(self, weights: Sequence[Array], relu: bool, bias: Array | None) -> None:
        super().__init__()
        self.weights = nn.ParameterList([_parameter(W) for W in weights])
        self.bias = None if bias is None else _parameter(bias)
        self.relu = relu

    def forward(self, X: Tensor) -> Tensor:
        *inner, last, outer = self.weights
        A = X
        for W in inner:
            A = self._activate(A @ W)
        A = A @ last if self.bias is None else A @ last + self.bias[:, None, :]
        return (self._activate(A) @ outer).sum(0)

    def _activate(self, A: Tensor) -> Tensor:
        return A.relu() if self.relu else A


class Parallel(nn.Module):
    """A parallel network: the sum of its groups of chains and of an output constant."""

    def __init__(self, groups: Sequence[Chains], constant: Array | None) -> None:
        super().__init__()
        self.groups = nn.ModuleList(groups)
        self.constant = None if constant is None else _parameter(constant)

    def forward(self, X: Tensor) -> Tensor:
        F = sum(group(X) for group in self.groups)
        return F if self.constant is None else F + self.constant


class BatchNorm(nn.Module):
    """Batch normalisation to columns of unit norm: scale * z + shift / sqrt(n), z centred with ||z||_2 = 1.

    In training mode mean, norm and n are those of the batch. In evaluation mode they are those of the last
    batch seen in training mode, with no running average: the networks here train on the full batch.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.scale = _parameter(np.ones(width))
        self.shift = _parameter(np.zeros(width))
        for name, size in (("mean", width), ("norm", width), ("samples", ())):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    def forward(self, A: Tensor) -> Tensor:
        if self.training:
            mean = A.mean(0)
            norm = ((A - mean).square().sum(0) + len(A) * self.eps).sqrt()
            self.mean.copy_(mean.detach())
            self.norm.copy_(norm.detach())
            self.samples.fill_(len(A))
        else:
            mean, norm = self.mean, self.norm
        # Up to rounding, as in BatchNormNetwork.
        flat = norm <= (1e-12 * torch.linalg.norm(A.detach(), dim=0) if self.training else 0.0)
        if flat.any():
            raise ValueError(f"batch norm is undefined: unit {int(flat.nonzero()[0, 0])} receives the same value "
                             f"from all samples, or saw none in training mode yet; pass eps > 0 or other weights")
        return self.scale * (A - mean) / norm + self.shift / self.samples.sqrt()


def _parameter(value: Array) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def standard_network(widths: Sequence[int], *, activation: str, seed: np.random.Generator | int,
                     scale: float = 1.0) -> nn.Sequential:
    """Return a standard network without biases, with random weights.

    `widths` is (d, m_1, ..., m_{L-1}, K): input size, hidden widths, output size. He start, in float64: entries
    N(0, 2/fan-in) for activation "relu", N(0, 1/fan-in) for "linear", multiplied by `scale` > 0; small values start
    near the stationary point zero. The global random numbers of numpy and torch are neither used nor changed.

    >>> [tuple(W.shape) for W in standard_network([3, 8, 2], activation="relu", seed=0).parameters()]
    [(8, 3), (2, 8)]
    """
    widths, scale = _widths(widths), check.positive(scale, "scale")
    rng = check.generator(seed, "seed")
    return assemble([_random_chain(widths, widths[:-1], activation, rng, scale)], activation)


def parallel_network(d: int, K: int, depth: int, branches: int, inner_width: int, *, activation: str = "relu",
                     seed: np.random.Generator | int) -> nn.Module:
    """Return a sum of chains whose last hidden layer has one unit, with random weights.

    d and K are the input and output sizes, `depth` >= 2 the number of matrices of each chain, `branches` the number
    of chains; the first depth - 2 hidden layers of a chain have `inner_width` units. Two layers are one standard
    network of width `branches`. He start as in `standard_network`; the output layer's fan-in is `branches`.

    >>> [tuple(W.shape) for W in parallel_network(3, 2, 4, branches=5, inner_width=6, seed=0).parameters()]
    [(5, 3, 6), (5, 6, 6), (5, 6, 1), (5, 1, 2)]
    """
    depth, branches = check.integer(depth, "depth", 2), check.integer(branches, "branches", 1)
    if depth == 2:
        return standard_network([d, branches, K], activation=activation, seed=seed)
    widths = _widths([d, *[inner_width] * (depth - 2), 1, K])
    rng = check.generator(seed, "seed")
    return assemble([_random_chain(widths, [*widths[:-2], branches], activation, rng) for _ in range(branches)],
                    activation)


def batchnorm_network(widths: Sequence[int], *, seed: np.random.Generator | int,
                      eps: float = 0.0) -> nn.Sequential:
    """Return a standard ReLU network with batch normalisation before the last ReLU only.

    A column a of pre-activations, one entry a sample, becomes ``scale * z + shift / sqrt(n)`` with
    z = (a - mean(a)) / ||a - mean(a)||_2: a centred column of **unit norm**. ``torch.nn.BatchNorm1d`` makes
    columns of unit variance, norm sqrt(n), instead; its weight is scale/sqrt(n) and its bias shift/sqrt(n).
    Training it with beta reaches what this network reaches with beta/sqrt(n), if the decay acts on scale,
    shift and the last matrix.

    `widths` and the start are those of `standard_network`, with scale 1 and shift 0. eps >= 0 is added to the
    variance before the root, as in torch; with 0 a column that is constant up to rounding raises a ValueError. In
    evaluation mode new samples are normalised with the mean and the norm of the last batch seen in training mode.
    Chapter "Batch normalisation and neural collapse".

    >>> [type(layer).__name__ for layer in batchnorm_network([3, 8, 8, 2], seed=0)]
    ['Linear', 'ReLU', 'Linear', 'BatchNorm', 'ReLU', 'Linear']
    """
    *layers, before, relu, last = standard_network(widths, activation="relu", seed=seed)
    norm = BatchNorm(before.out_features, check.nonnegative(eps, "eps"))
    return nn.Sequential(*layers, before, norm, relu, last)


def _widths(widths: Sequence[int]) -> list[int]:
    widths = [check.integer(width, f"widths[{k}]", 1) for k, width in enumerate(widths)]
    if len(widths) < 3:
        raise ValueError(f"widths must list input, at least one hidden and output size, found {widths}")
    return widths


def _random_chain(widths: Sequence[int], fan_in: Sequence[int], activation: str, rng: np.random.Generator,
                  scale: float = 1.0) -> tuple[Array, ...]:
    gain = {"relu": 2.0, "linear": 1.0}[check.choice(activation, "activation", ("linear", "relu"))]
    return tuple(scale * np.sqrt(gain / fan) * rng.normal(size=shape)
                 for fan, shape in zip(fan_in, pairwise(widths), strict=True))


def assemble(chains: Sequence[Sequence[Array]], activation: str, biases: Sequence[Array] | None = None,
             constant: Array | None = None) -> nn.Module:
    """Return the torch module of a `dualkit.Network` with these attributes; use its method ``to_torch``.

    One chain becomes an ``nn.Sequential``. Several become a module that adds them up and stores equal
    layers of neighbouring chains of equal widths in one parameter of shape (J, a, b). Biases and the
    constant become parameters named bias and constant.
    """
    relu = activation == "relu"
    if len(chains) == 1:
        inner = [None] * (len(chains[0]) - 2) + [biases and biases[0], constant]
        layers = [part for Wb in zip(chains[0], inner, strict=True) for part in (_linear(*Wb), nn.ReLU())]
        return nn.Sequential(*layers[:-1] if relu else layers[::2])
    groups = []
    for _, run in groupby(range(len(chains)), key=lambda j: [W.shape for W in chains[j]]):
        members = list(run)
        weights = [np.stack(layer) for layer in zip(*(chains[j] for j in members), strict=True)]
        groups.append(Chains(weights, relu, biases and np.stack([biases[j] for j in members])))
    return Parallel(groups, constant)


def _linear(W: Array, bias: Array | None) -> nn.Linear:
    # The layer's own random start must not advance torch's global generator; skip_init would load sympy for that.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        layer = nn.Linear(*W.shape, bias=bias is not None, dtype=torch.float64)
        layer.weight.copy_(torch.tensor(W.T))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer
