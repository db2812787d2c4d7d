"""Checks of the chapter "Rank-one data: two rays"."""

from functools import cache

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize, minimize_scalar

from dualkit import Network, as_network, certify, solve
from dualkit.depth import depth_prox
from dualkit.rank_one import RankOneFeatures, rank_one_network
from dualkit.structure import structure
from dualkit.training import parallel_network, standard_network, train
from ledger import Chapter

chapter = Chapter("rank_one")
C = np.array([1.0, 2.0, -1.0, -2.0])
LABELS = {"even": (1.0, 2.0, 1.0, 2.0), "uneven": (1.0, 2.0, 0.3, 0.1), "mixed": (1.0, 2.0, 0.8, 1.5)}
SLOPES = ((1.5, 0.7), (-1.0, -0.2), (1.5, -0.7), (1.0, 0.0))  # (p, q)
INPUTS = np.array([[1.0], [-1.0]])  # the inputs a and -a


def relu(t):
    return np.maximum(t, 0.0)


def chain(*widths):
    """Shapes of the matrices of one chain."""
    return tuple(zip(widths[:-1], widths[1:], strict=True))


def two_branches(L):
    """Two branches on one feature; the first hidden layer of each has two units from depth three on."""
    return (chain(1, *[2] * (L - 2), 1, 1),) * 2


def matrices(theta, chains):
    """Cut a vector of weights into the chains of matrices."""
    cuts = np.cumsum([a * b for shapes in chains for a, b in shapes])[:-1]
    parts = iter(np.split(theta, cuts))
    return [[next(parts).reshape(shape) for shape in shapes] for shapes in chains]


def slopes(theta, chains):
    """Outputs at a and -a of the sum of ReLU chains with these weights, and their derivatives."""
    out, derivatives = 0.0, []
    for weights in matrices(theta, chains):
        layers = [INPUTS]
        for W in weights[:-1]:
            layers.append(relu(layers[-1] @ W))
        out = out + (layers[-1] @ weights[-1])[:, 0]
        back, rows = np.ones((2, 1)), []
        for A, W in zip(reversed(layers), reversed(weights), strict=True):
            rows.append((A[:, :, None] * back[:, None, :]).reshape(2, -1))
            back = (back @ W.T) * (A > 0)
        derivatives.extend(reversed(rows))
    return out, np.hstack(derivatives)


@cache
def least_decay(p, q, chains, starts=2):
    """Weights of least half sum of squares with slopes p and q, by a general solver from random starts."""
    rng = np.random.default_rng(7)
    size = sum(a * b for shapes in chains for a, b in shapes)
    constraint = {"type": "eq", "fun": lambda theta: slopes(theta, chains)[0] - [p, q],
                  "jac": lambda theta: slopes(theta, chains)[1]}
    best, tried = None, 0
    while best is None or tried < starts:
        start = rng.normal(size=size)
        reached = slopes(start, chains)[0]
        if np.any(reached * [p, q] < 0) or not reached.any():
            continue  # from other signs the solver rarely gets anywhere
        run = minimize(lambda theta: 0.5 * theta @ theta, start, jac=lambda theta: theta, method="SLSQP",
                       constraints=constraint, options={"maxiter": 500, "ftol": 1e-15})
        tried += 1
        reached = np.abs(slopes(run.x, chains)[0] - [p, q]).max() < 1e-9
        if reached and (best is None or run.fun < best.fun):
            best = run
    return best.x


def ray_cost(p, q, L, separate=False, shared=False):
    """(2/L) times the least weight decay of the slopes p and q: vectorised."""
    p, q = np.abs(p), np.abs(q)
    return (p**(2 / L) + q**(2 / L)) if separate else (p + q)**(2 / L) if shared else None


def cost(p, q, L):
    """The cost of the proposition."""
    return ray_cost(p, q, L, separate=p * q < 0, shared=p * q >= 0)


def random_branch(rng, d, L, width=3):
    shapes = chain(d, *[width] * (L - 2), 1)
    return [rng.normal(size=shape) for shape in shapes]


def product_of_norms(weights):
    return np.prod([np.linalg.norm(W) for W in weights])


def feature(weights, X):
    A = X
    for W in weights:
        A = relu(A @ W)
    return A[:, 0]


def unit(rng, d):
    a = rng.normal(size=d)
    return a / np.linalg.norm(a)


# ---- what a branch can reach


