"""A world for others: the other end of the environment ``remote``, with the standard library only.

Every session has a world of its own. It listens where it is told to and answers whoever has the
token; put nothing but a trusted network in front of it.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from hocket._errors import HocketError
from hocket.nav.environment import NavAction, NavEnv, NavEpisode, Picture
from hocket.nav.wire import Json, episode_to_json, picture_to_json, point

_MOST_BYTES = 1 << 20
_UNAUTHORIZED, _BAD, _UNKNOWN, _TOO_LARGE = 401, 400, 404, 413


class WorldService:
    """Answers calls with worlds.

    Args:
        make_world: returns a world of its own for each session.
    """

    def __init__(self, make_world: Callable[[], NavEnv]) -> None:
        self._make = make_world
        self._first = make_world()
        self._episodes: dict[str, NavEpisode] = {one.id: one for one in self._first.episodes()}
        self._worlds: dict[str, NavEnv] = {}
        # Worlds are not made for threads.
        self._lock = Lock()

    def answer(self, name: str, body: Mapping[str, Any]) -> Json | None:
        """Return the answer to a call; None for one that does not exist.

        Raises:
            KeyError: something is missing, or no episode is called that.
            ValueError: something has the wrong type.
        """
        calls: dict[str, Callable[[Mapping[str, Any]], Json]] = {
            "spec": lambda _: asdict(self._first.spec),
            "episodes": lambda _: {
                "episodes": [episode_to_json(one) for one in self._episodes.values()]
            },
            "reset": self._reset,
            "step": self._step,
            "distance": self._distance,
            "place": self._place,
            "close": self._close,
        }
        with self._lock:
            return calls[name](body) if name in calls else None

    def close(self) -> None:
        """Close every world."""
        for world in (self._first, *self._worlds.values()):
            world.close()

    def _world(self, body: Mapping[str, Any]) -> NavEnv:
        return self._worlds[str(body["session"])]

    def _reset(self, body: Mapping[str, Any]) -> Json:
        session = str(body["session"])
        episode = self._episodes[str(body["episode"])]
        if session not in self._worlds:
            self._worlds[session] = self._make()
        return self._observation(self._worlds[session], self._worlds[session].reset(episode))

    def _step(self, body: Mapping[str, Any]) -> Json:
        world = self._world(body)
        done = world.step(NavAction(body["action"]))
        seen = self._observation(world, done.picture)
        return {**seen, "collided": bool(done.collided), "done": bool(done.done)}

    def _distance(self, body: Mapping[str, Any]) -> Json:
        metres = self._world(body).distance(point(body["start"]), point(body["goal"]))
        return {"metres": metres if math.isfinite(metres) else None}

    def _place(self, body: Mapping[str, Any]) -> Json:
        world = self._world(body)
        landmarks = {name: at.tolist() for name, at in world.landmarks().items()}
        return {"landmarks": landmarks, "outline": world.outline().tolist()}

    def _close(self, body: Mapping[str, Any]) -> Json:
        world = self._worlds.pop(str(body["session"]), None)
        if world is not None:
            world.close()
        return {}

    @staticmethod
    def _observation(world: NavEnv, picture: Picture) -> Json:
        return {"picture": picture_to_json(picture), "position": world.position().tolist()}


@contextmanager
def serve_world(
    make_world: Callable[[], NavEnv], *, host: str = "127.0.0.1", port: int = 0, token: str = ""
) -> Iterator[str]:
    """Answer calls inside a ``with`` block, in a thread.

    Args:
        make_world: returns a world of its own for each session.
        host: where to listen; only this machine by default.
        port: 0 takes a free one.
        token: that each call must carry; empty lets everybody in.

    Yields:
        The address.
    """
    service = WorldService(make_world)
    server = ThreadingHTTPServer((host, port), _handler(service, token))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        service.close()


def _handler(service: WorldService, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the standard library's name
            given = self.headers.get("Authorization", "")
            if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                self._say(_UNAUTHORIZED, {"error": "wrong token"})
                return
            length = int(self.headers.get("Content-Length", "0"))
            if length > _MOST_BYTES:
                self._say(_TOO_LARGE, {"error": "too large"})
                return
            try:
                body = json.loads(self.rfile.read(length) or b"{}")
                found = service.answer(self.path.strip("/"), body)
            except (KeyError, ValueError, TypeError, HocketError) as error:
                self._say(_BAD, {"error": f"{type(error).__name__}: {error}"})
                return
            if found is None:
                self._say(_UNKNOWN, {"error": f"no call {self.path}"})
            else:
                self._say(200, found)

        def _say(self, code: int, body: Json) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # its signature
            """Say nothing: the caller logs."""

    return Handler
