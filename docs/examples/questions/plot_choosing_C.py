"""
Choosing C
==========

C weighs the fit of the distances against the size of the metric. On a path over C every fit
starts from the solution of the one before.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR, RelationAlignmentCV

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X)

# %%
# `RelationAlignmentCV` fits a path in every fold and scores its metrics on held-out samples: the
# share of pairs of pairs that are in the order of their relations.

search = RelationAlignmentCV(cone="positive_semidefinite", Cs=9).fit(X, y)
figure, axes = plt.subplots(layout="constrained")
axes.plot(search.Cs_, search.scores_, color="C7", linewidth=0.8)
axes.plot(
    search.Cs_, search.scores_.mean(axis=1), color="C0", marker="o", label="mean of the folds"
)
axes.axvline(search.C_, color="C1", label="chosen")
axes.axvline(PSDSVR().fit(X, y).C_, color="black", linestyle="dashed", label='C="scale"')
axes.set(xscale="log", xlabel="C, weight of one pair", ylabel="share of pairs in the right order")
figure.legend(loc="outside lower center", ncols=3)

# %%
# `fit_path` of the other estimators that have a C gives the fitted learner for each C.

for learner in PSDSVR().fit_path(X, y, search.Cs_[::2]):
    n_dimensions = len(learner.components_)
    print(f"C = {learner.C_:.1e}: {n_dimensions} dimensions, {learner.n_iter_} iterations")
