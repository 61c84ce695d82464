"""From any rows to a file of another format: in parts, so that it can be stopped and go on.

Each part is a range of rows and becomes a file of the work folder ``.OUT.parts``, written whole or
not at all, beside a note of what was left out. When all are there, they are joined and get their
name. Every row is read again with the reader of its new format and compared with what it was.

Knows conversations and files; must not know one row format or one container.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, cast

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers import readers
from hocket.data.containers import Container, Numbered, containers
from hocket.data.processes import in_processes
from hocket.data.same import Identity, difference
from hocket.data.sources import Row
from hocket.data.storing import put_file
from hocket.data.writers import Refer, writers

PART_ROWS = 1000
"""Rows of a part, and so of a shard."""

_JOB = "job.json"
_MANIFEST = "_manifest.json"
_SHOWN_SKIPS = 1000


class Rows(Protocol):
    """What is converted: a source, or several as one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Conversation:
        """Return a row."""
        ...

    def where(self, index: int) -> str:
        """Return the file and number of a row, as messages call it."""
        ...


class Store(Refer, Protocol):
    """A `Refer` that remembers where each medium of a row went."""

    moved: dict[Identity, Identity]

    def notes(self) -> Mapping[str, int]:
        """Return what happened to the media, counted since the last call."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One conversion.

    Attributes:
        rows: what is read.
        to: row format that is written, a file in ``data/writers``.
        container: storage format, a file in ``data/containers``.
        out: file or folder that is written.
        store: says where media go.
        inputs: what the rows come from and how, as plain values; another start with other inputs
            does not go on with the parts of this one.
        part_rows: rows of a part.
        skip: leave out and note rows that cannot be read or written; false stops at the first.
    """

    rows: Rows
    to: str
    container: str
    out: Path
    store: Store
    inputs: Mapping[str, object] = field(default_factory=dict)
    part_rows: int = PART_ROWS
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What became of the rows of one part.

    Attributes:
        rows: how many were written.
        skipped: where -> reason, of those left out.
        keys: keys of the rows in order of first use.
        notes: what happened to media, counted.
    """

    rows: int
    skipped: dict[str, str]
    keys: list[str]
    notes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a conversion did.

    Attributes:
        rows: how many were written.
        skipped: where -> reason, of those left out.
        notes: what happened to media, counted.
        resumed: parts that an earlier start had written.
    """

    rows: int
    skipped: dict[str, str]
    notes: dict[str, int]
    resumed: int


def work_folder(out: Path) -> Path:
    """Return the folder that holds the parts until they are joined."""
    return out.parent / f".{out.name}.parts"


def rows_root(out: Path, container: str) -> Path:
    """Return the folder that paths in the rows start from while they are written."""
    return work_folder(out) if containers.get(container).is_folder else out.parent


def convert(
    job: Job, *, processes: int = 1, advance: Callable[[int], None] = lambda rows: None
) -> Outcome:
    """Write all rows, going on where an earlier start with the same inputs stopped.

    Args:
        job: what is converted.
        processes: how many convert parts at the same time.
        advance: called with numbers of rows that are done.

    Raises:
        ConfigError: the output exists, or was begun from other inputs.
        DataError: a row cannot be read or written, or none is left.
        MissingExtraError: the container needs a package.
    """
    if job.out.exists():
        raise ConfigError(f"{job.out} exists. Choose another output or add --overwrite.")
    job.out.parent.mkdir(parents=True, exist_ok=True)
    work = work_folder(job.out)
    _begin(job, work)
    count = -(-len(job.rows) // job.part_rows)
    missing = [number for number in range(count) if not _note(work, number).exists()]
    advance(len(job.rows) - sum(len(_range(job, number)) for number in missing))
    for _, rows in in_processes(_write_part, job, missing, processes=processes):
        advance(rows)
    parts = [_read_note(_note(work, number)) for number in range(count)]
    return _finish(job, work, parts, resumed=count - len(missing))


def discard(out: Path) -> None:
    """Remove an output and the parts of an unfinished one."""
    for each in (out, work_folder(out)):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)


def _begin(job: Job, work: Path) -> None:
    """Make the work folder, or check that it is of the same job."""
    wanted = {
        **job.inputs,
        "rows": len(job.rows),
        "to": job.to,
        "container": job.container,
        "part_rows": job.part_rows,
        "media": type(job.store).__name__,
    }
    text = json.dumps(wanted, sort_keys=True, default=str)
    file = work / _JOB
    for rest in work.glob(".part-*"):
        rest.unlink()  # what a start that was killed had not finished
    if not any(work.glob("*.done")):
        work.mkdir(exist_ok=True)
        put_file(file, lambda place: place.write_text(text, "utf-8"))
        return
    found = json.loads(file.read_text("utf-8"))
    if found != json.loads(text):
        other = next(key for key in {**found, **wanted} if found.get(key) != wanted.get(key))
        raise ConfigError(
            f"{job.out} was begun with another {other!r} ({found.get(other)!r}) and is not "
            f"finished. Add --overwrite to begin again, or repeat the first command."
        )


