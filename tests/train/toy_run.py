"""A whole small run: a data set on disk, a model of width 32 and a recipe of two stages.

`start` trains in another process, so that a test may kill it, or start several as one run.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import wave
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import av
import numpy as np
import PIL.Image

from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec, DataSpec
from hocket.model.build import Built, build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TokenizerSpec, TowerSpec, VideoSpec
from hocket.train.loop import Hook
from hocket.train.recipe import Group, Recipe, Schedule, Stage
from hocket.train.run import Run, train

RATE = 16000
SIZE = 16
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
PITCHES = {"low": 300.0, "high": 2000.0}
AUGMENT: dict[str, dict[str, float]] = {"shift": {}, "contrast": {}, "speed": {}, "noise": {}}


def write_rows(folder: Path, *, seed: int = 0) -> None:
    """Write ``media.json`` (18 rows of pictures, sounds and videos) and ``text.json`` (6 rows)."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    media = [_media_row(folder, number, rng) for number in range(18)]
    text = [
        _row(f"text-{number}", "text", [(f"What is {number} plus one?", f"It is {number + 1}.")])
        for number in range(6)
    ]
    for name, rows in (("media", media), ("text", text)):
        (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")


def model_spec(*, layer: int = -1) -> ModelSpec:
    """Describe eyes, ears and a language model, all of width 32."""
    return ModelSpec(
        language=LanguageSpec(
            model_type="qwen3",
            config={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 16,
                "tie_word_embeddings": True,
            },
        ),
        vision=TowerSpec(
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
            layer=layer,
            layout=PartSpec(kind="image_fixed"),
            connector=PartSpec(kind="pixel_shuffle", options={"fold": 2}),
        ),
        audio=TowerSpec(
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
        ),
        video=VideoSpec(options={"frames": 2}),
        tokenizer=TokenizerSpec(vocab_size=360),
    )


def data_spec(folder: Path) -> DataSpec:
    """Return the data sets of `write_rows`, with augmentation."""
    return DataSpec(
        datasets={
            name: DatasetSpec(path=str(folder / f"{name}.json")) for name in ("media", "text")
        },
        augment=AUGMENT,
    )


def recipe(
    *,
    steps: Sequence[int] = (4, 5),
    rows: int = 4,
    accumulate: int = 1,
    workers: int = 0,
    save_every: int = 1,
    media: float = 1.0,
    lr: float = 1e-3,
) -> Recipe:
    """Return two stages: the language model frozen, then everything."""
    groups = {
        "align": {
            "connectors": Group(match="model.*_projector.*", lr=2 * lr),
            "towers": Group(match="model.*_tower.*", lr=lr, weight_decay=0.1),
        },
        "joint": {"all": Group(match="*", lr=lr, weight_decay=0.1)},
    }
    data = {"align": {"media": 1.0}, "joint": {"media": media, "text": 1.0}}
    return Recipe(
        stages={
            name: Stage(
                data=data[name],
                trainable=groups[name],
                steps=count,
                rows=rows,
                tokens_per_row=128,
                accumulate=accumulate,
                warmup_steps=2,
                schedule=Schedule.COSINE,
            )
            for name, count in zip(groups, steps, strict=True)
        },
        seed=3,
        workers=workers,
        save_every=save_every,
        keep=3,
        pool=8,
        cache_mb=8,
    )


def build_model(folder: Path, *, layer: int = -1) -> Built:
    """Build the model with a tokenizer of the rows' text."""
    parts = {
        name: (open_source(name, spec), 1.0) for name, spec in data_spec(folder).datasets.items()
    }
    return build(model_spec(layer=layer), Mixture(parts, seed=0).texts())


def train_toy(
    folder: Path,
    out: Path,
    chosen: Recipe,
    *,
    hooks: Sequence[Hook] = (),
    data: DataSpec | None = None,
    layer: int = -1,
    double: bool = False,
) -> Path:
    """Train a fresh model, in double precision if asked, or go on where `out` stands."""
    model, processor = build_model(folder, layer=layer)
    if double:
        model.double()
    run = Run(recipe=chosen, data=data or data_spec(folder), out=out)
    return train(run, model, processor, hooks)


def start(
    folder: Path,
    out: Path,
    chosen: Recipe,
    *,
    env: Mapping[str, str] | None = None,
    layer: int = -1,
    double: bool = False,
) -> ForkServerProcess:
    """Train in another process, forked from one that has torch loaded and nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.toy_run"])
    process = context.Process(
        target=_train_elsewhere, args=(dict(env or {}), folder, out, chosen, layer, double)
    )
    process.start()
    return process


def _train_elsewhere(
    env: Mapping[str, str],
    folder: Path,
    out: Path,
    chosen: Recipe,
    layer: int,
    double: bool,
) -> None:
    os.environ.update(env)
    # What a run from a shell has on Linux; workers started otherwise would outlive a killed parent.
    multiprocessing.set_start_method("fork", force=True)
    train_toy(folder, out, chosen, layer=layer, double=double)


def losses(out: Path) -> list[tuple[str, int, float]]:
    """Return (stage, step, loss) of each line of the run's log, all of them whole."""
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [(one["stage"], one["step"], one["loss"]) for one in map(json.loads, lines)]


def _media_row(folder: Path, number: int, rng: np.random.Generator) -> dict[str, object]:
    colour = list(COLOURS)[number % 3]
    pitch = list(PITCHES)[number % 2]
    match number % 6:
        case 0 | 1:
            name = _picture(folder / f"{number}.png", COLOURS[colour], rng)
            turns = [("<image>\nWhich colour?", colour), ("Are you sure?", f"Yes, {colour}.")]
            return _row(f"image-{number}", "colour", turns[: 1 + number % 2], image=name)
        case 2 | 3:
            seconds = float(rng.uniform(0.2, 0.8))
            name = _sound(folder / f"{number}.wav", PITCHES[pitch], seconds, rng)
            return _row(f"audio-{number}", "pitch", [("<audio>\nLow or high?", pitch)], audio=name)
        case 4:
            image = _picture(folder / f"{number}.png", COLOURS[colour], rng)
            audio = _sound(folder / f"{number}.wav", PITCHES[pitch], 0.3, rng)
            turns = [("<image>\n<audio>\nColour and pitch?", f"{colour}, {pitch}")]
            return _row(f"both-{number}", "both", turns, image=image, audio=audio)
        case _:
            video = _movie(folder / f"{number}.mp4", COLOURS[colour])
            return _row(
                f"video-{number}", "film", [("<video>\nWhich colour moves?", colour)], video=video
            )


def _row(name: str, task: str, turns: Sequence[tuple[str, str]], **media: str) -> dict[str, object]:
    conversations = []
    for question, answer in turns:
        conversations.append({"from": "human", "value": question})
        conversations.append({"from": "gpt", "value": answer})
    return {"id": name, "task": task, "conversations": conversations, **media}


def _picture(path: Path, colour: tuple[int, int, int], rng: np.random.Generator) -> str:
    height, width = (int(side) for side in rng.integers(12, 40, size=2))
    pixels = np.clip(colour + rng.normal(0, 20, (height, width, 3)), 0, 255).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path.name


def _sound(path: Path, hertz: float, seconds: float, rng: np.random.Generator) -> str:
    at = np.arange(int(seconds * RATE)) / RATE
    samples = 0.3 * np.sin(2 * np.pi * hertz * at) + 0.01 * rng.standard_normal(len(at))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path.name


def _movie(path: Path, colour: tuple[int, int, int]) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(4):
            pixels = np.zeros((32, 32, 3), np.uint8)
            pixels[:, 8 * index : 8 * index + 8] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path.name
