"""The sources of data sets, and the readers of their formats.

Downloaded files are checked before they are read. They are read as numbers and strings only.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from sklearn.datasets import fetch_openml

__all__ = ["Files", "OpenML", "import_optional", "read_classes", "read_mat", "read_mulan"]

Arrays = dict[str, NDArray]
"""The arrays of a data set by their keys in the .npz file: X, Y and optional ones."""

_TRUTH = {"0": 0, "FALSE": 0, "1": 1, "TRUE": 1}

_ATTRIBUTE = re.compile(
    r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s{]+)\s*(.+)""", re.IGNORECASE
)


@dataclass(frozen=True)
class Files:
    """Files at fixed addresses with known checksums, which pooch downloads.

    Parameters
    ----------
    base : str
        Address of the folder of the files.
    checksums : dict of str to str or None
        SHA-256 of each file, by its path below `base`. A file without one is never downloaded.
    read : callable
        Makes the arrays of the data set from the paths of the files, in the order of `checksums`.
    """

    base: str
    checksums: dict[str, str | None]
    read: Callable[[list[Path]], Arrays]

    @property
    def address(self) -> str:
        """Where a person finds the data set."""
        return " + ".join(self.base + path for path in self.checksums)

    def load(self, folder: Path) -> Arrays:
        """Download the files to a folder and read them.

        Raises
        ------
        OSError
            If a file cannot be downloaded.
        ValueError
            If a file does not have its checksum, or if no checksum is known.
        """
        unknown = [path for path in self.checksums if self.checksums[path] is None]
        if unknown:
            raise ValueError(
                f"The checksum of {self.base}{unknown[0]} is not known, so it is not downloaded. "
                "Get it yourself, save its features and targets as the arrays X and Y of an .npz "
                "file with the name of the data set, and set the environment variable "
                "METRICALIGN_DATA to the folder of that file."
            )
        pooch = import_optional("pooch")
        paths = [
            pooch.retrieve(
                self.base + path,
                known_hash=f"sha256:{checksum}",
                fname=path.rpartition("/")[2],
                path=folder,
            )
            for path, checksum in self.checksums.items()
        ]
        return self.read([Path(path) for path in paths])


@dataclass(frozen=True)
class OpenML:
    """A data set of openml.org. scikit-learn downloads it and checks the MD5 of OpenML.

    Parameters
    ----------
    name : str
        Name of the data set on OpenML. If the id has another name, the data set is refused.
    data_id : int
        Id of the data set on OpenML.
    labels : sequence of str, default=()
        Columns that are labels. If there are none, the default target of OpenML is taken.
    dropped : sequence of str, default=()
        Columns that are neither features nor labels.
    """

    name: str
    data_id: int
    labels: Sequence[str] = ()
    dropped: Sequence[str] = ()

    @property
    def address(self) -> str:
        """Where a person finds the data set."""
        return f"https://www.openml.org/d/{self.data_id}"

    def load(self, folder: Path) -> Arrays:
        """Download the data set to a folder and read it.

        Raises
        ------
        OSError
            If it cannot be downloaded.
        ValueError
            If it is not the expected data set.
        """
        import_optional("pandas")
        # With a cache, scikit-learn reads the same bytes whose MD5 it has checked. Its other parser
        # fails on the categories TRUE and FALSE.
        bunch = fetch_openml(
            data_id=self.data_id,
            data_home=str(folder),
            target_column=list(self.labels) or "default-target",
            as_frame=True,
            parser="liac-arff",
        )
        if bunch.details["name"].lower() != self.name:
            raise ValueError(
                f"{self.address} is {bunch.details['name']!r}, expected {self.name!r}."
            )
        features = bunch.data.drop(columns=list(self.dropped), errors="ignore")
        columns = [_from_series(series) for _, series in features.items()]
        labels = [_from_series(series) for _, series in bunch.target.items()]
        return _table(list(features.columns), columns) | {
            "Y": _label_sets(labels),
            "label_names": np.array(list(bunch.target.columns), dtype=str),
        }


