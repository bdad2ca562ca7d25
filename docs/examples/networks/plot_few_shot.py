"""
Prototypes of classes that were not trained
===========================================

A network is trained on the digits 0 to 6, as a prototypical network: an image belongs to the class
whose mean embedding is nearest. Then it tells 7, 8 and 9 by a few images of each. What does it look
at?
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from metricalign.deep import InformationExplainer
from metricalign.plotting import InformationDisplay

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).reshape(-1, 1, 8, 8).astype("float32")
model = nn.Sequential(
    nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
    nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    nn.Sequential(nn.Flatten(), nn.Linear(512, 16)),
)

# %%
# Episodes: five images of each of five classes make the prototypes, five others are told.

rng = np.random.default_rng(0)
optimizer = torch.optim.Adam(model.parameters(), 2e-3)
for _ in range(200):
    classes = rng.choice(7, size=5, replace=False)
    rows = np.array([rng.choice(np.flatnonzero(y == c), 10, replace=False) for c in classes])
    Z = model(torch.from_numpy(X[rows.ravel()])).reshape(5, 10, -1)
    prototypes, queries = Z[:, :5].mean(dim=1), Z[:, 5:].flatten(0, 1)
    logits = -torch.cdist(queries, prototypes).square()
    loss = nn.functional.cross_entropy(logits, torch.arange(5).repeat_interleave(5))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# The prototypes are the means of the classes that `fit` is given: those of 7, 8 and 9.

is_new = y >= 7
X, y = X[is_new], y[is_new]
explainer = InformationExplainer(model, layer="0", head="prototype", batch_size=64, random_state=0)
explainer.fit(X[:400], y[:400])
explanation = explainer.explain(X[400:])
print(f"of the decision is kept {explanation.decision_kept:.0%}")

# %%
for digit in (7, 8, 9):
    images = X[400:][y[400:] == digit]
    InformationDisplay.from_estimator(explainer, images, name=f"all {digit}s")
