"""Checks of the chapter "A convex toolkit"."""

import cvxpy as cp
import numpy as np
from scipy.optimize import linprog, minimize_scalar
from scipy.spatial import ConvexHull

from dualkit import solve
from dualkit.features import LinearFeatures
from dualkit.losses import get_loss
from ledger import Chapter

chapter = Chapter("convex_toolkit")
TIGHT = {"solver": "CLARABEL", "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
FAR = 1e8  # how far the unbounded set {+-(t, 1)} of the violations is followed


def conjugate(f, slope, low, high):
    """sup of slope F - f(F) over low <= F <= high, for a convex f of one variable."""
    return -minimize_scalar(lambda F: f(F) - slope * F, bounds=(low, high), method="bounded",
                            options={"xatol": 1e-12}).fun


def cheapest(A, F):
    """Gauge of F for the atoms +-rows of A: least cost and signed weights, by a linear program."""
    both = np.vstack([A, -A])
    best = linprog(np.ones(len(both)), A_eq=both.T, b_eq=F)
    return best.fun, best.x[: len(A)] - best.x[len(A):]


def polar_maximum(A, F, radius=1.0):
    """max <G, F> over |<G, a>| <= radius for the rows of A, by a linear program: value and G."""
    both = np.vstack([A, -A])
    best = linprog(-F, A_ub=both, b_ub=np.full(len(both), radius), bounds=(None, None))
    return -best.fun, best.x


def fit(A, Y, beta):
    """Squared loss plus beta times the gauge of the atoms +-rows of A: value, residual, weights."""
    c = cp.Variable(len(A))
    objective = 0.5 * cp.sum_squares(A.T @ c - Y) + beta * cp.norm1(c)
    value = cp.Problem(cp.Minimize(objective)).solve(**TIGHT)
    return value, Y - A.T @ c.value, c.value


def double_well_gap(beta=0.5):
    """Primal minus dual value for the non-convex loss (F^2 - 1)^2 and the atoms +-1, by a fine grid."""
    F = np.linspace(-3, 3, 6001)
    loss = (F**2 - 1) ** 2
    dual = max(np.min(loss + G * F) for G in np.linspace(-beta, beta, 401))
    return np.min(loss + beta * np.abs(F)) - dual


@chapter.statement(
    "lem-fenchel-young",
    "conjugates and biconjugates as numerical suprema against formulas; inequality, equality case, slope of $f^*$",
    1e-7,
    {"sign of the slope flipped": {"sign": -1.0}, "half the inner product": {"factor": 0.5}},
)
def fenchel_young(rng, sign=1.0, factor=1.0):
    entropy = lambda s: s * np.log(s) + (1 - s) * np.log(1 - s)  # noqa: E731
    for f, derivative, formula, low, high in (
        (lambda F: 0.5 * (F - 1) ** 2, lambda F: F - 1, lambda G: 0.5 * G**2 + G, -50, 50),
        (np.exp, np.exp, lambda G: G * np.log(G) - G, -50, 50),
        (lambda F: np.log1p(np.exp(-F)), lambda F: -1 / (1 + np.exp(F)), lambda G: entropy(-G), -50, 50),
    ):
        for F in (-0.8, 0.3, 1.7):
            G = derivative(F)
            star = conjugate(f, factor * sign * G, low, high)
            yield abs(star - formula(G))  # the closed form
            yield abs(f(F) + star - G * F)  # equality at the subgradient
            slopes = np.sort([derivative(F - 1.0), derivative(F + 1.0)])
            yield abs(conjugate(formula, F, *slopes) - f(F))  # biconjugate
            yield abs((formula(G + 1e-5) - formula(G - 1e-5)) / 2e-5 - F)  # part 3: F is the slope of f* at G
            yield float(f(F) + formula(0.9 * G) - 0.9 * G * F < 1e-6)  # no equality at another slope
    for name in ("squared", "logistic", "cross-entropy"):
        loss = get_loss(name)
        F = rng.normal(size=(5, 3 if name == "cross-entropy" else 1))
        Y = np.eye(3)[rng.integers(3, size=5)] if name == "cross-entropy" else rng.choice([-1.0, 1.0], (5, 1))
        G = loss.gradient(F, Y)
        yield abs(loss.value(F, Y) + loss.conjugate(sign * G, Y) - factor * np.sum(G * F))
        elsewhere = rng.normal(size=F.shape)
        yield max(0.0, np.sum(G * elsewhere) - loss.value(elsewhere, Y) - loss.conjugate(G, Y))


@chapter.violation("lem-fenchel-young", "ass-proper", "the non-convex $(F^2 - 1)^2$: $f - f^{**}$ at the origin")
def biconjugate_without_convexity(rng):
    F = np.linspace(-3, 3, 6001)
    star = [np.max(G * F - (F**2 - 1) ** 2) for G in np.linspace(-1, 1, 201)]
    yield 1.0 - np.max(-np.array(star))


@chapter.violation("lem-fenchel-young", "ass-proper",
                   "$f = 0$ for $F > 0$, $f(0) = 1$, not closed: $f - f^{**}$ at zero")
def biconjugate_without_closedness(rng):
    F = np.concatenate([[0.0], np.geomspace(1e-12, 10, 2000)])
    f = np.where(F == 0, 1.0, 0.0)
    yield 1.0 - max(-np.max(G * F - f) for G in np.linspace(-50, 0, 501))


@chapter.statement(
    "lem-polar",
    "cheapest decomposition against the largest inner product over the polar, two linear programs, and against the "
    "facets of the hull; equality case",
    1e-7,
    {"polar of radius two": {"radius": 2.0}, "Euclidean norm for the gauge": {"euclidean": True}},
)
def polar(rng, radius=1.0, euclidean=False):
    for m, N in ((3, 1), (12, 4), (40, 7)):
        A, F, other = rng.normal(size=(m, N)), rng.normal(size=N), rng.normal(size=N)
        value, weights = cheapest(A, F)
        value = np.linalg.norm(F) if euclidean else value
        maximum, G = polar_maximum(A, F, radius)
        yield abs(value - maximum)
        if N > 1:  # part 1: the unit ball is the hull, so its facets give the gauge
            planes = ConvexHull(np.vstack([A, -A])).equations
            yield abs(value - (planes[:, :-1] @ F / -planes[:, -1]).max())
        yield max(0.0, other @ F - np.abs(A @ other).max() * value)
        on = np.abs(weights) > 1e-9
        yield np.abs(np.sign(weights[on]) * (A[on] @ G) - np.abs(A @ G).max()).max()
        yield max(0.0, np.sum(on) - N)
        loose = polar_maximum(A, other)[1]  # exposes the atoms of another point
        short = np.abs(A @ loose).max() * value - loose @ F
        unused = np.abs(np.sign(weights[on]) * (A[on] @ loose) - np.abs(A @ loose).max()).max()
        yield float((short < 1e-9) != (unused < 1e-9))
    flat = np.column_stack([rng.normal(size=(6, 2)), np.zeros(6)])  # atoms in a plane: nothing builds e_3
    yield float(linprog(np.ones(6), A_eq=flat.T, b_eq=[0.0, 0.0, 1.0], bounds=(None, None)).status != 2)
    X, F = rng.normal(size=(3, 5)), rng.normal(size=3)  # an ellipsoid of atoms, closed form for the gauge
    G = cp.Variable(3)
    maximum = cp.Problem(cp.Maximize(G @ F), [cp.norm(X.T @ G) <= radius]).solve(**TIGHT)
    yield abs(LinearFeatures(X).gauge(F) - maximum)


@chapter.violation("lem-polar", "ass-atoms",
                   "atoms $\\pm(t, 1)$, unbounded: $\\|F\\|$ for a point $F$ whose gauge is zero")
def polar_without_boundedness(rng):
    F = np.array([1.0, 0.0])
    cost = cheapest(np.array([[FAR, 1.0], [0.0, 1.0]]), F)[0]
    yield np.linalg.norm(F) if cost <= 3 / FAR else 0.0


@chapter.violation("lem-polar", "ass-atoms", "atoms $1, -1/3$, not symmetric: $\\gauge(-1) - \\gauge(1)$")
def polar_without_symmetry(rng):
    atoms = np.array([[1.0, -1 / 3]])
    yield abs(np.subtract(*(linprog(np.ones(2), A_eq=atoms, b_eq=[F]).fun for F in (-1.0, 1.0))))


def room(H, M, R):
    """max <R, D> over all D with M + D and M - D in conv {h w^T : h a row of H, |w| <= 1}; zero at extreme M.

    The hull is enlarged by 1e-5 to give the solver an interior, which turns zero into some hundredths at most.
    """
    D, plus, minus = cp.Variable(M.shape), cp.Variable((len(H), M.shape[1])), cp.Variable((len(H), M.shape[1]))
    inside = [cp.sum(cp.norm(W, axis=1)) <= 1 + 1e-5 for W in (plus, minus)]
    split = [H.T @ plus == M + D, H.T @ minus == M - D]
    return cp.Problem(cp.Maximize(cp.sum(cp.multiply(R, D))), inside + split).solve(solver="CLARABEL")


@chapter.statement(
    "prop-matrix-atoms",
    "support function by a scan over directions, gauge by two conic programs, extreme features by linear programs, "
    "extreme matrices by conic programs",
    1e-6,
    {"sum of absolute values for the Euclidean norm": {"order": 1}, "squared norm": {"power": 2.0}},
)
def matrix_atoms(rng, order=2, power=1.0):
    angles = np.linspace(0, 2 * np.pi, 20001)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    for m, n in ((4, 2), (12, 3)):
        H, G, F = rng.normal(size=(m, n)), rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
        norms = np.linalg.norm(H @ G, order, axis=1) ** power
        scan = (H @ G @ circle.T).max(axis=1)
        yield abs(norms.max() - scan.max())
        best = np.argmax(norms)
        direction = circle[np.argmax((H @ G @ circle.T)[best])]
        yield 1e-3 * np.abs(H[best] @ G / norms[best] - direction).max()  # the scan finds directions to 1e-4
        W, Z = cp.Variable((m, 2)), cp.Variable((n, 2))
        least = cp.Problem(cp.Minimize(cp.sum(cp.norm(W, order, axis=1))), [H.T @ W == F]).solve(solver="CLARABEL")
        bound = [cp.norm(H @ Z, axis=1) <= 1]
        most = cp.Problem(cp.Maximize(cp.sum(cp.multiply(Z, F))), bound).solve(solver="CLARABEL")
        yield abs(least - most) / most
        # Part 3 on a finite set: extreme features are those that the others cannot build at cost one.
        corners = set(ConvexHull(np.vstack([H, -H])).vertices % m)
        for j in range(m):
            others = np.delete(H, j, axis=0)
            inside = linprog(np.ones(2 * m - 2), A_eq=np.vstack([others, -others]).T, b_eq=H[j])
            cost = inside.fun if inside.status == 0 else np.inf
            yield float((cost > 1 + 1e-9) != (j in corners))
    # Part 3 for the matrices: no segment of the hull is centred at h w^T, or a long one is.
    H = np.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.3], [0.1, 0.0, 1.0], [0.2, 0.2, 0.2]])  # the last one is inside
    w = rng.normal(size=2)
    w /= np.linalg.norm(w)
    for h in H[:3]:
        yield float(room(H, np.outer(h, w), rng.normal(size=(3, 2))) > 0.05)
    middle = (H[0] + H[1]) / 2
    for M, R in ((np.outer(H[0], 0.8 * w), np.outer(H[0], w)), (np.outer(middle, w), np.outer(H[0] - H[1], w)),
                 (np.outer(H[3], w), np.outer(H[3], w))):
        yield float(room(H, M, R) < 0.05)
    X = rng.normal(size=(4, 3))
    yield abs(LinearFeatures(np.eye(4)).gauge(X) - np.linalg.norm(X, "nuc"))


