"""Temporary."""
from __future__ import annotations
import re
from hocket.chat.conversation import *
from hocket.chat.readers import readers
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
@readers.register
def llava(row, *, root, where):
    def lst(x): return [] if x is None else [x] if isinstance(x, str) else list(x)
    q={"<image>":[Image.from_path(root/p) for p in lst(row.get("image"))],"<audio>":[Audio.from_path(root/p) for p in lst(row.get("audio"))],"<video>":[Video.from_path(root/p) for p in lst(row.get("video"))]}
    msgs=[]
    for t in row["conversations"]:
        role={"human":Role.USER,"gpt":Role.ASSISTANT,"system":Role.SYSTEM}[t["from"]]
        if role is Role.USER:
            parts=[]
            for piece in re.split(r"(<image>|<audio>|<video>)",t["value"]):
                if piece in q: parts.append(q[piece].pop(0))
                elif piece: parts.append(Text(piece))
        else: parts=[Text(t["value"])]
        msgs.append(Message(role,tuple(parts)))
    return Conversation(id=str(row["id"]),messages=tuple(msgs),meta={k:v for k,v in row.items() if k in("task","modality")},source=where)
