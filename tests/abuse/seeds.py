"""Small whole files of every format that is taken, for damage to begin with."""

from __future__ import annotations

import functools
import io
from fractions import Fraction

import av
import numpy as np
import soundfile
from PIL import Image as Pil

_RATE = 16000


@functools.cache
def pictures() -> tuple[bytes, ...]:
    """Return pictures of twenty kinds."""
    rng = np.random.default_rng(0)
    plain = Pil.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
    many = [plain.rotate(90 * turn, expand=False) for turn in range(3)]
    sixteen = Pil.fromarray(rng.integers(0, 65535, (24, 32), np.uint16))
    turned = Pil.Exif()
    turned[0x0112] = 6
    film = {"save_all": True, "append_images": many[1:]}
    return (
        _picture(plain, "JPEG"),
        _picture(plain, "JPEG", progressive=True),
        _picture(plain, "JPEG", exif=turned.tobytes()),
        _picture(plain.convert("L"), "JPEG"),
        _picture(plain.convert("CMYK"), "JPEG"),
        _picture(plain, "PNG"),
        _picture(plain.convert("RGBA"), "PNG"),
        _picture(plain.convert("LA"), "PNG"),
        _picture(plain.convert("P"), "PNG", transparency=3),
        _picture(plain.convert("1"), "PNG"),
        _picture(sixteen, "PNG"),
        _picture(many[0], "PNG", **film),
        _picture(plain.convert("P"), "GIF"),
        _picture(many[0].convert("P"), "GIF", save_all=True, append_images=many[1:]),
        _picture(plain, "WEBP"),
        _picture(plain, "WEBP", lossless=True),
        _picture(many[0], "WEBP", **film),
        _picture(plain, "BMP"),
        _picture(plain.convert("P"), "BMP"),
        _picture(plain.convert("1"), "BMP"),
    )


@functools.cache
def sounds() -> tuple[bytes, ...]:
    """Return sounds of the formats that are taken."""
    rng = np.random.default_rng(1)
    wave = 0.1 * rng.standard_normal((_RATE // 4, 2))
    made = []
    for form, kind in (
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"),
        ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
    ):  # fmt: skip
        file = io.BytesIO()
        soundfile.write(file, wave, _RATE, format=form, subtype=kind)
        made.append(file.getvalue())
    return (*made, _sound_in("mp4", "aac"), _sound_in("matroska", "libopus"))


@functools.cache
def videos() -> tuple[bytes, ...]:
    """Return videos of the formats that are taken."""
    return tuple(
        film(form, codec)
        for form, codec in (
            ("mp4", "mpeg4"),
            ("mp4", "libx264"),
            ("matroska", "mpeg4"),
            ("webm", "libvpx"),
            ("webm", "libvpx-vp9"),
            ("avi", "mpeg4"),
            ("mov", "mjpeg"),
        )
    )


def film(form: str, codec: str, *, frames: int = 4, side: int = 32, rate: int = 4) -> bytes:
    """Return a video of grey frames."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        stream.time_base = Fraction(1, rate)
        for index in range(frames):
            pixels = np.full((side, side, 3), 40 * index % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def _picture(picture: Pil.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def _sound_in(form: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=48000)
        stream.layout = "mono"
        wave = np.zeros((1, 4800), np.float32)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
