"""A task's twin: generated rows written in the benchmark's own files, for runs without a download.

The rows go through the task's declared layout backwards, so the reader that reads the benchmark
reads them, with real pictures, sounds and videos to decode. Knows layouts and encoders; must not
know metrics or models.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import av
import numpy as np
import PIL.Image
import soundfile

from hocket.chat.conversation import Medium
from hocket.data.containers import Numbered, containers
from hocket.eval.table import Gather, InColumn, InFile, Join, Kind, Layout, Row, Table, Value
from hocket.eval.task import Task
from hocket.media.audio import Audio
from hocket.media.frames import sampler_from
from hocket.media.image import Image

RATE = 16000
FPS = 4
_INDEX = "00000-of-00001"
_ENDINGS: Mapping[Kind, str] = {"image": ".png", "audio": ".wav", "video": ".mp4"}


def write_twin(task: Task, folder: Path, *, layout: int = 0) -> Task:
    """Write a task's twin into a folder and return the task as it scores it.

    Args:
        task: whose twin is written.
        folder: made if missing; `Task.questions` of it then gives the twin's questions.
        layout: which of the task's forms is written.

    Raises:
        MissingExtraError: the form is Parquet and pyarrow is not installed.
    """
    form = task.layouts[layout]
    stored = [_stored(row, form, folder) for row in task.twin()]
    if form.join:
        _write_join(stored, form.join, folder)
        kept = {form.join.on, *_fields_of(stored)} - set(form.join.columns)
        stored = [{name: row[name] for name in row if name in kept} for row in stored]
    if form.gather:
        _write_gathered(stored, form.gather, folder)
        without = form.gather.column
        stored = [{name: row[name] for name in row if name != without} for row in stored]
    _write(stored, form.table, folder)
    return replace(task, metrics=task.twin_metrics or task.metrics)


def encode(medium: Medium, ending: str) -> bytes:
    """Return a medium as the bytes of a file with an ending such as ``.png`` or ``.flac``."""
    buffer = io.BytesIO()
    if isinstance(medium, Image):
        kind = "JPEG" if ending in (".jpg", ".jpeg") else "PNG"
        PIL.Image.fromarray(medium.load()).save(buffer, format=kind, quality=95)
        return buffer.getvalue()
    if isinstance(medium, Audio):
        soundfile.write(buffer, medium.load(RATE), RATE, format=ending[1:].upper())
        return buffer.getvalue()
    frames = medium.load(sampler_from({"kind": "uniform", "frames": medium.probe().frames}))[0]
    with av.open(buffer, mode="w", format=ending[1:]) as container:
        # MPEG-4 part 2 is in every build of PyAV.
        stream = container.add_stream("mpeg4", rate=FPS, options={"qmax": "2"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


def _stored(row: Row, form: Layout, folder: Path) -> dict[str, Value]:
    """Return a row under the benchmark's names, its media written to their places."""
    stored = {
        form.fields.get(name, name): value for name, value in row.items() if name not in form.media
    }
    for kind, place in form.media.items():
        found = row[kind]
        media: tuple[Medium, ...] = found if isinstance(found, tuple) else (found,)
        if isinstance(place, InFile):
            entries = row[place.each] if place.each else [None]
            start = folder
            if place.beside:
                start = (folder / str(row.get("file", _file_name(form.table)))).parent
            for entry, medium in zip(entries, media, strict=True):
                name = place.path.format_map({**row, **stored, "entry": entry})
                _write_medium(start, name, medium)
        else:
            stored[place.name] = _in_column(place, kind, media, single=found is not media)
    return stored


def _write_medium(folder: Path, name: str, medium: Medium) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(medium, PurePath(name).suffix))


def _in_column(place: InColumn, kind: Kind, media: Sequence[Medium], *, single: bool) -> Value:
    data = [encode(medium, _ENDINGS[kind]) for medium in media]
    if place.base64:
        return base64.b64encode(data[0]).decode("ascii")
    cells = [{"bytes": one, "path": f"{at}{_ENDINGS[kind]}"} for at, one in enumerate(data)]
    return cells[0] if single else cells


def _fields_of(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _write_join(rows: Sequence[Mapping[str, Value]], join: Join, folder: Path) -> None:
    to = join.to or join.on
    taken = {
        str(row[join.on]): {to: row[join.on], **{name: row[name] for name in join.columns}}
        for row in rows
    }
    _write(list(taken.values()), join.table, folder)


def _write_gathered(rows: Sequence[Mapping[str, Value]], gather: Gather, folder: Path) -> None:
    spread = [
        {gather.on: row[gather.on], gather.column: value}
        for row in rows
        for value in row[gather.column]
    ]
    _write(spread, gather.table, folder)


def _file_name(table: Table) -> str:
    """Return a file that the table's pattern finds."""
    return table.path.replace("-*", f"-{_INDEX}").replace("*", "1")


def _write(rows: Sequence[Mapping[str, Value]], table: Table, folder: Path) -> None:
    name = _file_name(table)
    for below in dict.fromkeys(str(row.get("file", name)) for row in rows):
        chosen = [row for row in rows if row.get("file", name) == below]
        bare = [{key: row[key] for key in row if key != "file"} for row in chosen]
        _write_file(bare, table, folder / below)


def _write_file(rows: Sequence[Mapping[str, Value]], table: Table, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if table.kind == "json":
        found = _as_json(rows, table)
        # Two tables may stand in one file, each under its key.
        if table.key and file.exists():
            found = json.loads(file.read_text("utf-8")) | found
        file.write_text(json.dumps(found), encoding="utf-8")
        return
    if table.kind == "transcripts":
        file.write_text("".join(f"{row['id']} {row['text']}\n" for row in rows), encoding="utf-8")
        return
    container = containers.get(table.kind)()
    numbered = [Numbered(at, f"row {at}", row) for at, row in enumerate(rows)]
    if container.is_folder:
        container.write(numbered, file)
        return
    part = file.with_name(file.name + ".part")
    container.write(numbered, part)
    container.finish([part], file, name=file.name, keys=_fields_of(rows))
    part.unlink()


def _as_json(rows: Sequence[Mapping[str, Value]], table: Table) -> Any:
    found: object = list(rows)
    if table.id_key:
        others = [{name: row[name] for name in row if name != table.id_key} for row in rows]
        cells = [row[table.value_key] for row in rows] if table.value_key else others
        found = {str(row[table.id_key]): one for row, one in zip(rows, cells, strict=True)}
    return {table.key: found} if table.key else found
