"""Places for requests, turns of adapters, cancellation, counts and the endpoints beside answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.serve.clients.features import LONG, SCHEMA, stops
from tests.serve.loopback import MODEL, Loopback, ask, image, png, serving, text
from tests.toy import SPEC, TEXTS, toy

from hocket._errors import ConfigError
from hocket.infer.engine import Engine
from hocket.model.adapters import AdapterSpec
from hocket.model.adapters.attach import attach
from hocket.model.build import build
from hocket.serve.app import ServeOptions
from hocket.serve.errors import ApiError
from hocket.serve.keys import Keys
from hocket.serve.limits import Admission, ServeLimits
from hocket.serve.models import Catalogue, Turns, named_folders

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


def test_places_are_counted_and_given_back() -> None:
    places = Admission(ServeLimits(queue=1), rows=2)
    with places.enter("", 1), places.enter("", 2):
        with pytest.raises(ApiError) as caught, places.enter("", 1):
            pass
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) >= 1
    assert places.active == 0
    with places.enter("", 99):  # alone it is never too many
        assert places.active == 99


def test_a_key_has_its_own_limit() -> None:
    places = Admission(ServeLimits(per_key=1), rows=8)
    with places.enter("a", 1), places.enter("b", 1):
        with pytest.raises(ApiError, match="this key has 1"), places.enter("a", 1):
            pass
        with places.enter("", 1), places.enter("", 1):
            assert places.active == 4


def test_limits_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="parts is 0"):
        ServeLimits(parts=0)


def test_too_many_requests_wait_and_then_are_told_when_to_come_again() -> None:
    options = ServeOptions(limits=ServeLimits(queue=0))
    with serving(options, rows=1) as server:
        body = ask("Hi", stream=True) | LONG
        with httpx.stream("POST", server.url + CHAT, json=body, timeout=30) as found:
            lines = found.iter_lines()
            next(lines)
            refused = httpx.post(server.url + CHAT, json=ask("Hi"))
            assert refused.status_code == 429
            assert refused.json()["error"]["type"] == "rate_limit_error"
            assert int(refused.headers["retry-after"]) >= 1
        assert stops(server)
        assert httpx.post(server.url + CHAT, json=ask("Hi"), timeout=30).status_code == 200


def _cancelled(server: Loopback) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if "request_cancelled_total" in line and line[0] != "#"
    )


def test_clients_that_go_away_free_their_places(server: Loopback) -> None:
    def leave(stream: bool) -> None:
        body = ask("Hi", stream=stream, n=2) | LONG
        if stream:
            with httpx.stream("POST", server.url + CHAT, json=body, timeout=30) as answer:
                assert next(answer.iter_lines())
            return
        with pytest.raises(httpx.TimeoutException):
            httpx.post(server.url + CHAT, json=body, timeout=0.1)

    before = _cancelled(server)
    threads = [threading.Thread(target=leave, args=(k % 2 == 0,)) for k in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    # A busy machine may finish some before it sees that their clients left, never all of them.
    assert server.idle(120.0)
    assert _cancelled(server) > before


def test_numbers_are_counted(server: Loopback) -> None:
    def read(name: str) -> float:
        lines = httpx.get(f"{server.url}/metrics").text.splitlines()
        return sum(
            float(one.rsplit(" ", 1)[1]) for one in lines if one.startswith(f"hocket:{name}")
        )

    before = read("generation_tokens_total"), read("request_unknown_fields_total")
    httpx.post(server.url + CHAT, json=ask("Hi", new_of_this_month=1), timeout=30)
    assert read("generation_tokens_total") == before[0] + 4
    assert read("request_unknown_fields_total") == before[1] + 1
    refused = f'request_error_total{{path="{CHAT}",status="400"}}'
    names = ("media_rejected_total", refused, "request_cancelled_total")
    before = tuple(map(read, names))
    httpx.post(server.url + CHAT, json=ask(image(b"hello")), timeout=30)
    httpx.post(server.url + CHAT, json=ask("too long " * 2000), timeout=30)
    assert tuple(map(read, names)) == (before[0] + 1, before[1] + 2, before[2])
    before = (read('media_decode_seconds_count{modality="image"}'),)
    httpx.post(server.url + CHAT, json=ask(image(png(7))), timeout=30)
    assert read('media_decode_seconds_count{modality="image"}') > before[0]
    assert read("num_requests_running") == 0
    # The names and kinds that dashboards of vLLM ask for.
    said = httpx.get(f"{server.url}/metrics").text
    for name in ("prefix_cache_hits", "prefix_cache_queries", "mm_cache_hits", "mm_cache_queries"):
        assert f"# TYPE hocket:{name}_total counter" in said
        assert f'hocket:{name}_total{{model_name="{MODEL}"}} ' in said
    assert read("prefix_cache_queries_total") > 0
    assert 0 <= read("kv_cache_usage_perc") < 1


def test_tokens_are_those_of_the_prompt(server: Loopback) -> None:
    url = f"{server.url}/tokenize"
    plain = httpx.post(url, json={"prompt": "What is this?", "return_token_strs": True}).json()
    assert plain["count"] == len(plain["tokens"]) == len(plain["token_strs"])
    back = httpx.post(f"{server.url}/detokenize", json={"tokens": plain["tokens"]}).json()
    assert back["prompt"] == "What is this?"
    body = ask(text("What?"), image())
    counted = httpx.post(url, json={"messages": body["messages"]}, timeout=30).json()["count"]
    answered = httpx.post(server.url + CHAT, json=body, timeout=30).json()
    assert answered["usage"]["prompt_tokens"] == counted
    for wrong in ({}, {"prompt": "x", "messages": body["messages"]}):
        assert httpx.post(url, json=wrong).status_code == 400
    found = httpx.post(f"{server.url}/detokenize", json={"tokens": [1, 10**6]})
    assert found.json()["error"]["param"] == "tokens[1]"


def test_the_page_and_nothing_else_is_served(server: Loopback) -> None:
    for path in ("/page/nothing.js", "/page/../app.py", "/page/%2e%2e/app.py", "/page/__init__.py"):
        assert httpx.get(server.url + path).status_code == 404
    found = httpx.get(server.url)
    assert found.headers["content-type"].startswith("text/html")


def test_the_interface_is_described(server: Loopback) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert {CHAT, "/v1/completions", "/v1/responses", "/tokenize", "/v1/models"} <= set(paths)


def test_an_answer_that_keeps_to_json_is_json_in_completions_too(server: Loopback) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA}}
    body = {"model": MODEL, "prompt": ["a", "b"], "max_tokens": 60, "response_format": form}
    found = httpx.post(f"{server.url}/v1/completions", json=body, timeout=30).json()
    assert [one["index"] for one in found["choices"]] == [0, 1]
    assert all(one["text"].startswith('{"colour": "') for one in found["choices"])
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    said = httpx.post(f"{server.url}/v1/completions", json=body, timeout=30).text
    assert said.endswith("data: [DONE]\n\n")


def test_names_come_from_folders_or_words() -> None:
    found = named_folders(
        ["runs/cats", "dogs=runs/2026", "runs/birds/checkpoint", "/a b/my model!"]
    )
    assert list(found) == ["cats", "dogs", "birds", "my-model"]
    with pytest.raises(ConfigError, match="two models are called 'a'"):
        named_folders(["x/a", "y/a"])


def test_names_that_no_url_may_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match="model name"):
        Catalogue({"a/b": Engine(*toy())})


def adapted() -> Engine:
    built = build(SPEC, TEXTS)
    built.model.eval()
    for name in ("one", "two"):
        made = attach(
            built.model, built.model.adapters, name, AdapterSpec(options={"r": 2}), fresh=True
        )
        for parameter in made.trainable:
            built.model.get_parameter(parameter).data.normal_(0, 0.5)
    return Engine(*built)


def test_adapters_are_models_by_name() -> None:
    engine = adapted()
    with serving(engines={"m": engine}) as server:
        listed = httpx.get(f"{server.url}/v1/models").json()["data"]
        names = [one["id"] for one in listed]
        assert names == ["m", "m:base", "m:one", "m:two"]

        def said(name: str) -> str:
            body = ask("Hi", max_tokens=12) | {"model": name}
            found = httpx.post(server.url + CHAT, json=body, timeout=60).json()
            assert found["model"] == name
            return str(found["choices"][0]["message"]["content"])

        alone = {name: said(name) for name in names}
        assert len(set(alone.values())) == 4
        # At the same time, each still has its own.
        mixed: list[tuple[str, str]] = []
        threads = [
            threading.Thread(target=lambda name=name: mixed.append((name, said(name))))
            for name in names * 3
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(mixed) == 12
        assert all(alone[name] == words for name, words in mixed)


def test_turns_are_fair_and_survive_those_who_leave() -> None:
    async def play() -> list[str]:
        turns = Turns(Engine(*toy()))
        order: list[str] = []

        async def use(name: str, wanted: tuple[str, ...]) -> None:
            await turns.enter(wanted)
            order.append(name)
            await asyncio.sleep(0.01)
            turns.leave()

        turns._switch = lambda wanted: vars(turns).update(_active=wanted)  # type: ignore[method-assign] # no adapters to switch
        first = asyncio.ensure_future(use("a1", ()))
        await asyncio.sleep(0)
        gone = asyncio.ensure_future(use("gone", ("b",)))
        await asyncio.sleep(0)
        later = [
            asyncio.ensure_future(use(name, wanted))
            for name, wanted in (("b", ("b",)), ("a2", ()), ("a3", ()))
        ]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(first, *later)
        return order

    assert asyncio.run(play()) == ["a1", "b", "a2", "a3"]


def test_one_who_leaves_the_queue_holds_nobody_up() -> None:
    async def play() -> bool:
        turns = Turns(Engine(*toy()))
        await turns.enter(())
        gone = asyncio.ensure_future(turns.enter(("b",)))
        await asyncio.sleep(0)
        behind = asyncio.ensure_future(turns.enter(()))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await asyncio.sleep(0)
        return behind.done()

    assert asyncio.run(play())


def test_several_prompts_wait_for_their_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(engines={"m": adapted()}) as server:
        turns = server.service.catalogue.get("m").turns
        enter, others = turns.enter, list[asyncio.Task[None]]()

        async def other() -> None:
            await enter(())
            turns.leave()

        async def crowded(wanted: tuple[str, ...]) -> None:
            await enter(wanted)
            if not others:  # somebody wants other adapters at the worst moment
                others.append(asyncio.ensure_future(other()))
                await asyncio.sleep(0)

        monkeypatch.setattr(turns, "enter", crowded)
        body = {"model": "m:one", "prompt": ["a", "b"], "max_tokens": 2}
        found = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)
        assert [one["index"] for one in found.json()["choices"]] == [0, 1]


def test_several_prompts_are_one_request_of_their_key() -> None:
    key = "a-key-of-many-letters"
    options = ServeOptions(keys=Keys([key]), limits=ServeLimits(per_key=1))
    with serving(options) as server:
        body = {"prompt": ["a", "b", "c"], "max_tokens": 1}
        headers = {"Authorization": f"Bearer {key}"}
        found = httpx.post(f"{server.url}/v1/completions", json=body, headers=headers, timeout=60)
        assert found.status_code == 200, found.text


def test_an_answer_that_fails_later_ends_its_stream_with_an_error(server: Loopback) -> None:
    body = ask("Hi", stream=True) | LONG
    with httpx.stream("POST", server.url + CHAT, json=body, timeout=30) as found:
        lines = found.iter_lines()
        next(lines)
        time.sleep(0.1)
        for running in list(server.service.running):
            running.stop()
        rest = [one for one in lines if one]
    assert '"error":{"message":"the server stopped this answer' in rest[-1]
    assert not any("[DONE]" in one for one in rest)
