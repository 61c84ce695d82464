r"""Turns of a dialogue and the places of media in them: the rule that all readers of turns share.

``<image>``, ``<audio>`` and ``<video>`` in turns of the user (and of tools, where there are any)
stand for the media of the row in order. A kind that no turn has a place for goes before the first
user turn, each medium followed by a newline: LLaVA's ``<image>\n``. Any other difference in number
is an error. A place in a system or assistant turn is plain text.

Knows rows, turns and media that were found already; must not know paths or files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hocket._errors import (
    EmptyAnswerError,
    PlaceholderError,
    ReaderError,
    TurnOrderError,
    did_you_mean,
)
from hocket.chat.conversation import Conversation, Json, Medium, Message, Part, Role, Text
from hocket.chat.readers._calls import written_calls
from hocket.chat.readers._media import NOUNS, References
from hocket.chat.readers._rows import Row, Sample, counted, kind_of, names_of, short, text_of

PLACE = re.compile(r"<(image|audio|video)>")
"""What stands for a medium in a turn."""
LLAVA_SPEAKERS = {
    "system": Role.SYSTEM,
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "ignored_gpt": Role.ASSISTANT,
}
"""Who speaks in rows of LLaVA and its successors; what ``ignored_gpt`` says is not learned."""
_UNTRAINED = "ignored_gpt"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as its row holds it.

    Attributes:
        role: who speaks.
        text: what is said, media as placeholders.
        place: the row, the turn and its speaker, for messages.
        train: whether the text is learned; None leaves that to the role.
        extra: what else the turn carries.
        call: whether the text is a call of tools in a turn of its own.
    """

    role: Role
    text: str
    place: str
    train: bool | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)
    call: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """How a format writes its turns.

    Attributes:
        turns: key of the list of turns.
        who: key of the speaker.
        what: key of the text.
        speakers: name of a speaker -> role.
        calls: speakers whose text is a call of tools, as JSON.
        train: key of a turn that says whether it is learned, true, false, 1 or 0; empty for none.
        silent: numbers of the turns that may be an empty answer.
        any_value: take numbers and true or false as text, as VILA does.
    """

    turns: str = "conversations"
    who: str = "from"
    what: str = "value"
    speakers: Mapping[str, Role] = field(default_factory=lambda: LLAVA_SPEAKERS)
    calls: Collection[str] = ()
    train: str = ""
    silent: Collection[int] = ()
    any_value: bool = False


def read_turns(row: Row, grammar: Grammar, at: str) -> list[Turn]:
    """Return the turns of a row; their order is not checked yet.

    Raises:
        ReaderError: no list of turns, or a turn of another shape.
    """
    key = grammar.turns
    if key not in row:
        raise ReaderError(
            f"{at}: no key '{key}' (found: {names_of(row)}), expected a list of turns. "
            f"Rename the key or choose another reader."
        )
    found = row[key]
    if not isinstance(found, list):
        raise ReaderError(
            f"{at}: '{key}' is {kind_of(found)}, expected a list of turns. Put the turns in [ ]."
        )
    if not found:
        raise ReaderError(
            f"{at}: '{key}' is empty, expected a human and a gpt turn. Add them or remove the row."
        )
    return [
        _turn(one, grammar, f"{at}: {key}[{index}]", may_be_empty=index in grammar.silent)
        for index, one in enumerate(found)
    ]


def check_order(turns: Sequence[Turn], key: str, at: str) -> None:
    """Check who speaks after whom: an optional system turn, then user and assistant in turns.

    Results of tools stand between two turns of the assistant.

    Raises:
        TurnOrderError: another order.
    """
    first = 1 if turns[0].role is Role.SYSTEM else 0
    if first == len(turns):
        raise TurnOrderError(
            f"{at}: '{key}' holds a system turn only, expected a human turn after it. "
            f"Add one or remove the row."
        )
    for index, turn in enumerate(turns[first:], start=first):
        if turn.role is Role.SYSTEM:
            raise TurnOrderError(
                f"{turn.place}, but a system turn may only be the first. Move or remove it."
            )
        if index == first:
            if turn.role is not Role.USER:
                raise TurnOrderError(
                    f"{turn.place}, expected 'human' to speak first. "
                    f"Add the question or remove the turn."
                )
            continue
        _check_after(turn, turns[index - 1].role)


def leading_places(turns: Sequence[Turn], references: References, at: str) -> str:
    """Return the placeholders to put before the first user turn, having compared the numbers.

    Raises:
        PlaceholderError: other numbers of placeholders and media.
    """
    held = [(turn, kind) for turn in turns for kind in PLACE.findall(turn.text)]
    asked = Counter(kind for turn, kind in held if _holds_media(turn))
    anywhere = {kind for _, kind in held}
    front = ""
    for kind, noun in NOUNS.items():
        wanted, given = asked[kind], len(references.get(kind, ()))
        if wanted == given:
            continue
        if given and kind not in anywhere:
            front += f"<{kind}>\n" * given
            continue
        text = ", and one in another turn is plain text" if kind in anywhere and not wanted else ""
        raise PlaceholderError(
            f"{at}: {counted(wanted, f'<{kind}> placeholder')} but {counted(given, noun)}{text}. "
            f"Edit the row so that its human turns hold one <{kind}> for each {noun}."
        )
    return front


