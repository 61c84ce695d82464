"""Tables with tabs between the cells."""

from __future__ import annotations

from hocket.data.sources import sources
from hocket.data.sources._table import TableRows


@sources.register
class TabTable(TableRows):
    """The records of TSV files; see `TableRows` for cells, header and quotes."""

    separator = "\t"
