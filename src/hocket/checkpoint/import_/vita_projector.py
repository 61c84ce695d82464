"""Projectors of VITA by the names that ``mm_projector_type`` gives them.

Behind InternViT the same names mean something else: its features are folded 2 x 2 first.
"""

from __future__ import annotations

import re
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.projector import TARGET, linear_part, linear_rules
from hocket.checkpoint.import_.table import Move, Rule, Skip
from hocket.model.spec import PartSpec

_GROUPED = ("vanilla", "minigpt")
_FOLDED = re.compile(r"mlp([1-9])x_gelu")
_SPP = re.compile(r"spp.*?(v[123]).*")
# A block of LDP: the original's name -> ours.
_BLOCK = {
    r"0\.0\.weight": "depthwise.weight",
    r"0\.1\.(weight|bias)": r"norm_1.\2",
    r"1\.fc1\.(weight|bias)": r"squeeze.\2",
    r"1\.fc2\.(weight|bias)": r"excite.\2",
    r"2\.0\.weight": "pointwise.weight",
    r"2\.1\.(weight|bias)": r"norm_2.\2",
}


def vita_part(kind: str, *, folded: bool) -> PartSpec:
    """Return the connector of VITA's ``mm_projector_type``.

    Args:
        kind: the type.
        folded: whether the tower is InternViT, whose features are folded before the projector.

    Raises:
        CheckpointError: it is of an unknown kind, or there is no such connector behind a fold.
    """
    if folded:
        found = _FOLDED.fullmatch(kind)
        if not found and kind != "linear":
            raise CheckpointError(
                f"mm_projector_type is {kind!r} behind InternViT, expected linear or mlpNx_gelu: "
                "the connector pixel_shuffle has no other layers. This importer cannot open it."
            )
        options: dict[str, Any] = {"fold": 2, "norm": False}
        depth = int(found[1]) if found else 1
        # The usual depth stays unsaid, as exporters compare options.
        return PartSpec(
            kind="pixel_shuffle", options=options if depth == 2 else {**options, "depth": depth}
        )
    if kind in _GROUPED or kind == "ldp":
        return PartSpec(kind=kind)
    if match := _SPP.fullmatch(kind):
        return PartSpec(kind="spp", options={"variant": match[1]})
    return linear_part(kind)


def vita_projector_rules(kind: str, prefix: str, *, folded: bool) -> tuple[Rule, ...]:
    """Return the rules of VITA's projector.

    Args:
        kind: ``mm_projector_type``.
        folded: whether the tower is InternViT.
        prefix: pattern in front of the layers' names, without a dot behind.

    Raises:
        CheckpointError: it is of an unknown kind.
    """
    if folded and kind == "linear":
        return (Move(rf"{prefix}\.(weight|bias)", rf"{TARGET}.linear_1.\1"),)
    if kind in _GROUPED:
        return (Move(rf"{prefix}\.linear\.(weight|bias)", rf"{TARGET}.linear.\1"),)
    if match := _SPP.fullmatch(kind):
        names = "[012]" if match[1] == "v3" else "[12]"
        return (
            Move(rf"{prefix}\.(linear_{names}\.(?:weight|bias))", rf"{TARGET}.\1"),
            Skip(rf"{prefix}\.linear_0\..+", f"{kind} does not use it"),
        )
    if kind == "ldp":
        block = rf"{prefix}\.model\.mb_block\.([12])\.block\."
        return (
            Move(rf"{prefix}\.model\.mlp\.1\.(weight|bias)", rf"{TARGET}.linear_1.\1"),
            Move(rf"{prefix}\.model\.mlp\.3\.(weight|bias)", rf"{TARGET}.linear_2.\1"),
            *(Move(block + old, rf"{TARGET}.block_\1.{new}") for old, new in _BLOCK.items()),
        )
    return linear_rules(kind, prefix)
