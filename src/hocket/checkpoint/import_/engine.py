"""Imports a checkpoint: describes it, checks every tensor's place, streams them into a new folder.

The model is built on the device ``meta``, for its names and shapes alone. Each tensor is read when
its turn to be written comes, so memory holds one tensor, whatever the model's size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import write_sides
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import detect_kind, importers
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.report import NAME, ImportReport
from hocket.checkpoint.import_.table import Piece, Plan, Shape, plan_tensors
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.tensors import SHARD_BYTES, Entry, write_tensors
from hocket.model.modeling import HocketForConditionalGeneration

AUTO = "auto"


def import_checkpoint(
    kind: str,
    source: str | Path,
    target: str | Path,
    *,
    search: Sequence[Path] = (),
    base: Path | None = None,
    template: str = "",
    shard_bytes: int = SHARD_BYTES,
) -> ImportReport:
    """Write a Hocket checkpoint that computes what a foreign one does.

    Args:
        kind: name of the importer, or ``auto`` to decide by the files' content.
        source: the foreign checkpoint.
        target: the new folder; it is complete or absent.
        search: folders in which towers and base models are looked for.
        base: the base model of an adapter, in place of the one that it names.
        template: name of the chat template, in place of the importer's choice.
        shard_bytes: most bytes of tensors in one file.

    Raises:
        CheckpointError: the source is of no known kind, is incomplete, or has a tensor without a
            place; nothing is written then.
        UnknownNameError: no importer has the name.
        MachineError: the target cannot be written.
    """
    where = Path(target)
    if where.exists():
        raise CheckpointError(f"{where} exists already. Give a folder that does not.")
    origin = Origin.open(Path(source), search=search, base=base, template=template)
    name = detect_kind(origin) if kind == AUTO else kind
    description = importers.get(name).describe(origin)
    targets, tied = shapes_of(description)
    plan = plan_tensors(description.weights, description.rules, targets, tied)
    report = _report(name, origin, description, plan, targets)
    write_directory(where, _writer(description, plan, report, shard_bytes))
    return report


def shapes_of(description: Description) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Return name -> shape of every tensor of the model, and of names that show one again."""
    with torch.device("meta"):
        model = HocketForConditionalGeneration(description.config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if not description.config.tie_word_embeddings:
        return shapes, {}
    tied = {"lm_head.weight": shapes.pop("lm_head.weight")}
    return shapes, tied


def _report(
    kind: str, origin: Origin, description: Description, plan: Plan, targets: dict[str, Shape]
) -> ImportReport:
    pieces = plan.pieces
    return ImportReport(
        kind=kind,
        source=str(origin.folder),
        mapped={name: pieces[name].item.origins for name in sorted(pieces)},
        changed={name: piece.what for name, piece in sorted(pieces.items()) if piece.what},
        ignored=plan.skipped,
        notes=description.notes,
        parameters=sum(math.prod(shape) for shape in targets.values()),
    )


def _writer(
    description: Description, plan: Plan, report: ImportReport, shard_bytes: int
) -> Callable[[Path], None]:
    """Return what fills the new folder."""

    def write(folder: Path) -> None:
        entries = [_entry(name, piece) for name, piece in plan.pieces.items()]
        write_tensors(folder, entries, shard_bytes=shard_bytes)
        config, processor = description.config, description.processor
        config.architectures = [HocketForConditionalGeneration.__name__]
        config.save_pretrained(folder)
        ends = [processor.tokenizer.eos_token_id]
        ends += processor.tokenizer.convert_tokens_to_ids(list(description.stops))
        GenerationConfig(
            bos_token_id=processor.tokenizer.bos_token_id,
            eos_token_id=list(dict.fromkeys(ends)),
            pad_token_id=processor.tokenizer.pad_token_id,
        ).save_pretrained(folder)
        write_sides(folder, processor, provenance=_provenance(report))
        text = json.dumps(report.to_dict(), indent=1) + "\n"
        (folder / NAME).write_text(text, encoding="utf-8")

    return write


def _entry(name: str, piece: Piece) -> Entry:
    """Return a tensor of the model as something to write."""

    def read() -> Tensor:
        return piece.make(piece.item.read())

    return Entry(name, piece.item.dtype, piece.shape, read)


def _provenance(report: ImportReport) -> dict[str, Any]:
    return {"imported": {"kind": report.kind, "source": report.source, "notes": list(report.notes)}}
