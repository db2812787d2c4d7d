"""Checks of the chapter "Batch normalisation and neural collapse"."""

from functools import cache

import cvxpy as cp
import numpy as np
import torch
from scipy.optimize import minimize

from dualkit import as_network, solve
from dualkit.batchnorm import BatchNormNetwork
from dualkit.measure import neural_collapse
from dualkit.training import batchnorm_network, train
from dualkit.whitened import WhitenedReLUFeatures, row_directions
from ledger import Chapter

chapter = Chapter("neural_collapse")


def centred(A):
    return A - A.mean(axis=0)


def classes(sizes):
    """One-hot labels of classes of these sizes."""
    return np.eye(len(sizes))[np.repeat(np.arange(len(sizes)), sizes)]


def data(n, d, seed):
    """Samples in general position, neither centred nor whitened."""
    return 2 + np.random.default_rng(seed).normal(size=(n, d))


def network(X, V, outer, depth=2, width=40):
    """A network with batch norm whose last scaled and shifted pre-activations are V; random layers below."""
    rng, below, A = np.random.default_rng(7), [], X
    for _ in range(depth - 2):
        below.append(rng.normal(size=(A.shape[1], width)))
        A = np.maximum(A @ below[-1], 0)
    w = np.linalg.lstsq(centred(A), centred(V), rcond=1e-12)[0]
    w[:, np.linalg.norm(centred(V), axis=0) < 1e-13] = 1.0  # gamma = 0 there, and any z will do
    return BatchNormNetwork((*below, w), np.linalg.norm(centred(V), axis=0), V.mean(axis=0) * len(X) ** 0.5, outer)


def optimum(X, Y, beta, depth=2, split=1):
    """The closed form of the theorem, each unit split into `split` with unequal gains."""
    y, V = row_directions(Y)
    sigma = np.linalg.norm(y, axis=0)
    s, share = np.maximum(sigma - beta, 0), np.arange(1, split + 1) / (split * (split + 1) / 2)
    root = np.sqrt(np.outer(s, share).ravel())
    units, outputs = np.repeat(y / sigma, split, axis=1), np.repeat(V, split, axis=0)
    return network(X, units * root, outputs * root[:, None], depth)


def value(sigma, beta):
    s = np.maximum(np.asarray(sigma) - beta, 0)
    return float(np.sum(0.5 * np.minimum(sigma, beta) ** 2 + beta * s))


def objective(net, X, Y, beta):
    return 0.5 * np.sum((net.predict(X) - Y) ** 2) + beta * net.penalty


@cache
def trained(sizes, depth, beta, seeds, d=12, steps=250, decay="last"):
    """Data, labels and the best network trained from the seeds; `decay` as for `train`."""
    X, Y = data(sum(sizes), d, 3), classes(sizes)
    return X, Y, best(X, Y, depth, beta, seeds, steps, decay)


def best(X, Y, depth, beta, seeds, steps=250, decay="last", m=7, eps=0.0):
    starts = [batchnorm_network([X.shape[1], *[16] * (depth - 2), m, Y.shape[1]], seed=s, eps=eps) for s in seeds]
    runs = [train(start, X, Y, beta, decay=decay, steps=steps, progress=False) for start in starts]
    return min(runs, key=lambda run: run.objective[-1])


@chapter.statement(
    "lem-batchnorm-whitens",
    "scaled and shifted pre-activations of torch's own batch norm against free vectors, with their price; random "
    "units against the ball",
    1e-8,
    {"shift $\\alpha \\mathbf 1$": {"unit": 1.0}, "$n \\le d$ for the rank": {"line": True}},
)
def whitening(rng, unit=None, line=False):
    for n, d, depth in ((2, 1, 2), (6, 5, 2), (6, 9, 2), (6, 2, 3)):
        X = np.outer(rng.normal(size=n), rng.normal(size=d)) if line and n <= d else 2 + rng.normal(size=(n, d))
        V = rng.normal(size=(n, 4))
        net = network(X, V, np.eye(4), depth)
        A = X
        for W in net.below[:-1]:
            A = np.maximum(A @ W, 0)
        b = torch.tensor(A @ net.below[-1])
        b = b / b.std(0)  # so that torch's eps, which must be positive, is negligible
        shift = net.alpha * (unit or n**-0.5)
        v = torch.nn.functional.batch_norm(b, None, None, torch.tensor(net.gamma * n**-0.5), torch.tensor(shift),
                                           training=True, eps=1e-15).numpy()
        yield np.abs(v - V).max()
        yield abs(net.gamma @ net.gamma + net.alpha @ net.alpha - np.sum(v**2))
        gamma, alpha, W = *rng.normal(size=(2, 50)), rng.normal(size=(d, 50))
        H = BatchNormNetwork((W,), gamma, alpha, np.zeros((50, 1))).hidden(X)
        yield max(0.0, np.max(np.sum(H**2, axis=0) / (gamma**2 + alpha**2)) - 1)


