"""Checks of the chapter "Optimal weights are extreme points".

The statements hold for any feature set, so each check runs over several: the ellipsoid of linear units, ReLU units
on whitened data, on data of rank one and on general data, and hinges with free biases. Networks are trained here by
scipy from random starts; dual problems and gauges are solved here by cvxpy from the definition of the set.
"""

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize

from dualkit import Network, certify, solve
from dualkit.arrangements import ReLUFeatures
from dualkit.data import random_whitened_rows
from dualkit.features import LinearFeatures
from dualkit.hinge import HingeFeatures
from dualkit.losses import get_loss
from dualkit.rank_one import RankOneFeatures
from dualkit.whitened import WhitenedReLUFeatures
from ledger import Chapter

chapter = Chapter("extreme_points")


def relu(z):
    return np.maximum(z, 0.0)


def identity(z):
    return z


def smooth_instance():
    """Eight points in the plane whose optimal ReLU units lie inside cells, so that training is smooth."""
    rng = np.random.default_rng(9)
    return rng.normal(size=(8, 2)), rng.normal(size=(8, 1)), 0.3


def instances(rng):
    """Yield (feature set, activation, X, Y, beta) for units without biases."""
    for n, d, K in ((4, 3, 2), (8, 4, 3), (6, 6, 1)):
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, K))
        yield LinearFeatures(X), identity, X, Y, 0.3 * np.linalg.norm(X.T @ Y, 2)
    X, Y = random_whitened_rows(5, 7, rng), rng.normal(size=(5, 1))
    yield WhitenedReLUFeatures(X), relu, X, Y, 0.3
    X = np.outer(rng.normal(size=6), [0.6, 0.8])
    yield RankOneFeatures(X), relu, X, rng.normal(size=(6, 1)), 0.2
    X, Y, beta = smooth_instance()
    yield ReLUFeatures(X), relu, X, Y, beta


def train(phi, X, Y, beta, width, rng, starts=4, bias=False):
    """Weights (W_1, W_2), or (W_1, b, W_2, c), of least objective over several quasi-Newton runs.

    Biases b of the hidden units and the output constant c are not penalised.
    """
    d, K = X.shape[1], Y.shape[1]
    sizes = np.cumsum([d * width, width * K, bias * width])

    def unpack(theta):
        W1, W2, b, c = np.split(theta, sizes)
        return W1.reshape(d, width), W2.reshape(width, K), b if bias else 0.0, c if bias else 0.0

    def objective(theta):
        W1, W2, b, c = unpack(theta)
        Z = X @ W1 + b
        A = phi(Z)
        R = A @ W2 + c - Y
        inner = R @ W2.T * ((Z > 0) if phi is relu else 1.0)
        gradient = np.concatenate([(X.T @ inner).ravel(), (A.T @ R).ravel()]) + beta * theta[: sizes[1]]
        if bias:
            gradient = np.concatenate([gradient, inner.sum(0), R.sum(0)])
        return 0.5 * np.sum(R**2) + 0.5 * beta * np.sum(theta[: sizes[1]] ** 2), gradient

    options = {"maxiter": 5000, "maxfun": 20000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-12}
    runs = [minimize(objective, rng.normal(size=sizes[2] + bias * K), jac=True, method="L-BFGS-B", options=options)
            for _ in range(starts)]
    W1, W2, b, c = unpack(min(runs, key=lambda run: run.fun).x)
    return (W1, b, W2, c) if bias else (W1, W2)


def objective(phi, X, Y, beta, W1, W2):
    return 0.5 * np.sum((phi(X @ W1) @ W2 - Y) ** 2) + 0.5 * beta * (np.sum(W1**2) + np.sum(W2**2))


