"""One picture: a reference that becomes pixels when somebody asks.

Knows files and Pillow; must not know models, tokens or the size a model wants.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.ExifTags
import PIL.Image
import PIL.ImageFile
import simplejpeg

from hocket._errors import MediaError
from hocket.media.jpeg_header import HEAD_BYTES, jpeg_size
from hocket.media.limits import DEFAULT_LIMITS, Limits
from hocket.media.where import Where, reason

Pixels: TypeAlias = npt.NDArray[np.uint8]

# No EPS (it runs ghostscript), no containers of other programs.
_FORMATS = (
    "AVIF",
    "BMP",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PNG",
    "PPM",
    "TGA",
    "TIFF",
    "WEBP",
)

# Everything that Pillow's plugins were seen to raise on damaged bytes.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    PIL.Image.DecompressionBombError,
    PIL.Image.DecompressionBombWarning,
    UserWarning,
)

# What each EXIF orientation asks for; 1 asks for nothing.
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture.

    Attributes:
        where: where its bytes are.
        pixels: uint8 (H, W, 3) if it is decoded already.
    """

    where: Where
    pixels: Pixels | None = field(default=None, repr=False)

    @classmethod
    def from_path(cls, path: Path | str) -> Image:
        """Refer to a picture file; it is opened later."""
        return cls(Where.of_path(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "picture bytes") -> Image:
        """Refer to an encoded picture in memory."""
        return cls(Where.of_bytes(data, name=name))

    @classmethod
    def from_array(cls, array: Pixels, name: str = "picture array") -> Image:
        """Wrap pixels, uint8 (H, W, 3), without a copy.

        Raises:
            MediaError: another shape or type.
        """
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise MediaError(
                f"{name}: {array.dtype} {array.shape}, expected uint8 (height, width, 3). "
                f"Convert the array first."
            )
        return cls(Where.of_array(name), array)

    @classmethod
    def from_pil(cls, picture: PIL.Image.Image, name: str = "PIL picture") -> Image:
        """Wrap a copy of a Pillow picture of any mode, turned as its EXIF data says.

        Raises:
            MediaError: a mode without 8-bit meaning, such as 32-bit float.
        """
        with _damage(name):
            return cls(Where.of_array(name), _pixels(picture, name))

    def size(self, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
        """Return (height, width) as `load` will give them, reading only the header.

        Raises:
            MediaError: not a picture, or over a limit.
        """
        if self.pixels is not None:
            return self.pixels.shape[0], self.pixels.shape[1]
        size = self.plain_size(limits)
        if size is None:
            with _opened(self.where, limits) as picture:
                size = _size(picture)
        return size

    def plain_size(self, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int] | None:
        """Return (height, width) of a plain JPEG file; None where it takes a decoder to tell.

        Raises:
            MediaError: the file cannot be read, or is over a limit.
        """
        self.where.check(limits)
        with self.where.open() as stream:
            return _plain_jpeg_size(stream.read(HEAD_BYTES), self.where.name, limits)

    def load(self, limits: Limits = DEFAULT_LIMITS) -> Pixels:
        """Return the pixels, uint8 (H, W, 3) RGB, in an array that the caller owns.

        EXIF orientation is applied, transparency is laid on white, 16 bits become 8, and an
        animation gives its first frame.

        Raises:
            MediaError: not a picture, damaged, cut off, or over a limit.
        """
        if self.pixels is not None:
            _check_size(self.where.name, self.size(), limits)
            return self.pixels.copy()
        if PIL.ImageFile.LOAD_TRUNCATED_IMAGES:
            raise MediaError(
                f"{self.where.name}: another library has set PIL.ImageFile.LOAD_TRUNCATED_IMAGES, "
                f"so a half picture would pass. Set it back to False."
            )
        found = self._plain_pixels(limits)
        if found is not None:
            return found
        with _opened(self.where, limits) as picture:
            return _pixels(picture, self.where.name)

    def _plain_pixels(self, limits: Limits) -> Pixels | None:
        """Return the pixels of a plain JPEG file that is whole; None leaves it to Pillow.

        libjpeg-turbo without Pillow around it: the same bits in less than half the time.
        """
        self.where.check(limits)
        with self.where.open() as stream, _damage(self.where.name):
            head = stream.read(HEAD_BYTES)
            size = _plain_jpeg_size(head, self.where.name, limits)
            if size is None:
                return None
            try:
                pixels: Pixels = simplejpeg.decode_jpeg(head + stream.read(), "RGB")
            except ValueError:
                return None  # Pillow forgives some damage, and names the rest.
        return pixels if pixels.shape[:2] == size else None

    def __eq__(self, other: object) -> bool:
        """Compare places, and pixels where there are any."""
        if not isinstance(other, Image):
            return NotImplemented
        if self.pixels is None or other.pixels is None:
            return self.where == other.where and self.pixels is other.pixels
        return self.where == other.where and np.array_equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        """Hash the place."""
        return hash(self.where)


def _plain_jpeg_size(head: bytes, name: str, limits: Limits) -> tuple[int, int] | None:
    """Return (height, width) of a plain JPEG file from its first bytes; None leaves it to Pillow.

    Raises:
        MediaError: over a limit.
    """
    size = jpeg_size(head)
    if size is None or size[0] * size[1] > (PIL.Image.MAX_IMAGE_PIXELS or limits.max_pixels):
        return None
    _check_size(name, size, limits)
    return size


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise MediaError(
            f"{name}: the picture is damaged, cut off or not a picture ({reason(error)}). "
            f"Copy the file again or remove its row."
        ) from error


@contextmanager
def _opened(where: Where, limits: Limits) -> Iterator[PIL.Image.Image]:
    """Open the header, having checked bytes, format and size against the limits."""
    where.check(limits)
    PIL.Image.init()
    formats = [name for name in _FORMATS if name in PIL.Image.OPEN]
    with where.open() as stream, _damage(where.name):
        try:
            picture = PIL.Image.open(stream, formats=formats)
        except PIL.UnidentifiedImageError as error:
            raise MediaError(
                f"{where.name}: not a picture in a known format ({', '.join(formats)}). "
                f"Convert it to PNG or JPEG."
            ) from error
        except PIL.Image.DecompressionBombError as error:
            raise MediaError(
                f"{where.name}: more pixels than any picture here may have ({reason(error)}). "
                f"Shrink it or remove its row."
            ) from error
        with picture:
            _check_size(where.name, _size(picture), limits)
            yield picture


def _check_size(name: str, size: tuple[int, int], limits: Limits) -> None:
    height, width = size
    if min(size) < 1:
        raise MediaError(f"{name}: {height} x {width} pixels. Remove its row.")
    if max(size) > limits.max_side_pixels or height * width > limits.max_pixels:
        raise MediaError(
            f"{name}: {height} x {width} pixels, but at most {limits.max_pixels} and "
            f"{limits.max_side_pixels} a side are allowed. Shrink it or raise the limits."
        )


def _orientation(picture: PIL.Image.Image) -> int:
    """Return the EXIF orientation that the header asks for and Pillow does not apply itself."""
    if picture.format == "TIFF":
        return 1
    # The plain class's method: PngImageFile's own decodes the whole picture to look for EXIF.
    exif = PIL.Image.Image.getexif(picture)
    found = exif.get(PIL.ExifTags.Base.Orientation, 1)
    return int(found) if found in _TURNS else 1


def _size(picture: PIL.Image.Image) -> tuple[int, int]:
    width, height = picture.size
    return (width, height) if _orientation(picture) in _SIDEWAYS else (height, width)


def _pixels(picture: PIL.Image.Image, name: str) -> Pixels:
    # Before load(), which may find EXIF data after the pixels that size() cannot see.
    turn = _orientation(picture)
    picture.load()
    flat = _rgb(picture, name)
    if turn in _TURNS:
        flat = flat.transpose(_TURNS[turn])
    return np.array(flat, dtype=np.uint8)


def _rgb(picture: PIL.Image.Image, name: str) -> PIL.Image.Image:
    mode = picture.mode
    if mode.startswith("I"):
        return _from_16_bits(picture, name)
    if mode == "F":
        raise MediaError(
            f"{name}: 32-bit float pixels have no fixed range. Save it with 8 or 16 bits."
        )
    if mode == "RGBa":
        picture = picture.convert("RGBA")
    if mode == "La":
        picture = picture.convert("LA")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        sheer = picture.convert("RGBA")
        paper = PIL.Image.new("RGBA", sheer.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(paper, sheer).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _from_16_bits(picture: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """Scale 0..65535 to 0..255: Pillow's own conversion clips at 255."""
    values = np.array(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise MediaError(
            f"{name}: pixel values {values.min()}..{values.max()}, expected 0..65535. "
            f"Save it with 8 or 16 bits."
        )
    clear = picture.info.get("transparency")
    grey = (values + 128) // 257
    if isinstance(clear, int):
        grey[values == clear] = 255
    return PIL.Image.fromarray(grey.astype(np.uint8)).convert("RGB")
