from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import Qwen2AudioConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioMultiModalProjector

from hocket._errors import ConfigError
from hocket.parts.connector.qwen2_audio import Qwen2Audio
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def test_it_is_transformers_projector_behind_the_pool_and_norm_of_its_encoder() -> None:
    config = Qwen2AudioConfig()
    config.audio_config.d_model, config.text_config.hidden_size = 6, 10
    twin = Qwen2AudioMultiModalProjector(config)
    pool, norm = nn.AvgPool1d(2, stride=2), nn.LayerNorm(6)
    nn.init.normal_(norm.weight)
    x = torch.randn(2, 8, 6)
    pooled = pool(x.mT).mT
    plain = Qwen2Audio(Qwen2Audio.Config(), in_width=6, out_width=10)
    plain.load_state_dict(twin.state_dict())
    assert torch.equal(plain(Features(x, (1, 8))), twin(pooled).flatten(0, 1))
    normed = Qwen2Audio(Qwen2Audio.Config(norm=True), in_width=6, out_width=10)
    normed.linear.load_state_dict(twin.linear.state_dict())
    normed.layer_norm.load_state_dict(norm.state_dict())
    assert torch.equal(normed(Features(x, (1, 8))), twin(norm(pooled)).flatten(0, 1))


def test_behind_an_encoder_that_pools_it_is_one_layer() -> None:
    connector = Qwen2Audio(Qwen2Audio.Config(pool=1), in_width=6, out_width=10)
    x = torch.randn(2, 3, 6)
    assert torch.equal(connector(Features(x, (1, 3))), connector.linear(x).flatten(0, 1))


def test_frames_that_fill_no_row_are_dropped() -> None:
    connector = Qwen2Audio(Qwen2Audio.Config(), in_width=1, out_width=1)
    connector.linear = nn.Identity()  # type: ignore[assignment] # to see what comes in
    x = torch.tensor([[1.0, 3.0, 5.0, 7.0, 9.0], [2.0, 4.0, 6.0, 100.0, 100.0]])[..., None]
    rows = connector(Features(x, (1, 5), lengths=torch.tensor([5, 3])))
    assert rows.flatten().tolist() == [2, 6, 3]
    plan = Plan(units=2, patches=(1, 5), rows=3, grid=(3, 1, 1), valid=(5, 3))
    assert connector.rows(plan) == len(rows)
    assert connector.rows(replace(plan, valid=None)) == 4


def test_no_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="pool is 0"):
        Qwen2Audio(Qwen2Audio.Config(pool=0), in_width=6, out_width=10)
