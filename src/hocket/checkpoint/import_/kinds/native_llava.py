"""transformers' ``LlavaForConditionalGeneration``: CLIP or SigLIP, two linear layers, any model."""

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
from hocket.checkpoint.import_.pictures import fixed_layout, linear_rules, read_vision
from hocket.tokens.tokenizer import IMAGE


@importers.register
class NativeLlava:
    """Reads what ``LlavaForConditionalGeneration`` saves."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is that class's."""
        return is_native(origin, "llava")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        native = open_native(origin)
        read_gelu(native)
        layout, notes = fixed_layout(native)
        return describe_native(
            native,
            Media(
                vision=read_vision(native, layout),
                rules=linear_rules(),
                places={native.token("image_token_index") or IMAGE: IMAGE},
                notes=notes,
            ),
        )
