"""
What a transformer knows of its tokens
======================================

Sentences of eight tokens: the class is whether the second token is odd. The embedding is also
trained to tell the last token, which decides nothing.
"""

import numpy as np
import torch
from torch import nn

from metricalign.deep import InformationExplainer
from metricalign.plotting import InformationDisplay


class Transformer(nn.Module):
    """One layer, and the mean over the tokens."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(8, 16)
        self.places = nn.Parameter(torch.randn(8, 16) / 4)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.embedding = nn.Linear(16, 8)
        self.classes, self.last = nn.Linear(8, 2), nn.Linear(8, 8)

    def embed(self, X):
        """Mean over the tokens, as the representation."""
        return self.embedding(self.layer(self.tokens(X) + self.places).mean(dim=1))

    def forward(self, X):
        """Logits of the two classes."""
        return self.classes(self.embed(X))


torch.manual_seed(0)
X = np.random.default_rng(0).integers(8, size=(3000, 8))
y = X[:, 1] % 2
model = Transformer()
optimizer = torch.optim.Adam(model.parameters(), 5e-3)
samples, classes = torch.tensor(X), torch.tensor(y)
for _ in range(10):
    for rows in torch.randperm(2500).split(64):
        Z = model.embed(samples[rows])
        loss = nn.functional.cross_entropy(model.classes(Z), classes[rows])
        loss = loss + nn.functional.cross_entropy(model.last(Z), samples[rows, 7])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()

# %%
# Local are the embedded tokens. What decides is one bit, log 2 = 0.69 nats; the embedding may keep
# more of that token. The last token is one of eight, log 8 = 2.08 nats. Of the others nothing
# should be known. A part of the last token counts as decision-related: noise is no token, and the
# network was not trained to ignore it.

explainer = InformationExplainer(
    model, layer="tokens", representation="embedding", random_state=0
).fit(X[:2500])
explanation = explainer.explain(X[2500:])
for part in ("total", "decision", "redundant"):
    print(f"{part:10}", getattr(explanation, part).mean(axis=0).round(2))

# %%
InformationDisplay.from_estimator(
    explainer, X[2500:], feature_names=[f"token {place}" for place in range(1, 9)]
)
