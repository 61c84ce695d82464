from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hocket._errors import MediaError, ReaderError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.readers import readers
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video

ROWS = json.loads((Path(__file__).parents[2] / "data" / "llava.json").read_text("utf-8"))
FILES = ["images/a.png", "images/b.png", "audio/a.wav", "audio/b.flac", "video/a.mp4"]
TURNS = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"never opened by a reader")
    return tmp_path


def read(row: Any, root: Path, where: str = "data.json row 41") -> Conversation:
    return readers.get("llava")(row, root=root, where=where)


def ask(value: str, **media: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": value}, {"from": "gpt", "value": "Yes."}]
    return {"id": "x", "conversations": turns, **media}


def kind_of(medium: object) -> str:
    return {Image: "image", Audio: "audio", Video: "video"}[type(medium)]


def paths_of(medium: Image | Audio | Video, root: Path) -> str | list[str]:
    if isinstance(medium, Video) and medium.pictures:
        return [one.path.relative_to(root).as_posix() for one in medium.pictures]
    assert medium.where.path is not None
    return medium.where.path.relative_to(root).as_posix()


def text_of(message: Message) -> str:
    parts = (
        part.text if isinstance(part, Text) else f"<{kind_of(part)}>" for part in message.parts
    )
    return "".join(parts)


def row_of(conversation: Conversation, root: Path) -> dict[str, Any]:
    """Write a conversation as the row it came from, in one spelling of the keys."""
    row: dict[str, Any] = {"id": conversation.id, **conversation.meta}
    for medium in conversation.media():
        row.setdefault(f"{kind_of(medium)}s", []).append(paths_of(medium, root))
    speakers = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt"}
    row["conversations"] = [
        {
            "from": "ignored_gpt" if message.train is False else speakers[message.role],
            "value": text_of(message),
        }
        for message in conversation.messages
    ]
    return row


def in_one_spelling(row: dict[str, Any]) -> dict[str, Any]:
    row = json.loads(json.dumps(row)) | {"id": str(row["id"])}
    for kind in ("image", "audio", "video"):
        if kind in row:
            value = row.pop(kind)
            frames = kind == "video" and isinstance(value, list)
            row[f"{kind}s"] = value if isinstance(value, list) and not frames else [value]
        if f"{kind}s" in row:
            row[f"{kind}s"] = [
                one["path"] if isinstance(one, dict) else one for one in row[f"{kind}s"]
            ]
    spoken = {"user": "human", "assistant": "gpt"}
    for turn in row["conversations"]:
        turn["from"] = spoken.get(turn["from"], turn["from"])
    return row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["id"]))
def test_a_row_survives_the_round_trip(row: dict[str, Any], root: Path) -> None:
    again = row_of(read(row, root), root)
    assert again == in_one_spelling(row)
    assert row_of(read(again, root), root) == again


def test_text_and_media_are_parts_in_reading_order_with_the_text_unchanged(root: Path) -> None:
    row = ask(" a<audio>\n<image>\n\nb ", image="images/a.png", audio="audio/a.wav")
    user, assistant = read(row, root).messages
    assert [part.text if isinstance(part, Text) else kind_of(part) for part in user.parts] == [
        " a",
        "audio",
        "\n",
        "image",
        "\n\nb ",
    ]
    assert assistant == Message(Role.ASSISTANT, (Text("Yes."),))


def test_media_without_any_placeholder_go_before_the_first_human_turn(root: Path) -> None:
    row = ask("Look <audio>", audio="audio/a.wav", images=["images/a.png", "images/b.png"])
    row["conversations"] = [
        {"from": "system", "value": "Be brief."},
        *row["conversations"],
        {"from": "human", "value": "Sure?"},
    ]
    conversation = read(row, root)
    assert [text_of(message) for message in conversation.messages] == [
        "Be brief.",
        "<image>\n<image>\nLook <audio>",
        "Yes.",
        "Sure?",
    ]
    written = ask("<image>\n<image>\nLook <audio>")["conversations"][0]["value"]
    assert text_of(conversation.messages[1]) == written


def test_media_of_one_kind_keep_their_order_over_several_turns(root: Path) -> None:
    row = ask("<image>", image=["images/b.png", "images/a.png"])
    row["conversations"].append({"from": "human", "value": "<image>"})
    media = list(read(row, root).media())
    assert [paths_of(medium, root) for medium in media] == ["images/b.png", "images/a.png"]


def test_a_placeholder_in_an_answer_or_a_system_turn_is_text(root: Path) -> None:
    row = {
        "conversations": [
            {"from": "system", "value": "You may see <image>."},
            {"from": "human", "value": "<image>"},
            {"from": "gpt", "value": "It says <image>."},
        ],
        "image": "images/a.png",
    }
    conversation = read(row, root)
    assert len(list(conversation.media())) == 1
    assert conversation.messages[0].parts == (Text("You may see <image>."),)
    assert conversation.messages[2].parts == (Text("It says <image>."),)


