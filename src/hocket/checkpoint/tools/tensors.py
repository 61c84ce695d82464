"""The tensors of a folder, read one at a time and written one at a time.

Works on any folder with safetensors: Hocket's checkpoints, transformers' own, one file or many.
Memory stays at one tensor, however large the model. The file format is the published one of
safetensors: eight bytes of length, a JSON header, then the bytes of the tensors without gaps.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.manifest import MANIFEST

INDEX = "model.safetensors.index.json"
CERTIFICATE = "certificate.json"
SHARD_BYTES = 5 * 10**9
_WEIGHTS = (".safetensors", ".safetensors.index.json")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_FOLDERS = ("additional_chat_templates",)
_CODES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.int64: "I64",
    torch.uint64: "U64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies and what it is, from the header of its file.

    Attributes:
        file: the file that holds it.
        dtype: its type.
        shape: its shape.
    """

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Numbers in the tensor."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Bytes of the tensor."""
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor that will be written.

    Attributes:
        name: its name in the file.
        dtype: its type.
        shape: its shape.
        read: returns it; called once, when its turn comes.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        """Bytes of the tensor."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class TensorFolder:
    """Every tensor of a folder by name; nothing but headers is read until a tensor is asked for.

    Args:
        path: the folder, or one safetensors file.
        infos: name -> where it lies.
    """

    def __init__(self, path: Path, infos: dict[str, TensorInfo]) -> None:
        self.path = path
        self._infos = infos

    @classmethod
    def open(cls, path: str | Path) -> TensorFolder:
        """Read the headers of a folder or of one file.

        Raises:
            CheckpointError: it holds no safetensors, a file is damaged or missing, or two files
                hold the same name.
        """
        where = Path(path)
        infos: dict[str, TensorInfo] = {}
        for file in [where] if where.is_file() else _files(where):
            for name, info in _header(file).items():
                if name in infos:
                    raise CheckpointError(
                        f"{where}: {name} is in {infos[name].file.name} and in {file.name}. "
                        "Keep the files of one model in a folder."
                    )
                infos[name] = info
        return cls(where, infos)

    def names(self) -> list[str]:
        """Return the names of all tensors, sorted."""
        return sorted(self._infos)

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    def __len__(self) -> int:
        return len(self._infos)

    def info(self, name: str) -> TensorInfo:
        """Return what the header says about a tensor.

        Raises:
            CheckpointError: the folder has no such tensor.
        """
        if name not in self._infos:
            raise CheckpointError(f"{self.path} has no tensor {name}. Use another checkpoint.")
        return self._infos[name]

    def read(self, name: str) -> Tensor:
        """Return a tensor on the CPU.

        Raises:
            CheckpointError: the folder has no such tensor, or its file is damaged.
        """
        file = self.info(name).file
        try:
            # Opened anew for each tensor, so that pages of earlier ones are given back.
            with safe_open(file, framework="pt", device="cpu") as handle:
                return handle.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise _damaged(file, error) from error

    def entry(self, name: str, *, renamed: str | None = None) -> Entry:
        """Return the tensor as something to write, under its own or another name."""
        info = self.info(name)
        return Entry(renamed or name, info.dtype, info.shape, lambda: self.read(name))

    def entries(self) -> list[Entry]:
        """Return every tensor as something to write."""
        return [self.entry(name) for name in self.names()]

    def digest(self) -> str:
        """Return the SHA-256 of all names, types, shapes and bytes, however they are sharded."""
        total = hashlib.sha256()
        for name in self.names():
            info = self.info(name)
            line = json.dumps([name, _CODES[info.dtype], list(info.shape)])
            total.update(line.encode() + b"\n")
            for block in _blocks(self.read(name)):
                total.update(block)
        return total.hexdigest()


def write_tensors(
    folder: Path, entries: Iterable[Entry], *, shard_bytes: int | None = SHARD_BYTES
) -> list[Path]:
    """Write ``model.safetensors``, or numbered shards and their index.

    Args:
        folder: an existing folder; wrap the call in `write_directory` to make it atomic.
        entries: the tensors, in any order.
        shard_bytes: most bytes of tensors in one file, unless one tensor alone is larger; None
            for one file.

    Returns:
        The files with tensors.

    Raises:
        CheckpointError: two entries have one name, there are none, or a tensor is not what its
            entry promised.
    """
    found = sorted(entries, key=lambda one: one.name)
    names = [one.name for one in found]
    if not found:
        raise CheckpointError(f"{folder}: no tensor is left to write. Use another checkpoint.")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CheckpointError(f"{folder}: two tensors would be called {twice[0]}.")
    shards = _shards(found, shard_bytes)
    if len(shards) == 1:
        return [_write_file(folder / "model.safetensors", shards[0])]
    files: list[Path] = []
    homes: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = folder / f"model-{number:05}-of-{len(shards):05}.safetensors"
        files.append(_write_file(file, shard))
        homes |= {one.name: file.name for one in shard}
    total = sum(one.bytes for one in found)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(homes.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return files


def copy_side_files(source: Path, folder: Path, *, leave: Sequence[str] = ()) -> None:
    """Copy what lies beside the weights: configuration, tokenizer, templates, notes.

    Weights, pickles, the manifest (it is written anew) and folders other than transformers'
    ``additional_chat_templates`` stay behind.

    Args:
        source: a folder, or one file, which has nothing beside it.
        folder: where to.
        leave: further file names to leave behind.
    """
    if source.is_file():
        return
    for file in sorted(source.iterdir()):
        if file.is_dir() and file.name in _FOLDERS:
            shutil.copytree(file, folder / file.name)
        unwanted = file.name.endswith((*_WEIGHTS, *_PICKLED)) or file.name in (MANIFEST, *leave)
        if file.is_file() and not unwanted:
            shutil.copyfile(file, folder / file.name)


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        CheckpointError: the file is missing or holds no object.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file.parent} lacks {file.name}. Use another folder.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged. Use another folder.") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} holds no JSON object. Use another folder.")
    return document


def write_json(file: Path, document: dict[str, Any]) -> None:
    """Write a JSON object, two spaces deep."""
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, as its index names them if it has one."""
    if not folder.is_dir():
        raise CheckpointError(f"no folder {folder}. Give a folder that holds safetensors.")
    if (folder / INDEX).is_file():
        homes = read_json(folder / INDEX).get("weight_map")
        if not isinstance(homes, dict):
            raise CheckpointError(f"{folder / INDEX} has no weight_map. Use another folder.")
        named = sorted({str(name) for name in homes.values()})
        for name in named:
            if Path(name).name != name or not (folder / name).is_file():
                raise CheckpointError(f"{folder} lacks {name}, which {INDEX} names.")
        return [folder / name for name in named]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLED)
        beside = f", but {pickled[0]}: pickles can run code and are not read" if pickled else ""
        raise CheckpointError(
            f"{folder} holds no safetensors{beside}. Give a folder with model.safetensors."
        )
    return files


