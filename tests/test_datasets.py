import csv
import json
import os
import pickle
import re
import sys
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import arff, savemat
from sklearn.utils import Bunch

from metricalign.datasets import fetch_dataset, list_datasets, sources
from metricalign.datasets.catalogue import CATALOGUE, TASKS, DataSet
from metricalign.datasets.sources import Files, OpenML, read_classes, read_mat, read_mulan

X = np.array([[0.5, 1.0], [2.0, np.nan], [3.0, 4.0]])
LABELS = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=np.uint8)
DISTRIBUTIONS = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])


class Opens:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_table(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of data sets: "tunes", in its tables, and "birds", which is not."""
    folder = tmp_path / "folder"
    folder.mkdir()
    np.savez(
        folder / "tunes.npz",
        X=X,
        Y=LABELS,
        feature_names=np.array(["pitch", "mood"]),
        label_names=np.array(["sad", "slow", "loud"]),
        feature_types=np.array(["numeric", "nominal"]),
        nominal_values=np.array(json.dumps({"mood": ["1.0", "4.0"]})),
        split=np.array([0, 0, 1], dtype=np.uint8),
        groups=np.array([7, 7, 8]),
    )
    np.savez(folder / "birds.npz", X=X, Y=LABELS)
    row = {
        "name": "tunes",
        "task": "multi_label",
        "sha256": sha256((folder / "tunes.npz").read_bytes()).hexdigest(),
        "source": "an attic",
        "licence note": "CC0",
    }
    write_table(folder / "INDEX.tsv", [row])
    write_table(folder / "DETAILS.tsv", [{"name": "tunes", "notes": 'has "quotes"'}])
    monkeypatch.setenv("METRICALIGN_DATA", str(folder))
    return folder


@pytest.mark.parametrize("change", [str.upper, "  {} ".format, lambda text: ""])
def test_checksums_as_other_programs_write_them(folder, change):
    with open(folder / "INDEX.tsv", newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    write_table(folder / "INDEX.tsv", [{**row, "sha256": change(row["sha256"])}])
    np.testing.assert_array_equal(fetch_dataset("tunes").target, LABELS)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of the files put in its folder; `requests` counts what was asked for."""
    monkeypatch.delenv("METRICALIGN_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests += 1
            path = server.folder / self.path.lstrip("/")
            self.send_response(200 if path.exists() else 404)
            self.end_headers()
            if path.exists():
                self.wfile.write(path.read_bytes())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.folder, server.requests = tmp_path / "served", 0
        server.folder.mkdir()
        server.base = f"http://127.0.0.1:{server.server_port}/"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def faces(server, monkeypatch):
    """A data set that the server has, in the catalogue."""
    path = server.folder / "faces.mat"
    savemat(path, {"features": X, "labels": DISTRIBUTIONS})
    files = Files(server.base, {"faces.mat": sha256(path.read_bytes()).hexdigest()}, read_mat)
    dataset = DataSet("faces", "label_distribution", (3, 2, 2), files, "CC0", "Nobody 2020")
    monkeypatch.setitem(CATALOGUE, "faces", dataset)
    return dataset


def test_a_folder_of_ones_own(folder):
    dataset = fetch_dataset("tunes")
    np.testing.assert_array_equal(dataset.data, X)
    np.testing.assert_array_equal(dataset.target, LABELS)
    assert dataset.feature_names == ["pitch", "mood"]
    assert dataset.feature_types == ["numeric", "nominal"]
    assert dataset.categories == {"mood": ["1.0", "4.0"]}
    assert dataset.target_names == ["sad", "slow", "loud"]
    assert (dataset.task, dataset.licence, dataset.frame) == ("multi_label", "CC0", None)
    np.testing.assert_array_equal(dataset.split, [0, 0, 1])
    np.testing.assert_array_equal(dataset.groups, [7, 7, 8])
    for words in ("3 samples, 2 features", "multi_label", "an attic", "CC0", 'has "quotes"'):
        assert words in dataset.DESCR


def test_the_folder_comes_before_the_catalogue(folder):
    dataset = fetch_dataset("birds")
    np.testing.assert_array_equal(dataset.target, LABELS)
    assert dataset.task == "multi_label"
    assert CATALOGUE["birds"].reference in dataset.DESCR
    assert f"Source: {folder / 'birds.npz'}" in dataset.DESCR
    assert "split" not in dataset
    assert "groups" not in dataset
    assert dataset.feature_names == ["x0", "x1"]
    assert dataset.feature_types == ["numeric", "numeric"]
    assert dataset.target_names == ["y0", "y1", "y2"]


def test_x_and_y_only(folder):
    data, target = fetch_dataset("tunes", return_X_y=True)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(target, LABELS)


def test_frames(folder):
    dataset = fetch_dataset("tunes", as_frame=True)
    pd.testing.assert_frame_equal(dataset.data, pd.DataFrame(X, columns=["pitch", "mood"]))
    pd.testing.assert_frame_equal(
        dataset.target, pd.DataFrame(LABELS, columns=["sad", "slow", "loud"])
    )
    assert list(dataset.frame) == ["pitch", "mood", "sad", "slow", "loud"]
    data, target = fetch_dataset("tunes", as_frame=True, return_X_y=True)
    pd.testing.assert_frame_equal(data, dataset.data)
    pd.testing.assert_frame_equal(target, dataset.target)


@pytest.mark.parametrize(
    ("task", "names"), [("single_label", ["y0", "y1", "y2"]), ("continuous", ["y0"])]
)
def test_one_column_of_targets(folder, task, names):
    y = np.array([2, 0, 1])
    np.savez(folder / "column.npz", X=X, Y=y)
    write_table(folder / "INDEX.tsv", [{"name": "column", "task": task}])
    dataset = fetch_dataset("column", as_frame=True)
    pd.testing.assert_series_equal(dataset.target, pd.Series(y, name="target"))
    assert dataset.target_names == names
    assert list(dataset.frame) == ["x0", "x1", "target"]


def test_list(folder, monkeypatch):
    np.savez(folder / "unlisted.npz", X=X, Y=LABELS)
    assert {"tunes", "birds", "unlisted", "movie"} < set(list_datasets())
    assert list_datasets() == sorted(list_datasets())
    assert {"tunes", "birds"} < set(list_datasets("multi_label"))
    assert not {"unlisted", "movie"} & set(list_datasets("multi_label"))
    monkeypatch.delenv("METRICALIGN_DATA")
    assert "tunes" not in list_datasets()
    assert sorted(name for task in TASKS for name in list_datasets(task)) == list_datasets()
    with pytest.raises(ValueError, match="'task' parameter of list_datasets"):
        list_datasets("regression")


@pytest.mark.parametrize("name", ["tune", "../folder/tunes", "", "INDEX.tsv"])
def test_unknown_name(folder, name):
    with pytest.raises(ValueError, match=f"no data set {name!r}.*Known are.*METRICALIGN_DATA"):
        fetch_dataset(name)


def test_near_matches(folder):
    with pytest.raises(ValueError, match=r"Did you mean 'tunes'"):
        fetch_dataset("tune")


def test_a_variable_that_names_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("METRICALIGN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match=r"METRICALIGN_DATA names .*nowhere"):
        fetch_dataset("birds")


def test_altered_file_in_the_folder(folder):
    path = folder / "tunes.npz"
    stated = sha256(path.read_bytes()).hexdigest()
    np.savez(path, X=X + 1, Y=LABELS)
    found = sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=rf"tunes\.npz is damaged.*{found}.*{stated}"):
        fetch_dataset("tunes")


@given(st.data())
def test_damaged_file_that_no_table_lists(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("folder")
    path = folder / "damaged.npz"
    np.savez_compressed(path, X=X, Y=LABELS)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METRICALIGN_DATA", str(folder))
        with pytest.raises(ValueError, match=r"damaged\.npz is not a file of plain arrays"):
            fetch_dataset("damaged")


@pytest.mark.parametrize(
    "arrays",
    [{"X": X}, {"X": X[0], "Y": LABELS}, {"X": X, "Y": LABELS[:2]}, {"X": X, "Y": LABELS[None]}],
)
def test_file_of_other_arrays(folder, arrays):
    np.savez(folder / "other.npz", **arrays)
    with pytest.raises(ValueError, match=r"other\.npz must have X of shape"):
        fetch_dataset("other")


@pytest.mark.parametrize("kind", ["objects", "pickle", "array"])
def test_no_code_is_executed(folder, kind):
    made, path = folder / "made", folder / "evil.npz"
    objects = np.array([Opens(made)] * 3, dtype=object)
    if kind == "objects":
        np.savez(path, X=X, Y=objects)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Opens(made)))
    else:
        with open(path, "wb") as file:
            np.save(file, objects, allow_pickle=True)
    with pytest.raises(ValueError, match=r"evil\.npz is not a file of plain arrays"):
        fetch_dataset("evil")
    assert not made.exists()


def test_download_then_cache(faces, server, tmp_path):
    first = fetch_dataset("faces", data_home=tmp_path)
    np.testing.assert_array_equal(first.data, X)
    np.testing.assert_array_equal(first.target, DISTRIBUTIONS)
    assert server.requests == 1
    assert server.base in first.DESCR
    assert "Nobody 2020" in first.DESCR
    assert first.licence == "CC0"
    again = fetch_dataset("faces", data_home=tmp_path, download_if_missing=False)
    assert server.requests == 1
    assert again.data.dtype == first.data.dtype
    np.testing.assert_array_equal(again.data, X)
    np.testing.assert_array_equal(again.target, DISTRIBUTIONS)
    cached = sorted(path.name for path in (tmp_path / "metricalign").iterdir())
    assert cached == ["faces.npz", "faces.sha256"]


def test_nothing_is_downloaded_unless_asked_for(faces, server, tmp_path):
    with pytest.raises(OSError, match=r"'faces' is not in .*download_if_missing is False"):
        fetch_dataset("faces", data_home=tmp_path, download_if_missing=False)
    assert server.requests == 0


@pytest.mark.parametrize("damage", ["truncated", "altered", "without checksum"])
def test_damaged_cache(faces, server, tmp_path, damage):
    fetch_dataset("faces", data_home=tmp_path)
    path = tmp_path / "metricalign" / "faces.npz"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "altered":
        np.savez(path, X=X, Y=DISTRIBUTIONS[::-1])
    else:
        path.with_suffix(".sha256").unlink()
    with pytest.raises(ValueError, match=r"faces\.npz is damaged"):
        fetch_dataset("faces", data_home=tmp_path, download_if_missing=False)
    with pytest.warns(UserWarning, match=r"faces\.npz is damaged.*downloaded again") as record:
        dataset = fetch_dataset("faces", data_home=tmp_path)
    assert record[0].filename == __file__
    np.testing.assert_array_equal(dataset.target, DISTRIBUTIONS)
    assert server.requests == 2
    fetch_dataset("faces", data_home=tmp_path)
    assert server.requests == 2


def test_offline(faces, server, tmp_path):
    (server.folder / "faces.mat").unlink()
    advice = r"'faces' is not in .*could not be downloaded from .*METRICALIGN_DATA"
    with pytest.raises(OSError, match=advice):
        fetch_dataset("faces", data_home=tmp_path)
    assert not list((tmp_path / "metricalign").iterdir())


def test_offline_with_a_damaged_cache(faces, server, tmp_path):
    fetch_dataset("faces", data_home=tmp_path)
    (server.folder / "faces.mat").unlink()
    np.savez(tmp_path / "metricalign" / "faces.npz", X=X, Y=DISTRIBUTIONS[::-1])
    with (
        pytest.warns(UserWarning, match=r"faces\.npz is damaged"),
        pytest.raises(OSError, match="could not be downloaded"),
    ):
        fetch_dataset("faces", data_home=tmp_path)


def test_altered_at_its_source(faces, server, tmp_path):
    path = server.folder / "faces.mat"
    stated = faces.source.checksums["faces.mat"]
    savemat(path, {"features": X, "labels": DISTRIBUTIONS[::-1]})
    found = sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="hash") as caught:
        fetch_dataset("faces", data_home=tmp_path)
    assert stated in str(caught.value)
    assert found in str(caught.value)
    assert not list((tmp_path / "metricalign").iterdir())


