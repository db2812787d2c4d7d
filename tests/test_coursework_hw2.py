"""Coursework 2: each question is solvable by a general solver, and wrong answers earn only what they deserve."""

from __future__ import annotations

from functools import cache

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

from dualkit.coursework import instance, verdict
from dualkit.linear import soft_threshold

IDS = [f"student-{k}" for k in range(20)]


def factors(W, width):
    """Balanced factors of the two-layer chapter."""
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    r = min(width, len(s))
    W1, W2 = np.zeros((len(W), width)), np.zeros((width, W.shape[1]))
    W1[:, :r], W2[:r] = U[:, :r] * np.sqrt(s[:r]), np.sqrt(s[:r])[:, None] * Vt[:r]
    return W1, W2


def solve_q1(X, Y, weights, beta):
    """Primal and dual by a conic solver."""
    W, b, Lambda = cp.Variable((6, 4)), cp.Variable((1, 4)), cp.Variable(Y.shape)
    root = np.sqrt(weights)[:, None]
    fit = cp.sum_squares(cp.multiply(root, X @ W + np.ones((len(Y), 1)) @ b - Y)) / 2
    cp.Problem(cp.Minimize(fit + beta * cp.normNuc(W))).solve(solver="CLARABEL")
    bound = cp.sum(cp.multiply(Lambda, Y)) - cp.sum_squares(cp.multiply(1 / root, Lambda)) / 2
    cp.Problem(cp.Maximize(bound), [cp.sigma_max(X.T @ Lambda) <= beta, cp.sum(Lambda, axis=0) == 0]).solve(
        solver="CLARABEL")
    Lambda = Lambda.value - Lambda.value.mean(axis=0)
    W1, W2 = factors(W.value, 4)
    return {"W1": W1, "W2": W2, "b": b.value[0],
            "Lambda": Lambda * min(1, beta / np.linalg.norm(X.T @ Lambda, 2))}


def solve_q2(X, Y, beta, gamma, width):
    """Minimise the objective as a smooth function of the weights, from a random start."""
    def split(theta):
        return theta[:48].reshape(6, 8), theta[48:].reshape(8, 5)

    def objective(theta):
        W1, W2 = split(theta)
        R, u, w = X @ W1 @ W2 - Y, np.sum(W1**2, axis=0), np.sum(W2**2, axis=1)
        value = 0.5 * np.sum(R**2) + beta / 2 * (u.sum() + w.sum()) + gamma / 2 * u @ w
        slopes = X.T @ R @ W2.T + W1 * (beta + gamma * w), (X @ W1).T @ R + W2 * (beta + gamma * u)[:, None]
        return value, np.concatenate([s.ravel() for s in slopes])

    theta = np.random.default_rng(0).normal(size=88)
    for _ in range(4):
        theta = minimize(objective, theta, jac=True, method="BFGS", options={"gtol": 1e-11, "maxiter": 2000}).x
    W1, W2 = split(theta)
    return {"W1": W1, "W2": W2, "Lambda": Y - X @ W1 @ W2}


def best_strengths(singular, gain, price, starts):
    """Minimise (gain(t) - singular)^2 / 2 + price(t) over strengths t from several starts; zero competes.

    gain and price return a value and its gradient.
    """
    def objective(t):
        (g, dg), (p, dp) = gain(t), price(t)
        return 0.5 * (g - singular) ** 2 + p, (g - singular) * dg + dp

    found = [minimize(objective, start, method="BFGS", jac=True, options={"gtol": 1e-10}).x for start in starts]
    return min([np.zeros(len(found[0])), *found], key=lambda t: objective(t)[0])


def solve_q3(X, Y, beta1, beta2):
    """Search the strengths of aligned layers, one direction at a time."""
    def gain(t):
        return t[0] * t[1], t[::-1]

    def price(t):
        return beta1 * abs(t[0]) + beta2 / 2 * t[1] ** 2, np.array([beta1 * np.sign(t[0]), beta2 * t[1]])

    U, singular, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
    a, b = np.transpose([best_strengths(s, gain, price, [[t, t] for t in (0.3, 1, 3)]) for s in singular])
    return {"W1": U * a, "W2": b[:, None] * Vt}


