"""What stands in a data set twice: conversations, ids, and media under two names.

Knows hashes and row numbers; must not open anything.
"""

from __future__ import annotations

from hocket.data.audit import Finding, Kind, RowFacts


class Repeats:
    """Compares each row with those before it."""

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._media: dict[str, str] = {}
        self._told: set[str] = set()

    def add(self, facts: RowFacts) -> list[Finding]:
        """Return what a row has in common with earlier ones."""
        found: list[tuple[Kind, str]] = []
        here = f"{facts.dataset} row {facts.row}"
        if facts.same:
            first = self._rows.setdefault(facts.same, here)
            if first != here:
                found.append((Kind.SAME_ROW, f"{here}: says and shows what {first} does."))
        # A row without an id is called by its number, which no other row of its data set has.
        if facts.id:
            number = self._ids.setdefault((facts.dataset, facts.id), facts.row)
            if number != facts.row:
                reason = f"{here}: its id {facts.id!r} is that of row {number} too. Change one."
                found.append((Kind.SAME_ID, reason))
        for name, digest in facts.media:
            first = self._media.setdefault(digest, name) if digest else name
            if first != name and name not in self._told:
                self._told.add(name)
                found.append((Kind.SAME_MEDIUM, f"{here}: {name} holds the bytes of {first}."))
        return [Finding(kind, facts.dataset, facts.row, facts.id, why) for kind, why in found]