def test_another_shape_than_known(faces, server, tmp_path, monkeypatch):
    other = DataSet("faces", faces.task, (3, 2, 4), faces.source, "CC0", "Nobody 2020")
    monkeypatch.setitem(CATALOGUE, "faces", other)
    with pytest.raises(ValueError, match=r"has \(3, 2, 2\).*expected \(3, 2, 4\)"):
        fetch_dataset("faces", data_home=tmp_path)
    assert not list((tmp_path / "metricalign").iterdir())


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(faces, tmp_path, monkeypatch, step):
    fetch_dataset("faces", data_home=tmp_path)
    path = tmp_path / "metricalign" / "faces.npz"
    path.with_suffix(".sha256").write_text("0")
    content = path.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, step, interrupt)
        with pytest.warns(UserWarning, match="damaged"), pytest.raises(KeyboardInterrupt):
            fetch_dataset("faces", data_home=tmp_path)
    assert path.read_bytes() == content
    assert len(list(path.parent.iterdir())) == 2
    with pytest.warns(UserWarning, match="damaged"):
        fetch_dataset("faces", data_home=tmp_path)
    fetch_dataset("faces", data_home=tmp_path, download_if_missing=False)


def test_a_pipe_is_not_waited_for(faces, server, tmp_path):
    fetch_dataset("faces", data_home=tmp_path)
    path = tmp_path / "metricalign" / "faces.npz"
    for pipe in (path, path.with_suffix(".sha256")):  # of which the second is read first
        pipe.unlink()
        os.mkfifo(pipe)
        with pytest.raises(OSError, match=rf"a device or a pipe; .*{pipe.name}"):
            fetch_dataset("faces", data_home=tmp_path)
        assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["INDEX.tsv", "DETAILS.tsv", "tunes.npz"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "a device or a pipe; expected a file"),
        (os.mkdir, "a folder; expected a file"),
        (lambda path: os.symlink("nowhere", path), "No such file"),
    ],
)
def test_what_is_no_file_in_the_folder(folder, name, make, message):
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(OSError, match=rf"{message}.*{name}"):
        fetch_dataset("tunes")


