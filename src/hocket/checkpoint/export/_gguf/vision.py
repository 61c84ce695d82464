"""The eyes: SigLIP and two linear layers, which llama.cpp runs as LLaVA's ``mlp``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hocket.checkpoint.export import Source
from hocket.checkpoint.export._gguf.plan import (
    TARGET,
    FilePlan,
    Piece,
    Place,
    Use,
    per_layer,
    place_tensors,
    with_bias,
)
from hocket.checkpoint.export._refusal import (
    need_connector,
    need_image_layout,
    need_plain_reading,
    refusal,
)

_TOWER = "siglip_vision_model"
_CLIP = "clip_vision_model"
_FILL = (122, 116, 104)
_LAYER = with_bias(
    {
        "layer_norm1": Place("ln1", Use.EXACT),
        "layer_norm2": Place("ln2", Use.EXACT),
        "self_attn.q_proj": Place("attn_q"),
        "self_attn.k_proj": Place("attn_k"),
        "self_attn.v_proj": Place("attn_v"),
        "self_attn.out_proj": Place("attn_out"),
        "mlp.fc1": Place("ffn_up"),
        "mlp.fc2": Place("ffn_down"),
    }
)
_TOP = {
    "embeddings.patch_embedding.weight": Place("v.patch_embd.weight", Use.KERNEL),
    "embeddings.patch_embedding.bias": Place("v.patch_embd.bias", Use.EXACT),
    "embeddings.position_embedding.weight": Place("v.position_embd.weight", Use.EXACT),
}
_CONNECTOR = with_bias({"linear_1": Place("mm.0"), "linear_2": Place("mm.2")})


def add_vision(plan: FilePlan, source: Source) -> None:
    """Add the vision tower and its connector.

    Raises:
        CheckpointError: llama.cpp cannot compute one of the parts as the checkpoint does.
    """
    _check(source)
    config = source.config.vision_config
    depth = int(config.num_hidden_layers)
    layer = int(source.config.vision_encoder["layer"])
    normalised = layer == -1
    # Hidden state 0 is what enters the first layer.
    used = depth if normalised else layer % (depth + 1)
    if used == 0:
        raise refusal(TARGET, "model.vision.layer", layer, "one behind the tower's first layer")
    layout = need_image_layout(source, TARGET, ("image_fixed",))
    plan.keys |= {
        "clip.has_vision_encoder": True,
        "clip.vision.projector_type": "mlp",
        "clip.vision.image_size": int(layout["size"]),
        "clip.vision.patch_size": int(config.patch_size),
        "clip.vision.embedding_length": int(config.hidden_size),
        "clip.vision.feed_forward_length": int(config.intermediate_size),
        "clip.vision.block_count": used,
        # Without it the graph would stop one layer early.
        "clip.vision.feature_layer": [used],
        "clip.vision.projection_dim": int(source.config.text_config.hidden_size),
        "clip.vision.attention.head_count": int(config.num_attention_heads),
        "clip.vision.attention.layer_norm_epsilon": float(config.layer_norm_eps),
        "clip.vision.image_mean": [float(one) for one in layout["mean"]],
        "clip.vision.image_std": [float(one) for one in layout["std"]],
        "clip.use_gelu": True,
    }
    plan.pieces += _tower(source, used, normalised=normalised)
    plan.pieces += _connector(source)
    plan.notes += _remarks(source, layout)


def _check(source: Source) -> None:
    config = source.config
    tower, encoder = config.vision_config, config.vision_encoder
    if tower.model_type == _CLIP:
        raise refusal(
            TARGET,
            "model.vision.model_type",
            f"{_CLIP} (llama.cpp puts the class token behind the patches, so each patch gets its "
            "neighbour's position)",
            _TOWER,
        )
    if tower.model_type != _TOWER:
        raise refusal(TARGET, "model.vision.model_type", tower.model_type, _TOWER)
    need_plain_reading(TARGET, "model.vision", encoder)
    if encoder["drop"] not in (None, -1, 0):
        raise refusal(TARGET, "model.vision.drop", encoder["drop"], "0")
    if config.vision_arrange is not None:
        raise refusal(TARGET, "model.vision.arrange", config.vision_arrange["kind"], "none")
    if tower.hidden_act not in ("gelu_pytorch_tanh", "gelu"):
        raise refusal(TARGET, "model.vision.config.hidden_act", tower.hidden_act, "gelu")
    if tower.intermediate_size == tower.hidden_size:
        # It tells two layers from each other, which old files had swapped, by their widths.
        raise refusal(
            TARGET,
            "model.vision.config.intermediate_size",
            tower.intermediate_size,
            "another number than hidden_size",
        )
    need_connector(TARGET, "model.vision.connector", config.vision_connector, kind="mlp", depth=2)


def _tower(source: Source, used: int, *, normalised: bool) -> list[Piece]:
    places = _TOP | per_layer(_LAYER, used, ours="encoder.layers.", theirs="v.blk.")
    if normalised:
        places |= with_bias({"post_layernorm": Place("v.post_ln", Use.EXACT)})
    prefix = "model.vision_tower."
    if any(name.startswith(prefix + "vision_model.") for name in source.tensors.names()):
        prefix += "vision_model."
    depth = int(source.config.vision_config.num_hidden_layers)
    unused = [f"encoder.layers.{layer}." for layer in range(used, depth)]
    return place_tensors(source, prefix, places, drop=("post_layernorm.", "head.", *unused))


def _connector(source: Source) -> list[Piece]:
    pieces = place_tensors(source, "model.multi_modal_projector.", _CONNECTOR)
    if source.config.vision_connector.get("bias", True):
        return pieces
    # The graph always adds a bias, so a connector without one adds zeros.
    width = int(source.config.text_config.hidden_size)
    zeros = (Piece(f"mm.{number}.bias", (width,), _zeros(width), Use.EXACT) for number in (0, 2))
    return [*pieces, *zeros]


def _zeros(width: int) -> Any:
    def read() -> Tensor:
        return torch.zeros(width)

    return read


def _remarks(source: Source, layout: dict[str, Any]) -> list[str]:
    notes: list[str] = []
    fill = tuple(int(255 * one) for one in layout["mean"])
    if layout["fit"] != "pad" or fill != _FILL:
        ours = f"pads with {fill}" if layout["fit"] == "pad" else f"has fit={layout['fit']}"
        notes.append(
            f"pictures that are not square: llama.cpp pads them with the colour {_FILL}, the "
            f"checkpoint {ours}. Square pictures give the same answers."
        )
    if layout["resample"] != "bicubic":
        notes.append(
            f"llama.cpp resizes pictures with the bicubic filter, not {layout['resample']}."
        )
    if source.config.vision_config.hidden_act == "gelu":
        notes.append("llama.cpp approximates the vision tower's GELU by tanh (within 5e-4).")
    if source.processor.sampler is not None:
        notes.append("videos: llama.cpp samples frames in its own way; give pictures instead.")
    return notes
