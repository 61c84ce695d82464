"""What the feature cache saves where the tower is the larger part: steps without and with it.

    python benchmarks/feature_cache.py [STEPS] [--rounds N]

Trains a connector between a frozen vision tower (8 layers, 256 positions) and a frozen language
model (2 layers) on pictures in memory-sized PNGs, in turn without and with the cache (A B A B) and
in a fresh process each time; 24 steps unless told otherwise, of which the first 4 do not count.
Checks first that the tower costs at least twice what the language model costs a sample. Prints
seconds a step, the ratio and the time of building. Writes benchmarks/results/feature_cache.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec, DataSpec
from hocket.model.build import Built, build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TokenizerSpec, TowerSpec
from hocket.tokens.batch import pack_batch
from hocket.tokens.span import Modality
from hocket.train.loop import Report
from hocket.train.recipe import FeaturePolicy, Group, Recipe, Stage
from hocket.train.run import Run, train
from hocket.train.state import TrainState

STEPS, WARM, PICTURES = 24, 4, 48
SIDE = 128
SPEC = ModelSpec(
    language=LanguageSpec(
        model_type="qwen3",
        config={
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 64,
            "tie_word_embeddings": True,
        },
    ),
    vision=TowerSpec(
        model_type="siglip_vision_model",
        config={
            "image_size": SIDE,
            "patch_size": 8,
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "vision_use_head": False,
        },
        layout=PartSpec(kind="image_fixed"),
        connector=PartSpec(kind="pixel_shuffle", options={"fold": 2}),
    ),
    tokenizer=TokenizerSpec(vocab_size=400),
)


def write(folder: Path) -> None:
    """Write pictures of noise and a question about each."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(PICTURES):
        pixels = rng.integers(0, 256, (160, 200, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
        turns = [
            {"from": "human", "value": "<image>\nWhich picture is this?"},
            {"from": "gpt", "value": f"Picture number {number}."},
        ]
        rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")


def compose(folder: Path) -> tuple[Built, DataSpec]:
    """Return the model and its data."""
    spec = DatasetSpec(path=str(folder / "rows.json"))
    texts = Mixture({"rows": (open_source("rows", spec), 1.0)}, seed=0).texts()
    return build(SPEC, texts), DataSpec(datasets={"rows": spec})


def costs(folder: Path) -> dict[str, float]:
    """Return milliseconds that a picture takes in the tower, and its sample elsewhere."""
    (model, processor), data = compose(folder)
    rows = open_source("rows", data.datasets["rows"])
    examples = [processor.encode(rows[index]) for index in range(4)]
    batch = pack_batch([examples], pad_id=0)
    pixels = batch["pixel_values"]
    model.requires_grad_(False)
    assert model.model.multi_modal_projector is not None
    model.model.multi_modal_projector.requires_grad_(True)
    known = {name: value for name, value in batch.items() if name != "pixel_values"}
    times: dict[str, list[float]] = {"tower": [], "rest": []}
    for _ in range(8):
        began = time.perf_counter()
        with torch.no_grad():
            features = model.model.encode(Modality.IMAGE, pixels)
        times["tower"].append(time.perf_counter() - began)
        began = time.perf_counter()
        model(**known, image_features=features, loss_only=True).loss.backward()
        times["rest"].append(time.perf_counter() - began)
    return {name: 1e3 * statistics.median(found) / 4 for name, found in times.items()}


def child(folder: Path, steps: int, policy: FeaturePolicy) -> dict[str, float]:
    """Train in this process; return seconds a step and before the first."""
    (model, processor), data = compose(folder)
    seconds: list[float] = []

    def note(state: TrainState, report: Report) -> None:
        seconds.append(report.step_seconds)

    stage = Stage(
        data={"rows": 1.0},
        trainable={"connector": Group(match="connector", lr=1e-3)},
        steps=steps,
        rows=4,
        tokens_per_row=400,
        warmup_steps=2,
    )
    recipe = Recipe(stages={"align": stage}, feature_cache=policy, cache_mb=256)
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        train(Run(recipe=recipe, data=data, out=Path(out)), model, processor, [note])
        whole = time.perf_counter() - began
    return {"step": statistics.median(seconds[WARM:]), "rest": whole - sum(seconds)}


def measure(folder: Path, steps: int, policy: FeaturePolicy) -> dict[str, float]:
    """Train in a fresh process."""
    command = ["env", f"HOCKET_CACHE={folder / 'cache'}", sys.executable, "-P", __file__]
    command += [str(steps), "--child", policy.value, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure A B A B and keep what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", type=int, nargs="?", default=STEPS)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", type=FeaturePolicy)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        print(json.dumps(child(options.folder, options.steps, options.child)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        cost = costs(folder)
        share = cost["tower"] / cost["rest"]
        print(
            f"a sample: tower {cost['tower']:.1f} ms, the rest {cost['rest']:.1f} ms, {share:.1f} x"
        )
        if share < 2:
            raise SystemExit("the tower does not cost twice what the rest costs: nothing to learn")
        runs: list[dict[str, Any]] = []
        for number in range(2 * options.rounds):
            policy = (FeaturePolicy.OFF, FeaturePolicy.ON)[number % 2]
            runs.append({"cache": policy.value, **measure(folder, options.steps, policy)})
            print(f"cache {policy}: {runs[-1]['step']:.3f} s a step", flush=True)
    medians = {
        kind: statistics.median(one["step"] for one in runs if one["cache"] == kind)
        for kind in ("off", "on")
    }
    building = runs[1]["rest"] - runs[3]["rest"] if len(runs) > 3 else 0.0
    ratio = medians["off"] / medians["on"]
    print(
        f"{ratio:.2f} x as fast with the cache; {PICTURES} pictures took {building:.1f} s to build"
    )
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    document = {"cost_ms": cost, "runs": runs, "medians": medians, "ratio": ratio}
    document["build_seconds"] = building
    (results / "feature_cache.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
