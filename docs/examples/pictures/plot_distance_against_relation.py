"""
Distance against relation
=========================

What relation alignment is about in one picture: pairs of samples, the difference of their targets
and the distance of their features, before and after learning.
"""

from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR
from metricalign.plotting import DistanceRelationDisplay

# %%
# A target that is a number, on samples that were held out. The concordance is the share of pairs
# of pairs in the right order.

X, y = load_diabetes(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)
DistanceRelationDisplay.from_estimator(model, X_test, y_test, random_state=0)

# %%
# Classes: pairs of the same and of different ones.

X, y = load_wine(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
model = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)
DistanceRelationDisplay.from_estimator(model, X_test, y_test, random_state=0)
