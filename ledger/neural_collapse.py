"""Checks of the chapter "Batch normalisation and neural collapse"."""

from functools import cache

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
    return network(X, np.repeat(y / sigma, split, axis=1) * root, np.repeat(V, split, axis=0) * root[:, None], depth)


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
    "scaled and shifted pre-activations of torch's own batch norm against free vectors, with their price, and random"
    " units against the ball",
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
    """How much units serve several directions: largest product of two entries of a row of W_L, and of V < 0."""
    W = np.abs(net.outer)
    W = W - np.diag(np.diag(W)) if len(W) == 1 else np.sort(W, axis=1)
    return float(np.max(W[:, -1] * W[:, -2]))


@chapter.statement(
    "thm-batchnorm",
    "the value against trained networks of two to four layers and a dual point; built and split networks; samples on a"
    " line with labels in their affine span",
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
            yield abs(solve(data(6, 5, 1), Y, beta, depth=depth, activation="relu", batch_norm=True).objective / P - 1)
    for depth, seeds in ((2, (0, 1)), (3, (0, 1)), (4, (0, 1))):
        X, Y, run = trained((3, 2, 1), depth, 0.4, seeds)
        yield abs(run.objective[-1] / value(np.sqrt([3, 2, 1]), factor * 0.4) - 1)
        yield mixing(as_network(run.module)) ** 2
    X = np.outer([0.0, 3.0, 3.0, 3.0], np.ones(5))  # part 4: rank 2 < 4, class one alone at 0
    yield abs(objective(optimum(X, classes((1, 3)), 0.3), X, classes((1, 3)), 0.3) / value([1, 3**0.5], factor * 0.3) - 1)


@chapter.violation("thm-batchnorm", "ass-reach", "three samples on a line: relative excess of the best trained network")
def without_reach(rng):
    X, Y = np.outer([-1.0, 0.0, 1.0], np.ones(4)), np.eye(2)[[0, 1, 0]]
    yield best(X, Y, 2, 0.3, (0, 1), 60).objective[-1] / value([2**0.5, 1.0], 0.3) - 1


@chapter.violation("thm-batchnorm", "ass-label-rows", "two rows at 60 degrees: the value minus a trained network")
def with_acute_rows(rng):
    X, Y = np.array([[1.0], [0.0]]), np.array([[1.0, 0.0], [0.5, 0.75**0.5]])
    yield value([1.0, 1.0], 0.2) / best(X, Y, 2, 0.2, (0, 1), 100).objective[-1] - 1


@chapter.violation("thm-batchnorm", "ass-label-frame", "mixed signs: four shared units are optimal, product of entries")
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
    yield best(data(4, 3, 1), classes((2, 2)), 2, 0.2, (0, 1, 2), 100, m=1).objective[-1] / value([2**0.5] * 2, 0.2) - 1


@chapter.violation("thm-batchnorm", "ass-outer-decay", "no decay on the shift: value minus a trained network")
def without_decay_of_the_shift(rng):
    def decay(module):
        return 0.5 * (module[-3].scale.square().sum() + module[-1].weight.square().sum())

    run = best(data(5, 5, 1), classes((3, 2)), 2, 0.4, (0, 1), 100, decay)
    yield value(np.sqrt([3, 2]), 0.4) / run.objective[-1] - 1


@chapter.violation("thm-batchnorm", "ass-beta", "beta = 0: a network with mixed units is optimal, product of entries")
def without_beta(rng):
    X, H = data(3, 4, 1), np.array([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]])
    net = network(X, H, np.linalg.inv(H))
    yield mixing(net) if objective(net, X, np.eye(3), 0.0) < 1e-9 else 0.0


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


@chapter.violation("prop-frame", "ass-classes-on", "beta = 1.5 with a class of two: distance from a frame of equal lengths")
def frame_with_a_class_off(rng):
    X, Y = data(8, 8, 1), classes((2, 3, 3))
    yield abs(measured(optimum(X, Y, 1.5), X, Y).nc2_uncentred)


@chapter.violation("prop-frame", "ass-balanced-classes", "sizes 4, 2, 3: distance of the centred means from a simplex")
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
    X, Y = np.outer([-1.0, 0.0, 1.0, 2.0], np.ones(4)), np.eye(2)[[0, 1, 0, 1]]
    yield np.abs(np.diff(as_network(best(X, Y, 2, 0.2, (0, 1), 100).module).hidden(X)[::2], axis=0)).max()


def constant_network(d, m, K, seed):
    module = batchnorm_network([d, m, K], seed=seed)
    weight = module[-1].weight.detach()
    module[-1] = torch.nn.utils.skip_init(torch.nn.Linear, m, K, dtype=torch.float64)
    with torch.no_grad():
        module[-1].weight.copy_(weight)
        module[-1].bias.zero_()
    return module


