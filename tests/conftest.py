"""Small real problems, the same for every test of the mathematics."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from sklearn import datasets

# How long an example takes is up to the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Name: features kept, every how many samples, nearest neighbours per sample.
_SMALL = {
    "wine": (6, 5, 2),
    "iris": (4, 5, 3),
    "breast_cancer": (8, 14, 2),
    "diabetes": (5, 12, 2),
}


class SmallProblem(NamedTuple):
    """Read-only arrays: what an alignment problem is made of."""

    X: np.ndarray
    pairs: np.ndarray
    relations: np.ndarray
    differences: np.ndarray


def make_small_problem(name, dtype=np.float64):
    """Standardised samples over sqrt(d), nearest and random pairs, relations in [-1, 1]."""
    n_features, stride, n_neighbors = _SMALL[name]
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X, y = X[::stride, :n_features], y[::stride]
    X = (X - X.mean(axis=0)) / (X.std(axis=0) * np.sqrt(n_features))
    X = X.astype(dtype)
    squared = ((X[:, None] - X) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    # Mutual neighbours come twice, in both orders.
    nearest = np.argsort(squared, axis=1)[:, :n_neighbors]
    near = np.column_stack([np.repeat(np.arange(len(X)), n_neighbors), nearest.ravel()])
    rng = np.random.default_rng(0)
    start = rng.integers(len(X), size=30)
    far = np.column_stack([start, (start + rng.integers(1, len(X), size=30)) % len(X)])
    pairs = np.concatenate([near, far])
    left, right = pairs.T
    if name == "diabetes":
        relations = np.abs(y[left] - y[right]) / np.ptp(y)
    else:
        relations = np.where(y[left] == y[right], -1.0, 1.0)
    problem = SmallProblem(X, pairs, relations, (X[left] - X[right]).astype(np.float64))
    for array in problem:
        array.flags.writeable = False
    return problem


@pytest.fixture(scope="module")
def one_torch_thread():
    """Several threads of torch would mostly wait for each other."""
    torch = pytest.importorskip("torch")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def agg():
    """Draw without a window."""
    plt = pytest.importorskip("matplotlib.pyplot")
    before = plt.get_backend()
    plt.switch_backend("agg")
    yield
    plt.switch_backend(before)


@pytest.fixture
def closed_figures():
    """Close the figures of a test."""
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
