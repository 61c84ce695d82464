"""A model of width 32 and conversations with media in memory, for tests of any layer."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image as Pil
from torch import Tensor

from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.model.build import Built, build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TokenizerSpec, TowerSpec, VideoSpec
from hocket.tokens.batch import Batch

RATE = 16000
SIZE = 16
TEXTS = ["What is this?", "It is a red square.", "Listen to the sound and look at the picture."]

SUFFIXES = {"image": ".png", "audio": ".wav", "video": ".mp4"}

WIDTH: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}

EYES = TowerSpec(
    model_type="siglip_vision_model",
    config={
        "image_size": SIZE,
        "patch_size": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vision_use_head": False,
    },
    layout=PartSpec(kind="image_fixed"),
    connector=PartSpec(kind="pixel_shuffle", options={"fold": 2}),
)

EARS = TowerSpec(
    model_type="whisper",
    config={
        "d_model": 32,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "num_mel_bins": 80,
        "max_source_positions": 25,
    },
    layout=PartSpec(kind="audio_mel", options={"chunk_seconds": 0.5}),
    connector=PartSpec(kind="stack", options={"frames": 5}),
)

SPEC = ModelSpec(
    language=LanguageSpec(model_type="llama", config=WIDTH),
    vision=EYES,
    audio=EARS,
    video=VideoSpec(options={"frames": 2}),
    tokenizer=TokenizerSpec(vocab_size=300),
)


@functools.cache
def toy(language: str = "llama") -> Built:
    """Return a model in evaluation mode and its processor; shared, so no test may change it."""
    spec = replace(SPEC, language=LanguageSpec(model_type=language, config=WIDTH))
    built = build(spec, TEXTS)
    built.model.eval()
    return built


def picture(seed: int = 0, *, height: int = 20, width: int = 30) -> Image:
    """Return random pixels."""
    rng = np.random.default_rng(seed)
    return Image.from_array(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def sound(seed: int = 0, *, seconds: float = 0.7) -> Audio:
    """Return quiet noise."""
    rng = np.random.default_rng(seed)
    wave = 0.1 * rng.standard_normal(round(seconds * RATE), dtype=np.float32)
    return Audio.from_array(wave, rate=RATE)


def video(seed: int = 0, *, frames: int = 4) -> Video:
    """Return random frames, five a second."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (frames, 24, 18, 3), dtype=np.uint8)
    return Video.from_array(pixels, np.arange(frames) / 5)


def user(*parts: Part | str, train: bool | None = None) -> Message:
    """Return a turn of the user; strings become text."""
    return Message(Role.USER, _parts(parts), train)


def assistant(*parts: Part | str, train: bool | None = None) -> Message:
    """Return a turn of the assistant."""
    return Message(Role.ASSISTANT, _parts(parts), train)


def system(*parts: Part | str) -> Message:
    """Return the system's turn."""
    return Message(Role.SYSTEM, _parts(parts))


def talk(*messages: Message, name: str = "talk") -> Conversation:
    """Return a conversation."""
    return Conversation(id=name, messages=messages, source=f"toy.json row {name}")


def mixed() -> list[Conversation]:
    """Return conversations of different lengths with every kind of medium, and one without."""
    return [
        talk(user(picture(1), "\nWhat is this?"), assistant("A red square."), name="picture"),
        talk(user(sound(2), "Listen."), assistant("Low."), name="sound"),
        talk(user("Two plus two?"), assistant("Four."), user("Sure?"), assistant("Yes."), name="t"),
        talk(user(video(3), sound(4, seconds=0.2), "And?"), assistant("Right."), name="video"),
        talk(
            user(picture(5), "or", picture(6, height=9, width=50), sound(7), "?"),
            assistant("The first."),
            name="all",
        ),
    ]


def questions(conversations: Sequence[Conversation]) -> list[Conversation]:
    """Return the conversations without their last turn."""
    return [replace(one, messages=one.messages[:-1]) for one in conversations]


def inputs(batch: Batch, *without: str) -> dict[str, Tensor]:
    """Return the tensors of a batch but for some."""
    return {name: value for name, value in batch.items() if name not in without}  # type: ignore[misc] # every value of a Batch is a tensor


def _parts(parts: Sequence[Part | str]) -> tuple[Part, ...]:
    return tuple(Text(part) if isinstance(part, str) else part for part in parts)


def write_rows(folder: Path, *, count: int = 12) -> Path:
    """Write a LLaVA-style data set whose rows hold a picture, a sound, a video, or text alone."""
    rows: list[dict[str, object]] = []
    for number in range(count):
        kind = ("image", "audio", "video", "")[number % 4]
        row: dict[str, object] = {"id": f"row-{number}"}
        question = "What is this?" + " Please say." * (number % 3)
        if kind:
            row[kind] = f"{number}{SUFFIXES[kind]}"
            write_medium(folder / str(row[kind]), seed=number)
            question = f"<{kind}>\n{question}"
        row["conversations"] = [
            {"from": "human", "value": question},
            {"from": "gpt", "value": f"Number {number}."},
        ]
        rows.append(row)
    file = folder / "rows.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def write_medium(path: Path, *, seed: int) -> None:
    """Write a picture, a sound of 0.2 to 0.9 s at 22.05 kHz, or a video of five frames."""
    if path.suffix == ".png":
        Pil.fromarray(picture(seed).load()).save(path)
    elif path.suffix == ".wav":
        rng = np.random.default_rng(seed)
        wave = 0.1 * rng.standard_normal(int(22050 * rng.uniform(0.2, 0.9)))
        soundfile.write(path, wave, 22050)
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=5)
            stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
            for index in range(5):
                pixels = np.full((24, 32, 3), 40 * index + seed, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
