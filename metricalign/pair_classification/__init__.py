"""Learning from judgments of pairs alone, and telling whether two samples are the same.

Three kinds of judgment can take the place of targets:

- **Same or different.** `PairClassifier` learns the metric and the distance up to which two
  samples count as the same.
- **Grades**, such as a person's ratings from 0 (alike) to 4 (nothing in common). Any metric
  learner takes them with ``relation="precomputed"``: y is the symmetric matrix of the
  grades, one row and column a sample. The larger a grade, the more different the two; turn
  grades of similarity round, ``highest - grade``. In a dense matrix every pair has a grade; a
  sparse one stores those of the judged pairs, and only these are learned from. A grade of
  zero is stored as an explicit zero, and a pair once, in either triangle; SciPy adds up
  what is stored twice, so take the mean of several ratings of one pair first.
- **Both**: learn the metric from the grades, and calibrate a threshold for it with pairs
  judged same or different, ``PairClassifier(FrozenEstimator(metric))``.

Three samples, of which two pairs have a grade, learned from and used for verification:

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
