"""Losses of the probabilities of the random neighbours of a sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from metricalign._arrays import as_dense
from metricalign.learners.coordinates import target_vectors
from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.pairs import RandomPairs
from metricalign.relations import TargetRelation

__all__ = [
    "NEIGHBORHOOD_LOSSES",
    "ExpectedRelation",
    "KernelRegression",
    "LogLoss",
    "NeighborhoodLoss",
]

# The size of the relations is measured on so many pairs.
_PAIRS_FOR_SCALE = 100_000
# Smallest probability. It makes the loss finite for a sample without candidates of its class.
_LEAST_PROBABILITY = 1e-7
# Up to so many samples, the relations of all pairs are kept.
_SAMPLES_OF_MATRIX = 2000


class NeighborhoodLoss(BaseEstimator, ABC):
    """Base class of losses of random neighbours.

    A new loss is a subclass with `for_samples` and `value_and_derivative`. Its parameters are those
    of ``__init__``, which only stores them. A grid search reaches them as ``loss__name``.
    `NeighborhoodAlignment` takes an instance in place of a name.
    """

    _parameter_constraints: ClassVar[dict] = {}

    @abstractmethod
    def for_samples(self, relation: TargetRelation, targets: Any, weight: NDArray) -> Self:
        """Copy of this loss that knows the targets of the samples. The loss itself stays as it is.

        Parameters
        ----------
        relation : TargetRelation
            The relation of the targets.
        targets : {ndarray, csr_array} of shape (n_samples, ...)
            Targets as encoded by the relation.
        weight : ndarray of shape (n_samples,)
            Positive weights of the samples. The largest is 1.

        Returns
        -------
        loss : NeighborhoodLoss
            The copy.

        Raises
        ------
        ValueError
            If the loss is not defined for these targets.
        """

    @abstractmethod
    def value_and_derivative(
        self, probabilities: NDArray, neighborhoods: Neighborhoods
    ) -> tuple[NDArray, NDArray]:
        """Loss of each sample, and its derivative in the probabilities.

        Parameters
        ----------
        probabilities : ndarray of shape (n_rows, n_candidates)
            Probability of each candidate, for each of the samples. Rows sum to 1.
        neighborhoods : Neighborhoods
            The indices of the samples and of the candidates.

        Returns
        -------
        losses : ndarray of shape (n_rows,)
            Loss of each sample. It is 0 if all its neighbours have its target.
        derivative : ndarray of shape (n_rows, n_candidates)
            Derivative of the loss of sample i in p_ij.
        """


class LogLoss(NeighborhoodLoss):
    """Minus the logarithm of the probability of a neighbour of the same class, for classes.

    It is divided by its value for neighbours that are drawn uniformly.

    References
    ----------
    Ye, Yin, Zhan, Chao, Revisiting Nearest Neighbor for Tabular Data, ICLR 2025.

    Examples
    --------
    >>> from metricalign import NeighborhoodAlignment
    >>> from metricalign.learners.neighborhood import LogLoss
    >>> NeighborhoodAlignment(LogLoss())
    NeighborhoodAlignment(loss=LogLoss())
    """

    def for_samples(self, relation: TargetRelation, targets: Any, weight: NDArray) -> Self:
        if not relation.is_of_classes:
            raise ValueError(
                f"loss='log' needs targets that are classes; these are {relation.kind}. Use "
                "loss='kernel_regression' or 'expected_relation'."
            )
        loss = copy(self)
        loss._classes = np.unique(np.ravel(targets), return_inverse=True)[1]
        shares = np.bincount(loss._classes, weight) / weight.sum()
        loss._scale = -float(shares @ np.log(shares))
        if len(shares) == 1:
            raise ValueError(
                "All samples are of one class, so no metric can be learned from them. Check y."
            )
        if len(shares) == len(loss._classes):
            raise ValueError(
                "Every class has one sample only, so all relations are equal, and no metric can be "
                "learned from them. Check y and relation."
            )
        return loss

    def value_and_derivative(
        self, probabilities: NDArray, neighborhoods: Neighborhoods
    ) -> tuple[NDArray, NDArray]:
        classes = self._classes[neighborhoods.samples]
        is_same = classes[:, None] == self._classes[neighborhoods.candidates]
        is_same = is_same.astype(probabilities.dtype)
        right = np.einsum("ij,ij->i", probabilities, is_same) + _LEAST_PROBABILITY
        derivative = is_same * (-1 / (self._scale * right)).astype(is_same.dtype)[:, None]
        return -np.log(right) / self._scale, derivative


class ExpectedRelation(NeighborhoodLoss):
    """Expected relation of a sample and its random neighbour, sum_j p_ij g_ij.

    g is the relation, moved and scaled so that its smallest value is 0 and its mean over random
    pairs is 1. For classes, this is the objective of neighbourhood components analysis: the
    probability of a neighbour of another class, divided by that of random neighbours.

    References
    ----------
    Goldberger, Roweis, Hinton, Salakhutdinov, Neighbourhood Components Analysis, NIPS 2004.

    Examples
    --------
    >>> from metricalign import NeighborhoodAlignment
    >>> from metricalign.learners.neighborhood import ExpectedRelation
    >>> NeighborhoodAlignment(ExpectedRelation())
    NeighborhoodAlignment(loss=ExpectedRelation())
    """

    _matrix: NDArray | None

    def for_samples(self, relation: TargetRelation, targets: Any, weight: NDArray) -> Self:
        rows = np.arange(targets.shape[0], dtype=np.float64)[:, None]
        pairs = RandomPairs(_PAIRS_FOR_SCALE).select(rows, None, random_state=0).indices
        values = relation(targets, pairs)
        smallest = float(values.min())
        n_samples = targets.shape[0]
        if len(pairs) < n_samples * (n_samples - 1) // 2 and relation.kind != "precomputed":
            # If there are many small classes, no random pair may have two samples of one class.
            itself = np.column_stack([pairs[:, 0], pairs[:, 0]])
            smallest = min(smallest, float(relation(targets, itself).min()))
        mean = float(np.average(values, weights=weight[pairs].prod(axis=1)))
        scale = mean - smallest
        if not scale > 1e-12 * np.abs(values).max():
            raise ValueError(
                "All relations are equal, so no neighbour is better than another, and no metric "
                "can be learned from them. Check y and relation."
            )
        loss = copy(self)
        loss._relation, loss._targets = relation, targets
        loss._smallest, loss._scale = smallest, scale
        loss._matrix = None
        return loss

    def value_and_derivative(
        self, probabilities: NDArray, neighborhoods: Neighborhoods
    ) -> tuple[NDArray, NDArray]:
        relations = self._relations_of(neighborhoods, probabilities.dtype)
        return np.einsum("ij,ij->i", probabilities, relations), relations

    def _relations_of(self, neighborhoods, dtype):
        n_samples = self._targets.shape[0]
        if n_samples > _SAMPLES_OF_MATRIX:
            values = neighborhoods.relations(self._relation, self._targets)
            return ((values - self._smallest) / self._scale).astype(dtype)
        if self._matrix is None:
            # The matrix is computed once for all steps.
            everyone = np.arange(n_samples)
            values = Neighborhoods(everyone, everyone).relations(self._relation, self._targets)
            self._matrix = (values - self._smallest) / self._scale
        rows = self._matrix[neighborhoods.samples]
        return rows[:, neighborhoods.candidates].astype(dtype, copy=False)


class KernelRegression(NeighborhoodLoss):
    """Squared error of the mean target of the neighbours, norm(y_i - sum_j p_ij y_j)^2.

    The targets are the columns of y. Classes have a column of 0 and 1 for each class. The columns
    are centred and scaled so that the loss of their mean is 1.

    References
    ----------
    Weinberger, Tesauro, Metric Learning for Kernel Regression, AISTATS 2007.

    Examples
    --------
    >>> from metricalign import NeighborhoodAlignment
    >>> from metricalign.learners.neighborhood import KernelRegression
    >>> NeighborhoodAlignment(KernelRegression())
    NeighborhoodAlignment(loss=KernelRegression())
    """

    def for_samples(self, relation: TargetRelation, targets: Any, weight: NDArray) -> Self:
        if relation.kind == "precomputed":
            raise ValueError(
                "loss='kernel_regression' predicts targets, and relation='precomputed' has none. "
                "Use loss='expected_relation'."
            )
        vectors: Any = target_vectors(relation, targets)
        targets = as_dense(vectors)
        targets = targets - np.average(targets, axis=0, weights=weight)
        variance = np.average(np.sum(targets**2, axis=1), weights=weight)
        if variance == 0:
            raise ValueError(
                "All targets are equal, so no metric can be learned from them. Give y at least two "
                "different targets."
            )
        loss = copy(self)
        loss._targets = targets / np.sqrt(variance)
        return loss

    def value_and_derivative(
        self, probabilities: NDArray, neighborhoods: Neighborhoods
    ) -> tuple[NDArray, NDArray]:
        targets = self._targets.astype(probabilities.dtype, copy=False)
        of_candidates = targets[neighborhoods.candidates]
        residuals = probabilities @ of_candidates - targets[neighborhoods.samples]
        losses = np.einsum("ij,ij->i", residuals, residuals)
        return losses, 2 * residuals @ of_candidates.T


NEIGHBORHOOD_LOSSES: dict[str, type[NeighborhoodLoss]] = {
    "log": LogLoss,
    "expected_relation": ExpectedRelation,
    "kernel_regression": KernelRegression,
}
"""The losses by name."""
