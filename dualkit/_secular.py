"""All roots of the secular equation of a scalar-output deep linear network.

For singular values s_i and b = S U^T y let tau(mu) = ||b / (s^2 + mu)||. The multipliers mu > 0 of the
stationary points solve mu tau(mu)^q = beta, q = 2 - 2/L. In theta = log mu this reads
psi(theta) = theta + q log tau = log beta.

Two facts turn a search into a proof. (1) psi' = 1 - q rho, where rho in (0, 1) is the mean of
t_i = mu/(s_i^2 + mu) under weights b_i^2/(s_i^2 + mu)^2. (2) rho' = E[t - t^2] - 2 Var(t), and
rho^2 <= E[t^2] <= rho, so the logit of rho moves at a speed between -2 and 1, whatever the data. Its values
at both ends of an interval therefore bound psi' on it, hence psi: the interval is dropped, or psi is monotone
on it, or it is halved.
"""

from __future__ import annotations

from collections.abc import Callable
from math import expm1, inf, log, tanh

import numpy as np

from dualkit._validate import Array

# Two roots closer than this in log mu have merged to rounding: psi - log beta stays below 1e-14 between them.
_RESOLUTION = 1e-7


def _log_sum_exp(x: Array) -> float:
    top = x.max()
    return float(top + np.log(np.exp(x - top).sum()))


def _expit(x: float) -> float:
    return 0.5 * (1 + tanh(0.5 * x))


def secular_roots(log_s: Array, log_b: Array, log_beta: float, depth: int) -> tuple[Array, Array]:
    """Return every root theta = log mu, ascending, and whether psi rises there (a local minimum) or falls.

    log_s and log_b hold log s_i and log |b_i| of the components with b_i != 0. A pair of roots that merges to
    within `_RESOLUTION` is left out: an inflection of the objective, not a minimum.
    """
    q = 2 - 2 / depth

    def curve(theta: float) -> tuple[float, float]:
        """Return psi(theta) - log beta and logit rho(theta)."""
        h = np.logaddexp(2 * log_s, theta)
        log_weights = 2 * (log_b - h)
        height = theta + q / 2 * _log_sum_exp(log_weights) - log_beta
        return height, theta + _log_sum_exp(log_weights - h) - _log_sum_exp(log_weights - h + 2 * log_s)

    # psi <= theta + q log tau(0) on the left; psi <= (1 - q) theta + q log ||b|| on the right
    log_ratio = _log_sum_exp(2 * log_b) / 2 * q - log_beta
    if depth == 2 and log_ratio <= 0:
        return np.empty(0), np.empty(0, dtype=bool)
    left = log_beta - q * _log_sum_exp(2 * (log_b - 2 * log_s)) / 2 - 1
    # L = 2: psi increases, and mu tau >= mu ||b|| / (s_1^2 + mu)
    right = 2 * log_s.max() + 1 - log(expm1(min(log_ratio, 700))) if depth == 2 else log_ratio / (q - 1) + 1
    roots, rising = [], []
    todo = [(left, curve(left), right, curve(right))] if left < right else []
    while todo:
        a, (height_a, logit_a), b, (height_b, logit_b) = todo.pop()
        least = 1 - q * _expit((2 * logit_a + logit_b + 2 * (b - a)) / 3)
        most = 1 - q * _expit((logit_a + 2 * logit_b - 2 * (b - a)) / 3)
        if depth == 2 or least > 0 or most < 0 or b - a < _RESOLUTION:
            if (height_a >= 0) != (height_b >= 0):
                roots.append(_bracketed_newton(curve, q, a, b, height_b >= 0))
                rising.append(height_b >= 0)
            continue
        peak = height_a + most * (height_b - height_a - least * (b - a)) / (most - least)
        valley = height_a + least * (height_a - height_b + most * (b - a)) / (most - least)
        if peak >= 0 >= valley:
            middle = 0.5 * (a + b)
            at_middle = curve(middle)
            todo += [(middle, at_middle, b, (height_b, logit_b)), (a, (height_a, logit_a), middle, at_middle)]
    return np.array(roots), np.array(rising, dtype=bool)


def _bracketed_newton(curve: Callable, q: float, a: float, b: float, rising: bool) -> float:
    """Return the root between a and b to rounding: Newton's method, bisection where it leaves the bracket."""
    theta = 0.5 * (a + b)
    while True:  # every pass shrinks the bracket
        height, logit = curve(theta)
        a, b = (a, theta) if (height >= 0) == rising else (theta, b)
        slope = 1 - q * _expit(logit)
        step = height / slope if slope else inf
        if abs(step) <= 1e-15 * (1 + abs(theta)):
            return theta
        new = theta - step if a < theta - step < b else 0.5 * (a + b)
        if not a < new < b:
            return theta
        theta = new
