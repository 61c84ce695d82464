"""The media of the start-up proof of packing, in the feature cache beside those of the data.

So a run whose features are all there proves that packed samples are apart without its towers.
"""

from __future__ import annotations

from hocket._env import cache_dir
from hocket.chat.conversation import Conversation
from hocket.data.content import ContentHashes
from hocket.data.features import FeatureShards, KnownFeatures, MediaKeys
from hocket.data.featuring import Encode, Place, build_features, keys_of
from hocket.data.mixture import SampleRef
from hocket.data.spec import FeatureDtype
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.packing import proof_samples
from hocket.model.towers import tower_widths
from hocket.tokens.example import Outline
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality
from hocket.train.fingerprints import TowerHashes

FOLDER = "features"
"""Where features of all towers are, in the folder of what can be made again."""


class _Samples:
    """The samples of the proof, as those of a stage."""

    def __init__(self, processor: HocketProcessor) -> None:
        prepared = [processor.prepare(one) for one in proof_samples(processor)]
        self._known = [(one, processor.measure(one)) for one in prepared]

    def __len__(self) -> int:
        return len(self._known)

    def sample(self, ref: SampleRef) -> tuple[Conversation, Outline]:
        """Return a sample, nothing decoded."""
        return self._known[ref.row]


def keep_proof(features: KnownFeatures, processor: HocketProcessor, encode: Encode) -> None:
    """Add the features of the proof's media that are missing.

    Args:
        features: of the towers that a stage does without.
        processor: decodes media.
        encode: runs a tower.

    Raises:
        MachineError: they cannot be written.
    """
    samples = _Samples(processor)
    missing = {
        key: place
        for kind, places in _places(samples, features).items()
        for key, place in places.items()
        if key not in features.shards[kind]
    }
    if missing:
        build_features(samples, processor, features, missing, encode)


def known_proof(
    model: HocketForConditionalGeneration, processor: HocketProcessor, dtype: FeatureDtype
) -> KnownFeatures | None:
    """Return the features of the proof's media, or None if those of no tower are kept.

    Args:
        model: the composite; no weight of a tower is read.
        processor: its processor.
        dtype: number format of the features.
    """
    root = cache_dir() / FOLDER
    hashes = TowerHashes(root)
    towers = {kind: hashes.known(model, kind) for kind in tower_widths(model.config)}
    shards = {
        kind: FeatureShards(root, tower, dtype)
        for kind, tower in towers.items()
        if tower is not None
    }
    if not shards:
        return None
    keys = MediaKeys(processor, ContentHashes(root / "contents.sqlite"))
    places = _places(_Samples(processor), KnownFeatures(shards, keys))
    whole = {
        kind: shards[kind]
        for kind, found in places.items()
        if found and all(key in shards[kind] for key in found)
    }
    return KnownFeatures(whole, keys) if whole else None


def _places(samples: _Samples, features: KnownFeatures) -> dict[Modality, dict[str, Place]]:
    """Return modality -> key of a medium -> where it stands in the proof."""
    places: dict[Modality, dict[str, Place]] = {kind: {} for kind in features.modalities}
    for row in range(len(samples)):
        ref = SampleRef(0, "", row)
        for key, kind, number in keys_of(samples, features, ref):
            places[kind][key] = Place(ref, number)
    return places
