"""One spoken dialogue: sound and messages of a client in, requests and events out.

Knows the client as a `Channel` and the model as an `Asker`; must not know sockets or engines. All
that decides is in `hocket.serve.duplex.machine`; here is what takes time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from hocket._errors import HocketError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.chat.states import NOT_ADDRESSED, split_state
from hocket.media.audio import Audio
from hocket.serve.duplex.activity import RATE, Activity, ActivityOptions
from hocket.serve.duplex.machine import (
    Ask,
    Cancel,
    Dialogue,
    Happening,
    Hush,
    Late,
    Over,
    Said,
    Tell,
    Written,
    advance,
)
from hocket.serve.duplex.speech import Sentences, SpeechOutput
from hocket.serve.errors import ApiError, clean

PROTOCOL = 1
"""Version of the messages."""

Asker = Callable[[Conversation], AsyncGenerator[str, None]]
"""Answers a conversation piece by piece; closing the generator takes the request out."""

_WAITING = 256


class Channel(Protocol):
    """The other end."""

    async def receive(self) -> bytes | str | None:
        """Return the next message: sound, JSON, or None when the other end is gone."""
        ...

    async def send(self, message: bytes | str) -> None:
        """Send sound or JSON."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Limits and manners of a session.

    Attributes:
        activity: what counts as speech.
        barge_in: whether any speech ends an answer; else speech that asks for an answer does.
        decide_seconds: how long a candidate may take to its first word.
        idle_seconds: how long nothing may come.
        most_bytes: sound of one message.
        most_chars: text of one message.
        most_turns: questions that are remembered, with their answers.
        system: what the model is told before all.
    """

    activity: ActivityOptions = field(default_factory=ActivityOptions)
    barge_in: bool = False
    decide_seconds: float = 20.0
    idle_seconds: float = 300.0
    most_bytes: int = 10 * 2 * RATE
    most_chars: int = 8192
    most_turns: int = 32
    system: str = ""


@dataclass(slots=True)
class _Turn:
    """A question under way and what was said to it."""

    question: Message
    task: asyncio.Task[None]
    said: str = ""


class Session:
    """A dialogue with one client.

    Args:
        channel: the client.
        ask: the model.
        options: limits.
        speech: speaks the answers; None sends text alone.

    Attributes:
        dialogue: its state.
    """

    def __init__(
        self,
        channel: Channel,
        ask: Asker,
        options: SessionOptions | None = None,
        speech: SpeechOutput | None = None,
    ) -> None:
        self.options = options or SessionOptions()
        self.dialogue = Dialogue(barge_in=self.options.barge_in)
        self._channel, self._ask, self._speech = channel, ask, speech
        self._activity = Activity(self.options.activity)
        self._happenings: asyncio.Queue[Happening | None] = asyncio.Queue(_WAITING)
        self._turns: dict[int, _Turn] = {}
        self._past: list[Message] = []
        self._sentences = Sentences()
        self._aloud: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self._voiced = 0  # the answer that is spoken

    async def run(self) -> None:
        """Talk until the client goes."""
        speech = {} if self._speech is None else {"speech_rate": self._speech.rate}
        await self._send("ready", {"protocol": PROTOCOL, "rate": RATE, **speech})
        helpers = [asyncio.ensure_future(one) for one in (self._read(), self._speak())]
        try:
            while (what := await self._happenings.get()) is not None:
                before = self.dialogue.phase
                self.dialogue, actions = advance(self.dialogue, what)
                if isinstance(what, Said) and what.request in self._turns:
                    self._turns[what.request].said += what.text
                for action in actions:
                    await self._do(action)
                if isinstance(what, Over):
                    self._turns.pop(what.request, None)
                if self.dialogue.phase is not before:
                    await self._send("phase", {"phase": self.dialogue.phase.value})
        finally:
            tasks = [*helpers, *(turn.task for turn in self._turns.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, action: Ask | Cancel | Tell) -> None:
        match action:
            case Ask():
                self._begin(action)
            case Cancel():
                self._end(action.request)
            case Tell():
                await self._send(action.kind, dict(action.fields))
                self._after(action)

    def _begin(self, asked: Ask) -> None:
        """Hand a question in, behind all that was said before it."""
        part: Part = Text(asked.text)
        if asked.sound is not None:
            part = Audio.from_array(asked.sound, rate=RATE, name=f"question {asked.request}")
        question = Message(Role.USER, (part,))
        running = self._turns.get(self.dialogue.answering or 0)
        cut = _spoken(running) if running is not None and running.said else []
        task = asyncio.ensure_future(self._follow(asked.request, [*cut, question]))
        self._turns[asked.request] = _Turn(question, task)

    def _end(self, request: int) -> None:
        turn = self._turns.pop(request, None)
        if turn is None:
            return
        turn.task.cancel()
        token, text = split_state(turn.said)
        if text and token != NOT_ADDRESSED:
            self._remember(turn)

    def _after(self, told: Tell) -> None:
        """Note what an event means for what is remembered and spoken."""
        fields = dict(told.fields)
        answer = int(fields.get("answer") or 0)
        if told.kind in ("interrupted", "answer_started"):
            self._voiced = answer if told.kind == "answer_started" else 0
            self._sentences = Sentences()
            while not self._aloud.empty():
                self._aloud.get_nowait()
        elif told.kind == "answer_ended":
            turn = self._turns.get(answer)
            if turn is not None and turn.said:
                self._remember(turn)
            self._say(answer, [self._sentences.rest()])
        elif told.kind == "text":
            self._say(answer, self._sentences.feed(str(fields["text"])))

    def _remember(self, turn: _Turn) -> None:
        self._past += _spoken(turn)
        del self._past[: -2 * self.options.most_turns]

    def _say(self, answer: int, sentences: list[str]) -> None:
        if self._speech is not None:
            for one in filter(None, sentences):
                self._aloud.put_nowait((answer, one))

    async def _follow(self, request: int, newest: list[Message]) -> None:
        """Ask, and report what is said; forget the oldest turns where they leave no room."""
        late = asyncio.get_running_loop().call_later(
            self.options.decide_seconds, self._tell_late, request
        )
        fault = ""
        try:
            while True:
                try:
                    async with aclosing(self._ask(self._conversation(newest))) as pieces:
                        async for text in pieces:
                            late.cancel()
                            await self._happenings.put(Said(request, text))
                    break
                except ApiError as error:
                    if error.code != "context_length_exceeded" or not self._past:
                        raise
                    del self._past[:2]
                    await self._send("forgot", {"turns": 1})
        except HocketError as error:
            fault = clean(str(error))
        finally:
            late.cancel()
        await self._happenings.put(Over(request, fault))

    def _conversation(self, newest: list[Message]) -> Conversation:
        system = self.options.system
        first = [Message(Role.SYSTEM, (Text(system),))] if system else []
        messages = (*first, *self._past, *newest)
        return Conversation(id="duplex", messages=messages, source="duplex")

    def _tell_late(self, request: int) -> None:
        with suppress(asyncio.QueueFull):
            self._happenings.put_nowait(Late(request))

    async def _read(self) -> None:
        """Take what the client sends, until it goes or breaks a rule."""
        try:
            while True:
                limit = self.options.idle_seconds
                message = await asyncio.wait_for(self._channel.receive(), limit)
                if message is None:
                    return
                await self._taken(message)
        except TimeoutError:
            await self._send("error", {"message": "nothing came for too long; the session ends."})
        except ApiError as error:
            await self._send("error", {"message": clean(str(error))})
        finally:
            await self._happenings.put(None)

    async def _taken(self, message: bytes | str) -> None:
        if isinstance(message, bytes):
            if len(message) % 2 or len(message) > self.options.most_bytes:
                raise ApiError(
                    f"a message of {len(message)} bytes of sound, expected 16-bit samples, at most "
                    f"{self.options.most_bytes} bytes. Send 20 ms at a time."
                )
            for event in self._activity.push(message):
                await self._happenings.put(event)
            return
        await self._happenings.put(self._parsed(message))

    def _parsed(self, message: str) -> Happening:
        try:
            found = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise ApiError("a text message is not JSON. Send an object with 'type'.") from error
        kind = found.get("type") if isinstance(found, dict) else None
        if kind == "stop":
            return Hush()
        text = found.get("text") if kind == "text" else None
        if isinstance(text, str) and 0 < len(text) <= self.options.most_chars:
            return Written(text)
        raise ApiError(
            f"a message of the type {str(kind)[:40]!r}, expected 'stop', or 'text' with at most "
            f"{self.options.most_chars} characters in 'text'."
        )

    async def _speak(self) -> None:
        """Speak sentences one after the other, as long as their answer is wanted."""
        if self._speech is None:
            return
        while True:
            answer, sentence = await self._aloud.get()
            samples = await asyncio.to_thread(self._speech.say, sentence)
            if answer != self._voiced or not len(samples):
                continue
            about = {"answer": answer, "text": sentence, "samples": len(samples)}
            await self._send("speech", about)
            await self._channel.send(samples.astype("<i2").tobytes())

    async def _send(self, kind: str, fields: dict[str, Any]) -> None:
        await self._channel.send(json.dumps({"type": kind, **fields}, ensure_ascii=False))


def _spoken(turn: _Turn) -> list[Message]:
    """Return a question and what was said to it so far."""
    return [turn.question, Message(Role.ASSISTANT, (Text(turn.said),))]
