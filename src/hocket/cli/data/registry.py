"""Turn a registry of VITA or VILA into a data config, without running its Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hocket._errors import ConfigError, DataError
from hocket._log import warn
from hocket.data.registries import read_registry, unresolved
from hocket.data.storing import put_file


def command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Python file of VITA or VILA, its folder, or YAML."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Data config; default: print it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Turn a registry of VITA or VILA into a data config, without running its Python.

    Every entry becomes a data set or a mixture, or is named with the reason why not.
    """
    if out is not None and out.exists() and not overwrite:
        raise ConfigError(f"{out} exists. Choose another file or add --overwrite.")
    found = read_registry(file)
    for line in unresolved(found):
        warn(line)
    if not found.datasets and not found.mixtures:
        raise DataError(f"{file}: no entry can be used; the reasons stand above.")
    text = found.as_yaml()
    if out is None:
        typer.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    put_file(out, lambda place: place.write_text(text, "utf-8"))
    typer.echo(
        f"{out}: {len(found.datasets)} data sets, {len(found.mixtures)} mixtures, "
        f"{len(found.refused)} entries left out"
    )
