"""How cost grows: with the length of rows, processes, samples of the data set, and pictures.

    python benchmarks/scaling.py [--parts rows,processes,samples,images] [--quick] [--rounds N]

* rows: milliseconds per token of a packed row of 1,024 to 32,768 tokens, samples of 512 tokens, and
  of one sample of up to 16,384 tokens, whose attention grows with its length;
* processes: tokens per second of 1, 2 and 4 processes over gloo (data parallel), and the share of a
  step that is spent waiting for the others and exchanging gradients, as against the same processes
  without exchange;
* samples: seconds until the first batch with 1,000 to 1,000,000 rows in the data file, its index
  known, and milliseconds per batch after it;
* images: milliseconds per token of samples with 0 to 64 pictures.

A small Llama (2 layers of 256) with a small tower in float32. Each point is the median of
`--rounds` after one that does not count; rounds go up and down in turn. Writes
benchmarks/results/scaling.json; about 5 minutes with the defaults.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.data.augment import USUAL_RATE, Augmenter
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec
from hocket.media.image import Image
from hocket.model.build import Built, build
from hocket.model.packing import isolate_samples
from hocket.model.spec import LanguageSpec, ModelSpec, Options, PartSpec, TokenizerSpec, TowerSpec
from hocket.tokens.batch import Batch, pack_batch
from hocket.train.heap import keep_freed_memory
from hocket.train.optim import build_optimizer
from hocket.train.recipe import Group
from hocket.train.trainable import select_trainable

RESULTS = Path(__file__).parent / "results" / "scaling.json"
TEXTS = ["the quick brown fox jumps over a lazy dog and looks at the red square"] * 4
WIDTH: Options = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 65_536,
}
EYES: Options = {
    "image_size": 64,
    "patch_size": 8,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vision_use_head": False,
}
SAMPLE = 512


def composite() -> Built:
    """Return the model, which trains wholly, and its processor; memory is kept as in a run."""
    keep_freed_memory()
    spec = ModelSpec(
        language=LanguageSpec(model_type="llama", config=WIDTH),
        vision=TowerSpec(
            model_type="siglip_vision_model",
            config=EYES,
            layout=PartSpec(kind="image_fixed"),
            connector=PartSpec(kind="pixel_shuffle", options={"fold": 2}),
        ),
        tokenizer=TokenizerSpec(vocab_size=400),
    )
    built = build(spec, TEXTS)
    isolate_samples(*built)
    built.model.train()
    return built


def words(lengths: Iterable[int]) -> Batch:
    """Return one packed row of samples of these lengths; half of their tokens are supervised."""
    drawn = np.random.default_rng(0)
    lengths = list(lengths)
    total = sum(lengths)
    ids = torch.from_numpy(drawn.integers(10, 300, (1, total)))
    labels = torch.where(torch.arange(total)[None] % 2 == 0, ids, -100)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    return Batch(input_ids=ids, labels=labels, position_ids=positions)


def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Make a step; without an optimizer gradients are thrown away."""
    model(**batch, loss_only=True).loss.backward()
    if optimizer is not None:
        optimizer.step()
    model.zero_grad(set_to_none=True)


