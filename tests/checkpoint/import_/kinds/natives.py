"""Toy checkpoints of transformers' multimodal classes, and comparisons with those classes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import difference
from tests.toy import TEXTS
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from hocket.checkpoint.directory import Loaded
from hocket.media.image import Image
from hocket.tokens.tokenizer import build_tokenizer

QWEN2: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SIDE = 28
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 7,
}
CLIP = TOWER | {"model_type": "clip_vision_model"}
SIGLIP = TOWER | {"model_type": "siglip_vision_model", "vision_use_head": False}
SQUARE = {"height": SIDE, "width": SIDE}
CROP = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE}}
CROP |= {"crop_size": SQUARE, "do_center_crop": True, "image_mean": [0.4] * 3}
# Names since transformers 4.52; transformers 5 writes those of before.
NEWER = (
    (r"language_model\.model\.", "model.language_model."),
    (r"language_model\.lm_head", "lm_head"),
    (r"(vision_tower|audio_tower|multi_modal_projector|image_newline)", r"model.\1"),
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in "
    "message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% elif "
    "part['type'] == 'video' %}<video>\n{% else %}PLACE\n{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(*more: str) -> PreTrainedTokenizerFast:
    """Return a small tokenizer with further tokens."""
    made = build_tokenizer(TEXTS, vocab_size=300)
    made.add_tokens(list(more), special_tokens=True)
    return made


def write_native(
    folder: Path,
    cls: Any,
    config: Any,
    words: PreTrainedTokenizerFast,
    *,
    place: str = "<image>",
    pixels: dict[str, Any] | None = None,
) -> Any:
    """Save a model of random numbers as its class does, and return it."""
    torch.manual_seed(0)
    model = cls(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    text = TEMPLATE.replace("PLACE", place)
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    if pixels is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(pixels), encoding="utf-8")
    return model


def change_config(folder: Path, **change: Any) -> None:
    """Change options in a folder's config.json."""
    file = folder / "config.json"
    document = json.loads(file.read_text("utf-8")) | change
    file.write_text(json.dumps(document), encoding="utf-8")


def rename_newer(folder: Path) -> None:
    """Give the tensors of a folder the names of transformers 4.52."""
    tensors = load_file(folder / "model.safetensors")

    def newer(name: str) -> str:
        for pattern, target in NEWER:
            if re.match(pattern, name):
                return re.sub(f"^{pattern}", target, name)
        return name

    made = {newer(name): tensor for name, tensor in tensors.items()}
    assert made.keys() != tensors.keys()
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})


def picture(height: int, width: int) -> Image:
    """Return a picture of noise."""
    random = np.random.default_rng(height)
    return Image.from_array(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@torch.no_grad()
def gap(
    loaded: Loaded,
    native: Any,
    batch: dict[str, Tensor],
    tokens: dict[str, int],
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> float:
    """Return the largest difference of logits over the columns of the native class.

    Args:
        loaded: the import.
        native: the class's own model.
        batch: inputs of ours.
        tokens: kind of medium -> the class's placeholder, which takes the place of ours.
        adapt: turns the media of our inputs into those of the class.
    """
    theirs = batch["input_ids"].clone()
    for kind, ours in loaded.processor.placeholder_ids.items():
        if kind.value in tokens:
            theirs[batch["input_ids"] == ours] = tokens[kind.value]
    media = adapt({name: one for name, one in batch.items() if name != "input_ids"})
    wanted = native(input_ids=theirs, **media).logits
    made = loaded.model(**batch).logits[..., : wanted.shape[-1]]
    assert float(wanted.abs().max()) > 0.5
    # Else an agreement would say nothing about the towers.
    blank = {name: one * 0 if one.is_floating_point() else one for name, one in media.items()}
    assert float((native(input_ids=theirs, **blank).logits - wanted).abs().max()) > 1e-2
    return difference(made, wanted, "logits")
