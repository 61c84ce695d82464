"""A run whose features are all there never reads the weights of its tower."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.test_features import OFF, ON, StoppedError, frozen
from tests.train.test_resume import StopAt
from tests.train.toy_run import data_spec, losses, model_spec, write_rows
from transformers import SiglipVisionConfig, SiglipVisionModel

import hocket.model.fingerprint
import hocket.train.fingerprints
from hocket._errors import CheckpointError
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DataSpec
from hocket.model.build import Built, build
from hocket.model.spec import TowerSpec
from hocket.train.loop import Hook, Report
from hocket.train.prebuild import prebuild
from hocket.train.recipe import FeaturePolicy, Recipe
from hocket.train.run import Run, train
from hocket.train.state import TrainState

KILOBYTES = 1024
WIDTH = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write rows with pictures and texts."""
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    rows = json.loads((made / "media.json").read_text())
    pictures = [row for row in rows if row["id"].startswith("image")]
    (made / "media.json").write_text(json.dumps(pictures))
    return made


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    """Write a pretrained tower of some megabytes."""
    config = SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=6,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        vision_use_head=False,
    )
    torch.manual_seed(0)
    SiglipVisionModel(config).save_pretrained(tmp_path / "tower")
    return tmp_path / "tower"


def one_stage(policy: FeaturePolicy = ON, *, steps: int = 3, save_every: int = 0) -> Recipe:
    whole = frozen(ON, steps=(steps, 0), save_every=save_every)
    stage = replace(whole.stages["align"], feature_cache=policy)
    return replace(whole, stages={"align": stage})


def begin(folder: Path, tower: Path) -> Built:
    spec = model_spec()
    assert spec.vision is not None
    eyes = TowerSpec(path=str(tower), layout=spec.vision.layout, connector=spec.vision.connector)
    parts = {name: (open_source(name, one), 1.0) for name, one in data(folder).datasets.items()}
    return build(replace(spec, vision=eyes, audio=None), Mixture(parts, seed=0).texts())


def data(folder: Path) -> DataSpec:
    return DataSpec(datasets=data_spec(folder).datasets)


def go(folder: Path, tower: Path, out: Path, recipe: Recipe, *hooks: Hook) -> list[str]:
    told: list[str] = []
    run = Run(recipe=recipe, data=data(folder), out=out, on_note=told.append)
    train(run, *begin(folder, tower), hooks)
    return told


def resident_kb(file: Path) -> int:
    """Return how many kilobytes of a mapped file this process has touched."""
    gc.collect()  # what earlier runs of this test have mapped
    found, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            here = str(file) in line
        elif here and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


def opened(folder: Path, tower: Path, weights: Path) -> int:
    """Return how much of the weights is touched by opening them: a block for each tensor."""
    model = begin(folder, tower)
    assert model.model.origins
    found = resident_kb(weights)
    assert found < weights.stat().st_size / KILOBYTES / 3
    return found


class Touched:
    """Notes how much of a file was in memory at each step."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.kilobytes: list[int] = []

    def __call__(self, state: TrainState, report: Report) -> None:
        self.kilobytes.append(resident_kb(self.file))


@pytest.fixture
def built(folder: Path, tower: Path, tmp_path: Path) -> Path:
    """Build the cache as ``hocket data cache`` does; return the tower's weights."""
    prebuild(one_stage(), data(folder), tmp_path / "prebuilt", begin(folder, tower))
    return tower / "model.safetensors"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_page_of_the_weights_is_read(
    folder: Path, tower: Path, built: Path, tmp_path: Path
) -> None:
    size = built.stat().st_size // KILOBYTES
    assert size > 10_000
    without, cached = Touched(built), Touched(built)
    go(folder, tower, tmp_path / "off", one_stage(OFF), without)
    assert min(without.kilobytes) > 0.9 * size
    said = go(folder, tower, tmp_path / "on", one_stage(FeaturePolicy.AUTO), cached)
    assert "all that was looked for is there" in said[0] and "all were there" in said[1]
    assert len(cached.kilobytes) == 3
    assert max(cached.kilobytes) <= 1.1 * opened(folder, tower, built)


def test_the_weights_may_be_deleted_and_are_in_the_checkpoint(
    folder: Path, tower: Path, built: Path, tmp_path: Path
) -> None:
    whole = load_file(built)

    def delete(state: TrainState, report: Report) -> None:
        built.unlink(missing_ok=True)

    go(folder, tower, tmp_path / "run", one_stage(), delete)
    assert not built.exists()
    saved = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for name, value in whole.items():
        (found,) = [one for one in saved if one.startswith("model.vision") and name in one]
        assert torch.equal(saved[found], value)


def test_weights_that_are_written_over_are_named_when_they_are_needed(
    folder: Path, tower: Path, built: Path, tmp_path: Path
) -> None:
    def spoil(state: TrainState, report: Report) -> None:
        if state.step == 1:
            with built.open("r+b") as handle:
                handle.truncate(1000)

    with pytest.raises(CheckpointError, match=r"was written over while .* vision_tower are needed"):
        go(folder, tower, tmp_path / "run", one_stage(), spoil)
    assert len(losses(tmp_path / "run")) >= 2, "it trained until the end of the stage"


def test_a_resumed_run_does_not_read_them_either(
    folder: Path, tower: Path, built: Path, tmp_path: Path
) -> None:
    recipe = one_stage(save_every=1)
    go(folder, tower, tmp_path / "alone", recipe)
    with pytest.raises(StoppedError):
        go(folder, tower, tmp_path / "cut", recipe, StopAt("align", 2))
    touched = Touched(built)
    go(folder, tower, tmp_path / "cut", recipe, touched)
    if sys.platform == "linux":
        assert touched.kilobytes[0] <= 1.1 * opened(folder, tower, built)
    assert losses(tmp_path / "cut") == losses(tmp_path / "alone")
    ours, theirs = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("cut", "alone")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_other_weights_are_another_tower(
    folder: Path, tower: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[object] = []
    real = hocket.model.fingerprint.tower_hash

    def noted(*given: object) -> str:
        hashed.append(given)
        return real(*given)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(hocket.train.fingerprints, "tower_hash", noted)
    go(folder, tower, tmp_path / "same", one_stage())
    assert not hashed
    tensors, now = load_file(built), built.stat()
    changed = {name: value + 0.5 for name, value in tensors.items()}
    save_file(changed, built, metadata={"format": "pt"})
    assert built.stat().st_size == now.st_size
    (said,) = go(folder, tower, tmp_path / "other", one_stage())
    assert len(hashed) == 1 and "built in" in said
    os.utime(built)
    (said,) = go(folder, tower, tmp_path / "touched", one_stage())
    assert len(hashed) == 2 and "all were there" in said, "read again, and found to be the same"


def test_weights_changed_in_memory_are_read(folder: Path, tower: Path, built: Path) -> None:
    model, _ = begin(folder, tower)
    hashes = hocket.train.fingerprints.TowerHashes(_features())
    assert set(hashes.all_known(model)) == {"vision_tower"}
    with torch.no_grad():
        next(model.model.vision_tower.parameters()).add_(1.0)  # type: ignore[union-attr] # it is there
    assert not hashes.all_known(model)


def _features() -> Path:
    return Path(os.environ["HOCKET_CACHE"]) / "features"
