"""Samples that cannot be used: counted, listed, the same after a resume, or the end of the run."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tests.media.faulty import Aborting, Hanging
from tests.toy import assistant as says
from tests.toy import picture, talk, toy, user, write_rows

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.data.augment import Augmenter
from hocket.data.decoder import StepBatches
from hocket.data.faults import BadSample, BadSamples, FaultPolicy
from hocket.data.guarded import GuardedRows, guarded
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture, open_source
from hocket.data.pack import PackerState
from hocket.data.quarantine import Quarantined, write_quarantine
from hocket.data.sources.memory import Memory
from hocket.data.spec import DatasetSpec, OnBad
from hocket.media.guard import Guard
from hocket.media.image import Image
from hocket.media.where import Where


def bad(position: int, *, dataset: str = "a", lost: bool = False) -> BadSample:
    return BadSample(
        dataset, position, f"id-{position}", f"row {position}: broken.", position, lost
    )


def test_every_bad_sample_is_listed_once(tmp_path: Path) -> None:
    policy = FaultPolicy(file=tmp_path / "run" / "bad.jsonl", stage="one")
    samples = BadSamples(policy)
    for position in (3, 5, 3):
        samples.add(bad(position, lost=position == 5))
    again = BadSamples(policy)
    assert again.lost == {5: "row 5: broken."}
    again.add(bad(3))
    assert BadSamples(replace(policy, stage="two")).lost == {}
    lines = (tmp_path / "run" / "bad.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [3, 5]


def test_what_another_rank_lost_is_lost_here_too(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("bad_samples.jsonl", "bad_samples.1.jsonl"))
    BadSamples(FaultPolicy(file=second)).add(bad(5, lost=True))
    second.write_text(half := second.read_text() + '{"dataset": "a", "ro')
    resumed = BadSamples(FaultPolicy(file=first))
    assert resumed.lost == {5: "row 5: broken."}
    resumed.add(bad(5, lost=True))
    assert not first.exists()
    assert second.read_text() == half, "the other rank's list is not ours to mend"


def test_half_a_line_is_written_again(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    policy = FaultPolicy(file=file)
    BadSamples(policy).add(bad(1))
    file.write_text(file.read_text() + '{"dataset": "a", "ro')
    BadSamples(policy).add(bad(2))
    assert [json.loads(line)["row"] for line in file.read_text().splitlines()] == [1, 2]
    file.write_text("[1]\n")
    with pytest.raises(DataError, match="not the list of bad samples"):
        BadSamples(policy)


def test_too_many_are_named_with_the_list(tmp_path: Path) -> None:
    samples = BadSamples(FaultPolicy(file=tmp_path / "bad.jsonl"))
    for position in range(11):
        samples.add(bad(position))
    samples.check(10, 1000)
    samples.check(2, 10)  # of few samples even one is a large share
    with pytest.raises(DataError) as caught:
        samples.check(11, 1000)
    first, second, third = str(caught.value).splitlines()
    assert first == (
        f"11 of 1000 samples cannot be used, at most 0.01 of them may be. "
        f"All are listed in {tmp_path / 'bad.jsonl'}."
    )
    assert second == "The first: row 0: broken. | row 1: broken. | row 2: broken."
    assert f"data.quarantine={tmp_path / 'bad.jsonl'}" in third


@pytest.mark.parametrize(
    ("rule", "own", "stops"),
    [
        (OnBad.SKIP, None, False),
        (OnBad.STOP, None, True),
        (OnBad.SKIP, OnBad.STOP, True),
        (OnBad.STOP, OnBad.SKIP, False),
    ],
)
def test_the_rule_of_a_data_set_goes_before_that_of_the_mixture(
    rule: OnBad, own: OnBad | None, stops: bool
) -> None:
    samples = BadSamples(FaultPolicy(on_bad=rule, by_dataset={"a": own} if own else {}))
    if not stops:
        samples.add(bad(1))
        return
    with pytest.raises(DataError, match=r"a sample of a cannot be used: row 1.*data\.on_bad=skip"):
        samples.add(bad(1))


def broken_rows(folder: Path) -> Path:
    file = write_rows(folder)
    half = (folder / "4.png").read_bytes()
    (folder / "4.png").write_bytes(half[: len(half) // 2])
    (folder / "8.png").unlink()
    return file


def load(
    file: Path, policy: FaultPolicy, *, state: PackerState | None = None, workers: int = 0
) -> Loader:
    source = open_source("toy", DatasetSpec(path=str(file)))
    return Loader(
        Mixture({"toy": (source, 1.0)}, seed=1),
        toy().processor,
        shape=StepShape(rows=2, tokens_per_row=96, pool=4),
        augmenter=Augmenter({}, seed=0),
        workers=workers,
        state=state,
        faults=policy,
    )


def take(loader: Loader, count: int) -> list[StepBatches]:
    running = iter(loader)
    taken = list(islice(running, count))
    running.close()  # type: ignore[attr-defined] # it is a generator: this ends the workers
    return taken


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_counts_and_lists_the_same(tmp_path: Path, workers: int) -> None:
    file = broken_rows(tmp_path)
    policy = FaultPolicy(max_bad_share=0.5, file=tmp_path / "bad.jsonl")
    straight = take(load(file, policy), 9)
    whole = (tmp_path / "bad.jsonl").read_text()
    assert straight[-1].after.dropped > 0
    assert straight[-1].after.bad > 0
    resumed = take(load(file, policy, state=straight[3].after, workers=workers), 5)
    for one, other in zip(straight[4:], resumed, strict=True):
        assert one.after == other.after
        assert one.samples == other.samples
        assert [sample.position for sample in one.dropped] == [
            sample.position for sample in other.dropped
        ]
    if not workers:  # which read ahead
        assert (tmp_path / "bad.jsonl").read_text() == whole


def test_the_list_of_a_run_is_a_quarantine(tmp_path: Path) -> None:
    file = broken_rows(tmp_path)
    policy = FaultPolicy(max_bad_share=0.5, file=tmp_path / "bad.jsonl")
    take(load(file, policy), 9)
    source = open_source("toy", DatasetSpec(path=str(file)), quarantine=str(tmp_path / "bad.jsonl"))
    assert [source[index].id for index in range(len(source))] == [
        f"row-{number}" for number in range(12) if number not in (4, 8)
    ]


def test_stop_stops_at_the_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a sample of toy cannot be used"):
        take(load(broken_rows(tmp_path), FaultPolicy(on_bad=OnBad.STOP)), 9)


def dialogues() -> list[Conversation]:
    """Return twenty samples with a picture; the decoder of one hangs and that of another aborts."""
    media = [picture(number) for number in range(20)]
    broken: dict[int, Image] = {
        5: Hanging(Where.of_path("hanging.png")),
        9: Aborting(Where.of_path("aborting.png")),
    }
    return [
        talk(user(broken.get(number, one), f"What is {number}?"), says("Red."), name=str(number))
        for number, one in enumerate(media)
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_hung_and_a_crashed_decoder_cost_two_samples(tmp_path: Path, workers: int) -> None:
    rows = dialogues()
    policy = FaultPolicy(max_bad_share=0.5, file=tmp_path / "bad.jsonl")

    def steps(state: PackerState | None, count: int, seconds: float) -> list[StepBatches]:
        guard = Guard(deadline_seconds=seconds)
        source = GuardedRows(Memory(rows), guard)
        loader = Loader(
            Mixture({"toy": (source, 1.0)}, seed=1),
            toy().processor,
            shape=StepShape(rows=1, tokens_per_row=120, pool=3),
            augmenter=Augmenter({}, seed=0),
            workers=workers,
            state=state,
            faults=policy,
        )
        taken = take(loader, count)
        guard.close()
        return taken

    straight = steps(None, 8, 2.0)
    dropped = [sample for step in straight for sample in step.dropped]
    assert {sample.id for sample in dropped} == {"5", "9"}
    assert all(sample.lost for sample in dropped)
    whole = [one for one in straight if one.dropped]
    assert all(one.samples for one in whole)
    # What was lost once is lost again, without the wait: an hour is what a try would take.
    resumed = steps(straight[0].after, 7, 3600.0)
    assert [step.samples for step in resumed] == [step.samples for step in straight[1:]]
    assert [step.after for step in resumed] == [step.after for step in straight[1:]]


def test_a_quarantine_serves_several_data_sets(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    listed = tmp_path / "q.jsonl"
    entries = [
        Quarantined("a", 1, "row-1", "bad"),
        Quarantined("b", 2, "row-2", "bad"),
        Quarantined(str(file), 3, "", "bad"),
    ]
    assert write_quarantine(listed, entries) == 3

    def rows(name: str) -> list[str]:
        source = open_source(name, DatasetSpec(path=str(file)), quarantine=str(listed))
        return [source[index].id for index in range(len(source))]

    left_out = {"a": {1, 3}, "a@easy": {1, 3}, "b": {2, 3}, "c": {3}}
    for name, numbers in left_out.items():
        assert rows(name) == [f"row-{n}" for n in range(12) if n not in numbers]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"q\.jsonl line 1 is not JSON"),
        ("[]", r"line 1 holds something else"),
        ('{"dataset": "a", "row": "1"}', r"line 1 holds something else"),
        ('{"dataset": "a", "row": 12}', r"row 12 of a, which has the rows 0 to 11"),
        ('{"dataset": "a", "row": 1, "id": "x"}', r"id 'x', but its id is 'row-1' now"),
    ],
)
def test_a_wrong_quarantine_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = write_rows(tmp_path)
    (tmp_path / "q.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=words):
        open_source("a", DatasetSpec(path=str(file)), quarantine=str(tmp_path / "q.jsonl"))


def test_a_quarantine_that_is_missing_or_takes_all_is_named(tmp_path: Path) -> None:
    spec = DatasetSpec(path=str(write_rows(tmp_path, count=2)))
    with pytest.raises(DataError, match=r"no quarantine .*hocket data check"):
        open_source("a", spec, quarantine=str(tmp_path / "none.jsonl"))
    write_quarantine(tmp_path / "q.jsonl", [Quarantined("a", row, "", "bad") for row in (0, 1)])
    with pytest.raises(DataError, match="all 2 rows are left out"):
        open_source("a", spec, quarantine=str(tmp_path / "q.jsonl"))


def test_guarded_media_are_the_media(tmp_path: Path) -> None:
    guard = Guard(deadline_seconds=30)
    source = open_source("a", DatasetSpec(path=str(write_rows(tmp_path, count=4))))
    for index in range(4):
        plain = source[index]
        safe = guarded(plain, guard)
        assert safe == plain
        one, other = toy().processor.encode(plain), toy().processor.encode(safe)
        assert one.outline == other.outline
        for name in ("images", "frames", "sounds"):
            mine, theirs = vars_of(one, name), vars_of(other, name)
            assert (mine is None) == (theirs is None)
            if mine is not None and theirs is not None:
                assert np.array_equal(mine, theirs)
    guard.close()


def vars_of(example: object, name: str) -> np.ndarray | None:
    value = object.__getattribute__(example, name)
    return None if value is None else value.numpy()
