"""What a row may hold, and what had to be left out so that samples fit one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hocket.tokens.example import Cost


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a row, and so a sample, may cost; 0 is no limit.

    Attributes:
        tokens: positions of the language model.
        patches: patches of the vision tower.
        audio_frames: encoder frames of the audio tower.
    """

    tokens: int
    patches: int = 0
    audio_frames: int = 0

    def has_room(self, cost: Cost) -> bool:
        """Return whether all of it fits."""
        return (
            (not self.tokens or cost.tokens <= self.tokens)
            and (not self.patches or cost.patches <= self.patches)
            and (not self.audio_frames or cost.frames <= self.audio_frames)
        )

    def excess(self, cost: Cost) -> tuple[int, int, int]:
        """Return by how much each limit is passed, 0 where it is kept."""
        pairs = (
            (cost.tokens, self.tokens),
            (cost.patches, self.patches),
            (cost.frames, self.audio_frames),
        )
        tokens, patches, frames = (max(0, used - most) if most else 0 for used, most in pairs)
        return tokens, patches, frames

    def told(self) -> str:
        """Return the limits in words."""
        nouns = {"tokens": self.tokens, "patches": self.patches, "audio frames": self.audio_frames}
        return ", ".join(f"{most} {noun}" for noun, most in nouns.items() if most)

    def shares(self, cost: Cost, *, rows: int) -> dict[str, float]:
        """Return which part of so many rows is used, by name of the limit."""
        used = {"tokens": cost.tokens, "patches": cost.patches, "audio_frames": cost.frames}
        most = {"tokens": self.tokens, "patches": self.patches, "audio_frames": self.audio_frames}
        return {name: used[name] / (rows * limit) for name, limit in most.items() if limit}


class Cuts(NamedTuple):
    """What was cut so that samples fit, counted.

    Attributes:
        samples: samples of which something was cut.
        skipped: samples left out whole.
        pictures: pictures shown smaller.
        videos: videos shown in fewer frames.
        sounds: sounds that end early.
        media: media left out with their placeholders.
        turns: messages left out whole.
        tokens: tokens of text left out.
    """

    samples: int = 0
    skipped: int = 0
    pictures: int = 0
    videos: int = 0
    sounds: int = 0
    media: int = 0
    turns: int = 0
    tokens: int = 0

    def plus(self, other: Cuts) -> Cuts:
        """Add two counts field by field."""
        return Cuts(*(one + more for one, more in zip(self, other, strict=True)))

    def counted(self) -> dict[str, int]:
        """Return what was cut at all, by name."""
        return {name: count for name, count in self._asdict().items() if count}

    def told(self) -> str:
        """Return it in words, empty where nothing was cut."""
        nouns = {
            "samples": "samples cut to fit",
            "skipped": "samples left out as too long",
            "pictures": "pictures made smaller",
            "videos": "videos in fewer frames",
            "sounds": "sounds cut short",
            "media": "media left out",
            "turns": "messages left out",
            "tokens": "text tokens left out",
        }
        return ", ".join(f"{nouns[name]}: {count:,}" for name, count in self.counted().items())


UNCUT = Cuts()
