"""Rows as VILA 1.5 reads them: LLaVA's, with the rate of videos kept as frames."""

from __future__ import annotations

from dataclasses import replace

from hocket.chat.conversation import Conversation
from hocket.data.writers import Refer, Written, writers
from hocket.data.writers._rows import refused
from hocket.data.writers._turns import llava_row
from hocket.media.video import Video

# `video_id` stays in meta only beside a video under another key.
_OWN = ("video_path",)


@writers.register
def vila(conversation: Conversation, refer: Refer) -> Written:
    """Return a VILA row: turns and media, and ``fps`` where frames are not one a second.

    Raises:
        DataError: as `hocket.data.writers.llava`, or videos of several rates.
    """
    videos = [medium for medium in conversation.media() if isinstance(medium, Video)]
    rates = {video.picture_fps for video in videos if video.pictures and video.times is None}
    if len(rates) > 1:
        raise refused(
            conversation,
            "fps",
            f"differs between its videos ({', '.join(map(str, sorted(rates)))})",
            "Split the row.",
        )
    rate = next(iter(rates), 1.0)
    if rate == conversation.meta.get("fps", 1.0):
        return llava_row(conversation, refer, own=_OWN, fps=rate)
    row = llava_row(conversation, refer, own=_OWN, fps=rate, more={"fps": rate}).row
    return Written(row, replace(conversation, meta={**conversation.meta, "fps": rate}))
