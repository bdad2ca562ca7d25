"""
The matrix and its spectrum
===========================

What has been learned: which features count and which together, and how many directions there are.
"""

from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR, RAMLSVR
from metricalign.plotting import MetricHeatmapDisplay, MetricSpectrumDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
model = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)

# %%
# The matrix M. A large entry of the diagonal is a feature that counts; an entry off the diagonal
# says that differences in two features add up if they have the same sign (positive) or opposite
# signs (negative).

MetricHeatmapDisplay.from_estimator(model)

# %%
# Its eigenvalues: the directions that the map keeps.

MetricSpectrumDisplay.from_estimator(model)

# %%
# Over all symmetric matrices there are negative ones too, which are dropped from the map.

MetricSpectrumDisplay.from_estimator(make_pipeline(StandardScaler(), RAMLSVR()).fit(X, y))