@chapter.statement(
    "prop-output-constant",
    "the value and NC3 of the network of the statement, and of networks trained with a free output constant",
    1e-6,
    {"threshold $\\sqrt{n_k}$": {"power": 0.0}, "without the constant": {"constant": False}},
)
def output_constant(rng, power=1.0, constant=True):
    for sizes, beta in (((3, 3, 3), 0.3), ((2, 2), 0.5), ((2, 2, 2, 2), 0.4), ((2, 2, 2), 1.3)):
        K, Y = len(sizes), classes(sizes)
        X = data(len(Y), len(Y), 2)
        P = value([(sizes[0] * ((K - 1) / K) ** power) ** 0.5] * K, beta)
        runs = [train(constant_network(len(Y), 7, K, seed), X, Y, beta, decay="last", steps=400, progress=False)
                for seed in (0, 1)]
        yield abs(min(run.objective[-1] for run in runs) / P - 1)
        net = optimum(X, Y - constant / K, beta)
        yield abs(objective(net, X, Y - constant / K, beta) / P - 1)
        if net.outer.any():
            features = net.hidden(X)
            yield neural_collapse(features, Y.argmax(axis=1), net.outer, np.full(K, constant / K)).nc3


@chapter.violation("prop-output-constant", "ass-balanced-classes", "sizes 5 and 1: the formula minus a trained network")
def constant_of_unequal_classes(rng):
    X, Y, beta = data(6, 6, 1), classes((5, 1)), 0.4
    best_value = min(train(constant_network(6, 7, 2, s), X, Y, beta, decay="last", steps=200, progress=False).objective[-1]
                     for s in (0, 1))
    yield value(np.sqrt([2.5, 0.5]), beta) / best_value - 1


@chapter.statement(
    "prop-minority",
    "outputs, lengths of features and columns of $W_L$ of trained networks on both sides of every threshold",
    1e-3,
    {"threshold $n_k$": {"threshold": 1.0}, "lengths $s_k / n_k$": {"length": 1.0}},
)
def minority(rng, threshold=0.5, length=0.5):
    sizes = np.array([5, 3, 1])
    for beta in (0.4, 0.9, 1.15, 1.65, 2.15, 2.3):
        X, Y, run = trained((5, 3, 1), 2, beta, (0, 1), steps=400)
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


@chapter.violation("prop-minority", "ass-reach", "a small class between others on a line: off below its threshold")
def minority_without_reach(rng):
    X, Y, beta = np.outer([-1.0, -1.0, 0.0, 1.0, 1.0], np.ones(3)), np.eye(2)[[0, 0, 1, 0, 0]], 0.8
    yield abs(as_network(best(X, Y, 2, beta, (0, 1), 150).module).predict(X)[2, 1] - (1 - beta))


@chapter.violation("prop-minority", "ass-class-labels", "labels of length two: output on the own class")
def minority_of_long_labels(rng):
    X, Y = data(4, 4, 1), 2 * classes((3, 1))
    yield abs(optimum(X, Y, 1.5).predict(X)[3, 1] - 0.0)


@chapter.statement(
    "cor-unit-variance",
    "torch's own batch norm of unit variance, decayed in its own parameters: built and trained, against the formula",
    1e-6,
    {"$\\beta = b$": {"power": 0.0}, "$\\beta = b / n$": {"power": 1.0}},
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
        starts = [batchnorm_network([n + 4, 7, K], seed=s) for s in (0, 1)]
        modules = [torch.nn.Sequential(m[0], torch.nn.BatchNorm1d(7, eps=1e-13, dtype=torch.float64), m[2], m[3])
                   for m in starts]
        reached = [train(m, X, Y, b, decay="last", steps=300, progress=False).objective[-1] for m in modules]
        yield abs(min(reached) / P - 1)


@chapter.violation("cor-unit-variance", "ass-reach", "samples on a line: the trained network misses the formula")
def unit_variance_without_reach(rng):
    X, Y = np.outer([-1.0, 0.0, 1.0], np.ones(4)), np.eye(2)[[0, 1, 0]]
    yield best(X, Y, 2, 0.5 / 3**0.5, (0, 1), 60).objective[-1] / value([2**0.5, 1.0], 0.5 / 3**0.5) - 1


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

    x0 = np.concatenate([(start.hidden(X) + 10 * eps**0.5 * 1e-2).ravel(), start.outer.ravel()])
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 40}
    return minimize(value_and_gradient, x0, jac=True, method="L-BFGS-B", options=options).fun


@chapter.statement(
    "prop-inner-decay",
    "scaled inner weights against the infimum; trained networks with epsilon against the group penalty; extrapolated "
    "slopes against $\\kappa$",
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
        run = best(X, Y, 2, beta, (0, 1, 2), 500, "all", eps=eps)
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
