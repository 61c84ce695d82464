from __future__ import annotations

import gc
import pickle

import numpy as np
import torch

from hocket.tokens.spare import KEPT, SpareMemory

LIKE = torch.zeros(1, 3, 256, 256)


def filled(spare: SpareMemory, units: int, value: float) -> torch.Tensor:
    """Return units that all hold a value."""
    return spare.like(units, LIKE).fill_(value)


def test_memory_is_taken_again_when_nothing_refers_to_it() -> None:
    spare = SpareMemory()
    first = filled(spare, 8, 1)
    at = first.data_ptr()
    del first
    again = filled(spare, 7, 2)
    assert again.data_ptr() == at
    assert again.shape == (7, 3, 256, 256)
    assert again.dtype == torch.float32


def test_a_view_keeps_what_it_shows() -> None:
    spare = SpareMemory()
    whole = filled(spare, 8, 1)
    view, array = whole[3:4].flatten(), whole[2].numpy()
    at = whole.data_ptr()
    del whole
    gc.collect()
    others = [filled(spare, 8, 2) for _ in range(3)]
    assert at not in [one.data_ptr() for one in others]
    assert bool((view == 1).all())
    assert np.all(array == 1)
    del view, array
    assert filled(spare, 8, 3).data_ptr() == at


def test_memory_that_is_too_small_or_far_too_large_is_not_taken() -> None:
    spare = SpareMemory()
    before = filled(spare, 40, 1)
    at = before.data_ptr()
    del before
    assert filled(spare, 80, 1).data_ptr() != at
    assert filled(spare, 2, 1).data_ptr() != at
    assert filled(spare, 20, 1).data_ptr() == at


def test_no_more_is_kept_than_said() -> None:
    spare = SpareMemory()
    for lot in ([filled(spare, 8, 1) for _ in range(KEPT + 3)] for _ in range(2)):
        assert len({one.data_ptr() for one in lot}) == KEPT + 3
        del lot
    assert len(spare._free) == KEPT


def test_another_process_has_memory_of_its_own() -> None:
    spare = SpareMemory()
    filled(spare, 8, 1)
    other = pickle.loads(pickle.dumps(spare))
    assert not other._free
    assert filled(other, 8, 2).shape == (8, 3, 256, 256)
