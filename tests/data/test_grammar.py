from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hocket._errors import ConfigError, UnknownNameError
from hocket.data.grammar import Resolved, read_mixture
from hocket.data.spec import DatasetSpec

SETS = {name: DatasetSpec(path=f"{name}.json") for name in ("r2r", "rxr", "ScanQA", "a-b.c")}
MIXTURES = {"walk": "r2r+rxr*2", "all": "walk:0.5+ScanQA", "me": "me+r2r", "x": "y", "y": "x"}


def read(text: str) -> Resolved:
    return read_mixture(text, datasets=SETS, mixtures=MIXTURES, subsets="slices")


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("r2r", {"r2r": 1}),
        ("r2r+rxr", {"r2r": 1, "rxr": 1}),
        (" rxr + r2r ", {"rxr": 1, "r2r": 1}),
        ("r2r*3", {"r2r": 3}),
        ("r2r:0.25", {"r2r": 0.25}),
        ("r2r*2:0.5+ScanQA", {"r2r": 1, "ScanQA": 1}),
        ("r2r:0.5*2", {"r2r": 1}),
        ("r2r+r2r", {"r2r": 2}),
        ("a-b.c*2", {"a-b.c": 2}),
        ("walk", {"r2r": 1, "rxr": 2}),
        ("all*2", {"r2r": 1, "rxr": 2, "ScanQA": 2}),
        ("r2r*1e1", {"r2r": 10}),
    ],
)
def test_weights(text: str, weights: dict[str, float]) -> None:
    assert read(text) == (weights, {})
    assert list(read(text).weights) == list(weights)


@pytest.mark.parametrize("text", ["r2r*2@easy:0.5", "r2r@easy*2:0.5", "r2r:0.5@easy*2"])
def test_a_subset_is_a_data_set_of_its_own(text: str) -> None:
    weights, datasets = read(f"{text}+r2r")
    assert weights == {"r2r@easy": 1, "r2r": 1}
    assert datasets == {
        "r2r@easy": DatasetSpec(path="r2r.json", without_rows="slices/easy/r2r.json")
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' cannot be read"),
        ("r2r+", "'' cannot be read"),
        ("*2", r"'\*2' cannot be read"),
        ("r2r*", "'' in 'r2r\\*' is no number above 0"),
        ("r2r*x", "'x' in"),
        ("r2r:-1", "'-1' in"),
        ("r2r:0", "'0' in"),
        ("r2r*nan", "'nan' in"),
        ("r2r*inf", "'inf' in"),
        ("r2r*2*3", r"has one of \* @ : twice"),
        ("me", r"data\.mixtures\.me holds itself: me -> me"),
        ("x", r"holds itself: x -> y -> x"),
        ("walk@easy", "walk is a mixture, and only a data set"),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(text)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"no data set or mixture is called 'rxrr'.*'rxr'"):
        read("rxrr+rxr")


@given(st.text(alphabet="r2x*@:+. 1", max_size=12))
def test_every_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        weights, _ = read(text)
    except (ConfigError, UnknownNameError) as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert weights and all(weight > 0 for weight in weights.values())
