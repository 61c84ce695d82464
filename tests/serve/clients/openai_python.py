"""OpenAI's Python package, in its plain form."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel
from tests.serve.clients.features import COLOURS, ENOUGH, LONG, TOOL, Check, requests_of, stops
from tests.serve.loopback import MODEL, Loopback, ask, data_url, image, mp4, png, text, wav


class Colour(BaseModel):
    """What `.parse()` returns."""

    colour: Literal["red", "blue"]


def client(server: Loopback, **more: Any) -> openai.OpenAI:
    """Return a client of the server."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", **more)


def models(server: Loopback) -> None:
    found = client(server).models.list().data
    assert [one.id for one in found] == [MODEL]
    assert client(server).models.retrieve(MODEL).id == MODEL


def plain(server: Loopback) -> None:
    found = client(server).chat.completions.with_raw_response.create(**ask("Hello"))
    answer = found.parse()
    assert answer.choices[0].message.content is not None
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.completion_tokens == 4
    assert answer._request_id == found.headers["x-request-id"]


def media(server: Loopback, kind: str, *parts: Any) -> None:
    """Ask about a medium and look for its tokens."""
    usage = client(server).chat.completions.create(**ask(text("What?"), *parts)).usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.model_dump()[f"{kind}_tokens"] > 0


def picture(server: Loopback) -> None:
    media(server, "image", image())


def sound(server: Loopback) -> None:
    found = {"data": base64.b64encode(wav()).decode(), "format": "wav"}
    media(server, "audio", {"type": "input_audio", "input_audio": found})


def film(server: Loopback) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = data_url(mp4(Path(folder)), "video/mp4")
    media(server, "video", {"type": "video_url", "video_url": {"url": url}})


def stream(server: Loopback) -> None:
    whole = client(server).chat.completions.create(**ask("Hi", max_tokens=12))
    chunks = list(
        client(server).chat.completions.create(
            **ask("Hi", max_tokens=12, stream=True, stream_options={"include_usage": True})
        )
    )
    said = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert said == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 12
    assert all(one.usage is None for one in chunks[:-1])


def several(server: Loopback) -> None:
    body = ask("Hi", n=2, temperature=2.0, seed=1, max_tokens=12)
    first, second = client(server).chat.completions.create(**body).choices
    assert (first.index, second.index) == (0, 1)
    assert first.message.content != second.message.content
    again = client(server).chat.completions.create(**body).choices
    assert again[1].message.content == second.message.content


def stop_text(server: Loopback) -> None:
    whole = client(server).chat.completions.create(**ask("Hi", max_tokens=12))
    words = whole.choices[0].message.content or ""
    found = client(server).chat.completions.create(**ask("Hi", max_tokens=12, stop=[words[3:5]]))
    cut = words[: words.index(words[3:5])]
    assert found.choices[0].message.content == cut
    assert found.choices[0].finish_reason == "stop"


def logprobs(server: Loopback) -> None:
    body = ask("Hi", logprobs=True, top_logprobs=3)
    choice = client(server).chat.completions.create(**body).choices[0]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    assert len(choice.logprobs.content) == 4
    for one in choice.logprobs.content:
        assert one.logprob <= 0
        assert len(one.top_logprobs) == 3
        assert one.logprob == one.top_logprobs[0].logprob  # greedy
    streamed = list(client(server).chat.completions.create(**body, stream=True))
    scored = [one.choices[0].logprobs for one in streamed if one.choices[0].logprobs]
    assert [one.content[0].token for one in scored if one.content] == [
        one.token for one in choice.logprobs.content
    ]


def tools(server: Loopback) -> None:
    body = ask("Paint!", tools=[TOOL], tool_choice="required", max_tokens=ENOUGH)
    choice = client(server).chat.completions.create(**body).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function" and call.function.name == "paint"
    assert json.loads(call.function.arguments)["colour"] in COLOURS
    with client(server).chat.completions.stream(**body) as events:
        final = events.get_final_completion().choices[0]
    assert final.message.tool_calls
    assert final.message.tool_calls[0].function.arguments == call.function.arguments
    turns = [
        *body["messages"],
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "done"},
    ]
    after = client(server).chat.completions.create(**ask("x", messages=turns, tools=[TOOL]))
    assert after.choices[0].message.content is not None


def schema(server: Loopback) -> None:
    body = ask("Which?", max_tokens=ENOUGH)
    found = client(server).chat.completions.parse(**body, response_format=Colour)
    assert found.choices[0].message.parsed is not None
    assert found.choices[0].message.parsed.colour in COLOURS


def responses(server: Loopback) -> None:
    api = client(server).responses
    parts: Any = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": data_url(png()), "detail": "auto"},
    ]
    given: Any = [{"role": "user", "content": parts}]
    found = api.create(model=MODEL, input=given, max_output_tokens=6, temperature=0)
    assert found.usage is not None and found.usage.output_tokens == 6
    assert found.status == "incomplete"
    with api.stream(model=MODEL, input=given, max_output_tokens=6, temperature=0) as events:
        said = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    assert said == found.output_text
    parsed = api.parse(model=MODEL, input="Which?", text_format=Colour, max_output_tokens=ENOUGH)
    assert parsed.output_parsed is not None and parsed.output_parsed.colour in COLOURS
    flat: Any = {"type": "function", "strict": True, **TOOL["function"]}
    called = api.create(
        model=MODEL, input="Paint!", tools=[flat], tool_choice="required", max_output_tokens=ENOUGH
    )
    assert called.output[0].type == "function_call"
    history: Any = [
        {"role": "user", "content": "Paint!"},
        called.output[0].model_dump(exclude_none=True),
        {"type": "function_call_output", "call_id": called.output[0].call_id, "output": "ok"},
    ]
    assert api.create(model=MODEL, input=history, max_output_tokens=3).output


def transcription(server: Loopback) -> None:
    found = client(server).audio.transcriptions.create(
        model=MODEL, file=("a.wav", wav()), prompt="What is said?"
    )
    assert isinstance(found.text, str)


def early_close(server: Loopback) -> None:
    body = ask("Hi", stream=True)
    body.pop("max_tokens")
    found = client(server).chat.completions.create(**body, extra_body=LONG)
    next(iter(found))
    found.close()
    assert stops(server)


def errors(server: Loopback) -> None:
    create = client(server, max_retries=0).chat.completions.create
    with pytest.raises(openai.BadRequestError) as bad:
        create(**ask(text("x"), image(b"no picture")))
    assert bad.value.param == "messages[0].content[1]"
    assert bad.value.code == "bad_media"
    with pytest.raises(openai.NotFoundError):
        create(**ask("Hi") | {"model": "other"})
    with pytest.raises(openai.BadRequestError, match="context"):
        create(**ask("x" * 5000))
    with pytest.raises(openai.NotFoundError):
        client(server).get("/nothing", cast_to=httpx.Response)


def no_retries(server: Loopback) -> None:
    def send() -> None:
        with pytest.raises(openai.BadRequestError):
            client(server).chat.completions.create(**ask(image(b"no picture")))

    assert requests_of(server, send) == 1


CHECKS: dict[str, Check] = {
    "models": models,
    "text": plain,
    "image": picture,
    "audio": sound,
    "video": film,
    "stream with usage": stream,
    "n=2": several,
    "stop": stop_text,
    "logprobs": logprobs,
    "tools": tools,
    "JSON schema": schema,
    "responses": responses,
    "transcription": transcription,
    "early close": early_close,
    "error classes": errors,
    "no retries": no_retries,
}