@chapter.violation("prop-matrix-atoms", "ass-atoms",
                   "features $(t, 1)$, followed to $t = 10^8$: the support function")
def matrix_atoms_without_compactness(rng):
    yield np.linalg.norm(np.array([FAR, 1.0]) @ rng.normal(size=(2, 2)))


@chapter.statement(
    "lem-faces",
    "maxima over the vertices found by a hull code against linear programs over the convex hull; exposed faces "
    "of a polytope and of the stadium",
    1e-8,
    {"one extreme point forgotten": {"forget": 1}, "near-maximisers counted in the face": {"slack": 0.1}},
)
def faces(rng, forget=0, slack=1e-9):
    for N in (2, 3):
        A = rng.normal(size=(20, N))
        A = np.vstack([A, -A])
        corners = ConvexHull(A).vertices
        for G in (*rng.normal(size=(5, N)), A[corners[0]] / np.linalg.norm(A[corners[0]])):
            program = linprog(-A @ G, A_eq=np.ones((1, len(A))), b_eq=[1.0])  # over conv A
            yield abs(-program.fun - (A[corners] @ G).max())
        kept = corners[forget:]
        hull = ConvexHull(A[kept])  # part 3: the extreme points span C
        yield max(0.0, (A @ hull.equations[:, :-1].T + hull.equations[:, -1]).max())
    # Part 4: the face exposed by e_1, found by linear programs over conv A and as the hull of the exposed atoms.
    A = np.vstack([np.column_stack([np.ones(6), rng.normal(size=6)]),
                   np.column_stack([0.95 * np.ones(2), [-9.0, 9.0]])])
    A = np.vstack([A, -A])
    exposed = A[A[:, 0] >= A[:, 0].max() - slack]
    for sign in (-1, 1):
        ends = linprog(sign * A[:, 1], A_eq=np.vstack([np.ones(len(A)), A[:, 0]]), b_eq=[1.0, 1.0])
        yield abs(ends.fun - (sign * exposed[:, 1]).min())
    # The stadium: every direction but e_2 prefers another point to the end (1, 1) of its upper side.
    theta = np.linspace(0, np.pi / 2, 91)
    directions = np.column_stack([np.cos(theta), np.sin(theta)])
    values = directions @ (directions + [1, 0]).T  # the right arc
    for G, reach in zip(directions[:-1], values.max(axis=1)[:-1], strict=True):
        yield abs(reach - (1 + G[0])) + float(G @ [1, 1] >= reach)


