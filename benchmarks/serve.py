"""How many requests the server answers, and how soon, for 1, 8 and 32 clients at a time.

    python benchmarks/serve.py [--seconds N] [--tokens N] [--clients 1,8,32] [--write PAGE]

The server runs in a process of its own on loopback, with random weights (speed does not depend on
them) and all its checks: every client streams one chat after another, each its own text, every
other one with a picture of its own. Each answer has exactly so many tokens. Prints requests and
tokens per second, seconds to the first token, and the server's memory; writes
benchmarks/results/serve.json.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from hocket._env import for_child
from hocket.checkpoint.directory import write_checkpoint
from hocket.cli._compose import compose_run
from hocket.model.build import build

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "serve.json"
BEGIN, END = "<!-- load: written by python benchmarks/serve.py -->", "<!-- end of load -->"
MIB = 2**20


@dataclass(frozen=True)
class Load:
    """What a number of clients saw.

    Attributes:
        clients: at a time.
        requests: that were answered.
        requests_per_second: of all clients together.
        tokens_per_second: of all answers together.
        first_token_p50_s: half of the requests had their first token by then.
        first_token_p95_s: all but one in twenty.
        memory_mib: of the server's process, at the end.
        decoders_mib: of the processes that decode, all together.
    """

    clients: int
    requests: int
    requests_per_second: float
    tokens_per_second: float
    first_token_p50_s: float
    first_token_p95_s: float
    memory_mib: float
    decoders_mib: float


def make_model(folder: Path) -> None:
    """Write a checkpoint of the tiny recipe with random weights."""
    spec = compose_run(["model=tiny"]).model
    words = "the quick brown fox jumps over a lazy dog and then it looks at the red square again"
    write_checkpoint(folder, *build(spec, [words] * 50))


def picture(seed: int) -> str:
    """Return a picture of 320 x 240 random pixels as a data: URL."""
    pixels = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def body(number: int, tokens: int) -> dict[str, object]:
    """Return the request of a number."""
    parts: list[dict[str, object]] = [{"type": "text", "text": f"Question {number}: what is this?"}]
    if number % 2:
        parts.append({"type": "image_url", "image_url": {"url": picture(number)}})
    more = {"stream": True, "temperature": 0, "min_tokens": tokens, "max_tokens": tokens}
    return {"messages": [{"role": "user", "content": parts}], **more}


def ask(client: httpx.Client, request: dict[str, object]) -> float:
    """Send a request, read it to its end, and return the seconds to its first text."""
    since, first = time.perf_counter(), 0.0
    with client.stream("POST", "/v1/chat/completions", json=request) as found:
        found.raise_for_status()
        for line in found.iter_lines():
            if not first and line.startswith("data: {") and '"delta":{"content"' in line:
                first = time.perf_counter() - since
    return first


def load(url: str, process: psutil.Process, clients: int, seconds: float, tokens: int) -> Load:
    """Let so many clients ask for so long."""
    firsts: list[float] = []
    since = time.perf_counter()

    def work(number: int) -> None:
        with httpx.Client(base_url=url, timeout=600) as client:
            while time.perf_counter() - since < seconds:
                firsts.append(ask(client, body(number, tokens)))
                number += clients

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    took = time.perf_counter() - since
    cuts = statistics.quantiles(firsts, n=20) if len(firsts) > 1 else firsts * 19
    children = process.children(recursive=True)
    return Load(
        clients,
        len(firsts),
        round(len(firsts) / took, 2),
        round(len(firsts) * tokens / took, 1),
        round(statistics.median(firsts), 3),
        round(cuts[-1], 3),
        round(process.memory_info().rss / MIB),
        round(sum(one.memory_info().rss for one in children) / MIB),
    )


def measure(counts: list[int], seconds: float, tokens: int) -> list[Load]:
    """Start a server and load it."""
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        words = [sys.executable, "-m", "hocket", "serve", f"tiny={folder}", "--port", "0"]
        variables = for_child({"PYTHONPATH": str(ROOT / "src")})
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=variables) as server:
            try:
                assert server.stdout is not None
                line = server.stdout.readline()
                found = re.search(r"http://\S+", line)
                assert found, line
                client = httpx.Client(base_url=found[0], timeout=60)
                while True:
                    try:
                        client.get("/ready").raise_for_status()
                        break
                    except httpx.TransportError:
                        time.sleep(0.1)
                for number in range(4):
                    ask(client, body(number, tokens))
                process = psutil.Process(server.pid)
                return [load(found[0], process, count, seconds, tokens) for count in counts]
            finally:
                server.terminate()


def table(loads: list[Load]) -> str:
    """Return the figures as a table."""
    names = ("clients", "requests", "req/s", "tokens/s", "TTFT p50", "TTFT p95", "memory")
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for one in loads:
        cells = (
            one.clients,
            one.requests,
            one.requests_per_second,
            one.tokens_per_second,
            f"{one.first_token_p50_s} s",
            f"{one.first_token_p95_s} s",
            f"{one.memory_mib:.0f} + {one.decoders_mib:.0f} MiB",
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    counts = [int(one) for one in chosen.clients.split(",")]
    loads = measure(counts, chosen.seconds, chosen.tokens)
    busy = os.getloadavg()[0]
    made = table(loads)
    print(made)
    machine = {"cores": os.cpu_count(), "load_average": round(busy, 1), "tokens": chosen.tokens}
    found = {"machine": machine, "loads": [asdict(one) for one in loads]}
    RESULT.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    if chosen.write is not None:
        page = chosen.write.read_text("utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, behind = rest.partition(END)
        note = f"{os.cpu_count()} cores, load average at the end {busy:.1f}."
        chosen.write.write_text(f"{before}{BEGIN}\n\n{made}\n\n{note}\n\n{END}{behind}", "utf-8")


if __name__ == "__main__":
    main()
