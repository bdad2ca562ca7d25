"""Features that bend: columns encoded so that a linear metric is one curve for each of them."""

from metricalign.features.piecewise_linear import PiecewiseLinearEncoder

__all__ = ["PiecewiseLinearEncoder"]
