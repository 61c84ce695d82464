"""How near `hocket plan` comes to the memory that training takes: six recipes on a CPU.

    python benchmarks/plan.py [RECIPE ...]

Each recipe is planned from shapes and headers alone, then trained for two steps, both in a fresh
process. Measured is the most that was resident less what was resident with everything imported and
the plan made. The C library is told to give freed memory back at once (MALLOC_MMAP_THRESHOLD_):
otherwise its gaps, up to half of what a small model makes, are counted too. Prints both, their
quotient, and the operations a second that were reached; writes benchmarks/results/plan.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image

from hocket._env import for_child
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec, DataSpec
from hocket.model.build import Built, build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TokenizerSpec, TowerSpec
from hocket.plan.make import Planner, Setting
from hocket.plan.measure import measure
from hocket.plan.memory import Strategy
from hocket.train.recipe import Adapter, Group, Recipe, Stage
from hocket.train.run import Run

ROWS = 48
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
    tokenizer=TokenizerSpec(vocab_size=1000),
)
EVERYTHING = {"all": Group(match="*", lr=1e-4)}
STAGE = Stage(trainable=EVERYTHING, steps=2, rows=4, tokens_per_row=512)
RECIPES: dict[str, tuple[str, Stage]] = {
    "full fine-tune": ("mixed", STAGE),
    "connector only": (
        "mixed",
        replace(STAGE, trainable={"bridge": Group(match="model.*projector.*", lr=1e-3)}),
    ),
    "LoRA": ("mixed", replace(STAGE, trainable={}, adapters={"l": Adapter(options={"r": 16})})),
    "long rows": ("text", replace(STAGE, rows=1, tokens_per_row=3072)),
    "many pictures": ("pictures", replace(STAGE, rows=3, tokens_per_row=768)),
    "audio": ("sounds", STAGE),
}


def write_rows(folder: Path, kind: str) -> DataSpec:
    """Write ROWS rows of one kind and return the data set."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(ROWS):
        long = {"text": 700, "mixed": 60}.get(kind, 30)
        words = " ".join(rng.choice(WORDS, int(rng.integers(long // 2, long * 2))))
        media: dict[str, object] = {}
        pictures = {"pictures": 12, "mixed": number % 2}.get(kind, 0)
        sounds = {"sounds": 1, "mixed": (number + 1) % 2}.get(kind, 0)
        if pictures:
            media["image"] = [picture(folder, number, at, rng) for at in range(pictures)]
        if sounds:
            media["audio"] = sound(folder, number, 8.0 if kind == "sounds" else 3.0, rng)
        marks = "<image>\n" * pictures + "<audio>\n" * sounds
        talk = [
            {"from": "human", "value": f"{marks}What is it?"},
            {"from": "gpt", "value": words},
        ]
        rows.append({"id": str(number), "conversations": talk, **media})
    (folder / "rows.json").write_text(json.dumps(rows))
    return DataSpec(datasets={"rows": DatasetSpec(path=str(folder / "rows.json"))})


def picture(folder: Path, row: int, at: int, rng: np.random.Generator) -> str:
    """Write a picture and return its name."""
    name = f"{row}-{at}.png"
    PIL.Image.fromarray(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)).save(folder / name)
    return name


def sound(folder: Path, row: int, seconds: float, rng: np.random.Generator) -> str:
    """Write noise and return its name."""
    with wave.open(str(folder / f"{row}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        samples = rng.normal(0, 3000, int(seconds * 16000))
        file.writeframes(samples.astype("<i2").tobytes())
    return f"{row}.wav"


def one(name: str) -> dict[str, float | str]:
    """Plan and train one recipe in this process."""
    kind, stage = RECIPES[name]
    with tempfile.TemporaryDirectory() as folder:
        data = write_rows(Path(folder), kind)
        stage = replace(stage, data={"rows": 1.0})
        recipe = Recipe(stages={"one": stage}, pool=16, cache_mb=0)
        build_model = builder(data)
        plan = Planner(build_model(False), recipe, data).stage("one", Setting(samples=ROWS // 2))
        predicted = plan.memory(Strategy.SINGLE)
        run = Run(recipe=recipe, data=data, out=Path(folder) / "out")
        found = measure(run, "one", lambda: build_model(True))
    return {
        "recipe": name,
        "predicted_mb": predicted.peak / 2**20,
        "measured_mb": found.peak / 2**20,
        "quotient": predicted.peak / found.peak,
        "gigaflops_per_second": plan.flops_per_step / found.seconds / 1e9,
        "parameters": plan.sizes.parameters,
        "training": plan.sizes.training,
    }


def builder(data: DataSpec) -> Callable[[bool], Built]:
    """Return what builds the model, with weights or without."""
    sources = {name: (open_source(name, spec), 1.0) for name, spec in data.datasets.items()}
    texts = list(Mixture(sources, seed=0).texts())
    return lambda weights: build(MODEL, texts, weights=weights)


def main() -> None:
    """Run each recipe in a process of its own and keep what was found."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2])))
        return
    found = []
    for name in sys.argv[1:] or RECIPES:
        done = subprocess.run(
            [sys.executable, __file__, "--one", name],
            check=True,
            stdout=subprocess.PIPE,
            env=for_child({"MALLOC_MMAP_THRESHOLD_": "65536"}),
        )
        line = json.loads(done.stdout.splitlines()[-1])
        found.append(line)
        print(
            f"{name:16} predicted {line['predicted_mb']:7.0f} MiB  measured "
            f"{line['measured_mb']:7.0f} MiB  error {line['quotient'] - 1:+7.1%}  "
            f"{line['gigaflops_per_second']:6.1f} GFLOP/s",
            flush=True,
        )
    worst = max(abs(line["quotient"] - 1) for line in found)
    print(f"worst error {worst:.1%}, allowed {LIMIT:.0%}")
    if len(found) == len(RECIPES):
        results = {"recipes": found, "worst_error": worst}
        folder = Path(__file__).parent / "results"
        (folder / "plan.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
