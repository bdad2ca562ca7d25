"""
What an image classifier knows
==============================

A small residual network tells digits. Of each place of an image: what does its representation know,
and what of that does the decision need?
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from metricalign.deep import InformationExplainer
from metricalign.plotting import InformationDisplay


class Block(nn.Module):
    """Two convolutions, added to what comes in."""

    def __init__(self, n_channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_channels, n_channels, 3, padding=1),
            nn.BatchNorm2d(n_channels),
            nn.ReLU(),
            nn.Conv2d(n_channels, n_channels, 3, padding=1),
            nn.BatchNorm2d(n_channels),
        )

    def forward(self, X):
        """Map a batch."""
        return torch.relu(X + self.body(X))


torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).reshape(-1, 1, 8, 8).astype("float32")
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
model = nn.Sequential()
model.add_module("stem", nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()))
model.add_module("blocks", nn.Sequential(Block(16), Block(16)))
model.add_module("pool", nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 32)))
model.add_module("classes", nn.Sequential(nn.ReLU(), nn.Linear(32, 10)))

optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for _ in range(10):
    for rows in torch.randperm(len(X)).split(64):
        loss = nn.functional.cross_entropy(model(torch.from_numpy(X)[rows]), torch.tensor(y)[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print("accuracy", (model(torch.from_numpy(X_test)).argmax(1).numpy() == y_test).mean())

# %%
# Local are the outputs of the first convolution, which sees 3 x 3 pixels; the representation is
# that of the layer before the classes. The network is not changed: two small modules are trained
# beside it.

explainer = InformationExplainer(model, layer="stem", representation="pool", random_state=0)
explainer.fit(X)
explanation = explainer.explain(X_test)
print(f"of the decision is kept {explanation.decision_kept:.0%}")
print(f"a place is known by {explanation.total.mean():.2f} nats, at most {explanation.ceiling:.2f}")
print(f"of which decide {explanation.decision.mean():.2f}")

# %%
# One image. Left is what is known; it is the sum of the other two.

InformationDisplay.from_estimator(explainer, X_test[:1], name=f"a {y_test[0]}")

# %%
# The mean of all test images of one class.

InformationDisplay.from_estimator(explainer, X_test[y_test == 3], name="all threes")
