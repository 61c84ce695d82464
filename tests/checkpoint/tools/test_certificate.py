"""A checkpoint proves that it still answers as it did; a change of any kind shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.toy import toy

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.certificate import make_certificate, write_certificate
from hocket.checkpoint.tools.tensors import CERTIFICATE
from hocket.checkpoint.tools.verify import certify, verify_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    def write(folder: Path) -> None:
        write_checkpoint(folder, *toy())
        write_certificate(folder, *toy())

    write_directory(tmp_path / "model", write)
    return tmp_path / "model"


def change(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_checkpoint_answers_as_it_did(saved: Path) -> None:
    replay = verify_checkpoint(saved)
    assert [one.name for one in replay.cases] == ["text", "image", "video", "audio"]
    assert replay.exact
    assert replay.close
    assert all(one.most == 0 < one.allowed for one in replay.cases)
    assert replay.made_on == replay.here


def test_another_type_is_close_but_not_exact(saved: Path) -> None:
    replay = verify_checkpoint(saved, dtype="bfloat16")
    assert replay.close
    assert not replay.exact
    assert all(0 < one.most <= one.allowed and one.inputs for one in replay.cases)


def test_another_weight_fails_the_cases_that_use_it(saved: Path) -> None:
    model, processor = load_checkpoint(saved)
    with torch.no_grad():
        model.model.vision_tower.embeddings.patch_embedding.weight.mul_(1.5)
    certificate = (saved / CERTIFICATE).read_text(encoding="utf-8")

    def write(folder: Path) -> None:
        write_checkpoint(folder, model, processor)
        (folder / CERTIFICATE).write_text(certificate, encoding="utf-8")

    write_directory(saved, write)
    replay = verify_checkpoint(saved)
    assert not replay.close
    assert [one.name for one in replay.cases if not one.close] == ["image", "video"]


def test_another_preprocessing_shows_in_the_inputs(saved: Path) -> None:
    change(saved, "processor_config.json", '"squash"', '"crop"')
    (saved / "manifest.json").unlink()
    results = {one.name: one for one in verify_checkpoint(saved).cases}
    assert not results["image"].inputs
    assert not results["image"].close
    assert results["text"].inputs
    assert results["text"].exact


def test_a_changed_byte_is_found_first(saved: Path) -> None:
    change(saved, "config.json", '"hidden_size": 32', '"hidden_size": 33')
    with pytest.raises(CheckpointError, match=r"config\.json has changed"):
        verify_checkpoint(saved)


def test_making_one_leaves_the_model_and_the_dice_alone() -> None:
    model, processor = toy()
    model.train()
    state = torch.random.get_rng_state()
    first = make_certificate(model, processor)
    assert model.training
    model.eval()
    assert torch.equal(state, torch.random.get_rng_state())
    assert make_certificate(model, processor) == first
    assert not any(one.grad is not None for one in model.parameters())
    assert len(json.dumps(first)) < 100_000


def test_without_one_a_copy_can_be_certified(saved: Path, tmp_path: Path) -> None:
    (saved / CERTIFICATE).unlink()
    (saved / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no certificate\.json.*\n?.*model certify"):
        verify_checkpoint(saved)
    certify(saved, tmp_path / "proven")
    assert verify_checkpoint(tmp_path / "proven").exact


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 9', "has the version 9, expected 1"),
        ('"name": "audio"', '"name": "smell"', "certificate.json is damaged: 'audio'"),
        ('"dtype": "float32"', '"dtype": "int3"', "names the type 'int3'"),
    ],
)
def test_a_damaged_one_is_refused(saved: Path, old: str, new: str, message: str) -> None:
    change(saved, CERTIFICATE, old, new)
    (saved / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=message):
        verify_checkpoint(saved)