@pytest.mark.parametrize("name", ["INDEX.tsv", "DETAILS.tsv"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name\ttask\nt\u00fcnes\tmulti_label\n".encode("latin-1"), "UTF-8, first in line 2"),
        ("name\ttask\n".encode("utf-16"), "UTF-8, first in line 1"),
        (b"title\ttask\ntunes\tmulti_label\n", "no column 'name'"),
        (b"", "no column 'name'"),
        (b"name,task\ntunes,multi_label\n", "no column 'name'"),
        (b"name\ttask\tnotes\ntunes\tmulti_label\n", "line 2: 2 values, expected 3"),
        (b"name\ttask\ntunes\tmulti_label\tmore\n", "line 2: 3 values, expected 2"),
        (b"name\ttask\ntunes\t" + b"x" * 131_073, "line 2: field larger than field limit"),
    ],
)
def test_broken_tables_of_the_folder(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        fetch_dataset("tunes")


def test_a_table_with_a_byte_order_mark(folder):
    path = folder / "INDEX.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n")
    assert fetch_dataset("tunes").licence == "CC0"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X.astype(str)}, "X is of type <U32, expected real numbers"),
        ({"X": X + 1j}, "X is of type complex128"),
        ({"X": X.astype("datetime64[s]")}, "X is of type datetime64"),
        ({"Y": LABELS + 1j}, "Y is of type complex128"),
        ({"feature_names": ["pitch"]}, r"feature_names has shape \(1,\), expected \(2,\)"),
        ({"feature_names": [["pitch", "mood"]]}, "feature_names has shape"),
        ({"feature_names": [1, 2]}, "feature_names is of type int64, expected strings"),
        ({"feature_types": ["numeric"] * 3}, r"feature_types has shape \(3,\)"),
        ({"label_names": ["sad", "loud"]}, r"label_names has shape \(2,\), expected \(3,\)"),
        ({"Y": LABELS[:, 0], "label_names": [["a", "b"]]}, r"label_names has shape \(1, 2\)"),
        ({"split": [0, 1]}, r"split has shape \(2,\), expected \(3,\)"),
        ({"groups": 1}, r"groups has shape \(\)"),
        ({"nominal_values": "{"}, "nominal_values is no JSON text"),
    ],
)
@pytest.mark.parametrize("as_frame", [False, True])
def test_arrays_that_do_not_belong_together(folder, arrays, message, as_frame):
    np.savez(folder / "other.npz", **({"X": X, "Y": LABELS} | arrays))
    with pytest.raises(ValueError, match=rf"other\.npz: {message}"):
        fetch_dataset("other", as_frame=as_frame)


