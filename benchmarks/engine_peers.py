"""The engine against others that answer many requests together: the same weights and prompts.

    HOCKET_LLAMA_SERVER=PATH python benchmarks/engine_peers.py [--rounds N] [--tokens N]

A Qwen3 of 25 M parameters with random weights answers requests of plain text, so many tokens each,
in float32 on one thread, 1 and 8 at a time, in rounds that take turns:

- hocket's engine;
- transformers' continuous batching (``generate_batch``). Left to itself it takes a share of all
  memory for its pages, so it gets 512 pages of 32 tokens;
- llama.cpp's server, float32 weights of our own export, one slot for each request, nothing kept
  between requests. Left out where HOCKET_LLAMA_SERVER names no program.

Prints tokens per second by the clock and by processor time, the seconds to the first token and the
peak memory of the process that answers, and the share of tokens that are the engine's; writes
benchmarks/results/engine_peers.json. Figures at 1 and 8 requests of one way are of the same rounds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import torch
from engine import LANGUAGES, WORDS, questions
from transformers import ContinuousBatchingConfig, GenerationConfig, Qwen3ForCausalLM

from hocket import Engine, Sampling
from hocket._env import llama_server
from hocket.chat.conversation import Conversation
from hocket.checkpoint.directory import write_checkpoint
from hocket.checkpoint.export import ExportOptions, export
from hocket.checkpoint.manifest import write_directory
from hocket.infer.options import EngineOptions
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, ModelSpec

RESULT = Path(__file__).parent / "results" / "engine_peers.json"
AT_ONCE = (1, 8)
READY_SECONDS = 60


class Answers(NamedTuple):
    """What a way answered: ids of each request, and seconds to its first token where known."""

    ids: list[list[int]]
    firsts: list[float]


Way = Callable[[list[list[int]], int], Answers]


@dataclass(frozen=True)
class Timed:
    """One way through all requests.

    Attributes:
        tokens_per_s: of the answers.
        tokens_per_cpu_s: the same per second of processor time.
        first_token_s: median over the requests, from when all were asked.
        peak_mib: most memory of the process so far.
        same: share of tokens that are those of the engine, one request at a time.
    """

    tokens_per_s: float
    tokens_per_cpu_s: float
    first_token_s: float
    peak_mib: float
    same: float


def make_engine() -> Engine:
    """Return an engine of a language model alone, which keeps nothing between requests."""
    spec = ModelSpec(language=LanguageSpec(model_type="qwen3", config=LANGUAGES["25m"]))
    model, processor = build(spec, [WORDS] * 3)
    return Engine(model.eval(), processor, EngineOptions(prefix_mb=0, encoder_mb=0))


def by_engine(
    engine: Engine, asked: list[Conversation], prompts: list[list[int]], tokens: int
) -> Answers:
    """Answer the first so many conversations, whose ids are the prompts."""
    sampling = Sampling(max_new_tokens=tokens, min_new_tokens=tokens, logprobs=True)
    done = [one.result() for one in [engine.submit(one, sampling) for one in asked[: len(prompts)]]]
    ids = [[chosen.score.token for chosen in one.answers[0].scores] for one in done]
    return Answers(ids, [one.timing.first_token_s for one in done])


def of_transformers(engine: Engine) -> Way:
    """Return continuous batching of the same weights."""
    whole = engine.model
    model = Qwen3ForCausalLM(whole.config.get_text_config()).eval()
    model.model.load_state_dict(whole.model.language_model.state_dict())
    model.lm_head.load_state_dict(whole.lm_head.state_dict())
    model.set_attn_implementation("sdpa")
    pages = ContinuousBatchingConfig(
        page_size=32, num_blocks=512, max_batch_tokens=512, use_cuda_graph=False
    )

    def answer(prompts: list[list[int]], tokens: int) -> Answers:
        fixed = GenerationConfig(
            max_new_tokens=tokens, do_sample=False, eos_token_id=-1, pad_token_id=0
        )
        made = model.generate_batch(
            prompts, generation_config=fixed, continuous_batching_config=pages, warmup=False
        )
        order = sorted(made, key=lambda name: int(name.rpartition("_")[2]))
        return Answers([list(made[name].generated_tokens) for name in order], [])

    return answer


@contextmanager
def of_llama_cpp(engine: Engine, program: str) -> Iterator[tuple[Way, psutil.Process]]:
    """Return llama.cpp's server over the same weights, and its process."""
    with tempfile.TemporaryDirectory() as made, socket.socket() as probe:
        folder = Path(made)
        write_directory(
            folder / "model", lambda at: write_checkpoint(at, engine.model, engine.processor)
        )
        export(folder / "model", folder / "out", to="gguf", options=ExportOptions(outtype="f32"))
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        slots = str(max(AT_ONCE))
        options = ["--threads", "1", "--threads-batch", "1", "--parallel", slots, "--ctx-size"]
        options += [str(512 * max(AT_ONCE)), "--port", str(port), "--cache-ram", "0"]
        command = [program, "-m", str(folder / "out" / "model.gguf"), *options]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield partial(_ask_server, f"http://127.0.0.1:{port}"), psutil.Process(server.pid)
        finally:
            server.kill()
            server.wait()


