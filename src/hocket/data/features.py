"""What frozen towers make of media, kept on the disk: shards that are complete or absent.

A folder belongs to one tower, by a hash of its weights and options, and one number format, so
features of different towers never meet. In it each shard, a safetensors file, has a JSON beside it
that lists its keys and its hash and is written last: a shard without one does not count. A key
stands for the content of a medium, the layout and the plan. Knows no towers.

Letters: U units, P positions, C width.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hocket._errors import MachineError, MediaError
from hocket._log import warn
from hocket.chat.conversation import Medium
from hocket.data.content import ContentHashes
from hocket.data.spec import FeatureDtype
from hocket.tokens.layout import options_of
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality, Plan

FORMAT = 1
SHARD_BYTES = 256 * 2**20
SHARD_SECONDS = 60.0
_OPEN_SHARDS = 128
_TIMES = ".times"
_ABANDONED_SECONDS = 3600.0


TORCH = {FeatureDtype.BFLOAT16: torch.bfloat16, FeatureDtype.FLOAT32: torch.float32}


class FeatureShards:
    """The features of one tower in one number format.

    Args:
        root: folder of the features of all towers.
        tower: hash of the tower.
        dtype: number format.
    """

    def __init__(self, root: Path, tower: str, dtype: FeatureDtype) -> None:
        self.dtype, self.tower = dtype, tower
        self.folder = root / f"{tower}-{dtype}"
        self._place: dict[str, str] = {}
        self._files: OrderedDict[str, Any] = OrderedDict()
        self.refresh()

    def __getstate__(self) -> dict[str, object]:
        """Leave open files behind: each process opens its own."""
        return self.__dict__ | {"_files": OrderedDict()}

    def __contains__(self, key: str) -> bool:
        return key in self._place

    def __len__(self) -> int:
        return len(self._place)

    def refresh(self) -> None:
        """Look again which shards there are; one that is cut short does not count."""
        self._place.clear()
        self._files.clear()
        for side in sorted(self.folder.glob("[!.]*.json")):
            document = _read_side(side)
            shard = side.with_suffix(".safetensors")
            if document is None or _size(shard) != document["bytes"]:
                self._remove(shard.stem, "it is damaged")
                continue
            self._place |= dict.fromkeys(document["keys"], shard.stem)

    def verify(self, advance: Callable[[int, int], None] | None = None) -> int:
        """Read every byte and take out shards that differ from what was written.

        Args:
            advance: called with the number of shards that are read, and of all.

        Returns:
            how many were taken out.
        """
        shards = sorted(set(self._place.values()))
        damaged = 0
        for number, name in enumerate(shards):
            document = _read_side(self.folder / f"{name}.json")
            if document is None or _hash(self.folder / f"{name}.safetensors") != document["hash"]:
                self._remove(name, "its content has changed since it was written")
                damaged += 1
            if advance:
                advance(number + 1, len(shards))
        if damaged:
            self.refresh()
        return damaged

    def find(self, key: str) -> tuple[Tensor, Tensor | None] | None:
        """Return the features (U, P, C) and, of a video, float32 (U,) seconds; None if absent.

        Raises:
            MachineError: the shard cannot be read any more.
        """
        name = self._place.get(key)
        if name is None:
            return None
        try:
            shard = self._open(name)
            times = shard.get_tensor(key + _TIMES) if key + _TIMES in self._keys(name) else None
            return shard.get_tensor(key), times
        except (OSError, SafetensorError) as error:
            raise MachineError(
                f"{self.folder / name}.safetensors cannot be read any more: {error}. "
                "Run the same command again: what is missing is built anew."
            ) from error

    def writer(self) -> ShardWriter:
        """Return what adds shards to the folder."""
        return ShardWriter(self)

    def clean(self) -> None:
        """Remove what writers that were killed left behind an hour ago or before."""
        whole = {side.stem for side in self.folder.glob("[!.]*.json")}
        for file in self.folder.glob("*"):
            left = file.name.startswith(".tmp-") or file.stem not in whole
            if left and time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
                file.unlink(missing_ok=True)

    def _open(self, name: str) -> Any:
        if name not in self._files:
            path = self.folder / f"{name}.safetensors"
            opened: Any = safe_open(path, framework="pt")
            self._files[name] = (opened, frozenset(opened.keys()))
            if len(self._files) > _OPEN_SHARDS:
                self._files.popitem(last=False)
        self._files.move_to_end(name)
        return self._files[name][0]

    def _keys(self, name: str) -> frozenset[str]:
        return self._files[name][1]

    def _remove(self, name: str, why: str) -> None:
        warn(f"feature cache: the shard {self.folder / name} is left out and removed: {why}.")
        for ending in (".json", ".safetensors"):
            (self.folder / f"{name}{ending}").unlink(missing_ok=True)


class ShardWriter:
    """Collects features and writes them shard by shard; what a kill leaves is whole.

    Leaving the ``with`` block, also by an error or Ctrl-C, writes what was collected.

    Args:
        shards: where they go.
    """

    def __init__(self, shards: FeatureShards) -> None:
        self._shards = shards
        self._tensors: dict[str, Tensor] = {}
        self._keys: list[str] = []
        self._bytes = 0
        self._name = uuid.uuid4().hex
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()

    def add(self, key: str, features: Tensor, times: Tensor | None) -> None:
        """Take the features (U, P, C) of a medium and, of a video, float32 (U,) seconds.

        Raises:
            MachineError: a shard is full and cannot be written.
        """
        self._tensors[key] = features.to("cpu", TORCH[self._shards.dtype]).contiguous()
        if times is not None:
            self._tensors[key + _TIMES] = times.to("cpu", torch.float32).contiguous()
        self._keys.append(key)
        self._bytes += self._tensors[key].nbytes
        if self._bytes >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was collected as a shard of its own.

        Raises:
            MachineError: it cannot be written.
        """
        self._since = time.monotonic()
        if not self._keys:
            return
        # A flush that Ctrl-C cuts short is done again under the same name.
        folder, name = self._shards.folder, self._name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shard = folder / f".tmp-{name}.safetensors"
            save_file(self._tensors, shard)
            document = {
                "format": FORMAT,
                "bytes": _size(shard),
                "hash": _hash(shard),
                "keys": self._keys,
            }
            side = folder / f".tmp-{name}.json"
            side.write_text(json.dumps(document), encoding="utf-8")
            for file in (shard, side):
                _flush(file)
                file.replace(folder / file.name.removeprefix(".tmp-"))
            _flush(folder)
        except (OSError, SafetensorError) as error:
            for left in folder.glob(f".tmp-{name}.*"):
                left.unlink(missing_ok=True)
            raise MachineError(
                f"{folder}: a shard of the feature cache cannot be written: {error}. Free some "
                "space, set HOCKET_CACHE to another folder, or set train.feature_cache=off."
            ) from error
        self._tensors, self._keys, self._bytes, self._name = {}, [], 0, uuid.uuid4().hex


