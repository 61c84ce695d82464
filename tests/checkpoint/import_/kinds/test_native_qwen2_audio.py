"""What transformers' Qwen2-Audio saves gives the same logits here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoint.import_.kinds.natives import (
    QWEN2,
    change_config,
    gap,
    rename_newer,
    tokenizer,
    write_native,
)
from tests.checkpoint.import_.parity import reopen
from torch import Tensor
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from hocket._errors import CheckpointError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.origin import Origin
from hocket.media.audio import Audio
from hocket.tokens.batch import pad_batch

PLACE = "<|AUDIO|>"
RATE, HOP, POSITIONS = 16000, 160, 40
CHUNK = 2 * POSITIONS * HOP


def _write(folder: Path) -> tuple[Any, int]:
    words = tokenizer(PLACE)
    audio = words.convert_tokens_to_ids(PLACE)
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": 80,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "d_model": 32,
            "max_source_positions": POSITIONS,
        },
        text_config=QWEN2 | {"vocab_size": len(words) + 3},
        audio_token_index=audio,
    )
    pixels = {"sampling_rate": RATE, "hop_length": HOP, "n_fft": 400}
    return write_native(
        folder, Qwen2AudioForConditionalGeneration, config, words, place=PLACE, pixels=pixels
    ), audio


def _batch(loaded: Loaded, *sounds: np.ndarray) -> dict[str, Tensor]:
    parts = [Audio.from_array(wave, rate=RATE) for wave in sounds]
    talk = Conversation(
        id="0", messages=(Message(Role.USER, (*parts, Text("What is this?"))),), source=""
    )
    example = loaded.processor.encode(talk, for_answer=True)
    pad = loaded.processor.tokenizer.pad_token_id
    batch = dict(pad_batch([example], pad_id=pad, side="left"))
    batch.pop("labels")
    return {name: one for name, one in batch.items() if isinstance(one, Tensor)}


def _wave(samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(samples).standard_normal(samples, dtype=np.float32)


@pytest.mark.parametrize("newer", [False, True], ids=["before-4.52", "since-4.52"])
@pytest.mark.parametrize(
    "samples", [(CHUNK,), (CHUNK // 2,), (12 * HOP, 24 * HOP), (13 * HOP, 22 * HOP)]
)
def test_the_class_gives_the_same_logits(
    samples: tuple[int, ...], newer: bool, tmp_path: Path
) -> None:
    model, audio = _write(tmp_path / "in")
    if newer:
        rename_newer(tmp_path / "in")
    report = import_checkpoint("native_qwen2_audio", tmp_path / "in", tmp_path / "out")
    assert not report.ignored
    loaded = reopen(tmp_path / "out")
    waves = [_wave(count) for count in samples]
    batch = _batch(loaded, *waves)
    extractor = WhisperFeatureExtractor(chunk_length=CHUNK / RATE, feature_size=80)
    made = extractor(
        waves,
        sampling_rate=RATE,
        return_tensors="pt",
        return_attention_mask=True,
        max_length=CHUNK,
        padding="max_length",
    )
    assert torch.allclose(batch["input_features"], made["input_features"], atol=1e-5)

    def adapt(media: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            "attention_mask": media["attention_mask"],
            "input_features": media["input_features"],
            "feature_attention_mask": made["attention_mask"],
        }

    assert gap(loaded, model, batch, {"audio": audio}, adapt) <= 1e-5


def test_every_length_gives_the_same_rows_and_logits(tmp_path: Path) -> None:
    model, audio = _write(tmp_path / "in")
    import_checkpoint("native_qwen2_audio", tmp_path / "in", tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    extractor = WhisperFeatureExtractor(chunk_length=CHUNK / RATE, feature_size=80)
    # The class's processor counts its tokens so; 60 ms and less are another path of the class.
    twin = Qwen2AudioProcessor(extractor, tokenizer(PLACE), chat_template="")
    for mel in range(8, 2 * POSITIONS + 1):
        wave = _wave(mel * HOP - mel % 3)
        made = extractor(
            [wave],
            sampling_rate=RATE,
            return_tensors="pt",
            return_attention_mask=True,
            max_length=CHUNK,
            padding="max_length",
        )
        text = twin(text=PLACE, audio=[wave], sampling_rate=RATE, max_length=CHUNK)
        batch = _batch(loaded, wave)
        rows = int((batch["input_ids"] == loaded.model.config.audio_token_id).sum())
        assert rows == text["input_ids"][0].count(audio), mel

        def adapt(media: dict[str, Tensor], mask: Tensor = made["attention_mask"]) -> Any:
            given = {name: media[name] for name in ("attention_mask", "input_features")}
            return given | {"feature_attention_mask": mask}

        assert gap(loaded, model, batch, {"audio": audio}, adapt) <= 1e-5, mel


def test_content_decides_and_the_template_has_our_placeholder(tmp_path: Path) -> None:
    _write(tmp_path / "in")
    origin = Origin.open(tmp_path / "in")
    assert importers.get("native_qwen2_audio").detect(origin)
    assert not importers.get("native_llava").detect(origin)
    import_checkpoint("native_qwen2_audio", tmp_path / "in", tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    text = loaded.processor.tokenizer.decode(_batch(loaded, _wave(CHUNK // 2))["input_ids"][0])
    # Four mel frames to a row.
    assert "user\n" + "<audio>" * (POSITIONS // 4) + "\nWhat is this?" in text


def test_what_cannot_be_expressed_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "in")
    file = tmp_path / "in" / "preprocessor_config.json"
    file.write_text(json.dumps({"hop_length": 200}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="hop_length is 200"):
        import_checkpoint("native_qwen2_audio", tmp_path / "in", tmp_path / "out")
    file.unlink()
    change_config(tmp_path / "in", audio_config={"model_type": "whisper"})
    with pytest.raises(CheckpointError, match="is 'whisper'"):
        import_checkpoint("native_qwen2_audio", tmp_path / "in", tmp_path / "out")
