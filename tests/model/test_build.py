from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.toy import EARS, EYES, SPEC, TEXTS, WIDTH, assistant, inputs, sound, talk, user
from torch import nn

from hocket._errors import AlignmentError, ConfigError
from hocket.model.build import build
from hocket.model.spec import (
    LanguageSpec,
    ModelSpec,
    Options,
    PartSpec,
    TokenizerSpec,
    VideoSpec,
)
from hocket.tokens.batch import pad_batch


def eyes(config: Options | None = None, **changes: Any) -> ModelSpec:
    tower = replace(EYES, config=EYES.config | (config or {}), **changes)
    return replace(SPEC, vision=tower)


def ears(config: Options | None = None, **changes: Any) -> ModelSpec:
    tower = replace(EARS, config=EARS.config | (config or {}), **changes)
    return replace(SPEC, audio=tower)


def mind(model_type: str = "llama", **config: Any) -> ModelSpec:
    return replace(SPEC, language=LanguageSpec(model_type=model_type, config=WIDTH | config))


WRONG = {
    "language model type": (
        mind("lama"),
        ConfigError,
        r"model.language.model_type: transformers has no 'lama'. Did you mean 'llama'",
    ),
    "language option": (
        mind(hiden_size=4),
        ConfigError,
        r"model.language.config: 'llama' has no option 'hiden_size'. Did you mean 'hidden_size'",
    ),
    "language value": (
        mind(hidden_size="wide"),
        ConfigError,
        r"model.language.config: transformers refuses it: .*hidden_size.*wide",
    ),
    "vocabulary": (mind(vocab_size=20), ConfigError, r"vocab_size is 20, but the tokenizer has"),
    "vision model type": (
        eyes(model_type="siglip_vision"),
        ConfigError,
        r"model.vision.model_type: .* Did you mean 'siglip_vision_model'",
    ),
    "vision option": (eyes({"patchsize": 4}), ConfigError, r"model.vision.* Did you mean 'patch_"),
    "layout kind": (
        eyes(layout=PartSpec(kind="image_fix")),
        ConfigError,
        r"no layout is called 'image_fix'. Did you mean 'image_fixed'",
    ),
    "layout option": (
        eyes(layout=PartSpec(kind="image_fixed", options={"fitt": "pad"})),
        ConfigError,
        r"layout 'image_fixed' has no option 'fitt'. Did you mean 'fit'",
    ),
    "layout value": (
        eyes(layout=PartSpec(kind="image_fixed", options={"fit": "stretch"})),
        ConfigError,
        r"layout 'image_fixed', option 'fit': .*'crop', 'pad' or 'longest'.*found 'stretch'",
    ),
    "layout of other patches": (
        eyes(layout=PartSpec(kind="image_fixed", options={"size": 32})),
        AlignmentError,
        r"model.vision: the layout cuts \(8, 8\) patches, but the encoder makes \(4, 4\)",
    ),
    "connector kind": (
        eyes(connector=PartSpec(kind="pixelshuffle")),
        ConfigError,
        r"no connector is called 'pixelshuffle'. Did you mean 'pixel_shuffle'",
    ),
    "connector option": (
        eyes(connector=PartSpec(kind="pixel_shuffle", options={"folds": 2})),
        ConfigError,
        r"connector 'pixel_shuffle' has no option 'folds'. Did you mean 'fold'",
    ),
    "connector value": (
        eyes(connector=PartSpec(kind="mlp", options={"depth": "deep"})),
        ConfigError,
        r"connector 'mlp', option 'depth': .*found 'deep'",
    ),
    "connector that does not divide": (
        eyes(connector=PartSpec(kind="pixel_shuffle", options={"fold": 3})),
        ConfigError,
        r"a grid of 4 x 4 patches cannot be folded by 3",
    ),
    "class token kept": (
        eyes(model_type="clip_vision_model", config={"vision_use_head": True}),
        ConfigError,
        r"model.vision.config: 'clip_vision_model' has no option",
    ),
    "patch dropped": (
        eyes(drop=1),
        AlignmentError,
        r"the encoder makes 15 positions with drop=1, but its grid has 16. Set drop to 0",
    ),
    "hidden state": (eyes(layer=5), ConfigError, r"model.vision.layer is 5.*-3 to 2"),
    "heads": (eyes({"num_attention_heads": 5}), ConfigError, r"model.vision.config: .*refuses it"),
    "chunk": (
        ears(layout=PartSpec(kind="audio_mel", options={"chunk_seconds": 1.0})),
        AlignmentError,
        r"the layout makes 50 encoder frames per chunk, but the encoder makes 25",
    ),
    "half a frame": (
        ears(layout=PartSpec(kind="audio_mel", options={"chunk_seconds": 0.51})),
        ConfigError,
        r"chunk_seconds 0.51 .* multiple of 320",
    ),
    "connector of no frames": (
        ears(connector=PartSpec(kind="stack", options={"frames": 0})),
        ConfigError,
        r"connector 'stack': frames is 0",
    ),
    "sampler": (
        replace(SPEC, video=VideoSpec(sampler="unifrom")),
        ConfigError,
        r"no frame sampler is called 'unifrom'. Did you mean 'uniform'",
    ),
    "video without eyes": (replace(SPEC, vision=None), ConfigError, r"model.video needs eyes"),
    "init": (replace(SPEC, init="fan-in"), ConfigError, r"Did you mean 'fan_in'"),
    "tokenizer folder": (
        replace(SPEC, tokenizer=TokenizerSpec(path="/nowhere")),
        ConfigError,
        r"model.tokenizer.path: no folder /nowhere",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_description_is_refused_in_a_few_lines(case: str) -> None:
    spec, kind, words = WRONG[case]
    with pytest.raises(kind, match=words) as caught:
        build(spec, TEXTS)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_class_token_must_be_dropped() -> None:
    config = {key: value for key, value in EYES.config.items() if key != "vision_use_head"}
    tower = replace(EYES, model_type="clip_vision_model", config=config)
    with pytest.raises(AlignmentError, match=r"17 positions with drop=0.* Set drop to 1"):
        build(replace(SPEC, vision=tower), TEXTS)
    build(replace(SPEC, vision=replace(tower, drop=1)), TEXTS)


def test_a_sound_may_take_so_many_rows_per_chunk() -> None:
    four = PartSpec(kind="resampler", options={"queries": 4, "heads": 2})
    model, processor = build(ears(connector=four), TEXTS * 3)
    long = sound(seconds=1.2)
    outline = processor.measure(talk(user(long), assistant("a")))
    assert [(span.units, span.rows) for span in outline.spans] == [(3, 12)]
    example = processor.encode(talk(user(long), assistant("a")))
    assert torch.isfinite(model(**inputs(pad_batch([example], pad_id=0, side="right"))).loss)


def test_the_layout_learns_the_rows_from_the_connector() -> None:
    for connector, rows in (
        (PartSpec(kind="stack"), 3),
        (PartSpec(kind="stack", options={"frames": 24}), 1),
        (PartSpec(kind="stack", options={"frames": 1}), 10),
    ):
        processor = build(ears(connector=connector), TEXTS).processor
        assert processor.measure(talk(user(sound(seconds=0.2)))).spans[0].rows == rows
    whole = PartSpec(kind="audio_mel", options={"chunk_seconds": 0.5, "trim": False})
    processor = build(ears(layout=whole, connector=PartSpec(kind="mlp")), TEXTS).processor
    assert processor.measure(talk(user(sound(seconds=0.2)))).spans[0].rows == 25


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "gpt2", "mpt"])
def test_language_models_with_tied_tables_of_any_name(model_type: str) -> None:
    names = {"gpt2": ("n_embd", "n_layer", "n_head"), "mpt": ("d_model", "n_layers", "n_heads")}
    config: Options = dict(WIDTH)
    if model_type in names:
        config = dict(zip(names[model_type], (32, 2, 2), strict=True))
    spec = ModelSpec(
        language=LanguageSpec(model_type=model_type, config=config | {"tie_word_embeddings": True}),
        tokenizer=SPEC.tokenizer,
    )
    model, processor = build(spec, TEXTS)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    batch = pad_batch([processor.encode(talk(user("hi"), assistant("ho")))], pad_id=0, side="right")
    assert model(**inputs(batch)).loss.isfinite()


