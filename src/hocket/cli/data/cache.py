"""Keep what a run's frozen towers make of its media, so that training need not run them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hocket._env import cache_dir
from hocket._errors import ConfigError
from hocket._log import console
from hocket.cli._compose import compose_run
from hocket.cli._session import start_session
from hocket.cli.train import starting_point
from hocket.data.spec import FeatureDtype
from hocket.train.prebuild import prebuild
from hocket.train.progress import Progress


def command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="The words of hocket train: experiment=NAME, data=FILE.yaml ..."),
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Stage to build for; default: all.")
    ] = None,
    dtype: Annotated[
        FeatureDtype | None,
        typer.Option("--dtype", help="Number format; default: train.feature_dtype."),
    ] = None,
) -> None:
    """Keep what a run's frozen towers make of its media, so that training need not run them.

    Stopped or killed, the same command goes on. hocket train with the same words finds the
    features, and builds what is missing.
    """
    config = compose_run(overrides or [])
    recipe = replace(config.train, feature_dtype=dtype) if dtype else config.train
    start_session()
    with Progress(recipe.stages, console()) as progress:
        done = prebuild(
            recipe,
            config.data,
            Path(config.out),
            starting_point(config),
            stages=stage or (),
            tell=progress.on_note,
            progress=progress.on_progress,
        )
    if not done:
        raise ConfigError(
            "no stage has features that can be kept: in each a tower trains, is augmented, or the "
            "cache is off. Freeze the tower, or leave out data.augment."
        )
    for one in done:
        kinds, size = ", ".join(one.modalities), one.disk_bytes / 1e6
        typer.echo(f"{one.stage}: {one.media:,} media ({kinds}), {size:,.1f} MB")
    typer.echo(f"in {cache_dir() / 'features'}")
