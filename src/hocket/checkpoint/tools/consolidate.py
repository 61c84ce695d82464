"""Put the tensors of a folder into one file, or into shards of another size; no bit changes."""

from __future__ import annotations

from pathlib import Path

from hocket._errors import ConfigError
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.tensors import TensorFolder, copy_side_files, write_tensors


def consolidate(
    folder: str | Path, target: str | Path, *, shard_bytes: int | None = None
) -> list[str]:
    """Write the same tensors in other files, with everything that lies beside them.

    Args:
        folder: a folder of safetensors.
        target: the folder to write.
        shard_bytes: most bytes in one file; None for a single file.

    Returns:
        The names of the files with tensors.

    Raises:
        ConfigError: the size is below 1, or both folders are one.
        CheckpointError: there is nothing to read.
        MachineError: the folder cannot be written.
    """
    source, goal = Path(folder), Path(target)
    if shard_bytes is not None and shard_bytes < 1:
        raise ConfigError(f"shard_bytes is {shard_bytes}, expected 1 or more.")
    if source.resolve() == goal.resolve():
        raise ConfigError(f"{target} is the folder that is read. Choose another to write.")
    tensors = TensorFolder.open(source)
    names: list[str] = []

    def write(into: Path) -> None:
        files = write_tensors(into, tensors.entries(), shard_bytes=shard_bytes)
        names.extend(file.name for file in files)
        copy_side_files(source, into)

    write_directory(goal, write)
    return names
