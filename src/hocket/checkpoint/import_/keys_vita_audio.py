"""Names and options of VITA's audio encoder ("whale") and of its adapters.

Options are those of ``train.yaml``; names are those of ``encoder.*`` and ``adpter.*`` (the
original's spelling) in ``final.pt``, and behind ``model.audio_encoder.`` in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.table import Move, Rule
from hocket.checkpoint.import_.weights import Weights
from hocket.model.spec import Options, PartSpec

MODEL_TYPE = "whale"
_LAYER = {
    r"norm([12])\.(weight|bias)": r"norm\2.\3",
    r"self_attn\.linear_([qkv])\.(weight|bias)": r"attention.\2_proj.\3",
    r"self_attn\.linear_out\.(weight|bias)": r"attention.out_proj.\2",
    r"self_attn\.linear_pos\.weight": r"attention.pos_proj.weight",
    r"self_attn\.pos_bias_u": r"attention.content_bias",
    r"self_attn\.pos_bias_v": r"attention.position_bias",
    r"concat_linear\.(weight|bias)": r"concat.\2",
    r"feed_forward\.w_([12])\.(weight|bias)": r"mlp.fc\2.\3",
}
# What the encoder here always is: option -> (the original's default, the only value with a
# counterpart).
_FIXED: dict[str, tuple[Any, Any]] = {
    "encoder-layer-config": ("subsampling-transformer", "subsampling-transformer"),
    "transformer-normalize-before": (True, True),
    "transformer-pos-enc-class": ("abs-enc", "rel-enc"),
    "transformer-positionwise-layer-type": ("linear", "linear"),
}
_ACTIVATIONS = ("gelu", "relu")
_NORMS = ("layer", "batch")


def whale_options(document: Mapping[str, Any]) -> Options:
    """Return the options of a ``whale`` configuration.

    Args:
        document: the encoder's ``train.yaml``.

    Raises:
        CheckpointError: an option is missing or has no counterpart.
    """
    try:
        conf = document["encoder_conf"]
        kind = conf["overview_conf"]["encoder-layer-config"]
        sub, trans = conf["para_conf"]["subsampling"], conf["para_conf"]["transformer"]
        options: Options = {
            "num_mel_bins": int(sub["subsampling-input-dim"]),
            "subsampling_size": int(sub["subsampling-output-dim"]),
            "hidden_size": int(trans["transformer-attention-dim"]),
            "intermediate_size": int(trans["transformer-linear-units"]),
            "num_hidden_layers": int(trans["transformer-num-blocks"]),
            "num_attention_heads": int(trans["transformer-attention-heads"]),
            "input_layer": str(trans.get("transformer-input-layer", "linear")),
        }
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"train.yaml: {error} is missing in encoder_conf. Copy the audio encoder again."
        ) from None
    given = {"encoder-layer-config": kind} | trans
    for key, (usual, only) in _FIXED.items():
        if (found := given.get(key, usual)) != only:
            raise CheckpointError(
                f"train.yaml: {key} is {found!r}, expected {only!r}: the audio encoder 'whale' "
                "has no other. This importer cannot open it."
            )
    # Where it was trained with chunks of random length, the original draws them for an answer too.
    static = not trans.get("transformer-dynamic-chunks", True)
    return options | {
        "chunk_size": max(0, int(trans.get("transformer-chunk_size", -1))) if static else 0,
        "left_chunks": int(trans.get("transformer-left_chunks", -1)) if static else -1,
        "concat_after": bool(trans.get("transformer-concat-after", False)),
        "dropout": float(trans.get("transformer-dropout-rate", 0.1)),
        "attention_dropout": float(trans.get("transformer-attention-dropout-rate", 0.0)),
    }


def whale_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Return the rules from the original's encoder to a ``whale`` tower.

    Args:
        source: pattern of the prefix of the source's names, up to ``encoder.``.
        target: prefix of the tower's names.
    """
    sub, trans = source + r"enc\.0\.core\.", source + r"enc\.1\."
    layer, own = trans + r"encoders\.(\d+)\.", rf"{target}layers.\1."
    return (
        Move(source + r"global_cmvn\.(mean|istd)", rf"{target}statistics.\1"),
        Move(sub + r"conv\.0\.(weight|bias)", rf"{target}subsampling.conv_1.\1"),
        Move(sub + r"conv\.2\.(weight|bias)", rf"{target}subsampling.conv_2.\1"),
        Move(sub + r"out\.0\.(weight|bias)", rf"{target}subsampling.linear.\1"),
        Move(trans + r"embed\.([01])\.(weight|bias)", rf"{target}embedding.\1.\2"),
        Move(trans + r"after_norm\.(weight|bias)", rf"{target}norm.\1"),
        *(Move(layer + old, own + new) for old, new in _LAYER.items()),
    )


def adapter_part(document: Mapping[str, Any], weights: Weights, source: str) -> PartSpec:
    """Return the connector of VITA's adapter.

    Args:
        document: the encoder's ``train.yaml``.
        weights: tensors, of which the adapter's tell how many convolutions it has.
        source: prefix of the adapter's names, up to ``adpter.``.

    Raises:
        CheckpointError: an option has no counterpart.
    """
    conf = document.get("model_conf") or {}
    kind = conf.get("adpter_type")
    if kind not in ("subsampling", "cnn", "linear"):
        raise CheckpointError(
            f"train.yaml: adpter_type is {kind!r}, expected subsampling, cnn or linear. "
            "This importer cannot open it."
        )
    options: Options = {"adapter": str(kind)}
    if kind != "linear":
        options["kernel"] = int(conf.get("kernel_size", 3))
    if kind == "subsampling":
        norm, activation = conf.get("norm", "batch"), conf.get("activation_func", "relu")
        if norm not in _NORMS or activation not in _ACTIVATIONS:
            raise CheckpointError(
                f"train.yaml: norm {norm!r} and activation_func {activation!r}, expected "
                f"{' or '.join(_NORMS)} and {' or '.join(_ACTIVATIONS)}."
            )
        two = f"{source}adpter.conv1d1.weight" in weights
        options |= {"convolutions": 2} if two else {"norm": norm, "activation": activation}
    if (prompts := f"{source}prompt_embeddings.weight") in weights:
        options["prompts"] = weights[prompts].shape[0]
    return PartSpec(kind="conv_audio", options=options)


def adapter_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Return the rules from the original's adapters to the connector ``conv_audio``.

    Args:
        source: pattern of the prefix of the source's names, up to ``adpter.``.
        target: prefix of the connector's names.
    """
    own = rf"{source}adpter\."
    statistics = "weight|bias|running_mean|running_var|num_batches_tracked"
    return (
        Move(own + r"conv1d([12])\.(weight|bias)", rf"{target}conv_\1.conv.\2"),
        Move(own + rf"bn([12])\.({statistics})", rf"{target}conv_\1.norm.\2"),
        Move(own + r"(?:project|adpter)\.(weight|bias)", rf"{target}linear.\1"),
        Move(rf"{source}prompt_embeddings\.weight", f"{target}prompts.weight"),
    )
