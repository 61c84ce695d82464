"""The rows of tests/data, files for them to name, and conversations in a form that shows all."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from hocket.chat.conversation import Conversation, Medium, Message, Part, Text
from hocket.chat.readers import readers
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video

FILES = (
    "images/a.png",
    "images/b.png",
    "coco/a.png",
    "coco/b.png",
    "audio/a.wav",
    "audio/b.flac",
    "video/a.mp4",
    "clips/a.mp4",
    "walk/frame_0.png",
    "walk/frame_1.png",
    "walk/frame_2.png",
    "walk/frame_10.png",
)
WHERE = "data.json row 41"


def rows_of(reader: str) -> list[dict[str, Any]]:
    """Return the rows that show every shape a reader knows."""
    path = Path(__file__).parents[2] / "data" / f"{reader}.json"
    return json.loads(path.read_text("utf-8"))


def make_files(root: Path) -> Path:
    """Write the files that the rows name, which no reader opens, and return their folder."""
    for name in FILES:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"never opened by a reader")
    return root


def read(reader: str, row: Any, root: Path, **options: Any) -> Conversation:
    return readers.get(reader)(row, root=root, where=WHERE, **options)


def kind_of(medium: Medium) -> str:
    return {Image: "image", Audio: "audio", Video: "video"}[type(medium)]


def name_of(medium: Medium, root: Path) -> str | list[str]:
    """Return the path of a medium below the root, the paths of its frames, or its bytes."""
    if isinstance(medium, Video) and medium.pictures:
        return [one.path.relative_to(root).as_posix() for one in medium.pictures]
    if medium.where.data is not None:
        return base64.b64encode(medium.where.data).decode()
    if medium.where.path is None:
        return medium.where.name
    return medium.where.path.relative_to(root).as_posix()


def transcript(conversation: Conversation, root: Path) -> list[tuple[str, str]]:
    """Return who said what, a medium written as ``{its path}``; ``-`` marks what is not learned."""

    def shown(part: Part) -> str:
        if isinstance(part, Text):
            return part.text
        name = name_of(part, root)
        return "{" + (name if isinstance(name, str) else " ".join(name)) + "}"

    def speaker(message: Message) -> str:
        return {None: "", True: "+", False: "-"}[message.train] + message.role.value

    return [
        (speaker(message), "".join(shown(part) for part in message.parts))
        for message in conversation.messages
    ]


def media_of(conversation: Conversation, root: Path) -> list[tuple[str, str | list[str]]]:
    return [(kind_of(one), name_of(one, root)) for one in conversation.media()]


def as_openai(conversation: Conversation, root: Path) -> dict[str, Any]:
    """Write any conversation as a row of the format that can hold them all."""

    def part_of(part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        kind = kind_of(part)
        key = "base64" if part.where.data is not None else kind
        return {"type": kind, key: name_of(part, root)}

    weight = {None: {}, True: {"weight": 1}, False: {"weight": 0}}
    return {
        "id": conversation.id,
        **conversation.meta,
        "tools": [dict(tool) for tool in conversation.tools],
        "messages": [
            {
                "role": message.role.value,
                "content": [part_of(part) for part in message.parts],
                **weight[message.train],
            }
            for message in conversation.messages
        ],
    }
