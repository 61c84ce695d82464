"""A tower as its description says it: configuration, connector, layout, checked against each other.

The layout's arithmetic must promise the rows that the connector will make, and the encoder the
positions that the layout cuts; both are tried here on the device ``meta``, before any weight is
allocated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hocket._errors import AlignmentError, ConfigError, UnknownNameError, did_you_mean
from hocket._registry import Registry
from hocket.model.pretrained import read_config, read_preprocessing, stored_model_type
from hocket.model.spec import LanguageSpec, PartSpec, TowerSpec
from hocket.parts.arrange import build_arrange
from hocket.parts.audio import audio_encoders
from hocket.parts.connector import Connector, build_connector
from hocket.parts.encoder import EncoderKind, Kind
from hocket.parts.joint import Joint, build_joint
from hocket.parts.vision import vision_encoders
from hocket.tokens.layout import AudioLayout, ImageLayout, layout_from, layouts, options_of
from hocket.tokens.span import Modality, Plan

_GENERAL = "hf"


def part_config(key: str, spec: TowerSpec | LanguageSpec, *, half: str) -> PreTrainedConfig:
    """Return the transformers configuration of a part; unknown options are errors."""
    model_type, options = spec.model_type, dict(spec.config)
    if spec.path:
        config = read_config(key, half, spec.path, options)
        if model_type not in ("", config.model_type):
            raise ConfigError(
                f"{key}.model_type is {model_type!r}, but {spec.path} is a {config.model_type!r}. "
                "Leave model_type out, or choose another path."
            )
        return config
    if model_type not in CONFIG_MAPPING:
        hint = did_you_mean(model_type, CONFIG_MAPPING.keys())
        raise ConfigError(f"{key}.model_type: transformers has no {model_type!r}.{hint}")
    cls = CONFIG_MAPPING[model_type]
    known = {*cls().to_dict(), *cls.attribute_map}
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{key}.config: {model_type!r} has no option {name!r}.{hint}")
    with refusals(f"{key}.config"):
        return AutoConfig.for_model(model_type, **options)


@contextmanager
def refusals(key: str) -> Iterator[None]:
    """Turn what transformers says about an impossible configuration into one sentence."""
    try:
        yield
    except (StrictDataclassError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = re.sub(r"^\w+Error: ", "", str(error).strip().splitlines()[-1].strip()).rstrip(".")
        raise ConfigError(f"{key}: transformers refuses it: {reason}. Change it.") from error


def describe_vision(spec: TowerSpec, width: int, joint: PartSpec | None) -> dict[str, Any]:
    """Return the vision part of `HocketConfig` and its ``layout``, for rows of that width."""
    tower = _tower("model.vision", "vision", vision_encoders, spec, joint)
    layout = _image_layout(tower, width)
    arrange = part_options(spec.arrange) if spec.arrange else None
    return {
        "vision_config": tower.config,
        "vision_encoder": tower.options,
        "vision_connector": tower.connector_options,
        "vision_arrange": arrange,
        "layout": options_of(layout),
    }


def describe_film(spec: TowerSpec, width: int, joint: PartSpec | None) -> dict[str, Any]:
    """Return the same for a tower of videos alone."""
    tower = _tower("model.video.tower", "vision", vision_encoders, spec, joint)
    if spec.arrange:
        raise ConfigError("model.video.tower.arrange: frames have no tiles. Leave it out.")
    return {
        "video_config": tower.config,
        "video_encoder": tower.options,
        "video_connector": tower.connector_options,
        "layout": options_of(_image_layout(tower, width)),
    }


class _Tower(NamedTuple):
    """A tower that is described but not built."""

    key: str
    spec: TowerSpec
    config: PreTrainedConfig
    kind: type[EncoderKind]
    options: dict[str, Any]
    joint: PartSpec | None

    def layout_options(self) -> dict[str, Any]:
        try:
            given = self.kind.inputs(self.config, self.options)
        except ConfigError as error:
            raise ConfigError(f"{self.key}.model_type: {error}") from error
        if self.spec.path:
            given |= read_preprocessing(self.spec.path, layouts.get(self.spec.layout.kind))
        return {"kind": self.spec.layout.kind} | given | dict(self.spec.layout.options)

    @property
    def connector_options(self) -> dict[str, Any] | None:
        return part_options(self.spec.connector) if self.spec.connector else None

    def connector(self, width: int) -> Connector | Joint:
        wide = self.kind.width(self.config, self.options)
        with torch.device("meta"):
            if self.spec.arrange:
                wide = build_arrange(part_options(self.spec.arrange), width=width).in_width(wide)
            if self.joint is not None:
                widths = dict.fromkeys(Modality, wide)
                return build_joint(part_options(self.joint), in_widths=widths, out_width=width)
            assert self.connector_options is not None
            return build_connector(self.connector_options, in_width=wide, out_width=width)


def _tower(
    key: str,
    half: str,
    kinds: Registry[type[Kind]],
    spec: TowerSpec,
    joint: PartSpec | None,
) -> _Tower:
    if (spec.connector is None) is (joint is None):
        found = "nor model.joint is set" if joint is None else "and model.joint are both set"
        word = "neither" if joint is None else "both"
        raise ConfigError(f"{key}: {word} its connector {found}. Set one of them.")
    named = spec.model_type or stored_model_type(spec.path)
    if named in kinds.names():
        kinds.get(named)  # an encoder of our own makes its model type known
    config = part_config(key, spec, half=half)
    kind, own = _kind(f"{half} encoder", config.model_type, kinds.names()), {}
    if spec.encoder:
        kind, own = spec.encoder.kind, dict(spec.encoder.options)
    options = {"kind": kind, "layer": spec.layer, "drop": spec.drop, "scale": spec.scale} | own
    return _Tower(key, spec, config, kinds.get(kind), options, joint)


def part_options(part: PartSpec) -> dict[str, Any]:
    """Return a part as `HocketConfig` stores it."""
    return {"kind": part.kind} | dict(part.options)


def _image_layout(tower: _Tower, width: int) -> ImageLayout:
    """Return the tower's layout with the connector's arithmetic folded in."""
    key, spec = tower.key, tower.spec
    layout: ImageLayout = layout_from(tower.layout_options())  # type: ignore[assignment] # the vision layouts are ImageLayouts
    connector = tower.connector(width)
    with torch.device("meta"):
        arrange = build_arrange(part_options(spec.arrange), width=width) if spec.arrange else None
    if spec.arrange is not None and connector.frame_pool > 1:
        raise ConfigError(
            f"{key}.arrange is {spec.arrange.kind!r} around a connector that "
            f"joins {connector.frame_pool} frames, whose rows it cannot tell apart. Set frames to "
            "1; the arrangement 'pyramid' averages frames itself."
        )
    one = _positions(tower, layout.plan(448, 448))
    per_unit = connector.rows(replace(one, units=2)) - connector.rows(replace(one, units=1))
    extra = connector.rows(replace(one, units=1)) - per_unit
    folded = {"rows_per_unit": per_unit, "extra_rows": extra, "frame_pool": connector.frame_pool}
    layout = layout_from(options_of(layout) | folded)  # type: ignore[assignment] # as above
    grid = tower.kind.grid(tower.config, tower.options)
    for height, wide, frames in ((448, 448, None), (900, 300, None), (64, 640, 5)):
        plan = _positions(tower, layout.plan(height, wide, frames=frames))
        if plan.patches != grid:
            raise AlignmentError(
                f"{key}: the layout cuts {plan.patches} patches, but the encoder makes {grid}. "
                "Set the layout's size and patch to the encoder's."
            )
        made = arrange.rows(plan, per_unit=per_unit) if arrange else connector.rows(plan)
        _agree(key, plan.rows, made)
    plan = layout.plan(448, 448)
    unit = layout.units(np.zeros((1, 448, 448, 3), np.uint8), plan)
    _check_features(tower, unit.shape, plan)
    return layout


def _positions(tower: _Tower, plan: Plan) -> Plan:
    """Return a plan with the tokens in front of the patches that an encoder keeps."""
    leading = int(tower.options.get("leading", 0))
    return replace(plan, patches=(1, leading + math.prod(plan.patches))) if leading else plan


def describe_audio(spec: TowerSpec, width: int, joint: PartSpec | None) -> dict[str, Any]:
    """Return the same for sounds."""
    key = "model.audio"
    tower = _tower(key, "audio", audio_encoders, spec, joint)
    layout: AudioLayout = layout_from(tower.layout_options())  # type: ignore[assignment] # the audio layouts are AudioLayouts
    connector = tower.connector(width)
    folded = _count_sound_rows(connector, layout.plan(1))
    layout = layout_from(options_of(layout) | folded)  # type: ignore[assignment] # as above
    grid = tower.kind.grid(tower.config, tower.options)
    for seconds in (0.01, 0.5, 1.0, 2.7, 61.3):
        plan = layout.plan(round(seconds * layout.rate))
        if plan.patches != grid:
            raise AlignmentError(
                f"{key}: the layout makes {plan.patches[1]} encoder frames per chunk, but "
                f"the encoder makes {grid[1]}. Set layout.chunk_seconds to match "
                "max_source_positions."
            )
        _agree(key, plan.rows, connector.rows(plan))
    plan = layout.plan(1)
    unit = layout.units(np.zeros(1, np.float32), plan)
    _check_features(tower, unit.shape, plan)
    return {
        "audio_config": tower.config,
        "audio_encoder": tower.options,
        "audio_connector": tower.connector_options,
        "layout": options_of(layout),
    }


def _kind(noun: str, model_type: str, names: list[str]) -> str:
    """A file of the model type's own name, or the general one."""
    own = model_type.replace("-", "_")
    if own in names:
        return own
    if _GENERAL not in names:
        raise UnknownNameError(noun, model_type, names)
    return _GENERAL


