"""Writes docs/performance.md from benchmarks/results/*.json: the last step of `make bench`.

    python benchmarks/report.py [--results FOLDER] [--page FILE]

A result that is not there is named with the command that makes it. Measures nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
HEAD = """# Performance

Written by `python benchmarks/report.py` from `benchmarks/results/`; `make bench` measures all of it
anew. Figures are of CPUs, in float32, but for the section on a GPU. Ratios are of runs that took
turns on the same machine; speeds of different tables are of different days and loads. How peers are
driven: `benchmarks/peers/`; their pinned environments: `benchmarks/peers/install.sh`.
"""
Document = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Something that issue 8 asks for.

    Attributes:
        what: in words.
        result: file of the result.
        least: the figure wanted; a ceiling if `ceiling`.
        figure: finds the measured one in the result.
        why: what stands there where it is missed.
        ceiling: whether less is better.
        unit: behind the figures.
    """

    what: str
    result: str
    least: float
    figure: Callable[[Document], float]
    why: str
    ceiling: bool = False
    unit: str = "x"

    def row(self, documents: dict[str, Document]) -> tuple[str, ...]:
        """Return the line of the table."""
        sign = "<=" if self.ceiling else ">="
        wanted = f"{sign} {self.least:g}{' ' if self.unit != '%' else ''}{self.unit}"
        try:
            found = self.figure(documents[self.result])
        except KeyError:
            return self.what, wanted, "not measured", "", ""
        met = found <= self.least if self.ceiling else found >= self.least
        shown = f"{found:.2f}{' ' if self.unit != '%' else ''}{self.unit}"
        return self.what, wanted, shown, "yes" if met else "no", "" if met else self.why


BOUND = (
    "both sides multiply matrices at the processor's rate (profile below); padding and logits are "
    "all that can be left out, and peers pad a third"
)
SHARE = "the tower is a small part of this model's step: without it the language model's is left"
HEAVY = "without the tower the language model's own products are left"
STATES = "weights, gradients and moments of AdamW are the same bytes for all, and most of them"


def _ratio(kind: str, key: str) -> Callable[[Document], float]:
    return lambda document: float(document["ratios"][kind][key])


def _worst(key: str) -> Callable[[Document], float]:
    return lambda document: max(float(line[key]) for line in document["ratios"].values())


def _slowest_start(document: Document) -> float:
    """Return the slowest of the kinds' starts; a cache is built before its first step."""
    kinds = document["ratios"].items()
    return max(float(line["start_s"]) for kind, line in kinds if not kind.endswith("cached"))


def _stall(document: Document) -> float:
    return float(document["median_s"]["behind the next step"])


def _on_gpu(document: Document) -> float:
    """Return the best utilisation of hocket's ways, in percent."""
    lines = document["summary"]
    return max(100 * one["utilisation"] for name, one in lines.items() if name != "trainer")


TARGETS = (
    Target("full fine-tune, supervised tokens/s", "train", 2.0, _ratio("full", "wall"), BOUND),
    Target("alignment, first epoch", "train", 2.5, _ratio("align", "wall"), BOUND),
    Target("alignment, feature cache", "train", 3.0, _ratio("align, cached", "wall"), SHARE),
    Target("alignment, tower-heavy, cache", "train", 5.0, _ratio("towers, cached", "wall"), HEAVY),
    Target(
        "padding, largest of all runs",
        "train",
        3.0,
        lambda document: 100 * _worst("padding")(document),
        "few samples are left to fill the last rows of so short a run",
        ceiling=True,
        unit="%",
    ),
    Target(
        "peak memory, full fine-tune", "train", 0.7, _ratio("full", "memory"), STATES, ceiling=True
    ),
    Target(
        "peak memory, alignment",
        "train",
        0.7,
        _ratio("align", "memory"),
        "Python, torch and the weights are the same for all",
        ceiling=True,
    ),
    Target(
        "start to first step, no cache to build",
        "train",
        6.0,
        _slowest_start,
        "imports of torch and transformers alone take 5.4 s of one core, and all runs have them",
        ceiling=True,
        unit="s",
    ),
    Target(
        "loader, 336 px JPEGs, per core",
        "loader",
        2.0,
        lambda document: float(document["336 px"]["ratios"]["hocket"]),
        "a process of its own guards against decoders that hang; without it see below",
    ),
    Target(
        "a save stalls training",
        "save_stall",
        0.2,
        _stall,
        "the copy waits behind the next step",
        ceiling=True,
        unit="s",
    ),
    Target("GPU: share of the matrix rate", "gpu", 50, _on_gpu, "see the table below", unit="%"),
)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield a Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def targets(documents: dict[str, Document]) -> Iterator[str]:
    """Yield what was wanted and what was found."""
    rows = [one.row(documents) for one in TARGETS]
    yield from table(("target", "wanted", "measured", "met", "why not"), rows)


