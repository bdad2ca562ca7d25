"""
Several numbers
===============

Targets of several columns, each in its own unit. The relation of two samples is Euclid's distance
of the standardised columns, so no unit has more to say than another.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_regression
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import RelationAlignmentCV

X, y = make_regression(
    n_samples=400, n_features=15, n_informative=4, n_targets=3, noise=20, random_state=0
)
y *= [1, 1000, 0.001]

# %%
# C is chosen inside of the fit, by how well it orders held-out pairs.

X, X_test, y, y_test = train_test_split(X, y, random_state=0)
learner = RelationAlignmentCV(cone="positive_semidefinite", Cs=5, cv=3)
predicted = {}
for name, metric in {"scaled Euclid": "passthrough", "RelationAlignmentCV": learner}.items():
    model = make_pipeline(StandardScaler(), metric, KNeighborsRegressor(10)).fit(X, y)
    predicted[name] = model.predict(X_test)
    print(f"{name:20}", r2_score(y_test, predicted[name], multioutput="raw_values").round(2))

# %%
# Prediction against truth on held-out samples, each column in its own unit.

figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4), layout="constrained")
for column, ax in enumerate(axes):
    for name, values in predicted.items():
        ax.scatter(y_test[:, column], values[:, column], s=8, label=name)
    ax.axline((0, 0), slope=1, color="black", linewidth=0.8)
    ax.set(title=f"target {column + 1}", xlabel="true")
axes[0].set_ylabel("predicted")
axes[0].legend()
