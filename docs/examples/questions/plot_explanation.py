"""
Why these neighbours?
=====================

A prediction by neighbours can be looked up: these rows are near, because of these columns. And it
can be tried: with these values in place of those, the prediction would be another one.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from metricalign import MetricNeighborsClassifier
from metricalign.plotting import ExplanationDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
y = y.map({0: "malignant", 1: "benign"})
X, X_test, y, y_test = train_test_split(X, y, train_size=0.5, random_state=0)
model = MetricNeighborsClassifier(random_state=0).fit(X, y)
print(f"{model.score(X_test, y_test):.3f} of the held-out tumours are told right")

# %%
# One of these, and the five nearest rows of the training table. The parts of the columns add up to
# the squared distance. The change at the end was tried: no column of it can be left out.

print(model.explain(X_test.iloc[[1]]))

# %%
# The same drawn. What is left of zero makes up for the difference in other columns.

ExplanationDisplay.from_estimator(model, X_test.iloc[[1]])

# %%
# A tumour for which the model is in doubt has neighbours of both classes.

doubt = abs(model.predict_proba(X_test)[:, 0] - 0.5).argmin()
ExplanationDisplay.from_estimator(model, X_test.iloc[[doubt]], n_neighbors=8)