def dual_value(H, phi, X, Y, bound, tolerance=1e-8):
    """Least distance of Y from {support <= bound} and its minimiser, by cvxpy, as half |Y|^2 minus half |Y - L|^2.

    Where the set has a conic description that is used; general ReLU units are cutting planes, one feature a time.
    """
    Lambda = cp.Variable(Y.shape)
    value = cp.Maximize(0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda))
    if phi is identity:
        constraints = [cp.sigma_max(X.T @ Lambda) <= bound]
    elif isinstance(H, WhitenedReLUFeatures):
        constraints = [cp.norm(cp.pos(Lambda)) <= bound, cp.norm(cp.neg(Lambda)) <= bound]
    elif isinstance(H, RankOneFeatures):
        rays = relu(X @ np.array([[0.6, -0.6], [0.8, -0.8]]))
        constraints = [cp.abs(rays.T @ Lambda) <= bound]
    else:
        picked, current = [], Y
        for _ in range(60):
            picked.append(H.support(current).feature)
            constraints = [cp.abs(np.array(picked) @ Lambda) <= bound]
            cp.Problem(value, constraints).solve(solver="CLARABEL")
            current = Lambda.value
            if H.support(current).value <= bound * (1 + tolerance):
                break
    result = cp.Problem(value, constraints).solve(solver="CLARABEL")
    return result, Lambda.value


def double_well_gap(beta=0.5):
    """Primal minus dual for the non-convex loss (f^2 - 1)^2 on one sample, by a fine grid."""
    f = np.linspace(-3, 3, 6001)
    loss = (f**2 - 1) ** 2
    dual = max(np.min(loss + z * f) for z in np.linspace(-beta, beta, 401))
    return np.min(loss + beta * np.abs(f)) - dual


def square_units(beta=1.0, y=10.0):
    """Least objective of one sample x = 1 with units u^2 w, by a fine grid, and the claimed dual value."""
    u, w = np.meshgrid(np.linspace(0, 4, 401), np.linspace(0, 4, 401))
    least = np.min(0.5 * (u**2 * w - y) ** 2 + beta / 2 * (u**2 + w**2))
    return least, 0.5 * y**2 - 0.5 * (y - beta) ** 2  # H = [0, 1], so support(lam) = |lam|


def free_bias(bias, beta=1.0):
    """Best objective and output weight for one sample x = 0, y = 1, unit (u x + b)_+ with a free bias b = bias."""
    w = bias / (bias**2 + beta)
    return 0.5 * (bias * w - 1) ** 2 + 0.5 * beta * w**2, w


def one_unit(rng):
    X, Y, beta = np.eye(2), np.diag([3.0, 2.0]), 1.0
    return X, Y, beta, train(identity, X, Y, beta, 1, rng)


def flat_hinges(rng):
    """Samples x and convex labels (0, 0, p, q) whose optimum has one hinge between two samples."""
    p = rng.uniform(0.8, 1.2)
    return np.arange(4.0), np.array([0.0, 0.0, p, p * rng.uniform(2.7, 3.3)]), 0.1


def hinge_dual(x, y, beta, centred=True):
    """Dual value and optimum for hinges with kinks at the data, the constraint sum = 0 included or not."""
    lam = cp.Variable(len(y))
    hinges = np.hstack([relu(x[:, None] - x), relu(x - x[:, None])])
    constraints = [cp.abs(hinges.T @ lam) <= beta] + ([cp.sum(lam) == 0] if centred else [])
    value = cp.Maximize(y @ lam - 0.5 * cp.sum_squares(lam))
    return cp.Problem(value, constraints).solve(solver="CLARABEL"), lam.value


@chapter.statement(
    "lem-gauge-form",
    "weight decay of trained networks against the gauge of their outputs, by a formula and by convex duality",
    1e-6,
    {"half the gauge": {"factor": 0.5}, "gauge squared": {"power": 2}},
)
def gauge_form(rng, factor=1.0, power=1):
    for H, phi, X, Y, beta in instances(rng):
        n, K = Y.shape
        values = []
        for width in (n * K, 2 * n * K + 3):
            W1, W2 = train(phi, X, Y, beta, width, rng)
            F = phi(X @ W1) @ W2
            gauge = factor * H.gauge(F) ** power
            yield abs(0.5 * (np.sum(W1**2) + np.sum(W2**2)) / gauge - 1)  # an optimal network: equality
            values.append(objective(phi, X, Y, beta, W1, W2))
            W1, W2 = W1 + 0.3 * rng.normal(size=W1.shape), W2 + 0.3 * rng.normal(size=W2.shape)
            if phi is identity:  # any network: inequality
                decay = 0.5 * (np.sum(W1**2) + np.sum(W2**2))
                yield max(0.0, factor * H.gauge(phi(X @ W1) @ W2) ** power / decay - 1)
        yield abs(values[0] / values[1] - 1)  # n K units are enough
        Lambda = cp.Variable(F.shape)
        if phi is identity:
            limits = [cp.sigma_max(X.T @ Lambda) <= 1]
        elif isinstance(H, WhitenedReLUFeatures):
            limits = [cp.norm(cp.pos(Lambda)) <= 1, cp.norm(cp.neg(Lambda)) <= 1]
        elif isinstance(H, RankOneFeatures):
            limits = [cp.abs(relu(X @ np.array([[0.6, -0.6], [0.8, -0.8]])).T @ Lambda) <= 1]
        else:
            continue
        value = cp.Problem(cp.Maximize(cp.sum(cp.multiply(F, Lambda))), limits).solve(solver="CLARABEL")
        yield abs(value / gauge - 1)


