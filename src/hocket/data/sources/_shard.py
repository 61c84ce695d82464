"""The samples of one tar shard: members that share a name up to its first dot.

``a/0007.jpg``, ``a/0007.json`` and ``a/0007.txt`` one behind the other are one sample, ``a/0007``.
The index of a shard is one line of int64: three counts (samples S, members M, bytes of names B),
the first member of each sample and the number behind the last (S + 1), for each member where its
name ends among the names, where its bytes are and how many (M x 3), and the names themselves.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np

from hocket._errors import DataError
from hocket._log import warn
from hocket.chat.conversation import Json
from hocket.data.sources import Row
from hocket.data.sources._endings import medium_kind
from hocket.data.sources._files import DataFile
from hocket.data.sources._index import Index, row_index
from hocket.data.sources._paths import natural
from hocket.data.sources._tar import Member, members
from hocket.data.sources._text import json_row, row_bytes, row_text
from hocket.media.limits import DEFAULT_LIMITS

_COUNTS = 3
# Their lists may name pictures that are the frames of a video or of a walk.
_FRAME_KEYS = ("video", "videos", "video_frames", "frames")


class Shard:
    """The samples of one tar file, found once and kept in the cache folder.

    Args:
        path: the tar file.
        name: what messages call it.

    Raises:
        DataError: it is no tar archive, is compressed, damaged or cut off.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._file = DataFile.of(path)
        self._name = name
        self._index = row_index(self._file, "tar", 1, partial(_samples, self._file))[:, 0]
        if not len(self):
            warn(f"{path} is a shard without samples. Leave it out.")

    def __len__(self) -> int:
        return int(self._index[0])

    def place(self, index: int) -> str:
        """Return the number and the key of a sample."""
        first = self._members(index)[0]
        return f"row {index} ({_key_and_ending(first.name)[0]})"

    def row(self, index: int) -> Row:
        """Return a sample: what its ``.json`` says, and its other members.

        Raises:
            DataError: a member is missing, damaged or too large.
        """
        where = f"{self._name} {self.place(index)}"
        row: dict[str, object] = {}
        media: dict[str, list[tuple[str, Member]]] = {}
        found = self._members(index)
        row["id"] = _key_and_ending(found[0].name)[0]
        for member in found:
            ending = _key_and_ending(member.name)[1]
            kind = medium_kind(ending)
            if kind:
                media.setdefault(kind, []).append((ending, member))
            else:
                self._add(row, ending, member, where)
        # What the .json says goes before members that say the same, such as img2dataset's .txt.
        row |= self._described(found, where)
        media["image"] = self._add_frames(row, media.get("image", []), where)
        for kind in ("image", "audio", "video"):
            self._add_media(row, kind, media.get(kind, []), where)
        return cast(Row, row)

    def _members(self, index: int) -> list[Member]:
        samples, count, name_bytes = map(int, self._index[:_COUNTS])
        first, last = map(int, self._index[_COUNTS + index : _COUNTS + index + 2])
        at = _COUNTS + samples + 1
        table = self._index[at : at + 3 * count].reshape(count, 3)
        names = self._index[at + 3 * count :].view(np.uint8)[:name_bytes]
        start = int(table[first - 1, 0]) if first else 0
        found = []
        for end, begin, size in table[first:last].tolist():
            name = names[start:end].tobytes().decode("utf-8", "surrogateescape")
            found.append(Member(name, begin, size))
            start = end
        return found

    def _described(self, found: Sequence[Member], where: str) -> Mapping[str, Json]:
        described: dict[str, Json] = {}
        for member in found:
            if _key_and_ending(member.name)[1] != "json":
                continue
            value = json_row(self._bytes(member, where), f"{where} {member.name}")
            if isinstance(value, list):
                value = {"conversations": value}
            if not isinstance(value, dict):
                raise DataError(
                    f"{where}: {member.name} holds a single value, expected an object or the turns "
                    f"of a conversation. Correct the member."
                )
            described |= value
        return described

    def _add(self, row: dict[str, object], ending: str, member: Member, where: str) -> None:
        if ending == "json":
            return
        data = self._bytes(member, where)
        name, _, last = ending.rpartition(".")
        if last == "txt":
            row[name or "caption"] = row_text(data, f"{where} {member.name}").rstrip("\n")
        elif last == "cls":
            row[name or "label"] = row_text(data, f"{where} {member.name}").strip()
        elif last == "json":
            row[name] = json_row(data, f"{where} {member.name}")
        else:
            row[ending] = data

    def _add_frames(
        self, row: dict[str, object], found: list[tuple[str, Member]], where: str
    ) -> list[tuple[str, Member]]:
        """Put pictures that are named as frames in their places; return those left to be images."""
        by_name = {PurePosixPath(member.name).name: member for _, member in found}
        used: set[str] = set()

        def filled(value: object) -> object:
            if isinstance(value, Mapping) and "frames" in value:
                return {**value, "frames": filled(value["frames"])}
            if not isinstance(value, list):
                return value
            names = [_file_name(one) for one in value]
            if not all(isinstance(one, str) for one in value) or not by_name.keys() >= {*names}:
                return [filled(one) for one in value]
            used.update(names)
            return [self._medium(by_name[name], where) for name in names]

        row |= {key: filled(row[key]) for key in _FRAME_KEYS if key in row}
        if any(row.get(key) for key in ("image", "images")):
            return found  # a picture may be both
        return [one for one in found if PurePosixPath(one[1].name).name not in used]

    def _add_media(
        self, row: dict[str, object], kind: str, found: list[tuple[str, Member]], where: str
    ) -> None:
        keys = [key for key in (kind, f"{kind}s") if row.get(key) not in (None, [])]
        ordered = [member for _, member in sorted(found, key=lambda one: natural(one[0]))]
        if keys:
            named = row[keys[0]]
            listed = named if isinstance(named, list) else [named]
            wanted = [one for one in listed if not holds_bytes(one)]
            members = iter(_named(wanted, ordered, f"{where}: '{keys[0]}'"))
            media = [
                one if holds_bytes(one) else self._medium(next(members), where) for one in listed
            ]
            row[keys[0]] = media if isinstance(named, list) else media[0]
        elif ordered:
            media = [self._medium(member, where) for member in ordered]
            row[kind] = media if len(media) > 1 else media[0]

    def _medium(self, member: Member, where: str) -> dict[str, object]:
        if member.size > DEFAULT_LIMITS.max_file_bytes:
            raise DataError(
                f"{where}: {member.name} has {member.size} bytes, but at most "
                f"{DEFAULT_LIMITS.max_file_bytes} are allowed. Make it smaller."
            )
        return {"bytes": self._file.read(member.at, member.size), "path": member.name}

    def _bytes(self, member: Member, where: str) -> bytes:
        end = member.at + member.size
        return row_bytes(self._file, member.at, end, f"{where} {member.name}")


