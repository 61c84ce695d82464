r"""Rows of text: plain, a prompt and its response, or Alpaca's instruction, input and output.

Rows::

    {"text": "Once upon a time ..."}
    {"prompt": "2 + 3?", "response": "5", "system": "Be brief."}
    {"instruction": "Translate.", "input": "gato", "output": "cat",
     "history": [["Translate. perro", "dog"]]}

Knows rows; must not know a tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hocket._errors import ReaderError
from hocket.chat.conversation import Conversation, Json, Message, Role, Text
from hocket.chat.readers import readers
from hocket.chat.readers._chat import with_system
from hocket.chat.readers._media import ALL_KEYS, all_references, located
from hocket.chat.readers._rows import (
    Sample,
    answer_of,
    kind_of,
    needed_key,
    one_key,
    open_row,
    rest,
    text_of,
)
from hocket.chat.readers._turns import Turn, conversation_of

_QUESTIONS = ("prompt", "instruction", "query", "question")
_ANSWERS = ("response", "output", "completion", "answer")
_OWN_KEYS = {"id", "input", "history", "system", *ALL_KEYS}


@readers.register
def text(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    r"""Return a row of text as a conversation.

    Plain ``text`` is all learned: the answer to a question that is empty. ``input`` follows its
    instruction after a newline. ``history`` holds earlier pairs. A row with a question may name
    media too, which are matched as in `llava`. Keys that are not named here go to ``meta``.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.

    Raises:
        ReaderError: the row has another shape, an empty answer, plain text with media, or other
            numbers of placeholders and media.
        MediaError: a path that no file has.
    """
    sample = open_row(row, where, holds="'text' or 'prompt' and 'response'")
    at = sample.at
    media = all_references(row, at)
    key = one_key(row, _QUESTIONS, at)
    if key is None:
        return _plain(row, sample, where, has_media=any(media.values()))
    answer = needed_key(row, _ANSWERS, at)
    question = text_of(row[key], f"{at}: '{key}'")
    if row.get("input") not in (None, ""):
        question += "\n" + text_of(row["input"], f"{at}: 'input'")
    turns = [
        *_history(row.get("history"), at),
        Turn(Role.USER, question, f"{at}: '{key}'"),
        Turn(Role.ASSISTANT, answer_of(row[answer], f"{at}: '{answer}'"), f"{at}: '{answer}'"),
    ]
    meta = rest(row, {key, answer, *_OWN_KEYS})
    find = partial(located, root=root, at=at)
    return conversation_of(sample, where, with_system(turns, row, at), media, find, meta)


def _plain(row: Mapping[str, Json], sample: Sample, where: str, *, has_media: bool) -> Conversation:
    at = sample.at
    found = needed_key(row, ("text", *_QUESTIONS), at)
    if has_media:
        raise ReaderError(
            f"{at}: 'text' beside a medium, expected text alone. Choose the reader 'caption'."
        )
    learned = Message(Role.ASSISTANT, (Text(answer_of(row[found], f"{at}: '{found}'")),))
    return Conversation(
        id=sample.id,
        messages=(Message(Role.USER, ()), learned),
        meta=rest(row, {"id", found}),
        source=where,
    )


def _history(value: Json, at: str) -> list[Turn]:
    if value is None:
        return []
    place = f"{at}: 'history'"
    if not isinstance(value, list):
        raise ReaderError(
            f"{place} is {kind_of(value)}, expected a list of pairs of question and answer. "
            f"Correct it."
        )
    turns = []
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ReaderError(
                f"{place}[{index}] is {kind_of(pair)}, expected a question and its answer in [ ]. "
                f"Correct it."
            )
        asked, answered = f"{place}[{index}][0]", f"{place}[{index}][1]"
        turns.append(Turn(Role.USER, text_of(pair[0], asked), asked))
        turns.append(Turn(Role.ASSISTANT, answer_of(pair[1], answered), answered))
    return turns