@chapter.violation(
    "lem-gauge-form", "ass-homogeneous",
    "units $u^2 w$ on one sample: gauge 1 minus least weight decay",
)
def gauge_without_homogeneity(rng):
    w = np.linspace(0.2, 2, 2001)
    yield 1 - np.min(0.5 * (1 / w + w**2))


@chapter.violation(
    "lem-gauge-form", "ass-compact",
    "free bias, $x = 0$: weight decay of $f = 1$ for $b = 3$; the gauge is 0",
)
def gauge_without_compactness(rng):
    yield 0.5 / 3.0**2


@chapter.violation(
    "lem-gauge-form", "ass-units",
    "one unit for outputs of rank two: distance to the nearest it computes",
)
def gauge_without_units(rng):
    yield np.linalg.svd(rng.normal(size=(3, 2)), compute_uv=False)[1]


@chapter.statement(
    "thm-duality",
    "trained networks against the dual by a general convex solver, for five feature sets and two losses",
    1e-6,
    {"dual constraint at $2 \\beta$": {"bound": 2.0}, "dual constraint at $\\beta / 2$": {"bound": 0.5}},
)
def duality(rng, bound=1.0):
    for H, phi, X, Y, beta in instances(rng):
        W1, W2 = train(phi, X, Y, beta, Y.size, rng)
        primal = objective(phi, X, Y, beta, W1, W2)
        dual, Lambda = dual_value(H, phi, X, Y, bound * beta)
        yield abs(primal - dual) / primal
        yield 1e-3 * np.abs(Lambda - (Y - phi(X @ W1) @ W2)).max()  # a solver's point is less exact
    for _ in range(2):  # hinges, free biases
        x, y, beta = flat_hinges(rng)
        dual, _ = hinge_dual(x, y, bound * beta)
        W1, b, W2, c = train(relu, x[:, None], y[:, None], beta, 8, rng, bias=True)
        fit = relu(x[:, None] @ W1 + b) @ W2 + c
        yield abs(0.5 * np.sum((fit[:, 0] - y) ** 2) + 0.5 * beta * (np.sum(W1**2) + np.sum(W2**2)) - dual) / dual
    for n, d in ((5, 3), (9, 2)):  # logistic loss, labels +-1: conjugate by entropies
        X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], n)
        beta, w, p = 0.2 * np.linalg.norm(X.T @ y), cp.Variable(d), cp.Variable(n)
        primal = cp.Problem(cp.Minimize(cp.sum(cp.logistic(cp.multiply(-y, X @ w))) + beta * cp.norm(w))).solve()
        dual = cp.Problem(
            cp.Maximize(cp.sum(cp.entr(p) + cp.entr(1 - p))),
            [cp.norm(X.T @ cp.multiply(y, p)) <= bound * beta],
        ).solve()
        yield abs(primal - dual) / primal


@chapter.violation(
    "thm-duality", "ass-homogeneous",
    "units $u^2 w$ on one sample: claimed dual value minus least objective",
)
def duality_without_homogeneity(rng):
    least, dual = square_units()
    yield abs(least - dual)


@chapter.violation(
    "thm-duality", "ass-compact",
    "free bias, $x = 0$, no output constant: the objective falls from $b = 1$ to 10",
)
def duality_without_compactness(rng):
    yield free_bias(1.0)[0] - free_bias(10.0)[0]


@chapter.violation(
    "thm-duality", "ass-units",
    "one hidden unit for two outputs: trained objective minus dual value",
)
def duality_without_units(rng):
    X, Y, beta, (W1, W2) = one_unit(rng)
    yield objective(identity, X, Y, beta, W1, W2) - solve(X, Y, beta).certificate.dual