def solve_q4(X, Y, beta_shallow, beta_deep, starts=((1, 0), (0, 1), (1, 1))):
    """Search the strengths of aligned layers in both branches, one direction at a time."""
    beta = np.array([beta_shallow] * 2 + [beta_deep] * 3)

    def gain(t):
        return t[0] * t[1] + t[2] * t[3] * t[4], np.array([t[1], t[0], t[3] * t[4], t[2] * t[4], t[2] * t[3]])

    def price(t):
        return beta / 2 @ t**2, beta * t

    U, singular, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
    t = np.transpose([best_strengths(s, gain, price, [[p * s**0.5] * 2 + [q * s ** (1 / 3)] * 3 for p, q in starts])
                      for s in singular])
    return {"V1": U * t[0], "V2": t[1][:, None] * Vt, "W1": U * t[2], "W2": np.diag(t[3]), "W3": t[4][:, None] * Vt}


SOLVERS = {"hw2-q1": solve_q1, "hw2-q2": solve_q2, "hw2-q3": solve_q3, "hw2-q4": solve_q4}


@cache
def solved(question, student):
    return SOLVERS[question](**instance(question, student))


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS:
        result = verdict(question, instance(question, student), solved(question, student))
        assert result.fraction == 1, f"{student}\n{result}"


def fractions(question, wrong):
    """The share of the points that an answer earns that is made from the instance or from the right answer."""
    return [verdict(question, given, wrong(given, solved(question, student))).fraction
            for student in IDS[:6] for given in [instance(question, student)]]


def test_bias_question_wants_the_weights_and_the_constraints():
    def scaled(given, Lambda):
        return Lambda * min(1, given["beta"] / np.linalg.norm(given["X"].T @ Lambda, 2))

    def unweighted(given, right):
        return solve_q1(given["X"], given["Y"], np.ones(24), given["beta"])

    def plain_residual(given, right):  # as dual point, without the weights
        R = given["Y"] - given["X"] @ right["W1"] @ right["W2"] - right["b"]
        return {**right, "Lambda": scaled(given, R - R.mean(axis=0))}

    def raw(given, right):  # no bias in the dual
        R = given["weights"][:, None] * (given["Y"] - given["X"] @ right["W1"] @ right["W2"])
        return {**right, "Lambda": scaled(given, R)}

    def too_long(given, right):
        return {**right, "Lambda": 1.001 * right["Lambda"]}

    def other_beta(factor):
        return lambda given, right: solve_q1(**{**given, "beta": factor * given["beta"]})

    for wrong in (unweighted, plain_residual, raw, too_long, other_beta(2), other_beta(0.5)):
        assert max(fractions("hw2-q1", wrong)) == 0
    assert set(fractions("hw2-q1", lambda given, right: {**right, "Lambda": 0.999 * right["Lambda"]})) == {0.4}


def test_dropout_refuses_the_book_s_factors():
    def layers(W):
        return dict(zip(("W1", "W2"), factors(W, 8), strict=True))

    def one_unit_a_direction(given, right):  # the right function, its singular values as gains
        return {**right, **layers(right["W1"] @ right["W2"])}

    def without_gamma(given, right):
        W = soft_threshold(given["X"].T @ given["Y"], given["beta"])
        return {**layers(W), "Lambda": given["Y"] - given["X"] @ W}

    def feasible(given, right):  # as if Lambda had a constraint
        scale = given["beta"] / np.linalg.norm(given["X"].T @ right["Lambda"], 2)
        return {**right, "Lambda": scale * right["Lambda"]}

    for wrong in (one_unit_a_direction, without_gamma, feasible):
        assert max(fractions("hw2-q2", wrong)) == 0
    gamma = fractions("hw2-q2", lambda given, right: solve_q2(**{**given, "gamma": 1.5 * given["gamma"]}))
    assert max(gamma) <= 0.4
    assert set(fractions("hw2-q2", lambda given, right: {**right, "Lambda": 0.999 * right["Lambda"]})) == {0.4}