def _check_features(tower: _Tower, shape: tuple[int, ...], plan: Plan) -> None:
    """Run the tower once without numbers, and compare its positions with the grid it promises.

    Args:
        tower: the tower.
        shape: shape of the encoder units of `plan`.
        plan: a medium.
    """
    key, spec = tower.key, tower.spec
    depth = tower.config.to_dict().get("num_hidden_layers")
    if depth is not None and not -depth - 1 <= spec.layer <= depth:
        raise ConfigError(
            f"{key}.layer is {spec.layer}, but the encoder has the hidden states {-depth - 1} to "
            f"{depth}."
        )
    spans = torch.tensor([[plan.units, plan.rows, *plan.grid, *plan.tiles]])
    with refusals(f"{key}.config"), torch.inference_mode():
        with torch.device("meta"):
            built = tower.kind.build(tower.config)
        inputs = torch.empty(shape, device="meta")
        features = tower.kind.encode(built, inputs, tower.options, spans)
    made, promised = features.shape[1], math.prod(tower.kind.grid(tower.config, tower.options))
    if made != promised:
        raise AlignmentError(
            f"{key}: the encoder makes {made} positions with drop={spec.drop}, but its grid has "
            f"{promised}. Set drop to {spec.drop + made - promised}."
        )


def _count_sound_rows(connector: Connector | Joint, plan: Plan) -> dict[str, int]:
    """Return how many rows a chunk of sound becomes, or how many encoder frames join in one.

    Raises:
        ConfigError: a whole chunk becomes no row.
    """
    most = plan.patches[1]
    rows = [
        connector.rows(replace(plan, units=1, valid=(frames,))) for frames in range(1, most + 1)
    ]
    # Learned rows come once for every sound, whatever the number of its chunks.
    two = connector.rows(replace(plan, units=2, valid=(most, most)))
    learned = 2 * rows[-1] - two
    folded = {"extra_rows": learned} if learned else {}
    if rows[-1] == learned:
        raise ConfigError(
            f"model.audio.connector: the {most} encoder frames of a chunk become no row. "
            "Let it join fewer frames, or raise layout.chunk_seconds."
        )
    if rows[0] == learned:
        return {"frames_per_row": rows.count(learned) + 1, "drop_rest": True} | folded
    if rows[0] == rows[-1]:
        return {"rows_per_unit": rows[0] - learned} | folded
    return {"frames_per_row": sum(count == rows[0] for count in rows)} | folded


def _agree(key: str, promised: int, made: int) -> None:
    if promised != made:
        raise AlignmentError(
            f"{key}: the layout promises {promised} rows for a medium, but the connector makes "
            f"{made}. Change the layout's or the connector's options."
        )
