"""Checks of the chapter "Other losses"."""

from functools import cache
from itertools import combinations

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize, minimize_scalar

from dualkit import Network, as_network, certify, solve
from dualkit.data import one_hot, random_whitened_rows
from dualkit.depth import depth_prox_value
from dualkit.losses import Hinge, Logistic, MarginLoss, SoftmaxCrossEntropy, get_loss
from dualkit.training import standard_network, train
from ledger import Chapter

chapter = Chapter("other_losses")


class SquaredHinge(MarginLoss):
    """Half the squared hinge, of slope -1 at 0."""

    name, smoothness, steepest = "squared hinge", 1.0, float("inf")

    def phi(self, m):
        return 0.5 * np.maximum(1 - m, 0.0) ** 2

    def slope(self, m):
        return -np.maximum(1 - m, 0.0)

    def entropy(self, a):
        return a * (0.5 * a - 1)


class Exponential(MarginLoss):
    """The loss of boosting."""

    name, smoothness, steepest = "exponential", float("inf"), float("inf")

    def phi(self, m):
        return np.exp(-np.maximum(m, -200))

    def slope(self, m):
        return -np.exp(-np.maximum(m, -200))

    def entropy(self, a):
        return a * np.log(a + (a == 0)) - a


class Sigmoid(MarginLoss):
    """Not convex."""

    name, smoothness, steepest = "sigmoid", 0.1, 0.25

    def phi(self, m):
        return 1 / (1 + np.exp(np.clip(m, -200, 200)))

    def slope(self, m):
        return -self.phi(m) * self.phi(-m)


def least(cost, top=60.0, points=6001):
    """Minimum over [0, top] of a function of one variable: the local minima on a grid, refined, and zero."""
    grid = np.linspace(0, top, points)
    values = cost(grid)
    inner = 1 + np.flatnonzero((values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:]))
    best = (float(values[0]), 0.0)
    for i in inner[np.argsort(values[inner])][:2]:
        found = minimize_scalar(
            lambda v: float(cost(np.array([v]))[0]),
            bounds=(grid[i - 1], grid[i + 1]),
            method="bounded",
            options={"xatol": 1e-13},
        )
        best = min(best, (float(found.fun), float(found.x)))
    return best


def softmax_level(v, K):
    return np.log1p((K - 1) * np.exp(-v))


def level_cost(phi, n, size, beta, L):
    """n phi(v) + beta (L/2) (sqrt(n) size v)^(2/L)."""
    return lambda v: n * phi(v) + beta * L / 2 * (np.sqrt(n) * size * v) ** (2 / L)


def by_class(phi, counts, beta, L, size=1.0, top=60.0):
    return sum(least(level_cost(phi, n, size, beta, L), top)[0] for n in counts)


def free_features(loss, Y, beta, L, units=8, starts=6, seed=0, scale=1.2, steps=1500):
    """Least objective of L-BFGS runs on F = sum_j g_j^(L-2) (z_j)_+ w_j^T: parallel networks with X = I."""
    Y2 = Y[:, None] if Y.ndim == 1 else Y
    n, K = Y2.shape

    def objective(x):
        Z, W, g = x[: n * units].reshape(n, units), x[n * units : -units].reshape(units, K), x[-units:]
        A, G = np.maximum(Z, 0), g ** (L - 2)
        F = A * G @ W
        R = loss._gradient(F, Y2)
        inner = (L - 2) * (np.sum(A * (R @ W.T), axis=0) * g ** max(L - 3, 0) + beta * g)
        gradient = [(R @ W.T * G * (Z > 0) + beta * Z).ravel(), ((A * G).T @ R + beta * W).ravel(), inner]
        decay = x[:-units] @ x[:-units] + (L - 2) * g @ g
        return float(np.sum(loss._value(F, Y2))) + beta / 2 * decay, np.concatenate(gradient)

    def run(s):
        rng = np.random.default_rng((seed, s))
        hidden = np.abs(rng.normal(size=units * n))  # no unit is dead at the start
        start = np.concatenate(
            [scale * hidden, scale * rng.normal(size=units * K), scale + np.zeros(units)]
        )
        options = {"maxiter": steps, "maxcor": 30, "ftol": 1e-15, "gtol": 1e-10}
        return minimize(objective, start, jac=True, method="L-BFGS-B", options=options)

    best = min((run(s) for s in range(starts)), key=lambda r: r.fun)
    return best.fun, np.maximum(best.x[: n * units].reshape(n, units), 0)


def labels_of(counts):
    return np.concatenate([np.full(n, s) for n, s in zip(counts, (1.0, -1.0), strict=True)])


def one_hot_of(counts):
    return one_hot(np.repeat(np.arange(len(counts)), counts), len(counts))


# Conjugates ---------------------------------------------------------------------------------------------------


def supremum(z, value):
    """sup_f z f - value(f), by a grid that grows until the maximum is inside."""
    grid = np.linspace(-60, 60, 240001)
    return float(np.max(z * grid - value(grid)))


