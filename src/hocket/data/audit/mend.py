"""A repaired copy of a data set whose rows hold a list of turns.

Every change is named: a turn without text is dropped with the question or answer that it leaves
alone, placeholders are added or removed until there is one for each medium, an id that was given
twice gets another, and a row that still cannot be used is dropped. Rows of other formats are kept
or dropped. The source is never written to.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from hocket._errors import DataError, MachineError, ReaderError
from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers._media import all_references
from hocket.chat.readers._turns import LLAVA_SPEAKERS, PLACE
from hocket.chat.validate import check_conversation
from hocket.data.audit import MEANINGS, Finding, Kind
from hocket.data.sources import Row, RowSource

Turns = list[dict[str, Json]]
Read = Callable[[Row], Conversation]

# What a repair of the text cannot mend, so the row goes.
_LOST = {kind for kind, meaning in MEANINGS.items() if meaning.unusable} - {
    Kind.TAGS,
    Kind.ORDER,
    Kind.EMPTY,
}


class Change(NamedTuple):
    """What was done to a row.

    Attributes:
        row: its number in the source.
        id: its own id; empty when it has none.
        what: in words.
    """

    row: int
    id: str
    what: str


class _Shape(NamedTuple):
    """How a format writes a turn: the keys of the list, of the speaker and of the text."""

    turns: str
    who: str
    what: str


_SHAPES = (_Shape("conversations", "from", "value"), _Shape("messages", "role", "content"))


def mend(
    source: RowSource, findings: Sequence[Finding], target: Path, *, read: Read
) -> Iterator[Change]:
    """Write a repaired copy as a JSON array; yield each change as it is made.

    Args:
        source: the data set.
        findings: what an audit found in it.
        target: the new file.
        read: turns a row into a conversation, or raises DataError.

    Raises:
        DataError: the target is the source itself, or rows hold media and not their paths.
        MachineError: the target cannot be written.
    """
    by_row: dict[int, list[Finding]] = {}
    for finding in findings:
        by_row.setdefault(finding.row, []).append(finding)
    ids: set[str] = set()
    written = 0
    half = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with half.open("w", encoding="utf-8") as file:
            file.write("[")
            for number in range(len(source)):
                row, changes = _mended(source, number, by_row.get(number, []), read)
                if row is not None:
                    changes += _own_id(row, ids)
                    file.write(",\n" if written else "\n")
                    file.write(_text(row, number))
                    written += 1
                name = _name(row)
                yield from (Change(number, name, what) for what in changes)
            file.write("\n]\n")
        half.replace(target)
    except OSError as error:
        raise MachineError(
            f"{target} cannot be written ({error.strerror}). Choose another file for --fix."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            half.unlink()


def _mended(
    source: RowSource, number: int, findings: Sequence[Finding], read: Read
) -> tuple[dict[str, Json] | None, list[str]]:
    """Return the row as it goes into the copy, or None, and what was done to it."""
    lost = next((one for one in findings if one.kind in _LOST), None)
    if lost is not None:
        return None, [f"dropped the row: {lost.reason}"]
    row = dict(source.row(number))
    found = [one for one in findings if one.kind in (Kind.TAGS, Kind.ORDER, Kind.EMPTY)]
    if not found:
        return row, []
    changes: list[str] = []
    shape = next((one for one in _SHAPES if isinstance(row.get(one.turns), list)), None)
    turns = cast(list[Json], row[shape.turns]) if shape else []
    if shape and all(_is_plain(turn, shape) for turn in turns):
        kept, changes = _full_turns(cast(Turns, turns), shape)
        kept, more = _with_places(kept, shape, row)
        changes += more
        row[shape.turns] = cast(list[Json], kept)
    try:
        check_conversation(read(row), need_answer=True)
    except DataError:
        # What was found first: what is wrong behind the mending is a row that nobody wrote.
        return None, [f"dropped the row: {found[0].reason}"]
    return row, changes


def _full_turns(turns: Turns, shape: _Shape) -> tuple[Turns, list[str]]:
    """Drop turns without text and those that they leave alone: a question or an answer."""
    kept: Turns = []
    changes = []
    for number, turn in enumerate(turns):
        role = _role(turn, shape)
        empty = not str(turn[shape.what]).strip()
        alone = role == "assistant" and (not kept or _role(kept[-1], shape) not in ("user", "tool"))
        if empty or alone:
            why = "which is empty" if empty else "which answers nothing"
            changes.append(f"dropped turn {number} of {turn[shape.who]!r}, {why}")
            if empty and role == "assistant" and kept and _role(kept[-1], shape) == "user":
                gone = kept.pop()
                changes.append(f"dropped the question before it, of {gone[shape.who]!r}")
        elif role == "user" and kept and _role(kept[-1], shape) == "user":
            changes.append(f"dropped the question before turn {number}, which has no answer")
            kept[-1] = turn
        else:
            kept.append(turn)
    if kept and _role(kept[-1], shape) == "user":
        changes.append("dropped the last question, which has no answer")
        kept.pop()
    return kept, changes


def _with_places(turns: Turns, shape: _Shape, row: Row) -> tuple[Turns, list[str]]:
    """Add and remove placeholders until there is one for each medium."""
    try:
        media = all_references(row, "row")
    except ReaderError:
        return turns, []  # told when the row is read
    asking = [number for number, turn in enumerate(turns) if _role(turn, shape) == "user"]
    turns = [dict(turn) for turn in turns]
    changes = []
    for kind, found in media.items():
        place = f"<{kind}>"
        held = sum(PLACE.findall(str(turns[at][shape.what])).count(kind) for at in asking)
        spare, lacking = held - len(found), len(found) - held
        for at in reversed(asking):
            for _ in range(spare):
                text, gone = _without_last(str(turns[at][shape.what]), place)
                turns[at][shape.what] = text
                spare -= gone
        if held > len(found):
            changes.append(f"removed {held - len(found)} {place} too many")
        if lacking > 0 and asking and held:
            first = turns[asking[0]]
            first[shape.what] = f"{place}\n" * lacking + str(first[shape.what])
            changes.append(f"added {lacking} missing {place}")
    return turns, changes


def _without_last(text: str, place: str) -> tuple[str, int]:
    """Remove the last placeholder of a text and the line break beside it; return how many."""
    before, found, after = text.rpartition(place)
    if not found:
        return text, 0
    return before + re.sub(r"^\n", "", after), 1


def _own_id(row: dict[str, Json], ids: set[str]) -> list[str]:
    """Give a row an id of its own when an earlier one has it."""
    given = row.get("id")
    if given is None:
        return []
    name, number = str(given), 1
    while name in ids:
        number += 1
        name = f"{given}-{number}"
    ids.add(name)
    if number == 1:
        return []
    row["id"] = name
    return [f"changed its id from {given!r}, which an earlier row has, to {name!r}"]


def _is_plain(turn: Json, shape: _Shape) -> bool:
    return isinstance(turn, dict) and all(
        isinstance(turn.get(key), str) for key in (shape.who, shape.what)
    )


def _role(turn: Mapping[str, Json], shape: _Shape) -> str:
    speaker = str(turn[shape.who])
    found = LLAVA_SPEAKERS.get(speaker)
    return found.value if found else speaker


def _name(row: Row | None) -> str:
    return str(row.get("id", "")) if row else ""


def _text(row: Row, number: int) -> str:
    try:
        return json.dumps(row, ensure_ascii=False)
    except TypeError as error:
        raise DataError(
            f"row {number} holds media and not their paths, which JSON cannot. "
            f"Use --quarantine instead, or convert the data first: hocket data convert"
        ) from error
