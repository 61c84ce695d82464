"""Exports: a checkpoint in the names and files of another system, tensor by tensor.

One file is one target. Each states its own table of names, says what its format cannot express,
and can open what it wrote in the class it is meant for and compare the answers. Names never come
from another library's ``save_pretrained``, which changes them from version to version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from hocket._errors import CheckpointError
from hocket._registry import Registry
from hocket.checkpoint.adapters import FOLDER as ADAPTERS
from hocket.checkpoint.directory import find_checkpoint
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.tensors import SHARD_BYTES, TensorFolder, read_json
from hocket.model.config import HocketConfig
from hocket.tokens.processor import HocketProcessor

ACCEPT = "tokens"
# Stands in a chat template where an export put a checkpoint's rules of text in front of it.
RULED = "{#- rules of text -#}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What a caller may choose.

    Attributes:
        base: the checkpoint that the receiver has, for targets that leave out what it holds.
        shard_bytes: most bytes of tensors in one file.
        outtype: type of the matrices, for targets that can store them in fewer bits: ``auto`` (the
            checkpoint's), ``f32``, ``f16``, ``bf16`` or ``q8_0``.
        accept: differences that are written with a note where they would be refused: ``tokens``,
            text that the target tokenises otherwise.
    """

    base: Path | None = None
    shard_bytes: int = SHARD_BYTES
    outtype: str = "auto"
    accept: tuple[str, ...] = ()


class Source(NamedTuple):
    """A checkpoint that is exported: everything but its weights is in memory."""

    folder: Path
    config: HocketConfig
    processor: HocketProcessor
    tensors: TensorFolder


@dataclass(frozen=True, slots=True)
class Verification:
    """How an export answers in the class it is meant for, beside the checkpoint it came from.

    Attributes:
        opened_in: the class that opened it.
        same_inputs: largest difference of a logit when both get the same tokens and pixels.
        own_inputs: the same when the export's own processor prepares its inputs; None where it
            has none here.
        largest: largest logit, to judge the differences by.
        remark: why `own_inputs` is missing or large, or an empty string.
        close: largest difference that rounding explains, as a share of `largest`.
    """

    opened_in: str
    same_inputs: float
    own_inputs: float | None
    largest: float
    remark: str = ""
    close: float = 1e-3


class Exporter(Protocol):
    """Writes checkpoints for one target.

    `takes` says which parts the target can express, as noun of the registry -> names; it is empty
    where that depends on no part.
    """

    __module__: str
    takes: ClassVar[Mapping[str, frozenset[str]]]

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Fill an existing folder and return what the user should know about it.

        Raises:
            CheckpointError: the target cannot express a part; the message names it.
        """
        ...

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Open the export in its class on the CPU and compare logits.

        Raises:
            CheckpointError: it does not open strictly, or nothing here can open it.
        """
        ...


exporters: Registry[type[Exporter]] = Registry("hocket.checkpoint.export", noun="export target")


def open_source(path: str | Path) -> Source:
    """Open a checkpoint for export, without its weights.

    Raises:
        CheckpointError: it is missing, damaged or of another kind.
    """
    folder = find_checkpoint(path)
    kind = read_json(folder / "config.json").get("model_type")
    if kind != HocketConfig.model_type:
        raise CheckpointError(
            f"{folder} holds a model of the type {kind!r}; expected 'hocket'. "
            f"First: hocket model import auto {folder} OUT"
        )
    try:
        config = HocketConfig.from_pretrained(folder, local_files_only=True)
        processor = HocketProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise CheckpointError(
            f"{folder} cannot be opened: {reason}. Use another checkpoint."
        ) from error
    return Source(folder, config, processor, TensorFolder.open(folder))


def export(
    path: str | Path, target: str | Path, *, to: str, options: ExportOptions | None = None
) -> list[str]:
    """Write a checkpoint in another system's form.

    Args:
        path: a checkpoint, or a run's folder.
        target: the folder to write; replaced as a whole, or not at all.
        to: name of the target, such as ``llava``.
        options: what may be chosen.

    Returns:
        What the user should know about the result.

    Raises:
        UnknownNameError: no target has the name.
        CheckpointError: the target cannot express a part; the message names it.
        MachineError: the folder cannot be written.
    """
    exporter = exporters.get(to)
    source = open_source(path)
    if to != "merged" and (source.folder / ADAPTERS).is_dir():
        raise CheckpointError(
            f"{source.folder} has adapters beside its weights, which {to} has no place for. "
            f"First: hocket model export {source.folder} OUT --to merged"
        )
    notes: list[str] = []
    chosen = options or ExportOptions()
    write_directory(
        Path(target), lambda folder: notes.extend(exporter.write(source, folder, chosen))
    )
    return notes


def verify_export(
    path: str | Path, target: str | Path, *, to: str, options: ExportOptions | None = None
) -> Verification:
    """Compare an export with the checkpoint it was made from.

    Raises:
        CheckpointError: it does not open strictly in its class, or nothing here can open it.
    """
    return exporters.get(to).verify(open_source(path), Path(target), options or ExportOptions())
