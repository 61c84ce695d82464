"""OpenAI's Python package, in its asynchronous form."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.serve.clients.features import COLOURS, ENOUGH, LONG, TOOL, Check, requests_of, stops
from tests.serve.clients.openai_python import Colour
from tests.serve.loopback import MODEL, Loopback, ask, data_url, image, mp4, text, wav

Client = openai.AsyncOpenAI


def _with(work: Callable[[Client, Loopback], Awaitable[None]]) -> Check:
    """Return a check that runs in an event loop of its own."""

    async def run(server: Loopback) -> None:
        async with Client(base_url=f"{server.url}/v1", api_key="none") as client:
            await work(client, server)

    return lambda server: asyncio.run(run(server))


async def models(client: Client, _: Loopback) -> None:
    assert [one.id async for one in client.models.list()] == [MODEL]


async def plain(client: Client, _: Loopback) -> None:
    found = await asyncio.gather(
        *(client.chat.completions.create(**ask(f"Number {number}")) for number in range(6))
    )
    assert all(one.usage and one.usage.completion_tokens == 4 for one in found)


async def picture(client: Client, _: Loopback) -> None:
    found = await client.chat.completions.create(**ask(text("What?"), image()))
    assert found.choices[0].message.content


async def sound(client: Client, _: Loopback) -> None:
    heard = base64.b64encode(wav()).decode()
    part = {"type": "input_audio", "input_audio": {"data": heard, "format": "wav"}}
    found = await client.chat.completions.create(**ask(part))
    assert details(found)["audio_tokens"] > 0


async def film(client: Client, _: Loopback) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = data_url(mp4(Path(folder)), "video/mp4")
    part = {"type": "video_url", "video_url": {"url": url}}
    found = await client.chat.completions.create(**ask(part))
    assert details(found)["video_tokens"] > 0


def details(found: Any) -> dict[str, int]:
    """Return the tokens of a prompt by kind."""
    counts: dict[str, int] = found.usage.prompt_tokens_details.model_dump()
    return counts


async def stop_text(client: Client, _: Loopback) -> None:
    whole = await client.chat.completions.create(**ask("Hi", max_tokens=12))
    words = whole.choices[0].message.content or ""
    found = await client.chat.completions.create(**ask("Hi", max_tokens=12, stop=[words[3:5]]))
    assert found.choices[0].message.content == words[: words.index(words[3:5])]


async def logprobs(client: Client, _: Loopback) -> None:
    body = ask("Hi", logprobs=True, top_logprobs=2, stream=True)
    chunks = [one async for one in await client.chat.completions.create(**body)]
    scored = [one.choices[0].logprobs for one in chunks if one.choices[0].logprobs]
    assert sum(len(one.content or ()) for one in scored) == 4


async def stream(client: Client, _: Loopback) -> None:
    body = ask("Hi", stream=True, stream_options={"include_usage": True})
    chunks = [one async for one in await client.chat.completions.create(**body)]
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 4


async def several(client: Client, _: Loopback) -> None:
    body = ask("Hi", stream=True, n=2)
    seen = {one.choices[0].index async for one in await client.chat.completions.create(**body)}
    assert seen == {0, 1}


async def tools(client: Client, _: Loopback) -> None:
    body = ask("Paint!", tools=[TOOL], max_tokens=ENOUGH)
    body["tool_choice"] = {"type": "function", "function": {"name": "paint"}}
    found = await client.chat.completions.create(**body)
    assert found.choices[0].message.tool_calls


async def schema(client: Client, _: Loopback) -> None:
    body = ask("Which?", max_tokens=ENOUGH)
    found = await client.chat.completions.parse(**body, response_format=Colour)
    assert found.choices[0].message.parsed is not None
    assert found.choices[0].message.parsed.colour in COLOURS


async def responses(client: Client, _: Loopback) -> None:
    events = await client.responses.create(
        model=MODEL, input="Hi", max_output_tokens=3, stream=True
    )
    kinds = [one.type async for one in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.incomplete"


async def transcription(client: Client, _: Loopback) -> None:
    events: Any = await client.audio.transcriptions.create(
        model=MODEL, file=("a.wav", wav()), stream=True
    )
    kinds = [one.type async for one in events]
    assert kinds[-1] == "transcript.text.done"


async def early_close(client: Client, server: Loopback) -> None:
    body = ask("Hi", stream=True)
    body.pop("max_tokens")
    found = await client.chat.completions.create(**body, extra_body=LONG)
    await anext(aiter(found))
    await found.close()
    # A plain request that its caller gives up, too.
    body["stream"] = False
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.chat.completions.create(**body, extra_body=LONG), 0.3)
    assert await asyncio.to_thread(stops, server)


async def errors(client: Client, _: Loopback) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(**ask(image(b"no picture")))


def no_retries(server: Loopback) -> None:
    assert requests_of(server, lambda: _with(errors)(server)) == 1


CHECKS: dict[str, Check] = {
    "models": _with(models),
    "text": _with(plain),
    "image": _with(picture),
    "audio": _with(sound),
    "video": _with(film),
    "stream with usage": _with(stream),
    "n=2": _with(several),
    "stop": _with(stop_text),
    "logprobs": _with(logprobs),
    "tools": _with(tools),
    "JSON schema": _with(schema),
    "responses": _with(responses),
    "transcription": _with(transcription),
    "early close": _with(early_close),
    "error classes": _with(errors),
    "no retries": no_retries,
}
