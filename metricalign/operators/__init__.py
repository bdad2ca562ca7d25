"""The two operators between matrices and pairs that do all the heavy work.

With z_p = x_i - x_j the difference of pair p = (i, j) and L(beta) the graph Laplacian of the
pairs weighted by beta,

    distances(M)_p = z_p^T M z_p
    adjoint(beta)  = sum_p beta_p z_p z_p^T = X^T L(beta) X

take O(n d^2 + P d) time and O(n d + P) memory.
"""

from metricalign.operators.dense import PairOperator
from metricalign.operators.distributed import DistributedPairOperator

__all__ = ["DistributedPairOperator", "PairOperator"]
