"""Losses: how badly a predicted distance misses the relation of its pair.

With phi_p(a) = c_p loss(a, t_p), c_p the weight of pair p times C, a solver needs phi_p and its
convex conjugate, as a function of the dual coefficient: phi_p*(-beta) = sup over a of
-beta a - phi_p(a).

Sources: the dual of relation alignment, Zhu et al., Beyond Similar and Dissimilar Relations, IJCAI
2018; logistic regression, Yu, Huang, Lin, Dual coordinate descent methods for logistic regression
and maximum entropy models, Machine Learning 85 (2011).
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
