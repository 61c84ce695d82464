"""Every family of language models keeps the contract: it learns, packs, caches and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.toy import SPEC, TEXTS, inputs, mixed

from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling
from hocket.model.build import Built, build
from hocket.model.packing import packed_matches_unpacked
from hocket.model.spec import LanguageSpec, Options
from hocket.tokens.batch import pack_batch, pad_batch

SMALL: Options = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
HEADS: Options = SMALL | {"head_dim": 16}

FAMILIES: dict[str, Options] = {
    "llama": HEADS,
    "mistral": HEADS,
    "mixtral": HEADS | {"num_local_experts": 2, "num_experts_per_tok": 1},
    "gemma": HEADS,
    "gemma2": HEADS | {"query_pre_attn_scalar": 16},
    "gemma3_text": HEADS | {"query_pre_attn_scalar": 16},
    "qwen2": SMALL,
    "qwen3": HEADS,
    "qwen3_moe": SMALL | {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32},
    "phi": {key: value for key, value in SMALL.items() if key != "num_key_value_heads"},
    "phi3": SMALL | {"pad_token_id": 0},
    "smollm3": SMALL,
    "olmo2": SMALL,
    "granite": SMALL,
}


@pytest.fixture(scope="module", params=FAMILIES, ids=str)
def built(request: pytest.FixtureRequest) -> Built:
    language = LanguageSpec(model_type=request.param, config=FAMILIES[request.param])
    made = build(replace(SPEC, language=language), TEXTS * 3)
    made.model.eval()
    return made


def test_packed_rows_do_not_see_each_other(built: Built) -> None:
    assert packed_matches_unpacked(built.model) < 1e-4


def test_packed_media_give_the_loss_of_separate_rows(built: Built) -> None:
    model, processor = built
    examples = [processor.encode(one) for one in mixed()]
    targets = sum(example.outline.cost.targets for example in examples)

    def loss(batch: Any) -> float:
        return float(model(**inputs(batch), num_items_in_batch=targets).loss)

    with torch.inference_mode():
        packed = loss(pack_batch([examples], pad_id=0))
        apart = sum(loss(pad_batch([one], pad_id=0, side="right")) for one in examples)
    assert packed == pytest.approx(apart, rel=1e-5)


def test_a_step_reaches_every_part(built: Built) -> None:
    model, processor = built
    batch = pack_batch([[processor.encode(one) for one in mixed()]], pad_id=0)
    before = float(model(**inputs(batch)).loss.detach())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    model(**inputs(batch)).loss.backward()
    for part in ("vision_tower", "multi_modal_projector", "audio_projector", "language_model"):
        grads = [value.grad for value in model.model.get_submodule(part).parameters()]
        assert any(grad is not None and bool(grad.abs().sum() > 0) for grad in grads), part
    norm = torch.nn.utils.get_total_norm(
        [value.grad for value in model.parameters() if value.grad is not None]
    )
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 / float(norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    assert float(model(**inputs(batch)).loss.detach()) < before


def test_the_cache_changes_no_answer(built: Built) -> None:
    model, processor = built
    engine = Engine(model, processor)
    for conversation in mixed()[:2]:
        question = replace(conversation, messages=conversation.messages[:1])
        answer = engine.answer([question], Sampling(max_new_tokens=5))[0]
        batch = pad_batch([processor.encode(question, for_answer=True)], pad_id=0, side="left")
        ids = inputs(batch, "labels")
        with torch.inference_mode():
            slow = model.generate(**ids, max_new_tokens=5, do_sample=False, use_cache=False)
        text = processor.tokenizer.decode(
            slow[0, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
        assert answer.text.strip() == text.strip()
