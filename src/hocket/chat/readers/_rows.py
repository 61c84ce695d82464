"""What every reader needs to look into a row and to say what is wrong with it.

Knows JSON values and messages; must not know turns, media or files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from hocket._errors import EmptyAnswerError, ReaderError
from hocket.chat.conversation import Json

Row = Mapping[str, Json]

_MAX_SHOWN = 40


class Sample(NamedTuple):
    """The name of a row and what error messages call it.

    Attributes:
        id: the row's own id, or its number.
        at: data set, file, row number and id.
    """

    id: str
    at: str


def open_row(row: Row, where: str, *, holds: str, id_keys: Sequence[str] = ("id",)) -> Sample:
    """Return the name of a row, having checked that it is an object.

    Args:
        row: what stands in the data file.
        where: data set, file and row number.
        holds: keys that a row of this format has, as messages write them.
        id_keys: the first of these that the row has names it; without one the row number does.

    Raises:
        ReaderError: the row is no object, or its id is neither text nor a whole number.
    """
    check_object(row, where, holds)
    for key in id_keys:
        value = row.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise ReaderError(
                f"{where}: {key!r} is {kind_of(value)} ({short(value)}), expected text or a whole "
                f"number. Correct it or leave it out."
            )
        check_characters(str(value), f"{where}: {key!r}")
        return Sample(str(value), f"{where} (id {short(str(value))})")
    numbers = re.findall(r"\brow (\d+)", where)
    return Sample(numbers[-1] if numbers else where, where)


def check_object(row: object, where: str, holds: str) -> None:
    """Check that a row is an object, which a file of another kind may not hold.

    Raises:
        ReaderError: it is something else.
    """
    if not isinstance(row, Mapping):
        raise ReaderError(
            f"{where}: the row is {kind_of(row)}, expected an object with {holds}. "
            f"Check that the file is a list of objects."
        )


def text_of(value: Json, at: str) -> str:
    """Return a value that must be text; ``at`` names the row and the key.

    Raises:
        ReaderError: it is no text, or holds half a character.
    """
    if not isinstance(value, str):
        raise ReaderError(
            f"{at} is {kind_of(value)} ({short(value)}), expected text. Put it in quotes."
        )
    check_characters(value, at)
    return value


def answer_of(value: Json, at: str) -> str:
    """Return a value that must be text with something in it; ``at`` names the row and the key.

    Raises:
        ReaderError: it is no text, or empty.
    """
    text = text_of(value, at)
    if not text.strip():
        raise EmptyAnswerError(f"{at} is empty, expected an answer. Fill it in or remove the row.")
    return text


def one_of_answers(value: Json, at: str, sample: str) -> str:
    """Return an answer, or one of a list of them: the same one whenever the row is read.

    VILA draws one at random for each epoch (ScanQA); a sample here is a function of its row.

    Args:
        value: text, or a list of texts that all answer.
        at: names the row and the key.
        sample: id of the row, which decides.

    Raises:
        ReaderError: neither text nor a list of texts, or empty.
    """
    if not isinstance(value, list):
        return answer_of(value, at)
    if not value:
        raise ReaderError(f"{at} is an empty list, expected an answer. Fill it in or remove it.")
    answers = [answer_of(one, f"{at}[{index}]") for index, one in enumerate(value)]
    digest = hashlib.blake2b(sample.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return answers[int.from_bytes(digest, "big") % len(answers)]


def one_key(row: Row, keys: Sequence[str], at: str) -> str | None:
    """Return which of several spellings of a key the row has, or None; null counts as absent.

    Raises:
        ReaderError: the row has two of them.
    """
    found = [key for key in keys if row.get(key) is not None]
    if len(found) > 1:
        raise ReaderError(
            f"{at}: both {found[0]!r} and {found[1]!r} are given, expected one of them. "
            f"Remove the other."
        )
    return found[0] if found else None


def needed_key(row: Row, keys: Sequence[str], at: str) -> str:
    """Return which of several spellings of a key the row has.

    Raises:
        ReaderError: the row has none of them, or two.
    """
    key = one_key(row, keys, at)
    if key is None:
        expected = " or ".join(repr(one) for one in keys)
        raise ReaderError(
            f"{at}: no key {expected} (found: {names_of(row)}). "
            f"Rename the key or choose another reader."
        )
    return key


def rest(row: Row, own: Collection[str]) -> dict[str, Json]:
    """Return what the reader has no place for, which goes to ``meta``."""
    return {key: value for key, value in row.items() if key not in own}


def check_characters(value: str, at: str) -> None:
    """Check that a text can be written as UTF-8.

    Raises:
        ReaderError: it holds half of a surrogate pair.
    """
    if value.isascii():
        return
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ReaderError(
            f"{at} holds half a character, {value[error.start]!a}, at position {error.start}; "
            f"expected valid Unicode. Write the character whole."
        ) from error


def counted(number: int, noun: str) -> str:
    """Return ``1 image`` or ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def names_of(row: Row) -> str:
    """Return the first keys of an object as messages show them."""
    return ", ".join(short(key) for key in list(row)[:6]) or "nothing"


def short(value: object) -> str:
    """Return a value as messages show it."""
    shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[: _MAX_SHOWN - 3]}..."


def kind_of(value: object) -> str:
    """Return what JSON calls a value: an object, a list, text, null, a number."""
    kinds: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "text",
        bytes: "bytes",
        type(None): "null",
    }
    if isinstance(value, bool):
        return "true or false"
    return kinds.get(type(value), "a number")
