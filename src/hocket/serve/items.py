"""Items of ``/v1/responses``, turned into messages and into chat tools.

Knows shapes on the wire; must not know engines or HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hocket._errors import ReaderError
from hocket.chat.readers._calls import calls_text
from hocket.serve.errors import ApiError
from hocket.serve.wire.chat import ChatMessage, ChatRequest
from hocket.serve.wire.request import Drawing, FunctionSpec, Tool
from hocket.serve.wire.responses import ResponseRequest

_SKIPPED = ("reasoning",)
_LOGPROBS = "message.output_text.logprobs"
_THINKING = ("chat_template_kwargs", "thinking_budget")


def as_chat(body: ResponseRequest) -> tuple[ChatRequest, list[str]]:
    """Return the chat request that means the same, and where its messages stand in this one.

    Raises:
        ApiError: an item, a tool or a field that has no counterpart.
    """
    if body.background:
        raise ApiError("background is not supported.", param="background", code="unsupported")
    if (body.n or 1) > 1:
        raise ApiError("n: a response holds one answer. Ask again for more.", param="n")
    wants_scores = _LOGPROBS in (body.include or ())
    turns, tools = _turns(body), _tools(body)
    try:
        chat = ChatRequest(
            **body.model_dump(include={*Drawing.model_fields} - {"stream", "stream_options"}),
            **_extra(body),
            messages=[message for _, message in turns],
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
    return chat, [at for at, _ in turns]


def _extra(body: ResponseRequest) -> dict[str, Any]:
    """Return unknown fields, so that those which are refused in chats are refused here too."""
    known = {*ChatRequest.model_fields} - {*_THINKING}
    return {key: value for key, value in (body.model_extra or {}).items() if key not in known}


def _turns(body: ResponseRequest) -> list[tuple[str, ChatMessage]]:
    """Return the messages, each behind its place."""
    found: list[tuple[str, ChatMessage]] = []
    if body.instructions:
        found.append(("instructions", ChatMessage(role="system", content=body.instructions)))
    if isinstance(body.input, str):
        return [*found, ("input", ChatMessage(role="user", content=body.input))]
    for number, item in enumerate(body.input):
        at = f"input[{number}]"
        if not isinstance(item, Mapping):
            raise ApiError(f"{at}: expected an object.", param=at)
        message = _message(item, at)
        if message is None:
            continue
        last = found[-1][1] if found else None
        if message.tool_calls and last is not None and last.role == message.role:
            # An answer is one turn, as it was written: its text, then its calls.
            last.tool_calls = [*(last.tool_calls or ()), *message.tool_calls]
        else:
            found.append((at, message))
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
            calls_text(call, at)  # here, since a fault is one of this item
            return ChatMessage(role="assistant", tool_calls=[{"function": call}])
        if kind == "function_call_output":
            return ChatMessage(role="tool", content=item.get("output"))
    except ReaderError as error:
        raise ApiError(str(error), param=at) from error
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
