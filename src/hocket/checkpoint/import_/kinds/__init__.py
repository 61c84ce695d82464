"""Importers: one file per system. The package above says how to add one."""

from __future__ import annotations

from hocket._errors import CheckpointError
from hocket._registry import Registry
from hocket.checkpoint.import_.description import Importer
from hocket.checkpoint.import_.origin import Origin

importers: Registry[type[Importer]] = Registry("hocket.checkpoint.import_.kinds", noun="importer")


def detect_kind(origin: Origin) -> str:
    """Return the one importer that recognises a folder.

    Raises:
        CheckpointError: none does, or several do.
    """
    names = importers.names()
    found = [name for name in names if importers.get(name).detect(origin)]
    if len(found) == 1:
        return found[0]
    state = f"it could be {' or '.join(found)}" if found else f"it is none of {', '.join(names)}"
    raise CheckpointError(
        f"{origin.folder}: {state}, judged by its config.json. Name the kind in place of auto."
    )
