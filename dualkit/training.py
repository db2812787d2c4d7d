"""Gradient training of torch networks on the objective of the book; importing this module imports torch.

The networks live in `dualkit.modules` and `dualkit.conversion`; their functions can be had from here too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch.optim.adam import adam
from torch.optim.sgd import sgd
from tqdm import tqdm

from dualkit import _validate as check
from dualkit._objective import ALL, Objective, Rows, vector
from dualkit._validate import Array
from dualkit.conversion import from_arrays, to_arrays
from dualkit.losses import Loss, get_loss
from dualkit.modules import batchnorm_network, parallel_network, standard_network

__all__ = ["History", "batchnorm_network", "from_arrays", "parallel_network", "standard_network", "to_arrays",
           "train", "train_many"]

Setting, Result = TypeVar("Setting"), TypeVar("Result")


@dataclass(frozen=True)
class History:
    """What a training run has reached, and how.

    `steps` are those after which the run was observed: 0, every, 2 * every, ..., and the last one; `objective` is
    loss plus weight decay on all samples after them, and `records` what `record` returned; after an interrupt the
    last may be missing. `interrupted` tells whether KeyboardInterrupt ended the run. `module` is the trained
    network, in float64, on the CPU, in evaluation mode; objective[-1] is its objective.
    """

    steps: NDArray[np.int64]
    objective: Array
    records: tuple[Any, ...]
    interrupted: bool
    module: torch.nn.Module


def train(module: torch.nn.Module, X: ArrayLike, Y: ArrayLike, beta: float, *, loss: str | Loss = "squared",
          decay: str | Callable[[torch.nn.Module], torch.Tensor] = "all", optimizer: str = "lbfgs",
          steps: int = 500, lr: float | Callable[[int], float] | None = None, batch: int | None = None,
          tolerance: float | None = None, certificate: Callable[[torch.nn.Module], Any] | None = None,
          every: int = 10, record: Callable[[torch.nn.Module], Any] | None = None, progress: bool = True,
          device: str = "cpu", seed: np.random.Generator | int | None = None) -> History:
    """Minimise l(f(X), Y) + (beta/2) * (sum of squared weights) by a gradient method.

    A run repeats digit for digit: it takes one CPU thread, and no global random numbers.

    Parameters
    ----------
    module : torch.nn.Module
        The start; it is copied, not changed.
    X : array_like, shape (n, d)
    Y : array_like, shape (n,) or (n, K)
    beta : float, >= 0
    loss : str or Loss
        Summed over samples, no 1/n: "squared" is 0.5 ||F - Y||_F^2. See `dualkit.losses`.
    decay : {"all", "last"} or callable
        "all": every parameter but those named bias or constant; scale and shift of batch norm count.
        "last": scale and shift of batch norm, and the last matrix. A callable maps the module to a torch
        scalar, which beta multiplies, instead of half the sum of squares.
    optimizer : {"lbfgs", "adam", "sgd"}
        "lbfgs": limited-memory BFGS with a strong Wolfe line search on all samples. When it stalls it starts
        again from the plain gradient, and it ends when that gains nothing.
    steps : int, >= 1
        Largest number of steps.
    lr : float or callable, optional
        Step length of "adam" (default 0.01) and "sgd" (default 0.1 / max(1, ||X||_2^2)), or a function
        of the step.
    batch : int, optional
        Samples per step of "adam" and "sgd"; all by default. They are drawn without replacement, epoch by
        epoch, and the loss is scaled by n / (samples in the batch), so its gradient is right on average.
    tolerance, certificate : float and callable, optional
        Stop as soon as ``certificate(module).relative_gap <= tolerance``, tested at every observation.
    every : int, >= 1
        Steps between observations.
    record : callable, optional
        Called with the module, in evaluation mode, at every observation.
    progress : bool
        Show a progress bar on stderr.
    device : str
        "cpu", "cuda", or another that torch knows.
    seed : numpy Generator or int, optional
        Needed for the order of the batches; nothing else is random.

    Raises
    ------
    FloatingPointError
        If the objective is no longer finite.
    NotCovered
        For batch norm on batches, and for decay="last" without batch norm.
    ValueError, TypeError
        For bad input; the message names the argument.

    Examples
    --------
    >>> from dualkit.training import standard_network
    >>> start = standard_network([2, 1, 1], activation="linear", seed=0)
    >>> history = train(start, [[1.0, 0.0], [0.0, 1.0]], [3.0, 0.0], beta=1.0, progress=False)
    >>> round(float(history.objective[-1]), 9)  # f(X) = (2, 0): 0.5 * (2 - 3)^2 + 1 * 2
    2.5
    """
    steps, every = check.integer(steps, "steps", 1), check.integer(every, "every", 1)
    check.choice(optimizer, "optimizer", ("lbfgs", "adam", "sgd"))
    if optimizer == "lbfgs" and not (lr is None and batch is None):
        raise ValueError(f"lr and batch must be None for optimizer='lbfgs', found {lr!r} and {batch!r}; it "
                         f"searches its step lengths on all samples; leave them out or take 'adam' or 'sgd'")
    if (tolerance is None) != (certificate is None):
        raise ValueError("tolerance and certificate go together; pass both or neither")
    if tolerance is not None:
        check.nonnegative(tolerance, "tolerance")
    run = Objective(module, X, Y, beta, get_loss(loss), decay, device)
    rows = repeat(ALL) if batch is None else run.batches(batch, seed)
    if lr is None:
        lr = 0.1 / max(1.0, np.linalg.norm(X, 2) ** 2) if optimizer == "sgd" else 0.01
    if not callable(lr):
        check.positive(lr, "lr")
    done, observed, records, interrupted = 0, {}, [], False
    bar = tqdm(total=steps, desc="training", disable=not progress)

    def observe() -> None:
        observed[done] = run.evaluate()
        bar.set_postfix(objective=f"{observed[done]:.6g}", refresh=False)
        run.module.eval()
        if record is not None:
            records.append(record(run.module))
        if certificate is not None and certificate(run.module).relative_gap <= tolerance:
            raise _Converged

    def after_step() -> None:
        nonlocal done
        done += 1
        bar.update()
        if done % every == 0:
            observe()

    # One thread: the digits do not depend on the number of cores, and small networks are no slower for it.
    with bar, threadpool_limits(1):
        try:
            observe()
            if optimizer == "lbfgs":
                _lbfgs(run, steps, after_step)
            else:
                _first_order(run, optimizer, steps, lr, rows, after_step)
            if done not in observed:
                observe()
        except _Converged:
            pass
        except KeyboardInterrupt:
            interrupted = True
            observed[done] = run.evaluate()
    return History(np.array(list(observed)), np.array(list(observed.values())), tuple(records), interrupted,
                   run.module.cpu().eval())


def train_many(job: Callable[[Setting], Result], settings: Iterable[Setting], *, n_jobs: int | None = None,
               progress: bool = True) -> list[Result]:
    """Return [job(setting) for setting in settings], the jobs run side by side by joblib.

    A job is such as a function of a seed or of beta that calls `train` and returns what is wanted of it. `n_jobs`
    processes run, by default what ``joblib.parallel_config`` says, else one. Any backend of joblib serves, dask
    included: ``with joblib.parallel_config(backend="dask"): train_many(...)``. `progress` shows a bar on stderr.

    >>> train_many(abs, [-1, 2], progress=False)
    [1, 2]
    """
    settings = list(settings)
    # `train` holds the process to one thread while it runs; jobs that share a process must not undo that.
    with threadpool_limits(1):
        results = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(job)(s) for s in settings)
        return list(tqdm(results, total=len(settings), desc="runs", disable=not progress))


class _Converged(Exception):
    """The certificate's gap is within the tolerance."""


