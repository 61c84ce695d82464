"""A thought is told from the answer by what the chat template writes, not by the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.serve.loopback import Loopback, ask, serving
from tests.toy import SPEC, TEXTS

from hocket.chat.template import read_template
from hocket.infer.engine import Engine
from hocket.model.build import build

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
THINKS = {"enable_thinking": True}
OPENS = "{{ messages[-1].content }}\n{% if add_generation_prompt %}bot: <think>\n{% endif %}"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    built = build(SPEC, TEXTS)
    built.model.eval()
    with serving(engines={"toy": Engine(*built)}) as found:
        yield found


def use(server: Loopback, template: str) -> None:
    server.engine.processor.chat_template = template


def post(server: Loopback, body: dict[str, Any], path: str = CHAT) -> dict[str, Any]:
    found: dict[str, Any] = httpx.post(server.url + path, json=body, timeout=60).json()
    return found


def said(server: Loopback, **more: Any) -> tuple[str, str]:
    """Return thought and text of an answer."""
    message = post(server, ask("Hi", **more))["choices"][0]["message"]
    return message.get("reasoning_content") or "", message["content"]


@pytest.mark.parametrize("more", [{"chat_template_kwargs": THINKS}, {"thinking_budget": 4}])
def test_a_template_that_knows_no_thinking_says_so(server: Loopback, more: Any) -> None:
    use(server, read_template("chatml"))
    error = post(server, ask("Hi") | more)["error"]
    assert "knows no thinking" in error["message"]
    error = post(server, {"input": "Hi"} | more, RESPONSES)["error"]
    assert error["code"] == "unsupported"
    assert said(server, chat_template_kwargs={"enable_thinking": False})[1]


def test_an_answer_without_a_thought_is_text(server: Loopback) -> None:
    use(server, read_template("ovis2_5"))
    thought, text = said(server, chat_template_kwargs=THINKS)
    assert (thought, bool(text)) == ("", True)


def test_a_budget_is_kept_without_another_word(server: Loopback) -> None:
    use(server, read_template("ovis2_5"))
    thought, text = said(server, thinking_budget=2, max_tokens=200)
    assert "limited time" in thought
    assert "think>" not in thought + text


def test_a_template_that_opens_a_thought_is_believed(server: Loopback) -> None:
    use(server, OPENS)
    thought, text = said(server)
    assert (bool(thought), text) == (True, "")
    items = post(server, {"input": "Hi", "max_output_tokens": 4, "temperature": 0}, RESPONSES)
    assert items["output"][0]["content"][0]["text"].strip() == thought
