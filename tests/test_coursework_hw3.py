"""Coursework 3: each question is solvable by a general solver, and wrong answers earn what they deserve."""

from __future__ import annotations

from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from coursework_routes import IDS, convex, from_features, garbage, scaled_dual_shares, spread, train_deep, units
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualkit import as_network, balance, solve
from dualkit.coursework import hw3, instance, verdict
from dualkit.coursework._pieces import angle_bound, decay


def leaky_support(lam, a):
    p, q = np.linalg.norm(np.maximum(lam, 0)), np.linalg.norm(np.maximum(-lam, 0))
    return max(np.hypot(p, a * q), np.hypot(a * p, q))


def stack(lams, networks):
    m = max(len(w) for _, w in networks)
    return {
        "lam": np.array(lams),
        "U": np.array([np.pad(U, ((0, 0), (0, m - U.shape[1]))) for U, _ in networks]),
        "w": np.array([np.pad(w, (0, m - len(w))) for _, w in networks]),
    }


def solve_leaky(X, y, betas, a):
    """Pre-activations of two groups of units, one of each sign of the output weight, by a conic solver."""
    lams, networks = [], []
    for beta in betas:
        up, down = (cp.Variable((2, len(y)), nonneg=True) for _ in range(2))
        f = (up[0] - a * down[0]) - (up[1] - a * down[1])
        convex(0.5 * cp.sum_squares(f - y) + beta * sum(cp.norm(cp.hstack([up[k], down[k]])) for k in range(2)))
        Z = (up.value - down.value).T
        size = np.linalg.norm(Z, axis=0)
        networks.append(units(X.T @ Z / size, size * [1, -1], 1e-5))
        lam = y - f.value
        lams.append(lam * min(1, beta / leaky_support(lam, a)))
    return stack(lams, networks)


def solve_weighted(X, Y, omega, beta):
    def objective(F):
        R = omega[:, None] * (F - Y)
        return 0.5 * np.sum(R * (F - Y)), R, beta

    A, W = from_features(objective, *Y.shape, 6, 3)
    Lam = omega[:, None] * (Y - A @ W)
    return {"U": X.T @ A, "W": W, "Lam": Lam * min(1, beta / angle_bound(Lam))}


def solve_lines(X, y, beta):
    """The convex program over all activation patterns of the data."""
    length = np.linalg.norm(X, axis=1)
    first = [k for k in range(len(y)) if np.all(np.abs(X[:k] @ X[k]) < 0.5 * length[:k] * length[k])]
    side = np.rint(X @ X[first].T / np.outer(length, length[first]))
    patterns = np.array([side @ np.array(s) > 0 for s in product((-1, 1), repeat=4)], dtype=float).T
    V, W = cp.Variable((6, 16)), cp.Variable((6, 16))
    convex(
        0.5 * cp.sum_squares(cp.sum(cp.multiply(patterns, X @ (V - W)), axis=1) - y)
        + beta * (cp.sum(cp.norm(V, 2, axis=0)) + cp.sum(cp.norm(W, 2, axis=0))),
        [cp.multiply(2 * patterns - 1, X @ V) >= 0, cp.multiply(2 * patterns - 1, X @ W) >= 0],
    )
    Z = np.hstack([V.value, W.value])
    size = np.maximum(np.linalg.norm(Z, axis=0), 1e-12)
    U, w = units(Z / size, size * np.repeat([1, -1], 16))
    lam = y - np.maximum(X @ U, 0) @ w
    return {"U": U, "w": w, "lam": lam * min(1, beta / hw3.line_support(X, lam))}


def named(Ws):
    norms = np.array([np.linalg.norm(W) for W in Ws])
    return {f"W{k + 1}": W * np.exp(np.log(norms).mean()) / norms[k] for k, W in enumerate(Ws)}


def formula(Y):
    return hw3.DEPTH / 2 * np.sum(np.diag(Y) ** (2 / hw3.DEPTH))


def solve_deep(X, Y):
    """Random starts; the last layer is solved for an exact fit after training."""
    best, least = None, np.inf
    for seed in range(30):
        Ws, _ = train_deep(X, Y, [4, *[8] * (hw3.DEPTH - 1), 4], 1e-3, seed)
        A = X
        for W in Ws[:-1]:
            A = np.maximum(A @ W, 0)
        Ws[-1] = np.linalg.pinv(A, rcond=1e-3) @ Y
        if np.abs(A @ Ws[-1] - Y).max() < 1e-8 and decay(*named(Ws).values()) < least:
            best = named(Ws)
            least = decay(*best.values())
        if least < 0.959 * formula(Y):
            break
    return best


