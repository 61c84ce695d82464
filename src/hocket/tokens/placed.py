"""Tokens of a text, and which characters each stands for.

A tokenizer knows the characters of its tokens, and here it is asked for the few that somebody looks
at. A list of all of them takes Python a tenth of the time of the tokenizer to make, and as long
again to collect, since each is an object of its own.

Knows tokens and characters; must not know tokenizers, templates or conversations.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Piece(NamedTuple):
    """A stretch of a text that was tokenised by itself; its tokens begin in its order.

    Attributes:
        base: its first character in the text.
        ids: its tokens.
        characters: the first character of a token and the one behind its last, both counted from
            `base`, by the number of the token; None only where there is no such token.
    """

    base: int
    ids: list[int]
    characters: Callable[[int], tuple[int, int] | None]

    def before(self, character: int) -> int:
        """Return how many of its tokens begin before a character of the text."""
        tokens = range(len(self.ids))
        return bisect.bisect_left(tokens, character - self.base, key=self._start)

    def stop(self, token: int) -> int:
        """Return the character of the text behind a token."""
        found = self.characters(token)
        assert found is not None
        return self.base + found[1]

    def crossed(self, borders: Iterable[int]) -> int | None:
        """Return the first of the sorted borders, characters of the text, inside of a token."""
        for border in borders:
            # The last token that begins before a border is the one that may reach over it.
            token = self.before(border) - 1
            if token >= 0 and self.stop(token) > border:
                return border
        return None

    def _start(self, token: int) -> int:
        found = self.characters(token)
        assert found is not None
        return found[0]


class PlacedTokens:
    """The tokens of a text, piece by piece."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._pieces: list[Piece] = []
        self._firsts: list[int] = []

    def add(self, piece: Piece) -> None:
        """Put the next piece behind those that are there."""
        self._pieces.append(piece)
        self._firsts.append(len(self.ids))
        self.ids += piece.ids

    def inside(self, start: int, stop: int) -> slice:
        """Return the tokens whose characters all lie in a stretch of the text."""
        first, last = self._before(start), self._before(stop)
        while last > first and self._stop(last - 1) > stop:
            last -= 1
        return slice(first, last)

    def _before(self, character: int) -> int:
        """Return how many tokens begin before a character."""
        at = bisect.bisect_left(self._pieces, character, key=lambda piece: piece.base) - 1
        return self._firsts[at] + self._pieces[at].before(character) if at >= 0 else 0

    def _stop(self, token: int) -> int:
        at = bisect.bisect_right(self._firsts, token) - 1
        return self._pieces[at].stop(token - self._firsts[at])
