"""
Samples before and after
========================

The plane in which samples vary most, under Euclid's distance and under the learned one.
"""

from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR
from metricalign.plotting import EmbeddingDisplay

# %%
# Five of the digits, on images that were held out. A metric fitted to few pairs looks good on the
# samples that it has seen, so look at others.

X, y = load_digits(n_class=5, return_X_y=True)
X /= 16  # the pixels share one unit
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
model = PSDSVR().fit(X, y)
EmbeddingDisplay.from_estimator(model, X_test, y_test)

# %%
# A number as target is a colour. Random pairs, near and far ones, serve a picture of all samples.

X, y = load_diabetes(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), PSDSVR(pairs="random", random_state=0)).fit(X, y)
EmbeddingDisplay.from_estimator(model, X_test, y_test)
