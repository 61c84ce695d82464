"""Which tensor of a foreign checkpoint becomes which tensor of the model.

A table is a list of rules. A rule's pattern matches a whole source name (`re.fullmatch`), and the
first rule that matches counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.weights import Item, Weights

Shape = tuple[int, ...]


class Rows(StrEnum):
    """What fills rows of a table that the source does not have."""

    NONE = "none"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Move:
    r"""One tensor becomes one tensor.

    Attributes:
        source: pattern of the source's names.
        target: name in the model; ``\1`` stands for the pattern's first group.
        grow: how rows are filled that the model has beyond the source's, as for new tokens.
        reshape: whether the tensor takes the model's shape, its numbers in the same order.
    """

    source: str
    target: str
    grow: Rows = Rows.NONE
    reshape: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """One tensor becomes several, cut along its first dimension to the lengths of the model's.

    Attributes:
        source: pattern of the source's names.
        targets: names in the model, in order.
    """

    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A tensor that the model does not need.

    Attributes:
        source: pattern of the source's names.
        reason: why, as the report says it.
    """

    source: str
    reason: str


Rule = Move | Split | Skip

COMPUTED = (
    Skip(r".*rotary_emb\.inv_freq", "computed from the configuration"),
    Skip(r".*\.position_ids", "computed from the configuration"),
)


class Piece(NamedTuple):
    """How one tensor of the model is made.

    Attributes:
        source: name of the source tensor.
        item: the source tensor.
        shape: its shape in the model.
        make: what is done to it.
        what: the same in words, empty for a plain copy.
    """

    source: str
    item: Item
    shape: Shape
    make: Callable[[Tensor], Tensor]
    what: str


class Plan(NamedTuple):
    """What becomes of every tensor.

    Attributes:
        pieces: name in the model -> how it is made.
        skipped: source name -> why it is left out.
    """

    pieces: dict[str, Piece]
    skipped: dict[str, str]


def plan_tensors(
    weights: Weights,
    rules: Sequence[Rule],
    targets: dict[str, Shape],
    tied: dict[str, Shape] | None = None,
) -> Plan:
    """Apply the rules to every source tensor and check the result against the model.

    Args:
        weights: the source's tensors.
        rules: the table.
        targets: name -> shape of every tensor of the model.
        tied: the same for names under which the model shows one of these tensors again. They need
            no source, and one that they have is left out.

    Raises:
        CheckpointError: a source tensor has no rule or no place, two want one place, a shape
            differs, or a tensor of the model gets nothing. It names them.
    """
    pieces: dict[str, Piece] = {}
    skipped: dict[str, str] = {}
    lost: list[str] = []
    again = tied or {}
    for name, item in weights.items():
        rule, match = _rule_for(name, rules)
        if rule is None or match is None:
            lost.append(name)
        elif isinstance(rule, Skip):
            skipped[name] = rule.reason
        else:
            made = _pieces(name, item, rule, match, targets | again)
            if twice := sorted(made.keys() & pieces.keys()):
                raise CheckpointError(
                    f"{twice[0]} would come from {pieces[twice[0]].source} and from {name}. "
                    "The folder holds the weights of two models: keep one."
                )
            pieces |= made
    if lost:
        raise CheckpointError(
            f"nothing is known about {_some(lost)} of the source. This is no checkpoint of that "
            "kind, or one of a version that is not supported."
        )
    for target in again:
        if target in pieces:
            skipped[pieces.pop(target).source] = f"{target} is tied to the token table"
    if missing := sorted(targets.keys() - pieces.keys()):
        raise CheckpointError(
            f"the source holds nothing for {_some(missing)}. Files are missing, or config.json "
            "describes another model."
        )
    return Plan(pieces, skipped)


def _rule_for(name: str, rules: Sequence[Rule]) -> tuple[Rule | None, re.Match[str] | None]:
    for rule in rules:
        if match := re.fullmatch(rule.source, name):
            return rule, match
    return None, None


def _pieces(
    name: str, item: Item, rule: Move | Split, match: re.Match[str], targets: dict[str, Shape]
) -> dict[str, Piece]:
    templates = (rule.target,) if isinstance(rule, Move) else rule.targets
    made: dict[str, Piece] = {}
    start = 0
    for number, template in enumerate(templates):
        target = match.expand(template)
        if target not in targets:
            raise CheckpointError(
                f"{name} belongs to {target}, which the model does not have. config.json describes "
                "another model than the weights."
            )
        shape = targets[target]
        last = number == len(templates) - 1
        piece = (
            _moved(name, item, rule, shape)
            if isinstance(rule, Move)
            else _part(name, item, start, shape, last=last)
        )
        if piece is None:
            raise CheckpointError(
                f"{name} is {item.shape}, which does not fit {target} {shape}. "
                "config.json describes another model than the weights."
            )
        made[target] = piece
        start += shape[0] if shape else 0
    return made


def _moved(name: str, item: Item, rule: Move, shape: Shape) -> Piece | None:
    if item.shape == shape:
        return Piece(name, item, shape, lambda x: x, "")
    if rule.reshape and _count(item.shape) == _count(shape):
        return Piece(name, item, shape, lambda x: x.reshape(shape), f"reshaped from {item.shape}")
    more = shape[0] - item.shape[0] if item.shape[1:] == shape[1:] and shape else 0
    if rule.grow is Rows.MEAN and more > 0:
        what = f"{more} rows added, the mean of the {item.shape[0]} others"
        return Piece(name, item, shape, lambda x: _grown(x, shape[0]), what)
    return None


def _part(name: str, item: Item, start: int, shape: Shape, *, last: bool) -> Piece | None:
    """Return the rows from `start` on as one tensor; the last one must take all that are left."""
    if not item.shape or not shape or item.shape[1:] != shape[1:]:
        return None
    stop = start + shape[0]
    if stop > item.shape[0] or (last and stop < item.shape[0]):
        return None
    what = f"rows {start} to {stop} of {item.shape[0]}"
    return Piece(name, item, shape, lambda x: x[start:stop].clone(), what)


def _grown(x: Tensor, rows: int) -> Tensor:
    """Return (V, D) with rows up to `rows`, whose logits can never be the largest."""
    grown = x.new_empty(rows, *x.shape[1:])
    grown[: len(x)] = x
    grown[len(x) :] = x.mean(dim=0, dtype=torch.float32).to(x.dtype)
    return grown


def _count(shape: Shape) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more tensors"
