"""Loading a data set from a folder of the user, from the cache, or from its publisher."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from metricalign._decorators import validate_params
from metricalign._files import read_regular, write_whole
from metricalign.datasets.catalogue import CATALOGUE, TASKS, DataSet
from metricalign.datasets.sources import Arrays, import_optional

__all__ = ["fetch_dataset", "list_datasets"]


@validate_params({"task": [StrOptions(set(TASKS)), None]}, prefer_skip_nested_validation=True)
def list_datasets(task: str | None = None) -> list[str]:
    """Names of the data sets that `fetch_dataset` knows.

    These are the data sets that can be downloaded, and those in the folder that the environment
    variable ``METRICALIGN_DATA`` names.

    Parameters
    ----------
    task : {"single_label", "multi_label", "label_distribution", "continuous", "multi_target"} \
            or None, default=None
        Kind of targets. None lists all data sets.

    Returns
    -------
    names : list of str
        Names in alphabetical order.

    Examples
    --------
    >>> from metricalign.datasets import list_datasets
    >>> "emotions" in list_datasets("multi_label")
    True
    """
    tasks = {name: dataset.task for name, dataset in CATALOGUE.items()}
    if folder := _folder():
        index = _read_table(folder / "INDEX.tsv")
        for path in folder.glob("*.npz"):
            listed = index.get(path.stem, {}).get("task")
            tasks[path.stem] = listed or tasks.get(path.stem)
    return sorted(name for name in tasks if task in (None, tasks[name]))


@validate_params(
    {
        "name": [str],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
        "return_X_y": ["boolean"],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_dataset(
    name: str,
    *,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Load a data set, and download it if it is not on this machine.

    The data set is first looked for in the folder that the environment variable
    ``METRICALIGN_DATA`` names, as the file ``NAME.npz`` with the arrays X and Y. If the table
    INDEX.tsv in that folder lists its SHA-256, the file must have it. Then the data set is looked
    for in the cache, and then at its publisher. A downloaded file must have the known checksum, or
    the one that OpenML states. Nothing in a file is ever executed.

    Parameters
    ----------
    name : str
        A name in `list_datasets`.
    data_home : str, path-like or None, default=None
        Folder whose subfolder "metricalign" is the cache. None takes the folder of scikit-learn
        (`sklearn.datasets.get_data_home`).
    download_if_missing : bool, default=True
        Whether to download a data set that is not on this machine. Otherwise it is an error.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    as_frame : bool, default=False
        Whether data and target are pandas objects.

    Returns
    -------
    dataset : Bunch
        A Bunch with these attributes.

        data : {ndarray, DataFrame} of shape (n_samples, n_features)
            Features. They are in single precision if that is exact. NaN is a missing value.
        target : {ndarray, Series, DataFrame} of shape (n_samples,) or (n_samples, n_targets)
            Classes from 0 on, labels as 0 or 1, label distributions, or numbers.
        frame : DataFrame or None
            Data and target side by side, if `as_frame` is true.
        feature_names : list of str
            Names of the columns of data.
        feature_types : list of str
            "numeric", "binary" or "nominal" for each feature.
        categories : dict of str to list of str
            The categories of each nominal feature. A category that is a number is stored as that
            number. Any other category is stored as its place in the list.
        target_names : list of str
            Names of the classes, labels or numbers.
        task : str or None
            Kind of the target, see `list_datasets`. None if it is unknown.
        split : ndarray of shape (n_samples,)
            0 for published training rows, and 1 for test rows. Only if there is a published split.
        groups : ndarray of shape (n_samples,)
            Subject or speaker of each row. Only if it is known.
        licence, DESCR : str
            The known facts about the licence, and a description of the data set with its source.
    (data, target) : tuple
        Data and target, if `return_X_y` is true.

    Raises
    ------
    ValueError
        If no data set has this name, or if a file does not have its checksum.
    OSError
        If the data set is not on this machine and cannot be downloaded.

    Warns
    -----
    UserWarning
        If a file in the cache is damaged, and is downloaded again.

    Examples
    --------
    >>> from metricalign.datasets import fetch_dataset
    >>> X, Y = fetch_dataset("emotions", return_X_y=True)  # doctest: +SKIP
    >>> X.shape, Y.shape  # doctest: +SKIP
    ((593, 72), (593, 6))
    """
    names = list_datasets()
    if name not in names:
        near = get_close_matches(name, names, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"There is no data set {name!r}.{hint} Known are {', '.join(names)}; others are looked "
            "for in the folder that the environment variable METRICALIGN_DATA names."
        )
    folder = _folder()
    row: dict[str, str | None] = {}
    if folder and os.path.lexists(path := folder / f"{name}.npz"):
        row = {"source": str(path), **_read_table(folder / "INDEX.tsv").get(name, {})}
        # Some programs write capital letters. An empty cell is no checksum.
        arrays = _read_npz(path, (row.get("sha256") or "").strip().lower() or None)
        row["notes"] = _read_table(folder / "DETAILS.tsv").get(name, {}).get("notes")
    else:
        cache = Path(get_data_home(data_home)) / "metricalign"
        arrays = _read_or_fetch(CATALOGUE[name], cache, download_if_missing)
    bunch = _bunch(name, arrays, row, as_frame)
    return (bunch.data, bunch.target) if return_X_y else bunch


