"""Every fault that media are known for: opened right, or refused in one sentence."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile
from tests.media.test_video import FPS, shades
from tests.media.test_video import write as write_video

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.chat.readers.llava import llava
from hocket.data.sources.json import JsonArray
from hocket.data.sources.jsonl import JsonLines
from hocket.media.audio import Audio
from hocket.media.examine import examine
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.video import Video

RED = np.full((20, 30, 3), (200, 30, 40), np.uint8)


def picture(mode: str, form: str, **options: object) -> bytes:
    made = PIL.Image.fromarray(RED).convert(mode)
    stream = io.BytesIO()
    made.save(stream, form, **options)
    return stream.getvalue()


def grey_16() -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(np.full((20, 30), 40000, np.uint16)).save(stream, "PNG")
    return stream.getvalue()


def rotated() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return picture("RGB", "JPEG", quality=95, exif=exif)


def palette() -> bytes:
    clear = PIL.Image.new("P", (30, 20), 1)
    clear.putpalette([10, 20, 30, 40, 50, 60])
    stream = io.BytesIO()
    clear.save(stream, "PNG", transparency=1)
    return stream.getvalue()


def animation() -> bytes:
    frames = [PIL.Image.new("RGB", (30, 20), colour) for colour in ("red", "blue", "lime")]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=50)
    return stream.getvalue()


def one_pixel() -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (1, 1), "red").save(stream, "PNG")
    return stream.getvalue()


def bomb() -> bytes:
    """Say 20,000 x 20,000 in the header of a PNG of a few bytes."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + name + data + check

    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def sound(seconds: float = 0.5, *, channels: int = 1, rate: int = 16000) -> bytes:
    wave = 0.1 * np.ones((round(seconds * rate), channels), np.float32)
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


PICTURES: dict[str, tuple[bytes, tuple[int, int], tuple[int, int, int]]] = {
    # the bytes, what size() says and the colour in the middle
    "cmyk": (picture("CMYK", "JPEG", quality=95), (20, 30), (200, 30, 40)),
    "16 bit": (grey_16(), (20, 30), (156, 156, 156)),
    "exif": (rotated(), (30, 20), (200, 30, 40)),
    "palette and alpha": (palette(), (20, 30), (255, 255, 255)),
    "animated": (animation(), (20, 30), (255, 0, 0)),
    "one pixel": (one_pixel(), (1, 1), (255, 0, 0)),
}


