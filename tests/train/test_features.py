"""A stage that takes features from the disk learns what it would learn from the media."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.test_resume import StopAt, StoppedError, assert_same_run
from tests.train.toy_run import build_model, data_spec, losses, recipe, write_rows

import hocket.train.feature_cost
from hocket._errors import ConfigError
from hocket.chat.conversation import Medium
from hocket.data.spec import DataSpec, FeatureDtype
from hocket.tokens.example import Outline
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Plan
from hocket.train.loop import Hook
from hocket.train.recipe import Adapter, FeaturePolicy, Group, Recipe
from hocket.train.run import Run, train

OFF, ON, AUTO = FeaturePolicy.OFF, FeaturePolicy.ON, FeaturePolicy.AUTO
FLOAT32 = FeatureDtype.FLOAT32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def frozen(
    policy: FeaturePolicy,
    dtype: FeatureDtype = FLOAT32,
    *,
    steps: tuple[int, int] = (3, 2),
    workers: int = 0,
    save_every: int = 0,
) -> Recipe:
    """Return a recipe whose first stage trains connectors alone, and the second everything."""
    whole = recipe(steps=steps, workers=workers, save_every=save_every)
    align = replace(
        whole.stages["align"],
        data={"media": 1.0, "text": 1.0},
        trainable={"connectors": Group(match="model.*_projector.*", lr=1e-3)},
        feature_cache=policy,
    )
    return replace(whole, stages=whole.stages | {"align": align}, feature_dtype=dtype)


def run(
    folder: Path,
    out: Path,
    chosen: Recipe,
    *,
    hooks: tuple[Hook, ...] = (),
    augment: bool = False,
) -> list[str]:
    """Train and return what was told."""
    told: list[str] = []
    model, processor = build_model(folder)
    spec = data_spec(folder)
    data = spec if augment else DataSpec(datasets=spec.datasets)
    train(Run(recipe=chosen, data=data, out=out, on_note=told.append), model, processor, hooks)
    return told


@pytest.fixture(scope="module")
def uncached(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uncached")
    run(folder, out, frozen(OFF))
    return out


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


@pytest.mark.parametrize("workers", [0, 2])
def test_losses_and_weights_are_those_of_the_uncached_run(
    folder: Path, uncached: Path, tmp_path: Path, workers: int
) -> None:
    (said,) = run(folder, tmp_path, frozen(ON, workers=workers))
    assert "used for audio, image, video, 18 media" not in said
    assert "used for audio, image, video" in said and "built" in said
    for ours, theirs in zip(losses(tmp_path), losses(uncached), strict=True):
        assert ours[:2] == theirs[:2]
        assert ours[2] == pytest.approx(theirs[2], abs=1e-6)
    for name, value in weights(uncached).items():
        torch.testing.assert_close(weights(tmp_path)[name], value, rtol=0, atol=2e-6, msg=name)


def test_bfloat16_is_the_same_but_for_rounding(
    folder: Path, uncached: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path, frozen(ON, FeatureDtype.BFLOAT16))
    ours, theirs = losses(tmp_path), losses(uncached)
    assert ours != theirs
    for one, other in zip(ours, theirs, strict=True):
        assert one[2] == pytest.approx(other[2], abs=2e-2)


def test_nothing_is_decoded_or_encoded_in_a_cached_stage(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = frozen(ON, steps=(3, 0))
    chosen = replace(chosen, stages={"align": chosen.stages["align"]})
    run(folder, tmp_path / "first", chosen)

    whole, decoded, told = HocketProcessor.units, list[str](), list[str]()
    towers: list[object] = []

    def noted(self: HocketProcessor, medium: Medium, plan: Plan, at: Outline, **more: Any) -> Any:
        decoded.append(at.source)
        return whole(self, medium, plan, at, **more)

    monkeypatch.setattr(HocketProcessor, "units", noted)
    model, processor = build_model(folder)
    data = DataSpec(datasets=data_spec(folder).datasets)
    train(
        Run(recipe=chosen, data=data, out=tmp_path / "second", on_note=told.append),
        model,
        processor,
        [lambda *_: towers.append((model.model.vision_tower, model.model.audio_tower))],
    )
    assert towers == [(None, None)] * 3
    assert decoded, "the run looks at pictures of its own when it starts"
    assert not [source for source in decoded if str(folder) in source]
    assert model.model.vision_tower is not None
    assert "all were there" in told[0]
    assert_same_run(tmp_path / "first", tmp_path / "second")


def test_a_stopped_run_goes_on_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    chosen = frozen(ON, save_every=1)
    run(folder, tmp_path / "alone", chosen)
    for step in (2, 3):
        with pytest.raises(StoppedError):
            run(folder, tmp_path / "cut", chosen, hooks=(StopAt("align", step),))
    run(folder, tmp_path / "cut", chosen)
    assert_same_run(tmp_path / "alone", tmp_path / "cut")


def test_auto_says_what_it_costs_and_leaves_small_stages_alone(
    folder: Path, uncached: Path, tmp_path: Path
) -> None:
    said = run(folder, tmp_path, frozen(AUTO))
    assert len(said) == 1
    assert said[0].startswith("feature cache of stage 'align': not used, ")
    assert "media to build in about" in said[0]
    assert_same_run(uncached, tmp_path)


def test_auto_uses_what_pays_and_goes_on_with_what_it_began_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hocket.train.feature_cost, "LEAST_GAIN_SECONDS", -1e9)
    monkeypatch.setattr(hocket.train.feature_cost, "LEAST_GAIN", -1e9)
    chosen = frozen(AUTO, save_every=1)
    with pytest.raises(StoppedError):
        run(folder, tmp_path, chosen, hooks=(StopAt("align", 3),))
    assert json.loads((tmp_path / "features.json").read_text()) == {"align": True}
    monkeypatch.undo()
    monkeypatch.setenv("HOCKET_CACHE", str(tmp_path / "elsewhere"))
    said = run(folder, tmp_path, chosen)
    assert "used for audio, image, video" in said[0], "though it would not pay now"


def test_augmented_media_are_not_kept(folder: Path, tmp_path: Path) -> None:
    said = run(folder, tmp_path / "auto", frozen(AUTO), augment=True)
    assert said == [
        "feature cache of stage 'align': not used for audio, image, video: augmentations change "
        "what the tower sees (audio, image, video; data.augment: shift, contrast, speed, noise)."
    ]
    with pytest.raises(ConfigError, match=r"feature_cache is on, but augmentations change"):
        run(folder, tmp_path / "on", frozen(ON), augment=True)


def test_a_tower_that_trains_or_has_an_adapter_has_no_features(
    folder: Path, tmp_path: Path
) -> None:
    whole = frozen(AUTO)
    align = whole.stages["align"]
    trains = replace(align, trainable={"all": Group(match="*", lr=1e-3)}, feature_cache=ON)
    with pytest.raises(ConfigError, match="no tower is frozen and without adapters"):
        run(folder, tmp_path / "trains", replace(whole, stages={"align": trains}))
    adapter = Adapter(part="vision", kind="lora", options={"r": 2})
    lora = replace(align, adapters={"eyes": adapter}, feature_cache=ON)
    (said,) = run(folder, tmp_path / "lora", replace(whole, stages={"align": lora}))
    assert "used for audio, " in said, "not pictures and videos"


@pytest.mark.slow
def test_two_processes_build_together_and_learn_as_one(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "HOCKET_CACHE": str(tmp_path / "shared")}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.toy_run"])
    processes = [
        context.Process(
            target=_elsewhere,
            args=({**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, folder, tmp_path / "two"),
        )
        for rank in (0, 1)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
    run(folder, tmp_path / "one", frozen(OFF, steps=(3, 1)))
    for ours, theirs in zip(losses(tmp_path / "two"), losses(tmp_path / "one"), strict=True):
        assert ours[2] == pytest.approx(theirs[2], abs=1e-5)
    towers = [
        shards
        for shards in (tmp_path / "shared" / "features").iterdir()
        if shards.is_dir() and len(list(shards.glob("*.json"))) >= 2
    ]
    assert len(towers) == 2, "each process wrote shards of its own, of both towers"


def _elsewhere(env: dict[str, str], folder: Path, out: Path) -> None:
    os.environ.update(env)
    run(folder, out, frozen(ON, steps=(3, 1)))
