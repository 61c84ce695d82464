"""Keys of a ``config.json`` through which transformers would download and run somebody's kernel.

Knows documents; must not know models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KEYS = re.compile(r"_?(?:attn|experts)_implementation(?:_internal|_autoset)?")
# A name of transformers' own. Others are repositories of the hub: owner/name, with a version.
_OWN = re.compile(r"\w*")


def named_code(document: Any) -> str:
    """Return the key, dots between, that names code of a repository; empty where none does.

    Args:
        document: what a ``config.json`` holds.
    """
    if isinstance(document, list):
        return next(filter(None, map(named_code, document)), "")
    if not isinstance(document, Mapping):
        return ""
    for key, value in document.items():
        chosen = list(value.values()) if isinstance(value, Mapping) else [value]
        if _KEYS.fullmatch(str(key)) and not all(_is_own(one) for one in chosen):
            return str(key)
        if inner := named_code(value):
            return f"{key}.{inner}"
    return ""


def _is_own(value: object) -> bool:
    return value is None or isinstance(value, bool) or bool(_OWN.fullmatch(str(value)))
