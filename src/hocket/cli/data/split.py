"""Share rows out among train, validation and test files; pictures never stand in two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from hocket._errors import ConfigError, DataError
from hocket._log import warn
from hocket.cli.data._open import (
    READER,
    FileArgument,
    MediaRootOption,
    OpenedRows,
    ProcessesOption,
    ReaderOption,
    SourceOption,
    open_rows,
    progress,
)
from hocket.cli.data._write import SkipOption, inputs_of, run, store_of, tell
from hocket.data.containers import containers
from hocket.data.convert import Job
from hocket.data.merge import MergedRows
from hocket.data.split import check_shares, group_rows, keys_of, share_groups


def _share(part: str, said: str) -> Any:
    """Return an option; its longer names are those of the guides that Hocket was asked for."""
    names = (f"--{part}", f"--{part}-ratio", f"--{part}_ratio")
    return typer.Option(*names, help=f"Share of the {said} set.")


def command(
    file: FileArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write train, val and test to; default: one beside FILE, named as FILE."
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(help="What stays together: media, id-prefix, row, or a key such as scene."),
    ] = "media",
    train: Annotated[float, _share("train", "training")] = 0.8,
    val: Annotated[float, _share("val", "validation")] = 0.1,
    test: Annotated[float, _share("test", "test")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    skip: SkipOption = False,
    processes: ProcessesOption = 0,
) -> None:
    """Share rows out among train, validation and test files; pictures never stand in two of them.

    Files have the format of FILE and name its media where they are. The same seed gives the same
    files.
    """
    shares = {"train": train, "val": val, "test": test}
    check_shares(shares)
    opened = open_rows(file, source=source, reader=reader, media_root=media_root)
    if len(opened.specs) > 1:
        listed = ", ".join(opened.specs)
        raise ConfigError(f"{file} has {len(opened.specs)} data sets ({listed}). Split one file.")
    [(name, spec)] = opened.specs.items()
    out = out or _beside(Path(spec.path))
    container = spec.source if spec.source in containers.names() else "json"
    targets = _targets(out, container, shares)
    with progress("grouping", len(opened)) as advance:
        groups = group_rows(_keys(opened, by, advance, skip=skip))
    parts = share_groups(groups, shares, seed=seed)
    for part, target in targets.items():
        if not len(parts[part]):
            warn(f"{target} is not written: too few groups to share out. Try --by row.")
            continue
        job = Job(
            rows=_some(opened, parts[part]),
            to=spec.reader,
            container=container,
            out=target,
            store=store_of(target, container),
            inputs=inputs_of(opened.specs, split=part, by=by, shares=shares, seed=seed),
        )
        share = f" ({len(parts[part]) / len(groups):.1%})"
        tell(job, run(job, processes=processes), said=share)
    typer.echo(f"{len(groups):,} rows in {len(set(groups.values())):,} groups by {by}")
    if len(groups) < len(opened):
        warn(f"{len(opened) - len(groups)} rows of {name} cannot be read and were left out.")


def _targets(out: Path, container: str, shares: dict[str, float]) -> dict[str, Path]:
    """Return the file of each part that has a share.

    Raises:
        ConfigError: one of them exists.
    """
    targets = {part: out / _file_name(part, container) for part, share in shares.items() if share}
    for target in targets.values():
        if target.exists():
            raise ConfigError(f"{target} exists. Choose another --out, or remove it.")
    return targets


def _file_name(part: str, container: str) -> str:
    return part if containers.get(container).is_folder else f"{part}.{container}"


def _beside(file: Path) -> Path:
    """Return the folder that is written where none is named.

    Raises:
        ConfigError: the data are several files, or a folder.
    """
    if not file.is_file():
        raise ConfigError(f"{file} is not one file. Name the folder to write with --out.")
    return file.with_suffix("")


def _some(opened: OpenedRows, rows: np.ndarray) -> MergedRows:
    return MergedRows(opened.rows.parts, opened.rows.numbers(rows))


def _keys(
    opened: OpenedRows, by: str, advance: Callable[[int], None], *, skip: bool
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield each row and what ties it to others.

    Raises:
        DataError: a row cannot be read, and ``skip`` is false.
    """
    for row in range(len(opened)):
        advance(1)
        try:
            conversation = opened[row]
        except DataError as error:
            if skip:
                warn(f"left out: {' '.join(str(error).split())}")
                continue
            raise DataError(f"{error}\nCorrect the row, or add --skip to leave it out.") from error
        yield row, keys_of(conversation, by)
