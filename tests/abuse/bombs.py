"""Small files that ask for much: pixels, samples, frames, depth, digits."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import itertools
import lzma
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image as Pil
from tests.abuse.door import Door, data_url, door
from tests.abuse.seeds import film, pictures, sounds, videos
from tests.abuse.suite import Case, Expected, Size, Suite

from hocket.data.sources._text import json_row
from hocket.data.sources.json import JsonArray
from hocket.data.sources.jsonl import JsonLines

_MIB = 2**20


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, bits: int = 1, colour: int = 0, extra: bytes = b"") -> bytes:
    """Return a PNG file of zeros, compressed as far as it goes."""
    line = 1 + (width * bits * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8
    packer = zlib.compressobj(9)
    whole = min(height * line, 64 * _MIB)
    body = b"".join(packer.compress(bytes(_MIB)) for _ in range(whole // _MIB)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (_chunk(b"IHDR", head), extra, _chunk(b"IDAT", body), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gif(width: int, height: int, *, frames: int = 1) -> bytes:
    """Return a GIF file with a large screen and small frames."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return head + one * frames + b"\x3b"


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG file whose header says another size."""
    data = bytearray(pictures()[0])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp(width: int, height: int, *, compression: int = 0) -> bytes:
    """Return a BMP file whose header says another size."""
    data = bytearray(pictures()[17])
    data[18:26] = struct.pack("<ii", width, height)
    data[30:34] = struct.pack("<I", compression)
    return bytes(data)


def webp(width: int, height: int) -> bytes:
    """Return a lossless WebP file whose header says another size."""
    data = bytearray(pictures()[15])
    at = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[at : at + 4], "little") & ~0xFFFFFFF
    data[at : at + 4] = (bits | (width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(data)


def flac(samples: int) -> bytes:
    """Return a FLAC file whose header says so many samples."""
    data = bytearray(sounds()[4])
    fields = int.from_bytes(data[18:26], "big") & ~(2**36 - 1)
    data[18:26] = (fields | samples).to_bytes(8, "big")
    return bytes(data)


def silence(seconds: float, *, rate: int = 16000, form: str = "FLAC", kind: str = "") -> bytes:
    """Return silence, compressed."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format=form, subtype=kind or None) as sound:
        for _ in range(int(seconds)):
            sound.write(np.zeros(rate, np.int16))
    return file.getvalue()


def wav(*, rate: int = 16000, channels: int = 1, told: int | None = None) -> bytes:
    """Return a WAV file whose header may lie about its data."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(bytes(3200))
    data = bytearray(file.getvalue())
    data[22:28] = struct.pack("<HI", channels, rate)
    if told is not None:
        data[40:44] = struct.pack("<I", told)
    return bytes(data)


def patched(data: bytes, mark: bytes, at: int, value: bytes) -> bytes:
    """Return a file with bytes replaced behind a mark."""
    found = bytearray(data)
    place = found.index(mark) + len(mark) + at
    found[place : place + len(value)] = value
    return bytes(found)


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield the bombs."""
    with door() as entry:
        made = itertools.chain(_pictures(), _sounds(), _films(), _packed())
        for name, kind, make, *expected in made:
            yield Case(name, partial(_sent, entry, make, kind), *expected)
        yield from _texts(folder)


_Bomb = tuple[str, str, Callable[[], bytes]] | tuple[str, str, Callable[[], bytes], Expected]


def _sent(entry: Door, make: Callable[[], bytes], kind: str) -> object:
    return entry.take(make(), kind)


def _pictures() -> Iterator[_Bomb]:
    for side in (9000, 13377, 13400, 16385, 65535, 2**31 - 1):
        yield f"png {side}", "image", partial(png, side, side)
    yield "png of colours", "image", partial(png, 8000, 8000, bits=16, colour=6)
    yield "png, wide", "image", partial(png, 2**31 - 1, 1)
    yield "png, tall", "image", partial(png, 1, 2**31 - 1)
    yield "png of no height", "image", partial(png, 4, 0)
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 * _MIB), 9))
    profile = _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200 * _MIB), 9))
    yield "png with text", "image", partial(png, 8, 8, extra=text), Expected.EITHER
    yield "png with profile", "image", partial(png, 8, 8, extra=profile), Expected.EITHER
    yield "png, all that is allowed", "image", partial(png, 6000, 6000), Expected.EITHER
    for side in (8000, 65535):
        yield f"gif {side}", "image", partial(gif, side, side)
        yield f"jpeg {side}", "image", partial(jpeg, side, side)
    yield "gif of frames", "image", partial(gif, 8, 8, frames=200_000), Expected.EITHER
    yield "gif of frames as video", "video", partial(gif, 8, 8, frames=200_000), Expected.EITHER
    for side in (10_000, 2**31 - 1, -(2**31)):
        yield f"bmp {side}", "image", partial(bmp, side, side)
    yield "bmp in runs", "image", partial(bmp, 30_000, 30_000, compression=1)
    yield "webp", "image", partial(webp, 16384, 16384)