def holds_bytes(value: object) -> bool:
    """Return whether a medium stands in a value, at any depth."""
    if isinstance(value, Mapping):
        return isinstance(value.get("bytes"), bytes) or any(map(holds_bytes, value.values()))
    return isinstance(value, list) and any(map(holds_bytes, value))


def _named(named: Sequence[object], found: list[Member], where: str) -> list[Member]:
    """Return the members that a ``.json`` names: by file name, or in order if it names none."""
    wanted = [_file_name(one) for one in named]
    by_name = {PurePosixPath(member.name).name: member for member in found}
    if all(name in by_name for name in wanted):
        return [by_name[name] for name in wanted]
    if len(wanted) == len(found) and not any(name in by_name for name in wanted):
        return found
    missing = next(name for name in wanted if name not in by_name)
    held = ", ".join(by_name) or "none"
    raise DataError(
        f"{where} names {missing!r}, but the sample's members of that kind are: {held}. "
        f"Write the shard again with the member, or correct the row."
    )


def _file_name(reference: object) -> str:
    path = reference.get("path") if isinstance(reference, Mapping) else reference
    return PurePosixPath(str(path)).name


def _key_and_ending(name: str) -> tuple[str, str]:
    """Split ``a/0007.seg.png`` into ``a/0007`` and ``seg.png``."""
    folder, slash, base = name.rpartition("/")
    key, _, ending = base.partition(".")
    return f"{folder}{slash}{key}".removeprefix("./"), ending.lower()


def _samples(file: DataFile) -> Index:
    """Return the index of a shard, int64 (N, 1); see the top of this file."""
    firsts, table, names = array("q"), array("q"), bytearray()
    last = None
    for count, member in enumerate(one for one in members(file) if _is_part(one.name)):
        key = _key_and_ending(member.name)[0]
        if key != last:
            firsts.append(count)
            last = key
        names += member.name.encode("utf-8", "surrogateescape")
        table.extend((len(names), member.at, member.size))
    count = len(table) // 3
    counts = (len(firsts), count, len(names))
    names += bytes(-len(names) % 8)
    parts = [(*counts, *firsts, count), table, np.frombuffer(bytes(names), dtype=np.int64)]
    return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])[:, None]


def _is_part(name: str) -> bool:
    """Whether a member belongs to a sample; some tools add hidden files and ``__meta__``."""
    base = name.rpartition("/")[2]
    return "." in base and not base.startswith((".", "__"))