def read_mat(
    paths: Sequence[Path], target: str = "labels", label_names: Sequence[str] | None = None
) -> Arrays:
    """Features and label distributions, or numbers, of a MATLAB file.

    Parameters
    ----------
    paths : sequence of Path
        The file.
    target : str, default="labels"
        Name of the variable of the targets. If it has several columns, its rows are distributions.
        The features are the variable "features".
    label_names : sequence of str or None, default=None
        Names of the columns of the target. None if they are unknown.

    Returns
    -------
    arrays : dict of str to ndarray
        X, Y, and label_names if they are known.
    """
    file = loadmat(paths[0], variable_names=["features", target])
    Y = np.asarray(file[target], dtype=np.float64)
    if 1 in Y.shape:
        Y = Y.ravel()
    else:
        sums = Y.sum(axis=1, keepdims=True)
        # Some files were stored in single precision.
        if not (np.all(Y >= 0) and np.allclose(sums, 1, rtol=0, atol=1e-5)):
            raise ValueError(f"{paths[0].name}: the rows of {target!r} are not distributions.")
        Y = Y / sums
    arrays = {"X": _smallest(file["features"]), "Y": Y}
    if label_names is not None:
        arrays["label_names"] = np.array(label_names)
    return arrays


def read_classes(paths: Sequence[Path], variable: str) -> Arrays:
    """Features and classes of a MATLAB matrix whose last column is the class.

    Parameters
    ----------
    paths : sequence of Path
        The file.
    variable : str
        Name of the matrix.

    Returns
    -------
    arrays : dict of str to ndarray
        X, Y from 0 on, and the codes of the classes as label_names.
    """
    matrix = loadmat(paths[0], variable_names=[variable])[variable]
    codes, Y = np.unique(matrix[:, -1], return_inverse=True)
    names = np.array([f"{code:g}" for code in codes])
    return {"X": _smallest(matrix[:, :-1]), "Y": Y.astype(np.int64), "label_names": names}


def read_mulan(
    paths: Sequence[Path],
    label_names: Sequence[str] | None = None,
    n_targets: int | None = None,
) -> Arrays:
    """Features and labels of ARFF files of the Mulan library.

    Parameters
    ----------
    paths : sequence of Path
        One ARFF file, or one of the training rows and one of the test rows. The last path is the
        XML file that names the labels, unless `n_targets` is given.
    label_names : sequence of str or None, default=None
        Better names for the labels, in the order of the XML file.
    n_targets : int or None, default=None
        Number of targets if there is no XML file. They are the last columns, and are numbers.

    Returns
    -------
    arrays : dict of str to ndarray
        X, Y, feature_names and label_names. feature_types and nominal_values if some features are
        not numeric. split if there are two ARFF files.
    """
    tables = [_read_arff(path) for path in paths if path.suffix == ".arff"]
    names, categories, _ = tables[0]
    if any(table[:2] != tables[0][:2] for table in tables):
        raise ValueError("The files of training and test rows have different columns.")
    values = np.concatenate([table[2] for table in tables])
    if n_targets is None:
        root = ElementTree.parse(paths[-1]).getroot()
        labels = [label.attrib["name"] for label in root.iterfind(".//{*}label")]
    else:
        labels = names[-n_targets:]
    if missing := sorted(set(labels) - set(names)):
        raise ValueError(f"{paths[0].name} has no column {missing[0]!r}.")
    columns = dict(zip(names, zip(values.T, categories, strict=True), strict=True))
    targets = [columns.pop(label) for label in labels]
    arrays = _table(list(columns), list(columns.values()))
    if n_targets is None:
        arrays["Y"] = _label_sets(targets)
    else:
        arrays["Y"] = np.column_stack([column for column, _ in targets])
    arrays["label_names"] = np.array(label_names or labels, dtype=str)
    if len(tables) > 1:
        sizes = [len(table[2]) for table in tables]
        arrays["split"] = np.repeat(np.arange(len(tables), dtype=np.uint8), sizes)
    return arrays


