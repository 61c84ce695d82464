"""LLaVA for transformers, vLLM and SGLang: CLIP or SigLIP, two linear layers, any language model.

The names are those of before transformers 4.52, which are the only ones that all three load.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image as Pil
from transformers import AutoProcessor, LlavaForConditionalGeneration

from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._compare import (
    TEXT,
    compare_answers,
    open_strictly,
    question,
    random_picture,
)
from hocket.checkpoint.export._files import (
    fixed_image_options,
    need_placeholder,
    shared_options,
    text_config,
    tied,
    video_notes,
    vision_config,
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
from hocket.checkpoint.tools.tensors import write_json, write_tensors
from hocket.tokens.tokenizer import IMAGE

TARGET = "llava"
TOWERS = ("clip_vision_model", "siglip_vision_model")
NAMES = (
    # A tower saved by transformers before 5 has the inner name already.
    Rule("model.vision_tower.vision_model.", "vision_tower.vision_model."),
    Rule("model.vision_tower.", "vision_tower.vision_model."),
    Rule("model.multi_modal_projector.", "multi_modal_projector."),
    Rule("model.language_model.", "language_model.model."),
    Rule("lm_head.", "language_model.lm_head."),
)


@exporters.register
class Llava:
    """``LlavaForConditionalGeneration`` and ``LlavaProcessor``."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {
        "vision encoder": frozenset({"hf"}),
        "layout": frozenset({"image_fixed"}),
        "connector": frozenset({"mlp"}),
    }

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write weights, ``config.json``, tokenizer and processor files."""
        need_one_vision_tower(source, TARGET, TOWERS, lines=True)
        if source.config.vision_arrange is not None:
            kind = source.config.vision_arrange["kind"]
            raise refusal(TARGET, "model.vision.arrange", kind, "none")
        connector = source.config.vision_connector
        need_connector(TARGET, "model.vision.connector", connector, kind="mlp", depth=2)
        layout = need_image_layout(source, TARGET, ("image_fixed",))
        layer = hidden_state_index(source, TARGET)
        strategy = feature_strategy(source)
        write_tensors(
            folder,
            rename(source.tensors, NAMES, target=TARGET),
            shard_bytes=options.shard_bytes,
        )
        fields = {
            "image_seq_length": layout["rows_per_unit"],
            "image_aspect_ratio": "pad" if layout["fit"] == "pad" else "square",
            "vision_feature_layer": layer,
            "vision_feature_select_strategy": strategy,
        }
        write_config(source, folder, fields, target=TARGET, cls="LlavaForConditionalGeneration")
        notes = write_text_files(source, folder, options, processor="LlavaProcessor")
        squash = "CLIPImageProcessor" if class_tokens(source) else "SiglipImageProcessor"
        write_image_processor(
            folder,
            fixed_image_options(layout, squash=squash),
            processor_options(source, layout) | {"processor_class": "LlavaProcessor"},
        )
        return [*notes, *video_notes(source)]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Compare with ``LlavaForConditionalGeneration`` and ``LlavaProcessor``."""
        twin = open_strictly(LlavaForConditionalGeneration, folder)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        picture = random_picture()
        return compare_answers(
            source,
            twin,
            {"images": [picture]},
            text=question(source, "image"),
            adapt=without_spans,
            theirs=lambda _: prepare(processor, picture),
        )


def write_config(
    source: Source, folder: Path, fields: dict[str, Any], *, target: str, cls: str
) -> None:
    """Write the ``config.json`` that LLaVA and its successors share.

    Args:
        source: the checkpoint.
        folder: where to.
        fields: what the successor adds.
        target: its model type.
        cls: its class.
    """
    image = need_placeholder(source)
    document = {
        "architectures": [cls],
        "model_type": target,
        "image_token_index": image,
        "image_token_id": image,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": bool(source.config.vision_connector.get("bias", True)),
        "tie_word_embeddings": tied(source),
        "vision_config": vision_config(source),
        "text_config": text_config(source, target=target),
    }
    write_json(folder / "config.json", document | fields | shared_options(source))


def processor_options(source: Source, layout: dict[str, Any]) -> dict[str, Any]:
    """Return the options by which transformers counts a picture's tokens."""
    strategy = feature_strategy(source)
    return {
        "image_token": IMAGE,
        "num_additional_image_tokens": class_tokens(source),
        "patch_size": layout["patch"],
        "vision_feature_select_strategy": strategy,
    }


def class_tokens(source: Source) -> int:
    """Return how many positions the tower has in front of its patches."""
    return 0 if source.config.vision_config.model_type == "siglip_vision_model" else 1


def feature_strategy(source: Source) -> str:
    """Return ``default`` where the first position is dropped (CLIP's class token), or ``full``.

    Raises:
        CheckpointError: another number of positions is dropped.
    """
    drop = source.config.vision_encoder["drop"]
    if drop is None or drop < 0:
        # All that show no patch.
        drop = class_tokens(source)
    if drop not in (0, 1):
        raise refusal(TARGET, "model.vision.drop", drop, "0 or 1")
    return "default" if drop else "full"


def without_spans(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return our inputs without what only our model knows."""
    return {name: value for name, value in inputs.items() if name != "image_spans"}


def prepare(processor: Any, picture: Any) -> dict[str, Any]:
    """Return the sample as transformers' own processor and chat template prepare it."""
    content = [{"type": "image", "image": Pil.fromarray(picture)}, {"type": "text", "text": TEXT}]
    made = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return dict(made.items())
