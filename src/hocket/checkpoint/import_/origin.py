"""A foreign checkpoint as it was found: its files, and the folders that its config.json names.

Configurations name a tower by a hub id or by a path of the machine that wrote them, such as
``openai/clip-vit-large-patch14-336``. Nothing is downloaded: such a name is looked for beside the
checkpoint, here, and in the folders given to search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hocket._env import model_folders
from hocket._errors import CheckpointError
from hocket.checkpoint.tools.tensors import read_json


@dataclass(frozen=True)
class Origin:
    """A folder that is imported.

    Attributes:
        folder: the folder.
        config: its ``config.json``; empty without one.
        search: further folders in which others are looked for.
        base: the base model, where the caller says which; None looks for the one that is named.
        template: the chat template, where the caller says which; empty lets the importer choose.
    """

    folder: Path
    config: Mapping[str, Any]
    search: tuple[Path, ...] = ()
    base: Path | None = None
    template: str = ""
    places: tuple[Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Work out where other folders are looked for."""
        here = self.folder.absolute()
        near = (here, here.parent, here.parent.parent, Path.cwd())
        places = dict.fromkeys((*near, *self.search, *model_folders()))
        object.__setattr__(self, "places", tuple(places))

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        search: Sequence[Path] = (),
        base: Path | None = None,
        template: str = "",
    ) -> Origin:
        """Open a folder.

        Raises:
            CheckpointError: there is no such folder, or its ``config.json`` is damaged.
        """
        for one in (folder, *search, *([base] if base else [])):
            if not one.is_dir():
                raise CheckpointError(f"no folder {one}. Give the folder of a checkpoint.")
        config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
        return cls(folder, config, tuple(search), base, template)

    def has(self, *names: str) -> bool:
        """Say whether ``config.json`` has all of these keys."""
        return all(name in self.config for name in names)

    def find(self, name: str, what: str, *, holding: str = "config.json") -> Path:
        """Return the folder that a configuration names.

        Args:
            name: the name as it stands there: a path, or a hub id.
            what: what it is, for the message, such as ``vision tower``.
            holding: a file that the folder must hold.

        Raises:
            CheckpointError: it is nowhere.
        """
        written = Path(name).expanduser()
        # The last part alone finds openai/clip-vit-large-patch14-336 in a plain folder of models.
        for place in self.places:
            for candidate in (place / written, place / written.name):
                if name and (candidate / holding).is_file():
                    return candidate
        listed = ", ".join(str(place) for place in self.places)
        raise CheckpointError(
            f"the {what} {name!r} is needed, and no folder of that name with {holding} is in "
            f"{listed}. Put it there, or name the folder that holds it with --search DIR."
        )

    def need(self, key: str) -> Any:
        """Return a value of ``config.json``.

        Raises:
            CheckpointError: it has no such key.
        """
        if key not in self.config:
            raise CheckpointError(
                f"{self.folder / 'config.json'} has no {key}. Copy the checkpoint again."
            )
        return self.config[key]

    def section(self, key: str) -> Mapping[str, Any]:
        """Return a nested configuration of ``config.json``.

        Raises:
            CheckpointError: it has no such key, or the value is no object.
        """
        found = self.need(key)
        if not isinstance(found, dict):
            raise CheckpointError(
                f"{self.folder / 'config.json'}: {key} is {found!r}, expected an object. "
                "Copy the checkpoint again."
            )
        return found
