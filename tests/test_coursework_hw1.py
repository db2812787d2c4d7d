"""Coursework 1: each question is solvable by a general solver, and wrong answers earn what they deserve."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from dualkit.coursework import instance, verdict

IDS = [f"student-{k}" for k in range(20)]


def solve_q1(X, lam, c):
    u, z, g = cp.Variable(X.shape[1]), cp.Variable(X.shape[1]), X.T @ lam
    cp.Problem(cp.Maximize(g @ u), [cp.norm(u, 2) <= 1, cp.norm(u, 1) <= c]).solve(solver="CLARABEL")
    cp.Problem(cp.Minimize(cp.norm(g - z, 2) + c * cp.norm(z, "inf"))).solve(solver="CLARABEL")
    return {"u": u.value / max(1, np.linalg.norm(u.value), np.abs(u.value).sum() / c), "z": z.value}


SOLVERS = {"hw1-q1": solve_q1}


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS:
        given = instance(question, student)
        result = verdict(question, given, SOLVERS[question](**given))
        assert result.fraction == 1, f"{student}\n{result}"