SOLVERS = {"hw3-q1": solve_leaky, "hw3-q2": solve_weighted, "hw3-q3": solve_lines, "hw3-q4": solve_deep}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS[: 3 if question == "hw3-q4" else 20]:
        mine = instance(question, student)
        result = verdict(question, mine, SOLVERS[question](**mine))
        assert result.fraction == pytest.approx(1), f"{student}\n{result}"


def book(X, y, beta, loss="squared"):
    """Weights of the book's ReLU network on whitened data, a unit for each direction."""
    network = solve(X, y, beta, activation="relu", loss=loss).network
    return np.hstack([U for U, _ in network.branches]), np.vstack([W for _, W in network.branches])


@pytest.mark.parametrize("name", ["ReLU units", "linear units", "zero", "residual not scaled"])
def test_leaky_units_are_not_those_of_the_book(name):
    for student in IDS:
        mine = instance("hw3-q1", student)
        X, y, a = mine["X"], mine["y"], mine["a"]
        lams, networks = [], []
        for beta in mine["betas"]:
            if name == "linear units":
                U, w = solve(X, y, beta).weights
            elif name == "zero":
                U, w = np.zeros((12, 1)), np.zeros((1, 1))
            else:
                U, w = book(X, y, beta)
            lam = y - np.maximum(X @ U, a * (X @ U)) @ w[:, 0]
            if name != "residual not scaled":
                lam *= min(1, beta / leaky_support(lam, a))
            lams.append(lam)
            networks.append((U, w[:, 0]))
        result = verdict("hw3-q1", mine, stack(lams, networks))
        assert result.fraction == 0, result


@pytest.mark.parametrize("name", ["weights forgotten", "mean weights", "residual without weights"])
def test_weighted_samples_change_the_units(name):
    for student in IDS:
        mine = instance("hw3-q2", student)
        X, Y, omega, beta = mine["X"], mine["Y"], mine["omega"], mine["beta"]
        if name == "residual without weights":
            answer = solve_weighted(**mine)
            answer["Lam"] = answer["Lam"] / omega[:, None]
            answer["Lam"] *= min(1, beta / angle_bound(answer["Lam"]))
        else:
            level = 1.0 if name == "weights forgotten" else omega.mean()
            U, W = book(X, Y, beta / level)
            Lam = omega[:, None] * (Y - np.maximum(X @ U, 0) @ W)
            answer = {"U": U, "W": W, "Lam": Lam * min(1, beta / angle_bound(Lam))}
        result = verdict("hw3-q2", mine, answer)
        assert result.fraction == 0, result


