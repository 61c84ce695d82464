from __future__ import annotations

from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor
from transformers import AutoConfig

from hocket._errors import ConfigError
from hocket.parts.connector import build_connector
from hocket.parts.features import Features
from hocket.parts.vision import vision_encoders
from hocket.parts.vision._clips import _cut
from hocket.tokens.span import Modality

VideoMae = vision_encoders.get("videomae")
TINY: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 8,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_frames": 4,
}
WHOLE = {"layer": -1, "drop": -1, "scale": 1.0}


def spans(*frames: int) -> Tensor:
    return torch.tensor([[count, 0, count, 2, 2, 1, 1] for count in frames])


def test_frames_are_cut_into_clips_whose_last_repeats_its_last_frame() -> None:
    places, kept = _cut([5, 4, 1], 4)
    assert places == [0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8, 9, 9, 9, 9]
    assert kept == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert _cut([], 4) == ([], [])


def test_every_frame_has_the_features_of_its_tubelet() -> None:
    tower = VideoMae.build(AutoConfig.for_model("videomae", **TINY)).eval()
    frames = torch.rand(5, 3, 16, 16)
    with torch.inference_mode():
        x = VideoMae.encode(tower, frames, WHOLE, spans(5))
        clips = torch.stack([frames[:4], frames[4:].expand(4, -1, -1, -1)])
        made = tower(clips).last_hidden_state
    tubelets = rearrange(made, "b (g p) c -> b g p c", g=2)
    for frame, (clip, tubelet) in enumerate(((0, 0), (0, 0), (0, 1), (0, 1), (1, 0))):
        assert torch.equal(x[frame], tubelets[clip, tubelet])


def test_a_connector_that_pools_a_tubelet_keeps_one_copy() -> None:
    tower = VideoMae.build(AutoConfig.for_model("videomae", **TINY)).eval()
    options = {"kind": "temporal_pool", "frames": 2}
    pool = build_connector(options, in_width=24, out_width=8).eval()
    with torch.inference_mode():
        x = VideoMae.encode(tower, torch.rand(5, 3, 16, 16), WHOLE, spans(5))
        film = Features(x, (2, 2), spans=spans(5), modality=Modality.VIDEO)
        rows = pool(film)
        once = pool(Features(x[[0, 2, 4]], (2, 2)))
    torch.testing.assert_close(rows, once)


def test_a_clip_must_be_whole_tubelets() -> None:
    config = AutoConfig.for_model("videomae", **(TINY | {"num_frames": 5}))
    with pytest.raises(ConfigError, match="5 frames in tubelets of 2"):
        VideoMae.inputs(config, WHOLE)
