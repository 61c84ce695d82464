"""``hocket data cache``: what it builds, what it says, damage, Ctrl-C, kills and wrong input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.train.toy_run import write_rows

from hocket.cli.main import main

SLOW = """
import time, hocket.data.features, hocket.data.featuring
from hocket.cli.main import main
hocket.data.features.SHARD_SECONDS = 0.0
hocket.data.featuring.MOST_UNITS = 1
decode = hocket.data.featuring.decode
def slow(*given):
    time.sleep(0.1)
    return decode(*given)
hocket.data.featuring.decode = slow
main({words!r})
"""
STAGE = {
    "data": {"media": 1.0},
    "trainable": {"connectors": {"match": "model.*_projector.*", "lr": 1e-3}},
    "steps": 2,
    "rows": 2,
    "tokens_per_row": 128,
}


@pytest.fixture
def words(tmp_path: Path, cache_dir: Path) -> list[str]:
    """Return the words that build the features of a small run."""
    write_rows(tmp_path / "rows")
    trains = STAGE | {"trainable": {"all": {"match": "*", "lr": 1e-3}}}
    files = {
        "data": {"datasets": {"media": {"path": "rows/media.json"}}},
        "train": {"stages": {"align": STAGE, "joint": trains, "again": STAGE}},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(
            yaml.safe_dump(content, sort_keys=False), encoding="utf-8"
        )
    groups = [f"{name}={tmp_path / name}.yaml" for name in files]
    return ["data", "cache", *groups, "model=tiny", "name=toy", f"out={tmp_path / 'out'}"]


def call(words: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(str(caught.value.code or 0))


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("features/*/[!.]*.json"))


def test_it_builds_what_training_will_ask_for(
    words: list[str], cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(words) == 0
    said = capsys.readouterr()
    assert said.out.startswith("align: 19 media (audio, image, video), ")
    assert "'again': not built for audio, image, video: an earlier stage trains" in said.err
    before = shards(cache_dir)
    assert call([*words, "--stage", "align"]) == 0
    assert "19 media, all were there" in capsys.readouterr().err
    assert shards(cache_dir) == before
    assert call([*words, "--dtype", "float32"]) == 0
    assert len(shards(cache_dir)) == 2 * len(before)


def test_a_damaged_shard_is_built_anew(
    words: list[str], cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(words) == 0
    # The others hold what is looked at before a run, not the media of the rows.
    largest = max(shards(cache_dir), key=lambda one: one.with_suffix(".safetensors").stat().st_size)
    victim = largest.with_suffix(".safetensors")
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    capsys.readouterr()
    assert call(words) == 0
    said = capsys.readouterr().err
    assert f"{victim.stem} is left out and removed: its content has changed" in " ".join(
        said.split()
    )
    assert "all were there" not in said
    assert not victim.exists()


def test_other_weights_have_other_features(words: list[str], cache_dir: Path) -> None:
    assert call(words) == 0
    before = shards(cache_dir)
    assert call([*words, "model.seed=5"]) == 0
    assert len(shards(cache_dir)) == 2 * len(before)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_a_build_that_was_stopped_goes_on(
    words: list[str], cache_dir: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(words=words)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    try:
        while process.poll() is None and len(shards(cache_dir)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in said
    kept = len(shards(cache_dir))
    assert 3 <= kept < 19
    assert call(words) == 0
    built = capsys.readouterr().err.partition("media, ")[2]
    assert int(built.split()[0]) <= 19 - kept


def test_wrong_words_are_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call([*words, "--stage", "alin"]) == 2
    assert "no stage is called 'alin'. Did you mean 'align'?" in capsys.readouterr().err
    assert call([*words, "--stage", "joint"]) == 2
    assert "no stage has features that can be kept" in capsys.readouterr().err
    assert call([*words, "train.feature_cache=sometimes"]) == 2
    assert "feature_cache" in capsys.readouterr().err
    assert call([*words, "train.feature_cache=off"]) == 2
