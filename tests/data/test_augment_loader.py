"""Augmentations that need the sample or the encoder inputs, through the loader."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import pytest
import torch
from tests.toy import assistant, picture, sound, talk, toy, user

from hocket.chat.conversation import Conversation
from hocket.chat.states import NOT_ADDRESSED
from hocket.data.augment import Augmenter
from hocket.data.decoder import SampleMemory, StepBatches
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture

AUGMENT: dict[str, dict[str, float]] = {
    "not_addressed": {"share": 0.5},
    "spec_augment": {},
    "flip": {},
    "noise": {},
}
ROWS = [
    talk(user(sound(number, seconds=0.3)), assistant("Some answer."), name=str(number))
    for number in range(4)
] + [talk(user(picture(), "Left?"), assistant("Right."), name="sides")]


class Fixed:
    """A source in memory."""

    def __init__(self, rows: Sequence[Conversation]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Conversation:
        return self.rows[index]


def steps(count: int, *, augment: dict[str, dict[str, float]] = AUGMENT, workers: int = 0,
          memory: SampleMemory | None = None) -> list[StepBatches]:  # fmt: skip
    loader = Loader(
        Mixture({"toy": (Fixed(ROWS), 1.0)}, seed=1),  # type: ignore[dict-item] # a source in memory has no path
        toy().processor,
        shape=StepShape(rows=1, tokens_per_row=120, pool=1),
        augmenter=Augmenter(augment, seed=2),
        workers=workers,
        memory=memory,
    )
    running = iter(loader)
    taken = list(islice(running, count))
    running.close()  # type: ignore[attr-defined] # it is a generator: this ends the workers
    return taken


def same(one: StepBatches, other: StepBatches) -> bool:
    assert one.samples == other.samples
    pairs = zip(one.micro[0].items(), other.micro[0].items(), strict=True)
    return all(torch.equal(left[1], right[1]) for left, right in pairs)  # type: ignore[arg-type] # every value is a tensor


def test_a_sample_has_its_state_in_some_epochs() -> None:
    token = toy().processor.tokenizer(NOT_ADDRESSED, add_special_tokens=False)["input_ids"]
    found = set()
    for step in steps(30):
        for labels in step.micro[0]["labels"].tolist():
            text = [label for label in labels if label != -100]
            found.add(any(text[at : at + len(token)] == token for at in range(len(text))))
    assert found == {True, False}


@pytest.mark.parametrize("workers", [2])
def test_workers_and_memory_change_nothing(workers: int) -> None:
    memory = SampleMemory(toy().processor, cache_mb=4)
    plain = steps(12)
    for other in (steps(12, workers=workers), steps(12, memory=memory), steps(12, memory=memory)):
        assert all(map(same, plain, other))


def test_spectra_are_masked() -> None:
    options = {"time_masks": 0, "mel_share": 0.9}
    masked, plain = (steps(5, augment=a) for a in ({"spec_augment": options}, {}))
    changed = []
    for one, other in zip(masked, plain, strict=True):
        assert torch.equal(one.micro[0]["input_ids"], other.micro[0]["input_ids"])
        if "input_features" in other.micro[0]:
            features = (one.micro[0]["input_features"], other.micro[0]["input_features"])
            changed.append(not torch.equal(*features))
    assert any(changed)


def test_samples_that_speak_of_sides_are_not_flipped() -> None:
    flipped, plain = (steps(12, augment=a) for a in ({"flip": {"chance": 1.0}}, {}))
    with_pixels = [
        (one.micro[0]["pixel_values"], other.micro[0]["pixel_values"])
        for one, other in zip(flipped, plain, strict=True)
        if "pixel_values" in other.micro[0]
    ]
    assert with_pixels
    assert all(np.array_equal(one, other) for one, other in with_pixels)
