from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.connector.resampler import Resampler, ResamplerLayer
from hocket.parts.features import Features
from hocket.tokens.span import Modality, Plan


def made(**options: int) -> Resampler:
    torch.manual_seed(0)
    config = Resampler.Config(**{"queries": 3, "heads": 2} | options)
    return Resampler(config, in_width=4, out_width=5).eval()


def test_queries_read_the_features_and_each_other() -> None:
    torch.manual_seed(0)
    layer = ResamplerLayer(4, heads=2, expansion=2)
    queries, x = torch.randn(3, 4), torch.randn(6, 4)
    own, read = layer.norm_queries(queries), layer.norm_features(x)
    source = torch.cat([read, own])
    key, value = layer.key_value(source).chunk(2, dim=-1)
    heads: list[Tensor] = []
    for head in (slice(0, 2), slice(2, 4)):
        scores = layer.query(own)[:, head] @ key[:, head].T / 2**0.5
        heads.append(scores.softmax(dim=-1) @ value[:, head])
    hidden = queries + layer.out(torch.cat(heads, dim=-1))
    expected = hidden + layer.linear_2(layer.act(layer.linear_1(layer.norm_mlp(hidden))))
    result = layer(queries[None], x[None], torch.ones(1, 6, dtype=torch.bool))[0]
    torch.testing.assert_close(result, expected)


def test_a_sounds_padding_is_not_read() -> None:
    connector = made()
    x = torch.randn(2, 6, 4)
    rows = connector(Features(x, (1, 6), lengths=torch.tensor([6, 4])))
    alone = connector(Features(x[1:, :4], (1, 4)))
    torch.testing.assert_close(rows[3:], alone)


def test_frames_of_a_video_are_read_together_and_in_any_order() -> None:
    connector = made(frames=2)
    x = torch.randn(4, 6, 4)
    spans = torch.tensor([[3, 0, 2, 1, 3, 1, 1], [1, 0, 1, 1, 3, 1, 1]])
    given = Features(x, (1, 6), spans=spans, modality=Modality.VIDEO)
    rows = connector(given).unflatten(0, (-1, 3))
    both = connector(Features(x[:2].reshape(1, 12, 4), (1, 12)))
    torch.testing.assert_close(rows[0], both)
    torch.testing.assert_close(rows[1], connector(Features(x[2:3], (1, 6))))
    torch.testing.assert_close(rows[2], connector(Features(x[3:], (1, 6))))
    swapped = connector(given._replace(x=x[[1, 0, 2, 3]])).unflatten(0, (-1, 3))
    torch.testing.assert_close(swapped, rows)
    one = Plan(units=1, patches=(2, 3), rows=3, grid=(1, 1, 3))
    assert [connector.rows(one.repeat(count, pool=2)) for count in (1, 2, 3)] == [3, 3, 6]


@pytest.mark.parametrize("option", ["queries", "depth", "heads", "expansion", "frames"])
def test_nothing_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is 0, expected 1 or more"):
        made(**{option: 0})


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 heads do not divide the encoder's width, 4"):
        made(heads=3)