@chapter.violation("lem-batchnorm-whitens", "ass-reach", "three samples on a line, n <= d: distance to a feature")
def whitening_on_a_line(rng):
    X, h = np.outer([0.0, 1.0, 2.0], rng.normal(size=4)), np.array([0.0, 1.0, 0.0])
    yield np.abs(network(X, h[:, None], np.ones((1, 1))).hidden(X)[:, 0] - h).max()


@chapter.violation("lem-batchnorm-whitens", "ass-outer-decay", "decay on scale and last layer only: price - length")
def whitening_without_decay_of_the_shift(rng):
    net = network(data(4, 5, 1), np.abs(rng.normal(size=(4, 1))), np.ones((1, 1)))
    yield abs(net.gamma @ net.gamma - np.sum(net.hidden(data(4, 5, 1)) ** 2))


@chapter.statement(
    "prop-reach",
    "rank of wide random layers against the count of rays and lines",
    1e-6,
    {"one ray less is enough": {"spare": 2}, "three layers like four": {"hexagon": True}},
)
def reaching(rng, spare=1, hexagon=False):
    def reached(X, depth):
        A = np.hstack([np.maximum(X, 0), np.maximum(-X, 0)]) if depth > 3 else X
        A = np.maximum(A @ rng.normal(size=(A.shape[1], 300)), 0)
        return np.linalg.matrix_rank(np.column_stack([A, np.ones(len(A))]), tol=1e-8) == len(A)

    def rays(X):
        X = X[np.linalg.norm(X, axis=1) > 0]
        X = (X / np.linalg.norm(X, axis=1, keepdims=True)).round(9) + 0.0
        return len(np.unique(X, axis=0))

    angle = np.arange(6) * np.pi / 3
    corners = np.array([np.cos(angle), np.sin(angle)]).T
    X = rng.normal(size=(5, 2))
    zero = np.zeros((1, 2))
    for Z, lines in ((X, True), (np.vstack([X, zero]), True), (np.vstack([X, 2 * X[:1]]), True),
                     (np.vstack([X, -X[:1]]), True), (np.vstack([X, X[:1]]), True), (corners, hexagon),
                     (corners * np.array([[1.5], [1], [1], [1], [1], [1]]), True),
                     (np.vstack([X, 2 * X[:1], zero]), True), (np.array([[1.0], [-1.0], [2.0]]), True),
                     (np.vstack([X, 2 * X[:2]]), True)):
        different = len(np.unique(Z, axis=0)) == len(Z)
        predicted = different and rays(Z) >= len(Z) - spare
        yield float(reached(Z, 4) != predicted)
        yield float(reached(Z, 3) != (predicted and lines))
        yield float(reached(np.column_stack([Z, np.ones(len(Z))]), 3) != different)


def labels(kind):
    member, weight = np.arange(6) % 3, np.linspace(0.7, 1.6, 6)[:, None]
    if kind == "one-hot":
        return classes((3, 2, 1))
    if kind == "one output":
        return weight * np.where(member == 1, -1.0, 1.0)[:, None]
    return weight * (np.eye(3) - 1 / 3)[member]  # simplex


def mixing(net):
    """How much units serve several directions: the largest product of two entries of a row of W_L."""
    W = np.sort(np.abs(net.outer), axis=1)
    return float(np.max(W[:, -1] * W[:, -2]))


MIXED = np.array([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]])


def mixed_fit():
    """Three samples, Y = I_3: outputs Y with units that serve two classes each; optimal for beta = 0 only."""
    X = data(3, 4, 1)
    return X, np.eye(3), network(X, MIXED, np.linalg.inv(MIXED))


@cache
def free_shift():
    """Trained without decay on the shift, beta = 0.4."""
    def decay(module):
        return 0.5 * (module[-3].scale.square().sum() + module[-1].weight.square().sum())

    X, Y = data(6, 6, 1), classes((3, 3))
    return X, Y, best(X, Y, 2, 0.4, (0, 1), 100, decay)


