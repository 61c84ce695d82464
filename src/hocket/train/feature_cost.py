"""What the feature cache of a stage would cost and save, from a few of its media."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

from hocket._errors import HocketError
from hocket.data.features import TORCH, KnownFeatures
from hocket.data.featuring import Decoded, Encode, Wanted, decode, encode_all, list_media
from hocket.data.loader import Loader
from hocket.tokens.processor import HocketProcessor

LEAST_GAIN_SECONDS = 60.0
LEAST_GAIN = 1.5
"""How many times the seconds of building must be saved, since both are estimates."""

_PROBED_SAMPLES = 64
_PROBED_MEDIA = 8
_BYTES_PER_SECOND = 500e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the cache of a stage costs and saves.

    Attributes:
        media: media to be built.
        build_seconds: of building.
        saved_seconds: of towers and decoding in the stage, less reading.
        disk_bytes: that the new features take.
    """

    media: int
    build_seconds: float
    saved_seconds: float
    disk_bytes: float

    @property
    def pays(self) -> bool:
        """Whether clearly more is saved than spent, or all is there already."""
        if not self.media:
            return True  # nothing is spent
        gain = self.saved_seconds - self.build_seconds
        return self.saved_seconds >= LEAST_GAIN * self.build_seconds and gain >= LEAST_GAIN_SECONDS

    def told(self) -> str:
        """Say it in words."""
        if not self.media:
            return "all that was looked for is there"
        return (
            f"{self.media:,} media to build in about {self.build_seconds:,.0f} s and "
            f"{self.disk_bytes / 1e9:.2g} GB, which save about {self.saved_seconds:,.0f} s"
        )


class _PerMedium(NamedTuple):
    """Means over the media that were timed."""

    decode_seconds: float
    tower_seconds: float
    disk_bytes: float


def estimate(
    loader: Loader,
    processor: HocketProcessor,
    features: KnownFeatures,
    encode: Encode,
    *,
    steps: int,
    workers: int = 0,
    world: int = 1,
) -> Estimate | None:
    """Time a few media, where some are missing; None if the stage shows none that can be used.

    Args:
        loader: the stage's samples.
        processor: decodes media.
        features: what there is already.
        encode: runs a tower.
        steps: optimizer steps of the stage.
        workers: decoding processes, whose time is hidden behind the model's.
        world: processes that share the work.
    """
    mixture = loader.mixture
    apart = max(1, len(mixture) // _PROBED_SAMPLES)
    refs = [mixture.ref(position) for position in range(0, len(mixture), apart)]
    wanted = list_media(loader, features, refs=refs)
    absent = sum(map(len, features.missing(wanted.places).values()))
    if wanted.seen and not absent:
        # A tower is not even read to time it.
        return Estimate(media=0, build_seconds=0.0, saved_seconds=0.0, disk_bytes=0.0)
    mean = _time_media(loader, processor, features, encode, wanted)
    if mean is None:
        return None
    rows = sum(len(source) for source in mixture.sources.values())
    media = math.ceil(rows * absent / len(refs))
    samples = steps / loader.steps_per_epoch() * len(mixture)
    shown = samples * wanted.seen / len(refs)
    saved = mean.tower_seconds - mean.disk_bytes / _BYTES_PER_SECOND
    build = mean.tower_seconds + mean.decode_seconds / max(1, workers)
    return Estimate(
        media=media,
        build_seconds=media * build / world,
        saved_seconds=shown * (saved if workers else saved + mean.decode_seconds) / world,
        disk_bytes=media * mean.disk_bytes,
    )


def _time_media(
    loader: Loader,
    processor: HocketProcessor,
    features: KnownFeatures,
    encode: Encode,
    wanted: Wanted,
) -> _PerMedium | None:
    """Decode and encode a few media of each modality."""
    counts: list[int] = []
    decode_seconds = tower_seconds = disk_bytes = 0.0
    for kind, places in wanted.places.items():
        began = time.perf_counter()
        media: list[Decoded] = []
        for key, place in list(places.items())[:_PROBED_MEDIA]:
            try:
                media.append(decode(loader, processor, key, place))
            except HocketError:
                continue  # named when it is its turn to be built or learned
        if not media:
            continue
        # Each modality counts as often as the stage shows it.
        share = len(places) / len(media)
        decode_seconds += share * (time.perf_counter() - began)
        encode_all(encode, media[:1])  # the first call of a tower is slow
        began = time.perf_counter()
        made = encode_all(encode, media)
        size = sum(one.numel() for one in made) * TORCH[features.shards[kind].dtype].itemsize
        made[0].cpu()  # waits for a device that works on its own
        tower_seconds += share * (time.perf_counter() - began)
        disk_bytes += share * size
        counts.append(len(places))
    total = sum(counts)
    if not total:
        return None
    return _PerMedium(decode_seconds / total, tower_seconds / total, disk_bytes / total)