def seconds(work: Callable[[], Any]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def per_token(model: nn.Module, batch: Batch) -> float:
    """Return the milliseconds of a step for each token of its row."""
    return 1e3 * seconds(partial(step, model, batch)) / batch["input_ids"].numel()


def medians(points: dict[Any, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median of each point, measured up and down in turn after one that warms up."""
    found: dict[Any, list[float]] = {name: [] for name in points}
    for number in range(rounds + 1):
        for name in list(points) if number % 2 else reversed(points):
            value = points[name]()
            if number:
                found[name].append(value)
    return {str(name): statistics.median(values) for name, values in found.items()}


def rows(rounds: int, quick: bool) -> dict[str, Any]:
    """Return milliseconds per token by the length of a row."""
    model = composite().model
    lengths = [2**power for power in range(10, 13 if quick else 16)]

    def timed(lengths: list[int]) -> Callable[[], float]:
        batch = words(lengths)
        return partial(per_token, model, batch)

    packed = medians({one: timed([SAMPLE] * (one // SAMPLE)) for one in lengths}, rounds)
    # Twice as long takes four times as long: minutes.
    alone = medians({one: timed([one]) for one in lengths if one <= 2**14}, rounds)
    return {"packed": packed, "one_sample": alone}


def images(rounds: int, quick: bool) -> dict[str, Any]:
    """Return milliseconds per token by the pictures of a sample, and the tokens of each."""
    model, processor = composite()
    drawn = np.random.default_rng(0)
    points: dict[Any, Callable[[], float]] = {}
    tokens = {}
    for count in (0, 1, 4) if quick else (0, 1, 2, 4, 8, 16, 32, 64):
        pictures = [
            Image.from_array(drawn.integers(0, 256, (64, 64, 3), dtype=np.uint8))
            for _ in range(count)
        ]
        asked = Message(Role.USER, (*pictures, Text(TEXTS[0])))
        told = Message(Role.ASSISTANT, (Text(" ".join(TEXTS)),))
        example = processor.encode(
            Conversation(id=str(count), messages=(asked, told), source="benchmarks/scaling.py")
        )
        # As many samples as make rows of about the same length.
        many = max(1, 2048 // example.outline.cost.tokens)
        batch = pack_batch([[example] * many], pad_id=0)
        tokens[str(count)] = example.outline.cost.tokens
        points[count] = partial(per_token, model, batch)
    return {"ms_per_token": medians(points, rounds), "tokens": tokens}


def samples(rounds: int, quick: bool) -> dict[str, Any]:
    """Return seconds to the first batch, and milliseconds per later one, by rows of the file."""
    _, processor = composite()
    found: dict[str, Any] = {"first_s": {}, "open_first_s": {}, "batch_ms": {}}
    with tempfile.TemporaryDirectory() as folder:
        for count in (10**3, 10**4) if quick else (10**3, 10**4, 10**5, 10**6):
            path = Path(folder, f"{count}.json")
            write_rows(path, count)
            spec = DatasetSpec(path=str(path))
            found["open_first_s"][str(count)] = seconds(partial(open_source, "r", spec))
            firsts, later = [], []
            for _ in range(rounds):
                began = time.perf_counter()
                steps = iter(open_loader(spec, processor))
                next(steps)
                firsts.append(time.perf_counter() - began)
                later.append(seconds(partial(list, itertools.islice(steps, 20))) / 20)
            found["first_s"][str(count)] = statistics.median(firsts)
            found["batch_ms"][str(count)] = 1e3 * statistics.median(later)
            path.unlink()
    return found


def open_loader(spec: DatasetSpec, processor: Any) -> Loader:
    """Return a loader of 4 rows of 512 tokens a step."""
    mixture = Mixture({"r": (open_source("r", spec), 1.0)}, seed=0)
    augmenter = Augmenter({}, seed=0, rate=USUAL_RATE)
    shape = StepShape(rows=4, tokens_per_row=512)
    return Loader(mixture, processor, shape=shape, augmenter=augmenter)


def write_rows(path: Path, count: int) -> None:
    """Write a JSON list of so many dialogues."""
    turns = [{"from": "human", "value": TEXTS[0]}, {"from": "gpt", "value": TEXTS[1]}]
    tail = json.dumps(turns)
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number in range(count):
            comma = "," if number else ""
            file.write(f'{comma}\n{{"id": "{number}", "conversations": {tail}}}')
        file.write("\n]\n")


def processes(rounds: int, quick: bool) -> dict[str, Any]:
    """Return tokens per second and the share of communication of 1, 2 and 4 processes."""
    found: dict[str, Any] = {}
    for world in (1, 2) if quick else (1, 2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        started = [
            context.Process(target=rank_of, args=(rank, world, port, rounds, queue))
            for rank in range(world)
        ]
        for one in started:
            one.start()
        found[str(world)] = queue.get(timeout=300)
        for one in started:
            one.join()
    return found


def rank_of(rank: int, world: int, port: int, rounds: int, queue: Any) -> None:
    """Train in one process of several; the first tells what it took."""
    torch.set_num_threads(1)
    where = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=world)
    model = composite().model
    chosen = select_trainable(model, {"all": Group(match="*", lr=1e-4)})
    optimizer = build_optimizer(model, chosen, betas=(0.9, 0.999))
    # Text alone trains: the tower's parameters have no gradient in such a step.
    wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    batch = words([SAMPLE] * 4)

    def timed(module: nn.Module, exchanges: bool) -> float:
        dist.barrier()
        began = time.perf_counter()
        if exchanges:
            step(module, batch, optimizer)
        else:
            with wrapped.no_sync():
                step(module, batch, optimizer)
        return time.perf_counter() - began

    points = {"with": lambda: timed(wrapped, True), "without": lambda: timed(wrapped, False)}
    taken = medians(points, max(3, rounds))
    if rank == 0:
        tokens = world * batch["input_ids"].numel()
        queue.put(
            {
                "tokens_per_s": tokens / taken["with"],
                "communication": max(0.0, 1 - taken["without"] / taken["with"]),
            }
        )
    dist.barrier()
    dist.destroy_process_group()


PARTS: dict[str, Callable[[int, bool], dict[str, Any]]] = {
    "rows": rows,
    "processes": processes,
    "samples": samples,
    "images": images,
}


def main() -> None:
    """Measure the parts that are asked for; others stay as they were in the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few small points")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    document: dict[str, Any] = {}
    if given.out.exists():
        document = json.loads(given.out.read_text())
    document["cores"] = os.cpu_count()
    document["threads"] = torch.get_num_threads()
    for part in given.parts.split(","):
        document[part] = PARTS[part](given.rounds, given.quick)
        print(part, json.dumps(document[part], indent=1), flush=True)
        given.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