@cache
def one_unit():
    """Trained with one unit for two classes, beta = 0.2."""
    X, Y = data(4, 3, 1), classes((2, 2))
    return X, Y, best(X, Y, 2, 0.2, (0, 1, 2), 100, m=1)


@cache
def on_a_line(beta):
    """Trained on three samples on a line, the one in the middle alone in its class."""
    X, Y = np.outer([-1.0, 0.0, 1.0], np.ones(4)), np.eye(2)[[0, 1, 0]]
    return X, Y, best(X, Y, 2, beta, (0, 1), 60)


@chapter.statement(
    "thm-batchnorm",
    "the value against trained networks of two to four layers and a dual point; built and split networks; labels "
    "in the affine span of samples on a line",
    1e-6,
    {"$\\beta$ doubled": {"factor": 2.0}, "$\\gamma_k$ and $\\alpha_k$ exchanged": {"exchange": True}},
)
def closed_form(rng, factor=1.0, exchange=False):
    for kind in ("one-hot", "one output", "simplex"):
        Y, beta = labels(kind), 0.4
        sigma = np.linalg.norm(row_directions(Y)[0], axis=0)
        P = value(sigma, factor * beta)
        for depth in (2, 3, 4):
            X = data(6, 5 if depth == 2 else 3, depth)
            net = optimum(X, Y, beta, depth, split=2)
            if exchange:
                net = BatchNormNetwork(net.below, net.alpha, net.gamma, net.outer)
            yield abs(objective(net, X, Y, beta) / P - 1)
            residual = Y - net.predict(X)
            yield max(0.0, WhitenedReLUFeatures(np.eye(6)).support_bounds(residual)[1] / beta - 1)
            random = batchnorm_network([X.shape[1], *[9] * (depth - 2), 5, Y.shape[1]], seed=depth)
            yield max(0.0, 1 - objective(as_network(random), X, Y, beta) / value(sigma, beta))
            solved = solve(data(6, 5, 1), Y, beta, depth=depth, activation="relu", batch_norm=True)
            yield abs(solved.objective / P - 1)
    for depth in (2, 3, 4):
        X, Y, run = trained((3, 2, 1), depth, 0.4, (0, 1), steps=200)
        yield abs(run.objective[-1] / value(np.sqrt([3, 2, 1]), factor * 0.4) - 1)
        yield mixing(as_network(run.module)) ** 2
    X = np.outer([0.0, 3.0, 3.0, 3.0], np.ones(5))  # part 4: rank 2 < 4, class one alone at 0
    Y = classes((1, 3))
    yield abs(objective(optimum(X, Y, 0.3), X, Y, 0.3) / value([1, 3**0.5], factor * 0.3) - 1)


@chapter.violation("thm-batchnorm", "ass-reach", "three samples on a line: relative excess of a trained network")
def without_reach(rng):
    yield on_a_line(0.3)[2].objective[-1] / value([2**0.5, 1.0], 0.3) - 1


@chapter.violation("thm-batchnorm", "ass-label-rows", "two rows at 60 degrees: the value minus a trained network")
def with_acute_rows(rng):
    X, Y = np.array([[1.0], [0.0]]), np.array([[1.0, 0.0], [0.5, 0.75**0.5]])
    yield value([1.0, 1.0], 0.2) / best(X, Y, 2, 0.2, (0, 1), 100).objective[-1] - 1


@chapter.violation("thm-batchnorm", "ass-label-frame", "mixed signs: shared units, product of their entries")
def with_shared_units(rng):
    Y, beta = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), 0.3
    a = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    H = np.array([[i == 1, i == -1, j == 1, j == -1] for i, j in a]).T * 0.5**0.5
    root = (1 - beta) ** 0.5
    net = network(data(4, 3, 1), root * H, root * a * 0.5**0.5)
    excess = abs(objective(net, data(4, 3, 1), Y, beta) - value(np.ones(4), beta))
    yield mixing(net) if excess < 1e-9 else 0.0


@chapter.violation("thm-batchnorm", "ass-branches", "one unit for two classes: relative excess")
def without_units(rng):
    yield one_unit()[2].objective[-1] / value([2**0.5] * 2, 0.2) - 1


@chapter.violation("thm-batchnorm", "ass-outer-decay", "no decay on the shift: value minus a trained network")
def without_decay_of_the_shift(rng):
    yield value(np.sqrt([3, 3]), 0.4) / free_shift()[2].objective[-1] - 1


@chapter.violation("thm-batchnorm", "ass-beta", "beta = 0: mixed units are optimal, product of their entries")
def without_beta(rng):
    X, Y, net = mixed_fit()
    yield mixing(net) if objective(net, X, Y, 0.0) < 1e-9 else 0.0


