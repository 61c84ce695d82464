"""How many edits lie between two sequences (Levenshtein 1966)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def edits(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return the least number of insertions, deletions and substitutions between two sequences."""
    if len(one) < len(other):
        one, other = other, one
    above = list(range(len(other) + 1))
    for row, left in enumerate(one, 1):
        line = [row]
        for column, right in enumerate(other):
            changed = above[column] + (left != right)
            line.append(min(above[column + 1] + 1, line[column] + 1, changed))
        above = line
    return above[-1]
