"""Write questions about the rooms, and walks to describe, as ScanQA and EnvDrop have them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from hocket._log import console
from hocket._options import read_options
from hocket.cli.nav._world import SetOption, find_profile, read_settings, spec_of
from hocket.nav.questions import write_questions
from hocket.nav.rooms.episodes import RoomsOptions


def command(
    out: Annotated[Path, typer.Argument(help="Folder that is made.")],
    settings: SetOption = None,
    side: Annotated[int, typer.Option(min=0, help="Pixels; 0 is the profile's.")] = 0,
    seed: Annotated[int, typer.Option(help="Which questions.")] = 0,
) -> None:
    """Write questions about the rooms, and walks to describe, as ScanQA and EnvDrop have them.

    hocket eval reads OUT as it reads the originals. --set takes the options of the rooms, such as
    split=val_unseen.
    """
    rooms = read_options("environment", RoomsOptions, {**read_settings(settings), "kind": "rooms"})
    spec = spec_of(find_profile("rooms"), side=side)
    with Progress(console=console(), transient=True) as bar:
        task = bar.add_task("walks", total=rooms.episodes)
        asked = write_questions(
            rooms,
            spec,
            out,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(f"{out}: {asked.questions} questions, {asked.tours} walks to describe")