@chapter.violation("thm-duality", "ass-convex", "the loss $(f^2 - 1)^2$ on one sample: primal minus dual value")
def duality_without_convexity(rng):
    yield double_well_gap()


@chapter.violation("thm-duality", "ass-convex", "the unbounded loss $-3f$: its fall from $f = 0$ to $f = 1000$")
def duality_without_lower_bound(rng):
    yield 3 * 1000.0 - 1000.0


@chapter.violation(
    "thm-duality", "ass-beta", "logistic loss of one sample: the objective still falls from $f = 5$ to $f = 50$"
)
def duality_without_decay(rng):
    yield np.log1p(np.exp(-5.0)) - np.log1p(np.exp(-50.0))


@chapter.statement(
    "thm-extreme",
    "units of networks trained from random starts against the exposed features, and extreme units of equal cost",
    1e-5,
    {"output weights halved": {"output": 0.5}, "sign of the dual variable flipped": {"sign": -1.0},
     "one hinge split into its neighbours but one": {"ends": (0, 3)}},
)
def extreme_points(rng, output=1.0, sign=1.0, ends=(1, 2)):
    for H, phi, X, Y, beta in instances(rng):
        W1, W2 = train(phi, X, Y, beta, min(Y.size, 12), rng)
        Lambda = sign * (Y - phi(X @ W1) @ W2)
        yield abs(H.support(Lambda).value / beta - 1)
        gains = np.linalg.norm(W1, axis=0) * np.linalg.norm(W2, axis=1)
        for u, w, gain in zip(W1.T, W2, gains, strict=True):
            if gain > 1e-3 * gains.max():  # switched on
                image = Lambda.T @ phi(X @ u) / np.linalg.norm(u)
                yield abs(np.linalg.norm(image) / beta - 1)
                yield np.abs(output * w / np.linalg.norm(w) - image / beta).max()
                yield abs(np.linalg.norm(u) / np.linalg.norm(w) - 1)
    for _ in range(3):  # an optimal hinge that is not extreme, and its split into two that are
        x, y, beta = flat_hinges(rng)
        fit = solve(x[:, None], y, beta, activation="relu", bias=True).predict(x[:, None])[:, 0]
        slope = np.diff(fit)
        kink = 2 - slope[1] / slope[2]
        single, gain = slope[2] * relu(x - kink), slope[2]
        yield np.abs(single - (fit - fit[0])).max()
        share = (ends[1] - kink) / (ends[1] - ends[0])
        pair = gain * np.array([share, 1 - share])
        yield np.abs(relu(x[:, None] - np.array(ends)) @ pair - single).max()
        yield abs(pair.sum() - HingeFeatures(x).gauge(fit))
        yield abs(gain - HingeFeatures(x).gauge(fit))


@chapter.violation(
    "thm-extreme", "ass-optimal",
    "a random network: pull of the dual optimum on its units against $\\beta$",
)
def extreme_without_optimality(rng):
    X, Y, beta = np.diag([1.0, 0.5]), np.diag([3.0, 1.0]), 1.0
    Lambda, u = Y - solve(X, Y, beta).predict(X), rng.normal(size=2)
    yield abs(np.linalg.norm(Lambda.T @ (X @ u)) / np.linalg.norm(u) / beta - 1)


@chapter.violation(
    "thm-extreme", "ass-compact",
    "kinks in an open interval only: least distance of a unit from the ends",
)
def extreme_without_compactness(rng):
    # On x = 0, 1, 2, 3 a hinge with kink b in (1, 2) is the midpoint of two others, min(b - 1, 2 - b) away.
    y, kinks = np.array([0.0, 0.0, 1.0, 3.0]), np.linspace(1, 2, 101)[1:-1]
    optimal = [b for b in kinks if np.abs(2 * relu(np.arange(4) - b) - y).max() < 1e-9]
    yield min(min(b - 1, 2 - b) for b in optimal)


@chapter.violation(
    "thm-extreme", "ass-units",
    "the best network of one unit for two outputs: excess of the support",
)
def extreme_without_units(rng):
    X, Y, _, (W1, W2) = one_unit(rng)
    yield LinearFeatures(X).support(Y - X @ W1 @ W2).value - 1


