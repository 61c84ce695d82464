"""Rows as NaVILA reads them: walks with their frames and the next action, and VILA's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Json, Role
from hocket.chat.navigation import clean_instruction, next_action_question
from hocket.chat.readers._media import image, is_embedded, url_of
from hocket.data.writers import Refer, Reference, Written, writers
from hocket.data.writers._rows import MEDIA_KEYS, refuse_tools, row_around
from hocket.data.writers.vila import vila
from hocket.media.image import Image


@writers.register
def navila(conversation: Conversation, refer: Refer) -> Written:
    """Return a walk as ``frames``, ``q`` and ``a``, and everything else as VILA's row.

    A conversation is a walk if ``meta`` holds its ``frames`` and ``q`` and its question is the one
    NaVILA asks; all of the walk's frames are written, not only those that are shown.

    Raises:
        DataError: as `hocket.data.writers.llava`, or a frame of the walk that is not there.
    """
    frames, instruction = conversation.meta.get("frames"), conversation.meta.get("q")
    paths = [one for one in frames if isinstance(one, str)] if isinstance(frames, list) else []
    if not paths or not isinstance(instruction, str) or not _is_walk(conversation, instruction):
        return vila(conversation, refer)
    refuse_tools(conversation)
    at = f"{conversation.source} (id {conversation.id!r}): meta.frames"
    # A picture in the row needs no folder; of the others the last is always shown.
    root = Path() if is_embedded(paths[-1]) else _root_of(conversation, paths)
    referred = [refer(image(path, root=root, at=at), at) for path in paths]
    values = {"frames": referred, "q": instruction, "a": conversation.messages[1].text}
    row = row_around(conversation, {"id", "a", "conversations", *MEDIA_KEYS}, values)
    meta = {**conversation.meta, "frames": [_as_read(one) for one in referred]}
    return Written(row, replace(conversation, meta=meta))


def _as_read(reference: Reference) -> Json:
    """Return what the reader keeps of a picture of a walk."""
    if isinstance(reference, Mapping):
        return url_of(reference["bytes"], reference["path"])
    return str(reference)


def _is_walk(conversation: Conversation, instruction: str) -> bool:
    messages = conversation.messages
    if [message.role for message in messages] != [Role.USER, Role.ASSISTANT]:
        return False
    shown = [medium for medium in messages[0].media if isinstance(medium, Image)]
    if not shown:
        return False
    return messages[0].parts == next_action_question(shown, clean_instruction(instruction))


def _root_of(conversation: Conversation, paths: list[str]) -> Path:
    """Return the folder that the paths of a walk start from; its last frame is always shown."""
    *_, last = conversation.messages[0].media
    shown = last.where.name
    if not shown.endswith(paths[-1]):
        raise DataError(
            f"{conversation.source} (id {conversation.id!r}): meta.frames ends with "
            f"{paths[-1]!r}, but the walk shows {shown} last. Correct the row."
        )
    # Nothing is left of a path that starts here, or of one that is absolute.
    return Path(shown[: len(shown) - len(paths[-1])])
