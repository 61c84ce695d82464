"""Room-to-Room on its navigation graphs, as the Matterport3D simulator walks them.

Reads ``{scan}_connectivity.json`` of the simulator (a pose is a row-major 4 x 4 matrix; two places
are joined where both are ``included`` and ``unobstructed``) and R2R's ``R2R_{split}.json``.
Distances are the graph's (Dijkstra 1959), edges as long as the straight line. A step forward goes
to the neighbour nearest the middle of the view; where none is in view the agent stays.
R2R's headings are clockwise from north; the world's are counter-clockwise from east.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from hocket._errors import ConfigError, DataError
from hocket.nav.environment import (
    NavAction,
    NavEpisode,
    NavSpec,
    NavStep,
    Picture,
    Point,
    Segments,
)
from hocket.nav.worlds import World, worlds

_ENDINGS = (".png", ".jpg")


@dataclass(frozen=True)
class GraphEpisode(NavEpisode):
    """A walk with its places.

    Attributes:
        places: the reference's viewpoints, the start first.
    """

    places: tuple[str, ...] = field(kw_only=True)


class Graph:
    """The places of a scan.

    Args:
        file: its connectivity.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, file: Path) -> None:
        try:
            rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
            poses = [row["pose"] for row in rows]
            self.at = {
                row["image_id"]: np.array([pose[3], pose[7], pose[11]], np.float64)
                for row, pose in zip(rows, poses, strict=True)
                if row["included"]
            }
            self.next = {
                row["image_id"]: [
                    other["image_id"]
                    for other, is_open in zip(rows, row["unobstructed"], strict=True)
                    if is_open and other["included"]
                ]
                for row in rows
                if row["included"]
            }
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"{file}: no connectivity of the Matterport3D simulator ({error!r}). "
                f"Take the files of its folder connectivity/."
            ) from error
        self._far: dict[str, dict[str, float]] = {}

    def nearest(self, point: Point) -> str:
        """Return the place nearest to a point."""
        return min(self.at, key=lambda name: float(np.linalg.norm(self.at[name] - point)))

    def distances(self, goal: str) -> dict[str, float]:
        """Return how far every place is from one; those without a way are missing."""
        if goal not in self._far:
            far = {goal: 0.0}
            queue = [(0.0, goal)]
            while queue:
                length, name = heapq.heappop(queue)
                if length > far[name]:
                    continue
                for other in self.next[name]:
                    total = length + float(np.linalg.norm(self.at[other] - self.at[name]))
                    if total < far.get(other, math.inf):
                        far[other] = total
                        heapq.heappush(queue, (total, other))
            self._far[goal] = far
        return self._far[goal]


