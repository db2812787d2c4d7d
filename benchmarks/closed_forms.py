"""Time the closed forms and exact solvers of dualkit: python benchmarks/closed_forms.py [--peers]

Each row is the median of several runs on one thread. Closed forms are compared with one LAPACK SVD of the same
matrix; with --peers the nuclear-norm problem is also given to general convex solvers (minutes).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import platform
import sys
from statistics import median
from time import perf_counter

import numpy as np

from dualkit import solve
from dualkit.data import random_whitened_columns, random_whitened_rows
from dualkit.depth import scalar_linear
from dualkit.hinge import fit_spline
from dualkit.linear import nuclear_regression
from dualkit.whitened import whitened_relu_network


def seconds(run, repeats=7):
    """Median time of a call, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return median(times)


def against_svd(rng):
    print(f"{'closed form':46s} {'time':>9s} {'one SVD':>9s} {'ratio':>6s}")
    for n, d in ((500, 100), (2000, 300), (400, 784)):
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, 10))
        y = Y[:, 0]
        beta, beta_K = 0.05 * np.linalg.norm(X.T @ y), 0.1 * np.linalg.norm(X.T @ Y, 2)
        svd = seconds(lambda X=X: np.linalg.svd(X, full_matrices=False))
        for name, run in {
            "scalar, depth 2": lambda X=X, y=y, beta=beta: scalar_linear(X, y, beta, 2),
            "scalar, depth 4": lambda X=X, y=y, beta=beta: scalar_linear(X, y, 0.01 * beta, 4),
            "10 outputs, certified gap 1e-10": lambda X=X, Y=Y, beta=beta_K: nuclear_regression(X, Y, beta),
        }.items():
            time = seconds(run)
            print(f"{name + f', {n} x {d}':46s} {time:9.4f} {svd:9.4f} {time / svd:6.2f}")
    tall, wide = random_whitened_columns(2000, 300, rng), random_whitened_rows(300, 2000, rng)
    outputs, labels = rng.normal(size=(2000, 10)), np.eye(10)[rng.integers(10, size=300)]
    svd = seconds(lambda: np.linalg.svd(tall, full_matrices=False))
    for name, run in {
        "whitened linear, depth 3, 2000 x 300": lambda: solve(tall, outputs, 0.1, depth=3),
        "whitened ReLU, depth 3, 300 x 2000": lambda: whitened_relu_network(wide, labels, 0.1, 3),
    }.items():
        time = seconds(run)
        print(f"{name:46s} {time:9.4f} {svd:9.4f} {time / svd:6.2f}")


def splines(rng):
    print(f"\n{'spline, certified gap 1e-10':46s} {'time':>9s} {'gap / primal':>13s} {'kinks':>6s}")
    for n in (1000, 10_000, 100_000):
        x = np.sort(rng.uniform(size=n))
        y = np.sin(12 * x) + 0.2 * rng.normal(size=n)
        start = perf_counter()
        fit = fit_spline(x, y, 0.01 * n**0.5)
        time = perf_counter() - start
        print(f"{f'n = {n}':46s} {time:9.3f} {fit.gap / fit.primal:13.1e} {len(fit.knots) - 2:6d}")


def peers(rng):
    import cvxpy as cp

    X = rng.normal(size=(500, 100))
    Y = X @ rng.normal(size=(100, 3)) @ rng.normal(size=(3, 10)) + 0.1 * 300**0.5 * rng.normal(size=(500, 10))
    beta, W = 0.1 * np.linalg.norm(X.T @ Y, 2), cp.Variable((100, 10))
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(X @ W - Y) + beta * cp.normNuc(W)))
    print("\nnuclear-norm regression 500 x 100 x 10")
    print(f"{'dualkit, certified gap 1e-10':46s} {seconds(lambda: nuclear_regression(X, Y, beta)):9.4f}")
    for solver in ("SCS", "CLARABEL"):
        print(f"{'cvxpy, ' + solver:46s} {seconds(lambda s=solver: problem.solve(solver=s), repeats=1):9.4f}")


def main() -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, seconds\n")
    rng = np.random.default_rng(0)
    against_svd(rng)
    splines(rng)
    if "--peers" in sys.argv:
        peers(rng)


if __name__ == "__main__":
    main()
