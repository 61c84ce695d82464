"""The weighted mean of several checkpoints of one model (a model soup).

The mean is taken in float64 and rounded once to the type of the first checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.tensors import (
    CERTIFICATE,
    Entry,
    TensorFolder,
    copy_side_files,
    write_json,
    write_tensors,
)


def average(
    folders: Sequence[str | Path], target: str | Path, *, weights: Sequence[float] | None = None
) -> None:
    """Write the mean of checkpoints; what lies beside the weights comes from the first.

    Args:
        folders: two checkpoints or more, with the same tensors.
        target: the folder to write.
        weights: one factor for each, which are scaled to a sum of 1; None for equal ones.

    Raises:
        ConfigError: the weights do not fit.
        CheckpointError: names, shapes, tokenizers or whole-number tensors differ.
        MachineError: the folder cannot be written.
    """
    paths = [Path(one) for one in folders]
    shares = _shares(paths, weights)
    opened = [TensorFolder.open(path) for path in paths]
    _check_alike(paths, opened)
    note = {
        "made_by": "hocket model average",
        "of": [
            {"path": str(path), "share": share, "weights_sha256": tensors.digest()}
            for path, share, tensors in zip(paths, shares, opened, strict=True)
        ],
    }

    def write(folder: Path) -> None:
        write_tensors(folder, [_mean(name, opened, shares) for name in opened[0].names()])
        copy_side_files(paths[0], folder, leave=(CERTIFICATE, "provenance.json"))
        write_json(folder / "provenance.json", note)

    write_directory(Path(target), write)


def _shares(paths: list[Path], weights: Sequence[float] | None) -> list[float]:
    if len(paths) < 2:
        raise ConfigError(f"an average needs two checkpoints or more, found {len(paths)}.")
    chosen = list(weights) if weights is not None else [1.0] * len(paths)
    if len(chosen) != len(paths):
        raise ConfigError(
            f"{len(chosen)} weights were given for {len(paths)} checkpoints. Give one for each."
        )
    if min(chosen) < 0 or not 0 < sum(chosen) < float("inf"):
        raise ConfigError(f"weights are {chosen}, expected numbers of 0 or more, not all 0.")
    return [one / sum(chosen) for one in chosen]


def _check_alike(paths: list[Path], opened: list[TensorFolder]) -> None:
    first = opened[0]
    for path, other in zip(paths[1:], opened[1:], strict=True):
        if odd := sorted(set(first.names()) ^ set(other.names())):
            raise CheckpointError(
                f"{paths[0]} and {path} hold different tensors: {odd[0]} is in one only "
                f"({len(odd)} in all). Average checkpoints of one model."
            )
        for name in first.names():
            shapes = first.info(name).shape, other.info(name).shape
            if shapes[0] != shapes[1]:
                raise CheckpointError(
                    f"{name} is {shapes[0]} in {paths[0]} and {shapes[1]} in {path}. "
                    "Average checkpoints of one model."
                )
        if _vocabulary(paths[0]) != _vocabulary(path):
            raise CheckpointError(
                f"{paths[0]} and {path} have different tokenizers, so their tables do not match. "
                "Average checkpoints of one model."
            )


def _vocabulary(path: Path) -> object:
    file = path / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("model")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{file} is damaged. Use another checkpoint.") from error


def _mean(name: str, opened: list[TensorFolder], shares: list[float]) -> Entry:
    info = opened[0].info(name)

    def read() -> Tensor:
        first = opened[0].read(name)
        if not info.dtype.is_floating_point:
            for other in opened[1:]:
                if not torch.equal(first, other.read(name)):
                    raise CheckpointError(
                        f"{name} holds whole numbers that differ: {opened[0].path} and "
                        f"{other.path} have no mean. Average checkpoints of one model."
                    )
            return first
        total = first.to(torch.float64) * shares[0]
        for share, other in zip(shares[1:], opened[1:], strict=True):
            total.add_(other.read(name), alpha=share)
        return total.to(info.dtype)

    return Entry(name, info.dtype, info.shape, read)
