"""lmms-eval's plugin: after ``pip install hocket`` its ``--model hocket`` is any Hocket checkpoint.

lmms-eval finds `manifest` by the entry point group ``lmms_eval.models``. Nothing here imports it
before that, and nothing else of Hocket needs it.
"""

from __future__ import annotations

import importlib
from typing import Any

MODEL = "hocket"


def manifest() -> Any:
    """Return lmms-eval's ``ModelManifest`` that names the model class.

    Raises:
        ImportError: lmms-eval is not installed; it is who calls this.
    """
    registry = importlib.import_module("lmms_eval.models.registry_v2")
    return registry.ModelManifest(
        model_id=MODEL, chat_class_path="hocket.eval.lmms.model.HocketForLmms"
    )
