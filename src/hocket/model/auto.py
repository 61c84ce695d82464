"""Makes transformers' Auto classes open Hocket checkpoints."""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)

from hocket.model.config import HocketConfig
from hocket.model.modeling import HocketForConditionalGeneration, HocketModel
from hocket.tokens.processor import HocketProcessor


def register() -> None:
    """Register configuration, models and processor; calling it twice changes nothing."""
    AutoConfig.register("hocket", HocketConfig, exist_ok=True)
    AutoModel.register(HocketConfig, HocketModel, exist_ok=True)
    for auto in (AutoModelForImageTextToText, AutoModelForMultimodalLM):
        auto.register(HocketConfig, HocketForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(HocketConfig, HocketProcessor, exist_ok=True)


register()