def _range(job: Job, number: int) -> range:
    first = number * job.part_rows
    return range(first, min(first + job.part_rows, len(job.rows)))


def _note(work: Path, number: int) -> Path:
    return work / f"{number:06d}.done"


def _write_part(job: Job, number: int) -> int:
    """Write one part and its note; return how many rows it covers."""
    container = containers.get(job.container)()
    work = work_folder(job.out)
    skipped: dict[str, str] = {}
    keys: dict[str, None] = {}
    count = 0

    def rows() -> Iterator[Numbered]:
        nonlocal count
        for index in _range(job, number):
            try:
                numbered = _row(job, container, index)
            except DataError as error:
                if not job.skip:
                    raise
                skipped[job.rows.where(index)] = str(error)
                continue
            count += 1
            keys.update(dict.fromkeys(numbered.row))
            yield numbered

    part = work / f"shard-{number:06d}{container.ending}"
    put_file(part, lambda place: container.write(rows(), place))
    if not count:
        part.unlink()
    note = Part(count, skipped, [*keys], dict(job.store.notes()))
    text = json.dumps(asdict(note))
    put_file(_note(work, number), lambda place: place.write_text(text, "utf-8"))
    return len(_range(job, number))


def _row(job: Job, container: Container, index: int) -> Numbered:
    """Return a row as it will be written, having read it again.

    Raises:
        DataError: it cannot be read or written, or would read as something else.
    """
    conversation = job.rows[index]
    job.store.moved.clear()
    row, reads = writers.get(job.to)(conversation, job.store)
    at = f"{job.rows.where(index)} (id {conversation.id!r})"
    numbered = Numbered(index, at, row)
    stored = container.stored(numbered)
    for key in [*row, *stored]:
        if key not in stored or row.get(key) != stored[key]:
            raise DataError(
                f"{at}: {key!r} does not come back from {job.container} as it was. "
                f"Remove it or choose another container."
            )
    root = rows_root(job.out, job.container)
    again = readers.get(job.to)(cast(Row, stored), root=root, where=at)
    moved = dict(job.store.moved)
    field_name = difference(reads, again, moved=lambda one: moved.get(one, one))
    if field_name:
        raise DataError(
            f"{at}: {field_name} cannot be written as {job.to}: it would be read as something "
            f"else. Choose another format, or --skip to leave such rows out."
        )
    return numbered


def _read_note(file: Path) -> Part:
    return Part(**json.loads(file.read_text("utf-8")))


def _finish(job: Job, work: Path, parts: list[Part], *, resumed: int) -> Outcome:
    container = containers.get(job.container)()
    skipped = {where: reason for part in parts for where, reason in part.skipped.items()}
    notes: Counter[str] = Counter()
    for part in parts:
        notes.update(part.notes)
    outcome = Outcome(sum(part.rows for part in parts), skipped, dict(notes), resumed)
    if not outcome.rows:
        reason = next(iter(skipped.values()), "there are none")
        discard(job.out)
        raise DataError(f"{job.out}: no row is left. The first reason: {reason}")
    keys = [*dict.fromkeys(key for part in parts for key in part.keys)]
    name = f"shard-{{:06d}}{container.ending}"
    files = [work / name.format(number) for number, part in enumerate(parts) if part.rows]
    if container.is_folder:
        container.finish(files, work, name=job.out.name, keys=keys)
        manifest = manifest_of(job, outcome)
        (work / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
        for number in range(len(parts)):
            _note(work, number).unlink()
        (work / _JOB).unlink()
        work.rename(job.out)
    else:
        put_file(
            job.out,
            lambda place: container.finish(files, place, name=job.out.name, keys=keys),
        )
        shutil.rmtree(work)
    return outcome


def manifest_of(job: Job, outcome: Outcome) -> dict[str, Json]:
    """Return what a conversion did as plain values, for a file beside its output."""
    return {
        "to": job.to,
        "container": job.container,
        "rows": outcome.rows,
        "left_out": len(outcome.skipped),
        "reasons": dict(list(outcome.skipped.items())[:_SHOWN_SKIPS]),
        "media": dict(outcome.notes),
    }
