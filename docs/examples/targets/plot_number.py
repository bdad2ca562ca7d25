"""
A number
========

A smooth function of five of ten features, with noise (Friedman's first problem). Samples with
similar values are to be near each other: the relation of two samples is the absolute difference of
their targets.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR

X, y = make_friedman1(n_samples=400, noise=1.0, random_state=0)

# %%
# The mean of the neighbours predicts. How many neighbours are best depends on the metric, so
# several are tried.

n_neighbors = np.array([5, 10, 20, 40])
r2 = {
    name: [
        cross_val_score(
            make_pipeline(StandardScaler(), metric, KNeighborsRegressor(n)), X, y, cv=5
        ).mean()
        for n in n_neighbors
    ]
    for name, metric in {"scaled Euclid": "passthrough", "PSDSVR": PSDSVR()}.items()
}
figure, axes = plt.subplots(layout="constrained")
for name, scores in r2.items():
    axes.plot(n_neighbors, scores, marker="o", label=name)
axes.set(xlabel="neighbours", ylabel="R2, mean of 5 folds", xscale="log")
axes.set_xticks(n_neighbors, n_neighbors)
axes.minorticks_off()
axes.legend()

# %%
# ``score`` needs no predictor: it is the share of pairs of pairs in the right order.

learner = PSDSVR()
print(cross_val_score(make_pipeline(StandardScaler(), learner), X, y, cv=5).mean().round(3))
