"""
A label distribution
====================

Some targets are shares: of the readers of a text one half may be amused, a third surprised and
the rest bored. The relation of two samples is the largest difference of their shares (Chebyshev's
distance), and the mean distribution of the neighbours predicts.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax
from sklearn.model_selection import cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR
from metricalign.metrics import SCORERS

# %%
# Shares of four labels that depend on three directions of twelve features.

rng = np.random.default_rng(0)
X = rng.normal(size=(500, 12))
y = softmax(X @ rng.normal(size=(12, 3)) @ rng.normal(size=(3, 4)) / 2, axis=1)
print(y[:3].round(2))

# %%
# The measures of the literature, negative where lower is better.

names = ["chebyshev", "clark", "canberra", "kullback_leibler", "cosine", "intersection"]
scoring = {name: SCORERS[name] for name in names}
scores = {}
for title, metric in {"scaled Euclid": "passthrough", "PSDSVR": PSDSVR()}.items():
    model = make_pipeline(StandardScaler(), metric, KNeighborsRegressor())
    result = cross_validate(model, X, y, scoring=scoring)
    scores[title] = [result[f"test_{name}"].mean() for name in names]
print(f"{'':18}", *(f"{title:>14}" for title in scores))
for name, *values in zip(names, *scores.values(), strict=True):
    print(f"{name:18}", *(f"{value:14.3f}" for value in values))

# %%
# The metric finds that few directions count: the eigenvalues of M.

learner = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)[-1]
figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
axes.bar(range(1, 13), np.linalg.eigvalsh(learner.matrix_)[::-1])
axes.set(xlabel="eigenvalue of M, the largest first", ylabel="size")
