"""Coursework 4: each question is solvable by a general solver, and wrong answers earn what they deserve."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from coursework_routes import IDS, convex, from_features, garbage, nearest, scaled_dual_shares, softmax, spread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from dualkit import solve
from dualkit.coursework import instance, verdict
from dualkit.coursework._pieces import angle_bound
from dualkit.data import one_hot


def hinges(x):
    """Outputs of units with kinks at the data, with their input weights and biases."""
    u, b = np.repeat([1.0, -1.0], len(x)), np.concatenate([-x, x])
    return np.maximum(np.outer(x, u) + b, 0), u, b


def spline(u, b, gains, c, lam):
    root = np.sqrt(np.abs(gains))
    return {"u": u * root, "b": b * root, "w": np.sign(gains) * root, "c": float(c), "lam": lam}


def solve_one_sided(x, y, beta):
    H, u, b = (A[..., : len(x)] for A in hinges(x))
    gains, c, lam = cp.Variable(len(x)), cp.Variable(), cp.Variable(len(x))
    convex(cp.norm1(H @ gains + c - y) + beta * cp.norm1(gains))
    convex(-lam @ y, [cp.abs(lam) <= 1, cp.sum(lam) == 0, cp.abs(H.T @ lam) <= beta])
    lam = lam.value - lam.value.mean()
    lam *= min(1, 1 / np.abs(lam).max(), beta / np.abs(lam @ H).max())
    return spline(u, b, gains.value, c.value, lam)


def solve_convex(x, y, beta):
    H, u, b = hinges(x)
    gains, c = cp.Variable(len(u)), cp.Variable()
    convex(0.5 * cp.sum_squares(H @ gains + c - y) + beta * cp.sum(gains), [gains >= 0], 1e-10)
    gains = np.maximum(gains.value, 0)
    lam = y - H @ gains
    lam -= lam.mean()
    return spline(u, b, gains, (y - H @ gains).mean(), lam * min(1, beta / (lam @ H).max()))


def solve_exponential(X, y, omega, beta):
    def objective(F):
        terms = omega * np.exp(-y * F[:, 0])
        return terms.sum(), -(y * terms)[:, None], beta

    A, W = from_features(objective, len(y), 1, 4)
    lam = omega * y * np.exp(-y * (A @ W)[:, 0])
    support = max(np.linalg.norm(np.maximum(s * lam, 0)) for s in (1, -1))
    return {"U": X.T @ A, "w": W[:, 0], "lam": lam * min(1, beta / support)}


def solve_smoothed(X, Y, beta):
    A, W = from_features(
        lambda F: (np.sum(np.logaddexp.reduce(F, axis=1)) - np.sum(Y * F), softmax(F) - Y, beta), *Y.shape, 8
    )
    Lam = Y - softmax(A @ W)
    return {"U": X.T @ A, "W": W, "Lam": Lam * min(1, beta / angle_bound(Lam))}


SOLVERS = {"hw4-q1": solve_one_sided, "hw4-q2": solve_convex, "hw4-q3": solve_exponential, "hw4-q4": solve_smoothed}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS:
        mine = instance(question, student)
        result = verdict(question, mine, SOLVERS[question](**mine))
        assert result.fraction == pytest.approx(1), f"{student}\n{result}"


@pytest.mark.parametrize("name", ["both sides", "squared loss", "dual point too steep", "dual point not centred"])
def test_one_sided_units_need_their_own_dual_problem(name):
    for student in IDS:
        mine = instance("hw4-q1", student)
        x, y, beta = mine["x"], mine["y"], mine["beta"]
        answer = solve_one_sided(**mine)
        if name == "both sides":
            answer["u"], answer["b"] = -answer["u"], -answer["b"]
        elif name == "squared loss":
            H, u, b = (A[..., : len(x)] for A in hinges(x))
            gains, c = cp.Variable(len(x)), cp.Variable()
            convex(0.5 * cp.sum_squares(H @ gains + c - y) + beta * cp.norm1(gains))
            lam = np.sign(y - H @ gains.value - c.value)
            lam -= lam.mean()
            answer = spline(
                u, b, gains.value, c.value, lam * min(1 / np.abs(lam).max(), beta / np.abs(lam @ H).max())
            )
        elif name == "dual point too steep":
            answer["lam"] = 1.01 * answer["lam"]
        else:
            answer["lam"] = answer["lam"] + 1e-4
        result = verdict("hw4-q1", mine, answer)
        assert result.fraction <= (0.2 if name == "squared loss" else 0), result


@pytest.mark.parametrize("name", ["units of any sign", "negative units dropped", "symmetric dual constraint"])
def test_convex_networks_need_their_own_dual_problem(name):
    for student in IDS:
        mine = instance("hw4-q2", student)
        x, y, beta = mine["x"], mine["y"], mine["beta"]
        H, u, b = hinges(x)
        if name == "symmetric dual constraint":
            answer = solve_convex(**mine)
            answer["lam"] *= min(1, beta / np.abs(answer["lam"] @ H).max())
        else:
            gains, c = cp.Variable(len(u)), cp.Variable()
            convex(0.5 * cp.sum_squares(H @ gains + c - y) + beta * cp.norm1(gains))
            gains = gains.value
            if name == "negative units dropped":
                gains = np.maximum(gains, 0)
            lam = y - H @ gains
            lam -= lam.mean()
            answer = spline(u, b, gains, (y - H @ gains).mean(), lam * min(1, beta / (lam @ H).max()))
        result = verdict("hw4-q2", mine, answer)
        assert result.fraction <= (0.2 if name == "negative units dropped" else 0), result


@pytest.mark.parametrize("name", ["costs forgotten", "one output a class", "costs averaged"])
def test_costs_change_the_units(name):
    for student in IDS:
        mine = instance("hw4-q3", student)
        X, y, omega, beta = mine["X"], mine["y"], mine["omega"], mine["beta"]
        if name == "one output a class":  # the best outputs that are constant on each class
            f = np.zeros(len(y))
            for label in (1, -1):
                on = y == label
                v = np.linspace(0, 6, 60001)
                cost = omega[on].sum() * np.exp(-v) + beta * np.sqrt(on.sum()) * v
                f[on] = label * v[cost.argmin()]
            size = [np.linalg.norm(np.maximum(s * f, 0)) for s in (1, -1)]
            U = X.T @ np.array([np.maximum(s * f, 0) / np.sqrt(t) for s, t in zip((1, -1), size, strict=True)]).T
            w = np.sqrt(size) * [1, -1]
        else:
            wrong = np.ones(len(y)) if name == "costs forgotten" else np.full(len(y), omega.mean())
            answer = solve_exponential(X, y, wrong, beta)
            U, w = answer["U"], answer["w"]
        lam = omega * y * np.exp(-y * (np.maximum(X @ U, 0) @ w))
        support = max(np.linalg.norm(np.maximum(s * lam, 0)) for s in (1, -1))
        result = verdict("hw4-q3", mine, {"U": U, "w": w, "lam": lam * min(1, beta / support)})
        assert result.fraction == 0, result


@pytest.mark.parametrize("name", ["one-hot labels", "equal smoothing", "dual point of one-hot labels"])
def test_smoothing_changes_the_gains(name):
    for student in IDS:
        mine = instance("hw4-q4", student)
        X, Y, beta = mine["X"], mine["Y"], mine["beta"]
        hard = one_hot(Y.argmax(axis=1), 4)
        if name == "equal smoothing":
            used = Y.max(axis=1).mean() * hard + (1 - Y.max(axis=1).mean()) * (1 - hard) / 3
            answer = solve_smoothed(X, used, beta)
        else:
            network = solve(X, hard, beta, activation="relu", loss="cross-entropy").network
            answer = {
                "U": np.hstack([U for U, _ in network.branches]),
                "W": np.vstack([W for _, W in network.branches]),
            }
        p = softmax(np.maximum(X @ answer["U"], 0) @ answer["W"])
        Lam = (hard if name == "dual point of one-hot labels" else Y) - p
        answer["Lam"] = Lam * min(1, beta / angle_bound(Lam))
        result = verdict("hw4-q4", mine, answer)
        assert result.fraction <= (0.2 if name == "equal smoothing" else 0), result


def test_one_sided_instances_are_alike():
    """By linear programming: the number of kinks, how much the fit pays, and how far it is from a constant."""

    def statistic(x, y, beta):
        n = len(x)
        H = np.maximum(x[:, None] - x[:-1], 0)
        A = np.hstack([H, -H, np.ones((n, 1)), -np.eye(n)])
        c = np.concatenate([np.full(2 * n - 2, beta), [0], np.ones(n)])
        A = np.vstack([A, A * np.r_[-np.ones(2 * n - 1), np.ones(n)]])
        run = linprog(
            c, A, np.concatenate([y, -y]), bounds=[(0, None)] * (2 * n - 2) + [(None, None)] + [(0, None)] * n
        )
        return [np.sum(run.x[: 2 * n - 2] > 1e-7), run.fun, run.fun / np.abs(y - np.median(y)).sum()]

    low, high = spread("hw4-q1", statistic, 300)
    assert 4 <= low[0] and high[0] <= 11
    assert high[1] < 1.4 * low[1]
    assert high[2] < 0.8


def test_convex_instances_are_alike():
    """The number of units, what the sign constraint costs, and how far the fit is from a constant."""

    def statistic(x, y, beta):
        H, _, _ = hinges(x)
        gains, best = nearest(H, y, beta)
        return [
            np.sum(gains > 1e-6),
            nearest(np.hstack([H, -H]), y, beta)[1] / best,
            best / (0.5 * len(y) * y.var()),
        ]

    low, high = spread("hw4-q2", statistic)
    assert 4 <= low[0] and high[0] <= 7
    assert 0.6 < low[1] and high[1] < 0.95
    assert 0.15 < low[2] and high[2] < 0.45


def test_exponential_instances_are_alike():
    def statistic(X, y, omega, beta):
        pull = np.sort([np.linalg.norm(omega[y == s]) / beta for s in (1, -1)])
        return [*pull, omega.max() / omega.min(), np.sum(y == 1) * np.sum(y == -1), np.linalg.cond(X)]

    low, high = spread("hw4-q3", statistic)
    assert np.all(low[:2] > [1.6, 3.1]) and np.all(high[:2] < [1.8, 3.3])
    assert low[2] > 7 and high[2] < 35
    assert low[3] == high[3] == 30 and high[4] < 1 + 1e-9


def test_smoothed_instances_are_alike():
    def statistic(X, Y, beta):
        sizes = np.sort(np.bincount(Y.argmax(axis=1)))
        return [*sizes, Y.max(axis=1).min(), Y.max(axis=1).max(), beta, np.linalg.cond(X)]

    low, high = spread("hw4-q4", statistic)
    assert low[:4].tolist() == high[:4].tolist() == [2, 4, 5, 6]
    assert np.all(high[4:] < 1.05 * low[4:])


@pytest.mark.parametrize("question", ["hw4-q1", "hw4-q2", "hw4-q3", "hw4-q4"])
def test_an_approximate_dual_point_earns_a_part(question):
    nearly, far, beyond = scaled_dual_shares(question, SOLVERS[question], (1 - 1e-4, 0.7, 1.001))
    assert 1 > nearly > far and beyond == 0


@pytest.mark.parametrize("question", SOLVERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_garbage_earns_nothing_and_never_raises(question, data):
    result = verdict(question, instance(question, "ada"), data.draw(garbage(question)))
    assert result.fraction == 0 and str(result)