@chapter.statement(
    "lem-two-rays",
    "outputs of random branches against the two rays and the bound, and the best branch of a general solver",
    1e-7,
    {"half the bound": {"bound": 0.5}, "a single ray at every depth": {"rays": True}},
)
def branches(rng, bound=1.0, rays=False):
    for L in (2, 3, 4, 6):
        a = unit(rng, 3)
        for _ in range(20):
            weights = random_branch(rng, 3, L)
            alpha, gamma = (feature(weights, s * a[None, :])[0] for s in (1, -1))
            h = feature(weights, np.outer(C, a))
            yield np.abs(h - alpha * relu(C) - gamma * relu(-C)).max() / (1 + np.abs(h).max())
            yield relu((alpha + gamma) / (bound * product_of_norms(weights)) - 1)
            yield min(alpha, gamma) if L == 2 or rays else 0.0
        if L > 2:  # every pair is reached at equality
            alpha, gamma = rng.uniform(0.1, 1, size=2)
            psi = np.sqrt(np.array([alpha, gamma]) / (alpha + gamma))
            weights = [np.outer(a, psi * [1, -1]), (alpha + gamma) * psi[:, None], *[np.eye(1)] * (L - 3)]
            h = feature(weights, np.outer(C, a))
            yield np.abs(h - alpha * relu(C) - gamma * relu(-C)).max()
            yield abs(product_of_norms(weights) - alpha - gamma)
    for L in (3, 4):  # a general solver, and a branch with one first hidden unit
        theta = least_decay(0.4, 0.9, (chain(1, 2, *[1] * (L - 2), 1),))
        yield abs(theta @ theta / 2 / (L / 2 * (bound * 1.3)**(2 / L)) - 1)
        narrow = [rng.normal(size=s) for s in chain(1, 1, 3, 1)]
        yield min(feature(narrow, np.array([[1.0]]))[0], feature(narrow, np.array([[-1.0]]))[0])


@chapter.violation(
    "lem-two-rays", "ass-rank-one",
    "data of rank two: distance of a feature from the cone of the rays")
def branch_of_rank_two(rng):
    X = np.array([[1.0, 0.5], [2.0, -1.0], [-1.0, 1.0], [-2.0, -0.5]])
    found = structure(X)
    R = relu(np.stack([found.c, -found.c], axis=1))
    h = relu(X @ np.array([0.0, 1.0]))
    yield np.linalg.norm(h - R @ relu(np.linalg.pinv(R) @ h))


@chapter.violation("lem-two-rays", "ass-unbiased", "a unit with bias one: distance of its feature from the cone")
def branch_with_bias(rng):
    R = relu(np.stack([C, -C], axis=1))
    h = relu(C + 1.0)
    yield np.linalg.norm(h - R @ relu(np.linalg.pinv(R) @ h))


@chapter.violation(
    "lem-two-rays", "ass-two-units",
    "one first hidden unit: the smaller of two slopes that should be 1/2")
def branch_of_width_one(rng):
    reached = max(min(feature([np.array([[u]]), np.array([[v]])], np.array([[s]]))[0] for s in (1.0, -1.0))
                  for u in (-1.0, 1.0) for v in (-1.0, 1.0))
    yield 0.5 - reached


# ---- what a pair of slopes costs


@chapter.statement(
    "prop-ray-cost",
    "the cost of two slopes against a general solver for the weights, and against random networks",
    1e-7,
    {"rays always separate": {"separate": True}, "rays always shared": {"shared": True},
     "cost doubled": {"factor": 2.0}},
)
def slope_cost(rng, factor=1.0, separate=False, shared=False):
    for L in (2, 3, 4):
        for p, q in SLOPES:
            claim = (ray_cost(p, q, L, separate=separate or (not shared and p * q < 0),
                              shared=shared or (not separate and p * q >= 0)))
            claim *= factor * L / 2
            theta = least_decay(p, q, two_branches(L))
            yield abs(theta @ theta / 2 / claim - 1)
            if L > 2:  # one active branch for slopes of one sign, two for opposite signs
                sizes = sorted(product_of_norms(weights) for weights in matrices(theta, two_branches(L)))
                yield 1e-3 * (sizes[0] > 1e-3) if p * q >= 0 else 1e-3 * (sizes[0] < 1e-3)
        for _ in range(30):
            theta = rng.normal(size=sum(a * b for shapes in two_branches(L) for a, b in shapes))
            (p, q), _ = slopes(theta, two_branches(L))
            yield relu(factor * L / 2 * cost(p, q, L) / (theta @ theta / 2) - 1)


@chapter.violation(
    "prop-ray-cost", "ass-rank-one",
    "data of rank two: their nearest two rays miss the output of a unit by this part")
