"""Search by training for standard ReLU networks below the closed form of parallel networks.

    python chapters/deep_standard_search.py [--jobs 2]

trains standard networks on X = I with one-hot labels, from several random starts and over a grid of depths and
numbers of classes, and appends every run to deep_standard_search.csv beside this script. On whitened data the
hidden matrix X W_1 is free, so X = I stands for all of them. The chapter "Deep standard networks do better" shows
the table and runs a part of the search again. Runs that the table holds already are kept: an interrupted search
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from dualkit.data import one_hot
from dualkit.depth import depth_prox_value

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("depth", "classes", "per_class", "beta", "width", "seed", "objective", "formula")
GRID = [(L, K, 1, 0.01, 2 * K + 8) for K in (2, 3, 4, 6, 10) for L in (3, 4, 5, 6, 8)]
LARGE = [(L, 10, 4, 0.02, 40) for L in (4, 5)]
SEEDS = range(6)


def layers(theta: np.ndarray, shapes: list[tuple[int, int]]) -> list[np.ndarray]:
    """Cut one vector into weight matrices."""
    cuts = np.cumsum([a * b for a, b in shapes])[:-1]
    return [w.reshape(s) for w, s in zip(np.split(theta, cuts), shapes, strict=True)]


def objective(theta: np.ndarray, shapes: list[tuple[int, int]], Y: np.ndarray,
              beta: float) -> tuple[float, np.ndarray]:
    """Return 0.5 ||f(I) - Y||^2 + (beta/2) ||theta||^2 and its gradient."""
    weights = layers(theta, shapes)
    outputs = [np.maximum(weights[0], 0)]  # X = I
    for W in weights[1:-1]:
        outputs.append(np.maximum(outputs[-1] @ W, 0))
    back = residual = outputs[-1] @ weights[-1] - Y
    gradients = []
    for W, A in zip(weights[:0:-1], outputs[::-1], strict=True):
        gradients.append(A.T @ back)
        back = (back @ W.T) * (A > 0)
    gradient = np.concatenate([g.ravel() for g in [*gradients, back][::-1]])
    return 0.5 * np.vdot(residual, residual) + 0.5 * beta * (theta @ theta), gradient + beta * theta


def train(depth: int, classes: int, per_class: int, beta: float, width: int, seed: int,
          steps: int = 4000) -> tuple[float, list[np.ndarray]]:
    """Train one network by L-BFGS from a He start; return its objective and its weights."""
    Y = one_hot(np.repeat(np.arange(classes), per_class), classes)
    shapes = list(pairwise([len(Y), *[width] * (depth - 1), classes]))
    rng = np.random.default_rng(seed)
    start = np.concatenate([rng.normal(size=a * b) * np.sqrt(2 / a) for a, b in shapes])
    found = minimize(objective, start, (shapes, Y, beta), jac=True, method="L-BFGS-B",
                     options={"maxiter": steps, "maxfun": 2 * steps, "maxcor": 10, "ftol": 1e-13, "gtol": 1e-9})
    return float(found.fun), layers(found.x, shapes)


def run(depth: int, classes: int, per_class: int, beta: float, width: int, seed: int, steps: int = 4000) -> dict:
    """Train one network; return a row of the table."""
    value = train(depth, classes, per_class, beta, width, seed, steps)[0]
    formula = classes * float(depth_prox_value(np.sqrt(per_class), beta, depth))
    return dict(zip(FIELDS, (depth, classes, per_class, beta, width, seed, value, formula), strict=True))


def read() -> list[dict]:
    """The rows of the table, numbers as numbers."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return [{k: float(v) if "." in v else int(v) for k, v in row.items()} for row in csv.DictReader(file)]


def main() -> None:
    from joblib import Parallel, delayed

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    jobs = parser.parse_args().jobs
    rows = read()
    done = {tuple(row[k] for k in FIELDS[:6]) for row in rows}
    # Seed by seed, so that an early stop leaves a smaller table of the same shape.
    todo = [(*s, seed) for seed in SEEDS for s in GRID + LARGE if (*s, seed) not in done]
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(run)(*s) for s in todo)
    with TABLE.open("a" if rows else "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if not rows:
            writer.writeheader()
        for row in tqdm(results, total=len(todo), desc="runs"):
            writer.writerow(row | {"objective": f"{row['objective']:.9f}", "formula": f"{row['formula']:.9f}"})
            file.flush()


if __name__ == "__main__":
    main()
