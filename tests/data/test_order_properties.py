"""Over generated data sets no sample is lost or doubled, labels are the answers, spans the media.

The profile ``nightly`` (``HYPOTHESIS_PROFILE=nightly``) tries many more data sets.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy import assistant, picture, sound, talk, toy, user, video

from hocket.chat.conversation import Conversation
from hocket.data.augment import Augmenter
from hocket.data.decoder import StepBatches, StepPlan
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture
from hocket.data.pack import PackerState
from hocket.data.sources.memory import Memory
from hocket.tokens.batch import IGNORED
from hocket.tokens.span import Modality

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
MANY, SOME, FEW = (1500, 300, 60) if NIGHTLY else (40, 25, 4)
BUDGET = 80
KINDS = ("text", "picture", "sound", "video", "both")
ANSWERS = ("Yes.", "No, it is not.", "Perhaps it is a red square.", "\u00e9t\u00e9 \u4e00\u4e8c")


@dataclass(frozen=True)
class Sets:
    """Data sets as (kind, turns) of their rows, their weights and how a step is cut."""

    rows: tuple[tuple[tuple[str, int], ...], ...]
    weights: tuple[float, ...]
    temperature: float
    seed: int
    pool: int
    patches: int

    def mixture(self) -> Mixture:
        parts = {
            f"set{number}": (
                Memory([row(number, at, *one) for at, one in enumerate(rows)]),
                weight,
            )
            for number, (rows, weight) in enumerate(zip(self.rows, self.weights, strict=True))
        }
        return Mixture(parts, seed=self.seed, temperature=self.temperature)

    def loader(self, *, state: PackerState | None = None, workers: int = 0, **cut: Any) -> Loader:
        shape = StepShape(
            rows=4, tokens_per_row=BUDGET, patches_per_row=self.patches, pool=self.pool, **cut
        )
        return Loader(
            self.mixture(),
            toy().processor,
            shape=shape,
            augmenter=Augmenter({}, seed=0),
            workers=workers,
            state=state,
        )


def row(number: int, at: int, kind: str, turns: int) -> Conversation:
    seed = 31 * number + at
    media: dict[str, list[Any]] = {
        "text": [],
        "picture": [picture(seed)],
        "sound": [sound(seed, seconds=0.2 + 0.1 * (seed % 5))],
        "video": [video(seed, frames=2 + seed % 3)],
        "both": [picture(seed), sound(seed, seconds=0.3)],
    }
    talked = [user(*media[kind], "What is it?"), assistant(ANSWERS[seed % len(ANSWERS)])]
    for turn in range(1, turns):
        talked += [user("And?"), assistant(ANSWERS[(seed + turn) % len(ANSWERS)])]
    return talk(*talked, name=f"set{number}-{at}")


ROWS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 4)), min_size=1, max_size=9).map(
    tuple
)


@st.composite
def data_sets(draw: st.DrawFn) -> Sets:
    rows = draw(st.lists(ROWS, min_size=1, max_size=3))
    weights = draw(
        st.lists(st.sampled_from([1.0, 2.0, 0.5, 1.3]), min_size=len(rows), max_size=len(rows))
    )
    return Sets(
        rows=tuple(rows),
        weights=(1.0, *weights[1:]),
        temperature=draw(st.sampled_from([1.0, 1.0, 2.0])),
        seed=draw(st.integers(0, 3)),
        pool=draw(st.integers(1, 12)),
        patches=draw(st.sampled_from([0, 0, 48])),
    )


def through(loader: Loader, epochs: int, mixture: Mixture) -> Iterator[StepPlan]:
    """Yield plans until no sample of the first epochs waits any more."""
    end = epochs * len(mixture)
    for plan in loader.plans():
        yield plan
        if plan.after.cursor >= end and all(at >= end for at in plan.after.pool):
            return


def positions(plan: StepPlan) -> list[int]:
    return [at for rows in plan.micro for one in rows for at in one.positions]


@settings(max_examples=MANY, deadline=None)
@given(data_sets())
def test_an_epoch_holds_every_row_as_often_as_its_weight_says(sets: Sets) -> None:
    mixture = sets.mixture()
    for epoch in range(2):
        refs = [mixture.ref(epoch * len(mixture) + at) for at in range(len(mixture))]
        counts = Counter((ref.dataset, ref.row) for ref in refs)
        for number, rows in enumerate(sets.rows):
            found = [counts[f"set{number}", at] for at in range(len(rows))]
            assert max(found) - min(found) <= 1
            if sets.temperature == 1.0:
                assert sum(found) == round(len(rows) * sets.weights[number])


@settings(max_examples=SOME, deadline=None)
@given(data_sets(), st.integers(0, 6), st.sampled_from([(1, 1), (2, 1), (4, 1), (2, 2), (1, 4)]))
def test_no_sample_is_lost_or_doubled_for_any_ranks_and_resume_point(
    sets: Sets, stop: int, cut: tuple[int, int]
) -> None:
    world, accumulate = cut
    mixture = sets.mixture()
    whole = list(through(sets.loader(), 1, mixture))
    seen: Counter[int] = Counter()
    for plan in whole:
        seen.update(positions(plan))
    end = len(mixture)
    assert all(seen[at] == 1 for at in range(end))
    assert set(seen.values()) == {1}
    assert sorted([*seen, *whole[-1].after.pool]) == list(range(whole[-1].after.cursor))

    state = whole[min(stop, len(whole)) - 1].after if stop else None
    rest = whole[min(stop, len(whole)) :] if stop else whole
    ranks = [
        islice(
            sets.loader(state=state, rank=rank, world=world, accumulate=accumulate).plans(),
            len(rest),
        )
        for rank in range(world)
    ]
    for plan, *shares in zip(rest, *ranks, strict=True):
        rows = [row for share in shares for batch in share.micro for row in batch]
        assert sorted(one.positions for one in rows) == sorted(
            one.positions for one in plan.micro[0]
        )
        assert all(share.after == plan.after and share.fill == plan.fill for share in shares)
        assert all(len(share.micro) == accumulate for share in shares)


def steps(loader: Loader, count: int) -> list[StepBatches]:
    running = iter(loader)
    taken = list(islice(running, count))
    running.close()  # type: ignore[attr-defined] # it is a generator: this ends the workers
    return taken


def contents(taken: list[StepBatches]) -> list[list[list[int]]]:
    return [[batch["input_ids"].tolist() for batch in step.micro] for step in taken]


@settings(max_examples=FEW, deadline=None)
@given(data_sets(), st.integers(0, 2), st.sampled_from([1, 2]))
def test_workers_and_resumes_change_no_batch(sets: Sets, stop: int, workers: int) -> None:
    alone = steps(sets.loader(), 4)
    state = alone[stop - 1].after if stop else None
    other = steps(sets.loader(state=state, workers=workers), 4 - stop)
    assert contents(other) == contents(alone[stop:])
    assert [step.samples for step in other] == [step.samples for step in alone[stop:]]
    assert [step.after for step in other] == [step.after for step in alone[stop:]]


@settings(max_examples=MANY, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 4), st.integers(0, 99))
def test_labels_are_the_answers_and_nothing_else(kind: str, turns: int, seed: int) -> None:
    processor = toy().processor
    conversation = row(seed, 0, kind, turns)
    outline = processor.measure(conversation)
    runs: list[list[int]] = [[]]
    for token, label in zip(outline.input_ids, outline.labels, strict=True):
        if label == IGNORED:
            runs.append([])
        else:
            assert label == token
            runs[-1].append(token)
    said = [processor.tokenizer.decode(run, skip_special_tokens=True) for run in runs if run]
    answers = [one.text for one in conversation.messages if one.role == "assistant"]
    assert [text.strip() for text in said] == answers
    assert not any(
        label != IGNORED
        for span in outline.spans
        for label in outline.labels[span.start : span.stop]
    )


@pytest.mark.parametrize("workers", [0, 2])
@settings(max_examples=FEW, deadline=None)
@given(sets=data_sets())
def test_spans_match_the_media_of_a_packed_batch(workers: int, sets: Sets) -> None:
    processor = toy().processor
    for step in steps(sets.loader(workers=workers), 2):
        for batch in step.micro:
            ids = batch["input_ids"]
            for kind, spans, units in (
                (Modality.IMAGE, "image_spans", "pixel_values"),
                (Modality.VIDEO, "video_spans", "pixel_values_videos"),
                (Modality.AUDIO, "audio_spans", "input_features"),
            ):
                written = int((ids == processor.placeholder_ids[kind]).sum())
                table = batch.get(spans)
                assert written == (0 if table is None else int(table[:, 1].sum()))  # type: ignore[index] # a tensor
                if table is not None:
                    assert int(table[:, 0].sum()) == len(batch[units])  # type: ignore[index, literal-required] # a tensor
            labelled = ids[batch["labels"] != IGNORED].tolist()
            assert labelled == batch["labels"][batch["labels"] != IGNORED].tolist()
            assert not set(labelled) & set(processor.placeholder_ids.values())
