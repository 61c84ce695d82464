"""Check every row, medium and label; list what training cannot use; write a repaired copy.

Exit codes: 0 nothing was found, 2 something was (or the command is wrong), 130 Ctrl-C.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hocket._env import no_color
from hocket._errors import ConfigError
from hocket._log import console, warn
from hocket.chat.conversation import Conversation
from hocket.cli._legible import legible
from hocket.cli.data._open import (
    READER,
    FileArgument,
    MediaRootOption,
    OpenedRows,
    ProcessesOption,
    ReaderOption,
    SourceOption,
    count_processes,
    open_rows,
    progress,
)
from hocket.data.audit import MEANINGS, AuditOptions, Finding, Kind
from hocket.data.audit.mend import mend
from hocket.data.audit.run import Summary, audit, journal_of
from hocket.data.joined import JoinedRows
from hocket.data.mixture import open_reader, open_source
from hocket.data.quarantine import Quarantined, write_quarantine
from hocket.data.sources import Row, RowSource
from hocket.data.spec import DatasetSpec

if TYPE_CHECKING:
    from hocket.tokens.processor import HocketProcessor

_SHOWN_ROWS = 3


def command(
    file: FileArgument,
    model: Annotated[
        Path | None,
        typer.Option(help="Checkpoint: lengths in tokens, and whether labels cover the answers."),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=0, help="Longest row in tokens; 0 for any. Needs --model.")
    ] = 0,
    headers: Annotated[
        bool, typer.Option("--headers", help="Read only the headers of media: quick, finds less.")
    ] = False,
    allow: Annotated[
        list[Kind] | None,
        typer.Option(
            metavar="KIND",
            help=f"A kind of finding to leave out, may be repeated: {', '.join(Kind)}.",
        ),
    ] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write the rows to leave out here, for data.quarantine.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(help="Write a repaired copy here (JSON) and say what changed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    deadline: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one medium may take to decode.")
    ] = 60.0,
    processes: ProcessesOption = 0,
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
) -> None:
    """Check every row, medium and label; exit code 2 when something is found.

    A check that was stopped goes on where it was when the same command is run again.
    """
    if max_tokens and model is None:
        raise ConfigError("--max-tokens counts tokens of a model. Give --model as well.")
    opened = open_rows(file, source=source, reader=reader, media_root=media_root)
    if fix and len(opened.specs) > 1:
        raise ConfigError("--fix writes one file. Check one data set at a time.")
    if fix and any(fix.absolute() == Path(spec.path).absolute() for spec in opened.specs.values()):
        raise ConfigError(f"--fix {fix} is the data file itself. Give a new one.")
    # What a quarantine leaves out by now is looked at again: the new list replaces the old one.
    rows = JoinedRows({name: open_source(name, spec) for name, spec in opened.specs.items()})
    options = AuditOptions(headers=headers, max_tokens=max_tokens, deadline_seconds=deadline)
    findings, summary = _look(opened, rows, options, model, processes)
    findings = [finding for finding in findings if finding.kind not in (allow or [])]
    changes = _fix(opened, rows, findings, fix) if fix else []
    if as_json:
        typer.echo(json.dumps(_document(file, findings, summary, changes)))
    else:
        _print(findings, summary, changes, fix)
    if quarantine:
        _write_quarantine(quarantine, opened, findings)
    if findings:
        raise typer.Exit(2)


def _look(
    opened: OpenedRows, rows: JoinedRows, options: AuditOptions, model: Path | None, processes: int
) -> tuple[list[Finding], Summary]:
    processor: HocketProcessor | None = None
    if model is not None:
        # Imported where it is needed: torch and transformers take seconds.
        from hocket.cli._session import start_session
        from hocket.cli.data._processor import open_processor

        start_session()
        processor, _ = open_processor(model, rows)
    words = {name: f"{spec} {_stamp(spec)}" for name, spec in opened.specs.items()}
    journal = journal_of(rows, options, words | {"model": str(model.absolute() if model else "")})
    if journal.exists():
        console().print("Going on where this check was stopped.", style="dim")
    summary = Summary()
    try:
        with progress("checking rows", len(rows)) as advance:
            found = audit(
                rows,
                options,
                processor=processor,
                processes=count_processes(processes),
                journal=journal,
                summary=summary,
                progress=advance,
            )
            return list(found), summary
    except KeyboardInterrupt:
        warn("stopped. Run the same command to go on.")
        raise


def _stamp(spec: DatasetSpec) -> str:
    """Return what tells one version of a data file from another."""
    path = Path(spec.path)
    if not path.is_file():
        return str(path.absolute())
    status = path.stat()
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


def _fix(
    opened: OpenedRows, rows: JoinedRows, findings: Sequence[Finding], target: Path
) -> list[str]:
    """Write the repaired copy; return its changes in words."""
    ((name, spec),) = opened.specs.items()
    if spec.without_rows or spec.max_rows:
        raise ConfigError(f"--fix: {name} uses some rows only. Give the data file itself.")
    reader = open_reader(name, spec)
    root = Path(spec.media_root) if spec.media_root else Path(spec.path).parent

    def read(row: Row) -> Conversation:
        return reader(row, root=root, where=spec.path)

    if not spec.media_root and target.absolute().parent != Path(spec.path).absolute().parent:
        warn(f"paths in {target} start at {root}: give that folder as media_root.")
    source = cast(RowSource, rows.parts[name])
    return [
        f"row {change.row}{f' (id {change.id})' if change.id else ''}: {change.what}"
        for change in mend(source, findings, target, read=read)
    ]


def _write_quarantine(file: Path, opened: OpenedRows, findings: Sequence[Finding]) -> None:
    """Write each unusable row once, with the first reason."""
    config = any(name != Path(spec.path).name for name, spec in opened.specs.items())
    entries: dict[tuple[str, int], Quarantined] = {}
    for finding in findings:
        if MEANINGS[finding.kind].unusable:
            # A file has no name in a config, so it is found by its path.
            path = str(Path(opened.specs[finding.dataset].path).absolute())
            dataset = finding.dataset if config else path
            entry = Quarantined(dataset, finding.row, finding.id, finding.reason)
            entries.setdefault((finding.dataset, finding.row), entry)
    count = write_quarantine(file, entries.values())
    console().print(
        f"{count} rows in {file}. Train without them: data.quarantine={file}",
        markup=False,
        soft_wrap=True,
    )


def _document(
    file: str, findings: Sequence[Finding], summary: Summary, changes: Sequence[str]
) -> dict[str, object]:
    longest = [{"length": length, "where": where} for length, where in summary.longest]
    return {
        "file": file,
        "rows": summary.rows,
        "media": summary.media,
        "tokens": summary.tokens,
        "learned_tokens": summary.learned,
        "longest": longest,
        "counts": {kind.value: len(some) for kind, some in _by_kind(findings).items()},
        "findings": [finding._asdict() for finding in findings],
        "changes": list(changes),
    }


def _print(
    findings: Sequence[Finding], summary: Summary, changes: Sequence[str], fix: Path | None
) -> None:
    screen = Console(no_color=no_color() or None, highlight=False)
    unit = "tokens" if summary.tokens else "characters"
    length, where = summary.longest[0]
    rows = "1 row" if summary.rows == 1 else f"{summary.rows:,} rows"
    line = f"{rows}, {summary.media:,} media; longest: {where} with {length:,} {unit}"
    if summary.tokens:
        line += f"; {summary.learned / summary.tokens:.0%} of all tokens are learned"
    screen.print(Text(legible(line)))
    if findings:
        screen.print(_table(findings))
    else:
        screen.print("Nothing is wrong.")
    for change in changes:
        screen.print(Text(legible(change)), soft_wrap=True)
    if fix:
        screen.print(Text(f"{len(changes)} changes: {fix}. Check it too."), soft_wrap=True)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("found", "rows", "meaning, and the first of them")
    table.columns[1].justify = "right"
    for kind, some in _by_kind(findings).items():
        meaning = MEANINGS[kind]
        what = Text(meaning.text, style="bold")
        for finding in some[:_SHOWN_ROWS]:
            what.append(f"\n{legible(finding.reason)}", style="not bold")
        if len(some) > _SHOWN_ROWS:
            what.append(f"\nand {len(some) - _SHOWN_ROWS} more (--json shows all)", style="dim")
        style = "red" if meaning.unusable else "yellow"
        table.add_row(Text(kind.value, style=style), str(len(some)), what)
    return table


def _by_kind(findings: Sequence[Finding]) -> dict[Kind, list[Finding]]:
    found = {kind: [one for one in findings if one.kind is kind] for kind in MEANINGS}
    return {kind: some for kind, some in found.items() if some}
