r"""Rows as VITA's trainers read them: LLaVA's, with sets, several sounds and states.

A row::

    {"set": "sharegpt4", "id": "7", "image": "coco/7.jpg", "audio": ["new/7.wav"],
     "conversations": [{"from": "human", "value": "<image>\n<audio>\n"},
                       {"from": "gpt", "value": "A tidy kitchen."}]}

``set`` names the folder of the pictures and videos, or is a list with one name for each; sounds
lie in a folder ``audio``. ``inserted_id`` is the number of the turn that answers a noise.
Knows rows, paths and states; must not open a medium.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from hocket._errors import ReaderError, did_you_mean
from hocket.chat.conversation import Conversation, Json, Medium, Role
from hocket.chat.readers import readers
from hocket.chat.readers._media import (
    ALL_KEYS,
    Frames,
    Reference,
    References,
    all_references,
    is_embedded,
    medium,
)
from hocket.chat.readers._rows import Sample, counted, kind_of, open_row, rest, short
from hocket.chat.readers._turns import (
    Grammar,
    Turn,
    check_order,
    conversation_of,
    extras,
    read_turns,
)
from hocket.chat.states import with_states

_OWN_KEYS = {"id", "conversations", *ALL_KEYS}
_AUDIO = "audio"


@readers.register
def vita(
    row: Mapping[str, Json],
    *,
    root: Path,
    where: str,
    folders: Mapping[str, str] | None = None,
    audio_folder: str = "",
) -> Conversation:
    """Return a row of VITA's format as a conversation whose answers begin with a state token.

    The token says what was asked: a written question, a spoken one, or, for the turns that
    ``inserted_id`` names, a sound that was not meant for the assistant; see `with_states`. Such
    an answer may be empty. Placeholders and media are matched as in `llava`.

    Without ``folders`` the files of a set lie below the folder of that name in ``root``, or below
    ``root`` itself where there is no such file; sounds lie below ``audio`` or ``root``.

    ``set``, ``inserted_id`` and ``end_tag`` stay in ``meta`` with all keys that are not named
    here: who writes the row again needs them. ``end_tag: false`` marks an answer that was cut off.

    Args:
        row: the decoded JSON object.
        root: folder that relative paths start from, ``folders`` included.
        where: data set, file and row number, for error messages.
        folders: folder of each set (VITA's ``FolderDict``). A row without ``set`` is of the set
            that the first component of its path names.
        audio_folder: folder that holds ``audio`` (VITA's ``AudioFolder``); empty means ``root``.

    Raises:
        ReaderError: the row has another shape, turns in another order, an empty answer, other
            numbers of placeholders and media, a set without a folder, or an ``inserted_id`` that
            is no answer.
        MediaError: a path that no file has.
    """
    sample = open_row(row, where, holds="'conversations'")
    ignored = _ignored(row, sample.at)
    grammar = Grammar(silent=ignored)
    turns = read_turns(row, grammar, sample.at)
    check_order(turns, grammar.turns, sample.at)
    _check_states(row, turns, ignored, sample.at)
    media = all_references(row, sample.at)
    sets = _sets(row, media, sample.at)
    places = _Places(root, folders, root / audio_folder)
    find = partial(_found, sets=sets, places=places, sample=sample)
    meta = rest(row, _OWN_KEYS) | extras(grammar.turns, turns)
    conversation = conversation_of(sample, where, turns, media, find, meta)
    return with_states(conversation, ignored=ignored)


class _Places:
    """Where the files of a set are."""

    def __init__(self, root: Path, folders: Mapping[str, str] | None, sounds: Path) -> None:
        self._root = root
        self._folders = folders
        self._sounds = sounds

    def folder(self, kind: str, reference: Reference, name: str | None, at: str) -> Path:
        """Return the folder that a reference starts from."""
        path = reference.pictures[0] if isinstance(reference, Frames) else reference
        if not isinstance(path, str) or is_embedded(path) or Path(path).is_absolute():
            return self._root
        if kind == _AUDIO:
            return _first([self._sounds / _AUDIO, self._sounds], path)
        if self._folders is None:
            return _first([self._root / name, self._root] if name else [self._root], path)
        if name is None:
            name = PurePosixPath(path).parts[0] if path else ""
        if name not in self._folders:
            raise ReaderError(
                f"{at}: the set {short(name)} of {short(path)} has no folder."
                f"{did_you_mean(name, self._folders)} Known: "
                f"{', '.join(self._folders) or 'none'}. Add it to folders."
            )
        return self._root / self._folders[name]


def _found(
    refs: References, *, sets: Sequence[str | None], places: _Places, sample: Sample
) -> dict[str, list[Medium]]:
    found: dict[str, list[Medium]] = {}
    for kind, given in refs.items():
        found[kind] = []
        for index, one in enumerate(given):
            # A list of sets names those of the pictures; where it is one name, all have it.
            name = sets[index if index < len(sets) else -1]
            root = places.folder(kind, one, name, sample.at)
            found[kind].append(medium(kind, one, root=root, at=sample.at))
    return found


def _first(folders: Sequence[Path], path: str) -> Path:
    """Return the first folder that has the path, or the last, where its absence is then told."""
    for folder in folders[:-1]:
        try:
            if (folder / path).exists():
                return folder
        # ValueError: a NUL inside the path; the message about it comes when it is located.
        except (OSError, ValueError):
            continue
    return folders[-1]


def _sets(row: Mapping[str, Json], refs: References, at: str) -> list[str | None]:
    value = row.get("set")
    if value is None or isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or not value:
        raise ReaderError(
            f"{at}: 'set' is {kind_of(value)} ({short(value)}), expected a name or a list of "
            f"names, one for each image. Correct it."
        )
    names = [str(one) for one in value]
    if refs["image"] and refs["video"] and len(set(names)) > 1:
        raise ReaderError(
            f"{at}: 'set' holds several names and the row images and videos, so it is unknown "
            f"which is whose. Write one name, or longer paths."
        )
    count = len(refs["image"]) or len(refs["video"])
    if len(names) != count and len(set(names)) > 1:
        raise ReaderError(
            f"{at}: 'set' has {counted(len(names), 'name')} for {counted(count, 'image')}, "
            f"expected one for each. Correct the list."
        )
    return [*names]


def _ignored(row: Mapping[str, Json], at: str) -> list[int]:
    value = row.get("inserted_id")
    found = value if isinstance(value, list) else [] if value is None else [value]
    numbers = [one for one in found if isinstance(one, int) and not isinstance(one, bool)]
    if len(numbers) < len(found):
        raise ReaderError(
            f"{at}: 'inserted_id' is {kind_of(value)} ({short(value)}), expected the number of "
            f"a gpt turn, counted from 0. Correct it."
        )
    return numbers


def _check_states(
    row: Mapping[str, Json], turns: Sequence[Turn], ignored: Sequence[int], at: str
) -> None:
    for number in ignored:
        if not 0 <= number < len(turns) or turns[number].role is not Role.ASSISTANT:
            answers = [index for index, turn in enumerate(turns) if turn.role is Role.ASSISTANT]
            raise ReaderError(
                f"{at}: 'inserted_id' is {number}, expected the number of a gpt turn: "
                f"{', '.join(map(str, answers)) or 'there is none'}. Correct it."
            )
    if not isinstance(row.get("end_tag", True), bool | None):
        raise ReaderError(
            f"{at}: 'end_tag' is {short(row['end_tag'])}, expected true or false. Correct it."
        )
