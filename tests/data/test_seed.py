from __future__ import annotations

import numpy as np

from hocket.data.seed import generator


def test_the_same_keys_give_the_same_numbers_and_others_do_not() -> None:
    first = generator(1, "order", 2).integers(2**32, size=4)
    assert np.array_equal(first, generator(1, "order", 2).integers(2**32, size=4))
    for other in ((1, "order", 3), (2, "order", 2), (1, "subset", 2), (1, "order2")):
        assert not np.array_equal(first, generator(*other).integers(2**32, size=4))


def test_the_numbers_are_the_same_on_every_machine() -> None:
    assert generator("a", 1).integers(1000, size=3).tolist() == [149, 156, 329]


def test_global_state_is_left_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()  # type: ignore[index] # the legacy form
    generator(0).random(10)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index] # as above
