"""The ears: Whisper with Ultravox's connector, or Qwen2-Audio's encoder with its linear layer."""

from __future__ import annotations

from torch import Tensor

from hocket.checkpoint.export import Source
from hocket.checkpoint.export._gguf.plan import (
    TARGET,
    FilePlan,
    Place,
    Use,
    per_layer,
    place_tensors,
    with_bias,
)
from hocket.checkpoint.export._refusal import need_connector, need_plain_reading, refusal
from hocket.tokens.layout import AudioLayout, options_of

_PART = "model.audio"
_POSITIONS = 1500
_QWEN2 = "qwen2_audio_encoder"
_MARKS = ("<|audio_bos|>", "<|audio_eos|>")
_LAYER = with_bias(
    {
        "self_attn_layer_norm": Place("ln1", Use.EXACT),
        "final_layer_norm": Place("ln2", Use.EXACT),
        "self_attn.q_proj": Place("attn_q"),
        "self_attn.k_proj": Place("attn_k"),
        "self_attn.v_proj": Place("attn_v"),
        "self_attn.out_proj": Place("attn_out"),
        "fc1": Place("ffn_up"),
        "fc2": Place("ffn_down"),
    }
)
_ULTRAVOX = {
    "ln_pre.weight": Place("mm.a.norm_pre.weight", Use.EXACT),
    "linear_1.weight": Place("mm.a.mlp.1.weight"),
    "ln_mid.weight": Place("mm.a.norm_mid.weight", Use.EXACT),
    "linear_2.weight": Place("mm.a.mlp.2.weight"),
}
_QWEN2A = with_bias({"linear": Place("mm.a.fc")})


def add_audio(plan: FilePlan, source: Source) -> None:
    """Add the audio tower and its connector.

    Raises:
        CheckpointError: llama.cpp cannot compute one of the parts as the checkpoint does.
    """
    config = source.config.audio_config
    _check_tower(source)
    plan.keys |= {
        "clip.has_audio_encoder": True,
        "clip.audio.embedding_length": int(config.d_model),
        "clip.audio.feed_forward_length": int(config.encoder_ffn_dim),
        "clip.audio.block_count": int(config.encoder_layers),
        "clip.audio.projection_dim": int(source.config.text_config.hidden_size),
        "clip.audio.attention.head_count": int(config.encoder_attention_heads),
        "clip.audio.attention.layer_norm_epsilon": 1e-5,
        "clip.audio.num_mel_bins": int(config.num_mel_bins),
    }
    places = _connector(plan, source)
    layers = per_layer(_LAYER, int(config.encoder_layers), ours="layers.", theirs="a.blk.")
    plan.pieces += place_tensors(source, "model.audio_tower.", _top() | layers)
    plan.pieces += place_tensors(source, "model.audio_projector.", places)
    _check_layout(plan, source)


def _connector(plan: FilePlan, source: Source) -> dict[str, Place]:
    kind, connector = source.config.audio_config.model_type, source.config.audio_connector
    part = f"{_PART}.connector"
    if kind == "whisper":
        need_connector(TARGET, part, connector, kind="ultravox", norm="middle")
        frames = int(connector.get("frames", 8))
        plan.keys["clip.audio.projector_type"] = "ultravox"
        plan.keys["clip.audio.projector.stack_factor"] = frames
        if _POSITIONS % frames:
            plan.notes.append(
                "sounds: llama.cpp with ggml 0.25 stops at 'Invalid number of output tokens' when "
                f"{_POSITIONS} frames are stacked by {frames}: its count drops the rest, its graph "
                "pads it. Numbers that divide it, such as 5, 6, 10 or 12, work."
            )
        return _ULTRAVOX
    if kind != _QWEN2:
        raise refusal(TARGET, f"{_PART}.model_type", kind, f"whisper or {_QWEN2}")
    need_connector(TARGET, part, connector, kind="qwen2_audio", norm=False)
    if (pool := connector.get("pool", 2)) != 1:
        raise refusal(TARGET, f"{part}.pool", pool, "1: its encoder pools already")
    plan.keys["clip.audio.projector_type"] = "qwen2a"
    plan.notes.append(
        f"llama.cpp writes {_MARKS[0]} before and {_MARKS[1]} behind every sound by itself; "
        "leave them out of prompts for it."
    )
    return _QWEN2A


def marks_around_sound(source: Source) -> tuple[str, ...]:
    """Return what llama.cpp writes before and behind a sound by itself, or nothing."""
    config = source.config.audio_config
    return _MARKS if config is not None and config.model_type == _QWEN2 else ()


def _check_tower(source: Source) -> None:
    config, encoder = source.config.audio_config, source.config.audio_encoder
    need_plain_reading(TARGET, _PART, encoder)
    if encoder["layer"] != -1:
        raise refusal(TARGET, f"{_PART}.layer", encoder["layer"], "-1")
    if encoder["drop"]:
        raise refusal(TARGET, f"{_PART}.drop", encoder["drop"], "0")
    found = config.to_dict()
    for name, expected in (
        ("max_source_positions", _POSITIONS),
        ("activation_function", "gelu"),
    ):
        if found.get(name, expected) != expected:
            raise refusal(TARGET, f"{_PART}.config.{name}", found[name], str(expected))


def _check_layout(plan: FilePlan, source: Source) -> None:
    layout: AudioLayout | None = source.processor.sounds
    assert layout is not None
    options = dict(options_of(layout))
    for name, expected in (("kind", "audio_mel"), ("rate", 16000), ("chunk_seconds", 30.0)):
        if options[name] != expected:
            raise refusal(TARGET, f"{_PART}.layout.{name}", options[name], str(expected))
    if options["extra_rows"]:
        raise refusal(TARGET, "the connector's learned rows", options["extra_rows"], "none")
    plan.notes.append(
        "sounds: llama.cpp's silence is 6e-8 where Whisper's is 1e-10, so quiet ones are heard "
        "otherwise; and one of exactly 30 s gets a second, empty window."
    )
    if options["trim"]:
        plan.notes.append(
            "sounds: llama.cpp gives the rows of whole 30 s windows, silence included; the "
            "checkpoint drops those of the silence (model.audio.layout.trim)."
        )


def _top() -> dict[str, Place]:
    places = {
        "embed_positions.weight": Place("a.position_embd.weight", Use.EXACT),
        "layer_norm.weight": Place("a.post_ln.weight", Use.EXACT),
        "layer_norm.bias": Place("a.post_ln.bias", Use.EXACT),
    }
    for number in (1, 2):
        places[f"conv{number}.weight"] = Place(f"a.conv1d.{number}.weight", Use.HALF)
        places[f"conv{number}.bias"] = Place(f"a.conv1d.{number}.bias", Use.EXACT, _as_column)
    return places


def _as_column(bias: Tensor) -> Tensor:
    """Return (C, 1), which llama.cpp adds to (C, frames)."""
    return bias[:, None]
