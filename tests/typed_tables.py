"""A file as a typed table, for tests of what was read."""

from metricalign.command_line.columns import read_columns
from metricalign.command_line.formats import Reading
from metricalign.command_line.reading import read_contents


def read_table(path, layout=None, reading=None):
    """A table of floats, dates and texts with None for what is missing."""
    table = read_contents(path, layout).table
    columns = read_columns(table, list(table.columns), reading or Reading())
    return table.assign(**{name: column.values for name, column in columns.items()})
