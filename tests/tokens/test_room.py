from __future__ import annotations

import torch
from tests.toy import mixed, toy

from hocket.tokens.batch import pack_batch
from hocket.tokens.room import UnitRoom, joined
from hocket.tokens.spare import SpareMemory


def test_a_batch_takes_the_room_as_it_is() -> None:
    examples = [toy().processor.encode(one) for one in mixed()]
    plain = pack_batch([examples], pad_id=0)
    room = UnitRoom((one.outline for one in examples), SpareMemory())
    moved = [room.take(one) for one in examples]
    batch = pack_batch([moved], pad_id=0)
    assert batch.keys() == plain.keys()
    for name in plain:
        assert torch.equal(batch[name], plain[name]), name  # type: ignore[literal-required] # a key of Batch
    first = next(one.images for one in moved if one.images is not None)
    assert batch["pixel_values"].data_ptr() == first.data_ptr()


def test_a_sample_that_is_left_out_leaves_no_hole() -> None:
    examples = [toy().processor.encode(one) for one in mixed()]
    room = UnitRoom((one.outline for one in examples), SpareMemory())
    moved = [room.take(one) for one in examples[1:]]
    batch = pack_batch([moved], pad_id=0)
    plain = pack_batch([examples[1:]], pad_id=0)
    for name in plain:
        assert torch.equal(batch[name], plain[name]), name  # type: ignore[literal-required] # a key of Batch


def test_what_does_not_fit_stays_where_it_is() -> None:
    example = next(one for one in map(toy().processor.encode, mixed()) if one.images is not None)
    room = UnitRoom([example.outline], SpareMemory())
    room.take(example)
    assert room.take(example).images is example.images


def test_only_neighbours_are_joined_without_a_copy() -> None:
    whole = torch.arange(24.0).view(6, 2, 2)
    assert joined([whole[:2], whole[2:6]]).data_ptr() == whole.data_ptr()
    assert torch.equal(joined([whole[1:3], whole[3:4]]), whole[1:4])
    for parts in (
        [whole[:2], whole[3:]],
        [whole[:2], whole[:2]],
        [whole[2:], whole[:2]],
        [whole[:2], whole[2:].clone()],
        [whole[:2, :1], whole[2:, :1]],
    ):
        made = joined(parts)
        assert torch.equal(made, torch.cat(parts))
        assert made.untyped_storage().data_ptr() != whole.untyped_storage().data_ptr()
