"""The page needs nothing but itself, and what the data or the model says is text in it."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.train.observe.board import Board
from hocket.train.observe.preview import Question
from hocket.train.observe.server import Server
from hocket.train.observe.tracks import MOST_POINTS, Track
from hocket.train.recipe import Stage

STAGES = {name: Stage(data={"<set>": 1.0}, steps=30) for name in ("align", "<joint>")}
VOID = {"meta", "img", "br", "polyline", "line", "rect", "circle", "path"}


def line(stage: str, step: int, **extra: Any) -> dict[str, Any]:
    plain = {"stage": stage, "step": step, "loss": 3 / step, "grad_norm": 2.0, "tokens": 900}
    plain |= {"step_seconds": 0.5, "data_seconds": 0.1, "padding": 0.0, "targets": 9, "dropped": 0}
    parts = {"source/<set>": 2.0 / step, "medium/vision": 1.0 / step}
    norms = {"gradient/vision": 0.5, "update/vision": 0.01, "embedding/image": 8.0}
    memory = {"process": 2.0**31, "device": 2.0**30, "device_peak": 2.0**32}
    return plain | {"parts": parts, "norms": norms, "memory": memory, "lr": {"all": 1e-4}} | extra


def filled(out: Path) -> Board:
    board = Board(out, STAGES, "name: <x>\n")
    picture = Image.from_array(np.full((8, 8, 3), 90, np.uint8))
    sound = Audio.from_array(np.full(1600, 0.1, np.float32), rate=16000)
    talk = Conversation(
        id="q", messages=(Message(Role.USER, (picture, sound, Text("\nWhat is <b>it</b>?"))),)
    )
    board.ask([Question(id="q", conversation=talk, target="<i>seven</i>")])
    for stage in STAGES:
        for step in range(1, 21):
            board.add(line(stage, step))
        answers = {"q": f"<script>{stage}</script>"}
        board.answer({"stage": stage, "step": 20, "answers": answers})
    bad = {"dataset": "<set>", "row": 7, "id": "", "reason": "<u>cut off</u>", "position": 3}
    (out / "bad_samples.jsonl").write_text(json.dumps(bad | {"stage": "align"}) + '\n{"half')
    return board


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag


@pytest.mark.parametrize("live", [True, False])
def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path, live: bool) -> None:
    page = filled(tmp_path).page(live=live)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert [a.get("src") for tag, a in tags.found if tag == "script"] == (
        ["live.js"] if live else []
    )
    media = [a["src"] for tag, a in tags.found if "src" in a and tag != "script"]
    assert len(media) == 2 and all(one and one.startswith("data:") for one in media)
    assert not [tag for tag, _ in tags.found if tag in ("link", "iframe", "object")]
    assert not [a for _, a in tags.found if "style" in a or any(k.startswith("on") for k in a)]
    assert "default-src 'none'" in page and "unsafe" not in page
    assert all(a.get("alt") for tag, a in tags.found if tag == "img")
    assert all(a.get("aria-label") for tag, a in tags.found if tag in ("audio", "svg", "progress"))


def test_what_is_said_is_text(tmp_path: Path) -> None:
    page = filled(tmp_path).page(live=False)
    for text in ("<script>align", "<b>it", "<i>seven", "<u>cut", "name: <x>", "<joint>", "<set>"):
        assert text not in page
        assert text.replace("<", "&lt;").replace(">", "&gt;") in page


def test_everything_that_was_asked_for_is_shown(tmp_path: Path) -> None:
    sections = filled(tmp_path).sections()
    for text in (
        "By data set",
        "By kind of sample",
        "Learning rate",
        "Gradient norm by part",
        "Update norm by part",
        "Embedding norm",
        "waiting for data",
        "Throughput",
        "GPU, most so far",
        "Samples left out",
    ):
        assert text in sections["charts"], text
    assert "20% waiting for data" in sections["summary"]
    assert "1.8k" in sections["summary"]  # 900 tokens in half a second
    assert "stage 2 of 2" in sections["summary"] and "step 20 of 30" in sections["summary"]
    assert "1 in <code>bad_samples.jsonl" in sections["bad"]
    newest = [sections["previews"].index(f"{stage} 20") for stage in ("&lt;joint&gt;", "align")]
    assert newest == sorted(newest)


def test_a_run_without_a_step_has_a_page(tmp_path: Path) -> None:
    page = Board(tmp_path, STAGES, "").page(live=False)
    assert "no step yet" in page and "<svg" not in page and "nan" not in page


def test_numbers_that_are_not_finite_are_not_drawn(tmp_path: Path) -> None:
    board = Board(tmp_path, STAGES, "")
    for step in range(1, 6):
        board.add(line("align", step, grad_norm=float("inf"), loss=float("nan")))
    assert not re.search(r"\b(nan|inf)\b", board.sections()["charts"])


def test_a_track_stays_small_and_true() -> None:
    track = Track()
    for step in range(100_000):
        track.add(step, float(step))
    assert MOST_POINTS // 2 <= len(track.xs) <= MOST_POINTS
    each = track.xs[1] - track.xs[0]
    assert {b - a for a, b in zip(track.xs, track.xs[1:], strict=False)} == {each}
    assert all(
        y == pytest.approx(x + (each - 1) / 2)
        for x, y in zip(track.xs[:-1], track.ys[:-1], strict=True)
    )
    assert track.last == 99_999


def get(url: str, host: str | None = None) -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, reply.read().decode(), reply.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", ""


@pytest.fixture
def server() -> Any:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    made = Server(port, lambda: "<p>page</p>", lambda: {"charts": "<p>new</p>"})
    made.resume()
    yield made
    made.close()


def test_the_server_knows_three_addresses_of_its_own_host(server: Server) -> None:
    assert get(server.url) == (200, "<p>page</p>", "text/html; charset=utf-8")
    status, text, _ = get(server.url + "news.json?x=1")
    assert (status, json.loads(text)) == (200, {"charts": "<p>new</p>"})
    assert "fetch(" in get(server.url + "live.js")[1]
    assert get(server.url + "log.jsonl")[0] == 404
    assert get(server.url + "../../etc/passwd")[0] == 404
    assert get(server.url, host="evil.example")[0] == 403
    port = server.url.rsplit(":", 1)[1].strip("/")
    assert get(server.url, host=f"localhost:{port}")[0] == 200


def test_a_paused_server_has_no_thread_and_answers_later(server: Server) -> None:
    server.pause()
    assert not [one for one in threading.enumerate() if one.name == "hocket-dashboard"]
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(get(server.url)[0]))
    waiting.start()
    time.sleep(0.1)
    assert answers == []
    server.resume()
    waiting.join(5)
    assert answers == [200]