def cost_of_rank_two(rng):
    X = np.array([[1.0, 0.5], [2.0, -1.0], [-1.0, 1.0], [-2.0, -0.5]])
    found = structure(X)
    R, h = relu(np.stack([found.c, -found.c], axis=1)), relu(X @ np.array([0.6, 0.8]))
    yield np.linalg.norm(h - R @ (np.linalg.pinv(R) @ h)) / np.linalg.norm(h)


@chapter.violation(
    "prop-ray-cost", "ass-unbiased",
    "a hidden bias: outputs 1 at both inputs for less, by this part")
def cost_with_bias(rng):
    network = constant_by_bias()
    yield 1.5 * cost(1.0, 1.0, 3) / network.penalty - 1 if np.all(network.predict(INPUTS) == 1) else 0.0


@chapter.violation(
    "prop-ray-cost", "ass-parallel",
    "a branch of two layers instead of three: slopes 1 and 0 for less, by this part")
def cost_of_short_branch(rng):
    network = Network((([[1.0]], [[1.0]]),), "relu")
    yield 1.5 * cost(1.0, 0.0, 3) / network.penalty - 1 if np.all(network.predict(INPUTS)[:, 0] == [1, 0]) else 0.0


@chapter.violation(
    "prop-ray-cost", "ass-two-units",
    "branches of width one: excess for two slopes of one sign, depth three")
def cost_of_narrow_branches(rng):
    theta = least_decay(1.5, 0.7, (chain(1, 1, 1, 1),) * 2)
    yield theta @ theta / 2 / (1.5 * cost(1.5, 0.7, 3)) - 1


def constant_by_bias():
    """A network of depth three whose hidden bias alone makes the output one."""
    return Network((([[0.0]], [[0.0]], [[1.0]]),), "relu", ([1.0],))


@cache
def trained(name, L, beta, branches, width, seeds, power=False):
    """Least objective that training of parallel networks reaches from a few random starts."""
    X, y = np.outer(C, [0.6, 0.8]), np.array(LABELS[name])
    decay = power_decay(L) if power else "all"
    return min(train(parallel_network(2, 1, L, branches, width, seed=seed), X, y, beta, steps=300, decay=decay,
                     progress=False).objective[-1] for seed in range(seeds))


# ---- the closed form


def instances(rng):
    """Rank-one data with labels that pull the two rays the same way or apart: (X, y, beta, L)."""
    a = unit(rng, 3)
    for c, y in ((C, np.abs(C)), (C, np.array([1.0, 2.0, 0.3, 0.1])), (C, C),
                 (np.array([1.0, -2.0]), np.array([1.75, 2.0])), (np.abs(C), rng.normal(size=4)),
                 (rng.normal(size=6), rng.normal(size=6))):
        for L in (2, 3, 4, 6):
            for beta in (0.02, 0.3, 1.0):
                yield np.outer(c, a), y, beta, L


def brute_force(X, y, beta, L, factor=1.0, separate=False):
    """Least objective over the two slopes: a grid, then a local search, with no use of the closed form."""
    c = structure(X).c
    R = relu(np.stack([c, -c], axis=1))
    limit = np.linalg.pinv(R) @ y

    def value(t):
        p, q = t[0] * limit[0], t[1] * limit[1]
        price = ray_cost(p, q, L, separate=separate or p * q < 0, shared=not separate and p * q >= 0)
        return 0.5 * np.sum((R @ [p, q] - y)**2) + factor * beta * L / 2 * price

    grid = np.concatenate([[0.0], np.geomspace(1e-3, 1, 24)])
    values = np.array([[value((s, t)) for t in grid] for s in grid])
    best = values.min()
    for k in np.argsort(values, axis=None)[:2]:
        start = grid[list(np.unravel_index(k, values.shape))]
        run = minimize(value, start, method="Nelder-Mead", bounds=[(0, 1.1)] * 2,
                       options={"xatol": 1e-10, "fatol": 1e-15, "maxiter": 400})
        best = min(best, run.fun)
    for axis in (0, 1):  # a slope of zero is a corner that Nelder-Mead can miss
        run = minimize_scalar(lambda t, axis=axis: value((t, 0) if axis == 0 else (0, t)), bounds=(0, 1.1),
                              method="bounded", options={"xatol": 1e-12})
        best = min(best, run.fun)
    return best


