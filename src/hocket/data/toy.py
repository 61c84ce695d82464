"""A small data set to try things with: shapes to name, compare and watch, sums, and a tool call.

The file is what Ovis's trainer reads: an object whose ``conversations`` holds the rows. Everything
is drawn from a seed. Knows pictures and rows; must not know models.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import PIL.Image
import PIL.ImageDraw

from hocket._errors import ConfigError
from hocket.data.seed import generator

Row: TypeAlias = dict[str, object]

READER = "ovis"
"""Row format of the file."""

_SIDE = 96
_FRAMES = 6
# Pictures of other rows have another shade, so that no two are the same file.
_PAPER = (225, 256)
_COLOURS = {
    "red": (204, 51, 51),
    "green": (44, 140, 70),
    "blue": (48, 92, 190),
    "yellow": (232, 190, 40),
    "black": (30, 30, 34),
}
_SIDES_OF = {"triangle": 3, "square": 4, "hexagon": 6}
_SHAPES = ("circle", *_SIDES_OF)
_WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


class _Look(NamedTuple):
    """What a shape looks like: its name and colour, and the paper it is drawn on."""

    shape: str
    colour: str
    paper: tuple[int, int, int]


class ToyWriter:
    """Writes rows and their pictures.

    Args:
        media: folder of the pictures.
        seed: of everything that is drawn.
    """

    def __init__(self, media: Path, *, seed: int) -> None:
        self._media = media
        self._seed = seed
        self._kinds = (self._name, self._think, self._compare, self._watch, self._call)

    def row(self, number: int) -> Row:
        """Draw one row and write its pictures; its kind depends on the number."""
        rng = generator(self._seed, "toy", number)
        name = f"toy-{number:05d}"
        return {"id": name, **self._kinds[number % len(self._kinds)](name, rng)}

    def _name(self, name: str, rng: np.random.Generator) -> Row:
        look = self._pick(rng)
        image = self._draw(f"{name}.png", look, radius=int(rng.integers(18, 40)))
        return {
            "image": image,
            "conversations": _talk("<image>\nWhat do you see?", f"A {look.colour} {look.shape}."),
        }

    def _think(self, name: str, rng: np.random.Generator) -> Row:
        one, other = map(int, rng.integers(2, 50, 2))
        answer = f"<think>\n{one} + {other} = {one + other}\n</think>\n\n{one + other}."
        return {"conversations": _talk(f"How much is {one} plus {other}?", answer)}

    def _compare(self, name: str, rng: np.random.Generator) -> Row:
        look = self._pick(rng)
        large_first = bool(rng.integers(2))
        sizes = (38, 16) if large_first else (16, 38)
        images = [
            self._draw(f"{name}-{at}.png", look, radius=radius) for at, radius in enumerate(sizes)
        ]
        question = f"<image>\n<image>\nIn which picture is the {look.shape} larger?"
        answer = "In the first." if large_first else "In the second."
        return {
            "image": images,
            "conversations": _talk(question, answer, "What colour is it?", f"It is {look.colour}."),
        }

    def _watch(self, name: str, rng: np.random.Generator) -> Row:
        look = self._pick(rng)
        way = str(rng.choice(list(_WAYS)))
        across, down = _WAYS[way]
        frames = []
        for step in range(_FRAMES):
            at = 48 * step // (_FRAMES - 1) - 24
            centre = (_SIDE // 2 + across * at, _SIDE // 2 + down * at)
            file = f"{name}/{step:03d}.png"
            frames.append(self._draw(file, look, radius=16, centre=centre))
        return {
            "video": frames,
            "conversations": _talk(
                f"<video>\nWhich way does the {look.shape} move?", f"It moves {way}."
            ),
        }

    def _call(self, name: str, rng: np.random.Generator) -> Row:
        look = self._pick(rng)
        image = self._draw(f"{name}.png", look, radius=6)
        call = json.dumps({"name": "zoom", "arguments": {"factor": 4}})
        return {
            "image": image,
            "conversations": _talk(
                "<image>\nZoom in so that I can see the shape.",
                f"<tool_call>\n{call}\n</tool_call>",
                "Done. What is it?",
                f"A {look.colour} {look.shape}.",
            ),
        }

    def _pick(self, rng: np.random.Generator) -> _Look:
        red, green, blue = map(int, rng.integers(*_PAPER, 3))
        return _Look(str(rng.choice(_SHAPES)), str(rng.choice(list(_COLOURS))), (red, green, blue))

    def _draw(
        self,
        file: str,
        look: _Look,
        *,
        radius: int,
        centre: tuple[int, int] = (_SIDE // 2, _SIDE // 2),
    ) -> str:
        """Draw one shape, write the picture and return its path from the data file's folder."""
        picture = PIL.Image.new("RGB", (_SIDE, _SIDE), look.paper)
        pen = PIL.ImageDraw.Draw(picture)
        if look.shape == "circle":
            pen.circle(centre, radius, fill=_COLOURS[look.colour])
        else:
            corners = _SIDES_OF[look.shape]
            turn = math.pi / 4 if look.shape == "square" else -math.pi / 2
            points = [
                (
                    centre[0] + radius * math.cos(turn + 2 * math.pi * corner / corners),
                    centre[1] + radius * math.sin(turn + 2 * math.pi * corner / corners),
                )
                for corner in range(corners)
            ]
            pen.polygon(points, fill=_COLOURS[look.colour])
        target = self._media / file
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
        return f"{self._media.name}/{file}"


def write_toy(file: Path, *, rows: int, seed: int = 0) -> Path:
    """Write a toy data set: a JSON file, and its pictures in a folder beside it.

    Args:
        file: the JSON file; its folder is made.
        rows: how many rows.
        seed: the same one gives the same files.

    Returns:
        The folder of the pictures.

    Raises:
        ConfigError: the file or the folder is there already, or the file is not called ``.json``.
    """
    if file.suffix.lower() != ".json":
        raise ConfigError(f"{file}: toy data is JSON. Give it a name such as {file.stem}.json.")
    media = file.with_name(f"{file.stem}_media")
    for path in (file, media):
        if path.exists():
            raise ConfigError(f"{path} exists. Choose another name, or remove it.")
    media.mkdir(parents=True)
    try:
        writer = ToyWriter(media, seed=seed)
        found = {"conversations": [writer.row(number) for number in range(rows)]}
        # Last, so that a file that is there is whole.
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except BaseException:
        shutil.rmtree(media)
        raise
    return media


def _talk(*texts: str) -> list[dict[str, str]]:
    """Return turns in which a human and the model speak one after the other."""
    return [
        {"from": "gpt" if number % 2 else "human", "value": text}
        for number, text in enumerate(texts)
    ]
