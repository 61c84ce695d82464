"""What makes a step cheaper changes no gradient; `benchmarks/means.py` measures its worth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.toy import SPEC, TEXTS, inputs, mixed
from torch import Tensor

from hocket.model.build import Built, build
from hocket.model.packing import isolate_samples
from hocket.tokens.batch import pack_batch, pad_batch
from hocket.tokens.span import Modality
from hocket.train.recipe import Group
from hocket.train.trainable import select_trainable, set_modes


@pytest.fixture
def built() -> Built:
    made = build(SPEC, TEXTS)
    isolate_samples(*made)
    return made


def packed(built: Built) -> dict[str, Any]:
    examples = [built.processor.encode(one) for one in mixed()]
    return inputs(pack_batch([examples[:2], examples[2:]], pad_id=0))


def learn(built: Built, batch: dict[str, Any], match: str) -> tuple[float, dict[str, Tensor]]:
    """Let what matches train; return the loss of a step and all gradients."""
    model = built.model
    model.zero_grad(set_to_none=True)
    select_trainable(model, {"one": Group(match=match, lr=1e-3)})
    set_modes(model)
    loss = model(**batch, loss_only=True).loss
    loss.backward()
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    return loss.item(), grads


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, grad in one.items():
        torch.testing.assert_close(grad, other[name], rtol=0, atol=1e-5, msg=name)


def test_packed_rows_teach_what_padded_ones_do(built: Built) -> None:
    examples = [built.processor.encode(one) for one in mixed()]
    padded = inputs(pad_batch(examples, pad_id=0, side="right"))
    loss, grads = learn(built, packed(built), "*")
    plain, expected = learn(built, padded, "*")
    assert loss == pytest.approx(plain, abs=1e-5)
    assert_same(grads, expected)


@pytest.mark.parametrize("match", ["connector", "language.last_block"])
def test_what_is_frozen_has_no_gradient_and_changes_none(built: Built, match: str) -> None:
    loss, grads = learn(built, packed(built), match)
    whole, expected = learn(built, packed(built), "*")
    assert 0 < len(grads) < len(expected)
    assert loss == pytest.approx(whole, abs=1e-5)
    assert_same(grads, {name: expected[name] for name in grads})


def test_the_backward_pass_ends_where_nothing_trains_below(built: Built) -> None:
    asked: dict[int, bool] = {}
    layers = built.model.model.language_model.layers
    for number, layer in enumerate(layers):
        layer.register_forward_hook(
            lambda _, __, out, number=number: asked.update({number: out.requires_grad})
        )
    learn(built, packed(built), "language.last_block")
    assert asked == {0: False, 1: True}
    learn(built, packed(built), "connector")
    assert asked == {0: True, 1: True}


def test_a_frozen_tower_keeps_nothing_for_the_backward_pass(built: Built) -> None:
    batch = packed(built)
    kept: list[bool] = []
    tower = built.model.model.vision_tower
    assert tower is not None
    for part in tower.modules():
        part.register_forward_hook(
            lambda _, __, out: kept.append(isinstance(out, Tensor) and out.requires_grad)
        )
    _, grads = learn(built, batch, "connector")
    assert kept and not any(kept)
    with torch.no_grad():
        features = built.model.model.encode(
            Modality.IMAGE, batch["pixel_values"], batch["image_spans"]
        )
    known = {name: value for name, value in batch.items() if name != "pixel_values"}
    _, guarded = learn(built, known | {"image_features": features}, "connector")
    assert_same(grads, guarded)


def test_the_pictures_of_a_row_are_encoded_by_one_call(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built.model.model
    inner, seen = model.encode, []

    def encode(modality: Modality, units: Tensor, *rest: Any) -> Tensor:
        seen.append((modality, len(units)))
        return inner(modality, units, *rest)

    monkeypatch.setattr(model, "encode", encode)
    batch = packed(built)
    learn(built, batch, "connector")
    pictures = [count for kind, count in seen if kind is Modality.IMAGE]
    assert pictures == [len(batch["pixel_values"])] and pictures[0] > 1
    pixels = torch.stack([torch.full((3, 16, 16), one / 4) for one in range(4)])
    with torch.no_grad():
        together = inner(Modality.IMAGE, pixels)
        alone = torch.cat([inner(Modality.IMAGE, one[None]) for one in pixels])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
