"""Count rows, tokens, media and their sizes, and how full packed rows would be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from hocket._env import no_color
from hocket._log import console
from hocket.cli._legible import legible
from hocket.cli.data._census import (
    TOKENS_PER_ROW,
    Counted,
    FramesOption,
    PatchesOption,
    TokensOption,
    budget_of,
    count,
)
from hocket.cli.data._open import (
    READER,
    FileArgument,
    MediaRootOption,
    ModelOption,
    ProcessesOption,
    ReaderOption,
    SourceOption,
)
from hocket.data.census.summary import Spread, Summary, summarise, tokens_of

_SHOWN = 5


def command(
    file: FileArgument,
    model: ModelOption = None,
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    tokens_per_row: TokensOption = TOKENS_PER_ROW,
    patches_per_row: PatchesOption = 0,
    frames_per_row: FramesOption = 0,
    processes: ProcessesOption = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Count rows, tokens, media and their sizes, and how full packed rows would be."""
    counted = count(
        file,
        source=source,
        reader=reader,
        media_root=media_root,
        model=model,
        processes=processes,
    )
    budget = budget_of(tokens_per_row, patches_per_row, frames_per_row)
    summary = summarise(counted.census, budget)
    if as_json:
        typer.echo(json.dumps(_plain(counted, summary), indent=2, ensure_ascii=False))
        return
    screen = Console(no_color=no_color() or None, highlight=False)
    screen.print(_drawn(counted, summary))
    console().print(counted.note, style="dim", markup=False, highlight=False, soft_wrap=True)


def _plain(counted: Counted, summary: Summary) -> dict[str, object]:
    parts = tokens_of(counted.census.rows, counted.opened.rows.sizes())
    return {
        "data": counted.opened.title,
        "measured_with": counted.note,
        **asdict(summary),
        "datasets": {
            name: {"rows": rows, "tokenised": tokenised, "tokens": tokens}
            for name, (rows, tokenised, tokens) in parts.items()
        },
        "first_faults": [
            {
                "dataset": fault.place.dataset,
                "row": fault.place.row,
                "id": fault.id,
                "trouble": fault.trouble.value,
                "reason": fault.reason,
            }
            for fault in counted.census.faults[:100]
        ],
    }


def _drawn(counted: Counted, summary: Summary) -> Group:
    parts = tokens_of(counted.census.rows, counted.opened.rows.sizes())
    unusable = sum(summary.faults.values())
    blocks: list[Table | Text] = [_facts(dict(facts(summary, unusable=unusable)))]
    if len(parts) > 1:
        blocks.append(_parts(parts))
    if summary.figures:
        blocks.append(_figures(summary.figures))
    blocks += [_warning(line) for line in _troubles(counted, summary)]
    return Group(*blocks)


def facts(summary: Summary, *, unusable: int) -> Iterator[tuple[str, str]]:
    """Yield the counts of a data set, ``unusable`` rows among them, as pairs of words."""
    yield "rows", f"{summary.rows:,}"
    yield "not usable", f"{unusable:,}" if unusable else "none"
    yield "media", _listed(summary.media)
    yield "messages", _listed(summary.roles)
    yield "scripts", _listed(summary.scripts)
    tokens = summary.figures.get("tokens")
    if tokens is None:
        return
    learned = summary.figures["learned tokens"].total
    yield "tokens", f"{tokens.total:,.0f}"
    yield "learned", f"{learned:,.0f} ({learned / tokens.total:.1%})"
    yield "of media", f"{summary.placeholders:,} ({summary.placeholders / tokens.total:.1%})"
    packed = summary.forecast
    yield (
        f"packed to {packed.tokens_per_row:,}",
        f"{_counted(packed.rows, 'row')}, {packed.samples_per_row:.1f} samples in each, "
        f"{packed.fill:.1%} full",
    )
    if packed.over:
        yield "over the budget", f"{_counted(packed.over, 'row')} too long, would be cut"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shown_number(value: float) -> str:
    """Return a number as people read it: seconds with fractions, counts without."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.2f}"


def _facts(rows: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(legible(value)))
    return table


def _parts(parts: Mapping[str, tuple[int, int, int]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("data set", overflow="fold")
    for name in ("rows", "tokenised", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, numbers in parts.items():
        table.add_row(Text(legible(name)), *(f"{number:,}" for number in numbers))
    return table


def _figures(figures: Mapping[str, Spread]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for name in ("least", "p5", "median", "p95", "p99", "most", "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in figures.items():
        cuts = one.percentiles
        values = (one.least, cuts["p5"], cuts["p50"], cuts["p95"], cuts["p99"], one.most)
        table.add_row(name, *map(shown_number, values), f"{one.mean:,.1f}")
    return table


def _troubles(counted: Counted, summary: Summary) -> Iterator[str]:
    for name, number in summary.faults.items():
        yield f"{number:,} x {name}"
    for fault in counted.census.faults[:_SHOWN]:
        yield f"  {' '.join(fault.reason.split())}"
    more = len(counted.census.faults) - _SHOWN
    if more > 0:
        yield f"  and {more:,} more; all of them: hocket data check {counted.opened.title}"


def _warning(line: str) -> Text:
    return Text(legible(line), style="yellow")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items() if number) or "none"