def _folder() -> Path | None:
    name = os.environ.get("METRICALIGN_DATA")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(
            f"The environment variable METRICALIGN_DATA names {name!r}, which is not a folder. "
            "Correct it, or unset it to use the cache and the network."
        )
    return folder


def _read_table(path: Path) -> dict[str, dict[str, str | None]]:
    """Rows of a tab-separated table by their name. Empty if there is no such file."""
    if not os.path.lexists(path):
        return {}
    content = read_regular(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} is not valid UTF-8, first in line {line}. Save it so.") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    rows: dict[str, dict[str, str | None]] = {}
    try:
        names = next(reader, [])
        if "name" not in names:
            raise ValueError(
                f"{path} has no column 'name' in its first line, which must be names of columns "
                f"with tabs between them; it has {names}."
            )
        for values in reader:
            if values and len(values) != len(names):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(values)} values, expected "
                    f"{len(names)}, one for each of the columns {', '.join(names)}."
                )
            if values:
                row: dict[str, str | None] = dict(zip(names, values, strict=True))
                rows[values[names.index("name")]] = row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}.") from None
    return rows


def _read_npz(path, checksum: str | None) -> Arrays:
    """Arrays of a file, which must have the checksum. None allows any checksum."""
    content = read_regular(path)
    found = sha256(content).hexdigest()
    if checksum not in (None, found):
        raise ValueError(
            f"{path} is damaged or was altered: its SHA-256 is {found}, expected {checksum}. "
            "Replace it, or delete it to have it downloaded."
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # a damaged archive fails in many ways
        raise ValueError(f"{path} is not a file of plain arrays: {error}") from error
    _check_arrays(path, arrays)
    return arrays


def _check_arrays(path, arrays: Arrays) -> None:
    """Raise a ValueError that names the file and a wrong array, if there is one."""
    X, Y = arrays.get("X"), arrays.get("Y")
    if X is None or Y is None or X.ndim != 2 or Y.ndim not in (1, 2) or len(X) != len(Y):
        shapes = {key: array.shape for key, array in arrays.items()}
        raise ValueError(
            f"{path} must have X of shape (n_samples, n_features) and Y of shape (n_samples,) or "
            f"(n_samples, n_targets); it has {shapes}."
        )
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{path}: X is of type {X.dtype}, expected real numbers.")
    if Y.dtype.kind not in "biufU":
        raise ValueError(f"{path}: Y is of type {Y.dtype}, expected real numbers or strings.")
    n_samples, n_features = X.shape
    shapes = {
        "feature_names": (n_features,),
        "feature_types": (n_features,),
        "label_names": Y.shape[1:] or arrays.get("label_names", Y).shape[:1],
        "split": (n_samples,),
        "groups": (n_samples,),
    }
    for key in shapes.keys() & arrays.keys():
        array = arrays[key]
        if array.shape != shapes[key]:
            raise ValueError(
                f"{path}: {key} has shape {array.shape}, expected {shapes[key]} as X has shape "
                f"{X.shape} and Y has shape {Y.shape}."
            )
        if key not in ("split", "groups") and array.dtype.kind != "U":
            raise ValueError(f"{path}: {key} is of type {array.dtype}, expected strings.")
    try:
        json.loads(str(arrays.get("nominal_values", "{}")))
    except ValueError as error:
        raise ValueError(f"{path}: nominal_values is no JSON text: {error}") from error


def _read_or_fetch(dataset: DataSet, cache: Path, download_if_missing: bool) -> Arrays:
    path = cache / f"{dataset.name}.npz"
    checksum = path.with_suffix(".sha256")
    if path.exists():
        try:
            expected = f"that in {checksum}"
            if checksum.exists():
                expected = read_regular(checksum).decode("ascii", "replace")
            return _read_npz(path, expected)
        except ValueError as error:
            if not download_if_missing:
                raise
            warnings.warn(f"{error} It is downloaded again.", UserWarning, stacklevel=4)
    advice = (
        f"put {dataset.name}.npz, a file of the arrays X and Y, in a folder and set the "
        "environment variable METRICALIGN_DATA to that folder."
    )
    if not download_if_missing:
        raise OSError(
            f"The data set {dataset.name!r} is not in {cache}, and download_if_missing is False. "
            f"Set it to True, or {advice}"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache) as temporary:
        try:
            arrays = dataset.source.load(Path(temporary))
        except OSError as error:
            raise OSError(
                f"The data set {dataset.name!r} is not in {cache} and could not be downloaded from "
                f"{dataset.source.address} ({error}). Try again with access to the network, or "
                f"{advice}"
            ) from error
        dataset.check(arrays)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # none is "allow_pickle"
    content = file.getvalue()
    # The checksum is written last, as a file without it is not trusted.
    write_whole(path, lambda file: file.write(content))
    write_whole(checksum, lambda file: file.write(sha256(content).hexdigest().encode()))
    return arrays


def _bunch(name, arrays: Arrays, row: Mapping[str, str | None], as_frame) -> Bunch:
    """The result of a loader. Facts in a table of the folder precede those of the catalogue."""
    data, target = arrays["X"], arrays["Y"]
    dataset = CATALOGUE.get(name)
    task = row.get("task") or (dataset.task if dataset else None)
    licence = row.get("licence note") or (dataset.licence if dataset else "not known")
    source = row.get("source") or (dataset.source.address if dataset else "not known")
    lines = [
        f"{name}: {data.shape[0]} samples, {data.shape[1]} features, target of shape "
        f"{target.shape}{f', {task}' if task else ''}",
        f"Source: {source}",
        f"Licence: {licence}",
    ]
    if dataset:
        lines.append(f"Reference: {dataset.reference}")
    if notes := row.get("notes") or (dataset.notes if dataset else None):
        lines.append(f"Notes: {notes}")

    feature_names = _names(arrays, "feature_names", "x", data.shape[1])
    n_names = len(np.unique(target)) if task == "single_label" else target[:1].size
    target_names = _names(arrays, "label_names", "y", n_names)
    frame = None
    if as_frame:
        pandas = import_optional("pandas")
        data = pandas.DataFrame(data, columns=feature_names)
        if target.ndim == 1:
            target = pandas.Series(target, name="target")
        else:
            target = pandas.DataFrame(target, columns=target_names)
        frame = pandas.concat([data, target], axis=1)
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        feature_types=arrays.get("feature_types", np.full(data.shape[1], "numeric")).tolist(),
        categories=json.loads(str(arrays.get("nominal_values", "{}"))),
        target_names=target_names,
        task=task,
        licence=licence,
        DESCR="\n".join(lines),
        **{key: arrays[key] for key in ("split", "groups") if key in arrays},
    )


def _names(arrays, key, prefix, size) -> list[str]:
    return arrays[key].tolist() if key in arrays else [f"{prefix}{i}" for i in range(size)]