@pytest.mark.parametrize("fault", PICTURES)
def test_odd_pictures_open(fault: str) -> None:
    data, size, colour = PICTURES[fault]
    image = Image.from_bytes(data)
    pixels = image.load()
    assert image.size() == pixels.shape[:2] == size
    middle = pixels[size[0] // 2, size[1] // 2].astype(int)
    assert np.abs(middle - colour).max() <= 8, middle


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_sounds_of_many_channels_open(channels: int) -> None:
    wave = Audio.from_bytes(sound(channels=channels)).load(16000)
    assert wave.shape == (8000,)
    np.testing.assert_allclose(wave, 0.1, atol=1e-3)


def test_a_sound_of_200_seconds_opens() -> None:
    long = Audio.from_bytes(sound(200, rate=8000))
    assert long.seconds() == 200
    assert len(long.load(8000)) == 1_600_000


def test_videos_of_uneven_rate_or_turned_open(tmp_path: Path) -> None:
    ticks = [0, 3, 4, 20]
    frames, times = Video.from_path(write_video(tmp_path / "v.mkv", count=4, ticks=ticks)).load(
        Uniform(9)
    )
    assert shades(frames) == [0, 1, 2, 3]
    np.testing.assert_allclose(times, np.array(ticks) / FPS, atol=0.002)
    turned = Video.from_path(write_video(tmp_path / "r.mp4", count=4, rotation=90))
    info = turned.probe()
    assert turned.load(Uniform(1))[0].shape[1:3] == (info.height, info.width) == (64, 48)


def _cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def _no_moov(folder: Path) -> bytes:
    data = write_video(folder / "whole.mp4", count=4).read_bytes()
    return data[: data.index(b"moov") - 4]


def _longer_header() -> bytes:
    data = bytearray(sound())
    data[4:8] = (10**6).to_bytes(4, "little")
    return bytes(data)


REFUSED: dict[str, tuple[type[Image] | type[Audio] | type[Video], Callable[[Path], bytes], str]] = {
    "truncated jpeg": (Image, lambda _: _cut(picture("RGB", "JPEG"), 0.7), "damaged, cut off"),
    "20,000 x 20,000": (Image, lambda _: bomb(), "more pixels than any picture here may have"),
    "text": (Image, lambda _: b"hello", "not a picture in a known format"),
    "empty picture": (Image, lambda _: b"", "the file is empty"),
    "empty sound": (Audio, lambda _: b"", "the file is empty"),
    "empty video": (Video, lambda _: b"", "the file is empty"),
    "wrong header": (Audio, lambda _: _longer_header(), "the sound is cut off"),
    "no samples": (Audio, lambda _: sound(0), "no samples"),
    "truncated wav": (Audio, lambda _: _cut(sound(), 0.5), "the sound is cut off"),
    "no moov": (Video, _no_moov, "damaged, cut off"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_damaged_media_are_refused_in_one_sentence(fault: str, tmp_path: Path) -> None:
    kind, make, words = REFUSED[fault]
    path = tmp_path / "medium"
    path.write_bytes(make(tmp_path))
    with pytest.raises(DataError, match=words) as caught:
        examine(kind.from_path(path), decode=True)
    _assert_clear(caught.value, str(path))


def rows(folder: Path, data: bytes, *, lines: bool = False) -> list[Conversation | DataError]:
    """Return every row of a file, or what its reading raised."""
    path = folder / "rows.json"
    path.write_bytes(data)
    source = (JsonLines if lines else JsonArray)(path, reader=llava)
    found: list[Conversation | DataError] = []
    for index in range(len(source)):
        try:
            found.append(source[index])
        except DataError as error:
            found.append(error)
    return found


def row(name: str, **more: object) -> dict[str, object]:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    return {"id": name, "conversations": turns, **more}


def test_a_missing_file_costs_its_row(tmp_path: Path) -> None:
    data = json.dumps([row("a", image="none.png"), row("b")]).encode()
    missing, whole = rows(tmp_path, data)
    assert isinstance(missing, DataError)
    assert isinstance(whole, Conversation)
    _assert_clear(missing, "none.png")


def test_an_unreadable_encoding_is_named(tmp_path: Path) -> None:
    good = json.dumps(row("a")).encode()
    bad = good.replace(b"Hello", b"H\xe9llo")
    first, second = rows(tmp_path, bad + b"\n" + good, lines=True)
    assert isinstance(first, DataError)
    assert isinstance(second, Conversation)
    _assert_clear(first, "row 0")
    with pytest.raises(DataError, match=r"is not text \(byte \d+\)") as caught:
        rows(tmp_path, b"[" + bad + b"]")
    _assert_clear(caught.value, "rows.json")


def test_a_path_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    data = json.dumps([row("a", image="half\udce9.png")]).encode()
    (found,) = rows(tmp_path, data)
    assert isinstance(found, DataError)
    str(found).encode("ascii", "backslashreplace")


def test_a_row_of_100_megabytes_costs_itself(tmp_path: Path) -> None:
    big = json.dumps(row("big", note="x" * 100_000_000)).encode()
    first, second = rows(tmp_path, big + b"\n" + json.dumps(row("b")).encode(), lines=True)
    assert isinstance(first, DataError)
    assert isinstance(second, Conversation)
    _assert_clear(first, "but at most 67108864 are read")


def _assert_clear(error: DataError, words: str) -> None:
    text = str(error)
    assert words in text
    assert len(text.splitlines()) == 1
    assert len(text) < 500 + text.count("/") * 60
