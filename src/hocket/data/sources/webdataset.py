"""WebDataset's tar shards on a disk, read at random and without unpacking.

Members that share a name up to its first dot are a sample. Its ``.json`` is the row (or, if it is
a list, the turns); ``.txt`` becomes ``caption`` and ``.cls`` becomes ``label``; pictures, sounds
and videos become ``image``, ``audio`` and ``video`` as bytes. Media that the ``.json`` names are
looked for among the members, by file name, or in order if none has such a name. Any other member
is bytes under its ending.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hocket._errors import DataError
from hocket.chat.conversation import Json
from hocket.data.sources import sources
from hocket.data.sources._files import DataFile
from hocket.data.sources._paths import check_file, data_files, natural
from hocket.data.sources._rows import FileRows
from hocket.data.sources._shard import Shard
from hocket.data.sources._text import json_row

FOLDER_INDEX = "wids-meta.json"


@sources.register
class WebDataset(FileRows):
    """The samples of tar shards.

    Args:
        path: a shard, ``shard-{000..009}.tar``, a glob, several of these separated by commas, an
            index as wids writes it (``.json``), or a folder that holds ``wids-meta.json`` or
            shards.
        reader: turns a sample into a conversation.
        root: folder that paths start from where a row names no member; None means the folder of
            each shard.

    Raises:
        DataError: a shard is missing, no tar archive, compressed, damaged, cut off, or other than
            the index says.
    """

    def find(self, path: Path) -> list[Path]:
        """Return the shards.

        Raises:
            DataError: a shard is missing, or the index cannot be used.
        """
        self._promised: dict[Path, dict[str, Json]] = {}
        found: list[Path] = []
        for each in data_files(path, folders=True):
            index = each / FOLDER_INDEX if each.is_dir() else each
            if index.suffix == ".json" and index.exists():
                found += self._listed(index)
            elif each.is_dir():
                found += _shards_in(each)
            else:
                found.append(each)
        return found

    def open(self, file: Path, name: str) -> Shard:
        """Return the samples of one shard, finding them first if it is new."""
        promised = self._promised.get(file, {})
        size = promised.get("filesize")
        if isinstance(size, int) and size != file.stat().st_size:
            raise DataError(
                f"{file} has {file.stat().st_size} bytes, but its index says {size}. "
                f"Copy the shard again or write the index again."
            )
        shard = Shard(file, name)
        count = promised.get("nsamples")
        if isinstance(count, int) and count != len(shard):
            raise DataError(
                f"{file} holds {len(shard)} samples, but its index says {count}. "
                f"Copy the shard again or write the index again."
            )
        return shard

    def _listed(self, index: Path) -> list[Path]:
        """Return the shards that a wids index lists, and remember what it says of each."""
        document = json_row(DataFile.of(index).read(0, index.stat().st_size), str(index))
        shards = document.get("shardlist") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(shards, list) or not shards:
            raise DataError(
                f"{index} has no 'shardlist', expected an index as wids writes it. "
                f"Name the shards themselves, or write the index again."
            )
        base = document.get("base")
        folder = index.parent / _local(base, index) if isinstance(base, str) else index.parent
        found = []
        for number, shard in enumerate(shards):
            url = shard.get("url") if isinstance(shard, dict) else None
            if not isinstance(shard, dict) or not isinstance(url, str):
                shown = json.dumps(shard)[:60]
                raise DataError(f"{index}: shard {number} is {shown}, expected an object with url.")
            file = folder / _local(url, index)
            check_file(file)
            self._promised[file] = shard
            found.append(file)
        return found


def _local(url: str, index: Path) -> str:
    """Return the path that a URL of an index names.

    Raises:
        DataError: it is on another machine.
    """
    parts = urlsplit(url)
    if not parts.scheme:
        return url
    if parts.scheme != "file":
        raise DataError(
            f"{index} lists {url!r}, which is not on this machine, and nothing is downloaded. "
            f"Copy the shards and write an index with relative paths."
        )
    return unquote(parts.path)


def _shards_in(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.tar"), key=lambda file: natural(file.name))
    if not found:
        raise DataError(f"{folder} holds neither {FOLDER_INDEX} nor *.tar. Check the folder.")
    for file in found:
        check_file(file)
    return found
