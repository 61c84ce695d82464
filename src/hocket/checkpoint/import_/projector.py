"""Projectors of LLaVA and VILA by the names that their ``mm_projector_type`` gives them."""

from __future__ import annotations

import re

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.table import Move, Rule
from hocket.model.spec import PartSpec

TARGET = "model.multi_modal_projector"
# VILA's name -> variant, linear layers, whether rows follow each other row by row whatever the age.
_FOLDS = {
    "mlp_downsample": ("2x2", 2, False),
    "mlp_downsample_2x2_fix": ("2x2", 2, True),
    "mlp_downsample_3x3_fix": ("3x3", 3, True),
    "mlp_downsample_3x3_s2": ("3x3_s2", 5, True),
    "mlp_downsample_3x3_s2_new": ("3x3_s2_new", 6, True),
}


def linear_part(kind: str) -> PartSpec:
    """Return the connector of ``linear``, ``identity`` and ``mlpNx_gelu``.

    Raises:
        CheckpointError: it is of an unknown kind.
    """
    if kind in ("linear", "identity"):
        return PartSpec(kind=kind)
    return PartSpec(kind="mlp", options={"depth": _depth(kind)})


def linear_rules(kind: str, prefix: str) -> tuple[Rule, ...]:
    """Return the rules of ``linear``, ``identity`` and ``mlpNx_gelu``.

    Args:
        kind: ``mm_projector_type``.
        prefix: pattern in front of the layers' numbers.

    Raises:
        CheckpointError: it is of an unknown kind.
    """
    if kind == "linear":
        return (Move(rf"{prefix}\.(weight|bias)", rf"{TARGET}.linear.\1"),)
    return tuple(
        Move(rf"{prefix}\.{2 * number}\.(weight|bias)", rf"{TARGET}.linear_{number + 1}.\1")
        for number in range(_depth(kind))
    )


def downsample_part(kind: str, order: str) -> PartSpec | None:
    """Return the connector of VILA's ``mlp_downsample`` family, or None for another kind.

    Args:
        kind: ``mm_projector_type``.
        order: in which order plain ``mlp_downsample`` writes its rows.
    """
    if kind not in _FOLDS:
        return None
    variant, _, row_major = _FOLDS[kind]
    options = {"variant": variant, "order": "row_major" if row_major else order}
    return PartSpec(kind="mlp_downsample", options=dict(options))


def downsample_rules(kind: str, prefix: str) -> tuple[Rule, ...]:
    """Return the rules of VILA's ``mlp_downsample`` family; none for another kind.

    Args:
        kind: ``mm_projector_type``.
        prefix: pattern in front of the layers' numbers.
    """
    if kind not in _FOLDS:
        return ()
    last = _FOLDS[kind][1]
    rules = [Move(rf"{prefix}\.{3 * last - 2}\.(weight|bias)", rf"{TARGET}.linear_{last}.\1")]
    for number in range(1, last):
        norm, linear = rf"{prefix}\.{3 * number - 2}", rf"{prefix}\.{3 * number - 1}"
        rules.append(Move(rf"{norm}\.(weight|bias)", rf"{TARGET}.norm_{number}.\1"))
        rules.append(Move(rf"{linear}\.(weight|bias)", rf"{TARGET}.linear_{number}.\1"))
    return tuple(rules)


def _depth(kind: str) -> int:
    if kind == "identity":
        return 0
    if not (match := re.fullmatch(r"mlp(\d+)x_gelu", kind)):
        raise CheckpointError(
            f"mm_projector_type is {kind!r}, expected linear, identity, mlpNx_gelu or one of "
            f"{', '.join(_FOLDS)}. This importer cannot open it."
        )
    return int(match[1])
