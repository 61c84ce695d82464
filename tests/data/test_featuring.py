"""The media of a stage are found, encoded once each, and go on where a build was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.toy import toy, write_rows

from hocket.data.augment import Augmenter
from hocket.data.content import ContentHashes
from hocket.data.faults import FaultPolicy
from hocket.data.features import FeatureShards, KnownFeatures, MediaKeys
from hocket.data.featuring import Wanted, build_features, list_media
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec, FeatureDtype
from hocket.tokens.span import Modality

ALL = frozenset(Modality)


def loader(file: Path) -> Loader:
    source = open_source("toy", DatasetSpec(path=str(file)))
    return Loader(
        Mixture({"toy": (source, 1.0)}, seed=1),
        toy().processor,
        shape=StepShape(rows=2, tokens_per_row=128),
        augmenter=Augmenter({}, seed=0),
        faults=FaultPolicy(max_bad_share=1.0),
    )


def known(folder: Path, kinds: frozenset[Modality] = ALL) -> KnownFeatures:
    keys = MediaKeys(toy().processor, ContentHashes(folder / "contents.sqlite"))
    shards = {kind: FeatureShards(folder, f"{kind}", FeatureDtype.FLOAT32) for kind in kinds}
    return KnownFeatures(shards, keys)


def build(file: Path, features: KnownFeatures, **options: object) -> tuple[Wanted, int, list[str]]:
    samples = loader(file)
    wanted = list_media(samples, features)
    missing = features.missing(wanted.places)
    places = {key: wanted.places[kind][key] for kind, some in missing.items() for key in some}
    built = build_features(
        samples,
        toy().processor,
        features,
        places,
        toy().model.model.encode,
        **options,  # type: ignore[arg-type] # workers and advance
    )
    return wanted, built.count, built.failures


@pytest.mark.parametrize("workers", [0, 2])
def test_features_are_those_of_the_tower(tmp_path: Path, workers: int) -> None:
    file = write_rows(tmp_path)
    features = known(tmp_path)
    wanted, count, failures = build(file, features, workers=workers)
    assert (wanted.seen, wanted.unread, count, failures) == (9, 0, 9, [])
    (batch,) = next(iter(loader(file))).micro
    fed = loader(file)
    fed.use(features)
    (other,) = next(iter(fed)).micro
    assert not {"pixel_values", "pixel_values_videos", "input_features"} & other.keys()
    for name in ("input_ids", "labels", "position_ids", "image_spans", "video_spans",
                 "frame_times", "audio_spans", "feature_lengths"):  # fmt: skip
        assert torch.equal(batch[name], other[name]), name  # type: ignore[literal-required] # as listed
    model = toy().model
    with torch.no_grad():
        one, two = model(**batch), model(**other)
    torch.testing.assert_close(one.logits, two.logits, rtol=0, atol=1e-5)


def test_a_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = write_rows(tmp_path)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(file, known(tmp_path), advance=stop)
    features = known(tmp_path)
    before = sum(len(shards) for shards in features.shards.values())
    _, count, _ = build(file, features)
    assert before + count == 9
    assert build(file, known(tmp_path))[1] == 0


def test_the_same_picture_is_encoded_once(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    (tmp_path / "4.png").write_bytes((tmp_path / "0.png").read_bytes())
    wanted, count, _ = build(file, known(tmp_path))
    assert (wanted.seen, count) == (9, 8)


def test_what_cannot_be_decoded_is_told_and_dropped_as_ever(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "1.wav").write_bytes(b"no sound")
    features = known(tmp_path)
    wanted, count, failures = build(file, features)
    assert (wanted.unread, count) == (1, 7), "the header of the sound is damaged"
    (failure,) = failures
    assert "0.png" in failure
    fed = loader(file)
    fed.use(features)
    bad = [one.reason for step, _ in zip(fed, range(8), strict=False) for one in step.dropped]
    assert bad and all("0.png: the feature cache" in reason for reason in bad)


def test_some_modalities_alone(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    features = known(tmp_path, frozenset({Modality.AUDIO}))
    assert build(file, features)[1] == 3
    fed = loader(file)
    fed.use(features)
    (batch,) = next(iter(fed)).micro
    assert "pixel_values" in batch and "audio_features" in batch
    assert "input_features" not in batch and "image_features" not in batch
