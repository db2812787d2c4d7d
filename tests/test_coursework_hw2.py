"""Coursework 2: each question is solvable by a general solver, and wrong answers earn only what they deserve."""

from __future__ import annotations

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


def best_strengths(objective, size, starts):
    """Minimise a function of a few strengths from several starts; zero competes."""
    found = [minimize(objective, np.full(size, t), method="BFGS", options={"gtol": 1e-10}, jac="3-point").x
             for t in starts]
    return min([np.zeros(size), *found], key=objective)


def solve_q3(X, Y, beta1, beta2, starts=(0.3, 1, 3)):
    """Search the strengths of aligned layers, one direction at a time."""
    U, singular, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
    a, b = np.transpose([best_strengths(lambda t, s=s: 0.5 * (t[0] * t[1] - s) ** 2 + beta1 * abs(t[0])
                                        + beta2 / 2 * t[1] ** 2, 2, starts) for s in singular])
    return {"W1": U * a, "W2": b[:, None] * Vt}


def solve_q4(X, Y, beta_shallow, beta_deep, only=(True, True), starts=((1, 0), (0, 1), (1, 1), (2, 2))):
    """Search the strengths of aligned layers in both branches, one direction at a time."""
    U, singular, Vt = np.linalg.svd(X.T @ Y, full_matrices=False)
    beta = np.array([beta_shallow] * 2 + [beta_deep] * 3)
    V, W = np.zeros((2, 6)), np.zeros((3, 6))
    for i, s in enumerate(singular):
        def objective(t, s=s):
            gain = only[0] * t[0] * t[1] + only[1] * t[2] * t[3] * t[4]
            return 0.5 * (gain - s) ** 2 + beta / 2 @ t**2

        found = [minimize(objective, [p * s**0.5] * 2 + [q * s ** (1 / 3)] * 3, method="BFGS", jac="3-point",
                          options={"gtol": 1e-10}).x for p, q in starts]
        t = min([np.zeros(5), *found], key=objective)
        V[:, i], W[:, i] = t[:2], t[2:]
    return {"V1": U * V[0], "V2": V[1][:, None] * Vt, "W1": U * W[0], "W2": np.diag(W[1]), "W3": W[2][:, None] * Vt}


SOLVERS = {"hw2-q1": solve_q1, "hw2-q2": solve_q2, "hw2-q3": solve_q3, "hw2-q4": solve_q4}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS:
        given = instance(question, student)
        result = verdict(question, given, SOLVERS[question](**given))
        assert result.fraction == 1, f"{student}\n{result}"


def fractions(question, answer):
    """The share of the points that answers of that kind earn, over some ids."""
    return [verdict(question, given, answer(given)).fraction for given in (instance(question, i) for i in IDS[:8])]


def test_bias_question_wants_the_weights_and_the_constraints():
    def scaled(given, Lambda):
        return Lambda * min(1, given["beta"] / np.linalg.norm(given["X"].T @ Lambda, 2))

    def unweighted(given):
        return solve_q1(given["X"], given["Y"], np.ones(24), given["beta"])

    def plain_residual(given):  # as dual point, without the weights
        right = solve_q1(**given)
        R = given["Y"] - given["X"] @ right["W1"] @ right["W2"] - right["b"]
        return {**right, "Lambda": scaled(given, R - R.mean(axis=0))}

    def raw(given):  # no bias in the dual
        right = solve_q1(**given)
        R = given["weights"][:, None] * (given["Y"] - given["X"] @ right["W1"] @ right["W2"])
        return {**right, "Lambda": scaled(given, R)}

    def too_long(given):
        return {**solve_q1(**given), "Lambda": 2 * solve_q1(**given)["Lambda"]}

    for answer in (unweighted, plain_residual, raw, too_long):
        assert max(fractions("hw2-q1", answer)) == 0
    assert max(fractions("hw2-q1", lambda g: solve_q1(**{**g, "beta": 2 * g["beta"]}))) == 0
    assert max(fractions("hw2-q1", lambda g: solve_q1(**{**g, "beta": g["beta"] / 2}))) == 0


