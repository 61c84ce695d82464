"""Tables with tabs between the cells."""

from __future__ import annotations

from hocket.data.containers import containers
from hocket.data.containers._table import Table


@containers.register
class TabTable(Table):
    """TSV; see `Table` for what a cell can hold."""

    separator = "\t"
