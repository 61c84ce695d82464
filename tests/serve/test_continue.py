"""An answer that the client sends back is gone on with, token by token as if it had never ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.serve.loopback import Loopback, ask, image, serving, text

QUESTION = {"role": "user", "content": [text("What is this?"), image()]}


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


def post(server: Loopback, path: str, body: dict[str, Any]) -> Any:
    answer = httpx.post(server.url + path, json=body, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def dialogue(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return ask("x", **more) | {"messages": list(messages)}


def tokens(server: Loopback, *messages: dict[str, Any]) -> list[int]:
    found: list[int] = post(server, "/tokenize", dialogue(*messages))["tokens"]
    return found


@pytest.mark.parametrize("said", ["A red", "A red ", "A", "<|im_end|> A"])
def test_the_prompt_ends_inside_the_answer(server: Loopback, said: str) -> None:
    open_ = tokens(server, QUESTION)
    found = tokens(server, QUESTION, {"role": "assistant", "content": said})
    assert found[: len(open_)] == open_
    rest = post(server, "/detokenize", {"model": "", "tokens": found[len(open_) :]})["prompt"]
    assert rest == said


def test_what_comes_is_what_would_have_come(server: Loopback) -> None:
    body = dialogue(QUESTION, max_tokens=8, min_tokens=8, logprobs=True)
    whole = post(server, "/v1/chat/completions", body)["choices"][0]
    texts = [one["token"] for one in whole["logprobs"]["content"]]
    kept = tokens(server, QUESTION)
    for cut in range(1, 8):
        # Half of the text, where it becomes the same tokens again: a tokenizer may join some.
        said = {"role": "assistant", "content": "".join(texts[:cut])}
        if len(tokens(server, QUESTION, said)) - len(kept) != cut:
            continue
        for more in ({}, {"continue_final_message": True, "add_generation_prompt": False}):
            asked = dialogue(QUESTION, said, max_tokens=8 - cut, min_tokens=8 - cut, **more)
            rest = post(server, "/v1/chat/completions", asked)["choices"][0]
            assert rest["message"]["content"] == "".join(texts[cut:])
        return
    pytest.fail("no cut was tried")