@chapter.statement(
    "lem-conjugates",
    "formulas against the supremum on a fine grid (margins) and a general solver (softmax); scaled dual points "
    "stay in the domain",
    1e-6,
    {
        "logistic: $a\\log a$ alone": {"half": True},
        "hinge: $+a$": {"sign": 1.0},
        "softmax: without $Y$": {"shift": 0.0},
    },
)
def conjugates(rng, half=False, sign=-1.0, shift=1.0):
    for a in (0.0, 0.15, 0.5, 0.9):
        log = a * np.log(a + (a == 0)) + (0.0 if half else (1 - a) * np.log(1 - a))
        yield abs(log - supremum(-a, lambda f: np.logaddexp(0, -f)))
        yield abs(sign * a - supremum(-a, lambda f: np.maximum(1 - f, 0)))
        yield abs(a * (a / 2 - 1) - supremum(-a, SquaredHinge().phi))
        yield abs(Exponential().entropy(np.array(a)) - supremum(-a, lambda f: np.exp(-np.maximum(f, -30))))
    for K in (2, 3):
        Y = one_hot_of([1] * K)
        Lambda = 0.7 * (Y - rng.dirichlet(np.ones(K), K))
        F = cp.Variable((K, K))
        loss = sum(cp.log_sum_exp(F[i]) - F[i, i] for i in range(K))
        sup = cp.Problem(cp.Maximize(cp.sum(cp.multiply(-Lambda, F)) - loss)).solve(solver="CLARABEL")
        q = shift * Y - Lambda
        yield abs(np.sum(np.where(q > 0, q * np.log(np.maximum(q, 1e-300)), 0)) - sup)
        for c in (0.0, 0.3, 1.0):  # any gradient, scaled
            point = -get_loss("cross-entropy").gradient(rng.normal(size=(K, K)), Y)
            yield float(not np.isfinite(SoftmaxCrossEntropy().dual_value(c * point, Y)))
    for loss in (
        Logistic(),
        Hinge(),
        SquaredHinge(),
        Exponential(),
    ):  # Fenchel-Young is tight at a gradient
        f, y = rng.normal(size=5), np.array([1.0, -1, 1, 1, -1])
        z = loss.gradient(f, y)
        yield abs(loss.value(f, y) + loss.conjugate(z, y) - z @ f)
        yield float(not np.isfinite(loss.dual_value(-0.4 * z, y)))


@chapter.violation(
    "lem-conjugates",
    "ass-convex",
    "the loss $-3f$ is not bounded below: half its dual point, distance from the domain",
)
def scaling_without_bound(rng):
    z = -3.0  # the conjugate of -3 f is finite at this point alone
    yield abs(0.5 * z - z)


# Margin losses --------------------------------------------------------------------------------------------------

CASES = ((Logistic(), 0.6), (Hinge(), 0.7), (SquaredHinge(), 0.5), (Exponential(), 0.4), (Sigmoid(), 0.15))


def two_level_network(X, y, levels, L):
    """The network of the theorem: a chain of single units for each class."""
    branches = []
    for sign, v in zip((1.0, -1.0), levels, strict=True):
        feature = (y == sign) / np.sqrt(np.sum(y == sign))
        r = (v * np.sqrt(np.sum(y == sign))) ** (1 / L)
        branches.append(
            (r * (X.T @ feature)[:, None], *[np.full((1, 1), r)] * (L - 2), np.array([[sign * r]]))
        )
    return Network(tuple(branches), "relu")


@cache
def trained_margin(name, beta, L, seeds):
    """Standard networks on whitened data: the best run."""
    X, y = random_whitened_rows(6, 7, 3), labels_of((4, 2))
    loss = {"logistic": Logistic(), "exponential": Exponential()}[name]
    runs = [
        train(
            standard_network([7, *[6] * (L - 1), 1], activation="relu", seed=s),
            X,
            y,
            beta,
            loss=loss,
            steps=250,
            progress=False,
        ).objective[-1]
        for s in seeds
    ]
    return min(runs)


@chapter.statement(
    "thm-margin",
    "the scalar problem of each class against free features, standard networks trained on whitened data, the "
    "network of the theorem, and the convex dual",
    1e-6,
    {
        "$\\beta$ doubled": {"factor": 2.0},
        "$n_c$ for $\\sqrt{n_c}$ in the penalty": {"root": 1.0},
        "one layer less": {"less": 1},
    },
)
def margin_losses(rng, factor=1.0, root=0.5, less=0):
    def value(phi, counts, beta, L):
        L = max(L - less, 2)
        return sum(least(level_cost(phi, n, n ** (root - 0.5), factor * beta, L), 12.0)[0] for n in counts)

    counts, y = (4, 2), labels_of((4, 2))
    for loss, beta in CASES:
        for L in (2, 3, 4) if isinstance(loss, Logistic) else (2, 3):
            closed = value(loss.phi, counts, beta, L)
            X = random_whitened_rows(6, 7, rng)
            levels = [least(level_cost(loss.phi, n, 1.0, beta, L), 12.0)[1] for n in counts]
            net = two_level_network(X, y, levels, L)
            yield abs(np.sum(loss.phi(y * net.predict(X)[:, 0])) + beta * net.penalty - closed)
            if not isinstance(loss, Sigmoid):
                yield abs(solve(X, y, beta, activation="relu", loss=loss, depth=L).objective - closed)
            if loss.smoothness < 2 or isinstance(loss, Exponential):
                found, _ = free_features(loss, y, beta, L, starts=1 if L == 2 else 3)
                yield abs(found - closed)
    for name, beta, L, seeds in (
        ("logistic", 0.6, 2, (0,)),
        ("logistic", 0.4, 3, (4,)),
        ("exponential", 0.4, 4, (5,)),
    ):
        phi = {"logistic": Logistic(), "exponential": Exponential()}[name].phi
        yield abs(trained_margin(name, beta, L, seeds) - value(phi, counts, beta, L))
    for L in (2, 3):  # no sample in the second class
        found, _ = free_features(Logistic(), np.ones(3), 0.4, L, starts=1 if L == 2 else 3)
        yield abs(found - value(Logistic().phi, (3,), 0.4, L))
    for beta in (0.7, 1.6):  # the dual of the hinge: a second-order cone program
        a = cp.Variable(6)
        cone = [a >= 0, a <= 1, cp.norm(a[:4]) <= beta, cp.norm(a[4:]) <= beta]
        dual = cp.Problem(cp.Maximize(cp.sum(a)), cone).solve(solver="CLARABEL")
        yield abs(dual - value(Hinge().phi, counts, beta, 2))


