"""Pictures of learned metrics, as display objects in scikit-learn's manner.

A display is made by `from_estimator`, keeps the data that it draws, and can be drawn again with
`plot`. They need matplotlib: ``pip install "metricalign[plot]"``.

The estimator is a fitted metric learner, or a fitted `Pipeline` whose last step is one. Samples
then go through the earlier steps first, and *before* means Euclid's distance of what these
return: the samples as the metric learner gets them. If a pipeline goes on after
the metric, pass the part up to it, such as ``pipeline[:-1]``. Pictures of distances and embeddings
take every metric learner, those of a matrix the linear ones, and that of the duality gap the convex
ones. The picture of an explanation takes a predictor by neighbours, that of information an
explainer of a network.

Features are called as in the data that the metric learner was fitted to; in a pipeline, as the
earlier steps' `get_feature_names_out` says. Where there are no names, they are x0, x1 and so on.
"""

from metricalign.plotting.convergence import ConvergenceDisplay
from metricalign.plotting.curves import CurvesDisplay
from metricalign.plotting.decomposition import DistanceDecompositionDisplay
from metricalign.plotting.distance_relation import DistanceRelationDisplay
from metricalign.plotting.embedding import EmbeddingDisplay
from metricalign.plotting.explanation import ExplanationDisplay
from metricalign.plotting.heatmap import MetricHeatmapDisplay
from metricalign.plotting.information import InformationDisplay
from metricalign.plotting.spectrum import MetricSpectrumDisplay

__all__ = [
    "ConvergenceDisplay",
    "CurvesDisplay",
    "DistanceDecompositionDisplay",
    "DistanceRelationDisplay",
    "EmbeddingDisplay",
    "ExplanationDisplay",
    "InformationDisplay",
    "MetricHeatmapDisplay",
    "MetricSpectrumDisplay",
]
