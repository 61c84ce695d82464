from __future__ import annotations

import base64
import io

import numpy as np
import soundfile
from markupsafe import Markup
from PIL import Image as Pil

from hocket.chat.conversation import Message, Role, Text
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.report.media import (
    MOST_PIXELS,
    MOST_SECONDS,
    SOUND_RATE,
    environment,
    medium_view,
    turn_view,
)


def data(url: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(url.partition(",")[2]))


def test_pictures_are_made_small_and_sounds_short() -> None:
    big = Image.from_array(np.zeros((1000, 2000, 3), np.uint8))
    assert Pil.open(data(medium_view(big)["image"])).size == (MOST_PIXELS, MOST_PIXELS // 2)
    long = Audio.from_array(np.zeros(SOUND_RATE * (MOST_SECONDS + 2), np.float32), rate=SOUND_RATE)
    wave, rate = soundfile.read(data(medium_view(long)["audio"]))
    assert len(wave) == MOST_SECONDS * rate


def test_a_page_has_no_control_characters() -> None:
    page = environment().from_string("{{ text }}{{ svg }}")
    shown = page.render(text="a\0<b>\x1b\n\x7f", svg=Markup("<svg>\0</svg>"))
    assert shown == "a\u2400&lt;b&gt;\u241b\n\u2421<svg>\u2400</svg>"


def test_a_turn_keeps_its_order() -> None:
    picture = Image.from_array(np.zeros((4, 4, 3), np.uint8))
    view = turn_view(Message(Role.USER, (Text("look\n"), picture, Text("\nwhat?"))))
    assert view["role"] == "user"
    assert [list(part) for part in view["parts"]] == [["text"], ["image", "name"], ["text"]]
    assert [part.get("text") for part in view["parts"]] == ["look", None, "what?"]
