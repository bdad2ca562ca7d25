"""
Distance against relation
=========================

What a metric is learned for, in one picture: pairs of samples, the difference of their targets and
the distance of their features, before and after learning.
"""

from sklearn.datasets import load_digits, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR, MetricEnsemble
from metricalign.plotting import DistanceRelationDisplay

# %%
# A target that is a number, on samples that were held out. Of ten columns five make the target,
# one of them by a parabola and two together by a sine, and five are noise: to Euclid's distance
# all are the same. The concordance is the share of pairs of pairs in the right order.

X, y = make_friedman1(800, n_features=10, noise=0.5, random_state=0)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
model = MetricEnsemble(random_state=0).fit(X, y)
DistanceRelationDisplay.from_estimator(model, X_test, y_test, random_state=0)

# %%
# Classes: pairs of images of the same digit and of different ones.

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
model = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)
DistanceRelationDisplay.from_estimator(model, X_test, y_test, random_state=0)
