"""What a target cannot express, found before a byte is written and said by the part's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.export import Source
from hocket.tokens.layout import ImageLayout, options_of

_READ = {"kind", "layer", "drop", "scale"}


def refusal(target: str, part: str, found: object, expected: str) -> CheckpointError:
    """Return the error for a part that the target cannot express."""
    return CheckpointError(
        f"{target} cannot express {part}: found {found}, expected {expected}. Choose another "
        "target; hocket model export --list names them."
    )


def need_one_vision_tower(
    source: Source, target: str, towers: Sequence[str], *, lines: bool = False
) -> None:
    """Check that pictures alone come in, through one tower that is read in the general way.

    Args:
        source: the checkpoint.
        target: the export target.
        towers: model types of towers that it has.
        lines: whether positions may be a line, with a class token in front or without a patch.

    Raises:
        CheckpointError: there is an audio or video tower, none for pictures, another kind of
            tower, or an option of reading it that the target lacks.
    """
    config = source.config
    if config.audio_config is not None:
        raise refusal(target, "model.audio", config.audio_config.model_type, "no sound")
    if config.video_config is not None:
        raise refusal(
            target, "model.video.tower", config.video_config.model_type, "no tower for videos alone"
        )
    if config.joint_connector is not None:
        raise refusal(
            target, "model.joint", config.joint_connector["kind"], "a connector per tower"
        )
    if config.shared_positions != 1:
        raise refusal(target, "model.language.shared_positions", config.shared_positions, "1")
    kind = config.vision_config.model_type if config.vision_config is not None else "none"
    if kind not in towers:
        raise refusal(target, "model.vision.model_type", kind, " or ".join(towers))
    need_plain_reading(target, "model.vision", config.vision_encoder, lines=lines)


def need_plain_reading(
    target: str, part: str, encoder: Mapping[str, Any], *, lines: bool = False
) -> None:
    """Check that features are a hidden state of the tower and nothing more.

    Args:
        target: the export target.
        part: what the tower is called in the configuration.
        encoder: how it is read.
        lines: whether positions may be a line, as with the option ``leading``.

    Raises:
        CheckpointError: they are scaled, or read by an encoder with options of its own.
    """
    if encoder["scale"] != 1.0:
        raise refusal(target, f"{part}.scale", encoder["scale"], "1.0")
    if own := sorted(set(encoder) - _READ - ({"leading"} if lines else set())):
        raise refusal(target, f"{part}.encoder", f"{encoder['kind']} with {own[0]}", "none")


def need_connector(target: str, part: str, found: Mapping[str, Any], **expected: object) -> None:
    """Check a connector's kind and options, of which `found` names those that are not default.

    Raises:
        CheckpointError: one differs.
    """
    for name, wanted in expected.items():
        if found.get(name, wanted) != wanted:
            raise refusal(target, f"{part}.{name}", found.get(name), repr(wanted))


def need_image_layout(source: Source, target: str, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the options of the layout of pictures, whose kind the target can express.

    Raises:
        CheckpointError: the kind differs, or it writes text or learned rows behind a picture.
    """
    layout: ImageLayout | None = source.processor.images
    assert layout is not None
    options: dict[str, Any] = dict(options_of(layout))
    part = "model.vision.layout"
    if options["kind"] not in kinds:
        raise refusal(target, f"{part}.kind", options["kind"], " or ".join(kinds))
    if options.get("fit") == "longest":
        raise refusal(target, f"{part}.fit", "longest", "squash, crop or pad")
    for name in ("before", "pool_after"):
        if options.get(name):
            raise refusal(target, f"{part}.{name}", options[name], "no text around pictures")
    if options.get("frame_tiles", 1) > 1:
        raise refusal(target, f"{part}.frame_tiles", options["frame_tiles"], "1, whole frames")
    if options["after"]:
        raise refusal(target, f"{part}.after", options["after"], "no text behind pictures")
    if options["extra_rows"]:
        raise refusal(target, "the connector's learned rows", options["extra_rows"], "none")
    return options


def hidden_state_index(source: Source, target: str) -> int:
    """Return the tower's hidden state as a negative index, -1 for the one after its last layer.

    Raises:
        CheckpointError: features are the tower's normalised output, which is no hidden state.
    """
    layer, depth = source.config.vision_encoder["layer"], _depth(source)
    kind = source.config.vision_config.model_type
    if layer == -1 and kind == "siglip_vision_model":
        # Its own last output went through a norm that the target leaves out.
        raise refusal(
            target, "model.vision.layer", "-1, SigLIP's normalised output", f"{depth} or -2"
        )
    return layer if layer < 0 else layer - depth - 1


def _depth(source: Source) -> int:
    return int(source.config.vision_config.num_hidden_layers)
