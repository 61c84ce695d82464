"""Train a small model that sees, hears and watches, and show what it learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hocket._log import console
from hocket.cli._compose import RunConfig, compose_run, dump_yaml
from hocket.cli._previews import choose_previews
from hocket.cli._session import start_session
from hocket.data.spec import DatasetSpec, DataSpec
from hocket.eval.interval import Share
from hocket.infer.engine import Engine
from hocket.quickstart.result import QuickstartResult
from hocket.quickstart.run import Callbacks, Plan, run_quickstart
from hocket.train.progress import Progress, clock
from hocket.train.run import Run, train


def command(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Config changes, such as train.stages.joint.steps=9.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for data, checkpoints and report.")] = Path(
        "hocket-quickstart"
    ),
    seed: Annotated[int, typer.Option(help="Seed of data, weights and order.")] = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="A minute instead of five, with lower accuracy.")
    ] = False,
) -> None:
    """Train a small model that sees, hears and watches, and show what it learned."""
    start_session()
    screen = console()
    experiment = "quickstart_fast" if fast else "quickstart"
    changes = [f"train.seed={seed}", f"model.seed={seed}", *(overrides or [])]
    config = compose_run([f"experiment={experiment}", *changes])
    config = replace(config, out=str(out), data=_below(config.data, out))
    plan = Plan(
        out=out,
        model=config.model,
        data=config.data,
        recipe=config.train,
        seed=seed,
        fast=fast,
        config_yaml=dump_yaml(config),
    )
    result = run_quickstart(plan, _callbacks(config, screen))
    show_result(result, screen)
    _show_next(out, screen)


def show_result(result: QuickstartResult, screen: Console) -> None:
    """Print the accuracy of each modality before, after, and without its media."""
    kind = "fast run" if result.fast else "run"
    table = Table(
        title=f"Held-out questions answered right ({kind}, seed {result.seed})", box=SIMPLE_HEAD
    )
    table.add_column("about")
    for heading in ("questions", "before", "after", "95 %", "removed", "swapped"):
        table.add_column(heading, justify="right", no_wrap=True)
    for modality, after in result.after.items():
        table.add_row(
            modality,
            str(after.trials),
            _percent(result.before.get(modality)),
            f"{after.value:.1%}",
            f"{after.low:.1%} - {after.high:.1%}",
            _percent(result.removed.get(modality)),
            _percent(result.swapped.get(modality)),
        )
    screen.print(table)
    screen.print("removed, swapped: the same questions without the medium, or with another one's")
    times = ", ".join(f"{name} {clock(seconds)}" for name, seconds in result.seconds.items())
    screen.print(
        f"{result.parameters / 1e6:.1f} M parameters; {clock(sum(result.seconds.values()))} in all "
        f"({times}); peak memory {result.peak_memory_bytes / 2**30:.1f} GB"
    )


def _callbacks(config: RunConfig, screen: Console) -> Callbacks:
    def fit(run: Run, engine: Engine) -> Path:
        with Progress(run.recipe.stages, screen) as progress:
            watched = replace(
                run,
                on_stage=progress.on_stage,
                on_checkpoint=progress.on_checkpoint,
                previews=choose_previews(run.data, count=run.recipe.previews),
            )
            return train(watched, engine.model, engine.processor, [progress])

    def phase(text: str) -> None:
        screen.print(f"[bold cyan]>[/bold cyan] {text}")

    return Callbacks(phase=phase, progress=lambda what, done, every: None, train=fit)


def _below(data: DataSpec, out: Path) -> DataSpec:
    """Point the packaged data group at this run's own folder."""

    def moved(spec: DatasetSpec) -> DatasetSpec:
        tail = Path(spec.path).relative_to("hocket-quickstart")
        return replace(spec, path=str(out / tail), media_root=str(out / "data"))

    return replace(
        data,
        datasets={name: moved(spec) for name, spec in data.datasets.items()},
        heldout={name: moved(spec) for name, spec in data.heldout.items()},
    )


def _percent(share: Share | None) -> str:
    return "-" if share is None else f"{share.value:.1%}"


def _show_next(out: Path, screen: Console) -> None:
    data = out / "data"
    picture = next(iter(sorted((data / "images").glob("*.png"))), "PICTURE.png")
    rows = f"{data / 'train' / 'joint.json'} --media-root {data}"
    screen.print(f"\nreport      {out / 'report.html'}\ncheckpoint  {out / 'model'}\n\nnext:")
    for line in (
        f"hocket chat {out} --image {picture}",
        f"hocket eval {out} --data {data / 'heldout.json'} --media-root {data} --blind all",
        f"hocket data show {rows} --model {out}",
        f"hocket train experiment=own_data data=my.yaml train.init_from={out}",
    ):
        screen.print(f"  {line}", soft_wrap=True, highlight=False)
