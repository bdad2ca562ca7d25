"""
Where distances grow: a curve for each column
=============================================

Over encoded columns a metric is a sum of curves, one for each column of the table. They can be read
like the shape functions of an additive model: where a curve is steep, a small difference makes
two rows unlike; where it is flat, all values are alike.
"""

import numpy as np
import pandas as pd

from metricalign import MetricNeighborsRegressor
from metricalign.plotting import CurvesDisplay

# %%
# Made-up rents, so that the truth is known: they rise with the size up to 80 square metres, are
# high in both very old and very new houses, and lower without a lift. The colour of the door means
# nothing. Some ages are missing.

rng = np.random.default_rng(0)
flats = pd.DataFrame(
    {
        "size": rng.uniform(20, 150, 600),
        "age": rng.gamma(2, 25, 600),
        "district": rng.choice(["harbour", "centre", "park", "station"], 600),
        "lift": rng.random(600) < 0.6,
        "floor": rng.integers(0, 6, 600),
        "door": rng.choice(["red", "green", "blue"], 600),
    }
)
premium = flats["district"].map({"harbour": 0, "centre": 300, "park": 200, "station": 0})
rent = 12 * flats["size"].clip(upper=80) + 0.15 * (flats["age"] - 50) ** 2 + premium
rent += np.where(flats["lift"], 100, -20 * flats["floor"]) + 40 * rng.normal(size=600)
flats.loc[::12, "age"] = None

model = MetricNeighborsRegressor(random_state=0).fit(flats[:400], rent[:400])
print(f"R2 of the held-out rents {model.score(flats[400:], rent[400:]):.2f}")

# %%
# The title of a panel has the share of the column in all squared distances.

CurvesDisplay.from_estimator(model, flats[:400])

# %%
# One column.

CurvesDisplay.from_estimator(model, flats[:400], columns=["age"])
