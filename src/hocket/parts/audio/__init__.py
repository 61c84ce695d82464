"""Audio encoders. A transformers audio model needs a file here only when it is half of a model."""

from __future__ import annotations

from hocket._registry import Registry
from hocket.parts.encoder import EncoderKind

audio_encoders: Registry[type[EncoderKind]] = Registry("hocket.parts.audio", noun="audio encoder")