def candidates(X, y, beta, L, root="largest", joint=True):
    """The candidates of the theorem, evaluated: the least objective."""
    c = structure(X).c
    rays = relu(np.stack([c, -c], axis=1))
    norms, pulls = np.linalg.norm(rays, axis=0), rays.T @ y
    fits = pulls / np.where(norms > 0, norms, 1.0)**2

    def alone(k):
        r = norms[k]
        if r == 0:
            return 0.0
        return np.sign(fits[k]) * float(depth_prox(r * abs(fits[k]), beta * r**(-2 / L), L)) / r

    def value(p, q):
        return 0.5 * np.sum((rays @ [p, q] - y)**2) + beta * L / 2 * cost(p, q, L)

    if L == 2 or fits[0] * fits[1] <= 0 or not joint:
        return value(alone(0), alone(1))
    strong = int(np.argmax(np.abs(pulls)))
    found = [value(*(alone(k) if k == strong else 0.0 for k in (0, 1)))]
    h, T = 1 / np.sum(1 / norms**2), np.abs(fits).sum()
    # In s = t^(1/L), h (T - t) = beta t^(2/L - 1) is a polynomial equation.
    coefficients = np.zeros(2 * L - 1)
    coefficients[0], coefficients[L], coefficients[-1] = h, -h * T, beta
    roots = np.roots(coefficients)
    real = np.sort(roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real)**L
    if len(real):
        t = real[-1] if root == "largest" else real[0]
        if root == "global" and 0.5 * h * (T - t)**2 + beta * L / 2 * t**(2 / L) > 0.5 * h * T**2:
            return min(found)
        if h * (T - t) < np.abs(pulls).min():
            found.append(value(*(fits - np.sign(fits) * h * (T - t) / norms**2)))
    return min(found)


@chapter.statement(
    "thm-rank-one",
    "the candidates, by roots of a polynomial, against a search over both slopes, the solver of the package "
    "and trained networks",
    1e-6,
    {"rays always separate": {"joint": False}, "smallest instead of largest root": {"root": "smallest"},
     "global minimum in the shared gain": {"root": "global"}, "$2\\beta$": {"factor": 2.0}},
)
def closed_form(rng, factor=1.0, root="largest", joint=True):
    for k, (X, y, beta, L) in enumerate(instances(rng)):
        value = candidates(X, y, factor * beta, L, root, joint)
        yield abs(value / rank_one_network(X, y, beta, L)[1] - 1)
        if k % 7 == 0:
            yield abs(value / brute_force(X, y, beta, L) - 1)
    for name, L in (("even", 3), ("uneven", 4)):
        value = candidates(np.outer(C, [0.6, 0.8]), np.array(LABELS[name]), factor * 0.1, L, root, joint)
        yield abs(trained(name, L, 0.1, 4, 3, 2) / value - 1)


@chapter.violation(
    "thm-rank-one", "ass-rank-one",
    "data of rank two, two layers: the formula for the nearest rank-one data against the convex program")
def closed_form_of_rank_two(rng):
    X = np.array([[1.0, 0.5], [2.0, -1.0], [-1.0, 1.0], [-2.0, -0.5]])
    y, (U, s, Vt) = np.abs(C), np.linalg.svd(X, full_matrices=False)
    nearest = s[0] * np.outer(U[:, 0], Vt[0])
    yield abs(rank_one_network(nearest, y, 0.3, 2)[1] / solve(X, y, 0.3, activation="relu").objective - 1)


@chapter.violation(
    "thm-rank-one", "ass-unbiased",
    "two layers, labels $(0, 1, 0, 1)$: how much the value falls when biases are allowed")
def closed_form_with_bias(rng):
    X, y = C[:, None], np.array([0.0, 1.0, 0.0, 1.0])
    yield rank_one_network(X, y, 0.1, 2)[1] / solve(X, y, 0.1, activation="relu", bias=True).objective - 1


@chapter.violation(
    "thm-rank-one", "ass-parallel",
    "branches of two layers among those of three, $y = |c|$: fall of the value")
def closed_form_with_short_branches(rng):
    X, y = C[:, None], np.abs(C)
    yield rank_one_network(X, y, 0.3, 3)[1] / rank_one_network(X, y, 0.3, 2)[1] - 1


@chapter.violation(
    "thm-rank-one", "ass-two-units",
    "branches of width one, depth three: excess of the trained objective")
def closed_form_of_narrow_branches(rng):
    X, y = C[:, None], np.abs(C)
    runs = [train(parallel_network(1, 1, 3, 6, 1, seed=seed), X, y, 0.3, progress=False) for seed in range(3)]
    yield min(run.objective[-1] for run in runs) / rank_one_network(X, y, 0.3, 3)[1] - 1


