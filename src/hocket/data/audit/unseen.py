"""Keys of a row that look like media and that its reader does not read, such as ``imgae``.

What a reader has no place for is kept as metadata, so a misspelt key would lose its picture without
a word. Knows names and values of keys; must not know readers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from hocket.chat.conversation import Conversation, Json
from hocket.data.audit import Finding, Kind, RowFacts
from hocket.data.sources._endings import medium_kind

_NAMES = ("image", "images", "video", "videos", "video_path", "audio", "audios", "sound", "frames")
_ALIKE = 0.8


def unseen_keys(conversation: Conversation) -> tuple[str, ...]:
    """Return the keys of a row's metadata that name media, or nearly do, in order.

    A key with a file that the conversation shows was read: of a walk not every frame is shown.
    """
    shown = [str(medium.where.path) for medium in conversation.media() if medium.where.path]
    return tuple(
        key
        for key, value in conversation.meta.items()
        if _looks_like(key, value) and not _is_shown(value, shown)
    )


class UnseenKeys:
    """Counts such keys over all rows."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[RowFacts, int]] = {}

    def add(self, facts: RowFacts) -> None:
        """Count the keys of a row."""
        for key in facts.unseen:
            first, count = self._found.get((facts.dataset, key), (facts, 0))
            self._found[facts.dataset, key] = first, count + 1

    def findings(self) -> Iterator[Finding]:
        """Yield one finding for each key of each data set, at its first row."""
        for (dataset, key), (first, count) in self._found.items():
            close = difflib.get_close_matches(key.lower(), _NAMES, n=1, cutoff=_ALIKE)
            hint = f" Did you mean {close[0]!r}?" if close and close[0] != key else ""
            rows = "1 row has" if count == 1 else f"{count:,} rows have"
            reason = (
                f"{dataset}: {rows} a key {key!r}, first row {first.row}, that looks like media; "
                f"its reader does not read it.{hint} Rename the key, or choose another reader."
            )
            yield Finding(Kind.UNSEEN, dataset, first.row, first.id, reason)


def _looks_like(key: str, value: Json) -> bool:
    texts = value if isinstance(value, list) else [value]
    paths = [one for one in texts if isinstance(one, str) and one]
    if not paths or len(paths) < len(texts):
        return False
    if difflib.get_close_matches(key.lower(), _NAMES, n=1, cutoff=_ALIKE):
        return True
    return all("://" not in one and medium_kind(_ending(one)) for one in paths)


def _is_shown(value: Json, shown: Sequence[str]) -> bool:
    paths = value if isinstance(value, list) else [value]
    return any(path.endswith(str(one)) for one in paths for path in shown)


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.removeprefix(".")