def sides(X):
    """For each line the samples on its two sides."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    first = [k for k in range(len(X)) if np.all(np.abs(unit[:k] @ unit[k]) < 0.5)]
    return [(unit[k], unit @ unit[k] > 0.5, unit @ unit[k] < -0.5) for k in first]


def test_lines_are_not_rank_one_problems_side_by_side():
    for student in IDS:
        mine = instance("hw3-q3", student)
        X, y, beta = mine["X"], mine["y"], mine["beta"]
        lines = []
        for _, plus, minus in sides(X):
            on = plus | minus
            network = solve(X[on], y[on], beta, activation="relu").network
            lines += [(U, W) for U, W in network.branches]
        U, w = np.hstack([U for U, _ in lines]), np.vstack([W for _, W in lines])[:, 0]
        lam = y - np.maximum(X @ U, 0) @ w
        result = verdict("hw3-q3", mine, {"U": U, "w": w, "lam": lam * min(1, beta / hw3.line_support(X, lam))})
        assert result.fraction == 0, result


def test_leaky_answers_may_hold_units_that_are_zero_and_must_agree_on_their_number():
    given = instance("hw3-q1", "ada")
    answer = solve_leaky(**given)
    U, w = np.pad(answer["U"], ((0, 0), (0, 0), (0, 3))), np.pad(answer["w"], ((0, 0), (0, 3)))
    assert verdict("hw3-q1", given, {**answer, "U": U, "w": w}).fraction == 1
    wrong = verdict("hw3-q1", given, {**answer, "w": w})
    assert wrong.fraction == 0 and "must agree" in str(wrong)


def test_the_formula_itself_does_not_beat_the_formula():
    mine = instance("hw3-q4", "ada")
    X, Y = mine["X"], mine["Y"]
    root = np.diag(np.diag(Y) ** (1 / hw3.DEPTH))
    result = verdict("hw3-q4", mine, named([X.T @ root, *[root] * (hw3.DEPTH - 1)]))
    assert result.fraction == pytest.approx(0.2), result


def test_the_bottleneck_of_the_book_is_too_expensive_here():
    mine = instance("hw3-q4", "ada")
    X, Y = mine["X"], mine["Y"]
    delta = np.pi / 6
    at, start = delta * np.arange(4), delta * (np.arange(4) - 1)
    P, U = np.column_stack([np.cos(at), np.sin(at)]), np.array([-np.sin(start), np.cos(start)])
    W = (np.eye(4) - 2 * np.cos(delta) * np.eye(4, k=-1) + np.eye(4, k=-2)) / np.sin(delta) @ Y
    network = balance(as_network([X.T @ P, *[np.eye(2)] * (hw3.DEPTH - 3), U, W], "relu")).branches[0]
    result = verdict("hw3-q4", mine, named(network))
    assert result.fraction == pytest.approx(0.2), result


def test_the_support_of_lines_is_the_largest_pull():
    mine = instance("hw3-q3", "ada")
    rng = np.random.default_rng(0)
    lam, u = rng.normal(size=20), rng.normal(size=(6, 20000))
    pull = np.abs(lam @ np.maximum(mine["X"] @ u, 0)) / np.linalg.norm(u, axis=0)
    assert 0.9 * hw3.line_support(mine["X"], lam) < pull.max() <= hw3.line_support(mine["X"], lam) * (1 + 1e-12)


def test_the_support_of_leaky_units_is_the_largest_pull():
    rng = np.random.default_rng(0)
    lam, z = rng.normal(size=4), rng.normal(size=(4, 200_000))
    pull = np.abs(lam @ np.maximum(z, 0.3 * z)) / np.linalg.norm(z, axis=0)
    assert 0.98 * leaky_support(lam, 0.3) < pull.max() <= leaky_support(lam, 0.3) * (1 + 1e-12)


def test_the_angle_bound_is_a_bound():
    rng = np.random.default_rng(0)
    h = np.abs(rng.normal(size=(4, 100_000)))
    h /= np.linalg.norm(h, axis=0)
    for _ in range(20):
        Lam = rng.normal(size=(4, 3))
        assert np.linalg.norm(Lam.T @ h, axis=0).max() <= angle_bound(Lam)


def test_leaky_instances_are_alike():
    def statistic(X, y, betas, a):
        return [
            np.sum(y > 0) * np.sum(y < 0),
            np.linalg.cond(X),
            np.linalg.norm(y),
            *(betas / np.linalg.norm(y)),
            np.abs(y).min(),
        ]

    low, high = spread("hw3-q1", statistic)
    assert low[0] == high[0] == 24
    assert high[1] < 1 + 1e-9
    assert np.all(high[2:5] < 1.5 * low[2:5])
    assert low[5] > 0.2


def test_leaky_instances_ask_for_two_units_and_for_one():
    for student in IDS:
        mine = instance("hw3-q1", student)
        w = solve_leaky(**mine)["w"]
        assert np.sum(np.abs(w) > 0.1, axis=1).tolist() == [2, 1]


def test_weighted_instances_are_alike():
    def statistic(X, Y, omega, beta):
        direction = Y / np.linalg.norm(Y, axis=1, keepdims=True)
        same = direction @ direction.T > 0.5
        pull = np.sort(np.sqrt(same @ np.sum((omega[:, None] * Y) ** 2, axis=1)))[[0, 5, 9]] / beta
        return [*pull, omega.max() / omega.min(), same.sum(), (direction @ direction.T)[~same].max()]

    low, high = spread("hw3-q2", statistic)
    assert high[0] < 0.8 and 1.8 < low[1] and high[1] < 2.0 < 2.5 < low[2]  # one class off, two on
    assert high[3] < 7.5 and low[3] > 5
    assert low[4] == high[4] == 34 and high[5] < -0.4


def test_line_instances_are_alike():
    def statistic(X, y, beta):
        pulls = [np.linalg.norm(X[on], axis=1) @ y[on] / beta for _, *both in sides(X) for on in both]
        return [len(pulls), *np.sort(np.abs(pulls)), np.sum(np.array(pulls[::2]) * pulls[1::2] > 0)]

    low, high = spread("hw3-q3", statistic)
    assert low[0] == high[0] == 8 and low[-1] == high[-1] == 3
    assert np.all(high[1:-1] < 1.13 * low[1:-1])


def test_deep_instances_are_alike():
    low, high = spread("hw3-q4", lambda X, Y: [np.linalg.cond(X), *np.sort(np.diag(Y)), formula(Y)])
    assert high[0] < 1 + 1e-9 and np.all(high[1:] < 1.03 * low[1:])


@pytest.mark.parametrize("question", ["hw3-q1", "hw3-q2", "hw3-q3"])
def test_an_approximate_dual_point_earns_a_part(question):
    nearly, far, beyond = scaled_dual_shares(question, SOLVERS[question], (1 - 1e-4, 0.7, 1.001))
    assert 1 > nearly > far and beyond == 0


@pytest.mark.parametrize("question", SOLVERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_garbage_earns_nothing_and_never_raises(question, data):
    result = verdict(question, instance(question, "ada"), data.draw(garbage(question)))
    assert result.fraction <= 0.2 and str(result)
