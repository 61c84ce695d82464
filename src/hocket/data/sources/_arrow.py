"""From Arrow's values to a row of JSON values and bytes.

Knows plain Python values; must not know pyarrow, which may not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from hocket.data.sources import Row


def plain_row(values: Mapping[str, object]) -> Row:
    """Return a row as readers know it.

    Nulls are left out, also inside structs: a column has a value for every row, so null is how
    Arrow writes a key that a row does not have. Bytes stay bytes; times, decimals and whatever
    else JSON does not have become text.
    """
    return cast(Row, _plain(values))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | bool | int | float | bytes):
        return value
    return str(value)
