"""What Open WebUI 0.12.4 sends, replayed: its bodies, headers and order of calls.

The shapes are those of its ``routers/openai.py`` and ``routers/audio``; the whole program is 100 MB
and wants a database.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
from tests.serve.clients.features import COLOURS, ENOUGH, LONG, TOOL, Check, requests_of, stops
from tests.serve.loopback import MODEL, Loopback, data_url, png, wav

_HEADERS = {
    "Authorization": "Bearer none",
    "X-OpenWebUI-User-Name": "User",
    "X-OpenWebUI-User-Id": "1",
    "X-OpenWebUI-User-Role": "admin",
    "X-OpenWebUI-Chat-Id": "2",
}
_SECONDS = 30


def _post(server: Loopback, path: str, body: dict[str, Any]) -> httpx.Response:
    # It writes the body itself.
    headers = _HEADERS | {"Content-Type": "application/json"}
    content = json.dumps(body)
    return httpx.post(f"{server.url}/v1{path}", content=content, headers=headers, timeout=_SECONDS)


def _body(content: Any, **more: Any) -> dict[str, Any]:
    system = {"role": "system", "content": "Be short."}
    turns = [system, {"role": "user", "content": content}]
    return {"model": MODEL, "messages": turns, "max_tokens": 6, "temperature": 0} | more


def _chunks(server: Loopback, body: dict[str, Any]) -> list[dict[str, Any]]:
    found = _post(server, "/chat/completions", body | {"stream": True})
    assert found.headers["content-type"].startswith("text/event-stream")
    events = [one for one in found.text.split("\n\n") if one and not one.startswith(":")]
    assert events[-1] == "data: [DONE]"
    return [json.loads(one.removeprefix("data: ")) for one in events[:-1]]


def models(server: Loopback) -> None:
    found = httpx.get(f"{server.url}/v1/models", headers=_HEADERS).json()
    assert [one["id"] for one in found["data"]] == [MODEL]


def plain(server: Loopback) -> None:
    # How it makes titles: a task without a stream, and its own fields.
    body = _body("Make a title", stream=False, user={"name": "User", "id": "1", "role": "admin"})
    found = _post(server, "/chat/completions", body | {"session_id": "x", "features": {}}).json()
    assert found["choices"][0]["message"]["content"]


def picture(server: Loopback) -> None:
    parts = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": data_url(png())}},
    ]
    chunks = _chunks(server, _body(parts, stream_options={"include_usage": True}))
    assert chunks[-1]["usage"]["prompt_tokens_details"]["image_tokens"] > 0


def stream(server: Loopback) -> None:
    chunks = _chunks(server, _body("Hi", stream_options={"include_usage": True}))
    said = "".join(one["choices"][0]["delta"].get("content", "") for one in chunks[:-1])
    assert said
    assert chunks[-1]["usage"]["completion_tokens"] == 6


def stop_text(server: Loopback) -> None:
    said = _post(server, "/chat/completions", _body("Hi")).json()["choices"][0]["message"]
    stop = said["content"][2:4]
    found = _post(server, "/chat/completions", _body("Hi", stop=[stop])).json()["choices"][0]
    assert found["message"]["content"] == said["content"].partition(stop)[0]


def tools(server: Loopback) -> None:
    body = _body("Paint!", tools=[TOOL], tool_choice="required", max_tokens=ENOUGH)
    chunks = _chunks(server, body)
    calls = [one["choices"][0]["delta"].get("tool_calls") for one in chunks]
    (call,) = next(one for one in calls if one)
    assert call["index"] == 0
    assert json.loads(call["function"]["arguments"])["colour"] in COLOURS
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    turns = [
        *body["messages"],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "done"},
    ]
    assert _chunks(server, _body("x") | {"messages": turns, "tools": [TOOL]})


def responses(server: Loopback) -> None:
    parts = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": data_url(png())},
    ]
    items = [{"type": "message", "role": "user", "content": parts}]
    body = {"model": MODEL, "input": items, "instructions": "Be short.", "max_output_tokens": 4}
    found = _post(server, "/responses", body | {"stream": True})
    kinds = [one.partition("\n")[0] for one in found.text.split("\n\n") if one]
    assert kinds[0] == "event: response.created"
    assert kinds[-1] == "event: response.incomplete"


def transcription(server: Loopback) -> None:
    found = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        headers=_HEADERS,
        data={"model": MODEL, "language": "en"},
        files={"file": ("a.webm", wav(), "audio/webm")},  # its own name for whatever it has
        timeout=_SECONDS,
    )
    assert "text" in found.json()


def early_close(server: Loopback) -> None:
    body = _body("Hi", stream=True) | LONG
    with httpx.stream(
        "POST", f"{server.url}/v1/chat/completions", json=body, headers=_HEADERS
    ) as found:
        next(found.iter_lines())
    assert stops(server)


def errors(server: Loopback) -> None:
    found = _post(server, "/chat/completions", _body("Hi") | {"model": "other"})
    assert found.status_code == 404
    assert found.json()["error"]["message"].startswith("model: no model is called 'other'")


def no_retries(server: Loopback) -> None:
    assert requests_of(server, lambda: errors(server)) == 1


CHECKS: dict[str, Check] = {
    "models": models,
    "text": plain,
    "image": picture,
    "stream with usage": stream,
    "stop": stop_text,
    "tools": tools,
    "responses": responses,
    "transcription": transcription,
    "early close": early_close,
    "error classes": errors,
    "no retries": no_retries,
}
