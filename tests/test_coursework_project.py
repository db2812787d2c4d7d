"""The project: each question is solvable by a general solver, and wrong answers earn what they deserve."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

from dualkit.coursework import instance, project, verdict

IDS = [f"student-{k}" for k in range(20)]


def softmax(F):
    p = np.exp(F - F.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def solve_classes(X, Y, beta):
    """A group lasso over many directions, refined twice around those in use and at the kinks of the features."""
    kinks, width = np.arctan2(X[:, 0], -X[:, 1]), np.pi / 80
    angle = np.concatenate([kinks, np.linspace(0, np.pi, 80, endpoint=False)])
    for _ in range(3):
        D = np.array([np.cos(angle), np.sin(angle)])
        H = np.abs(X @ D)
        W, F = cp.Variable((len(angle), Y.shape[1])), cp.Variable(Y.shape)
        loss = cp.sum(cp.log_sum_exp(F, axis=1)) - cp.sum(cp.multiply(Y, F))
        cp.Problem(cp.Minimize(loss + beta * cp.sum(cp.norm(W, 2, axis=1))), [F == H @ W]).solve(solver="CLARABEL")
        W = W.value
        size = np.linalg.norm(W, axis=1)
        on = size > 1e-4
        best = D[:, on] * np.sqrt(size[on]), W[on] / np.sqrt(size[on])[:, None]
        angle = np.concatenate([kinks, (angle[on, None] + width * np.linspace(-1, 1, 9)).ravel()])
        width /= 8
    U, W = best
    Lam = Y - softmax(np.abs(X @ U) @ W)
    return {"U": U, "W": W, "Lam": Lam * min(1, beta / project.plane_support(X, Lam))}


def solve_handed(X, y, beta, a, U, w):
    """Outer approximation: add the directions that violate the dual constraint, project again."""
    rng = np.random.default_rng(0)
    D = rng.normal(size=(3, 400))
    D /= np.linalg.norm(D, axis=0)
    for _ in range(8):
        H = project.phi(X @ D, a)
        gains, f = cp.Variable(D.shape[1]), cp.Variable(len(y))
        cp.Problem(cp.Minimize(0.5 * cp.sum_squares(f - y) + beta * cp.norm1(gains)), [f == H @ gains]).solve(
            solver="CLARABEL")
        lam = y - f.value
        active = D[:, np.abs(gains.value) > 1e-4]
        moved = active[:, None].repeat(40, axis=2).reshape(3, -1)
        D = np.hstack([active, moved + 0.1 * 0.4 ** _ * rng.normal(size=moved.shape), D[:, :200]])
        D /= np.linalg.norm(D, axis=0)
    return {"lam": lam * min(1, beta / project.space_support(X, lam, a))}


SOLVERS = {"project-q1": solve_classes, "project-q2": solve_handed}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS[:5]:
        given = instance(question, student)
        result = verdict(question, given, SOLVERS[question](**given))
        assert result.fraction == pytest.approx(1), f"{student}\n{result}"
