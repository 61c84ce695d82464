"""A composition of CLIP, two linear layers and Llama is transformers' Llava, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.toy import TEXTS, WIDTH, assistant, inputs, picture, talk, user
from transformers import LlavaConfig, LlavaForConditionalGeneration

from hocket.model.build import Built, build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TokenizerSpec, TowerSpec
from hocket.tokens.batch import pad_batch

CLIP: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="module")
def own() -> Built:
    spec = ModelSpec(
        language=LanguageSpec(model_type="llama", config=WIDTH),
        vision=TowerSpec(
            model_type="clip_vision_model",
            config=CLIP,
            layer=-2,
            drop=1,
            layout=PartSpec(kind="image_fixed", options={"fit": "crop"}),
            connector=PartSpec(kind="mlp", options={"depth": 2}),
        ),
        tokenizer=TokenizerSpec(vocab_size=300),
    )
    built = build(spec, TEXTS)
    built.model.eval()
    return built


@pytest.fixture(scope="module")
def twin(own: Built) -> LlavaForConditionalGeneration:
    config = LlavaConfig(
        vision_config=own.model.config.vision_config,
        text_config=own.model.config.text_config,
        image_token_index=own.model.config.image_token_id,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
    )
    torch.manual_seed(1)
    return LlavaForConditionalGeneration(config).eval()


def test_weights_load_strictly_both_ways(own: Built, twin: LlavaForConditionalGeneration) -> None:
    weights = {name: value.clone() for name, value in own.model.state_dict().items()}
    assert not torch.equal(weights["lm_head.weight"], twin.state_dict()["lm_head.weight"])
    twin.load_state_dict(weights, strict=True)
    for name, value in twin.state_dict().items():
        assert torch.equal(value, weights[name])
    own.model.load_state_dict(twin.state_dict(), strict=True)


def test_logits_are_bitwise_those_of_llava(own: Built, twin: LlavaForConditionalGeneration) -> None:
    twin.load_state_dict(own.model.state_dict(), strict=True)
    examples = [
        own.processor.encode(talk(user(picture(1), "What?"), assistant("A dog."))),
        own.processor.encode(talk(user(picture(2), picture(3, height=80), "?"), assistant("No."))),
        own.processor.encode(talk(user("Just text."), assistant("Yes."))),
    ]
    batch = inputs(pad_batch(examples, pad_id=0, side="right"), "labels", "image_spans")
    with torch.inference_mode():
        mine = own.model(**batch).logits
        theirs = twin(**batch).logits
        blind = own.model(**batch | {"pixel_values": torch.zeros_like(batch["pixel_values"])})
    assert torch.equal(mine, theirs)
    assert not torch.equal(mine, blind.logits)