def train(document: Document) -> Iterator[str]:
    """Yield the comparisons of training."""
    machine, asked = document["machine"], document["asked"]
    versions = ", ".join(f"{name} {one}" for name, one in machine["versions"].items())
    yield (
        f"{machine['date']}, {machine['cores']} cores ({machine['cpu']}), {document['threads']} "
        f"threads, load {machine['load_average']:.1f}, {versions}; {asked['rounds']} rounds of "
        f"{asked['steps']} steps of {asked['rows']} samples, the first step not counted. Peers: "
        + "; ".join(f"{name} ({one})" for name, one in document["peers"].items())
        + ". nanoVLM trains a model of its own with the same widths. Full fine-tune: everything "
        "trains. Alignment: the connector alone. Towers: alignment with a vision tower that costs "
        "more than twice what the language model costs."
    )
    yield ""
    for kind, peers in document["medians"].items():
        rows = [
            (
                name,
                f"{line['supervised_per_s']:.0f}",
                f"{line['spread']:.0%}" if line["runs"] > 1 else "one run",
                f"{line['supervised_per_cpu_s']:.0f}",
                f"{line['tokens_per_s']:.0f}",
                f"{line['padding']:.1%}",
                f"{line['peak_mb']:.0f}",
                f"{line['start_s']:.1f}",
            )
            for name, line in peers.items()
        ]
        heads = (f"{kind}", "supervised/s", "spread", "per CPU s", "all tokens/s", "padding")
        yield from table((*heads, "peak MB", "start s"), rows)
    yield from ratio_rows(document["ratios"])
    yield from profiles(document.get("profiles", {}))


def ratio_rows(ratios: Document) -> Iterator[str]:
    """Yield hocket over its best peer."""
    rows = [
        (
            name,
            line["best_peer"],
            f"{line['wall']:.2f}",
            f"{line['cpu']:.2f}",
            f"{line['all_tokens']:.2f}",
            f"{line['memory']:.2f}",
        )
        for name, line in ratios.items()
    ]
    heads = ("hocket over", "best peer", "supervised/s", "per CPU s", "all tokens/s", "memory")
    yield from table(heads, rows)


def profiles(found: Document) -> Iterator[str]:
    """Yield where the time of a step goes."""
    if not found:
        return
    yield (
        "Where a step's time goes (torch's profiler). Matrix products run at the same rate on both "
        "sides; what differs is how many of them a supervised token costs.\n"
    )
    heads = ("kind", "who", "matrix", "attention", "elementwise", "loss", "optimizer", "outside")
    rows = [
        (
            kind,
            peer,
            *(f"{line[part]:.0%}" for part in ("matrix products", *heads[3:])),
            f"{line['gflop_per_s']:.0f}",
            f"{line['gflop_per_supervised']:.2f}",
        )
        for kind, peers in found.items()
        for peer, line in peers.items()
    ]
    yield from table((*heads, "GFLOP/s", "GFLOP per supervised token"), rows)