@chapter.violation(
    "thm-rank-one", "ass-beta",
    "no decay: an optimal network of depth three with a second active branch, its gain")
def closed_form_without_decay(rng):
    branch = ([[1.0, -1.0]], [[1.0], [1.0]], [[0.5]])
    network = Network((branch, branch), "relu")
    yield 0.5 * product_of_norms(branch[:2]) if np.allclose(network.predict(C[:, None])[:, 0], np.abs(C)) else 0.0


# ---- where the separable formula holds


def separable_value(X, y, beta, L):
    """Each ray alone, by one-dimensional minimisation on a grid and a local search."""
    c = structure(X).c
    total = 0.5 * np.sum(y**2)
    for ray in (relu(c), relu(-c)):
        r2, pull = ray @ ray, abs(ray @ y)
        if r2 == 0:
            continue

        def gain(s, r2=r2, pull=pull):
            return 0.5 * r2 * s**2 - pull * s + beta * L / 2 * s**(2 / L)

        grid = np.linspace(0, pull / r2, 400)
        k = int(np.argmin(gain(grid)))
        run = minimize_scalar(gain, bounds=(grid[max(k - 1, 0)], grid[min(k + 1, 399)]), method="bounded",
                              options={"xatol": 1e-13})
        total += min(0.0, run.fun)
    return total


def power_decay(L):
    """The penalty (1/L) sum over branches and layers of the L-th power of the Frobenius norm."""
    def decay(module):
        return sum((W.square().sum(dim=(1, 2)) + 1e-300).pow(L / 2).sum() for W in module.parameters()) / L
    return decay


@chapter.statement(
    "prop-separable-rays",
    "the separable formula against trained networks: branches of width one, and the power penalty",
    1e-6,
    {"$2\\beta$": {"factor": 2.0}, "shared branches after all": {"shared": True}},
)
def separable(rng, factor=1.0, shared=False):
    X, y, beta = np.outer(C, [0.6, 0.8]), np.array(LABELS["mixed"]), 0.2
    for L in (3, 4):
        claim = candidates(X, y, beta, L) if shared else separable_value(X, y, factor * beta, L)
        yield abs(trained("mixed", L, beta, 12, 1, 3) / claim - 1)
        claim = candidates(X, y, beta, L) if shared else separable_value(X, y, factor * beta, 2)
        yield abs(trained("mixed", L, beta, 8, 2, 2, power=True) / claim - 1)


@chapter.violation(
    "prop-separable-rays", "ass-rank-one",
    "data of rank two, two layers: each ray of the nearest rank-one data alone")
def separable_of_rank_two(rng):
    X = np.array([[1.0, 0.5], [2.0, -1.0], [-1.0, 1.0], [-2.0, -0.5]])
    y, (U, s, Vt) = np.abs(C), np.linalg.svd(X, full_matrices=False)
    nearest = s[0] * np.outer(U[:, 0], Vt[0])
    yield abs(separable_value(nearest, y, 0.3, 2) / solve(X, y, 0.3, activation="relu").objective - 1)


@chapter.violation(
    "prop-separable-rays", "ass-unbiased",
    "two layers, labels $(0, 1, 0, 1)$: fall of the value when biases are allowed")
def separable_with_bias(rng):
    X, y = C[:, None], np.array([0.0, 1.0, 0.0, 1.0])
    yield separable_value(X, y, 0.1, 2) / solve(X, y, 0.1, activation="relu", bias=True).objective - 1


@chapter.violation(
    "prop-separable-rays", "ass-parallel",
    "branches of two layers among those of three, width one, $y = |c|$: fall of the value")
def separable_with_short_branches(rng):
    X, y = C[:, None], np.abs(C)
    yield separable_value(X, y, 0.3, 3) / separable_value(X, y, 0.3, 2) - 1


# ---- the layers of an optimal branch


def layer_residual(weights, a, signed=False, p_share=None):
    """How far the layers are from r a psi^T, r |psi| v_2^T, ..., r v_{L-2}, and the share of positive psi."""
    psi = a @ weights[0] / np.linalg.norm(weights[0])
    r = np.linalg.norm(weights[0])
    left, worst = psi if signed else np.abs(psi), np.linalg.norm(weights[0] - r * np.outer(a, psi)) / r
    for W in weights[1:-1]:
        right = W.T @ left / r
        worst = max(worst, np.linalg.norm(W - r * np.outer(left, right)) / r, relu(-right).max())
        left = right
    worst = max(worst, *(abs(np.linalg.norm(W) / r - 1) for W in weights))
    return max(worst, abs(np.sum(psi[psi > 0]**2) - p_share)) if p_share is not None else worst


