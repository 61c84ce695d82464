"""Adapters as files: peft's own open, ours open in peft, and both merge into a checkpoint."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import peft
import pytest
import torch
from tests.toy import mixed, toy
from torch import Tensor, nn

from hocket._errors import CheckpointError, ConfigError, HocketError
from hocket.checkpoint.adapters import read_adapter
from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.checkpoint.export import export, verify_export
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.diff import compare
from hocket.checkpoint.tools.merging import merge_checkpoint, unmerge_checkpoint
from hocket.model.adapters import AdapterSpec
from hocket.model.adapters.attach import attach
from hocket.tokens.batch import pack_batch

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def answers(model: nn.Module) -> Tensor:
    processor = toy().processor
    rows = [[processor.encode(one)] for one in mixed()]
    with torch.no_grad():
        return model.eval()(**pack_batch(rows, pad_id=0), use_cache=False).logits


def shaken(model: nn.Module) -> None:
    """Give every factor that starts as zero numbers."""
    torch.manual_seed(1)
    for name, value in model.named_parameters():
        if "lora_B" in name or "mora_m" in name:
            nn.init.normal_(value, std=0.1)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with three adapters, two of them on the same layers."""
    model, processor = copy.deepcopy(toy())
    for name, spec in {
        "words": AdapterSpec(options={"r": 4}),
        "more": AdapterSpec(targets=["q_proj"], options={"r": 2}),
        "eyes": AdapterSpec(part="vision", kind="dora", options={"r": 2}),
        "bridge": AdapterSpec(part="connector", kind="mora", options={"r": 2, "sharing": "sum"}),
    }.items():
        attach(model, model.adapters, name, spec, fresh=True)
    shaken(model)
    out = tmp_path_factory.mktemp("adapted") / "model"
    write_directory(out, lambda folder: write_checkpoint(folder, model, processor))
    return out


def test_a_checkpoint_opens_with_its_adapters(adapted: Path) -> None:
    model = load_checkpoint(adapted).model
    assert sorted(model.adapters) == ["bridge", "eyes", "more", "words"]
    base = load_checkpoint(adapted, adapters=False).model
    assert torch.equal(answers(base), answers(toy().model))
    assert (answers(model) - answers(base)).abs().max() > 0.1


def test_peft_opens_ours(adapted: Path) -> None:
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(toy().model), adapted / "adapters/words")
    ours = copy.deepcopy(toy().model)
    read_adapter(adapted / "adapters" / "words", ours, name="any")
    assert torch.equal(answers(theirs), answers(ours))


@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(r=4, target_modules=["q_proj", "fc1"], use_dora=True),
        peft.LoraConfig(r=2, target_modules="all-linear", use_rslora=True),
        peft.LoHaConfig(r=2, target_modules=["v_proj"]),
        peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights="pissa"),
    ],
)
def test_ours_opens_peft(config: peft.PeftConfig, tmp_path: Path) -> None:
    theirs = peft.get_peft_model(copy.deepcopy(toy().model), config)
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours = copy.deepcopy(toy().model)
    read_adapter(tmp_path, ours, name="theirs")
    assert torch.equal(answers(theirs), answers(ours))


def test_what_lora_takes_from_the_weights_is_taken_once(tmp_path: Path) -> None:
    model, processor = copy.deepcopy(toy())
    spec = AdapterSpec(options={"r": 2, "init_lora_weights": "pissa"})
    attach(model, model.adapters, "words", spec, fresh=True)
    shaken(model)
    write_directory(tmp_path / "a", lambda folder: write_checkpoint(folder, model, processor))
    again = load_checkpoint(tmp_path / "a").model
    assert torch.equal(answers(again), answers(model))
    with pytest.raises(ConfigError, match="lora does not only add to the weights"):
        unmerge_checkpoint(tmp_path / "a", tmp_path / "a/adapters/words", tmp_path / "out")


def test_merged_and_unmerged(adapted: Path, tmp_path: Path) -> None:
    words = adapted / "adapters" / "words"
    base = tmp_path / "base"
    write_directory(base, lambda folder: write_checkpoint(folder, *toy()))
    assert merge_checkpoint(base, tmp_path / "merged", [words]) == ["given_0"]
    ours = copy.deepcopy(toy().model)
    read_adapter(words, ours, name="words")
    merged = load_checkpoint(tmp_path / "merged").model
    assert not merged.adapters
    torch.testing.assert_close(answers(merged), answers(ours), rtol=0, atol=1e-4)
    unmerge_checkpoint(tmp_path / "merged", words, tmp_path / "again")
    found = compare(base, tmp_path / "again")
    assert not (found.missing or found.extra or found.reshaped)
    assert all(one.most < 1e-6 for one in found.changed)


def test_a_method_that_does_not_add_is_not_subtracted(adapted: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dora does not only add to the weights"):
        unmerge_checkpoint(adapted, adapted / "adapters" / "eyes", tmp_path / "out")


def test_merging_is_an_export_and_the_step_before_others(adapted: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"llava has no place for\. First: hocket model"):
        export(adapted, tmp_path / "llava", to="llava")
    notes = export(adapted, tmp_path / "merged", to="merged")
    assert notes == ["adapters merged: bridge, eyes, more, words"]
    assert verify_export(adapted, tmp_path / "merged", to="merged").same_inputs < 1e-4


def test_files_that_do_not_fit(adapted: Path, tmp_path: Path) -> None:
    model = copy.deepcopy(toy().model)
    with pytest.raises(CheckpointError, match="is no adapter"):
        read_adapter(tmp_path, model, name="none")
    other = copy.deepcopy(toy("qwen3").model)
    read_adapter(adapted / "adapters" / "words", other, name="fits")
    config = json.loads((adapted / "adapters/words/hocket_adapter.json").read_text("utf-8"))
    assert config == {
        "part": "language",
        "kind": "lora",
        "targets": [],
        "options": {"r": 4},
        "quantise": "",
    }
    del model.model.language_model.layers[1]
    with pytest.raises(CheckpointError, match="belongs to no layer of the model"):
        read_adapter(adapted / "adapters" / "words", model, name="words")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (AdapterSpec(part="ears"), "no part is called 'ears'"),
        (AdapterSpec(part="video"), "the model has no video. It has: language, vision"),
        (AdapterSpec(targets=["q_prj"]), "the target 'q_prj' matches no layer of language"),
        (AdapterSpec(kind="lorra"), "Did you mean 'lora'"),
        (AdapterSpec(options={"rank": 3}), "lora has no option 'rank'"),
        (AdapterSpec(kind="mora", options={"r": 0}), "r is 0, expected at least 1"),
        (AdapterSpec(kind="mora", targets=["*norm"]), "MoRA needs linear layers"),
    ],
)
def test_a_wrong_adapter_says_what_is_wrong(spec: AdapterSpec, message: str) -> None:
    model = copy.deepcopy(toy().model)
    with pytest.raises(HocketError, match=message):
        attach(model, model.adapters, "mine", spec, fresh=True)


def test_two_methods_on_one_layer_are_refused() -> None:
    model = copy.deepcopy(toy().model)
    attach(model, model.adapters, "one", AdapterSpec(), fresh=True)
    with pytest.raises(ConfigError, match=r"already has the adapter 'one' \(lora\)"):
        attach(model, model.adapters, "two", AdapterSpec(kind="ia3"), fresh=True)
