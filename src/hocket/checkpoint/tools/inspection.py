"""What a folder of weights holds: parts, sizes, types, memory, and files that could run code."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import SHIM, SHIM_TEXT
from hocket.checkpoint.manifest import MANIFEST, verify_directory
from hocket.checkpoint.tools.tensors import TensorFolder, read_json

_CODE = (".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".exe")
# The first byte of a pickle of protocol 2 or later, and of a zip, which torch.save writes.
_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"
_PROTOCOLS = range(2, 6)


@dataclass(frozen=True, slots=True)
class PartSize:
    """A part of a model.

    Attributes:
        name: the module, such as ``model.vision_tower``.
        parameters: numbers in its tensors.
        bytes: bytes of its tensors.
        dtypes: type -> numbers of that type.
    """

    name: str
    parameters: int
    bytes: int
    dtypes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Risk:
    """A file that could run code when it is opened.

    Attributes:
        file: its path below the folder.
        reason: what it is.
        known: whether hocket wrote it and it is unchanged.
    """

    file: str
    reason: str
    known: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """A folder of weights.

    Attributes:
        model_type: what its ``config.json`` calls the model, or an empty string.
        parts: its parts, in order of name.
        tensors: number of tensors.
        files: file with tensors -> its bytes of tensors.
        cache_bytes_per_token: key-value cache of one token in 16 bits; None where unknown.
        weights_sha256: hash of all tensors, however sharded; empty when it was not asked for.
        manifest: ``absent``, ``good``, or what is wrong.
        risks: files that could run code.
    """

    model_type: str
    parts: tuple[PartSize, ...]
    tensors: int
    files: dict[str, int]
    cache_bytes_per_token: int | None
    weights_sha256: str
    manifest: str
    risks: tuple[Risk, ...]

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(part.parameters for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all tensors, which is the memory that the weights take."""
        return sum(part.bytes for part in self.parts)


def inspect_folder(folder: str | Path, *, hashes: bool = True) -> Inspection:
    """Look at a folder of safetensors; no weight is loaded and no code of it runs.

    Args:
        folder: a checkpoint of Hocket, or any folder of safetensors.
        hashes: read every byte, to hash the weights and check the manifest.

    Raises:
        CheckpointError: it holds no readable safetensors.
    """
    where = Path(folder)
    tensors = TensorFolder.open(where)
    config = read_json(where / "config.json") if (where / "config.json").is_file() else {}
    files: Counter[str] = Counter()
    for name in tensors.names():
        info = tensors.info(name)
        files[info.file.name] += info.bytes
    return Inspection(
        model_type=str(config.get("model_type", "")),
        parts=tuple(_parts(tensors)),
        tensors=len(tensors),
        files=dict(sorted(files.items())),
        cache_bytes_per_token=_cache(config),
        weights_sha256=tensors.digest() if hashes else "",
        manifest=_manifest(where, hashes=hashes),
        risks=tuple(find_risks(where)),
    )


def find_risks(folder: Path) -> list[Risk]:
    """Return the files of a folder that could run code: pickles, by content, and programs."""
    risks = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if reason := _pickled(file):
            risks.append(Risk(name, reason))
        elif file.suffix in _CODE:
            own = name == SHIM and file.read_text("utf-8", errors="replace") == SHIM_TEXT
            risks.append(Risk(name, "hocket's own shim" if own else "program code", known=own))
    return risks


def _pickled(file: Path) -> str:
    with file.open("rb") as handle:
        head = handle.read(4)
    if head[:1] == _PICKLE and len(head) > 1 and head[1] in _PROTOCOLS:
        return "a pickle, which can run code"
    if head == _ZIP and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith(".pkl") for name in archive.namelist()):
                return "a zip with a pickle (torch.save), which can run code"
    return ""


def _parts(tensors: TensorFolder) -> list[PartSize]:
    numbers: dict[str, Counter[str]] = {}
    sizes: Counter[str] = Counter()
    for name in tensors.names():
        info = tensors.info(name)
        part = _part_of(name)
        dtype = str(info.dtype).removeprefix("torch.")
        numbers.setdefault(part, Counter())[dtype] += info.elements
        sizes[part] += info.bytes
    return [
        PartSize(part, sum(found.values()), sizes[part], dict(found))
        for part, found in sorted(numbers.items())
    ]


def _part_of(name: str) -> str:
    """Return the module that a tensor belongs to: one level below ``model``, else the first."""
    words = name.split(".")[:-1] or [name]
    return ".".join(words[: 2 if words[0] == "model" else 1])


def _cache(config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config") or config
    try:
        heads = int(text["num_attention_heads"])
        width = int(text.get("head_dim") or text["hidden_size"] // heads)
        shared = int(text.get("num_key_value_heads") or heads)
        return 2 * 2 * int(text["num_hidden_layers"]) * shared * width
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return None


def _manifest(folder: Path, *, hashes: bool) -> str:
    if not (folder / MANIFEST).is_file():
        return "absent"
    try:
        verify_directory(folder, hashes=hashes)
    except CheckpointError as error:
        return str(error)
    return "good"