@chapter.statement(
    "prop-ray-layers",
    "layers of branches found by a general solver and by training against the form of the proposition",
    1e-5,
    {"aligned with signs": {"signed": True}, "the two rays exchanged": {"swap": True}},
)
def layers(rng, signed=False, swap=False):
    for L, m in ((3, 2), (4, 2), (5, 3)):
        shapes = (chain(1, *[m] * (L - 2), 1, 1),)
        p, q = 0.9, 0.4
        weights = matrices(least_decay(p, q, shapes), shapes)[0]
        yield layer_residual(weights, np.ones(1), signed, (q if swap else p) / (p + q))
    a = unit(rng, 3)
    X, y = np.outer(C, a), np.array([1.0, 2.0, 0.8, 1.5])
    run = min((train(parallel_network(3, 1, 4, 4, 3, seed=s), X, y, 0.1, steps=1500, progress=False)
               for s in range(2)), key=lambda run: run.objective[-1])
    branch = max(as_network(run.module).branches, key=product_of_norms)
    p, q = as_network(run.module).predict(np.stack([a, -a]))[:, 0]
    yield layer_residual(list(branch), a, signed, (q if swap else p) / (p + q))


@chapter.violation(
    "prop-ray-layers", "ass-rank-one",
    "whitened data of rank two: the first layers of two branches side by side, second singular value, relative")
def layers_of_rank_two(rng):
    optimum = solve(np.eye(2), [2.0, -2.0], 0.1, depth=3, activation="relu")
    W = np.hstack([branch[0] for branch in optimum.network.branches])
    yield np.divide(*np.linalg.svd(W, compute_uv=False)[::-1])


@chapter.violation(
    "prop-ray-layers", "ass-unbiased",
    "a hidden bias fits $y = 1$ with a first layer of norm zero: relative difference of the layers' norms")
def layers_with_bias(rng):
    first, _, last = (np.linalg.norm(W) for W in constant_by_bias().branches[0])
    yield 1 - first / last


@chapter.violation("prop-ray-layers", "ass-beta", "no decay: an optimal branch whose layers have unequal norms")
def layers_without_decay(rng):
    branch = ([[4.0, -4.0]], [[1.0], [1.0]], [[0.25]])
    fits = np.allclose(Network((branch,), "relu").predict(C[:, None])[:, 0], np.abs(C))
    yield layer_residual([np.array(W) for W in branch], np.ones(1)) if fits else 0.0


@chapter.violation("prop-ray-layers", "ass-optimal", "a random branch: its distance from the form")
def layers_of_random_branch(rng):
    yield layer_residual([*random_branch(rng, 1, 4, 2), np.eye(1)], np.ones(1))


@chapter.violation(
    "prop-ray-layers", "ass-parallel",
    "a standard network with slopes 1 and -1: second singular value of its middle layer, relative")
def layers_of_standard_network(rng):
    shapes = (chain(1, 2, 2, 1),)
    W = matrices(least_decay(1.0, -1.0, shapes), shapes)[0][1]
    yield np.divide(*np.linalg.svd(W, compute_uv=False)[::-1])


# ---- standard networks


def without_relu(x, y, v, signed=False):
    """The shortest vector with the inner products (v . x)_+ and (v . y)_+."""
    return np.linalg.pinv(np.stack([x, y])) @ relu([v @ x, v @ y])


@chapter.statement(
    "lem-two-rows",
    "length of the replacement against the shortest weights by a convex solver, and its inner products",
    1e-6,
    {"vectors of any sign": {"signed": True}, "inner products without ReLU": {"linear": True}},
)
def two_rows(rng, signed=False, linear=False):
    for k in range(40):
        x, y, v = rng.normal(size=(3, 2 + k % 3))
        if not signed:
            x, y = np.abs(x), np.abs(y)
        new = without_relu(x, y, v)
        reached = np.array([new @ x, new @ y])
        yield np.abs(reached - ([v @ x, v @ y] if linear else relu([v @ x, v @ y]))).max()
        yield relu(np.linalg.norm(new) / np.linalg.norm(v) - 1)
        if k < 6 and not signed:
            w = cp.Variable(len(x))
            constraints = [w @ z == v @ z if v @ z > 0 else w @ z <= 0 for z in (x, y)]
            shortest = cp.Problem(cp.Minimize(cp.norm(w)), constraints).solve(solver="CLARABEL")
            yield abs(shortest - np.linalg.norm(new)) / (1 + np.linalg.norm(v))


