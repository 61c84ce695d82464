"""The command line of simonw's llm: ``llm openai endpoint URL -m MODEL -a FILE``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.serve.clients.features import COLOURS, ENOUGH, SCHEMA, Check, requests_of
from tests.serve.loopback import MODEL, Loopback, png, wav

_SECONDS = 60


def _run(server: Loopback, *words: str, fails: bool = False) -> str:
    """Run the command and return what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-W", "ignore", "-m", "llm", "openai", "endpoint"]
        done = subprocess.run(
            [*program, f"{server.url}/v1", *words],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={"LLM_USER_PATH": folder, "PATH": "/usr/bin:/bin", "HOME": folder},
            check=False,
        )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stderr if fails else done.stdout


def models(server: Loopback) -> None:
    assert MODEL in _run(server, "--models")


def plain(server: Loopback) -> None:
    assert _run(server, "-m", MODEL, "-o", "max_tokens", "8", "--no-stream", "Hello").strip()


def _attached(server: Loopback, name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(data)
        words = ("-m", MODEL, "-o", "max_tokens", "8", "-a", str(file), "What?")
        assert _run(server, *words).strip()


def picture(server: Loopback) -> None:
    _attached(server, "a.png", png())


def sound(server: Loopback) -> None:
    _attached(server, "a.wav", wav())


def stream(server: Loopback) -> None:
    words = ("-m", MODEL, "-o", "max_tokens", "8", "-o", "temperature", "0", "Hello")
    assert _run(server, *words) == _run(server, *words, "--no-stream")


def schema(server: Loopback) -> None:
    words = ("-m", MODEL, "-o", "max_tokens", str(ENOUGH), "--schema", json.dumps(SCHEMA), "Which?")
    assert json.loads(_run(server, *words))["colour"] in COLOURS


def responses(server: Loopback) -> None:
    words = ("-m", MODEL, "-o", "max_tokens", "16", "--responses", "Hello")
    assert _run(server, *words).strip()


def errors(server: Loopback) -> None:
    assert "no model is called" in _run(server, "-m", "other", "Hello", fails=True)


def no_retries(server: Loopback) -> None:
    assert requests_of(server, lambda: errors(server)) == 1


CHECKS: dict[str, Check] = {
    "models": models,
    "text": plain,
    "image": picture,
    "audio": sound,
    "stream with usage": stream,
    "JSON schema": schema,
    "responses": responses,
    "error classes": errors,
    "no retries": no_retries,
}