def test_ignored_answers_are_not_learned(root: Path) -> None:
    row = ask("Hi")
    row["conversations"][1]["from"] = "ignored_gpt"
    assert [message.train for message in read(row, root).messages] == [None, False]


def test_a_list_of_pictures_is_one_video_and_a_list_of_videos_is_several(root: Path) -> None:
    (frames,) = read(ask("<video>", video=["images/a.png", "images/b.png"]), root).media()
    assert isinstance(frames, Video)
    assert [one.path for one in frames.pictures] == [root / "images/a.png", root / "images/b.png"]
    row = ask("<video><video>", video=["video/a.mp4", "video/a.mp4"])
    assert [paths_of(medium, root) for medium in read(row, root).media()] == ["video/a.mp4"] * 2


@pytest.mark.parametrize(
    ("video", "message"),
    [
        ({"frames": []}, r"'frames' of 'video' holds \[\], expected a list of at least one"),
        ({"frames": "a.png"}, "'frames' of 'video' holds 'a.png'"),
        ({"frames": ["images/a.png", 3]}, "'video.frames' holds a number"),
        ({"frames": ["images/a.png"], "fps": 0}, "'fps' of 'video' is 0.0, expected frames per"),
        ({"frames": ["images/a.png"], "fps": "fast"}, "'fps' of 'video' holds text"),
        ({"frames": ["images/a.png"], "times": [0, 1]}, r"'times' of 'video' \(2\) are not one"),
        ({"frames": ["images/a.png"] * 2, "times": [1, 0]}, r"do not grow: \[1, 0\]"),
        ({"frames": ["images/a.png"], "times": [float("nan")]}, "'times' of 'video' holds a num"),
    ],
)
def test_frames_that_say_their_times_wrongly_are_named(
    root: Path, video: Any, message: str
) -> None:
    with pytest.raises(ReaderError, match=rf"data\.json row 41.*{message}"):
        read(ask("<video>", video=video), root)


def test_other_keys_are_kept_and_empty_media_are_none(root: Path) -> None:
    row = {"conversations": TURNS, "image": None, "audios": [], "task": "t", "answers": ["1"]}
    conversation = read(row, root)
    assert conversation.meta == {"task": "t", "answers": ["1"]}
    assert not list(conversation.media())
    assert conversation.source == "data.json row 41"


@pytest.mark.parametrize(
    ("row", "where", "expected"),
    [
        ({}, "data.json row 41", "41"),
        ({"id": None}, "row 3 of row 7", "7"),
        ({}, "a request", "a request"),
        ({"id": 0}, "data.json row 41", "0"),
        ({"id": "s/1"}, "data.json row 41", "s/1"),
    ],
)
def test_a_row_without_an_id_is_called_by_its_number(
    row: dict[str, Any], where: str, expected: str, root: Path
) -> None:
    assert read({"conversations": TURNS, **row}, root, where).id == expected


COUNTS = [
    (
        ask("<image><image>", image="images/a.png"),
        "2 <image> placeholders but 1 image. "
        "Edit the row so that its human turns hold one <image> for each image.",
    ),
    (
        ask("<image>"),
        "1 <image> placeholder but 0 images. "
        "Edit the row so that its human turns hold one <image> for each image.",
    ),
    (
        ask("<audio>", audios=["audio/a.wav", "audio/b.flac"]),
        "1 <audio> placeholder but 2 audio files. "
        "Edit the row so that its human turns hold one <audio> for each audio file.",
    ),
    (
        ask("<video><video>", video=["images/a.png", "images/b.png"]),
        "2 <video> placeholders but 1 video. "
        "Edit the row so that its human turns hold one <video> for each video.",
    ),
    (
        {
            "id": "x",
            "image": "images/a.png",
            "conversations": [
                {"from": "human", "value": "Draw."},
                {"from": "gpt", "value": "<image>"},
            ],
        },
        "0 <image> placeholders but 1 image, and one in another turn is plain text. "
        "Edit the row so that its human turns hold one <image> for each image.",
    ),
]


@pytest.mark.parametrize(("row", "message"), COUNTS)
def test_other_numbers_of_placeholders_and_media_are_refused(
    row: dict[str, Any], message: str, root: Path
) -> None:
    with pytest.raises(ReaderError) as caught:
        read(row, root)
    assert str(caught.value) == f"data.json row 41 (id 'x'): {message}"


def talk(*turns: Any) -> dict[str, Any]:
    return {
        "conversations": [
            {"from": turn[0], "value": turn[1]} if isinstance(turn, tuple) else turn
            for turn in turns
        ]
    }


