"""Names that people give to the parts of a composite, and the modules and parameters they are."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import NamedTuple

PARTS = {
    "language": "model.language_model",
    "vision": "model.vision_tower",
    "connector": "model.multi_modal_projector",
    "video": "model.video_tower",
    "video_connector": "model.video_projector",
    "audio": "model.audio_tower",
    "audio_connector": "model.audio_projector",
    "joint_connector": "model.joint_projector",
}
LAST_BLOCK = ".last_block"
_NUMBERED = re.compile(r"(.+)\.layer\.(-?\d+)")
_BLOCK = re.compile(r"(.*\.(?:layers|layer|blocks|block|h))\.(\d+)\.")


class Named(NamedTuple):
    """Parameters that a name stands for: shell-style patterns, and those to leave out of them."""

    matched: tuple[str, ...]
    without: tuple[str, ...] = ()


_TOWER, _BRIDGE = "model.vision_tower.*", "model.multi_modal_projector.*"
_TABLE = "model.multi_modal_projector.table.*"
# Besides the parts: the names of the Ovis, LLaVA, VILA and VITA trainers.
_NAMES = {
    **{name: Named((f"{path}.*",)) for name, path in PARTS.items()},
    "all": Named(("*",)),
    "language": Named(("model.language_model.*", "lm_head.*")),
    "llm": Named(("model.language_model.*", "lm_head.*")),
    "language_model": Named(("model.language_model.*", "lm_head.*")),
    "connector": Named((_BRIDGE, "model.image_arrange.*")),
    "mm_projector": Named((_BRIDGE, "model.image_arrange.*")),
    "vision_tower": Named((_TOWER,)),
    "visual_tokenizer": Named((_TOWER, _BRIDGE), (_TABLE,)),
    "visual_tokenizer.vit": Named((_TOWER,)),
    "visual_tokenizer.backbone": Named((_TOWER,)),
    "visual_tokenizer.head": Named((_BRIDGE,), (_TABLE,)),
    "vte": Named((_TABLE,)),
    "audio_encoder": Named(("model.audio_tower.*",)),
    "audio_adapter": Named(("model.audio_projector.*",)),
}


def known_names() -> list[str]:
    """Return every name; a tower's or the language model's may have more behind it.

    That is ``.last_block``, or ``.layer.N`` as in the Ovis 2 trainer, counted from 0, or from the
    end where N is negative.
    """
    return sorted(_NAMES)


def parameters_of(match: str, names: Iterable[str]) -> list[str]:
    """Return the parameter names that a part's name, or a shell-style pattern, stands for.

    Args:
        match: such as ``language``, ``visual_tokenizer.vit.last_block``, ``vision.layer.0`` or
            ``model.*_tower.*``.
        names: parameter names of the composite.
    """
    listed = list(names)
    if match.endswith(LAST_BLOCK):
        return _block(parameters_of(match.removesuffix(LAST_BLOCK), listed), -1)
    numbered = _NUMBERED.fullmatch(match)
    if numbered and numbered[1] in _NAMES:
        return _block(parameters_of(numbered[1], listed), int(numbered[2]))
    named = _NAMES.get(match, Named((match,)))
    return [
        name
        for name in listed
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in named.matched)
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in named.without)
    ]


def _block(names: list[str], number: int) -> list[str]:
    """Return the parameters of a layer of the deepest stack among some; none if it lacks it."""
    numbers: dict[str, int] = {}
    for name in names:
        if found := _BLOCK.match(name):
            numbers[found[1]] = max(numbers.get(found[1], 0), int(found[2]))
    if not numbers:
        return []
    stack = max(numbers, key=lambda key: numbers[key])
    place = number if number >= 0 else numbers[stack] + 1 + number
    return [name for name in names if name.startswith(f"{stack}.{place}.")]
