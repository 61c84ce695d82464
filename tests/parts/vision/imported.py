"""Weights of the originals, moved into a tower by an importer's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from hocket.checkpoint.import_.table import Rule, plan_tensors
from hocket.checkpoint.import_.weights import Item, Weights

Tower = TypeVar("Tower", bound=nn.Module)


def imported(tower: Tower, stored: Mapping[str, Tensor], rules: Sequence[Rule]) -> Tower:
    """Return the tower with the weights of the original."""
    weights = Weights(
        {
            name: Item(value.dtype, tuple(value.shape), value.clone, (name,))
            for name, value in stored.items()
        }
    )
    shapes = {name: tuple(value.shape) for name, value in tower.state_dict().items()}
    plan = plan_tensors(weights, rules, shapes)
    made = {name: piece.make(stored[piece.source]) for name, piece in plan.pieces.items()}
    tower.load_state_dict(made, strict=True)
    return tower.eval()
