"""The scans are real, split by image, and drawn so that they can be read."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hocket._errors import ConfigError, MissingExtraError
from hocket.quickstart.digits import draw, load_scans, split_scans


def test_scans_are_all_there() -> None:
    scans = load_scans()
    assert scans.ink.shape == (1797, 8, 8)
    assert scans.ink.dtype == np.uint8
    assert scans.ink.max() == 16
    assert np.array_equal(np.unique(scans.labels), np.arange(10))


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"scikit-learn.*hocket\[quickstart\]"):
        load_scans()


def test_split_shares_no_scan_and_loses_none() -> None:
    labels = load_scans().labels
    train, heldout = split_scans(labels, seed=3)
    assert np.array_equal(np.sort(np.concatenate([train, heldout])), np.arange(len(labels)))
    assert len(heldout) / len(labels) == pytest.approx(0.2, abs=0.005)


def test_split_keeps_the_share_of_each_digit() -> None:
    labels = load_scans().labels
    _, heldout = split_scans(labels, seed=3)
    for digit in range(10):
        share = (labels[heldout] == digit).sum() / (labels == digit).sum()
        assert share == pytest.approx(0.2, abs=0.005)


def test_split_depends_on_the_seed_alone() -> None:
    labels = load_scans().labels
    first, again, other = (split_scans(labels, seed=seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        split_scans(np.arange(10), seed=0, heldout_share=share)


def test_ink_is_dark_and_paper_white() -> None:
    ink = np.zeros((8, 8), np.uint8)
    ink[:4] = 16
    picture = draw(ink, side=32)
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    assert picture[:8].max() == 0
    assert picture[24:].min() == 255


def test_half_ink_is_grey() -> None:
    picture = draw(np.full((8, 8), 8, np.uint8), side=16)
    assert picture.shape == (16, 16, 3)
    assert np.unique(picture).tolist() == [128]