def test_dropout_refuses_the_book_s_factors():
    def one_unit_a_direction(given):  # the right function, its singular values as gains
        right = solve_q2(**given)
        W1, W2 = factors(right["W1"] @ right["W2"], 8)
        return {**right, "W1": W1, "W2": W2}

    def without_gamma(given):
        W = soft_threshold(given["X"].T @ given["Y"], given["beta"])
        return {**dict(zip(("W1", "W2"), factors(W, 8), strict=True)), "Lambda": given["Y"] - given["X"] @ W}

    def four_units(given):
        net = one_unit_a_direction(given)
        return {**net, "Lambda": min(1, given["beta"] / np.linalg.norm(given["X"].T @ net["Lambda"], 2))
                * net["Lambda"]}

    for answer in (one_unit_a_direction, without_gamma, four_units):
        assert max(fractions("hw2-q2", answer)) == 0
    assert max(fractions("hw2-q2", lambda g: solve_q2(**{**g, "gamma": 1.5 * g["gamma"]}))) <= 0.4


def test_nuclear_norm_layer_refuses_two_layers_as_usual():
    def usual(given, beta):
        return dict(zip(("W1", "W2"), factors(soft_threshold(given["X"].T @ given["Y"], beta), 4), strict=True))

    def balanced(given):  # the right end-to-end matrix, divided equally
        right = solve_q3(**given)
        return dict(zip(("W1", "W2"), factors(right["W1"] @ right["W2"], 4), strict=True))

    def changed(given, keep):  # directions of the optimum dropped, or kept at their local minimum
        U, singular, Vt = np.linalg.svd(given["X"].T @ given["Y"], full_matrices=False)
        a, b = np.zeros(4), np.zeros(4)
        for i in range(keep):
            t = minimize(lambda t, s=singular[i]: 0.5 * (t[0] * t[1] - s) ** 2 + given["beta1"] * abs(t[0])
                         + given["beta2"] / 2 * t[1] ** 2, np.full(2, singular[i] ** 0.5), method="BFGS").x
            a[i], b[i] = t
        assert np.all(a[:keep] * b[:keep] > 0.1)
        return {"W1": U * a, "W2": b[:, None] * Vt}

    for answer in (lambda g: usual(g, g["beta1"]), lambda g: usual(g, g["beta2"]), balanced,
                   lambda g: changed(g, 1), lambda g: changed(g, 3),
                   lambda g: {"W1": np.zeros((6, 4)), "W2": np.zeros((4, 4))}):
        assert max(fractions("hw2-q3", answer)) == 0

    def slightly_off(given):
        return {name: W * (1 + 1e-4) for name, W in solve_q3(**given).items()}
    assert set(fractions("hw2-q3", slightly_off)) == {0.4}


def test_branches_refuse_one_depth_only():
    assert max(fractions("hw2-q4", lambda g: solve_q4(**g, only=(True, False)))) == 0
    assert max(fractions("hw2-q4", lambda g: solve_q4(**g, only=(False, True)))) == 0
    assert max(fractions("hw2-q4", lambda g: solve_q4(**g, starts=[(1, 0)]))) == 0  # no direction goes deep
    assert max(fractions("hw2-q4", lambda g: solve_q4(**g, starts=[(0, 1)]))) == 0
    assert set(fractions("hw2-q4", lambda g: {k: W * (1 + 1e-4) for k, W in solve_q4(**g).items()})) == {0.5}


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
            answer = SOLVERS[question](**instance(question, student))
            assert np.linalg.matrix_rank(answer["W1"] @ answer["W2"], tol=1e-3) == rank
    for student in IDS[:8]:
        answer = solve_q4(**instance("hw2-q4", student))
        assert np.linalg.matrix_rank(answer["V1"], tol=1e-3) == np.linalg.matrix_rank(answer["W2"], tol=1e-3) == 2
