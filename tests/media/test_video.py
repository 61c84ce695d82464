"""Videos of many containers, whole and damaged, become the frames a sampler picks."""

from __future__ import annotations

import pickle
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from hocket._errors import MediaError
from hocket.media.frames import AtFps, FrameSampler, History, SamplerSpec, Uniform
from hocket.media.limits import Limits
from hocket.media.video import Video

HEIGHT, WIDTH, COUNT, FPS = 48, 64, 24, 10
EVERY = Uniform(1000)


def shade(index: int) -> int:
    return 16 + 9 * index


def write(
    path: Path,
    codec: str = "libx264",
    *,
    rotation: int | None = None,
    count: int = COUNT,
    options: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
    ticks: list[int] | None = None,
) -> Path:
    """Frame i is grey of shade(i) with a white stripe along its top."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=FPS, options=encoder or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index in range(count):
            pixels = np.full((HEIGHT, WIDTH, 3), shade(index), np.uint8)
            pixels[:8] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if ticks:
                frame.pts, frame.time_base = ticks[index], Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shades(frames: np.ndarray) -> list[int]:
    """Which frame each picture is, read from its pixels below the stripe."""
    return [round((float(frame[20:40].mean()) - 16) / 9) for frame in frames]


CONTAINERS = [
    ("a.mp4", "libx264", {}, {}),
    ("bframes.mp4", "libx264", {"movflags": "faststart"}, {"bf": "3"}),
    ("parts.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, {"g": "5"}),
    ("vp8.webm", "libvpx", {}, {"auto-alt-ref": "1", "lag-in-frames": "12", "b": "400k"}),
    ("vp9.webm", "libvpx-vp9", {}, {"auto-alt-ref": "1", "lag-in-frames": "12"}),
    ("a.mkv", "libx264", {}, {}),
    ("a.avi", "mpeg4", {}, {}),
    ("a.ts", "libx264", {}, {}),
]


@pytest.mark.parametrize(("name", "codec", "options", "encoder"), CONTAINERS)
def test_every_container_gives_the_right_frames_and_times(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], encoder: dict[str, str]
) -> None:
    path = write(tmp_path / name, codec, options=options, encoder=encoder)
    for video in (Video.from_path(path), Video.from_bytes(path.read_bytes())):
        info = video.probe()
        assert (info.frames, info.height, info.width) == (COUNT, HEIGHT, WIDTH)
        assert info.fps == pytest.approx(FPS, rel=0.01)
        assert info.seconds == pytest.approx(COUNT / FPS, abs=0.11)
        for sampler in (EVERY, Uniform(5), AtFps(2.0, 16), History(4), Uniform(1)):
            frames, times = video.load(sampler)
            picks = sampler.pick(COUNT, info.fps)
            assert frames.dtype == np.uint8 and times.dtype == np.float64
            assert frames.shape == (len(picks), HEIGHT, WIDTH, 3)
            assert video.pick_count(sampler) == len(picks)
            assert shades(frames) == picks
            np.testing.assert_allclose(times, np.array(picks) / FPS, atol=0.002)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_the_rotation_flag_is_applied(tmp_path: Path, rotation: int) -> None:
    video = Video.from_path(write(tmp_path / "r.mp4", rotation=rotation))
    info = video.probe()
    frames, _ = video.load(Uniform(2))
    upright = rotation == 180
    assert (info.height, info.width) == ((HEIGHT, WIDTH) if upright else (WIDTH, HEIGHT))
    assert frames.shape[1:3] == (info.height, info.width)
    edges = {
        "bottom": frames[0][-6:],
        "left": frames[0][:, :6],
        "right": frames[0][:, -6:],
    }
    # The stripe of the top; a positive angle turns it against the clock.
    expected = {90: "left", 180: "bottom", -90: "right"}[rotation]
    assert edges[expected].mean() > 240
    assert all(edge.mean() < 120 for name, edge in edges.items() if name != expected)


def test_a_phone_portrait_matrix_turns_clockwise(tmp_path: Path) -> None:
    """The 3 x 3 matrix that phones write for portrait: x' = -y, y' = x."""
    path = write(tmp_path / "phone.mp4")
    data = bytearray(path.read_bytes())
    one = 0x10000
    plain = b"".join(v.to_bytes(4, "big") for v in (one, 0, 0, 0, one, 0, 0, 0, 0x40000000))
    turned = b"".join(
        (v % 2**32).to_bytes(4, "big") for v in (0, one, 0, -one, 0, 0, HEIGHT * one, 0, 0x40000000)
    )
    at = data.index(plain, data.index(b"tkhd"))
    data[at : at + 36] = turned
    frames, _ = Video.from_bytes(bytes(data)).load(Uniform(1))
    assert frames.shape == (1, WIDTH, HEIGHT, 3)
    assert frames[0][:, -6:].mean() > 240


def test_variable_frame_rate_keeps_real_times(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 12, 13, 40]
    video = Video.from_path(write(tmp_path / "v.mkv", count=6, ticks=ticks))
    frames, times = video.load(EVERY)
    assert shades(frames) == list(range(6))
    np.testing.assert_allclose(times, np.array(ticks) / FPS, atol=0.002)
    assert video.pick_count(AtFps(1.0, 9)) == len(video.load(AtFps(1.0, 9))[0])


def test_a_short_history_begins_with_black_frames(tmp_path: Path) -> None:
    video = Video.from_path(write(tmp_path / "a.mp4", count=3))
    frames, times = video.load(History(5))
    assert not frames[:2].any() and shades(frames[2:]) == [0, 1, 2]
    np.testing.assert_allclose(times, [0, 0, 0, 0.1, 0.2], atol=1e-6)
    assert video.pick_count(History(5)) == 5


def test_counting_decodes_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = Video.from_path(write(tmp_path / "a.mp4"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded a frame")

    monkeypatch.setattr("hocket.media.video.decoded", refuse)
    monkeypatch.setattr("hocket.media.video.first_size", refuse)
    assert video.pick_count(Uniform(8)) == 8


def pictures(folder: Path, count: int = 5) -> list[Path]:
    paths = [folder / f"{index:03}.png" for index in range(count)]
    for index, path in enumerate(paths):
        PIL.Image.new("RGB", (8, 6), (shade(index),) * 3).save(path)
    return paths


def test_pictures_are_frames(tmp_path: Path) -> None:
    paths = pictures(tmp_path)
    video = Video.from_frames(paths, fps=2.0)
    info = video.probe()
    assert (info.frames, info.fps, info.seconds) == (5, 2.0, 2.5)
    assert (info.height, info.width) == (6, 8)
    frames, times = video.load(Uniform(3))
    assert frames[:, 0, 0, 0].tolist() == [shade(0), shade(2), shade(4)]
    assert times.tolist() == [0.0, 1.0, 2.0]
    PIL.Image.new("RGB", (9, 6)).save(paths[4])
    with pytest.raises(MediaError, match="one size"):
        video.load(Uniform(3))
    paths[2].unlink()
    with pytest.raises(MediaError, match=r"002\.png: no such file"):
        video.load(Uniform(3))
    with pytest.raises(MediaError, match="empty"):
        Video.from_frames([])


def test_arrays() -> None:
    array = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 3), np.uint8)
    video = Video.from_array(array, [0.0, 0.5, 1.0, 1.5])
    assert video.probe().fps == 2.0
    frames, times = video.load(Uniform(2))
    assert frames[:, 0, 0, 0].tolist() == [0, 3] and times.tolist() == [0.0, 1.5]
    frames[:] = 9
    assert array.max() == 3
    assert video == pickle.loads(pickle.dumps(video))
    assert video != Video.from_array(array + 1, [0.0, 0.5, 1.0, 1.5])
    assert video != Video.from_array(array, [0.0, 0.5, 1.0, 9.5])
    for bad, times_in in (
        (array.astype(np.float32), [0, 1, 2, 3]),
        (array[0], [0]),
        (array, [0, 1]),
        (array[:0], []),
        (array, [0, 2, 1, 3]),
    ):
        with pytest.raises(MediaError):
            Video.from_array(bad, times_in)


def test_a_file_without_moov_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "no_moov.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    for ask in (Video.probe, lambda v: v.load(EVERY), lambda v: v.pick_count(EVERY)):
        with pytest.raises(MediaError, match=r"no_moov\.mp4.*damaged, cut off") as caught:
            ask(Video.from_path(path))
        assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_cut_behind_its_index_never_loads(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "half.mp4", options={"movflags": "faststart"})
    data = path.read_bytes()
    start = data.index(b"mdat")
    path.write_bytes(data[: start + int((len(data) - start) * share)])
    with pytest.raises(MediaError, match=r"half\.mp4"):
        Video.from_path(path).load(EVERY)


def test_a_cut_off_webm_never_loads(tmp_path: Path) -> None:
    path = write(tmp_path / "half.webm", "libvpx")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(MediaError, match=r"half\.webm.*cut off at"):
        Video.from_path(path).load(EVERY)


def test_damaged_bytes_raise_only_media_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    data = write(tmp_path / "a.mp4").read_bytes()
    for _ in range(40):
        bad = bytearray(data)
        for at in rng.integers(0, len(bad), 5):
            bad[at] = rng.integers(0, 256)
        video = Video.from_bytes(bytes(bad))
        try:
            frames, _ = video.load(Uniform(4), Limits(max_pixels=10**6))
        except MediaError:
            continue
        assert len(frames) == video.pick_count(Uniform(4))


def test_files_without_video_or_frames(tmp_path: Path) -> None:
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    empty, text, playlist = tmp_path / "e.mp4", tmp_path / "t.mp4", tmp_path / "l.m3u8"
    empty.write_bytes(b"")
    text.write_text("no video here")
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    for path, match in (
        (sound, "no video in this file"),
        (write(tmp_path / "zero.mp4", count=0), "zero"),
        (empty, "empty"),
        (text, "not a video"),
        (playlist, "not a video"),
        (tmp_path, "folder"),
        (tmp_path / "no.mp4", "no such file"),
    ):
        with pytest.raises(MediaError, match=match) as caught:
            Video.from_path(path).load(EVERY)
        assert str(path) in str(caught.value)


class Wild:
    """A sampler that picks what does not exist."""

    def pick(self, count: int, fps: float) -> list[int]:
        return [count]

    def spec(self) -> SamplerSpec:
        return {"kind": "wild"}


def test_limits_and_wrong_samplers(tmp_path: Path) -> None:
    video = Video.from_path(write(tmp_path / "a.mp4"))
    wild: FrameSampler = Wild()
    for sampler, limits, match in (
        (EVERY, Limits(max_frames=5), "max_frames"),
        (EVERY, Limits(max_video_seconds=1), "max_video_seconds"),
        (EVERY, Limits(max_video_bytes=1000), "need"),
        (EVERY, Limits(max_pixels=1000), "pixels"),
        (EVERY, Limits(max_side_pixels=50), "a side"),
        (EVERY, Limits(max_file_bytes=50), "max_file_bytes"),
        (wild, Limits(), "Correct the sampler"),
    ):
        with pytest.raises(MediaError, match=match):
            video.load(sampler, limits)


def test_places_compare(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert len({Video.from_path(path), Video.from_path(path)}) == 1
    assert Video.from_path(path) != Video.from_frames([path])


def test_a_folder_of_pictures_is_a_video(tmp_path: Path) -> None:
    for index in range(12):
        PIL.Image.new("RGB", (8, 6), (shade(index),) * 3).save(tmp_path / f"f{index}.png")
    video = Video.from_folder(tmp_path, fps=4.0)
    info = video.probe()
    assert (info.frames, info.fps, info.height, info.width) == (12, 4.0, 6, 8)
    frames, times = video.load(EVERY)
    assert [int(frame[0, 0, 0]) for frame in frames] == [shade(index) for index in range(12)]
    np.testing.assert_allclose(times, np.arange(12) / 4)
    assert Video.from_folder(str(tmp_path)).load(Uniform(2))[1].tolist() == [0.0, 11.0]
    assert video == pickle.loads(pickle.dumps(video)) != Video.from_folder(tmp_path)
    assert Video.from_folder(tmp_path, pattern="f1*.png").probe().frames == 3
    for limits in (Limits(max_frames=5), Limits(max_video_seconds=2), Limits(max_pixels=40)):
        with pytest.raises(MediaError, match=re.escape(str(tmp_path))):
            video.load(EVERY, limits)


def test_pictures_of_a_folder_are_opened_only_when_picked(tmp_path: Path) -> None:
    for index in range(4):
        PIL.Image.new("RGB", (8, 6)).save(tmp_path / f"{index}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    video = Video.from_folder(tmp_path)
    assert len(video.load(Uniform(2))[0]) == 2
    with pytest.raises(MediaError, match=r"2\.png: not a picture"):
        video.load(EVERY)
    (tmp_path / "times.txt").write_text("0 0.5 1")
    with pytest.raises(MediaError, match="several endings"):
        Video.from_folder(tmp_path)
    with pytest.raises(MediaError, match="above 0"):
        Video.from_folder(tmp_path, pattern="*.png", fps=0)


def test_a_short_history_of_a_folder_begins_with_black_frames(tmp_path: Path) -> None:
    for index in range(2):
        PIL.Image.new("RGB", (8, 6), (200, 100, 50)).save(tmp_path / f"{index}.png")
    frames, times = Video.from_folder(tmp_path).load(History(4))
    assert frames.shape == (4, 6, 8, 3)
    assert not frames[:2].any() and (frames[2:] == [200, 100, 50]).all()
    assert times.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_frame_picked_twice_is_given_twice(tmp_path: Path) -> None:
    video = Video.from_path(write(tmp_path / "a.mp4", count=3))
    frames, times = video.load(Uniform(5, short="repeat"))
    assert shades(frames) == [0, 0, 1, 2, 2]
    np.testing.assert_allclose(times, [0, 0, 0.1, 0.2, 0.2], atol=1e-6)
    assert video.pick_count(Uniform(5, short="repeat")) == 5


def test_an_empty_window_names_the_file(tmp_path: Path) -> None:
    video = Video.from_path(write(tmp_path / "a.mp4"))
    late = AtFps(1, 8, rule="stride", start_seconds=5, end_seconds=9)
    with pytest.raises(MediaError, match=r"a\.mp4: at_fps starts at 5 s, but the video ends at 2"):
        video.load(late)


def write_with_sound(path: Path, codec: str, *, channels: int = 1, hertz: float = 500.0) -> Path:
    """2.4 s of grey frames and 1.5 s of a tone of amplitude 0.5 at 48 kHz, left only."""
    layout = "mono" if channels == 1 else "stereo"
    tone = np.zeros((channels, 72000), np.float32)
    tone[0] = 0.5 * np.sin(2 * np.pi * hertz * np.arange(72000) / 48000)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream(codec, rate=48000, layout=layout)
        pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        for _ in range(COUNT):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        whole = av.AudioFrame.from_ndarray(tone, format="fltp", layout=layout)
        whole.sample_rate, whole.pts = 48000, 0
        form, size = sound.codec_context.format.name, sound.codec_context.frame_size
        resampler = av.AudioResampler(form, layout, 48000, size or None)
        for part in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.mkv", "flac"), ("a.avi", "pcm_s16le"), ("a.ts", "mp2")],
)
def test_the_sound_of_a_video(tmp_path: Path, name: str, codec: str) -> None:
    path = write_with_sound(tmp_path / name, codec, channels=2)
    for video in (Video.from_path(path), Video.from_bytes(path.read_bytes())):
        assert video.probe().frames == COUNT
        sound = video.sound()
        assert sound is not None
        assert sound.seconds() == pytest.approx(1.5, abs=0.06)
        for rate in (16000, 24000):
            wave = sound.load(rate)
            assert wave.dtype == np.float32 and len(wave) == sound.frames(rate)
            middle = wave[rate // 4 : rate // 4 + rate]
            # One of two channels is silent and both are averaged.
            assert np.abs(middle).max() == pytest.approx(0.25, abs=0.03)
            assert int(np.argmax(np.abs(np.fft.rfft(middle)))) == 500
        with pytest.raises(MediaError, match="max_audio_seconds"):
            sound.load(16000, Limits(max_audio_seconds=1))


def test_the_sound_is_decoded_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_with_sound(tmp_path / "a.mp4", "aac")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded a sound")

    monkeypatch.setattr("hocket.media.audio._decode_container", refuse)
    sound = Video.from_path(path).sound()
    assert sound is not None and sound.where.name == str(path)
    with pytest.raises(AssertionError, match="decoded a sound"):
        sound.load(16000)


def test_videos_without_a_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    assert Video.from_path(path).sound() is None
    assert Video.from_frames(pictures(tmp_path)).sound() is None
    assert Video.from_array(np.zeros((1, 2, 2, 3), np.uint8), [0.0]).sound() is None
    with pytest.raises(MediaError, match=r"no\.mp4: no such file"):
        Video.from_path(tmp_path / "no.mp4").sound()
    with pytest.raises(MediaError, match="max_file_bytes"):
        Video.from_path(path).sound(Limits(max_file_bytes=50))