def measured(net, X, Y):
    return neural_collapse(net.hidden(X), Y.argmax(axis=1), net.outer)


def frame_residuals(net, X, Y, beta):
    """Parts 1 and 2 of the proposition for a network, from its features."""
    H, sizes = net.hidden(X), Y.sum(axis=0)
    M = (Y / sizes).T @ H
    s = np.maximum(np.sqrt(sizes) - beta, 0)
    yield np.abs(H - Y @ M).max()
    yield np.abs(M @ M.T - np.diag(s / sizes)).max()
    yield np.abs(net.outer.T - np.sqrt(sizes)[:, None] * M).max()


def usual_nc3(K):
    return (2 - 2 * ((K - 1) / K) ** 0.5) ** 0.5


@chapter.statement(
    "prop-frame",
    "measures of optimal networks, built and split, against the predicted frames; decisions on random points; equal"
    " lengths on both sides of the condition",
    1e-8,
    {"$W_L$ along the centred means": {"aligned": True}, "uncentred means form the simplex": {"simplex": True}},
)
def frames(rng, aligned=False, simplex=False):
    for sizes in ((2, 2), (3, 3, 3), (1, 1, 1, 1), (4, 2, 3)):
        Y, beta, K, n = classes(sizes), 0.4, len(sizes), sum(sizes)
        for depth, split in ((2, 1), (3, 2)):
            X = data(n, n, depth)
            net = optimum(X, Y, beta, depth, split)
            yield from frame_residuals(net, X, Y, beta)
            found = measured(net, X, Y)
            yield found.nc4
            if len(set(sizes)) > 1:
                continue
            yield found.nc2_centred
            M = (Y / Y.sum(axis=0)).T @ net.hidden(X)
            gram = M @ M.T / np.linalg.norm(M @ M.T)
            frame = np.eye(K) - 1 / K if simplex else np.eye(K)
            yield np.abs(gram - frame / np.linalg.norm(frame)).max()
            yield found.nc2_uncentred
            yield abs(found.nc3 - (0.0 if aligned else usual_nc3(K)))
            yield found.nc3_centred
            points = rng.normal(size=(200, net.outer.shape[0]))
            distance = np.linalg.norm(points[:, None] - M, axis=2)
            yield float(np.any(np.argmax(points @ net.outer, axis=1) != np.argmin(distance, axis=1)))
    for sizes, beta, equal in (((9, 4, 4), 1.2, True), ((9, 4, 4), 1.1, False)):
        X, Y = data(17, 17, 1), classes(sizes)
        found = measured(optimum(X, Y, beta), X, Y)
        yield float((found.nc2_uncentred < 1e-9) != equal) + float((found.nc2_centred < 1e-9) != equal)
    X, Y = data(6, 6, 1), classes((5, 1))  # two classes: always a simplex after centring
    yield measured(optimum(X, Y, 0.3), X, Y).nc2_centred


@chapter.violation("prop-frame", "ass-classes-on", "beta = 1.5, a class of two: distance from a frame")
def frame_with_a_class_off(rng):
    X, Y = data(8, 8, 1), classes((2, 3, 3))
    yield abs(measured(optimum(X, Y, 1.5), X, Y).nc2_uncentred)


@chapter.violation("prop-frame", "ass-balanced-classes", "sizes 4, 2, 3: centred means are no simplex")
def frame_of_unequal_classes(rng):
    X, Y = data(9, 9, 1), classes((4, 2, 3))
    yield measured(optimum(X, Y, 0.4), X, Y).nc2_centred


@chapter.violation("prop-frame", "ass-class-labels", "labels of a simplex: $W_L$ off the uncentred means")
def frame_of_other_labels(rng):
    X, Y = data(6, 6, 1), np.repeat(np.eye(3) - 1 / 3, 2, axis=0)
    net = optimum(X, Y, 0.2)
    M = net.hidden(X)[::2].T
    yield np.linalg.norm(net.outer / np.linalg.norm(net.outer) - M / np.linalg.norm(M))


@chapter.violation("prop-frame", "ass-reach", "samples on a line: spread of a class in the best trained network")
def frame_without_reach(rng):
    X, Y, run = on_a_line(0.3)
    yield np.abs(np.diff(as_network(run.module).hidden(X)[[0, 2]], axis=0)).max()


