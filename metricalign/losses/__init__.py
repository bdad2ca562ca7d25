"""Losses: the cost of a predicted distance that misses the relation of its pair.

Let c_p be the weight of pair p times C, and phi_p(a) = c_p loss(a, t_p). A solver needs phi_p and
its convex conjugate as a function of the dual coefficient beta,

    phi_p*(-beta) = sup over a of -beta a - phi_p(a).

References
----------
Zhu et al., Beyond Similar and Dissimilar Relations: A Kernel Regression Formulation for Metric
Learning, IJCAI 2018: the dual of relation alignment.

Yu, Huang, Lin, Dual coordinate descent methods for logistic regression and maximum entropy models,
Machine Learning 85 (2011): the dual of the logistic loss.
"""

from metricalign.losses.conjugates import (
    Conjugate,
    LogisticConjugate,
    PiecewiseQuadraticConjugate,
)
from metricalign.losses.errors import (
    EpsilonInsensitive,
    OneSided,
    Squared,
    SquaredEpsilonInsensitive,
)
from metricalign.losses.loss import Loss
from metricalign.losses.signs import Hinge, Logistic

__all__ = [
    "LOSSES",
    "Conjugate",
    "EpsilonInsensitive",
    "Hinge",
    "Logistic",
    "LogisticConjugate",
    "Loss",
    "OneSided",
    "PiecewiseQuadraticConjugate",
    "Squared",
    "SquaredEpsilonInsensitive",
]

LOSSES = {
    "epsilon_insensitive": EpsilonInsensitive,
    "squared_epsilon_insensitive": SquaredEpsilonInsensitive,
    "squared": Squared,
    "one_sided": OneSided,
    "hinge": Hinge,
    "logistic": Logistic,
}
"""The losses by name."""
