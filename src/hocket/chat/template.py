"""Temporary."""
from __future__ import annotations
from importlib.resources import files
from typing import Any
from hocket.chat.conversation import Conversation, Text
from hocket.media.audio import Audio
from hocket.media.image import Image

def read_template(name: str) -> str:
    return (files("hocket.chat") / "templates" / f"{name}.jinja").read_text()

def to_messages(conversation: Conversation) -> list[dict[str, Any]]:
    out = []
    for m in conversation.messages:
        parts = []
        for p in m.parts:
            if isinstance(p, Text): parts.append({"type": "text", "text": p.text})
            elif isinstance(p, Image): parts.append({"type": "image"})
            elif isinstance(p, Audio): parts.append({"type": "audio"})
            else: parts.append({"type": "video"})
        d = {"role": m.role.value, "content": parts}
        if m.train is not None: d["train"] = m.train
        out.append(d)
    return out
