"""Ask a model every question of a data set and count the right answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress
from rich.table import Table

from hocket._errors import ConfigError, MachineError
from hocket._log import console
from hocket.cli._session import start_session
from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec
from hocket.eval.question import Question, questions_of, with_swapped_media, without_media
from hocket.eval.run import Scored, accuracy, accuracy_by, evaluate
from hocket.infer.engine import Engine


def command(
    model: Annotated[Path, typer.Argument(help="Checkpoint directory or run folder.")],
    data: Annotated[Path, typer.Option(help="Data file with known answers.")],
    reader: Annotated[str, typer.Option(help="Row format of the data file.")] = "llava",
    source: Annotated[str, typer.Option(help="Storage format of the data file.")] = "json",
    media_root: Annotated[
        Path | None, typer.Option(help="Folder that media paths start from; default: the file's.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows to ask; 0 asks all.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Questions answered together.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens.")] = 32,
    blind: Annotated[
        bool, typer.Option("--blind", help="Ask again without media and with others' media.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write every question and answer here, as JSON lines.")
    ] = None,
) -> None:
    """Ask a model every question of a data set and count the right answers."""
    start_session()
    spec = DatasetSpec(
        path=str(data), source=source, reader=reader, media_root=str(media_root or "")
    )
    rows = open_source(data.name, spec)
    count = min(limit or len(rows), len(rows))
    questions = list(questions_of(rows[index] for index in range(count)))
    if not questions:
        raise ConfigError(f"{data}: no row has an answer to compare with. Add assistant turns.")
    if out:
        # Before the questions, which may take an hour.
        _write(out, [], mode="a")
    engine = Engine.load(model)
    variants = {"right": questions}
    if blind:
        variants["media removed"] = without_media(questions)
        variants["media swapped"] = with_swapped_media(questions, seed=0)
    results = {
        name: _ask(engine, asked, name, batch=batch, max_new_tokens=max_new_tokens)
        for name, asked in variants.items()
    }
    console().print(_table(results))
    if out:
        _write(out, [_line(one) for one in results["right"]])


def _ask(
    engine: Engine, questions: list[Question], name: str, *, batch: int, max_new_tokens: int
) -> list[Scored]:
    with Progress(console=console(), transient=True) as bar:
        task = bar.add_task(name, total=len(questions))
        return evaluate(
            engine,
            questions,
            batch=batch,
            max_new_tokens=max_new_tokens,
            progress=lambda done, every: bar.update(task, completed=done),
        )


def _table(results: dict[str, list[Scored]]) -> Table:
    """Return a row per modality and one for all, a column per way of asking."""
    table = Table("about", title="Right answers with their 95 % interval")
    table.add_column("questions", justify="right")
    for name in results:
        table.add_column(name, justify="right")
    groups = {name: accuracy_by(one, lambda q: q.modality) for name, one in results.items()}
    for modality, first in groups["right"].items():
        shares = [groups[name][modality] for name in results]
        cells = [f"{share.value:.1%} ({share.low:.1%} - {share.high:.1%})" for share in shares]
        table.add_row(modality, str(first.trials), *cells)
    every = [accuracy(one) for one in results.values()]
    cells = [f"{share.value:.1%} ({share.low:.1%} - {share.high:.1%})" for share in every]
    table.add_row("all", str(every[0].trials), *cells, style="bold")
    return table


def _write(path: Path, lines: list[str], *, mode: Literal["a", "w"] = "w") -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.writelines(lines)
    except OSError as error:
        raise MachineError(
            f"{path} cannot be written ({error.strerror}). Choose another file for --out."
        ) from error


def _line(one: Scored) -> str:
    row = {
        "id": one.question.id,
        "task": one.question.task,
        "modality": one.question.modality,
        "target": one.question.target,
        "answer": one.answer,
        "right": one.right,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"