def test_without_a_checksum_nothing_is_downloaded(faces, server, tmp_path, monkeypatch):
    files = Files(server.base, {"faces.mat": None}, read_mat)
    other = DataSet("faces", faces.task, (3, 2, 2), files, "CC0", "Nobody 2020")
    monkeypatch.setitem(CATALOGUE, "faces", other)
    with pytest.raises(ValueError, match=r"checksum of .*faces\.mat is not known.*METRICALIGN"):
        fetch_dataset("faces", data_home=tmp_path)
    assert server.requests == 0


def test_without_pooch(faces, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        ImportError, match=r'needs pooch: pip install "metricalign\[data\]" \(.*pooch'
    ):
        fetch_dataset("faces", data_home=tmp_path)


def test_the_catalogue_is_complete():
    for name, dataset in CATALOGUE.items():
        assert dataset.name == name
        assert dataset.task in TASKS
        assert dataset.licence
        assert dataset.reference
        assert len(dataset.shape) == 3
        if isinstance(dataset.source, Files):
            # A branch's files may change: a commit's do not.
            assert re.search(r"/[0-9a-f]{40}/", dataset.source.base)
            checksums = list(dataset.source.checksums.values())
            assert name == "sbu_3dfe" or all(
                re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums
            )
    addresses = [dataset.source.address for dataset in CATALOGUE.values()]
    from_one_file = [name for name in CATALOGUE if name.startswith("raml_")]
    assert len(set(addresses)) == len(addresses) - len(from_one_file) + 1


