"""One JSON object a line."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hocket.data.containers import containers
from hocket.data.containers._lines import Lines


@containers.register
class JsonLines(Lines):
    """One file of lines."""

    def finish(self, parts: Sequence[Path], out: Path, *, name: str, keys: Sequence[str]) -> None:
        """Join the parts."""
        with out.open("wb") as stream:
            for part in parts:
                with part.open("rb") as lines:
                    shutil.copyfileobj(lines, stream)
