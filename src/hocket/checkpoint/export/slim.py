"""Only what training changed, whole, with the hash of the checkpoint it started from.

``hocket model delta apply BASE SLIM OUT`` puts the two together again, bit for bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from hocket._errors import ConfigError
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint
from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._compare import TEXT, compare_answers, random_picture
from hocket.checkpoint.tools.delta import apply_delta, fill_delta
from hocket.tokens.tokenizer import IMAGE


@exporters.register
class Slim:
    """Tensors that differ from a base checkpoint's, under their own names."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {}

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write the changed tensors and everything that lies beside the weights.

        Raises:
            ConfigError: no base was given.
        """
        base = find_checkpoint(_base(options))
        report = fill_delta(folder, base, source.folder, whole=True)
        return [
            f"{report.stored} tensors written; {report.same} are the base's (weights "
            f"{report.base_sha256[:16]}). To open it: hocket model delta apply {base} SLIM OUT"
        ]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Put it together with its base again and compare."""
        with tempfile.TemporaryDirectory() as room:
            again = Path(room) / "model"
            apply_delta(find_checkpoint(_base(options)), folder, again)
            twin = load_checkpoint(again).model
            seen = source.processor.images is not None
            return compare_answers(
                source,
                twin,
                {"images": [random_picture()]} if seen else {},
                text=(IMAGE if seen else "") + TEXT,
                adapt=dict,
                remark="the processor is the checkpoint's own",
            )


def _base(options: ExportOptions) -> Path:
    if options.base is None:
        raise ConfigError("slim leaves out what a base holds. Name it with --base FOLDER.")
    return options.base