@chapter.violation("prop-frame", "ass-branches", "one unit for two classes: parts 1 and 2 of the trained network")
def frame_without_units(rng):
    X, Y, run = one_unit()
    yield max(frame_residuals(as_network(run.module), X, Y, 0.2))


@chapter.violation("prop-frame", "ass-outer-decay", "no decay on the shift: parts 1 and 2 of the trained network")
def frame_without_decay_of_the_shift(rng):
    X, Y, run = free_shift()
    yield max(frame_residuals(as_network(run.module), X, Y, 0.4))


@chapter.violation("prop-frame", "ass-beta", "beta = 0: an optimal network whose class means are not orthogonal")
def frame_without_beta(rng):
    X, Y, net = mixed_fit()
    yield max(frame_residuals(net, X, Y, 0.0))


def constant_network(d, m, K, seed):
    module = batchnorm_network([d, m, K], seed=seed)
    weight = module[-1].weight.detach()
    module[-1] = torch.nn.utils.skip_init(torch.nn.Linear, m, K, dtype=torch.float64)
    with torch.no_grad():
        module[-1].weight.copy_(weight)
        module[-1].bias.zero_()
    return module


def best_constant(X, Y, beta, m, seeds, steps=100):
    starts = [constant_network(X.shape[1], m, Y.shape[1], seed) for seed in seeds]
    runs = [train(start, X, Y, beta, decay="last", steps=steps, progress=False) for start in starts]
    return min(runs, key=lambda run: run.objective[-1])


@cache
def trained_constant(K, seeds):
    """Trained with a free output constant, K classes of two, beta = 0.5."""
    return best_constant(data(2 * K, 12, 2), classes([2] * K), 0.5, 7, seeds, steps=300)


def semidefinite_dual(Y, beta, constant):
    """The dual of two-layer training on I_n, exact for n <= 4: beta^2 I - Lambda Lambda^T = PSD + non-negative."""
    (n, K), Lambda = Y.shape, cp.Variable(Y.shape)
    N = cp.Variable((n, n), symmetric=True)
    block = cp.bmat([[beta**2 * np.eye(n) - N, Lambda], [Lambda.T, np.eye(K)]])
    bound = 0.5 * np.sum(Y**2) - 0.5 * cp.sum_squares(Y - Lambda)
    limits = [N >= 0, block >> 0, *([cp.sum(Lambda, axis=0) == 0] if constant else [])]
    return cp.Problem(cp.Maximize(bound), limits).solve(solver="CLARABEL")


@chapter.statement(
    "prop-output-constant",
    "the value against a semidefinite dual with centred residual, built and trained networks; NC3 of all of these",
    1e-6,
    {"threshold $\\sqrt{n_k}$": {"power": 0.0}, "without the constant": {"constant": False}},
)
def output_constant(rng, power=1.0, constant=True):
    for sizes, beta in (((1, 1, 1), 0.3), ((2, 2), 0.5), ((1, 1, 1, 1), 0.4), ((2, 2), 1.2)):
        K, Y = len(sizes), classes(sizes)
        X = data(len(Y), len(Y), 2)
        P = value([(sizes[0] * ((K - 1) / K) ** power) ** 0.5] * K, beta)
        yield abs(semidefinite_dual(Y, beta, constant) / P - 1)
        for depth, split in ((2, 1), (3, 2)):
            net = optimum(X, Y - constant / K, beta, depth, split)
            yield abs(objective(net, X, Y - constant / K, beta) / P - 1)
            if net.outer.any():
                yield measured(net, X, Y).nc3
                M = (Y / Y.sum(axis=0)).T @ net.hidden(X)
                s = (sizes[0] * (K - 1) / K) ** 0.5 - beta
                yield np.abs(M @ M.T - s / sizes[0] * np.eye(K)).max()
                yield np.abs(net.outer.T @ net.outer - s * K / (K - 1) * (np.eye(K) - 1 / K)).max()
    for K, seeds in ((2, (0, 2)), (3, (4,))):
        run = trained_constant(K, seeds)
        yield abs(run.objective[-1] / value([(2 * ((K - 1) / K) ** power) ** 0.5] * K, 0.5) - 1)
    # Three classes: every optimal network has the simplex and b = 1 / K. The objective controls squares of errors.
    W, s = run.module[-1].weight.detach().numpy(), (4 / 3) ** 0.5 - 0.5
    yield np.abs(W @ W.T - s * 1.5 * (np.eye(3) - 1 / 3)).max() ** 2
    yield np.abs(run.module[-1].bias.detach().numpy() - 1 / 3).max() ** 2