def _lbfgs(run: Objective, steps: int, after_step: Callable[[], None]) -> None:
    def value_and_gradient(x: Array) -> tuple[float, Array]:
        run.load(x)
        return run.evaluate(gradient=True), vector([p.grad for p in run.parameters])

    def accept(x: Array) -> None:
        nonlocal accepted, done
        accepted, done = x.copy(), done + 1
        after_step()

    accepted, done, best = vector(run.parameters), 0, np.inf
    try:
        while done < steps:
            result = minimize(value_and_gradient, accepted, jac=True, method="L-BFGS-B", callback=accept,
                              options={"maxiter": steps - done, "maxfun": sys.maxsize, "maxcor": 30,
                                       "ftol": 0.0, "gtol": 1e-13})
            if not result.fun < best:
                break
            best = result.fun
    finally:
        # An interrupt can come in the middle of a line search.
        run.load(accepted)


def _first_order(run: Objective, optimizer: str, steps: int, lr: float | Callable[[int], float],
                 rows: Iterator[Rows], after_step: Callable[[], None]) -> None:
    # The functions behind torch.optim.Adam and SGD: those classes import torch's compiler, which takes seconds.
    options = {"weight_decay": 0.0, "maximize": False}
    weights, counts = run.parameters, [torch.tensor(0.0) for _ in run.parameters]
    means, squares = ([torch.zeros_like(p) for p in weights] for _ in range(2))
    for step in range(steps):
        rate = lr(step) if callable(lr) else lr
        run.evaluate(next(rows), gradient=True)
        gradients = [p.grad for p in weights]
        with torch.no_grad():
            if optimizer == "adam":
                adam(weights, gradients, means, squares, [], counts, lr=rate, beta1=0.9, beta2=0.999, eps=1e-8,
                     amsgrad=False, **options)
            else:
                sgd(weights, gradients, [None] * len(weights), lr=rate, momentum=0.0, dampening=0.0,
                    nesterov=False, **options)
        after_step()
