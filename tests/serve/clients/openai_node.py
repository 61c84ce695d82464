"""OpenAI's npm package, in Node: the checks themselves are in ``openai_node.mjs``.

``HOCKET_TEST_NODE`` names a folder where ``npm install openai`` was run.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.serve.clients.features import Check, requests_of, stops
from tests.serve.loopback import Loopback, mp4, png, wav

MODULES = os.environ.get("HOCKET_TEST_NODE", "")
HERE = bool(MODULES) and shutil.which("node") is not None
_SCRIPT = Path(__file__).with_suffix(".mjs")
_SECONDS = 60
_ALONE = (
    "models",
    "text",
    "image",
    "audio",
    "video",
    "stream with usage",
    "n=2",
    "stop",
    "logprobs",
    "tools",
    "JSON schema",
    "responses",
    "transcription",
    "error classes",
)


def _run(server: Loopback, feature: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        film = mp4(Path(folder))
    media = [base64.b64encode(data).decode() for data in (png(), wav(), film)]
    done = subprocess.run(
        ["node", str(_SCRIPT), MODULES, server.url, feature, *media],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _check(feature: str) -> Check:
    return lambda server: _run(server, feature)


def early_close(server: Loopback) -> None:
    _run(server, "early close")
    assert stops(server)


def no_retries(server: Loopback) -> None:
    assert requests_of(server, lambda: _run(server, "no retries")) == 1


CHECKS: dict[str, Check] = {name: _check(name) for name in _ALONE} | {
    "early close": early_close,
    "no retries": no_retries,
}
