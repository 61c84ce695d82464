"""Chat templates by name, and conversations in the plain form that they read.

A template is the Jinja source that a checkpoint carries, so that transformers renders the same
text. Knows files and dictionaries; must not render, tokenise or know a model.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from hocket._errors import UnknownNameError
from hocket.chat.conversation import Conversation, Message, Part, Text
from hocket.media.audio import Audio
from hocket.media.image import Image

_SUFFIX = ".jinja"
_FOLDER = files("hocket.chat") / "templates"
# Other names that LLaVA, VILA and VITA give to the same rendering.
_ALIASES = {
    "v1": "vicuna_v1",
    "minicpm": "vicuna_v1",
    "hermes-2": "chatml_direct",
    "mistral_direct": "chatml_direct",
}


def template_names() -> list[str]:
    """Return the names of the chat templates, sorted, without other names for the same one."""
    found = [entry.name for entry in _FOLDER.iterdir()]
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def read_template(name: str) -> str:
    """Return the Jinja source of a chat template.

    Args:
        name: one of `template_names`, or the name that LLaVA, VILA or VITA gives to it.

    Raises:
        UnknownNameError: no template has the name.
    """
    name = _ALIASES.get(name, name)
    names = template_names()
    if name not in names:
        raise UnknownNameError("chat template", name, names)
    return (_FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def to_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """Return the messages as transformers' ``apply_chat_template`` takes them.

    Each has ``role`` and ``content``, a list of ``{"type": "text", "text": ...}``,
    ``{"type": "image"}``, ``{"type": "audio"}`` and ``{"type": "video"}`` in reading order with
    the text unchanged; ``train`` is there if the message says it.
    """
    return [_plain(message) for message in conversation.messages]


def _plain(message: Message) -> dict[str, Any]:
    content = [_plain_part(part) for part in message.parts]
    plain: dict[str, Any] = {"role": message.role.value, "content": content}
    return plain if message.train is None else plain | {"train": message.train}


def _plain_part(part: Part) -> dict[str, str]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "image"}
    return {"type": "audio" if isinstance(part, Audio) else "video"}