@chapter.violation("thm-margin", "ass-whitened-rows", "data diag(3, 1): the formula misses free training")
def margin_without_whitening(rng):
    X, y = np.diag([3.0, 1.0]), np.array([1.0, -1.0])
    run = train(
        standard_network([2, 5, 1], activation="relu", seed=0), X, y, 0.3, loss="logistic", progress=False
    )
    yield by_class(Logistic().phi, (1, 1), 0.3, 2) - run.objective[-1]


@chapter.violation("thm-margin", "ass-margin-loss", "$\\phi(v) = (v + 1)^2 / 2$ rewards the wrong sign")
def margin_that_rewards_errors(rng):
    # The formula gives zero outputs; the labels -y cost less.
    yield by_class(lambda v: 0.5 * (v + 1) ** 2, (2, 2), 0.2, 2) - 2 * float(
        depth_prox_value(np.sqrt(2), 0.2, 2)
    )


@chapter.violation("thm-margin", "ass-branches", "one unit for two classes: excess over the formula")
def margin_without_units(rng):
    yield free_features(Logistic(), labels_of((1, 1)), 0.1, 2, units=1)[0] - by_class(
        Logistic().phi, (1, 1), 0.1, 2
    )


@chapter.violation(
    "thm-margin", "ass-beta", "no decay, hinge: an optimal network with outputs 1 and 2 on one class"
)
def margin_without_decay(rng):
    f = np.maximum(np.eye(2), 0) @ np.array([1.0, 2.0])
    yield float(Hinge().value(f, np.ones(2)) == 0) * np.ptp(f)


@chapter.statement(
    "cor-two-layer-margin",
    "closed levels against the scalar problem, by a fine grid, and the certificate of the smooth losses",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "$n_c$ for $\\sqrt{n_c}$": {"power": 1.0}},
)
def two_layer_levels(rng, factor=1.0, power=0.5):
    for n in (1, 4, 9):
        for beta in (0.3, 0.9, 1.7, 2.2):
            r = n**power / (factor * beta)
            levels = {
                "logistic": np.log(max(1.0, r - 1)) if r > 1 else 0.0,
                "hinge": float(r > 1),
                "exponential": np.log(max(1.0, r)),
                "squared hinge": max(0.0, 1 - 1 / r),
            }
            for loss in (Logistic(), Hinge(), Exponential(), SquaredHinge()):
                cost = level_cost(loss.phi, n, 1.0, beta, 2)
                yield float(cost(levels[loss.name])) - least(cost, 12.0)[0]
    X, y = random_whitened_rows(6, 7, rng), labels_of((4, 2))
    for loss in (Logistic(), Exponential(), SquaredHinge()):
        found = solve(X, y, 0.4, activation="relu", loss=loss)
        yield found.certificate.gap
        q = np.sqrt(4) / (0.4 * factor)
        level = {"logistic": np.log(q - 1), "exponential": np.log(q), "squared hinge": 1 - 1 / q}[loss.name]
        yield abs(found.predict(X)[0, 0] - level)


@chapter.violation(
    "cor-two-layer-margin", "ass-whitened-rows", "data diag(3, 1): the logistic level is another"
)
def levels_without_whitening(rng):
    run = train(
        standard_network([2, 5, 1], activation="relu", seed=0),
        np.diag([3.0, 1.0]),
        np.array([1.0, -1.0]),
        0.3,
        loss="logistic",
        progress=False,
    )
    yield abs(as_network(run.module).predict(np.diag([3.0, 1.0]))[0, 0] - np.log(1 / 0.3 - 1))


@chapter.violation(
    "cor-two-layer-margin", "ass-branches", "one unit for two classes: level of the class that it drops"
)
def levels_without_units(rng):
    found, A = free_features(Logistic(), labels_of((1, 1)), 0.1, 2, units=1)
    yield np.min(A) - np.log(1 / 0.1 - 1) if np.min(A) > 1 else np.log(1 / 0.1 - 1)


@chapter.violation(
    "cor-two-layer-margin", "ass-beta", "no decay, logistic loss: a larger level is always better"
)
def levels_without_decay(rng):
    yield Logistic().value([5.0], [1.0]) - Logistic().value([9.0], [1.0])


def switch_constant(phi, L, top=20.0, points=200001):
    """B = sup (phi(0) - phi(v)) / ((L/2) v^(2/L)), and where it is attained."""
    v = np.linspace(0, top, points)[1:]
    ratio = (phi(np.zeros(1)) - phi(v)) / (L / 2 * v ** (2 / L))
    i = int(np.argmax(ratio))
    found = minimize_scalar(
        lambda u: -float((phi(np.zeros(1)) - phi(np.array([u])))[0] / (L / 2 * u ** (2 / L))),
        bounds=(v[max(i - 1, 0)], v[min(i + 1, len(v) - 1)]),
        method="bounded",
        options={"xatol": 1e-13},
    )
    return max(float(ratio[i]), -float(found.fun)), float(found.x)


@chapter.statement(
    "prop-switch",
    "the switching point against the scalar problem on both sides of it; the jump against minimisers just below",
    1e-6,
    {"power $1 - 2/L$ of $n_c$": {"power": 2.0}, "constant 1/L for the hinge": {"hinge": 0.5}},
)
def switching(rng, power=1.0, hinge=1.0):
    for loss in (Logistic(), Hinge(), SquaredHinge(), Exponential()):
        for L in (2, 3, 5):
            B, v = switch_constant(loss.phi, L)
            if isinstance(loss, Hinge):
                yield abs(hinge * 2 / L - B)
                yield abs(v - 1) if L > 2 else 0.0
            if L == 2:
                B = -float(loss.slope(np.zeros(1))[0])
            for n in (2, 7):
                limit = B * n ** (1 - power / L)
                if L > 2:
                    below, above = (
                        least(level_cost(loss.phi, n, 1.0, beta, L), 12.0)[1]
                        for beta in (limit * (1 - 1e-4), limit * (1 + 1e-4))
                    )
                    yield max(0.0, (1 - 1e-6) * v - below) if below else v
                    yield above
                    v0 = np.logspace(-9, -5, 20)  # zero is a strict local minimum even where it is not the least
                    cost = level_cost(loss.phi, n, 1.0, 0.1 * limit, L)
                    yield float(np.any(cost(v0) <= cost(np.zeros(1))))
                # On below the switching point, off from there on.
                yield float(least(level_cost(loss.phi, n, 1.0, limit * (1 - 1e-2), L), 12.0)[1] == 0.0)
                yield least(level_cost(loss.phi, n, 1.0, limit * (1 + 1e-4), L), 12.0)[1]
                if isinstance(loss, Hinge):
                    yield abs(least(level_cost(loss.phi, n, 1.0, limit * (1 - 1e-2), L), 12.0)[1] - 1)


