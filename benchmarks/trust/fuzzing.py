"""Fuzzing of what comes from outside: tables of any bytes, and matrices of relations."""

from __future__ import annotations

import csv
import io
import time
import warnings
from collections.abc import Callable
from tempfile import NamedTemporaryFile

import numpy as np
from hostile import Input, WrongAnswerError, judge
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from metricalign import PSDSVR, RAMLSVR
from metricalign.command_line.columns import read_columns, sort_features
from metricalign.command_line.formats import Reading
from metricalign.command_line.reading import InputError, Layout, read_contents
from metricalign.command_line.table_columns import TableColumns
from metricalign.command_line.targets import read_target
from metricalign.features import PiecewiseLinearEncoder

# Tables

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-32"]
CELLS = st.one_of(
    st.sampled_from(["", "NA", "?", "nan", "inf", "-inf", "1e999", "1e-999", "True", "0", "-0"]),
    st.sampled_from(["1,5", "1_000", "0x1F", "1+2j", "\u0661", "\u00e9", "9" * 25, " 3 ", "#"]),
    st.sampled_from(['"', "'", "2020-01-01"]),
    st.integers(-9, 9).map(str),
    st.floats(allow_nan=False).map(repr),
    st.text(max_size=6),
)


@st.composite
def tables(draw) -> bytes:
    """A table as a program would write it, as often as not damaged afterwards."""
    n_columns = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(CELLS, min_size=n_columns, max_size=n_columns), max_size=12))
    if draw(st.booleans()):
        rows.insert(0, [f"c{i}" for i in range(n_columns)])
    text = io.StringIO(newline="")
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(text, delimiter=draw(st.sampled_from(",;\t|")), lineterminator=end).writerows(rows)
    content = text.getvalue().encode(draw(st.sampled_from(ENCODINGS)), "replace")
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        inserted = draw(st.binary(max_size=3))
        content = content[:place] + inserted + content[place + draw(st.integers(0, 3)) :]
    return content


def use_table(content: bytes, suffix: str, encoding: str | None) -> None:
    """Everything that is done with a table before a metric is learned."""
    try:
        with NamedTemporaryFile(suffix=suffix) as file:
            file.write(content)
            file.flush()
            table = read_contents(file.name, Layout(encoding=encoding)).table
        if len(table) == 0 or not table.columns.is_unique:
            raise WrongAnswerError(f"{len(table)} rows, columns {list(table.columns)}")
        target, *names = list(table.columns)
        is_present = read_target(table, [target], None, None, Reading()).is_present
        if not names or is_present.sum() < 2:
            return
        features = sort_features(read_columns(table, names, Reading()))
        columns = TableColumns({name: each.format for name, each in features.columns.items()})
        X = columns.fit(table).transform(table)[is_present]
        X = PiecewiseLinearEncoder(n_bins=1).fit_transform(X)
    except InputError:
        return
    if not np.isfinite(X).all():
        raise WrongAnswerError(f"features are not finite: {content!r}")


# Relations

NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-320, 1e300, np.nan, np.inf]),
    st.floats(-10, 10),
    st.floats(),
)


@st.composite
def relations(draw):
    """A matrix of relations, most often symmetric, sometimes sparse."""
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    is_square, is_symmetric = draw(st.integers(0, 9)) > 0, draw(st.integers(0, 9)) > 0
    shape = (shape[0], shape[0]) if is_square else shape
    numbers = NUMBERS if draw(st.booleans()) else st.floats(-3, 3)
    matrix = draw(arrays(np.float64, shape, elements=numbers))
    if is_square and is_symmetric:
        matrix = np.triu(matrix) + np.triu(matrix, 1).T
    if draw(st.booleans()):
        stored = draw(arrays(bool, matrix.shape))
        rows, columns = np.nonzero(stored)
        matrix = sparse.coo_array((matrix[stored], (rows, columns)), shape=matrix.shape)
    return matrix


def use_relations(matrix, name: str) -> None:
    """Learn from a matrix of relations."""
    X = np.random.default_rng(0).standard_normal((matrix.shape[0], 3))
    learner = {"PSDSVR": PSDSVR(max_iter=50), "RAMLSVR": RAMLSVR(max_iter=50)}[name]
    judge(learner, Input(X, matrix, relation="precomputed"))


# For a bounded time

FUZZED: dict[str, tuple[Callable, list]] = {
    "tables": (
        use_table,
        [
            st.one_of(tables(), st.binary(max_size=200)),
            st.sampled_from([".csv", ".csv", ".csv", ".parquet"]),
            st.sampled_from([None, None, "latin-1", "utf-16"]),
        ],
    ),
    "relations": (use_relations, [relations(), st.sampled_from(["PSDSVR", "RAMLSVR"])]),
}
OPTIONS = settings(
    max_examples=100,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def fuzz(name: str, seconds: float) -> int:
    """Try examples until the time is over, and count them; an example that fails is an error."""
    use, strategies = FUZZED[name]
    n_examples = n_rounds = 0
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while time.monotonic() - start < seconds:

            def example(arguments):
                nonlocal n_examples
                n_examples += 1
                use(*arguments)

            seed(n_rounds)(OPTIONS(given(st.tuples(*strategies))(example)))()
            n_rounds += 1
    return n_examples
