"""A LLaVA export opens in transformers with the same answers, or is refused by the part's name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.checkpoint.export.toys import clip, internvl, layout, save, siglip
from tests.toy import EARS, SPEC, TEXTS, assistant, picture, talk, toy, user
from transformers import AutoProcessor

from hocket._errors import CheckpointError, UnknownNameError
from hocket.chat.template import to_messages
from hocket.checkpoint.directory import write_checkpoint
from hocket.checkpoint.export import ExportOptions, export, verify_export
from hocket.checkpoint.manifest import verify_directory
from hocket.model.build import build
from hocket.model.spec import PartSpec, TowerSpec, VideoSpec

# One matrix product in another order of sums; on this composition they are bitwise equal.
CLOSE = 1e-5


@pytest.mark.parametrize(
    ("vision", "text", "options"),
    [
        (clip(), "llama", {}),
        (clip(layout=layout(fit="pad", mean=[0.48, 0.46, 0.41])), "qwen2", {}),
        (clip(layout=layout(fit="squash")), "mistral", {}),
        (siglip(), "qwen3", {"tie_word_embeddings": True}),
        (siglip(layer=-2, layout=layout(resample="bilinear")), "qwen2", {}),
        (clip(drop=-1), "qwen2", {}),
        (clip(drop=0, encoder=PartSpec(kind="hf", options={"leading": 1})), "qwen2", {}),
        (siglip(drop=1, encoder=PartSpec(kind="hf", options={"leading": -1})), "qwen2", {}),
    ],
)
def test_transformers_gives_the_same_logits(
    tmp_path: Path, vision: TowerSpec, text: str, options: dict[str, Any]
) -> None:
    saved = save(tmp_path / "model", vision=vision, text=text, **options)
    assert export(saved, tmp_path / "out", to="llava") == []
    verify_directory(tmp_path / "out")
    found = verify_export(saved, tmp_path / "out", to="llava")
    assert found.opened_in == "LlavaForConditionalGeneration"
    assert found.same_inputs <= CLOSE * found.largest
    assert found.own_inputs is not None
    assert found.own_inputs <= CLOSE * found.largest
    assert found.largest > 0.1


def test_names_are_those_that_vllm_and_sglang_load(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=clip(), text="qwen2")
    export(saved, tmp_path / "out", to="llava")
    names = set(load_file(tmp_path / "out" / "model.safetensors"))
    for name in (
        "vision_tower.vision_model.embeddings.class_embedding",
        "vision_tower.vision_model.pre_layrnorm.weight",
        "vision_tower.vision_model.encoder.layers.0.self_attn.out_proj.bias",
        "multi_modal_projector.linear_1.weight",
        "multi_modal_projector.linear_2.bias",
        "language_model.model.embed_tokens.weight",
        "language_model.model.layers.1.mlp.up_proj.weight",
        "language_model.lm_head.weight",
    ):
        assert name in names
    starts = {name.partition(".")[0] for name in names}
    assert starts == {"vision_tower", "multi_modal_projector", "language_model"}
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["image_token_index"] == config["image_token_id"] == 3
    assert (config["vision_feature_layer"], config["image_seq_length"]) == (-2, 16)
    assert config["vision_feature_select_strategy"] == "default"
    assert config["text_config"]["architectures"] == ["Qwen2ForCausalLM"]
    assert "auto_map" not in config
    assert not list((tmp_path / "out").glob("*.py"))


def test_a_tied_head_is_not_written(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=siglip(), text="qwen3", tie_word_embeddings=True)
    export(saved, tmp_path / "out", to="llava")
    assert "language_model.lm_head.weight" not in load_file(tmp_path / "out/model.safetensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["tie_word_embeddings"]
    assert config["vision_feature_layer"] == -1
    assert config["vision_feature_select_strategy"] == "full"


def test_types_and_shards_are_kept(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=clip(), dtype=torch.bfloat16)
    export(saved, tmp_path / "out", to="llava", options=ExportOptions(shard_bytes=40_000))
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 1
    assert all(one.dtype == torch.bfloat16 for file in files for one in load_file(file).values())
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["dtype"] == "bfloat16"
    found = verify_export(saved, tmp_path / "out", to="llava")
    assert found.same_inputs <= CLOSE * found.largest


def test_verify_finds_a_wrong_weight_and_a_wrong_processor(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=clip())
    other = save(tmp_path / "other", vision=clip(layout=layout(fit="squash")), hidden_act="gelu")
    export(other, tmp_path / "out", to="llava")
    found = verify_export(saved, tmp_path / "out", to="llava")
    assert found.same_inputs > 0.01
    export(saved, tmp_path / "good", to="llava")
    for name in ("processor_config.json", "preprocessor_config.json"):
        (tmp_path / "good" / name).write_bytes((tmp_path / "out" / name).read_bytes())
    found = verify_export(saved, tmp_path / "good", to="llava")
    assert found.same_inputs <= CLOSE * found.largest
    assert found.own_inputs is not None
    assert found.own_inputs > 0.001


def test_the_template_takes_openai_names_and_writes_the_same(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=clip())
    export(saved, tmp_path / "out", to="llava")
    processor = AutoProcessor.from_pretrained(tmp_path / "out", local_files_only=True)
    messages = to_messages(talk(user(picture(), "What?"), assistant("A dog."), user("Sure?")))
    messages.append({"role": "assistant", "content": "Yes."})
    ours = toy().processor.apply_chat_template(messages, tokenize=False)
    assert processor.apply_chat_template(messages, tokenize=False) == ours
    assert ours.count("<image>") == 1
    messages[0]["content"][0] = {"type": "image_url", "image_url": {"url": "data:..."}}
    assert processor.apply_chat_template(messages, tokenize=False) == ours


def test_videos_are_mentioned(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=clip(), video=VideoSpec(options={"frames": 2}))
    (note,) = export(saved, tmp_path / "out", to="llava")
    assert note.startswith("videos:")


@pytest.mark.parametrize(
    ("vision", "audio", "message"),
    [
        (None, EARS, "cannot express model.audio: found whisper, expected no sound"),
        (None, None, "model.vision.model_type: found none"),
        (internvl(), None, "model.vision.model_type: found internvl_vision"),
        (siglip(layer=-1), None, "model.vision.layer: found -1, SigLIP's normalised output"),
        (clip(scale=0.5), None, r"model.vision.scale: found 0.5, expected 1.0"),
        (
            clip(connector=PartSpec(kind="pixel_shuffle")),
            None,
            "connector.kind: found pixel_shuffle, expected 'mlp'",
        ),
        (
            clip(connector=PartSpec(kind="mlp", options={"depth": 3})),
            None,
            "connector.depth: found 3, expected 2",
        ),
        (clip(layout=layout(after=["\n"])), None, "model.vision.layout.after"),
        (
            clip(layout=layout("image_tiles", max_tiles=2)),
            None,
            "model.vision.layout.kind: found image_tiles, expected image_fixed",
        ),
    ],
)
def test_what_llava_cannot_express(
    tmp_path: Path, vision: TowerSpec | None, audio: TowerSpec | None, message: str
) -> None:
    saved = save(tmp_path / "model", vision=vision, audio=audio)
    with pytest.raises(CheckpointError, match=message):
        export(saved, tmp_path / "out", to="llava")
    assert not (tmp_path / "out").exists()


def test_a_joint_connector_is_refused(tmp_path: Path) -> None:
    joint = PartSpec(kind="latent_queries", options={"queries": 2, "heads": 2})
    seeing = replace(SPEC, vision=clip(connector=None), audio=None, video=None, joint=joint)
    (tmp_path / "model").mkdir()
    write_checkpoint(tmp_path / "model", *build(seeing, TEXTS * 3))
    with pytest.raises(CheckpointError, match=r"model\.joint: found latent_queries"):
        export(tmp_path / "model", tmp_path / "out", to="llava")


def test_an_unknown_target_and_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no export target is called 'lava'.*'llava'"):
        export(tmp_path, tmp_path / "out", to="lava")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="a model of the type 'llama'; expected 'hocket'"):
        export(tmp_path, tmp_path / "out", to="llava")
    saved = save(tmp_path / "model", vision=clip())
    (saved / "processor_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"model cannot be opened: .*Use another checkpoint"):
        export(saved, tmp_path / "out", to="llava")
