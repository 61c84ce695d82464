"""Tables of names: every tensor of a checkpoint has a place in the target, or the export stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hocket._errors import CheckpointError
from hocket.checkpoint.tools.tensors import Entry, TensorFolder


class Rule(NamedTuple):
    """The start of a tensor's name here, and in the target."""

    ours: str
    theirs: str


def rename(
    tensors: TensorFolder, rules: Sequence[Rule], *, target: str, only: str = ""
) -> list[Entry]:
    """Return every tensor under its name in the target; the first rule that fits wins.

    Args:
        tensors: the checkpoint's.
        rules: the table of names.
        target: what the target is called in errors.
        only: leave out tensors whose names start otherwise.

    Raises:
        CheckpointError: a tensor fits no rule, so the target has no place for it.
    """
    return [
        tensors.entry(name, renamed=renamed(name, rules, target=target))
        for name in tensors.names()
        if name.startswith(only)
    ]


def renamed(name: str, rules: Sequence[Rule], *, target: str) -> str:
    """Return the name of one tensor in the target.

    Raises:
        CheckpointError: it fits no rule.
    """
    for rule in rules:
        if name.startswith(rule.ours):
            return rule.theirs + name[len(rule.ours) :]
    raise CheckpointError(
        f"{target} has no place for the tensor {name}. Choose another target; "
        "hocket model export --list names them."
    )
