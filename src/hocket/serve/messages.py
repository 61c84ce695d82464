"""Messages as clients send them, turned into a conversation.

Knows roles, calls of tools and parts; must not know HTTP or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hocket._errors import ReaderError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.chat.readers._calls import calls_text
from hocket.data.guarded import guarded
from hocket.infer.sampling import Sampling
from hocket.serve.decode import Decoder
from hocket.serve.errors import ApiError, BadPartError
from hocket.serve.media import MediaReader, is_medium
from hocket.serve.wire.chat import ChatMessage, ChatRequest

_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}


def conversation_of(
    messages: Sequence[ChatMessage],
    tools: Sequence[Mapping[str, Any]],
    *,
    reader: MediaReader,
    decoder: Decoder,
    places: Sequence[str] | None = None,
) -> Conversation:
    """Return messages as a conversation whose media the decoder opens.

    A last message of the assistant is one to go on with.

    Args:
        messages: what the client sent.
        tools: OpenAI's tool objects.
        reader: reads parts.
        decoder: opens media.
        places: where each message stands in the request, for errors; None for ``messages``.

    Raises:
        ApiError: a message or part is not what it should be; ``param`` names it.
    """
    limits, at = reader.limits, "messages" if places is None else "input"
    places = places or _places(len(messages))
    if not 0 < len(messages) <= limits.messages:
        raise ApiError(
            f"{at}: {len(messages)} messages, expected 1 to {limits.messages}.", param=at
        )
    media = sum(
        is_medium(part)
        for one in messages
        for part in (one.content if isinstance(one.content, list) else ())
    )
    if media > limits.parts:
        raise ApiError(
            f"{at}: {media} media, but at most {limits.parts} are allowed in one request.",
            param=at,
            code="too_many_media",
        )
    turns = tuple(
        _message(one, place, reader, decoder) for one, place in zip(messages, places, strict=True)
    )
    chars = sum(len(turn.text) for turn in turns)
    if chars > limits.text_chars:
        raise ApiError(
            f"{at}: {chars} characters of text, but at most {limits.text_chars} are allowed.",
            param=at,
            code="context_length_exceeded",
        )
    made = Conversation(
        id=at,
        messages=turns,
        tools=tuple(dict(tool) for tool in tools),
        source=at,
        meta={"end_tag": False} if _goes_on(messages, places) else {},
    )
    return guarded(made, decoder)


def _places(count: int) -> list[str]:
    return [f"messages[{number}]" for number in range(count)]


def _goes_on(messages: Sequence[ChatMessage], places: Sequence[str]) -> bool:
    """Say whether the last message is an answer that is to be gone on with."""
    last = messages[-1]
    goes_on = _ROLES.get(last.role) is Role.ASSISTANT
    if goes_on and last.tool_calls:
        at = f"{places[-1]}.tool_calls"
        raise ApiError(f"{at}: cannot be gone on with. Add what the tools returned.", param=at)
    return goes_on


def check_end(
    request: ChatRequest, sampling: Sampling, places: Sequence[str] | None = None
) -> None:
    """Refuse what does not go with the last message, or with going on with it.

    Args:
        request: the chat.
        sampling: how it is answered.
        places: where each message stands in the request, for errors; None for ``messages``.

    Raises:
        ApiError: the request says that an answer is, or is not, gone on with, and it cannot be so;
            or it asks for a thought or a format, which are those of a whole answer.
    """
    goes_on = bool(request.messages) and request.messages[-1].role == "assistant"
    at = (places or _places(len(request.messages)) or ["messages"])[-1]
    if request.continue_final_message and not goes_on:
        raise ApiError(
            f"continue_final_message: {at} is no message of the assistant. End with one.",
            param="continue_final_message",
        )
    if goes_on and (request.add_generation_prompt or request.continue_final_message is False):
        raise ApiError(
            f"{at}.role: an answer behind an answer was never trained. End with a message of the "
            "user or of a tool, or send continue_final_message: true.",
            param=f"{at}.role",
        )
    if goes_on and (sampling.thinking or sampling.constraint):
        raise ApiError(
            f"{at}: an answer that is gone on with can get no thought and no format of its own. "
            "Leave out enable_thinking, response_format and tool_choice.",
            param=f"{at}.role",
        )


def _message(message: ChatMessage, at: str, reader: MediaReader, decoder: Decoder) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise ApiError(
            f"{at}.role: {message.role[:40]!r} is not a role. Known: {', '.join(_ROLES)}.",
            param=f"{at}.role",
        )
    parts = _parts(message.content, f"{at}.content", reader, decoder)
    if role is Role.ASSISTANT:
        for number, part in enumerate(parts):
            if not isinstance(part, Text):
                raise BadPartError(
                    f"{at}.content[{number}]", "a medium in an answer. Send text.", code="bad_part"
                )
        if message.tool_calls:
            gap = "\n" if any(isinstance(one, Text) and one.text for one in parts) else ""
            parts.append(Text(gap + _calls(message.tool_calls, f"{at}.tool_calls")))
    if not parts:
        raise ApiError(f"{at}.content: empty, expected text or parts.", param=f"{at}.content")
    return Message(role, tuple(parts))


def _parts(
    content: str | list[Any] | None, at: str, reader: MediaReader, decoder: Decoder
) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [reader.part(one, f"{at}[{number}]", decoder) for number, one in enumerate(content)]


def _calls(calls: list[Any], at: str) -> str:
    try:
        return calls_text(calls, at)
    except ReaderError as error:
        raise ApiError(str(error), param=at) from error
