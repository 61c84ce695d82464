"""The history is NaVILA's, black frames in front included."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hocket.media.frames import BLANK, History

GOLDEN = Path(__file__).parents[2] / "golden" / "pure_navila"


def navila(frames: list[int], count: int) -> list[int]:
    """NaVILA's rule in its own order: first fill the list, then sample it."""
    filled = [BLANK] * max(0, count - len(frames)) + frames
    last = len(filled) - 1
    past = np.linspace(0, last, num=count - 1, endpoint=False, dtype=int)
    return [filled[i] for i in past] + [filled[last]]


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
def test_history_is_the_formula(frames: int) -> None:
    for count in range(1, 70):
        assert History(frames).pick(count, 1.0) == navila(list(range(count)), frames)


def test_recorded_histories() -> None:
    """All rows, the empty history too, though no `Video` has none: the evaluation pads alike."""
    recorded = json.loads((GOLDEN / "vlnce_frame_sampling.json").read_text())["vectors"]
    assert len(recorded) == 129
    for row in recorded:
        picked = History(row["num_frames"]).pick(row["n"], 0.0)
        assert picked == row["vlnce_frame_sampling"], row
        assert row["sample_and_pad_images"] in (None, picked), row


def test_recorded_histories_of_files() -> None:
    """Black frames are recorded as 0. The original gives only black ones for a rate of 0.

    The rule needs no rate, so we read such a file. The original reads a file that claims too many
    frames up to its end, which is what a history of the frames that are there gives.
    """
    recorded = json.loads((GOLDEN / "opencv_frames.json").read_text())["vectors"]
    assert len(recorded) == 82
    for row in recorded:
        count, frames = row.get("frames_readable", row["frame_count"]), row["num_frames"]
        picked = History(frames).pick(count, row["fps"])
        if row["fps"] == 0:
            assert row["vlnce"]["index"] == [BLANK] * frames
            assert picked[-1] == count - 1
        else:
            assert [max(0, index) for index in picked] == row["vlnce"]["index"], row