@chapter.violation("prop-output-constant", "ass-reach", "samples on a line: excess of the best trained network")
def constant_without_reach(rng):
    X, Y = np.outer([0.0, 1.0, 2.0, 3.0], np.ones(4)), np.eye(2)[[0, 1, 0, 1]]
    yield best_constant(X, Y, 0.2, 7, (0, 1)).objective[-1] / value([1.0, 1.0], 0.2) - 1


@chapter.violation("prop-output-constant", "ass-branches", "one unit for three classes: relative excess")
def constant_without_units(rng):
    run = best_constant(data(3, 3, 1), np.eye(3), 0.2, 1, (0, 1))
    yield run.objective[-1] / value([(2 / 3) ** 0.5] * 3, 0.2) - 1


@chapter.violation("prop-output-constant", "ass-outer-decay", "no decay on the shift: the value minus a network")
def constant_without_decay_of_the_shift(rng):
    X, Y, beta = data(4, 4, 1), classes((2, 2)), 0.4
    net = optimum(X, Y - 0.5, beta)
    yield value([1.0, 1.0], beta) - (objective(net, X, Y - 0.5, beta) - 0.5 * beta * float(net.alpha @ net.alpha))


@chapter.violation("prop-output-constant", "ass-beta", "beta = 0: NC3 of a network with loss zero")
def constant_without_beta(rng):
    X, Y, net = mixed_fit()
    yield measured(net, X, Y).nc3 if objective(net, X, Y, 0.0) < 1e-9 else 0.0


@chapter.violation("prop-output-constant", "ass-class-labels", "labels of length two: the formula minus the value")
def constant_of_long_labels(rng):
    yield semidefinite_dual(2 * np.eye(3), 0.3, True) - value([(2 / 3) ** 0.5] * 3, 0.3)


@chapter.violation("prop-output-constant", "ass-balanced-classes", "sizes 5 and 1: formula over training")
def constant_of_unequal_classes(rng):
    X, Y, beta = data(6, 6, 1), classes((5, 1)), 0.4
    yield value(np.sqrt([2.5, 0.5]), beta) / best_constant(X, Y, beta, 7, (0, 1)).objective[-1] - 1


@chapter.statement(
    "prop-minority",
    "outputs, lengths of features and columns of $W_L$ of trained networks on both sides of every threshold",
    1e-4,
    {"threshold $n_k$": {"threshold": 1.0}, "lengths $s_k / n_k$": {"length": 1.0}},
)
def minority(rng, threshold=0.5, length=0.5):
    sizes = np.array([5, 3, 1])
    for beta in (0.4, 0.8, 1.3, 2.0, 2.3):
        X, Y, run = trained((5, 3, 1), 2, beta, (0, 1), d=16, steps=200)
        net = as_network(run.module)
        # In energies, which the objective controls to first order: the square of a small length is what vanishes.
        s = np.maximum(sizes**threshold - beta, 0)
        own = np.array([net.predict(X)[Y[:, k] == 1, k].mean() for k in range(3)])
        energy = np.array([np.mean(np.sum(net.hidden(X)[Y[:, k] == 1] ** 2, axis=1)) for k in range(3)])
        yield np.abs(own - s / sizes**threshold).max()
        yield np.abs(energy - (s / sizes) ** (2 * length)).max()
        yield np.abs(np.sum(net.outer**2, axis=0) - s).max()
        built = optimum(X, Y, beta)
        yield np.abs(np.linalg.norm(built.hidden(X), axis=1) - (Y @ (s / sizes)) ** length).max()


def wrong_outputs(X, Y, net, beta):
    """How far outputs and energies of features are from the statement."""
    s, sizes = np.maximum(np.sqrt(Y.sum(axis=0)) - beta, 0), Y.sum(axis=0)
    return max(np.abs(net.predict(X) - Y * s / np.sqrt(sizes)).max(),
               np.abs(np.sum(net.hidden(X) ** 2, axis=1) - Y @ (s / sizes)).max())


@chapter.violation("prop-minority", "ass-reach", "samples on a line: outputs of the best trained network")
def minority_without_reach(rng):
    X, Y, run = on_a_line(0.3)
    yield wrong_outputs(X, Y, as_network(run.module), 0.3)


@chapter.violation("prop-minority", "ass-branches", "one unit for two classes: outputs of the best trained network")
def minority_without_units(rng):
    X, Y, run = one_unit()
    yield wrong_outputs(X, Y, as_network(run.module), 0.2)


