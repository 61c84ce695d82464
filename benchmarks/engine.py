"""How fast many requests are answered together, against one after another.

    python benchmarks/engine.py [--rounds N] [--tokens N] [--requests N] [--models tiny,25m,100m]

For each model (random weights; speed does not depend on them) the same requests, half of them with
a picture, are answered in rounds that take turns: one after another by the engine, all at once by
the engine, and one after another by transformers' ``generate``. Each answer has exactly so many
tokens. Prints tokens per second, the ratio to the engine's sequential run of the same round, and
the seconds to the first token; writes benchmarks/results/engine.json.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hocket import Engine, Sampling, prompt
from hocket.chat.conversation import Conversation
from hocket.infer.options import EngineOptions
from hocket.model.build import build
from hocket.model.spec import LanguageSpec
from hocket.tokens.batch import pad_batch

WORDS = "the quick brown fox jumps over a lazy dog and then it looks at the red square again"
LANGUAGES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "25m": {
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 64,
    },
    "100m": {
        "hidden_size": 768,
        "intermediate_size": 2560,
        "num_hidden_layers": 13,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "head_dim": 64,
    },
}


@dataclass(frozen=True)
class Timed:
    """One way through all requests.

    Attributes:
        tokens_per_s: of the answers.
        tokens_per_cpu_s: the same per second of processor time, which other programs on the
            machine change less.
        first_token_s: median over the requests, from when all were asked.
    """

    tokens_per_s: float
    tokens_per_cpu_s: float
    first_token_s: float


class Watch:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.wall = time.perf_counter()
        self.cpu = time.process_time()

    def timed(self, tokens: int, first_token_s: float) -> Timed:
        """Return what so many tokens took until now."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return Timed(tokens / wall, tokens / cpu, first_token_s)


def make_engine(name: str) -> Engine:
    """Return an engine of the quickstart's towers and a language model of that size."""
    # Here, since gpu.py takes only the questions, where no Hydra is installed.
    from hocket.cli._compose import compose_run

    spec = compose_run([]).model
    if LANGUAGES[name]:
        config = {**spec.language.config, **LANGUAGES[name]}
        spec = replace(spec, language=LanguageSpec(model_type="qwen3", config=config))
    model, processor = build(spec, [WORDS] * 3)
    # No prefixes are kept, so that every run computes every prompt.
    return Engine(model.eval(), processor, EngineOptions(prefix_mb=0, encoder_mb=0))


def questions(count: int) -> list[Conversation]:
    """Return requests of different lengths, every second one with a picture."""
    rng = np.random.default_rng(0)
    made = []
    for at in range(count):
        text = " ".join([WORDS] * (1 + at % 4))
        picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        made.append(prompt(text, images=[picture] if at % 2 else None))
    return made


def one_by_one(engine: Engine, asked: list[Conversation], sampling: Sampling) -> Timed:
    """Answer each when the one before it is done."""
    watch = Watch()
    firsts, tokens = [], 0
    for one in asked:
        begun = time.perf_counter() - watch.wall
        done = engine.submit(one, sampling).result()
        firsts.append(begun + done.timing.first_token_s)
        tokens += done.usage.answer_tokens
    return watch.timed(tokens, statistics.median(firsts))


def together(engine: Engine, asked: list[Conversation], sampling: Sampling) -> Timed:
    """Ask all at once."""
    watch = Watch()
    handles = [engine.submit(one, sampling) for one in asked]
    done = [handle.result() for handle in handles]
    tokens = sum(one.usage.answer_tokens for one in done)
    first = statistics.median(one.timing.first_token_s for one in done)
    return watch.timed(tokens, first)


def transformers_one_by_one(engine: Engine, asked: list[Conversation], sampling: Sampling) -> Timed:
    """Answer each with the ``generate`` of transformers."""
    watch = Watch()
    tokens = 0
    for one in asked:
        example = engine.processor.encode(one, for_answer=True)
        batch: dict[str, Any] = dict(pad_batch([example], pad_id=0, side="left"))
        batch.pop("labels")
        with torch.inference_mode():
            out = engine.model.generate(
                **batch,
                max_new_tokens=sampling.max_new_tokens,
                min_new_tokens=sampling.max_new_tokens,
                do_sample=False,
            )
        tokens += out.shape[1] - batch["input_ids"].shape[1]
    return watch.timed(tokens, math.nan)


WAYS: dict[str, Callable[[Engine, list[Conversation], Sampling], Timed]] = {
    "one by one": one_by_one,
    "together": together,
    "transformers one by one": transformers_one_by_one,
}


def measure(name: str, *, rounds: int, tokens: int, requests: int) -> dict[str, list[Timed]]:
    """Return what each way took in each round, after one that is not counted."""
    engine, asked = make_engine(name), questions(requests)
    sampling = Sampling(max_new_tokens=tokens, min_new_tokens=tokens)
    found: dict[str, list[Timed]] = {way: [] for way in WAYS}
    for at in range(rounds + 1):
        # Every second round goes the other way, so that no way is always first.
        for way in list(WAYS) if at % 2 else reversed(WAYS):
            timed = WAYS[way](engine, asked, sampling)
            if at:
                found[way].append(timed)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--models", default=",".join(LANGUAGES))
    chosen = parser.parse_args()
    results: dict[str, Any] = {"threads": torch.get_num_threads(), **vars(chosen), "runs": {}}
    for name in chosen.models.split(","):
        found = measure(name, rounds=chosen.rounds, tokens=chosen.tokens, requests=chosen.requests)
        print(name)
        for way, timed in found.items():
            pairs = list(zip(timed, found["one by one"], strict=True))
            wall = statistics.median(one.tokens_per_s / base.tokens_per_s for one, base in pairs)
            cpu = statistics.median(
                one.tokens_per_cpu_s / base.tokens_per_cpu_s for one, base in pairs
            )
            speed = statistics.median(one.tokens_per_s for one in timed)
            first = statistics.median(one.first_token_s for one in timed)
            print(
                f"  {way:26} {speed:8.1f} tokens/s  x {wall:.2f} (x {cpu:.2f} per processor "
                f"second)  first token {first:6.3f} s"
            )
        results["runs"][name] = {way: [asdict(one) for one in runs] for way, runs in found.items()}
        # Written after each model, since a run over all of them is long.
        path = Path(__file__).parent / "results" / "engine.json"
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
