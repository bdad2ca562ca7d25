"""Measures of predicted label distributions, of label sets, and of learned metrics.

The measures of label distributions are means over the samples. Let d be the true and p the
predicted row of a sample. Both are non-negative numbers with sum 1, which may be rounded to three
decimals or more:

==========================  ==========================================  ==========  =======
function                    value of a sample                           range       better
==========================  ==========================================  ==========  =======
`chebyshev_loss`            max abs(d - p)                              [0, 1]      lower
`clark_loss`                sqrt(sum (d - p)^2 / (d + p)^2)             [0, √q]     lower
`canberra_loss`             sum abs(d - p) / (d + p)                    [0, q]      lower
`kullback_leibler_loss`     sum d ln(d / p)                             [0, 36.1]   lower
`cosine_score`              d.p / (norm(d) norm(p))                     [0, 1]      higher
`intersection_score`        sum min(d, p)                               [0, 1]      higher
==========================  ==========================================  ==========  =======

Terms 0 / 0 of `clark_loss` and `canberra_loss` count as 0. So do terms of `kullback_leibler_loss`
with d = 0. In its logarithm d and p are at least the machine epsilon of the dtype of p. This is the
rule for p in :func:`sklearn.metrics.log_loss`.

Measures of label sets are scikit-learn's :func:`~sklearn.metrics.hamming_loss`,
:func:`~sklearn.metrics.label_ranking_loss` and
:func:`~sklearn.metrics.label_ranking_average_precision_score`, and `one_error` and `coverage_loss`
of this module. Ties of scores count as errors, except in `one_error`, which is the expected error
of a random choice among them. A sample without labels counts as 0 in the losses of rankings, and as
1 in average precision, since no ranking could do better.

Measures of a metric look at the neighbours that it finds. `precision_at_k_score`,
`mean_average_precision_score` and `neighbors_ndcg_score` take transformed samples, and the matrix
of the relations of all pairs (see `pairwise_relations`). So they need memory for the square of the
number of samples.

`SCORERS` has a scorer of each measure for ``scoring`` of scikit-learn's searches. Scorers of losses
return the negative loss, as in scikit-learn. Give one scorer, such as ``SCORERS["ndcg"]``, or a
dict of several, as in the example. `refit` of a search then names one of them. No estimator has the
methods that all scorers need, so choose those that fit. The names are not the strings of
``scoring``: ``scoring="average_precision"`` is scikit-learn's mean over the labels, and
``SCORERS["average_precision"]`` is a mean over the samples.

============================  ====================================  ========================
name                          function                              needs of the estimator
============================  ====================================  ========================
``"chebyshev"``               `chebyshev_loss`                      ``predict``
``"clark"``                   `clark_loss`                          ``predict``
``"canberra"``                `canberra_loss`                       ``predict``
``"kullback_leibler"``        `kullback_leibler_loss`               ``predict``
``"cosine"``                  `cosine_score`                        ``predict``
``"intersection"``            `intersection_score`                  ``predict``
``"hamming"``                 scikit-learn's ``hamming_loss``       ``predict``
``"ranking"``                 ``label_ranking_loss``                scores of the labels
``"one_error"``               `one_error`                           scores of the labels
``"coverage"``                `coverage_loss`                       scores of the labels
``"average_precision"``       ``label_ranking_average_precision_``  scores of the labels
                              ``score``
``"precision_at_k"``          `precision_at_k_score`                ``transform``
``"mean_average_precision"``  `mean_average_precision_score`        ``transform``
``"ndcg"``                    `neighbors_ndcg_score`                ``transform``
============================  ====================================  ========================

Scores of the labels come from ``predict_proba``, which may return one array, or a list with an
array for each label. Otherwise they come from ``decision_function``, or from ``predict`` of a
regressor. The relation is the ``relation_`` of the estimator or of the last step of a pipeline. If
there is none, it is ``relation="auto"`` of the targets.

Examples
--------
>>> from sklearn.datasets import make_multilabel_classification
>>> from sklearn.model_selection import cross_validate
>>> from sklearn.neighbors import KNeighborsClassifier
>>> from metricalign.metrics import SCORERS
>>> X, y = make_multilabel_classification(random_state=0)
>>> scoring = {name: SCORERS[name] for name in ("hamming", "one_error")}
>>> sorted(cross_validate(KNeighborsClassifier(), X, y, scoring=scoring))
['fit_time', 'score_time', 'test_hamming', 'test_one_error']
"""

from metricalign.metrics.distributions import (
    canberra_loss,
    chebyshev_loss,
    clark_loss,
    cosine_score,
    intersection_score,
    kullback_leibler_loss,
)
from metricalign.metrics.label_sets import coverage_loss, one_error
from metricalign.metrics.neighbors import (
    mean_average_precision_score,
    neighbors_ndcg_score,
    pairwise_relations,
    precision_at_k_score,
)
from metricalign.metrics.scorers import SCORERS, LabelRankingScorer, RetrievalScorer

__all__ = [
    "SCORERS",
    "LabelRankingScorer",
    "RetrievalScorer",
    "canberra_loss",
    "chebyshev_loss",
    "clark_loss",
    "cosine_score",
    "coverage_loss",
    "intersection_score",
    "kullback_leibler_loss",
    "mean_average_precision_score",
    "neighbors_ndcg_score",
    "one_error",
    "pairwise_relations",
    "precision_at_k_score",
]
