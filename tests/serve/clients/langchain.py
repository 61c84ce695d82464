"""langchain-openai's ChatOpenAI."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.serve.clients.features import COLOURS, ENOUGH, LONG, TOOL, Check, requests_of, stops
from tests.serve.loopback import MODEL, Loopback, png, wav


def chat(server: Loopback, **more: Any) -> Any:
    """Return a chat model of the server."""
    from langchain_openai import ChatOpenAI

    settings = {"temperature": 0, "max_tokens": 4, "stream_usage": True} | more
    return ChatOpenAI(base_url=f"{server.url}/v1", api_key="none", model=MODEL, **settings)


def plain(server: Loopback) -> None:
    found = chat(server).invoke("Hello")
    assert found.usage_metadata["output_tokens"] == 4
    assert len(chat(server).batch(["a", "b", "c"])) == 3


def _media(server: Loopback, block: dict[str, Any]) -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "What?"}, block]}
    found = chat(server).invoke([turn])
    bare = chat(server).invoke("What?")
    assert found.usage_metadata["input_tokens"] > bare.usage_metadata["input_tokens"]


def picture(server: Loopback) -> None:
    found = base64.b64encode(png()).decode()
    _media(server, {"type": "image", "base64": found, "mime_type": "image/png"})


def sound(server: Loopback) -> None:
    found = base64.b64encode(wav()).decode()
    _media(server, {"type": "audio", "base64": found, "mime_type": "audio/wav"})


def stream(server: Loopback) -> None:
    chunks = list(chat(server).stream("Hello"))
    whole = chunks[0]
    for one in chunks[1:]:
        whole += one
    assert whole.content == chat(server).invoke("Hello").content
    assert whole.usage_metadata["output_tokens"] == 4


def stop_text(server: Loopback) -> None:
    words = chat(server, max_tokens=12).invoke("Hi").content
    found = chat(server, max_tokens=12).invoke("Hi", stop=[words[3:5]])
    assert found.content == words[: words.index(words[3:5])]


def logprobs(server: Loopback) -> None:
    found = chat(server, logprobs=True, top_logprobs=2).invoke("Hi")
    assert len(found.response_metadata["logprobs"]["content"]) == 4


def tools(server: Loopback) -> None:
    bound = chat(server, max_tokens=ENOUGH).bind_tools([TOOL], tool_choice="paint")
    assert bound.invoke("Paint!").tool_calls[0]["args"]["colour"] in COLOURS


def schema(server: Loopback) -> None:
    from tests.serve.clients.openai_python import Colour

    model = chat(server, max_tokens=ENOUGH)
    found = model.with_structured_output(Colour, method="json_schema").invoke("Which?")
    assert found.colour in COLOURS


def responses(server: Loopback) -> None:
    found = chat(server, use_responses_api=True, max_tokens=16).invoke("Hi")
    assert found.usage_metadata["output_tokens"] == 16


def early_close(server: Loopback) -> None:
    body = {"min_tokens": LONG["min_tokens"]}
    found = chat(server, max_tokens=LONG["max_tokens"], extra_body=body).stream("Hi")
    next(found)
    found.close()
    assert stops(server)


def errors(server: Loopback) -> None:
    import openai

    with pytest.raises(openai.BadRequestError):
        chat(server).invoke([{"role": "user", "content": [_NO_PICTURE]}])


def no_retries(server: Loopback) -> None:
    assert requests_of(server, lambda: errors(server)) == 1


_NO_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
CHECKS: dict[str, Check] = {
    "text": plain,
    "image": picture,
    "audio": sound,
    "stream with usage": stream,
    "stop": stop_text,
    "logprobs": logprobs,
    "tools": tools,
    "JSON schema": schema,
    "responses": responses,
    "early close": early_close,
    "error classes": errors,
    "no retries": no_retries,
}