def test_mat_file(tmp_path):
    path = tmp_path / "a.mat"
    single = DISTRIBUTIONS.astype(np.float32) * np.float32(1 + 1e-6)
    savemat(path, {"features": X, "labels": single, "age": np.array([[3.0], [1.0], [2.0]])})
    arrays = read_mat([path])
    np.testing.assert_allclose(arrays["Y"], DISTRIBUTIONS, rtol=1e-6)
    np.testing.assert_allclose(arrays["Y"].sum(axis=1), 1, rtol=0, atol=1e-15)
    assert arrays["X"].dtype == np.float32
    assert "label_names" not in arrays
    ages = read_mat([path], target="age", label_names=("age",))
    np.testing.assert_array_equal(ages["Y"], [3, 1, 2])
    assert ages["label_names"].tolist() == ["age"]
    savemat(path, {"features": X / 3, "labels": LABELS})
    with pytest.raises(ValueError, match="rows of 'labels' are not distributions"):
        read_mat([path])


def test_precision_is_kept(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"features": X / 3, "labels": DISTRIBUTIONS})
    features = read_mat([path])["X"]
    assert features.dtype == np.float64
    np.testing.assert_array_equal(features, X / 3)


def test_classes_in_the_last_column(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"wine": np.column_stack([X, [3, 1, 7]])})
    arrays = read_classes([path], variable="wine")
    np.testing.assert_array_equal(arrays["X"], X)
    np.testing.assert_array_equal(arrays["Y"], [1, 0, 2])
    assert arrays["label_names"].tolist() == ["1", "3", "7"]


HEADER = r"""% a comment
@RELATION 'a b'

@attribute plain numeric
@attribute 'two words' real
@attribute 'it\'s' {0,1}
@ATTRIBUTE 0; {lunch, 'happy hour'}
@attribute place {10,2}
@attribute loud {0,1}
@attribute sad {FALSE,TRUE}

@DATA
"""
DENSE = """0.5,2,1,lunch,2,1,TRUE
?, -1e3 ,0,'happy hour',10,0,FALSE
% another comment
0,0,0,lunch,10,0,FALSE
"""
SPARSE = """{0 0.5,1 2,2 1,4 2,5 1,6 TRUE}
{0 ?, 1 -1e3, 3 'happy hour'}

{ }
"""
XML = """<?xml version="1.0" encoding="utf-8"?>
<labels xmlns="http://mulan.sourceforge.net/labels">
<label name="sad"><label name="loud"></label></label>
</labels>
"""