@worlds.register
class R2RGraph(World):
    """Graphs of scanned houses.

    Args:
        config: which files.
        spec: how the agent turns and sees.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            connectivity: folder of ``{scan}_connectivity.json``.
            episodes: ``R2R_{split}.json``.
            pictures: folder of ``{scan}/{viewpoint}/{degrees}.png`` or ``.jpg``, headings as R2R
                counts them in whole turns; empty shows black pictures.
        """

        connectivity: str
        episodes: str
        pictures: str = ""

    def __init__(self, config: Config, spec: NavSpec) -> None:
        self._config, self._spec = config, spec
        self._graphs: dict[str, Graph] = {}
        self._episode: GraphEpisode | None = None
        self._at, self._heading_deg, self._steps = "", 0.0, 0

    @property
    def spec(self) -> NavSpec:
        """How the agent turns and sees; a step forward is as long as an edge."""
        return self._spec

    def episodes(self) -> Sequence[GraphEpisode]:
        """Return one walk per instruction.

        Raises:
            DataError: the file cannot be read, or names a place that its scan does not have.
        """
        file = Path(self._config.episodes)
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))
            return [
                self._make(row, number)
                for row in rows
                for number in range(len(row["instructions"]))
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file}: no episodes of Room-to-Room ({error!r}). Take R2R_val_unseen.json."
            ) from error

    def reset(self, episode: NavEpisode) -> Picture:
        """Put the agent at the start.

        Raises:
            ConfigError: the walk is of another world.
        """
        if not isinstance(episode, GraphEpisode):
            raise ConfigError(f"{episode.id}: a walk of another world; take one of episodes().")
        self._episode = episode
        self._at, self._heading_deg, self._steps = episode.places[0], episode.heading_deg, 0
        return self._look()

    def step(self, action: NavAction) -> NavStep:
        """Turn, or go along the edge ahead."""
        met = False
        if action is NavAction.FORWARD:
            ahead = self._ahead()
            met, self._at = ahead is None, ahead or self._at
        elif action is not NavAction.STOP:
            side = 1 if action is NavAction.LEFT else -1
            self._heading_deg = (self._heading_deg + side * self._spec.turn_deg) % 360
        self._steps += action is not NavAction.STOP
        done = action is NavAction.STOP or self._steps >= self._spec.max_steps
        return NavStep(self._look(), met, done)

    def position(self) -> Point:
        """Return where the agent is."""
        return self._graph().at[self._at]

    def distance(self, start: Point, goal: Point) -> float:
        """Return the length of the shortest way between the places nearest to two points."""
        graph = self._graph()
        return graph.distances(graph.nearest(goal)).get(graph.nearest(start), math.inf)

    def landmarks(self) -> Mapping[str, Point]:
        """Return nothing: the files name no things."""
        return {}

    def outline(self) -> Segments:
        """Return the edges."""
        graph = self._graph()
        edges = [
            (graph.at[one][:2], graph.at[other][:2])
            for one, others in graph.next.items()
            for other in others
            if one < other
        ]
        return np.array(edges, np.float64).reshape(-1, 2, 2)

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _make(self, row: Mapping[str, Any], number: int) -> GraphEpisode:
        graph = self._graph(row["scan"])
        places = tuple(row["path"])
        reference = np.stack([graph.at[name] for name in places])
        return GraphEpisode(
            id=f"{row['path_id']}_{number}",
            scene=row["scan"],
            instruction=row["instructions"][number],
            language=str(row.get("language", "en"))[:2],
            start=reference[0],
            heading_deg=(90 - math.degrees(row["heading"])) % 360,
            goal=reference[-1],
            reference=reference,
            places=places,
        )

    def _graph(self, scan: str = "") -> Graph:
        if not scan:
            assert self._episode is not None
            scan = self._episode.scene
        if scan not in self._graphs:
            file = Path(self._config.connectivity) / f"{scan}_connectivity.json"
            self._graphs[scan] = Graph(file)
        return self._graphs[scan]

    def _ahead(self) -> str | None:
        """Return the neighbour nearest the middle of the view; None where none is in view."""
        graph, best = self._graph(), (self._spec.hfov_deg / 2, "")
        for name in graph.next[self._at]:
            away = graph.at[name] - graph.at[self._at]
            bearing = math.degrees(math.atan2(away[1], away[0])) - self._heading_deg
            best = min(best, (abs((bearing + 180) % 360 - 180), name))
        return best[1] or None

    def _look(self) -> Picture:
        black = np.zeros((self._spec.height, self._spec.width, 3), np.uint8)
        if not self._config.pictures:
            return black
        assert self._episode is not None
        degrees = round((90 - self._heading_deg) % 360)
        folder = Path(self._config.pictures) / self._episode.scene / self._at
        for ending in _ENDINGS:
            file = folder / f"{degrees}{ending}"
            if file.exists():
                with PIL.Image.open(file) as opened:
                    return np.asarray(opened.convert("RGB"))
        raise DataError(
            f"{folder}: no {degrees}.png or .jpg, expected the view at {degrees} degrees from "
            f"north. Render it, or leave out 'pictures'."
        )
