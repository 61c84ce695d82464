"""Raw data of one kind as rows that were looked at: what the VITA guide's three scripts promise.

A folder of data files, or of media with captions beside them, becomes rows whose media are there
and readable and of which each has what its stage learns from. Knows sources and media headers; must
not know a row format.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Medium
from hocket.chat.validate import check_conversation
from hocket.data.chosen import ChosenRows
from hocket.data.mixture import open_source
from hocket.data.sources import Source
from hocket.data.sources._paths import natural
from hocket.data.spec import DatasetSpec
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video

_FILES = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
PREPARED = "data.json"
"""Name of the file that a prepared folder holds."""
REPORT = "report.json"
"""Name of the file that says what was prepared."""


class Stage(StrEnum):
    """What is prepared: the data of one of the guide's stages."""

    VISION = "vision-language"
    AUDIO = "audio-language"
    JOINT = "multimodal"


_NEEDED: dict[Stage, tuple[type[Medium], ...]] = {
    Stage.VISION: (Image, Video),
    Stage.AUDIO: (Audio,),
    Stage.JOINT: (Image, Audio, Video),
}


class LookedAt:
    """Rows of which each is checked when it is read.

    Args:
        rows: what is checked.
        stage: whose data it is.
    """

    def __init__(self, rows: Source | ChosenRows, stage: Stage) -> None:
        self._rows = rows
        self._stage = stage

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: it cannot be understood, has no answer, none of the media of its stage, or
                one that is damaged.
        """
        conversation = self._rows[index]
        at = f"{conversation.source} (id {conversation.id!r})"
        check_conversation(conversation, need_answer=True)
        media = [*conversation.media()]
        needed = _NEEDED[self._stage]
        if not any(isinstance(medium, needed) for medium in media):
            nouns = " or ".join(kind.__name__.lower() for kind in needed)
            raise DataError(
                f"{at}: no {nouns}, which {self._stage.value} data has. "
                f"Move the row to the data of its own stage."
            )
        for medium in media:
            if isinstance(medium, Image):
                medium.size()
            elif isinstance(medium, Audio):
                medium.seconds()
            else:
                medium.probe()
        return conversation


def open_raw(
    place: Path, stage: Stage, *, reader: str, media_root: str = ""
) -> tuple[dict[str, DatasetSpec], dict[str, LookedAt]]:
    """Open a data file, a folder of them, or a folder of media with captions.

    Args:
        place: the file or folder; in a folder that was prepared before, only its data file counts.
        stage: whose data it is.
        reader: row format of data files; media with captions need none.
        media_root: folder that paths in data files start from; empty means the folder of each.

    Returns:
        What each data set is and its rows, by name.

    Raises:
        DataError: nothing is there, or it cannot be read.
    """
    if not place.exists():
        raise DataError(f"no file or folder {place}. Check the path.")
    files = [place] if place.is_file() else _data_files(place)
    specs = {
        str(file): DatasetSpec(
            path=str(file), source=_FILES[file.suffix], reader=reader, media_root=media_root
        )
        for file in files
        if file.suffix in _FILES
    }
    if not specs and place.is_dir():
        specs = {str(place): DatasetSpec(path=str(place), source="folder", reader="caption")}
    if not specs:
        raise DataError(f"{place}: expected one of {', '.join(_FILES)}. Convert the file first.")
    rows = {name: LookedAt(open_source(name, spec), stage) for name, spec in specs.items()}
    return specs, rows


def _data_files(folder: Path) -> list[Path]:
    prepared = folder / PREPARED
    if prepared.is_file() and (folder / REPORT).is_file():
        return [prepared]
    found = [file for file in folder.iterdir() if file.is_file() and file.suffix in _FILES]
    return sorted(found, key=lambda file: natural(file.name))
