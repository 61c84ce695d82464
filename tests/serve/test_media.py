"""Every form of a medium that clients send is taken, and what it is comes from its bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serve.loopback import ask, data_url, mp4, png, serving, text, wav

from hocket.chat.conversation import Text
from hocket.data.guarded import GuardedImage
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.serve.app import ServeOptions
from hocket.serve.decode import Decoder
from hocket.serve.errors import BadPartError
from hocket.serve.fetch import Fetcher, FetchOptions
from hocket.serve.limits import MIB, ServeLimits
from hocket.serve.media import MediaReader
from hocket.serve.sniff import Kind, kind_of

LIMITS = ServeLimits(decode_seconds=20)
READER = MediaReader(LIMITS, Fetcher(FetchOptions()))
BARE = base64.b64encode(png()).decode()
SOUND = base64.b64encode(wav()).decode()
URL = data_url(png())

PICTURES: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
    {"type": "image_url", "image_url": URL},
    {"type": "image_url", "image_url": {"url": BARE}},
    {"type": "image_url", "image_url": {"url": data_url(png(), "text/plain;charset=utf-8")}},
    {
        "type": "image_url",
        "image_url": {"url": "\n".join(BARE[k : k + 60] for k in range(0, len(BARE), 60))},
    },
    {"image_url": URL},
    {"image_url": {"url": URL}, "uuid": "x", "prompt_cache_breakpoint": {}},
    {"type": "input_image", "image_url": URL, "detail": "auto"},
    {"type": "image", "image": URL},
    {"type": "file", "file": {"file_data": URL, "filename": "a.txt"}},
    {"type": "input_file", "file_data": BARE, "filename": "a"},
]
SOUNDS: list[dict[str, Any]] = [
    {"type": "input_audio", "input_audio": {"data": SOUND, "format": "mp3"}},
    {"type": "input_audio", "input_audio": {"url": data_url(wav(), "audio/wav")}},
    {"type": "audio_url", "audio_url": {"url": data_url(wav(), "image/png")}},
    {"type": "audio_url", "audio_url": data_url(wav())},
    {"input_audio": {"data": SOUND}},
    {"type": "file", "file": {"file_data": SOUND}},
]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    found = Decoder(LIMITS)
    yield found
    found.close()


@pytest.mark.parametrize("part", PICTURES, ids=str)
def test_pictures(part: dict[str, Any], decoder: Decoder) -> None:
    found = READER.part(part, "here", decoder)
    assert isinstance(found, Image)
    assert found.load().shape == (20, 30, 3)


@pytest.mark.parametrize("part", SOUNDS, ids=str)
def test_sounds(part: dict[str, Any], decoder: Decoder) -> None:
    found = READER.part(part, "here", decoder)
    assert isinstance(found, Audio)
    assert found.seconds() == pytest.approx(0.5)


def test_videos(decoder: Decoder, tmp_path: Path) -> None:
    film = data_url(mp4(tmp_path), "video/mp4")
    bare = film.partition(",")[2]
    for part in (
        {"type": "video_url", "video_url": {"url": film}},
        {"type": "input_video", "input_video": {"data": bare}},
        {"type": "input_video", "video_url": film},
        {"video_url": film},
        {"type": "file", "file": {"file_data": film}},
    ):
        found = READER.part(part, "here", decoder)
        assert isinstance(found, Video)
        assert found.probe().frames == 5


def test_texts(decoder: Decoder) -> None:
    file = base64.b64encode("Gr\u00fc\u00dfe".encode()).decode()
    for part, said in (
        ("bare", "bare"),
        ({"type": "text", "text": "a"}, "a"),
        ({"type": "input_text", "text": "b"}, "b"),
        ({"type": "output_text", "text": "c", "annotations": []}, "c"),
        ({"type": "refusal", "refusal": "d"}, "d"),
        ({"text": "e"}, "e"),
        ({"type": "file", "file": {"file_data": file, "filename": "a.txt"}}, "Gr\u00fc\u00dfe"),
    ):
        assert READER.part(part, "here", decoder) == Text(said)


def refused(part: dict[str, Any], decoder: Decoder, reader: MediaReader = READER) -> BadPartError:
    with pytest.raises(BadPartError) as caught:
        reader.part(part, "messages[0].content[0]", decoder)
    return caught.value


def test_a_file_of_nothing_that_is_known_is_refused(decoder: Decoder) -> None:
    pdf = base64.b64encode(b"%PDF-1.7\0\0").decode()
    found = refused({"type": "file", "file": {"file_data": pdf}}, decoder)
    assert "not a readable image, sound, video or text (first bytes 25 50 44 46)" in str(found)


@pytest.mark.parametrize("data", [b"II*\0" + b"\0" * 60, b"\0\0\0\x0cjP  ", b"8BPS" + b"\0" * 30])
def test_formats_that_few_decoders_are_safe_with_are_not_pictures(data: bytes) -> None:
    assert kind_of(data) is Kind.OTHER


def test_a_part_that_is_too_large_is_refused_before_it_is_decoded(decoder: Decoder) -> None:
    small = MediaReader(ServeLimits(part_bytes=100), Fetcher(FetchOptions()))
    found = refused({"type": "image_url", "image_url": URL}, decoder, small)
    assert found.code == "media_too_large"


def test_hosts_that_are_not_allowed_are_not_asked(decoder: Decoder) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("a connection was opened")

    options = FetchOptions(hosts=("images.example.org",))
    reader = MediaReader(LIMITS, Fetcher(options, resolve=never, connect=never))
    for url in ("https://other.example.org/a.png", "http://images.example.org/a.png"):
        found = refused({"type": "image_url", "image_url": {"url": url}}, decoder, reader)
        assert found.code == "media_host_not_allowed"
    inside = Fetcher(options, resolve=lambda *_: ["10.0.0.1"], connect=never)
    url = "https://images.example.org/a.png"
    found = refused({"type": "image_url", "image_url": url}, decoder, MediaReader(LIMITS, inside))
    assert found.code == "media_not_fetched"


def test_files_below_the_root_alone_are_read(decoder: Decoder, tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    (root / "a b.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    reader = MediaReader(LIMITS, Fetcher(FetchOptions()), root)
    part = {"type": "image_url", "image_url": {"url": f"file://{root}/a%20b.png"}}
    assert isinstance(reader.part(part, "here", decoder), Image)
    for path in ("/../secret.png", "/link.png", "/%2e%2e/secret.png", "/nothing.png", "/%00", ""):
        part["image_url"] = {"url": f"file://{root}{path}"}
        assert refused(part, decoder, reader).code == "media_not_found"


def test_a_decoder_has_little_memory_and_little_time(tmp_path: Path) -> None:
    small = Decoder(ServeLimits(decode_seconds=10, decoder_bytes=700 * MIB))
    try:
        with pytest.raises(BadPartError) as caught:
            small.call("here", bytearray, 2**30)
        assert caught.value.code == "media_too_costly"
        assert small.call("here", len, "abc") == 3
    finally:
        small.close()
    import time

    slow = Decoder(ServeLimits(decode_seconds=1))
    try:
        with pytest.raises(BadPartError, match="more than 1 s") as caught:
            slow.call("here", time.sleep, 30)
        assert caught.value.code == "media_too_costly"
    finally:
        slow.close()


def test_media_of_a_request_are_opened_by_a_decoder(decoder: Decoder) -> None:
    from hocket.serve.messages import conversation_of
    from hocket.serve.wire.chat import ChatMessage

    message = ChatMessage(role="user", content=[PICTURES[0]])
    found = conversation_of([message], [], reader=READER, decoder=decoder)
    (medium,) = found.media()
    assert isinstance(medium, GuardedImage)
    assert medium.guard is decoder


def test_too_many_media_are_refused() -> None:
    with serving(ServeOptions(limits=ServeLimits(parts=2))) as server:
        body = ask(*[PICTURES[0]] * 3)
        found = httpx.post(f"{server.url}/v1/chat/completions", json=body)
        assert found.json()["error"]["code"] == "too_many_media"
        body = ask(text("What?"), *[PICTURES[0]] * 2)
        found = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)
        assert found.status_code == 200
