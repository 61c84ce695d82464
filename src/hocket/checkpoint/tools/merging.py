"""Put an adapter into the weights of a checkpoint for good, and take one out again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hocket._errors import CheckpointError
from hocket.checkpoint.adapters import read_adapter
from hocket.checkpoint.directory import Loaded, load_checkpoint, write_checkpoint
from hocket.checkpoint.loading import Placement
from hocket.checkpoint.manifest import write_directory
from hocket.model.adapters.attach import merge, subtract

_AS_STORED = Placement(dtype="auto")


def merge_checkpoint(path: Path, out: Path, adapters: Sequence[Path] = ()) -> list[str]:
    """Write a checkpoint with its own adapters, and others, merged into its weights.

    Args:
        path: a checkpoint or a run's folder.
        out: the folder to write; replaced as a whole, or not at all.
        adapters: folders of adapters that hocket or peft wrote, merged after its own.

    Returns:
        The names of the adapters that were merged.

    Raises:
        CheckpointError: there is no adapter, or one is not for this model.
        ConfigError: a method cannot be merged.
    """
    loaded = load_checkpoint(path, _AS_STORED)
    for folder in adapters:
        name = f"given_{len(loaded.model.adapters)}"
        read_adapter(folder, loaded.model, name=name)
    names = list(loaded.model.adapters)
    if not names:
        raise CheckpointError(f"{path} has no adapters. Name one with --adapter FOLDER.")
    merge(loaded.model, loaded.model.adapters, names)
    _write(out, loaded)
    return names


def unmerge_checkpoint(path: Path, adapter: Path, out: Path) -> None:
    """Write a checkpoint with a merged adapter subtracted, up to the rounding of its numbers.

    Raises:
        CheckpointError: the adapter is not for this model.
        ConfigError: its method does not add to the weights, so nothing can be subtracted.
    """
    loaded = load_checkpoint(path, _AS_STORED, adapters=False)
    read_adapter(adapter, loaded.model, name="merged")
    subtract(loaded.model, loaded.model.adapters, "merged")
    _write(out, loaded)


def _write(out: Path, loaded: Loaded) -> None:
    write_directory(out, lambda folder: write_checkpoint(folder, loaded.model, loaded.processor))