@chapter.violation("thm-extreme", "ass-beta", "no decay: an optimal unit whose two weight vectors differ in length")
def extreme_without_decay(rng):
    u, w = np.array([[4.0]]), np.array([[0.5]])  # f = 2 = y on the sample x = 1
    yield abs(np.linalg.norm(u) / np.linalg.norm(w) - 1) if u @ w == 2.0 else 0.0


@chapter.violation(
    "thm-extreme", "ass-convex",
    "the loss $(f^2 - 1)^2$: support of the dual optimum below $\\beta$",
)
def extreme_without_convexity(rng):
    f, beta = np.linspace(-3, 3, 6001), 0.5
    candidates = np.linspace(-beta, beta, 401)
    dual = [np.min((f**2 - 1) ** 2 + z * f) for z in candidates]
    yield 1 - abs(candidates[np.argmax(dual)]) / beta


@chapter.violation(
    "thm-extreme", "ass-homogeneous",
    "units $u^2 w$ on one sample: lengths of the optimal unit differ",
)
def extreme_without_homogeneity(rng):
    u, w = np.meshgrid(np.linspace(0, 4, 401), np.linspace(0, 4, 401))
    best = np.argmin(0.5 * (u**2 * w - 10) ** 2 + 0.5 * (u**2 + w**2))
    yield abs(u.flat[best] / w.flat[best] - 1)


@chapter.statement(
    "cor-certificate",
    "certified lower bound minus the optimal value (must not be positive), and the gap at optimal networks",
    1e-8,
    {"residual scaled to $2 \\beta$": {"bound": 2.0}, "residual not scaled at all": {"bound": np.inf}},
)
def certificate(rng, bound=1.0):
    for H, phi, X, Y, beta in instances(rng):
        W1, W2 = train(phi, X, Y, beta, Y.size, rng)
        optimum = objective(phi, X, Y, beta, W1, W2)
        activation = "linear" if phi is identity else "relu"
        if phi is identity or isinstance(H, RankOneFeatures):  # smooth: training is exact
            yield certify([W1, W2], X, Y, beta, activation=activation).relative_gap
        for size in (0.0, 0.03, 1.0):
            U, V = W1 + size * rng.normal(size=W1.shape), W2 + size * rng.normal(size=W2.shape)
            R = Y - phi(X @ U) @ V
            scale = min(1.0, bound * beta / H.support(R).value)
            yield max(0.0, 0.5 * np.sum(Y**2) - 0.5 * np.sum((Y - scale * R) ** 2) - optimum) / optimum
            ours = certify([U, V], X, Y, beta, activation=activation)
            yield max(0.0, ours.dual - optimum) / optimum
            yield abs(ours.primal - objective(phi, X, Y, beta, U, V)) / optimum


@chapter.violation(
    "cor-certificate", "ass-homogeneous",
    "units $u^2 w$: the claimed bound minus the best objective",
)
def certificate_without_homogeneity(rng):
    least, dual = square_units()
    yield max(0.0, dual - least)


@chapter.violation(
    "cor-certificate", "ass-convex", "the loss $(f^2 - 1)^2$ on one sample: the gap stays open at the optimum"
)
def certificate_without_convexity(rng):
    yield double_well_gap()


@chapter.violation(
    "cor-certificate", "ass-units",
    "the best network of one unit for two outputs: its gap stays open",
)
def certificate_without_units(rng):
    X, Y, beta, weights = one_unit(rng)
    yield certify(list(weights), X, Y, beta).gap


@chapter.violation("cor-certificate", "ass-optimal", "the zero network where it is not optimal: its gap")
def certificate_without_optimality(rng):
    yield certify([np.zeros((2, 1)), np.zeros((1, 2))], np.eye(2), np.diag([3.0, 2.0]), 1.0).gap