def test_nuclear_norm_layer_refuses_two_layers_as_usual():
    def layers(W):
        return dict(zip(("W1", "W2"), factors(W, 4), strict=True))

    def usual(name):
        return lambda given, right: layers(soft_threshold(given["X"].T @ given["Y"], given[name]))

    def balanced(given, right):  # the right end-to-end matrix, divided equally
        return layers(right["W1"] @ right["W2"])

    def with_directions(count):  # all others off, these at their local minimum other than zero
        def wrong(given, right):
            U, singular, Vt = np.linalg.svd(given["X"].T @ given["Y"], full_matrices=False)
            a, b = np.zeros(4), np.zeros(4)
            for i in range(count):
                def objective(t, s=singular[i]):
                    price = given["beta1"] * abs(t[0]) + given["beta2"] / 2 * t[1] ** 2
                    return 0.5 * (t[0] * t[1] - s) ** 2 + price

                a[i], b[i] = minimize(objective, np.full(2, singular[i] ** 0.5)).x
                assert a[i] * b[i] > 0.1 * singular[i]
            return {"W1": U * a, "W2": b[:, None] * Vt}
        return wrong

    for wrong in (usual("beta1"), usual("beta2"), balanced, *map(with_directions, (0, 1, 3))):
        assert max(fractions("hw2-q3", wrong)) == 0
    off = fractions("hw2-q3", lambda given, right: {name: W * (1 + 1e-4) for name, W in right.items()})
    assert set(off) == {0.4}


def test_branches_refuse_one_depth_only():
    for start in ((1, 0), (0, 1)):  # a branch that starts at zero stays there
        assert max(fractions("hw2-q4", lambda given, right, s=start: solve_q4(**given, starts=[s]))) == 0

    def mirrored(given, right):  # the right function, but each direction in the other branch
        W1, W2 = factors(right["W1"] @ right["W2"] @ right["W3"], 6)
        U, s, Vt = np.linalg.svd(right["V1"] @ right["V2"], full_matrices=False)
        root = np.cbrt(s)
        return {"V1": W1, "V2": W2, "W1": U * root, "W2": np.diag(root), "W3": root[:, None] * Vt}

    assert max(fractions("hw2-q4", mirrored)) == 0
    off = fractions("hw2-q4", lambda given, right: {name: W * (1 + 1e-4) for name, W in right.items()})
    assert set(off) == {0.5}


def many(question, of, ids=1000):
    """A measure of difficulty over many ids."""
    return np.array([of(instance(question, f"id-{k}")) for k in range(ids)])


def test_all_students_get_instances_of_the_same_difficulty():
    def zero_network(given):  # sizes against the pull on the network that is zero but for its constant
        X, Y, weights = given["X"], given["Y"], given["weights"]
        pull = np.linalg.svd(X.T @ (weights[:, None] * (Y - weights @ Y / weights.sum())), compute_uv=False)
        return [pull[0] / given["beta"], pull[1] / given["beta"], pull[2] / given["beta"], np.ptp(np.log(weights)),
                np.linalg.cond(X - X.mean(axis=0))]

    found = many("hw2-q1", zero_network)
    assert found[:, 0].min() > 2.5 and found[:, 0].max() < 12 and found[:, 1].min() > 1.4 and found[:, 2].max() < 1
    assert np.ptp(found[:, 3]) < 1e-12 and found[:, 4].max() < 4

    def singular(given):
        assert np.abs(given["X"].T @ given["X"] - np.eye(given["X"].shape[1])).max() < 1e-12
        return np.linalg.svd(given["X"].T @ given["Y"], compute_uv=False)

    units = {"hw2-q2": lambda g: 1.0, "hw2-q3": lambda g: np.sqrt(g["beta1"] * np.sqrt(g["beta2"])),
             "hw2-q4": lambda g: g["beta_shallow"]}
    for question, middle in (("hw2-q2", [4, 3.4, 2.8, 0.7, 0.4]), ("hw2-q3", [3.6, 2.45, 1.86, 1]),
                             ("hw2-q4", [9, 6, 3.4, 1.8, 0.75, 0.4])):
        found = many(question, lambda g, q=question: singular(g) / units[q](g))
        assert np.abs(found / middle - 1).max() < 0.0501


def test_the_rank_is_the_same_for_all():
    ranks = {"hw2-q1": 2, "hw2-q2": 3, "hw2-q3": 2}
    for question, rank in ranks.items():
        for student in IDS:
            answer = solved(question, student)
            assert np.linalg.matrix_rank(answer["W1"] @ answer["W2"], tol=1e-3) == rank
    for student in IDS:
        answer = solved("hw2-q4", student)
        assert np.linalg.matrix_rank(answer["V1"], tol=1e-3) == np.linalg.matrix_rank(answer["W2"], tol=1e-3) == 2
