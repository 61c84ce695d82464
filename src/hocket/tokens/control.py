"""Where text must be cut so that it cannot spell a control token.

Knows texts and the tokens' names; must not know conversations, templates or tokenizers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any


class ControlCutter:
    """Finds where text must be cut so that no token of a set can form.

    Args:
        tokens: the tokens. White space is text, and a single character cannot be cut.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        whole = sorted(token for token in tokens if len(token) > 1 and token.strip())
        self._first = {token[0] for token in whole}
        first = "".join(sorted(re.escape(one) for one in self._first))
        names = "|".join(re.escape(token) for token in whole)
        # Empty matches before each token, so that overlapping ones are all found.
        self._whole = re.compile(f"(?=[{first}])(?={names})" if whole else r"(?!)")
        heads = {token[:size] for token in whole for size in range(1, len(token))}
        tails = {token[size:] for token in whole for size in range(1, len(token))}
        self._heads, self._tails = tuple(heads), tuple(tails)
        self._longest = max((len(token) for token in whole), default=0)

    def mark(self, texts: Sequence[str], mark: str) -> list[str]:
        """Return neighbouring texts with a mark at each cut."""
        joined = "".join(texts)
        stop = len(joined.rstrip())
        start = len(joined) - len(joined.lstrip())
        cuts: set[int] = set()
        # Most texts hold no character that a token begins with, which is much sooner known.
        if any(character in joined for character in self._first):
            cuts = {hit.start() + 1 for hit in self._whole.finditer(joined)}
        # The template may complete a token that a text begins or ends, also after trimming it.
        if joined.endswith(self._heads, 0, stop):
            sizes = range(1, min(self._longest, stop + 1))
            cuts |= {stop - size + 1 for size in sizes if joined[stop - size : stop] in self._heads}
        if joined.startswith(self._tails, start):
            cuts.add(start)
        if not cuts:
            return list(texts)
        edges = [0]
        for text in texts:
            edges.append(edges[-1] + len(text))
        marked = []
        for number, (start, stop) in enumerate(pairwise(edges)):
            last = number == len(texts) - 1
            inner = sorted(cut for cut in cuts if start <= cut < stop or (last and cut == stop))
            marked.append(mark.join(joined[a:b] for a, b in pairwise([start, *inner, stop])))
        return marked

    def mark_values(self, value: Any, mark: str) -> Any:
        """Return JSON with every key and string marked."""
        if isinstance(value, str):
            return self.mark([value], mark)[0]
        if isinstance(value, Mapping):
            return {
                self.mark_values(key, mark): self.mark_values(one, mark)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.mark_values(one, mark) for one in value]
        return value
