"""Make training data of raw folders: vision-language, audio-language or multimodal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hocket._errors import ConfigError
from hocket.cli.data._open import MediaRootOption, ProcessesOption, progress
from hocket.cli.data._write import (
    CopyOption,
    OverwriteOption,
    SkipOption,
    ToOption,
    inputs_of,
    run,
    store_of,
    tell,
)
from hocket.data.convert import Job, manifest_of
from hocket.data.merge import mix
from hocket.data.prepare import PREPARED, REPORT, LookedAt, Stage, open_raw
from hocket.data.spec import DatasetSpec
from hocket.data.storing import put_file
from hocket.data.writers import writers


def command(
    stage: Annotated[Stage, typer.Argument(help="What is prepared.")],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "--output_dir", help="Folder that is written.")
    ],
    input_dir: Annotated[
        Path | None,
        typer.Option("--input-dir", "--input_dir", help="Data files, or media with captions."),
    ] = None,
    vision_language_data: Annotated[
        Path | None,
        typer.Option(
            "--vision-language-data", "--vision_language_data", help="Of multimodal: first part."
        ),
    ] = None,
    audio_language_data: Annotated[
        Path | None,
        typer.Option(
            "--audio-language-data", "--audio_language_data", help="Of multimodal: second part."
        ),
    ] = None,
    reader: Annotated[str, typer.Option(help="Row format of data files.")] = "vita",
    to: ToOption = "vita",
    media_root: MediaRootOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the order of multimodal data.")] = 0,
    copy_media: CopyOption = False,
    skip: SkipOption = False,
    processes: ProcessesOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Make training data of raw folders: vision-language, audio-language or multimodal.

    Writes data.json and report.json. Every medium is opened as far as its header, every row has an
    answer and the media of its stage. Argument names are those of the VITA guide's scripts.
    """
    places = _places(stage, input_dir, vision_language_data, audio_language_data)
    writers.get(to)
    out = output_dir / PREPARED
    store = store_of(out, "json", copy=copy_media)
    specs: dict[str, DatasetSpec] = {}
    parts: dict[str, LookedAt] = {}
    for part, place in places:
        more = open_raw(place, part, reader=reader, media_root=str(media_root or ""))
        specs |= more[0]
        parts |= more[1]
    rows = mix(parts, seed=seed, shuffle=stage is Stage.JOINT)
    with progress("look at rows", len(rows)) as advance:
        changed = rows.separate_ids(refuse=False, advance=advance)
    inputs = inputs_of(specs, stage=stage.value, seed=seed)
    job = Job(rows=rows, to=to, container="json", out=out, store=store, inputs=inputs, skip=skip)
    outcome = run(job, processes=processes, overwrite=overwrite)
    report = {**manifest_of(job, outcome), "stage": stage.value, "changed_ids": changed}
    report["from"] = [spec.path for spec in specs.values()]
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    put_file(output_dir / REPORT, lambda place: place.write_text(text, "utf-8"))
    tell(job, outcome, said=f", {changed} ids got a suffix" if changed else "")


def _places(
    stage: Stage, folder: Path | None, vision: Path | None, audio: Path | None
) -> list[tuple[Stage, Path]]:
    """Return what is read as which stage's data.

    Raises:
        ConfigError: an option is missing, or belongs to another stage.
    """
    if stage is not Stage.JOINT:
        if vision is not None or audio is not None or folder is None:
            raise ConfigError(f"{stage.value} takes --input-dir alone. Give it the folder.")
        return [(stage, folder)]
    if folder is not None or vision is None or audio is None:
        raise ConfigError(
            f"{stage.value} takes --vision-language-data and --audio-language-data. Give both."
        )
    return [(Stage.VISION, vision), (Stage.AUDIO, audio)]
