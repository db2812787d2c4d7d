"""The project: each question is solvable by a general solver, and wrong answers earn what they deserve."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from coursework_routes import IDS, convex, garbage, scaled_dual_shares, softmax, spread, train_deep
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from dualkit import solve
from dualkit.coursework import instance, project, verdict
from dualkit.coursework._pieces import decay


def circle(angle):
    return np.array([np.cos(angle), np.sin(angle)])


def certificate(X, Y, beta, U, W):
    """The network with the scaled residual of its loss as the dual point."""
    Lam = Y - softmax(np.abs(X @ U) @ W)
    return {"U": U, "W": W, "Lam": Lam * min(1, beta / project.plane_support(X, Lam))}


def solve_classes(X, Y, beta):
    """A group lasso over many directions, refined around those in use; the best certificate counts."""
    kinks, width, answers = np.arctan2(X[:, 0], -X[:, 1]), np.pi / 80, []
    angle = np.concatenate([kinks, np.linspace(0, np.pi, 80, endpoint=False)])
    for _ in range(3):
        H = np.abs(X @ circle(angle))
        W, F = cp.Variable((len(angle), Y.shape[1])), cp.Variable(Y.shape)
        loss = cp.sum(cp.log_sum_exp(F, axis=1)) - cp.sum(cp.multiply(Y, F))
        convex(loss + beta * cp.sum(cp.norm(W, 2, axis=1)), [F == H @ W], 1e-11)
        size = np.linalg.norm(W.value, axis=1)
        on = size > max(1e-6, np.sort(size)[-100:][0])
        root, used = np.sqrt(size[on]), W.value[on]
        answers.append(certificate(X, Y, beta, circle(angle[on]) * root, used / root[:, None]))
        angle = np.concatenate([kinks, (angle[on, None] + width * np.linspace(-1, 1, 9)).ravel()])
        width /= 8
    return min(answers, key=lambda a: excess(X, Y, beta, **a))


def excess(X, Y, beta, U, W, Lam):
    """Objective minus bound."""
    primal = project.cross_entropy(np.abs(X @ U) @ W, Y) + beta * decay(U, W)
    return primal - project.entropy(np.maximum(Y - Lam, 0))


def solve_handed(X, y, beta, a, U, w):
    """Lasso over many directions, new ones drawn around those in use."""
    rng = np.random.default_rng(0)
    D, step = rng.normal(size=(3, 300)), 0.1
    for _ in range(7):
        D /= np.linalg.norm(D, axis=0)
        gains, f = cp.Variable(D.shape[1]), cp.Variable(len(y))
        convex(0.5 * cp.sum_squares(f - y) + beta * cp.norm1(gains), [f == project.phi(X @ D, a) @ gains], 1e-10)
        lam, used = y - f.value, D[:, np.abs(gains.value) > 1e-4]
        near = used.repeat(30, axis=1)
        D, step = np.hstack([used, near + step * rng.normal(size=near.shape), D[:, :100]]), 0.4 * step
    return {"lam": lam * min(1, beta / project.space_support(X, lam, a))}


def named(Ws):
    return {f"W{k + 1}": W for k, W in enumerate(Ws)}


def solve_deep(X, Y, beta):
    goal = 0.869 * solve(X, Y, beta, depth=project.DEPTH, activation="relu").objective
    runs = []
    while not runs or (len(runs) < 15 and min(run[1] for run in runs) > goal):
        runs.append(train_deep(X, Y, [14, *[10] * (project.DEPTH - 1), 6], beta, len(runs), 700))
    return named(min(runs, key=lambda run: run[1])[0])


SOLVERS = {"project-q1": solve_classes, "project-q2": solve_handed, "project-q3": solve_deep}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS[: 2 if question == "project-q3" else 6]:
        mine = instance(question, student)
        result = verdict(question, mine, SOLVERS[question](**mine))
        assert result.fraction == pytest.approx(1), f"{student}\n{result}"


def train_classes(X, Y, beta, m=20, seed=0, steps=400):
    """Quasi-Newton training from a random start, the way a student would begin."""

    def objective(theta):
        U, W = theta[: 2 * m].reshape(2, m), theta[2 * m :].reshape(m, -1)
        Z = X @ U
        F = np.abs(Z) @ W
        G = softmax(F) - Y
        gradient = np.concatenate([(X.T @ (np.sign(Z) * (G @ W.T))).ravel(), (np.abs(Z).T @ G).ravel()])
        return project.cross_entropy(F, Y) + 0.5 * beta * theta @ theta, gradient + beta * theta

    start = np.random.default_rng(seed).normal(size=(2 + Y.shape[1]) * m)
    theta = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    return theta[: 2 * m].reshape(2, m), theta[2 * m :].reshape(m, -1)


@pytest.mark.parametrize(
    ("name", "most"), [("zero", 0.0), ("trained", 0.7), ("residual not scaled", 0.0), ("domain left", 0.0)]
)
def test_training_alone_does_not_certify(name, most):
    for student in IDS[:10]:
        mine = instance("project-q1", student)
        X, Y, beta = mine["X"], mine["Y"], mine["beta"]
        U, W = (np.zeros((2, 1)), np.zeros((1, 3))) if name == "zero" else train_classes(X, Y, beta)
        answer = certificate(X, Y, beta, U, W)
        if name == "residual not scaled":
            answer["Lam"] = Y - softmax(np.abs(X @ U) @ W)
        if name == "domain left":
            answer["Lam"] = answer["Lam"] + 0.01
        result = verdict("project-q1", mine, answer)
        assert result.fraction <= most, result


@pytest.mark.parametrize("name", ["scaled residual", "best multiple", "zero", "residual"])
def test_the_residual_of_a_strangers_network_proves_little(name):
    for student in IDS:
        mine = instance("project-q2", student)
        X, y, beta, a = (mine[key] for key in ("X", "y", "beta", "a"))
        lam = (y - project.phi(X @ mine["U"], a) @ mine["w"]) * (name != "zero")
        if name != "residual":
            most = beta / max(project.space_support(X, lam, a), 1e-9)
            lam = lam * (min(most, 1) if name == "scaled residual" else min(most, y @ lam / max(lam @ lam, 1e-9)))
        assert verdict("project-q2", mine, {"lam": lam}).fraction == 0


def test_no_dual_point_proves_more_than_the_truth():
    for student in IDS[:3]:
        mine = instance("project-q2", student)
        primal = 0.5 * np.sum((project.phi(mine["X"] @ mine["U"], mine["a"]) @ mine["w"] - mine["y"]) ** 2)
        primal += mine["beta"] * decay(mine["U"], mine["w"])
        lam = solve_handed(**mine)["lam"]
        assert primal / (lam @ mine["y"] - 0.5 * lam @ lam) == pytest.approx(1 + project.EXCESS, abs=2e-4)


def test_the_parallel_optimum_is_not_below_itself():
    for student in IDS:
        mine = instance("project-q3", student)
        X, Y, beta = mine["X"], mine["Y"], mine["beta"]
        network = solve(X, Y, beta, depth=project.DEPTH, activation="relu").network
        first, *middle, last = (np.stack(layer) for layer in zip(*network.branches, strict=True))
        Ws = [first[:, :, 0].T, *(np.diag(W[:, 0, 0]) for W in middle), last[:, 0]]
        result = verdict("project-q3", mine, named(Ws))
        assert result.fraction == 0 and ", 1.0000 times" in str(result), result


def test_the_support_functions_are_the_largest_pulls():
    rng = np.random.default_rng(0)
    X, Lam, u = rng.normal(size=(30, 2)), rng.normal(size=(30, 3)), circle(np.linspace(0, np.pi, 20001))
    found = np.linalg.norm(Lam.T @ np.abs(X @ u), axis=0).max()
    assert found <= project.plane_support(X, Lam) * (1 + 1e-12) and found == pytest.approx(
        project.plane_support(X, Lam), rel=1e-5
    )
    for a in (0.2, -0.4):
        X, lam, u = rng.normal(size=(12, 3)), rng.normal(size=12), rng.normal(size=(3, 100_000))
        found = np.abs(lam @ project.phi(X @ (u / np.linalg.norm(u, axis=0)), a)).max()
        assert found <= project.space_support(X, lam, a) * (1 + 1e-12) and found == pytest.approx(
            project.space_support(X, lam, a), rel=1e-3
        )


def test_instances_to_classify_are_alike():
    def statistic(X, Y, beta):
        angle = np.arctan2(X[:, 1], X[:, 0]) % np.pi
        order = np.argsort(angle)
        changes = np.sum(Y[order].argmax(axis=1) != Y[np.roll(order, 1)].argmax(axis=1))
        gaps = np.diff(np.sort(angle), append=angle.min() + np.pi)
        return [
            changes,
            gaps.min(),
            np.linalg.cond(X),
            *np.sort(Y.sum(axis=0)),
            project.plane_support(X, Y - 1 / 3) / beta,
        ]

    low, high = spread("project-q1", statistic)
    assert 9 <= low[0] and high[0] <= 15  # two strays in each class
    assert low[1] > 0.03 and high[2] < 2
    assert low[3] >= 9 and high[5] <= 15
    assert high[6] < 1.7 * low[6]


def test_strangers_networks_are_alike():
    def statistic(X, y, beta, a, U, w):
        lam = y - project.phi(X @ U, a) @ w
        c = min(beta / project.space_support(X, lam, a), 1)
        primal = 0.5 * lam @ lam + beta * decay(U, w)
        return [1 - c * (y @ lam - 0.5 * c * lam @ lam) / primal, primal / (0.5 * y @ y), np.linalg.cond(X), len(w)]

    low, high = spread("project-q2", statistic, 200)
    assert low[0] > 0.2 and high[0] < 0.5
    assert low[1] > 0.15 and high[1] < 0.65
    assert high[2] < 5 and low[3] == high[3] == 3


def test_deep_instances_are_alike():
    low, high = spread("project-q3", lambda X, Y, beta: [np.linalg.cond(X), *np.sort(Y.sum(axis=0)), beta])
    assert high[0] < 1 + 1e-9 and np.all(low[1:] == high[1:])


@pytest.mark.parametrize("question", ["project-q1"])
def test_an_approximate_dual_point_earns_a_part(question):
    nearly, far, beyond = scaled_dual_shares(question, SOLVERS[question], (1 - 1e-4, 0.7, 1.001))
    assert 1 > nearly > far and beyond == 0


@pytest.mark.parametrize("question", SOLVERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_garbage_earns_nothing_and_never_raises(question, data):
    result = verdict(question, instance(question, "ada"), data.draw(garbage(question)))
    assert result.fraction == 0 and str(result)
