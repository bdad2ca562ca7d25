"""The two operators between matrices and pairs that do all the heavy work.

A pair p = (i, j) has the difference z_p = x_i - x_j. L(beta) is the graph Laplacian of the pairs
with the weights beta. The operators are

    distances(M)_p = z_p^T M z_p
    adjoint(beta)  = sum_p beta_p z_p z_p^T = X^T L(beta) X

For n samples, d features and P pairs each takes O(n d^2 + P d) time and O(n d + P) memory.
"""

from metricalign.operators.dense import PairOperator
from metricalign.operators.distributed import DistributedPairOperator

__all__ = ["DistributedPairOperator", "PairOperator"]
