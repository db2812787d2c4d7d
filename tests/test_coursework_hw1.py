"""Coursework 1: each question is solvable by a general solver, and wrong answers earn only what they deserve."""

from __future__ import annotations

from functools import cache

import cvxpy as cp
import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.optimize import linprog, minimize, nnls

from dualkit.coursework import instance, verdict

IDS = [f"student-{k}" for k in range(20)]


def solve_q1(X, lam, c):
    u, z, g = cp.Variable(X.shape[1]), cp.Variable(X.shape[1]), X.T @ lam
    cp.Problem(cp.Maximize(g @ u), [cp.norm(u, 2) <= 1, cp.norm(u, 1) <= c]).solve(solver="CLARABEL")
    cp.Problem(cp.Minimize(cp.norm(g - z, 2) + c * cp.norm(z, "inf"))).solve(solver="CLARABEL")
    return {"u": u.value / max(1, np.linalg.norm(u.value), np.abs(u.value).sum() / c), "z": z.value}


def solve_q2(W1, W2, W3, beta):
    """Minimise the penalty over positive factors as a general smooth function."""
    def penalty(t):
        c1, c2 = np.exp(t.reshape(2, -1))
        return beta @ [np.abs(W1 * c1).sum(), np.sum((W2 * c2 / c1[:, None]) ** 2) / 2,
                       np.sum((W3 / c2[:, None]) ** 2) / 2]

    t = np.zeros(2 * len(W2))
    for _ in range(2):
        t = minimize(penalty, t, method="BFGS", options={"gtol": 1e-9}, jac="3-point").x
    c1, c2 = np.exp(t.reshape(2, -1))
    return {"c1": c1, "c2": c2}


def equations(H, V):
    return (H[:, None, :] * V.T[None]).reshape(-1, H.shape[1])


def vertex(A, b, price):
    """Return the cheapest non-negative solution of A s = b at a linear price, exact on its support."""
    on = linprog(price, A_eq=A, b_eq=b, method="highs-ds").x > 1e-12
    gains = np.zeros(len(price))
    gains[on] = np.linalg.lstsq(A[:, on], b, rcond=None)[0]
    return gains


def solve_q3(H, V, s):
    """Minimise the tangent of the penalty, which lies above it: a linear program, whose solution is a vertex."""
    A = equations(H, V)
    return {"s": vertex(A, A @ s, s ** (-1 / 3))}


def solve_q4(X, y, beta, leak, shift=True):
    """Solve the dual with a constraint for each direction of a grid; its multipliers are the gains."""
    kinks = np.arctan2(X[:, 1], X[:, 0]) + np.pi / 2
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 2400), kinks, kinks + np.pi])
    directions = np.array([np.cos(angles), np.sin(angles)])
    features = X @ directions
    features = np.where(features > 0, features, leak * features)
    lam = cp.Variable(len(y))
    upper, lower = features.T @ lam <= beta, -features.T @ lam <= beta
    cp.Problem(cp.Minimize(cp.sum_squares(lam - y) / 2), [upper, lower] + [cp.sum(lam) == 0] * shift).solve(
        solver="CLARABEL")
    gains = upper.dual_value - lower.dual_value
    on = np.abs(gains) > 1e-9 * np.abs(gains).max()
    on &= np.abs(gains) >= np.sort(np.abs(gains))[-150]
    root = np.sqrt(np.abs(gains[on]))
    c = np.mean(y - features[:, on] @ gains[on])
    lam = y - features[:, on] @ gains[on] - (c if shift else 0)
    lam -= lam.mean() if shift else 0
    lam *= min(1, beta / np.abs(features.T @ lam).max())
    return {"U": directions[:, on] * root, "w": np.sign(gains[on]) * root, "c": c, "lam": lam}


SOLVERS = {"hw1-q1": solve_q1, "hw1-q2": solve_q2, "hw1-q3": solve_q3, "hw1-q4": solve_q4}


@cache
def solved(question, student):
    return SOLVERS[question](**instance(question, student))


@pytest.mark.parametrize("question", SOLVERS)
def test_a_general_solver_answers_the_question(question):
    for student in IDS:
        result = verdict(question, instance(question, student), solved(question, student))
        assert result.fraction == 1, f"{student}\n{result}"


def fractions(question, answer):
    """The share of the points that answers of that kind earn, over some ids."""
    return [verdict(question, given, answer(given)).fraction for given in (instance(question, i) for i in IDS[:6])]