def mulan_files(folder, **contents):
    paths = [folder / name.replace("_", ".") for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_text(content)
    return paths


@pytest.mark.parametrize("rows", [DENSE, SPARSE])
def test_mulan_files(tmp_path, rows):
    arrays = read_mulan(mulan_files(tmp_path, a_arff=HEADER + rows, a_xml=XML))
    expected = [[0.5, 2, 1, 0, 2], [np.nan, -1000, 0, 1, 10], [0, 0, 0, 0, 10]]
    np.testing.assert_array_equal(arrays["X"], expected)
    np.testing.assert_array_equal(arrays["Y"], [[1, 1], [0, 0], [0, 0]])
    assert arrays["label_names"].tolist() == ["sad", "loud"]
    assert arrays["feature_names"].tolist() == ["plain", "two words", "it's", "0;", "place"]
    assert arrays["feature_types"].tolist() == ["numeric"] * 2 + ["binary"] + ["nominal"] * 2
    nominal = {"0;": ["lunch", "happy hour"], "place": ["10", "2"]}
    assert json.loads(str(arrays["nominal_values"])) == nominal


def test_training_and_test_files(tmp_path):
    paths = mulan_files(tmp_path, a_arff=HEADER + DENSE, b_arff=HEADER + SPARSE, a_xml=XML)
    arrays = read_mulan(paths, label_names=("unhappy", "noisy"))
    np.testing.assert_array_equal(arrays["X"][:3], arrays["X"][3:])
    np.testing.assert_array_equal(arrays["split"], [0, 0, 0, 1, 1, 1])
    assert arrays["label_names"].tolist() == ["unhappy", "noisy"]
    paths[1].write_text(HEADER.replace("plain", "other") + DENSE)
    with pytest.raises(ValueError, match="different columns"):
        read_mulan(paths)


@given(
    st.lists(
        st.tuples(*[st.floats(-1e9, 1e9)] * 3, st.sampled_from(["0", "1"])), min_size=1, max_size=5
    )
)
def test_arff_as_scipy_reads_it(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("arff") / "a.arff"
    header = "@relation a\n@attribute a real\n@attribute b {0,1}\n"
    header += "@attribute c numeric\n@attribute d numeric\n@data\n"
    path.write_text(header + "".join(f"{a!r},{b},{c!r},{d!r}\n" for a, c, d, b in rows))
    arrays = read_mulan([path], n_targets=2)
    table, _ = arff.loadarff(path)
    np.testing.assert_array_equal(arrays["X"][:, 0], table["a"])
    np.testing.assert_array_equal(arrays["X"][:, 1], table["b"].astype(float))
    np.testing.assert_array_equal(arrays["Y"], np.column_stack([table["c"], table["d"]]))
    assert arrays["label_names"].tolist() == ["c", "d"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.5,2,1,lunch,", "0.5,2,1,", "a row has 6 values, expected 7"),
        ("1,lunch,2", "1,brunch,2", "Column '0;' has the value 'brunch'"),
        ("plain numeric", "plain string", "column of type 'string'"),
        ("attribute sad", "attribute glad", "no column 'sad'"),
        ("{FALSE,TRUE}", "{FALSE,TRUE,MAYBE}", None),
        ("1,TRUE", "1,?", "labels are not all 0 or 1"),
        ("loud {0,1}", "loud numeric", None),
        ("2,1,TRUE", "2,2,TRUE", "Column 'loud' has the value '2'"),
    ],
)
def test_unexpected_arff(tmp_path, old, new, message):
    content = HEADER + DENSE
    assert old in content
    paths = mulan_files(tmp_path, a_arff=content.replace(old, new), a_xml=XML)
    if message is None:
        assert read_mulan(paths)["Y"].tolist() == [[1, 1], [0, 0], [0, 0]]
    else:
        with pytest.raises(ValueError, match=message):
            read_mulan(paths)


def openml(monkeypatch, name, target, data=None):
    """Have scikit-learn's fetcher return such a data set, and record how it is called."""
    if data is None:
        data = pd.DataFrame({"a": [0.5, 2.0, 3.0], "b": pd.Categorical(["x", None, "w"])})
    calls = []

    def fetch_openml(**options):
        calls.append(options)
        return Bunch(data=data, target=target, details={"name": name})

    monkeypatch.delenv("METRICALIGN_DATA", raising=False)
    monkeypatch.setattr(sources, "fetch_openml", fetch_openml)
    return calls


@pytest.mark.parametrize("values", [("FALSE", "TRUE"), ("0", "1"), (0, 1), (0.0, 1.0)])
def test_openml(monkeypatch, tmp_path, values):
    target = pd.DataFrame(np.array(values, dtype=object)[LABELS], columns=["p", "q", "r"])
    if isinstance(values[0], str):
        target = target.astype("category")
    calls = openml(monkeypatch, "Tunes", target)
    dataset = DataSet("tunes", "multi_label", (3, 2, 3), OpenML("tunes", 9), "CC0", "Nobody")
    monkeypatch.setitem(CATALOGUE, "tunes", dataset)
    for _ in range(2):
        bunch = fetch_dataset("tunes", data_home=tmp_path)
        np.testing.assert_array_equal(bunch.data, [[0.5, 1], [2, np.nan], [3, 0]])
        np.testing.assert_array_equal(bunch.target, LABELS)
        assert bunch.target.dtype == np.uint8
        assert bunch.target_names == ["p", "q", "r"]
        assert bunch.feature_types == ["numeric", "nominal"]
        assert bunch.categories == {"b": ["w", "x"]}
        assert "openml.org/d/9" in bunch.DESCR
    (call,) = calls
    assert call["data_id"] == 9
    assert call["target_column"] == "default-target"
    # scikit-learn checks one download and reads another, unless it may cache; and its other
    # parser fails on FALSE and TRUE.
    assert Path(call["data_home"]).parent == tmp_path / "metricalign"
    assert call["parser"] == "liac-arff"


def test_openml_columns_that_are_labels(monkeypatch, tmp_path):
    target = pd.DataFrame(LABELS, columns=["red", "green", "blue"])
    data = pd.DataFrame({"name": ["Chad", "Mali", "Peru"], "area": [1.0, 2.0, 3.0]})
    calls = openml(monkeypatch, "tunes", target, data)
    source = OpenML("tunes", 9, labels=("red", "green", "blue"), dropped=("name", "botright"))
    arrays = source.load(tmp_path)
    assert calls[0]["target_column"] == ["red", "green", "blue"]
    assert arrays["feature_names"].tolist() == ["area"]
    np.testing.assert_array_equal(arrays["Y"], LABELS)


def test_openml_is_not_what_was_expected(monkeypatch, tmp_path):
    target = pd.DataFrame({"p": ["maybe", "TRUE", "TRUE"]}, dtype="category")
    openml(monkeypatch, "tunes", target)
    with pytest.raises(ValueError, match="not all 0 or 1"):
        OpenML("tunes", 9).load(tmp_path)
    with pytest.raises(ValueError, match="is 'tunes', expected 'birds'"):
        OpenML("birds", 9).load(tmp_path)


def test_openml_checksum_and_absence(monkeypatch, tmp_path):
    """What scikit-learn says of a wrong checksum is passed on; being offline is explained."""
    monkeypatch.delenv("METRICALIGN_DATA", raising=False)
    fetch = partial(fetch_dataset, "emotions", data_home=tmp_path)

    def fail(error, **options):
        raise error

    monkeypatch.setattr(sources, "fetch_openml", partial(fail, ValueError("md5 does not match")))
    with pytest.raises(ValueError, match="md5 does not match"):
        fetch()
    monkeypatch.setattr(sources, "fetch_openml", partial(fail, ConnectionError("no route")))
    with pytest.raises(OSError, match=r"no route\). Try again .*METRICALIGN_DATA"):
        fetch()
    assert not list((tmp_path / "metricalign").iterdir())
