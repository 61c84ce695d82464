from __future__ import annotations

from pathlib import Path

import pytest
from tests.chat.readers.rows import make_files


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_files(tmp_path)
