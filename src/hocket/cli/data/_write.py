"""What the verbs of ``hocket data`` that write rows share: options, progress, and the summary."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hocket._errors import ConfigError, DataError
from hocket._log import console, warn
from hocket.cli.data._open import count_processes, progress
from hocket.data.containers import Container, containers
from hocket.data.convert import Job, Outcome, Store, convert, discard, rows_root
from hocket.data.sources._paths import data_files
from hocket.data.spec import DatasetSpec
from hocket.data.storing import Copied, InPlace, Packed
from hocket.data.writers import writers

ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="NAME",
        help=f"Row format that is written: {', '.join(writers.names())}.",
    ),
]
AsOption = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="NAME",
        help=f"Storage that is written: {', '.join(containers.names())}; default: by the ending "
        "of OUT.",
    ),
]
CopyOption = Annotated[
    bool, typer.Option("--copy-media", help="Copy media beside OUT, named by their content.")
]
PackOption = Annotated[
    bool, typer.Option("--pack-media", help="Put the bytes of media into the rows (parquet).")
]
AbsoluteOption = Annotated[
    bool, typer.Option("--absolute-paths", help="Write whole paths instead of relative ones.")
]
SkipOption = Annotated[
    bool, typer.Option("--skip", help="Leave out and count rows that cannot be read or written.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Begin again, removing OUT if it is there.")
]

_SHOWN = 5
# Below this a process takes longer to start than its share of the rows.
_PARTS_OF_PROCESS = 8


def container_of(out: Path, asked: str) -> str:
    """Return the storage format that is written.

    Raises:
        ConfigError: neither ``--as`` nor the ending of OUT says it.
        UnknownNameError: there is no such format.
    """
    name = asked or out.suffix.lower().removeprefix(".")
    if not asked and name not in containers.names():
        known = ", ".join(containers.names())
        raise ConfigError(
            f"{out}: its ending says no storage format. Add --as with one of: {known}."
        )
    containers.get(name)
    return name


def store_of(
    out: Path, container: str, *, copy: bool = False, pack: bool = False, absolute: bool = False
) -> Store:
    """Return where media go.

    Raises:
        ConfigError: options that exclude each other, or media in a format of paths.
    """
    if copy + pack + absolute > 1:
        raise ConfigError("--copy-media, --pack-media and --absolute-paths: choose one of them.")
    form: type[Container] = containers.get(container)
    if form.must_pack and (copy or absolute):
        raise ConfigError(f"{container} holds its media itself. Leave out the option for media.")
    if pack and not form.packs:
        raise ConfigError(
            f"{container} holds paths. Choose parquet or webdataset, or --copy-media."
        )
    if pack or form.must_pack:
        return Packed()
    root = rows_root(out, container)
    if copy:
        folder = "media" if form.is_folder else f"{out.stem}_media"
        return Copied(root, folder, listed=form.listed)
    return InPlace(root, listed=form.listed, absolute=absolute)


def inputs_of(specs: Mapping[str, DatasetSpec], **more: object) -> dict[str, object]:
    """Return what rows come from as plain values, with the sizes and times of the files."""
    found: dict[str, object] = dict(more)
    for name, spec in specs.items():
        stamps: list[object] = []
        with suppress(DataError):  # a data set of a hub has no file
            for file in data_files(Path(spec.path), folders=True):
                status = file.stat()
                stamps.append([str(file.resolve()), status.st_size, status.st_mtime_ns])
        found[f"data set {name}"] = {**asdict(spec), "files": stamps}
    return found


def run(job: Job, *, processes: int, overwrite: bool = False, costly: bool = False) -> Outcome:
    """Convert with a progress bar, and say what was written and what was left out.

    Args:
        job: what is converted.
        processes: as ``-j`` says.
        overwrite: remove what is there.
        costly: a part is worth a process of its own.

    Raises:
        HocketError: see `hocket.data.convert.convert`.
    """
    if overwrite:
        discard(job.out)
    parts = -(-len(job.rows) // job.part_rows)
    most = count_processes(processes)
    if not processes and not costly:
        most = min(most, parts // _PARTS_OF_PROCESS)
    try:
        with progress(f"write {job.out.name}", len(job.rows)) as advance:
            outcome = convert(job, processes=most, advance=advance)
    except KeyboardInterrupt:
        console().print(f"Stopped. The same command goes on with {job.out}.", markup=False)
        raise
    return outcome


def tell(job: Job, outcome: Outcome, *, said: str = "") -> None:
    """Print what was written on standard output, and warn of what was left out."""
    for where, reason in list(outcome.skipped.items())[:_SHOWN]:
        warn(f"left out: {reason if where in reason else f'{where}: {reason}'}")
    if outcome.skipped:
        warn(f"{len(outcome.skipped)} of {len(job.rows)} rows were left out.")
    notes = "".join(f", {count} {what}" for what, count in outcome.notes.items())
    resumed = f" ({outcome.resumed} parts were there)" if outcome.resumed else ""
    typer.echo(f"{job.out}: {outcome.rows} rows, {job.to} in {job.container}{notes}{said}{resumed}")
