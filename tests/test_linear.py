"""Two-layer linear networks with K outputs: optimality, invariances, degenerate data, bad input."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualkit import solve
from dualkit.linear import interpolate, nuclear_regression, soft_threshold

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 8), st.integers(1, 6), st.integers(1, 4))
fractions = st.floats(1e-4, 0.99)


def instance(seed, size):
    rng = np.random.default_rng(seed)
    n, d, K = size
    X = rng.normal(size=(n, d)) * np.geomspace(1, 10.0 ** -(seed % 3), d)
    if seed % 5 == 0:
        X[:, -1] = 0.0
    if seed % 7 == 0:
        X[-1] = X[0]
    return rng, X, rng.normal(size=(n, K))


def assert_optimal(X, Y, beta, W, tolerance):
    """X^T (Y - XW) / beta is a subgradient of the nuclear norm at W."""
    G = X.T @ (Y - X @ W) / beta
    nuclear = np.linalg.norm(W, "nuc")
    assert np.linalg.norm(G, 2) <= 1 + tolerance
    assert abs(np.vdot(G, W) - nuclear) <= tolerance * (nuclear + np.linalg.norm(X.T @ Y) / beta)


@given(seeds, sizes, fractions)
def test_minimiser_satisfies_the_optimality_condition(seed, size, fraction):
    _, X, Y = instance(seed, size)
    beta = fraction * np.linalg.norm(X.T @ Y, 2)
    if beta == 0:
        return
    fit = nuclear_regression(X, Y, beta)
    assert_optimal(X, Y, beta, fit.W, 1e-4)
    assert fit.relative_gap <= 1e-9


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 3, 2), (3, 6, 4), (30, 5, 3)])
@pytest.mark.parametrize("fraction", [0.02, 0.4])
def test_objective_agrees_with_a_convex_solver(size, fraction):
    _, X, Y = instance(1, size)
    beta = fraction * np.linalg.norm(X.T @ Y, 2)
    W = cp.Variable((size[1], size[2]))
    value = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(X @ W - Y) + beta * cp.normNuc(W))).solve(
        solver="CLARABEL"
    )
    fit = nuclear_regression(X, Y, beta)
    ours = 0.5 * np.sum(fit.residual**2) + beta * np.linalg.norm(fit.W, "nuc")
    assert abs(ours / value - 1) < 1e-7


@given(seeds, sizes, st.floats(1.0 + 1e-9, 1e6))
def test_beta_at_or_above_the_threshold_gives_exactly_zero(seed, size, factor):
    _, X, Y = instance(seed, size)
    fit = nuclear_regression(X, Y, max(factor * np.linalg.norm(X.T @ Y, 2), 1e-12))
    assert not fit.W.any()


@given(seeds, sizes, fractions, st.floats(1e-80, 1e80))
def test_scaling_labels_and_beta_scales_the_minimiser(seed, size, fraction, c):
    _, X, Y = instance(seed, size)
    beta = fraction * np.linalg.norm(X.T @ Y, 2)
    if beta == 0:
        return
    W = nuclear_regression(X, Y, beta).W
    np.testing.assert_allclose(
        X @ nuclear_regression(X, c * Y, c * beta).W, c * (X @ W), rtol=0, atol=3e-4 * c * np.linalg.norm(Y)
    )


@given(seeds, sizes, fractions)
def test_rotations_of_features_samples_and_outputs(seed, size, fraction):
    rng, X, Y = instance(seed, size)
    beta = fraction * np.linalg.norm(X.T @ Y, 2)
    if beta == 0:
        return
    A, B, C = (np.linalg.qr(rng.normal(size=(k, k)))[0] for k in (len(X), X.shape[1], Y.shape[1]))
    rotated = nuclear_regression(A @ X @ B, A @ Y @ C, beta).W
    np.testing.assert_allclose(
        A.T @ (A @ X @ B) @ rotated @ C.T, X @ nuclear_regression(X, Y, beta).W, atol=3e-4 * np.linalg.norm(Y)
    )


@given(seeds, st.integers(1, 5), st.integers(1, 5), st.floats(0, 3))
def test_moreau_decomposition_of_the_soft_threshold(seed, d, K, tau):
    Z = np.random.default_rng(seed).normal(size=(d, K))
    P = soft_threshold(Z, tau)
    assert (
        np.linalg.norm(Z - P, 2) <= tau * (1 + 1e-12) + 1e-14
    )  # the projection on the dual ball is what is left
    np.testing.assert_allclose(np.vdot(Z - P, P), tau * np.linalg.norm(P, "nuc"), atol=1e-10)


@given(seeds, st.integers(1, 5), st.integers(0, 4), st.integers(1, 4))
def test_interpolation_fits_with_the_least_norm(seed, n, extra, K):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, n + extra)), rng.normal(size=(n, K))
    W = interpolate(X, Y)
    np.testing.assert_allclose(X @ W, Y, atol=1e-6)
    N = rng.normal(size=W.shape)
    other = W + N - np.linalg.pinv(X) @ X @ N
    assert np.linalg.norm(other, "nuc") >= np.linalg.norm(W, "nuc") * (1 - 1e-12)


def test_no_data_signal_gives_zero():
    assert not nuclear_regression(np.zeros((3, 2)), np.ones((3, 2)), 1.0).W.any()
    assert not nuclear_regression(np.ones((3, 2)), np.zeros((3, 2)), 1.0).W.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nuclear_regression([[1.0]], [[np.nan]], 1.0), "Y must be finite, found nan"),
        (
            lambda: nuclear_regression([[1.0]], [[1.0], [2.0]], 1.0),
            "Y must have as many rows as X, found 2 against 1",
        ),
        (lambda: nuclear_regression([[1.0]], [[1.0]], -1.0), r"beta must be finite and >= 0, found -1.0"),
        (lambda: nuclear_regression([[1.0]], [[1.0]], 0.0), "beta must be > 0"),
        (lambda: nuclear_regression([[1.0]], [[1.0]], 1.0, max_rounds=0), "max_rounds must be at least 1, found 0"),
        (lambda: nuclear_regression([[1.0]], [[1.0]], 1.0, tolerance=-1.0), "tolerance must be finite and >= 0"),
        (lambda: soft_threshold([[1.0]], -2.0), "tau must be finite and >= 0, found -2.0"),
        (lambda: interpolate([[1.0], [1.0]], [1.0, 1.0]), "X must have full row rank 2 .* found rank 1"),
        (lambda: interpolate([1.0, 1.0], [1.0, 1.0]), "X must be 2-D"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_accuracy_that_is_not_reached_is_an_error():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 6)) * np.geomspace(1, 1e-3, 6), rng.normal(size=(20, 4))
    with pytest.raises(RuntimeError, match="relative gap of .* in 1 rounds"):
        nuclear_regression(X, Y, 0.1 * np.linalg.norm(X.T @ Y, 2), tolerance=1e-15, max_rounds=1)


@pytest.mark.parametrize(("unit", "size"), [(1e-150, 1e100), (1e150, 1e-100), (1e60, 1e100), (1e-150, 1e-60)])
@pytest.mark.parametrize("K", [1, 3])
def test_no_scale_is_too_large_or_too_small(unit, size, K):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(6, 4)), rng.normal(size=(6, K))
    beta = 0.2 * np.linalg.norm(X.T @ Y, 2)
    plain, scaled = solve(X, Y, beta), solve(unit * X, size * Y, beta * unit * size)
    np.testing.assert_allclose(scaled.predict(unit * X) / size, plain.predict(X), rtol=1e-6, atol=1e-9)
    assert scaled.certificate.relative_gap < 1e-8


def test_a_small_beta_on_uneven_columns_reaches_the_certified_gap():
    _, X, Y = instance(475, (4, 6, 3))      # found by hypothesis: proximal steps alone stall at 1.4e-10
    assert nuclear_regression(X, Y, 1e-4 * np.linalg.norm(X.T @ Y, 2)).relative_gap <= 1e-11