@chapter.violation("prop-minority", "ass-outer-decay", "no decay on the shift: outputs of the best trained network")
def minority_without_decay_of_the_shift(rng):
    X, Y, run = free_shift()
    yield wrong_outputs(X, Y, as_network(run.module), 0.4)


@chapter.violation("prop-minority", "ass-beta", "beta = 0: an optimal network with longer features")
def minority_without_beta(rng):
    X, Y, net = mixed_fit()
    yield wrong_outputs(X, Y, net, 0.0)


@chapter.violation("prop-minority", "ass-class-labels", "labels of length two: output on the own class")
def minority_of_long_labels(rng):
    X, Y = data(4, 4, 1), 2 * classes((3, 1))
    yield abs(optimum(X, Y, 1.5).predict(X)[3, 1] - 0.0)


@chapter.statement(
    "cor-unit-variance",
    "torch's own batch norm of unit variance, decay on its own parameters: built and trained, against the formula",
    1e-6,
    {"$\\beta = \\beta'$": {"power": 0.0}, "$\\beta = \\beta' / n$": {"power": 1.0}},
)
def unit_variance(rng, power=0.5):
    for sizes, b in (((3, 2, 1), 0.7), ((4, 2), 2.0)):
        n, K = sum(sizes), len(sizes)
        X, Y = data(n, n + 4, 1), classes(sizes)
        P = value(np.sqrt(sizes), b / n**power)
        ours = optimum(X, Y, b / n**0.5)
        scale, shift = torch.tensor(ours.gamma * n**-0.25), torch.tensor(ours.alpha * n**-0.25)
        outer = torch.tensor(ours.outer * n**-0.25)
        pre = X @ ours.below[0]
        normal = torch.nn.functional.batch_norm(torch.tensor(pre / pre.std(axis=0)), None, None, scale, shift,
                                                training=True, eps=1e-15)
        F = normal.relu() @ outer
        decay = sum(float((p**2).sum()) for p in (scale, shift, outer)) / 2
        yield abs((0.5 * float(((F.numpy() - Y) ** 2).sum()) + b * decay) / P - 1)
        mean_loss = 0.5 / n * float(((F.numpy() - Y) ** 2).sum()) + b / n * decay  # the loss a mean, b / n for b
        yield abs(n * mean_loss / P - 1)
        starts = [batchnorm_network([n + 4, 7, K], seed=0)]
        modules = [torch.nn.Sequential(m[0], torch.nn.BatchNorm1d(7, eps=1e-13, dtype=torch.float64), m[2], m[3])
                   for m in starts if len(sizes) == 2]
        for module in modules:
            yield abs(train(module, X, Y, b, decay="last", steps=200, progress=False).objective[-1] / P - 1)


@chapter.violation("cor-unit-variance", "ass-reach", "samples on a line: the trained network misses the formula")
def unit_variance_without_reach(rng):
    beta = 0.5 / 3**0.5
    yield on_a_line(beta)[2].objective[-1] / value([2**0.5, 1.0], beta) - 1


def epsilon_objective(V, W, X, Y, beta, eps, group=1.0):
    """The whitened objective with the group penalty of epsilon."""
    q = np.linalg.norm(np.linalg.pinv(centred(X)) @ V, axis=0)
    A = np.maximum(V, 0)
    return (0.5 * np.sum((A @ W - Y) ** 2) + beta / 2 * (np.sum(V**2) + np.sum(W**2))
            + group * beta * np.sqrt(len(X) * eps) * q.sum())


def least_epsilon(X, Y, beta, eps):
    """Its least value, by L-BFGS from the optimum without epsilon."""
    (n, K), D = Y.shape, np.linalg.pinv(centred(X))
    start, price = optimum(X, Y, beta), beta * np.sqrt(n * eps)

    def value_and_gradient(x):
        V, W = x[: n * K].reshape(n, K), x[n * K:].reshape(K, K)
        A, q = np.maximum(V, 0), np.linalg.norm(D @ V, axis=0)
        R = A @ W - Y
        gV = R @ W.T * (V > 0) + beta * V + price * D.T @ (D @ V / q)
        return (0.5 * np.sum(R**2) + beta / 2 * x @ x + price * q.sum(),
                np.concatenate([gV.ravel(), (A.T @ R + beta * W).ravel()]))

    x0 = np.concatenate([(start.hidden(X) + 0.1 * eps**0.5).ravel(), start.outer.ravel()])  # off the kinks
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 40}
    return minimize(value_and_gradient, x0, jac=True, method="L-BFGS-B", options=options).fun


