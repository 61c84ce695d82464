"""The curl lines of docs/serving.md, taken out of the page and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.serve.clients.features import Check
from tests.serve.loopback import Loopback, mp4, png, wav

HERE = shutil.which("curl") is not None
PAGE = Path(__file__).parents[3] / "docs" / "serving.md"
_BLOCK = re.compile(r"^```bash\n# (.+)\n((?:.|\n)*?)^```", re.MULTILINE)
_DEFAULT = "http://127.0.0.1:8000"
_SECONDS = 60


def blocks() -> dict[str, str]:
    """Return feature -> commands: blocks whose first line is a comment with the feature's name."""
    found = _BLOCK.findall(PAGE.read_text("utf-8"))
    return {name: body for name, body in found if "curl" in body}


def _run(server: Loopback, commands: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (
            ("cat.png", png()),
            ("hello.wav", wav()),
            ("clip.mp4", mp4(Path(folder))),
        ):
            (Path(folder) / name).write_bytes(data)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands.replace(_DEFAULT, server.url)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={"PATH": os.environ["PATH"], "HOCKET_API_KEY": "none"},
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _check(feature: str) -> Check:
    def run(server: Loopback) -> None:
        said = _run(server, blocks()[feature])
        assert said.strip()
        assert ('"error":{' in said) is (feature == "error classes")

    return run


CHECKS: dict[str, Check] = {name: _check(name) for name in (blocks() if PAGE.exists() else {})}
