"""Answers of the process that decodes, written so that reading them runs nothing.

That process reads files from strangers, and may be theirs after one: what it sends must not be able
to do more in this process than to be wrong. So an answer is JSON that refers to bytes beside it,
and becomes numbers, texts, tuples, arrays of numbers and the few kinds that are named here. Knows
what media answer; must not know how it travels.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hocket.media.audio import Audio
from hocket.media.examine import Examined
from hocket.media.video import VideoInfo
from hocket.media.where import Where

_KINDS: dict[str, type] = {kind.__name__: kind for kind in (Audio, Examined, VideoInfo, Where)}
# Letters of numpy for numbers of the machine's own byte order.
_NUMBERS = frozenset("?bBhHiIlLqQefd")


class BadAnswerError(ValueError):
    """Not an answer that this file has written."""


def pack(value: object) -> tuple[bytes, list[memoryview]]:
    """Return what `unpack` makes a value of: a text, and the bytes of arrays beside it.

    A named tuple that is not of a kind named here becomes a plain one, and the text of an
    enumeration its text.

    Raises:
        TypeError: the value holds something that no answer may.
    """
    parts: list[memoryview] = []
    return json.dumps(_tree(value, parts)).encode(), parts


def unpack(text: bytes | bytearray, parts: Sequence[bytearray]) -> Any:
    """Return a value; its arrays use the memory of the parts.

    Raises:
        BadAnswerError: it was written by something else than `pack`.
    """
    try:
        return _value(json.loads(text), parts)
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise BadAnswerError(f"{type(error).__name__} at {bytes(text[:80])!r}") from error


def _tree(value: object, parts: list[memoryview]) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.char not in _NUMBERS:
            raise TypeError(f"an array of {value.dtype} is no answer of a decoder")
        own = value
        if not (value.flags.c_contiguous and value.dtype.isnative):
            own = np.require(value, value.dtype.newbyteorder("="), "C")
        parts.append(own.data.cast("B") if own.size else memoryview(b""))
        return {"array": [own.dtype.char, own.shape, len(parts) - 1]}
    if isinstance(value, bytes | bytearray):
        parts.append(memoryview(value))
        return {"bytes": len(parts) - 1}
    if isinstance(value, Path):
        return {"path": str(value)}
    kind = type(value)
    if _KINDS.get(kind.__name__) is kind:
        return {kind.__name__: [_tree(one, parts) for one in _fields(value)]}
    if isinstance(value, tuple):
        return [_tree(one, parts) for one in value]
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} is no answer of a decoder")


def _fields(value: Any) -> list[object]:
    """Return what makes a value of a kind again, in the order that it takes it."""
    if isinstance(value, tuple):
        return list(value)
    return [
        vars(type(value))[one.name].__get__(value) for one in dataclasses.fields(value) if one.init
    ]


def _value(tree: Any, parts: Sequence[bytearray]) -> Any:
    if isinstance(tree, list):
        return tuple(_value(one, parts) for one in tree)
    if not isinstance(tree, dict):
        return tree
    ((key, given),) = tree.items()
    if key == "array":
        letter, shape, number = given
        if letter not in _NUMBERS:
            raise BadAnswerError("an array of no numbers")
        return np.ndarray(shape, letter, buffer=parts[number])
    if key == "bytes":
        return bytes(parts[given])
    if key == "path":
        return Path(given)
    return _KINDS[key](*(_value(one, parts) for one in given))
