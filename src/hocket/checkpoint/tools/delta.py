"""What a checkpoint adds to its base: to be passed on where the base itself may not be.

The difference of two floats does not add up to the same float again, so the difference is taken
of their bit patterns as whole numbers that wrap around: `apply_delta` returns every bit, and the
hash of base and result prove it. Tensors that did not change take no space. A slim delta holds
changed tensors whole, so the parts that were trained can be read without the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.tensors import (
    Entry,
    TensorFolder,
    copy_side_files,
    read_json,
    write_json,
    write_tensors,
)

DELTA = "delta.json"
_SAME, _DELTA, _WHOLE = "same", "delta", "whole"
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, slots=True)
class DeltaReport:
    """What a delta holds.

    Attributes:
        same: tensors taken from the base.
        stored: tensors in the delta.
        base_sha256: hash of the base's tensors.
        result_sha256: hash of the tensors that applying it gives.
    """

    same: int
    stored: int
    base_sha256: str
    result_sha256: str


def make_delta(
    base: str | Path, tuned: str | Path, target: str | Path, *, whole: bool = False
) -> DeltaReport:
    """Write what `tuned` adds to `base`, with everything that lies beside its weights.

    Args:
        base: the checkpoint that the receiver has.
        tuned: the checkpoint to pass on.
        target: the folder to write.
        whole: store changed tensors as they are, not as a difference.

    Raises:
        CheckpointError: one of them holds no readable safetensors.
        MachineError: the folder cannot be written.
    """
    report: list[DeltaReport] = []
    write_directory(
        Path(target), lambda folder: report.append(fill_delta(folder, base, tuned, whole=whole))
    )
    return report[0]


def fill_delta(
    folder: Path, base: str | Path, tuned: str | Path, *, whole: bool = False
) -> DeltaReport:
    """Fill an existing folder as `make_delta` does."""
    old, new = TensorFolder.open(base), TensorFolder.open(tuned)
    kinds = {name: _kind(name, old, new, whole=whole) for name in new.names()}
    entries = [
        _difference(name, old, new) if kind == _DELTA else new.entry(name)
        for name, kind in kinds.items()
        if kind != _SAME
    ]
    if not entries:
        raise CheckpointError(f"{tuned} holds the tensors of {base}: there is no delta to write.")
    report = DeltaReport(len(kinds) - len(entries), len(entries), old.digest(), new.digest())
    copy_side_files(Path(tuned), folder)
    write_tensors(folder, entries)
    write_json(
        folder / DELTA,
        {
            "version": 1,
            "base_sha256": report.base_sha256,
            "result_sha256": report.result_sha256,
            "tensors": {
                name: {"kind": kind, "dtype": str(new.info(name).dtype).removeprefix("torch.")}
                for name, kind in kinds.items()
            },
        },
    )
    return report


def apply_delta(base: str | Path, delta: str | Path, target: str | Path) -> DeltaReport:
    """Write the checkpoint that a delta was made of.

    Args:
        base: the checkpoint that the delta was made against.
        delta: what `make_delta` wrote.
        target: the folder to write.

    Raises:
        CheckpointError: the base is another one, or the delta is damaged; nothing is written.
        MachineError: the folder cannot be written.
    """
    document = read_json(Path(delta) / DELTA)
    old, stored = TensorFolder.open(base), TensorFolder.open(delta)
    found, expected = old.digest(), document.get("base_sha256")
    if found != expected:
        raise CheckpointError(
            f"{base} is not the base of {delta}: its tensors hash to {found[:16]}, expected "
            f"{str(expected)[:16]}. Get the base that the delta was made against."
        )
    tensors = _listed(Path(delta), document)
    entries = [_restored(name, one, old, stored) for name, one in tensors.items()]
    result = str(document.get("result_sha256"))

    def write(folder: Path) -> None:
        copy_side_files(Path(delta), folder, leave=(DELTA,))
        write_tensors(folder, entries)
        made = TensorFolder.open(folder).digest()
        if made != result:
            raise CheckpointError(
                f"applying {delta} gave tensors that hash to {made[:16]}, expected {result[:16]}. "
                "The delta is damaged: get it again."
            )

    write_directory(Path(target), write)
    same = sum(one["kind"] == _SAME for one in tensors.values())
    return DeltaReport(same, len(tensors) - same, found, result)


def _kind(name: str, old: TensorFolder, new: TensorFolder, *, whole: bool) -> str:
    if name not in old:
        return _WHOLE
    left, right = old.info(name), new.info(name)
    if left.shape != right.shape or left.dtype != right.dtype:
        return _WHOLE
    if torch.equal(_bits(old.read(name)), _bits(new.read(name))):
        return _SAME
    return _WHOLE if whole else _DELTA


def _difference(name: str, old: TensorFolder, new: TensorFolder) -> Entry:
    info = new.info(name)

    def read() -> Tensor:
        return _bits(new.read(name)).sub_(_bits(old.read(name)))

    return Entry(name, _BITS[info.dtype.itemsize], info.shape, read)


def _restored(name: str, one: dict[str, Any], old: TensorFolder, stored: TensorFolder) -> Entry:
    if one["kind"] == _SAME:
        return old.entry(name)
    if one["kind"] == _WHOLE:
        return stored.entry(name)
    info, part = old.info(name), stored.info(name)
    if part.shape != info.shape or part.dtype != _BITS[info.dtype.itemsize]:
        raise CheckpointError(
            f"{name} is {part.dtype} {part.shape} in the delta, but {info.dtype} {info.shape} in "
            "the base. The delta is damaged: get it again."
        )

    def read() -> Tensor:
        return _bits(old.read(name)).add_(stored.read(name)).view(info.dtype)

    return Entry(name, info.dtype, info.shape, read)


def _bits(tensor: Tensor) -> Tensor:
    """Return the bit patterns as whole numbers of the same width, in memory of their own."""
    return tensor.clone().view(_BITS[tensor.dtype.itemsize])


def _listed(delta: Path, document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    tensors = document.get("tensors")
    if not isinstance(tensors, dict) or not all(_known(one) for one in tensors.values()):
        raise CheckpointError(f"{delta / DELTA} lists no tensors. The delta is damaged.")
    return tensors


def _known(one: object) -> bool:
    return isinstance(one, dict) and one.get("kind") in (_SAME, _DELTA, _WHOLE)
