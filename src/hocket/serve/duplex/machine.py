"""Who speaks: the states of a spoken dialogue, as a function of what happened.

VITA lets one copy of its model talk and another listen; when what was heard asks for an answer,
they change places. Here both are requests of one engine: the answer that goes on, and the candidate
that would take its place. The candidate's first character, VITA's state token, decides. A model
that was never taught state tokens answers whatever it hears.

Nothing here waits, sends or computes: `advance` returns the next state and what is to be done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from hocket.chat.states import ANSWERS_AUDIO, ANSWERS_TEXT, NOT_ADDRESSED, split_state
from hocket.media.resample import Wave
from hocket.serve.duplex.activity import RATE, Begun, Ended

Json: TypeAlias = str | int | float | None
MOST_SECONDS = 120
"""Sound of one question: whoever never pauses would be asked about longer and longer ones."""


class Phase(StrEnum):
    """What a dialogue does."""

    LISTENING = "listening"
    HEARING = "hearing"
    DECIDING = "deciding"
    ANSWERING = "answering"
    INTERRUPTED = (
        "interrupted"  # an answer goes on and somebody speaks, or what they said is judged
    )


@dataclass(frozen=True, slots=True)
class Written:
    """Somebody wrote a question."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """The model said something more in answer to a question."""

    request: int
    text: str


@dataclass(frozen=True, slots=True)
class Over:
    """An answer ended; `fault` says why, where it failed."""

    request: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Hush:
    """Somebody wants the answer to end."""


@dataclass(frozen=True, slots=True)
class Late:
    """A candidate has taken too long to say whether it answers."""

    request: int


Happening: TypeAlias = Begun | Ended | Written | Said | Over | Hush | Late


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Hand a question in.

    Attributes:
        request: its number.
        sound: float32 (L,) at 16 kHz; None for a written question.
        text: the written question.
    """

    request: int
    sound: Wave | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Take a request out of the engine."""

    request: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the other end; `fields` are JSON beside ``type``."""

    kind: str
    fields: tuple[tuple[str, Json], ...] = ()


Action: TypeAlias = Ask | Cancel | Tell


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialogue:
    """A state.

    Attributes:
        hearing: whether somebody speaks.
        answering: the request whose answer goes on.
        candidate: the request that has yet to say whether it answers.
        question: sound of the candidate, for when its speaker goes on.
        opening: what the candidate said, until it is a whole state token.
        requests: how many there were.
        barge_in: whether any speech ends an answer, asked or not.
    """

    hearing: bool = False
    answering: int | None = None
    candidate: int | None = None
    question: Wave | None = None
    opening: str = ""
    requests: int = 0
    barge_in: bool = False

    @property
    def phase(self) -> Phase:
        """What the dialogue does."""
        if self.answering is not None:
            judged = self.hearing or self.candidate is not None
            return Phase.INTERRUPTED if judged else Phase.ANSWERING
        if self.hearing:
            return Phase.HEARING
        return Phase.LISTENING if self.candidate is None else Phase.DECIDING


Step: TypeAlias = tuple[Dialogue, list[Action]]

_KINDS = {ANSWERS_AUDIO: "spoken", ANSWERS_TEXT: "written", None: "none"}


def advance(now: Dialogue, what: Happening) -> Step:
    """Return the next state, and what is to be done, in order."""
    match what:
        case Begun():
            return _begun(now, what)
        case Ended():
            return _ended(now, what)
        case Written():
            return _asked(*_dropped(now), None, what.text)
        case Said():
            return _said(now, what)
        case Over():
            return _over(now, what)
        case Late():
            return _ignored(now, "late") if what.request == now.candidate else (now, [])
        case Hush():
            return _dropped(now)


