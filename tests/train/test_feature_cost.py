"""The estimate says what building costs and decides by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from tests.data.test_featuring import build, known, loader
from tests.toy import toy, write_rows
from torch import Tensor

from hocket.tokens.span import Modality
from hocket.train.feature_cost import LEAST_GAIN_SECONDS, Encode, Estimate, estimate

SLOW_SECONDS = 0.05


class Clock:
    """A time that passes in a tower only, 0.05 s a unit."""

    seconds = 0.0

    def slow(
        self, modality: Modality, inputs: Tensor, spans: Tensor, lengths: Tensor | None
    ) -> Tensor:
        self.seconds += SLOW_SECONDS * len(inputs)
        return torch.zeros(len(inputs), 16, 32)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Encode:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.seconds)
    return clock.slow


def test_it_counts_what_is_missing_and_what_is_shown(tmp_path: Path, slow: Encode) -> None:
    file = write_rows(tmp_path)
    features = known(tmp_path)
    samples = loader(file)
    found = estimate(samples, toy().processor, features, slow, steps=100)
    assert found is not None
    assert found.media == 9
    more = estimate(samples, toy().processor, features, slow, steps=200)
    assert more is not None
    assert more.saved_seconds == pytest.approx(2 * found.saved_seconds)
    assert found.build_seconds >= 9 * SLOW_SECONDS
    assert found.disk_bytes > 9 * 16 * 32 * 4
    build(file, features)
    rest = estimate(samples, toy().processor, features, slow, steps=100)
    assert rest is not None
    assert (rest.media, rest.build_seconds, rest.disk_bytes) == (0, 0, 0)


def test_data_without_media_has_nothing_to_keep(tmp_path: Path, slow: Encode) -> None:
    file = write_rows(tmp_path)
    features = known(tmp_path, frozenset())
    assert estimate(loader(file), toy().processor, features, slow, steps=10) is None


@pytest.mark.parametrize(
    ("build_seconds", "saved_seconds", "pays"),
    [
        (100.0, 100.0 + 2 * LEAST_GAIN_SECONDS, True),
        (1000.0, 1100.0, False),
        (0.1, 10.0, False),
        (0.0, LEAST_GAIN_SECONDS, True),
        (10.0, -5.0, False),
    ],
)
def test_it_pays_when_clearly_more_is_saved(
    build_seconds: float, saved_seconds: float, pays: bool
) -> None:
    found = Estimate(
        media=1200, build_seconds=build_seconds, saved_seconds=saved_seconds, disk_bytes=4e8
    )
    assert found.pays is pays
    assert "1,200 media to build in about" in found.told() and "0.4 GB" in found.told()
