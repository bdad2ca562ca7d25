"""Mutual information of two variables, estimated from samples of their pairs.

An estimator of information takes a matrix of scores. Entry (i, j) says how well x_j fits y_i, and
the true pairs are on the diagonal. The scores come from a critic, a small network that is trained
for the estimator. The attribute `side` of an estimator says what it bounds. ``"lower"`` is at most
the information, whatever the critic. ``"upper"`` is at least the information, for the true density.
``"neither"`` is not a bound. Bounds hold in expectation: an estimate also varies with the samples,
by its standard error.

A new estimator is a subclass of `InformationBound` and a line in `BOUNDS`.
"""

from __future__ import annotations

from metricalign.deep.information.bounds import (
    BOUNDS,
    NWJ,
    SMILE,
    InfoNCE,
    InformationBound,
    VariationalUpperBound,
)
from metricalign.deep.information.critics import GaussianConditional, SeparableCritic
from metricalign.deep.information.estimator import InformationEstimate, MutualInformation

__all__ = [
    "BOUNDS",
    "NWJ",
    "SMILE",
    "GaussianConditional",
    "InfoNCE",
    "InformationBound",
    "InformationEstimate",
    "MutualInformation",
    "SeparableCritic",
    "VariationalUpperBound",
]