def test_sparse_unit_refuses_the_ball_alone_and_the_top_input():
    def shrunk(given):
        u = given["X"].T @ given["lam"]
        return {"u": u / np.linalg.norm(u) / (np.abs(u).sum() / np.linalg.norm(u) / given["c"]), "z": 0 * u}

    def largest(given):
        g = given["X"].T @ given["lam"]
        return {"u": np.sign(g) * (np.abs(g) == np.abs(g).max()), "z": g}

    def too_long(given):
        g = given["X"].T @ given["lam"]
        return {"u": g / np.linalg.norm(g), "z": 0 * g}

    for answer in (shrunk, largest, too_long):
        assert max(fractions("hw1-q1", answer)) == 0
    for student in IDS[:8]:
        given, right = instance("hw1-q1", student), solved("hw1-q1", student)
        assert verdict("hw1-q1", given, {**right, "z": -right["z"]}).fraction == 0
        assert verdict("hw1-q1", given, {**right, "u": 0.998 * right["u"]}).fraction == 0.4


def test_balance_refuses_equal_norms():
    def equal_norms(given, scale):
        layers = [given[name] * s for name, s in zip(("W1", "W2", "W3"), scale, strict=True)]
        t = np.zeros((2, len(given["W2"])))
        for _ in range(200):
            for hidden in (0, 1):
                c = np.exp(t)
                W = layers[0] * c[0], layers[1] * c[1] / c[0][:, None], layers[2] / c[1][:, None]
                ratio = np.linalg.norm(W[hidden + 1], axis=1) / np.linalg.norm(W[hidden], axis=0)
                t[hidden] += np.log(ratio) / 2
        return {"c1": np.exp(t[0]), "c2": np.exp(t[1])}

    assert max(fractions("hw1-q2", lambda g: equal_norms(g, np.ones(3)))) == 0
    assert max(fractions("hw1-q2", lambda g: equal_norms(g, np.sqrt(g["beta"])))) == 0
    assert max(fractions("hw1-q2", lambda g: {"c1": np.ones(6), "c2": np.ones(6)})) == 0
    assert max(fractions("hw1-q2", lambda g: {"c1": -np.ones(6), "c2": np.ones(6)})) == 0


def eliminate(H, V, s, size, fall=None):
    """Thin out without a thought for the price: move along dependent branches of the least `size` until one is off.

    `fall(gains, change)` says whether to move the other way; without it the smallest of them falls.
    """
    A, s = equations(H, V), s.copy()
    while np.count_nonzero(s) > len(A):
        on = np.flatnonzero(s)
        on = on[np.argsort(size(H, s)[on])[:len(A) + 1]]
        change = np.zeros(len(s))
        change[on] = null_space(A[:, on])[:, -1]
        moved = on[np.abs(change[on]) > 1e-12]
        if fall(s, change) if fall else change[moved[0]] > 0:
            change = -change
        falling = moved[change[moved] < 0]
        steps = s[falling] / -change[falling]
        s = s + steps.min() * change
        s[falling[steps.argmin()]] = 0
    return {"s": s}


def test_thinning_wants_the_same_outputs_few_units_and_no_higher_price():
    def cut(given):
        return {"s": given["s"] * (given["s"] >= np.sort(given["s"])[-40])}

    def strongest(given):  # the right number of gains, solved for the outputs
        A = equations(given["H"], given["V"])
        on = np.argsort(given["s"])[-len(A):]
        gains = np.zeros(len(given["s"]))
        gains[on] = np.linalg.lstsq(A[:, on], A @ given["s"])[0]
        return {"s": gains}

    def least_squares(given):
        A = equations(given["H"], given["V"])
        return {"s": nnls(A, A @ given["s"])[0]}

    def least(price):
        def wrong(given):
            A = equations(given["H"], given["V"])
            return {"s": vertex(A, A @ given["s"], price(np.linalg.norm(given["H"], axis=0), given["s"]))}
        return wrong

    prices = (lambda h, s: 1 + 0 * s, lambda h, s: 1 / s, lambda h, s: s**-0.5, lambda h, s: 1 / (h * s),
              lambda h, s: h, lambda h, s: 1 / h)

    def cheapest_of_many(given):
        A, rng = equations(given["H"], given["V"]), np.random.default_rng(0)
        found = [vertex(A, A @ given["s"], rng.uniform(size=len(given["s"]))) for _ in range(100)]
        return {"s": min(found, key=lambda gains: np.sum(np.maximum(gains, 0) ** (2 / 3)))}

    assert max(fractions("hw1-q3", lambda given: {"s": given["s"]})) == 0
    assert max(fractions("hw1-q3", cut)) == 0
    assert max(fractions("hw1-q3", strongest)) == 0
    for wrong in (least_squares, cheapest_of_many, *map(least, prices)):  # vertices, whatever they cost
        assert max(fractions("hw1-q3", wrong)) <= 0.5


