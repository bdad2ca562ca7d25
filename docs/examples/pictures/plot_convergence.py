"""
Convergence
===========

Every fit ends with a bound on its distance from the optimum. The picture shows how it got there.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR
from metricalign.plotting import ConvergenceDisplay

X, y = load_wine(return_X_y=True)
X, y = StandardScaler().fit_transform(X)[::3], y[::3]

# %%
# The duality gap of three solvers against operator passes, the number of times that all pairs
# were looked at.

figure, axes = plt.subplots(layout="constrained")
for solver in ("newton", "quasi_newton", "projected_gradient"):
    learner = PSDSVR(solver=solver, tol=1e-5, max_iter=2000).fit(X, y)
    ConvergenceDisplay.from_estimator(learner, name=solver, ax=axes)
axes.set_xscale("log")
