"""LLaVA's own flat layout: CLIP, a linear projector or layers with GELU, Llama or Mistral.

Opens in the original LLaVA code and what grew from it. The tower's weights are written twice, in
the model and in a folder of their own, since that code first builds the tower from a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hocket._errors import CheckpointError
from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._files import (
    fixed_image_options,
    shared_options,
    text_config,
    tied,
    video_notes,
    vision_config,
    write_plain_text_files,
)
from hocket.checkpoint.export._refusal import (
    hidden_state_index,
    need_image_layout,
    need_one_vision_tower,
    refusal,
)
from hocket.checkpoint.export._rename import Rule, rename
from hocket.checkpoint.export.llava import feature_strategy
from hocket.checkpoint.tools.tensors import write_json, write_tensors

TARGET = "llava_legacy"
TOWER = "vision_tower"
# Language model -> the class and model type of the original.
LANGUAGES = {
    "llama": ("LlavaLlamaForCausalLM", "llava_llama"),
    "mistral": ("LlavaMistralForCausalLM", "llava_mistral"),
}
_OURS = "model.vision_tower."
_NOTE = (
    "vision tower: the original builds it from mm_vision_tower, which is 'vision_tower', a folder "
    "inside the export. Start it from there, or write the full path into config.json."
)


@exporters.register
class LlavaLegacy:
    """``LlavaLlamaForCausalLM`` as the original repository reads it."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {
        "vision encoder": frozenset({"hf"}),
        "layout": frozenset({"image_fixed"}),
        "connector": frozenset({"linear", "mlp"}),
    }

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write the flat model, its ``config.json``, the tokenizer and the tower's folder."""
        need_one_vision_tower(source, TARGET, ("clip_vision_model",), lines=True)
        if source.config.vision_arrange is not None:
            kind = source.config.vision_arrange["kind"]
            raise refusal(TARGET, "model.vision.arrange", kind, "none")
        projector, rules = _projector(source.config.vision_connector)
        layout = need_image_layout(source, TARGET, ("image_fixed",))
        layer = hidden_state_index(source, TARGET)
        text = text_config(source, target=TARGET)
        if text["model_type"] not in LANGUAGES:
            kinds = " or ".join(LANGUAGES)
            raise refusal(TARGET, "model.language.model_type", text["model_type"], kinds)
        cls, model_type = LANGUAGES[text["model_type"]]
        names = (*rules, *_NAMES)
        entries = rename(source.tensors, names, target=TARGET)
        write_tensors(folder, entries, shard_bytes=options.shard_bytes)
        document = text | {
            "architectures": [cls],
            "model_type": model_type,
            "tie_word_embeddings": tied(source),
            "mm_vision_tower": TOWER,
            "mm_projector_type": projector,
            "mm_hidden_size": source.config.vision_config.hidden_size,
            "mm_vision_select_layer": layer,
            "mm_vision_select_feature": "patch"
            if feature_strategy(source) == "default"
            else "cls_patch",
            "mm_use_im_start_end": False,
            "mm_use_im_patch_token": False,
            "use_mm_proj": True,
            "image_aspect_ratio": "pad" if layout["fit"] == "pad" else "square",
            "unfreeze_mm_vision_tower": True,
            "tokenizer_padding_side": "right",
        }
        write_json(folder / "config.json", document | shared_options(source))
        write_plain_text_files(source, folder, processor="LlavaProcessor")
        _write_tower(source, folder / TOWER, layout, options)
        return [_NOTE, *video_notes(source)]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Refuse: no library here has the original's class.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(
            "llava_legacy opens in the original LLaVA code only, which is no library. "
            "Verify --to llava, which has the same weights, or run: hocket model import"
        )


_NAMES = (
    Rule("model.vision_tower.vision_model.", "model.vision_tower.vision_tower.vision_model."),
    Rule("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
    Rule("model.language_model.", "model."),
    Rule("lm_head.", "lm_head."),
)
_TOWER_NAMES = (
    Rule("model.vision_tower.vision_model.", "vision_model."),
    Rule("model.vision_tower.", "vision_model."),
)


def _projector(connector: dict[str, Any]) -> tuple[str, tuple[Rule, ...]]:
    """Return the original's name of the projector, and its tensors' names."""
    ours, theirs, part = "model.multi_modal_projector.", "model.mm_projector.", "model.vision"
    if not connector.get("bias", True):
        raise refusal(TARGET, f"{part}.connector.bias", False, "True")
    if connector["kind"] == "linear":
        return "linear", (Rule(f"{ours}linear.", theirs),)
    if connector["kind"] != "mlp":
        raise refusal(TARGET, f"{part}.connector.kind", connector["kind"], "mlp or linear")
    depth = int(connector.get("depth", 2))
    # The original numbers layers and the GELUs between them in one row.
    rules = [Rule(f"{ours}linear_{at}.", f"{theirs}{2 * at - 2}.") for at in range(1, depth + 1)]
    return f"mlp{depth}x_gelu", tuple(rules)


def _write_tower(
    source: Source, folder: Path, layout: dict[str, Any], options: ExportOptions
) -> None:
    """Write the tower as transformers' ``CLIPVisionModel``, with the options of pictures."""
    folder.mkdir()
    entries = rename(source.tensors, _TOWER_NAMES, target=TARGET, only=_OURS)
    write_tensors(folder, entries, shard_bytes=options.shard_bytes)
    config = vision_config(source) | {"architectures": ["CLIPVisionModel"]}
    write_json(folder / "config.json", config)
    # Padding to a square is the original's own step before its image processor.
    fit = "crop" if layout["fit"] == "pad" else layout["fit"]
    image = fixed_image_options(layout | {"fit": fit})
    write_json(folder / "preprocessor_config.json", image)
