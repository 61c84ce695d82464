"""Merge data sets into one file, ids made different, media still found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from hocket._errors import ConfigError
from hocket.cli.data._open import (
    MediaRootOption,
    ProcessesOption,
    SourceOption,
    progress,
    source_of,
)
from hocket.cli.data._write import (
    AbsoluteOption,
    AsOption,
    CopyOption,
    OverwriteOption,
    PackOption,
    SkipOption,
    ToOption,
    container_of,
    inputs_of,
    run,
    store_of,
    tell,
)
from hocket.data.convert import PART_ROWS, Job
from hocket.data.merge import mix
from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec
from hocket.data.writers import writers

_Value = TypeVar("_Value")


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Data files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File, or folder of shards.")],
    to: ToOption = "llava",
    storage: AsOption = "",
    reader: Annotated[
        list[str] | None,
        typer.Option(help="Row format of all files, or once for each, in order."),
    ] = None,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="Once for each file: 2 has every row twice, 0.5 a half of them."),
    ] = None,
    cap: Annotated[
        list[int] | None, typer.Option(min=0, help="Rows at most, once for each file; 0 for all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order and of drawn halves.")] = 0,
    shuffle: Annotated[bool, typer.Option(help="Mix the files, or keep them one by one.")] = True,
    ids: Annotated[
        Literal["suffix", "refuse"],
        typer.Option(help="What becomes of an id that is there twice: ID-2, or an error."),
    ] = "suffix",
    copy_media: CopyOption = False,
    pack_media: PackOption = False,
    absolute_paths: AbsoluteOption = False,
    skip: SkipOption = False,
    processes: ProcessesOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Merge data sets into one file, ids made different, media still found."""
    writers.get(to)
    container = container_of(out, storage)
    store = store_of(out, container, copy=copy_media, pack=pack_media, absolute=absolute_paths)
    readers = _each(reader or ["llava"], files, "--reader")
    specs = _specs(files, readers, _each(cap or [0], files, "--cap"), source, media_root)
    parts = {name: open_source(name, spec) for name, spec in specs.items()}
    rows = mix(parts, weights=weight or (), seed=seed, shuffle=shuffle)
    with progress("compare ids", len(rows)) as advance:
        changed = rows.separate_ids(refuse=ids == "refuse", advance=advance)
    job = Job(
        rows=rows,
        to=to,
        container=container,
        out=out,
        store=store,
        inputs=inputs_of(specs, weights=weight, seed=seed, shuffle=shuffle, ids=ids),
        part_rows=PART_ROWS,
        skip=skip,
    )
    outcome = run(job, processes=processes, overwrite=overwrite)
    said = f", {changed} ids were there before and got a suffix" if changed else ""
    tell(job, outcome, said=said)


def _specs(
    files: list[str], readers: list[str], caps: list[int], source: str, media_root: Path | None
) -> dict[str, DatasetSpec]:
    """Return what each file is, under the name that messages call it."""
    return {
        _name(files, at): DatasetSpec(
            path=file,
            source=source or source_of(Path(file)),
            reader=readers[at],
            media_root=str(media_root or ""),
            max_rows=caps[at],
        )
        for at, file in enumerate(files)
    }


def _each(given: list[_Value], files: list[str], option: str) -> list[_Value]:
    """Return one value for each file; a single one holds for all."""
    if len(given) not in (1, len(files)):
        raise ConfigError(
            f"{option} is given {len(given)} times for {len(files)} files. "
            f"Give it once, or once for each file in order."
        )
    return given * len(files) if len(given) == 1 else given


def _name(files: list[str], at: int) -> str:
    """Return what messages call a file: its name, or the whole path where names are not unique."""
    names = [Path(file).name for file in files]
    if names.count(names[at]) == 1:
        return names[at]
    return files[at] if files.count(files[at]) == 1 else f"{files[at]} ({at})"