@chapter.violation("lem-faces", "ass-atoms",
                   "atoms $\\pm(t, 1)$: growth of a maximum when the bound on $t$ is doubled")
def faces_without_compactness(rng):
    reach = [np.max(np.array([[t, 1.0], [-t, 1.0]]) @ np.array([1.0, 0.0])) for t in (FAR, 2 * FAR)]
    yield reach[1] / reach[0] - 1


def reduce_atoms(A, c, affine=True):
    """Weights of the same point on fewer rows of A, along linear dependencies of (A, 1), or of A alone."""
    c = c.copy()
    lifted = np.column_stack([A, np.ones(len(A))]) if affine else A
    while True:
        on = np.flatnonzero(c > 1e-12)
        if len(on) <= np.linalg.matrix_rank(lifted[on]):
            return c
        m = np.linalg.svd(lifted[on].T)[2][-1]
        m = m if m.min() < 0 else -m
        down = np.flatnonzero(m < 0)
        drop = down[np.argmin(-c[on[down]] / m[down])]
        c[on] -= c[on[drop]] / m[drop] * m
        c[on[drop]] = 0.0


@chapter.statement(
    "thm-caratheodory",
    "a decomposition into 60 atoms, reduced step by step: point, number of atoms, cost against a linear program; "
    "independent extreme atoms",
    1e-8,
    {"one atom fewer": {"spare": 1}, "dependencies that do not preserve the cost": {"affine": False}},
)
def caratheodory(rng, spare=0, affine=True):
    for N in (1, 3, 7):
        A, c = rng.normal(size=(60, N)), rng.uniform(0.1, 1, size=60)
        c /= c.sum()
        few = reduce_atoms(A, c, affine)
        yield np.abs(few @ A - c @ A).max()
        yield max(0.0, np.sum(few > 0) - (N + 1 - spare))
        yield abs(few.sum() - 1)
        A = np.column_stack([np.ones(60), A])  # all on one face: the first entry exposes them
        few = reduce_atoms(A, c, affine)
        yield np.abs(few @ A - c @ A).max()
        yield max(0.0, np.sum(few > 0) - (N + 1 - spare))  # N + 1 is the dimension now
        yield abs(few.sum() - cheapest(A, c @ A)[0])
    for N in (2, 4):  # a point in general position: independent extreme atoms, at the cost that the polar gives
        A, F = rng.normal(size=(30, N)), rng.normal(size=N)
        weights = cheapest(A, F)[1]
        on = np.flatnonzero(np.abs(weights) > 1e-9)
        yield abs(np.abs(weights).sum() - polar_maximum(A, F)[0])
        yield float(len(on) > N - spare or np.linalg.matrix_rank(A[on]) < len(on))
        yield float(not set(on) <= set(ConvexHull(np.vstack([A, -A])).vertices % 30))