def _read_arff(path) -> tuple[list[str], list[list[str] | None], NDArray]:
    """Names, categories (None for numbers) and values of the columns. See `_numbers_of`."""
    names, categories = [], []
    with open(path, encoding="utf-8", newline="") as file:
        lines = (line.strip() for line in file)
        lines = (line for line in lines if line and not line.startswith("%"))
        for line in lines:
            if line.lower().startswith("@data"):
                break
            if match := _ATTRIBUTE.match(line):
                name, kind = match.groups()
                names.append(_unquote(name))
                categories.append(_categories(kind, path))
        known = [_numbers_of(listed) if listed else None for listed in categories]
        # Entries that a sparse row omits are 0, or the first category.
        omitted = np.array([next(iter(listed.values())) if listed else 0.0 for listed in known])
        rows = []
        for line in lines:
            if line.startswith("{"):
                items = [item.split(None, 1) for item in _split(line.strip("{} "))]
                cells = {int(index): _unquote(cell) for index, cell in items}
            else:
                cells = dict(enumerate(_split(line)))
                if len(cells) != len(names):
                    raise ValueError(
                        f"{path.name}: a row has {len(cells)} values, expected {len(names)}."
                    )
            row = omitted.copy()
            for index, cell in cells.items():
                row[index] = _number(cell.strip(), known[index], names[index])
            rows.append(row)
    return names, categories, np.array(rows).reshape(-1, len(names))


def _split(line) -> list[str]:
    return next(csv.reader([line], quotechar="'", escapechar="\\", skipinitialspace=True))


def _unquote(text) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] in "'\"" else text


def _categories(kind, path) -> list[str] | None:
    if kind.startswith("{"):
        return [category.strip() for category in _split(kind.strip("{} "))]
    if kind.lower() in ("numeric", "real", "integer"):
        return None
    raise ValueError(f"{path.name} has a column of type {kind!r}, expected numbers or categories.")


def _numbers_of(categories: Sequence[str]) -> dict[str, float]:
    """The number for each category: its own number if all are numbers, or its place in the list."""
    try:
        return {category: float(category) for category in categories}
    except ValueError:
        return {category: float(place) for place, category in enumerate(categories)}


def _number(cell: str, known: Mapping[str, float] | None, name: str) -> float:
    if cell == "?":
        return np.nan
    if known is None:
        return float(cell)
    if cell not in known:
        raise ValueError(f"Column {name!r} has the value {cell!r}, expected one of {list(known)}.")
    return known[cell]


def _from_series(series) -> tuple[NDArray, list[str] | None]:
    """Values and categories (None for numbers) of a column of a DataFrame."""
    if series.dtype != "category":
        return series.to_numpy(dtype=np.float64), None
    categories = [str(category) for category in series.cat.categories]
    numbers = np.array([*_numbers_of(categories).values(), np.nan])
    return numbers[series.cat.codes], categories


def _table(names: Sequence[str], columns) -> Arrays:
    """Arrays of features in the .npz form, from names and pairs of values and categories."""
    types = [
        "numeric" if listed is None else "binary" if set(listed) <= {"0", "1"} else "nominal"
        for _, listed in columns
    ]
    arrays = {
        "X": _smallest(np.column_stack([values for values, _ in columns])),
        "feature_names": np.array(names, dtype=str),
    }
    nominal = {
        name: listed
        for name, kind, (_, listed) in zip(names, types, columns, strict=True)
        if kind == "nominal"
    }
    if set(types) != {"numeric"}:
        arrays["feature_types"] = np.array(types)
    if nominal:
        arrays["nominal_values"] = np.array(json.dumps(nominal))
    return arrays


def _label_sets(columns) -> NDArray:
    """Labels as 0 and 1, from pairs of values and categories of their columns."""
    labels = []
    for values, categories in columns:
        if categories is not None:
            truth = {
                number: _TRUTH.get(category.upper(), np.nan)
                for category, number in _numbers_of(categories).items()
            }
            values = [truth.get(value, np.nan) for value in values]
        labels.append(values)
    labels = np.array(labels, dtype=np.float64).T
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("The labels are not all 0 or 1, or FALSE or TRUE.")
    return labels.astype(np.uint8)


def _smallest(X) -> NDArray:
    """Convert to single precision if that is exact."""
    X = np.asarray(X, dtype=np.float64)
    single = X.astype(np.float32)
    return single if np.array_equal(single, X, equal_nan=True) else X


def import_optional(name: str) -> ModuleType:
    """Import an optional package. The error says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f'this way of loading a data set needs {name}: pip install "metricalign[data]" '
            f"({error})"
        ) from error
