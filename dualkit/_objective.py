"""The training objective as a function of the parameters of a torch module; `training.train` imports it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dualkit import _validate as check
from dualkit._validate import Array, NotCovered
from dualkit.losses import Loss
from dualkit.modules import BatchNorm

Rows = slice | NDArray[np.intp]
ALL = slice(None)


class Objective:
    """l(f(X), Y) + beta * decay(module), its gradient, and the parameters as one vector.

    The loss and its gradient in the outputs come from `dualkit.losses`, and torch carries that gradient on to
    the parameters: training and certificates share one definition of every loss.
    """

    def __init__(self, module: nn.Module, X: ArrayLike, Y: ArrayLike, beta: float, loss: Loss,
                 decay: str | Callable[[nn.Module], Tensor], device: str) -> None:
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device is {device!r}, but torch finds no GPU; pass 'cpu'")
        if not isinstance(module, nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, found {type(module).__name__}; "
                            f"a Network becomes one by its method to_torch()")
        X = check.data(X)
        self.X = torch.tensor(X, device=device)
        self.Y = check.columns(loss.check_labels(check.labels(Y, len(X))))
        self.beta, self.loss = check.nonnegative(beta, "beta"), loss
        self.module = copy.deepcopy(module).to(device, torch.float64)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError("module must have parameters that require a gradient, found none")
        self.norms = [m for m in self.module.modules() if isinstance(m, (BatchNorm, _BatchNorm))]
        self.decay = decay if callable(decay) else self._half_square(decay)

    def _half_square(self, decay: str) -> Callable[[nn.Module], Tensor]:
        check.choice(decay, "decay", ("all", "last"))
        scales = [p for m in self.norms for p in m.parameters()]
        weights = [p for m in self.module.modules() if m not in self.norms
                   for name, p in m.named_parameters(recurse=False) if name not in ("bias", "constant")]
        if decay == "last" and not scales:
            raise NotCovered("decay='last' needs a module with batch norm, found none; the other layers "
                             "would grow at no cost, so pass decay='all'")
        decayed = scales + (weights if decay == "all" else weights[-1:])
        return lambda _: 0.5 * sum(p.square().sum() for p in decayed)

    def evaluate(self, rows: Rows = ALL, gradient: bool = False) -> float:
        """Return the objective, with the rows standing for all samples; `gradient` fills every .grad."""
        self.module.train()
        with torch.set_grad_enabled(gradient):
            F, decay = self._outputs(rows), self.beta * self.decay(self.module)
        Y, outputs = self.Y[rows], F.detach().cpu().numpy()
        share, value = len(self.Y) / len(Y), np.nan
        if outputs.shape != Y.shape:
            raise ValueError(f"Y must have the shape of the module's outputs {outputs.shape}, "
                             f"found {Y.shape}")
        if np.isfinite(outputs).all():
            with contextlib.suppress(OverflowError):
                value = share * self.loss.value(outputs, Y) + decay.item()
        if not np.isfinite(value):
            raise FloatingPointError("the objective is no longer finite; pass a smaller lr, or a start with "
                                     "smaller weights")
        if gradient:
            for p in self.parameters:
                p.grad = torch.zeros_like(p)
            slope = torch.from_numpy(share * self.loss.gradient(outputs, Y)).to(F.device)
            ((slope * F).sum() + decay).backward()
        return value

    def _outputs(self, rows: Rows) -> Tensor:
        try:
            F = self.module(self.X[rows])
        except RuntimeError as error:
            raise ValueError(f"X of shape {tuple(self.X.shape)} does not fit the module: {error}") from error
        return F[:, None] if F.ndim == 1 else F

    def batches(self, size: int, seed: np.random.Generator | int | None) -> Iterator[NDArray[np.intp]]:
        """Return row numbers without end: epoch by epoch all samples in random order, `size` at a time."""
        n, size = len(self.Y), check.integer(size, "batch", 1)
        if size > n:
            raise ValueError(f"batch must be at most the {n} samples, found {size}; leave it out to take all")
        if self.norms:
            raise NotCovered(f"batch norm is covered on all samples at once, found {size}; leave batch out")
        rng = check.generator(seed, "seed")
        epochs = (rng.permutation(n) for _ in count())
        return (order[i:i + size] for order in epochs for i in range(0, n, size))

    def load(self, vector: Array) -> None:
        """Set the parameters to the entries of one vector."""
        chunks = torch.tensor(vector).split([p.numel() for p in self.parameters])
        with torch.no_grad():
            for p, chunk in zip(self.parameters, chunks, strict=True):
                p.copy_(chunk.view_as(p))


def vector(tensors: list[Tensor]) -> Array:
    """Return the entries of all tensors as one numpy vector."""
    return torch.cat([t.detach().reshape(-1) for t in tensors]).cpu().numpy()
