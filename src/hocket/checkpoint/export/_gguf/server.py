"""llama.cpp's own server, run on this machine for as long as a comparison takes.

Keys and values are float32: in float16 even a right file diverges after some tokens.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import IO, Any, NamedTuple

from hocket._errors import CheckpointError

_START_SECONDS = 120.0
_EXACT = ("-ctk", "f32", "-ctv", "f32", "-fa", "off", "-ngl", "0", "-np", "1", "--no-warmup")
_MARKER = "<__media__>"
# A proxy of the environment must not see requests to this machine.
_HERE = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Said(NamedTuple):
    """A greedy answer.

    Attributes:
        tokens: its token ids.
        logprobs: the logarithm of each one's probability, up to the first that is part of a
            character only, for which llama.cpp gives none.
        prompt: tokens of the prompt, media included.
    """

    tokens: list[int]
    logprobs: list[float]
    prompt: int


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        address: such as ``http://127.0.0.1:8080``.
        marker: what stands for a medium in a prompt.
    """

    address: str
    marker: str

    def complete(self, text: str, files: Sequence[bytes], *, tokens: int) -> Said:
        """Continue a prompt greedily.

        Args:
            text: the prompt; each medium is `marker`.
            files: the media, in order.
            tokens: most tokens.

        Raises:
            CheckpointError: the server gives no answer.
        """
        data = [base64.b64encode(one).decode() for one in files]
        body = {
            "prompt": {"prompt_string": text, "multimodal_data": data} if files else text,
            "n_predict": tokens,
            "temperature": 0.0,
            "n_probs": 1,
            "return_tokens": True,
            "cache_prompt": False,
        }
        found = _call(f"{self.address}/completion", body)
        said = [int(token) for token in found["tokens"]]
        steps = list(zip(said, found.get("completion_probabilities", []), strict=False))
        whole = takewhile(lambda pair: pair[0] == pair[1]["id"], steps)
        logprobs = [float(step["logprob"]) for _, step in whole]
        return Said(said, logprobs, int(found["tokens_evaluated"]))


@contextmanager
def served(program: str, files: Sequence[str]) -> Iterator[Server]:
    """Run the server on a free port of this machine, and stop it afterwards.

    Args:
        program: path of ``llama-server``.
        files: its options that name the files.

    Raises:
        CheckpointError: it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, *files, *_EXACT, "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        except OSError as error:
            raise CheckpointError(f"{program} cannot be run: {error.strerror}.") from error
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address, log)
            props = _call(f"{address}/props")
            yield Server(address, str(props.get("media_marker", _MARKER)))
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            log.seek(0)
            lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line]
            errors = [line for line in lines if "error" in line] or lines or ["it said nothing"]
            raise CheckpointError(f"llama-server does not open the files: {errors[0][:200]}")
        try:
            with _HERE.open(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise CheckpointError(f"llama-server was not ready within {_START_SECONDS:.0f} s.")


def _call(address: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with _HERE.open(request, timeout=600) as reply:
            return dict(json.load(reply))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"llama-server gives no answer: {error}. Run it on the files to see why."
        ) from error
