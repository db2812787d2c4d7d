"""The heuristic support function against exact ones, in rank 3 to 5 and for two outputs."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from dualkit.arrangements import ReLUFeatures
from dualkit.sampled import SampledReLUFeatures
from dualkit.whitened import WhitenedReLUFeatures


def draw(kind, n, r, rng):
    X, lam = rng.normal(size=(n, r)), rng.normal(size=n)
    if kind == "residual":      # cells of almost equal value
        lam -= X @ np.linalg.lstsq(X, lam, rcond=None)[0]
    elif kind == "two units":   # a difference of two features
        lam = np.abs(X @ rng.normal(size=r)) - np.abs(X @ rng.normal(size=r))
    elif kind == "scales":
        X *= 10 ** rng.uniform(-3, 3, size=(n, 1))
    elif kind == "ties":        # repeated, parallel and zero rows
        X, lam = rng.integers(-2, 3, size=(n, r)).astype(float), rng.integers(-3, 4, size=n).astype(float)
    return X, lam


KINDS = ["plain", "residual", "two units", "scales", "ties"]


def over_all_patterns(X, lam):
    """max over D and u of sum_{lam_i > 0} D_i lam_i x_i^T u - sum_{lam_i < 0} |lam_i| (x_i^T u)_+.

    D runs over all 0-1 vectors, realised or not. The maximum over u is the distance of a point from a box's image.
    """
    on, off, best = lam > 0, lam < 0, 0.0
    for D in product((0, 1), repeat=on.sum()):
        a = X[on].T @ (D * lam[on])
        if off.any():
            a = a - X[off].T @ lsq_linear(X[off].T, a, (0, -lam[off]), method="bvls", tol=1e-15).x
        best = max(best, np.linalg.norm(a))
    return best


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [4, 12, 40])
def test_the_exact_value_on_data_of_rank_three(kind, n):
    rng = np.random.default_rng(n)
    for _ in range(3):
        X, lam = draw(kind, n, 3, rng)
        found = SampledReLUFeatures(X, np.eye(3)).support(lam).value
        assert found == pytest.approx(ReLUFeatures(X).support(lam).value, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", [4, 5])
def test_the_maximum_over_all_patterns_on_data_of_higher_rank(kind, r):
    X, lam = draw(kind, 11, r, np.random.default_rng(r))
    exact = max(over_all_patterns(X, lam), over_all_patterns(X, -lam))
    assert SampledReLUFeatures(X, np.eye(r)).support(lam).value == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("n", [3, 7])
def test_two_outputs_on_whitened_data(n):
    Lambda = np.random.default_rng(n).normal(size=(n, 2))
    found, exact = SampledReLUFeatures(np.eye(n), np.eye(n)), WhitenedReLUFeatures(np.eye(n))
    assert found.support(Lambda).value == pytest.approx(exact.support(Lambda).value, rel=1e-9)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_the_value_is_attained_and_never_below_that_of_the_given_units(K, scale):
    rng = np.random.default_rng(K)
    X, units, Lambda = scale * rng.normal(size=(9, 6)), rng.normal(size=(6, 50)), rng.normal(size=(9, K)) / scale
    best = SampledReLUFeatures(X, units).support(Lambda)
    assert np.linalg.norm(best.unit) == pytest.approx(1.0)
    np.testing.assert_allclose(best.feature, np.maximum(X @ best.unit, 0.0))
    np.testing.assert_allclose(Lambda.T @ best.feature, best.value * best.output)
    given = Lambda.T @ np.maximum(X @ (units / np.linalg.norm(units, axis=0)), 0.0)
    assert best.value >= np.linalg.norm(given, axis=0).max() * (1 - 1e-12)


@pytest.mark.parametrize(("X", "Lambda", "value"), [
    (np.zeros((3, 2)), np.ones(3), 0.0), (np.eye(3), np.zeros(3), 0.0), (np.eye(1), np.ones(1), 1.0),
    (-np.eye(1), -np.ones(1), 1.0), (np.ones((4, 2)), np.ones((4, 2)), 8.0), (np.ones((2, 1)), [1.0, -1.0], 0.0),
])
def test_degenerate_data(X, Lambda, value):
    best = SampledReLUFeatures(X, np.zeros((X.shape[1], 1))).support(Lambda)
    assert best.value == pytest.approx(value, abs=1e-12)
    assert np.linalg.norm(best.output) == 1.0
