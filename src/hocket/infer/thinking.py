"""A limit for thinking aloud: Ovis 2.5's thinking budget.

A model that has neither stopped thinking nor ended its answer after so many tokens is made to say
that its time is over and to close its thought; its answer follows.
"""

from __future__ import annotations

from collections.abc import Collection

from transformers import PreTrainedTokenizerBase

THINK = "<think>"
THINK_END = "</think>"
# What Ovis 2.5 writes for the model, which saw it in training.
HURRY = (
    "\n\nConsidering the limited time by the user, I have to give the solution based on the "
    f"thinking directly now.\n{THINK_END}\n\n"
)


class ThinkingBudget:
    """Watches the tokens of one answer and ends a thought that is too long.

    Args:
        tokenizer: the model's tokenizer.
        limit: tokens that a thought may have.
        ends: tokens that end an answer.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, limit: int, ends: Collection[int]
    ) -> None:
        self._tokenizer = tokenizer
        self._limit = limit
        self._ends = set(ends)
        self._hurry: list[int] = tokenizer(HURRY, add_special_tokens=False)["input_ids"]
        self._said: list[int] = []
        self._cut = False

    @property
    def forces(self) -> bool:
        """Whether the next token is forced."""
        return self._cut and 0 <= len(self._said) - self._limit < len(self._hurry)

    def apply(self, token: int) -> int:
        """Return the next token: the chosen one, or the forced one."""
        late = len(self._said) - self._limit
        if late == 0:
            self._cut = self._still_thinks()
        if self.forces:
            token = self._hurry[late]
        self._said.append(token)
        return token

    def _still_thinks(self) -> bool:
        """Say whether the tokens neither end an answer nor close a thought."""
        if self._ends.intersection(self._said):
            return False
        return THINK_END not in self._tokenizer.decode(self._said, skip_special_tokens=False)


def in_thought(text: str) -> bool:
    """Say whether a text ends inside of a thought."""
    return text.rfind(THINK) > text.rfind(THINK_END)


def split_thought(text: str) -> tuple[str, str]:
    """Return the thought, with its tags, and the answer behind it; no thought without its end."""
    thought, tag, rest = text.partition(THINK_END)
    return ((thought + tag).strip(), rest.strip()) if tag else ("", text.strip())
