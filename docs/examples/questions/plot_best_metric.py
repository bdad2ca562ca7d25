"""
The best of many metrics
========================

Which metric has the best neighbours differs from data to data. ``MetricLearnerCV`` compares
several by cross-validation: how different are the targets of a held-out sample and of its nearest
neighbours? It averages the best three, and keeps Euclid's distance where none is better.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import (
    PSDSVR,
    IteratedMetricLearner,
    MetricLearnerCV,
    NeighborhoodAlignment,
)

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, train_size=500, stratify=y, random_state=0)

# %%
# ``candidates=None`` takes eleven. These five show the idea.

candidates = {
    "Euclid": "passthrough",
    "PSDSVR": PSDSVR(),
    "four rounds of PSDSVR": IteratedMetricLearner(),
    "neighbourhoods": NeighborhoodAlignment(random_state=0),
    "kernel regression": NeighborhoodAlignment("kernel_regression", random_state=0),
}
search = MetricLearnerCV(list(candidates.values()))
model = make_pipeline(StandardScaler(), search, KNeighborsClassifier()).fit(X, y)

# %%
# The relation of two classes is -1 for the same and 1 for different ones: -1 is the best score.

scores = model[1].scores_
order = np.argsort(scores.mean(axis=1))[::-1]
_, axis = plt.subplots(figsize=(7, 3), layout="constrained")
axis.boxplot(scores[order].T, orientation="horizontal")
axis.set_yticks(np.arange(1, len(order) + 1), np.array(list(candidates))[order])
axis.set_xlabel("mean relation of held-out samples and their neighbours, in each fold")

# %%
# The average of the best three, on samples that took no part in this:

euclid = make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(X, y)
print(f"Euclid {euclid.score(X_test, y_test):.3f}, learned {model.score(X_test, y_test):.3f}")
