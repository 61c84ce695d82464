from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.toy import SPEC, TEXTS, WIDTH, inputs, mixed, toy

from hocket._errors import AlignmentError
from hocket.model.build import build
from hocket.model.packing import packed_matches_unpacked
from hocket.model.spec import LanguageSpec, ModelSpec
from hocket.tokens.batch import pack_batch, pad_batch

LANGUAGES = ["llama", "qwen3"]
NARROW = {key: value for key, value in WIDTH.items() if key != "head_dim"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_packed_logits_are_those_of_each_example_alone(language: str) -> None:
    model, processor = toy(language)
    examples = [processor.encode(one) for one in mixed()]
    packed = pack_batch([examples[:3], examples[3:]], pad_id=0)
    with torch.inference_mode():
        logits = model(**inputs(packed, "labels"), use_cache=False).logits
        for row, group in enumerate((examples[:3], examples[3:])):
            at = 0
            for example in group:
                alone = pad_batch([example], pad_id=0, side="right")
                expected = model(**inputs(alone, "labels")).logits[0]
                own = logits[row, at : at + len(expected)]
                assert (own - expected).abs().max() <= 1e-5
                at += len(expected)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_loss_of_a_packed_batch_is_that_of_its_examples(language: str) -> None:
    model, processor = toy(language)
    examples = [processor.encode(one) for one in mixed()]
    targets = sum(example.outline.cost.targets for example in examples)
    packed = pack_batch([examples[:2], examples[2:]], pad_id=0)
    with torch.inference_mode():
        loss = model(**inputs(packed)).loss
        separate = sum(
            model(**inputs(pad_batch([one], pad_id=0, side="right")), num_items_in_batch=targets)
            .loss.double()
            .item()
            for one in examples
        )
        mean = sum(
            model(**inputs(pad_batch([one], pad_id=0, side="right"))).loss.double().item()
            * one.outline.cost.targets
            for one in examples
        )
    assert loss.item() == pytest.approx(separate, abs=1e-6)
    assert loss.item() == pytest.approx(mean / targets, abs=1e-6)


def test_padding_changes_no_logits() -> None:
    model, processor = toy()
    examples = [processor.encode(one) for one in mixed()]
    for side in ("left", "right"):
        batch = pad_batch(examples, pad_id=0, side=side)
        positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = model(**inputs(batch, "labels"), position_ids=positions).logits
            for row, example in enumerate(examples):
                alone = pad_batch([example], pad_id=0, side="right")
                expected = model(**inputs(alone, "labels")).logits[0]
                own = logits[row][batch["attention_mask"][row].bool()]
                assert (own - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_proof_passes_where_examples_are_isolated(language: str) -> None:
    model, processor = toy(language)
    assert packed_matches_unpacked(model) <= 1e-5
    assert packed_matches_unpacked(model, processor) <= 1e-5


def test_the_proof_looks_at_rows_of_mixed_media(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = toy()
    seen: list[dict[str, Any]] = []
    forward = type(model).forward

    def noted(self: Any, **inputs: Any) -> Any:
        seen.append(inputs)
        return forward(self, **inputs)

    monkeypatch.setattr(type(model), "forward", noted)
    packed_matches_unpacked(model, processor)
    rows = [one for one in seen if "image_spans" in one and "audio_spans" in one]
    packed = [one for one in rows if "position_ids" in one]
    assert len(packed) == 1 and len(rows) == 2
    # Two pictures and two sounds in one row of four samples, the last of them text alone.
    assert len(packed[0]["image_spans"]) == len(packed[0]["audio_spans"]) == 2
    assert int((packed[0]["position_ids"] == 0).sum()) == 4


def test_the_proof_fails_where_media_of_a_row_are_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = toy()
    forward = type(model).forward

    def swapped(self: Any, **inputs: Any) -> Any:
        if len(inputs.get("pixel_values", ())) > 1:
            inputs["pixel_values"] = (
                inputs["pixel_values"] * torch.tensor([1.0, 0.5])[:, None, None, None]
            )
        return forward(self, **inputs)

    monkeypatch.setattr(type(model), "forward", swapped)
    with pytest.raises(AlignmentError, match=r"packing is not safe"):
        packed_matches_unpacked(model, processor)


# Lfm2's convolutions run on through a row, and Mpt's attention reads no position ids.
@pytest.mark.parametrize(
    ("language", "config"),
    [
        ("lfm2", NARROW | {"layer_types": ["conv", "full_attention"]}),
        ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 2}),
    ],
)
def test_the_proof_fails_where_examples_see_each_other(
    language: str, config: dict[str, Any]
) -> None:
    language_alone = ModelSpec(
        language=LanguageSpec(model_type=language, config=config), tokenizer=SPEC.tokenizer
    )
    model = build(language_alone, TEXTS).model
    with pytest.raises(AlignmentError, match=r"packing is not safe.*logits change by"):
        packed_matches_unpacked(model)
    assert model.training
