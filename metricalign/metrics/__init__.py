"""How good are predicted label distributions, label sets, and a learned metric?

Label distributions, d the true and p the predicted row, mean over the samples. Both must be
rows of non-negative numbers with sum 1, which may be rounded to three decimals:

==========================  ==========================================  ==========  =======
function                    of one sample                               range       better
==========================  ==========================================  ==========  =======
`chebyshev_loss`            max abs(d - p)                              [0, 1]      lower
`clark_loss`                sqrt(sum (d - p)^2 / (d + p)^2)             [0, √q]     lower
`canberra_loss`             sum abs(d - p) / (d + p)                    [0, q]      lower
`kullback_leibler_loss`     sum d ln(d / p)                             [0, 36.1]   lower
`cosine_score`              d.p / (norm(d) norm(p))                     [0, 1]      higher
`intersection_score`        sum min(d, p)                               [0, 1]      higher
==========================  ==========================================  ==========  =======

Terms 0 / 0 of Clark and Canberra count 0, and terms with d = 0 of Kullback and Leibler. In the
logarithm of the latter d and p are at least the machine epsilon of the dtype of p, as p is in
:func:`sklearn.metrics.log_loss`.

Label sets are judged by scikit-learn's :func:`~sklearn.metrics.hamming_loss`,
:func:`~sklearn.metrics.label_ranking_loss` and
:func:`~sklearn.metrics.label_ranking_average_precision_score`, and here by `one_error` and
`coverage_loss`. Ties of scores count as errors in all but `one_error`, which has its
expectation under a random choice. A sample without labels counts 0 in the losses of rankings
and 1 in average precision, since no ranking could do better.

A metric is judged by the neighbours that it finds: `precision_at_k_score`,
`mean_average_precision_score` and `neighbors_ndcg_score` take transformed samples and the
matrix of the relations of all pairs (see `pairwise_relations`), so they need memory for the
square of the number of samples.

`SCORERS` has them all for ``scoring`` of scikit-learn's searches. As in scikit-learn, scorers
of losses return the negative loss. Give one, ``SCORERS["ndcg"]``, or a dict of those that suit the
estimator, as in the example, and then `refit` of a search names one of them: no estimator suits
all. The names are no strings for ``scoring``: ``scoring="average_precision"`` is scikit-learn's
mean over the labels, and ``SCORERS["average_precision"]`` is a mean over the samples.

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

Scores of the labels are ``predict_proba``, as one array or as a list of one array per label,
else ``decision_function``, else ``predict`` (a regressor's, of label indicators). Relations
are those that the estimator, or the last step of a pipeline, was fitted to (its
``relation_``), else ``relation="auto"`` of the targets.

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
