from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.toy import assistant, talk, user, write_rows

from hocket._errors import ConfigError, DataError, UnknownNameError
from hocket.chat.conversation import Conversation
from hocket.data.mixture import Mixture, SampleRef, open_source
from hocket.data.sources import Source
from hocket.data.spec import DatasetSpec


class Rows:
    """A source of numbered conversations."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Conversation:
        return talk(user("Which?"), assistant(f"row {index}"), name=str(index))


def mixture(seed: int = 0, **weights: tuple[int, float]) -> Mixture:
    parts: dict[str, tuple[Source, float]] = {
        name: (Rows(count), weight) for name, (count, weight) in weights.items()
    }
    return Mixture(parts, seed=seed)


@given(
    seed=st.integers(0, 5),
    positions=st.lists(st.integers(0, 90), max_size=30),
)
def test_the_order_is_a_pure_function_of_seed_and_position(seed: int, positions: list[int]) -> None:
    straight = mixture(seed, a=(7, 1.0), b=(3, 1.5))
    expected = [straight.ref(position) for position in range(91)]
    wild = mixture(seed, a=(7, 1.0), b=(3, 1.5))
    for position in positions:
        assert wild.ref(position) == expected[position]


def test_epochs_and_seeds_have_different_orders() -> None:
    one = mixture(0, a=(50, 1.0))
    first = [one.ref(at).row for at in range(50)]
    second = [one.ref(at).row for at in range(50, 100)]
    other = [mixture(1, a=(50, 1.0)).ref(at).row for at in range(50)]
    assert first != second
    assert first != other
    assert first != sorted(first)


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 3))
def test_weight_one_shows_every_sample_once_an_epoch(few: int, more: int, epoch: int) -> None:
    parts = {"a": (few, 1.0)} | ({"b": (more, 1.0)} if more else {})
    one = mixture(2, **parts)
    assert len(one) == few + more
    start = epoch * len(one)
    seen = [one.ref(at) for at in range(start, start + len(one))]
    rows = [("a", row) for row in range(few)] + [("b", row) for row in range(more)]
    assert sorted((ref.dataset, ref.row) for ref in seen) == rows
    assert {ref.epoch for ref in seen} == {epoch}


def test_weights_repeat_and_thin() -> None:
    one = mixture(0, often=(4, 2.0), half=(10, 0.5), odd=(4, 1.25), never=(5, 0.0))
    assert len(one) == 8 + 5 + 5
    halves = []
    for epoch in range(2):
        refs = [one.ref(at) for at in range(epoch * len(one), (epoch + 1) * len(one))]
        counts = Counter((ref.dataset, ref.row) for ref in refs)
        assert [counts["often", row] for row in range(4)] == [2, 2, 2, 2]
        assert sorted(counts["odd", row] for row in range(4)) == [1, 1, 1, 2]
        assert not [name for name, _ in counts if name == "never"]
        half = {row for name, row in counts if name == "half"}
        assert len(half) == 5
        halves.append(half)
    assert halves[0] != halves[1]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_without_meaning_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"data set 'a': weight is (-1|nan|inf)"):
        mixture(0, a=(3, weight))


def test_an_empty_mixture_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds no samples"):
        mixture(0, a=(3, 0.1))


def test_samples_are_read_from_their_source(tmp_path: Path) -> None:
    source = open_source("a", DatasetSpec(path=str(write_rows(tmp_path))))
    one = Mixture({"a": (source, 1.0)}, seed=0)
    assert one.read(SampleRef(0, "a", 3)).id == "row-3"
    assert "Number 3." in set(one.texts())
    with pytest.raises(UnknownNameError, match="no data set is called 'b'"):
        one.read(SampleRef(0, "b", 3))


def test_what_is_wrong_with_a_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.datasets\.mine\.path is empty"):
        open_source("mine", DatasetSpec(path=""))
    with pytest.raises(UnknownNameError, match="no source is called 'jsn'"):
        open_source("mine", DatasetSpec(path="x", source="jsn"))
    with pytest.raises(UnknownNameError, match=r"no reader is called 'lava'. Did you mean 'llava'"):
        open_source("mine", DatasetSpec(path="x", reader="lava"))
    with pytest.raises(DataError, match="no data file"):
        open_source("mine", DatasetSpec(path=str(tmp_path / "none.json")))


def test_orders_are_shuffled_without_bias() -> None:
    one = mixture(0, a=(5, 1.0))
    firsts = Counter(one.ref(5 * epoch).row for epoch in range(1000))
    assert np.ptp(list(firsts.values())) < 100
