"""Where the members of a tar archive are, so that each can be read without unpacking any.

Reads ustar, GNU and pax headers. The standard library's reader ends silently at a damaged header;
a data set that silently lost its second half would train on the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from hocket._errors import DataError
from hocket.data.sources._files import DataFile

BLOCK = 512

_CHECKSUM = slice(148, 156)
_FILE_TYPES = (b"0", b"\0", b"7")
# Links, devices and folders have no bytes, whatever their headers say.
_EMPTY_TYPES = (b"1", b"2", b"3", b"4", b"5", b"6")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_MAX_NAME_BYTES = 2**20
# As many digits as the largest file could need; Python reads no number of thousands.
_DECIMAL = re.compile(rb"[0-9]{1,19}")


class Member(NamedTuple):
    """One file of an archive.

    Attributes:
        name: its path inside the archive.
        at: its first byte in the archive.
        size: its bytes.
    """

    name: str
    at: int
    size: int


def members(file: DataFile) -> Iterator[Member]:
    """Yield the files of an archive in order; folders and links are left out.

    Raises:
        DataError: it is no tar archive, is compressed, damaged or cut off.
    """
    _check_start(file)
    at, long_name, pax = 0, "", dict[str, str]()
    while at + BLOCK <= file.size:
        header = file.read(at, BLOCK)
        if not any(header):
            return
        kind = header[156:157]
        size = _checked_size(file, header, at, pax if kind in _FILE_TYPES else {})
        if kind in _EMPTY_TYPES:
            size = 0
        if kind == b"L":
            long_name = _text(_small(file, at, size).rstrip(b"\0"))
        elif kind == b"x":
            pax = _pax(_small(file, at, size), file, at)
        elif kind != b"g":
            if kind in _FILE_TYPES:
                yield Member(pax.get("path") or long_name or _name(header), at + BLOCK, size)
            long_name, pax = "", {}
        at += BLOCK + -(-size // BLOCK) * BLOCK
    # Some writers leave the empty blocks at the end out; nothing is lost as long as it fits.
    if at != file.size:
        raise DataError(
            f"{file.path} is cut off: {file.size} bytes, expected a header at byte {at}. "
            f"Copy the shard again."
        )


def _check_start(file: DataFile) -> None:
    start = file.read(0, min(8, file.size))
    for mark, name in _COMPRESSED.items():
        if start.startswith(mark):
            raise DataError(
                f"{file.path} is compressed with {name}, so its members cannot be found by "
                f"position. Decompress the shard; pictures and sounds in it are compressed already."
            )


def _checked_size(file: DataFile, header: bytes, at: int, pax: dict[str, str]) -> int:
    """Return the bytes of a member, having checked its header and that they are all there."""
    written = header[_CHECKSUM].strip(b" \0")
    total = sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")
    if not _is_octal(written) or int(written, 8) != total:
        what = "the header at byte {} is damaged" if at else "it is no tar archive (byte {})"
        raise DataError(f"{file.path}: {what.format(at)}. Copy the shard again.")
    size = _number(header[124:136])
    if "size" in pax:
        told = pax["size"].encode("utf-8", "surrogateescape")
        size = int(told) if _DECIMAL.fullmatch(told) else None
    if size is None or size < 0:
        raise DataError(f"{file.path}: the size at byte {at + 124} is damaged. Copy it again.")
    if at + BLOCK + size > file.size and header[156:157] not in _EMPTY_TYPES:
        raise DataError(
            f"{file.path} is cut off inside {_name(header)!r}: it ends at byte {file.size}, "
            f"expected {at + BLOCK + size}. Copy the shard again."
        )
    return size


def _is_octal(written: bytes) -> bool:
    return bool(written) and all(digit in b"01234567" for digit in written)


def _number(field: bytes) -> int | None:
    """Return a number in octal, or in base 256 as GNU writes large ones."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
    written = field.split(b"\0", 1)[0].strip()
    if not written:
        return 0
    return int(written, 8) if _is_octal(written) else None


def _name(header: bytes) -> str:
    name = _text(header[:100].split(b"\0", 1)[0])
    # In old GNU headers other things stand where ustar has the first half of a long name.
    prefix = _text(header[345:500].split(b"\0", 1)[0]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _small(file: DataFile, at: int, size: int) -> bytes:
    if size > _MAX_NAME_BYTES:
        raise DataError(f"{file.path}: a name of {size} bytes at byte {at}. Copy the shard again.")
    return file.read(at + BLOCK, size)


def _pax(data: bytes, file: DataFile, at: int) -> dict[str, str]:
    """Return the records of a pax header: ``length key=value`` and a line break, each."""
    found: dict[str, str] = {}
    while data and data[0]:
        length, _, _ = data.partition(b" ")
        count = int(length) if _DECIMAL.fullmatch(length) else 0
        key, equals, value = data[len(length) + 1 : count - 1].partition(b"=")
        # A record is longer than its own length, or the next one would be this one again.
        if not equals or not len(length) < count <= len(data):
            raise DataError(f"{file.path}: the pax header at byte {at} is damaged. Copy it again.")
        found[_text(key)] = _text(value)
        data = data[count:]
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
