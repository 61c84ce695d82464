"""Rows as Ovis's trainers read them: LLaVA's, with videos kept as frames."""

from __future__ import annotations

from hocket.chat.conversation import Conversation
from hocket.data.writers import Refer, Written, writers
from hocket.data.writers._turns import llava_row

_FRAMES = "video_frames"


@writers.register
def ovis(conversation: Conversation, refer: Refer) -> Written:
    """Return an Ovis row; one video that is kept as pictures stands under ``video_frames``.

    Raises:
        DataError: as `hocket.data.writers.llava`.
    """
    return llava_row(conversation, refer, own=(_FRAMES,), frames_key=_FRAMES)
