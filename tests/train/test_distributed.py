"""However a step is cut into micro-batches and processes, the weights that follow are the same."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.toy_run import build_model, data_spec, recipe, start, train_toy, write_rows
from torch import Tensor

from hocket.data.augment import Augmenter
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture, open_source
from hocket.train.log import read_log
from hocket.train.recipe import Group, Recipe, Schedule

# In double precision: AdamW divides each gradient by its own size, so where a gradient is nearly
# zero it makes steps of the rounding noise of float32.
TOLERANCE = 1e-6
SECONDS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def three_steps(*, accumulate: int = 1, match: str = "*") -> Recipe:
    """One stage, and few rows have a picture or a sound."""
    whole = recipe(rows=4, accumulate=accumulate, save_every=0, media=0.15)
    stage = replace(
        whole.stages["joint"],
        steps=3,
        warmup_steps=0,
        schedule=Schedule.CONSTANT,
        tokens_per_row=64,
        trainable={"chosen": Group(match=match, lr=1e-3, weight_decay=0.1)},
    )
    return replace(whole, stages={"joint": stage}, seed=8)


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(out / "model" / "model.safetensors")


def media_of(folder: Path, chosen: Recipe, *, rank: int) -> tuple[list[bool], list[bool]]:
    """Return for each step whether a rank's rows hold pictures or videos, and sounds."""
    stage = chosen.stages["joint"]
    data = data_spec(folder)
    parts = {
        name: (open_source(name, data.datasets[name]), weight)
        for name, weight in stage.data.items()
    }
    loader = Loader(
        Mixture(parts, seed=chosen.seed),
        build_model(folder).processor,
        shape=StepShape(
            rows=stage.rows,
            tokens_per_row=stage.tokens_per_row,
            pool=chosen.pool,
            rank=rank,
            world=2,
        ),
        augmenter=Augmenter({}, seed=0),
    )
    steps = iter(loader)
    keys = [next(steps).micro[0].keys() for _ in range(stage.steps)]
    return (
        [bool({"pixel_values", "pixel_values_videos"} & found) for found in keys],
        ["input_features" in found for found in keys],
    )


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    off = {name: float((ours[name] - theirs[name]).abs().max()) for name in ours}
    assert max(off.values()) < TOLERANCE, max(off.items(), key=lambda item: item[1])


def assert_same_log(ours: Path, theirs: Path) -> None:
    """Compare what was logged; AdamW and clipping do not feel a gradient of the wrong scale."""
    for one, other in zip(
        read_log(ours / "log.jsonl"), read_log(theirs / "log.jsonl"), strict=True
    ):
        for key in ("stage", "step", "tokens", "targets", "lr_share"):
            assert one[key] == other[key]
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-6)


@pytest.fixture(scope="module")
def one_batch(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    train_toy(folder, out, three_steps(), double=True)
    return out


def test_four_micro_batches_equal_one_batch(folder: Path, one_batch: Path, tmp_path: Path) -> None:
    train_toy(folder, tmp_path, three_steps(accumulate=4), double=True)
    assert_close(weights(one_batch), weights(tmp_path))
    assert_same_log(one_batch, tmp_path)


def test_training_moves_weights_far_more_than_the_tolerance(folder: Path, one_batch: Path) -> None:
    before = build_model(folder).model.state_dict()
    after = weights(one_batch)
    moved = {name: float((after[name] - before[name]).abs().max()) for name in after}
    assert moved["model.language_model.embed_tokens.weight"] > 100 * TOLERANCE
    assert moved["model.multi_modal_projector.linear_1.weight"] > 100 * TOLERANCE
    assert moved["model.audio_projector.linear_1.weight"] > 100 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("accumulate", "layer", "match"),
    [
        pytest.param(1, -1, "*", id="whole"),
        pytest.param(2, -2, "*", id="micro-batches, a tower read at an inner layer"),
        pytest.param(1, -1, "model.*_projector.*", id="a rank without what trains"),
    ],
)
def test_two_processes_equal_one_batch(
    folder: Path, tmp_path: Path, accumulate: int, layer: int, match: str
) -> None:
    chosen = three_steps(accumulate=accumulate, match=match)
    have, hear = ([media_of(folder, chosen, rank=rank)[kind] for rank in (0, 1)] for kind in (0, 1))
    for kind in (have, hear):
        assert any(one != other for one, other in zip(*kind, strict=True)), "data has changed"
    assert (False, False) in zip(*hear, strict=True), "every step has a sound: data has changed"

    train_toy(folder, tmp_path / "one", three_steps(match=match), layer=layer, double=True)
    run_together(folder, tmp_path / "two", chosen, layer=layer)
    assert_close(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert_same_log(tmp_path / "one", tmp_path / "two")


def run_together(
    folder: Path, out: Path, chosen: Recipe, *, layer: int, double: bool = True
) -> None:
    """Run two processes as torchrun does, and end both if one hangs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    if torch.cuda.is_available():
        shared["ACCELERATE_USE_CPU"] = "true"
    processes = [
        start(
            folder,
            out,
            chosen,
            layer=layer,
            double=double,
            env=shared | {"RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]
    try:
        for process in processes:
            process.join(SECONDS)
            assert process.exitcode == 0, "a rank failed or hangs"
    finally:
        for process in processes:
            process.kill()
