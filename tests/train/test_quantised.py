"""Adapters over weights in four bits: trained, stopped, continued, merged."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.toy import mixed, toy
from tests.train.test_resume import StopAt, StoppedError, assert_same_run
from tests.train.toy_run import losses, recipe, train_toy, write_rows
from torch import Tensor, nn

from hocket._errors import ConfigError, MissingExtraError
from hocket.checkpoint.directory import load_checkpoint
from hocket.model.adapters import AdapterSpec
from hocket.model.adapters.attach import attach, merge
from hocket.model.adapters.nf4 import Nf4Linear, pack
from hocket.tokens.batch import pack_batch
from hocket.train.parallel import ComputeDtype
from hocket.train.recipe import Adapter, Group, Recipe

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="the extra quantise is not installed"
)
WORDS = Adapter(kind="lora", options={"r": 4}, lr=1e-2, quantise="nf4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def adapted(words: Adapter = WORDS, trainable: dict[str, Group] | None = None) -> Recipe:
    """Return a stage of an adapter, and one in which it goes on beside connectors."""
    plain = recipe(steps=(1, 3), save_every=1)
    align, joint = plain.stages.values()
    first = replace(joint, trainable=trainable or {}, adapters={"words": words})
    second = replace(joint, steps=2, trainable=align.trainable, adapters={"words": words})
    return replace(plain, stages={"first": first, "second": second}, keep=99)


def layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(96, 40, dtype=dtype)


def answers(model: nn.Module) -> Tensor:
    processor = toy().processor
    rows = [[processor.encode(one)] for one in mixed()]
    with torch.no_grad():
        return model.eval()(**pack_batch(rows, pad_id=0), use_cache=False).logits


@needs_bitsandbytes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_codes_of_plain_weights_are_the_codes_of_before(dtype: torch.dtype) -> None:
    first = Nf4Linear(layer(dtype))
    off = (first.weight - layer(dtype).weight).abs()
    assert first.weight.dtype == dtype and 0 < off.max() < 0.02
    again = Nf4Linear(first.whole())
    assert torch.equal(again.packed, first.packed) and torch.equal(again.scales, first.scales)
    assert torch.equal(again.weight, first.weight)
    assert first.packed.numel() == 96 * 40 // 2


@needs_bitsandbytes
def test_a_layer_computes_with_the_weight_that_its_codes_stand_for() -> None:
    packed = Nf4Linear(layer())
    x = torch.randn(3, 5, 96, requires_grad=True)
    packed(x).square().sum().backward()
    mine, x.grad = x.grad, None
    plain = packed.whole()
    plain(x).square().sum().backward()
    torch.testing.assert_close(packed(x), plain(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine, x.grad, rtol=1e-4, atol=1e-4)


@needs_bitsandbytes
def test_a_state_dict_is_plain_and_scales_keep_their_format() -> None:
    packed, other = Nf4Linear(layer()), Nf4Linear(nn.Linear(96, 40))
    state = packed.state_dict()
    assert state.keys() == layer().state_dict().keys()
    other.load_state_dict(state)
    assert torch.equal(other.weight, packed.weight)
    scales = packed.scales.clone()
    assert torch.equal(packed.bfloat16().scales, scales)


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["lora", "dora", "mora", "ia3"])
def test_merging_changes_no_answer(kind: str) -> None:
    model = copy.deepcopy(toy().model).requires_grad_(False)
    options = {} if kind == "ia3" else {"r": 4}
    one = attach(model, model.adapters, "a", AdapterSpec(kind=kind, options=options), fresh=True)
    pack(model, "a", one.layers)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in one.trainable:
            parameters[name].add_(0.1 * torch.randn_like(parameters[name]))
    before = answers(model)
    merge(model, model.adapters, ["a"])
    assert not any(isinstance(module, Nf4Linear) for module in model.modules())
    torch.testing.assert_close(answers(model), before, rtol=0, atol=1e-3)


@needs_bitsandbytes
def test_a_stopped_run_goes_on_and_ends_merged(folder: Path, tmp_path: Path) -> None:
    alone, cut = tmp_path / "alone", tmp_path / "cut"
    train_toy(folder, alone, adapted())
    for at in (("first", 3), ("second", 2)):
        with pytest.raises(StoppedError):
            train_toy(folder, cut, adapted(), hooks=[StopAt(*at)])
    train_toy(folder, cut, adapted())
    assert_same_run(alone, cut)
    last = load_checkpoint(alone / "checkpoints" / "second-step-000002").model
    torch.testing.assert_close(
        answers_of(load_checkpoint(alone).model), answers_of(last), rtol=0, atol=1e-4
    )
    plain = tmp_path / "plain"
    train_toy(folder, plain, adapted(replace(WORDS, quantise="")))
    ours, theirs = (load_file(one / "model" / "model.safetensors") for one in (alone, plain))
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours), "nothing was quantised"


@needs_bitsandbytes
def test_four_bits_compute_in_bfloat16(folder: Path, tmp_path: Path) -> None:
    narrow = replace(adapted(), compute_dtype=ComputeDtype.BFLOAT16)
    alone, cut = tmp_path / "alone", tmp_path / "cut"
    train_toy(folder, alone, narrow)
    with pytest.raises(StoppedError):
        train_toy(folder, cut, narrow, hooks=[StopAt("second", 2)])
    train_toy(folder, cut, narrow)
    assert_same_run(alone, cut)
    weights = load_file(alone / "model" / "model.safetensors")
    assert {one.dtype for one in weights.values()} == {torch.float32}
    train_toy(folder, tmp_path / "wide", adapted())
    ours, theirs = ([loss for _, _, loss in losses(tmp_path / one)] for one in ("alone", "wide"))
    assert ours != theirs
    assert ours == pytest.approx(theirs, rel=2e-2)


def answers_of(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(9)[None]).logits


@needs_bitsandbytes
def test_weights_that_train_are_not_packed(folder: Path, tmp_path: Path) -> None:
    chosen = adapted(trainable={"all": Group(match="language", lr=1e-3)})
    with pytest.raises(ConfigError, match=r"quantise is nf4, but .* trains too"):
        train_toy(folder, tmp_path, chosen)


def test_a_format_that_nobody_knows(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"quantise is .int2.\. Known: nf4"):
        train_toy(folder, tmp_path, adapted(replace(WORDS, quantise="int2")))


def test_the_extra_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "bitsandbytes" else find(name, *rest),
    )
    with pytest.raises(MissingExtraError, match=r"hocket\[quantise\]"):
        train_toy(folder, tmp_path, adapted())
