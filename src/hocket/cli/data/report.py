"""Write one HTML page about a data set: figures, histograms, findings, and rows to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from hocket._errors import DataError, HocketError
from hocket._log import console
from hocket.cli._show.html import check_place, put_page
from hocket.cli._show.report import Contents, render_report
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
    count_processes,
    progress,
)
from hocket.cli.data.stats import facts
from hocket.data.audit import MEANINGS, AuditOptions, Finding
from hocket.data.audit.run import audit
from hocket.data.budget import UNCUT, Budget, Cuts
from hocket.data.census.summary import columns, summarise, tokens_of
from hocket.data.census.worst import pick_typical, pick_worst
from hocket.data.joined import JoinedRows, Place
from hocket.data.truncate import OverlongError, cut
from hocket.tokens.example import Cost

_MOST_CUT = 500
_MOST_BROKEN = 12


def command(
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    model: ModelOption = None,
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    tokens_per_row: TokensOption = TOKENS_PER_ROW,
    patches_per_row: PatchesOption = 0,
    frames_per_row: FramesOption = 0,
    headers: Annotated[
        bool, typer.Option("--headers", help="Read headers only: fast, but misses damaged media.")
    ] = False,
    rows: Annotated[int, typer.Option(min=0, help="Random rows to show.")] = 8,
    processes: ProcessesOption = 0,
) -> None:
    """Write one HTML page about a data set: figures, histograms, findings, and rows to look at.

    The page needs nothing else, not even a network, so it can be mailed.
    """
    check_place(out, option="--out")
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
    findings = _audit(counted, headers=headers, processes=processes)
    cuts, tried = _cuts(counted, budget)
    contents = Contents(
        title=file,
        note=counted.note,
        rows=counted.opened.rows,
        processor=counted.processor,
        facts=list(facts(summary, unusable=_count_unusable(findings))),
        parts=tokens_of(counted.census.rows, counted.opened.rows.sizes()),
        columns=columns(counted.census),
        figures=summary.figures,
        budget=budget,
        cuts=cuts,
        tried=tried,
        findings=findings,
        typical=pick_typical(counted.census, count=rows),
        worst=pick_worst(counted.census),
        broken=_broken(counted.opened.rows, findings),
    )
    put_page(out, render_report(contents), option="--out")
    console().print(f"{summary.rows:,} rows, {len(findings):,} findings", highlight=False)
    typer.echo(out)


def _audit(counted: Counted, *, headers: bool, processes: int) -> list[Finding]:
    options = AuditOptions(headers=headers)
    rows = counted.opened.rows
    with progress("checking", len(rows)) as advance:
        return list(
            audit(
                rows,
                options,
                processor=counted.processor,
                processes=count_processes(processes),
                progress=advance,
            )
        )


def _count_unusable(findings: Sequence[Finding]) -> int:
    return len({(one.dataset, one.row) for one in findings if MEANINGS[one.kind].unusable})


def _cuts(counted: Counted, budget: Budget) -> tuple[Cuts, tuple[int, int]]:
    """Return what the budget cuts of the rows that are too long, how many were tried and are."""
    table = counted.census.rows
    costs = table[["number", "tokens", "patches", "audio_frames"]].tolist()
    over = [index for index, *cost in costs if not budget.has_room(Cost(*cost))]
    tried = over[:_MOST_CUT]
    total = UNCUT
    with progress("cutting", len(tried)) as advance:
        for index in tried:
            advance(1)
            try:
                _, cuts = cut(counted.opened[index], counted.processor, budget)
            except OverlongError:
                cuts = Cuts(skipped=1)
            except HocketError:
                continue  # stands among the findings
            total = total.plus(cuts)
    return total, (len(tried), len(over))


def _broken(rows: JoinedRows, findings: Sequence[Finding]) -> dict[int, list[Finding]]:
    """Return the findings of some rows by their place, rows of every kind of finding first."""
    by_row: dict[Place, list[Finding]] = {}
    for finding in findings:
        by_row.setdefault(Place(finding.dataset, finding.row), []).append(finding)
    seen: dict[str, int] = {}
    ranked = []
    for place, found in by_row.items():
        kind = found[0].kind.value
        ranked.append((seen.get(kind, 0), place))
        seen[kind] = seen.get(kind, 0) + 1
    chosen = [place for _, place in sorted(ranked, key=lambda one: one[0])[:_MOST_BROKEN]]
    return {index: by_row[place] for index, place in _indices(rows, chosen)}


def _indices(rows: JoinedRows, places: Iterable[Place]) -> list[tuple[int, Place]]:
    """Return where rows stand among all rows.

    Raises:
        DataError: the data has changed since it was read.
    """
    wanted = set(places)
    found = [(index, rows.place(index)) for index in range(len(rows)) if wanted]
    picked = [(index, place) for index, place in found if place in wanted]
    if len(picked) != len(wanted):
        raise DataError("the data has changed while it was read. Run the command again.")
    return picked
