"""The page at ``/`` in a real Chromium: what users do, what attackers try, what it weighs."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import time
import wave
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from fastapi.testclient import TestClient
from PIL import Image
from tests.serve.page_app import KEY, Script, page_app, serve

from hocket.serve.pages import page_router, read_page

FOLDER = Path(str(files("hocket.serve") / "page"))
TALK = FOLDER.with_name("talk")
MOST_BYTES, MOST_TALK_BYTES = 60 * 1024, 10_000
MOST_SENT_BYTES = 60_000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
DONE = ".turn.assistant:last-child:not([aria-busy])"
ANSWER = """# What I see

The picture shows a **red circle** and *nothing* else: `x_1` is 2*3*4.

| Thing | Sure |
|:--|--:|
| circle | 0.98 |

1. One
2. Two
   - inner

```python
print("<b>hi</b>")
```

See [the guide](https://example.org/a) or https://example.org/b.
"""


def sources(ending: str) -> str:
    found = (path for folder in (FOLDER, TALK) for path in sorted(folder.glob(f"*.{ending}")))
    return "\n".join(path.read_text("utf-8") for path in found)


def test_all_of_it_is_small() -> None:
    page, talk = (
        {path.name: path.stat().st_size for path in folder.iterdir()} for folder in (FOLDER, TALK)
    )
    sent = {name: len(file.content) for name, file in read_page().items()}
    assert set(sent) == {*page, *talk}
    assert sum(page.values()) <= MOST_BYTES, page
    assert sum(talk.values()) <= MOST_TALK_BYTES, talk
    assert sum(sent[name] for name in page) <= MOST_SENT_BYTES, sent


def test_comments_alone_are_left_out_on_the_way() -> None:
    for path in (*FOLDER.glob("*.js"), *TALK.glob("*.js")):
        sent = read_page()[path.name].content.decode().split("\n")
        whole = path.read_text("utf-8").split("\n")
        assert len(sent) == len(whole)
        for one, other in zip(sent, whole, strict=True):
            assert one == other or (not one and other.lstrip("\t").startswith("//"))


def test_nothing_is_made_from_markup_and_nothing_comes_from_elsewhere() -> None:
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|Function\("
    assert not re.findall(markup, sources("js"))
    elsewhere = re.findall(r"https?://[^\s'\"`]+", sources("*"))
    assert set(elsewhere) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", sources("html"))


def test_both_languages_have_every_word() -> None:
    rows = re.findall(r'^\t(\w+): \["(.+)", "(.+)"\],$', sources("js"), re.MULTILINE)
    asked = set(re.findall(r"data-(?:t|label|hint)=(\w+)", sources("html")))
    asked |= set(re.findall(r"\bt\(\"(\w+)\"", sources("js")))
    assert asked <= {key for key, _, _ in rows}
    for key, english, chinese in rows:
        assert english.isascii() or "\u2026" in english
        assert key == "top_p" or not chinese.isascii()
        assert re.findall(r"{\w+}", english) == re.findall(r"{\w+}", chinese)


def test_files_come_with_a_policy_and_are_not_sent_twice() -> None:
    client = TestClient(page_app(Script()))
    for path, kind in (
        ("/", "text/html"),
        ("/talk", "text/html"),
        ("/page/main.js", "text/javascript"),
    ):
        reply = client.get(path)
        assert reply.headers["content-type"].startswith(kind)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        policy = dict(
            part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; ")
        )
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' blob: data:",
            "media-src": "blob: data:",
            "connect-src": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
            "form-action": "'none'",
        }
        again = client.get(path, headers={"If-None-Match": reply.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in ("/page/..%2fpages.py", "/page/%2e%2e/pages.py", "/page/none.js"):
        assert client.get(path).status_code == 404
    assert len(page_router().routes) == 3


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, Script]]:
    script = Script()
    with serve(page_app(script)) as url:
        yield url, script


@pytest.fixture
def script(site: tuple[str, Script]) -> Script:
    site[1].reset()
    return site[1]


@pytest.fixture
def open_page(chromium: Any, site: tuple[str, Script], script: Script) -> Iterator[Any]:
    """Opens the page in a browser of its own; at the end no script has failed or been refused."""
    contexts, complaints = [], []

    def open_page(path: str = site[0], **options: Any) -> Any:
        context = chromium.new_context(**{"locale": "en-US", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.goto(path)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A refused request or connection is written by the browser itself.
    own = ("Failed to load resource", "WebSocket connection to")
    assert [text for text in complaints if not any(one in text for one in own)] == []


def ask(page: Any, text: str) -> None:
    page.fill("#say", text)
    page.press("#say", "Enter")
    page.wait_for_selector(DONE)


def until(page: Any, condition: str) -> None:
    """Wait for a JavaScript condition; Playwright's own wait needs eval, which the page forbids."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        time.sleep(0.02)
    raise AssertionError(f"it never came to {condition}")


def said(page: Any) -> list[str]:
    return [each.inner_text() for each in page.locator(".said, .text").all()]


def picture(size: int = 40) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


def sound(seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(b"\x10\x20" * int(16000 * seconds))
    return file.getvalue()


def attach(page: Any, count: int = 1) -> None:
    given = [("a.png", "image/png", picture()), ("b.wav", "audio/wav", sound())][:count]
    page.set_input_files(
        "#files", [{"name": name, "mimeType": kind, "buffer": data} for name, kind, data in given]
    )
    page.wait_for_selector(f"#tray li >> nth={count - 1}")


def bytes_of(part: dict[str, Any]) -> bytes:
    if part["type"] == "input_audio":
        return base64.b64decode(part["input_audio"]["data"])
    return base64.b64decode(part[part["type"]]["url"].partition(",")[2])


@pytest.mark.slow
class TestAsking:
    def test_an_answer_streams_with_its_figures_and_stays(
        self, open_page: Any, script: Script
    ) -> None:
        script.answers = [ANSWER]
        script.wait = 0.002  # a speed is told of answers that take 10 ms and more
        page = open_page()
        ask(page, "What is it?")
        [body] = script.requests
        assert body == {
            "model": "tiny-vision",
            "messages": [{"role": "user", "content": "What is it?"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        stats = r"412 tokens in \u00b7 87 out \u00b7 [\d.]+ tokens/s \u00b7 first after \d\.\d\d s"
        assert re.fullmatch(stats, page.inner_text(".stats"))
        before = page.inner_text("#turns")
        page.reload()
        page.wait_for_selector(DONE)
        assert page.inner_text("#turns") == before
        assert page.inner_text("#list a") == "What is it?"

    def test_markdown_becomes_elements(self, open_page: Any, script: Script) -> None:
        script.answers = [ANSWER]
        page = open_page()
        ask(page, "Go")
        tags = "e => [...e.children].map(c => c.tagName).join()"
        assert page.eval_on_selector(".text", tags) == "H3,P,DIV,OL,FIGURE,P"
        assert page.inner_text(".text strong") == "red circle"
        assert page.locator(".text em").all_inner_texts() == ["nothing"]
        assert page.inner_text(".text td.right") == "0.98"
        assert page.inner_text(".text ol ul li") == "inner"
        assert page.inner_text(".text pre code") == 'print("<b>hi</b>")'
        links = page.locator(".text a")
        assert [links.nth(i).get_attribute("href") for i in range(2)] == [
            "https://example.org/a",
            "https://example.org/b",
        ]
        assert links.first.get_attribute("rel") == "noopener noreferrer"
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.click(".code button")
        assert page.evaluate("navigator.clipboard.readText()") == 'print("<b>hi</b>")'

    def test_thinking_is_folded_away(self, open_page: Any, script: Script) -> None:
        script.thinking = "Let me <b>see</b>."
        page = open_page()
        ask(page, "Hi")
        assert not page.is_visible("details p")
        page.click("summary")
        assert page.inner_text("details p") == script.thinking
        assert said(page)[1] == "Hello there."
        ask(page, "More")
        assert script.requests[1]["messages"][1]["content"] == "Hello there."

    def test_sampling_goes_along_and_is_remembered(self, open_page: Any, script: Script) -> None:
        page = open_page()
        page.select_option("#model", "tiny-omni")
        page.click("#panel-open")
        wanted = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 64, "seed": 7}
        for name, value in wanted.items():
            page.fill(f"[name={name}]", str(value))
        page.fill("[name=system]", "Be brief.")
        page.reload()
        page.wait_for_selector("#model option", state="attached")
        ask(page, "Hi")
        body = script.requests[0]
        assert {name: body[name] for name in wanted} == wanted
        assert body["model"] == "tiny-omni"
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        page.click("#panel-open")
        page.click("#sampling [type=reset]")
        ask(page, "Hi")
        assert not set(wanted) & set(script.requests[1])
        assert [turn["role"] for turn in script.requests[1]["messages"]] == [
            "user",
            "assistant",
            "user",
        ]

    def test_esc_stops_and_the_server_is_let_go(self, open_page: Any, script: Script) -> None:
        script.answers, script.wait = ["word " * 400], 0.02
        page = open_page()
        page.fill("#say", "Long")
        page.press("#say", "Enter")
        until(page, "document.querySelector('.text').textContent.length > 40")
        assert page.is_visible("#stop")
        page.keyboard.press("Escape")
        page.wait_for_selector(DONE)
        assert "Stopped." in page.inner_text(DONE)
        assert page.inner_text(".text").startswith("word word")
        assert page.inner_text(".stats").startswith("\u2248")
        for _ in range(100):
            if script.open == 0:
                break
            time.sleep(0.02)
        assert script.open == 0

    def test_answering_again_and_editing_keep_what_was(
        self, open_page: Any, script: Script
    ) -> None:
        script.answers = ["First.", "Second.", "Third."]
        page = open_page()
        attach(page)
        ask(page, "One?")
        page.click("[aria-label='Answer again']")
        until(page, "document.querySelector('.text').textContent === 'Second.'")
        assert "2/2" in page.inner_text(DONE)
        page.click("[aria-label='Previous version']")
        assert said(page) == ["One?", "First."]
        page.click(".user [aria-label='Edit']")
        assert page.is_visible("#editing")
        assert page.locator("#tray li").count() == 1
        ask(page, "Two?")
        assert said(page) == ["Two?", "Third."]
        assert [part["type"] for part in script.requests[2]["messages"][0]["content"]] == [
            "image_url",
            "text",
        ]
        page.click(".user [aria-label='Previous version']")
        assert said(page) == ["One?", "First."]
        page.reload()
        page.wait_for_selector(DONE)
        assert said(page) == ["One?", "First."]

    def test_a_turn_is_erased_with_what_follows(self, open_page: Any, script: Script) -> None:
        page = open_page()
        ask(page, "One")
        ask(page, "Two")
        page.on("dialog", lambda dialog: dialog.accept())
        page.click(".user >> nth=1 >> [aria-label='Delete']")
        until(page, "document.querySelectorAll('.turn').length === 2")
        assert said(page)[0] == "One"

    def test_the_stream_is_read_out_by_sentences(self, open_page: Any, script: Script) -> None:
        script.answers, script.wait = ["One thing. Another thing. The end"], 0.03
        page = open_page()
        page.evaluate(
            """() => { window.heard = [];
            new MutationObserver(() => heard.push(document.getElementById("live").textContent))
              .observe(document.getElementById("live"), { childList: true }); }"""
        )
        ask(page, "Go")
        assert page.get_attribute("#live", "role") == "status"  # which is polite
        assert page.evaluate("heard.map((each) => each.trim())") == [
            "One thing.", "Another thing.", "The end"
        ]  # fmt: skip


@pytest.mark.slow
class TestMedia:
    def test_files_reach_the_server_as_they_are(self, open_page: Any, script: Script) -> None:
        page = open_page()
        attach(page, 2)
        assert page.inner_text("#tray").split("\n")[0] == "a.png"
        assert "40 \u00d7 40" in page.inner_text("#tray")
        ask(page, "What?")
        image, audio, text = script.requests[0]["messages"][0]["content"]
        assert (image["type"], audio["type"]) == ("image_url", "input_audio")
        assert bytes_of(image) == picture()
        assert (bytes_of(audio), audio["input_audio"]["format"]) == (sound(), "wav")
        assert text == {"type": "text", "text": "What?"}
        page.reload()
        page.wait_for_selector(".media img")
        assert (
            page.eval_on_selector(".media img", "e => e.decode().then(() => e.naturalWidth)") == 40
        )
        assert page.locator(".media audio").count() == 1
        ask(page, "And now?")
        assert bytes_of(script.requests[1]["messages"][0]["content"][0]) == picture()

    def test_pasted_and_dropped_files_are_taken_and_removed(
        self, open_page: Any, script: Script
    ) -> None:
        page = open_page()
        give = """([event, data]) => {
            const all = new DataTransfer();
            const raw = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            all.items.add(new File([raw], event + ".png", { type: "image/png" }));
            const what = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(event === "paste"
              ? new ClipboardEvent(event, { ...what, clipboardData: all })
              : new DragEvent(event, { ...what, dataTransfer: all }));
        }"""
        data = base64.b64encode(picture()).decode()
        page.evaluate(give, ["dragover", data])
        assert page.get_attribute("body", "class") == "drop"
        page.evaluate(give, ["drop", data])
        page.wait_for_selector("#tray li")
        assert page.get_attribute("body", "class") == ""
        page.evaluate(give, ["paste", data])
        page.wait_for_selector("#tray li >> nth=1")
        page.click("[aria-label='Remove drop.png']")
        assert page.locator("#tray li b").all_inner_texts() == ["paste.png"]

    def test_what_is_not_media_is_refused(self, open_page: Any, script: Script) -> None:
        page = open_page()
        bad = [("a.txt", "text/plain"), ("b.svg", "image/svg+xml")]
        page.set_input_files(
            "#files", [{"name": n, "mimeType": k, "buffer": b"<svg/>"} for n, k in bad]
        )
        page.wait_for_selector("#notices div >> nth=1")
        assert "a.txt (text/plain) is no picture" in page.inner_text("#notices")
        assert page.locator("#tray li").count() == 0

    def test_the_microphone_gives_wav(self, open_page: Any, script: Script) -> None:
        page = open_page()
        page.click("#mic")
        until(page, "document.getElementById('timer').textContent === '0:01'")
        levels = "document.getElementById('level').value > 0.2"
        until(page, levels)
        page.keyboard.press("Enter")
        page.wait_for_selector("#tray audio")
        ask(page, "What did I say?")
        part = script.requests[0]["messages"][0]["content"][0]
        assert part["input_audio"]["format"] == "wav"
        with wave.open(io.BytesIO(bytes_of(part))) as recorded:
            assert recorded.getparams()[:3] == (1, 2, 16000)
            assert recorded.getnframes() > 16000
            assert max(recorded.readframes(recorded.getnframes())) > 0
        page.click("#mic")
        page.wait_for_selector("#recording:not([hidden])")
        page.keyboard.press("Escape")
        assert page.locator("#tray li").count() == 0

    def test_the_camera_gives_a_picture(self, open_page: Any, script: Script) -> None:
        page = open_page()
        page.click("#camera")
        until(page, "document.getElementById('preview').videoWidth > 0")
        page.click("#shot-take")
        page.wait_for_selector("#tray img")
        ask(page, "Who?")
        taken = Image.open(io.BytesIO(bytes_of(script.requests[0]["messages"][0]["content"][0])))
        assert (taken.format, min(taken.size) > 100) == ("JPEG", True)

    def test_media_over_the_cap_is_told_and_not_sent_in_silence(
        self, open_page: Any, script: Script
    ) -> None:
        page = open_page()
        small = (FOLDER / "store.js").read_text("utf-8").replace("300e6", "100")
        page.route(
            "**/page/store.js",
            lambda route: route.fulfill(body=small, content_type="text/javascript"),
        )
        page.reload()
        page.wait_for_selector("html[data-ready]")
        attach(page)
        assert "a.png will be gone after a reload" in page.inner_text("#notices")
        ask(page, "What?")
        page.reload()
        page.wait_for_selector(DONE)
        assert "Not kept" in page.inner_text(".media")
        ask(page, "Again?")
        assert "a.png was not kept" in page.inner_text(".failed")
        assert len(script.requests) == 1


@pytest.mark.slow
class TestTrouble:
    def test_the_servers_message_is_shown_as_it_is(self, open_page: Any, script: Script) -> None:
        script.error = (400, "messages[0].content[1]: image too large: 52 MP, limit 40 MP <b>")
        page = open_page()
        ask(page, "Hi")
        assert page.inner_text(".failed") == script.error[1]
        script.error = None
        ask(page, "Hello?")
        turns = [(turn["role"], turn["content"]) for turn in script.requests[-1]["messages"]]
        assert turns == [("user", "Hi"), ("user", "Hello?")]
        page.on("dialog", lambda dialog: dialog.accept())
        page.click(".user >> nth=1 >> [aria-label='Delete']")
        page.click("[aria-label='Answer again']")
        until(page, "document.querySelector('.text').textContent === 'Hello there.'")
        assert page.locator(".failed").count() == 0

    @pytest.mark.parametrize(
        ("broken", "message"),
        [
            ("error", "the model ran out of memory"),
            ("cut", "The connection ended before the answer did."),
        ],
    )
    def test_a_broken_stream_keeps_its_text(
        self, open_page: Any, script: Script, broken: str, message: str
    ) -> None:
        script.broken = broken
        page = open_page()
        ask(page, "Hi")
        assert (said(page)[1], page.inner_text(".failed")) == ("Hello there.", message)

    def test_an_answer_at_its_limit_says_so(self, open_page: Any, script: Script) -> None:
        script.finish = "length"
        page = open_page()
        ask(page, "Hi")
        assert "The answer reached its limit of tokens." in page.inner_text(DONE)

    def test_a_key_is_asked_for_and_kept_for_the_tab(self, open_page: Any, script: Script) -> None:
        script.locked = True
        page = open_page()
        page.wait_for_selector("#panel")
        assert "this server wants a key" in page.inner_text("#notices")
        assert page.evaluate("document.activeElement.name") == "key"
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("#model option", state="attached")
        assert page.locator("#notices div").count() == 0
        ask(page, "Hi")
        assert said(page)[1] == "Hello there."
        page.reload()
        ask(page, "Hi again")
        page.evaluate("sessionStorage.setItem('hocket.key', 'wrong')")
        ask(page, "And again")
        assert "this server wants a key" in page.inner_text(".failed")
        assert page.evaluate("document.activeElement.name") == "key"
        assert KEY not in page.evaluate("JSON.stringify({ ...localStorage })")

    def test_a_server_that_is_away_is_asked_again(self, open_page: Any, script: Script) -> None:
        page = open_page()
        page.wait_for_selector("#model option", state="attached")
        page.context.set_offline(True)
        ask(page, "Hi")
        assert page.inner_text(".failed") == "The server does not answer."
        page.route("**/v1/models", lambda route: route.abort())
        page.context.set_offline(False)
        page.reload()
        page.wait_for_selector("#notices div")
        page.unroute("**/v1/models")
        page.click("#notices button >> text=Try again")
        page.wait_for_selector("#model option", state="attached")
        assert page.locator("#notices div").count() == 0

    def test_a_reload_loses_neither_draft_nor_answer(self, open_page: Any, script: Script) -> None:
        page = open_page()
        attach(page, 2)
        page.fill("#say", "half a thought")
        page.reload()
        page.wait_for_selector("#tray li >> nth=1")
        assert page.input_value("#say") == "half a thought"
        script.answers, script.wait = ["word " * 400], 0.02
        page.press("#say", "Enter")
        until(page, "document.querySelector('.text')?.textContent.length > 60")
        page.reload()
        page.wait_for_selector(DONE)
        assert len(said(page)[1]) >= 60
        assert "The page was closed before the answer ended." in page.inner_text(DONE)


@pytest.mark.slow
class TestHistory:
    def test_chats_are_listed_renamed_and_erased(self, open_page: Any, script: Script) -> None:
        page = open_page()
        ask(page, "First chat")
        page.click("#new")
        ask(page, "Second chat")
        names = page.locator("#list a")
        assert names.all_inner_texts() == ["Second chat", "First chat"]
        page.click("#list a >> nth=1")
        until(page, "document.querySelector('.said').textContent === 'First chat'")
        page.once("dialog", lambda dialog: dialog.accept("A better name"))
        page.click("[aria-label=Rename]")
        page.reload()
        page.wait_for_selector(DONE)
        assert "A better name" in names.all_inner_texts()
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("[aria-label='Delete this chat']")
        until(page, "document.querySelectorAll('#list a').length === 1")
        page.reload()
        page.wait_for_selector("#list a")
        assert names.all_inner_texts() == ["Second chat"]

    def test_without_a_database_it_says_so_and_works(self, open_page: Any) -> None:
        page = open_page()
        page.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
        page.reload()
        page.wait_for_selector("#notices div")
        assert "This browser does not keep the chat" in page.inner_text("#notices")
        attach(page)
        ask(page, "Hi")
        page.click("#new")
        ask(page, "Ho")
        page.click("#list a >> text=Hi")
        until(page, "document.querySelector('.said').textContent === 'Hi'")
        assert said(page) == ["Hi", "Hello there."]

    def test_an_answer_goes_on_behind_another_chat(self, open_page: Any, script: Script) -> None:
        script.answers, script.wait = ["word " * 60], 0.02
        page = open_page()
        page.fill("#say", "Slow")
        page.press("#say", "Enter")
        until(page, "document.querySelector('.text')?.textContent.length > 10")
        page.click("#new")
        page.locator("#empty").wait_for()
        script.wait = 0.0
        ask(page, "Quick")
        page.click("#list a >> text=Slow")
        until(page, "document.querySelector('.said').textContent === 'Slow'")
        page.wait_for_selector(DONE)
        assert said(page)[1] == ("word " * 60).strip()

    def test_an_export_comes_back_with_its_media(
        self, open_page: Any, script: Script, tmp_path: Path
    ) -> None:
        page = open_page()
        attach(page, 2)
        ask(page, "What?")
        with page.expect_download() as got:
            page.click("#list button >> text=Markdown")
        text = Path(got.value.path()).read_text("utf-8")
        assert got.value.suggested_filename == "What-.md"
        assert "*[Picture: a.png" in text
        assert "Hello there." in text
        with page.expect_download() as got:
            page.click("#export")
        file = tmp_path / "chats.json"
        got.value.save_as(file)
        other = open_page()
        other.set_input_files("#import-file", file)
        other.wait_for_selector(".media img")
        assert said(other) == ["What?", "Hello there."]
        other.reload()
        other.wait_for_selector(DONE)
        ask(other, "Again?")
        assert bytes_of(script.requests[-1]["messages"][0]["content"][0]) == picture()

    @pytest.mark.parametrize(
        "node",
        [
            {"id": "a", "parent": "a", "role": "user", "text": ""},
            {"id": "a", "parent": "", "role": "system", "text": ""},
            {"id": "a", "parent": "", "role": "user", "text": {}},
        ],
    )
    def test_a_file_that_is_not_ours_is_refused(self, open_page: Any, node: dict[str, Any]) -> None:
        page = open_page()
        body = json.dumps({"hocket": 1, "chats": [{"id": "x", "nodes": [node], "draft": []}]})
        for text in (body, "{", "[]"):
            page.set_input_files(
                "#import-file",
                {"name": "x.json", "mimeType": "application/json", "buffer": text.encode()},
            )
            page.wait_for_selector("#notices div")
            assert "x.json cannot be imported" in page.inner_text("#notices")
            page.click("#notices [aria-label=Close]")

    def test_an_import_brings_no_document(self, open_page: Any) -> None:
        page = open_page()
        data = "data:text/html;base64," + base64.b64encode(b"<script>alert(1)</script>").decode()
        part = {
            "id": "p",
            "kind": "image",
            "name": "<img onerror=1>",
            "type": "text/html",
            "size": 9,
        }
        svg = {**part, "id": "q", "type": "image/svg+xml"}
        node = {"id": "a", "parent": "", "role": "user", "text": "hi", "parts": [part, svg]}
        body = {"hocket": 1, "chats": [{"nodes": [node]}], "media": {"p": data, "q": data}}
        page.set_input_files(
            "#import-file",
            {"name": "x.json", "mimeType": "application/json", "buffer": json.dumps(body).encode()},
        )
        page.wait_for_selector(".media li >> nth=1")
        types = page.evaluate(
            """() => new Promise((done) => {
              const all = indexedDB.open("hocket", 1);
              all.onsuccess = () => {
                const got = all.result.transaction("media").objectStore("media").getAll();
                got.onsuccess = () => done(got.result.map(({ blob }) => blob.type));
              };
            })"""
        )
        assert sorted(types) == ["image/any", "image/html"]


ATTACKS = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    "<svg onload=window.hit=1>",
    "[click](javascript:window.hit=1)",
    "[click](JaVaScRiPt:window.hit=1)",
    "[click](java\tscript:window.hit=1)",
    "[click](data:text/html,<script>window.hit=1</script>)",
    "[click](//evil.example/x)",
    "[click](vbscript:hit)",
    "<javascript:window.hit=1>",
    '![x](x" onerror="window.hit=1)',
    "![x](javascript:window.hit=1)",
    "`<img src=x onerror=window.hit=1>`",
    "```<img src=x onerror=window.hit=1>\n<img src=x onerror=window.hit=1>\n```",
    '```" onmouseover="window.hit=1\n</code></pre><script>window.hit=1</script>\n```',
    "| <img src=x onerror=window.hit=1> |\n|---|\n| <script>window.hit=1</script> |",
    "# <iframe src=javascript:window.hit=1>",
    "> - <style>*{display:none}</style>",
    "<a href=javascript:window.hit=1 autofocus onfocus=window.hit=1>x</a>",
    "<form action=javascript:window.hit=1><input type=submit autofocus>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content=0;url=javascript:window.hit=1>",
    '**[x](https://a.example" onclick="window.hit=1)**',
    "[<img src=x onerror=window.hit=1>](https://a.example)",
    "\\<script>window.hit=1\\</script>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
]
ALLOWED = {
    *("A", "BLOCKQUOTE", "BR", "BUTTON", "CODE", "DIV", "EM", "FIGCAPTION", "FIGURE", "H3", "H4"),
    *("H5", "H6", "HR", "LI", "OL", "P", "PATH", "PRE", "S", "SPAN", "STRONG", "SVG", "TABLE"),
    *("TD", "TH", "TR", "UL"),
}
SEEN = """(root) => [...root.querySelectorAll("*")].map((e) => [e.tagName.toUpperCase(),
  [...e.attributes].map((a) => a.name + "=" + a.value)])"""


@pytest.mark.slow
class TestHostileAnswers:
    def test_markup_stays_text(self, open_page: Any, script: Script) -> None:
        script.answers = ["\n\n".join(ATTACKS)]
        page = open_page()
        ask(page, "\n".join(ATTACKS))
        page.mouse.move(400, 300)
        for tag, attributes in page.eval_on_selector(".text", SEEN):
            assert tag in ALLOWED
            for attribute in attributes:
                assert not re.match(r"on|style|src=", attribute)
                assert not attribute.startswith("href=") or attribute.startswith("href=https://")
        text = page.text_content(".text")
        for piece in (
            "<script>window.hit = 1</script>",
            "javascript:window.hit=1",
            "&lt;script&gt;",
        ):
            assert piece in text
        for link in page.locator(".text a").all():
            assert link.get_attribute("rel") == "noopener noreferrer"
        assert page.evaluate("window.hit") is None
        assert (
            said(page)[0] == "\n".join(ATTACKS).replace("\t", " ")
            or page.locator(".said *").count() == 0
        )
        assert (
            page.locator("#list *:not(li):not(a):not(div):not(button):not(svg):not(path)").count()
            == 0
        )

    def test_names_and_errors_stay_text(self, open_page: Any, script: Script) -> None:
        script.error = (400, ATTACKS[1])
        page = open_page()
        page.set_input_files(
            "#files", {"name": ATTACKS[1] + ".png", "mimeType": "image/png", "buffer": picture()}
        )
        page.wait_for_selector("#tray li")
        ask(page, "")
        assert page.inner_text(".failed") == ATTACKS[1]
        assert page.evaluate("window.hit") is None

    @pytest.mark.parametrize(
        "text",
        [
            "|" + "a|" * 400 + "\n|" + "-|" * 400 + "\n" + ("|" + "x|" * 400 + "\n") * 50,
            "[" * 100_000,
            "*a **b _c " * 10_000,
            "`" * 99_999 + " " + "``a" * 20_000,
            ">" * 50_000 + " deep",
            "\n".join(" " * (2 * depth) + "- x" for depth in range(400)),
            "https://" + "a.)" * 40_000,
            "[a](" * 30_000,
            "- " * 60_000,
            "\\" * 100_001,
        ],
        ids=[
            "table",
            "open",
            "marks",
            "ticks",
            "quotes",
            "list",
            "address",
            "links",
            "items",
            "slashes",
        ],
    )
    def test_huge_answers_do_not_hang_the_page(self, open_page: Any, text: str) -> None:
        page = open_page()
        took, shown = page.evaluate(
            """async (text) => {
              const { render } = await import("/page/markdown.js");
              const into = document.createElement("div");
              const began = performance.now();
              render(text, into);
              return [performance.now() - began, into.querySelectorAll("td").length];
            }""",
            text,
        )
        assert took < 2000
        assert shown == 0


@pytest.mark.slow
class TestEverybody:
    def test_chinese_by_the_browser_and_by_the_switch(self, open_page: Any) -> None:
        page = open_page(locale="zh-CN")
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        assert page.get_attribute("#send", "aria-label") == "\u53d1\u9001"
        page.click("#panel-open")
        page.select_option("[name=language]", "en")
        until(page, "document.documentElement.lang === 'en'")
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.get_attribute("#send", "aria-label") == "Send"

    def test_light_and_dark(self, open_page: Any) -> None:
        page = open_page(color_scheme="dark")
        ink = "getComputedStyle(document.body).color"
        assert page.evaluate(ink) == "rgb(232, 230, 225)"
        page.click("#panel-open")
        page.select_option("[name=theme]", "light")
        assert page.evaluate(ink) == "rgb(28, 36, 48)"
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.evaluate(ink) == "rgb(28, 36, 48)"

    def test_keys_alone_do_everything(self, open_page: Any, script: Script) -> None:
        page = open_page()
        assert page.evaluate("document.activeElement.id") == "say"
        page.keyboard.type("one")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("two")
        page.evaluate(
            """() => document.getElementById("say").dispatchEvent(
              new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true }))"""
        )
        assert script.requests == []
        page.keyboard.press("Enter")
        page.wait_for_selector(DONE)
        assert script.requests[0]["messages"][0]["content"] == "one\ntwo"
        order = []
        page.focus("#side-close")
        for _ in range(30):
            order.append(page.evaluate("document.activeElement.id"))
            page.keyboard.press("Tab")
        known = [
            "new",
            "export",
            "import",
            "side-open",
            "model",
            "panel-open",
            "thread",
            "say",
            "attach",
        ]
        assert [each for each in order if each in known][: len(known)] == known
        page.focus("#panel-open")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "panel-close"
        page.keyboard.press("Escape")
        assert not page.is_visible("#panel")

    def test_a_narrow_screen_shows_everything(self, open_page: Any, script: Script) -> None:
        script.answers = [ANSWER + "x" * 300]
        page = open_page(viewport={"width": 360, "height": 640})
        attach(page, 2)
        ask(page, "y" * 200)
        page.click("#panel-open")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.click("#panel-close")
        thread = "(e) => [e.scrollWidth - e.clientWidth, e.clientHeight]"
        over, height = page.eval_on_selector("#thread", thread)
        assert over == 0
        assert height > 250
        page.click("#side-open")
        page.click("#new")
        page.wait_for_selector("#side", state="hidden")

    @pytest.mark.parametrize(
        "options",
        [{"color_scheme": "light"}, {"color_scheme": "dark", "locale": "zh-CN"}],
        ids=["light", "dark-zh"],
    )
    @pytest.mark.parametrize("width", [360, 1200])
    def test_axe_finds_nothing(
        self, open_page: Any, script: Script, options: dict[str, str], width: int
    ) -> None:
        package = pytest.importorskip("axe_playwright_python")
        axe = (Path(package.__file__).parent / "axe.min.js").read_text("utf-8")
        page = open_page(viewport={"width": width, "height": 700}, **options)
        page.evaluate(axe)

        def check() -> None:
            found = page.evaluate("axe.run(document)")["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []

        check()
        script.answers = [ANSWER]
        attach(page, 2)
        check()
        ask(page, "What?")
        script.error = (429, "busy")
        ask(page, "What?")
        check()
        page.click("#panel-open")
        check()
        page.click("#panel-close")
        page.click("#mic")
        page.wait_for_selector("#recording:not([hidden])")
        check()


@pytest.mark.slow
class TestTalking:
    """The page at ``/talk``, with our own server: the fake microphone beeps once a second."""

    def test_it_listens_answers_and_ends(self, open_page: Any) -> None:
        loopback = pytest.importorskip("tests.serve.loopback")
        with loopback.serving() as server:
            page = open_page(server.url)
            page.wait_for_selector("#model option", state="attached")
            page.click("#panel-open")
            page.fill("[name=max_tokens]", "6")
            page.click("header a")
            page.wait_for_selector("html[data-ready]")
            assert page.inner_text("#model") == "toy"
            page.evaluate(
                "() => { const start = AudioBufferSourceNode.prototype.start; window.played = 0;"
                "AudioBufferSourceNode.prototype.start = function (...at) {"
                "window.played += 1; start.apply(this, at); } }"
            )
            page.click("#go")
            page.wait_for_selector("#phase[data-phase=hearing]")
            until(page, "document.getElementById('level').value > 0.2")
            page.fill("#say", "What do you see?")
            page.press("#say", "Enter")
            page.wait_for_selector(".turn.user >> text=What do you see?")
            page.wait_for_selector(".turn.assistant")
            assert page.locator("#notices p").all_inner_texts() in (
                [],
                ["This server does not read answers aloud."],
            )
            if find_spec("espeakng_loader") and re.search(r"\w", page.inner_text(".text")):
                until(page, "window.played > 0")
            page.click("#go")
            assert page.inner_text("#go") == "Start talking"
            assert server.idle(20.0)

    def test_a_model_that_hears_nothing_says_so(self, open_page: Any) -> None:
        loopback = pytest.importorskip("tests.serve.loopback")
        engine = loopback.Engine(*loopback.toy())
        with loopback.serving(engines={"deaf": engine}) as server:
            processor, ears = engine.processor, engine.processor.sounds
            processor.sounds = None
            try:
                page = open_page(f"{server.url}/talk")
                page.click("#go")
                page.wait_for_selector("#notices >> text=hears nothing")
                assert page.inner_text("#go") == "Start talking"
            finally:
                processor.sounds = ears

    def test_a_locked_server_says_so(self, open_page: Any) -> None:
        loopback = pytest.importorskip("tests.serve.loopback")
        options = loopback.ServeOptions(keys=loopback.Keys([KEY]))
        with loopback.serving(options) as server:
            page = open_page(f"{server.url}/talk")
            page.click("#go")
            page.wait_for_selector("#notices >> text=wants the key")
            page.evaluate(f"sessionStorage.setItem('hocket.key', '{KEY}')")
            page.click("#go")
            page.wait_for_selector("#phase[data-phase]:not([data-phase=''])")

    @pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
    @pytest.mark.parametrize("width", [360, 1200])
    def test_axe_finds_nothing_here_either(
        self, open_page: Any, site: tuple[str, Script], locale: str, width: int
    ) -> None:
        package = pytest.importorskip("axe_playwright_python")
        axe = (Path(package.__file__).parent / "axe.min.js").read_text("utf-8")
        view = {"width": width, "height": 640}
        page = open_page(f"{site[0]}/talk", viewport=view, locale=locale)
        page.evaluate(axe)
        found = page.evaluate("axe.run(document)")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
class TestRealServer:
    def test_our_server_answers_the_page(self, open_page: Any, tmp_path: Path) -> None:
        loopback = pytest.importorskip("tests.serve.loopback")
        with loopback.serving() as server:
            page = open_page(server.url)
            page.wait_for_selector("#model option", state="attached")
            attach(page, 2)
            film = {"name": "c.mp4", "mimeType": "video/mp4", "buffer": loopback.mp4(tmp_path)}
            page.set_input_files("#files", film)
            page.wait_for_selector("#tray video")
            page.click("#panel-open")
            page.fill("[name=max_tokens]", "8")
            page.fill("[name=seed]", "1")
            ask(page, "What?")
            assert page.locator(".failed").count() == 0
            assert re.match(r"\d+ tokens in \u00b7 8 out", page.inner_text(".stats"))
            page.fill("[name=max_tokens]", "0")
            ask(page, "What?")
            assert "max_tokens" in page.inner_text(".failed")

    def test_a_locked_server_opens_with_its_key(self, open_page: Any) -> None:
        loopback = pytest.importorskip("tests.serve.loopback")
        options = loopback.ServeOptions(keys=loopback.Keys([KEY]))
        with loopback.serving(options) as server:
            page = open_page(server.url)
            page.wait_for_selector("#panel")
            assert "key" in page.inner_text("#notices")
            page.keyboard.type(KEY)
            page.keyboard.press("Enter")
            page.wait_for_selector("#model option", state="attached")
