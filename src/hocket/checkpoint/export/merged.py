"""A plain checkpoint of hocket with its adapters, such as LoRA, merged into the weights.

Other targets take a checkpoint without adapters, so this is the step before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._compare import TEXT, compare_answers, random_picture
from hocket.checkpoint.loading import Placement
from hocket.model.adapters.attach import merge
from hocket.tokens.tokenizer import IMAGE


@exporters.register
class Merged:
    """The same model without its adapters beside it."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {}

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write the merged checkpoint.

        Raises:
            ConfigError: a method cannot be merged.
        """
        loaded = load_checkpoint(source.folder, Placement(dtype="auto"))
        names = list(loaded.model.adapters)
        merge(loaded.model, loaded.model.adapters, names)
        write_checkpoint(folder, loaded.model, loaded.processor)
        return [f"adapters merged: {', '.join(names) or 'none; the checkpoint has no adapters'}"]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Compare it with the checkpoint and its adapters."""
        seen = source.processor.images is not None
        return compare_answers(
            source,
            load_checkpoint(folder).model,
            {"images": [random_picture()]} if seen else {},
            text=(IMAGE if seen else "") + TEXT,
            adapt=dict,
            remark="the processor is the checkpoint's own",
        )
