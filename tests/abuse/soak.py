"""Many requests of all kinds to one server: its memory and descriptors must stay flat.

``python -m tests.abuse.soak --requests 10000``
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import psutil
from tests.abuse.door import data_url
from tests.abuse.seeds import pictures, sounds, videos
from tests.serve.loopback import MODEL, Loopback, serving

MOST_GROWTH_BYTES = 64 * 2**20
MOST_MORE_FILES = 8
_PARTS = 20


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a server held.

    Attributes:
        requests: how many it answered.
        refused: how many of them it refused, as it had to.
        start_bytes: its memory behind the first fifth, decoders included.
        end_bytes: the same in the last fifth; both are medians.
        start_files: open descriptors at these times.
        end_files: the same.
    """

    requests: int
    refused: int
    start_bytes: int
    end_bytes: int
    start_files: int
    end_files: int

    @property
    def flat(self) -> bool:
        """Whether neither grew."""
        grown = self.end_bytes - self.start_bytes
        return grown < MOST_GROWTH_BYTES and self.end_files - self.start_files <= MOST_MORE_FILES


def soak(requests: int) -> Soaked:
    """Send requests one after the other, each kind in turn."""
    refused = 0
    held: list[tuple[int, int]] = []
    with (
        serving() as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        for number in range(requests):
            refused += _ask(client, number)
            if number % max(requests // _PARTS, 1) == 0:
                held.append(_held())
        assert server.idle(20), "a slot is taken"
        held.append(_held())
        _check(server)
    part = max(len(held) // 5, 1)
    start, end = held[part : 2 * part], held[-part:]
    return Soaked(
        requests,
        refused,
        _median([memory for memory, _ in start]),
        _median([memory for memory, _ in end]),
        _median([files for _, files in start]),
        _median([files for _, files in end]),
    )


def _ask(client: httpx.Client, number: int) -> bool:
    """Send a request; say whether it was refused, which the kind must be."""
    seed = f"{number}: "
    media: tuple[tuple[str, dict[str, object]] | None, ...] = (
        None,
        ("image_url", {"url": data_url(pictures()[number % len(pictures())])}),
        ("input_audio", {"data": data_url(sounds()[number % 5], "audio/wav"), "format": "wav"}),
        ("video_url", {"url": data_url(videos()[number % 3], "video/mp4")}),
        ("image_url", {"url": data_url(b"damaged" * number)}),
    )
    chosen = media[number % len(media)]
    parts: list[dict[str, object]] = [{"type": "text", "text": f"{seed}What is this?"}]
    if chosen is not None:
        parts.insert(0, {"type": chosen[0], chosen[0]: chosen[1]})
    stream = number % 3 == 0
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": 4,
        "stream": stream,
    }
    answer = client.post("/v1/chat/completions", json=body)
    bad = number % len(media) == 4
    assert (answer.status_code == 400) == bad, f"{answer.status_code}: {answer.text[:300]}"
    return bad


def _held() -> tuple[int, int]:
    """Return bytes and descriptors of this process and its children."""
    gc.collect()
    own = psutil.Process(os.getpid())
    tree = [own, *own.children(recursive=True)]
    return sum(one.memory_info().rss for one in tree), own.num_fds()


def _check(server: Loopback) -> None:
    assert not server.service.running, "an answer is still under way"
    assert server.service.admission.active == 0


def _median(values: Sequence[int]) -> int:
    return int(statistics.median(values))


def main() -> None:
    """Soak, print what was held, and end with 1 where it grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    found = soak(parser.parse_args().requests)
    print(found)  # noqa: T201 # a script's result
    raise SystemExit(not found.flat)


if __name__ == "__main__":
    main()
