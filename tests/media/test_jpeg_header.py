from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from hocket._errors import MediaError
from hocket.media.image import Image
from hocket.media.jpeg_header import jpeg_size


def encoded(mode: str = "RGB", size: tuple[int, int] = (40, 24), **options: object) -> bytes:
    rng = np.random.default_rng(0)
    picture = PIL.Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    stream = io.BytesIO()
    picture.convert(mode).save(stream, "JPEG", **options)  # type: ignore[arg-type] # options of the format
    return stream.getvalue()


def sideways() -> bytes:
    exif = PIL.Image.Exif()
    exif[274] = 6
    return encoded(exif=exif)


def several() -> bytes:
    stream = io.BytesIO()
    one = PIL.Image.new("RGB", (40, 24))
    one.save(stream, "MPO", save_all=True, append_images=[PIL.Image.new("RGB", (40, 24))])
    return stream.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "L"},
        {"size": (1, 1)},
        {"size": (4000, 3)},
        {"progressive": True},
        {"comment": b"said" * 500},
        {"icc_profile": b"colours" * 600},
        {"restart_marker_rows": 1},
    ],
)
def test_the_size_of_a_plain_picture_is_that_of_pillow(options: dict[str, object]) -> None:
    data = encoded(**options)  # type: ignore[arg-type] # some of its options
    with PIL.Image.open(io.BytesIO(data)) as picture:
        assert jpeg_size(data) == (picture.height, picture.width)
    assert jpeg_size(data) == Image.from_bytes(data).load().shape[:2]


@pytest.mark.parametrize("data", [sideways(), several(), encoded("CMYK"), b"", b"\xff\xd8\xff"])
def test_what_is_unusual_is_left_to_pillow(data: bytes) -> None:
    assert jpeg_size(data) is None


def test_a_turned_picture_has_the_size_that_it_is_loaded_in() -> None:
    assert Image.from_bytes(sideways()).size() == (40, 24)


@given(at=st.integers(0, 400), value=st.integers(0, 255), stop=st.integers(0, 1200))
@settings(max_examples=300, deadline=None)
def test_damage_raises_nothing_and_a_half_header_is_no_header(
    at: int, value: int, stop: int
) -> None:
    data = bytearray(encoded())
    data[at] = value
    found = jpeg_size(bytes(data))
    assert found is None or min(found) > 0
    whole = encoded()
    scan = whole.index(b"\xff\xda")
    assert (jpeg_size(whole[:stop]) is None) == (stop < scan + 4)


def loaded(data: bytes) -> np.ndarray | str:
    try:
        return Image.from_bytes(data).load()
    except MediaError as error:
        return str(error)


def by_pillow(data: bytes) -> np.ndarray | str:
    def refuse(*_: object) -> None:
        raise ValueError("not here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simplejpeg, "decode_jpeg", refuse)
        return loaded(data)


@given(
    mode=st.sampled_from(["RGB", "L"]),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "4:1:1"]),
    options=st.sampled_from(
        [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 2}]
    ),
)
@settings(max_examples=150, deadline=None)
def test_pixels_are_those_of_pillow(
    mode: str, size: tuple[int, int], quality: int, subsampling: str, options: dict[str, object]
) -> None:
    data = encoded(mode, size, quality=quality, subsampling=subsampling, **options)
    found = loaded(data)
    assert isinstance(found, np.ndarray)
    assert found.flags.writeable
    np.testing.assert_array_equal(found, by_pillow(data))


def test_a_picture_stored_as_rgb_and_one_with_something_behind_it() -> None:
    for data in (encoded(keep_rgb=True), encoded() + b"more" * 9, encoded(icc_profile=b"x" * 90)):
        np.testing.assert_array_equal(loaded(data), by_pillow(data))


@given(at=st.integers(0, 2400), value=st.integers(0, 255), stop=st.integers(1, 2400))
@settings(max_examples=300, deadline=None)
def test_what_is_damaged_is_what_pillow_makes_of_it(at: int, value: int, stop: int) -> None:
    data = bytearray(encoded())
    data[at % len(data)] = value
    for one in (bytes(data), encoded()[:stop]):
        np.testing.assert_array_equal(loaded(one), by_pillow(one))
