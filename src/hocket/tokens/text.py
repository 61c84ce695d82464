"""A conversation as token ids and a mask of what is learned.

One Jinja template writes the text for training and for inference; its ``{% generation %}`` blocks
say which characters are learned, so labels are read off the rendering and never searched for.

Control tokens come from the template only. Where somebody's text happens to spell one, such as
``<image>`` or ``<|im_end|>``, the text is cut behind its first character before tokenising: no
piece then holds the whole token, the text survives unchanged, and everything else is tokenised
exactly as in one call. The same holds where a text starts or ends inside a token, so that neither
the template nor the next part can complete it.

Checkpoints of LLaVA, VILA and VITA were trained on ids of another kind, chunk by chunk and with
start tokens of the tokenizer's; `TextRules` says which, and importers set them. Without rules the
text is tokenised in one call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import jinja2
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from hocket._errors import ConfigError, DataError
from hocket._log import warn
from hocket.chat.conversation import Conversation, Role
from hocket.chat.template import to_messages
from hocket.tokens.control import ControlCutter
from hocket.tokens.placed import Piece, PlacedTokens
from hocket.tokens.sentencepiece import without_dummy_prefix
from hocket.tokens.tokenizer import AUDIO, IMAGE, VIDEO

# Private-use characters: the first one that no text of the conversation holds marks the cuts.
_MARKS = [chr(code) for code in range(0xE000, 0xE010)]
_PLACEHOLDERS = re.compile(f"({IMAGE}|{VIDEO}|{AUDIO})")
# What a template that somebody else wrote can raise: Jinja hands on whatever its code runs into.
_REFUSALS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    jinja2.TemplateError,
)


@dataclass(frozen=True)
class TextRules:
    """How a checkpoint's text became ids when it was trained; the defaults are Hocket's own way.

    Attributes:
        chunked: tokenise the text between two media by itself, as LLaVA, VILA-1.5 and VITA do:
            SentencePiece then puts its dummy space in front of each chunk.
        start_tokens: how many start tokens come first, whatever the template writes; None leaves
            that to the template. One for LLaVA and VITA on Llama 2, two for VILA-1.5 and NaVILA
            on Llama 3 and Mistral, whose template and tokenizer both write one.
        image_start: text in front of each picture, ``<im_start>`` with LLaVA's
            ``mm_use_im_start_end``.
        image_end: text behind each picture, ``<im_end>`` with LLaVA's ``mm_use_im_start_end``.
        strip: leave out white space around each message, as VILA does.
        drop: placeholders that are left out where a text spells them, with the white space around
            that text, as VILA 2 does.
    """

    chunked: bool = False
    start_tokens: int | None = None
    image_start: str = ""
    image_end: str = ""
    strip: bool = False
    drop: tuple[str, ...] = ()

    @classmethod
    def from_options(cls, options: Mapping[str, Any] | None) -> TextRules:
        """Return the rules that ``processor_config.json`` holds; None means the defaults.

        Raises:
            ConfigError: an option has no such name.
        """
        given = dict(options or {})
        known = [one.name for one in fields(cls)]
        if unknown := sorted(set(given) - set(known)):
            raise ConfigError(
                f"text_rules has {', '.join(unknown)}, expected some of {', '.join(known)}. "
                "Remove it from processor_config.json, or use a newer hocket."
            )
        # JSON has no tuples.
        return cls(**given | {"drop": tuple(given.get("drop", ()))})


class Tokens(NamedTuple):
    """Token ids of a conversation before placeholders expand, and which of them are learned."""

    ids: list[int]
    learned: list[bool]


class TextEncoder:
    """Renders conversations with one template and tokenises them with one tokenizer.

    Args:
        tokenizer: a fast tokenizer; character offsets are needed.
        template: Jinja source of the chat template.
        rules: how an imported checkpoint was tokenised; the default is one call.

    Raises:
        ConfigError: the rules want start tokens and the tokenizer has none.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        template: str,
        rules: TextRules = TextRules(),
    ) -> None:
        if rules.start_tokens and tokenizer.bos_token is None:
            raise ConfigError(
                f"text_rules wants {rules.start_tokens} start tokens, but the tokenizer has no "
                "bos_token. Set bos_token in tokenizer_config.json or drop start_tokens."
            )
        self.tokenizer = tokenizer
        self.template = template
        self.rules = rules
        self._first: Tokenizer = tokenizer.backend_tokenizer
        added = list(tokenizer.added_tokens_decoder.values())
        self._control = ControlCutter(token.content for token in added if token.special)
        self._every = ControlCutter(token.content for token in added)

    @cached_property
    def _further(self) -> Tokenizer:
        return without_dummy_prefix(self._first)

    def encode(
        self,
        conversation: Conversation,
        *,
        for_answer: bool = False,
        thinking: bool | None = None,
    ) -> Tokens:
        """Return ids and learned mask.

        Args:
            conversation: the dialogue.
            for_answer: open the assistant's next turn; without it, a last answer that the row
                marks as cut off (VITA's ``end_tag: false``) is not closed, so that its end is not
                learned.
            thinking: what the template reads as ``enable_thinking``; None leaves it to the
                template.

        Raises:
            DataError: the template refuses the conversation.
        """
        messages = to_messages(conversation)
        tools = list(conversation.tools)
        mark = _free_mark(messages, tools, conversation.source)
        choice = {} if thinking is None else {"enable_thinking": thinking}
        text, learned = self._render(
            [self._guard(message, mark) for message in messages],
            self._every.mark_values(tools, mark),
            conversation.source,
            {"add_generation_prompt": for_answer, **choice},
        )
        if learned and not for_answer and is_cut_off(conversation):
            text, learned = self._unclosed(text, learned)
        starts = [start for start, _ in learned]
        placed = self._place(text, mark, starts)
        mask = [False] * len(placed.ids)
        for start, stop in learned:
            inside = placed.inside(start, stop)
            mask[inside] = [True] * (inside.stop - inside.start)
        return Tokens(placed.ids, mask)

    def encode_text(self, text: str) -> list[int]:
        """Return the ids of text that a template wrote already, placeholders included."""
        return self._place(text, None, []).ids

    def _place(self, text: str, mark: str | None, starts: Sequence[int]) -> PlacedTokens:
        """Return every token with its characters, by the rules of the checkpoint."""
        placed = PlacedTokens()
        base = 0
        count = self.rules.start_tokens
        start = self.tokenizer.bos_token
        if count is not None and start is not None:
            while text.startswith(start, base):
                base += len(start)
            if count > 1 and base:
                # The last of several stands in the text, where it keeps a dummy space away.
                base -= len(start)
                count -= 1
            placed.add(Piece(0, [self.tokenizer.bos_token_id] * count, lambda _: (0, 0)))
        first = True
        for piece, begin in _split(text[base:], mark, self.rules.chunked):
            if self.rules.chunked and _PLACEHOLDERS.fullmatch(piece):
                first = True
                token = self.tokenizer.convert_tokens_to_ids(piece)
                placed.add(Piece(base + begin, [token], [(0, len(piece))].__getitem__))
            elif piece:
                self._tokenise(piece, base + begin, starts, placed, first=first)
                first = False
        return placed

    def _tokenise(
        self, text: str, base: int, starts: Sequence[int], placed: PlacedTokens, *, first: bool
    ) -> None:
        """Tokenise a piece of the rendering that starts at character `base`, behind what is placed.

        A prompt ends where the learned text starts, so no token may reach over that border. What
        is not `first` goes on after a cut and gets no dummy space.
        """
        core = self._first if first else self._further
        # A file or an earlier call may have left these on, and they would cut text silently.
        core.no_truncation()
        core.no_padding()
        encoded = core.encode(text, add_special_tokens=False)
        piece = Piece(base, encoded.ids, encoded.token_to_chars)
        border = piece.crossed(starts)
        if border is not None:
            cut = border - base
            self._tokenise(text[:cut], base, starts, placed, first=first)
            self._tokenise(text[cut:], border, starts, placed, first=False)
            return
        placed.add(piece)

    def _guard(self, message: dict[str, Any], mark: str) -> dict[str, Any]:
        """Cut every control token that somebody's text spells out, alone or across parts."""
        # The assistant may use added tokens that are part of the language, such as <think>.
        cutter = self._control if message["role"] == "assistant" else self._every
        content = [dict(part) for part in message["content"]]
        for part in content if self.rules.drop else []:
            if part["type"] == "text":
                part["text"] = _dropped(part["text"], self.rules.drop)
        if self.rules.strip:
            _strip(content)
        run: list[dict[str, Any]] = []
        for part in [*content, {"type": "end"}]:
            if part["type"] == "text":
                run.append(part)
                continue
            for one, text in zip(run, cutter.mark([one["text"] for one in run], mark), strict=True):
                one["text"] = text
            run = []
        return message | {"content": [one for part in content for one in self._framed(part)]}

    def _unclosed(
        self, text: str, learned: list[tuple[int, int]]
    ) -> tuple[str, list[tuple[int, int]]]:
        """Leave out the control token that closes the last answer, and what is behind it."""
        start, stop = learned[-1]
        for token in self.tokenizer.added_tokens_decoder.values():
            if token.special and text.endswith(token.content, start, stop):
                stop -= len(token.content)
                break
        return text[:stop], [*learned[:-1], (start, stop)]

    def _framed(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        """Put the rules' texts around a picture; they are no one's text, so they stay whole."""
        if part["type"] != "image":
            return [part]
        before, behind = (
            [{"type": "text", "text": text}] if text else []
            for text in (self.rules.image_start, self.rules.image_end)
        )
        return [*before, part, *behind]

    def _render(
        self,
        messages: list[dict[str, Any]],
        tools: list[Any],
        source: str,
        options: dict[str, Any],
    ) -> tuple[str, list[tuple[int, int]]]:
        try:
            texts, spans = render_jinja_template(
                conversations=[messages],
                tools=tools or None,
                chat_template=self.template,
                return_assistant_tokens_mask=True,
                # Jinja's own writer of filler text, of as many lines as a template asks for.
                lipsum=None,
                **options,
                **self.tokenizer.special_tokens_map,
            )
        except _REFUSALS as error:
            raise DataError(f"{source}: the chat template refuses it: {error}") from error
        return texts[0], sorted(spans[0])


def _free_mark(messages: Iterable[Mapping[str, Any]], tools: list[Any], source: str) -> str:
    text = (json.dumps(tools, ensure_ascii=False) if tools else "") + "".join(
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


def is_cut_off(conversation: Conversation) -> bool:
    """Say whether the last answer was interrupted, so that nothing closes it."""
    if not conversation.messages or conversation.meta.get("end_tag") is not False:
        return False
    last = conversation.messages[-1]
    return last.role is Role.ASSISTANT and last.train is not False


def _dropped(text: str, tokens: Iterable[str]) -> str:
    """Leave out placeholders, and the white space around a text that spells one."""
    for token in tokens:
        if token in text:
            warn(f"{token!r} in a text is left out, as this checkpoint was trained: {text[:60]!r}.")
            text = text.replace(token, "").strip()
    return text


def _strip(content: list[dict[str, Any]]) -> None:
    """Strip the white space around a message, which may reach over several texts."""
    for parts, strip in ((content, str.lstrip), (content[::-1], str.rstrip)):
        for part in parts:
            if part["type"] != "text":
                break
            part["text"] = strip(part["text"])
            if part["text"]:
                break


def _split(text: str, mark: str | None, chunked: bool) -> Iterator[tuple[str, int]]:
    """Yield the pieces between marks, and between placeholders, with where each begins."""
    base = 0
    for piece in text.split(mark) if mark else [text]:
        at = base
        for part in _PLACEHOLDERS.split(piece) if chunked else [piece]:
            yield part, at
            at += len(part)
        base += len(piece) + len(mark or "")
