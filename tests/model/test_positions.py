from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.toy import SPEC, TEXTS, assistant, inputs, picture, talk, user

from hocket._errors import ConfigError
from hocket.model.build import Built, build
from hocket.model.positions import packed_mask, shared_positions
from hocket.tokens.batch import pack_batch, pad_batch

GOLDEN = Path(__file__).parents[1] / "golden" / "pure_vita" / "positions_slowfast.json"
CASES = json.loads(GOLDEN.read_text("utf-8"))["shared_position_ids"]


@pytest.mark.parametrize("case", CASES)
def test_positions_are_vitas(case: dict[str, object]) -> None:
    length = int(str(case["length"]))
    visual = torch.zeros(1, length, dtype=torch.bool)
    for start, stop in case["segments"]:  # type: ignore[attr-defined] # of a JSON file
        visual[:, start:stop] = True
    starts = torch.zeros_like(visual)
    starts[:, 0] = True
    real = torch.ones_like(visual)
    made = shared_positions(visual, starts, real, stride=int(str(case["stride"])))
    assert made[0].tolist() == case["position_ids"]


def test_padding_and_neighbours_do_not_count() -> None:
    visual = torch.tensor([[0, 0, 1, 1, 1, 0, 1, 1, 1, 0]]).bool()
    starts = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 1, 0, 0]]).bool()
    real = torch.ones_like(visual)
    made = shared_positions(visual, starts, real, stride=2)
    assert made.tolist() == [[0, 1, 2, 2, 3, 4, 5, 0, 0, 1]]
    left = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1, 1]]).bool()
    alone = starts & False
    alone[:, 0] = True
    assert shared_positions(visual, alone, left, stride=2).tolist() == [
        [0, 0, 0, 0, 1, 2, 3, 3, 4, 5]
    ]
    seen = packed_mask(starts, torch.float32)[0, 0] == 0
    assert seen[8].tolist() == [False] * 7 + [True, True, False]


def made(stride: int) -> Built:
    spec = replace(SPEC, language=replace(SPEC.language, shared_positions=stride))
    built = build(spec, TEXTS)
    built.model.eval()
    return built


TALKS = [
    talk(user(picture(1), "What?"), assistant("A dog."), name="a"),
    talk(user("Two plus two?"), assistant("Four."), name="b"),
    talk(user("And?", picture(2), picture(3)), assistant("A cat."), name="c"),
]


def test_packed_and_padded_rows_give_what_each_sample_gives_alone() -> None:
    model, processor = made(3)
    examples = [processor.encode(one) for one in TALKS]
    targets = sum(example.outline.cost.targets for example in examples)

    def loss(batch: object) -> float:
        return float(model(**inputs(batch), num_items_in_batch=targets).loss)

    with torch.inference_mode():
        apart = sum(loss(pad_batch([one], pad_id=0, side="right")) for one in examples)
        assert loss(pad_batch(examples, pad_id=0, side="left")) == pytest.approx(apart, rel=1e-5)
        assert loss(pack_batch([examples], pad_id=0)) == pytest.approx(apart, rel=1e-5)
        plain, one = made(1).model, pad_batch(examples[:1], pad_id=0, side="right")
        plain.load_state_dict(model.state_dict())
        assert not torch.allclose(model(**inputs(one)).logits, plain(**inputs(one)).logits)


def test_an_answer_goes_on_where_its_question_ends() -> None:
    model, processor = made(3)
    talks = [replace(one, messages=one.messages[:1]) for one in (TALKS[0], TALKS[2])]
    examples = [processor.encode(one, for_answer=True) for one in talks]
    batch = inputs(pad_batch(examples, pad_id=0, side="left"))
    batch.pop("labels")
    with torch.inference_mode():
        made_ids = model.generate(**batch, max_new_tokens=6, do_sample=False, eos_token_id=None)
        new = made_ids[:, -6:]
        # Every step again, without a cache.
        ids, mask = batch["input_ids"], batch["attention_mask"]
        for step in range(6):
            now = {**batch, "input_ids": ids, "attention_mask": mask}
            token = model(**now, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            assert torch.equal(token[:, 0], new[:, step])
            ids = torch.cat([ids, token], dim=1)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


def test_no_sharing_below_one() -> None:
    with pytest.raises(ConfigError, match=r"shared_positions is 0, expected 1"):
        made(0)
