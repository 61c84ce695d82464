"""What every audio encoder must do inside a composite; a new file must be added to CASES."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.toy import SPEC, TEXTS, assistant, inputs, sound, talk, user

from hocket._errors import ConfigError, MediaError
from hocket.model.build import Built, build
from hocket.model.spec import PartSpec, TowerSpec
from hocket.parts.audio import audio_encoders
from hocket.tokens.batch import pack_batch, pad_batch

WAVE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 8, 4],
    "conv_stride": [10, 8, 4],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
WHALE: dict[str, Any] = {
    "subsampling_size": 8,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "dropout": 0.0,
}
MEL: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 80,
    "max_source_positions": 24,
}


PATCHED: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_mel_bins": 40,
    "max_length": 96,
}
# transformers' other encoders of raw sound: type -> options beside `WAVE`.
RELATIVES: dict[str, dict[str, Any]] = {
    "wavlm": {},
    "unispeech": {},
    "unispeech-sat": {},
    "data2vec-audio": {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2},
    "wav2vec2-conformer": {"conv_depthwise_kernel_size": 7},
    "sew": {"squeeze_factor": 2},
}
# What cannot be read: features of another kind, codecs, halves of a model that writes sound.
OTHERS = (
    "clap_audio_model",
    "wav2vec2-bert",
    "seamless_m4t",
    "seamless_m4t_v2",
    "speech_to_text",
    "speecht5",
    "moonshine",
    "parakeet_encoder",
    "granite_speech_encoder",
    "voxtral_encoder",
    "encodec",
    "dac",
    "mimi",
)


def ears(
    model_type: str, config: dict[str, Any], layout: str, connector: str, **options: Any
) -> TowerSpec:
    made = {"chunk_seconds": 0.48} if layout == "audio_mel" else {}
    return TowerSpec(
        model_type=model_type,
        config=config,
        layout=PartSpec(kind=layout, options=made),
        connector=PartSpec(kind=connector, options=options),
    )


CASES = {
    "whale": ears("whale", WHALE, "audio_fbank", "conv_audio"),
    "whale-chunks": ears(
        "whale", WHALE | {"chunk_size": 4}, "audio_fbank", "conv_audio", prompts=3
    ),
    "whale-cnn": ears("whale", WHALE, "audio_fbank", "conv_audio", adapter="cnn"),
    "whale-stack": ears("whale", WHALE, "audio_fbank", "stack", frames=5),
    "whale-resampler": ears("whale", WHALE, "audio_fbank", "resampler", queries=3),
    "hf": ears("wav2vec2", WAVE, "audio_wave", "linear"),
    "hf-layer": ears(
        "hubert", WAVE | {"feat_extract_norm": "layer"}, "audio_wave", "conv_audio", prompts=1
    ),
    **{
        f"hf-{model_type}": ears(model_type, WAVE | more, "audio_wave", "linear")
        for model_type, more in RELATIVES.items()
    },
    "audio_spectrogram_transformer": ears(
        "audio-spectrogram-transformer", PATCHED, "audio_fbank", "linear"
    ),
    "audio_spectrogram_transformer-stack": ears(
        "audio-spectrogram-transformer", PATCHED, "audio_fbank", "stack", frames=5
    ),
    "whisper": ears("whisper", MEL, "audio_mel", "conv_audio", prompts=2),
    "whisper-pairs": ears("whisper", MEL, "audio_mel", "qwen2_audio"),
    "qwen2_audio_encoder": ears("qwen2_audio_encoder", MEL, "audio_mel", "linear"),
    "qwen2_audio_encoder-stack": ears("qwen2_audio_encoder", MEL, "audio_mel", "stack", frames=5),
    "qwen2_audio_encoder-resampler": ears(
        "qwen2_audio_encoder", MEL, "audio_mel", "resampler", queries=3
    ),
    "qwen2_audio_encoder-conv": ears("qwen2_audio_encoder", MEL, "audio_mel", "conv_audio"),
}
SOUNDS = [
    talk(user(sound(1, seconds=0.01), "Listen."), assistant("Low."), name="short"),
    talk(user(sound(2, seconds=2.6), sound(3, seconds=0.4), "?"), assistant("High."), name="two"),
    talk(user("Two plus two?"), assistant("Four."), name="text"),
]

_MADE: dict[str, Built] = {}


def made(case: str) -> Built:
    if case not in _MADE:
        spec = replace(SPEC, vision=None, video=None, audio=CASES[case])
        _MADE[case] = build(spec, TEXTS)
        _MADE[case].model.eval()
    return _MADE[case]


every_case = pytest.mark.parametrize("case", CASES)


def test_every_encoder_is_tried() -> None:
    kinds = {made(case).model.config.audio_encoder["kind"] for case in CASES}
    assert kinds == set(audio_encoders.names())


@every_case
def test_sounds_fill_their_placeholders(case: str) -> None:
    model, processor = made(case)
    batch = pad_batch([processor.encode(one) for one in SOUNDS], pad_id=0, side="right")
    with torch.inference_mode():
        rows = model.model.audio_rows(
            batch["input_features"], batch["feature_lengths"], batch["audio_spans"]
        )
    placed = batch["input_ids"] == model.config.audio_token_id
    assert len(rows) == int(placed.sum()) == int(batch["audio_spans"][:, 1].sum())
    assert rows.isfinite().all()


@every_case
def test_a_batch_and_a_packed_row_give_what_each_sample_gives_alone(case: str) -> None:
    model, processor = made(case)
    examples = [processor.encode(one) for one in SOUNDS]
    targets = sum(example.outline.cost.targets for example in examples)

    def loss(batch: Any) -> float:
        return float(model(**inputs(batch), num_items_in_batch=targets).loss)

    with torch.inference_mode():
        apart = sum(loss(pad_batch([one], pad_id=0, side="right")) for one in examples)
        together = loss(pad_batch(examples, pad_id=0, side="right"))
        packed = loss(pack_batch([examples], pad_id=0))
    assert together == pytest.approx(apart, rel=1e-5)
    assert packed == pytest.approx(apart, rel=1e-5)


@every_case
def test_a_step_reaches_ears_and_connector(case: str) -> None:
    model, processor = made(case)
    batch = pad_batch([processor.encode(SOUNDS[1])], pad_id=0, side="right")
    model.zero_grad()
    model(**inputs(batch)).loss.backward()
    for name, value in model.model.audio_projector.named_parameters():
        assert value.grad is not None and value.grad.any(), name
    tower = [value.grad for value in model.model.audio_tower.parameters()]
    assert sum(grad is not None and bool(grad.any()) for grad in tower) > len(tower) / 2
    model.zero_grad()


REOPEN = """
import sys
import hocket
from transformers import AutoModelForMultimodalLM, AutoProcessor
for path in sys.argv[1:]:
    model = AutoModelForMultimodalLM.from_pretrained(path)
    total = sum(float(value.detach().double().sum()) for value in model.state_dict().values())
    layout = AutoProcessor.from_pretrained(path).audio_layout
    print(type(model.model.audio_tower).__name__, layout["kind"], repr(total))
