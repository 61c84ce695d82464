from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.toy import SPEC, TEXTS, WIDTH, inputs, mixed
from torch import nn

from hocket.model.build import Built, build
from hocket.model.documents import (
    IMPLEMENTATION,
    PLAIN,
    attend_alone,
    attend_together,
    find_documents,
)
from hocket.model.packing import isolate_samples
from hocket.model.spec import LanguageSpec
from hocket.tokens.batch import pack_batch, pad_batch

NARROW = {key: value for key, value in WIDTH.items() if key != "head_dim"}
LANGUAGES = {
    "llama": WIDTH,
    "qwen3": WIDTH,
    "mistral": WIDTH | {"sliding_window": 7},
    "gemma3_text": WIDTH | {"sliding_window": 7, "layer_types": ["sliding_attention"] * 2},
}


def composite(language: str) -> Built:
    spec = LanguageSpec(model_type=language, config=LANGUAGES[language])
    return build(replace(SPEC, language=spec), TEXTS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_loss_and_gradients_are_those_of_the_mask(language: str) -> None:
    model, processor = composite(language)
    examples = [processor.encode(one) for one in mixed()]
    batch = inputs(pack_batch([examples[:3], examples[3:]], pad_id=0))
    found = []
    for alone in (False, True):
        if alone:
            assert attend_alone(model)
        model.zero_grad()
        output = model(**batch, loss_only=True)
        output.loss.backward()
        grads = {
            name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None
        }
        found.append((output.loss.item(), grads))
    (loss, grads), (loss_alone, grads_alone) = found
    assert loss_alone == pytest.approx(loss, abs=1e-6)
    assert grads.keys() == grads_alone.keys()
    largest = max(float(one.abs().max()) for one in grads.values())
    for name, one in grads.items():
        assert (one - grads_alone[name]).abs().max() <= 1e-5 * max(1.0, largest), name


def test_attention_works_on_samples_and_not_on_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = composite("llama")
    assert attend_alone(model)
    examples = [processor.encode(one) for one in mixed()]
    batch = inputs(pack_batch([examples], pad_id=0))
    lengths = [len(one.outline.input_ids) for one in examples]
    seen: list[int] = []
    inner = nn.functional.scaled_dot_product_attention

    def watch(query: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        if query.shape[-1] == WIDTH["head_dim"] and query.shape[1] == 2:
            seen.append(query.shape[2])
        return inner(query, *args, **kwargs)  # type: ignore[arg-type] # handed on as it came

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", watch)
    model(**batch, loss_only=True)
    layers = WIDTH["num_hidden_layers"]
    assert [seen.count(length) >= layers for length in lengths] == [True] * len(lengths)
    assert sum(lengths) not in seen


def test_padded_rows_and_generation_are_as_before() -> None:
    model, processor = composite("llama")
    examples = [processor.encode(one) for one in mixed()]
    padded = inputs(pad_batch(examples, pad_id=0, side="left"), "labels")
    with torch.inference_mode():
        before = model(**padded).logits
        ids = model.generate(**padded, max_new_tokens=4, do_sample=False)
        assert attend_alone(model)
        real = padded["attention_mask"].bool()
        assert (model(**padded).logits[real] - before[real]).abs().max() <= 1e-6
        assert model.generate(**padded, max_new_tokens=4, do_sample=False).equal(ids)


def test_a_row_that_goes_on_where_another_ended_is_masked() -> None:
    model, _ = composite("llama")
    assert attend_alone(model)
    embeds = torch.zeros(1, 4, 8)
    language = model.model.language_model
    assert find_documents(language, embeds, torch.tensor([[3, 4, 0, 1]])) is None
    assert find_documents(language, embeds, torch.tensor([[0, 1, 0, 1]])) == [[2, 2]]
    attend_together(model)
    assert find_documents(language, embeds, torch.tensor([[0, 1, 0, 1]])) is None


def test_a_run_takes_it_where_it_is_right() -> None:
    model, processor = composite("llama")
    assert isolate_samples(model, processor) <= 1e-5
    assert model.config.text_config._attn_implementation == IMPLEMENTATION
    assert isolate_samples(model, processor, compiled=True) <= 1e-5
    assert model.config.text_config._attn_implementation == PLAIN


def test_a_chosen_attention_stays() -> None:
    model, processor = composite("llama")
    model.set_attn_implementation({"text_config": "eager"})
    assert isolate_samples(model, processor) <= 1e-5
    assert model.config.text_config._attn_implementation == "eager"


def test_a_language_model_that_does_not_hand_the_bounds_on_keeps_its_mask() -> None:
    model, processor = composite("llama")
    for layer in model.model.language_model.layers:
        inner = layer.self_attn.forward

        def forward(*args: object, inner: object = inner, **kwargs: object) -> object:
            kwargs.pop("documents", None)
            return inner(*args, **kwargs)  # type: ignore[operator] # a layer's own forward

        layer.self_attn.forward = forward
    assert isolate_samples(model, processor) <= 1e-5
    assert model.config.text_config._attn_implementation == PLAIN
