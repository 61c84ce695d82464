"""A closed-loop evaluation on the disk: who walks where, resumed, in shards, with one report.

Walks that a log holds already are not walked again. Each shard has a log of its own; the table and
the report are made of all logs of the folder, so the last shard to end writes the whole. They are
of one setup, and another number of shards goes on with what the first ones walked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hocket._errors import ConfigError, MachineError
from hocket.nav.agent import Agent
from hocket.nav.drawing import film, strip
from hocket.nav.environment import NavEnv, NavEpisode
from hocket.nav.loop import LoopOptions, Outcome, walk_all
from hocket.nav.record import Log, Record, check_setup, read_log, record_of
from hocket.nav.score import Profile
from hocket.nav.table import TableRow, table

_LOG = re.compile(r"walks-(.+)-\d+of\d+\.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What is walked and kept.

    Attributes:
        shard: which share of the walks.
        shards: how many shares.
        limit: walks at most, the first ones; 0 for all.
        pictures: walks of each agent whose strip of frames is kept.
        films: walks of each agent that become an MP4.
        loop: how the loop works.
        setup: what a log must agree with to be gone on with.
    """

    shard: int = 0
    shards: int = 1
    limit: int = 0
    pictures: int = 12
    films: int = 0
    loop: LoopOptions = field(default_factory=LoopOptions)
    setup: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ConfigError: a shard that does not exist, or a count below 0.
        """
        if not 0 <= self.shard < self.shards:
            raise ConfigError(
                f"shard {self.shard} of {self.shards} does not exist; the first is 0."
            )
        if min(self.limit, self.pictures, self.films) < 0 or self.loop.batch < 1:
            raise ConfigError("a count is below 0, or no walk goes on at a time; correct it.")


def run(
    make_world: Callable[[], NavEnv],
    agents: Mapping[str, Agent],
    profile: Profile,
    out: Path,
    options: RunOptions,
    *,
    progress: Callable[[str, int, int], None] = lambda agent, done, total: None,
) -> list[TableRow]:
    """Walk with every agent and return the table of all walks of the folder.

    Args:
        make_world: returns a world of its own.
        agents: name -> who walks.
        profile: how walks are scored.
        out: folder of logs and pictures.
        options: what is walked and kept.
        progress: called with (agent, walks done, walks of this shard).

    Raises:
        ConfigError: the world has no walk, or the folder has logs of another setup.
        DataError: a log is damaged.
        MachineError: the folder cannot be written.
    """
    world = make_world()
    try:
        every = list(enumerate(world.episodes()))
    finally:
        world.close()
    every = every[: options.limit or None]
    if not every:
        raise ConfigError("this world has no walks. Correct its options.")
    for name, agent in agents.items():
        file = out / f"walks-{name}-{options.shard}of{options.shards}.jsonl"
        for other in _log_files(out).get(name, []):
            if other != file and other.stat().st_size:
                check_setup(other, options.setup)
        log = Log(file, options.setup)
        try:
            mine = every[options.shard :: options.shards]
            _walk(make_world, agent, name, mine, profile, log, options, progress)
        finally:
            log.close()
    rows = table(read_logs(out))
    figures = {"profile": profile.name, "rows": [row.figures() for row in rows]}
    _write(out / "result.json", json.dumps(figures, indent=1).encode())
    return rows


def read_logs(out: Path) -> dict[str, list[Record]]:
    """Return every walk of a folder once, by agent, in the order of the world's list."""
    return {name: _walks(files) for name, files in _log_files(out).items()}


def _walks(files: Sequence[Path]) -> list[Record]:
    """Return the walks of some logs in order, each once: shards of other numbers overlap."""
    found = {one.episode: one for file in files for one in read_log(file)}
    return sorted(found.values(), key=lambda one: one.index)


def _log_files(out: Path) -> dict[str, list[Path]]:
    """Return the logs of a folder by agent."""
    found: dict[str, list[Path]] = {}
    for file in sorted(out.glob("walks-*.jsonl")):
        if match := _LOG.fullmatch(file.name):
            found.setdefault(match[1], []).append(file)
    return found


def _walk(
    make_world: Callable[[], NavEnv],
    agent: Agent,
    name: str,
    mine: Sequence[tuple[int, NavEpisode]],
    profile: Profile,
    log: Log,
    options: RunOptions,
    progress: Callable[[str, int, int], None],
) -> None:
    walked = {one.episode for one in _walks(_log_files(log.file.parent)[name])}
    places = {episode.id: index for index, episode in mine}
    left = [episode for _, episode in mine if episode.id not in walked]
    done = len(mine) - len(left)
    progress(name, done, len(mine))
    for outcome in walk_all(make_world, left, agent, profile, options.loop):
        index = places[outcome.episode.id]
        _keep(outcome, log.file.parent / "pictures" / f"{name}-{index}", index, options)
        # Last, so that a walk that is in the log has its pictures.
        log.add(record_of(outcome, index))
        done += 1
        progress(name, done, len(mine))


def _keep(outcome: Outcome, stem: Path, index: int, options: RunOptions) -> None:
    if index < max(options.pictures, options.films):
        stem.parent.mkdir(parents=True, exist_ok=True)
    if index < options.pictures:
        _write(stem.with_suffix(".png"), strip(outcome.frames))
    if index < options.films:
        film(outcome.frames, stem.with_suffix(".mp4"))


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise MachineError(f"{file} cannot be written: {error}. Free space.") from error
