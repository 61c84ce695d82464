"""Caps on media, checked before anything is decoded.

Knows numbers only: no file, no decoder.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one picture, sound or video may cost.

    Attributes:
        max_file_bytes: size of the file or of the bytes.
        max_pixels: height times width of one picture or frame.
        max_side_pixels: height and width, each.
        max_audio_seconds: length of a sound.
        max_video_seconds: length of a video.
        max_frames: frames that one load of a video returns.
        max_video_bytes: memory of the frames that one load returns.
    """

    max_file_bytes: int = 512 * 2**20
    max_pixels: int = 100_000_000
    max_side_pixels: int = 30_000
    max_audio_seconds: float = 3600.0
    max_video_seconds: float = 3600.0
    max_frames: int = 4096
    max_video_bytes: int = 8 * 2**30


DEFAULT_LIMITS = Limits()
