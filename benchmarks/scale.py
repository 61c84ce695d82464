"""Writes docs/scale.md: what LLaVA 1.5 and a 70 B composite come to on 8 to 1,024 GPUs.

    python benchmarks/scale.py

Every figure is a formula of `hocket.plan.scale` over a traced step; none is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hocket.cli._compose import compose_run
from hocket.model.build import build
from hocket.plan.gpus import gpu_named
from hocket.plan.make import Planner, Setting, able
from hocket.plan.memory import Sharing, Strategy
from hocket.plan.scale import Cluster, Scaled, attending, scale
from hocket.train.recipe import Group, Recipe, Stage

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
DEVICES = (8, 16, 32, 64, 128, 256, 512, 1024)
CLUSTER = Cluster(gpu=gpu_named("h100"))
MODELS = {"llava15_7b": (8, 2048), "internvit_llama_70b": (1, 4096)}
LONG_ROW = 131_072
HEAD = """# 8 to 1,024 GPUs

Written by `python benchmarks/scale.py`. Every figure is a formula over a traced step, see
[plan](plan.md); none is measured: this trainer has run on CPUs with up to four processes
([reliability](reliability.md)). H100 with 80 GB, eight in a machine, 400 Gb/s of network each, 40 %
of the data sheet's speed while computing; everything trains, float32 at rest, computed in bfloat16,
all activations computed again, half of a row pictures. Exchange runs beside computing, so a step
takes the longer of the two; `hocket.plan.scale` has the formulas. `hsdp` is a formula only: the
trainer shares over all processes, which is `fsdp`.
"""


def main() -> None:
    """Plan each model and write the page."""
    lines = [HEAD]
    for name, (rows, tokens) in MODELS.items():
        lines += list(chapter(name, rows, tokens))
    PAGE.write_text("\n".join(lines) + "\n", "utf-8")


def chapter(name: str, rows: int, tokens: int) -> Iterator[str]:
    """Yield the lines of a model."""
    spec = compose_run([f"model={name}"]).model
    built = build(spec, ["some words"], weights=False)
    heads = attending(built.model.config)
    every = {"all": Group(match="*", lr=1e-5)}
    parts = able(built.model)

    def planned(sequence: int, tokens: int, rows: int) -> list[Scaled]:
        stage = Stage(trainable=every, steps=1, rows=rows, tokens_per_row=tokens)
        setting = Setting(dtype="mixed", recomputed=parts, devices=sequence, sequence=sequence)
        plan = Planner(built, Recipe(stages={"one": stage}), None).stage("one", setting)
        return [scale(plan, one, CLUSTER, heads) for one in ways(sequence)]

    found = planned(1, tokens, rows)
    first = found[0]
    yield f"## {name}\n"
    apart = max(1, round(first.tower_share * 64))
    yield (
        f"{rows} row{'s' if rows > 1 else ''} of {tokens:,} tokens on each GPU. A checkpoint has "
        f"{first.checkpoint_bytes / 1e9:,.0f} GB and takes one writer of 2 GB/s "
        f"{first.checkpoint_seconds:,.0f} s, in which training goes on. Towers take "
        f"{first.tower_share:.1%} of a step's operations in their forward pass: encoders on GPUs "
        f"of their own would want {apart} of 64, so they stay beside the language model, where "
        "their rows are.\n"
    )
    yield from table(found)
    yield f"\nOne row of {LONG_ROW:,} tokens, shared:\n"
    long = [one for degree in (8, 16, 32) for one in planned(degree, LONG_ROW, 1)]
    yield from table([one for one in long if one.strategy.devices in (64, 512)])
    yield ""


def ways(sequence: int) -> Iterator[Strategy]:
    """Yield how devices share a run."""
    for devices in DEVICES:
        if devices % sequence == 0:
            yield Strategy(sharing=Sharing.FSDP, devices=devices, sequence=sequence)
            if devices > Strategy().per_machine:
                yield Strategy(sharing=Sharing.HSDP, devices=devices, sequence=sequence)


def table(found: Sequence[Scaled]) -> Iterator[str]:
    """Yield rows of Markdown."""
    heads = ("GPUs", "shared", "a row by", "peak GiB", "fits", "compute s", "exchange s")
    yield "| " + " | ".join((*heads, "tokens/s", "rows read by")) + " |"
    yield "|" + "---|" * 9
    for one in found:
        cells = (
            f"{one.strategy.devices:,}",
            one.strategy.name,
            str(one.strategy.sequence),
            f"{one.peak / 2**30:,.1f}",
            "yes" if one.fits else "no",
            f"{one.compute_seconds:,.2f}",
            f"{one.exchange_seconds:,.2f}",
            f"{one.tokens_per_second:,.0f}",
            f"1 in {one.strategy.data_devices:,}",
        )
        yield "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
