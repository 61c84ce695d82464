"""Evaluate models on benchmarks or your own rows, and compare two of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from typer.core import TyperGroup

from hocket._env import judge_key, rank, world_size
from hocket._errors import ConfigError, UnknownNameError
from hocket._log import console
from hocket.checkpoint.loading import Placement
from hocket.cli._session import start_session
from hocket.cli._show.scores import SweepProgress, comparison_table, scores_table, task_table
from hocket.eval.blind import WAYS, Way
from hocket.eval.compare import compare, find_results
from hocket.eval.exam import Origin, choose_tasks
from hocket.eval.judge import Judge, OpenAiJudge, ReplayJudge, Unasked
from hocket.eval.lmms.export import export_results
from hocket.eval.page import write_comparison, write_run
from hocket.eval.run import Shard
from hocket.eval.share import run_shared
from hocket.eval.sweep import Plan, run_sweep
from hocket.eval.task import tasks

OUT = Path("runs/eval")
OutOption = Annotated[Path, typer.Option(help="Folder of all results.")]


class _RunFirst(TyperGroup):
    """``hocket eval CHECKPOINT`` is ``hocket eval run CHECKPOINT``."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def] # typer has its own copy of click, without names for it
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_RunFirst, help=__doc__, add_completion=False)


ModelsArgument = Annotated[
    list[str], typer.Argument(help="Checkpoint directories or run folders.", metavar="MODEL...")
]
TaskOption = Annotated[
    list[str] | None,
    typer.Option("-t", "--task", help="Tasks, by name or pattern: -t mme,pope or -t 'ref*'."),
]
IncludeOption = Annotated[
    list[str] | None, typer.Option("-i", "--include", help="Only tasks with one of these tags.")
]
ExcludeOption = Annotated[
    list[str] | None, typer.Option("-e", "--exclude", help="No tasks with one of these tags.")
]
DataRootOption = Annotated[
    Path, typer.Option(help="Folder with a folder for each task: DIR/mme, DIR/pope.")
]
TwinOption = Annotated[
    bool, typer.Option("--twin", help="Ask each task's few generated questions instead.")
]
DataOption = Annotated[Path | None, typer.Option(help="Data file with known answers.")]
ReaderOption = Annotated[
    str, typer.Option(help="Row format of --data; vlmevalkit for its TSV files.")
]
SourceOption = Annotated[str, typer.Option(help="Storage format of --data.")]
MediaRootOption = Annotated[
    Path | None, typer.Option(help="Folder that media paths start from; default: the file's.")
]
LimitOption = Annotated[
    int, typer.Option(min=0, help="Questions of each task, to the end of a cluster; 0: all.")
]
MaxNewTokensOption = Annotated[
    int, typer.Option(min=0, help="Longest answer in tokens; 0 takes the task's.")
]
BlindOption = Annotated[
    list[str] | None,
    typer.Option(help=f"Ask again blind: {', '.join(WAYS)}, or all."),
]
JobsOption = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Processes.")]
ShardOption = Annotated[
    str, typer.Option(help="Share of this process, such as 1/4; default: its rank's.")
]
RescoreOption = Annotated[
    bool, typer.Option("--rescore", help="Score the answers that are there; opens no model.")
]
JudgeUrlOption = Annotated[str, typer.Option(help="OpenAI-compatible URL, up to /v1.")]
JudgeModelOption = Annotated[str, typer.Option(help="The judge's name there.")]
JudgeReplayOption = Annotated[
    Path | None, typer.Option(help="File of what a judge said before, in place of a URL.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]
DtypeOption = Annotated[str, typer.Option(help="float32, bfloat16, float16 or auto.")]
RowsOption = Annotated[int, typer.Option(min=1, help="Answers generated at a time.")]


@app.command("run")
def run(
    models: ModelsArgument,
    task: TaskOption = None,
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    data_root: DataRootOption = Path("data/eval"),
    twin: TwinOption = False,
    data: DataOption = None,
    reader: ReaderOption = "llava",
    source: SourceOption = "json",
    media_root: MediaRootOption = None,
    limit: LimitOption = 0,
    max_new_tokens: MaxNewTokensOption = 0,
    blind: BlindOption = None,
    out: OutOption = OUT,
    jobs: JobsOption = 1,
    shard: ShardOption = "",
    rescore: RescoreOption = False,
    judge_url: JudgeUrlOption = "",
    judge_model: JudgeModelOption = "",
    judge_replay: JudgeReplayOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    rows: RowsOption = 32,
) -> None:
    """Ask models the questions of tasks, or of your own rows, and score the answers.

    The same command goes on where it stopped. Then: hocket eval compare A B; hocket eval tasks.
    """
    origins = (
        (_rows_origin(data, reader, source, media_root),)
        if data
        else _task_origins(_words(task), _words(include), _words(exclude), data_root, out, twin)
    )
    start_session()
    plan = Plan(
        models=tuple(models),
        exams=tuple(replace(one, max_new_tokens=max_new_tokens) for one in origins),
        out=out,
        limit=limit,
        ways=_ways(_words(blind)),
        shard=_shard(shard),
        rescore=rescore,
        judge=_judge(judge_url, judge_model, judge_replay, out),
        judged_by=judge_model or (judge_replay.name if judge_replay else ""),
        placement=Placement(device=device, dtype=dtype),
        rows=rows,
        since=time.time(),
    )
    with SweepProgress(console()) as progress:
        if jobs > 1 and not rescore:
            outcomes = run_shared(plan, jobs, progress, start_session)
        else:
            outcomes = run_sweep(plan, progress)
    scores = [one.scores for one in outcomes if one.scores is not None]
    if scores:
        console().print(scores_table(scores))
        said = f"report: {write_run(out)}; also results.csv and results.json"
        console().print(said, highlight=False, soft_wrap=True)
    raise typer.Exit(max(one.exit_code for one in outcomes))


@app.command("compare")
def compare_two(
    first: Annotated[str, typer.Argument(help="A model's results: their name, or a folder.")],
    second: Annotated[str, typer.Argument(help="The other's.")],
    out: OutOption = OUT,
    force: Annotated[
        bool, typer.Option("--force", help="Compare other versions, metrics or judges too.")
    ] = False,
) -> None:
    """Compare two evaluated models on the questions that both have answered."""
    start_session()
    folders = (find_results(out, first), find_results(out, second))
    comparisons = compare(*folders, force=force)
    console().print(comparison_table(comparisons))
    page = out / f"compare-{folders[0].name}-{folders[1].name}.html"
    write_comparison(page, comparisons)
    console().print(f"report: {page}; also .csv and .json", highlight=False, soft_wrap=True)


@app.command("tasks")
def list_tasks(
    data_root: Annotated[Path, typer.Option(help="Folder with a folder for each task.")] = Path(
        "data/eval"
    ),
) -> None:
    """List tasks with their tags, and whether their files are there."""
    Console().print(task_table(tasks.names(), data_root))


@app.command("export")
def export(
    model: Annotated[str, typer.Argument(help="A model's results: their name, or a folder.")],
    to: Annotated[Path, typer.Argument(help="Folder for lmms-eval's files.")],
    out: OutOption = OUT,
) -> None:
    """Write a model's results as lmms-eval writes its own."""
    for file in export_results(find_results(out, model), to):
        typer.echo(file)


def _words(values: list[str] | None) -> list[str]:
    """Return what an option names: it may be repeated, and hold several separated by commas."""
    return [word.strip() for value in values or () for word in value.split(",") if word.strip()]


def _task_origins(
    names: list[str],
    include: list[str],
    exclude: list[str],
    data_root: Path,
    out: Path,
    twin: bool,
) -> tuple[Origin, ...]:
    if not (names or include or exclude):
        raise ConfigError(
            "nothing to ask. Name tasks with -t or tags with -i, or give rows with --data; "
            "hocket eval tasks lists what there is."
        )
    chosen = choose_tasks(names, include=include, exclude=exclude)
    root = out / "twins" if twin else data_root
    return tuple(
        Origin(kind="twin" if twin else "task", name=name, place=str((root / name).resolve()))
        for name in chosen
    )


def _rows_origin(data: Path, reader: str, source: str, media_root: Path | None) -> Origin:
    if not data.exists():
        raise ConfigError(f"--data {data}: no such file. Give a file of rows with known answers.")
    place = str(data.resolve())
    if reader == "vlmevalkit":
        return Origin(kind="vlmevalkit", name=data.stem, place=place)
    return Origin(
        kind="rows",
        name=data.stem,
        place=place,
        source=source,
        reader=reader,
        media_root=str(media_root.resolve()) if media_root else "",
    )


def _ways(words: list[str]) -> tuple[Way, ...]:
    if words == ["all"]:
        return WAYS
    for word in words:
        if word not in WAYS:
            raise UnknownNameError("way of asking blind", word, (*WAYS, "all"))
    return tuple(way for way in WAYS if way in words)


def _shard(text: str) -> Shard:
    if not text:
        return Shard(rank(), world_size())
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard is {text!r}, expected a share such as 1/4 of four.")
    return Shard(int(number) - 1, int(count))


def _judge(url: str, model: str, replay: Path | None, out: Path) -> Judge:
    if replay:
        return ReplayJudge(replay)
    if not url:
        return Unasked()
    if not model:
        raise ConfigError("--judge-url needs --judge-model, the judge's name there. Give both.")
    out.mkdir(parents=True, exist_ok=True)
    return OpenAiJudge(url=url, model=model, key=judge_key(), record=out / "judge.jsonl")