@chapter.violation(
    "prop-switch", "ass-margin-loss", "$\\phi(v) = (v + 1)^2 / 2$ is never on, yet training is"
)
def switch_that_rewards_errors(rng):
    beta = 0.2
    yield (
        0.5 * 4 - float(depth_prox_value(2.0, beta, 3))
        if switch_constant(lambda v: (v + 1) ** 2 / 2, 3)[0] < 0.01
        else 0
    )


@chapter.violation(
    "prop-switch",
    "ass-convex",
    "$\\phi = 1 - \\sqrt{v}$ near 0, $L = 3$: zero is no minimum at any $\\beta$",
)
def switch_without_convexity(rng):
    cost = level_cost(lambda v: 1 - np.sqrt(np.clip(v, 0, 1)), 1, 1.0, 2.0, 3)
    yield float(np.max(cost(np.zeros(1)) - cost(np.logspace(-12, 0, 2000))))


# Cross-entropy --------------------------------------------------------------------------------------------------


def softmax_levels(counts, beta, K, shift=1.0):
    c = np.sqrt((K - 1) / K)
    return np.log(np.maximum(1.0, (K - 1) * (np.sqrt(np.array(counts)) / (beta * c) - shift)))


def softmax_outputs(counts, levels):
    K = len(counts)
    return (one_hot_of(counts) - 1 / K) * np.repeat(levels, counts)[:, None]


def softmax_value(counts, levels, beta, L=2):
    K = len(counts)
    n, c = np.array(counts), np.sqrt((K - 1) / K)
    return float(np.sum(n * softmax_level(levels, K) + beta * L / 2 * (np.sqrt(n) * c * levels) ** (2 / L)))


def semidefinite_softmax(Y, beta):
    """The dual for at most four samples: copositivity is a semidefinite constraint plus a non-negative matrix."""
    (n, K), Lambda = Y.shape, cp.Variable(Y.shape)
    N = cp.Variable((n, n), symmetric=True)
    block = cp.bmat([[beta**2 * np.eye(n) - N, Lambda], [Lambda.T, np.eye(K)]])
    rows = [N >= 0, block >> 0, cp.sum(Lambda, axis=1) == 0]
    return cp.Problem(cp.Maximize(cp.sum(cp.entr(Y - Lambda))), rows).solve(solver="CLARABEL")


@chapter.statement(
    "thm-cross-entropy",
    "closed levels against free features, trained networks and a semidefinite dual; the residual's support by a "
    "bound that holds for every feature",
    2e-6,
    {
        "$\\beta$ doubled": {"factor": 2.0},
        "without the 1 in the logarithm": {"shift": 0.0},
        "$c = 1$": {"centre": False},
    },
)
def cross_entropy(rng, factor=1.0, shift=1.0, centre=True):
    def closed(counts, beta):
        K = len(counts)
        levels = softmax_levels(
            counts, factor * beta * (1 if centre else 1 / np.sqrt((K - 1) / K)), K, shift
        )
        return levels, softmax_value(counts, levels, beta)

    for counts in ((2, 1), (2, 1, 1)):
        for beta in (0.25, 0.9):
            yield abs(closed(counts, beta)[1] - semidefinite_softmax(one_hot_of(counts), beta))
    for counts, beta in (((4, 2), 0.5), ((4, 2, 1), 0.3), ((3, 3, 2), 1.2), ((2, 2, 2, 2), 0.4), ((3, 2, 0), 0.3)):
        levels, value = closed(counts, beta)
        Y = one_hot_of(counts)
        found, A = free_features(SoftmaxCrossEntropy(), Y, beta, 2, units=8, starts=1)
        yield abs(found - value)
        F = softmax_outputs(counts, levels)
        Lambda = SoftmaxCrossEntropy().dual_point(F, Y)
        M = Lambda @ Lambda.T  # non-negative h: h^T M h <= h^T max(M, 0) h
        yield max(0.0, np.sqrt(np.linalg.eigvalsh(np.maximum(M, 0))[-1]) / beta - 1)
        yield abs(value - SoftmaxCrossEntropy().dual_value(Lambda, Y))
        X = random_whitened_rows(len(Y), len(Y) + 1, rng)
        yield np.abs(solve(X, Y, beta, activation="relu", loss="cross-entropy").predict(X) - F).max()
    X, counts = random_whitened_rows(7, 8, 1), (4, 2, 1)
    for seed in (0,):
        run = train(
            standard_network([8, 7, 3], activation="relu", seed=seed),
            X,
            one_hot_of(counts),
            0.3,
            loss="cross-entropy",
            steps=300,
            progress=False,
        )
        yield abs(run.objective[-1] - closed(counts, 0.3)[1])
        hidden = as_network(run.module).hidden(X)[0]  # every unit that is on serves one class
        hidden = hidden[:, np.linalg.norm(hidden, axis=0) > 0.1]
        frame = one_hot_of(counts) / np.sqrt(counts)
        yield np.max(1 - np.max(frame.T @ hidden / np.linalg.norm(hidden, axis=0), axis=0))