class MediaKeys:
    """Names what a tower is given: content, layout, plan and, of a video, how frames are picked.

    Args:
        processor: its layouts.
        contents: hashes of media.
    """

    def __init__(self, processor: HocketProcessor, contents: ContentHashes) -> None:
        self._contents = contents
        media = processor.media
        self._layouts = {
            kind: json.dumps([FORMAT, kind, options_of(layout), picked], sort_keys=True)
            for kind, layout, picked in (
                (Modality.IMAGE, media.images, None),
                (Modality.VIDEO, media.films, processor.video_sampling),
                (Modality.AUDIO, media.sounds, None),
            )
            if layout is not None
        }

    def key(self, modality: Modality, medium: Medium, plan: Plan) -> str:
        """Return the key of a medium, 32 hexadecimal digits.

        Raises:
            MediaError: its file cannot be read.
        """
        text = f"{self._contents.of(medium)} {self._layouts[modality]} {plan}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class KnownFeatures:
    """Features of whole modalities; a `FeatureSource` of the processor.

    Args:
        shards: modality -> its tower's features.
        keys: names media.
    """

    def __init__(self, shards: Mapping[Modality, FeatureShards], keys: MediaKeys) -> None:
        self.shards = dict(shards)
        self.keys = keys
        self.modalities = frozenset(shards)

    def find(self, modality: Modality, medium: Medium, plan: Plan) -> tuple[Tensor, Tensor | None]:
        """Return features (U, P, C) of a medium and, of a video, float32 (U,) seconds.

        Raises:
            MediaError: there are none, because it could not be decoded or is another file now.
        """
        found = self.shards[modality].find(self.keys.key(modality, medium, plan))
        if found is None:
            raise MediaError(
                f"{medium.where.name}: the feature cache {self.shards[modality].folder} has nothing"
                " of it: it could not be decoded, or the file has changed. Run the command again."
            )
        return found

    def missing(self, keys: Mapping[Modality, Iterable[str]]) -> dict[Modality, list[str]]:
        """Return the keys of each modality that are not there."""
        return {
            kind: [key for key in some if key not in self.shards[kind]]
            for kind, some in keys.items()
        }


def _read_side(side: Path) -> dict[str, Any] | None:
    """Return what stands beside a shard, or None if it is damaged or of another version."""
    try:
        document = json.loads(side.read_text(encoding="utf-8"))
        good = document["format"] == FORMAT and {"bytes", "hash", "keys"} <= document.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return document if good else None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return -1


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "blake2b").hexdigest()
    except OSError:
        return ""


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
