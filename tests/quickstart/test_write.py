"""The data set is whole, repeatable and ordinary, and its held-out part was never seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile
import yaml

from hocket._errors import DataError, MachineError
from hocket.media.frames import Uniform
from hocket.media.video import Video
from hocket.quickstart.questions import TASKS
from hocket.quickstart.speech import HELDOUT_VOICES, TRAIN_VOICES
from hocket.quickstart.write import DatasetInfo, Sizes, SplitSizes, write_dataset

TINY = Sizes(
    train=SplitSizes(
        pictures=40,
        repeats=1,
        orders=4,
        motions=4,
        files={
            "train/vision.json": {"digit": 80, "order": 4, "motion": 4},
            "train/audio.json": {"word": 336},
            "train/joint.json": dict.fromkeys(TASKS, 10),
            "train/text.json": {"arithmetic": 10, "string": 10},
        },
    ),
    heldout=SplitSizes(
        pictures=20, repeats=1, orders=4, motions=4, files={"heldout.json": dict.fromkeys(TASKS, 5)}
    ),
)


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> DatasetInfo:
    return write_dataset(tmp_path_factory.mktemp("tiny") / "set", seed=0, sizes=TINY)


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(rows, list)
    return rows


def media_of(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield from (row[kind] for kind in ("image", "audio", "video") if kind in row)


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_counts_are_true(info: DatasetInfo) -> None:
    assert {path: len(rows_of(info.root / path)) for path in info.rows} == dict(info.rows)
    assert info.rows["train/vision.json"] == 88
    assert (info.pictures, info.sounds, info.videos) == (60, (24 + 4) * 14, 16)
    assert info.train_voices == TRAIN_VOICES


def test_every_medium_exists_and_ids_are_unique(info: DatasetInfo) -> None:
    rows = [row for path in info.rows for row in rows_of(info.root / path)]
    assert all((info.root / path).is_file() for path in media_of(rows))
    assert len({row["id"] for row in rows}) == len(rows)


def test_nothing_held_out_is_trained_on(info: DatasetInfo) -> None:
    train = set(media_of([row for path in info.train.values() for row in rows_of(path)]))
    heldout = set(media_of(rows_of(info.heldout)))
    assert heldout
    assert not train & heldout
    assert {_voice(path) for path in heldout if "audio" in path} <= set(HELDOUT_VOICES)
    assert {_voice(path) for path in train if "audio" in path} == set(TRAIN_VOICES)


def test_media_are_what_they_should_be(info: DatasetInfo) -> None:
    by_task = {row["task"]: row for row in rows_of(info.heldout)}
    with PIL.Image.open(info.root / by_task["digit"]["image"]) as picture:
        assert (picture.size, picture.mode, picture.format) == ((32, 32), "RGB", "PNG")
    sound = soundfile.info(info.root / by_task["word"]["audio"])
    assert (sound.samplerate, sound.channels, sound.subtype) == (22050, 1, "PCM_16")
    for task in ("order", "motion"):
        frames, _ = Video.from_path(info.root / by_task[task]["video"]).load(Uniform(8))
        assert frames.shape == (8, 32, 32, 3)
        assert frames.std() > 10


def test_data_yaml_names_every_file(info: DatasetInfo) -> None:
    document = yaml.safe_load((info.root / "data.yaml").read_text(encoding="utf-8"))
    named = {entry["path"] for part in document.values() for entry in part.values()}
    assert named == set(info.rows)
    assert set(document["datasets"]) == set(info.train)
    assert 10 <= len((info.root / "README.md").read_text(encoding="utf-8").splitlines()) <= 25


def test_same_seed_gives_the_same_bytes(info: DatasetInfo, tmp_path: Path) -> None:
    again = write_dataset(tmp_path / "again", seed=0, sizes=TINY)
    first, second = files_of(info.root), files_of(again.root)
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []


def test_another_seed_holds_out_other_scans(info: DatasetInfo, tmp_path: Path) -> None:
    small = Sizes(
        train=SplitSizes(pictures=1, repeats=1, orders=0, motions=0, files={}),
        heldout=SplitSizes(pictures=20, repeats=1, orders=0, motions=0, files={"h.json": {}}),
    )
    other = write_dataset(tmp_path / "other", seed=1, sizes=small)
    mine, theirs = ({p.name for p in (i.root / "images").iterdir()} for i in (info, other))
    assert mine != theirs


def test_progress_ends_at_the_end(tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    small = Sizes(
        train=SplitSizes(pictures=30, repeats=1, orders=2, motions=2, files={}),
        heldout=SplitSizes(pictures=5, repeats=1, orders=0, motions=0, files={"h.json": {}}),
    )
    write_dataset(
        tmp_path / "set",
        seed=0,
        sizes=small,
        progress=lambda noun, done, total: seen.setdefault(noun, []).append((done, total)),
    )
    assert seen["train pictures"] == [(0, 30), (25, 30), (30, 30)]
    for steps in seen.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_dataset(tmp_path, seed=0, sizes=TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        write_dataset(tmp_path / "file" / "set", seed=0, sizes=TINY)


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(noun: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", seed=0, sizes=TINY, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_sizes_offered_can_be_made() -> None:
    for sizes in (Sizes.full(), Sizes.fast()):
        assert set(sizes.heldout.files["heldout.json"]) == set(TASKS)
        for split, voices in ((sizes.train, TRAIN_VOICES), (sizes.heldout, HELDOUT_VOICES)):
            sounds = len(voices) * 14 * split.repeats
            asked = [tasks for name, tasks in split.files.items() if "joint" not in name]
            assert sum(tasks.get("order", 0) for tasks in asked) == split.orders
            assert sum(tasks.get("motion", 0) for tasks in asked) == split.motions
            assert sum(tasks.get("word", 0) for tasks in asked) <= sounds


def _voice(path: str) -> str:
    return path.removeprefix("audio/").split("-")[0]


def test_flac_is_neither_silent_nor_long(info: DatasetInfo) -> None:
    for path in sorted((info.root / "audio").iterdir())[::20]:
        samples, rate = soundfile.read(path)
        assert 0.2 < len(samples) / rate < 1.0
        assert np.sqrt(np.mean(samples**2)) > 0.01
