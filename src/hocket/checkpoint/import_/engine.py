"""Imports a checkpoint: describes it, checks every tensor's place, streams them into a new folder.

The model is built on the device ``meta``, for its names and shapes alone. Each tensor is read when
its turn to be written comes, so memory holds one tensor, whatever the model's size. Last, what was
written is opened, with its weights mapped from the files, and its answers are stored beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from transformers import GenerationConfig

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import load_checkpoint, write_sides
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import detect_kind, importers
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.report import NAME, ImportReport
from hocket.checkpoint.import_.table import Piece, Plan, Shape, plan_tensors
from hocket.checkpoint.loading import Placement
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.certificate import write_certificate
from hocket.checkpoint.tools.tensors import SHARD_BYTES, Entry, write_tensors
from hocket.model.modeling import HocketForConditionalGeneration

AUTO = "auto"
_GIGABYTE = 10**9


def import_checkpoint(
    kind: str,
    source: str | Path,
    target: str | Path,
    *,
    search: Sequence[Path] = (),
    base: Path | None = None,
    template: str = "",
    shard_bytes: int = SHARD_BYTES,
    certificate: bool = True,
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
        certificate: open what was written and store what it answers, for ``model verify``. This
            reads all weights, so it is left out with a note where they exceed the free memory.

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
    notes: list[str] = []

    def write(folder: Path) -> None:
        _write(folder, description, plan, report, shard_bytes)
        if certificate:
            notes.extend(_certify(folder))
        _write_report(folder, replace(report, notes=(*report.notes, *notes)))

    write_directory(where, write)
    return replace(report, notes=(*report.notes, *notes))


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


def _write(
    folder: Path, description: Description, plan: Plan, report: ImportReport, shard_bytes: int
) -> None:
    """Fill the new folder with everything but the accounts of it."""
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


def _certify(folder: Path) -> list[str]:
    """Store what the checkpoint answers, and return a note where it does not fit into memory."""
    needed = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    free = psutil.virtual_memory().available
    if needed > free:
        return [
            f"no certificate: the weights take {needed / _GIGABYTE:.1f} GB and "
            f"{free / _GIGABYTE:.1f} GB of memory are free; hocket model certify makes one later"
        ]
    # The weights stay in their files: what the operating system maps, it can drop again.
    loaded = load_checkpoint(folder, Placement(dtype="auto"))
    write_certificate(folder, loaded.model, loaded.processor)
    return []


def _write_report(folder: Path, report: ImportReport) -> None:
    text = json.dumps(report.to_dict(), indent=1) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def _entry(name: str, piece: Piece) -> Entry:
    """Return a tensor of the model as something to write."""

    def read() -> Tensor:
        return piece.make(piece.item.read())

    return Entry(name, piece.item.dtype, piece.shape, read)


def _provenance(report: ImportReport) -> dict[str, Any]:
    return {"imported": {"kind": report.kind, "source": report.source, "notes": list(report.notes)}}
