"""
What a deep metric knows of a table
===================================

HRAML learns an embedding of wines in which those of one sort are near. Which columns does the
embedding know, and which decide who is whose neighbour?
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from metricalign.deep import HRAML, InformationExplainer
from metricalign.plotting import InformationDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
X = X.set_axis([name.split("/")[0] for name in X.columns], axis=1)
scaled = StandardScaler().set_output(transform="pandas").fit_transform(X)
learner = HRAML(hidden_layer_sizes=(32,), n_components=4, max_iter=60, random_state=0)
learner.fit(scaled, y)

# %%
# 178 wines are few to estimate information from. The network takes any rows, so we draw more of
# them near the wines: each is one of the wines with a little noise.

rng = np.random.default_rng(0)
near = scaled.sample(3000, replace=True, random_state=0)
near = pd.DataFrame(near.to_numpy() + 0.3 * rng.normal(size=near.shape), columns=X.columns)
explainer = InformationExplainer(learner, random_state=0).fit(near[:2500])
explanation = explainer.explain(near[2500:])
print(f"of the neighbours are kept {explanation.decision_kept:.0%}")

# %%
# Columns of wines go together, so an embedding that reads one column knows something of others:
# what is known of a column need not be read from it. What decides is read from it.

InformationDisplay.from_estimator(explainer, near[2500:])
