"""What is wrong with a request is said in OpenAI's shape, with the field, and never as a 5xx."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image as Pil
from tests.serve.clients.features import TOOL
from tests.serve.loopback import MODEL, Loopback, ask, data_url, image, png, serving, text, wav

from hocket._errors import MachineError, MissingExtraError
from hocket.serve.errors import ApiError, api_error, clean

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


def post(server: Loopback, body: Any, path: str = CHAT, **more: Any) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=30, **more)


def turns(*messages: dict[str, Any]) -> dict[str, Any]:
    return ask("x") | {"messages": list(messages)}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


HELLO = "data:image/png;base64,aGVsbG8="
BAD: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "no messages": ({"model": MODEL}, "messages", "required"),
    "empty messages": (turns(), "messages", "expected 1 to"),
    "messages are text": (ask("x") | {"messages": "x"}, "messages", "list"),
    "role": (turns({"role": "zzz", "content": "x"}), "messages[0].role", "not a role"),
    "answer behind an answer": (
        turns(user("x"), {"role": "assistant", "content": "y"}) | {"add_generation_prompt": True},
        "messages[1].role",
        "continue_final_message",
    ),
    "nothing to go on with": (
        turns(user("x"), {"role": "assistant", "content": ""}),
        None,
        "cannot be gone on with",
    ),
    "goes on with a question": (
        ask("x", continue_final_message=True),
        "continue_final_message",
        "no",
    ),
    "goes on in a format": (
        turns(user("x"), {"role": "assistant", "content": "y"})
        | {"response_format": {"type": "json_object"}},
        "messages[1].role",
        "format",
    ),
    "goes on with a call": (
        turns(
            user("x"),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
        ),
        "messages[1].tool_calls",
        "what the tools returned",
    ),
    "no content": (turns({"role": "user"}), "messages[0].content", "empty"),
    "part is a number": (ask(3), "messages[0].content[0]", "object"),
    "unknown part": (ask({"type": "zzz"}), "messages[0].content[0].type", "Known: text"),
    "not base64": (
        ask(text("x"), {"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}),
        "messages[0].content[1]",
        "not base64",
    ),
    "no picture": (ask(image(b"hello")), "messages[0].content[0]", "first bytes 68 65 6c 6c"),
    "cut picture": (ask(image(png()[:200])), "messages[0].content[0]", "damaged"),
    "sound as picture": (ask(image(wav())), "messages[0].content[0]", "found a sound"),
    "file id": (
        ask({"type": "file", "file": {"file_id": "f"}}),
        "messages[0].content[0].file.file_id",
        "keeps no files",
    ),
    "medium in an answer": (
        turns({"role": "assistant", "content": [image()]}, user("x")),
        "messages[0].content[0]",
        "in an answer",
    ),
    "loopback": (
        ask({"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x"}}),
        "messages[0].content[0]",
        "downloads nothing",
    ),
    "file URL": (
        ask({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
        "messages[0].content[0]",
        "off on this server",
    ),
    "other scheme": (
        ask({"type": "image_url", "image_url": {"url": "gopher://x/y"}}),
        "messages[0].content[0]",
        "scheme",
    ),
    "temperature": (ask("x", temperature="hot"), "temperature", "number"),
    "temperature below 0": (ask("x", temperature=-1), "temperature", "greater"),
    "n": (ask("x", n=99), "n", "at most 16"),
    "max_tokens": (ask("x", max_tokens=10**9), "max_tokens", "at most"),
    "stop": (ask("x", stop=[""]), "stop", "1 to"),
    "top_logprobs alone": (ask("x", top_logprobs=3), "top_logprobs", "logprobs"),
    "logit_bias": (ask("x", logit_bias={"a": 1}), "logit_bias", "ids"),
    "logit_bias beyond": (ask("x", logit_bias={"99999": 1}), None, "vocabulary"),
    "tool_choice": (ask("x", tools=[TOOL], tool_choice="zzz"), "tool_choice", "required"),
    "unknown tool": (
        ask("x", tools=[TOOL], tool_choice={"function": {"name": "other"}}),
        "tool_choice",
        "no tool",
    ),
    "format": (ask("x", response_format={"type": "zzz"}), "response_format.type", "json_schema"),
    "no schema": (
        ask("x", response_format={"type": "json_schema"}),
        "response_format.json_schema.schema",
        "missing",
    ),
    "bad schema": (
        ask(
            "x", response_format={"type": "json_schema", "json_schema": {"schema": {"type": "zzz"}}}
        ),
        None,
        "schema",
    ),
    "functions": (ask("x", functions=[{"name": "f"}]), "functions", "use 'tools'"),
    "speech": (ask("x", modalities=["audio"]), "modalities", "text"),
    "frames": (
        ask("x", media_io_kwargs={"video": {"num_frames": 3}}),
        "media_io_kwargs",
        "trained",
    ),
    "template": (ask("x", chat_template="{{ 1 }}"), "chat_template", "checkpoint"),
    "too long": (ask("x" * 5000), None, "context"),
    "half a surrogate": (ask("\ud800"), None, "surrogate"),
    "calls of tools": (
        turns(user("x"), {"role": "assistant", "tool_calls": [{"x": 1}]}, user("y")),
        "messages[1].tool_calls",
        "expected a call",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_fault_of_the_request_is_a_400_with_its_field(server: Loopback, case: str) -> None:
    body, param, words = BAD[case]
    found = post(
        server, None, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    error = found.json()["error"]
    assert found.status_code == 400, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    if param is not None:
        assert error["param"] == param
    assert found.headers["x-should-retry"] == "false"
    assert "pydantic" not in error["message"]


def test_a_model_that_is_not_there_is_a_404(server: Loopback) -> None:
    found = post(server, ask("x") | {"model": "toi"})
    assert found.status_code == 404
    assert "Did you mean 'toy'?" in found.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", CHAT, 405)]
)
def test_other_paths_have_the_same_shape(
    server: Loopback, method: str, path: str, status: int
) -> None:
    found = httpx.request(method, server.url + path)
    assert found.status_code == status
    assert set(found.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("content", ["{", "[1]", '"x"', "[" * 100_000, "\xff"])
def test_a_body_that_is_no_object_is_a_400(server: Loopback, content: str) -> None:
    headers = {"content-type": "application/json"}
    data = content.encode("latin-1")
    found = httpx.post(server.url + CHAT, content=data, headers=headers)
    assert found.status_code == 400
    assert found.json()["error"]["code"] == "bad_json"


def test_a_body_that_is_not_called_json_is_refused(server: Loopback) -> None:
    # What a form of another site could send without asking.
    found = httpx.post(server.url + CHAT, content=json.dumps(ask("x")))
    assert found.status_code == 400


def test_deep_json_is_refused(server: Loopback) -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    found = post(server, ask("x", metadata=deep))
    assert found.status_code == 400
    assert "64 levels" in found.json()["error"]["message"]


def test_a_large_picture_costs_a_look_at_its_header(server: Loopback) -> None:
    file = io.BytesIO()
    Pil.new("1", (13300, 13300)).save(file, "PNG")
    for whole in (file.getvalue(), file.getvalue()[:100]):  # no pixel is in the second
        found = post(server, ask(image(whole)))
        assert found.status_code == 400
        assert "13300 x 13300 pixels, but at most 40000000" in found.json()["error"]["message"]


def test_other_endpoints_say_it_too(server: Loopback) -> None:
    part = {"type": "input_image", "image_url": HELLO}
    body = {"model": MODEL, "input": [{"role": "user", "content": [part]}]}
    error = post(server, body, "/v1/responses").json()["error"]
    assert error["param"] == "input[0].content[0]"
    body["input"].insert(0, {"type": "reasoning", "summary": []})
    error = post(server, body | {"instructions": "Be brief."}, "/v1/responses").json()["error"]
    assert error["param"] == "input[1].content[0]"
    assert error["message"].startswith("input[1].content[0]: not a readable image")
    error = post(server, {"model": MODEL, "prompt": "x", "suffix": "y"}, "/v1/completions").json()
    assert error["error"]["param"] == "suffix"
    found = httpx.post(
        server.url + "/v1/audio/transcriptions", data={"model": MODEL}, files={"file": b"hello"}
    )
    assert found.status_code == 400
    assert found.json()["error"]["param"] == "file"
    found = httpx.post(server.url + "/v1/audio/transcriptions", data={"model": MODEL})
    assert found.json()["error"]["param"] == "file"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"tools": [{"type": "function", "name": "f" * 300}]}, "tools[0].name"),
        ({"input": []}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].tool_calls"),
        ({"thinking_budget": "x"}, "thinking_budget"),
    ],
)
def test_responses_are_refused_by_their_own_fields(
    server: Loopback, more: dict[str, Any], param: str
) -> None:
    found = post(server, {"model": MODEL, "input": "x"} | more, "/v1/responses")
    error = found.json()["error"]
    assert (found.status_code, error["param"]) == (400, param), error
    assert "pydantic" not in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (CHAT, ask("hello " * 200_000), "more than 2048 tokens"),
        ("/v1/completions", {"prompt": "hello " * 200_000}, "more than 2048 tokens"),
        ("/v1/completions", {"prompt": "hello " * 2_000_000}, "characters"),
        ("/tokenize", {"prompt": "hello " * 200_000}, "Send it in parts"),
        ("/tokenize", {"messages": [user("hello " * 200_000)]}, "more than 2048 tokens"),
        (
            CHAT,
            ask("x")
            | {"tools": [TOOL | {"function": {"name": "f", "description": "hello " * 200_000}}]},
            "more than 2048 tokens",
        ),
        (CHAT, ask("x") | {"messages": [user("x")] * 150_000}, "more than 262144 values"),
        ("/detokenize", {"tokens": [1] * 300_000}, "more than 262144 values"),
        (CHAT, ask("x", logit_bias={str(one): 1 for one in range(5000)}), "4096"),
        (
            CHAT,
            ask(
                "x",
                response_format={
                    "type": "json_schema",
                    "json_schema": {"schema": {"enum": ["x" * 100] * 5000}},
                },
            ),
            "at most 262144 are taken",
        ),
    ],
)
def test_what_would_hold_everybody_up_is_refused_at_once(
    server: Loopback, path: str, body: dict[str, Any], words: str
) -> None:
    found = post(server, body, path)
    assert found.status_code == 400
    assert words in found.json()["error"]["message"]


def test_a_response_ends_and_begins_as_it_is_told(server: Loopback) -> None:
    body = {"model": MODEL, "input": "Hi", "max_output_tokens": 6, "temperature": 0}

    def tokens(**more: Any) -> int:
        found = post(server, body | more, "/v1/responses").json()
        return int(found["usage"]["output_tokens"])

    ends = [token for token in range(300) if token != 40]
    assert tokens(stop_token_ids=ends) == 1
    assert tokens(stop_token_ids=ends, min_tokens=4) == 5


def test_a_model_without_a_place_for_tools_says_so(server: Loopback) -> None:
    variant = server.service.catalogue.get("")
    processor = variant.engine.processor
    before = processor.chat_template
    processor.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    try:
        with pytest.raises(ApiError, match="no place for tools"):
            variant.check_tools()
    finally:
        processor.chat_template = before
    variant.check_tools()


def test_messages_tell_nothing_of_this_machine() -> None:
    said = clean("cannot open <_io.BytesIO object at 0x7f00deadbeef> in /home/me/data\nx")
    assert said == "cannot open <_io.BytesIO object at ...> in ... x"
    assert clean("data:image/png and https://a.example/b/c stay") == (
        "data:image/png and https://a.example/b/c stay"
    )


def test_faults_of_the_server_are_5xx_without_their_words() -> None:
    told = api_error(RuntimeError("secret"))
    assert told.status == 500
    assert "secret" not in str(told)
    assert api_error(MachineError("the disk is full at /x/y")).status == 500
    assert api_error(MissingExtraError("llguidance", "serve")).headers == {
        "X-Should-Retry": "false"
    }


def test_url_is_data() -> None:
    assert data_url(b"hello") == HELLO