@chapter.statement(
    "prop-free-bias",
    "networks trained with free biases against the dual with $\\Lambda^\\T 1 = 0$, and supports by brute force",
    1e-6,
    {"constraint $\\Lambda^\\T 1 = 0$ dropped": {"centred": False}, "$\\beta$ doubled in the dual": {"bound": 2.0}},
)
def free_biases(rng, centred=True, bound=1.0):
    for _ in range(2):  # hinges
        x, y, beta = flat_hinges(rng)
        y = y + 2.0  # a mean that the output constant has to carry
        dual, _ = hinge_dual(x, y, bound * beta, centred)
        W1, b, W2, c = train(relu, x[:, None], y[:, None], beta, 8, rng, bias=True)
        fit = relu(x[:, None] @ W1 + b) @ W2 + c
        yield abs(0.5 * np.sum((fit[:, 0] - y) ** 2) + 0.5 * beta * (np.sum(W1**2) + np.sum(W2**2)) - dual) / dual
        yield abs(np.sum(fit[:, 0] - y))
    for n, d, K in ((6, 2, 2), (5, 3, 1)):  # linear units
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, K)) + 1.0
        beta = 0.3 * np.linalg.norm((X - X.mean(0)).T @ Y, 2)
        W1, b, W2, c = train(identity, X, Y, beta, n * K, rng, bias=True)
        R = Y - (X @ W1 + b) @ W2 - c
        primal = 0.5 * np.sum(R**2) + 0.5 * beta * (np.sum(W1**2) + np.sum(W2**2))
        Lambda = cp.Variable((n, K))
        limits = [cp.sigma_max(X.T @ Lambda) <= bound * beta] + ([cp.sum(Lambda, axis=0) == 0] if centred else [])
        value = cp.Maximize(0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda))
        yield abs(cp.Problem(value, limits).solve(solver="CLARABEL") / primal - 1)
        yield np.abs(R.sum(0)).max()
        gains = np.linalg.norm(W1, axis=0) * np.linalg.norm(W2, axis=1)
        for u, b_j, w in zip(W1.T, b, W2, strict=True):  # part 2: the units are the exposed features
            if np.linalg.norm(u) * np.linalg.norm(w) > 0.1 * gains.max():
                pull = R.T @ (X @ u + b_j) / np.linalg.norm(u)
                yield np.abs(w / np.linalg.norm(w) - pull / (bound * beta)).max()
    x, Lambda = np.sort(rng.normal(size=7)), rng.normal(size=(7, 2))  # part 1: brute force over kinks
    Lambda -= Lambda.mean(0)
    kinks = np.concatenate([x, np.linspace(-50, 50, 20001)])
    pulls = [np.linalg.norm(relu(s * (x - kinks[:, None])) @ Lambda, axis=1).max() for s in (1, -1)]
    yield abs(max(pulls) / HingeFeatures(x).support(Lambda).value - 1)
    logistic, y = get_loss("logistic"), np.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0])  # part 3
    F = rng.normal(size=7)
    best = minimize(lambda c: logistic.value(F + c, y), [0.0], jac=lambda c: [logistic.gradient(F + c, y).sum()],
                    options={"gtol": 1e-12})
    yield abs(logistic.dual_point(F + best.x, y).sum())


@chapter.violation(
    "prop-free-bias", "ass-homogeneous",
    "tanh units: support of a residual of mean one, claimed infinite",
)
def free_bias_without_homogeneity(rng):
    x, lam = np.arange(3.0), np.ones(3)
    b = np.linspace(-50, 50, 1001)
    yield 1.0 / np.max(np.abs(np.tanh(x + b[:, None]) @ lam))


@chapter.violation(
    "prop-free-bias", "ass-convex",
    "the loss $((f_2 - f_1)^2 - 1)^2$ on $x = 0, 1$: primal minus dual value",
)
def free_bias_without_convexity(rng):
    yield double_well_gap()  # f_2 - f_1 is the output of one centred hinge of gain |f_2 - f_1|


@chapter.violation(
    "prop-free-bias", "ass-beta",
    "no decay: an optimal unit whose two weight vectors differ in length",
)
def free_bias_without_decay(rng):
    u, w = 4.0, 0.5  # f = u w x interpolates x = 0, 1 and y = 0, 2
    yield abs(u / w - 1) if u * w == 2.0 else 0.0


@chapter.violation("prop-free-bias", "ass-units", "one hinge for a zigzag: relative excess of its objective")
def free_bias_without_units(rng):
    x, y, beta = np.arange(5.0), np.array([0.0, 2.0, 0.0, 2.0, 0.0]), 0.1
    W1, b, W2, c = train(relu, x[:, None], y[:, None], beta, 1, rng, starts=8, bias=True)
    made = Network(((W1, W2),), "relu", (b,), c)
    yield certify(made, x[:, None], y, beta).primal / hinge_dual(x, y, beta)[0] - 1
