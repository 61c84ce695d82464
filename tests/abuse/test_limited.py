"""The process of a decoder starts without torch: its first call has to import what it runs."""

from __future__ import annotations

import subprocess
import sys


def test_torch_is_not_imported_there() -> None:
    code = "import sys, hocket.serve.limited; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
