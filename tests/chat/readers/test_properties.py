"""Generated dialogues in every format: no medium lost, order kept, text unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.chat.readers.rows import make_files, media_of, read

from hocket.chat.conversation import Conversation, Role, Text
from hocket.chat.readers._turns import PLACE
from hocket.chat.states import STATES

Parts = list[Any]
Dialogue = list[tuple[Parts, str]]
# A medium is (kind, path) or (kind, the paths of its frames).
MEDIA = [
    ("image", "coco/a.png"),
    ("image", "coco/b.png"),
    ("audio", "audio/a.wav"),
    ("audio", "audio/b.flac"),
    ("video", "clips/a.mp4"),
    ("video", ["coco/a.png", "coco/b.png"]),
]
PROFILE = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
letters = st.characters(exclude_categories=["Cs"])
words = st.text(st.one_of(letters, st.sampled_from("<>\n image")), max_size=12)
plain = words.filter(lambda text: not PLACE.search(text))
answers = st.one_of(words, st.just("It says <image>.")).filter(
    lambda text: bool(text.strip()) and not text.startswith(STATES)
)
questions = st.lists(st.one_of(plain, st.sampled_from(MEDIA)), max_size=5)
dialogues = st.lists(st.tuples(questions, answers), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_files(tmp_path_factory.mktemp("media"))


def written(parts: Parts) -> str:
    """Join texts and placeholders; pieces of text cannot become a placeholder together."""
    text = ""
    for part in parts:
        piece = part if isinstance(part, str) else f"<{part[0]}>"
        if isinstance(part, str) and len(PLACE.findall(text + piece)) > len(PLACE.findall(text)):
            piece = "\n" + piece
        text += piece
    return text


def lists(dialogue: Dialogue) -> dict[str, list[Any]]:
    media = [part for parts, _ in dialogue for part in parts if not isinstance(part, str)]
    kinds = {kind: [name for one, name in media if one == kind] for kind, _ in MEDIA}
    return {f"{kind}s": names for kind, names in kinds.items() if names}


def turns(dialogue: Dialogue, who: tuple[str, str, str, str]) -> list[dict[str, str]]:
    from_, value, human, gpt = who
    return [
        turn
        for parts, answer in dialogue
        for turn in (
            {from_: human, value: written(parts)},
            {from_: gpt, value: answer},
        )
    ]


def llava(dialogue: Dialogue) -> dict[str, Any]:
    return {"conversations": turns(dialogue, ("from", "value", "human", "gpt")), **lists(dialogue)}


def swift(dialogue: Dialogue) -> dict[str, Any]:
    return {
        "messages": turns(dialogue, ("role", "content", "user", "assistant")),
        **lists(dialogue),
    }


def openai(dialogue: Dialogue) -> dict[str, Any]:
    messages: list[Any] = []
    for parts, answer in dialogue:
        content = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": part[0], part[0]: part[1]}
            for part in parts
        ]
        messages += [
            {"role": "user", "content": content},
            {"role": "assistant", "content": answer},
        ]
    return {"messages": messages}


FORMATS: list[tuple[str, Callable[[Dialogue], dict[str, Any]]]] = [
    ("llava", llava),
    ("ovis", llava),
    ("vila", llava),
    ("vita", llava),
    ("sharegpt", llava),
    ("sharegpt", swift),
    ("openai", openai),
]


def texts(conversation: Conversation, role: Role) -> list[str]:
    return [
        "".join(part.text if isinstance(part, Text) else "\0" for part in message.parts)
        for message in conversation.messages
        if message.role is role
    ]


@pytest.mark.parametrize(("reader", "write"), FORMATS)
@PROFILE
@given(dialogue=dialogues)
def test_text_and_media_come_through(
    reader: str, write: Callable[[Dialogue], dict[str, Any]], dialogue: Dialogue, root: Path
) -> None:
    conversation = read(reader, write(dialogue), root)
    media = [part for parts, _ in dialogue for part in parts if not isinstance(part, str)]
    assert media_of(conversation, root) == media
    joined = ["".join(part if isinstance(part, str) else "\0" for part in p) for p, _ in dialogue]
    asked = joined if reader == "openai" else [PLACE.sub("\0", written(p)) for p, _ in dialogue]
    assert texts(conversation, Role.USER) == asked
    said = texts(conversation, Role.ASSISTANT)
    if reader == "vita":
        assert all(text[0] in STATES for text in said)
        said = [text[1:] for text in said]
    assert said == [answer for _, answer in dialogue]


@pytest.mark.parametrize("reader", ["llava", "ovis", "vila", "vita", "sharegpt", "text", "dpo"])
@PROFILE
@given(media=st.lists(st.sampled_from(MEDIA), min_size=1, max_size=6), asked=plain)
def test_media_without_places_go_in_front_in_their_order(
    reader: str, media: list[Any], asked: str, root: Path
) -> None:
    row: dict[str, Any] = lists([(media, "")])
    row |= {
        "text": {"prompt": asked, "response": "Yes."},
        "dpo": {"prompt": asked, "chosen": "Yes.", "rejected": "No."},
    }.get(reader, {"conversations": turns([([asked], "Yes.")], ("from", "value", "human", "gpt"))})
    conversation = read(reader, row, root)
    assert media_of(conversation, root) == sorted(media, key=lambda one: _ORDER[one[0]])
    assert texts(conversation, Role.USER) == ["\0\n" * len(media) + asked]


_ORDER = {"image": 0, "audio": 1, "video": 2}
