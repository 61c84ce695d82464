from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.toy import EYES, SPEC, TEXTS, WIDTH, inputs, mixed, toy
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.directory import write_checkpoint
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, PartSpec, TowerSpec
from hocket.tokens.batch import pad_batch

CLIP_WIDTH = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP, pictures and text, as the hub has them."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(3)
    vision = CLIP_WIDTH | {"image_size": 28, "patch_size": 14}
    CLIPModel(
        CLIPConfig(vision_config=vision, text_config=CLIP_WIDTH | {"vocab_size": 40})
    ).save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model whose table is one row short of our placeholders."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = toy().processor.tokenizer
    tokenizer.save_pretrained(folder)
    torch.manual_seed(4)
    config = LlamaConfig(**WIDTH, vocab_size=len(tokenizer) - 1, pad_token_id=0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def eyes(clip: Path, **changes: object) -> TowerSpec:
    tower = TowerSpec(
        path=str(clip),
        drop=1,
        layer=-2,
        layout=PartSpec(kind="image_fixed"),
        connector=PartSpec(kind="mlp"),
    )
    return replace(tower, **changes)  # type: ignore[arg-type] # the caller names fields


def test_a_tower_and_a_language_model_come_from_their_directories(clip: Path, llama: Path) -> None:
    spec = replace(SPEC, vision=eyes(clip), language=LanguageSpec(path=str(llama)))
    model, processor = build(spec)
    theirs = CLIPModel.from_pretrained(clip).vision_model.state_dict()
    ours = model.model.vision_tower.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    text = LlamaForCausalLM.from_pretrained(llama)
    known = text.config.vocab_size
    table = model.get_input_embeddings().weight
    assert torch.equal(table[:known], text.get_input_embeddings().weight)
    assert torch.equal(model.lm_head.weight[:known], text.lm_head.weight)
    assert len(table) == len(processor.tokenizer) == model.config.text_config.vocab_size
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        expected = text.eval()(ids).logits
        own = model.eval()(input_ids=ids).logits[..., :known]
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-6)
    assert torch.isfinite(
        model(**inputs(pad_batch([processor.encode(mixed()[0])], pad_id=0, side="right"))).loss
    )


def test_the_directory_decides_the_preprocessing(clip: Path) -> None:
    processor = build(replace(SPEC, vision=eyes(clip)), TEXTS * 3).processor
    assert processor.image_layout is not None
    expected = {"size": 28, "patch": 14, "fit": "crop", "resample": "bicubic"}
    assert {name: processor.image_layout[name] for name in expected} == expected
    assert processor.image_layout["mean"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    changed = PartSpec(kind="image_fixed", options={"fit": "pad"})
    padded = build(replace(SPEC, vision=eyes(clip, layout=changed)), TEXTS * 3).processor
    assert padded.image_layout is not None
    assert padded.image_layout["fit"] == "pad"


def test_a_longer_context_scales_rotary_positions(llama: Path) -> None:
    language = LanguageSpec(path=str(llama), context=5000)
    config = build(replace(SPEC, language=language)).model.config.text_config
    assert config.rope_parameters["rope_type"] == "linear"
    assert config.rope_parameters["factor"] == 3.0
    assert config.max_position_embeddings == 5000
    same = LanguageSpec(path=str(llama), context=2048)
    config = build(replace(SPEC, language=same)).model.config.text_config
    assert config.rope_parameters["rope_type"] == "default"


def test_what_cannot_be_opened_is_named(clip: Path, llama: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    gone = replace(SPEC, vision=eyes(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"model\.vision\.path: .*empty holds no configuration"):
        build(gone, TEXTS * 3)
    other = replace(SPEC, vision=eyes(clip, model_type="siglip_vision_model"))
    with pytest.raises(ConfigError, match=r"model\.vision\.model_type is 'siglip.*is a 'clip_vis"):
        build(other, TEXTS * 3)
    other = replace(SPEC, vision=eyes(clip, config={"num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match=r"model\.vision\.path: .* missing keys: .*layers\.2"):
        build(other, TEXTS * 3)
    wrong = replace(SPEC, language=LanguageSpec(path=str(clip)), vision=EYES)
    with pytest.raises(ConfigError, match=r"no language model|holds no tokenizer"):
        build(wrong)


def test_a_tower_and_a_connector_come_from_a_run_of_ours(clip: Path, tmp_path: Path) -> None:
    first = build(replace(SPEC, vision=eyes(clip)), TEXTS * 3)
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    write_checkpoint(folder, *first)
    connector = PartSpec(kind="mlp", path=str(tmp_path / "run"))
    spec = replace(SPEC, vision=eyes(tmp_path / "run", connector=connector), seed=5)
    second = build(spec, TEXTS * 3).model
    for part, same in (
        ("vision_tower", True),
        ("multi_modal_projector", True),
        ("language_model", False),
    ):
        ours = second.model.get_submodule(part).state_dict()
        theirs = first.model.model.get_submodule(part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours) is same, part
    deeper = replace(connector, options={"depth": 3})
    with pytest.raises(CheckpointError, match=r"model\.vision\.connector\.path: .* linear_3\.bias"):
        build(replace(SPEC, vision=eyes(clip, connector=deeper)), TEXTS * 3)
    with pytest.raises(ConfigError, match=r"is a whole Hocket model.*train\.init_from"):
        build(replace(SPEC, language=LanguageSpec(path=str(folder))))


def test_a_connector_comes_from_a_file(clip: Path, tmp_path: Path) -> None:
    tensors = build(replace(SPEC, vision=eyes(clip)), TEXTS * 3).model.model.multi_modal_projector
    assert tensors is not None
    file = tmp_path / "projector.safetensors"
    save_file(tensors.state_dict(), file)
    spec = replace(SPEC, vision=eyes(clip, connector=PartSpec(kind="mlp", path=str(file))), seed=6)
    ours = build(spec, TEXTS * 3).model.model.multi_modal_projector
    assert ours is not None
    assert all(
        torch.equal(value, tensors.state_dict()[name]) for name, value in ours.state_dict().items()
    )
