"""A conversation as token ids and a mask of what is learned.

One Jinja template writes the text for training and for inference; its ``{% generation %}`` blocks
say which characters are learned, so labels are read off the rendering and never searched for.

Control tokens come from the template only. Where somebody's text happens to spell one, such as
``<image>`` or ``<|im_end|>``, the text is cut behind its first character before tokenising: no
piece then holds the whole token, the text survives unchanged, and everything else is tokenised
exactly as in one call. The same holds where a text starts or ends inside a token, so that neither
the template nor the next part can complete it.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jinja2
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


class _Placed(NamedTuple):
    """A token id and the characters of the rendering that it stands for."""

    token: int
    start: int
    stop: int


class TextEncoder:
    """Renders conversations with one template and tokenises them with one tokenizer.

    Args:
        tokenizer: a fast tokenizer; character offsets are needed.
        template: Jinja source of the chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, template: str) -> None:
        self.tokenizer = tokenizer
        self.template = template
        added = list(tokenizer.added_tokens_decoder.values())
        self._control = _Cutter(token.content for token in added if token.special)
        self._every = _Cutter(token.content for token in added)

    def encode(self, conversation: Conversation, *, for_answer: bool = False) -> Tokens:
        """Return ids and learned mask; `for_answer` opens the assistant's next turn.

        Raises:
            DataError: the template refuses the conversation.
        """
        messages = to_messages(conversation)
        tools = list(conversation.tools)
        mark = _free_mark(messages, tools, conversation.source)
        text, learned = self._render(
            [self._guard(message, mark) for message in messages],
            self._every.mark_values(tools, mark),
            conversation.source,
            for_answer,
        )
        ids: list[int] = []
        mask: list[bool] = []
        starts = [start for start, _ in learned]
        base = 0
        for piece in text.split(mark):
            for token, start, stop in self._tokenise(piece, base, starts):
                ids.append(token)
                mask.append(_inside(learned, starts, start, stop))
            base += len(piece) + len(mark)
        return Tokens(ids, mask)

    def _tokenise(self, piece: str, base: int, starts: Sequence[int]) -> list[_Placed]:
        """Tokenise a piece of the rendering that starts at character `base`.

        A prompt ends where the learned text starts, so no token may reach over that border.
        """
        encoded = self.tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
        for start, stop in encoded["offset_mapping"]:
            at = bisect.bisect_right(starts, base + start)
            if at < len(starts) and starts[at] < base + stop:
                cut = starts[at] - base
                return [
                    *self._tokenise(piece[:cut], base, starts),
                    *self._tokenise(piece[cut:], base + cut, starts),
                ]
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [_Placed(token, base + start, base + stop) for token, (start, stop) in pairs]

    def _guard(self, message: dict[str, Any], mark: str) -> dict[str, Any]:
        """Cut every control token that somebody's text spells out, alone or across parts."""
        # The assistant may use added tokens that are part of the language, such as <think>.
        cutter = self._control if message["role"] == "assistant" else self._every
        content = [dict(part) for part in message["content"]]
        run: list[dict[str, Any]] = []
        for part in [*content, {"type": "end"}]:
            if part["type"] == "text":
                run.append(part)
                continue
            for one, text in zip(run, cutter.mark([one["text"] for one in run], mark), strict=True):
                one["text"] = text
            run = []
        return message | {"content": content}

    def _render(
        self, messages: list[dict[str, Any]], tools: list[Any], source: str, for_answer: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        try:
            texts, spans = render_jinja_template(
                conversations=[messages],
                tools=tools or None,
                chat_template=self.template,
                return_assistant_tokens_mask=True,
                add_generation_prompt=for_answer,
                **self.tokenizer.special_tokens_map,
            )
        except (ValueError, jinja2.TemplateError) as error:
            raise DataError(f"{source}: the chat template refuses it: {error}") from error
        return texts[0], sorted(spans[0])


class _Cutter:
    """Finds where text must be cut so that no token of a set can form.

    Args:
        tokens: the tokens. White space is text, and a single character cannot be cut.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        whole = sorted(token for token in tokens if len(token) > 1 and token.strip())
        first = "".join(sorted({re.escape(token[0]) for token in whole}))
        names = "|".join(re.escape(token) for token in whole)
        # Empty matches before each token, so that overlapping ones are all found.
        self._whole = re.compile(f"(?=[{first}])(?={names})" if whole else r"(?!)")
        self._heads = {token[:size] for token in whole for size in range(1, len(token))}
        self._tails = {token[size:] for token in whole for size in range(1, len(token))}
        self._longest = max((len(token) for token in whole), default=0)

    def mark(self, texts: Sequence[str], mark: str) -> list[str]:
        """Return neighbouring texts with a mark at each cut."""
        joined = "".join(texts)
        cuts = {hit.start() + 1 for hit in self._whole.finditer(joined)}
        # The template may complete a token that a text begins or ends, also after trimming it.
        stop = len(joined.rstrip())
        start = len(joined) - len(joined.lstrip())
        for size in range(1, self._longest):
            if joined[max(stop - size, 0) : stop] in self._heads:
                cuts.add(max(stop - size, 0) + 1)
            if joined[start : start + size] in self._tails:
                cuts.add(start)
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


def _free_mark(messages: Iterable[Mapping[str, Any]], tools: list[Any], source: str) -> str:
    text = json.dumps(tools, ensure_ascii=False) + "".join(
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