def filled(turns: Sequence[Turn], front: str, media: Mapping[str, list[Medium]]) -> list[Message]:
    """Return the messages of turns, placeholders replaced by the media in order.

    Args:
        turns: in order, see `check_order`.
        front: placeholders for the first user turn, see `leading_places`.
        media: as many of each kind as there are placeholders.
    """
    left = {kind: list(found) for kind, found in media.items()}
    messages = []
    for turn in turns:
        if front and turn.role is Role.USER:
            turn = replace(turn, text=front + turn.text)
            front = ""
        parts: tuple[Part, ...] = (Text(turn.text),)
        if _holds_media(turn):
            parts = _parts(turn.text, left)
        messages.append(Message(turn.role, parts, turn.train))
    return messages


def conversation_of(
    sample: Sample,
    where: str,
    turns: Sequence[Turn],
    references: References,
    find: Callable[[References], Mapping[str, list[Medium]]],
    meta: Mapping[str, Json],
) -> Conversation:
    """Return turns in the right order as a conversation.

    Args:
        sample: name of the row.
        where: data set, file and row number.
        turns: in order, see `check_order`.
        references: the media of the row.
        find: looks for their files; called after the numbers were compared.
        meta: what the reader has no place for.

    Raises:
        ReaderError: other numbers of placeholders and media.
        MediaError: a path that no file has.
    """
    front = leading_places(turns, references, sample.at)
    messages = filled(turns, front, find(references))
    return Conversation(id=sample.id, messages=tuple(messages), meta=meta, source=where)


def extras(key: str, turns: Sequence[Turn]) -> dict[str, Json]:
    """Return what the turns carry besides speaker and text, under the key of their list.

    The value holds the number of a turn as text -> its further keys; nothing if there are none.
    """
    found: dict[str, Json] = {
        str(index): dict(turn.extra) for index, turn in enumerate(turns) if turn.extra
    }
    return {key: found} if found else {}


def _turn(turn: Json, grammar: Grammar, at: str, *, may_be_empty: bool) -> Turn:
    who, what = grammar.who, grammar.what
    if not isinstance(turn, dict):
        raise ReaderError(
            f"{at} is {kind_of(turn)}, expected an object with '{who}' and '{what}'. "
            f"Correct the turn."
        )
    for key in (who, what):
        if key not in turn:
            raise ReaderError(
                f"{at} has no '{key}' (found: {names_of(turn)}), expected '{who}' and '{what}'. "
                f"Rename its keys or choose another reader."
            )
    speaker, value = turn[who], turn[what]
    role = role_of(speaker, grammar.speakers, f"{at}.{who}")
    if grammar.any_value and isinstance(value, int | float):
        value = str(value)
    value = text_of(value, f"{at}.{what}")
    if role is Role.ASSISTANT and not value.strip() and not may_be_empty:
        raise EmptyAnswerError(
            f"{at}.{what} is empty, expected the answer of {speaker!r}. "
            f"Fill it in or remove the row."
        )
    call = speaker in grammar.calls
    if call:
        value = written_calls(value, f"{at}.{what}")
    train = False if speaker == _UNTRAINED else trained(turn, grammar.train, at)
    own = (who, what, grammar.train)
    extra = {key: found for key, found in turn.items() if key not in own}
    return Turn(role, value, f"{at}.{who} is {speaker!r}", train, extra, call)


def role_of(speaker: Json, speakers: Mapping[str, Role], at: str) -> Role:
    """Return the role of a speaker; ``at`` names the row, the turn and the key.

    Raises:
        ReaderError: nobody of that name speaks in this format.
    """
    if not isinstance(speaker, str) or speaker not in speakers:
        hint = did_you_mean(speaker, speakers) if isinstance(speaker, str) else ""
        raise ReaderError(
            f"{at} is {short(speaker)}.{hint} Expected one of: {', '.join(speakers)}."
        )
    return speakers[speaker]


def trained(turn: Row, key: str, at: str) -> bool | None:
    """Return whether a turn says that it is learned: true, false, 1 or 0; None without the key.

    Raises:
        ReaderError: the key holds something else.
    """
    value = turn.get(key) if key else None
    if value is None:
        return None
    if not isinstance(value, int | float) or value not in (0, 1):
        raise ReaderError(
            f"{at}.{key} is {short(value)}, expected true or false (1 or 0). Correct it."
        )
    return bool(value)


def _check_after(turn: Turn, before: Role) -> None:
    role = turn.role
    if role is Role.TOOL:
        if before is Role.USER:
            raise TurnOrderError(
                f"{turn.place} right after the question, expected a call of the tool before its "
                f"result. Add the call or remove the turn."
            )
        return
    if role is before:
        raise TurnOrderError(
            f"{turn.place}, like the turn before; expected human and gpt in turns. "
            f"Merge the two turns or add the one between them."
        )
    if role is Role.USER and before is Role.TOOL:
        raise TurnOrderError(
            f"{turn.place} right after a tool's result, expected the assistant. "
            f"Add its answer or remove the turn."
        )


def _holds_media(turn: Turn) -> bool:
    return turn.role in (Role.USER, Role.TOOL)


def _parts(text: str, media: Mapping[str, list[Medium]]) -> tuple[Part, ...]:
    """Cut the text at its placeholders and take the media from the front of their lists."""
    parts: list[Part] = []
    # With one group in the pattern, every second piece is what the group matched.
    for index, piece in enumerate(PLACE.split(text)):
        if index % 2:
            parts.append(media[piece].pop(0))
        elif piece:
            parts.append(Text(piece))
    return tuple(parts)
