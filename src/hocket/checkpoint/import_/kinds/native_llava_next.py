"""transformers' ``LlavaNextForConditionalGeneration``: LLaVA-1.6, tiles with learned line ends."""

from __future__ import annotations

from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.native import (
    Media,
    describe_native,
    is_native,
    open_native,
    read_gelu,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.pictures import read_vision, tiled_layout, tiled_rules
from hocket.model.spec import PartSpec
from hocket.tokens.tokenizer import IMAGE

_MERGED = "spatial_unpad"


@importers.register
class NativeLlavaNext:
    """Reads what ``LlavaNextForConditionalGeneration`` saves."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is that class's."""
        return is_native(origin, "llava_next")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        native = open_native(origin)
        read_gelu(native)
        layout, notes = tiled_layout(native, "image_anyres", {"merge": "unpad", "snap": True})
        return describe_native(
            native,
            Media(
                vision=read_vision(native, layout, arrange=PartSpec(kind=_MERGED)),
                rules=tiled_rules(),
                places={native.token("image_token_index") or IMAGE: IMAGE},
                notes=notes,
            ),
        )
