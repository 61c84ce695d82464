r"""Rows as VILA 1.5 reads them: LLaVA's, and videos with turns, a question or captions.

Rows::

    {"images": [{"path": "a.png"}, "b.png"], "conversations": [...]}
    {"video": "a.mp4", "conversations": [...]}
    {"video_id": "a", "q": "Where is the bin?", "a": ["beside the door", "near the door"]}
    {"video_path": "a.mp4", "captions": [{"idx": "0", ...}, {"idx": "-1", "content": "..."}]}

A video stands under ``video``, ``video_path`` or ``video_id``, which lacks its ending; it is a
file, a folder of frames or a list of frames, ``fps`` of them a second. Knows rows and paths; must
not open a medium.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hocket._errors import ReaderError
from hocket.chat.conversation import Conversation, Json, Role
from hocket.chat.readers import readers
from hocket.chat.readers._media import ALL_KEYS, all_references
from hocket.chat.readers._rows import (
    Sample,
    answer_of,
    kind_of,
    needed_key,
    one_of_answers,
    open_row,
    rest,
    short,
    text_of,
)
from hocket.chat.readers._turns import (
    Grammar,
    Turn,
    check_order,
    conversation_of,
    extras,
    read_turns,
)
from hocket.chat.readers._videos import (
    find_videos,
    frames_rate,
    video_for_images,
    video_keys,
    video_references,
)

_GRAMMAR = Grammar(any_value=True)
_TURNS = _GRAMMAR.turns
_ELABORATE = "Elaborate on the visual and narrative elements of the video in detail."
_WHOLE = "-1"


@readers.register
def vila(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    r"""Return a row of VILA's format as a conversation.

    Placeholders and media are matched as in `llava`. In a row with videos and no pictures, a run
    of ``<image>`` stands for a video where no ``<video>`` does, as VILA writes its frames.

    Of several answers in ``a`` the row's id decides which is learned, so a row is always read
    alike; VILA draws one each epoch. The caption with ``idx`` -1 is that of the whole video and
    answers VILA's fixed question. All answers and captions stay in ``meta`` with all keys that are
    not named here. Numbers and true or false are taken as text where an answer is expected.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.

    Raises:
        ReaderError: the row has another shape, turns in another order, an empty answer, or other
            numbers of placeholders and media.
        MediaError: a path that no file has.
    """
    sample = open_row(
        row, where, holds="'conversations', 'q' or 'captions'", id_keys=("id", "question_id")
    )
    key = _shape(row, sample.at)
    if key == _TURNS:
        turns = read_turns(row, _GRAMMAR, sample.at)
        check_order(turns, _TURNS, sample.at)
    elif key == "q":
        turns = _question(row, sample)
    else:
        turns = _caption(row, sample.at)
    media = all_references(row, sample.at)
    media["video"] = video_references(row, sample.at)
    rate = frames_rate(row, sample.at)
    own = {"id", *ALL_KEYS, *video_keys(row), *_read_keys(row, key)}
    return conversation_of(
        sample,
        where,
        video_for_images(turns, media),
        media,
        lambda refs: find_videos(row, refs, root=root, at=sample.at, fps=rate),
        rest(row, own) | extras(_TURNS, turns),
    )


def _shape(row: Mapping[str, Json], at: str) -> str:
    for key in (_TURNS, "q", "captions"):
        if row.get(key) is not None:
            return key
    return needed_key(row, (_TURNS, "q", "captions"), at)


def _read_keys(row: Mapping[str, Json], key: str) -> set[str]:
    """Return the keys whose whole content is in the conversation; answers not drawn are not."""
    if key == _TURNS:
        return {_TURNS}
    if key != "q":
        return set()
    return {"q"} if isinstance(row.get("a"), list) else {"q", "a"}


def _question(row: Mapping[str, Json], sample: Sample) -> list[Turn]:
    at = sample.at
    question = text_of(row["q"], f"{at}: 'q'")
    answer = one_of_answers(_as_text(row[needed_key(row, ("a",), at)]), f"{at}: 'a'", sample.id)
    return [Turn(Role.USER, question, f"{at}: 'q'"), Turn(Role.ASSISTANT, answer, f"{at}: 'a'")]


def _as_text(value: Json) -> Json:
    """Return numbers and true or false as text, in a list too, and all else as it is."""
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return str(value) if isinstance(value, int | float) else value


def _caption(row: Mapping[str, Json], at: str) -> list[Turn]:
    captions = row["captions"]
    last = captions[-1] if isinstance(captions, list) and captions else captions
    if not isinstance(last, dict) or str(last.get("idx")) != _WHOLE:
        raise ReaderError(
            f"{at}: 'captions' is {kind_of(captions)} that ends with {short(last)}, expected "
            f'{{"idx": "-1", "content": ...}}, the caption of the whole video, at its end. Add it.'
        )
    answer = answer_of(last.get("content"), f"{at}: captions[-1].content")
    return [
        Turn(Role.USER, _ELABORATE, f"{at}: 'captions'"),
        Turn(Role.ASSISTANT, answer, f"{at}: captions[-1].content"),
    ]
