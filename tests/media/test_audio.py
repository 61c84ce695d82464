"""Sounds of many formats, whole and damaged, become float32 mono of a known length."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from hocket._errors import MediaError
from hocket.media.audio import Audio
from hocket.media.limits import Limits


def tone(samples: int, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)).astype(np.float32)


def encoded(wave: np.ndarray, rate: int, form: str, subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format=form, subtype=subtype)
    return stream.getvalue()


def pyav_file(
    path: Path,
    form: str,
    codec: str,
    *,
    seconds: float = 1.0,
    options: dict[str, str] | None = None,
) -> Path:
    """A stereo sound made by FFmpeg's encoders: left a tone, right silence."""
    samples = int(48000 * seconds)
    planes = np.stack([tone(samples, 48000), np.zeros(samples, np.float32)])
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, 0
        resampler = av.AudioResampler(
            format=stream.codec_context.format.name,
            layout="stereo",
            rate=48000,
            frame_size=stream.codec_context.frame_size,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def test_wav_is_exact_from_path_and_bytes(tmp_path: Path) -> None:
    wave = tone(1234, 16000)
    path = tmp_path / "a.wav"
    soundfile.write(path, wave, 16000, subtype="FLOAT")
    for audio in (Audio.from_path(path), Audio.from_bytes(path.read_bytes())):
        assert audio.seconds() == 1234 / 16000
        assert audio.frames(16000) == 1234
        loaded = audio.load(16000)
        assert loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded, wave)


def test_16_bit_samples_are_divided_by_32768() -> None:
    values = np.array([-32768, -1, 0, 1, 32767], np.int16)
    loaded = Audio.from_bytes(encoded(values, 8000, "WAV", "PCM_16")).load(8000)
    np.testing.assert_array_equal(loaded, values.astype(np.float32) / 32768)


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_are_averaged(channels: int) -> None:
    planes = np.random.default_rng(1).uniform(-1, 1, (500, channels)).astype(np.float32)
    loaded = Audio.from_bytes(encoded(planes, 16000, "WAV", "FLOAT")).load(16000)
    np.testing.assert_allclose(loaded, planes.mean(axis=1), atol=1e-6)


