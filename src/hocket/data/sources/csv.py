"""Tables with commas between the cells."""

from __future__ import annotations

from hocket.data.sources import sources
from hocket.data.sources._table import TableRows


@sources.register
class CommaTable(TableRows):
    """The records of CSV files; see `TableRows` for cells, header and quotes."""

    separator = ","
