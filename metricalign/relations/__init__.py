"""Relations: numbers that say how different the two targets of a pair of samples are.

A relation t = g(y_i, y_j) is a number for each pair of samples. The learned distances are
fitted to it. There is a relation for every kind of targets, which ``relation="auto"``
chooses:

==================  ================================================  =======================
kind                y                                                 relation
==================  ================================================  =======================
``"binary"``,       one column of strings, booleans or integers       ``"class"``
``"multiclass"``
``"continuous"``    one column of other numbers, of ordered           ``"absolute_difference"``
                    categories of pandas, which become their ranks,
                    or of integers with more than 20 distinct values
                    and on average fewer than 5 samples for each
``"multilabel"``    two or more columns, dense or sparse, all 0 or 1  ``"manhattan"``
``"distribution"``  two or more columns of nonnegative numbers with   ``"chebyshev"``
                    row sums of 1, not all 0 or 1, which may be
                    rounded to three decimals or more
``"multioutput"``   two or more columns of any other numbers          ``"euclidean"``
==================  ================================================  =======================

A single column may have the shape (n_samples,) or (n_samples, 1). Let u and v be the two
targets of a pair, and q the number of columns. The relations are:

=======================  ===================================================================
name                     relation
=======================  ===================================================================
``class``                -1 for the same class, +1 for different ones
``zero_one``             0 for the same class, 1 for different ones
``absolute_difference``  abs(u - v) / range of the training targets
``manhattan``            sum abs(u - v)
``euclidean``            sqrt(sum (u - v)^2)
``chebyshev``            max abs(u - v)
``hamming``              share of the entries that differ
``jaccard``              1 - abs(u and v) / abs(u or v), 0 for two empty label sets
``canberra``             sum abs(u - v) / (u + v)
``clark``                sqrt(sum (u - v)^2 / (u + v)^2)
``cosine``               1 - u.v / (norm(u) norm(v))
``intersection``         1 - sum min(u, v)
``kullback_leibler``     (KL(u, v) + KL(v, u)) / 2, with probabilities of at least 1e-6
=======================  ===================================================================

All relations are symmetric. All but ``class`` are zero for equal targets. Terms 0 / 0 count as 0.

``manhattan``, ``euclidean`` and ``chebyshev`` take label sets and distributions as they are, since
all their columns have the same unit. The columns of multioutput targets may have different units.
Each of them is divided by its standard deviation in the training targets first. A column that is
constant there contributes nothing. ``manhattan`` is then divided by q', and ``euclidean`` by
sqrt(q'), where q' is the number of columns that vary. So the size of a relation does not depend on
the number of outputs.

A relation of your own is a subclass of `Relation`. An instance can be given in place of a name.
`register_relation` gives a name to an instance.
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
