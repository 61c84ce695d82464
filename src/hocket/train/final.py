"""The end of a run: adapters written and merged, and the finished model in ``model/``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hocket.checkpoint.directory import write_checkpoint
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.certificate import write_certificate
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.adapt import finish_adapters
from hocket.train.preference import FOLDER as REFERENCE


def write_final(
    out: Path,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    *,
    config_yaml: str,
    provenance: dict[str, Any],
) -> None:
    """Write what a run ends with, and take away what only its stages needed.

    Args:
        out: the run's folder.
        model: as the last stage left it, whole; its adapters are merged.
        processor: its processor.
        config_yaml: the resolved configuration.
        provenance: where the weights came from.

    Raises:
        MachineError: it cannot be written.
    """
    finish_adapters(model, out)
    shutil.rmtree(out / REFERENCE, ignore_errors=True)
    model.eval()

    def fill(folder: Path) -> None:
        write_checkpoint(folder, model, processor, recipe=config_yaml, provenance=provenance)
        write_certificate(folder, model, processor)

    write_directory(out / "model", fill)
