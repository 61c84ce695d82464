"""Train, or resume, a run: hocket train experiment=... data=... key=value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hocket._env import rank
from hocket._errors import ConfigError
from hocket._log import console, warn
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint
from hocket.cli._aliases import translate
from hocket.cli._compose import RunConfig, compose_run, dump_yaml
from hocket.cli._exams import choose_exams
from hocket.cli._previews import choose_previews
from hocket.cli._session import start_session
from hocket.cli._sweep import sweep
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DataSpec
from hocket.model.build import Built, build
from hocket.train.changed import told_changes
from hocket.train.observe.debug import DebugSpec
from hocket.train.progress import Progress
from hocket.train.proof import prove_resume
from hocket.train.run import Run, train

SHOWN = 5
# Flags of other trainers are not typer's: they come as words.
CONTEXT = {"ignore_unknown_options": True}


def command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="experiment=NAME, data=NAME or FILE.yaml, train.seed=1, out=FOLDER ... "
            "Flags of LLaVA, VILA, VITA and Ovis are taken too: docs/train.md."
        ),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Print the resolved config and stop.")] = False,
    multirun: Annotated[
        bool,
        typer.Option("-m", "--multirun", help="A run for each of several values: train.seed=1,2."),
    ] = False,
    verify_resume: Annotated[
        bool,
        typer.Option(
            "--verify-resume",
            help="Train the first steps twice in a temporary folder, once broken off and resumed; "
            "compare weights and losses bit for bit. Exit code 1 if they differ.",
        ),
    ] = False,
    verify_steps: Annotated[
        int, typer.Option("--verify-steps", help="Steps of each stage for --verify-resume.")
    ] = 6,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Stop at the first NaN with its line, and write every parameter, memory and "
            "traces of steps to debug/ of the run's folder; slower. Errors have tracebacks.",
        ),
    ] = False,
    trace: Annotated[
        list[int] | None,
        typer.Option("--trace", help="With --debug: a step of each stage to trace; repeat it."),
    ] = None,
) -> None:
    """Train a model in stages; the same command resumes a run that was stopped."""
    debugging = _debugging(debug, trace)
    if multirun:
        options = ["--debug"] * debug + [f"--trace={step}" for step in trace or ()]
        if verify_resume:
            options += ["--verify-resume", f"--verify-steps={verify_steps}"]
        raise typer.Exit(sweep(overrides or [], dry=dry, options=options))
    given = translate(overrides or [])
    for note in given.notes:
        console().print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    config = compose_run(given.overrides)
    if dry:
        typer.echo(dump_yaml(config), nl=False)
        return
    start_session()
    screen = console()
    if verify_resume:
        _verify_resume(config, screen, steps=verify_steps)
        return
    _train(config, screen, debugging)


def _debugging(debug: bool, trace: list[int] | None) -> DebugSpec | None:
    if trace and not debug:
        raise ConfigError("--trace needs --debug. Give both, or leave --trace out.")
    return DebugSpec(trace_steps=tuple(trace or (3,))) if debug else None


def _train(config: RunConfig, screen: Console, debug: DebugSpec | None) -> None:
    told = told_changes(Path(config.out), dump_yaml(config)) if rank() == 0 else ""
    if told:
        warn(told)
    model, processor = starting_point(config)
    with Progress(config.train.stages, screen) as progress:
        run = Run(
            recipe=config.train,
            data=config.data,
            out=Path(config.out),
            config_yaml=dump_yaml(config),
            on_stage=progress.on_stage,
            on_checkpoint=progress.on_checkpoint,
            on_note=progress.on_note,
            on_progress=progress.on_progress,
            previews=choose_previews(_data_to_run(config), count=config.train.previews),
            exams=choose_exams(config.train, config.data, Path(config.out)),
            debug=debug,
        )
        finished = train(run, model, processor, [progress])
    screen.print(f"finished: {finished}\nnext: hocket chat {finished}", highlight=False)


def _verify_resume(config: RunConfig, screen: Console, *, steps: int) -> None:
    """Print whether the recipe resumes bit for bit; exit code 1 if not."""
    stages = {name: replace(stage, steps=steps) for name, stage in config.train.stages.items()}
    with Progress(stages, screen) as progress:
        run = Run(
            recipe=config.train,
            data=config.data,
            out=Path(config.out),
            config_yaml=dump_yaml(config),
            on_note=progress.on_note,
            on_progress=progress.on_progress,
        )
        proof = prove_resume(run, lambda: starting_point(config), steps=steps)
    if rank():
        raise typer.Exit(0 if proof.exact else 1)
    for line in proof.breaks:
        typer.echo(f"broken off   {line}")
    typer.echo(f"compared     losses of {proof.steps} steps, {proof.tensors} tensors")
    for line in proof.differences[:SHOWN]:
        typer.echo(f"differs      {line}")
    if len(proof.differences) > SHOWN:
        typer.echo(f"             and {len(proof.differences) - SHOWN} more")
    if not proof.exact:
        typer.echo("verdict      NOT exact: a resumed run goes another way")
        raise typer.Exit(1)
    typer.echo("verdict      exact: a resumed run ends with the same bits")


def starting_point(config: RunConfig) -> Built:
    """Return the model that the first stage starts from: a checkpoint's, or random weights.

    Raises:
        CheckpointError: `train.init_from` cannot be opened.
        DataError: a data set of the tokenizer cannot be read.
    """
    if config.train.init_from:
        loaded = load_checkpoint(find_checkpoint(config.train.init_from))
        return Built(loaded.model, loaded.processor)
    # Words of the data make a tokenizer, the same for every stage; one with a path needs none.
    own = config.model.tokenizer.path or config.model.language.path
    data = _data_to_run(config) if own else config.data
    sources = {name: (open_source(name, spec), 1.0) for name, spec in data.datasets.items()}
    return build(config.model, Mixture(sources, seed=config.train.seed).texts())


def _data_to_run(config: RunConfig) -> DataSpec:
    """Return the data without the data sets that no stage of this run has."""
    used = {name for stage in config.train.to_run().values() for name in stage.data}
    datasets = {name: spec for name, spec in config.data.datasets.items() if name in used}
    return replace(config.data, datasets=datasets)
