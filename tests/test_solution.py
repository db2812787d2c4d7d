"""`solve` against training and its own certificate; what it refuses."""

import numpy as np
import pytest

from dualkit import NotCovered, certify, solve


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(15, 6)), rng.normal(size=(15, 4))


def test_solution_agrees_with_a_trained_network(problem):
    from dualkit.training import standard_network, train

    X, Y = problem
    run = train(
        standard_network([6, 8, 4], activation="linear", seed=0), X, Y, 1.0, steps=3000, progress=False
    )
    optimum = solve(X, Y, 1.0)
    assert optimum.theorem == "thm-nuclear"
    assert run.objective[-1] == pytest.approx(optimum.objective, rel=1e-8)
    np.testing.assert_allclose(
        optimum.predict(X), certify(run.module, X, Y, 1.0).dual_point * -1 + Y, atol=1e-3
    )


def test_torch_module_has_the_same_objective(problem):
    X, Y = problem
    optimum = solve(X, Y, 1.0)
    assert certify(optimum.to_torch(), X, Y, 1.0).primal == pytest.approx(optimum.objective, rel=1e-12)


def test_width_is_respected_and_does_not_change_the_objective(problem):
    X, Y = problem
    wide = solve(X, Y, 1.0, width=9)
    assert wide.weights[0].shape == (6, 9)
    assert wide.objective == pytest.approx(solve(X, Y, 1.0).objective, rel=1e-12)
    with pytest.raises(ValueError, match="width must be at least rank"):
        solve(X, Y, 0.01, width=1)


def test_no_weight_decay_is_the_interpolation_of_least_norm():
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(4, 7)), rng.normal(size=(4, 2))
    limit = solve(X, Y, 0.0)
    assert (limit.objective, limit.theorem, limit.certificate) == (0.0, "prop-interpolation", None)
    np.testing.assert_allclose(limit.predict(X), Y, atol=1e-10)
    np.testing.assert_allclose(limit.predict(X), solve(X, Y, 1e-9).predict(X), atol=1e-7)


@pytest.mark.parametrize("option", [{"depth": 3}, {"activation": "relu"}, {"loss": "logistic"}])
def test_cases_without_a_theorem_are_refused(option):
    with pytest.raises(NotCovered, match="nearest covered case"):
        solve(np.eye(2), np.array([1.0, -1.0]), 1.0, **option)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.eye(2), [1.0, np.nan], 1.0), ValueError, "Y must be finite"),
        ((np.eye(2), [1.0], 1.0), ValueError, "Y must have as many rows as X"),
        ((np.eye(2), [1.0, 2.0], -0.1), ValueError, "beta must be finite and >= 0, found -0.1"),
        (([1.0, 2.0], [1.0, 2.0], 1.0), ValueError, r"X must be 2-D .* pass X.reshape\(-1, 1\)"),
        ((np.eye(2), [1.0, 2.0], True), TypeError, "beta must be a real number"),
    ],
)
def test_bad_input_names_the_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        solve(*arguments)
