"""LLaVA-1.6 for transformers and vLLM: tiles behind an overview, a learned row behind each line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import AutoProcessor, LlavaNextForConditionalGeneration

from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._compare import (
    compare_answers,
    open_strictly,
    question,
    random_picture,
)
from hocket.checkpoint.export._files import (
    pixel_options,
    video_notes,
    write_image_processor,
    write_text_files,
)
from hocket.checkpoint.export._refusal import (
    hidden_state_index,
    need_connector,
    need_image_layout,
    need_one_vision_tower,
    refusal,
)
from hocket.checkpoint.export._rename import Rule, rename
from hocket.checkpoint.export.llava import (
    NAMES,
    TOWERS,
    feature_strategy,
    prepare,
    processor_options,
    without_spans,
    write_config,
)
from hocket.checkpoint.tools.tensors import write_tensors

TARGET = "llava_next"
NEXT_NAMES = (Rule("model.image_arrange.image_newline", "image_newline"), *NAMES)
_SNAP = (
    "lines: with snap: false a few picture sizes have one line less here than in transformers, "
    "which rounds before it cuts; such a picture gets more tokens there."
)


@exporters.register
class LlavaNext:
    """``LlavaNextForConditionalGeneration`` and ``LlavaNextProcessor``."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {
        "vision encoder": frozenset({"hf"}),
        "layout": frozenset({"image_anyres"}),
        "connector": frozenset({"mlp"}),
        "arrangement": frozenset({"spatial_unpad"}),
    }

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write weights, ``config.json``, tokenizer and processor files."""
        layout = need_unpadded_tiles(source, TARGET)
        pinpoints = grid_sizes(layout)
        fields = {
            "image_grid_pinpoints": pinpoints,
            "image_seq_length": layout["rows_per_unit"],
            "image_aspect_ratio": "anyres",
            "vision_feature_layer": hidden_state_index(source, TARGET),
            "vision_feature_select_strategy": feature_strategy(source),
        }
        write_tensors(
            folder,
            rename(source.tensors, NEXT_NAMES, target=TARGET),
            shard_bytes=options.shard_bytes,
        )
        cls = "LlavaNextForConditionalGeneration"
        write_config(source, folder, fields, target=TARGET, cls=cls)
        notes = write_text_files(source, folder, options, processor="LlavaNextProcessor")
        side = layout["size"]
        image = {
            "image_processor_type": "LlavaNextImageProcessor",
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
            "do_center_crop": True,
            "do_pad": True,
            "image_grid_pinpoints": pinpoints,
        }
        write_image_processor(
            folder,
            image | pixel_options(layout),
            processor_options(source, layout) | {"processor_class": "LlavaNextProcessor"},
        )
        return [*([] if layout["snap"] else [_SNAP]), *notes, *video_notes(source)]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Compare with ``LlavaNextForConditionalGeneration`` and ``LlavaNextProcessor``."""
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        picture = random_picture()
        return compare_answers(
            source,
            open_strictly(LlavaNextForConditionalGeneration, folder),
            {"images": [picture]},
            text=question(source, "image"),
            adapt=lambda inputs: with_sizes(inputs, picture.shape[:2]),
            theirs=lambda _: prepare(processor, picture),
        )


def need_unpadded_tiles(source: Source, target: str) -> dict[str, Any]:
    """Return the options of the layout, which must be LLaVA-1.6's with its learned line ends.

    Raises:
        CheckpointError: the tower, the connector, the layout or the arrangement is another.
    """
    need_one_vision_tower(source, target, TOWERS)
    need_connector(
        target, "model.vision.connector", source.config.vision_connector, kind="mlp", depth=2
    )
    arrange = source.config.vision_arrange or {"kind": "none"}
    need_connector(target, "model.vision.arrange", arrange, kind="spatial_unpad")
    layout = need_image_layout(source, target, ("image_anyres",))
    if layout["merge"] != "unpad":
        raise refusal(target, "model.vision.layout.merge", layout["merge"], "unpad")
    return layout


def grid_sizes(layout: dict[str, Any]) -> list[list[int]]:
    """Return the sizes in pixels, (height, width), of grids written columns x rows."""
    side = layout["size"]
    pairs = [[int(number) for number in grid.split("x")] for grid in layout["grids"]]
    return [[rows * side, columns * side] for columns, rows in pairs]


def with_sizes(inputs: dict[str, Any], size: tuple[int, ...]) -> dict[str, Any]:
    """Return our inputs of one picture as the class takes them: (1, U, 3, S, S), and its size."""
    return without_spans(inputs) | {
        "pixel_values": inputs["pixel_values"][None],
        "image_sizes": torch.tensor([list(size)]),
    }