@chapter.violation("thm-caratheodory", "ass-atoms",
                   "atoms $\\pm(t, 1)$: distance of $F = (1, 0)$ from what the cost $\\gauge(F) = 0$ can buy")
def caratheodory_without_compactness(rng):
    cost = cheapest(np.array([[FAR, 1.0], [0.0, 1.0]]), np.array([1.0, 0.0]))[0]
    yield 1.0 if cost <= 3 / FAR else 0.0


@chapter.statement(
    "thm-atomic-duality",
    "primal over the weights against dual over the samples, by a general convex solver, four losses; optimality "
    "conditions and exposed atoms",
    1e-6,
    {"dual constraint at $2 \\beta$": {"bound": 2.0}, "dual constraint at $\\beta / 2$": {"bound": 0.5}},
)
def atomic_duality(rng, bound=1.0):
    for m, N, beta in ((6, 2, 0.4), (40, 8, 0.8)):
        A, Y = rng.normal(size=(m, N)), rng.choice([-1.0, 1.0], N)
        c, G = cp.Variable(m), cp.Variable(N)
        F, share = A.T @ c, cp.multiply(Y, G)
        for loss, constraint, dual, domain in (
            (0.5 * cp.sum_squares(F - Y), [], G @ Y - 0.5 * cp.sum_squares(G), []),
            (cp.norm1(F - Y), [], G @ Y, [cp.abs(G) <= 1]),
            (cp.sum(cp.logistic(-cp.multiply(Y, F))), [], cp.sum(cp.entr(share) + cp.entr(1 - share)), []),
            (0.0, [F == Y], G @ Y, []),  # interpolation: the domain of the loss is one point
        ):
            primal = cp.Problem(cp.Minimize(loss + beta * cp.norm1(c)), constraint).solve(solver="CLARABEL")
            best = cp.Problem(cp.Maximize(dual), [cp.abs(A @ G) <= bound * beta, *domain]).solve(solver="CLARABEL")
            yield abs(primal - best) / max(1.0, abs(primal))
            yield 1e-3 * abs(G.value @ F.value - beta * np.abs(c.value).sum())
            on = np.abs(c.value) > 1e-3  # the solver's points are less exact than its values
            yield 1e-3 * np.abs(np.abs(A[on] @ G.value) - beta).max(initial=0.0)
        # Part 4 from (b) to (a): labels for which the conditions hold by construction.
        G = rng.normal(size=N)
        j, level = np.argmax(np.abs(A @ G)), np.abs(A @ G).max()
        F = 1.3 * np.sign(A[j] @ G) * A[j]
        built = 0.5 * G @ G + bound * level * 1.3
        yield abs(fit(A, F + G, level)[0] - built) / built


