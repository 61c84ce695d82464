"""Items of ``/v1/responses``, turned into messages and into chat tools.

Knows shapes on the wire; must not know engines or HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hocket.serve.errors import ApiError
from hocket.serve.wire.chat import ChatMessage, ChatRequest
from hocket.serve.wire.request import Drawing, FunctionSpec, Tool
from hocket.serve.wire.responses import ResponseRequest

_SKIPPED = ("reasoning",)
_LOGPROBS = "message.output_text.logprobs"
_THINKING = ("chat_template_kwargs", "thinking_budget")


def as_chat(body: ResponseRequest) -> ChatRequest:
    """Return the chat request that means the same.

    Raises:
        ApiError: an item, a tool or a field that has no counterpart.
    """
    if body.background:
        raise ApiError("background is not supported.", param="background", code="unsupported")
    if (body.n or 1) > 1:
        raise ApiError("n: a response holds one answer. Ask again for more.", param="n")
    wants_scores = _LOGPROBS in (body.include or ())
    messages, tools = _messages(body), _tools(body)
    try:
        return ChatRequest(
            **body.model_dump(include={*Drawing.model_fields} - {"stream", "stream_options"}),
            **_extra(body),
            messages=messages,
            max_tokens=body.max_output_tokens,
            logprobs=wants_scores,
            top_logprobs=body.top_logprobs if wants_scores else None,
            tools=tools,
            tool_choice=body.tool_choice,
            parallel_tool_calls=body.parallel_tool_calls,
            response_format=(body.text or {}).get("format"),
            reasoning_effort=(body.reasoning or {}).get("effort"),
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        at = {"response_format": "text.format", "reasoning_effort": "reasoning.effort"}.get(name)
        raise ApiError(f"{at or name}: {first['msg']}.", param=at or name) from error


def places(body: ResponseRequest) -> list[str]:
    """Return where each message of `as_chat` stands in the request."""
    found = ["instructions"] if body.instructions else []
    if isinstance(body.input, str):
        return [*found, "input"]
    return found + [
        f"input[{number}]"
        for number, item in enumerate(body.input)
        if not (isinstance(item, Mapping) and item.get("type") in _SKIPPED)
    ]


def _extra(body: ResponseRequest) -> dict[str, Any]:
    """Return unknown fields, so that those which are refused in chats are refused here too."""
    known = {*ChatRequest.model_fields} - {*_THINKING}
    return {key: value for key, value in (body.model_extra or {}).items() if key not in known}


def _messages(body: ResponseRequest) -> list[ChatMessage]:
    found = [ChatMessage(role="system", content=body.instructions)] if body.instructions else []
    if isinstance(body.input, str):
        return [*found, ChatMessage(role="user", content=body.input)]
    for number, item in enumerate(body.input):
        at = f"input[{number}]"
        if not isinstance(item, Mapping):
            raise ApiError(f"{at}: expected an object.", param=at)
        message = _message(item, at)
        if message is not None:
            found.append(message)
    return found


def _message(item: Mapping[str, Any], at: str) -> ChatMessage | None:
    kind = item.get("type", "message" if "role" in item else None)
    if kind in _SKIPPED:
        return None
    try:
        if kind == "message":
            return ChatMessage(role=item.get("role", ""), content=item.get("content"))
        if kind == "function_call":
            call = {"name": item.get("name"), "arguments": item.get("arguments", "{}")}
            return ChatMessage(role="assistant", tool_calls=[{"function": call}])
        if kind == "function_call_output":
            return ChatMessage(role="tool", content=item.get("output"))
    except ValidationError as error:
        first = error.errors()[0]
        raise ApiError(f"{at}: {first['msg']}.", param=at) from error
    raise ApiError(
        f"{at}.type: {str(kind)[:40]!r} is not taken. Known: message, function_call, "
        "function_call_output.",
        param=f"{at}.type",
    )


def _tools(body: ResponseRequest) -> list[Tool] | None:
    if body.tools is None:
        return None
    found = []
    for number, tool in enumerate(body.tools):
        if tool.type != "function" or not tool.name:
            raise ApiError(
                f"tools[{number}]: {tool.type[:40]!r} is not a function with a name, and this "
                "server has no tools of its own.",
                param=f"tools[{number}]",
                code="unsupported",
            )
        try:
            spec = FunctionSpec(
                name=tool.name, description=tool.description, parameters=tool.parameters
            )
        except ValidationError as error:
            at = f"tools[{number}].{error.errors()[0]['loc'][0]}"
            raise ApiError(f"{at}: {error.errors()[0]['msg']}.", param=at) from error
        found.append(Tool(function=spec))
    return found
