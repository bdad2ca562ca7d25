"""A relation together with the scale of the training targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from metricalign._arrays import batches
from metricalign.relations.formulas import all_at_once, one_by_one
from metricalign.relations.kinds import (
    CLASSES,
    DOMAINS,
    TARGETS,
    check_n_samples,
    check_targets,
    count_outputs,
    stored_entries,
    subtractable,
)
from metricalign.relations.table import RELATIONS, Definition, Relation, check_domain

__all__ = ["TargetRelation"]

# Targets of about so many entries are compared at a time, which limits the memory.
_ENTRIES_OF_BATCH = 2**18


@dataclass(frozen=True, eq=False, repr=False)
class TargetRelation:
    """A relation, with the offset and the scale that it learned from the training targets.

    `resolve_relation` makes this object. It encodes targets once, and is then called on pairs.

    Attributes
    ----------
    name : str
        A name of `RELATIONS`, a registered name, the name of a subclass of `Relation`,
        ``"callable"``, or ``"precomputed"``.
    kind : str
        The kind of targets: ``"binary"``, ``"multiclass"``, ``"continuous"``,
        ``"multilabel"``, ``"distribution"``, ``"multioutput"`` or ``"precomputed"``.
    n_outputs : int or None
        Number of columns of the targets. None if relations are precomputed.
    function : Relation, callable or None
        The relation or the function of the user. None for a relation of this package.
    offset, scale : float or ndarray of shape (n_outputs,) or None
        Targets are encoded as ``(y - offset) / scale``. None if they are taken as they are.

    Examples
    --------
    >>> from metricalign.relations import resolve_relation
    >>> y = [10.0, 12.5, 20.0]
    >>> relation = resolve_relation("absolute_difference", y)
    >>> relation
    TargetRelation(name='absolute_difference', kind='continuous', n_outputs=1)
    >>> relation(relation.encode(y), [[0, 1], [0, 2]])
    array([0.25, 1.  ])
    """

    name: str
    kind: str
    n_outputs: int | None = None
    function: Relation | Callable[[Any, Any], float] | None = None
    offset: Any = None
    scale: Any = None

    @property
    def _definition(self) -> Definition:
        # The object does not keep its definition, so that a saved model holds no function.
        if self.function is None:
            return RELATIONS[self.name]
        if isinstance(self.function, Relation):
            return Definition(partial(all_at_once, self.function), DOMAINS[self.function.targets])
        return Definition(partial(one_by_one, self.function), TARGETS)

    @property
    def is_of_classes(self) -> bool:
        """Whether the targets are classes."""
        return self.kind in CLASSES.kinds

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, kind={self.kind!r}, "
            f"n_outputs={self.n_outputs})"
        )

    def encode(self, y: ArrayLike, n_samples: int | None = None) -> NDArray | sparse.csr_array:
        """Validate targets, and bring them to the form that the relation takes.

        Parameters
        ----------
        y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
            Targets of any samples, in training or not. Classes may be new, and one sample
            is enough.
        n_samples : int or None, default=None
            Required number of samples. None allows any number.

        Returns
        -------
        targets : ndarray of shape (n_samples,) or (n_samples, n_outputs), or csr_array
            Classes stay as they are. Numbers become float64 and are scaled as in training. For a
            callable, integers and booleans become int64. Sparse label sets stay sparse if the
            relation can take them.

        Raises
        ------
        ValueError
            If `y` is not valid, has another number of samples than `n_samples`, has another number
            of columns than in training, or has values for which the relation is not defined.
        """
        y = check_targets(y)
        check_n_samples(y, n_samples)
        if count_outputs(y) != self.n_outputs:
            raise ValueError(
                f"y must have {self.n_outputs} column(s) as in training, but it has shape "
                f"{y.shape}."
            )
        definition = self._definition
        check_domain(self.name, definition.domain, y)
        keeps_sparse = definition.keeps_sparse and self.scale is None
        if sparse.issparse(y) and not keeps_sparse:
            y = y.toarray()
        if definition.domain is CLASSES:
            return y
        if definition.domain is TARGETS:
            return subtractable(y)
        y = y.astype(np.float64) if sparse.issparse(y) else y.astype(np.float64, order="C")
        return y if self.scale is None else (y - self.offset) / self.scale

    def __call__(self, targets: NDArray | sparse.csr_array, pairs: ArrayLike) -> NDArray:
        """Compute the relation of each pair.

        The pairs are processed in chunks. So the memory needed besides the result does not grow
        with the number of pairs.

        Parameters
        ----------
        targets : ndarray or csr_array
            Targets as returned by `encode`.
        pairs : array-like of int of shape (n_pairs, 2)
            Indices of the two samples of each pair.

        Returns
        -------
        relations : ndarray of float64 of shape (n_pairs,)
            Relation of the two targets of each pair.
        """
        function = self._definition.function
        pairs = np.asarray(pairs)
        relations = np.empty(len(pairs))
        entries_per_row = 1 + stored_entries(targets).size // targets.shape[0]
        for batch in batches(len(pairs), max(1, _ENTRIES_OF_BATCH // entries_per_row)):
            left, right = pairs[batch].T
            relations[batch] = function(targets[left], targets[right])
        return relations