def scaling(document: Document) -> Iterator[str]:
    """Yield how cost grows."""
    yield f"{document['cores']} cores, {document['threads']} threads.\n"
    if "rows" in document:
        alone = document["rows"]["one_sample"]
        rows: list[tuple[object, ...]] = [
            (f"{int(length):,}", f"{value:.3f}", f"{alone[length]:.3f}" if length in alone else "")
            for length, value in document["rows"]["packed"].items()
        ]
        heads = ("tokens of a row", "ms per token, samples of 512", "one sample")
        yield from table(heads, rows)
        yield (
            "A packed row's cost per token does not depend on its length. One sample's does: each "
            "token attends to all before it.\n"
        )
    if "processes" in document:
        rows = [
            (world, f"{line['tokens_per_s']:,.0f}", f"{line['communication']:.0%}")
            for world, line in document["processes"].items()
        ]
        yield from table(("processes (gloo)", "tokens/s", "exchange"), rows)
        yield "More processes than cores share them: only the exchange says something there.\n"
    if "samples" in document:
        known = document["samples"]
        rows = [
            (f"{int(count):,}", *(f"{known[key][count]:.3g}" for key in known))
            for count in known["first_s"]
        ]
        names = ("rows of the file", "first batch s", "first opening s", "ms per later batch")
        yield from table(names, rows)
    if "images" in document:
        known = document["images"]
        rows = [
            (count, known["tokens"][count], f"{value:.3f}")
            for count, value in known["ms_per_token"].items()
        ]
        yield from table(("pictures of a sample", "tokens", "ms per token"), rows)
        yield (
            "Each picture has 16 tokens, for which the tower sees 64 patches. The more of a sample "
            "is pictures, the nearer it comes to the cost of their tokens.\n"
        )


def loader(document: Document) -> Iterator[str]:
    """Yield samples per second and core."""
    rows = [
        (kind, way, f"{line['per_core']:.0f}", f"{line['wall']:.0f}", line["processes"])
        for kind, found in document.items()
        if isinstance(found, dict) and "medians" in found
        for way, line in found["medians"].items()
    ]
    yield from table(("pictures", "way", "per core and s", "per s", "processes"), rows)


def means(document: Document) -> Iterator[str]:
    """Yield what each technique is worth."""
    yield (
        f"{document['date']}, the model `{document['size']}` of `benchmarks/peers/assets.py` "
        f"({document['parameters'] / 1e6:.0f} M parameters), {document['samples']} samples a step, "
        f"{document['threads']} thread(s), load {document['load']:.1f}, medians of "
        f"{document['rounds']} round(s) after one that warms up, with and without in turn. Ratios "
        "are the time without a technique over the time with it. Difference: the largest of loss "
        "and gradients, as a share of the largest value where that is above 1. What a step does "
        "per token is under [how cost grows](#how-cost-grows).\n"
    )
    rows = []
    for one in document["techniques"]:
        ratios = (f"{one[key]:.2f}" if key in one else "" for key in ("cpu_ratio", "wall_ratio"))
        apart = f"{one['difference']:.0e}" if "difference" in one else ""
        said = "; ".join(text for text in (one["verdict"], one.get("note")) if text)
        rows.append(
            (one["name"], *ratios, apart, said, f"`{one['tests']}`" if one["tests"] else "")
        )
    heads = ("technique", "processor time", "clock", "difference", "verdict", "proven by")
    yield from table(heads, rows)


def gpu(document: Document) -> Iterator[str]:
    """Yield what a GPU reached."""
    work = document["parts"].get("work", {})
    yield (
        f"{document['date']}, {document['device']}, torch {document['torch']}, size "
        f"`{document['size']}`, {work.get('parameters', 0) / 1e9:.2f} G parameters, "
        f"{work.get('samples', 0)} samples a step, {document['seconds']:.0f} s in all. "
        "Utilisation is the operations of `hocket.plan.trace`, each sample by itself, over the "
        "rate that large bfloat16 products reached in the same process.\n"
    )
    steps, others = [], []
    for name, one in document["parts"].items():
        if "step_s" in one:
            line = document["summary"][name]
            figures = (line.get(key) for key in ("utilisation", "over_trainer", "loss_from_mask"))
            shown = ("" if value is None else f"{value:.3g}" for value in figures)
            peak = f"{one['peak_mb'] / 1e3:.1f}"
            steps.append((name, f"{one['tokens_per_s']:,.0f}", *shown, peak))
        else:
            others.append((name, json.dumps(one)))
    heads = ("way", "tokens/s", "utilisation", "x Trainer", "loss from mask's", "peak GB")
    yield from table(heads, steps)
    yield from table(("part", "found"), others)