HUMAN, GPT = ("human", "Hi"), ("gpt", "Hello")
SHAPES = [
    ([TURNS], ": the row is a list, expected an object with 'conversations'. Check that"),
    (5, ": the row is a number, expected an object with 'conversations'. Check that"),
    (
        {"conversation": TURNS},
        ": no key 'conversations' (found: 'conversation'), expected a list of turns. Rename",
    ),
    ({}, ": no key 'conversations' (found: nothing), expected a list of turns. Rename"),
    ({"conversations": "Hi"}, ": 'conversations' is text, expected a list of turns. Put"),
    ({"conversations": []}, ": 'conversations' is empty, expected a human and a gpt turn. Add"),
    (
        {"id": ["a"], "conversations": TURNS},
        ": 'id' is a list ([\"a\"]), expected text or a whole number. Correct it or leave it out.",
    ),
    ({"id": True, "conversations": TURNS}, ": 'id' is true or false (true), expected text"),
    ({"id": "", "conversations": TURNS}, ": 'id' is text (''), expected text"),
    (talk(HUMAN, "Hello"), ": conversations[1] is text, expected an object with 'from' and"),
    (
        talk({"role": "user", "content": "Hi"}),
        ": conversations[0] has no 'from' (found: 'role', 'content'), expected 'from' and 'value'.",
    ),
    (talk({"from": "human"}), ": conversations[0] has no 'value' (found: 'from'), expected"),
    (
        talk(("Human", "Hi")),
        ": conversations[0].from is 'Human'. Did you mean 'human'? Expected one of: system, human,",
    ),
    (talk((3, "Hi")), ": conversations[0].from is 3. Expected one of: system, human,"),
    (
        talk(HUMAN, ("gpt", 5)),
        ": conversations[1].value is a number (5), expected text. Put it in quotes.",
    ),
    (
        talk(HUMAN, ("gpt", " \n")),
        ": conversations[1].value is empty, expected the answer of 'gpt'. Fill it in or remove",
    ),
    (
        talk(HUMAN, ("gpt", "a\ud83d")),
        ": conversations[1].value holds half a character, '\\ud83d', at position 1; expected",
    ),
    (talk(("system", "S")), ": 'conversations' holds a system turn only, expected a human turn"),
    (
        talk(GPT, HUMAN),
        ": conversations[0].from is 'gpt', expected 'human' to speak first. Add the question",
    ),
    (talk(("system", "S"), GPT), ": conversations[1].from is 'gpt', expected 'human' to speak"),
    (
        talk(HUMAN, ("user", "Hi?"), GPT),
        ": conversations[1].from is 'user', like the turn before; expected human and gpt in turns."
        " Merge the two turns or add the one between them.",
    ),
    (talk(HUMAN, GPT, GPT), ": conversations[2].from is 'gpt', like the turn before"),
    (
        talk(HUMAN, GPT, ("system", "S")),
        ": conversations[2].from is 'system', but a system turn may only be the first. Move",
    ),
    (
        ask("<image>", image="a.png", images=["b.png"]),
        " (id 'x'): both 'image' and 'images' are given, so their order is unknown. Put all",
    ),
    (
        ask("<image>", image=[5]),
        " (id 'x'): 'image' holds a number (5), expected a path, {\"path\": ...} or a list",
    ),
    (
        ask("<image>", image={"path": None, "bytes": "aGk="}),
        ' (id \'x\'): \'image\' holds an object ({"path": null, "bytes": "aGk="}), expected a path',
    ),
    (
        ask("<video>", videos=[["a.mp4"]]),
        " (id 'x'): 'videos' holds the list [\"a.mp4\"], expected the pictures of one video. Name",
    ),
]


@pytest.mark.parametrize(("row", "message"), SHAPES)
def test_rows_of_another_shape_are_refused(row: Any, message: str, root: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read(row, root)
    assert str(caught.value).startswith(f"data.json row 41{message}")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) <= 240


def test_a_missing_file_names_the_row(root: Path) -> None:
    with pytest.raises(MediaError, match=r"^data\.json row 41 \(id 'x'\): no file .*c\.png"):
        read(ask("<image>", image="images/c.png"), root)


def test_numbers_are_compared_before_files_are_looked_for(root: Path) -> None:
    with pytest.raises(ReaderError, match="2 <image> placeholders but 1 image"):
        read(ask("<image><image>", image="images/c.png"), root)


def test_another_spelling_of_a_video_is_not_lost(root: Path) -> None:
    for text in ("What happens?", "<video>\nWhat happens?"):
        made = read(ask(text, video_path="video/a.mp4"), root)
        assert [kind_of(medium) for medium in made.media()] == ["video"]
        assert not made.meta
    with pytest.raises(ReaderError, match="both 'video' and 'video_path'"):
        read(ask("<video>", video="video/a.mp4", video_path="video/a.mp4"), root)
