"""scikit-learn's gradient boosted trees for every kind of target, to compare with."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from metricalign.features import DateTextEncoder

__all__ = ["BoostedTrees"]

# A category of HistGradientBoosting has at most so many values.
MOST_CATEGORIES = 254


class BoostedTrees(BaseEstimator):
    """scikit-learn's HistGradientBoosting at its defaults, with its own support of categories.

    Parameters
    ----------
    kind : {"class", "number", "labels", "distribution", "numbers"}, default="class"
        Kind of the targets. Several columns are predicted one by one, and labels as numbers.
    random_state : int or None, default=None
        Seed.

    Attributes
    ----------
    texts_ : DateTextEncoder
        Encodes free texts.
    model_ : Pipeline
        The encoder of the categories, and the trees.
    """

    def __init__(self, kind: str = "class", random_state: int | None = None):
        self.kind = kind
        self.random_state = random_state

    def fit(self, X: Any, y: NDArray) -> Self:
        """Fit the trees.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            Numbers and categories.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Targets.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        self.texts_ = DateTextEncoder().fit(X)
        X = self.texts_.transform(X)
        names = getattr(X, "columns", ())  # an array has numbers only
        is_category = [X[name].dtype.kind not in "fiub" for name in names]
        categories = np.flatnonzero(is_category).tolist()
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            encoded_missing_value=np.nan,
            max_categories=MOST_CATEGORIES,
        )
        # Transformed columns come first.
        columns = ColumnTransformer([("codes", encoder, categories)], remainder="passthrough")
        trees = (
            HistGradientBoostingClassifier
            if self.kind == "class"
            else HistGradientBoostingRegressor
        )
        model = trees(
            categorical_features=list(range(len(categories))) or None,
            random_state=self.random_state,
        )
        if y.ndim == 2:
            model = MultiOutputRegressor(model)
        self.model_ = make_pipeline(columns, model).fit(X, y)
        if self.kind == "class":
            self.classes_ = self.model_.classes_
        return self

    def predict(self, X: Any) -> NDArray:
        """Predict targets.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            Numbers and categories.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        predicted = self.model_.predict(self.texts_.transform(X))
        if self.kind == "labels":
            return (predicted > 0.5).astype(int)
        if self.kind == "distribution":
            predicted = np.maximum(predicted, 0)
            return predicted / np.maximum(predicted.sum(axis=1, keepdims=True), 1e-12)
        return predicted

    def predict_proba(self, X: Any) -> NDArray:
        """Probability of each class or of each label.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            Numbers and categories.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
        """
        X = self.texts_.transform(X)
        if self.kind == "class":
            return self.model_.predict_proba(X)
        return np.clip(self.model_.predict(X), 0, 1)
