"""Requests of ``/v1/responses``, and its pieces as plain objects."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from hocket.serve.wire.request import Drawing, Wire


class FlatTool(Wire):
    """A tool as this interface writes it: the function's fields beside the type.

    Attributes:
        type: ``function``; OpenAI's own tools are not here.
        name: of the function.
        description: what it does.
        parameters: JSON schema of its arguments.
        strict: kept for the answer alone.
    """

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseRequest(Drawing):
    """Input that waits for an answer.

    Attributes:
        input: text, or items: messages, calls of functions and what these returned.
        instructions: the system's turn.
        max_output_tokens: longest answer.
        tools: functions that may be called.
        tool_choice: ``none``, ``auto``, ``required`` or one function.
        parallel_tool_calls: whether an answer may hold several calls.
        text: ``{"format": ...}``, as ``response_format`` of chats.
        reasoning: ``{"effort": "none"}`` answers without thinking.
        top_logprobs: likeliest tokens that are scored beside each.
        include: ``message.output_text.logprobs`` returns scores.
        metadata: returned as it is.
        store: not kept, whatever it says.
        background: not taken.
    """

    input: str | list[Any]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[FlatTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: list[str] | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    background: bool | None = None
