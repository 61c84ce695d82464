"""Exports to Qwen2-Audio: the same logits and tokens in transformers' class, and back again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.checkpoint.export.toys import clip, save
from tests.toy import EARS
from transformers import AutoProcessor, Qwen2AudioProcessor

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import load_checkpoint
from hocket.checkpoint.export import export, verify_export
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.tools.diff import compare
from hocket.model.spec import PartSpec, TowerSpec
from hocket.tokens.tokenizer import AUDIO

CLOSE = 1e-5
PLACE = "<|AUDIO|>"
ENCODER: dict[str, Any] = {
    "num_mel_bins": 80,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "d_model": 32,
    "max_source_positions": 50,
}


def ears(**options: Any) -> TowerSpec:
    fields: dict[str, Any] = {
        "layout": PartSpec(kind="audio_mel", options={"chunk_seconds": 1.0}),
        "connector": PartSpec(kind="qwen2_audio", options={"pool": 1}),
    }
    return TowerSpec(model_type="qwen2_audio_encoder", config=ENCODER, **(fields | options))


@pytest.mark.parametrize("tie", [False, True])
def test_the_class_gives_the_same_logits(tmp_path: Path, tie: bool) -> None:
    saved = save(tmp_path / "model", audio=ears(), text="qwen2", tie_word_embeddings=tie)
    notes = export(saved, tmp_path / "out", to="qwen2_audio")
    assert "the first 1 s" in notes[0]
    assert "30 s only" in notes[1]
    found = verify_export(saved, tmp_path / "out", to="qwen2_audio")
    assert found.opened_in == "Qwen2AudioForConditionalGeneration"
    assert found.same_inputs <= CLOSE * found.largest
    names = set(load_file(tmp_path / "out" / "model.safetensors"))
    assert "language_model.lm_head.weight" in names
    assert found.own_inputs is not None and found.own_inputs <= CLOSE * found.largest, found.remark


def test_names_and_files_are_those_that_servers_read(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", audio=ears(), text="qwen2")
    export(saved, tmp_path / "out", to="qwen2_audio")
    made, ours = (
        load_file(tmp_path / "out" / "model.safetensors"),
        load_file(saved / "model.safetensors"),
    )
    table = {
        "audio_tower.conv1.weight": "model.audio_tower.conv1.weight",
        "audio_tower.layers.1.fc1.bias": "model.audio_tower.layers.1.fc1.bias",
        "multi_modal_projector.linear.bias": "model.audio_projector.linear.bias",
        "language_model.model.norm.weight": "model.language_model.norm.weight",
        "language_model.lm_head.weight": "lm_head.weight",
    }
    assert len(made) == len(ours)
    for theirs, name in table.items():
        assert torch.equal(made[theirs], ours[name])
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["text_config"]["architectures"] == ["Qwen2ForCausalLM"]
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    assert isinstance(processor, Qwen2AudioProcessor)
    assert processor.audio_token == PLACE
    assert processor.audio_token_id == config["audio_token_index"]
    assert (processor.audio_bos_token, processor.audio_eos_token) == (
        "<|audio_bos|>",
        "<|audio_eos|>",
    )
    extractor = processor.feature_extractor
    assert (extractor.n_samples, extractor.feature_size, extractor.hop_length) == (16000, 80, 160)
    for kind in ("audio", "audio_url", "input_audio"):
        content = [{"type": kind}, {"type": "text", "text": "Listen."}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        assert text == (f"<|im_start|>user\n{PLACE}Listen.<|im_end|>\n<|im_start|>assistant\n")


def test_a_generation_has_the_same_tokens(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", audio=ears(), text="qwen2")
    export(saved, tmp_path / "out", to="qwen2_audio")
    from transformers import Qwen2AudioForConditionalGeneration

    twin = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    theirs = AutoProcessor.from_pretrained(tmp_path / "out")
    model, processor = load_checkpoint(saved)
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    for samples in (16000, 9000, 3213):
        wave = 0.1 * np.random.default_rng(samples).standard_normal(samples, dtype=np.float32)
        ours = processor(text=f"{AUDIO}Listen.", audio=[wave])
        given = theirs(
            text=f"{PLACE}Listen.", audio=[wave], sampling_rate=16000, return_tensors="pt"
        )
        with torch.inference_mode():
            mine = model.generate(**ours, **options)
            same = twin.generate(**given, **options)
        length = ours["input_ids"].shape[1]
        assert given["input_ids"].shape[1] == length
        assert mine[0, length:].tolist() == same[0, length:].tolist()


def test_in_and_out_and_in_again_is_equal_to_the_last_bit(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", audio=ears(), text="qwen2")
    export(saved, tmp_path / "native", to="qwen2_audio")
    import_checkpoint("native_qwen2_audio", tmp_path / "native", tmp_path / "first")
    export(tmp_path / "first", tmp_path / "again", to="qwen2_audio")
    import_checkpoint("native_qwen2_audio", tmp_path / "again", tmp_path / "second")
    assert compare(tmp_path / "first", tmp_path / "second").same
    for name in ("tokenizer.json", "processor_config.json", "chat_template.jinja", "config.json"):
        first, second = ((tmp_path / one / name).read_text("utf-8") for one in ("first", "second"))
        assert first == second, name
    native, again = (load_file(tmp_path / one / "model.safetensors") for one in ("native", "again"))
    assert native.keys() == again.keys()
    for name, value in native.items():
        # Importing gave <audio> a row of its own behind the vocabulary.
        assert torch.equal(again[name][: len(value)], value), name
    wave = 0.1 * np.random.default_rng(0).standard_normal(7000, dtype=np.float32)
    answers = []
    for folder in (saved, tmp_path / "second"):
        model, processor = load_checkpoint(folder)
        with torch.inference_mode():
            logits = model(**processor(text=f"{AUDIO}Listen.", audio=[wave])).logits
        answers.append(logits[..., : saved_vocabulary(saved)])
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-5)


def saved_vocabulary(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return int(config["text_config"]["vocab_size"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vision": clip(), "audio": ears()}, "model.vision: found clip_vision_model"),
        ({"vision": clip()}, "model.vision: found clip_vision_model"),
        ({"audio": EARS}, "model.audio.model_type: found whisper, expected qwen2_audio_encoder"),
        (
            {"audio": ears(), "text": "qwen3"},
            "model.language.model_type: found qwen3, expected qwen2",
        ),
        ({"audio": ears(layer=1)}, "model.audio.layer: found 1"),
        ({"audio": ears(scale=2.0)}, "model.audio.scale: found 2.0"),
        (
            {"audio": ears(connector=PartSpec(kind="linear"))},
            "model.audio.connector.kind: found linear",
        ),
        (
            {"audio": ears(connector=PartSpec(kind="qwen2_audio"))},
            "model.audio.connector.pool: found 2, expected 1",
        ),
        (
            {
                "audio": ears(
                    layout=PartSpec(kind="audio_mel", options={"chunk_seconds": 1.0, "trim": False})
                )
            },
            "model.audio.layout.trim: found False",
        ),
    ],
)
def test_what_it_cannot_express(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    saved = save(tmp_path / "model", **({"text": "qwen2"} | options))
    with pytest.raises(CheckpointError, match=message):
        export(saved, tmp_path / "out", to="qwen2_audio")
    assert not (tmp_path / "out").exists()
