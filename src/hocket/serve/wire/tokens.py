"""Requests and answers of ``/tokenize`` and ``/detokenize``, as vLLM has them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from hocket.serve.wire.chat import ChatMessage
from hocket.serve.wire.request import Body, TokenId, Tool


class TokenizeRequest(Body):
    """A text, or a dialogue with its template and media.

    Attributes:
        model: name of a model; empty takes the first.
        prompt: the text.
        messages: the dialogue.
        tools: functions that the dialogue offers.
        add_special_tokens: whether the tokenizer may add its own to a text.
        return_token_strs: return the tokens as text too.
        chat_template_kwargs: ``enable_thinking`` of the template.
    """

    model: str = ""
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False
    chat_template_kwargs: dict[str, Any] | None = None


class Tokens(BaseModel):
    """Tokens of a text.

    Attributes:
        count: how many.
        max_model_len: how many the model holds.
        tokens: their ids; a medium is one placeholder for each of its rows.
        token_strs: what they are called.
    """

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(Body):
    """Tokens that are to become text.

    Attributes:
        model: name of a model; empty takes the first.
        tokens: their ids.
    """

    model: str = ""
    tokens: list[TokenId]


class Detokenized(BaseModel):
    """The text of tokens."""

    prompt: str
