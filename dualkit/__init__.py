"""Closed forms, certificates and exact solvers for neural networks seen through convex duality.

Start with `solve`, which trains a network to global optimality where a theorem covers the case, and
`certify`, which bounds how far any trained network is from the optimum. Every objective is
``l(f(X), Y) + (beta/2) * (sum of squared weights)`` with ``0.5 ||.||^2`` for the squared loss and no 1/n.
"""

from dualkit._validate import NotCovered
from dualkit.certificate import Certificate, certify
from dualkit.conversion import as_network
from dualkit.networks import Network, balance
from dualkit.solution import Solution, solve

__version__ = "0.1.0"
__all__ = ["Certificate", "Network", "NotCovered", "Solution", "as_network", "balance", "certify", "solve"]