def _begun(now: Dialogue, what: Begun) -> Step:
    actions: list[Action] = [Tell("speech_started", (("at_s", round(what.at_s, 3)),))]
    candidate = now.candidate
    # Whoever only drew breath has not finished the question: it is asked again, as a whole.
    if candidate is not None and now.question is not None:
        actions.append(Cancel(candidate))
        candidate = None
    if now.answering is not None:
        actions += _cut(now.answering, None) if now.barge_in else [_tell("held", now.answering)]
    answering = None if now.barge_in else now.answering
    opening = now.opening if candidate is not None else ""
    now = replace(now, hearing=True, candidate=candidate, opening=opening, answering=answering)
    return now, actions


def _ended(now: Dialogue, what: Ended) -> Step:
    told: list[Action] = [Tell("speech_ended", (("at_s", round(what.at_s, 3)),))]
    now = replace(now, hearing=False)
    parts = [one for one in (now.question, what.sound) if one is not None]
    if not parts:
        if now.candidate is not None:
            return now, told
        now, actions = _ignored(now, "short")
        return now, told + actions
    if now.candidate is not None:
        told += _cut(now.candidate, None)
    sound = np.concatenate(parts)
    if len(sound) > MOST_SECONDS * RATE:
        sound = sound[-MOST_SECONDS * RATE :].copy()
        told.append(
            Tell(
                "error",
                (("message", f"no pause for {MOST_SECONDS} s: what came before is left out."),),
            )
        )
    return _asked(now, told, sound, "")


def _asked(now: Dialogue, before: list[Action], sound: Wave | None, text: str) -> Step:
    number = now.requests + 1
    asked = replace(now, candidate=number, requests=number, question=sound, opening="")
    return asked, [*before, Ask(number, sound, text), _tell("deciding", number)]


def _said(now: Dialogue, what: Said) -> Step:
    if what.request == now.answering:
        return now, [_text(what.request, what.text)]
    opening = now.opening + what.text
    if what.request != now.candidate or not opening:
        return now, []
    token, text = split_state(opening)
    if token == NOT_ADDRESSED:
        found, actions = _ignored(now, "noise")
        return found, [Cancel(what.request), *actions]
    actions = [] if now.answering is None else _cut(now.answering, what.request)
    kind = (("answer", what.request), ("state", _KINDS[token]))
    actions.append(Tell("answer_started", kind))
    if text:
        actions.append(_text(what.request, text))
    taken = replace(now, answering=what.request, candidate=None, question=None, opening="")
    return taken, actions


def _over(now: Dialogue, what: Over) -> Step:
    reason = "failed" if what.fault else "done"
    told: list[Action] = [Tell("error", (("message", what.fault),))] if what.fault else []
    if what.request == now.answering:
        ended = Tell("answer_ended", (("answer", what.request), ("reason", reason)))
        return replace(now, answering=None), [*told, ended]
    if what.request == now.candidate:
        now, actions = _ignored(now, "failed" if what.fault else "empty")
        return now, told + actions
    return now, []


def _ignored(now: Dialogue, reason: str) -> Step:
    """Forget what was heard; an answer that was held goes on."""
    actions: list[Action] = [Tell("ignored", (("reason", reason),))]
    if reason == "late" and now.candidate is not None:
        actions.insert(0, Cancel(now.candidate))
    if now.answering is not None:
        actions.append(_tell("resumed", now.answering))
    return replace(now, candidate=None, question=None, opening=""), actions


def _dropped(now: Dialogue) -> Step:
    """End the answer and the candidate."""
    actions: list[Action] = [] if now.candidate is None else [Cancel(now.candidate)]
    if now.answering is not None:
        actions += _cut(now.answering, None)
    return replace(now, answering=None, candidate=None, question=None, opening=""), actions


def _cut(answer: int, by: int | None) -> list[Action]:
    return [Cancel(answer), Tell("interrupted", (("answer", answer), ("by", by)))]


def _text(answer: int, text: str) -> Tell:
    return Tell("text", (("answer", answer), ("text", text)))


def _tell(kind: str, answer: int) -> Tell:
    return Tell(kind, (("answer", answer),))
