"""A world behind HTTP: a robot, a container with an old simulator, or another machine.

`hocket.nav.wire` says what is sent; `hocket.nav.serve.serve_world` is the other end.
"""

from __future__ import annotations

import http.client
import json
import math
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hocket._errors import ConfigError, MachineError
from hocket.nav.environment import (
    NavAction,
    NavEpisode,
    NavSpec,
    NavStep,
    Picture,
    Point,
    Segments,
)
from hocket.nav.wire import Json, episode_from_json, picture_from_json, point
from hocket.nav.worlds import World, worlds


@worlds.register
class Remote(World):
    """A world that answers calls.

    Args:
        config: where it is.
        spec: not used: the other end says how its agent moves and sees.

    Raises:
        MachineError: nobody answers there.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            url: such as ``http://127.0.0.1:8765``.
            token: sent with every call; empty sends none.
            timeout_seconds: how long a call may take.
        """

        url: str
        token: str = ""
        timeout_seconds: float = 60.0

    def __init__(self, config: Config, spec: NavSpec) -> None:
        if urllib.parse.urlsplit(config.url).scheme not in ("http", "https"):
            raise ConfigError(f"environment 'remote': url {config.url!r} is no http(s) address.")
        self._config = config
        self._session = uuid.uuid4().hex
        self._at: Point = np.zeros(3)
        said = self._call("spec")
        try:
            self._spec = NavSpec(**said)
        except TypeError as error:
            raise self._wrong("spec", error) from error

    @property
    def spec(self) -> NavSpec:
        """How the other end's agent moves and sees."""
        return self._spec

    def episodes(self) -> Sequence[NavEpisode]:
        """Return the other end's walks."""
        rows = self._call("episodes")
        try:
            return [episode_from_json(row) for row in rows["episodes"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong("episodes", error) from error

    def reset(self, episode: NavEpisode) -> Picture:
        """Put the agent at the start."""
        return self._observe("reset", {"episode": episode.id})[0]

    def step(self, action: NavAction) -> NavStep:
        """Act."""
        picture, said = self._observe("step", {"action": int(action)})
        return NavStep(picture, bool(said.get("collided")), bool(said.get("done")))

    def position(self) -> Point:
        """Return where the agent said it is."""
        return self._at

    def distance(self, start: Point, goal: Point) -> float:
        """Return what the other end says."""
        said = self._call("distance", {"start": list(start), "goal": list(goal)})
        try:
            return math.inf if said["metres"] is None else float(said["metres"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong("distance", error) from error

    def landmarks(self) -> Mapping[str, Point]:
        """Return what the other end knows."""
        return {name: point(at) for name, at in self._call("place").get("landmarks", {}).items()}

    def outline(self) -> Segments:
        """Return what the other end knows."""
        return np.array(self._call("place").get("outline", []), np.float64).reshape(-1, 2, 2)

    def close(self) -> None:
        """Tell the other end that this walker is gone."""
        self._call("close")

    def _observe(self, name: str, body: Mapping[str, Any]) -> tuple[Picture, Json]:
        said = self._call(name, body)
        try:
            self._at = point(said["position"])
            return picture_from_json(said["picture"]), said
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong(name, error) from error

    def _call(self, name: str, body: Mapping[str, Any] | None = None) -> Json:
        address = f"{self._config.url.rstrip('/')}/{name}"
        data = json.dumps({"session": self._session, **(body or {})}).encode()
        headers = {"Content-Type": "application/json"}
        if self._config.token:
            headers["Authorization"] = f"Bearer {self._config.token}"
        request = urllib.request.Request(address, data=data, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._config.timeout_seconds) as answer:
                found: Json = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            reason = error.read().decode("utf-8", "replace")[:200]
            raise MachineError(
                f"{address} answered {error.code}: {reason}. Check url and token, and its log."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise MachineError(
                f"{address} does not answer: {error}. Start it, or correct 'url'."
            ) from error
        except ValueError as error:
            raise self._wrong(name, error) from error
        if not isinstance(found, dict):
            raise self._wrong(name, TypeError(f"{type(found).__name__}, expected an object"))
        return found

    def _wrong(self, name: str, error: Exception) -> MachineError:
        return MachineError(
            f"{self._config.url}/{name}: not what a world answers ({error!r}). "
            f"The calls are in hocket.nav.wire."
        )