def flat(document: Document) -> Iterator[str]:
    """Yield the medians of a result that is a table of numbers, or its numbers."""
    known = document.get("medians", document)
    rows = []
    for name, value in known.items():
        if isinstance(value, dict):
            inner = ", ".join(
                f"{key.replace('_', ' ')} {one:,.4g}"
                for key, one in value.items()
                if isinstance(one, int | float)
            )
            rows.append((name.replace("_", " "), inner))
        elif isinstance(value, int | float):
            rows.append((name.replace("_", " "), f"{value:,.4g}"))
    yield from table(("what", "median"), rows)


def packing(document: Document) -> Iterator[str]:
    """Yield how full rows are."""
    rows = [
        (budget, way, f"{line['tokens']:.1%}", f"{line.get('imbalance_balanced', 0):.2%}")
        for budget, found in document.items()
        for way, line in found.items()
        if way in ("one sample a row", "greedy", "first fit, pool 64")
    ]
    yield from table(("row", "way", "used", "dearest process over the mean"), rows)


def plan(document: Document) -> Iterator[str]:
    """Yield predicted and measured memory."""
    rows = [
        (one["recipe"], f"{one['predicted_mb']:.0f}", f"{one['measured_mb']:.0f}")
        for one in document["recipes"]
    ]
    yield from table(("recipe", "predicted MiB", "measured MiB"), rows)


def engine(document: Document) -> Iterator[str]:
    """Yield tokens per second of generation."""
    yield (
        f"{document['requests']} requests of {document['tokens']} tokens, {document['threads']} "
        f"threads, {document['rounds']} rounds.\n"
    )
    rows = []
    for model, ways in document["runs"].items():
        for way, runs in ways.items():
            middle = sorted(runs, key=lambda one: one["tokens_per_s"])[len(runs) // 2]
            first = middle["first_token_s"]
            shown = "" if first is None or first != first else f"{first:.3f}"
            speeds = (f"{middle['tokens_per_s']:.1f}", f"{middle['tokens_per_cpu_s']:.1f}")
            rows.append((model, way, *speeds, shown))
    yield from table(("model", "way", "tokens/s", "per CPU s", "first token s"), rows)


def serve(document: Document) -> Iterator[str]:
    """Yield the server's load table."""
    yield f"Load of the machine: {document['machine']['load_average']}.\n"
    keys = ("clients", "tokens_per_second", "first_token_p50_s", "first_token_p95_s", "memory_mib")
    rows = [[one[key] for key in keys] for one in document["loads"]]
    yield from table([key.replace("_", " ") for key in keys], rows)


SECTIONS: tuple[tuple[str, str, Callable[[Document], Iterator[str]]], ...] = (
    ("Training against peers", "train", train),
    ("Techniques, one by one", "means", means),
    ("How cost grows", "scaling", scaling),
    ("On a GPU", "gpu", gpu),
    ("Generation", "engine", engine),
    ("Generation against others, 25 M parameters", "engine_peers", flat),
    ("Server", "serve", serve),
    ("Loader", "loader", loader),
    ("Feature cache, a tower of 8 layers on a language model of 2", "feature_cache", flat),
    ("Packing", "packing", packing),
    ("Saving, 107 M parameters", "save_stall", flat),
    ("Opening JSON of a million rows", "json_open", flat),
    ("Reading WebDataset tars, samples per second", "webdataset", flat),
    ("Memory: predicted and measured", "plan", plan),
    ("Quickstart", "quickstart", flat),
)


ABSENT = {
    "gpu": "No GPU has been there yet, so there are no figures. The script takes at most 8 minutes "
    "on one and writes its date and device here; `--size tiny --device cpu` tries it out.\n"
}


def write(results: Path, page: Path) -> None:
    """Write the page.

    Args:
        results: folder of the JSON files.
        page: the file to write.
    """
    documents = {file.stem: json.loads(file.read_text()) for file in results.glob("*.json")}
    lines = [HEAD, "## Targets\n", "Against the best peer of the same run.\n"]
    lines += targets(documents)
    for title, name, render in SECTIONS:
        lines += [f"## {title}\n", f"`python benchmarks/{name}.py`\n"]
        if name in documents:
            lines += render(documents[name])
        else:
            lines.append(ABSENT.get(name, "Not measured here yet.\n"))
    lines.append("[scale](scale.md) plans 8 to 1,024 GPUs.")
    page.write_text("\n".join(lines) + "\n", encoding="ascii")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    write(given.results, given.page)
    print(f"wrote {given.page}")


if __name__ == "__main__":
    main()
