from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import MediaError, ReaderError
from hocket.media.image import Image

ROWS = {row["id"]: row for row in rows_of("openai")}
PIXEL = b"P6 1 1 255\n\x01\x02\x03"


def test_rows_are_read(data: Path) -> None:
    found = {name: transcript(read("openai", row, data), data) for name, row in ROWS.items()}
    call = '<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>'
    assert found == {
        "parts": [
            ("system", "Be brief."),
            ("user", "{coco/a.png}<image> how {UklGRg==}{clips/a.mp4}many?"),
            ("-assistant", "Wait\n" + call % ("count", '{"n":  1}')),
            ("tool", "3"),
            ("assistant", "Three."),
        ],
        "data": [
            ("user", "{aGk=}{audio/a.wav}"),
            ("assistant", call % ("f", "{}") + "\n" + call % ("g", "{}")),
        ],
        "trl": [
            ("user", "{coco/a.png}and{coco/b.png}{coco/a.png coco/b.png}{audio/b.flac}"),
            ("assistant", "Yes."),
        ],
        "text": [("user", "Hi"), ("assistant", "Ho")],
    }


def test_keys_of_messages_parts_and_calls_are_kept(data: Path) -> None:
    assert read("openai", ROWS["parts"], data).meta == {
        "messages": {
            "1": {
                "content": {
                    "0": {"image_url": {"detail": "low"}},
                    "2": {"input_audio": {"format": "wav"}},
                }
            },
            "2": {"tool_calls": {"0": {"id": "c1"}}},
            "3": {"tool_call_id": "c1"},
        }
    }
    assert read("openai", ROWS["parts"], data).tools == tuple(ROWS["parts"]["tools"])


def ask(*content: Any, **row: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": [*content]}, {"role": "assistant", "content": "Ho"}]
    return {"id": "x", "messages": turns, **row}


def image_url(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize("head", ["data:image/x-portable-pixmap;base64,", "data:;base64,"])
def test_a_picture_in_the_row_can_be_opened(head: str, data: Path) -> None:
    url = head + base64.b64encode(PIXEL).decode()
    (picture,) = read("openai", ask(image_url(url)), data).media()
    assert isinstance(picture, Image)
    assert np.array_equal(picture.load(), [[[1, 2, 3]]])
    assert picture.where.name.startswith("data.json row 41 (id 'x'): messages[0].content[0]")


def test_bytes_as_parquet_holds_them(data: Path) -> None:
    row = ask({"type": "image"}, images=[{"bytes": PIXEL, "path": "a.ppm"}])
    (picture,) = read("openai", row, data).media()
    assert picture.where.data == PIXEL
    assert "a.ppm" in picture.where.name


BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": "x", "messages": []}, "'messages' is empty, expected a list of messages"),
    ({"id": "x", "messages": "Hi"}, "'messages' is text, expected a list of messages"),
    ({"id": "x", "messages": [{"from": "human"}]}, "messages[0] holds 'from', expected 'role'"),
    ({"id": "x", "messages": [{"role": "human"}]}, "messages[0].role is 'human'. Expected one of:"),
    (ask("Hi"), "messages[0].content[0] holds text, expected a part with 'type'"),
    (
        ask({"type": "imag_url"}),
        "messages[0].content[0].type is 'imag_url'. Did you mean 'image_url'",
    ),
    (ask({"type": "text"}), "messages[0].content[0] has no 'text' (found: 'type')"),
    (
        ask({"type": "image_url"}),
        "messages[0].content[0] of type 'image_url' holds 'type', expected",
    ),
    (
        ask({"type": "image", "image": "a.png", "url": "b.png"}),
        "messages[0].content[0] of type 'image' holds 'type', 'image', 'url', expected one of",
    ),
    (ask({"type": "image", "image": ["a.png", "b.png"]}), "messages[0].content[0].image is a list"),
    (ask({"type": "image"}), "1 image part without a medium but 0 images in 'images'"),
    (ask({"type": "text", "text": "<image>"}, images=["a.png"]), "0 image parts without a medium"),
    (ask(image_url("data:image/png,x")), "messages[0].content[0]: 'data:image/png,x' holds no"),
    (ask(image_url("data:audio/wav;base64,aGk=")), "messages[0].content[0]: 'data:audio/wav;"),
    (ask(image_url("data:image/png;base64,a$")), "messages[0].content[0]: image: base64 cannot"),
    (
        ask({"type": "input_audio", "input_audio": {"data": ""}}),
        "messages[0].content[0].input_audio.data: base64 is empty",
    ),
    (
        {"id": "x", "messages": [*ask("")["messages"][:0], {"role": "assistant", "content": "Hi"}]},
        "messages[0].role is 'assistant', expected 'human' to speak first",
    ),
    (
        {
            "id": "x",
            "messages": [
                {"role": "user", "content": "Draw."},
                {"role": "assistant", "content": [image_url("a.png")]},
            ],
        },
        "messages[1].content[0] is a medium in an answer, expected text",
    ),
    (
        {
            "id": "x",
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": None, "tool_calls": []},
            ],
        },
        "messages[1].content is empty and there are no 'tool_calls', expected an answer",
    ),
    (
        {"id": "x", "messages": [{"role": "user", "content": "Hi", "weight": 2}]},
        "messages[0].weight is 2, expected true or false",
    ),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("openai", row, data)
    assert str(caught.value).startswith(f"data.json row 41 (id 'x'): {message}")


def test_nothing_is_downloaded(data: Path) -> None:
    with pytest.raises(MediaError, match=r"content\[0\]: 'https://x.org/a.png' is a URL"):
        read("openai", ask(image_url("https://x.org/a.png")), data)
