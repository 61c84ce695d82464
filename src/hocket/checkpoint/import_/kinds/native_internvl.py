"""transformers' ``InternVLForConditionalGeneration``: InternViT, folded patches, two layers.

Its processor cuts pictures into tiles whatever its files say, up to the number of patches in them,
and puts a mark on both sides of each picture. Videos have text between their frames, which a
layout cannot write, so the import takes pictures alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.language import config_options
from hocket.checkpoint.import_.native import (
    PROJECTOR,
    VISION,
    Media,
    Native,
    describe_native,
    is_native,
    open_native,
    read_gelu,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.pictures import (
    dropped,
    fit_of,
    image_document,
    missing_note,
    one_layer,
    pixel_options,
    square_side,
)
from hocket.checkpoint.import_.projector import TARGET
from hocket.checkpoint.import_.table import Move
from hocket.model.spec import Options, PartSpec, TowerSpec
from hocket.tokens.tokenizer import IMAGE

_TOWER = "internvl_vision"
_START, _END = "<img>", "</img>"
_NO_VIDEOS = "videos: not taken, since the class writes text between frames"


@importers.register
class NativeInternvl:
    """Reads what ``InternVLForConditionalGeneration`` saves."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is that class's."""
        return is_native(origin, "internvl")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        native = open_native(origin)
        read_gelu(native)
        document = image_document(origin.folder)
        place = native.token("image_token_id") or IMAGE
        vocabulary = native.tokenizer.get_vocab()
        marked = place != IMAGE and _START in vocabulary and _END in vocabulary
        return describe_native(
            native,
            Media(
                vision=_vision(native, document),
                rules=(
                    Move(rf"{VISION}(.+)", r"model.vision_tower.\1"),
                    Move(rf"{PROJECTOR}(.+)", rf"{TARGET}.\1"),
                ),
                places={place: f"{_START}{IMAGE}{_END}" if marked else IMAGE},
                notes=(*missing_note(document), _NO_VIDEOS),
            ),
        )


def _vision(native: Native, document: Mapping[str, Any]) -> TowerSpec:
    model_type = str(native.config.vision_config.model_type)
    if model_type != _TOWER:
        raise CheckpointError(
            f"vision_config.model_type is {model_type!r}, expected {_TOWER!r}. "
            "This importer cannot open it."
        )
    ratio = float(native.config.downsample_ratio)
    fold = round(1 / ratio) if ratio > 0 else 0
    if fold < 1 or abs(fold * ratio - 1) > 1e-9:
        raise CheckpointError(
            f"downsample_ratio is {ratio}, expected one over a whole number. Correct config.json."
        )
    pixels = pixel_options(document, model_type)
    fit: Options = {"fit": fit_of(document, model_type, square_side(native))}
    most = int(document.get("max_patches", 12))
    layout = PartSpec(kind="image_fixed", options=fit | pixels)
    if most > 1:
        tiles: Options = {"min_tiles": int(document.get("min_patches", 1)), "max_tiles": most}
        layout = PartSpec(kind="image_tiles", options=pixels | tiles)
    return TowerSpec(
        model_type=model_type,
        config=config_options(native.part("vision_config"), model_type),
        layer=one_layer(native),
        drop=dropped(native, model_type),
        layout=layout,
        connector=PartSpec(kind="pixel_shuffle", options={"fold": fold}),
    )
