"""What writers share: the row around the turns, and how they refuse.

Knows keys and fields; must not know turns or files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Json, Message, Role
from hocket.data.writers import Refer, Reference

MEDIA_KEYS = ("image", "images", "audio", "audios", "video", "videos")
"""Keys that name media in every format."""
Found = Mapping[str, Sequence[Reference]]
"""References of a row in order, for each kind of medium."""


def refused(conversation: Conversation, field: str, what: str, advice: str) -> DataError:
    """Return the error that a format has no place for a field.

    Args:
        conversation: whose row it is.
        field: such as ``messages[2]``.
        what: what is wrong with it.
        advice: what to do next.
    """
    at = f"{conversation.source} (id {conversation.id!r})"
    return DataError(f"{at}: {field} {what}. {advice}")


def row_around(
    conversation: Conversation, own: Collection[str], values: Mapping[str, object]
) -> dict[str, object]:
    """Return the id, what a format says itself, and the rest of the conversation's ``meta``.

    Args:
        conversation: whose row it is.
        own: keys that the format reads; ``meta`` must not hold one that is not in ``values``.
        values: what the format says; a key of these takes the place of the same key of ``meta``.

    Raises:
        DataError: ``meta`` holds a key that would be read as something else.
    """
    for key in conversation.meta:
        if key in own and key not in values:
            raise refused(
                conversation,
                f"meta.{key}",
                f"cannot be kept, since the format reads {key!r} itself",
                "Remove the key or choose another format.",
            )
    rest = {key: value for key, value in conversation.meta.items() if key not in values}
    return {"id": conversation.id, **values, **rest}


def media_values(found: Found, *, listed: bool) -> dict[str, object]:
    """Return the keys of a row that name its media: ``image`` for one, ``images`` for a list.

    Pictures and sounds stand in a list under ``image`` and ``audio`` where there are several, as
    LLaVA and VITA write them; several videos stand under ``videos``.
    """
    values: dict[str, object] = {}
    for kind, references in found.items():
        several = listed or (kind == "video" and len(references) > 1)
        if several and references:
            values[f"{kind}s"] = [*references]
        elif references:
            values[kind] = references[0] if len(references) == 1 else [*references]
    return values


def bare_frames(video: Reference, fps: float) -> Reference:
    """Return the list of a video's pictures if a rate is all that is said of them."""
    if isinstance(video, Mapping) and video.keys() == {"frames", "fps"} and video["fps"] == fps:
        return [*video["frames"]]
    return video


def plain_frames(videos: Sequence[Reference]) -> list[object]:
    """Return the pictures of a single video whose frames are one a second, else nothing."""
    if len(videos) != 1:
        return []
    (video,) = videos
    if isinstance(video, Mapping):
        return [*video["frames"]] if video.keys() == {"frames"} else []
    return [*video] if isinstance(video, list) else []


def turn_extras(conversation: Conversation, key: str) -> Mapping[str, Mapping[str, Json]]:
    """Return what turns carried besides speaker and text: number of the turn -> its keys."""
    found = conversation.meta.get(key)
    if not isinstance(found, dict):
        return {}
    return {number: one for number, one in found.items() if isinstance(one, dict)}


def text_only(conversation: Conversation, index: int) -> str:
    """Return the text of a message that must hold no media.

    Raises:
        DataError: it holds one.
    """
    message = conversation.messages[index]
    if message.media:
        raise refused(
            conversation,
            f"messages[{index}]",
            f"from {message.role.value!r} holds a medium, expected text alone",
            "Choose another format, such as openai.",
        )
    return message.text


def is_learned(message: Message) -> bool:
    """Return whether the text of a message is learned."""
    return message.role is Role.ASSISTANT if message.train is None else message.train


def refuse_tools(conversation: Conversation) -> None:
    """Refuse schemas of tools, for formats that have no key for them.

    Raises:
        DataError: there are some.
    """
    if conversation.tools:
        raise refused(
            conversation, "tools", "has no place in this format", "Choose sharegpt or openai."
        )


def refuse_training_marks(conversation: Conversation) -> None:
    """Refuse messages that say whether they are learned, for formats without a mark.

    Raises:
        DataError: a message is marked against its role.
    """
    for index, message in enumerate(conversation.messages):
        if is_learned(message) != (message.role is Role.ASSISTANT):
            raise refused(
                conversation,
                f"messages[{index}].train",
                f"is {message.train}, for which this format has no mark",
                "Choose sharegpt or openai.",
            )


def refer_all(conversation: Conversation, refer: Refer) -> dict[str, list[Reference]]:
    """Return the references of all media, by kind, in reading order.

    Raises:
        DataError: a medium cannot be referred to.
    """
    found: dict[str, list[Reference]] = {"image": [], "audio": [], "video": []}
    for index, message in enumerate(conversation.messages):
        for medium in message.media:
            kind = kind_of(medium)
            at = f"{conversation.source} (id {conversation.id!r}): messages[{index}], {kind}"
            found[kind].append(refer(medium, at))
    return found


def kind_of(medium: object) -> str:
    """Return ``image``, ``audio`` or ``video``."""
    return type(medium).__name__.lower()