@chapter.violation(
    "thm-cross-entropy", "ass-whitened-rows", "data diag(3, 1, 1): the formula misses training"
)
def softmax_without_whitening(rng):
    run = train(
        standard_network([3, 8, 3], activation="relu", seed=0),
        np.diag([3.0, 1, 1]),
        np.eye(3),
        0.3,
        loss="cross-entropy",
        steps=300,
        progress=False,
    )
    yield softmax_value((1, 1, 1), softmax_levels((1, 1, 1), 0.3, 3), 0.3) - run.objective[-1]


@chapter.violation(
    "thm-cross-entropy", "ass-softmax", "one label row (0.8, 0.2, 0), read as one-hot: the value is another"
)
def softmax_with_soft_labels(rng):
    Y = np.array([[0.8, 0.2, 0], [0, 1.0, 0], [0, 0, 1.0]])
    found, _ = free_features(SoftmaxCrossEntropy(), Y, 0.1, 2, starts=1)
    levels = softmax_levels((1, 1, 1), 0.1, 3)
    yield abs(softmax_value((1, 1, 1), levels, 0.1) - found)


@chapter.violation(
    "thm-cross-entropy", "ass-branches", "two units for three classes: excess over the formula"
)
def softmax_without_units(rng):
    found, _ = free_features(SoftmaxCrossEntropy(), np.eye(3), 0.1, 2, units=2)
    yield found - softmax_value((1, 1, 1), softmax_levels((1, 1, 1), 0.1, 3), 0.1)


@chapter.violation(
    "thm-cross-entropy", "ass-beta", "no decay: longer outputs always cost less, no minimum is attained"
)
def softmax_without_decay(rng):
    yield 3 * float(softmax_level(4.0, 3) - softmax_level(9.0, 3))


@chapter.statement(
    "cor-two-classes",
    "two scalar problems against standard and parallel networks of three and four layers and free features",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "$\\sqrt{n_k}$ for $\\sqrt{n_k / 2}$": {"half": 1.0}},
)
def two_classes(rng, factor=1.0, half=0.5):
    for L in (2, 3):  # no sample in the second class
        value = by_class(lambda v: softmax_level(v, 2), (3,), factor * 0.4, L, np.sqrt(half), 20.0)
        Y = np.eye(2)[[0, 0, 0]]
        yield abs(free_features(SoftmaxCrossEntropy(), Y, 0.4, L, starts=3)[0] - value)
    counts = (4, 2)
    for L, beta, seeds in ((2, 0.5, (0,)), (3, 0.4, (4,)), (4, 0.3, (5,))):
        value = by_class(lambda v: softmax_level(v, 2), counts, factor * beta, L, np.sqrt(half), 20.0)
        yield abs(free_features(SoftmaxCrossEntropy(), one_hot_of(counts), beta, L, starts=3)[0] - value)
        X = random_whitened_rows(6, 7, 3)
        starts = [standard_network([7, *[6] * (L - 1), 2], activation="relu", seed=s) for s in seeds]
        runs = [
            train(
                s, X, one_hot_of(counts), beta, loss="cross-entropy", steps=250, progress=False
            ).objective[-1]
            for s in starts
        ]
        yield abs(min(runs) - value)


@chapter.violation("cor-two-classes", "ass-whitened-rows", "data diag(3, 1): the formula misses training")
def two_classes_without_whitening(rng):
    run = train(
        standard_network([2, 6, 2], activation="relu", seed=0),
        np.diag([3.0, 1]),
        np.eye(2),
        0.3,
        loss="cross-entropy",
        progress=False,
    )
    yield by_class(lambda v: softmax_level(v, 2), (1, 1), 0.3, 2, np.sqrt(0.5), 20.0) - run.objective[-1]


@chapter.violation(
    "cor-two-classes", "ass-softmax", "three classes of which the third has no sample, as two classes"
)
def two_classes_of_three(rng):
    Y = np.eye(3)[:2]
    yield (
        free_features(SoftmaxCrossEntropy(), Y, 0.3, 2, starts=1)[0]
        - by_class(lambda v: softmax_level(v, 2), (1, 1), 0.3, 2, np.sqrt(0.5), 20.0)
    )


@chapter.violation("cor-two-classes", "ass-branches", "one branch for two classes, three layers: excess")
def two_classes_without_branches(rng):
    yield (
        free_features(SoftmaxCrossEntropy(), np.eye(2), 0.05, 3, units=1)[0]
        - by_class(lambda v: softmax_level(v, 2), (1, 1), 0.05, 3, np.sqrt(0.5), 20.0)
    )


@chapter.violation("cor-two-classes", "ass-beta", "no decay: no minimum is attained")
def two_classes_without_decay(rng):
    yield float(softmax_level(4.0, 2) - softmax_level(9.0, 2))


@chapter.statement(
    "prop-linear-cross-entropy",
    "closed level and value against a convex solver with the nuclear norm, trained linear networks and their "
    "certificate",
    1e-6,
    {"the level of ReLU networks": {"power": 1}, "gauge of ReLU networks": {"relu": True}},
)
def linear_cross_entropy(rng, power=2, relu=False):
    for K, n0, beta in ((2, 2, 0.5), (3, 1, 0.2), (3, 2, 0.6), (4, 2, 0.3), (3, 2, 1.3)):
        c, n, Y = np.sqrt((K - 1) / K), n0 * K, one_hot_of([n0] * K)
        alpha = np.log(max(1.0, (K - 1) * (np.sqrt(n0) / (beta * c**power) - 1)))
        gauge = alpha * np.sqrt(n0) * (K - 1) / (c if relu else 1)
        value = n * softmax_level(alpha, K) + beta * gauge
        F = cp.Variable((n, K))
        loss = sum(cp.log_sum_exp(F[i]) - cp.sum(cp.multiply(F[i], Y[i])) for i in range(n))
        yield abs(cp.Problem(cp.Minimize(loss + beta * cp.normNuc(F))).solve(solver="CLARABEL") - value)
    X = random_whitened_rows(6, 7, rng)
    run = train(
        standard_network([7, 5, 3], activation="linear", seed=0),
        X,
        one_hot_of((2, 2, 2)),
        0.3,
        loss="cross-entropy",
        steps=300,
        progress=False,
    )
    alpha = np.log(2 * (np.sqrt(2) / (0.3 * (2 / 3) ** (power / 2)) - 1))
    gauge = 2 * alpha * np.sqrt(2) / (np.sqrt(2 / 3) if relu else 1)
    yield abs(run.objective[-1] - 6 * softmax_level(alpha, 3) - 0.3 * gauge)
    yield certify(run.module, X, one_hot_of((2, 2, 2)), 0.3, loss="cross-entropy").gap


