"""A spoken dialogue with a scripted model, and with the whole server."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import websockets.sync.client as sockets
from starlette.websockets import WebSocketDisconnect
from tests.serve.loopback import serving
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from hocket.chat.conversation import Conversation, Role
from hocket.media.audio import Audio
from hocket.serve.app import ServeOptions
from hocket.serve.duplex.activity import RATE
from hocket.serve.duplex.session import Session, SessionOptions
from hocket.serve.duplex.speech import Espeak, Sentences
from hocket.serve.endpoints import duplex as endpoint
from hocket.serve.errors import ApiError
from hocket.serve.keys import Keys

QUERY, NOISE = "\u261e", "\u261f"
QUIET = np.zeros(RATE, np.int16)
_SECONDS = np.arange(RATE // 2) / RATE
LOUD = (8000 * np.sin(2 * np.pi * 300 * _SECONDS)).astype(np.int16)


class Client:
    """Sends what a script says, each step when the one before has had its effect."""

    def __init__(self, *steps: bytes | str | Callable[[Client], bool]) -> None:
        self.events: list[dict[str, Any]] = []
        self.sounds: list[bytes] = []
        self._steps = list(steps)

    async def receive(self) -> bytes | str | None:
        """Return the next message; a step that is a condition is waited for."""
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, bytes | str):
                return step
            for _ in range(500):
                if step(self):
                    break
                await asyncio.sleep(0.01)
            else:
                raise AssertionError(f"it never came: {self.events}")
        return None

    async def send(self, message: bytes | str) -> None:
        """Note a message."""
        if isinstance(message, bytes):
            self.sounds.append(message)
        else:
            self.events.append(json.loads(message))

    def kinds(self) -> list[str]:
        """Return the events but for the phases."""
        return [one["type"] for one in self.events if one["type"] != "phase"]


class Model:
    """Answers from a list; an answer of None never ends."""

    def __init__(self, *answers: Sequence[str | None] | ApiError) -> None:
        self.asked: list[Conversation] = []
        self.cancelled = 0
        self._answers = list(answers)

    async def __call__(self, conversation: Conversation) -> AsyncGenerator[str, None]:
        """Answer."""
        self.asked.append(conversation)
        answer = self._answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        try:
            for piece in answer:
                if piece is None:
                    await asyncio.sleep(3600)
                else:
                    await asyncio.sleep(0)
                    yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise


class Voice:
    """Speaks a sample for each letter."""

    rate = 8000

    def say(self, sentence: str) -> npt.NDArray[np.int16]:
        """Return as many ones as letters."""
        return np.ones(len(sentence), np.int16)


def spoken(*, quiet: int = 1) -> bytes:
    return np.concatenate([QUIET, LOUD, *[QUIET] * quiet]).tobytes()


def saw(kind: str, count: int = 1) -> Callable[[Client], bool]:
    return lambda client: client.kinds().count(kind) >= count


def talk(client: Client, model: Model, **options: Any) -> None:
    speech = options.pop("speech", None)
    session = Session(client, model, SessionOptions(**options), speech)
    asyncio.run(asyncio.wait_for(session.run(), 20))


def test_a_question_is_answered_and_remembered() -> None:
    client = Client(spoken(), saw("answer_ended"), spoken(), saw("answer_ended", 2))
    model = Model([QUERY, "It is ", "red."], [QUERY + "Sure."])
    talk(client, model, system="Be kind.")
    assert client.kinds()[:8] == [
        "ready", "speech_started", "speech_ended", "deciding", "answer_started", "text", "text",
        "answer_ended",
    ]  # fmt: skip
    first, second = model.asked
    assert [one.role for one in first.messages] == [Role.SYSTEM, Role.USER]
    assert isinstance(first.messages[1].parts[0], Audio)
    assert [one.role for one in second.messages] == [
        Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER,
    ]  # fmt: skip
    assert second.messages[2].text == QUERY + "It is red."


def test_noise_is_forgotten() -> None:
    client = Client(spoken(), saw("ignored"), spoken(), saw("answer_ended"))
    model = Model([NOISE, "x", None], [QUERY, "Yes."])
    talk(client, model)
    assert model.cancelled == 1
    assert len(model.asked[1].messages) == 1


def test_a_question_interrupts_and_the_half_answer_is_remembered() -> None:
    client = Client(spoken(), saw("text"), spoken(), saw("answer_ended"), spoken(), saw("ignored"))
    model = Model([QUERY + "One, ", None], [QUERY + "Two."], [NOISE])
    talk(client, model)
    assert "interrupted" in client.kinds()
    assert model.cancelled >= 1
    assert [one.text for one in model.asked[1].messages] == ["", QUERY + "One, ", ""]
    assert [one.text for one in model.asked[2].messages] == [
        "", QUERY + "One, ", "", QUERY + "Two.", "",
    ]  # fmt: skip


def test_noise_leaves_an_answer() -> None:
    client = Client(spoken(), saw("text"), spoken(), saw("resumed"))
    talk(client, Model([QUERY + "One, ", None], [NOISE]))
    assert client.kinds()[-4:] == ["speech_ended", "deciding", "ignored", "resumed"]
    phases = [one["phase"] for one in client.events if one["type"] == "phase"]
    assert phases == ["hearing", "deciding", "answering", "interrupted", "answering"]


def test_written_questions_and_stop() -> None:
    text = json.dumps({"type": "text", "text": "Hello?"})
    client = Client(text, saw("text"), json.dumps({"type": "stop"}), saw("interrupted"))
    model = Model([QUERY + "Yes", None])
    talk(client, model)
    assert model.asked[0].messages[0].text == "Hello?"
    assert model.cancelled == 1


def test_what_leaves_no_room_is_forgotten_aloud() -> None:
    full = ApiError("too long", code="context_length_exceeded")
    client = Client(spoken(), saw("answer_ended"), spoken(), saw("answer_ended", 2))
    model = Model([QUERY + "One."], full, [QUERY + "Two."])
    talk(client, model)
    assert "forgot" in client.kinds()
    assert len(model.asked[2].messages) == 1


def test_faults_are_told() -> None:
    client = Client(spoken(), saw("error"))
    talk(client, Model(ApiError("no place at /srv/models/secret/x")))
    assert [one for one in client.events if one["type"] == "error"] == [
        {"type": "error", "message": "no place at ..."}
    ]


@pytest.mark.parametrize(
    "message", [b"x", b"x" * 10**6, "{", "[]", '{"type": "text"}', '{"type": "run"}', "[" * 10**5]
)
def test_what_is_no_message_ends_the_session(message: bytes | str) -> None:
    client = Client(message, spoken())
    talk(client, Model())
    assert client.kinds() == ["ready", "error"]


def test_a_model_that_never_decides() -> None:
    client = Client(spoken(), saw("ignored"))
    model = Model([None])
    talk(client, model, decide_seconds=0.05)
    assert next(one for one in client.events if one["type"] == "ignored")["reason"] == "late"
    assert model.cancelled == 1


def test_nothing_for_too_long() -> None:
    class Silent(Client):
        async def receive(self) -> bytes | str | None:
            await asyncio.sleep(3600)
            return None

    client = Silent()
    talk(client, Model(), idle_seconds=0.05)
    assert client.kinds() == ["ready", "error"]


def test_answers_are_spoken_sentence_by_sentence() -> None:
    client = Client(spoken(), lambda one: len(one.sounds) == 3)
    talk(client, Model([QUERY + "It is", " red. And blue", "! Or gr", "een"]), speech=Voice())
    assert client.events[0]["speech_rate"] == 8000
    said = [one["text"] for one in client.events if one["type"] == "speech"]
    assert said == ["It is red.", "And blue!", "Or green"]
    assert [len(one) // 2 for one in client.sounds] == [len(one) for one in said]


def test_sentences() -> None:
    cutter = Sentences()
    assert cutter.feed("3.14 is pi. 1") == ["3.14 is pi."]
    assert cutter.feed("\u4f60\u597d\u3002\u5417") == ["1\u4f60\u597d\u3002"]
    assert cutter.feed("\n\n") == ["\u5417"]
    assert all(len(one) <= 300 for one in cutter.feed("word " * 200))
    assert cutter.rest().startswith("word")


def test_espeak_speaks() -> None:
    pytest.importorskip("espeakng_loader")
    voice = Espeak()
    assert len(voice.say("It is red.")) > voice.rate // 4
    assert len(voice.say("...")) == 0
    assert len(voice.say("a\0b")) > 0


def test_the_whole_server() -> None:
    with serving() as server:
        url = server.url.replace("http", "ws") + "/v1/duplex"
        with sockets.connect(url, proxy=None) as link:
            link.send(json.dumps({"type": "start", "max_tokens": 3}))
            assert json.loads(link.recv(30))["type"] == "ready"
            link.send(spoken())
            found = []
            while "answer_ended" not in found and "ignored" not in found:
                found.append(json.loads(link.recv(60))["type"])
            assert found[:2] == ["speech_started", "phase"]
        assert server.idle()
        with sockets.connect(url, proxy=None) as link:
            link.send(json.dumps({"type": "start", "max_tokens": 200}))
            link.send(json.dumps({"type": "text", "text": "Hello?"}))
            while json.loads(link.recv(60))["type"] != "deciding":
                pass
        assert server.idle(), "the request of a client that is gone goes on"
        for first in ("", "{}", '{"type": "start", "model": "nothing"}', '{"type": "stop"}'):
            with sockets.connect(url, proxy=None) as link:
                link.send(first)
                with pytest.raises(Exception, match="1003"):
                    link.recv(30)


def test_a_client_that_is_gone_leaves_no_trace_in_the_log() -> None:
    class Gone:
        reasons: ClassVar[list[str]] = []

        async def close(self, code: int, reason: str) -> None:
            self.reasons.append(reason)
            raise WebSocketDisconnect(1006)

    asyncio.run(endpoint._Socket(Gone()).close(1003, "\u4f60" * 100))  # type: ignore[arg-type] # all that it needs
    assert Gone.reasons == ["\u4f60" * 40]


def test_the_example_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    code = page.split("<!-- duplex: start -->")[1].split("```py\n")[1].split("```")[0]
    with wave.open(str(tmp_path / "hello.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(spoken(quiet=0))
    monkeypatch.chdir(tmp_path)
    with serving() as server:
        place = server.url.removeprefix("http://")
        code = code.replace("127.0.0.1:8000", place).replace(
            '"start"}', '"start", "max_tokens": 3}'
        )
        exec(code, {})
    assert "'type': 'deciding'" in capsys.readouterr().out


def test_a_key_is_asked_for_here_too() -> None:
    with serving(ServeOptions(keys=Keys(["secret-of-many-letters"]))) as server:
        url = server.url.replace("http", "ws") + "/v1/duplex"
        with pytest.raises(InvalidStatus):
            sockets.connect(url, proxy=None)
        with pytest.raises(InvalidStatus):
            sockets.connect(url, proxy=None, origin=Origin("https://evil.example"))
        offered = [
            Subprotocol("realtime"),
            Subprotocol("openai-insecure-api-key.secret-of-many-letters"),
        ]
        with sockets.connect(url, proxy=None, subprotocols=offered) as link:
            assert link.subprotocol == "realtime"
            link.send('{"type": "start"}')
            assert json.loads(link.recv(30))["type"] == "ready"
