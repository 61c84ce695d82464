"""What is kept from earlier requests: a table that forgets what was not used longest.

`Kept` bounds bytes. `PrefixCache` finds the longest beginning that a prompt shares with an earlier
one. Must not know models.

Letters: T tokens of a prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from hocket.infer.slots import Prefix

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Keys = npt.NDArray[np.int64]

MOST_PREFIXES = 128
LEAST_SHARED = 16
"""Tokens that a beginning must share to be worth a copy."""


class Kept(Generic[Key, Value]):
    """Values by key, as many as fit into `limit` bytes; those used last stay.

    Attributes:
        bytes: what the values take.
        hits: look-ups that found something.
        misses: look-ups that did not.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """Return a value and count it as used."""
        found = self._values.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of so many bytes, unless it is over the limit alone."""
        self.drop(key)
        if size > self.limit:
            return
        self._values[key] = value, size
        self.bytes += size
        while self.bytes > self.limit:
            self.drop(next(iter(self._values)))

    def drop(self, key: Key) -> None:
        """Forget a value, if it is there."""
        found = self._values.pop(key, None)
        if found is not None:
            self.bytes -= found[1]

    def names(self) -> list[Key]:
        """Return the keys, those used last at the end."""
        return list(self._values)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.bytes = 0


class PrefixCache:
    """Keys and values of earlier prompts.

    A prompt is known by one int64 per token (T,): the token id, or for a row of a medium what its
    content makes of it. Equal numbers from the start on mean equal keys and values.

    Args:
        limit: bytes of keys and values that are kept.
    """

    def __init__(self, limit: int) -> None:
        self.kept: Kept[bytes, tuple[Keys, Prefix]] = Kept(limit)

    def find(self, keys: Keys) -> tuple[int, Prefix | None]:
        """Return how many first tokens are known, all but one at most, and from where."""
        best, name = 0, b""
        for other in self.kept.names():
            count = shared(keys, np.frombuffer(other, np.int64))
            if count > best:
                best, name = count, other
        best = min(best, len(keys) - 1)
        if best < LEAST_SHARED:
            self.kept.misses += 1
            return 0, None
        found = self.kept.get(name)
        assert found is not None
        return best, found[1]

    def knows(self, keys: Keys) -> bool:
        """Say whether all tokens of a prompt are known."""
        whole = keys.tobytes()
        return any(other.startswith(whole) for other in self.kept.names())

    def put(self, keys: Keys, prefix: Prefix) -> None:
        """Keep a prompt, in the place of those that are beginnings of it."""
        whole = keys.tobytes()
        for other in self.kept.names():
            if whole.startswith(other):
                self.kept.drop(other)
        self.kept.put(whole, (keys, prefix), prefix.bytes + keys.nbytes)
        while len(self.kept) > MOST_PREFIXES:
            self.kept.drop(self.kept.names()[0])

    def clear(self) -> None:
        """Forget all prompts."""
        self.kept.clear()


def shared(one: Keys, other: Keys) -> int:
    """Return how many numbers two prompts have in common at their beginnings."""
    length = min(len(one), len(other))
    differ = one[:length] != other[:length]
    first = int(differ.argmax()) if length else 0
    return first if length and differ[first] else length
