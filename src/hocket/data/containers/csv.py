"""Tables with commas between the cells."""

from __future__ import annotations

from hocket.data.containers import containers
from hocket.data.containers._table import Table


@containers.register
class CommaTable(Table):
    """CSV; see `Table` for what a cell can hold."""

    separator = ","
