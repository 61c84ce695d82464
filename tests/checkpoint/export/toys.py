"""Checkpoints of width 32 in the shapes that export targets know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests.toy import TEXTS, WIDTH

from hocket.checkpoint.directory import write_checkpoint
from hocket.checkpoint.manifest import write_directory
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TokenizerSpec, TowerSpec, VideoSpec

TOWER: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}
MLP = PartSpec(kind="mlp")


def clip(**options: Any) -> TowerSpec:
    """Return LLaVA-1.5's eyes; options replace fields of the tower."""
    fields = {"layer": -2, "drop": 1, "connector": MLP, "layout": layout(fit="crop")} | options
    return TowerSpec(model_type="clip_vision_model", config=TOWER, **fields)


def siglip(**options: Any) -> TowerSpec:
    """Return SigLIP, read before its last norm."""
    fields = {"layer": 3, "connector": MLP, "layout": layout()} | options
    config = TOWER | {"vision_use_head": False}
    return TowerSpec(model_type="siglip_vision_model", config=config, **fields)


def internvl(**options: Any) -> TowerSpec:
    """Return InternViT with folded patches."""
    config = TOWER | {"image_size": [16, 16], "patch_size": [4, 4]}
    fields = {"connector": PartSpec(kind="pixel_shuffle"), "layout": layout(), "drop": 1} | options
    return TowerSpec(model_type="internvl_vision", config=config, **fields)


def layout(kind: str = "image_fixed", **options: Any) -> PartSpec:
    """Return a layout of pictures."""
    return PartSpec(kind=kind, options=options)


def language(model_type: str, **options: Any) -> LanguageSpec:
    """Return a language model of width 32."""
    config = WIDTH | options
    if model_type == "qwen2":
        config.pop("head_dim")
    return LanguageSpec(model_type=model_type, config=config)


def save(
    folder: Path,
    *,
    vision: TowerSpec | None = None,
    audio: TowerSpec | None = None,
    text: str = "llama",
    video: VideoSpec | None = None,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Path:
    """Build a model and write its checkpoint."""
    spec = ModelSpec(
        language=language(text, **options),
        vision=vision,
        audio=audio,
        video=video,
        tokenizer=TokenizerSpec(vocab_size=300),
    )
    model, processor = build(spec, TEXTS)
    # Every bias and norm gets values, so that a tensor in the wrong place shows.
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))
    model.to(dtype)
    write_directory(folder, lambda into: write_checkpoint(into, model, processor))
    return folder
