"""Extract the frames of videos once, so that reading them costs no decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hocket._errors import ConfigError
from hocket._log import warn
from hocket.cli.data._open import (
    READER,
    MediaRootOption,
    ProcessesOption,
    ReaderOption,
    SourceOption,
    open_rows,
)
from hocket.cli.data._write import (
    AsOption,
    OverwriteOption,
    SkipOption,
    container_of,
    inputs_of,
    run,
    tell,
)
from hocket.data.containers import containers
from hocket.data.convert import Job, discard, rows_root
from hocket.data.extract import Extracted, FrameOptions, write_frames
from hocket.data.merge import MergedRows
from hocket.data.sources._endings import medium_kind
from hocket.data.writers import writers
from hocket.media.frames import SamplerSpec, sampler_from
from hocket.media.video import Video

# A part is what a stop can cost, and decoding is slow.
_PART_ROWS = 16


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Video, or data file with videos.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of frames, or data file that is written.")
    ],
    sampler: Annotated[
        str, typer.Option(help="Which frames: KIND:OPTION=VALUE,... of `media/frames`.")
    ] = "at_fps:rate=1,max_frames=256",
    form: Annotated[Literal["jpg", "png"], typer.Option("--format", help="Pictures.")] = "jpg",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG.")] = 95,
    size: Annotated[int, typer.Option(min=0, help="Longer side at most; 0 keeps it.")] = 0,
    to: Annotated[str, typer.Option("--to", help="Row format; default: that of FILE.")] = "",
    storage: AsOption = "",
    reader: ReaderOption = READER,
    source: SourceOption = "",
    media_root: MediaRootOption = None,
    skip: SkipOption = False,
    processes: ProcessesOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Extract the frames of videos once, so that reading them costs no decoding.

    Of a data file, OUT is the data file with folders of frames in place of its videos. A folder
    keeps the time of each frame. A stopped run goes on when the command is given again.
    """
    options = FrameOptions(sampler=read_sampler(sampler), format=form, quality=quality, size=size)
    if medium_kind(Path(file).suffix) == "video":
        _one(Path(file), out, options, overwrite=overwrite)
        return
    to = to or reader
    writers.get(to)
    container = container_of(out, storage)
    if containers.get(container).must_pack:
        raise ConfigError(f"{container} cannot hold folders of frames. Write json or jsonl.")
    opened = open_rows(file, source=source, reader=reader, media_root=media_root)
    inside = containers.get(container).is_folder
    job = Job(
        rows=MergedRows(opened.rows.parts),
        to=to,
        container=container,
        out=out,
        store=Extracted(
            rows_root(out, container),
            "frames" if inside else f"{out.stem}_frames",
            options,
            listed=containers.get(container).listed,
        ),
        inputs=inputs_of(
            opened.specs, sampler=options.sampler, form=form, quality=quality, size=size
        ),
        part_rows=_PART_ROWS,
        skip=skip,
    )
    tell(job, run(job, processes=processes, overwrite=overwrite, costly=True))


def read_sampler(text: str) -> SamplerSpec:
    """Return what ``KIND:OPTION=VALUE,...`` stands for.

    Raises:
        ConfigError: it has another form, or no sampler takes it.
    """
    kind, _, rest = text.partition(":")
    spec: SamplerSpec = {"kind": kind}
    for pair in rest.split(",") if rest else []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--sampler {text!r}: {pair!r} is no OPTION=VALUE. Write frames=8.")
        spec[key.strip()] = _number(value.strip())
    sampler_from(spec)
    return spec


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _one(file: Path, out: Path, options: FrameOptions, *, overwrite: bool) -> None:
    if overwrite:
        discard(out)
    if out.exists():
        raise ConfigError(f"{out} exists. Choose another folder or add --overwrite.")
    video = Video.from_path(file)
    count = write_frames(video, out, options)
    if video.sound() is not None:
        warn(f"{file} has a sound, which frames do not keep.")
    typer.echo(f"{out}: {count} frames")
