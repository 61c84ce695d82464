"""Back to the system that a checkpoint was imported from: the same files, names and shapes.

The original folder is asked for again (``--base``): its configuration and tokenizer are copied, and
every tensor that the import took from it is written back under its own name, fused and cut as it
was. What the import left out is copied as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.import_.engine import shapes_of
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.report import NAME
from hocket.checkpoint.import_.table import Piece, Shape, plan_tensors
from hocket.checkpoint.import_.weights import Item, open_file
from hocket.checkpoint.tools.tensors import read_json

_TENSORS = (".safetensors", ".bin")


@exporters.register
class Original:
    """The layout that the checkpoint was imported from, whichever it was."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {}

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write every file of the original folder, with this checkpoint's numbers.

        Raises:
            ConfigError: the original folder was not given.
            CheckpointError: the checkpoint was not imported, or a tensor was made of several.
        """
        base = _base(options)
        made_from = _places(source, base)
        notes = []
        for file in sorted(one for one in base.rglob("*") if one.is_file()):
            target = folder / file.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.name.endswith(".bin.index.json"):
                text = file.read_text("utf-8").replace(".bin", ".safetensors")
                name = target.name.replace(".bin", ".safetensors")
                target.with_name(name).write_text(text, encoding="utf-8")
                continue
            if file.suffix not in _TENSORS:
                shutil.copyfile(file, target)
                continue
            tensors = dict(_tensors(file, made_from, source))
            if file.suffix == ".bin":
                target = target.with_suffix(".safetensors")
                notes.append(f"{file.name} is written as {target.name}: no pickles are written")
            save_file(tensors, target, metadata={"format": "pt"})
        return notes

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Refuse: no class of the original systems is installed.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(
            "original cannot be verified by its own class, which no library here has. "
            f"Import it again and compare: hocket model import auto {folder} AGAIN"
        )


def _base(options: ExportOptions) -> Path:
    if options.base is None or not options.base.is_dir():
        raise ConfigError(
            "original writes the files of the folder that was imported. Name it with --base FOLDER."
        )
    return options.base


def _places(source: Source, base: Path) -> dict[tuple[Path, str], list[tuple[str, Piece]]]:
    """Return for every tensor of the original the tensors that the import made of it."""
    report = source.folder / NAME
    if not report.is_file():
        raise CheckpointError(
            f"{source.folder} was not imported from another system: it has no {NAME}. "
            "Choose another target; hocket model export --list names them."
        )
    kind = str(read_json(report).get("kind"))
    description = importers.get(kind).describe(Origin.open(base))
    plan = plan_tensors(description.weights, description.rules, *shapes_of(description))
    places: dict[tuple[Path, str], list[tuple[str, Piece]]] = {}
    for target, piece in plan.pieces.items():
        if piece.item.place is None:
            raise CheckpointError(
                f"{target} was made of several tensors ({', '.join(piece.item.origins[:2])}, ...), "
                "which cannot be told apart again. Export to another target."
            )
        file, name = piece.item.place
        places.setdefault((file.resolve(), name), []).append((target, piece))
    return places


def _tensors(
    file: Path, made_from: Mapping[tuple[Path, str], list[tuple[str, Piece]]], source: Source
) -> Iterator[tuple[str, Tensor]]:
    for name, item in open_file(file).items():
        made = made_from.get((file.resolve(), name))
        if made is None:
            yield name, item.read().contiguous()
        else:
            parts = [source.tensors.read(target) for target, _ in made]
            yield name, _restored(item, parts, taken=made[0][1].item.shape)


def _restored(item: Item, parts: list[Tensor], *, taken: Shape) -> Tensor:
    """Return a tensor of the original's shape and type.

    Args:
        item: the original.
        parts: what the import made of it.
        taken: shape of what the import took of it.
    """
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    if whole.shape[1:] == torch.Size(item.shape[1:]):
        whole = whole[: taken[0]]  # rows of tokens that were added are left behind
        if taken[0] < item.shape[0]:
            whole = torch.cat([whole, item.read()[taken[0] :].to(whole.dtype)])
    return whole.reshape(item.shape).to(item.dtype).contiguous()
