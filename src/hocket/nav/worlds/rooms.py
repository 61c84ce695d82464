"""The rooms in the package: nothing to download, exact distances, and an expert."""

from __future__ import annotations

from hocket.nav.rooms.episodes import RoomsOptions
from hocket.nav.rooms.world import RoomsEnv
from hocket.nav.worlds import World, worlds


@worlds.register
class Rooms(RoomsEnv, World):
    """`hocket.nav.rooms` as a world by name."""

    Config = RoomsOptions
