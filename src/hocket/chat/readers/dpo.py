r"""Preferences: a question with a chosen and a rejected answer.

Rows::

    {"video": "a.mp4", "prompt": "<video>\nWhat happens?", "chosen": "...", "rejected": "..."}
    {"conversations": [{"from": "human", "value": "..."}],
     "chosen": {"from": "gpt", "value": "..."}, "rejected": {"from": "gpt", "value": "..."}}
    {"prompt": [{"role": "user", "content": "..."}],
     "chosen": [{"role": "assistant", "content": "..."}], "rejected": [...]}

The first is VILA's, the second LLaMA-Factory's, the third TRL's, whose lists may also repeat the
dialogue. Knows rows and paths; must not open a medium or know a tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hocket._errors import ReaderError
from hocket.chat.conversation import Conversation, Json, Role
from hocket.chat.readers import readers
from hocket.chat.readers._chat import chat_turns, with_system
from hocket.chat.readers._media import ALL_KEYS, all_references, located
from hocket.chat.readers._rows import (
    Row,
    answer_of,
    names_of,
    needed_key,
    open_row,
    rest,
    text_of,
)
from hocket.chat.readers._turns import Turn, check_order, conversation_of, extras

_QUESTIONS = ("prompt", "question", "conversations", "messages")
_CHOSEN, _REJECTED = "chosen", "rejected"
_OWN_KEYS = {"id", "system", _CHOSEN, _REJECTED, *ALL_KEYS}


class _Branch(NamedTuple):
    """What comes before an answer, as far as its key repeats it, and the answer."""

    before: list[Turn]
    answer: Turn


@readers.register
def dpo(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    """Return a preference as a conversation that ends with the chosen answer.

    The question is the first of ``prompt``, ``question``, ``conversations`` and ``messages`` that
    the row has, or what the list under ``chosen`` begins with. The text of the rejected answer is
    ``meta["rejected"]``. Placeholders and media are matched as
    in `llava`. Keys that are not named here go to ``meta``.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.

    Raises:
        ReaderError: the row has another shape, turns in another order, an empty answer, answers
            to different dialogues, or other numbers of placeholders and media.
        MediaError: a path that no file has.
    """
    sample = open_row(row, where, holds="'prompt', 'chosen' and 'rejected'")
    at = sample.at
    chosen = _branch(row, _CHOSEN, at)
    rejected = _branch(row, _REJECTED, at)
    key = next((one for one in _QUESTIONS if row.get(one) is not None), None)
    asked = _asked(row, key, at) if key else chosen.before
    if not asked:
        raise ReaderError(
            f"{at}: no question (found: {names_of(row)}), expected 'prompt' or turns before the "
            f"answer under 'chosen'. Add it."
        )
    for name, branch in ((_CHOSEN, chosen), (_REJECTED, rejected)):
        if branch.before and _said(branch.before) != _said(asked):
            raise ReaderError(
                f"{at}: '{name}' repeats another dialogue than '{key or _CHOSEN}', expected the "
                f"same turns before the answer. Correct the row."
            )
    turns = with_system([*asked, chosen.answer], row, at)
    check_order(turns, key or _CHOSEN, at)
    media = all_references(row, at)
    find = partial(located, root=root, at=at)
    meta = rest(row, {key, *_OWN_KEYS} if key else _OWN_KEYS)
    meta |= extras(key, asked) if key else {}
    meta |= extras(_CHOSEN, [*chosen.before, chosen.answer])
    meta |= extras("rejected_turns", [*rejected.before, rejected.answer])
    meta[_REJECTED] = rejected.answer.text
    return conversation_of(sample, where, turns, media, find, meta)


def _asked(row: Row, key: str, at: str) -> list[Turn]:
    value = row[key]
    if isinstance(value, list):
        return chat_turns(row, key, at)
    return [Turn(Role.USER, text_of(value, f"{at}: '{key}'"), f"{at}: '{key}'")]


def _branch(row: Row, key: str, at: str) -> _Branch:
    value = row[needed_key(row, (key,), at)]
    if isinstance(value, str) or not isinstance(value, list | dict):
        return _Branch(
            [], Turn(Role.ASSISTANT, answer_of(value, f"{at}: '{key}'"), f"{at}: '{key}'")
        )
    turns = chat_turns({key: value if isinstance(value, list) else [value]}, key, at)
    if turns[-1].role is not Role.ASSISTANT:
        raise ReaderError(
            f"{turns[-1].place}, expected the assistant to have the last word under '{key}'. "
            f"Add its answer."
        )
    return _Branch(turns[:-1], turns[-1])


def _said(turns: Sequence[Turn]) -> list[tuple[Role, str]]:
    return [(turn.role, turn.text) for turn in turns]
