"""Training of ReLU networks of several depths on six points of a line, from many random starts.

    python chapters/splines_search.py [--jobs 2]

trains standard and parallel networks with free biases in the last hidden layer, and appends every run to
splines_search.csv beside this script: the objective, and where the trained function bends. The chapter
"One-dimensional data: splines" shows the table and runs a part of it again. Runs that the table holds already are
kept: an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dualkit import Network, as_network
from dualkit.measure import kinks
from dualkit.training import from_arrays, train

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("network", "depth", "seed", "objective", "kinks", "changes")
X = np.array([0.5, 1.5, 2.5, 4.0, 5.0, 6.5])
Y = np.array([0.0, 1.5, 0.5, 1.0, 2.5, 2.0])
BETA = 0.05
SETTINGS = [("standard", 2), ("standard", 3), ("standard", 4), ("parallel", 3), ("parallel", 4)]
SEEDS = range(24)


def random_network(x: np.ndarray, depth: int, branches: int, inner: int, last: int, seed: int) -> Network:
    """A random network whose last hidden layer has free biases; on x > 0 its kinks lie among the data."""
    rng = np.random.default_rng(seed)
    chains, biases = [], []
    for _ in range(branches):
        chain = [rng.normal(size=s) / np.sqrt(s[0]) for s in pairwise([1] + [inner] * (depth - 2) + [last, 1])]
        chain[:-2] = [np.abs(W) for W in chain[:-2]]  # a negative unit of the first layer never switches on
        slope = np.ones((1, 1))
        for W in chain[:-1]:
            slope = slope @ W
        chains.append(tuple(chain))
        biases.append(-slope[0] * rng.uniform(x[0], x[-1], last))
    return Network(tuple(chains), "relu", tuple(biases), np.zeros(1))


def bends(network: Network, x: np.ndarray, least: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Kinks strictly inside the data and their changes of slope; near ones are added up, small ones left out."""
    at, change = kinks(network.branches, network.biases, tol=2e-2)
    keep = (at > x[0] + 0.1) & (at < x[-1] - 0.1) & (np.abs(change) > least)
    return at[keep], change[keep]


def run(kind: str, depth: int, seed: int) -> dict:
    """Train one network by L-BFGS; return a row of the table."""
    shape = (1, 4, 20) if kind == "standard" else (12, 1, 1)
    start = from_arrays(random_network(X, depth, *shape, seed))
    history = train(start, X[:, None], Y, BETA, steps=1500, progress=False)
    at, change = bends(as_network(history.module), X)
    return dict(zip(FIELDS, (kind, depth, seed, f"{history.objective[-1]:.6f}", " ".join(f"{b:.2f}" for b in at),
                             " ".join(f"{c:.2f}" for c in change)), strict=True))


def read() -> list[dict]:
    """The rows of the table: numbers as numbers, kinks and changes as arrays."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row | {"depth": int(row["depth"]), "seed": int(row["seed"]), "objective": float(row["objective"]),
                   "kinks": np.array(row["kinks"].split(), dtype=float),
                   "changes": np.array(row["changes"].split(), dtype=float)} for row in rows]


def main() -> None:
    from joblib import Parallel, delayed

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    jobs = parser.parse_args().jobs
    rows = read()
    done = {(row["network"], row["depth"], row["seed"]) for row in rows}
    todo = [(*s, seed) for seed in SEEDS for s in SETTINGS if (*s, seed) not in done]
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(run)(*s) for s in todo)
    with TABLE.open("a" if rows else "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if not rows:
            writer.writeheader()
        for row in tqdm(results, total=len(todo), desc="runs"):
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