def _sounds() -> Iterator[_Bomb]:
    yield "flac, an hour", "sound", partial(silence, 3600)
    yield "flac, eleven minutes", "sound", partial(silence, 660)
    yield "flac of all samples", "sound", partial(flac, 2**36 - 1)
    yield "flac of no known samples", "sound", partial(flac, 0), Expected.EITHER
    yield "vorbis, twenty minutes", "sound", partial(silence, 1200, form="OGG", kind="VORBIS")
    yield "wav that says 4 GiB", "sound", partial(wav, told=2**32 - 1), Expected.EITHER
    yield "wav that says 2 GiB", "sound", partial(wav, told=2**31), Expected.EITHER
    yield "wav of no rate", "sound", partial(wav, rate=0)
    yield "wav of one sample a second", "sound", partial(wav, rate=1)
    yield "wav of all rates", "sound", partial(wav, rate=2**31 - 1)
    yield "wav of 65535 channels", "sound", partial(wav, channels=65535)
    yield "wav of no channel", "sound", partial(wav, channels=0)


def _films() -> Iterator[_Bomb]:
    plain = videos()[0]
    large = functools.partial(film, "mp4", "mpeg4", frames=2, side=4096)
    many = functools.partial(film, "mp4", "mpeg4", frames=20_000, side=16, rate=40)
    yield "video of large frames", "video", large
    yield "video of many frames", "video", many, Expected.EITHER
    yield "video of an hour", "video", partial(film, "mp4", "mpeg4", frames=3600, side=16, rate=1)
    for name, at, value in (
        ("no time scale", 12, bytes(4)),
        ("all time scales", 12, b"\xff" * 4),
        ("endless", 16, b"\xff" * 4),
    ):
        yield (
            f"video, {name}",
            "video",
            partial(patched, plain, b"mvhd", at, value),
            Expected.EITHER,
        )
    for mark, at in ((b"stsz", 8), (b"stts", 4), (b"stco", 4), (b"stsc", 4), (b"mdhd", 12)):
        bomb = partial(patched, plain, mark, at, b"\x7f\xff\xff\xff")
        yield f"video, endless {mark.decode()}", "video", bomb, Expected.EITHER


def _packed() -> Iterator[_Bomb]:
    zeros = bytes(100 * _MIB)
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", zeros)
    tiff = io.BytesIO()
    Pil.new("1", (9000, 9000)).save(tiff, "TIFF", compression="group4")
    laughs = b'<!DOCTYPE a [<!ENTITY a "ha">' + b'<!ENTITY b "&a;&a;&a;&a;">' * 40 + b"]><a>&b;</a>"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>'
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    for name, data in (
        ("zip", box.getvalue()),
        ("gzip", gzip.compress(zeros)),
        ("bzip2", bz2.compress(zeros)),
        ("xz", lzma.compress(zeros)),
        ("tiff", tiff.getvalue()),
        ("svg", svg),
        ("xml", laughs),
        ("playlist", playlist),
        ("concat", b"ffconcat version 1.0\nfile /etc/passwd\n"),
        ("pdf", b"%PDF-1.7\n" + bytes(100)),
        ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n"),
        ("jpeg 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64)),
        ("larger than allowed", bytes(21 * _MIB)),
    ):
        yield f"{name} as image", "image", lambda d=data: d
    yield "playlist as video", "video", lambda: playlist


def _texts(folder: Path) -> Iterator[Case]:
    """Yield JSON that is deep, long or full of digits, as a row and as a file of rows."""
    deep = b"[" * 100_000 + b"]" * 100_000
    digits = b'{"id": ' + b"9" * 1_000_000 + b"}"
    objects = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    for name, data in (("deep", deep), ("digits", digits), ("deep objects", objects)):
        yield Case(f"json row, {name}", partial(json_row, data, "rows.jsonl line 1"))
        lines, array = folder / f"{name}.jsonl", folder / f"{name}.json"
        lines.write_bytes(data + b"\n")
        array.write_bytes(b"[" + data + b"]")
        yield Case(f"jsonl, {name}", partial(_first, JsonLines, lines))
        yield Case(f"json, {name}", partial(_first, JsonArray, array))
    large = folder / "large.json"
    with large.open("wb") as file:
        file.write(b'[{"id": "')
        for _ in range(100):
            file.write(b"a" * _MIB)
        file.write(b'"}]')
    yield Case("json, a row of 100 MB", partial(_first, JsonArray, large))
    yield Case("data: url that is no base64", partial(_url, "data:image/png;base64,@@@@"))
    yield Case("data: url of nothing", partial(_url, "data:image/png;base64,"))
    yield Case("data: url of 40 MB", partial(_url, data_url(bytes(40 * _MIB))))
    yield Case("data: url of blanks", partial(_url, "data:;base64," + " " * 50 * _MIB))


def _first(source: Callable[..., object], file: Path) -> object:
    rows = source(file, reader="auto", root=None)
    return rows[0]  # type: ignore[index] # every source can be indexed


def _url(url: str) -> object:
    with door() as entry:
        return entry.part({"type": "image_url", "image_url": {"url": url}})


SUITE = Suite(
    name="bombs",
    tries="small files that ask for much: pixels, samples, frames, archives, depth of JSON, digits",
    means="refused, or decoded within 1.5 GB and 10 s",
    counts={Size.CI: 75, Size.NIGHTLY: 75},
    cases=cases,
    seconds=25.0,
    may_lose=True,
)
