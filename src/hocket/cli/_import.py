"""``hocket model import``: a checkpoint of another system, written as one of Hocket's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.report import NAME
from hocket.cli._session import start_session


def add(app: typer.Typer) -> None:
    """Add the verb ``import``."""
    app.command("import")(_import)


def _import(
    kind: Annotated[
        str, typer.Argument(help="auto, or the system: " + ", ".join(importers.names()) + ".")
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of the checkpoint.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New folder to write.")],
    search: Annotated[
        list[Path] | None,
        typer.Option(help="Folder in which towers and base models are; may be given repeatedly."),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Base model of an adapter or projector.")
    ] = None,
    template: Annotated[str, typer.Option(help="Chat template; empty lets it choose.")] = "",
    certificate: Annotated[
        bool, typer.Option(help="Open the result and store its answers for model verify.")
    ] = True,
) -> None:
    """Write a checkpoint of another system as a Hocket checkpoint, and report every tensor."""
    start_session()
    report = import_checkpoint(
        kind,
        source,
        target,
        search=search or (),
        base=base,
        template=template,
        certificate=certificate,
    )
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"written: {target}; every tensor is listed in {target / NAME}")
