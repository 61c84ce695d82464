"""Which frames of a video are looked at.

Knows counts and rates; must not know pixels, files or decoders. A sampler returns frame
numbers in the order in which the model reads them; `BLANK` stands for a black frame of the size
of the others. Each file of this folder is one sampler and its name is the sampler's ``kind``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hocket._errors import ConfigError, did_you_mean
from hocket.media.frames._fewer import Fewer
from hocket.media.frames._sampler import BLANK, FrameSampler, SamplerSpec, samplers
from hocket.media.frames.at_fps import AtFps
from hocket.media.frames.history import History
from hocket.media.frames.interval import Interval
from hocket.media.frames.mid_segment import MidSegment
from hocket.media.frames.segments import Segments
from hocket.media.frames.uniform import Uniform

__all__ = [
    "BLANK",
    "AtFps",
    "Fewer",
    "FrameSampler",
    "History",
    "Interval",
    "MidSegment",
    "SamplerSpec",
    "Segments",
    "Uniform",
    "sampler_from",
    "samplers",
]


def sampler_from(spec: Mapping[str, int | float | str]) -> FrameSampler:
    """Return the sampler of a spec such as ``{"kind": "uniform", "frames": 8}``.

    Raises:
        UnknownNameError: no sampler is called ``kind``.
        ConfigError: an option is missing, unknown or has a wrong value.
    """
    kind = spec.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(f"frame sampler: kind is {kind!r}, expected one of {samplers.names()}.")
    sampler = samplers.get(kind)
    given = {key: value for key, value in spec.items() if key != "kind"}
    options = dataclasses.fields(sampler)  # type: ignore[arg-type] # every sampler is a dataclass
    names = [option.name for option in options]
    for key in given:
        if key not in names:
            raise ConfigError(
                f"frame sampler {kind} has no option {key!r}.{did_you_mean(key, names)} "
                f"Known: {', '.join(names)}."
            )
    required = [option.name for option in options if option.default is dataclasses.MISSING]
    missing = [name for name in required if name not in given]
    if missing:
        raise ConfigError(
            f"frame sampler {kind}: {missing} missing, found options {sorted(given)}. Add them."
        )
    return sampler(**given)
