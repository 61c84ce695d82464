"""Towers of whole clips: frames go in one by one as units, and come out with what they showed.

Such a tower reads a fixed number of frames at once and joins every few of them in a tubelet. The
frames of a video are cut into clips; the last clip repeats its last frame, and what it makes of the
repetitions is thrown away. Every frame gets the features of its tubelet, so units and frames stay
one to one; a connector that pools as many frames as a tubelet has (``temporal_pool``) keeps one
copy of them. A still picture is a film of one frame.

Letters: U frames, B clips, T frames of a clip, G tubelets of a clip, S side of a frame in pixels,
P positions of a frame, C width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.parts.encoder import NoOptions, Options, own_options
from hocket.parts.vision.hf import check_size, only_patches


class Clip(NamedTuple):
    """What a tower takes at once.

    Attributes:
        frames: frames of a clip.
        tubelet: frames of a tubelet.
        size: side of a frame in pixels.
        patch: side of a patch in pixels.
    """

    frames: int
    tubelet: int
    size: int
    patch: int


class ClipEncoder(ABC):
    """Built by ``AutoModel.from_config``; takes float (U, 3, S, S), the frames of all videos."""

    @staticmethod
    @abstractmethod
    def clip(config: PreTrainedConfig) -> Clip:
        """Return what the tower takes at once."""

    @staticmethod
    @abstractmethod
    def read(tower: PreTrainedModel, clips: Tensor, layer: int) -> Tensor:
        """Return (B, positions, C) of clips (B, T, 3, S, S), tubelet by tubelet."""

    @classmethod
    def build(cls, config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return AutoModel.from_config(config)

    @classmethod
    def width(cls, config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @classmethod
    def grid(cls, config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the positions of a frame as (height, width)."""
        clip = cls.clip(config)
        return clip.size // clip.patch, clip.size // clip.patch

    @classmethod
    def inputs(cls, config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the side of a frame and of a patch in pixels.

        Raises:
            ConfigError: a clip is not made of whole tubelets, or an option is unknown.
        """
        own_options("vision encoder", NoOptions, options)
        clip = cls.clip(config)
        if clip.frames % clip.tubelet:
            raise ConfigError(
                f"{config.model_type!r} takes {clip.frames} frames in tubelets of {clip.tubelet}. "
                "Choose a multiple."
            )
        return {"size": clip.size, "patch": clip.patch}

    @classmethod
    def encode(
        cls, tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of frames (U, 3, S, S); a frame has the features of its tubelet.

        Raises:
            AlignmentError: the frames have another size than the tower's.
        """
        clip = cls.clip(tower.config)
        check_size(tower.config.model_type, inputs, clip.size)
        counts = [1] * len(inputs) if spans is None else spans[:, 0].tolist()
        places, kept = _cut(counts, clip.frames)
        clips = rearrange(
            inputs[torch.tensor(places, device=inputs.device, dtype=torch.int64)],
            "(b t) c h w -> b t c h w",
            t=clip.frames,
        )
        high, wide = cls.grid(tower.config, options)
        tubelets = clip.frames // clip.tubelet
        x = cls.read(tower, clips, options["layer"])
        x = only_patches(x, drop=options["drop"], grid=(tubelets * high, wide))
        x = rearrange(x, "b (g p) c -> (b g) p c", p=high * wide)
        owners = [place // clip.tubelet for place in kept]
        return x[torch.tensor(owners, device=x.device, dtype=torch.int64)]


def _cut(counts: list[int], frames: int) -> tuple[list[int], list[int]]:
    """Cut runs of frames into clips.

    Args:
        counts: frames of each video.
        frames: frames of a clip.

    Returns:
        The frame at every place of the clips, and the place of every frame.
    """
    places: list[int] = []
    kept: list[int] = []
    start = 0
    for count in counts:
        kept += range(len(places), len(places) + count)
        places += range(start, start + count)
        places += [start + count - 1] * (-count % frames)
        start += count
    return places, kept
