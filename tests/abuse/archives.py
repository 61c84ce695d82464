"""Tar shards of data sets whose members lead outside, lie, or are no files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.abuse.seeds import pictures
from tests.abuse.suite import Case, Expected, Size, Suite

from hocket.chat.conversation import Conversation, Json
from hocket.data.sources.webdataset import FOLDER_INDEX, WebDataset

BLOCK = 512
SECRET = b"outside"
_ROW = b'{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}'


def header(
    name: bytes, size: int | bytes = 0, kind: bytes = b"0", link: bytes = b"", **fields: bytes
) -> bytes:
    """Return a header of ustar with a right checksum, whatever else is in it."""
    told = size if isinstance(size, bytes) else b"%011o\0" % size
    found = bytearray(BLOCK)
    for at, value in (
        (0, name[:100]),
        (100, b"0000644\0"),
        (124, told),
        (136, b"00000000000\0"),
        (156, kind),
        (157, link[:100]),
        (257, fields.get("magic", b"ustar\x0000")),
        (345, fields.get("prefix", b"")),
    ):
        found[at : at + len(value)] = value
    total = sum(found) + 8 * 32
    found[148:156] = fields.get("checksum", b"%06o\0 " % total)
    return bytes(found)


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", link: bytes = b"") -> bytes:
    """Return a member with its data."""
    return header(name, len(data), kind, link) + data + bytes(-len(data) % BLOCK)


def pax(records: bytes) -> bytes:
    """Return a pax header with its records as they are."""
    return member(b"pax", records, b"x")


def record(key: bytes, value: bytes) -> bytes:
    """Return a right record of a pax header."""
    body = b" " + key + b"=" + value + b"\n"
    count = len(body) + len(str(len(body)))
    count = len(body) + len(str(count))
    return str(count).encode() + body


END = bytes(2 * BLOCK)
GOOD = member(b"0.json", _ROW) + member(b"0.png", pictures()[5])

# What is tried, the bytes of the shard, and what it must end in.
SHARDS: tuple[tuple[str, bytes, Expected], ...] = (
    *(
        (f"name {name!r}", member(name + b".json", _ROW) + END, Expected.EITHER)
        for name in (
            b"../0", b"../../0", b"/abs/0", b"a/../../0", b"./../0", b"..\\0", b"C:\\0",
            b"0\0.png", b"", b".", b"..", b"/", b"\xff\xfe", b"a\nb", b"\x1b[2J", b"con", b"~/0",
            b"%2e%2e/0", b"a" * 95,
        )
    ),
    *(
        (f"type {kind!r}", member(b"0.txt", b"", kind, b"../secret") + GOOD + END, Expected.EITHER)
        for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"S", b"D", b"M", b"\xff")
    ),
    ("link with a size", header(b"0.txt", 4096, b"2", b"../secret") + GOOD + END, Expected.EITHER),
    ("link to /etc/passwd", member(b"0.txt", b"", b"2", b"/etc/passwd") + GOOD, Expected.EITHER),
    ("two of one name", GOOD + GOOD + END, Expected.EITHER),
    ("two headers, other sizes", member(b"0.json", _ROW) * 3 + END, Expected.EITHER),
    ("size beyond the file", header(b"0.json", 10**9) + END, Expected.REFUSED),
    ("size of all octals", header(b"0.json", b"77777777777\0") + END, Expected.REFUSED),
    ("size below zero", header(b"0.json", b"\xff" * 12) + END, Expected.REFUSED),
    ("size in base 256", header(b"0.json", b"\x80" + b"\x7f" * 11) + END, Expected.REFUSED),
    ("size of letters", header(b"0.json", b"zzzzzzzzzzz\0") + END, Expected.REFUSED),
    ("size with a sign", header(b"0.json", b"-0000000001\0") + END, Expected.REFUSED),
    ("size that wraps", header(b"0.json", b"\x80" + b"\0" * 3 + b"\xff" * 8), Expected.REFUSED),
    ("wrong checksum", header(b"0.json", checksum=b"000000\0 ") + END, Expected.REFUSED),
    ("checksum of letters", header(b"0.json", checksum=b"zzzzzz\0 ") + END, Expected.REFUSED),
    ("long name that is huge", header(b"x", 10**8, b"L") + bytes(BLOCK) + END, Expected.REFUSED),
    ("long name outside", member(b"x", b"../" * 200 + b"0.json\0", b"L") + GOOD, Expected.EITHER),
    ("long name without a file", member(b"x", b"a" * 600, b"L") + END, Expected.EITHER),
    ("pax path outside", pax(record(b"path", b"../../0.json")) + GOOD, Expected.EITHER),
    ("pax link", pax(record(b"linkpath", b"/etc/passwd")) + GOOD, Expected.EITHER),
    ("pax size beyond", pax(record(b"size", b"9" * 18)) + GOOD, Expected.REFUSED),
    ("pax size of digits", pax(record(b"size", b"9" * 5000)) + GOOD, Expected.REFUSED),
    ("pax size of no digits", pax(record(b"size", "\u00b2".encode())) + GOOD, Expected.REFUSED),
    ("pax length of digits", pax(b"9" * 5000 + b" a=b\n") + GOOD, Expected.REFUSED),
    ("pax length of zero", pax(b"0 a=b\n") + GOOD, Expected.REFUSED),
    ("pax length too short", pax(b"1 path=abc\n") + GOOD, Expected.REFUSED),
    ("pax length too long", pax(b"999 path=abc\n") + GOOD, Expected.REFUSED),
    ("pax of no record", pax(b"hello") + GOOD, Expected.REFUSED),
    ("pax that is huge", header(b"x", 10**8, b"x") + END, Expected.REFUSED),
    ("pax for all", member(b"g", record(b"path", b"../x"), b"g") + GOOD, Expected.EITHER),
    ("sparse file", member(b"0.json", _ROW, b"S") + GOOD, Expected.EITHER),
    ("prefix outside", header(b"0.json", prefix=b"../../..") + END, Expected.EITHER),
    ("cut in a header", GOOD[:100], Expected.REFUSED),
    ("cut in a file", GOOD[:-100], Expected.REFUSED),
    ("nothing but zeros", END, Expected.REFUSED),
    ("no tar", b"hello" * 500, Expected.REFUSED),
    ("gzip", b"\x1f\x8b" + bytes(2000), Expected.REFUSED),
    ("code of pickle", member(b"0.pyd", b"cos\nsystem\n(S'id'\ntR.") + GOOD, Expected.EITHER),
    ("pickle", member(b"0.pkl", b"cos\nsystem\n(S'id'\ntR.") + GOOD, Expected.EITHER),
    ("pickle in npy", member(b"0.npy", b"\x93NUMPY\1\0" + bytes(99)) + GOOD, Expected.EITHER),
    ("names a file outside", member(b"0.json", b'{"image": "../secret"}') + END, Expected.EITHER),
    ("names /etc/passwd among members",
     member(b"0.json", b'{"image": "/etc/passwd"}') + member(b"0.png", pictures()[5]) + END,
     Expected.EITHER),
)  # fmt: skip

INDICES = (
    b'{"shardlist": [{"url": "pipe:touch canary"}]}',
    b'{"shardlist": [{"url": "https://127.0.0.1/a.tar"}]}',
    b'{"shardlist": [{"url": "s3://bucket/a.tar"}]}',
    b'{"shardlist": [{"url": "a.tar", "nsamples": 9}]}',
    b'{"shardlist": [{"url": "a.tar", "filesize": 9}]}',
    b'{"shardlist": [{"url": "a\\u0000.tar"}]}',
    b'{"shardlist": [[]]}',
    b'{"shardlist": [], "base": "/"}',
    b"[" * 100_000,
    b"{}",
)


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield the shards and indices, each in a folder of its own."""
    (folder / "secret").write_bytes(SECRET)
    for number, (name, data, expected) in enumerate(SHARDS):
        yield Case(name, partial(_opened, folder, number, "a.tar", data), expected)
    for number, data in enumerate(INDICES, len(SHARDS)):
        name = f"index {data[:50]!r}"
        yield Case(name, partial(_opened, folder, number, FOLDER_INDEX, data))


def _opened(folder: Path, number: int, name: str, data: bytes) -> object:
    """Read every row of a shard; nothing may be written, and nothing read from outside."""
    home = folder / f"case_{number}" / "data"
    home.mkdir(parents=True)
    (home / name).write_bytes(data)
    (home / "a.tar").touch()
    before = _files(folder)
    try:
        rows = WebDataset(home / name, reader=_read)
        found = [rows.row(index) for index in range(len(rows))]
        for row in found:
            assert SECRET not in repr(row).encode(), f"read from outside: {row}"
            assert b"root:" not in repr(row).encode(), f"read from outside: {row}"
        return found
    finally:
        assert _files(folder) == before, "a file was written"


def _files(folder: Path) -> set[str]:
    return {f"{at}/{name}" for at, _, names in os.walk(folder) for name in names}


def _read(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    return Conversation(id=where, messages=())


SUITE = Suite(
    name="archives",
    tries="WebDataset shards: names that lead outside, links, devices, lying sizes, pax, pickles",
    means="nothing is unpacked, no link is followed, no member is run",
    counts={Size.CI: len(SHARDS) + len(INDICES), Size.NIGHTLY: len(SHARDS) + len(INDICES)},
    cases=cases,
    seconds=5.0,
)
