"""metricalign: learn a distance from any kind of target."""

from metricalign.linear import RAMLKRR, RAMLSVR, RelationAlignment

__version__ = "0.1.0.dev0"

__all__ = ["RAMLKRR", "RAMLSVR", "RelationAlignment"]
