"""
Which texts are alike
=====================

Texts have many more words than there are texts, most words are rare, and so are in no pair that a
metric is learned from. What to do with them decides more than the method.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from metricalign import PSDSVR, DiscriminantAlignment, RelationAlignment

# %%
# Texts of five topics, made up: as in any language few words are frequent and most are rare, and
# a seventh of the words of a text are those of its topic.

random_state = np.random.default_rng(0)
words = np.array([f"word{number}" for number in range(5000)])
frequency = 1 / np.arange(10, 5010)
topic_words = random_state.choice(np.arange(50, 5000), (5, 300))


def write(topic):
    """Make up a text of a topic."""
    n_words = random_state.integers(40, 150)
    common = random_state.choice(words, n_words, p=frequency / frequency.sum())
    special = words[random_state.choice(topic_words[topic], n_words // 7)]
    return " ".join([*common, *special])


topics = random_state.integers(0, 5, 900)
texts = [write(topic) for topic in topics]
train, test, y, y_test = train_test_split(texts, topics, random_state=0)

# %%
# A weight for each word, ``cone="diagonal"``, is learned from the words in which near texts
# differ.
# All others would weigh nothing, and most words are such, were it not for ``prior="identity"``,
# which leaves them their weight. A full metric has too many entries for so many words. It is
# learned from some hundred directions, by ``TruncatedSVD``, which takes sparse samples, or by
# `DiscriminantAlignment`, which works in the span of the texts.

models = {
    "Euclid": [],
    "weights of words": [RelationAlignment(cone="diagonal", prior="identity")],
    "SVD": [TruncatedSVD(100, random_state=0)],
    "SVD, PSDSVR": [TruncatedSVD(100, random_state=0), PSDSVR()],
    "DiscriminantAlignment": [DiscriminantAlignment()],
}
accuracy = {}
for name, steps in models.items():
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), *steps, KNeighborsClassifier())
    accuracy[name] = model.fit(train, y).score(test, y_test)
    print(f"{name:22}", round(accuracy[name], 2))

# %%
# The share of held-out texts whose topic their five nearest neighbours tell.

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.barh(list(accuracy)[::-1], list(accuracy.values())[::-1])
ax.set(xlabel="accuracy", xlim=(0, 1))
