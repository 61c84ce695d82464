"""How near `hocket plan` comes to the memory that training takes: six recipes on a CPU.

    python benchmarks/plan.py [RECIPE ...]

Each recipe is planned from shapes and headers alone, then trained for two steps in a fresh process.
Measured is the most that the process had for itself, in pages that belong to no file, beside what
it had before the model: see `hocket.plan.measure`. Nothing of the prediction is fitted to what was
measured. Prints both and their quotient; all six together write benchmarks/results/plan.json.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image

from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec, DataSpec
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TokenizerSpec, TowerSpec, VideoSpec
from hocket.plan.make import Planner, Setting
from hocket.plan.measure import measure
from hocket.plan.memory import Strategy
from hocket.train.recipe import Adapter, Group, Recipe, Stage
from hocket.train.run import Run

ROWS = 24
LIMIT = 0.15
WORDS = ("red", "green", "blue", "circle", "square", "left", "right", "near", "far", "small")

MODEL = ModelSpec(
    language=LanguageSpec(
        model_type="qwen3",
        config={
            "hidden_size": 384,
            "intermediate_size": 1024,
            "num_hidden_layers": 8,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 64,
            "vocab_size": 16000,
            "tie_word_embeddings": True,
            "max_position_embeddings": 8192,
        },
    ),
    vision=TowerSpec(
        model_type="siglip_vision_model",
        config={
            "image_size": 112,
            "patch_size": 14,
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "vision_use_head": False,
        },
        layout=PartSpec(kind="image_fixed"),
        connector=PartSpec(kind="pixel_shuffle", options={"fold": 2}),
    ),
    audio=TowerSpec(
        model_type="whisper",
        config={
            "d_model": 256,
            "encoder_layers": 6,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 768,
            "num_mel_bins": 80,
            "max_source_positions": 250,
        },
        layout=PartSpec(kind="audio_mel", options={"chunk_seconds": 5.0}),
        connector=PartSpec(kind="stack", options={"frames": 5}),
    ),
    video=VideoSpec(options={"frames": 4}),
    tokenizer=TokenizerSpec(vocab_size=1000),
)
EVERYTHING = {"all": Group(match="*", lr=1e-4)}
STAGE = Stage(trainable=EVERYTHING, steps=2, rows=1, tokens_per_row=512)
BRIDGES = {"bridge": Group(match="model.*projector.*", lr=1e-3)}
RECIPES: dict[str, tuple[str, Stage, list[str]]] = {
    "full fine-tune": ("mixed", STAGE, []),
    "alignment, towers and language frozen": ("mixed", replace(STAGE, trainable=BRIDGES), []),
    "LoRA": ("mixed", replace(STAGE, trainable={}, adapters={"l": Adapter(options={"r": 16})}), []),
    "long rows": ("text", replace(STAGE, tokens_per_row=1536), []),
    "gradient checkpointing": ("mixed", replace(STAGE, rows=2), ["language", "vision", "audio"]),
    "audio and video": ("films", replace(STAGE, tokens_per_row=640), []),
}


def write_rows(folder: Path, kind: str) -> DataSpec:
    """Write ROWS rows of one kind and return the data set."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(ROWS):
        long = {"text": 700, "mixed": 60}.get(kind, 30)
        words = " ".join(rng.choice(WORDS, int(rng.integers(long // 2, long * 2))))
        media: dict[str, object] = {}
        marks = ""
        if kind == "mixed" and number % 2:
            media["image"], marks = picture(folder, number, rng), "<image>\n"
        elif kind == "films" and number % 2:
            media["video"], marks = film(folder, number, rng), "<video>\n"
        elif kind != "text":
            media["audio"] = sound(folder, number, 8.0 if kind == "films" else 3.0, rng)
            marks = "<audio>\n"
        talk = [
            {"from": "human", "value": f"{marks}What is it?"},
            {"from": "gpt", "value": words},
        ]
        rows.append({"id": str(number), "conversations": talk, **media})
    (folder / "rows.json").write_text(json.dumps(rows))
    return DataSpec(datasets={"rows": DatasetSpec(path=str(folder / "rows.json"))})


def picture(folder: Path, row: int, rng: np.random.Generator) -> str:
    """Write a picture and return its name."""
    PIL.Image.fromarray(noise(rng)).save(folder / f"{row}.png")
    return f"{row}.png"


def film(folder: Path, row: int, rng: np.random.Generator) -> str:
    """Write two seconds of pictures and return their name."""
    with av.open(str(folder / f"{row}.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise(rng), format="rgb24")))
        container.mux(stream.encode(None))
    return f"{row}.mp4"


def noise(rng: np.random.Generator) -> np.ndarray:
    """Return random pixels, uint8 (96, 128, 3)."""
    return rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)


def sound(folder: Path, row: int, seconds: float, rng: np.random.Generator) -> str:
    """Write noise and return its name."""
    with wave.open(str(folder / f"{row}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        samples = rng.normal(0, 3000, int(seconds * 16000))
        file.writeframes(samples.astype("<i2").tobytes())
    return f"{row}.wav"


def one(name: str) -> dict[str, Any]:
    """Plan and train one recipe."""
    kind, stage, recomputed = RECIPES[name]
    with tempfile.TemporaryDirectory() as folder:
        data = write_rows(Path(folder), kind)
        recipe = Recipe(
            stages={"one": replace(stage, data={"rows": 1.0})},
            pool=16,
            cache_mb=0,
            gradient_checkpointing=recomputed,
        )
        setting = Setting(samples=ROWS // 2, recomputed=tuple(recomputed))
        sources = {key: (open_source(key, spec), 1.0) for key, spec in data.datasets.items()}
        texts = list(Mixture(sources, seed=0).texts())
        shapes = build(MODEL, texts, weights=False)
        plan = Planner(shapes, recipe, data).stage("one", setting)
        predicted = plan.memory(Strategy()).peak
        run = Run(recipe=recipe, data=data, out=Path(folder) / "out")
        found = measure(run, "one", functools.partial(build, MODEL, texts))
    return {
        "recipe": name,
        "predicted_mb": predicted / 2**20,
        "measured_mb": found.peak / 2**20,
        "quotient": predicted / found.peak,
        "gigaflops_per_second": plan.flops_per_step / found.seconds / 1e9,
        "parameters": plan.sizes.parameters,
        "training": plan.sizes.training,
    }


def main() -> None:
    """Plan and train each recipe and keep what was found."""
    found = []
    for name in sys.argv[1:] or RECIPES:
        line = one(name)
        found.append(line)
        print(
            f"{name:38} predicted {line['predicted_mb']:6.0f} MiB  measured "
            f"{line['measured_mb']:6.0f} MiB  ratio {line['quotient']:5.3f}  "
            f"{line['gigaflops_per_second']:5.1f} GFLOP/s",
            flush=True,
        )
    worst = max(abs(line["quotient"] - 1) for line in found)
    print(f"worst error {worst:.1%}, allowed {LIMIT:.0%}")
    if len(found) == len(RECIPES):
        results = {"recipes": found, "worst_error": worst, "allowed": LIMIT}
        folder = Path(__file__).parent / "results"
        (folder / "plan.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
