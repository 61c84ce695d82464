"""Token ids become text while they arrive: whole characters, cut at stop texts.

Joined, the pieces are the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from transformers import PreTrainedTokenizerFast

_BROKEN = "\ufffd"
# A character has four bytes at most, and each token at least one; what is longer is no character.
_LONGEST_BROKEN_TOKENS = 64
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TextStream:
    """The text of one answer.

    Args:
        tokenizer: the model's tokenizer.
        stops: texts that end the answer and are not part of it.

    Attributes:
        text: what is settled so far: no later token takes it back.
        stopped: whether a stop text came.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stops: Sequence[str] = ()) -> None:
        self.text = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        # Decoders look at neighbours, so the tokens before the new ones are decoded with them.
        self._before: list[int] = []
        self._new: list[int] = []
        self._given = 0  # characters of the window that were taken already
        self._base = 0  # characters of the window that belong to the tokens before
        self._held = ""  # may be the beginning of a stop text

    def add(self, token: int) -> str:
        """Take a token and return what became settled, perhaps nothing."""
        self._new.append(token)
        window = decode(self._tokenizer, self._before + self._new)
        broken = window.endswith(_BROKEN) and len(self._new) < _LONGEST_BROKEN_TOKENS
        whole = window.rstrip(_BROKEN) if broken else window
        fresh = whole[self._base + self._given :]
        if broken:
            self._given = max(self._given, len(whole) - self._base)
        else:
            self._before, self._new, self._given = self._new, [], 0
            self._base = len(decode(self._tokenizer, self._before))
        return self._settle(fresh)

    def end(self) -> str:
        """Return the rest when no more tokens come."""
        if self.stopped:
            return ""
        window = decode(self._tokenizer, self._before + self._new)
        rest = self._settle(window[self._base + self._given :])
        if not self.stopped:
            rest += self._held
            self.text += self._held
        self._held, self._new = "", []
        return rest

    def _settle(self, fresh: str) -> str:
        waiting = self._held + fresh
        cuts = [at for stop in self._stops if (at := waiting.find(stop)) >= 0]
        if cuts:
            self.stopped = True
            said, self._held = waiting[: min(cuts)], ""
        else:
            keep = len(waiting) - _begun(waiting, self._stops)
            said, self._held = waiting[:keep], waiting[keep:]
        self.text += said
        return said


def decode(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> str:
    """Return the text of token ids, control tokens included."""
    if tokenizer.clean_up_tokenization_spaces:
        return str(tokenizer.decode(ids, skip_special_tokens=False))
    # The same without the checks that transformers makes for every call.
    return str(tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False))


def token_bytes(tokenizer: PreTrainedTokenizerFast, token: int) -> bytes:
    """Return the UTF-8 bytes that a token adds to a text, which may be a part of a character."""
    text = decode(tokenizer, [token])
    if _BROKEN not in text:
        return text.encode()
    written = str(tokenizer.convert_ids_to_tokens(token))
    if byte := _BYTE.fullmatch(written):
        return bytes([int(byte[1], 16)])
    letters = _byte_letters()
    if all(letter in letters for letter in written):
        return bytes(letters[letter] for letter in written)
    return text.encode()


@cache
def _byte_letters() -> dict[str, int]:
    """Return the byte behind each letter that byte-level BPE writes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }


def _begun(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end may be the beginning of a stop text."""
    held = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), held, -1):
            if text.endswith(stop[:length]):
                held = length
                break
    return held
