"""transformers' ``Ovis2ForConditionalGeneration``: AIMv2, a visual vocabulary, marks around tiles.

Its image processor chooses a grid by Ovis 2's rule, but takes the grid's lines for columns, and
resizes the whole picture to it; its tower applies its last norm, which Ovis 2 itself does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.native import (
    Media,
    Native,
    describe_native,
    is_native,
    open_native,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.ovis2_parts import (
    AIMV2,
    NO_VIDEOS,
    aimv2_options,
    table_rule,
    vocab_part,
)
from hocket.checkpoint.import_.pictures import (
    fit_of,
    image_document,
    missing_note,
    pixel_options,
    square_side,
)
from hocket.checkpoint.import_.projector import TARGET
from hocket.checkpoint.import_.table import Move
from hocket.model.spec import Options, PartSpec, TowerSpec

_TOWER = r"model\.vision_tower\."


@importers.register
class NativeOvis2:
    """Reads what ``Ovis2ForConditionalGeneration`` saves."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is that class's."""
        return is_native(origin, "ovis2")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        native = open_native(origin)
        document = image_document(origin.folder)
        own = native.part("vision_config")
        embeddings = rf"{_TOWER}transformer\.embeddings\."
        return describe_native(
            native,
            Media(
                vision=TowerSpec(
                    model_type=AIMV2,
                    config=aimv2_options(own),
                    layout=_layout(native, document),
                    connector=vocab_part(own),
                    arrange=PartSpec(kind="tile_marks"),
                ),
                rules=(
                    Move(
                        rf"{embeddings}patch_embedding\.(weight|bias)",
                        r"model.vision_tower.embeddings.patch_embed.\1",
                    ),
                    Move(rf"{_TOWER}transformer\.(.+)", r"model.vision_tower.\1"),
                    Move(rf"{_TOWER}head_linear\.weight", f"{TARGET}.head.weight"),
                    Move(rf"{_TOWER}head_norm\.(weight|bias)", rf"{TARGET}.norm.\1"),
                    table_rule(r"model\.visual_embeddings_table\.weight"),
                ),
                places={},
                notes=(*missing_note(document), NO_VIDEOS),
            ),
        )


def _layout(native: Native, document: Mapping[str, Any]) -> PartSpec:
    """Return how the class's image processor cuts pictures; whole ones unless its file says so.

    Raises:
        CheckpointError: it makes pictures of another size than the tower takes.
    """
    size = square_side(native)
    options: Options = pixel_options(document, AIMV2) | {"fit": fit_of(document, AIMV2, size)}
    most = int(document.get("max_patches", 12)) if document.get("crop_to_patches") else 1
    covering = bool(document.get("use_covering_area_grid", True))
    return PartSpec(
        kind="image_covering",
        options=options
        | {
            "choice": "covering" if covering else "nearest",
            "min_tiles": min(most, int(document.get("min_patches", 1))),
            "max_tiles": most,
            "swap": covering,
        },
    )