def _ask_server(address: str, prompts: list[list[int]], tokens: int) -> Answers:
    begun = time.perf_counter()

    def ask(prompt: list[int]) -> tuple[list[int], float]:
        body = {
            "prompt": prompt,
            "n_predict": tokens,
            "ignore_eos": True,
            "temperature": 0,
            "cache_prompt": False,
            "return_tokens": True,
            "stream": True,
        }
        ids: list[int] = []
        first = math.nan
        with httpx.stream("POST", f"{address}/completion", json=body, timeout=600) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line.startswith("data: ") and (found := json.loads(line[6:])["tokens"]):
                    first = first if ids else time.perf_counter() - begun
                    ids += found
        return ids, first

    with ThreadPoolExecutor(len(prompts)) as pool:
        found = list(pool.map(ask, prompts))
    return Answers([ids for ids, _ in found], [first for _, first in found])


def wait_for(way: Way, process: psutil.Process) -> None:
    """Ask until the server answers."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.is_running():
        try:
            way([[1, 2, 3]], 2)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("llama-server does not answer.")


def timed(
    way: Way, process: psutil.Process, prompts: list[list[int]], tokens: int, right: list[list[int]]
) -> Timed:
    """Answer all prompts and measure it."""
    before, wall = sum(process.cpu_times()[:2]), time.perf_counter()
    answers = way(prompts, tokens)
    wall, cpu = time.perf_counter() - wall, sum(process.cpu_times()[:2]) - before
    count = sum(map(len, answers.ids))
    equal = sum(
        one == other
        for mine, theirs in zip(right, answers.ids, strict=False)
        for one, other in zip(mine, theirs, strict=False)
    )
    first = statistics.median(answers.firsts) if answers.firsts else math.nan
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return Timed(count / wall, count / cpu, first, peak / 1024, equal / count)


def main() -> None:
    """Measure every way, keep and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=48)
    given = parser.parse_args()
    torch.set_num_threads(1)
    engine = make_engine()
    asked = [one for one in questions(2 * max(AT_ONCE)) if not list(one.media())]
    prompts = [engine.processor.measure(one, for_answer=True).input_ids for one in asked]
    right = [
        by_engine(engine, [one], [ids], given.tokens).ids[0]
        for one, ids in zip(asked, prompts, strict=True)
    ]
    here = psutil.Process()
    with ExitStack() as stack:
        ways: dict[str, tuple[Way, psutil.Process]] = {
            "hocket": (partial(by_engine, engine, asked), here),
            "transformers, continuous batching": (of_transformers(engine), here),
        }
        if program := llama_server():
            ways["llama.cpp's server"] = stack.enter_context(of_llama_cpp(engine, program))
            wait_for(*ways["llama.cpp's server"])
        runs: dict[str, list[Timed]] = {}
        for at in range(given.rounds + 1):
            for name, (way, process) in list(ways.items())[:: 1 if at % 2 else -1]:
                for count in AT_ONCE:
                    found = timed(way, process, prompts[:count], given.tokens, right)
                    if at:  # the first round warms up
                        runs.setdefault(f"{name}, {count} at a time", []).append(found)
    rows = {name: [asdict(one) for one in found] for name, found in runs.items()}
    medians = {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for name, found in rows.items()
    }
    for name, one in medians.items():
        print(
            f"{name:44} {one['tokens_per_s']:7.1f} tokens/s  "
            f"{one['tokens_per_cpu_s']:7.1f} per processor second  "
            f"first token {one['first_token_s']:6.3f} s  {one['peak_mib']:5.0f} MiB  "
            f"{one['same']:.0%} the same"
        )
    document = {"rounds": given.rounds, "tokens": given.tokens, "cores": os.cpu_count()}
    document |= {"medians": medians, "runs": rows}
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
