"""Features on the disk: whole or absent, never those of another tower, layout or medium."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.toy import picture, sound, toy, video

import hocket.data.features
from hocket._errors import MachineError, MediaError
from hocket.data.content import ContentHashes
from hocket.data.features import FeatureShards, KnownFeatures, MediaKeys
from hocket.data.spec import FeatureDtype
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality

FLOAT32, BFLOAT16 = FeatureDtype.FLOAT32, FeatureDtype.BFLOAT16


def shards(folder: Path, dtype: FeatureDtype = FLOAT32, tower: str = "tower") -> FeatureShards:
    return FeatureShards(folder, tower, dtype)


def write(folder: Path, *keys: str) -> FeatureShards:
    """Write one shard with a tensor for each key."""
    store = shards(folder)
    with store.writer() as writer:
        for key in keys:
            writer.add(key, values(key), None)
    store.refresh()
    return store


def values(key: str) -> torch.Tensor:
    return torch.full((2, 3, 4), float(len(key)))


def test_what_was_written_is_found(tmp_path: Path) -> None:
    x, times = torch.randn(3, 4, 5), torch.arange(3.0)
    store = shards(tmp_path)
    with store.writer() as writer:
        writer.add("a", x, times)
        writer.add("b", 2 * x, None)
    store.refresh()
    for one in (store, shards(tmp_path), pickle.loads(pickle.dumps(store))):
        found, seconds = one.find("a") or (None, None)
        assert found is not None and seconds is not None
        assert torch.equal(found, x) and torch.equal(seconds, times)
        assert "b" in one and "c" not in one and len(one) == 2
        assert one.find("c") is None


def test_bfloat16_takes_half(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 4)
    store = shards(tmp_path, BFLOAT16)
    with store.writer() as writer:
        writer.add("a", x, None)
    store.refresh()
    (found, _) = store.find("a") or (x, None)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, x.bfloat16())


def test_towers_and_formats_have_folders_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "a")
    assert "a" not in shards(tmp_path, tower="other")
    assert "a" not in shards(tmp_path, BFLOAT16)


def test_full_shards_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hocket.data.features, "SHARD_BYTES", 2 * 24 * 4)
    store = shards(tmp_path)
    with store.writer() as writer:
        for key in "abcde":
            writer.add(key, values(key), None)
        # As a kill would leave it: two whole shards of two, and the fifth is lost.
        assert len(shards(tmp_path)) == 4
    assert len(shards(tmp_path)) == 5
    assert len(list(store.folder.glob("*.safetensors"))) == 3


def test_an_error_keeps_what_was_collected(tmp_path: Path) -> None:
    store = shards(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.writer() as writer:
        writer.add("a", values("a"), None)
        raise KeyboardInterrupt
    assert "a" in shards(tmp_path)


@pytest.mark.parametrize("kind", ["cut", "gone", "side cut", "other version"])
def test_a_damaged_shard_does_not_count(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a")
    store = write(tmp_path, "bb")
    name = next(side for side in store.folder.glob("*.json") if '"bb"' in side.read_text()).stem
    shard, side = (store.folder / f"{name}{end}" for end in (".safetensors", ".json"))
    if kind == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif kind == "gone":
        shard.unlink()
    elif kind == "side cut":
        side.write_text(side.read_text()[:-5])
    else:
        side.write_text(side.read_text().replace('"format": 1', '"format": 0'))
    found = shards(tmp_path)
    assert "a" in found and "bb" not in found
    assert not shard.exists() and not side.exists()
    (line,) = [record.getMessage() for record in caplog.records]
    assert name in line and "left out and removed: it is damaged" in line
    assert "bb" in write(tmp_path, "bb")


def test_a_flipped_bit_is_found_and_its_shard_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = write(tmp_path, "a")
    (shard,) = store.folder.glob("*.safetensors")
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    store = shards(tmp_path)
    assert "a" in store, "the size is right"
    steps: list[tuple[int, int]] = []
    assert store.verify(lambda done, total: steps.append((done, total))) == 1
    assert steps == [(1, 1)]
    assert "a" not in store and not shard.exists()
    assert "its content has changed since it was written" in caplog.text
    assert write(tmp_path, "a").verify() == 0


def test_what_a_kill_left_is_no_shard_and_goes_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write(tmp_path, "a")
    for name in (".tmp-x.safetensors", ".tmp-x.json", "orphan.safetensors"):
        (store.folder / name).write_bytes(b"half")
    store = shards(tmp_path)
    assert len(store) == 1
    store.clean()
    assert len(list(store.folder.iterdir())) == 5, "another process may be writing them"
    monkeypatch.setattr(hocket.data.features, "_ABANDONED_SECONDS", -1.0)
    store.clean()
    assert len(list(store.folder.iterdir())) == 2
    assert "a" in shards(tmp_path)


def test_a_disk_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "tower-float32").write_text("a file stands here")
    with pytest.raises(MachineError, match=r"cannot be written.*train\.feature_cache=off"):
        write(tmp_path, "a")


def test_a_shard_lost_meanwhile_is_named(tmp_path: Path) -> None:
    store = write(tmp_path, "a")
    (shard,) = store.folder.glob("*.safetensors")
    shard.unlink()
    with pytest.raises(MachineError, match="cannot be read any more"):
        store.find("a")


def keys(folder: Path, processor: HocketProcessor | None = None) -> MediaKeys:
    return MediaKeys(processor or toy().processor, ContentHashes(folder / "contents.sqlite"))


def test_keys_tell_media_plans_layouts_and_samplers_apart(tmp_path: Path) -> None:
    processor = toy().processor
    media = [picture(1), picture(2), sound(1), video(1)]
    kinds = [Modality.IMAGE, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO]
    plans = processor.media.plans(media, "here")
    mine = keys(tmp_path)
    found = [mine.key(*one) for one in zip(kinds, media, plans, strict=True)]
    assert len(set(found)) == 4
    assert found == [mine.key(*one) for one in zip(kinds, media, plans, strict=True)]
    other = replace(plans[3], units=1, kept=1)
    assert mine.key(Modality.VIDEO, media[3], other) != found[3]
    options = processor.to_dict()
    del options["processor_class"]
    padded = options["image_layout"] | {"fit": "pad"}
    for change, same in (
        ({"video_sampling": {"kind": "uniform", "frames": 3}}, [True, True, True, False]),
        ({"image_layout": padded}, [False, False, True, False]),
    ):
        changed = HocketProcessor(processor.tokenizer, **(options | change))
        again = keys(tmp_path, changed)
        now = [again.key(*one) for one in zip(kinds, media, plans, strict=True)]
        assert [one == two for one, two in zip(found, now, strict=True)] == same


def test_a_medium_without_features_is_named(tmp_path: Path) -> None:
    medium = picture(1)
    (plan,) = toy().processor.media.plans([medium], "here")
    known = KnownFeatures({Modality.IMAGE: shards(tmp_path)}, keys(tmp_path))
    with pytest.raises(MediaError, match=r"has nothing of it: it could not be decoded"):
        known.find(Modality.IMAGE, medium, plan)
