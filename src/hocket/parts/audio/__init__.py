"""Audio encoders. A transformers audio model needs a file here only when it is half of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hocket._registry import Registry
from hocket.parts.encoder import EncoderKind, Options

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class AudioEncoderKind(EncoderKind, Protocol):
    """An encoder that also knows which positions of its units are padding."""

    @staticmethod
    def encode(
        tower: PreTrainedModel,
        inputs: Tensor,
        options: Options,
        spans: Tensor | None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return (U, P, C) of sound (U, ...).

        Args:
            tower: what `build` returned.
            inputs: units as the layout makes them.
            options: how the tower is read.
            spans: int64 (S, 7); None when every unit is a sound of its own.
            lengths: int64 (U,) positions of each unit that are not padding, before the encoder
                pools them; None when all are.
        """
        ...


audio_encoders: Registry[type[AudioEncoderKind]] = Registry(
    "hocket.parts.audio", noun="audio encoder"
)
