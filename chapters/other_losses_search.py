"""Search by training for parallel ReLU networks below the class-by-class value of cross-entropy.

    python chapters/other_losses_search.py [--jobs 2]

trains parallel networks on X = I with one sample a class, from several random starts and over a grid of depths,
numbers of classes and values of beta, and appends the best run of each setting to other_losses_search.csv beside
this script. beta is given as a fraction of the point from which a class is switched off in the class-by-class
solution. The chapter "Other losses" shows the table and runs a part of the search again. Settings that the table
holds already are kept: an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, minimize_scalar

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("depth", "classes", "fraction", "beta", "starts", "best_seed", "objective", "formula")
GRID = [(L, K, fraction) for fraction in (1.0, 0.5, 0.1, 0.001) for L in (3, 4, 5, 6, 8)
        for K in (3, 4, 5, 6, 7, 8, 9, 10)]
STARTS = 24


def penalty(v: float, K: int, depth: int) -> float:
    """Weight decay, for beta = 1, of a branch that serves one class of one sample at level v."""
    return depth / 2 * (v * np.sqrt((K - 1) / K)) ** (2 / depth)


def level_cost(v: float, K: int, beta: float, depth: int) -> float:
    """Objective of one class at level v."""
    return np.log1p((K - 1) * np.exp(-v)) + beta * penalty(v, K, depth)


def switch_point(K: int, depth: int) -> float:
    """The beta from which a class of one sample is off in the class-by-class solution."""
    def worth(v):
        return (np.log(K) - np.log1p((K - 1) * np.exp(-v))) / penalty(v, K, depth)

    grid = np.linspace(1e-3, 40, 4000)
    v = grid[int(np.argmax(worth(grid)))]
    return -float(minimize_scalar(lambda v: -worth(v), bounds=(max(v - 0.02, 1e-4), v + 0.02), method="bounded",
                                  options={"xatol": 1e-12}).fun)


def formula(K: int, beta: float, depth: int) -> float:
    """Objective of the class-by-class solution."""
    grid = np.linspace(1e-3, 60, 6000)
    v = grid[int(np.argmin(level_cost(grid, K, beta, depth)))]
    found = minimize_scalar(level_cost, bounds=(max(v - 0.02, 1e-6), v + 0.02), args=(K, beta, depth),
                            method="bounded", options={"xatol": 1e-12})
    return K * float(min(found.fun, np.log(K)))


def objective(theta: np.ndarray, K: int, branches: int, beta: float, depth: int) -> tuple[float, np.ndarray]:
    """Cross-entropy plus weight decay of F = sum_j g_j^(L-2) (z_j)_+ w_j^T on X = I, and its gradient."""
    Z, W, g = (theta[: K * branches].reshape(K, branches), theta[K * branches : -branches].reshape(branches, K),
               theta[-branches:])
    A, G = np.maximum(Z, 0), g ** (depth - 2)
    F = A * G @ W
    F -= F.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(F).sum(axis=1))
    R = np.exp(F - log_sum[:, None]) - np.eye(K)
    back = R @ W.T
    inner = (depth - 2) * (np.sum(A * back, axis=0) * g ** (depth - 3) + beta * g)
    gradient = [(back * G * (Z > 0) + beta * Z).ravel(), ((A * G).T @ R + beta * W).ravel(), inner]
    decay = theta[:-branches] @ theta[:-branches] + (depth - 2) * g @ g
    return float(np.sum(log_sum - np.diag(F)) + beta / 2 * decay), np.concatenate(gradient)


def train(depth: int, K: int, beta: float, seed: int,
          steps: int = 2000) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Train one network by L-BFGS; return its objective, hidden weights, output weights and inner gains.

    The number of branches, at most K + 1, and the size of the weights at the start are random too.
    """
    rng = np.random.default_rng(seed)
    branches, size = int(rng.integers(2, K + 2)), 10 ** (rng.uniform(-0.5, 2) / depth)
    start = np.concatenate([size * rng.normal(size=2 * K * branches), size + np.zeros(branches)])
    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(objective, start, (K, branches, beta, depth), jac=True, method="L-BFGS-B", options=options)
    Z, W = np.split(found.x[:-branches], 2)
    return float(found.fun), Z.reshape(K, branches), W.reshape(branches, K), found.x[-branches:]


def run(depth: int, K: int, fraction: float, starts: int = STARTS) -> dict:
    """Train from several starts; return a row of the table."""
    beta = fraction * switch_point(K, depth)
    values = [train(depth, K, beta, seed)[0] for seed in range(starts)]
    best = int(np.argmin(values))
    return dict(zip(FIELDS, (depth, K, fraction, beta, starts, best, values[best], formula(K, beta, depth)),
                    strict=True))


def read() -> list[dict]:
    """The rows of the table, numbers as numbers."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return [{k: float(v) if "." in v else int(v) for k, v in row.items()} for row in csv.DictReader(file)]


def main() -> None:
    from joblib import Parallel, delayed
    from tqdm import tqdm

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    jobs = parser.parse_args().jobs
    rows = read()
    done = {tuple(row[k] for k in FIELDS[:3]) for row in rows}
    todo = [s for s in GRID if s not in done]
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(run)(*s) for s in todo)
    with TABLE.open("a" if rows else "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if not rows:
            writer.writeheader()
        for row in tqdm(results, total=len(todo), desc="settings"):
            writer.writerow(row | {k: f"{row[k]:.9f}" for k in ("beta", "objective", "formula")})
            file.flush()


if __name__ == "__main__":
    main()
