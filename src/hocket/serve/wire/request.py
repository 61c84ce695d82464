"""What requests have in common: depth, unknown fields, and how tokens are drawn.

Fields that nobody knows are kept aside and counted: OpenAI's client sends new ones every month.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MOST_DEPTH = 64
"""JSON inside JSON; deeper requests are refused."""
MOST_VALUES = 2**18
"""Items of all lists and objects of a request; OpenAI's largest uses take a tenth."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _is_whole(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Texts = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
"""One text or a list of texts."""
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Wire(BaseModel):
    """A request or a part of one; unknown fields are kept in ``model_extra``."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Body(Wire):
    """A whole request."""

    @model_validator(mode="before")
    @classmethod
    def check_size(cls, data: object) -> object:
        """Refuse what nothing later could work on: deep nesting, and text that is no Unicode.

        And so many values that to read them would hold everybody else up.

        Raises:
            ValueError: the request has one of these.
        """
        level: list[object] = [data]
        count = 0
        for _ in range(MOST_DEPTH):
            count += sum(len(one) for one in level if isinstance(one, dict | list))
            if count > MOST_VALUES:
                raise ValueError(f"more than {MOST_VALUES} values, all lists and objects together")
            level = [
                inside
                for one in level
                if isinstance(one, dict | list)
                for inside in ((*one, *one.values()) if isinstance(one, dict) else one)
            ]
            if any(isinstance(one, str) and not _is_whole(one) for one in level):
                raise ValueError("text with half a surrogate pair, expected Unicode")
            if not level:
                return data
        raise ValueError(f"nested more than {MOST_DEPTH} levels deep")


class StreamOptions(Wire):
    """What is streamed beside the answer.

    Attributes:
        include_usage: send a last chunk with the counts of tokens.
    """

    include_usage: bool = False


class Drawing(Body):
    """How tokens are drawn, as every endpoint that generates takes it.

    Attributes:
        model: name of a model; empty takes the first.
        temperature: 0 takes the likeliest token; None the server's default.
        top_p: share of probability that is sampled from.
        top_k: tokens that are sampled from; 0 or -1 for all.
        min_p: least share of the likeliest token's probability.
        n: answers.
        stop: texts that end the answer.
        stop_token_ids: tokens that end the answer.
        min_tokens: tokens before which the answer does not end.
        seed: seed of the randomness; None draws one.
        presence_penalty: subtracted from tokens that are in the answer.
        frequency_penalty: subtracted once for each time.
        repetition_penalty: divides the logits of tokens that were seen.
        logit_bias: token -> what is added to its logit.
        stream: send the answer piece by piece.
        stream_options: what is streamed beside it.
    """

    model: str = ""
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    stop: Texts | None = None
    stop_token_ids: list[TokenId] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    repetition_penalty: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    logit_bias: Annotated[dict[str, Number], Field(max_length=4096)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class FunctionSpec(Wire):
    """A function that the model may call.

    Attributes:
        name: its name.
        description: what it does.
        parameters: JSON schema of its arguments.
    """

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Wire):
    """A tool, as OpenAI's chat interface writes it.

    Attributes:
        type: always ``function``.
        function: the function.
    """

    type: str = "function"
    function: FunctionSpec

    def plain(self) -> Mapping[str, Any]:
        """Return it as chat templates read it."""
        spec = self.function.model_dump(exclude_none=True, include={*FunctionSpec.model_fields})
        return {"type": "function", "function": spec}