def layers_above(x, y, layers, bias=0.0):
    """Outputs of the layers above two features; the bias is that of the output."""
    A = np.array([x, y])
    for W in layers[:-1]:
        A = relu(A @ W)
    return A @ layers[-1] + bias


def opposite_price(p, q, L, merged=False, factor=1.0):
    sizes = np.array([abs(p) + abs(q)] if merged else [abs(p), abs(q)])
    return factor * L / 2 * np.sum(sizes ** (2 / L))


@chapter.statement(
    "lem-opposite-outputs",
    "half the sum of squares of random layers after rescaling each of them, of layers trained to lower it at given "
    "outputs, and of two chains, against the bound; the two numbers of the proof on random matrices",
    1e-6,
    {"one chain of gain $p + |q|$": {"merged": True}, "the price doubled": {"factor": 2.0}},
)
def opposite_outputs(rng, merged=False, factor=1.0):
    for L in (2, 3, 4, 6):
        for _ in range(60):
            x, y = relu(rng.normal(size=(2, 3)))
            layers = [rng.normal(size=(3, m)) for m in (*[3] * (L - 2), 1)]
            p, q = layers_above(x, y, layers)[:, 0]
            if p * q < 0:  # rescaled, the L terms are equal
                half = L / 2 * np.prod([x @ x + y @ y, *(np.sum(W**2) for W in layers)]) ** (1 / L)
                yield relu(1 - half / opposite_price(p, q, L, factor=factor if not merged else 1.0))
        p, q = rng.exponential(size=2)  # two chains
        root = np.diag([p ** (1 / L), q ** (1 / L)])
        layers = [*[root] * (L - 2), root @ np.array([[1.0], [-1.0]])]
        yield np.abs(layers_above(*root, layers)[:, 0] - [p, -q]).max()
        half = (np.sum(root**2) + sum(np.sum(W**2) for W in layers)) / 2
        yield abs(half / opposite_price(p, q, L, merged, factor) - 1)
        a, b = rng.exponential(size=2)
        singular = np.linalg.svd([[p + a, a], [b, q + b]], compute_uv=False)
        yield relu(1 - np.sum(singular ** (2 / L)) / np.sum([p ** (2 / L), q ** (2 / L)]))
    yield abs(least_opposite() / opposite_price(1.5, -0.7, 3, merged, factor) - 1)


@cache
def least_opposite():
    """Least half sum of squares for the outputs 1.5 and -0.7 at depth three, by a general solver."""
    def outputs(theta):
        return layers_above(relu(theta[:2]), relu(theta[2:4]), [theta[4:8].reshape(2, 2), theta[8:, None]])[:, 0]

    fit = {"type": "eq", "fun": lambda theta: outputs(theta) - [1.5, -0.7]}
    best = np.inf
    for seed in range(400):
        start = np.random.default_rng(seed).normal(size=10)
        if np.any(outputs(start) * [1, -1] < 0.01):
            continue  # outputs of the wrong signs
        found = minimize(lambda theta: theta @ theta / 2, start, method="SLSQP", constraints=fit,
                         options={"ftol": 1e-14, "maxiter": 300})
        if np.abs(fit["fun"](found.x)).max() < 1e-8:
            best = min(best, found.fun)
    return best


@chapter.violation(
    "lem-opposite-outputs", "ass-unbiased",
    "outputs 1 and -1 from one chain of gain two and an output bias: how far below the price")
def opposite_with_bias(rng):
    g = 2 ** (1 / 3)
    layers = [np.array([[g]]), np.array([[g]])]
    assert np.abs(layers_above([g], [0.0], layers, -1.0)[:, 0] - [1, -1]).max() < 1e-12
    yield 1 - 1.5 * g**2 / opposite_price(1, -1, 3)


@chapter.statement(
    "thm-standard-rays",
    "the cost of two slopes against a general solver for the weights of standard networks",
    1e-7,
    {"opposite signs share as well": {"shared": True}, "rays always separate": {"separate": True}},
)
def standard(rng, separate=False, shared=False):
    for L, m, starts in ((3, 2, 2), (3, 3, 1), (4, 2, 2), (5, 3, 2)):
        for p, q in ((1.5, 0.7), (1.5, -0.7)):
            claim = L / 2 * ray_cost(p, q, L, separate=separate or (not shared and p * q < 0),
                                     shared=shared or (not separate and p * q >= 0))
            theta = least_decay(p, q, (chain(1, *[m] * (L - 1), 1),), starts)
            yield abs(theta @ theta / 2 / claim - 1)
    for L in (3, 4, 5, 6, 8):
        for _ in range(30):
            shapes = (chain(1, *[3] * (L - 1), 1),)
            theta = rng.normal(size=sum(a * b for a, b in shapes[0]))
            (p, q), _ = slopes(theta, shapes)
            yield relu(L / 2 * cost(p, q, L) / (theta @ theta / 2) - 1)


