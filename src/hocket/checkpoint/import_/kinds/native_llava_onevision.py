"""transformers' ``LlavaOnevisionForConditionalGeneration``: pictures in many tiles, and videos."""

from __future__ import annotations

import re

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.native import (
    Media,
    Native,
    describe_native,
    is_native,
    open_native,
    read_gelu,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.pictures import read_vision, tiled_layout, tiled_rules
from hocket.model.spec import PartSpec, VideoSpec
from hocket.tokens.tokenizer import IMAGE, VIDEO

_KIND = "onevision"
_FRAMES = 32


@importers.register
class NativeLlavaOnevision:
    """Reads what ``LlavaOnevisionForConditionalGeneration`` saves."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is that class's."""
        return is_native(origin, "llava_onevision")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        native = open_native(origin)
        read_gelu(native)
        most = _most_tiles(native)
        layout, notes = tiled_layout(native, "image_onevision", {"max_maps": most})
        arrange = PartSpec(kind=_KIND, options={"max_maps": most})
        return describe_native(
            native,
            Media(
                vision=read_vision(native, layout, arrange=arrange),
                video=VideoSpec(sampler="uniform", options={"frames": _FRAMES}),
                rules=tiled_rules(),
                places={
                    native.token("image_token_index") or IMAGE: IMAGE,
                    native.token("video_token_index") or VIDEO: VIDEO,
                },
                notes=(
                    *notes,
                    f"videos: {_FRAMES} frames at equal distances; the class takes what it is "
                    "given",
                ),
            ),
        )


def _most_tiles(native: Native) -> int:
    """Return the number in ``anyres_max_9``.

    Raises:
        CheckpointError: it is written otherwise.
    """
    aspect = str(native.config.vision_aspect_ratio)
    if not (match := re.fullmatch(r"anyres_max_(\d+)", aspect)):
        raise CheckpointError(
            f"vision_aspect_ratio is {aspect!r}, expected anyres_max_N. "
            "This importer cannot open it."
        )
    return int(match[1])
