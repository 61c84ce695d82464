from __future__ import annotations

import pytest
import torch
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from hocket._errors import ConfigError
from hocket.parts.connector.qformer import Qformer
from hocket.parts.features import Features
from hocket.tokens.span import Modality


def made(**options: float) -> Qformer:
    torch.manual_seed(0)
    config = Qformer.Config(**{"queries": 3, "heads": 2, "width": 8} | options)
    return Qformer(config, in_width=4, out_width=5).eval()


def test_it_is_transformers_qformer_and_a_layer() -> None:
    connector = made()
    config = Blip2QFormerConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        cross_attention_frequency=2,
        encoder_hidden_size=4,
    )
    twin = Blip2QFormerModel(config).eval()
    twin.load_state_dict(connector.qformer.state_dict(), strict=True)
    x = torch.randn(2, 6, 4)
    queries = connector.query_tokens.expand(2, -1, -1)
    hidden = twin(query_embeds=queries, encoder_hidden_states=x).last_hidden_state
    expected = connector.language_projection(hidden).flatten(0, 1)
    torch.testing.assert_close(connector(Features(x, (2, 3))), expected, rtol=0, atol=1e-6)


def test_a_sounds_padding_is_not_read() -> None:
    connector = made()
    x = torch.randn(2, 6, 4)
    rows = connector(Features(x, (1, 6), lengths=torch.tensor([6, 4])))
    torch.testing.assert_close(rows[3:], connector(Features(x[1:, :4], (1, 4))))


def test_frames_of_a_video_are_read_together() -> None:
    connector = made(frames=2)
    x = torch.randn(3, 6, 4)
    spans = torch.tensor([[3, 0, 2, 1, 3, 1, 1]])
    rows = connector(Features(x, (2, 3), spans=spans, modality=Modality.VIDEO))
    both = connector(Features(x[:2].reshape(1, 12, 4), (1, 12)))
    torch.testing.assert_close(rows[:3], both)
    assert len(rows) == 6


def test_impossible_options_are_refused() -> None:
    for option in ("queries", "depth", "heads", "expansion", "cross_every", "frames"):
        with pytest.raises(ConfigError, match=f"{option} is 0, expected 1 or more"):
            made(**{option: 0})
    with pytest.raises(ConfigError, match="3 heads do not divide the width, 8"):
        made(heads=3)
    with pytest.raises(ConfigError, match=r"dropout is 1\.0"):
        made(dropout=1.0)
