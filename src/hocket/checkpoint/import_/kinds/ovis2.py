"""Ovis 2: recognised, and refused with the reason.

Its language model (Qwen 2), its tower (AIMv2) and its visual vocabulary have counterparts here. The
places of its pictures have none: tiles are chosen by the area that they cover, and rows of the
visual table stand before the tiles, between their columns and rows, and behind them. The same holds
for the form of transformers, ``model_type`` ``ovis2``.
"""

from __future__ import annotations

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.origin import Origin


@importers.register
class Ovis2:
    """Recognises the checkpoints of Ovis 2 and Ovis 1.6, in their own form and transformers'."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json describes Ovis 2's visual tokenizer."""
        own = origin.has("llm_config", "visual_tokenizer_config")
        return own or origin.has("visual_indicator_token_ids", "text_config", "vision_config")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Refuse it.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(
            f"{origin.folder} is an Ovis 2: no image layout cuts tiles by the area they cover, and "
            "no arrange part writes rows of the visual table between tiles.\n"
            "It cannot be imported yet; Ovis 2.5 can."
        )