def test_thinning_needs_the_price_to_know_which_branch_may_go():
    gain, share = (lambda H, s: s), (lambda H, s: s * np.linalg.norm(H, axis=0))
    for size in (gain, share, lambda H, s: -s):
        assert max(fractions("hw1-q3", lambda given: eliminate(**given, size=size))) == 0.5  # noqa: B023
    at_random = [fractions("hw1-q3", lambda given: eliminate(
        **given, size=lambda H, s: rng.random(len(s)), fall=lambda s, change: rng.random() < 0.5))  # noqa: B023
        for rng in map(np.random.default_rng, range(5))]
    assert np.mean(at_random) < 0.65

    def longer(s, change):  # the end that is nearer wins
        up, down = (np.min(s[way < -1e-12] / -way[way < -1e-12]) for way in (change, -change))
        return down < up

    for size in (gain, share):
        assert max(fractions("hw1-q3", lambda given: eliminate(**given, size=size, fall=longer))) == 0.5  # noqa: B023

    def dearer(s, change):  # the tangent of the penalty, which lies above it
        return change[s > 0] @ s[s > 0] ** (-1 / 3) > 0

    for size in (gain, share, lambda H, s: -s):
        assert min(fractions("hw1-q3", lambda given: eliminate(**given, size=size, fall=dearer))) == 1  # noqa: B023


def test_leaky_network_needs_its_constant_and_its_slope():
    assert max(fractions("hw1-q4", lambda given: solve_q4(**given, shift=False))) == 0  # lam has a mean
    assert max(fractions("hw1-q4", lambda given: solve_q4(**{**given, "leak": 0.0}))) <= 0.3  # ReLU
    assert max(fractions("hw1-q4", lambda given: solve_q4(**{**given, "beta": 2 * given["beta"]}))) == 0
    assert max(fractions("hw1-q4", lambda given: solve_q4(**{**given, "beta": given["beta"] / 2}))) <= 0.3
    zero = {"U": np.zeros((2, 1)), "w": np.zeros(1)}
    assert max(fractions("hw1-q4", lambda g: {**zero, "c": g["y"].mean(), "lam": 0 * g["y"]})) == 0

    def scaled(given):  # the labels themselves, centred and scaled
        lam = given["y"] - given["y"].mean()
        return {**zero, "c": given["y"].mean(), "lam": 0.03 * lam}
    assert max(fractions("hw1-q4", scaled)) == 0


def many(question, of, ids=1000):
    """A measure of difficulty over many ids."""
    return np.array([of(instance(question, f"id-{k}")) for k in range(ids)])


def test_all_students_get_instances_of_the_same_difficulty():
    def profile(given):
        g = np.sort(np.abs(given["X"].T @ given["lam"]))[::-1]
        return [*(g / np.geomspace(1, 0.15, 12)), np.abs(g).sum() / np.linalg.norm(g), given["c"]]

    found = many("hw1-q1", profile)  # pulls in falling order; budget well below the norm of the ball's solution
    assert found[:, :12].min() > 0.8 and found[:, :12].max() < 1.2
    assert found[:, 12].min() > 1.3 * 1.9 and (found[:, 13] == 1.9).all()

    def excess(given):  # the price of no balance, against the average balance of each unit
        return [np.abs(given[name]).min() for name in ("W1", "W2", "W3")] + [np.prod(given["beta"])]

    found = many("hw1-q2", excess)
    assert found[:, :3].min() > 0.01 and np.ptp(found[:, 3]) < 1e-12

    def saving(given):  # of the best choice, and what is left of it where the least costly mistake is made
        A, s = equations(given["H"], given["V"]), given["s"]
        free = null_space(A)
        best = vertex(A, A @ s, s ** (-1 / 3))
        price = np.sum(best ** (2 / 3)) / np.sum(s ** (2 / 3))
        neighbours = []
        for off in np.flatnonzero(best == 0):  # the edges of the polytope that leave this vertex
            others = np.setdiff1d(np.flatnonzero(best == 0), off)
            edge = free @ null_space(free[others])[:, 0]
            edge *= np.sign(edge[off])
            falls = edge < -1e-12
            moved = best + edge * (best[falls] / -edge[falls]).min()
            neighbours.append(np.sum(np.maximum(moved, 0) ** (2 / 3)))
        return [price, min(neighbours) / np.sum(s ** (2 / 3)), free.shape[1]]
    found = many("hw1-q3", saving, 300)
    assert found[:, 0].max() < 0.995 and found[:, 1].min() > 1.0003 and (found[:, 2] == 15).all()

    def spread(given):
        y = given["y"] - given["y"].mean()
        angles = np.linspace(0, 2 * np.pi, 500)
        Z = given["X"] @ [np.cos(angles), np.sin(angles)]
        return [np.abs(y @ np.where(Z > 0, Z, given["leak"] * Z)).max() / given["beta"], np.linalg.cond(given["X"])]

    found = many("hw1-q4", spread)
    assert found[:, 0].min() > 5 and found[:, 1].max() < 3


def test_three_directions_are_optimal_for_every_leaky_instance():
    for student in IDS:
        found = solved("hw1-q4", student)
        angles = np.sort(np.arctan2(found["U"][1], found["U"][0])[np.abs(found["w"]) > 1e-2])
        gaps = np.diff([*angles, angles[0] + 2 * np.pi])
        assert np.sum(gaps > 0.2) == 3
