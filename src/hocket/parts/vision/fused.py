"""Several towers side by side on the same picture, joined on the channels: SigLIP with DINOv2.

The layout hands over pixels from 0 to 1 at the largest size; each tower gets them at its own size
and with its own statistics. Where the grids differ, the features are resized to the first tower's.

Letters: U pictures, S side of a picture in pixels, P positions, C width, h and w positions along
the sides of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from hocket._errors import ConfigError
from hocket._options import read_options
from hocket.parts.encoder import EncoderKind, NoOptions, Options, own_options
from hocket.parts.vision import vision_encoders
from hocket.parts.vision.hf import check_size

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class FusedTower:
    """One of the towers.

    Attributes:
        model_type: transformers model type of the tower.
        config: options of its transformers configuration.
        encoder: how it is read, ``{"kind", ...options}``; empty for the file of the model type's
            own name, or ``hf``.
        layer: index of the hidden state used; -1 is the tower's own last output.
        drop: leading positions that show no patch; -1 for the tower's own.
        mean: per-channel mean that the tower was trained with.
        std: per-channel standard deviation that the tower was trained with.
    """

    model_type: str
    config: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    layer: int = -1
    drop: int = -1
    mean: Colour = (0.5, 0.5, 0.5)
    std: Colour = (0.5, 0.5, 0.5)


_DEFAULT = (
    {"model_type": "siglip_vision_model"},
    {
        "model_type": "dinov2",
        "config": {"image_size": 224},
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    },
)


class FusedConfig(PreTrainedConfig):  # type: ignore[misc] # transformers ships no types
    """The towers.

    Attributes:
        towers: options of `FusedTower`, one dictionary for each tower; none stands for SigLIP and
            DINOv2.
    """

    model_type = "fused"

    towers: list[dict[str, Any]] | None = None


class Member(NamedTuple):
    """A tower that is described but not built."""

    spec: FusedTower
    config: PreTrainedConfig
    kind: type[EncoderKind]
    options: dict[str, Any]


def members(config: FusedConfig) -> list[Member]:
    """Return the towers of a configuration.

    Raises:
        ConfigError: there is none, or one of them is impossible.
    """
    given = _DEFAULT if config.towers is None else config.towers
    if not given:
        raise ConfigError("'fused': towers is empty, expected one or more.")
    return [_member(dict(one)) for one in given]


def _member(options: dict[str, Any]) -> Member:
    spec = read_options("fused tower", FusedTower, options)
    names = vision_encoders.names()
    if spec.model_type in names:
        vision_encoders.get(spec.model_type)  # makes its configuration known
    kind = spec.encoder.get("kind", spec.model_type if spec.model_type in names else "hf")
    reading = {"layer": spec.layer, "drop": spec.drop} | spec.encoder | {"kind": kind}
    inner = AutoConfig.for_model(spec.model_type, **spec.config)
    return Member(spec, inner, vision_encoders.get(str(kind)), reading)


class FusedModel(PreTrainedModel):  # type: ignore[misc] # transformers ships no types
    """The towers; its output are their features, joined on the channels."""

    config_class = FusedConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self.members = members(config)
        self.towers = nn.ModuleList(one.kind.build(one.config) for one in self.members)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> BaseModelOutput:
        """Turn pictures (U, 3, S, S) from 0 to 1 into (U, P, C)."""
        high, wide = Fused.grid(self.config, {})
        parts = []
        for one, tower in zip(self.members, self.towers, strict=True):
            x = one.kind.encode(tower, _prepare(one, pixel_values), one.options, None)
            height, width = one.kind.grid(one.config, one.options)
            if (height, width) != (high, wide):
                maps = rearrange(x, "u (h w) c -> u c h w", h=height)
                # Interpolated in float32, as every size is.
                maps = functional.interpolate(maps.float(), size=(high, wide), mode="bilinear")
                x = rearrange(maps, "u c h w -> u (h w) c").to(x)
            parts.append(x)
        return BaseModelOutput(last_hidden_state=torch.cat(parts, dim=-1))


def _prepare(one: Member, pixels: Tensor) -> Tensor:
    """Return pictures (U, 3, S, S) from 0 to 1 at a tower's size and with its statistics."""
    given = one.kind.inputs(one.config, one.options)
    size = given["size"]
    x = pixels.float()
    if x.shape[-2:] != (size, size):
        x = functional.interpolate(x, size=(size, size), mode="bicubic", antialias=True)
    # A tower that normalises by itself says so in its own inputs.
    mean, std = given.get("mean", one.spec.mean), given.get("std", one.spec.std)
    return ((x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]).to(pixels)


AutoConfig.register("fused", FusedConfig, exist_ok=True)
AutoModel.register(FusedConfig, FusedModel, exist_ok=True)


@vision_encoders.register
class Fused:
    """Towers of square pictures; takes float (U, 3, S, S) from 0 to 1."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the towers with random weights."""
        return FusedModel(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the sum of the towers' widths."""
        return sum(one.kind.width(one.config, one.options) for one in members(config))

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the positions of the first tower as (height, width)."""
        first = members(config)[0]
        return first.kind.grid(first.config, first.options)

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the largest side, what a position shows, and the identity of pixels.

        Raises:
            ConfigError: a tower takes no square pictures, a hidden state is chosen for all, or an
                option is unknown.
        """
        own_options("vision encoder", NoOptions, options)
        if options["layer"] != -1 or options["drop"] > 0:
            raise ConfigError(
                f"vision encoder 'fused': layer is {options['layer']} and drop {options['drop']}, "
                "which are said for each tower. Leave them at -1 and 0."
            )
        sizes = []
        for one in members(config):
            given = one.kind.inputs(one.config, one.options)
            if "size" not in given:
                raise ConfigError(
                    f"'fused': {one.spec.model_type!r} takes no square pictures. Choose another."
                )
            sizes.append(int(given["size"]))
        size, (side, _) = max(sizes), Fused.grid(config, options)
        plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        return {"size": size, "patch": size // side, "side": side} | plain

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of pictures (U, 3, S, S).

        Raises:
            AlignmentError: the pictures have another size than the largest tower's.
        """
        check_size("fused", inputs, Fused.inputs(tower.config, options)["size"])
        return tower(pixel_values=inputs).last_hidden_state
