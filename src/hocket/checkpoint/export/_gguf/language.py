"""The language model: Llama, Mistral, SmolLM, Qwen2 and Qwen3 under llama.cpp's names.

Letters: H heads, D width of a head, I input width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from hocket.checkpoint.export import Source
from hocket.checkpoint.export._gguf.plan import (
    TARGET,
    Change,
    FilePlan,
    Piece,
    Place,
    Use,
    per_layer,
    place_tensors,
    with_bias,
)
from hocket.checkpoint.export._refusal import refusal

PREFIX = "model.language_model."
# Name of transformers -> name of llama.cpp, whose Llama graph also runs Mistral.
FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
# llama.cpp rotates neighbouring numbers of a head for these; transformers rotates halves.
_PAIRED = frozenset({"llama"})
# llama.cpp reads a divisor for each frequency for these alone.
_DIVIDED = frozenset({"llama"})
_OTHERS = {
    "self_attn.o_proj": Place("attn_output"),
    "mlp.gate_proj": Place("ffn_gate"),
    "mlp.up_proj": Place("ffn_up"),
    "mlp.down_proj": Place("ffn_down"),
}
# Only the Llama graph adds biases behind these.
_BIASED = frozenset({"llama"})
_NORMS = {
    "input_layernorm.weight": Place("attn_norm.weight", Use.EXACT),
    "post_attention_layernorm.weight": Place("ffn_norm.weight", Use.EXACT),
    "self_attn.q_norm.weight": Place("attn_q_norm.weight", Use.EXACT),
    "self_attn.k_norm.weight": Place("attn_k_norm.weight", Use.EXACT),
}
_TOP = {
    "embed_tokens.weight": Place("token_embd.weight"),
    "norm.weight": Place("output_norm.weight", Use.EXACT),
}


def plan_language(source: Source) -> FilePlan:
    """Return the file of the language model, without its tokenizer.

    Raises:
        CheckpointError: llama.cpp has no graph for the family, or none for one of its options.
    """
    config = source.config.text_config
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise refusal(TARGET, "model.language.model_type", config.model_type, " or ".join(FAMILIES))
    if config.hidden_act != "silu":
        raise refusal(TARGET, "model.language.config.hidden_act", config.hidden_act, "silu")
    plan = FilePlan(family)
    _add_sizes(plan, config)
    _add_rotation(plan, config)
    _limit_context(plan, config)
    plan.pieces += place_tensors(source, PREFIX, _places(config, family))
    if not source.config.tie_word_embeddings:
        plan.pieces += place_tensors(source, "lm_head", {".weight": Place("output.weight")})
    return plan


def _places(config: Any, family: str) -> dict[str, Place]:
    paired = family in _PAIRED
    layer = with_bias(
        {
            "self_attn.q_proj": Place(
                "attn_q", change=_pair_up(config.num_attention_heads) if paired else None
            ),
            "self_attn.k_proj": Place(
                "attn_k", change=_pair_up(config.num_key_value_heads) if paired else None
            ),
            "self_attn.v_proj": Place("attn_v"),
        }
    )
    others = with_bias(_OTHERS)
    if family not in _BIASED:
        others = {name: place for name, place in others.items() if name.endswith(".weight")}
    layers = per_layer(
        layer | others | _NORMS, config.num_hidden_layers, ours="layers.", theirs="blk."
    )
    return _TOP | layers


def _pair_up(heads: int) -> Change:
    """Return what brings the two numbers that are rotated together side by side."""

    def change(tensor: Tensor) -> Tensor:
        return rearrange(tensor, "(h two d) ... -> (h d two) ...", h=heads, two=2)

    return change


def _add_sizes(plan: FilePlan, config: Any) -> None:
    name, head = plan.architecture, head_width(config)
    plan.keys |= {
        f"{name}.vocab_size": config.vocab_size,
        f"{name}.context_length": config.max_position_embeddings,
        f"{name}.embedding_length": config.hidden_size,
        f"{name}.block_count": config.num_hidden_layers,
        f"{name}.feed_forward_length": config.intermediate_size,
        f"{name}.attention.head_count": config.num_attention_heads,
        f"{name}.attention.head_count_kv": config.num_key_value_heads,
        f"{name}.attention.key_length": head,
        f"{name}.attention.value_length": head,
        f"{name}.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        f"{name}.rope.dimension_count": head,
    }


def head_width(config: Any) -> int:
    """Return the width of one attention head; Qwen2's configuration does not name it."""
    stated = config.to_dict().get("head_dim")
    return int(stated or config.hidden_size // config.num_attention_heads)


def _add_rotation(plan: FilePlan, config: Any) -> None:
    """Add what turns positions into angles.

    Raises:
        CheckpointError: the scaling is one that llama.cpp computes otherwise.
    """
    name, rope = plan.architecture, config.rope_parameters
    plan.keys[f"{name}.rope.freq_base"] = float(rope["rope_theta"])
    kind = rope.get("rope_type", "default")
    part = "model.language.config.rope_parameters"
    if (share := rope.get("partial_rotary_factor", 1.0)) != 1.0:
        raise refusal(TARGET, f"{part}.partial_rotary_factor", share, "1.0")
    scaling = f"{name}.rope.scaling"
    if kind == "linear":
        plan.keys |= {f"{scaling}.type": "linear", f"{scaling}.factor": float(rope["factor"])}
    elif kind == "yarn":
        _add_yarn(plan, rope, scaling)
    elif kind == "llama3" and name in _DIVIDED:
        factors = llama3_factors(rope, head_width(config))
        plan.pieces.append(
            Piece("rope_freqs.weight", tuple(factors.shape), lambda: factors, Use.EXACT)
        )
    elif kind != "default":
        raise refusal(TARGET, f"{part}.rope_type", kind, "default, linear or yarn; llama3 on Llama")


def _add_yarn(plan: FilePlan, rope: dict[str, Any], scaling: str) -> None:
    own = sorted(set(rope) & {"mscale", "mscale_all_dim", "attention_factor", "truncate"})
    own = [key for key in own if rope[key] is not None]
    if own:
        part = f"model.language.config.rope_parameters.{own[0]}"
        raise refusal(TARGET, part, rope[own[0]], "none")
    plan.keys |= {
        f"{scaling}.type": "yarn",
        f"{scaling}.factor": float(rope["factor"]),
        f"{scaling}.original_context_length": int(rope["original_max_position_embeddings"]),
        f"{scaling}.yarn_beta_fast": float(rope.get("beta_fast") or 32.0),
        f"{scaling}.yarn_beta_slow": float(rope.get("beta_slow") or 1.0),
    }


def llama3_factors(rope: dict[str, Any], width: int) -> Tensor:
    """Return float32 (D / 2): by what Llama 3.1 divides each frequency of a head of width D.

    Wavelengths that fit `high_freq_factor` times into the original context stay, those that do not
    fit `low_freq_factor` times are stretched by `factor`, and those between are blended.
    """
    powers = torch.arange(0, width, 2, dtype=torch.float64) / width
    waves = 2 * math.pi * float(rope["rope_theta"]) ** powers
    fits = int(rope["original_max_position_embeddings"]) / waves
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    kept = ((fits - low) / (high - low)).clamp(0.0, 1.0)
    return (1.0 / ((1.0 - kept) / float(rope["factor"]) + kept)).to(torch.float32)


def _limit_context(plan: FilePlan, config: Any) -> None:
    """Cut the context where layers look back less far than it; llama.cpp lets these look it all."""
    options = config.to_dict()
    window, kinds = options.get("sliding_window"), options.get("layer_types") or []
    slides = "sliding_attention" in kinds if kinds else plan.architecture == "llama"
    if not window or not slides or window >= config.max_position_embeddings:
        return
    plan.keys[f"{plan.architecture}.context_length"] = int(window)
    plan.notes.append(
        f"the context is {window} tokens instead of {config.max_position_embeddings}: llama.cpp "
        f"has no sliding window for {config.model_type}, so longer texts would be read otherwise."
    )
