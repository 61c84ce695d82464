"""InternVL for transformers and vLLM: InternViT, folded patches, two linear layers.

The class without remote code (``InternVLForConditionalGeneration``), which vLLM also maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from transformers import InternVLForConditionalGeneration

from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._compare import TEXT, compare_answers, open_strictly, random_picture
from hocket.checkpoint.export._files import (
    need_placeholder,
    pixel_options,
    shared_options,
    text_config,
    tied,
    video_notes,
    vision_config,
    write_text_files,
)
from hocket.checkpoint.export._refusal import (
    need_connector,
    need_image_layout,
    need_one_vision_tower,
    refusal,
)
from hocket.checkpoint.export._rename import Rule, rename
from hocket.checkpoint.export.llava import feature_strategy, without_spans
from hocket.checkpoint.tools.tensors import write_json, write_tensors
from hocket.tokens.tokenizer import IMAGE

TARGET = "internvl"
NAMES = (
    Rule("model.vision_tower.", "model.vision_tower."),
    Rule("model.multi_modal_projector.", "model.multi_modal_projector."),
    Rule("model.language_model.", "model.language_model."),
    Rule("lm_head.", "lm_head."),
)
_FOLDS = (1, 2, 4)
_WRAPPING = (
    "processor: InternVLProcessor writes <img> and </img> around each picture, which this model "
    "has not been shown, so only the image processor's options were written; put {count} "
    "{token} tokens for each picture yourself."
)


@exporters.register
class InternVl:
    """``InternVLForConditionalGeneration``; one square tile for each picture."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {
        "vision encoder": frozenset({"hf"}),
        "layout": frozenset({"image_fixed"}),
        "connector": frozenset({"pixel_shuffle"}),
    }

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write weights, ``config.json``, tokenizer and the options of pictures."""
        need_one_vision_tower(source, TARGET, ("internvl_vision",))
        if source.config.vision_arrange is not None:
            kind = source.config.vision_arrange["kind"]
            raise refusal(TARGET, "model.vision.arrange", kind, "none")
        need_connector(
            TARGET,
            "model.vision.connector",
            source.config.vision_connector,
            kind="pixel_shuffle",
            norm=True,
            depth=2,
            order="row_major",
        )
        fold = int(source.config.vision_connector.get("fold", 2))
        if fold not in _FOLDS:
            raise refusal(TARGET, "model.vision.connector.fold", fold, "1, 2 or 4")
        layout = need_image_layout(source, TARGET, ("image_fixed",))
        if layout["fit"] != "squash":
            raise refusal(TARGET, "model.vision.layout.fit", layout["fit"], "squash")
        image = need_placeholder(source)
        write_tensors(
            folder,
            rename(source.tensors, NAMES, target=TARGET),
            shard_bytes=options.shard_bytes,
        )
        document = {
            "architectures": ["InternVLForConditionalGeneration"],
            "model_type": TARGET,
            "image_token_id": image,
            "image_seq_length": layout["rows_per_unit"],
            "downsample_ratio": 1 / fold,
            "projector_hidden_act": "gelu",
            "vision_feature_layer": source.config.vision_encoder["layer"],
            "vision_feature_select_strategy": feature_strategy(source),
            "tie_word_embeddings": tied(source),
            "vision_config": vision_config(source),
            "text_config": text_config(source, target=TARGET),
        }
        write_json(folder / "config.json", document | shared_options(source))
        notes = write_text_files(source, folder, options, processor="InternVLProcessor")
        size = {"height": layout["size"], "width": layout["size"]}
        write_json(
            folder / "preprocessor_config.json",
            {"image_processor_type": "GotOcr2ImageProcessor", "size": size}
            | {"crop_to_patches": False, "min_patches": 1, "max_patches": 1}
            | pixel_options(layout),
        )
        wrapping = _WRAPPING.format(count=layout["rows_per_unit"], token=IMAGE)
        return [wrapping, *notes, *video_notes(source)]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Compare with ``InternVLForConditionalGeneration`` on our own inputs."""
        return compare_answers(
            source,
            open_strictly(InternVLForConditionalGeneration, folder),
            {"images": [random_picture()]},
            text=IMAGE + TEXT,
            adapt=without_spans,
            remark="InternVLProcessor writes other text around pictures",
        )
