"""Worlds to walk in: one file each, registered by its name, built from plain options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from hocket._options import read_options
from hocket._registry import Registry
from hocket.nav.environment import NavEnv, NavSpec


class World(NavEnv):
    """A kind of world: what `NavEnv` says, and its options.

    Args:
        config: its options, an instance of `Config`.
        spec: how an agent is to move and see.
    """

    Config: ClassVar[type[Any]]

    @abstractmethod
    def __init__(self, config: Any, spec: NavSpec) -> None:
        """Open the world."""


worlds: Registry[type[World]] = Registry("hocket.nav.worlds", noun="environment")


def open_world(name: str, options: Mapping[str, Any], spec: NavSpec) -> NavEnv:
    """Return a world.

    Args:
        name: a file of this folder, such as ``rooms``.
        options: of its ``Config``.
        spec: how an agent is to move and see.

    Raises:
        UnknownNameError: there is no such world.
        ConfigError: an option is unknown or wrong.
        MissingExtraError: it needs a package that is not installed.
    """
    kind = worlds.get(name)
    return kind(read_options("environment", kind.Config, {**options, "kind": name}), spec)
