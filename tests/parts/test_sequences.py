from __future__ import annotations

import torch

from hocket.parts.sequences import places_of


def test_units_of_a_medium_follow_each_other_and_padding_lies_nowhere() -> None:
    x = torch.arange(1.0, 9.0).view(4, 2, 1)
    spans = torch.tensor([[3, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1]])
    places = places_of(x, spans=spans, lengths=torch.tensor([2, 2, 1, 1]))
    joined = places.join(x)
    assert joined[..., 0].tolist() == [[1, 2, 3, 4, 5], [7, 0, 0, 0, 0]]
    assert places.real().tolist() == [[True] * 5, [True] + [False] * 4]
    assert places.split(joined)[..., 0].tolist() == [[1, 2], [3, 4], [5, 0], [7, 0]]


def test_units_may_begin_at_multiples() -> None:
    x = torch.arange(1.0, 10.0).view(3, 3, 1)
    spans = torch.tensor([[2, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1]])
    places = places_of(x, spans=spans, lengths=torch.tensor([3, 1, 2]), multiple=2)
    assert places.join(x)[..., 0].tolist() == [[1, 2, 3, 0, 4, 0], [7, 8, 0, 0, 0, 0]]
    assert places.real()[:, ::2].sum() == 2 + 1 + 1


def test_without_spans_and_lengths_every_unit_is_a_whole_medium() -> None:
    x = torch.randn(3, 4, 5)
    places = places_of(x, spans=None, lengths=None)
    assert torch.equal(places.join(x), x)
    assert torch.equal(places.split(x), x)
    assert places.real().all()


def test_no_units_are_no_sequences() -> None:
    x = torch.randn(0, 4, 5)
    places = places_of(x, spans=torch.zeros(0, 7, dtype=torch.int64), lengths=None)
    assert places.join(x).shape == (0, 0, 5)
    assert places.split(places.join(x)).shape == x.shape


def test_gradients_reach_real_positions_alone() -> None:
    x = torch.randn(2, 3, 1, requires_grad=True)
    places = places_of(x, spans=None, lengths=torch.tensor([3, 1]))
    places.join(x).sum().backward()
    assert x.grad is not None
    assert x.grad[..., 0].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_shapes_are_known_without_numbers() -> None:
    x = torch.empty(2, 3, 4, device="meta")
    places = places_of(x, spans=torch.tensor([[2, 0, 1, 1, 1, 1, 1]]), lengths=None)
    assert places.join(x).shape == (1, 6, 4)
    assert places.split(places.join(x)).shape == (2, 3, 4)
