"""Fields of a request, turned into the engine's `Sampling`.

Knows names of fields and limits; must not know HTTP or models.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from hocket._errors import ConfigError
from hocket.infer.grammar import Constraint
from hocket.infer.sampling import Sampling
from hocket.infer.tools import call_grammar
from hocket.serve.errors import ApiError
from hocket.serve.limits import ServeLimits
from hocket.serve.wire.chat import ChatRequest
from hocket.serve.wire.request import Drawing

# Fields that would change the answer and that this server does not have.
_REFUSED = {
    "audio": "this model writes text alone",
    "functions": "use 'tools'",
    "function_call": "use 'tool_choice'",
    "web_search_options": "this server searches nothing",
    "chat_template": "templates come from the checkpoint alone",
    "use_beam_search": "answers are sampled",
    "prompt_embeds": "send text and media",
    "guided_json": "use 'response_format'",
    "guided_regex": "use 'response_format'",
    "guided_grammar": "use 'response_format'",
    "mm_processor_kwargs": "media are read as the model was trained",
    "media_io_kwargs": "media are read as the model was trained",
    "previous_response_id": "this server keeps no answers. Send the whole dialogue",
    "conversation": "this server keeps no dialogues. Send the whole dialogue",
}
_LONGEST_STOP = 512


def check_fields(request: Drawing, limits: ServeLimits) -> None:
    """Refuse fields whose meaning would be lost.

    Raises:
        ApiError: a field that this server does not have, or a value beyond a limit.
    """
    for name, advice in _REFUSED.items():
        if (request.model_extra or {}).get(name) not in (None, False, [], {}):
            raise _wrong(name, f"is not supported: {advice}", code="unsupported")
    modalities = (request.model_extra or {}).get("modalities") or ["text"]
    if modalities != ["text"]:
        raise _wrong("modalities", "must be ['text']: this model writes text alone")
    if (request.n or 1) > limits.choices:
        raise _wrong("n", f"is {request.n}, but at most {limits.choices} are allowed")
    stops = request.stop or []
    if len(stops) > limits.stops or any(not 0 < len(one) <= _LONGEST_STOP for one in stops):
        raise _wrong(
            "stop", f"must be at most {limits.stops} texts of 1 to {_LONGEST_STOP} characters"
        )


def sampling_of(
    request: Drawing,
    limits: ServeLimits,
    *,
    temperature: float,
    max_tokens: int | None,
    **more: Any,
) -> Sampling:
    """Return how a request wants its tokens drawn.

    Args:
        request: what the client sent, checked by `check_fields`.
        limits: of the server.
        temperature: where the request does not say.
        max_tokens: longest answer; None takes the server's limit.
        more: further fields of `Sampling`.

    Raises:
        ApiError: a value is beyond a limit.
        ConfigError: values that do not go together.
    """
    if max_tokens is not None and max_tokens > limits.max_tokens:
        raise _wrong("max_tokens", f"is {max_tokens}, but at most {limits.max_tokens} are allowed")
    return Sampling(
        max_new_tokens=limits.max_tokens if max_tokens is None else max_tokens,
        min_new_tokens=request.min_tokens or 0,
        temperature=temperature if request.temperature is None else request.temperature,
        top_p=_or(request.top_p, 1.0),
        top_k=max(request.top_k or 0, 0),
        min_p=_or(request.min_p, 0.0),
        repetition_penalty=_or(request.repetition_penalty, 1.0),
        presence_penalty=_or(request.presence_penalty, 0.0),
        frequency_penalty=_or(request.frequency_penalty, 0.0),
        logit_bias=_biases(request.logit_bias or {}),
        seed=secrets.randbits(31) if request.seed is None else request.seed % 2**31,
        n=request.n or 1,
        stop=tuple(request.stop or ()),
        stop_tokens=tuple(request.stop_token_ids or ()),
        **more,
    )


def chat_sampling(request: ChatRequest, limits: ServeLimits, *, temperature: float) -> Sampling:
    """Return how a chat wants its tokens drawn.

    Raises:
        ApiError: a field is wrong or beyond a limit.
        ConfigError: values that do not go together.
    """
    check_fields(request, limits)
    tokens = request.max_completion_tokens
    if request.top_logprobs and not request.logprobs:
        raise _wrong("top_logprobs", "needs 'logprobs': true")
    return sampling_of(
        request,
        limits,
        temperature=temperature,
        max_tokens=request.max_tokens if tokens is None else tokens,
        logprobs=bool(request.logprobs),
        top_logprobs=request.top_logprobs or 0,
        constraint=chat_constraint(request),
        thinking=thinking_of(
            request.chat_template_kwargs, request.reasoning_effort, request.thinking_budget
        ),
        thinking_budget=request.thinking_budget or 0,
    )


def chat_constraint(request: ChatRequest) -> Constraint | None:
    """Return what the answer must look like: a call that is required, or a format.

    Raises:
        ApiError: no such tool, or a format of an unknown type.
    """
    forced = forced_call(request.tool_choice, offered_tools(request))
    return forced or format_constraint(request.response_format, "response_format")


def offered_tools(request: ChatRequest) -> list[Mapping[str, Any]]:
    """Return the tools that the model is shown; none where ``tool_choice`` says so.

    Raises:
        ApiError: a tool that is no function.
    """
    for number, tool in enumerate(request.tools or ()):
        if tool.type != "function":
            raise _wrong(f"tools[{number}].type", f"is {tool.type[:40]!r}, expected 'function'")
    shown = request.tools if request.tool_choice != "none" else None
    return [tool.plain() for tool in shown or ()]


def forced_call(choice: object, tools: Sequence[Mapping[str, Any]]) -> Constraint | None:
    """Return the constraint that a tool is called, where a request asks for one.

    Raises:
        ApiError: an unknown choice, or a tool that is not offered.
    """
    if choice in (None, "none", "auto"):
        return None
    name = None
    if isinstance(choice, Mapping):
        inside = choice.get("function")
        name = (inside if isinstance(inside, Mapping) else choice).get("name")
    if choice != "required" and not isinstance(name, str):
        raise _wrong("tool_choice", "must be 'none', 'auto', 'required' or a function by name")
    try:
        return Constraint.lark(call_grammar(tools, name=name))
    except ConfigError as error:
        raise ApiError(f"tool_choice: {error}", param="tool_choice") from error


def format_constraint(wanted: Mapping[str, Any] | None, at: str) -> Constraint | None:
    """Return the constraint of a ``response_format``.

    Args:
        wanted: ``{"type": "json_schema", "json_schema": {"schema": ...}}``, the flat form of
            ``/v1/responses``, ``json_object``, ``text`` or None.
        at: its field, for errors.

    Raises:
        ApiError: an unknown type, or a schema that is none.
    """
    kind = (wanted or {}).get("type", "text")
    if wanted is None or kind == "text":
        return None
    if kind == "json_object":
        return Constraint.json_object()
    if kind != "json_schema":
        raise _wrong(
            f"{at}.type", f"is {str(kind)[:40]!r}, expected text, json_object or json_schema"
        )
    inside = wanted.get("json_schema")
    schema = (inside if isinstance(inside, Mapping) else wanted).get("schema")
    if not isinstance(schema, Mapping):
        raise _wrong(f"{at}.json_schema.schema", "is missing, expected a JSON schema")
    return Constraint.json_schema(schema)


def thinking_of(
    options: Mapping[str, Any] | None, effort: str | None, budget: int | None = None
) -> bool | None:
    """Return whether the model is to think aloud; None leaves it to the template.

    Args:
        options: ``chat_template_kwargs``.
        effort: ``reasoning_effort``.
        budget: tokens of a thought; who gives them wants one.

    Raises:
        ApiError: ``enable_thinking`` is neither true nor false.
    """
    wanted = (options or {}).get("enable_thinking")
    if wanted is None:
        return False if effort == "none" else (True if budget else None)
    if not isinstance(wanted, bool):
        raise _wrong("chat_template_kwargs.enable_thinking", "must be true or false")
    return wanted


def _biases(given: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    for token in given:
        if not (token.isascii() and token.isdigit()):
            raise _wrong("logit_bias", f"names {token[:20]!r}, expected ids of tokens")
    return tuple((int(token), value) for token, value in given.items())


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _wrong(field: str, what: str, *, code: str | None = None) -> ApiError:
    return ApiError(f"{field} {what}.", param=field, code=code)
