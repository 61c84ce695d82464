"""One part = one file = one name.

A registry is a package folder: the base name of each file in it is a registered name.
Listing reads the folder without importing anything; looking a name up imports that one file.
Other packages join through entry points whose group is the package's dotted name.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from typing import Generic, TypeVar

from hocket._errors import ConfigError, UnknownNameError

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Names of one kind of part and the files that define them.

    Args:
        package: dotted name of the folder, such as ``hocket.parts.connector``.
        noun: what an item is called in messages, such as ``connector``.
    """

    def __init__(self, package: str, *, noun: str) -> None:
        self.package = package
        self.noun = noun
        self._items: dict[str, Item] = {}

    def register(self, item: Item) -> Item:
        """Decorate the one item a file defines; its name is the file's base name.

        Raises:
            ConfigError: the file has registered an item already.
        """
        module = str(item.__module__)
        name = module.rpartition(".")[2]
        if name in self._items and self._items[name].__module__ != module:
            raise ConfigError(f"two files register the {self.noun} {name!r}: rename one of them.")
        self._items[name] = item
        return item

    def names(self) -> list[str]:
        """Return every known name, sorted, without importing a file."""
        folder = importlib.import_module(self.package)
        found = {module.name for module in pkgutil.iter_modules(folder.__path__)}
        found |= set(self._items) | set(self._entry_points())
        return sorted(name for name in found if not name.startswith("_"))

    def get(self, name: str) -> Item:
        """Import the file of that name and return what it registered.

        Raises:
            UnknownNameError: no file, entry point or registered item has the name.
            ConfigError: the file exists and registers nothing.
        """
        if name in self._items:
            return self._items[name]
        if name not in self.names():
            raise UnknownNameError(self.noun, name, self.names())
        plugins = self._entry_points()
        if name in plugins:
            plugins[name].load()
        else:
            importlib.import_module(f"{self.package}.{name}")
        if name not in self._items:
            raise ConfigError(
                f"the file of the {self.noun} {name!r} registers nothing: "
                f"put its registry's .register above the class or function."
            )
        return self._items[name]

    def _entry_points(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {entry.name: entry for entry in importlib.metadata.entry_points(group=self.package)}
