"""Vision encoders. A transformers vision model needs no file here: `hf` reads it by its config."""

from __future__ import annotations

from hocket._registry import Registry
from hocket.parts.encoder import EncoderKind

vision_encoders: Registry[type[EncoderKind]] = Registry(
    "hocket.parts.vision", noun="vision encoder"
)
