from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.toy import toy, write_rows

from hocket._errors import ConfigError, DataError, MachineError, TrainingError
from hocket.data import workers
from hocket.data.augment import Augmenter
from hocket.data.budget import Cuts
from hocket.data.decoder import Decoder, SampleMemory, StepBatches
from hocket.data.faults import FaultPolicy
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec, Overlong
from hocket.data.truncate import OverlongError
from hocket.tokens.batch import Batch

AUGMENT: dict[str, dict[str, float]] = {"shift": {}, "contrast": {}, "speed": {}, "noise": {}}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows"))


def loader(
    file: Path, *, rank: int = 0, world: int = 1, shape: Any = None, **options: Any
) -> Loader:
    source = open_source("toy", DatasetSpec(path=str(file)))
    return Loader(
        options.pop("mixture", Mixture({"toy": (source, 1.0)}, seed=1)),
        toy().processor,
        shape=shape or StepShape(rows=4, tokens_per_row=128, pool=6, rank=rank, world=world),
        augmenter=options.pop("augmenter", Augmenter(AUGMENT, seed=2)),
        faults=FaultPolicy(max_bad_share=options.pop("max_bad_share", 0.01)),
        **options,
    )


def steps(chosen: Loader, count: int) -> list[StepBatches]:
    running = iter(chosen)
    taken = list(islice(running, count))
    running.close()  # type: ignore[attr-defined] # it is a generator: this ends the workers
    return taken


def assert_same(one: Batch, other: Batch) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name  # type: ignore[arg-type, literal-required] # every value is a tensor


def row_texts(batches: Sequence[Batch]) -> list[list[int]]:
    """Return the tokens of each row without the padding at its end."""
    lines = []
    for batch in batches:
        for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"], strict=True):
            learned = (labels != -100).nonzero()[-1].item()
            lines.append(ids[: int(learned) + 1])
    return lines


def test_workers_change_no_batch(rows: Path) -> None:
    alone, two = steps(loader(rows), 4), steps(loader(rows, workers=2), 4)
    for one, other in zip(alone, two, strict=True):
        assert one.after == other.after
        assert one.samples == other.samples
        assert (one.tokens, one.padding) == (other.tokens, other.padding)
        for mine, theirs in zip(one.micro, other.micro, strict=True):
            assert_same(mine, theirs)


def test_ranks_share_the_rows_of_one(rows: Path) -> None:
    whole = steps(loader(rows), 3)
    first, second = (steps(loader(rows, rank=rank, world=2), 3) for rank in range(2))
    for one, left, right in zip(whole, first, second, strict=True):
        assert one.after == left.after == right.after
        together = row_texts(left.micro) + row_texts(right.micro)
        assert sorted(together) == sorted(row_texts(one.micro))
        assert one.fill == left.fill == right.fill
        assert left.tokens + right.tokens == one.tokens
        assert sorted(left.samples + right.samples) == sorted(one.samples)
        media = [one.micro[0], left.micro[0], right.micro[0]]
        assert sum(len(b.get("pixel_values", ())) for b in media[1:]) == len(
            media[0].get("pixel_values", ())
        )


