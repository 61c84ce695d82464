"""LLaVA-OneVision for transformers and vLLM: LLaVA-1.6's tiles, up to ten of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image as Pil
from transformers import AutoImageProcessor, LlavaOnevisionForConditionalGeneration

from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._compare import TEXT, compare_answers, open_strictly, random_picture
from hocket.checkpoint.export._files import pixel_options, write_image_processor, write_text_files
from hocket.checkpoint.export._refusal import hidden_state_index, refusal
from hocket.checkpoint.export._rename import rename
from hocket.checkpoint.export.llava import feature_strategy, write_config
from hocket.checkpoint.export.llava_next import (
    NEXT_NAMES,
    grid_sizes,
    need_unpadded_tiles,
    with_sizes,
)
from hocket.checkpoint.tools.tensors import write_json, write_tensors
from hocket.tokens.tokenizer import IMAGE, VIDEO

TARGET = "llava_onevision"
# With this setting a map is made smaller from 1.1 squared times nine tiles on, so ten are not.
_ASPECT = "anyres_max_9"
_MOST_TILES = 10
_SEVERAL = "pictures: where a text has several, OneVision shows each as one tile; we tile each."
_VIDEOS = (
    "videos: OneVision halves each frame's rows per side and ends a video with one learned row; "
    "this model was shown every row with a learned one behind each frame."
)


@exporters.register
class LlavaOnevision:
    """``LlavaOnevisionForConditionalGeneration`` and ``LlavaOnevisionProcessor``."""

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
        strategy = feature_strategy(source)
        if strategy != "full":
            # The class drops the position, but its processor counts it.
            raise refusal(TARGET, "model.vision.drop", 1, "0, such as SigLIP's")
        if not layout["snap"]:
            raise refusal(TARGET, "model.vision.layout.snap", False, "True")
        pinpoints, side = grid_sizes(layout), layout["size"]
        most = max(height * width for height, width in pinpoints) // side**2
        if most > _MOST_TILES:
            raise refusal(
                TARGET, "model.vision.layout.grids", f"{most} tiles", f"{_MOST_TILES} at most"
            )
        fields = {
            "image_grid_pinpoints": pinpoints,
            "vision_aspect_ratio": _ASPECT,
            "video_token_index": source.config.video_token_id,
            "vision_feature_layer": hidden_state_index(source, TARGET),
            "vision_feature_select_strategy": strategy,
        }
        write_tensors(
            folder,
            rename(source.tensors, NEXT_NAMES, target=TARGET),
            shard_bytes=options.shard_bytes,
        )
        cls = "LlavaOnevisionForConditionalGeneration"
        write_config(source, folder, fields, target=TARGET, cls=cls)
        notes = write_text_files(source, folder, options, processor="LlavaOnevisionProcessor")
        pixels = {"size": {"height": side, "width": side}} | pixel_options(layout)
        video = pixels | {"video_processor_type": "LlavaOnevisionVideoProcessor"}
        write_image_processor(
            folder,
            pixels
            | {
                "image_processor_type": "LlavaOnevisionImageProcessor",
                "do_pad": True,
                "image_grid_pinpoints": pinpoints,
            },
            {
                "processor_class": "LlavaOnevisionProcessor",
                "num_image_tokens": layout["rows_per_unit"],
                "vision_feature_select_strategy": strategy,
                "vision_aspect_ratio": _ASPECT,
                "image_token": IMAGE,
                "video_token": VIDEO,
                "video_processor": video,
            },
        )
        write_json(folder / "video_preprocessor_config.json", video)
        return [_SEVERAL, *notes, *([_VIDEOS] if source.processor.sampler else [])]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Compare with ``LlavaOnevisionForConditionalGeneration`` and its image processor."""
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        picture = random_picture()

        def theirs(inputs: dict[str, Any]) -> dict[str, Any]:
            pixels = processor(images=[Pil.fromarray(picture)], return_tensors="pt")
            made = with_sizes(inputs, picture.shape[:2])
            return made | {name: pixels[name] for name in ("pixel_values", "image_sizes")}

        return compare_answers(
            source,
            open_strictly(LlavaOnevisionForConditionalGeneration, folder),
            {"images": [picture]},
            text=IMAGE + TEXT,
            adapt=lambda inputs: with_sizes(inputs, picture.shape[:2]),
            theirs=theirs,
            remark="pixels are its image processor's, tokens ours: the rest needs torchvision",
        )
