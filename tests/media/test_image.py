"""Pictures of many kinds, whole and damaged, become uint8 (H, W, 3)."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import pytest

from hocket._errors import MediaError
from hocket.media.image import Image
from hocket.media.limits import Limits

RED, BLUE = (255, 0, 0), (0, 0, 255)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def halves(height: int = 24, width: int = 40) -> PIL.Image.Image:
    """Red on the left, blue on the right: every turn and mirror but one can be told."""
    array = np.zeros((height, width, 3), np.uint8)
    array[:, : width // 2] = RED
    array[:, width // 2 :] = BLUE
    array[: height // 2] //= 2
    return PIL.Image.fromarray(array)


def encoded(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def test_png_is_exact_from_path_and_bytes(tmp_path: Path) -> None:
    pixels = noise(7, 5)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(pixels).save(path)
    for image in (Image.from_path(path), Image.from_bytes(path.read_bytes())):
        assert image.size() == (7, 5)
        np.testing.assert_array_equal(image.load(), pixels)


def test_array_and_pil_are_copied_on_load() -> None:
    pixels = noise(3, 4)
    for image in (Image.from_array(pixels), Image.from_pil(PIL.Image.fromarray(pixels))):
        loaded = image.load()
        loaded[:] = 0
        np.testing.assert_array_equal(image.load(), pixels)
        assert image.size() == (3, 4)
        assert loaded.flags.writeable


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_matches_pillow_and_the_size(turn: int, form: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(halves(), form, exif=exif, **options)
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))).convert("RGB")
    image = Image.from_bytes(data)
    loaded = image.load()
    assert image.size() == loaded.shape[:2] == ((40, 24) if turn > 4 else (24, 40))
    np.testing.assert_array_equal(loaded, np.asarray(expected))


def test_png_size_ignores_exif_after_the_pixels_and_load_agrees() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    plain = encoded(halves(), "PNG")
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
    at = plain.index(b"IEND") - 4
    image = Image.from_bytes(plain[:at] + chunk + plain[at:])
    assert image.size() == image.load().shape[:2] == (24, 40)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    data = encoded(halves().convert("CMYK"), "JPEG", quality=95)
    loaded = Image.from_bytes(data).load().astype(int)
    assert np.abs(loaded[20, 4] - RED).max() < 12
    assert np.abs(loaded[20, 36] - BLUE).max() < 12


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    loaded = Image.from_bytes(encoded(PIL.Image.fromarray(values), form)).load()
    assert loaded[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (loaded == loaded[..., :1]).all()


def test_palette_with_transparency_is_laid_on_white() -> None:
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    data = encoded(picture, "PNG", transparency=0)
    assert Image.from_bytes(data).load().tolist() == [[[255, 255, 255], list(BLUE)]]


def test_half_transparent_black_is_grey() -> None:
    data = encoded(PIL.Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG")
    assert abs(int(Image.from_bytes(data).load()[0, 0, 0]) - 127) <= 1


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [("1", 1, 255), ("L", 77, 77), ("LA", (0, 0), 255), ("P", 0, 0)],
)
def test_small_modes(mode: str, value: object, expected: int) -> None:
    picture = PIL.Image.new(mode, (3, 2), value)  # type: ignore[arg-type]  # one per mode
    loaded = Image.from_bytes(encoded(picture, "PNG")).load()
    assert loaded.shape == (2, 3, 3) and (loaded == expected).all()


def test_animation_gives_its_first_frame() -> None:
    first, second = PIL.Image.new("RGB", (4, 4), RED), PIL.Image.new("RGB", (4, 4), BLUE)
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert (Image.from_bytes(data).load() == RED).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_cut_off_picture_has_a_size_or_fails_and_never_loads(form: str, tmp_path: Path) -> None:
    path = tmp_path / "half.bin"
    data = encoded(PIL.Image.fromarray(noise(64, 64)), form)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"half\.bin.*(cut off|not a picture)"):
        Image.from_path(path).load()


def test_every_cut_of_a_jpeg_is_a_media_error_or_whole() -> None:
    data = encoded(PIL.Image.fromarray(noise(16, 16)), "JPEG")
    whole = Image.from_bytes(data).load()
    for end in range(len(data)):
        try:
            loaded = Image.from_bytes(data[:end]).load()
        except MediaError:
            continue
        np.testing.assert_array_equal(loaded, whole)
        assert end > len(data) - 8


def test_flipped_bytes_never_raise_anything_but_media_error() -> None:
    rng = np.random.default_rng(5)
    for form in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        data = bytearray(encoded(PIL.Image.fromarray(noise(12, 12)), form))
        for _ in range(60):
            bad = bytearray(data)
            for at in rng.integers(0, len(bad), 4):
                bad[at] = rng.integers(0, 256)
            image = Image.from_bytes(bytes(bad))
            try:
                loaded = image.load(Limits(max_pixels=10**6))
            except MediaError:
                continue
            assert loaded.dtype == np.uint8 and image.size() == loaded.shape[:2]


def test_another_library_allowing_half_pictures_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(MediaError, match="LOAD_TRUNCATED_IMAGES"):
        Image.from_bytes(encoded(halves(), "PNG")).load()


def bomb(height: int, width: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")):
        chunks += struct.pack(">I", len(body)) + kind + body
        chunks += struct.pack(">I", zlib.crc32(kind + body))
    return chunks


@pytest.mark.parametrize("side", [9_800, 20_000, 60_000])
def test_bombs_are_refused_from_the_header(side: int) -> None:
    image = Image.from_bytes(bomb(side, side), name="bomb.png")
    for ask in (image.size, image.load):
        with pytest.raises(MediaError, match=r"bomb\.png"):
            ask(Limits(max_pixels=90_000_000))


def test_long_thin_pictures_are_refused() -> None:
    with pytest.raises(MediaError, match="a side"):
        Image.from_bytes(bomb(1, 30_001)).size()


def test_missing_empty_folder_text_and_big_files(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    text = tmp_path / "text.png"
    text.write_text("hello")
    postscript = tmp_path / "a.eps"
    postscript.write_bytes(encoded(halves(), "EPS"))
    for path, match in (
        (tmp_path / "no.png", "no such file"),
        (empty, "empty"),
        (tmp_path, "folder"),
        (text, "not a picture"),
        (postscript, "not a picture"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(MediaError, match=match) as caught:
            Image.from_path(path).load()
        assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) <= 3
    with pytest.raises(MediaError, match="max_file_bytes"):
        Image.from_path(text).load(Limits(max_file_bytes=4))


def test_wrong_arrays_and_float_pictures() -> None:
    for array in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8)):
        with pytest.raises(MediaError, match="expected uint8"):
            Image.from_array(array)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(MediaError, match="float"):
        Image.from_pil(PIL.Image.fromarray(np.zeros((2, 2), np.float32)))


def test_equality_hash_and_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert Image.from_path(path) == Image.from_path(path)
    assert len({Image.from_path(path), Image.from_path(path)}) == 1
    ones = Image.from_array(np.ones((2, 2, 3), np.uint8))
    assert ones == pickle.loads(pickle.dumps(ones))
    assert ones != Image.from_array(np.zeros((2, 2, 3), np.uint8))