def linear_balanced_value(K, n0, beta):
    alpha = np.log(max(1.0, (K - 1) * (np.sqrt(n0) * K / (beta * (K - 1)) - 1)))
    return n0 * K * float(softmax_level(alpha, K)) + beta * alpha * np.sqrt(n0) * (K - 1)


def linear_trained(X, Y, beta, width=5):
    run = train(
        standard_network([X.shape[1], width, Y.shape[1]], activation="linear", seed=0),
        X,
        Y,
        beta,
        loss="cross-entropy",
        steps=300,
        progress=False,
    )
    return run.objective[-1]


@chapter.violation(
    "prop-linear-cross-entropy", "ass-balanced-classes", "classes of 4, 1 and 1 samples: formula for 2, 2, 2"
)
def linear_unbalanced(rng):
    yield abs(linear_trained(np.eye(6), one_hot_of((4, 1, 1)), 0.3) - linear_balanced_value(3, 2, 0.3))


@chapter.violation(
    "prop-linear-cross-entropy", "ass-whitened-rows", "data diag(3, 1, 1): the formula misses training"
)
def linear_without_whitening(rng):
    yield abs(linear_trained(np.diag([3.0, 1, 1]), np.eye(3), 0.3) - linear_balanced_value(3, 1, 0.3))


@chapter.violation("prop-linear-cross-entropy", "ass-softmax", "labels (0.8, 0.2, 0) in one row")
def linear_soft_labels(rng):
    Y = np.array([[0.8, 0.2, 0], [0, 1.0, 0], [0, 0, 1.0]])
    yield abs(linear_trained(np.eye(3), Y, 0.2) - linear_balanced_value(3, 1, 0.2))


@chapter.violation("prop-linear-cross-entropy", "ass-width", "one hidden unit for three classes: excess")
def linear_without_width(rng):
    yield linear_trained(np.eye(3), np.eye(3), 0.2, 1) - linear_balanced_value(3, 1, 0.2)


@chapter.violation("prop-linear-cross-entropy", "ass-beta", "no decay: no minimum is attained")
def linear_without_decay(rng):
    yield 3 * float(softmax_level(4.0, 3) - softmax_level(9.0, 3))


# Depth ----------------------------------------------------------------------------------------------------------


def class_by_class(counts, beta, L):
    K = len(counts)
    return by_class(lambda v: softmax_level(v, K), counts, beta, L, np.sqrt((K - 1) / K), 40.0)


def one_chain(counts, beta, L):
    K = len(counts)
    return by_class(lambda v: softmax_level(v, K), [sum(counts)], beta, L, np.sqrt((K - 1) / K), 40.0)


@chapter.statement(
    "prop-class-bounds",
    "random, trained and constructed networks between the two bounds",
    1e-6,
    {
        "upper bound with $\\beta / 2$": {"upper": 0.5},
        "lower bound with $2 \\beta$": {"lower": 2.0},
    },
)
def class_bounds(rng, upper=1.0, lower=1.0):
    for counts in ((3, 2, 1), (2, 2, 2), (4, 2)):
        K, Y = len(counts), one_hot_of(counts)
        for L, beta in ((2, 0.4), (3, 0.3), (5, 0.2)):
            low = one_chain(counts, lower * beta, L)
            X = random_whitened_rows(len(Y), len(Y), rng)
            levels = [
                least(
                    level_cost(lambda v, K=K: softmax_level(v, K), n, np.sqrt((K - 1) / K), beta, L), 40.0
                )[1]
                for n in counts
            ]
            s = np.array(levels) * np.sqrt((K - 1) / K) * np.sqrt(counts)
            root = np.diag(s ** (1 / L))
            frame = Y / np.sqrt(counts)
            outer = (np.eye(K) - 1 / K) / np.sqrt((K - 1) / K)
            net = as_network([X.T @ frame @ root, *[root] * (L - 2), root @ outer], "relu")
            high = SoftmaxCrossEntropy().value(net.predict(X), Y) + beta * net.penalty
            yield abs(class_by_class(counts, upper * beta, L) - high)
            for _ in range(20):  # random chains of any size
                net = as_network(
                    [
                        rng.normal(size=s) * rng.uniform(0.1, 2)
                        for s in ((len(Y), 4), *[(4, 4)] * (L - 2), (4, K))
                    ],
                    "relu",
                )
                yield max(0.0, low - SoftmaxCrossEntropy().value(net.predict(X), Y) - beta * net.penalty)
            found = free_features(SoftmaxCrossEntropy(), Y, beta, L, starts=1)[0]
            yield max(0.0, low - found)
    for n, beta, L in ((3, 0.3, 2), (3, 0.2, 4)):  # the lower bound is tight for n samples of one class
        Y = np.eye(2)[np.zeros(n, int)]
        cost = level_cost(lambda v: softmax_level(v, 2), n, np.sqrt(0.5), lower * beta, L)
        yield abs(least(cost, 40.0)[0] - free_features(SoftmaxCrossEntropy(), Y, beta, L, starts=5)[0])


