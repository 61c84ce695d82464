from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.parts.audio.test_whale import GOLDEN, random, vita

from hocket._errors import ConfigError, MediaError
from hocket.parts.audio.whale import WhaleModel

_TOWERS: dict[tuple[int, int, bool], WhaleModel] = {}


def tower(chunk: int, left: int, concat: bool = False) -> WhaleModel:
    key = (chunk, left, concat)
    if key not in _TOWERS:
        _TOWERS[key] = random(chunk_size=chunk, left_chunks=left, concat_after=concat)
    return _TOWERS[key]


@settings(max_examples=60, deadline=None)
@given(
    chunk=st.sampled_from([1, 3, 4]),
    left=st.sampled_from([-1, 0, 2]),
    concat=st.booleans(),
    pieces=st.lists(st.integers(0, 40), min_size=1, max_size=12),
)
def test_any_split_of_a_sound_gives_what_the_whole_sound_gives(
    chunk: int, left: int, concat: bool, pieces: list[int]
) -> None:
    whole = tower(chunk, left, concat)
    frames = torch.randn(80, sum(pieces), generator=torch.Generator().manual_seed(sum(pieces)))
    stream = whole.stream()
    made = torch.cat([*(stream.feed(piece) for piece in frames.split(pieces, 1)), stream.finish()])
    assert len(made) == max(0, (sum(pieces) - 7) // 4 + 1)
    if len(made):
        with torch.inference_mode():
            expected = whole(frames[None]).last_hidden_state[0, : len(made)]
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_a_recorded_sound_streams_to_vitas_features() -> None:
    golden, whole = load_file(GOLDEN / "features.safetensors"), vita()
    length = int(golden["whale.subsampling_mask"][0].sum())
    frames = golden["whale.input"][0, : 4 * length + 3].mT
    stream = whole.stream()
    made = torch.cat([*(stream.feed(piece) for piece in frames.split(10, 1)), stream.finish()])
    torch.testing.assert_close(made, golden["whale.encoder_out"][0, :length], rtol=0, atol=1e-5)


def test_features_come_as_soon_as_their_chunk_is_there() -> None:
    stream = tower(4, 1).stream()
    frames = torch.randn(80, 40)
    assert len(stream.feed(frames[:, : 4 * 3 + 6])) == 0
    assert len(stream.feed(frames[:, 18:19])) == 4
    assert len(stream.feed(frames[:, 19:35])) == 4
    assert len(stream.finish()) == 0


def test_memory_is_bounded_by_the_chunks_that_are_looked_at() -> None:
    stream = tower(4, 2).stream()
    for _ in range(20):
        stream.feed(torch.randn(80, 16))
    assert stream._frames.shape[1] < 4 * 4 + 7
    for heard in stream._heard:
        assert heard._kept is not None
        assert heard._kept[0].shape[2] == 8


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(ConfigError, match="chunk_size is 0"):
        random().stream()
    stream = random(chunk_size=2, max_positions=5).stream()
    with pytest.raises(MediaError, match=r"\(80, frames\)"):
        stream.feed(torch.randn(79, 3))
    with pytest.raises(MediaError, match="more than 5 positions"):
        stream.feed(torch.randn(80, 40))
    stream = tower(4, 1).stream()
    stream.finish()
    with pytest.raises(MediaError, match="has ended"):
        stream.feed(torch.randn(80, 4))
