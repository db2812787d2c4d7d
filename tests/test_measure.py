"""Measures of trained networks: on configurations whose answer is known, on random ones by other routes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualkit.depth import aligned_factors
from dualkit.measure import (
    alignment_angles,
    balancedness,
    effective_rank,
    kinks,
    layer_norms,
    neural_collapse,
)

seeds = st.integers(0, 10**6)


def frame(rng, rows, columns):
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0]


def chain(rng, widths):
    return [rng.normal(size=shape) for shape in zip(widths[:-1], widths[1:], strict=True)]


# ---- ranks, norms, balance, alignment


@given(seed=seeds, rank=st.integers(1, 4), size=st.floats(1e-6, 1e6))
def test_effective_rank_counts_against_the_largest(seed, rank, size):
    rng = np.random.default_rng(seed)
    s = size * np.array([1.0, 0.5, 0.02, 0.011])[:rank]
    noise = size * np.array([0.009, 1e-12])
    W = (frame(rng, 7, rank + 2) * np.append(s, noise)) @ frame(rng, 6, rank + 2).T
    assert effective_rank(W, 0.01) == rank
    assert effective_rank(W, 0.001) == rank + 1
    assert effective_rank(W) == rank + 1


def test_effective_rank_of_zero_and_strictness():
    assert effective_rank(np.zeros((2, 3))) == 0
    assert effective_rank(np.diag([4.0, 2.0]), 0.5) == 1  # at the threshold does not count
    assert effective_rank(np.eye(3), 0.0) == 3


@given(seed=seeds)
def test_layer_norms_agree_with_singular_values(seed):
    weights = chain(np.random.default_rng(seed), [4, 3, 5, 2])
    frobenius, operator = layer_norms(weights)
    for W, f, o in zip(weights, frobenius, operator, strict=True):
        s = np.sqrt(np.linalg.eigvalsh(W @ W.T).clip(0))
        assert f == pytest.approx(np.sqrt(np.sum(s**2)), rel=1e-12)
        assert o == pytest.approx(s.max(), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, rank=st.integers(1, 3), depth=st.integers(2, 5))
def test_optimal_linear_networks_are_balanced_and_aligned(seed, rank, depth):
    rng = np.random.default_rng(seed)
    W = (frame(rng, 6, rank) * np.arange(3.0, 3.0 + rank)) @ frame(rng, 4, rank).T
    weights = aligned_factors(W, depth, 5, rng)
    assert np.all(balancedness(weights) < 1e-12)
    angles = alignment_angles(weights, rank)
    assert angles.shape == (depth - 1, rank)
    assert np.all(np.abs(angles) < 1e-13)
    frobenius, operator = layer_norms(weights)
    np.testing.assert_allclose(frobenius, frobenius[0])
    assert np.allclose(frobenius, operator) == (rank == 1)
    # Rescaling a layer breaks the balance, not the alignment.
    stretched = [2 * weights[0], *weights[1:]]
    gram = np.linalg.norm(weights[0].T @ weights[0])
    assert balancedness(stretched)[0] == pytest.approx(3 * gram)
    assert np.all(alignment_angles(stretched, rank) < 1e-13)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, angles=st.lists(st.floats(0, np.pi / 2), min_size=2, max_size=2))
def test_alignment_angles_are_those_built_in(seed, angles):
    """A frame against itself turned by given angles into its complement."""
    rng = np.random.default_rng(seed)
    Q = frame(rng, 6, 4)
    turned = Q[:, :2] * np.cos(angles) + Q[:, 2:] * np.sin(angles)
    mix = frame(rng, 2, 2)
    first = (frame(rng, 5, 2) * [3.0, 2.0]) @ (Q[:, :2] @ mix).T
    second = (turned * [2.0, 1.0]) @ frame(rng, 3, 2).T
    np.testing.assert_allclose(alignment_angles([first, second], 2)[0], np.sort(angles), rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-4, 1.0, np.pi / 2 - 1e-9])
def test_small_angles_keep_their_digits(angle):
    weights = [np.array([[1.0, 0.0]]), np.array([[np.cos(angle)], [np.sin(angle)]])]
    assert alignment_angles(weights)[0, 0] == pytest.approx(angle, rel=1e-6, abs=1e-16)


def test_balancedness_is_conserved_by_gradient_flow():
    """d/dt of W_l^T W_l - W_{l+1} W_{l+1}^T vanishes along the gradient flow of any loss of the product."""
    rng = np.random.default_rng(0)
    W1, W2, G = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=(4, 2))
    step = 1e-5
    forth, back = ([W1 + t * G @ W2.T, W2 + t * W1.T @ G] for t in (step, -step))
    rate = (balancedness(forth) - balancedness(back)) / (2 * step)
    assert np.abs(rate).max() < 1e-8
    assert balancedness([W1, W2])[0] > 0.1


# ---- kinks


def predict(x, weights, biases):
    A = x[:, None]
    for W, b in zip(weights, biases, strict=False):
        A = np.maximum(A @ W + b, 0)
    return (A @ weights[-1])[:, 0]


def slope(x, weights, biases):
    """The derivative at x by the chain rule."""
    A, J = np.array([[x]]), np.eye(1)
    for W, b in zip(weights, biases, strict=False):
        A, J = A @ W + b, J @ W
        A, J = np.maximum(A, 0), J * (A > 0)
    return (J @ weights[-1])[0, 0]


@given(seed=seeds, width=st.integers(1, 8))
def test_kinks_of_two_layers_are_minus_bias_over_weight(seed, width):
    rng = np.random.default_rng(seed)
    w, v = chain(rng, [1, width, 1])
    b = rng.normal(size=width)
    x, change = kinks([[w, v]], [b])
    order = np.argsort(-b / w[0])
    np.testing.assert_allclose(x, (-b / w[0])[order], rtol=1e-13)
    gains = np.abs(w[0]) * v[:, 0]
    np.testing.assert_allclose(change, gains[order], rtol=0, atol=1e-14 * np.abs(gains).sum())


@settings(max_examples=60, deadline=None)
@given(seed=seeds, widths=st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_deep_networks_are_linear_between_kinks_and_bend_at_each(seed, widths):
    rng = np.random.default_rng(seed)
    weights, biases = chain(rng, [1, *widths, 1]), [rng.normal(size=m) for m in widths]
    x, change = kinks([weights], [biases], tol=1e-12)
    ends = np.concatenate([x[:1] - 20, x, x[-1:] + 20]) if len(x) else np.array([-20.0, 20.0])
    middle, width = 0.5 * (ends[1:] + ends[:-1]), np.diff(ends)
    slopes = np.array([slope(t, weights, biases) for t in middle])
    size = np.abs(slopes).max()
    np.testing.assert_allclose(np.diff(slopes), change, atol=1e-10 * size)
    # every point of an interval lies on the line through its middle
    for fraction in (-0.49, -0.3, 0.4, 0.49):
        expected = predict(middle, weights, biases) + slopes * fraction * width
        found = predict(middle + fraction * width, weights, biases)
        np.testing.assert_allclose(found, expected, atol=1e-11 * (1 + size) * (1 + np.abs(ends).max()))


def test_a_hat_of_three_layers():
    """(1 - |x|)_+ from two units, one of them bent by a bias in the second hidden layer."""
    weights = [np.array([[1.0, -1.0]]), np.array([[-1.0], [-1.0]]), np.array([[2.0]])]
    x, change = kinks([weights], [[None, np.array([1.0])]])
    np.testing.assert_allclose(x, [-1, 0, 1], atol=1e-15)
    np.testing.assert_allclose(change, [2, -4, 2])


def test_parallel_branches_add_and_common_kinks_merge_or_cancel():
    up, down = [np.array([[1.0]]), np.array([[2.0]])], [np.array([[-1.0]]), np.array([[3.0]])]
    at_one = [np.array([-1.0]), np.array([1.0])]  # 2 (x-1)_+ + 3 (1-x)_+
    x, change = kinks([up, down], at_one)
    assert x.tolist() == [1.0]
    assert change.tolist() == [5.0]
    x, change = kinks([up, [up[0], -up[1]]], [at_one[0], at_one[0]])
    assert len(x) == len(change) == 0
    x, change = kinks([up, up], [np.array([-1.0]), np.array([-1.0 - 1e-12])])
    assert change.tolist() == [4.0]
    assert len(kinks([up, up], [np.array([-1.0]), np.array([-1.0 - 1e-12])], tol=1e-14)[0]) == 2


def test_bias_of_the_last_hidden_layer_alone():
    weights = [np.array([[1.0]]), np.array([[2.0]]), np.array([[1.0]])]  # (2 x_+ - 1)_+
    x, change = kinks([weights], [np.array([-1.0])])
    np.testing.assert_allclose(x, [0.5])
    np.testing.assert_allclose(change, [2.0])
    same = kinks([weights], [[None, np.array([-1.0])]])
    np.testing.assert_array_equal(same, (x, change))
    assert kinks([weights])[0].tolist() == [0.0]


def test_an_affine_or_dead_network_has_no_kinks():
    absolute = [np.array([[1.0, -1.0]]), np.array([[1.0], [-1.0]])]  # x_+ - (-x)_+ = x
    assert len(kinks([absolute])[0]) == 0
    dead = [np.array([[1.0]]), np.array([[-1.0]]), np.array([[5.0]])]
    assert len(kinks([dead])[0]) == 0


# ---- neural collapse


def collapsed(K, per_class, means):
    labels = np.repeat(np.arange(K), per_class)
    return means[labels], labels


@pytest.mark.parametrize("K", [2, 3, 10])
def test_an_orthogonal_frame_as_whitened_relu_networks_reach_it(K):
    rng = np.random.default_rng(K)
    M = 3.0 * frame(rng, K + 2, K)
    H, labels = collapsed(K, 4, M.T)
    found = neural_collapse(H, labels, 0.7 * M)
    assert found.nc1 < 1e-28
    assert found.nc2_centred < 1e-13
    assert found.nc2_uncentred < 1e-13
    assert found.nc3 == pytest.approx(np.sqrt(2 - 2 * np.sqrt((K - 1) / K)), rel=1e-12)
    assert found.nc3_centred < 1e-13
    assert found.nc4 == 0
    if K == 3:
        assert round(found.nc3, 4) == 0.6058


@pytest.mark.parametrize("K", [2, 3, 10])
def test_a_simplex_equiangular_tight_frame(K):
    M = frame(np.random.default_rng(K), K + 1, K) @ (np.eye(K) - 1 / K)
    H, labels = collapsed(K, 3, M.T)
    found = neural_collapse(H, labels, 2.0 * M)
    assert max(found.nc1, found.nc2_centred, found.nc3, found.nc3_centred, found.nc4) < 1e-13
    # its Gram matrix is the projection R, whose angle with I is known
    assert found.nc2_uncentred == pytest.approx(np.sqrt(2 - 2 * np.sqrt((K - 1) / K)), rel=1e-12)
    moved = neural_collapse(H + 5.0, labels, 2.0 * M)  # centring removes a common shift
    assert max(moved.nc2_centred, moved.nc3) < 1e-12


@settings(max_examples=30, deadline=None)
@given(seed=seeds, K=st.integers(2, 5), unbalanced=st.booleans())
def test_measures_agree_with_their_definitions(seed, K, unbalanced):
    rng = np.random.default_rng(seed)
    m = K + 3
    counts = rng.integers(1, 5, K) if unbalanced else np.full(K, 3)
    labels = rng.permutation(np.repeat(np.arange(K), counts))
    H, W, b = rng.normal(size=(len(labels), m)), rng.normal(size=(m, K)), rng.normal(size=K)
    found = neural_collapse(H, labels, W, b)
    means = [np.mean([h for h, k in zip(H, labels, strict=True) if k == c], axis=0) for c in range(K)]
    centre = sum(means) / K
    S_W = sum(np.outer(h - means[k], h - means[k]) for h, k in zip(H, labels, strict=True)) / len(labels)
    S_B = sum(np.outer(mu - centre, mu - centre) for mu in means) / K
    expected = np.trace(S_W @ np.linalg.pinv(S_B, rcond=1e-8)) / K
    assert found.nc1 == pytest.approx(expected, rel=1e-7, abs=1e-14)
    for measure, origin, target in (
        (found.nc2_centred, centre, (np.eye(K) - 1 / K) / np.sqrt(K - 1)),
        (found.nc2_uncentred, 0, np.eye(K) / np.sqrt(K)),
    ):
        gram = np.array([[(p - origin) @ (q - origin) for q in means] for p in means])
        assert measure == pytest.approx(np.linalg.norm(gram / np.linalg.norm(gram) - target), abs=1e-12)
    C = np.array([mu - centre for mu in means]).T
    for measure, V in ((found.nc3, W), (found.nc3_centred, W - W.mean(axis=1, keepdims=True))):
        cosine = np.sum(V * C) / np.linalg.norm(V) / np.linalg.norm(C)
        assert measure == pytest.approx(np.sqrt(2 - 2 * cosine), rel=1e-9)
    votes = [np.argmax(h @ W + b) != np.argmin([np.sum((h - mu) ** 2) for mu in means]) for h in H]
    assert found.nc4 == pytest.approx(np.mean(votes))


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_measures_grow_with_the_perturbation_at_the_right_order(seed):
    rng = np.random.default_rng(seed)
    M = frame(rng, 6, 4)
    H, labels = collapsed(4, 25, M.T)
    noise, drift = rng.normal(size=H.shape), rng.normal(size=M.shape)
    small, large = (neural_collapse(H + t * noise, labels, M + t * drift) for t in (1e-4, 1e-3))
    assert large.nc1 == pytest.approx(100 * small.nc1, rel=0.02)  # a ratio of variances: quadratic
    assert large.nc2_centred == pytest.approx(10 * small.nc2_centred, rel=0.02)  # distances: linear
    assert large.nc2_uncentred == pytest.approx(10 * small.nc2_uncentred, rel=0.02)
    assert large.nc3_centred == pytest.approx(10 * small.nc3_centred, rel=0.02)
    assert small.nc4 == large.nc4 == 0
    # S_W = t^2 (1 - 1/25) I up to sampling, and S_B has K - 1 eigenvalues 1/K
    assert small.nc1 == pytest.approx(3 * 0.96 * 1e-8, rel=0.5)


@given(seed=seeds, a=st.floats(0.1, 10), b=st.floats(0.1, 10))
def test_measures_do_not_depend_on_scale_or_rotation(seed, a, b):
    rng = np.random.default_rng(seed)
    H, W, labels = rng.normal(size=(12, 5)), rng.normal(size=(5, 3)), np.arange(12) % 3
    Q = frame(rng, 5, 5)
    before, after = neural_collapse(H, labels, W), neural_collapse(a * H @ Q, labels, b * Q.T @ W)
    for name in ("nc1", "nc2_centred", "nc2_uncentred", "nc3", "nc3_centred", "nc4"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-8)


def test_a_bias_moves_the_predictions_and_nothing_else():
    H, labels = collapsed(3, 2, np.eye(3))
    free = neural_collapse(H, labels, np.eye(3))
    biased = neural_collapse(H, labels, np.eye(3), [9.0, 0.0, 0.0])
    assert biased.nc4 == pytest.approx(2 / 3)  # everything goes to class 0
    assert (biased.nc1, biased.nc2_centred, biased.nc3) == (free.nc1, free.nc2_centred, free.nc3)


# ---- arguments

E3 = np.eye(3)


@pytest.mark.parametrize(("function", "arguments", "message"), [
    (effective_rank, ([[np.nan]],), "W must be finite"),
    (effective_rank, (E3, -0.1), "tol must be finite and >= 0"),
    (layer_norms, ([E3],), "weights must hold at least 2 matrices, found 1"),
    (layer_norms, ([E3, np.ones((2, 2))],), r"weights\[0\] of shape .* does not fit weights\[1\]"),
    (balancedness, ([E3, np.ones(3)],), r"weights\[1\] must be 2-D"),
    (alignment_angles, ([E3, E3], 1), r"rank must end at a gap in the singular values of weights\[0\]"),
    (alignment_angles, ([np.diag([2.0, 1.0]), np.ones((2, 1))], 2), r"singular values of weights\[1\]"),
    (alignment_angles, ([E3, E3], 0), "rank must be at least 1"),
    (kinks, ([[np.ones((2, 1)), np.ones((1, 1))]],), "one input and one output, found 2 and 1"),
    (kinks, ([[np.ones((1, 2)), np.ones((2, 3))]],), "one output, found 1 and 3"),
    (kinks, ([[np.ones((1, 2)), np.ones((2, 1))]], []), "one entry per branch, found 0 for 1"),
    (kinks, ([],), "pass at least one branch"),
    (kinks, ([[np.ones((1, 2)), np.ones((2, 1))]], [[None, None]]), "biases must list one array or None"),
    (kinks, ([[np.ones((1, 2)), np.ones((2, 1))]], [np.ones(3)]), "one number per unit, found 3 for 2"),
    (neural_collapse, (E3, [0, 1], E3), "labels must have as many rows"),
    (neural_collapse, (E3, [0, 1, 1], E3), "labels must hold every class 0, ..., 2"),
    (neural_collapse, (E3, [0, 1, 2.5], E3), "labels must hold every class"),
    (neural_collapse, (E3, [0, 1, 2], np.ones((2, 3))), r"W_L and bias must have shapes \(3, K\)"),
    (neural_collapse, (E3, [0, 1, 2], E3, [1.0, 2.0]), "W_L and bias must have shapes"),
    (neural_collapse, (np.ones((3, 3)), [0, 1, 2], E3), "features must differ between classes"),
    (neural_collapse, (E3, [0, 1, 2], np.ones((3, 3))), "W_L must differ between classes"),
    (neural_collapse, (E3, [0, 1, 2], np.zeros((3, 3))), "W_L must differ between classes"),
])
def test_bad_values_are_refused_by_name(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
