"""Where the media of rows that are written go: they stay, are copied, or travel in the row.

Each way is a `Refer` that a writer asks for what the row calls a medium. Files are named after a
hash of their content, so the same picture is copied once. Knows files and bytes; must not know a
row format.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import soundfile

from hocket._errors import DataError, MediaError
from hocket.chat.conversation import Medium
from hocket.data.same import Identity, identity
from hocket.data.sources._endings import medium_kind
from hocket.data.writers import Reference
from hocket.data.writers._rows import kind_of
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.limits import DEFAULT_LIMITS
from hocket.media.video import Video
from hocket.media.where import Where

# First bytes of the formats that data sets use; the number is where they stand.
_MARKS = (
    (0, b"\x89PNG", "png"),
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"GIF8", "gif"),
    (0, b"BM", "bmp"),
    (8, b"WEBP", "webp"),
    (8, b"WAVE", "wav"),
    (8, b"AVI ", "avi"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (0, b"\xff\xfb", "mp3"),
    (4, b"ftyp", "mp4"),
    (0, b"\x1aE\xdf\xa3", "mkv"),
)
_COPY_BYTES = 2**20
# Folders of one data set; each is followed through its links once.
_KNOWN_FOLDERS = 65536


@dataclass
class InPlace:
    """Media stay where they are; rows hold their paths.

    Attributes:
        root: folder of the file that is written, which its paths start from.
        listed: see `hocket.data.writers.Refer`.
        absolute: write whole paths, for rows that move to another folder of this machine.
        packed: always false.
        moved: where each medium went.
    """

    root: Path
    listed: bool = False
    absolute: bool = False
    packed: bool = False
    moved: dict[Identity, Identity] = field(default_factory=dict)

    def notes(self) -> Mapping[str, int]:
        """Return nothing: what happens to media is the same for all."""
        return {}

    def __call__(self, medium: Medium, at: str) -> Reference:
        """Return the path of a medium, or the paths of a video's pictures.

        Raises:
            DataError: the medium is in memory.
        """
        if isinstance(medium, Video) and medium.pictures:
            return self._pictures(medium, at)
        path = self._path(_file_of(medium.where, at))
        self.moved[identity(medium)] = (kind_of(medium), "path", str(self.root / path))
        return path

    def _pictures(self, video: Video, at: str) -> Reference:
        whole = _whole_folder(video)
        if whole is not None:
            return self._whole(video, self._path(whole))
        paths = [self._path(_file_of(one, at)) for one in video.pictures]
        files = [self.root / path for path in paths]
        found = Video.from_frames(files, fps=video.picture_fps, times=video.times)
        self.moved[identity(video)] = identity(found)
        return _paths(paths, video)

    def _whole(self, video: Video, path: str) -> str:
        found = Video.from_folder(self.root / path, fps=video.picture_fps)
        self.moved[identity(video)] = identity(found)
        return path

    def _path(self, path: Path) -> str:
        folder = _resolved(path.parent)
        if self.absolute:
            return str(folder / path.name)
        return Path(os.path.relpath(folder / path.name, _resolved(self.root))).as_posix()


@dataclass
class Copied:
    """Media are copied into a folder beside the file that is written.

    Attributes:
        root: folder of the file that is written.
        folder: name of the folder below ``root`` that the copies go to.
        listed: see `hocket.data.writers.Refer`.
        packed: always false.
        moved: where each medium went.
    """

    root: Path
    folder: str
    listed: bool = False
    packed: bool = False
    moved: dict[Identity, Identity] = field(default_factory=dict)

    def notes(self) -> Mapping[str, int]:
        """Return nothing: what happens to media is the same for all."""
        return {}

    def __call__(self, medium: Medium, at: str) -> Reference:
        """Copy a medium and return its path, or the paths of a video's pictures.

        Raises:
            MediaError: the medium cannot be read.
            DataError: it is an array that no format of files holds.
        """
        key = identity(medium)
        if isinstance(medium, Video) and medium.pictures:
            whole = _whole_folder(medium)
            if whole is not None:
                return self._whole(medium, whole)
            paths = [self._copy(Image(one), at) for one in medium.pictures]
            files = [self.root / one for one in paths]
            found = Video.from_frames(files, fps=medium.picture_fps, times=medium.times)
            self.moved[key] = identity(found)
            return _paths(paths, medium)
        path = self._copy(medium, at)
        self.moved[key] = (kind_of(medium), "path", str(self.root / path))
        return path

    def _whole(self, video: Video, folder: Path) -> str:
        """Copy a folder of frames with whatever else it holds, such as their times."""
        name = f"{self.folder}/{hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()}"
        target = self.root / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy-"))
            shutil.copytree(folder, place / "frames")
            put_folder(place / "frames", target)
            place.rmdir()
        found = Video.from_folder(target, fps=video.picture_fps)
        self.moved[identity(video)] = identity(found)
        return name

    def _copy(self, medium: Medium, at: str) -> str:
        if medium.where.path is not None:
            digest = _file_hash(medium)
            ending = medium.where.path.suffix.lower()
        else:
            data = encoded(medium, at)
            digest = _hash(data)
            ending = f".{ending_of(data, medium)}"
        name = f"{self.folder}/{digest[:2]}/{digest}{ending}"
        target = self.root / name
        if target.exists():
            return name
        target.parent.mkdir(parents=True, exist_ok=True)
        if medium.where.path is None:
            put_file(target, lambda place: place.write_bytes(data))
        else:
            source = medium.where.path
            put_file(target, lambda place: shutil.copyfile(source, place))
        return name


@dataclass
class Packed:
    """Media travel as bytes in their rows, under content-hash names.

    Attributes:
        listed: see `hocket.data.writers.Refer`.
        packed: always true.
        moved: what each medium became.
    """

    listed: bool = True
    packed: bool = True
    moved: dict[Identity, Identity] = field(default_factory=dict)

    def notes(self) -> Mapping[str, int]:
        """Return nothing: what happens to media is the same for all."""
        return {}

    def __call__(self, medium: Medium, at: str) -> Reference:
        """Return ``{"bytes": ..., "path": HASH.ENDING}``.

        A video that is kept as pictures is ``{"frames": [...]}`` with one of these for each, with
        ``fps`` and ``times`` where they are not one a second.

        Raises:
            MediaError: the medium cannot be read.
            DataError: an array that no format holds.
        """
        if isinstance(medium, Video) and medium.pictures:
            return self._frames(medium, at)
        data = encoded(medium, at)
        digest = _hash(data)
        self.moved[identity(medium)] = (kind_of(medium), "bytes", digest)
        return {"bytes": data, "path": f"{digest}.{ending_of(data, medium)}"}

    def _frames(self, video: Video, at: str) -> Reference:
        pictures = [Image(one) for one in video.pictures]
        held = [encoded(one, at) for one in pictures]
        found = Video.from_frames(
            [Where.of_bytes(data) for data in held], fps=video.picture_fps, times=video.times
        )
        self.moved[identity(video)] = identity(found)
        frames = [
            {"bytes": data, "path": f"{_hash(data)}.{ending_of(data, one)}"}
            for data, one in zip(held, pictures, strict=True)
        ]
        return _frames(frames, video)


def encoded(medium: Medium, at: str) -> bytes:
    """Return the bytes of a medium; pixels and samples in memory become PNG and WAV.

    Raises:
        MediaError: the file cannot be read, or is over a limit.
        DataError: frames in memory, for which there is no lossless file that all can read.
    """
    if isinstance(medium, Image) and medium.pixels is not None:
        buffer = io.BytesIO()
        PIL.Image.fromarray(medium.pixels).save(buffer, "PNG")
        return buffer.getvalue()
    if isinstance(medium, Audio) and medium.wave is not None:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.asarray(medium.wave), medium.rate, "FLOAT", format="WAV")
        return buffer.getvalue()
    if isinstance(medium, Video) and medium.frames is not None:
        raise DataError(f"{at}: frames in memory have no file. Save the video and write its path.")
    medium.where.check(DEFAULT_LIMITS)
    with medium.where.open() as stream:
        return stream.read()


def ending_of(data: bytes, medium: Medium) -> str:
    """Return the ending of a file of these bytes: that of its name, else by its first bytes."""
    named = Path(medium.where.name).suffix.lower()
    if medium_kind(named) == kind_of(medium):
        return named[1:]
    for start, mark, ending in _MARKS:
        if data[start : start + len(mark)] == mark:
            return ending
    return {"Image": "png", "Audio": "wav", "Video": "mp4"}[type(medium).__name__]


def put_file(target: Path, fill: Callable[[Path], object]) -> None:
    """Write a file under its name all at once; other processes may write the same one."""
    number, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    os.close(number)
    place = Path(name)
    try:
        fill(place)
        place.chmod(0o644)
        place.replace(target)
    except BaseException:
        place.unlink(missing_ok=True)
        raise


def put_folder(place: Path, target: Path) -> None:
    """Move a finished folder to its name; another process may have put the same one there."""
    try:
        place.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(place)


def _frames(pictures: Sequence[object], video: Video) -> dict[str, object]:
    """Return the object that stands for a video of pictures: they, and when they are shown."""
    rate = {} if video.picture_fps == 1.0 else {"fps": video.picture_fps}
    times = {} if video.times is None else {"times": video.times.tolist()}
    return {"frames": [*pictures], **rate, **times}


def _paths(paths: list[str], video: Video) -> Reference:
    """Return a list, as everybody writes it, where the pictures are one a second."""
    found = _frames(paths, video)
    return paths if found.keys() == {"frames"} else found


def _file_of(where: Where, at: str) -> Path:
    if where.path is None:
        raise DataError(
            f"{at}: it has no file of its own, so its path cannot be written. "
            f"Add --copy-media, or write a webdataset."
        )
    return where.path


def _whole_folder(video: Video) -> Path | None:
    """Return the folder whose pictures are exactly those of the video, or None."""
    folders = {picture.path.parent if picture.path else None for picture in video.pictures}
    folder = folders.pop()
    if folder is None or folders:
        return None
    try:
        found = Video.from_folder(folder, fps=video.picture_fps)
    except MediaError:
        return None  # it holds something else besides
    same = found.pictures == video.pictures and identity(found) == identity(video)
    return folder if same else None


def _resolved(folder: Path) -> Path:
    return _followed(folder.absolute())


@functools.lru_cache(maxsize=_KNOWN_FOLDERS)
def _followed(folder: Path) -> Path:
    return folder.resolve()


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _file_hash(medium: Medium) -> str:
    medium.where.check(DEFAULT_LIMITS)
    digest = hashlib.blake2b(digest_size=16)
    with medium.where.open() as stream:
        while block := stream.read(_COPY_BYTES):
            digest.update(block)
    return digest.hexdigest()
