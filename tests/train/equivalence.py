"""Writes the table of distributed equivalence into ``docs/reliability.md``.

``python -m tests.train.equivalence`` runs every way of sharing on gloo against one process; with
``--print`` it shows the table only. It takes about two minutes.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.model.sequence.shared import compare
from tests.together import together
from tests.train.parallel.runs import (
    Case,
    largest_difference,
    loss_difference,
    three_steps,
    train_all,
)
from tests.train.toy_pairs import one_stage, pairs_of, write_pairs

from hocket.data.spec import DataSpec
from hocket.model.sequence import RingKind, SequenceSpec
from hocket.train.parallel import FsdpSpec, Sharding
from hocket.train.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- equivalence: begin -->", "<!-- equivalence: end -->"
PLAIN, FSDP = RingKind.PLAIN, Sharding.FSDP
ATTENTION = {
    2: [SequenceSpec(ulysses=2), SequenceSpec(ring=2, ring_kind=PLAIN), SequenceSpec(ring=2)],
    4: [
        SequenceSpec(ulysses=4),
        SequenceSpec(ring=4, ring_kind=PLAIN),
        SequenceSpec(ring=4),
        SequenceSpec(ulysses=2, ring=2, ring_kind=PLAIN),
        SequenceSpec(ulysses=2, ring=2),
    ],
}


def attention_rows() -> list[str]:
    """Return the rows of one forward and backward pass of a packed batch with all media."""
    rows = ["| processes | ulysses x ring | loss off by | gradients off by |", "|---|---|---|---|"]
    for world, ways in ATTENTION.items():
        for one in together(world, compare, ways, [("qwen3", {})])[0]:
            kind = f" {one.way.ring_kind}" if one.way.ring > 1 else ""
            rows.append(
                f"| {world} | {one.way.ulysses} x {one.way.ring}{kind} | {one.loss:.1e} "
                f"| {one.gradient:.1e} |"
            )
    return rows


def training_rows(folder: Path) -> list[str]:
    """Return the rows of three optimizer steps, some without pictures or sounds on a rank."""
    write_pairs(folder / "data")
    pairs = pairs_of(folder / "data")
    plain, connectors = three_steps(), three_steps(match="model.*_projector.*")
    dpo, words = (one_stage(steps=3, adapter=kind, save_every=0) for kind in ("", "lora"))
    alone = {"plain": plain, "connectors": connectors, "DPO": dpo, "DPO of an adapter": words}
    train_all(folder / "data", folder, [_case(*one, pairs) for one in alone.items()])
    ring = SequenceSpec(ring=2)
    parts = ["language", "vision", "audio"]
    offload = FsdpSpec(cpu_offload=True)
    ways = {
        2: {
            "DDP": plain,
            "DDP, 2 micro-batches": three_steps(accumulate=2),
            "DDP, connectors train": connectors,
            "DDP, ring of 2": replace(plain, sequence_parallel=ring),
            "FSDP2": replace(plain, sharding=FSDP),
            "FSDP2, 2 micro-batches": replace(three_steps(accumulate=2), sharding=FSDP),
            "FSDP2, connectors train": replace(connectors, sharding=FSDP),
            "FSDP2, recomputed": replace(plain, sharding=FSDP, gradient_checkpointing=parts),
            "FSDP2, offloaded": replace(plain, sharding=FSDP, fsdp=offload),
            "FSDP2, ring of 2": replace(plain, sharding=FSDP, sequence_parallel=ring),
            "DDP, DPO": dpo,
            "DDP, DPO of an adapter": words,
            "FSDP2, DPO": replace(dpo, sharding=FSDP),
            "FSDP2, DPO of an adapter": replace(words, sharding=FSDP),
            "FSDP2, ring of 2, DPO": replace(dpo, sharding=FSDP, sequence_parallel=ring),
        },
        4: {
            "DDP": plain,
            "FSDP2": replace(plain, sharding=FSDP),
            "FSDP2, 2 rings of 2": replace(plain, sharding=FSDP, sequence_parallel=ring),
        },
    }
    rows = ["| processes | shared by | loss off by | weights off by |", "|---|---|---|---|"]
    for world, named in ways.items():
        shared = folder / str(world)
        cases = [_case(*one, pairs) for one in named.items()]
        together(world, train_all, folder / "data", shared, cases)
        for name in named:
            kind = name.rpartition(", ")[2]
            kind = "connectors" if "connectors" in kind else kind
            one = folder / (kind if kind in alone else "plain")
            loss = loss_difference(one, shared / name)
            weights = largest_difference(one, shared / name)
            rows.append(f"| {world} | {name} | {loss:.1e} | {weights:.1e} |")
    return rows


def _case(name: str, chosen: Recipe, pairs: DataSpec) -> Case:
    return Case(name, chosen, data=pairs if "DPO" in name else None)


def table() -> str:
    """Return both tables as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        training = training_rows(Path(folder))
    head = "One packed batch of two rows with pictures, sounds and videos, forward and backward:"
    below = "Three optimizer steps; what each rank's rows hold differs, as a share of the loss:"
    return "\n".join([head, "", *attention_rows(), "", below, "", *training])


def main() -> None:
    """Write the table between its marks, or print it."""
    made = table()
    if "--print" in sys.argv:
        sys.stdout.writelines(f"{line}\n" for line in made.splitlines())
        return
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
