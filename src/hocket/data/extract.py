"""Frames of videos as folders of pictures that say their times, for `Video.from_folder`.

Decoding a video costs far more than reading the few frames that a model sees, so a data set that is
read many times is faster from frames. Knows videos and pictures; must not know row formats.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import PIL.Image

from hocket._errors import ConfigError
from hocket.chat.conversation import Medium
from hocket.data.same import Identity, identity
from hocket.data.storing import InPlace, put_folder
from hocket.data.writers import Reference
from hocket.media.folder import TIMES
from hocket.media.frames import SamplerSpec, sampler_from
from hocket.media.video import Video

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOptions:
    """What is written of a video.

    Attributes:
        sampler: which frames, as `sampler_from` takes it.
        format: ``jpg`` or ``png``, which loses nothing.
        quality: of JPEG, 1 to 100.
        size: pixels of the longer side at most; 0 keeps the size.
    """

    sampler: SamplerSpec
    format: Literal["jpg", "png"] = "jpg"
    quality: int = 95
    size: int = 0

    def __post_init__(self) -> None:
        """Refuse options that no picture can have.

        Raises:
            ConfigError: one is out of its range.
        """
        sampler_from(self.sampler)
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}, expected 1 to 100.")
        if self.size < 0:
            raise ConfigError(f"size is {self.size}, expected pixels, or 0 to keep the size.")


def write_frames(video: Video, target: Path, options: FrameOptions) -> int:
    """Write the frames of a video as a folder that appears whole or not at all.

    Args:
        video: what is decoded.
        target: the folder; if it is there already, nothing is done.
        options: which frames, and as what.

    Returns:
        How many frames were written, 0 if they were there.

    Raises:
        MediaError: the video cannot be read.
    """
    if target.exists():
        return 0
    frames, times = video.load(sampler_from(options.sampler))
    target.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=target.parent, prefix=".frames-"))
    try:
        for number, pixels in enumerate(frames):
            picture = PIL.Image.fromarray(pixels)
            if options.size:
                picture.thumbnail((options.size, options.size), PIL.Image.Resampling.BICUBIC)
            # PNG has no quality and Pillow leaves the option alone.
            picture.save(place / f"{number:05d}.{options.format}", quality=options.quality)
        (place / TIMES).write_text(json.dumps(times.tolist()), "utf-8")
        place.chmod(0o755)
        put_folder(place, target)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return len(frames)


@dataclass
class Extracted:
    """Videos become folders of frames; other media stay where they are.

    Attributes:
        root: folder of the file that is written, which its paths start from.
        folder: name of the folder below ``root`` that holds the folders of frames.
        options: which frames, and as what.
        listed: see `hocket.data.writers.Refer`.
        packed: always false.
        moved: where each medium went.
    """

    root: Path
    folder: str
    options: FrameOptions
    listed: bool = False
    packed: bool = False
    moved: dict[Identity, Identity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Share one memory of where media went."""
        self._in_place = InPlace(self.root, listed=self.listed, moved=self.moved)
        self._notes: dict[str, int] = {}

    def notes(self) -> Mapping[str, int]:
        """Return how many videos and frames were written, and how many videos had a sound."""
        found, self._notes = self._notes, {}
        return found

    def __call__(self, medium: Medium, at: str) -> Reference:
        """Return the folder of a video's frames, having written it, or the path of a medium.

        Raises:
            MediaError: the video cannot be read.
            DataError: another medium is in memory.
        """
        if not isinstance(medium, Video):
            return self._in_place(medium, at)
        name = f"{self.folder}/{_name(medium, self.options)}"
        target = self.root / name
        count = write_frames(medium, target, self.options)
        self._count("videos", bool(count))
        self._count("frames", count)
        self._count("sounds that frames do not keep", bool(count) and medium.sound() is not None)
        self.moved[identity(medium)] = identity(Video.from_folder(target))
        return name

    def _count(self, key: str, number: int) -> None:
        if number:
            self._notes[key] = self._notes.get(key, 0) + number


def _name(video: Video, options: FrameOptions) -> str:
    """Return a folder name that is another one for another file or other options."""
    said = [str(_VERSION), json.dumps(options.sampler, sort_keys=True), options.format]
    said += [str(options.quality), str(options.size), *identity(video)]
    path = video.where.path
    if path is not None:
        status = path.stat()
        said += [str(path.resolve()), str(status.st_size), str(status.st_mtime_ns)]
    digest = hashlib.blake2b("\0".join(said).encode(), digest_size=8).hexdigest()
    stem = path.stem if path is not None else "video"
    return f"{stem[:60]}-{digest}"
