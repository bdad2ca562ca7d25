"""
Why are two samples far apart?
==============================

A squared distance is a sum over features and pairs of features, so it can be taken apart.
"""

from sklearn.datasets import load_wine
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR
from metricalign.plotting import DistanceDecompositionDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
model = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)

# %%
# A wine and one of another cultivar. Each bar is the sum of a row of the matrix beside it; a
# negative bar is a feature that makes up for the difference in others.

DistanceDecompositionDisplay.from_estimator(model, X.iloc[[0]], X.iloc[[-1]])

# %%
# The same wine and its nearest neighbour.

images = model.transform(X)
neighbor = NearestNeighbors(n_neighbors=2).fit(images).kneighbors(images[:1])[1][0, 1]
DistanceDecompositionDisplay.from_estimator(model, X.iloc[[0]], X.iloc[[neighbor]])
