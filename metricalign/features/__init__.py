"""Tables as features: dates and texts encoded, and columns that bend in a linear metric."""

from metricalign.features.piecewise_linear import PiecewiseLinearEncoder
from metricalign.features.table import DateTextEncoder

__all__ = ["DateTextEncoder", "PiecewiseLinearEncoder"]
