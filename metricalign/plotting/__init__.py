"""Pictures of learned metrics, as display objects in the manner of scikit-learn.

`from_estimator` makes a display. The display keeps the data that it draws, and `plot` draws it
again. Displays need matplotlib: ``pip install "metricalign[plot]"``.

The estimator is a fitted metric learner, or a fitted `Pipeline` whose last step is one. In a
pipeline, samples go through the earlier steps first, and *before* is Euclid's distance of the
results. If a pipeline goes on after the metric, pass the part up to it, such as ``pipeline[:-1]``.

Pictures of distances and embeddings take every metric learner. Pictures of a matrix take linear
learners, and the picture of the duality gap takes convex ones. The picture of an explanation takes
a predictor by neighbours, and that of information an explainer of a network.

Features have the names of the data in the fit of the metric learner. In a pipeline they have the
names that the earlier steps return by `get_feature_names_out`. Without names they are x0, x1 and so
on.
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