@chapter.violation("prop-class-bounds", "ass-whitened-rows", "data 4 I: trained below the lower bound")
def bounds_without_whitening(rng):
    run = train(
        standard_network([2, 6, 2], activation="relu", seed=0),
        4 * np.eye(2),
        np.eye(2),
        0.9,
        loss="cross-entropy",
        progress=False,
    )
    yield one_chain((1, 1), 0.9, 2) - run.objective[-1]


@chapter.violation(
    "prop-class-bounds",
    "ass-branches",
    "two branches for three classes, three layers: above the upper bound",
)
def bounds_without_branches(rng):
    yield free_features(SoftmaxCrossEntropy(), np.eye(3), 0.1, 3, units=2)[0] - class_by_class(
        (1, 1, 1), 0.1, 3
    )


@chapter.violation(
    "prop-class-bounds", "ass-softmax", "uniform label rows cost more than the upper bound allows"
)
def bounds_with_soft_labels(rng):
    Y = np.full((3, 3), 1 / 3)
    yield free_features(SoftmaxCrossEntropy(), Y, 0.1, 3, starts=2)[0] - class_by_class((1, 1, 1), 0.1, 3)


@chapter.violation("prop-class-bounds", "ass-beta", "no decay: the upper bound is not attained")
def bounds_without_decay(rng):
    yield 3 * float(softmax_level(4.0, 3) - softmax_level(9.0, 3))


def quarter_circle(K):
    theta = np.arange(K) * np.pi / 2 / (K - 1)
    A = np.array([np.cos(theta), np.sin(theta)]).T
    W = A.T / (1 - np.cos(theta[1]))
    return A, W - W.mean(axis=1, keepdims=True)


def pairs(q):
    A = np.array([[float(j in S) for j in range(q)] for S in combinations(range(q), 2)])
    return A, A.T - A.T.mean(axis=1, keepdims=True)


def code_gains(A, W):
    return np.linalg.norm(A, axis=0) * np.linalg.norm(W, axis=1)


def code_objective(A, W, n0, v, beta, L):
    """Objective of the parallel network of a code at scale v, by its weights."""
    X, Y = np.eye(n0 * len(A)), one_hot_of([n0] * len(A))
    branches = []
    for a, w in zip(np.repeat(A, n0, axis=0).T, W, strict=True):
        r = (v * np.linalg.norm(a) * np.linalg.norm(w)) ** (1 / L)
        branches.append(
            (
                r * a[:, None] / np.linalg.norm(a),
                *[np.full((1, 1), r)] * (L - 2),
                r * w[None] / np.linalg.norm(w),
            )
        )
    net = Network(tuple(branches), "relu")
    return SoftmaxCrossEntropy().value(net.predict(X), Y) + beta * net.penalty


@chapter.statement(
    "prop-shared-classes",
    "networks built from codes, evaluated by their weights, against the class-by-class value; margins and gains "
    "against the formulas",
    1e-9,
    {
        "the quarter circle from three layers on": {"depth": 3},
        "pairs of five units at $L = 3$": {"small": True},
    },
)
def shared_classes(rng, depth=7, small=False):
    for K in (3, 4, 5, 8, 30):
        A, W = quarter_circle(K)
        M = A @ W
        margin = np.diag(M)[:, None] - M + 9 * np.eye(K)
        yield max(0.0, 1 - margin.min())
        delta = np.pi / 2 / (K - 1)
        C = (1 + 1 / np.tan(delta / 2)) / 2
        gain = np.sqrt(K / 2) * np.sqrt(K / 2 - C**2 / K) / (1 - np.cos(delta))
        yield np.abs(code_gains(A, W) / gain - 1).max()
        for L in (depth, depth + 2):
            yield max(0.0, 2 * gain ** (2 / L) / (K * ((K - 1) / K) ** (1 / L)) - 1)
            for n0, fraction in ((1, 0.9), (2, 0.01)) if K < 6 else ():
                beta = fraction * group_constant(K, 1, L) * n0 ** (1 - 1 / L)
                value, v = least(
                    level_cost(lambda v, K=K: softmax_level(v, K), n0, np.sqrt((K - 1) / K), beta, L), 40.0
                )
                saving = (
                    beta
                    * L
                    / 2
                    * (np.sqrt(n0) * v) ** (2 / L)
                    * (K * ((K - 1) / K) ** (1 / L) - np.sum(code_gains(A, W) ** (2 / L)))
                )
                yield max(0.0, code_objective(A, W, n0, v, beta, L) - (K * value - saving))
    for L, q in ((3, 5 if small else 8), (4, 5), (5, 4), (6, 4), (3, 12)):
        A, W = pairs(q)
        M, K = A @ W, len(A)
        yield max(0.0, 1 - (np.diag(M)[:, None] - M + 9 * np.eye(K)).min())
        ratio = np.sum(code_gains(A, W) ** (2 / L)) / (K * ((K - 1) / K) ** (1 / L))
        yield abs(ratio - 2 * (q - 1) ** (3 / L - 1) * (q + 1) ** (-1 / L))
        yield max(0.0, ratio - 1)
    yield abs(2 * 6 ** (3 / 3 - 1) * 8 ** (-1 / 3) - 1)  # a tie at q = 7, L = 3


@chapter.violation(
    "prop-shared-classes",
    "ass-balanced-classes",
    "classes of 10000, 1 and 1 samples, $L = 7$: excess of the quarter circle",
)
def shared_with_unequal_classes(rng):
    counts, beta, L = np.array([10000, 1, 1]), 0.05, 7
    (A, W), v = quarter_circle(3), np.linspace(0.01, 30, 3000)
    gains = np.linalg.norm(np.sqrt(counts)[:, None] * A, axis=0) * np.linalg.norm(W, axis=1)
    M = A @ W
    loss = sum(n * np.log(np.exp(v[:, None] * (M[k] - M[k, k])).sum(axis=1)) for k, n in enumerate(counts))
    yield np.min(loss + beta * L / 2 * np.sum((v[:, None] * gains) ** (2 / L), axis=1)) - class_by_class(
        counts, beta, L
    )