def test_the_first_channel_alone_is_heard_on_demand(tmp_path: Path) -> None:
    planes = np.random.default_rng(1).uniform(-1, 1, (500, 2)).astype(np.float32)
    sound = Audio.from_bytes(encoded(planes, 16000, "WAV", "FLOAT"))
    np.testing.assert_array_equal(sound.load(16000, mix="first"), planes[:, 0])
    stereo = Audio.from_path(pyav_file(tmp_path / "a.mka", "matroska", "flac"))
    # The right channel is silent.
    left, both = stereo.load(48000, mix="first"), stereo.load(48000)
    np.testing.assert_allclose(left, 2 * both, atol=1e-3)
    assert np.abs(left).max() > 0.2


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
)
@pytest.mark.parametrize("source", [8000, 16000, 48000])
def test_frames_from_the_header_equal_the_load(form: str, subtype: str | None, source: int) -> None:
    for samples in (source // 3, source + 77):
        audio = Audio.from_bytes(encoded(tone(samples, source), source, form, subtype))
        for rate in (16000, 22050, 44100):
            assert audio.frames(rate) == len(audio.load(rate))
        assert abs(audio.seconds() - samples / source) < 1e-9


@pytest.mark.parametrize(
    ("form", "subtype", "error"),
    [
        ("WAV", "ULAW", 0.02),
        ("WAV", "ALAW", 0.02),
        ("WAV", "PCM_24", 2e-7),
        ("WAV", "PCM_32", 2e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("WAVEX", "PCM_24", 2e-7),
        ("FLAC", "PCM_16", 2e-5),
        ("FLAC", "PCM_24", 2e-7),
    ],
)
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_stereo_of_every_depth_and_rate_loads_at_16_khz(
    form: str, subtype: str, error: float, rate: int
) -> None:
    planes = np.stack([tone(rate // 2, rate), 0.2 * tone(rate // 2, rate, 200.0)], axis=1)
    audio = Audio.from_bytes(encoded(planes, rate, form, subtype))
    np.testing.assert_allclose(audio.load(rate), planes.mean(axis=1), atol=error)
    loaded = audio.load(16000)
    assert len(loaded) == audio.frames(16000) == 8000
    expected = (tone(8000, 16000) + 0.2 * tone(8000, 16000, 200.0)) / 2
    np.testing.assert_allclose(loaded[300:-300], expected[300:-300], atol=error + 2e-3)


def test_a_long_sound_is_read_in_blocks_without_a_seam() -> None:
    wave = tone(600_001, 48000)
    planes = np.repeat(wave[:, None], 2, axis=1)
    loaded = Audio.from_bytes(encoded(planes, 48000, "FLAC", "PCM_24")).load(48000)
    np.testing.assert_allclose(loaded, wave, atol=2e-7)


def test_resampled_length_for_many_rates() -> None:
    for samples in (3, 7, 100, 999, 16001, 100000):
        for source in (8000, 11025, 22050, 44100, 48000):
            audio = Audio.from_array(np.zeros(samples, np.float32), rate=source)
            for rate in (16000, 22050, 24000):
                assert len(audio.load(rate)) == audio.frames(rate)


def test_resampling_keeps_a_tone_and_removes_what_would_alias() -> None:
    low = Audio.from_array(tone(48000, 48000, 1000.0), rate=48000).load(16000)
    np.testing.assert_allclose(low[500:-500], tone(16000, 16000, 1000.0)[500:-500], atol=2e-3)
    high = Audio.from_array(tone(48000, 48000, 12000.0), rate=48000).load(16000)
    assert np.abs(high[500:-500]).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "form", "codec"),
    [("a.m4a", "ipod", "aac"), ("a.mp4", "mp4", "aac"), ("a.webm", "webm", "libopus")],
)
def test_ffmpeg_formats(tmp_path: Path, name: str, form: str, codec: str) -> None:
    path = pyav_file(tmp_path / name, form, codec)
    for audio in (Audio.from_path(path), Audio.from_bytes(path.read_bytes())):
        loaded = audio.load(16000)
        assert len(loaded) == audio.frames(16000)
        assert abs(audio.seconds() - 1.0) < 0.05
        expected = 0.5 * tone(16000, 16000)
        assert np.abs(loaded[2000:14000]).max() == pytest.approx(0.25, abs=0.03)
        peak = np.correlate(loaded[2000:14000], expected[2000:12000], "valid").max()
        assert peak > 0.9 * float(expected[2000:12000] @ expected[2000:12000])


def test_a_sound_beside_a_longer_video_has_its_own_length(tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx", rate=5)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(24000, 48000)[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        for part in av.AudioResampler("s16", "mono", 48000, 960).resample(frame):
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
        for _ in range(15):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    audio = Audio.from_path(path)
    assert audio.seconds() == pytest.approx(0.5, abs=0.05)
    assert len(audio.load(16000)) == audio.frames(16000)


def test_truncated_m4a_with_its_index_in_front(tmp_path: Path) -> None:
    path = pyav_file(
        tmp_path / "a.m4a", "ipod", "aac", seconds=4.0, options={"movflags": "faststart"}
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"a\.m4a.*cut off"):
        Audio.from_path(path).load(16000)


def test_truncated_webm(tmp_path: Path) -> None:
    path = pyav_file(tmp_path / "a.webm", "webm", "libopus", seconds=4.0)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"a\.webm.*cut off at"):
        Audio.from_path(path).seconds()


def test_header_only_wav_and_no_samples() -> None:
    data = encoded(tone(1000, 16000), 16000, "WAV")
    with pytest.raises(MediaError, match="cut off"):
        Audio.from_bytes(data[:44]).load(16000)
    for ask in (Audio.seconds, lambda audio: audio.frames(16000), lambda audio: audio.load(16000)):
        with pytest.raises(MediaError, match="no samples"):
            ask(Audio.from_bytes(encoded(np.zeros(0, np.float32), 16000, "WAV")))


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_cut_off_files_never_load(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"half.{form.lower()}"
    data = encoded(np.random.default_rng(0).uniform(-1, 1, 40000), 16000, form)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"half\.") as caught:
        Audio.from_path(path).load(16000)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_wav_written_to_a_pipe_has_no_length_and_loads() -> None:
    data = bytearray(encoded(tone(1000, 16000), 16000, "WAV"))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert len(Audio.from_bytes(bytes(data)).load(16000)) == 1000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(value: float) -> None:
    wave = tone(100, 16000)
    wave[7] = value
    with pytest.raises(MediaError, match="sample 7 is"):
        Audio.from_bytes(encoded(wave, 16000, "WAV", "FLOAT")).load(16000)
    with pytest.raises(MediaError, match="sample 7 is"):
        Audio.from_array(wave, rate=16000)


def test_limits_and_bad_files(tmp_path: Path) -> None:
    long = Audio.from_bytes(encoded(tone(16000, 8000), 8000, "WAV"))
    with pytest.raises(MediaError, match="max_audio_seconds"):
        long.load(16000, Limits(max_audio_seconds=1.5))
    empty, text, raw = tmp_path / "e.wav", tmp_path / "t.wav", tmp_path / "x.raw"
    playlist = tmp_path / "list.m3u8"
    empty.write_bytes(b"")
    text.write_text("no sound")
    raw.write_bytes(b"\0" * 99)
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    for path, match in (
        (tmp_path / "no.wav", "no such file"),
        (empty, "empty"),
        (tmp_path, "folder"),
        (text, "not a sound"),
        (raw, "not a sound"),
        (playlist, "not a sound"),
    ):
        with pytest.raises(MediaError, match=match) as caught:
            Audio.from_path(path).load(16000)
        assert str(path) in str(caught.value)
    with pytest.raises(MediaError, match="0 Hz"):
        long.load(0)
    with pytest.raises(MediaError, match="none at 8000"):
        Audio.from_array(np.zeros(1, np.float32), rate=48000).frames(8000)


def test_damaged_bytes_raise_only_media_error() -> None:
    rng = np.random.default_rng(3)
    for form, subtype in (("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)):
        data = encoded(tone(3000, 16000), 16000, form, subtype)
        for _ in range(40):
            bad = bytearray(data)
            for at in rng.integers(0, len(bad), 6):
                bad[at] = rng.integers(0, 256)
            audio = Audio.from_bytes(bytes(bad))
            try:
                loaded = audio.load(16000, Limits(max_audio_seconds=60))
            except MediaError:
                continue
            assert len(loaded) == audio.frames(16000)


def test_wrong_arrays() -> None:
    for wave in (np.zeros((2, 4), np.float32), np.zeros(4, np.int16), np.zeros(0, np.float32)):
        with pytest.raises(MediaError):
            Audio.from_array(wave, rate=16000)
    with pytest.raises(MediaError, match="rate 0"):
        Audio.from_array(np.zeros(4), rate=0)


def test_the_caller_owns_the_array_and_equality(tmp_path: Path) -> None:
    audio = Audio.from_array(np.ones(4, np.float32), rate=8000)
    audio.load(8000)[:] = 0
    assert audio.load(8000).tolist() == [1, 1, 1, 1]
    assert audio == pickle.loads(pickle.dumps(audio))
    assert audio != Audio.from_array(np.zeros(4, np.float32), rate=8000)
    path = tmp_path / "a.wav"
    assert len({Audio.from_path(path), Audio.from_path(path)}) == 1