@chapter.violation("thm-atomic-duality", "ass-qualification",
                   "$l = -x + e^{-\\sqrt{xy}}$ on the quadrant, atoms $\\pm e_1$, $\\beta = 1$: primal minus dual")
def duality_without_qualification(rng):
    x = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 200)])
    primal = np.min(-x + 1 + np.abs(x))
    root = np.linspace(0, 40, 4001)  # for G_1 = 1 the dual value is the infimum of G_2 y + exp(-root), y -> 0
    yield primal - max(np.min(1e-12 * G2 + np.exp(-root)) for G2 in (0.0, 1.0, 1e3))


@chapter.violation("thm-atomic-duality", "ass-qualification",
                   "$l = \\max(-\\sqrt F, -1)$, atom $0$: what the dual misses within $\\lvert G\\rvert \\le 10$")
def dual_not_attained(rng):
    F = np.linspace(0, 2, 200001)
    yield 0.0 - max(np.min(G * F + np.maximum(-np.sqrt(F), -1)) for G in np.linspace(0.5, 10, 96))


@chapter.violation("thm-atomic-duality", "ass-proper",
                   "the loss $(F^2 - 1)^2$, atoms $\\pm 1$: primal minus dual value")
def duality_without_convexity(rng):
    yield double_well_gap()


@chapter.violation("thm-atomic-duality", "ass-atoms",
                   "atoms $\\pm(t, 1)$, $Y = (1, 0)$: objective of what the cost $P = 0$ can buy, minus $P$")
def duality_without_compactness(rng):
    Y, beta = np.array([1.0, 0.0]), 1.0
    infimum = beta * cheapest(np.array([[FAR, 1.0], [0.0, 1.0]]), Y)[0]  # interpolate with far atoms
    yield 0.5 * Y @ Y - infimum  # cost zero buys F = 0 only