def test_micro_batches_are_the_step_cut_up(rows: Path) -> None:
    whole = steps(loader(rows), 2)
    shape = StepShape(rows=4, tokens_per_row=128, pool=6, accumulate=4)
    for one, cut in zip(whole, steps(loader(rows, shape=shape), 2), strict=True):
        assert [len(batch["input_ids"]) for batch in cut.micro] == [1, 1, 1, 1]
        assert sorted(row_texts(cut.micro)) == sorted(row_texts(one.micro))
    with pytest.raises(TrainingError, match=r"4 rows .* 1 processes x 3 micro.* multiple of 3"):
        StepShape(rows=4, tokens_per_row=128, accumulate=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_goes_on_with_the_same_batches(rows: Path, workers: int) -> None:
    straight = steps(loader(rows), 5)
    resumed = steps(loader(rows, state=straight[1].after, workers=workers), 3)
    for one, other in zip(straight[2:], resumed, strict=True):
        assert one.after == other.after
        assert_same(one.micro[0], other.micro[0])


def test_a_state_of_another_order_is_refused(rows: Path, tmp_path: Path) -> None:
    (taken,) = steps(loader(rows), 1)
    (tmp_path / "drop.json").write_text("[0]")
    spec = DatasetSpec(path=str(rows), without_rows=str(tmp_path / "drop.json"))
    fewer = Mixture({"toy": (open_source("toy", spec), 1.0)}, seed=1)
    with pytest.raises(ConfigError, match=r"order of the samples .* data.quarantine changed"):
        loader(rows, mixture=fewer, state=taken.after)
    old = taken.after._replace(order="")  # saved before states knew their order
    assert steps(loader(rows, mixture=fewer, state=old), 1)


def test_epochs_are_augmented_differently(rows: Path) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    shape = StepShape(rows=1, tokens_per_row=60, pool=1)
    for step in steps(loader(rows, shape=shape), 40):
        if step.samples == ["rows.json row 0 (row-0)"]:
            seen.setdefault("row-0", []).append(step.micro[0]["pixel_values"])
    assert len(seen["row-0"]) >= 2
    assert not torch.equal(seen["row-0"][0], seen["row-0"][1])


def test_a_memory_of_decoded_media_changes_no_batch(rows: Path) -> None:
    memory = SampleMemory(toy().processor, cache_mb=4)
    plain, kept = steps(loader(rows), 6), steps(loader(rows, memory=memory), 6)
    for one, other in zip(plain, kept, strict=True):
        assert_same(one.micro[0], other.micro[0])
    again = steps(loader(rows, memory=memory), 1)
    assert_same(again[0].micro[0], plain[0].micro[0])


def test_the_batch_is_what_the_processor_makes(rows: Path) -> None:
    (step,) = steps(loader(rows, augmenter=Augmenter({}, seed=0)), 1)
    source = open_source("toy", DatasetSpec(path=str(rows)))
    by_id = {one.id: one for one in (source[row] for row in range(len(source)))}
    names = [sample.rpartition("(")[2].rstrip(")") for sample in step.samples]
    examples = [toy().processor.encode(by_id[name]) for name in names]
    assert step.tokens == sum(len(one.outline.input_ids) for one in examples)
    pictures = [one.images for one in examples if one.images is not None]
    assert torch.equal(step.micro[0]["pixel_values"], torch.cat(pictures))


def test_bad_samples_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_rows(tmp_path)
    (tmp_path / "0.png").unlink()
    taken = steps(loader(file, max_bad_share=0.5), 3)
    assert not [name for step in taken for name in step.samples if "(row-0)" in name]
    assert taken[-1].after.bad >= 1
    assert "0.png" in " ".join(capsys.readouterr().err.split())


def with_long_row(folder: Path) -> Path:
    file = write_rows(folder)
    document = json.loads(file.read_text())
    document[3]["conversations"][0]["value"] = "long " * 200
    file.write_text(json.dumps(document))
    return file


def shaped(overlong: Overlong) -> StepShape:
    return StepShape(rows=4, tokens_per_row=128, pool=6, overlong=overlong)


def test_a_long_sample_is_cut_to_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = with_long_row(tmp_path)
    taken = steps(loader(file, max_bad_share=0.0), 3)
    assert [name for step in taken for name in step.samples if "(row-3)" in name]
    cuts = taken[-1].after.cuts
    assert cuts.samples >= 2 and cuts.tokens == cuts.samples * (cuts.tokens // cuts.samples)
    assert taken[-1].after.bad == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("row 3 is cut to fit its row (text tokens left out: ") == 1
    resumed = steps(loader(file, state=taken[0].after, workers=2), 2)
    assert resumed[-1].after == taken[-1].after
    assert_same(resumed[-1].micro[0], taken[-1].micro[0])
    capsys.readouterr()


def test_a_long_sample_is_left_out_or_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = with_long_row(tmp_path)
    taken = steps(loader(file, shape=shaped(Overlong.SKIP), max_bad_share=0.0), 3)
    assert not [name for step in taken for name in step.samples if "(row-3)" in name]
    assert taken[-1].after.cuts == Cuts(skipped=taken[-1].after.cuts.skipped)
    assert taken[-1].after.cuts.skipped >= 2 and taken[-1].after.bad == 0
    assert "row 3: does not fit a row of 128 tokens" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(OverlongError, match="row 3: does not fit a row of 128 tokens"):
        steps(loader(file, shape=shaped(Overlong.STOP)), 3)


def test_an_epoch_without_a_usable_sample_ends(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    shape = StepShape(rows=1, tokens_per_row=4, overlong=Overlong.SKIP)
    with pytest.raises(DataError, match="no sample of a whole epoch can be used; the last: rows"):
        steps(loader(file, shape=shape), 1)


def test_rows_keep_limits_of_media_and_say_how_full_they_are(rows: Path) -> None:
    shape = StepShape(
        rows=4, tokens_per_row=128, patches_per_row=48, audio_frames_per_row=100, pool=6
    )
    for step in steps(loader(rows, shape=shape), 4):
        assert list(step.fill) == ["tokens", "patches", "audio_frames"]
        assert all(0 <= share <= 1 for share in step.fill.values())
        assert step.fill["tokens"] == pytest.approx(step.tokens / (4 * 128))
        pictures = len(step.micro[0].get("pixel_values", ()))
        frames = len(step.micro[0].get("pixel_values_videos", ()))
        assert step.fill["patches"] * 4 * 48 == pytest.approx(16 * (pictures + frames))


def test_too_many_bad_samples_stop_the_run(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataError, match=r"1 of \d+ samples cannot be used.*\nThe first: .*0\.png"):
        steps(loader(file, max_bad_share=0.0), 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_breaks_while_decoding_is_dropped_by_name(
    tmp_path: Path, workers: int
) -> None:
    file = write_rows(tmp_path)
    half = (tmp_path / "4.png").read_bytes()
    (tmp_path / "4.png").write_bytes(half[: len(half) // 2])
    taken = steps(loader(file, workers=workers, max_bad_share=0.5), 3)
    dropped = [bad.reason for step in taken for bad in step.dropped]
    assert dropped
    assert all("4.png" in reason for reason in dropped)
    assert not [name for step in taken for name in step.samples if "(row-4)" in name]
    with pytest.raises(DataError, match=r"cannot be used.*\nThe first: .*4\.png"):
        steps(loader(file, workers=workers, max_bad_share=0.0), 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_of_broken_samples_is_one_short_error(tmp_path: Path, workers: int) -> None:
    file = write_rows(tmp_path, count=1)
    half = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(half[: len(half) // 2])
    with pytest.raises(TrainingError, match=r"no sample of a batch.*0\.png") as caught:
        steps(loader(file, workers=workers, max_bad_share=0.5), 1)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_worker_that_is_killed_is_one_sentence(rows: Path) -> None:
    others = set(multiprocessing.active_children())
    running = iter(loader(rows, workers=1))
    next(running)
    for process in set(multiprocessing.active_children()) - others:
        process.kill()
        process.join()
    with pytest.raises(MachineError, match="a process that loads data is gone") as told:
        for _ in range(1000):
            next(running)
    assert "The same command goes on" in str(told.value)


def test_the_death_of_a_process_is_no_business_of_torchs_signal(rows: Path) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    running = iter(loader(rows, workers=1))
    next(running)
    assert signal.getsignal(signal.SIGCHLD) is before


def test_workers_that_are_silent_are_one_sentence(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(Decoder, "__getitem__", lambda *_: time.sleep(60))
    with pytest.raises(MachineError, match="timed out"):
        next(iter(loader(rows, workers=1)))


def test_a_worker_that_dies_in_the_middle_of_a_batch(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> Iterator[StepBatches]:
        yield from ()
        raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(workers.DataLoader, "__iter__", cut_off)
    with pytest.raises(MachineError, match="gone or silent"):
        next(iter(loader(rows, workers=1)))
    with pytest.raises(ConnectionResetError):
        next(iter(loader(rows)))


def test_what_is_wrong_inside_a_worker_is_seen_whole(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(Decoder, "__getitem__", wrong)
    with pytest.raises(RuntimeError, match="a fault"):
        next(iter(loader(rows, workers=1)))
