"""Adapters in a run: they alone train, a stopped run goes on with them, the end has them merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.test_resume import StopAt, StoppedError, assert_same_run
from tests.train.toy_run import recipe, train_toy, write_rows

from hocket._errors import ConfigError
from hocket.checkpoint.adapters import read_adapter
from hocket.checkpoint.directory import load_checkpoint
from hocket.train.recipe import Adapter, Recipe

LORA = Adapter(kind="lora", options={"r": 4}, lr=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def adapted() -> Recipe:
    """Return three stages: connectors, adapters alone, one adapter kept and a group beside it."""
    plain = recipe(steps=(2, 3))
    align, joint = plain.stages.values()
    eyes = Adapter(part="vision", kind="mora", options={"r": 2}, lr=1e-2)
    ears = Adapter(part="audio", kind="pissa", targets=["q_proj", "fc1"], options={"r": 2})
    return replace(
        plain,
        stages={
            "align": align,
            "adapt": replace(
                joint, trainable={}, adapters={"words": LORA, "eyes": eyes, "ears": ears}
            ),
            "both": replace(
                joint, steps=2, trainable=align.trainable, adapters={"words": LORA, "ears": ears}
            ),
        },
    )


@pytest.fixture(scope="module")
def left_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train_toy(folder, out, replace(adapted(), keep=99))
    return out


@pytest.mark.parametrize("at", [("adapt", 1), ("adapt", 2), ("adapt", 3), ("both", 1)])
def test_a_stopped_run_goes_on_with_its_adapters(
    at: tuple[str, int], folder: Path, left_alone: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path, adapted(), hooks=[StopAt(*at)])
    train_toy(folder, tmp_path, adapted())
    assert_same_run(left_alone, tmp_path)


def test_only_the_adapters_train(left_alone: Path) -> None:
    folder = left_alone / "checkpoints"
    first, last = (load_file(folder / name / "model.safetensors") for name in _ends("adapt"))
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)
    for name in ("words", "eyes", "ears"):
        files = [folder / end / "adapters" / name for end in _ends("adapt")]
        a, b = (load_file(file / "adapter_model.safetensors") for file in files)
        assert any(not torch.equal(a[key], b[key]) for key in a)


def test_the_finished_model_has_them_merged(left_alone: Path) -> None:
    last = load_checkpoint(left_alone / "checkpoints" / _ends("both", 1, 2)[1]).model
    assert list(last.adapters) == ["ears", "words"]
    model = load_checkpoint(left_alone).model
    assert not model.adapters
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        ours, theirs = (one(input_ids=tokens).logits for one in (model, last))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_each_adapter_is_written_for_its_base(left_alone: Path) -> None:
    assert [path.name for path in (left_alone / "adapters").iterdir()] == ["words"]
    base = load_checkpoint(left_alone / "checkpoints" / _ends("both", 1, 2)[1], adapters=False)
    one = read_adapter(left_alone / "adapters" / "words", base.model, name="words")
    assert one.spec.kind == "lora"


def test_a_run_with_nothing_to_train_says_so(folder: Path, tmp_path: Path) -> None:
    plain = recipe(steps=(1, 1))
    nothing = {name: replace(stage, trainable={}) for name, stage in plain.stages.items()}
    with pytest.raises(ConfigError, match="nothing trains"):
        train_toy(folder, tmp_path, replace(plain, stages=nothing))


def _ends(stage: str, first: int = 1, last: int = 3) -> tuple[str, str]:
    return f"{stage}-step-{first:06d}", f"{stage}-step-{last:06d}"
