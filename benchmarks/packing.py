"""How full packed rows are: no packing, greedy packing, and hocket's first fit with several pools.

    python benchmarks/packing.py [SAMPLES]

Draws samples as instruction data has them (50,000 unless told otherwise): 30 to 800 tokens of text
with a long tail, 40 % of them with a picture of 64 to 576 rows, 5 % with several, 10 % with sound,
and packs them into rows of 2048 and 4096 tokens, once without and once with limits of patches and
audio frames. Prints the share of the row that is used (padding counts against the length of the
row), microseconds per row, and how much more than the mean the dearest of 8 processes has to do,
rows dealt out in turn against balanced. Writes benchmarks/results/packing.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hocket.data.balance import Prices, share_out
from hocket.data.budget import Budget
from hocket.data.pack import Measured, Packer, Row
from hocket.tokens.example import Cost

SAMPLES = 50_000
POOLS = (1, 8, 16, 32, 64, 128, 256, 512)
PER_STEP = 64
WORLD = 8
# A tower of 300 million parameters beside a language model of 7 billion, and one of 600 million.
PRICES = Prices(patch=0.3 / 7, audio_frame=0.6 / 7)


def draw(count: int) -> list[Cost]:
    """Return what samples cost; the long tail is a log-normal cut at 30 and 800."""
    rng = np.random.default_rng(0)
    text = np.clip(rng.lognormal(5.0, 0.8, count), 30, 800).astype(int)
    pictures = np.where(rng.random(count) < 0.4, 1, 0)
    pictures = np.where(rng.random(count) < 0.05, rng.integers(2, 5, count), pictures)
    rows = rng.choice([64, 144, 256, 576], count, p=[0.2, 0.3, 0.3, 0.2])
    # Several pictures of a sample are shown smaller.
    rows = np.where(pictures > 1, np.minimum(rows, 256), rows)
    seconds = np.where(rng.random(count) < 0.1, rng.uniform(1, 20, count), 0)
    return [
        Cost(
            tokens=int(words + shown * size + heard * 25 // 2),
            patches=int(4 * shown * size),
            frames=int(heard * 50),
        )
        for words, shown, size, heard in zip(text, pictures, rows, seconds, strict=True)
    ]


def used(costs: Sequence[Cost], rows: int, budget: Budget) -> dict[str, float]:
    """Return which share of so many rows the samples use."""
    total = Cost(
        sum(one.tokens for one in costs),
        sum(one.patches for one in costs),
        sum(one.frames for one in costs),
    )
    return budget.shares(total, rows=rows)


def greedy(costs: Sequence[Cost], budget: Budget) -> int:
    """Return the rows of packing in order: the next sample goes into the last row or a new one."""
    rows, filled = 1, Cost(0)
    for cost in costs:
        if budget.has_room(filled + cost):
            filled += cost
        else:
            rows, filled = rows + 1, cost
    return rows


def first_fit(costs: Sequence[Cost], budget: Budget, pool: int) -> tuple[list[Row], float]:
    """Return hocket's rows and the seconds they took; the last pool is left out of both."""
    packer = Packer(lambda at: Measured(costs[at]), budget=budget, pool=pool)
    rows: list[Row] = []
    started = time.perf_counter()
    while packer.state.cursor + pool < len(costs):
        rows.append(packer.next_row())
    return rows, time.perf_counter() - started


def imbalance(rows: Sequence[Row], share: Callable[[Sequence[float]], list[list[int]]]) -> float:
    """Return by which part the dearest process of a step has more to do than the mean."""
    found = []
    for at in range(0, len(rows) - PER_STEP, PER_STEP):
        prices = [PRICES.of(row.cost) for row in rows[at : at + PER_STEP]]
        totals = [sum(prices[row] for row in one) for one in share(prices)]
        found.append(max(totals) / (sum(totals) / len(totals)) - 1)
    return float(np.mean(found))


def in_turn(prices: Sequence[float]) -> list[list[int]]:
    """Return each process's rows, dealt out in turn."""
    return [list(range(rank, len(prices), WORLD)) for rank in range(WORLD)]


def balanced(prices: Sequence[float]) -> list[list[int]]:
    """Return each process's rows as hocket shares them out."""
    shares = share_out(prices, world=WORLD, accumulate=1)
    return [batches[0] for batches in shares]


def measure(costs: Sequence[Cost], budget: Budget) -> dict[str, object]:
    """Pack the samples in every way and return what was found."""
    alone = used(costs, len(costs), budget)
    by_order = used(costs, greedy(costs, budget), budget)
    found: dict[str, object] = {"one sample a row": alone, "greedy": by_order}
    print(
        f"  one sample a row {alone['tokens']:7.2%}\n  greedy           {by_order['tokens']:7.2%}"
    )
    for pool in POOLS:
        rows, seconds = first_fit(costs, budget, pool)
        taken = [costs[at] for row in rows for at in row.positions]
        line: dict[str, float] = used(taken, len(rows), budget)
        line["microseconds_per_row"] = seconds / len(rows) * 1e6
        line["imbalance_in_turn"] = imbalance(rows, in_turn)
        line["imbalance_balanced"] = imbalance(rows, balanced)
        found[f"first fit, pool {pool}"] = line
        figures = "  ".join(f"{key} {value:.4g}" for key, value in list(line.items())[1:])
        print(f"  pool {pool:<11} {line['tokens']:7.2%}  {figures}", flush=True)
    return found


def main() -> None:
    """Pack with and without limits of media and keep what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("samples", type=int, nargs="?", default=SAMPLES)
    costs = draw(parser.parse_args().samples)
    tokens = [one.tokens for one in costs]
    print(
        f"{len(costs)} samples of {min(tokens)} to {max(tokens)} tokens, mean {np.mean(tokens):.0f}"
    )
    results: dict[str, object] = {}
    for length in (2048, 4096):
        limited = Budget(length, patches=2 * length, audio_frames=max(1000, length // 4))
        for budget in (Budget(length), limited):
            name = budget.told()
            print(name)
            results[name] = measure(costs, budget)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / "packing.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