def test_the_seed_decides_every_weight() -> None:
    state = torch.random.get_rng_state()
    first, second, other = (build(replace(SPEC, seed=seed), TEXTS).model for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two), name
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_small_models_start_with_weights_of_their_fan_in() -> None:
    model = build(SPEC, TEXTS).model
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            fan_in = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.15)
    plain = build(replace(SPEC, init="transformers"), TEXTS).model
    assert plain.lm_head.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_tokenizer_can_come_from_a_folder(tmp_path: Path) -> None:
    tokenizer = build(SPEC, TEXTS).processor.tokenizer
    tokenizer.save_pretrained(tmp_path)
    again = build(replace(SPEC, tokenizer=TokenizerSpec(path=str(tmp_path))))
    assert again.processor.tokenizer.get_vocab() == tokenizer.get_vocab()


def test_towers_are_optional() -> None:
    spec = ModelSpec(language=SPEC.language, tokenizer=SPEC.tokenizer)
    for one in (spec, replace(spec, vision=EYES), replace(spec, audio=EARS)):
        model = build(one, TEXTS).model
        names = {name.split(".")[1] for name, _ in model.named_parameters() if "." in name}
        assert ("vision_tower" in names) == (one.vision is not None)
        assert ("audio_tower" in names) == (one.audio is not None)
