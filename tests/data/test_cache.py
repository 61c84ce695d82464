from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pil
from tests.toy import RATE, talk, user, write_medium

from hocket.chat.conversation import Conversation
from hocket.data.cache import DecodedMedia
from hocket.media.audio import Audio
from hocket.media.frames import AtFps, FrameSampler, History, Uniform
from hocket.media.image import Image
from hocket.media.video import Video


@pytest.fixture
def conversation(tmp_path: Path) -> Conversation:
    for name in ("a.png", "a.wav", "a.mp4"):
        write_medium(tmp_path / name, seed=3)
    return talk(
        user(
            Image.from_path(tmp_path / "a.png"),
            "and",
            Audio.from_path(tmp_path / "a.wav"),
            Video.from_path(tmp_path / "a.mp4"),
        )
    )


def assert_same_frames(one: Video, other: Video, sampler: FrameSampler) -> None:
    frames, times = one.load(sampler)
    expected_frames, expected_times = other.load(sampler)
    assert np.array_equal(frames, expected_frames)
    assert np.array_equal(times, expected_times)


@pytest.mark.parametrize("sampler", [Uniform(3), Uniform(9), AtFps(2.0, 8), History(4), History(7)])
def test_kept_media_are_those_of_the_file(
    conversation: Conversation, sampler: FrameSampler
) -> None:
    cache = DecodedMedia(megabytes=1, rate=RATE)
    for _ in range(2):
        held = cache.hold(conversation)
        assert held.messages[0].text == "and"
        for kept, file in zip(held.media(), conversation.media(), strict=True):
            if isinstance(kept, Image) and isinstance(file, Image):
                assert kept.pixels is not None
                assert np.array_equal(kept.load(), file.load())
            elif isinstance(kept, Audio) and isinstance(file, Audio):
                assert kept.wave is not None
                assert kept.frames(RATE) == file.frames(RATE)
                assert np.array_equal(kept.load(RATE), file.load(RATE))
            elif isinstance(kept, Video) and isinstance(file, Video):
                assert kept.frames is not None
                assert kept.pick_count(sampler) == file.pick_count(sampler)
                assert_same_frames(kept, file, sampler)


def test_media_are_decoded_once_while_there_is_room(conversation: Conversation) -> None:
    cache = DecodedMedia(megabytes=1, rate=RATE)
    first, second = (list(cache.hold(conversation).media()) for _ in range(2))
    assert all(one is two for one, two in zip(first, second, strict=True))


def test_what_is_changed_is_not_what_is_kept(conversation: Conversation) -> None:
    cache = DecodedMedia(megabytes=1, rate=RATE)
    image, audio, video = cache.hold(conversation).media()
    assert isinstance(image, Image)
    assert isinstance(audio, Audio)
    assert isinstance(video, Video)
    for array in (image.load(), audio.load(RATE), video.load(Uniform(2))[0]):
        array[:] = 0
    kept_image, kept_audio, kept_video = cache.hold(conversation).media()
    assert isinstance(kept_image, Image)
    assert isinstance(kept_audio, Audio)
    assert isinstance(kept_video, Video)
    assert kept_image.load().any()
    assert kept_audio.load(RATE).any()
    assert kept_video.load(Uniform(2))[0].any()


def test_the_oldest_go_first_when_room_is_short(tmp_path: Path) -> None:
    cache = DecodedMedia(megabytes=1, rate=None)
    talks = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        array = np.full((350, 400, 3), number, np.uint8)  # 0.4 MiB each: two fit
        Pil.fromarray(array).save(path)
        talks.append(talk(user(Image.from_path(path))))
    kept = [next(cache.hold(one).media()) for one in talks]
    assert next(cache.hold(talks[3]).media()) is kept[3]
    assert next(cache.hold(talks[2]).media()) is kept[2]
    assert next(cache.hold(talks[0]).media()) is not kept[0]
    assert next(cache.hold(talks[3]).media()) is not kept[3]


def test_no_room_keeps_nothing(conversation: Conversation) -> None:
    assert DecodedMedia(megabytes=0, rate=RATE).hold(conversation) is conversation
    held = list(DecodedMedia(megabytes=1, rate=None).hold(conversation).media())
    assert isinstance(held[1], Audio)
    assert held[1].wave is None


def test_a_file_can_be_watched_and_listened_to(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 24, "yuv420p"
        voice = container.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(5):
            pixels = np.zeros((24, 32, 3), np.uint8)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        samples = 0.1 * np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(voice.encode(frame))
        container.mux([*voice.encode(None), *pictures.encode(None)])
    cache = DecodedMedia(megabytes=1, rate=RATE)
    both = talk(user(Video.from_path(path), Audio.from_path(path)))
    for _ in range(2):
        seen, heard = cache.hold(both).media()
        assert isinstance(seen, Video)
        assert isinstance(heard, Audio)
        assert heard.wave is not None


def test_a_video_of_uneven_rate_is_sampled_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "uneven.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for index, at in enumerate([0, 5, 6, 7, 8, 30]):
            pixels = np.full((24, 32, 3), 20 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file, sampler = Video.from_path(path), AtFps(1.2, 8)
    cache = DecodedMedia(megabytes=1, rate=None)
    for _ in range(2):
        held = next(cache.hold(talk(user(file))).media())
        assert isinstance(held, Video)
        assert held.pick_count(sampler) == file.pick_count(sampler)
        assert_same_frames(held, file, sampler)
