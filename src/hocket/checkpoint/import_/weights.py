"""The tensors of a foreign folder by name, read one at a time: safetensors, or pickles.

Pickles (``.bin``) are opened with ``weights_only`` and mapped into memory, so that no code of
theirs runs and no more than the tensor asked for is read. Those of torch before 1.6 cannot be
mapped: they are read whole, each time.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.tools.tensors import TensorFolder, read_json

_INDEX = "pytorch_model.bin.index.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "consolidated.*.pth")


@dataclass(frozen=True, slots=True)
class Item:
    """A tensor that can be read.

    Attributes:
        dtype: its type.
        shape: its shape.
        read: returns it.
        origins: where it comes from, as ``file: name``; several when it is made of several.
        place: the file and the name in it; None when it is made of several.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    origins: tuple[str, ...]
    place: tuple[Path, str] | None = None


class Weights(Mapping[str, Item]):
    """Tensors by name; only their names, types and shapes are in memory.

    Args:
        items: the tensors.
    """

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = dict(items)

    def __getitem__(self, name: str) -> Item:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def renamed(self, rename: Callable[[str], str]) -> Weights:
        """Return the same tensors under other names."""
        return Weights({rename(name): item for name, item in self._items.items()})

    def without(self, gone: Callable[[str], bool]) -> Weights:
        """Return the tensors whose name is not `gone`."""
        return Weights({name: item for name, item in self._items.items() if not gone(name)})

    def over(self, base: Weights) -> Weights:
        """Return the tensors of `base` with these in the place of those of the same name."""
        return Weights({**base._items, **self._items})


def join(parts: Mapping[str, Weights]) -> Weights:
    """Return the tensors of several folders, each name behind its folder's prefix.

    Raises:
        CheckpointError: two of them have one name.
    """
    items: dict[str, Item] = {}
    for prefix, weights in parts.items():
        for name, item in weights.items():
            if prefix + name in items:
                raise CheckpointError(f"{prefix + name} is there twice: in {item.origins[0]} too.")
            items[prefix + name] = item
    return Weights(items)


def open_weights(folder: Path) -> Weights:
    """Open all tensors of a folder: its safetensors, else its pickles.

    Raises:
        CheckpointError: it holds none, a shard is missing or a file is damaged.
    """
    if any(folder.glob("*.safetensors")):
        return open_file(folder)
    files = _pickles(folder)
    if not files:
        raise CheckpointError(
            f"{folder} holds no weights: neither *.safetensors nor {_PICKLES[0]}. "
            "Copy the checkpoint again, all files of it."
        )
    return join({"": _merged([open_file(file) for file in files])})


def has_weights(folder: Path) -> bool:
    """Say whether a folder holds weights that `open_weights` opens."""
    return any(folder.glob("*.safetensors")) or bool(_pickles(folder))


def open_file(path: Path) -> Weights:
    """Open one file with tensors, safetensors or pickle, or a folder of safetensors.

    Raises:
        CheckpointError: it is missing, damaged, or a pickle of something else.
    """
    if path.is_dir() or path.suffix == ".safetensors":
        return _safetensors(path)
    tensors = _load(path)
    return Weights(
        {
            name: Item(
                tensor.dtype,
                tuple(tensor.shape),
                _reader(path, name),
                (f"{path.name}: {name}",),
                (path, name),
            )
            for name, tensor in tensors.items()
        }
    )


def added(item: Item, change: Callable[[Tensor], Tensor], origins: tuple[str, ...]) -> Item:
    """Return an item whose tensor is changed when read, made with the tensors of `origins` too."""
    return replace(
        item, read=lambda: change(item.read()), origins=item.origins + origins, place=None
    )


def _safetensors(path: Path) -> Weights:
    tensors = TensorFolder.open(path)

    def item(name: str) -> Item:
        info = tensors.info(name)
        origin = (f"{info.file.name}: {name}",)
        return Item(info.dtype, info.shape, lambda: tensors.read(name), origin, (info.file, name))

    return Weights({name: item(name) for name in tensors.names()})


def _pickles(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        homes = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(homes, dict):
            raise CheckpointError(f"{folder / _INDEX} has no weight_map. Copy it again.")
        return [folder / str(name) for name in sorted(set(homes.values()))]
    return sorted(file for pattern in _PICKLES for file in folder.glob(pattern))


def _merged(parts: list[Weights]) -> Weights:
    return join({"": parts[0]}) if len(parts) == 1 else Weights(_disjoint(parts))


def _disjoint(parts: list[Weights]) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for part in parts:
        for name, item in part.items():
            if name in items:
                raise CheckpointError(
                    f"{name} is in two files: {items[name].origins[0]} and {item.origins[0]}. "
                    "Keep the files of one model in a folder."
                )
            items[name] = item
    return items


def _reader(path: Path, name: str) -> Callable[[], Tensor]:
    # Opened anew for each tensor, so that pages of earlier ones are given back.
    return lambda: _load(path)[name].clone()


def _load(path: Path) -> dict[str, Tensor]:
    try:
        mapped = zipfile.is_zipfile(path)  # what torch wrote before 1.6 is no archive
        with warnings.catch_warnings():  # of the pickle's version: an error follows, or all is well
            warnings.simplefilter("ignore", UserWarning)
            found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)  # noqa: TID251 # weights_only runs no code of the file
    except FileNotFoundError:
        raise CheckpointError(f"no file {path}. Copy the checkpoint again, all files.") from None
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run its code then
            reason = "opening it would run code of its own, or it is damaged"
        raise CheckpointError(
            f"{path} is no file of tensors alone: {reason}. Copy it again, or convert it to "
            "safetensors where you trust it."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise CheckpointError(
            f"{path} holds something other than named tensors. Give the file of a model's weights."
        )
    return {str(name): tensor for name, tensor in found.items()}