@chapter.statement(
    "prop-discretisation",
    "error of $2k$ equidistant atoms on the circle and on an ellipse, by a convex solver, against its bound",
    1e-7,
    {"half of the bound": {"factor": 0.5}, "bound without $\\beta$": {"with_beta": False}},
)
def discretisation(rng, factor=1.0, with_beta=True):
    for k in (3, 5, 12):
        angles = np.pi * np.arange(k) / k
        dots = np.column_stack([np.cos(angles), np.sin(angles)])
        eps = 1 - np.cos(np.pi / (2 * k))
        for X, beta in ((np.eye(2), 3.0), (np.array([[1.4, 0.2], [0.2, 0.6]]), 3.0)):
            aim = X @ [np.cos(np.pi / (2 * k)), np.sin(np.pi / (2 * k))]  # half-way between two atoms
            normal = np.linalg.solve(X.T, np.linalg.solve(X, aim))  # exposes it: the residual at the optimum
            Y = 5.0 * aim + beta * normal
            optimum = solve(X, Y, beta)
            gauge = LinearFeatures(X).gauge(optimum.predict(X)[:, 0])
            error = fit(dots @ X.T, Y, beta)[0] - optimum.objective
            bound = factor * eps / (1 - eps) * (beta if with_beta else 1.0) * gauge
            yield max(0.0, error - bound, -error)
        delta, kappa = 2 * np.sin(np.pi / (4 * k)), 1.0  # circle: nearest atom, least support of a unit vector
        yield max(0.0, eps - delta / kappa)


@chapter.violation("prop-discretisation", "ass-atoms",
                   "atoms $\\pm(t, 1)$, $Y = (10, 0)$: error of the atoms with $t \\in \\{0, 1\\}$, bound zero")
def discretisation_without_compactness(rng):
    yield fit(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([10.0, 0.0]), 1.0)[0]  # P = 0 and gauge(Y) = 0


@chapter.statement(
    "prop-cutting-plane",
    "both bounds after at most 40 steps against the closed form for ellipsoids; order and validity at every step",
    1e-6,
    {"least exposed atom added": {"worst": True}, "multiplier not scaled": {"scaled": False}},
)
def cutting_plane(rng, worst=False, scaled=True):
    for N in (2, 3, 5):
        X, Y = rng.normal(size=(N, N)), rng.normal(size=N)
        beta = 0.3 * np.linalg.norm(X.T @ Y)
        optimum = solve(X, Y, beta)
        residual = Y - optimum.predict(X)[:, 0]
        atoms = X[:, :1].T
        for _ in range(40):
            upper, G, _ = fit(atoms, Y, beta)
            exposed = X @ (X.T @ G) / np.linalg.norm(X.T @ G)
            scale = min(1.0, beta / (exposed @ G)) if scaled else 1.0
            lower = scale * (G @ Y) - 0.5 * scale**2 * (G @ G)
            yield max(0.0, lower - optimum.objective, optimum.objective - upper) / optimum.objective
            yield max(0.0, exposed @ residual - beta) / beta  # the cut keeps the dual optimum
            if exposed @ G <= beta * (1 + 1e-9):
                break
            u = rng.normal(size=N)
            u -= (u @ (X.T @ G)) / np.sum((X.T @ G) ** 2) * (X.T @ G)  # X u is orthogonal to G
            atoms = np.vstack([atoms, X @ u / np.linalg.norm(u) if worst else exposed])
        yield max(upper - optimum.objective, optimum.objective - lower if scaled else 0.0) / optimum.objective
        yield 1e-3 * np.linalg.norm(G - residual) / np.linalg.norm(residual)  # a point is less exact than its value


@chapter.violation("prop-cutting-plane", "ass-atoms",
                   "atoms $\\pm(t, 1)$: gap after the first step, when the support function is followed to $10^8$")
def cutting_plane_without_compactness(rng):
    Y, beta = np.array([1.0, 2.0]), 1.0
    upper, G, _ = fit(np.array([[0.0, 1.0]]), Y, beta)
    scale = beta / (FAR * abs(G[0]) + abs(G[1]))
    yield upper - (scale * (G @ Y) - 0.5 * scale**2 * (G @ G))


@chapter.violation("prop-cutting-plane", "ass-proper",
                   "the loss $(F^2 - 1)^2$ with both atoms present: the gap that remains")
def cutting_plane_without_convexity(rng):
    yield double_well_gap()