"""


def test_composites_open_again_in_a_fresh_process(tmp_path: Path) -> None:
    expected, paths = [], []
    for case in ("whale-chunks", "hf", "qwen2_audio_encoder"):
        model, processor = made(case)
        model.save_pretrained(tmp_path / case)
        processor.save_pretrained(tmp_path / case)
        total = sum(float(value.detach().double().sum()) for value in model.state_dict().values())
        kind = processor.audio_layout["kind"]
        expected.append(f"{type(model.model.audio_tower).__name__} {kind} {total!r}")
        paths.append(str(tmp_path / case))
    done = subprocess.run(
        [sys.executable, "-c", REOPEN, *paths], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == expected, done.stderr


def test_a_sound_beyond_the_encoder_is_named() -> None:
    spec = replace(CASES["whale"], config=WHALE | {"max_positions": 1600})
    _, processor = build(replace(SPEC, vision=None, video=None, audio=spec), TEXTS)
    long = talk(user(sound(1, seconds=70), "?"), assistant("Long."), name="long")
    with pytest.raises(MediaError, match=r"toy\.json row long: .*a sound of 70\.0 s is longer"):
        processor.measure(long)


@pytest.mark.parametrize("model_type", OTHERS)
def test_what_makes_no_frames_of_raw_sound_is_refused_in_a_sentence(model_type: str) -> None:
    spec = ears(model_type, {}, "audio_wave", "linear")
    with pytest.raises(ConfigError, match=r"is no encoder of raw sound by strided convolutions"):
        build(replace(SPEC, vision=None, video=None, audio=spec), TEXTS)


def test_the_limits_of_sew_are_named() -> None:
    for model_type, layer, match in (("sew-d", -1, "Choose 'sew'"), ("sew", 1, "layer to -1")):
        spec = replace(ears(model_type, WAVE, "audio_wave", "linear"), layer=layer)
        with pytest.raises(ConfigError, match=match):
            build(replace(SPEC, vision=None, video=None, audio=spec), TEXTS)
