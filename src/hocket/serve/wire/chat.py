"""Requests and answers of ``/v1/chat/completions``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from hocket.serve.wire.request import Drawing, Tool, Wire


class ChatMessage(Wire):
    """A turn of the dialogue.

    Attributes:
        role: ``system``, ``developer``, ``user``, ``assistant`` or ``tool``.
        content: text, or a list of parts: texts and media in reading order.
        tool_calls: calls of an assistant's turn.
        tool_call_id: which call a tool's turn answers; the order of the turns says it too.
    """

    role: str
    content: str | list[Any] | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None


class ChatRequest(Drawing):
    """A dialogue that waits for an answer.

    Attributes:
        messages: the turns.
        max_tokens: longest answer.
        max_completion_tokens: the same by its newer name.
        logprobs: return scores of the tokens.
        top_logprobs: likeliest tokens that are scored beside each.
        tools: functions that may be called.
        tool_choice: ``none``, ``auto``, ``required`` or one function.
        parallel_tool_calls: whether an answer may hold several calls.
        response_format: ``text``, ``json_object`` or ``json_schema``.
        chat_template_kwargs: ``enable_thinking`` of the template.
        reasoning_effort: ``none`` answers without thinking.
        thinking_budget: tokens of a thought.
        continue_final_message: whether the last message is an assistant's that is gone on with, as
            vLLM has it; None goes on where it is one.
        add_generation_prompt: whether a turn of the assistant is opened behind the last message;
            vLLM's clients say no where it is gone on with.
    """

    messages: list[ChatMessage]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    thinking_budget: Annotated[int, Field(ge=0)] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None


class Usage(BaseModel):
    """Counts of tokens.

    Attributes:
        prompt_tokens: of the prompt, media included.
        completion_tokens: of all answers.
        total_tokens: both.
        prompt_tokens_details: those of media by kind, and those that were ready.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]


class TopLogprob(BaseModel):
    """A likely token with its score."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """The token that was taken, with the likeliest ones."""

    top_logprobs: list[TopLogprob]


class Logprobs(BaseModel):
    """Scores of an answer or of a piece of it."""

    content: list[TokenLogprob]


class FunctionCall(BaseModel):
    """A function and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """A call that the model makes; ``index`` is there in streams alone."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class AnswerMessage(BaseModel):
    """What the model said; in a stream, what a piece adds to it."""

    role: Literal["assistant"] | None = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None = None
    finish_reason: str


class ChatCompletion(BaseModel):
    """The answers to a request."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
