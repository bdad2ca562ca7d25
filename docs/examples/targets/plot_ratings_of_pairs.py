"""
Ratings of pairs
================

Samples without targets, but some of whose pairs a person has rated. The ratings are the
relations: ``relation="precomputed"`` takes them as a matrix, here a sparse one that stores the
rated pairs.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import coo_array
from scipy.stats import spearmanr
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR

X = StandardScaler().fit_transform(load_wine().data)
names = load_wine().feature_names

# %%
# A taster who attends to alcohol and colour only rates pairs from 0 (alike) to 4 (nothing in
# common).

rng = np.random.default_rng(0)
tasted = X[:, [names.index("alcohol"), names.index("color_intensity")]]
left, right = np.triu_indices(len(X), k=1)
differences = np.linalg.norm(tasted[left] - tasted[right], axis=1)
ratings = np.clip(np.round(differences + rng.normal(scale=0.5, size=len(left))), 0, 4)
rated, other = np.split(rng.permutation(len(left)), [600])
y = coo_array((ratings[rated], (left[rated], right[rated])), shape=(len(X), len(X)))
print(f"{len(rated)} of {len(left)} pairs are rated")

# %%
# The metric is fitted to the rated pairs. Its distances of the *other* pairs follow the taster's.

learner = PSDSVR(relation="precomputed").fit(X, y)
pairs = np.column_stack([left, right])[other]
learned = learner.pair_distance(X[pairs])
euclid = np.linalg.norm(X[pairs[:, 0]] - X[pairs[:, 1]], axis=1)
print("rank correlation with the ratings of the other pairs")
print("  scaled Euclid", spearmanr(euclid, ratings[other]).statistic.round(2))
print("  learned      ", spearmanr(learned, ratings[other]).statistic.round(2))

# %%
# It has found out what the taster attends to.

weights = np.diag(learner.get_mahalanobis_matrix())
order = np.argsort(weights)
figure, axes = plt.subplots(layout="constrained")
axes.barh(np.array(names)[order], weights[order])
axes.set(xlabel="diagonal of M")
