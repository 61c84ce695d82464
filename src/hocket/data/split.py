"""Rows shared out among train, validation and test sets; rows of one group never part.

A pure function of the groups, the shares and a seed. Knows names of groups and rows; must not know
files.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Conversation
from hocket.data.same import identity

BY_MEDIA = "media"
BY_PREFIX = "id-prefix"
BY_ROW = "row"

_SEPARATORS = "-_/."


def keys_of(conversation: Conversation, by: str) -> tuple[str, ...]:
    """Return what ties a row to others; rows that share one of them are of one group.

    Args:
        conversation: the row.
        by: ``media`` for its files, ``id-prefix`` for its id up to the last ``- _ / .``, ``row``
            for its id alone, or else a key of the row, such as ``scene``.

    Raises:
        DataError: the row does not have that key.
    """
    if by == BY_ROW:
        return ()
    if by == BY_MEDIA:
        return tuple(repr(identity(medium)) for medium in conversation.media())
    if by == BY_PREFIX:
        cut = max(conversation.id.rfind(mark) for mark in _SEPARATORS)
        return (conversation.id[:cut] if cut > 0 else conversation.id,)
    if by not in conversation.meta:
        known = ", ".join([BY_MEDIA, BY_PREFIX, BY_ROW, *conversation.meta])
        raise DataError(
            f"{conversation.source} (id {conversation.id!r}): no key {by!r} to group by. "
            f"Known: {known}."
        )
    return (repr(conversation.meta[by]),)


def group_rows(keys: Iterable[tuple[int, Sequence[str]]]) -> dict[int, int]:
    """Return row -> the first row of its group.

    Args:
        keys: row and what ties it to others; groups that share a key are one.
    """
    first_with: dict[str, int] = {}
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for row, mine in keys:
        parent[row] = row
        for key in mine:
            one, other = root(first_with.setdefault(key, row)), root(row)
            parent[max(one, other)] = min(one, other)
    return {row: root(row) for row in parent}


def share_groups(
    groups: Mapping[int, int], shares: Mapping[str, float], *, seed: int
) -> dict[str, np.ndarray]:
    """Share rows out, so that each part comes as near to its share as whole groups allow.

    Groups are taken in an order drawn from the seed; each goes where most is missing.

    Args:
        groups: row -> its group.
        shares: part -> its share of the rows.
        seed: of the order.

    Returns:
        part -> int64 (N,) rows, ascending.

    Raises:
        ConfigError: a share is below 0 or not finite, or they do not add up to 1.
    """
    check_shares(shares)
    members: dict[int, list[int]] = {}
    for row, group in groups.items():
        members.setdefault(group, []).append(row)
    found: dict[str, list[int]] = {part: [] for part in shares}
    for group in sorted(members, key=lambda one: _draw(one, seed)):
        part = max(shares, key=lambda name: shares[name] * len(groups) - len(found[name]))
        found[part] += members[group]
    return {part: np.array(sorted(rows), dtype=np.int64) for part, rows in found.items()}


def check_shares(shares: Mapping[str, float]) -> None:
    """Check that shares are shares.

    Raises:
        ConfigError: one is below 0 or not finite, or they do not add up to 1.
    """
    told = ", ".join(f"{part} {share:g}" for part, share in shares.items())
    if any(not 0 <= share < math.inf for share in shares.values()):
        raise ConfigError(f"the shares are {told}, expected 0 or more each. Correct them.")
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise ConfigError(
            f"the shares {told} add up to {sum(shares.values()):g}, expected 1. Correct them."
        )


def _draw(group: int, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {group}".encode(), digest_size=16).digest()