@chapter.statement(
    "prop-inner-decay",
    "scaled inner weights against the infimum; trained networks with epsilon against the group penalty; slopes, "
    "extrapolated, against $\\kappa$",
    1e-5,
    {"$\\sqrt\\epsilon$ for $\\sqrt{n \\epsilon}$": {"root": True}, "group penalty doubled": {"group": 2.0}},
)
def inner_decay(rng, root=False, group=1.0):
    X, Y, beta = 1 + np.random.default_rng(0).normal(size=(5, 5)), classes((3, 2)), 0.4
    P, n = value(np.sqrt([3, 2]), beta), 5
    group = group / (n**0.5 if root else 1.0)
    for depth in (2, 3):  # parts 1 and 2: the infimum, from above
        net = optimum(X, Y, beta, depth)
        for t, eps in ((1e-4, 0.0), (1e5, 1e-5)):
            module = BatchNormNetwork(tuple(t * W for W in net.below), net.gamma, net.alpha, net.outer).to_torch()
            module[-3].eps = eps
            F = module(torch.tensor(X)).detach().numpy()
            inner = 0.0 if eps else beta / 2 * t**2 * sum(np.sum(W**2) for W in net.below)
            reached = 0.5 * np.sum((F - Y) ** 2) + beta * net.penalty + inner
            yield abs(reached / P - 1)
            if eps == 0:
                yield float(reached <= P)
    for eps in (1e-3, 1e-1):  # parts 3 and 4
        run = best(X, Y, 2, beta, (0, 1), 300, "all", eps=eps)
        with torch.no_grad():
            run.module.train()
            V = run.module[1](run.module[0](torch.tensor(X))).numpy()
        W = run.module[-1].weight.detach().numpy().T
        yield abs(epsilon_objective(V, W, X, Y, beta, eps, group) / run.objective[-1] - 1)
        yield abs(least_epsilon(X, Y, beta, eps) / run.objective[-1] - 1)
        yield float(run.objective[-1] <= P)
    y = Y / np.sqrt(Y.sum(axis=0))
    lengths = np.linalg.norm(np.linalg.pinv(centred(X)) @ y, axis=0)
    kappa = group * beta * n**0.5 * np.sum(np.sqrt(np.sqrt([3, 2]) - beta) * lengths)
    taus = 2e-3 / 2.0 ** np.arange(3)
    slopes = [(least_epsilon(X, Y, beta, tau**2) - P) / tau for tau in taus]
    yield max(0.0, max(slopes) / kappa - 1)
    once = 2 * np.array(slopes[1:]) - np.array(slopes[:-1])  # Richardson
    yield abs((4 * once[1] - once[0]) / 3 / kappa - 1)


@chapter.violation("prop-inner-decay", "ass-reach", "samples on a line: excess of the best trained network over P")
def inner_decay_without_reach(rng):
    X, Y = np.outer([-1.0, 0.0, 1.0], np.ones(4)), np.eye(2)[[0, 1, 0]]
    yield best(X, Y, 2, 0.3, (0, 1), 60, eps=1e-8).objective[-1] / value([2**0.5, 1.0], 0.3) - 1


@chapter.violation("prop-inner-decay", "ass-label-rows", "two rows at 60 degrees: a network with epsilon below P")
def inner_decay_with_acute_rows(rng):
    X, Y = np.array([[1.0], [0.0]]), np.array([[1.0, 0.0], [0.5, 0.75**0.5]])
    yield value([1.0, 1.0], 0.2) / best(X, Y, 2, 0.2, (0, 1), 100, "all", eps=1e-6).objective[-1] - 1


@chapter.violation("prop-inner-decay", "ass-branches", "one unit for two classes: excess over P at epsilon = 0")
def inner_decay_without_units(rng):
    yield one_unit()[2].objective[-1] / value([2**0.5] * 2, 0.2) - 1


@chapter.violation("prop-inner-decay", "ass-beta", "beta = 0: the infimum is attained")
def inner_decay_without_beta(rng):
    X, Y, net = mixed_fit()
    yield float(objective(net, X, Y, 0.0) < 1e-9)


@chapter.violation("prop-inner-decay", "ass-label-frame", "mixed signs: relative gap to the slope of shared units")
def slope_of_shared_units(rng):
    X, signs = np.eye(4), np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]).T * 0.5**0.5
    lengths = [np.linalg.norm(np.linalg.pinv(centred(X)) @ H, axis=0).sum() for H in (signs, np.eye(4))]
    yield 1 - lengths[0] / lengths[1]
