r"""Pairs of a medium and the text that describes it, for aligning a connector.

Rows::

    {"image": "a.png", "caption": "a red chair"}
    {"audio": "a.wav", "text": "open the door", "prompt": "What is said?"}
    {"video": "a.mp4", "caption": ["a car turns left", "a car at a crossing"]}

Knows rows and paths; must not open a medium or know a tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hocket._errors import ReaderError
from hocket.chat.conversation import Conversation, Json, Role
from hocket.chat.readers import readers
from hocket.chat.readers._media import ALL_KEYS, all_references, located
from hocket.chat.readers._rows import names_of, needed_key, one_of_answers, open_row, rest, text_of
from hocket.chat.readers._turns import PLACE, Turn, conversation_of

_CAPTIONS = ("caption", "captions", "text")


@readers.register
def caption(row: Mapping[str, Json], *, root: Path, where: str, prompt: str = "") -> Conversation:
    r"""Return a captioned medium as a question and its answer.

    Without a prompt the question holds the media only, as the template ``plain`` writes it. A
    prompt without placeholders follows the media, each with a newline behind it: ``<image>\n``.
    Of several captions the row's id decides which is learned; all of them stay in ``meta`` with
    the keys that are not named here.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.
        prompt: the question of rows that have no ``prompt`` of their own.

    Raises:
        ReaderError: the row has another shape, no medium, no caption, or a prompt with other
            numbers of placeholders.
        MediaError: a path that no file has.
    """
    sample = open_row(row, where, holds="a medium and 'caption'")
    at = sample.at
    key = needed_key(row, _CAPTIONS, at)
    answer = one_of_answers(row[key], f"{at}: '{key}'", sample.id)
    question = row.get("prompt")
    asked = prompt if question is None else text_of(question, f"{at}: 'prompt'")
    media = all_references(row, at)
    if not any(media.values()):
        raise ReaderError(
            f"{at}: no 'image', 'audio' or 'video' (found: {names_of(row)}), expected one. "
            f"Add it or choose the reader 'text'."
        )
    # Written here, since what the caption says about "<image>" is text.
    held, gap = PLACE.findall(asked), "\n" if asked else ""
    missing = [(f"<{kind}>{gap}", media[kind]) for kind in media if kind not in held]
    asked = "".join(place * len(found) for place, found in missing) + asked
    turns = [
        Turn(Role.USER, asked, f"{at}: 'prompt'"),
        Turn(Role.ASSISTANT, answer, f"{at}: '{key}'"),
    ]
    own = {"id", "prompt", *ALL_KEYS}
    if not isinstance(row[key], list):
        own.add(key)
    find = partial(located, root=root, at=at)
    return conversation_of(sample, where, turns, media, find, rest(row, own))
