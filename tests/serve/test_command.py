"""``hocket serve`` as a user runs it: it serves, drains, and says in one sentence what is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.serve.loopback import ask
from tests.toy import toy

from hocket.checkpoint.directory import write_checkpoint

SRC = Path(__file__).parents[2] / "src"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_checkpoint(folder, *toy())
    return folder


def words(*more: str) -> list[str]:
    return [sys.executable, "-m", "hocket", "serve", *more]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SRC), "HOCKET_THREADS": "1", **more}


@contextmanager
def started(*more: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        words(*more, "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, process.communicate()
            yield process, found[0]
        finally:
            process.kill()


def ready(url: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError("the server does not become ready")


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_answers_are_finished_when_it_is_told_to_stop(
    model: Path, sent: signal.Signals, code: int
) -> None:
    with started(str(model)) as (process, url):
        ready(url)
        lines: list[str] = []

        def read() -> None:
            body = ask("Hi", stream=True, min_tokens=900, max_tokens=900) | {"model": ""}
            with httpx.stream("POST", url + CHAT, json=body, timeout=60) as found:
                lines.extend(found.iter_lines())

        reader = threading.Thread(target=read)
        reader.start()
        while "num_requests_running" not in (now := httpx.get(f"{url}/metrics").text) or (
            not re.search(r"num_requests_running\{.*\} [1-9]", now)
        ):
            time.sleep(0.01)
        process.send_signal(sent)
        end = time.monotonic() + 5
        while httpx.get(f"{url}/ready").status_code != 503 and time.monotonic() < end:
            time.sleep(0.01)
        refused = httpx.post(url + CHAT, json=ask("Hi") | {"model": ""})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert httpx.get(f"{url}/health").status_code == 200
        reader.join(60)
        assert lines[-2:] == ["data: [DONE]", ""]
        assert process.wait(30) == code


@pytest.mark.slow
def test_a_key_of_the_environment_is_wanted(model: Path) -> None:
    with started(f"cats={model}", HOCKET_API_KEY="a-key-of-the-tests") as (_, url):
        ready(url)
        assert httpx.get(f"{url}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer a-key-of-the-tests"}
        found = httpx.get(f"{url}/v1/models", headers=headers).json()
        assert found["data"][0]["id"] == "cats"


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--host", "0.0.0.0"), 2, "no API key keeps them out"),
        (("--engine", "zzz"), 2, "expected hocket or vllm"),
        (("--allow-media-host", "http://x"), 2, "expected a name"),
        (("--media-root", "/nothing/here"), 2, "no such folder"),
        (("--api-key-file", "/nothing/here"), 3, "cannot be read"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_sentence(
    more: tuple[str, ...], code: int, said: str
) -> None:
    done = subprocess.run(
        words("nowhere", *more), capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == code
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_vllm_is_started_with_its_words(model: Path, tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.write_text('#!/bin/sh\necho "$@" "$VLLM_API_KEY"\n')
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words(f"cats={model}", "--engine", "vllm", "--port", "0", "--vllm-arg=--max-model-len"),
        capture_output=True,
        text=True,
        env=environment(PATH=path, HOCKET_API_KEY="a-key-of-the-tests"),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    given = done.stdout.split()
    assert given[:4] == ["serve", str(model), "--served-model-name", "cats"]
    assert given[-4:] == [
        "--chat-template-content-format",
        "openai",
        "--max-model-len",
        "a-key-of-the-tests",
    ]


def test_without_vllm_it_says_how_to_get_it(model: Path) -> None:
    done = subprocess.run(
        words(str(model), "--engine", "vllm"),
        capture_output=True,
        text=True,
        env=environment(PATH="/nowhere"),
        check=False,
    )
    assert done.returncode == 3
    assert "pip install 'vllm>=0.32,<0.33'" in " ".join(done.stderr.split())
