"""Tool calls in an answer: what Hermes, Qwen and Ovis write between ``<tool_call>`` tags.

::

    <tool_call>
    {"name": "add", "arguments": {"a": 1, "b": 2}}
    </tool_call>

A block that is no such JSON stays text, so that nothing a model says is lost. Knows JSON and texts;
must not know tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hocket._errors import ConfigError
from hocket.infer.grammar import SPACING, check_divisors

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called.

    Attributes:
        name: the function.
        arguments: JSON text of an object.
    """

    name: str
    arguments: str


def split_tool_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """Return the text without its calls, stripped where there are any, and the calls in order."""
    stream = ToolStream()
    said, calls = stream.feed(text)
    rest, more = stream.end()
    if not calls and not more:
        return text, ()
    return (said + rest).strip(), (*calls, *more)


class ToolStream:
    """Takes calls out of an answer that arrives piece by piece.

    Text comes out as soon as it cannot be the beginning of a call.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> tuple[str, tuple[ToolCall, ...]]:
        """Return the text and the calls that became certain with this piece."""
        self._held += piece
        said: list[str] = []
        calls: list[ToolCall] = []
        while True:
            before, tag, behind = self._held.partition(OPEN)
            if not tag:
                keep = len(before) - _begun(before, OPEN)
                said.append(before[:keep])
                self._held = before[keep:]
                break
            said.append(before)
            body, tag, rest = behind.partition(CLOSE)
            if not tag:
                self._held = OPEN + behind
                break
            call = _read(body)
            if call is None:
                said.append(OPEN + body + CLOSE)
            else:
                calls.append(call)
            self._held = rest
        return "".join(said), tuple(calls)

    def end(self) -> tuple[str, tuple[ToolCall, ...]]:
        """Return what was held back: a call that nothing closed counts if it is whole."""
        held, self._held = self._held, ""
        call = _read(held[len(OPEN) :]) if held.startswith(OPEN) else None
        return ("", (call,)) if call else (held, ())


def call_grammar(tools: Sequence[Mapping[str, Any]], *, name: str | None = None) -> str:
    """Return a Lark grammar of one call of one of the tools, for `Constraint.lark`.

    Args:
        tools: OpenAI's tool objects, or the ``function`` inside them.
        name: the one tool that may be called; None for any.

    Raises:
        ConfigError: no tool has this name, there are none, or a schema takes too long to check.
    """
    functions = [dict(tool.get("function", tool)) for tool in tools]
    chosen = [one for one in functions if name is None or one["name"] == name]
    if not chosen:
        known = ", ".join(str(one["name"]) for one in functions) or "none"
        raise ConfigError(f"no tool is called {name!r}. Known: {known}.")
    schemas = [
        {
            "type": "object",
            "properties": {
                "name": {"const": one["name"]},
                "arguments": one.get("parameters") or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for one in chosen
    ]
    check_divisors(schemas)
    body = json.dumps(({"anyOf": schemas} if len(schemas) > 1 else schemas[0]) | SPACING)
    return f'start: OPEN call CLOSE\nOPEN: "{OPEN}\\n"\nCLOSE: "\\n{CLOSE}"\ncall: %json {body}\n'


def _begun(text: str, tag: str) -> int:
    """Return how many characters at the end of the text may be the beginning of the tag."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0


def _read(body: str) -> ToolCall | None:
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        # Some write the object as text.
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    if not isinstance(arguments, dict):
        return None
    return ToolCall(call["name"], json.dumps(arguments, ensure_ascii=False))
