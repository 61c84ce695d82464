"""Requests and answers of ``/v1/completions``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from hocket.serve.wire.chat import Usage
from hocket.serve.wire.request import Drawing, Texts


class CompletionRequest(Drawing):
    """Texts to be gone on with, without a chat template.

    Attributes:
        prompt: one text or several, each of which gets ``n`` answers.
        max_tokens: longest answer; OpenAI's default is 16.
        logprobs: likeliest tokens that are scored beside each; None for no scores.
        echo: not taken.
        suffix: not taken.
        best_of: not taken beyond ``n``.
        response_format: as in chats.
    """

    prompt: Texts
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None
    response_format: dict[str, Any] | None = None


class CompletionLogprobs(BaseModel):
    """Scores of an answer, token by token.

    Attributes:
        tokens: texts of the tokens.
        token_logprobs: their scores.
        top_logprobs: text -> score of the likeliest tokens.
        text_offset: where each token begins in the answer.
    """

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One answer, or a piece of one."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None


class Completion(BaseModel):
    """The answers to a request, or a piece of one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
    system_fingerprint: str
