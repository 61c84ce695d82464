from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import media_of, read, rows_of, transcript

from hocket._errors import MediaError, ReaderError
from hocket.chat.states import ANSWERS_AUDIO, ANSWERS_TEXT, NOT_ADDRESSED

ROWS = {row["id"]: row for row in rows_of("vita")}
SPOKEN = ROWS["spoken"]


def test_rows_are_read(data: Path) -> None:
    found = {name: transcript(read("vita", row, data), data) for name, row in ROWS.items()}
    assert found == {
        "spoken": [
            ("user", "{coco/a.png}\n{audio/a.wav}\n"),
            ("assistant", f"{ANSWERS_AUDIO}A tidy kitchen."),
        ],
        "two": [
            ("user", "Compare {coco/a.png} and\n{coco/b.png}."),
            ("assistant", f"{ANSWERS_TEXT}Equal."),
        ],
        "noise": [
            ("user", "{audio/a.wav}"),
            ("assistant", NOT_ADDRESSED),
            ("user", "{audio/b.flac}"),
            ("assistant", f"{ANSWERS_AUDIO}Yes."),
        ],
        "string": [
            ("user", "{audio/a.wav}\nWhat was said?"),
            ("assistant", f"{ANSWERS_AUDIO}Hello, how"),
        ],
        "video": [
            ("user", "{clips/a.mp4}\nWhat happens?"),
            ("assistant", f"{ANSWERS_TEXT}Nothing."),
        ],
        9: [("user", "What is it?\n{coco/a.png}"), ("assistant", f"{ANSWERS_TEXT}\u4eca\u5929")],
    }


def test_what_an_exporter_needs_stays_in_meta(data: Path) -> None:
    assert read("vita", ROWS["noise"], data).meta == {"inserted_id": 1, "source": "neg"}
    assert read("vita", ROWS["string"], data).meta == {"end_tag": False}
    assert read("vita", ROWS["two"], data).meta == {"set": ["coco", "coco"]}


def test_folders_of_sets_are_taken_from_the_registry(data: Path) -> None:
    (data / "sounds").mkdir()
    (data / "audio").rename(data / "sounds" / "audio")
    options = {"folders": {"coco": "images", "b": "coco"}, "audio_folder": "sounds"}
    media = media_of(read("vita", SPOKEN, data, **options), data)
    assert media == [("image", "images/a.png"), ("audio", "sounds/audio/a.wav")]
    row = SPOKEN | {"set": ["b", "coco"], "image": ["b.png", "a.png"], "audio": []}
    row["conversations"] = [{"from": "human", "value": "Hi"}, SPOKEN["conversations"][1]]
    media = media_of(read("vita", row, data, **options), data)
    assert media == [("image", "coco/b.png"), ("image", "images/a.png")]
    absolute = row | {"image": str(data / "walk/frame_0.png"), "set": None}
    assert media_of(read("vita", absolute, data, **options), data) == [
        ("image", "walk/frame_0.png")
    ]


def test_without_a_set_the_first_component_of_the_path_names_it(data: Path) -> None:
    (data / "deep").mkdir()
    (data / "coco").rename(data / "deep" / "coco")
    media = media_of(read("vita", ROWS[9], data, folders={"coco": "deep"}), data)
    assert media == [("image", "deep/coco/a.png")]


def test_several_noises(data: Path) -> None:
    row = ROWS["noise"] | {"inserted_id": [1, 3]}
    answers = [text for who, text in transcript(read("vita", row, data), data) if who[0] == "a"]
    assert answers == [NOT_ADDRESSED, NOT_ADDRESSED + "Yes."]


BAD: list[tuple[dict[str, Any], str]] = [
    (
        SPOKEN | {"inserted_id": 0},
        "'inserted_id' is 0, expected the number of a gpt turn: 1. Correct it.",
    ),
    (SPOKEN | {"inserted_id": 2}, "'inserted_id' is 2, expected the number of a gpt turn"),
    (ROWS["noise"] | {"inserted_id": "1"}, "'inserted_id' is text ('1'), expected the number"),
    (ROWS["noise"] | {"inserted_id": None}, "conversations[1].value is empty, expected the answer"),
    (ROWS["string"] | {"end_tag": "no"}, "'end_tag' is 'no', expected true or false. Correct it."),
    (SPOKEN | {"set": 5}, "'set' is a number (5), expected a name or a list of names"),
    (SPOKEN | {"set": ["a", "b"]}, "'set' has 2 names for 1 image, expected one for each. Correct"),
    (ROWS["two"] | {"set": ["coco", "x"], "video": "a.mp4"}, "'set' holds several names and the"),
    (SPOKEN | {"audio": ["a.wav", "b.flac"]}, "1 <audio> placeholder but 2 audio files. Edit"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("vita", row, data)
    assert str(caught.value).startswith(f"data.json row 41 (id '{row['id']}'): {message}")


def test_a_set_without_a_folder_is_named(data: Path) -> None:
    with pytest.raises(ReaderError, match=r"the set 'coco' of 'a.png' has no folder. Did you mean"):
        read("vita", SPOKEN, data, folders={"coco1": "coco"})


def test_a_missing_file_is_looked_for_in_the_root_last(data: Path) -> None:
    with pytest.raises(MediaError, match=r"row 41 \(id 'spoken'\): no file .*c\.png"):
        read("vita", SPOKEN | {"image": "c.png"}, data)