@chapter.violation(
    "prop-shared-classes",
    "ass-softmax",
    "squared loss: the best scale of the quarter circle is worse than one branch for each class",
)
def shared_with_squared_loss(rng):
    (A, W), beta, L, t = quarter_circle(3), 0.01, 7, np.linspace(0, 1, 2001)
    M = A @ W
    loss = [0.5 * np.sum((s * M - np.eye(3)) ** 2) for s in t]
    yield np.min(loss + beta * L / 2 * np.sum(code_gains(A, W) ** (2 / L)) * t ** (2 / L)) - 3 * float(
        depth_prox_value(1.0, beta, L)
    )


@chapter.violation(
    "prop-shared-classes", "ass-whitened-rows", "three equal samples: the code cannot be produced, excess"
)
def shared_without_whitening(rng):
    # With X = (1, 1, 1)^T all outputs are equal, and the loss is at least 3 log 3.
    yield 3 * np.log(3) - class_by_class((1, 1, 1), 1e-3, 7)


def group_constant(K, k, L):
    """Largest beta n0^(1/L - 1) at which one branch for k of K classes is worth its price."""
    c = np.sqrt((K - k) / K)
    v = np.linspace(1e-3, 60, 60001)

    def worth(v):
        return k * (np.log(K) - np.log(k + (K - k) * np.exp(-v))) / (L / 2 * (k * c * v) ** (2 / L))

    i = int(np.argmax(worth(v)))
    found = minimize_scalar(
        lambda u: -worth(u),
        bounds=(v[max(i - 1, 0)], v[min(i + 1, len(v) - 1)]),
        method="bounded",
        options={"xatol": 1e-13},
    )
    return max(float(worth(v[i])), -float(found.fun)) if i else k * c / k


@chapter.statement(
    "prop-groups",
    "the price of a group of classes against the objective of its branch, by its weights, on both sides of the "
    "switching point",
    1e-9,
    {
        "power $1 - 2/L$ of $n_0$": {"power": 2.0},
        "the gain of one class": {"single": True},
        "eight classes at $L = 3$": {"few": True},
    },
)
def groups(rng, power=1.0, single=False, few=False):
    v = np.linspace(1e-3, 40, 2000)
    for K, k, L, n0 in ((9, 2, 3, 1), (6, 2, 5, 2), (10, 3, 4, 3), (3, 1, 3, 2)):
        limit = group_constant(K, 1 if single else k, L) * n0 ** (1 - power / L)
        w = np.r_[np.ones(k), np.zeros(K - k)] - k / K
        A, W = np.r_[np.ones(k), np.zeros(K - k)][:, None], w[None]
        for beta, on in ((limit * (1 - 1e-3), True), (limit * (1 + 1e-3), False)):
            best = min(code_objective(A, W, n0, u, beta, L) for u in v[::20])
            u = v[::20][int(np.argmin([code_objective(A, W, n0, u, beta, L) for u in v[::20]]))]
            best = min(
                best,
                *(
                    code_objective(A, W, n0, u + d, beta, L)
                    for d in np.linspace(-0.3, 0.3, 31)
                    if u + d > 0
                ),
            )
            zero = n0 * K * np.log(K)
            yield max(0.0, best - zero) if on else max(0.0, zero - best)
    for K, L in ((8 if few else 9, 3), (7, 4), (6, 5), (5, 8)):
        yield max(0.0, group_constant(K, 1, L) / group_constant(K, 2, L) - 1)
    for L in (3, 4, 6):  # the explicit number of classes in the proof
        K = int(np.exp(np.log(3) / (1 - 2 ** (2 / L - 1)))) + 1
        yield max(0.0, group_constant(K, 1, L) / group_constant(K, 2, L) - 1)


@chapter.violation(
    "prop-groups",
    "ass-softmax",
    "squared loss, nine classes, $L = 3$: a pair is on no earlier than one class",
)
def groups_with_squared_loss(rng):
    s, limit = np.linspace(1e-3, 2, 4000)[:, None, None], []
    for k in (1, 2):
        h = np.r_[np.ones(k), np.zeros(9 - k)] / np.sqrt(k)
        loss = 0.5 * np.sum((s * np.outer(h, h) - np.eye(9)) ** 2, axis=(1, 2))
        limit.append(np.max((4.5 - loss) / (1.5 * s[:, 0, 0] ** (2 / 3))))
    yield group_constant(9, 2, 3) / group_constant(9, 1, 3) - limit[1] / limit[0]


@chapter.violation(
    "prop-groups",
    "ass-balanced-classes",
    "nine classes, the first of 50 samples, $L = 3$: it is on before any pair",
)
def groups_with_unequal_classes(rng):
    counts, L, v = np.r_[50, np.ones(8, int)], 3, np.linspace(0.01, 60, 6000)

    def limit(S):
        k = len(S)
        worth = counts[S].sum() * (np.log(9) - np.log(k + (9 - k) * np.exp(-v)))
        return np.max(
            worth / (L / 2 * (np.sqrt(counts[S].sum()) * np.sqrt(k * (9 - k) / 9) * v) ** (2 / L))
        )

    yield max(0.0, limit([0]) - max(limit([0, 1]), limit([1, 2])))


@chapter.violation(
    "prop-groups",
    "ass-whitened-rows",
    "nine equal samples: no network is better than zero, the formula promises more",
)
def groups_without_whitening(rng):
    beta, A = 0.5 * group_constant(9, 1, 3), np.r_[1.0, np.zeros(8)][:, None]
    yield 9 * np.log(9) - min(
        code_objective(A, A.T - 1 / 9, 1, v, beta, 3) for v in np.linspace(0.1, 15, 300)
    )