@chapter.violation(
    "thm-standard-rays", "ass-rank-one",
    "data of rank two: their nearest two rays miss the output of a unit by this part")
def standard_of_higher_rank(rng):
    yield from cost_of_rank_two(rng)


@chapter.violation(
    "thm-standard-rays", "ass-unbiased",
    "a hidden bias: outputs 1 at both inputs for less, by this part")
def standard_with_bias(rng):
    yield from cost_with_bias(rng)


@chapter.violation(
    "thm-standard-rays", "ass-two-units",
    "a hidden layer of one unit, $y = c$, depth three: excess of the trained objective")
def standard_of_width_one(rng):
    X, beta = C[:, None], 0.1
    runs = [train(standard_network([1, 4, 1, 1], activation="relu", seed=s), X, C, beta, progress=False)
            for s in range(3)]
    yield min(run.objective[-1] for run in runs) / rank_one_network(X, C, beta, 3)[1] - 1


# ---- several outputs


@chapter.statement(
    "prop-ray-outputs",
    "the two shrunken rays against a convex solver, a trained network and the bound of the residual",
    1e-6,
    {"$2\\beta$": {"factor": 2.0}, "each output shrunk by itself": {"entrywise": True}},
)
def outputs(rng, factor=1.0, entrywise=False):
    for n, K, beta in ((4, 2, 0.4), (6, 3, 0.8), (5, 1, 0.2)):
        c = C if n == 4 else rng.normal(size=n)
        X, Y = np.outer(c, unit(rng, 3)), rng.normal(size=(n, K))
        R, P = relu(np.stack([c, -c], axis=1)), cp.Variable((2, K))
        convex = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(R @ P - Y) + beta * (cp.norm(P[0]) + cp.norm(P[1]))))
        value = convex.solve(solver="CLARABEL")
        pulls, squares = R.T @ Y, np.sum(R**2, axis=0)[:, None]
        size = np.abs(pulls) if entrywise else np.linalg.norm(pulls, axis=1, keepdims=True)
        slope = relu(1 - factor * beta / size) * pulls / squares
        objective = 0.5 * np.sum((R @ slope - Y)**2) + beta * np.linalg.norm(slope, axis=1).sum()
        yield abs(objective / value - 1)
        Lambda = Y - R @ slope
        yield relu(RankOneFeatures(X).support(Lambda).value / beta - 1)
        yield abs((0.5 * np.sum(Y**2) - 0.5 * np.sum((Y - Lambda)**2)) / value - 1)
        run = train(standard_network([3, 8, K], activation="relu", seed=1), X, Y, beta, steps=1500, progress=False)
        yield abs(run.objective[-1] / objective - 1)
        yield certify(run.module, X, Y, beta).relative_gap


@chapter.violation(
    "prop-ray-outputs", "ass-rank-one",
    "data of rank two, one output: the formula for the nearest rank-one data")
def outputs_of_rank_two(rng):
    yield from separable_of_rank_two(rng)


@chapter.violation(
    "prop-ray-outputs", "ass-unbiased",
    "labels $(0, 1, 0, 1)$: fall of the value when biases are allowed")
def outputs_with_bias(rng):
    yield from separable_with_bias(rng)


@chapter.violation("prop-ray-outputs", "ass-two-units", "one hidden unit, $y = |c|$: excess of the best objective")
def outputs_of_one_unit(rng):
    y = np.abs(C)
    alone = 0.5 * np.sum(y**2) - 0.5 * (5 - 0.3)**2 / 5  # one ray: pull 5, squared length 5
    yield alone / rank_one_network(C[:, None], y, 0.3, 2)[1] - 1


@chapter.violation(
    "prop-ray-outputs", "ass-beta",
    "no decay: an optimal unit with weights across $a$, their length")
def outputs_without_decay(rng):
    a, across = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    X, u = np.outer(C, a), np.array([1.0, 3.0])
    network = Network((([[u[0]], [u[1]]], [[1.0]]),), "relu")
    yield across @ u if np.allclose(network.predict(X)[:, 0], relu(C)) else 0.0
