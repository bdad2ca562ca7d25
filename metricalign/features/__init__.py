"""Encoders of tables: of dates and texts, and of columns by the pieces of their range."""

from metricalign.features.piecewise_linear import PiecewiseLinearEncoder
from metricalign.features.table import DateTextEncoder

__all__ = ["DateTextEncoder", "PiecewiseLinearEncoder"]
