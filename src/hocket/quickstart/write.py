"""The quickstart's data set on disk: media files, LLaVA-style JSON and a description.

Knows folders and files; must not know how a question is phrased or a medium is made.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import PIL.Image
import soundfile

from hocket._errors import DataError, MachineError
from hocket.data.seed import generator
from hocket.quickstart.digits import Indices, Rgb, Scans, draw, load_scans, split_scans
from hocket.quickstart.movies import DIRECTIONS, encode_film, film_motion, film_order
from hocket.quickstart.questions import Composer, Medium, Pool, Row
from hocket.quickstart.speech import (
    HELDOUT_VOICES,
    TRAIN_VOICES,
    WORDS,
    Samples,
    Speaker,
    draw_takes,
)

Progress: TypeAlias = Callable[[str, int, int], None]
Split: TypeAlias = Literal["train", "heldout"]
_Item = TypeVar("_Item")

_DIGITS_IN_ORDER = 3
_REPORT_EVERY = 25

_CARD = """\
# Digits to see, hear and watch

Made by `hocket quickstart`; an ordinary LLaVA-style data set that you can copy and change.

- `images/`: handwritten digits, PNG. Scans from the UCI "Optical Recognition of Handwritten
  Digits" data set (E. Alpaydin, C. Kaynak; CC BY 4.0), as they come with scikit-learn, enlarged
  to 32 x 32 pixels.
- `audio/VOICE-WORD-TAKE.flac`: zero to nine, left, right, up and down, spoken by the synthesizer
  espeak-ng in many voices, at varied speed and pitch; 16 bit, 22,050 Hz.
- `video/`: MP4, 8 frames in one second: three digits one after another, or one that moves.
- `train/*.json`: rows to train on. `heldout.json`: rows to evaluate on. No scan, no voice and no
  string to reverse is in both; sums and differences of two digits are.

A row has an `id`, the paths of its media from this folder (`image`, `audio`, `video`), its `task`,
its `modality` and `conversations`, where `<image>`, `<audio>` and `<video>` stand for the media in
order. Tasks: `digit` (picture), `word` (sound), `order` and `motion` (video), `match` and `sum`
(picture and sound), `arithmetic` and `string` (text), `dialogue` (turns with picture and sound).

`data.yaml` lists the files for hocket.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSizes:
    """How much one split holds.

    Attributes:
        pictures: scans drawn, at most; the split may have fewer.
        repeats: takes of each word by each voice.
        orders: videos of three digits.
        motions: videos of a moving digit.
        files: JSON file -> task -> rows.
    """

    pictures: int
    repeats: int
    orders: int
    motions: int
    files: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the data set is.

    Attributes:
        train: what is trained on.
        heldout: what is only evaluated: other scans and other voices.
    """

    train: SplitSizes
    heldout: SplitSizes

    @classmethod
    def full(cls) -> Sizes:
        """Return the sizes of `hocket quickstart`: 10,000 rows to train on, 800 to evaluate."""
        train = {
            "train/vision.json": {"digit": 2876, "order": 700, "motion": 500},
            "train/audio.json": {"word": 1680},
            "train/joint.json": {
                "match": 1500, "sum": 1500, "dialogue": 600, "digit": 150, "word": 150,
                "order": 100, "motion": 100, "arithmetic": 50, "string": 50,
            },
            "train/text.json": {"arithmetic": 300, "string": 300},
        }  # fmt: skip
        heldout = {
            "heldout.json": {
                "digit": 150, "word": 150, "order": 80, "motion": 80, "match": 120, "sum": 120,
                "arithmetic": 30, "string": 30, "dialogue": 40,
            },
        }  # fmt: skip
        return cls(
            train=SplitSizes(pictures=1500, repeats=5, orders=700, motions=500, files=train),
            heldout=SplitSizes(pictures=400, repeats=4, orders=80, motions=80, files=heldout),
        )

    @classmethod
    def fast(cls) -> Sizes:
        """Return the sizes of `hocket quickstart --fast`: about a quarter."""
        train = {
            "train/vision.json": {"digit": 720, "order": 180, "motion": 120},
            "train/audio.json": {"word": 336},
            "train/joint.json": {
                "match": 375, "sum": 375, "dialogue": 150, "digit": 40, "word": 40,
                "order": 25, "motion": 25, "arithmetic": 15, "string": 15,
            },
            "train/text.json": {"arithmetic": 75, "string": 75},
        }  # fmt: skip
        heldout = {
            "heldout.json": {
                "digit": 50, "word": 50, "order": 25, "motion": 25, "match": 40, "sum": 40,
                "arithmetic": 10, "string": 10, "dialogue": 10,
            },
        }  # fmt: skip
        return cls(
            train=SplitSizes(pictures=720, repeats=1, orders=180, motions=120, files=train),
            heldout=SplitSizes(pictures=120, repeats=1, orders=25, motions=25, files=heldout),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What was written.

    Attributes:
        root: the folder.
        train: JSON files to train on, by name, such as ``vision``.
        heldout: the JSON file to evaluate on.
        rows: name of a JSON file, relative to `root` -> its rows.
        pictures: PNG files.
        sounds: FLAC files.
        videos: MP4 files.
        train_voices: who speaks in training.
        heldout_voices: who speaks only in the evaluation.
    """

    root: Path
    train: Mapping[str, Path]
    heldout: Path
    rows: Mapping[str, int]
    pictures: int
    sounds: int
    videos: int
    train_voices: tuple[str, ...]
    heldout_voices: tuple[str, ...]


