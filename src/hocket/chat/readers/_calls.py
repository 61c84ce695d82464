r"""Calls of tools as the text that a model writes, in the form of Qwen and Hermes.

::

    <tool_call>
    {"name": "add", "arguments": {"a": 1}}
    </tool_call>

A conversation holds text only, so a reader writes calls out once; the text is what the template
``chatml`` writes for ``tool_calls`` too. Knows JSON; must not know turns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from hocket._errors import ReaderError
from hocket.chat.conversation import Json
from hocket.chat.readers._rows import kind_of, names_of, short, text_of


def calls_text(value: Json, at: str) -> str:
    """Return one call or a list of calls as text.

    Args:
        value: ``{"name", "arguments"}``, the same below ``function``, or a list of them;
            ``arguments`` is an object or JSON text, which is written as it is.
        at: names the row and the key.

    Raises:
        ReaderError: a call of another shape.
    """
    if not isinstance(value, list):
        return _call_text(value, at)
    if not value:
        raise ReaderError(f"{at} is an empty list, expected a call. Add one or remove the key.")
    return "\n".join(_call_text(one, f"{at}[{index}]") for index, one in enumerate(value))


def written_calls(text: str, at: str) -> str:
    """Return calls that a turn holds as JSON text.

    Raises:
        ReaderError: not JSON, or a call of another shape.
    """
    return calls_text(_parsed(text, at), at)


def tools_of(value: Json, at: str) -> tuple[Mapping[str, Json], ...]:
    """Return the schemas of the tools that a row offers, given as a list or as JSON text.

    Raises:
        ReaderError: neither, or an entry that is no object.
    """
    if value in (None, "", []):
        return ()
    found = _parsed(value, at) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise ReaderError(
            f"{at} is {kind_of(found)}, expected a list of schemas or such a list as JSON text. "
            f"Put them in [ ]."
        )
    tools: list[Mapping[str, Json]] = []
    for index, one in enumerate(found):
        if not isinstance(one, dict):
            raise ReaderError(
                f"{at}[{index}] is {kind_of(one)} ({short(one)}), expected an object, the schema "
                f"of a tool. Correct it."
            )
        tools.append(one)
    return tuple(tools)


def _call_text(value: Json, at: str) -> str:
    call = value.get("function", value) if isinstance(value, dict) else value
    if not isinstance(call, dict) or "name" not in call:
        found = names_of(call) if isinstance(call, dict) else kind_of(call)
        raise ReaderError(
            f"{at} holds {found}, expected a call with 'name' and 'arguments'. Correct it."
        )
    name = text_of(call["name"], f"{at}.name")
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        _parsed(arguments, f"{at}.arguments")
    else:
        arguments = json.dumps(arguments, ensure_ascii=False)
    head = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '
    return f"<tool_call>\n{head}{arguments}}}\n</tool_call>"


def _parsed(text: str, at: str) -> Json:
    try:
        found: Json = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReaderError(
            f"{at} is {short(text)}, expected JSON ({type(error).__name__}). Correct the text."
        ) from error
    return found
