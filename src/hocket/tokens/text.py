"""A conversation as token ids and a mask of what is learned.

One Jinja template writes the text for training and for inference; its ``{% generation %}`` blocks
say which characters are learned, so labels are read off the rendering and never searched for.

Control tokens come from the template only. Where somebody's text happens to spell one, such as
``<image>`` or ``<|im_end|>``, the text is cut behind its first character before tokenising: no
piece then holds the whole token, the text survives unchanged, and everything else is tokenised
exactly as in one call.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Conversation
from hocket.chat.template import to_messages

# Private-use characters: the first one that no text of the conversation holds marks the cuts.
_MARKS = [chr(code) for code in range(0xE000, 0xE010)]


class Tokens(NamedTuple):
    """Token ids of a conversation before placeholders expand, and which of them are learned."""

    ids: list[int]
    learned: list[bool]


class TextEncoder:
    """Renders conversations with one template and tokenises them with one tokenizer.

    Args:
        tokenizer: a fast tokenizer; character offsets are needed.
        template: Jinja source of the chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, template: str) -> None:
        self.tokenizer = tokenizer
        self.template = template
        added = tokenizer.added_tokens_decoder.values()
        self._control = _any_of(token.content for token in added if token.special)
        self._every = _any_of(token.content for token in added)

    def encode(self, conversation: Conversation, *, for_answer: bool = False) -> Tokens:
        """Return ids and learned mask; `for_answer` opens the assistant's next turn.

        Raises:
            DataError: the template refuses the conversation.
        """
        messages = to_messages(conversation)
        mark = _free_mark(messages, conversation.source)
        text, learned = self._render(
            [self._guard(message, mark) for message in messages], conversation, for_answer
        )
        ids: list[int] = []
        mask: list[bool] = []
        starts = [start for start, _ in learned]
        base = 0
        for piece in text.split(mark):
            encoded = self.tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
            ids.extend(encoded["input_ids"])
            for start, stop in encoded["offset_mapping"]:
                mask.append(_inside(learned, starts, base + start, base + stop))
            base += len(piece) + len(mark)
        return Tokens(ids, mask)

    def _guard(self, message: dict[str, Any], mark: str) -> dict[str, Any]:
        """Cut every control token that somebody's text spells out."""
        # The assistant may use added tokens that are part of the language, such as <think>.
        pattern = self._control if message["role"] == "assistant" else self._every
        parts = [
            part | {"text": pattern.sub(lambda hit: hit[0][0] + mark + hit[0][1:], part["text"])}
            if part["type"] == "text"
            else part
            for part in message["content"]
        ]
        return message | {"content": parts}

    def _render(
        self, messages: list[dict[str, Any]], conversation: Conversation, for_answer: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        try:
            texts, spans = render_jinja_template(
                conversations=[messages],
                tools=list(conversation.tools) or None,
                chat_template=self.template,
                return_assistant_tokens_mask=True,
                add_generation_prompt=for_answer,
                **self.tokenizer.special_tokens_map,
            )
        except ValueError as error:
            raise DataError(
                f"{conversation.source}: the chat template refuses it: {error}"
            ) from error
        return texts[0], sorted(spans[0])


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Match any of the tokens, longest first; single characters cannot be cut and are left out."""
    longest = sorted((token for token in tokens if len(token) > 1), key=len, reverse=True)
    return re.compile("|".join(re.escape(token) for token in longest) or r"(?!)")


def _free_mark(messages: Iterable[Mapping[str, Any]], source: str) -> str:
    text = "".join(
        part["text"]
        for message in messages
        for part in message["content"]
        if part["type"] == "text"
    )
    for mark in _MARKS:
        if mark not in text:
            return mark
    raise ConfigError(
        f"{source}: the text uses all private-use characters U+E000 to U+E00F. Remove one of them."
    )


def _inside(spans: list[tuple[int, int]], starts: list[int], start: int, stop: int) -> bool:
    """Whether the characters start..stop lie in one of the sorted spans."""
    at = bisect.bisect_right(starts, start) - 1
    return at >= 0 and stop <= spans[at][1] and start < spans[at][1]
