"""Recorded walks: what the agent does changes nothing, what it says is compared.

Reads NaVILA's rows (``{"video_id": "<walk>-<k>", "q": ..., "a": ..., "frames": [...]}``): the rows
of a walk are its decisions, each made after as many frames as the row has. `expert_decision` is
what was recorded; positions are those of the recorded steps from the origin, facing east.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from hocket._errors import ConfigError, DataError
from hocket.nav.codec import read_answer
from hocket.nav.collect import RELABELLED
from hocket.nav.environment import (
    Decision,
    NavAction,
    NavEpisode,
    NavSpec,
    NavStep,
    Picture,
    Point,
    Segments,
)
from hocket.nav.worlds import World, worlds


@dataclass(frozen=True)
class ReplayEpisode(NavEpisode):
    """A recorded walk.

    Attributes:
        frames: files, in order.
        said: frames seen -> what was then decided.
    """

    frames: tuple[str, ...] = field(kw_only=True)
    said: Mapping[int, Decision] = field(kw_only=True)


@worlds.register
class Replay(World):
    """NaVILA's rows as a world.

    Args:
        config: which file.
        spec: how long the recorded steps were.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            rows: ``annotations.json`` of NaVILA, or what ``hocket nav collect`` writes.
            root: folder that its frames' paths start from; empty for the file's.
        """

        rows: str
        root: str = ""

    def __init__(self, config: Config, spec: NavSpec) -> None:
        self._spec = spec
        self._file = Path(config.rows)
        self._root = Path(config.root) if config.root else self._file.parent
        self._episode: ReplayEpisode | None = None
        self._seen = 0

    @property
    def spec(self) -> NavSpec:
        """How long the recorded steps were."""
        return self._spec

    def episodes(self) -> Sequence[ReplayEpisode]:
        """Return the walks of the file; rows that only relabel a decision are left out.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            rows = json.loads(self._file.read_text(encoding="utf-8"))
            walks: dict[str, list[Mapping[str, Any]]] = {}
            for row in rows:
                if not row.get(RELABELLED):
                    walks.setdefault(row["video_id"].rpartition("-")[0], []).append(row)
            return [self._make(walk, found) for walk, found in walks.items()]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._file}: no rows of NaVILA ({error!r}); expected video_id, q, a and frames."
            ) from error

    def reset(self, episode: NavEpisode) -> Picture:
        """Show the first decision's newest frame.

        Raises:
            ConfigError: the walk is of another world.
        """
        if not isinstance(episode, ReplayEpisode):
            raise ConfigError(f"{episode.id}: a walk of another world; take one of episodes().")
        self._episode, self._seen = episode, min(episode.said)
        return self._look()

    def step(self, action: NavAction) -> NavStep:
        """Show the next recorded frame, whatever was done; over where there is none."""
        assert self._episode is not None
        last = self._seen >= len(self._episode.frames)
        self._seen += not last
        return NavStep(self._look(), False, last or action is NavAction.STOP)

    def position(self) -> Point:
        """Return where the recorded agent was."""
        assert self._episode is not None
        return self._episode.reference[self._seen - min(self._episode.said)]

    def distance(self, start: Point, goal: Point) -> float:
        """Return the straight line: a recording knows no walls."""
        return float(np.linalg.norm(start - goal))

    def landmarks(self) -> Mapping[str, Point]:
        """Return nothing: a recording names no things."""
        return {}

    def outline(self) -> Segments:
        """Return nothing: a recording knows no walls."""
        return np.zeros((0, 2, 2))

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def expert_decision(self) -> Decision:
        """Return what was decided next: at the latest after the frames seen so far."""
        assert self._episode is not None
        said = self._episode.said
        return said[max(count for count in said if count <= self._seen)]

    def _make(self, walk: str, rows: Sequence[Mapping[str, Any]]) -> ReplayEpisode:
        said: dict[int, Decision] = {}
        for row in rows:
            decision = read_answer(row["a"])
            if decision is None:
                raise DataError(f"{self._file}: {row['video_id']} has the answer {row['a']!r}.")
            said[len(row["frames"])] = decision
        frames = max((row["frames"] for row in rows), key=len)
        path = self._path(said, len(frames))
        return ReplayEpisode(
            id=walk,
            scene=walk,
            instruction=rows[0]["q"],
            language="en",
            start=path[0],
            heading_deg=0.0,
            goal=path[-1],
            reference=path,
            info={},
            frames=tuple(frames),
            said=said,
        )

    def _path(self, said: Mapping[int, Decision], count: int) -> NDArray[np.float64]:
        """Return where the steps lead from the origin, one point per frame, (P, 3)."""
        spec, at, heading = self._spec, np.zeros(3), 0.0
        points, left = [at], [NavAction.STOP]
        for seen in range(min(said), count):
            if seen in said:
                left = [said[seen].action] * said[seen].repeats
            action = left.pop() if left else NavAction.STOP
            if action is NavAction.FORWARD:
                way = [np.cos(np.radians(heading)), np.sin(np.radians(heading)), 0.0]
                at = at + spec.forward_m * np.array(way)
            elif action is not NavAction.STOP:
                heading += spec.turn_deg * (1 if action is NavAction.LEFT else -1)
            points.append(at)
        return np.array(points)

    def _look(self) -> Picture:
        assert self._episode is not None
        file = self._root / self._episode.frames[self._seen - 1]
        try:
            with PIL.Image.open(file) as opened:
                return np.asarray(opened.convert("RGB"))
        except OSError as error:
            raise DataError(
                f"{self._file}: {self._episode.id} has the frame {file}, which cannot be read "
                f"({error}). Give 'root', the folder that its paths start from."
            ) from error
