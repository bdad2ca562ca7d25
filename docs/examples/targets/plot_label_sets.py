"""
Label sets
==========

Samples that have several labels at once. The relation of two samples is the number of labels that
only one of them has. ML-kNN predicts label sets from neighbours, and ranks the labels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR
from metricalign.metrics import SCORERS
from metricalign.multilabel import MLkNN

# %%
# Five labels that depend on the first six of twenty features, and on chance.

rng = np.random.default_rng(0)
X = rng.normal(size=(500, 20))
y = (X[:, :6] @ rng.normal(size=(6, 5)) + rng.normal(size=(500, 5)) > 0.8).astype(int)
print(y[:5])

# %%
# The five measures of the literature. Scorers of losses return the negative loss, so more is
# better in all.

names = ["hamming", "ranking", "one_error", "coverage", "average_precision"]
scoring = {name: SCORERS[name] for name in names}
scores = {}
for title, metric in {"scaled Euclid": "passthrough", "PSDSVR": PSDSVR()}.items():
    result = cross_validate(make_pipeline(StandardScaler(), metric, MLkNN()), X, y, scoring=scoring)
    scores[title] = [result[f"test_{name}"].mean() for name in names]
print(f"{'':18}", *(f"{title:>14}" for title in scores))
for name, *values in zip(names, *scores.values(), strict=True):
    print(f"{name:18}", *(f"{value:14.3f}" for value in values))

# %%
# The learned weights of the features, those of the six that count in blue.

learner = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)[-1]
figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
weights = np.diag(learner.get_mahalanobis_matrix())
axes.bar(range(20), weights, color=np.where(np.arange(20) < 6, "C0", "C7"))
axes.set(xlabel="feature", ylabel="diagonal of M")
