"""Learning from judgments of pairs, and telling whether two samples are the same.

Three kinds of judgments can take the place of targets:

- **Same or different.** `PairClassifier` learns the metric, and the largest distance at which two
  samples count as the same.
- **Grades**, such as ratings of a person from 0 (alike) to 4 (nothing in common). Any metric
  learner takes them with ``relation="precomputed"``. y is the symmetric matrix of the grades, with
  a row and a column for each sample. A larger grade means more different samples. Turn grades of
  similarity into ``highest - grade``. In a dense matrix every pair has a grade. A sparse matrix
  stores the judged pairs, and only these are learned from. Store a grade of zero as an explicit
  zero, and store each pair once, in either triangle. SciPy adds up entries that are stored twice,
  so take the mean of several ratings of one pair first.
- **Both.** Learn the metric from the grades, and calibrate a threshold with pairs that are judged
  same or different, by ``PairClassifier(FrozenEstimator(metric))``.

An example with three samples, and grades of two pairs:

>>> import numpy as np
>>> from scipy.sparse import coo_array
>>> from sklearn.frozen import FrozenEstimator
>>> from metricalign import PSDSVR
>>> from metricalign.pair_classification import PairClassifier
>>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
>>> grades = coo_array(([0.0, 4.0], ([0, 1], [1, 2])), shape=(3, 3))
>>> metric = PSDSVR(relation="precomputed").fit(X, grades)
>>> metric.pair_distance(X[[[0, 1], [1, 2]]]).round(1)
array([0. , 1.9])
>>> verifier = PairClassifier(FrozenEstimator(metric)).fit(X[[[0, 1], [1, 2]]], [1, -1])
>>> verifier.predict(X[[[0, 2], [0, 0]]])
array([-1,  1])
"""

from metricalign.pair_classification.classifier import PairClassifier

__all__ = ["PairClassifier"]