def write_dataset(
    root: Path, *, seed: int, sizes: Sizes, progress: Progress | None = None
) -> DatasetInfo:
    """Write the data set into a new folder.

    Everything is written beside it and renamed at the end, so that a folder with the final name
    is whole. The same seed and sizes give the same files, byte for byte, on the
    same machine with the same libraries.

    Args:
        root: the folder to make; it may exist if it is empty.
        seed: seed of the split, the takes, the videos and the questions.
        sizes: how much of everything.
        progress: called with what is being written, how much of it is done, and how much there is.

    Returns:
        What was written.

    Raises:
        DataError: the folder holds files already.
        MissingExtraError: scikit-learn or espeak-ng is not installed.
        MachineError: a file cannot be written, or speech or video cannot be made here.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists and is not empty; expected a new folder for the data set.")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        # Beside the final place, as a rename does not cross file systems.
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as folder:
            partial = Path(folder) / "data"
            _Writer(partial, seed, progress or _silent).write(sizes)
            if root.exists():
                root.rmdir()
            partial.rename(root)
    except OSError as error:
        raise MachineError(
            f"the data set {root} cannot be written: {error}. Free space or choose another folder."
        ) from error
    return _describe(root, sizes)


class _Writer:
    """Writes one data set into a folder that does not exist yet."""

    def __init__(self, root: Path, seed: int, progress: Progress) -> None:
        self._root = root
        self._seed = seed
        self._progress = progress

    def write(self, sizes: Sizes) -> None:
        scans = load_scans()
        splits: dict[Split, tuple[SplitSizes, Indices, tuple[str, ...]]] = {}
        train, heldout = split_scans(scans.labels, seed=self._seed)
        splits["train"] = (sizes.train, train[: sizes.train.pictures], TRAIN_VOICES)
        splits["heldout"] = (sizes.heldout, heldout[: sizes.heldout.pictures], HELDOUT_VOICES)
        for folder in ("images", "audio", "video", "train"):
            (self._root / folder).mkdir(parents=True)
        with Speaker(seed=self._seed) as speaker:
            for split, (size, chosen, voices) in splits.items():
                pool = Pool(
                    pictures=self._pictures(split, scans, chosen),
                    sounds=self._sounds(split, speaker, voices, size.repeats),
                    orders=self._orders(split, scans, chosen, size.orders),
                    motions=self._motions(split, scans, chosen, size.motions),
                )
                self._questions(Composer(pool, split=split, seed=self._seed), size)
        self._put("README.md", _CARD.encode())
        self._put("data.yaml", _config(sizes).encode())

    def _pictures(self, split: Split, scans: Scans, chosen: Indices) -> list[Medium]:
        media = []
        for number in self._counted(f"{split} pictures", chosen.tolist()):
            path = f"images/digit-{number:04d}.png"
            self._put(path, _png(draw(scans.ink[number])))
            media.append(Medium("image", path, str(scans.labels[number])))
        return media

    def _sounds(
        self, split: Split, speaker: Speaker, voices: Sequence[str], repeats: int
    ) -> list[Medium]:
        media = []
        takes = draw_takes(WORDS, voices, repeats=repeats, seed=self._seed)
        for number, take in enumerate(self._counted(f"{split} sounds", takes)):
            path = f"audio/{take.voice}-{take.word}-{number % repeats}.flac"
            self._put(path, _flac(speaker.say(take), speaker.rate))
            media.append(Medium("audio", path, take.word))
        order = generator(self._seed, split, "sounds").permutation(len(media))
        return [media[at] for at in order]

    def _orders(self, split: Split, scans: Scans, chosen: Indices, count: int) -> list[Medium]:
        media = []
        for number in self._counted(f"{split} videos of digits", range(count)):
            rng = generator(self._seed, split, "order video", number)
            shown = _no_twins(scans, chosen, rng)
            path = f"video/{split}-order-{number:04d}.mp4"
            self._put(path, encode_film(film_order([scans.ink[at] for at in shown], rng=rng)))
            media.append(Medium("video", path, " ".join(str(scans.labels[at]) for at in shown)))
        return media

    def _motions(self, split: Split, scans: Scans, chosen: Indices, count: int) -> list[Medium]:
        media = []
        for number in self._counted(f"{split} videos of motion", range(count)):
            rng = generator(self._seed, split, "motion video", number)
            direction = DIRECTIONS[number % len(DIRECTIONS)]
            path = f"video/{split}-motion-{number:04d}.mp4"
            scan = scans.ink[int(rng.choice(chosen))]
            self._put(path, encode_film(film_motion(scan, direction, rng=rng)))
            media.append(Medium("video", path, direction))
        return media

    def _questions(self, composer: Composer, size: SplitSizes) -> None:
        for path, tasks in size.files.items():
            rows = [row for task, count in tasks.items() for row in composer.rows(task, count)]
            self._put(path, _json(rows))

    def _counted(self, noun: str, items: Iterable[_Item]) -> Iterator[_Item]:
        known = list(items)
        for done, item in enumerate(known):
            if done % _REPORT_EVERY == 0:
                self._progress(noun, done, len(known))
            yield item
        self._progress(noun, len(known), len(known))

    def _put(self, path: str, data: bytes) -> None:
        (self._root / path).write_bytes(data)


def _config(sizes: Sizes) -> str:
    lines = ["# Paths count from the folder of this file."]
    for key, split in (("datasets", sizes.train), ("heldout", sizes.heldout)):
        lines.append(f"{key}:")
        for path in split.files:
            entry = f"path: {path}, source: json, reader: llava, media_root: ."
            lines.append(f"  {Path(path).stem}: {{{entry}}}")
    return "\n".join(lines) + "\n"


def _describe(root: Path, sizes: Sizes) -> DatasetInfo:
    files = {**sizes.train.files, **sizes.heldout.files}
    (heldout,) = sizes.heldout.files
    return DatasetInfo(
        root=root,
        train={Path(path).stem: root / path for path in sizes.train.files},
        heldout=root / heldout,
        rows={path: sum(tasks.values()) for path, tasks in files.items()},
        pictures=_count(root / "images"),
        sounds=_count(root / "audio"),
        videos=_count(root / "video"),
        train_voices=TRAIN_VOICES,
        heldout_voices=HELDOUT_VOICES,
    )


def _no_twins(scans: Scans, chosen: Indices, rng: np.random.Generator) -> list[int]:
    """Draw three scans; a digit never follows itself, as nobody could say how often it came."""
    shown: list[int] = []
    while len(shown) < _DIGITS_IN_ORDER:
        scan = int(rng.choice(chosen))
        if not shown or scans.labels[scan] != scans.labels[shown[-1]]:
            shown.append(scan)
    return shown


def _png(picture: Rgb) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _flac(samples: Samples, rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _json(rows: Sequence[Row]) -> bytes:
    """One row a line, so that a text editor and a diff can show it."""
    return ("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n").encode()


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _silent(noun: str, done: int, total: int) -> None:
    """Report to nobody."""
