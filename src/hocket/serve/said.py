"""An answer taken apart as it arrives: thought, text and calls of tools.

Whole answers and streams go through the same code, so that both say the same. Knows texts; must not
know tokens or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass

from hocket.infer.thinking import THINK, THINK_END
from hocket.infer.tools import ToolCall, ToolStream


@dataclass(frozen=True, slots=True)
class Said:
    """What a piece of an answer adds.

    Attributes:
        thought: to the thought, without its tags.
        text: to the answer.
        calls: whole calls of tools.
    """

    thought: str = ""
    text: str = ""
    calls: tuple[ToolCall, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.thought or self.text or self.calls)


class Voice:
    """Takes one answer apart.

    Args:
        tools: whether tools were offered, so that calls are looked for.
        thinks: whether the answer begins inside a thought.
        one_call: whether calls behind the first are left out.
    """

    def __init__(
        self, *, tools: bool = False, thinks: bool = False, one_call: bool = False
    ) -> None:
        self.called = 0
        self._tools = ToolStream() if tools else None
        self._one_call = one_call
        self._thinking = thinks
        self._opened = False  # whether the answer's own opening tag, if any, is behind
        self._settled = False  # whether the answer itself has begun
        self._fresh = True  # whether nothing but spaces has come since a tag
        self._held = ""

    def feed(self, piece: str) -> Said:
        """Return what a piece adds, as far as it is certain."""
        thought, text = self._split(piece)
        return self._calls(thought, text)

    def end(self) -> Said:
        """Return what was held back."""
        held, self._held = self._held, ""
        made = self._calls(*((held, "") if self._thinking else ("", held)))
        if self._tools is None:
            return made
        rest, calls = self._tools.end()
        return Said(made.thought, made.text + rest, (*made.calls, *self._counted(calls)))

    def _calls(self, thought: str, text: str) -> Said:
        if self._tools is None:
            return Said(thought, text)
        said, calls = self._tools.feed(text)
        # The line ends between and behind calls are no text.
        said = said if said.strip() or not (self.called or calls) else ""
        return Said(thought, said, self._counted(calls))

    def _counted(self, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
        kept = calls[: max(1 - self.called, 0)] if self._one_call else calls
        self.called += len(kept)
        return kept

    def _split(self, piece: str) -> tuple[str, str]:
        """Return what belongs to the thought, and what to the answer."""
        if self._settled:
            return "", self._fresh_text(piece)
        self._held += piece
        thought = ""
        if not self._opened:
            begun = self._held.lstrip()
            if THINK.startswith(begun[: len(THINK)]) and len(begun) < len(THINK):
                return "", ""
            self._opened = True
            if begun.startswith(THINK):
                self._thinking = True
                self._held = begun[len(THINK) :]
            elif not self._thinking:
                self._settled, self._fresh = True, False
                held, self._held = self._held, ""
                return "", held
        before, tag, behind = self._held.partition(THINK_END)
        if not tag:
            keep = len(before) - _begun(before, THINK_END)
            thought, self._held = before[:keep], before[keep:]
            return self._fresh_text(thought), ""
        thought = self._fresh_text(before)
        self._settled, self._thinking, self._held, self._fresh = True, False, "", True
        return thought, self._fresh_text(behind)

    def _fresh_text(self, text: str) -> str:
        """Leave out spaces right behind a tag."""
        if not self._fresh:
            return text
        text = text.lstrip()
        self._fresh = not text
        return text


def whole(text: str, voice: Voice) -> Said:
    """Return a whole answer taken apart; text around calls has no spaces at its ends."""
    first, rest = voice.feed(text), voice.end()
    calls = (*first.calls, *rest.calls)
    said = first.text + rest.text
    thought = (first.thought + rest.thought).strip()
    return Said(thought, said.strip() if calls else said, calls)


def _begun(text: str, tag: str) -> int:
    """Return how many characters at the end of the text may be the beginning of the tag."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
