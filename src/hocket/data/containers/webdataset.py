"""WebDataset tar shards: each row is a ``.json`` and the files of its media, with a wids index."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hocket._errors import DataError
from hocket.data.containers import Numbered, containers
from hocket.data.containers._lines import json_text
from hocket.data.sources._shard import holds_bytes
from hocket.data.sources._text import MAX_ROW_BYTES

_INDEX = "wids-meta.json"
_BLOCK_BYTES = 2**20


@containers.register
class TarShards:
    """A folder of tar files; a member is ``NUMBER.json`` or ``NUMBER.HASH.ENDING``."""

    is_folder = True
    listed = True
    packs = True
    must_pack = True
    ending = ".tar"

    def stored(self, numbered: Numbered) -> Mapping[str, object]:
        """Return the row: what is not a medium comes back as JSON gives it.

        Raises:
            DataError: a value that JSON does not have.
        """
        bare = {key: value for key, value in numbered.row.items() if not holds_bytes(value)}
        found = json.loads(json_text(numbered._replace(row=bare)))
        return {key: found.get(key, numbered.row[key]) for key in numbered.row}

    def write(self, rows: Iterable[Numbered], file: Path) -> None:
        """Write one shard; the same rows give the same bytes.

        Raises:
            DataError: a row that is too large to be read again.
        """
        with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
            for numbered in rows:
                _add_sample(tar, numbered)

    def finish(self, parts: Sequence[Path], out: Path, *, name: str, keys: Sequence[str]) -> None:
        """Write the index of the shards, as wids reads it."""
        shards = [
            {"url": part.name, "nsamples": _count(part), "filesize": size, "md5sum": _md5(part)}
            for part, size in ((part, part.stat().st_size) for part in parts)
        ]
        index = {
            "wids_version": 1,
            "__kind__": "wids-shard-index-v1",
            "name": name,
            "shardlist": shards,
        }
        (out / _INDEX).write_text(json.dumps(index, indent=1) + "\n", "utf-8")


def _add_sample(tar: tarfile.TarFile, numbered: Numbered) -> None:
    name = f"{numbered.number:09d}"
    members: dict[str, bytes] = {}
    row = {key: _put_aside(value, name, members) for key, value in numbered.row.items()}
    text = json_text(numbered._replace(row=row)).encode()
    if len(text) > MAX_ROW_BYTES:
        raise DataError(
            f"{numbered.at} has {len(text)} bytes without its media, but at most {MAX_ROW_BYTES} "
            f"are read. Shorten it."
        )
    for member, data in {f"{name}.json": text, **members}.items():
        header = tarfile.TarInfo(member)
        header.size = len(data)
        tar.addfile(header, io.BytesIO(data))


def _put_aside(value: object, name: str, members: dict[str, bytes]) -> object:
    """Return a value with the name of a member wherever a medium stands in it."""
    if isinstance(value, list):
        return [_put_aside(one, name, members) for one in value]
    if not isinstance(value, Mapping):
        return value
    if isinstance(value.get("bytes"), bytes):
        member = f"{name}.{value['path']}"
        members[member] = value["bytes"]
        return member
    return {key: _put_aside(one, name, members) for key, one in value.items()}


def _count(part: Path) -> int:
    with tarfile.open(part) as tar:
        return sum(member.name.endswith(".json") for member in tar)


def _md5(part: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with part.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
