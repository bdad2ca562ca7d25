"""The relation of a pair of samples: how different are their two targets?

A relation t = g(y_i, y_j) is a number for each pair of samples, and the learned
distances are fitted to it. Targets of every kind have one; `resolve_relation` picks it
with ``relation="auto"``:

==================  ================================================  =======================
kind                what y looks like                                 relation
==================  ================================================  =======================
``"binary"``,       one column of strings, booleans or integers       ``"class"``
``"multiclass"``
``"continuous"``    one column of other numbers; also of integers     ``"absolute_difference"``
                    with more than 20 distinct values and on
                    average fewer than 5 samples a value, and of
                    ordered categories of pandas: their ranks
``"multilabel"``    two or more columns, dense or sparse, all 0 or 1  ``"manhattan"``
``"distribution"``  two or more columns of nonnegative numbers, each  ``"chebyshev"``
                    row with sum 1, not all 0 or 1; the numbers may
                    be rounded to three decimals
``"multioutput"``   two or more columns of any other numbers          ``"euclidean"``
==================  ================================================  =======================

A single column may have the shape (n_samples,) or (n_samples, 1). The relations, with u
and v the two targets of a pair and q the number of columns:

=======================  ===================================================================
name                     relation
=======================  ===================================================================
``class``                -1 for the same class, +1 for different ones
``zero_one``             0 for the same class, 1 for different ones
``absolute_difference``  abs(u - v) over the range of the training targets
``manhattan``            sum abs(u - v)
``euclidean``            sqrt(sum (u - v)^2)
``chebyshev``            max abs(u - v)
``hamming``              share of the entries that differ
``jaccard``              1 - abs(u and v) / abs(u or v), for two empty label sets 0
``canberra``             sum abs(u - v) / (u + v)
``clark``                sqrt(sum (u - v)^2 / (u + v)^2)
``cosine``               1 - u.v / (norm(u) norm(v))
``intersection``         1 - sum min(u, v)
``kullback_leibler``     (KL(u, v) + KL(v, u)) / 2 with probabilities of at least 1e-6
=======================  ===================================================================

All are symmetric, and all but ``class`` are zero for equal targets; terms 0 / 0 count as 0.

Label sets and distributions enter ``manhattan``, ``euclidean`` and ``chebyshev`` as they are,
since their columns share one unit. The columns of multioutput targets do not: these are
standardised first, divided by their standard deviation in the training targets (a column
that is constant there contributes nothing), and ``manhattan`` is divided by q and
``euclidean`` by sqrt(q), q now the number of columns that vary, so the size of a relation
does not depend on how many outputs there are.

A relation of your own is a subclass of `Relation`. Its instances stand wherever a name does, and
`register_relation` gives one a name.
"""

from metricalign.relations.kinds import check_targets, select_targets, sums_to_one
from metricalign.relations.precomputed import PrecomputedRelation
from metricalign.relations.resolved import is_automatic, resolve_relation
from metricalign.relations.table import RELATIONS, Relation, register_relation
from metricalign.relations.target import TargetRelation

__all__ = [
    "RELATIONS",
    "PrecomputedRelation",
    "Relation",
    "TargetRelation",
    "check_targets",
    "is_automatic",
    "register_relation",
    "resolve_relation",
    "select_targets",
    "sums_to_one",
]
