"""Checks of the chapter "Weight decay in disguise"."""

import itertools

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import minimize, minimize_scalar

from dualkit import Network, as_network, balance
from dualkit.training import parallel_network
from dualkit.training import train as train_module
from ledger import Chapter

chapter = Chapter("weight_decay")

# Activation and its derivative; the value at zero is the one that automatic differentiation takes.
UNITS = {
    "linear": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


def random_chain(rng, *widths):
    return [rng.normal(size=shape) for shape in zip(widths[:-1], widths[1:], strict=True)]


def forward(weights, X, activation):
    """Inputs of every layer, A_0 = X, A_1, ..., A_{L-1}, and the pre-activations."""
    A, Z = [X], []
    for W in weights[:-1]:
        Z.append(A[-1] @ W)
        A.append(UNITS[activation][0](Z[-1]))
    return A, Z


def predict(weights, X, activation):
    return forward(weights, X, activation)[0][-1] @ weights[-1]


def loss_gradients(weights, X, Y, activation):
    """Squared loss and its gradients with respect to the layers, by backpropagation."""
    A, Z = forward(weights, X, activation)
    back = A[-1] @ weights[-1] - Y
    loss, gradients = 0.5 * np.sum(back**2), [A[-1].T @ back]
    for k in reversed(range(len(weights) - 1)):
        back = (back @ weights[k + 1].T) * UNITS[activation][1](Z[k])
        gradients.insert(0, A[k].T @ back)
    return loss, gradients


def flat(weights):
    return np.concatenate([W.ravel() for W in weights])


def unflat(theta, like):
    cuts = np.cumsum([W.size for W in like])[:-1]
    return [part.reshape(W.shape) for part, W in zip(np.split(theta, cuts), like, strict=True)]


def clusters(rng):
    """Eight samples in two opposite clusters: their ReLU units come to rest away from the kink."""
    signs = np.repeat([1.0, -1.0], 4)[:, None]
    Y = np.where(signs > 0, [2.0, 0.0, -1.0], [0.0, 2.0, 1.0])
    return signs * (1 + 0.3 * rng.normal(size=(8, 3))), Y + 0.3 * rng.normal(size=(8, 3))


def train(widths, X, Y, beta, activation, rng, starts=20):
    """Weights at a non-zero point of vanishing gradient, by quasi-Newton runs from random starts.

    At the kinks of ReLU such a run can stall with a gradient that is not small; then the next start is tried.
    """
    like = random_chain(rng, *widths)

    def objective(theta):
        loss, gradients = loss_gradients(unflat(theta, like), X, Y, activation)
        return loss + 0.5 * beta * theta @ theta, flat(gradients) + beta * theta

    for _ in range(starts):
        theta = flat(random_chain(rng, *widths))
        for _ in range(2):
            theta = minimize(objective, theta, jac=True, method="L-BFGS-B",
                             options={"maxiter": 600, "ftol": 0.0, "gtol": 1e-12, "maxcor": 30}).x
        if np.abs(objective(theta)[1]).max() < 1e-7 and np.abs(theta).max() > 0.1:
            return unflat(theta, like)
    raise RuntimeError("no run came to rest at a non-zero point")


def gaps(weights, full=False, factor=1.0):
    """W_l^T W_l - W_{l+1} W_{l+1}^T of all neighbours, or its diagonal only."""
    differences = [A.T @ A - factor * B @ B.T for A, B in zip(weights, weights[1:], strict=False)]
    return differences if full else [np.diag(D) for D in differences]


def imbalance(weights, **options):
    """The largest entry of those differences against the squared length of all weights."""
    return max(np.abs(D).max() for D in gaps(weights, **options)) / sum(np.sum(W**2) for W in weights)


@chapter.statement(
    "lem-rescaling",
    "least weight decay over all rescalings, numerically, against $\\sum_j \\|u_j\\| \\|w_j\\|$",
    1e-8,
    {"half the sum of products": {"factor": 0.5}, "twice the sum": {"factor": 2.0}},
)
def rescaling(rng, factor=1.0):
    for activation in ("linear", "relu"):
        for d, m, K in ((1, 1, 1), (3, 4, 2), (5, 2, 3)):
            U, W = random_chain(rng, d, m, K)
            inner, outer = np.linalg.norm(U, axis=0), np.linalg.norm(W, axis=1)
            least = sum(
                minimize_scalar(
                    lambda t, a=a, b=b: 0.5 * (np.exp(2 * t) * a**2 + np.exp(-2 * t) * b**2),
                    options={"xtol": 1e-12},
                ).fun
                for a, b in zip(inner, outer, strict=True)
            )
            yield abs(least - factor * inner @ outer)
            network, X = Network(((U, W),), activation), rng.normal(size=(7, d))
            yield np.abs(balance(network).predict(X) - network.predict(X)).max()
            yield abs(balance(network).penalty - least)
            W1, W2 = balance(network).branches[0]
            yield np.abs(np.linalg.norm(W1, axis=0) - np.linalg.norm(W2, axis=1)).max()
            yield np.abs(W1 - U * np.sqrt(factor * outer / inner)).max()  # c_j of the lemma


@chapter.violation("lem-rescaling", "ass-homogeneous", "tanh units: the rescaled network computes another function")
def rescaling_without_homogeneity(rng):
    X, u, w, scale = rng.normal(size=(7, 3)), rng.normal(size=3), rng.normal(), 2.0
    yield np.abs(np.tanh(X @ (scale * u)) * (w / scale) - np.tanh(X @ u) * w).max()


@chapter.statement(
    "lem-rescaling-deep",
    "least weight decay over all rescalings of the layers, numerically, against $\\sum_j \\frac L2 s_j^{2/L}$; "
    "outputs against gain times $\\|X\\|_2$",
    1e-8,
    {
        "exponent $1/L$": {"power": 1.0},
        "factor $1/2$ instead of $L/2$": {"factor": 0.5},
        "outputs bounded by half the gain": {"bound": 0.5},
    },
)
def rescaling_deep(rng, power=2.0, factor=None, bound=1.0):
    for L, J in ((2, 3), (3, 1), (3, 4), (5, 2), (8, 1)):
        branches = [random_chain(rng, 3, *([2] * (L - 2)), 1, 2) for _ in range(J)]
        norms = np.array([[np.linalg.norm(W) for W in branch] for branch in branches])
        gains, least = np.prod(norms, axis=1), 0.0
        for row in norms:  # c_l = exp(t_l), sum of the t_l zero

            def cost(t, row=row):
                t = np.append(t, -t.sum())
                squares = np.exp(2 * t) * row**2
                return 0.5 * squares.sum(), squares[:-1] - squares[-1]

            least += minimize(cost, np.zeros(L - 1), jac=True, method="BFGS", options={"gtol": 1e-10}).fun
        yield abs(least / ((L / 2 if factor is None else factor) * np.sum(gains ** (power / L))) - 1)
        for activation in ("linear", "relu"):
            X = rng.normal(size=(6, 3))
            for branch, row, gain in zip(branches, norms, gains, strict=True):
                balanced = [W * gain ** (1 / L) / size for W, size in zip(branch, row, strict=True)]
                F = predict(branch, X, activation)
                yield np.abs(predict(balanced, X, activation) - F).max()
                yield max(0.0, np.linalg.norm(F) - bound * gain * np.linalg.norm(X, 2))
        # Aligned layers of rank one attain the bound; for X >= 0 the leading singular vectors are >= 0 too.
        P = np.abs(X)
        frames = [np.abs(np.linalg.svd(P)[2][0]), *(np.abs(rng.normal(size=W.shape[1])) for W in branches[0])]
        frames = [v / np.linalg.norm(v) for v in frames]
        aligned = [np.outer(a, b) for a, b in zip(frames, frames[1:], strict=False)]
        for activation in ("linear", "relu"):
            yield abs(np.linalg.norm(predict(aligned, P, activation)) / (bound * np.linalg.norm(P, 2)) - 1)


@chapter.violation("lem-rescaling-deep", "ass-homogeneous", "three tanh layers: change of the output")
def deep_rescaling_without_homogeneity(rng):
    weights, X = random_chain(rng, 3, 2, 1, 1), rng.normal(size=(6, 3))
    scaled = [c * W for c, W in zip((4.0, 0.5, 0.5), weights, strict=True)]
    yield np.abs(predict(scaled, X, "tanh") - predict(weights, X, "tanh")).max()


@chapter.statement(
    "prop-equal-norms",
    "networks trained from random starts: incoming against outgoing norms of all units; penalty against gain",
    1e-6,
    {
        "outgoing norm twice the incoming": {"factor": 0.25},
        "penalty without the factor $L$": {"half": True},
    },
)
def equal_norms(rng, factor=1.0, half=False):
    beta = 0.1
    for widths in ((3, 5, 3), (3, 4, 6, 3), (3, 4, 4, 4, 3)):
        L = len(widths) - 1
        for activation in ("linear", "relu"):
            weights = train(widths, *clusters(rng), beta, activation, rng)
            yield imbalance(weights, full=activation == "linear", factor=factor)
            gain = np.prod([np.linalg.norm(W) for W in weights])
            penalty = 0.5 * sum(np.sum(W**2) for W in weights)
            yield abs((0.5 if half else L / 2) * gain ** (2 / L) / penalty - 1)
    # A parallel network: two branches of three layers, trained by torch.
    start = parallel_network(3, 3, 3, branches=2, inner_width=2, activation="linear", seed=rng)
    network = as_network(train_module(start, *clusters(rng), beta, steps=600, progress=False).module)
    for branch in network.branches:
        if sum(np.sum(W**2) for W in branch) > 1e-2:  # switched on
            yield imbalance(branch, full=True, factor=factor)


@chapter.violation("prop-equal-norms", "ass-homogeneous", "a trained network of tanh units")
def equal_norms_without_homogeneity(rng):
    yield imbalance(train((3, 5, 3), *clusters(rng), 0.1, "tanh", rng))


@chapter.violation("prop-equal-norms", "ass-beta", "no weight decay: an exact fit of zero loss with unequal layers")
def equal_norms_without_decay(rng):
    X, Y = np.eye(3), rng.normal(size=(3, 3))
    weights = [4 * np.eye(3), Y / 4]
    yield imbalance(weights) if np.allclose(predict(weights, X, "relu"), Y) else 0.0


@chapter.violation("prop-equal-norms", "ass-optimal", "a network at its random start")
def equal_norms_without_optimality(rng):
    yield imbalance(random_chain(rng, 3, 4, 6, 3))


def gradient_flow(rng, widths, activation, beta, times, evaluations=4000):
    """A random start and the weights at the given times, integrated to high accuracy.

    A flow that slides along a kink of ReLU costs the integrator endless steps; then the next start is tried.
    """

    class Slides(Exception):
        pass

    while True:
        X, Y = clusters(rng)
        start, count = [0.6 * W for W in random_chain(rng, *widths)], itertools.count()

        def flow(t, theta, X=X / 2, Y=Y, start=start, count=count):
            if next(count) > evaluations:
                raise Slides
            return -flat(loss_gradients(unflat(theta, start), X, Y, activation)[1]) - beta * theta

        try:
            path = solve_ivp(flow, (0, times[-1]), flat(start), t_eval=times, method="DOP853", rtol=1e-7, atol=1e-9)
        except Slides:
            continue
        return start, [unflat(theta, start) for theta in path.y.T]


@chapter.statement(
    "prop-imbalance",
    "imbalance along numerically integrated gradient flow against $e^{-2 \\beta t}$ times its start",
    1e-6,
    {
        "decay $e^{-\\beta t}$": {"rate": 1.0},
        "decay $e^{-4 \\beta t}$": {"rate": 4.0},
        "the whole matrix also for ReLU": {"full": True},
    },
)
def imbalance_decays(rng, rate=2.0, full=False):
    times = np.array([0.2, 0.5])
    for widths in ((3, 4, 3), (3, 4, 3, 3)):
        for activation in ("linear", "relu"):
            for beta in (0.0, 0.4):
                start, path = gradient_flow(rng, widths, activation, beta, times)
                whole = full or activation == "linear"
                for t, weights in zip(times, path, strict=True):
                    pairs = zip(gaps(weights, whole), gaps(start, whole), strict=True)
                    yield max(np.abs(now - np.exp(-rate * beta * t) * before).max() for now, before in pairs)


@chapter.violation("prop-imbalance", "ass-homogeneous", "tanh units without decay: change of the imbalance")
def imbalance_without_homogeneity(rng):
    X, Y, start = rng.normal(size=(6, 3)), rng.normal(size=(6, 2)), random_chain(rng, 3, 4, 2)

    def flow(t, theta):
        return -flat(loss_gradients(unflat(theta, start), X, Y, "tanh")[1])

    end = unflat(solve_ivp(flow, (0, 2), flat(start), rtol=1e-6).y[:, -1], start)
    yield np.abs(gaps(end)[0] - gaps(start)[0]).max()


def sweep(squares, logs):
    """Balance hidden layer 1, then 2, ...; squares are the squared weights, logs those of the scales."""
    logs = [t.copy() for t in logs]
    for k in range(1, len(squares)):
        inner, outer = np.exp(-2 * logs[k - 1]) @ squares[k - 1], squares[k] @ np.exp(2 * logs[k + 1])
        logs[k] = np.log(outer / inner) / 4
    return logs


@chapter.statement(
    "prop-balance",
    "a general minimiser over the scales of all units against `balance`; contraction of one sweep against "
    "$\\cos^2(\\pi/L)$",
    1e-7,
    {
        "contraction $\\cos^4(\\pi/L)$": {"power": 4},
        "contraction $\\cos(\\pi/L)$": {"power": 1},
        "equal norms of the layers suffice": {"layers_only": True},
    },
)
def balancing(rng, power=2, layers_only=False):
    for widths in ((3, 4, 2), (2, 3, 4, 2), (3, 5, 2, 3, 2), (2, 3, 3, 3, 3, 3, 2)):
        L, weights = len(widths) - 1, random_chain(rng, *widths)
        squares, zero = [W**2 for W in weights], [np.zeros(m) for m in widths]

        def penalty(t, squares=squares, zero=zero):
            logs = [zero[0], *unflat(t, zero[1:-1]), zero[-1]]
            flows = [S * np.exp(2 * (b - a[:, None])) for S, a, b in zip(squares, logs, logs[1:], strict=False)]
            slopes = [A.sum(0) - B.sum(1) for A, B in zip(flows, flows[1:], strict=False)]
            return 0.5 * sum(S.sum() for S in flows), np.concatenate(slopes)

        best = minimize(penalty, flat(zero[1:-1]), jac=True, method="BFGS", options={"gtol": 1e-11})
        balanced = balance(Network((tuple(weights),), "relu"))
        gain = np.prod([np.linalg.norm(W) for W in weights])
        yield abs((L / 2 * gain ** (2 / L) if layers_only else balanced.penalty) / best.fun - 1)
        target = [S.copy() for S in zero]
        for _ in range(60 * L):
            target = sweep(squares, target)
        yield np.abs(flat(target[1:-1]) - best.x).max()
        for W, after, a, b in zip(weights, balanced.branches[0], target, target[1:], strict=False):
            yield np.abs(W * np.exp(b - a[:, None]) - after).max()
        if L == 2:
            continue
        layer = np.arange(1, L)
        weight = np.cos(np.pi / L) ** layer * np.sin(layer * np.pi / L)

        def distance(logs, target=target, weight=weight):
            errors = [np.abs(a - b).max() for a, b in zip(logs[1:-1], target[1:-1], strict=True)]
            return np.max(errors / weight)

        for size in (0.1, 3.0):
            start = [t + size * rng.normal(size=len(t)) for t in target]
            start[0], start[-1] = zero[0], zero[-1]
            yield max(0.0, distance(sweep(squares, start)) / distance(start) - np.cos(np.pi / L) ** power)
        start = [zero[0], *(t + w for t, w in zip(target[1:-1], weight, strict=True)), zero[-1]]
        yield abs(distance(sweep(squares, start)) / distance(start) - np.cos(np.pi / L) ** power)


@chapter.violation("prop-balance", "ass-homogeneous", "tanh units: the balanced network computes another function")
def balancing_without_homogeneity(rng):
    weights, X = random_chain(rng, 3, 4, 3, 2), rng.normal(size=(6, 3))
    balanced = balance(Network((tuple(weights),), "relu")).branches[0]
    yield np.abs(predict(balanced, X, "tanh") - predict(weights, X, "tanh")).max()
