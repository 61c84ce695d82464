"""Data sets of the Hugging Face library ``datasets``: saved in a folder, or by their name.

Rows are read from the Arrow files as they are stored, so media are not decoded here and arrive as
``{"bytes": ..., "path": ...}``. With ``HOCKET_OFFLINE`` or ``HF_HUB_OFFLINE`` set, only what the
library has in its cache is used.
"""

from __future__ import annotations

import operator
from pathlib import Path
from typing import TYPE_CHECKING

from hocket._env import offline
from hocket._errors import DataError, MissingExtraError, did_you_mean
from hocket.chat.conversation import Conversation
from hocket.chat.readers import Reader
from hocket.data.sources import Row, sources
from hocket.data.sources._arrow import plain_row
from hocket.media.where import reason

if TYPE_CHECKING:
    import datasets

DEFAULT_SPLIT = "train"


@sources.register
class HubRows:
    """The rows of one split of a Hugging Face data set; needs the extra ``hub``.

    Args:
        path: ``FOLDER[:SPLIT]`` written by ``save_to_disk``, or ``OWNER/NAME[/CONFIG][:SPLIT]``
            of the hub. Without a split it is ``train``, or all of a folder that has no splits.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from; None means the folder, or the current
            one for a name of the hub.

    Raises:
        DataError: no such data set or split, or it is not in the cache and hubs must not be asked.
        MissingExtraError: datasets is not installed.
    """

    def __init__(self, path: Path, *, reader: Reader, root: Path | None = None) -> None:
        name, _, split = str(path).partition(":")
        folder = Path(name)
        # A name of the hub is not absolute, and has one or two slashes.
        if not folder.is_dir() and (folder.is_absolute() or not 1 <= name.count("/") <= 2):
            raise DataError(
                f"no data set {name}: there is no such folder, and it is no OWNER/NAME of the hub. "
                f"Check the path."
            )
        self.path = path
        self._reader = reader
        self._root = root or (folder if folder.is_dir() else Path())
        self._rows = _loaded(name, split).with_format("arrow")
        if not len(self):
            raise DataError(f"{path} holds no rows. Choose another split.")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Conversation:
        """Return row `index`.

        Raises:
            DataError: the row cannot be understood.
            IndexError: there is no such row.
        """
        return self._reader(self.row(index), root=self._root, where=self.where(index))

    def row(self, index: int) -> Row:
        """Return row `index` as it is stored.

        Raises:
            IndexError: there is no such row.
        """
        number = operator.index(index)
        if not 0 <= number < len(self):
            raise IndexError(f"{self.path}: row {number} of {len(self)}")
        return plain_row(self._rows[number].to_pylist()[0])

    def where(self, index: int) -> str:
        """Return the name of the data set and the number of a row."""
        return f"{self.path} row {index}"


def _loaded(name: str, split: str) -> datasets.Dataset:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "hub") from error
    try:
        if Path(name).is_dir():
            return _one_split(datasets.load_from_disk(name), name, split)
        owner, short, *config = name.split("/")
        return datasets.load_dataset(
            f"{owner}/{short}",
            *config,
            split=split or DEFAULT_SPLIT,
            download_config=datasets.DownloadConfig(local_files_only=offline()),
        )
    # Its own errors, those of files and networks, and what it says of a wrong split or config.
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        advice = "It must be in the cache, since hubs must not be asked." if offline() else ""
        raise DataError(
            f"the data set {name} cannot be opened ({reason(error)}). {advice or 'Check its name.'}"
        ) from error


def _one_split(
    found: datasets.Dataset | datasets.DatasetDict, name: str, split: str
) -> datasets.Dataset:
    import datasets

    if isinstance(found, datasets.Dataset):
        if split:
            raise DataError(f"{name} has no splits, but {split!r} is asked for. Leave ':' out.")
        return found
    wanted = split or DEFAULT_SPLIT
    if wanted not in found:
        hint = did_you_mean(wanted, found)
        raise DataError(f"{name} has no split {wanted!r}.{hint} It has: {', '.join(found)}.")
    return found[wanted]
