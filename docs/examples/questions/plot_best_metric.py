"""
One metric from many
====================

Which metric has the best neighbours differs from data to data. ``MetricEnsemble`` averages metrics
that are learned in different ways, as they err differently, over the columns and over their
encoding by pieces. The neighbours of the average are as good as those of the best, or better.
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
    DiscriminantAlignment,
    GradientAlignment,
    MetricEnsemble,
    MetricNeighborsClassifier,
    NeighborhoodAlignment,
)

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, train_size=500, stratify=y, random_state=0)

# %%
# Five nearest neighbours under each metric:

metrics = {
    "Euclid": "passthrough",
    "discriminant": DiscriminantAlignment(),
    "gradients": GradientAlignment(random_state=0),
    "PSDSVR": PSDSVR(),
    "neighbourhoods": NeighborhoodAlignment(random_state=0),
    "ensemble": MetricEnsemble(random_state=0),
}
errors = {}
for name, metric in metrics.items():
    model = make_pipeline(StandardScaler(), metric, KNeighborsClassifier()).fit(X, y)
    errors[name] = 1 - model.score(X_test, y_test)

# %%
# ``MetricNeighborsClassifier`` takes the ensemble, chooses how the neighbours vote, and corrects
# their votes by regressions:

model = MetricNeighborsClassifier(random_state=0).fit(X, y)
errors["ensemble, corrected votes"] = 1 - model.score(X_test, y_test)

_, axis = plt.subplots(figsize=(7, 3), layout="constrained")
axis.barh(list(errors), list(errors.values()))
axis.invert_yaxis()
axis.set_xlabel("share of test samples that are misclassified")
print({name: round(float(error), 3) for name, error in errors.items()})

# %%
# What was averaged, and over what:

for view, learner in model.metric_.learners_:
    print(view, type(learner).__name__, np.shape(learner.components_))
