"""Hocket: build, train, evaluate and serve multimodal language models.

Text, pictures, sound and video in; text out. The public names below are imported on first use, so
``import hocket`` itself is quick; importing transformers' Auto classes afterwards (or before)
registers Hocket's checkpoints with them.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from hocket._errors import (
    AlignmentError,
    CheckpointError,
    ConfigError,
    DataError,
    HocketError,
    MachineError,
    MediaError,
    MissingExtraError,
    ReaderError,
    TrainingError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hocket.chat.conversation import Conversation, Message, Role, Text
    from hocket.infer.engine import Engine, prompt
    from hocket.infer.grammar import Constraint
    from hocket.infer.options import EngineOptions
    from hocket.infer.request import Answer, Completion, FinishReason, Handle, Piece
    from hocket.infer.sampling import Sampling
    from hocket.media.audio import Audio
    from hocket.media.image import Image
    from hocket.media.video import Video
    from hocket.model.build import build
    from hocket.model.config import HocketConfig
    from hocket.model.modeling import HocketForConditionalGeneration, HocketModel
    from hocket.model.spec import ModelSpec
    from hocket.tokens.processor import HocketProcessor

__version__ = "0.1.0"

_HOMES = {
    "Answer": "hocket.infer.request",
    "Audio": "hocket.media.audio",
    "Completion": "hocket.infer.request",
    "Constraint": "hocket.infer.grammar",
    "Conversation": "hocket.chat.conversation",
    "Engine": "hocket.infer.engine",
    "EngineOptions": "hocket.infer.options",
    "FinishReason": "hocket.infer.request",
    "Handle": "hocket.infer.request",
    "HocketConfig": "hocket.model.config",
    "HocketForConditionalGeneration": "hocket.model.modeling",
    "HocketModel": "hocket.model.modeling",
    "HocketProcessor": "hocket.tokens.processor",
    "Image": "hocket.media.image",
    "Message": "hocket.chat.conversation",
    "ModelSpec": "hocket.model.spec",
    "Piece": "hocket.infer.request",
    "Role": "hocket.chat.conversation",
    "Sampling": "hocket.infer.sampling",
    "Text": "hocket.chat.conversation",
    "Video": "hocket.media.video",
    "build": "hocket.model.build",
    "prompt": "hocket.infer.engine",
}

__all__ = [
    "AlignmentError",
    "Answer",
    "Audio",
    "CheckpointError",
    "Completion",
    "ConfigError",
    "Constraint",
    "Conversation",
    "DataError",
    "Engine",
    "EngineOptions",
    "FinishReason",
    "Handle",
    "HocketConfig",
    "HocketError",
    "HocketForConditionalGeneration",
    "HocketModel",
    "HocketProcessor",
    "Image",
    "MachineError",
    "MediaError",
    "Message",
    "MissingExtraError",
    "ModelSpec",
    "Piece",
    "ReaderError",
    "Role",
    "Sampling",
    "Text",
    "TrainingError",
    "UnknownNameError",
    "Video",
    "__version__",
    "build",
    "load",
    "prompt",
]


def load(
    path: str | Path,
    *,
    device: str = "cpu",
    devices: Sequence[int] = (),
    dtype: str = "float32",
    attention: str = "",
    load_8bit: bool = False,
    load_4bit: bool = False,
) -> Engine:
    """Open a checkpoint directory, or the folder of a finished run, as an engine.

    Args:
        path: the folder; a relative one is also looked for in the folders of ``HOCKET_MODELS``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``meta`` (no weights) or ``auto``.
        devices: numbers of several GPUs to spread the layers over.
        dtype: ``float32``, ``bfloat16``, ``float16``, or ``auto`` for what is stored.
        attention: attention kernel, such as ``flash_attention_2``; falls back to ``sdpa``.
        load_8bit: quantise the language model to 8 bits; needs bitsandbytes.
        load_4bit: quantise it to 4 bits.

    Raises:
        CheckpointError: it is missing, damaged or of another kind.
        ConfigError: the machine has no such device, or an argument is unknown.
        MissingExtraError: bitsandbytes is not installed.
    """
    from hocket.checkpoint.loading import Placement
    from hocket.infer.engine import Engine

    if load_8bit and load_4bit:
        raise ConfigError("load_8bit and load_4bit are both set. Choose one.")
    placement = Placement(
        device=device,
        devices=tuple(devices),
        dtype=dtype,
        attention=attention,
        quantise="8bit" if load_8bit else "4bit" if load_4bit else "",
    )
    return Engine.load(path, placement)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hocket' has no attribute {name!r}")
    value = vars(importlib.import_module(_HOMES[name]))[name]
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


# Each of ours registers itself with the one of theirs, whichever is imported first.
_HOOKS = {
    "transformers.models.auto.configuration_auto": "hocket.model.config",
    "transformers.models.auto.modeling_auto": "hocket.model.modeling",
    "transformers.models.auto.processing_auto": "hocket.model.auto",
}


def _register(theirs: ModuleType) -> None:
    importlib.import_module(_HOOKS[theirs.__name__])


for _name in _HOOKS:
    wrapt.register_post_import_hook(_register, _name)
