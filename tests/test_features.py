"""The ellipsoid of linear networks: support function, exposed point, gauge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualkit.features import LinearFeatures

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


def instance(seed, size):
    rng = np.random.default_rng(seed)
    n, d, K = size
    X = rng.normal(size=(n, d))
    if seed % 3 == 0:
        X[:, -1] = 0.0
    if seed % 5 == 0:
        X[-1] = X[0]
    return rng, X, rng.normal(size=(n, K)), rng.normal(size=(d, K))


@given(seeds, sizes)
def test_exposed_point_attains_the_support_and_no_other_feature_exceeds_it(seed, size):
    rng, X, Lambda, _ = instance(seed, size)
    s = LinearFeatures(X).support(Lambda)
    assert np.linalg.norm(s.unit) <= 1 + 1e-12
    np.testing.assert_allclose(X @ s.unit, s.feature, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(Lambda.T @ s.feature), s.value, atol=1e-10)
    np.testing.assert_allclose(s.output @ Lambda.T @ s.feature, s.value, atol=1e-10)
    U = rng.normal(size=(X.shape[1], 200))
    assert np.linalg.norm(Lambda.T @ X @ (U / np.linalg.norm(U, axis=0)), axis=0).max() <= s.value * (
        1 + 1e-12
    )


@given(seeds, sizes, st.floats(-1e6, 1e6))
def test_support_is_even_homogeneous_and_subadditive(seed, size, c):
    rng, X, Lambda, _ = instance(seed, size)
    H, other = LinearFeatures(X), rng.normal(size=Lambda.shape)
    np.testing.assert_allclose(H.support(c * Lambda).value, abs(c) * H.support(Lambda).value, rtol=1e-10)
    assert H.support(Lambda + other).value <= H.support(Lambda).value + H.support(other).value + 1e-10


@given(seeds, sizes)
def test_gauge_and_support_are_polar(seed, size):
    _, X, Lambda, W = instance(seed, size)
    H, F = LinearFeatures(X), X @ W
    assert abs(np.vdot(Lambda, F)) <= H.gauge(F) * H.support(Lambda).value * (1 + 1e-9) + 1e-12
    # The bound is attained by the Lambda with X^T Lambda = U V^T for the least-norm W.
    U, s, Vt = np.linalg.svd(np.linalg.pinv(X) @ F, full_matrices=False)
    keep = s > 1e-10 * max(s[0], 1)
    best = np.linalg.pinv(X.T) @ (U[:, keep] @ Vt[keep])
    np.testing.assert_allclose(np.vdot(best, F), H.gauge(F), rtol=1e-8, atol=1e-10)


@given(seeds, sizes)
def test_gauge_is_invariant_to_rotations_of_the_features(seed, size):
    rng, X, _, W = instance(seed, size)
    R = np.linalg.qr(rng.normal(size=(X.shape[1],) * 2))[0]
    np.testing.assert_allclose(
        LinearFeatures(X @ R).gauge(X @ W), LinearFeatures(X).gauge(X @ W), rtol=1e-8, atol=1e-10
    )


def test_outputs_outside_the_range_have_infinite_gauge():
    assert LinearFeatures(np.array([[1.0], [0.0]])).gauge(np.array([0.0, 1.0])) == np.inf


def test_a_zero_dual_variable_has_zero_support():
    s = LinearFeatures(np.ones((3, 2))).support(np.zeros(3))
    assert s.value == 0
    assert np.isfinite(s.unit).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearFeatures([1.0, 2.0]), r"X must be 2-D .* found shape \(2,\)"),
        (lambda: LinearFeatures([[1.0, np.nan]]), r"X must be finite, found nan at index \(0, 1\)"),
        (lambda: LinearFeatures([[]]), "X must not be empty"),
        (
            lambda: LinearFeatures(np.eye(2)).support([1.0]),
            "Lambda must have as many rows as X, found 1 against 2",
        ),
        (lambda: LinearFeatures(np.eye(2)).support([1.0, np.inf]), "Lambda must be finite, found inf"),
        (lambda: LinearFeatures(np.eye(2)).gauge(np.ones((2, 1, 1))), "F must be 1-D or 2-D"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_data_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="X must be an array of real numbers"):
        LinearFeatures([["a"]])
