"""The model that --save keeps: a predictor, and how tables are read for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
from numpy.typing import NDArray

from metricalign.command_line.methods import fit_method
from metricalign.command_line.reading import InputError
from metricalign.command_line.table_columns import TableColumns
from metricalign.command_line.tasks import Task
from metricalign.metrics.scorers import label_scores
from metricalign.predictors.explanation import Explanation

__all__ = ["TableModel", "explained", "learn", "load_model", "save_model"]

# A .skops file may hold these functions and types, besides those that skops trusts and the classes
# below. All other functions are refused, since a file could call them, such as eval or numpy.load.
KNOWN_TYPES = frozenset(
    (
        "functools.partial",  # of a function that is named here
        "numpy.dtype",
        "scipy.sparse._csr.csr_array",
        "sklearn.utils.validation.check_array",
    )
)
# Trusted are the classes of this package, the classes in scikit-learn's trees, which not every
# release of skops trusts, and skrub's classes, but for its graphs of calls. Trusted are also
# skrub's functions that look at the type of a column.
KNOWN_CLASSES = re.compile(
    r"(metricalign\.([a-z_]+\.)*"
    r"|skrub\.(?!_data_ops)([a-z_0-9]+\.)*"
    r"|(sklearn\.)?_loss\.([a-z_]+\.)?"
    r"|sklearn\.ensemble\._hist_gradient_boosting\.[a-z_]+\."
    r"|sklearn\.compose\._column_transformer\."
    r"|sklearn\.tree\._tree\.)"
    r"_?[A-Z]\w*"
    r"|skrub\._dataframe\._common\.is_[a-z_]+"
    r"|skrub\._table_vectorizer\._created_by_predicate"
    r"|skrub\.selectors\._selectors\._cardinality_below"
)


@dataclass
class TableModel:
    """A predictor for tables with the columns of the training table.

    Attributes
    ----------
    columns : TableColumns
        Reads a table in the way in which the training table was read.
    predictor : estimator
        The fitted predictor.
    method, kind : str
        Name of the method, and kind of the target.
    names : list of str
        Names of the predicted columns.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        Targets of the training rows.
    rows : ndarray of int of shape (n_rows,)
        Numbers of the training rows in the table, from 1.
    """

    columns: TableColumns = field(repr=False)
    predictor: Any
    method: str
    kind: str
    names: list[str]
    y: NDArray = field(repr=False)
    rows: NDArray = field(repr=False)

    def predict(self, table: Any) -> NDArray:
        """Predict the target of each row of a DataFrame of pandas or polars.

        Parameters
        ----------
        table : DataFrame
            A table with the columns of the training table, as texts or typed.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        """
        return self.predictor.predict(self.columns.transform(table))

    def predict_proba(self, table: Any) -> NDArray:
        """Probability of each class, or of each label, in the order of `classes` or `names`.

        Parameters
        ----------
        table : DataFrame
            See `predict`.

        Returns
        -------
        probabilities : ndarray of shape (n_rows, n_classes) or (n_rows, n_labels)
        """
        return self.probabilities_of(self.columns.transform(table))

    def probabilities_of(self, X: Any) -> NDArray:
        """Probabilities of rows that `columns` has transformed."""
        if self.kind == "labels":
            return label_scores(self.predictor, X)
        return self.predictor.predict_proba(X)

    @property
    def classes(self) -> list[str]:
        """Names of the columns that `predict_proba` returns."""
        if self.kind != "class":
            return self.names
        return [str(label) for label in self.predictor.classes_]

    @property
    def has_neighbors(self) -> bool:
        """Whether the model predicts by neighbours."""
        return hasattr(self.predictor, "kneighbors")

    def images_of(self, X: Any) -> NDArray:
        """Images of transformed rows under the metric."""
        return self.predictor.pipeline_.transform(X)

    def explanation_of(self, X: Any, n_neighbors: int) -> Explanation:
        """Explain the nearest training rows of one transformed row."""
        return explained(self.predictor, X, n_neighbors, self.rows, self.names)

    def neighbors_of(self, X: Any, n_neighbors: int) -> tuple[NDArray, NDArray]:
        """Distances of transformed rows to their nearest training rows, and the places in `y`."""
        n_neighbors = min(n_neighbors, len(self.predictor.samples_))
        return self.predictor.kneighbors(X, n_neighbors)


def explained(
    predictor: Any, X: Any, n_neighbors: int, rows: NDArray, names: list[str]
) -> Explanation:
    """Explain the neighbours of a sample. Training rows have their numbers in the table.

    Labels and several numbers have the names of their columns.
    """
    explanation = predictor.explain(X, n_neighbors)
    change, outputs = explanation.change, names or explanation.outputs
    if change is not None:
        change = replace(change, row=rows[change.row])
    return replace(explanation, rows=rows[explanation.rows], change=change, outputs=outputs)


def learn(task: Task, method: str, seed: int) -> TableModel:
    """Learn a model from all rows of the task of a table."""
    assert task.columns is not None
    predictor = fit_method(task, method, seed)
    return TableModel(
        task.columns, predictor, method, task.kind, task.names, task.y, task.row_numbers
    )


def save_model(model: TableModel, file: Any, is_skops: bool) -> None:
    """Write a model into an open file."""
    if is_skops:
        import skops.io

        skops.io.dump(model, file)
    else:
        joblib.dump(model, file)


def load_model(path: str | Path) -> TableModel:
    """Read a model that --save has written.

    Parameters
    ----------
    path : str or Path
        A .joblib or a .skops file. A .joblib file can run code when it is read: load your own only.

    Returns
    -------
    model : TableModel

    Raises
    ------
    InputError
        If the file holds no such model.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no model {path}; evaluate ... --save {path} writes one.")
    try:
        if path.suffix == ".skops":
            import skops.io

            types = skops.io.get_untrusted_types(file=path)
            foreign = [
                name
                for name in types
                if name not in KNOWN_TYPES and not KNOWN_CLASSES.fullmatch(name)
            ]
            if foreign:
                raise InputError(f"{path} has objects that are not trusted: {', '.join(foreign)}.")
            model = skops.io.load(path, trusted=types)
        else:
            model = joblib.load(path)
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{path} needs {error.name}, which is not installed.") from error
    except Exception as error:  # a damaged file fails in many ways
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path} is no model that evaluate --save has written ({reason})."
        ) from error
    if not isinstance(model, TableModel):
        raise InputError(f"{path} is no model that evaluate --save has written.")
    return model
