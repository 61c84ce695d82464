"""Hashes of towers that were taken before, found again without a look at the weights.

A hash is kept under what the weights came from: the files' paths, sizes, times, headers and listed
hashes (`hocket.model.origin`) and the tower's configuration. Other files are another origin, so a
hash that is found belongs to these weights. Knows no shards of features.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from hocket.data.storing import put_file
from hocket.model.fingerprint import origin_key, tower_hash
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.origin import is_unchanged
from hocket.model.towers import tower_name, tower_widths
from hocket.tokens.span import Modality

FOLDER = "towers"
PROVENANCE = "provenance.json"
_HASH = re.compile(r"[0-9a-f]{32}")


class TowerHashes:
    """Hashes of towers, kept in a folder that can always be deleted.

    Args:
        root: the folder of the features of all towers.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER

    def known(self, model: HocketForConditionalGeneration, modality: Modality) -> str | None:
        """Return the hash of a modality's tower if it was taken before; its weights stay unread.

        None too where the weights have changed since they were read from their files.
        """
        file = self._file(model, modality)
        try:
            found = file.read_text(encoding="ascii") if file else ""
        except (OSError, ValueError):
            return None
        return found if _HASH.fullmatch(found) else None

    def of(self, model: HocketForConditionalGeneration, modality: Modality) -> str:
        """Return the hash of a modality's tower, read from its weights only the first time.

        Raises:
            OSError: the folder cannot be written.
        """
        found = self.known(model, modality)
        if found is None:
            found = text = tower_hash(model.model, modality)
            file = self._file(model, modality)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                put_file(file, lambda place: place.write_text(text, encoding="ascii"))
        return found

    def all_known(self, model: HocketForConditionalGeneration) -> dict[str, str]:
        """Return tower -> hash of those that `known` knows."""
        kinds = tower_widths(model.config)
        found = {tower_name(model.config, kind): self.known(model, kind) for kind in kinds}
        return {name: known for name, known in found.items() if known is not None}

    def _file(self, model: HocketForConditionalGeneration, modality: Modality) -> Path | None:
        name = tower_name(model.config, modality)
        origin = model.origins.get(name)
        if origin is None or not is_unchanged(origin, model.model.get_submodule(name)):
            return None
        return self._folder / origin_key(model.config, modality, origin)


def same_towers(checkpoint: Path, known: Mapping[str, str]) -> frozenset[str]:
    """Return the towers whose weights in a checkpoint are those that are there already.

    Args:
        checkpoint: a folder whose manifest was verified.
        known: tower -> hash of the weights that are there.
    """
    try:
        document = json.loads((checkpoint / PROVENANCE).read_text(encoding="utf-8"))
        saved = dict(document.get("towers", {}))
    except (OSError, ValueError, AttributeError, TypeError):
        return frozenset()
    return frozenset(name for name, found in known.items() if saved.get(name) == found)