def _header(file: Path) -> dict[str, TensorInfo]:
    try:
        with safe_open(file, framework="pt", device="cpu") as handle:
            slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118 # it is no dict
            found = {
                name: (str(one.get_dtype()), tuple(one.get_shape())) for name, one in slices.items()
            }
    except (OSError, SafetensorError) as error:
        raise _damaged(file, error) from error
    for name, (code, _) in found.items():
        if code not in _DTYPES:
            raise CheckpointError(
                f"{file}: {name} is of the type {code}, expected one of {', '.join(_DTYPES)}. "
                "Convert it first."
            )
    return {name: TensorInfo(file, _DTYPES[code], shape) for name, (code, shape) in found.items()}


def _damaged(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{file} cannot be read: {str(error).splitlines()[0].rstrip('.')}. Use another checkpoint."
    )


def _shards(entries: list[Entry], limit: int | None) -> list[list[Entry]]:
    shards: list[list[Entry]] = [[]]
    filled = 0
    for one in entries:
        if limit is not None and shards[-1] and filled + one.bytes > limit:
            shards.append([])
            filled = 0
        shards[-1].append(one)
        filled += one.bytes
    return shards


def _write_file(file: Path, entries: list[Entry]) -> Path:
    # Wide types first keeps every tensor aligned to its own width.
    ordered = sorted(entries, key=lambda one: (-one.dtype.itemsize, one.name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for one in ordered:
        header[one.name] = {
            "dtype": _CODES[one.dtype],
            "shape": list(one.shape),
            "data_offsets": [start, start + one.bytes],
        }
        start += one.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for one in ordered:
            _write_one(handle, one)
    return file


def _write_one(handle: BinaryIO, entry: Entry) -> None:
    tensor = entry.read()
    if tensor.dtype != entry.dtype or tuple(tensor.shape) != entry.shape:
        raise CheckpointError(
            f"{entry.name} became {tensor.dtype} {tuple(tensor.shape)}, expected {entry.dtype} "
            f"{entry.shape}. The folder changed while it was read: run it again."
        )
    for block in _blocks(tensor):
        handle.write(block)


def _blocks(tensor: Tensor) -> Iterator[memoryview]:
    """Yield the bytes of a tensor, 64 MiB at a time."""
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    for start in range(0, len(raw), 2**26):
        yield raw[start : start + 2**26].data
