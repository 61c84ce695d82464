"""Many requests of all kinds to one server: its memory and descriptors must stay flat.

Text, pictures, sounds, videos and damaged files in turn, every third as a stream, and every
seventh of those left by the client at its first words.

``python -m tests.abuse.soak --requests 10000``
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial

import httpx
import psutil
from tests.abuse.door import data_url
from tests.abuse.seeds import pictures, sounds, videos
from tests.serve.loopback import MODEL, Loopback, serving

MOST_GROWTH_BYTES = 64 * 2**20
MOST_MORE_FILES = 8
_TENTHS = 10
_LOOKS = 5
_AT_ONCE = 16
_STREAMS = 3
_LEAVES = 21  # of those that stream


class _End(Enum):
    """How a request ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a server held.

    Attributes:
        requests: how many it answered.
        refused: how many of them it refused, as it had to.
        left: how many streams the client left.
        start_bytes: its memory in the second tenth, decoders included; the first is warming up.
        end_bytes: the same in the last tenth; both are medians.
        start_files: open descriptors at these times.
        end_files: the same.
        tenths: memory and descriptors of each tenth, medians too.
    """

    requests: int
    refused: int
    left: int
    start_bytes: int
    end_bytes: int
    start_files: int
    end_files: int
    tenths: tuple[tuple[int, int], ...]

    @property
    def flat(self) -> bool:
        """Whether neither grew."""
        grown = self.end_bytes - self.start_bytes
        return grown < MOST_GROWTH_BYTES and self.end_files - self.start_files <= MOST_MORE_FILES

    def __str__(self) -> str:
        lines = [
            f"tenth {number}: {memory / 2**20:.1f} MiB, {files} descriptors"
            for number, (memory, files) in enumerate(self.tenths, 1)
        ]
        head = f"{self.requests} requests, {self.refused} refused, {self.left} left by the client"
        return "\n".join([head, *lines, "flat" if self.flat else "NOT FLAT"])


def soak(requests: int) -> Soaked:
    """Send requests one after the other, each kind in turn."""
    refused = left = 0
    held: list[tuple[int, int]] = []
    step = max(requests // (_TENTHS * _LOOKS), 1)
    with (
        serving() as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        # All decoders at once: one that starts later is no growth.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(partial(_ask, client), range(1, 5 * _AT_ONCE, 5)))
        for number in range(requests):
            end = _ask(client, number)
            refused += end is _End.REFUSED
            left += end is _End.LEFT
            if number % step == step - 1:
                held.append(_held())
        assert server.idle(20), "a slot is taken"
        _check(server)
    tenths = tuple(
        _median(held[len(held) * one // _TENTHS : max(len(held) * (one + 1) // _TENTHS, 1)])
        for one in range(_TENTHS)
    )
    start, end = tenths[1], tenths[-1]
    return Soaked(requests, refused, left, start[0], end[0], start[1], end[1], tenths)


def _ask(client: httpx.Client, number: int) -> _End:
    """Send a request, and check that damaged media alone are refused."""
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
    bad = number % len(media) == 4
    stream, leaves = number % _STREAMS == 0, number % _LEAVES == 0
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": 32 if leaves else 4,
        "stream": stream,
    }
    if leaves and not bad:
        with client.stream("POST", "/v1/chat/completions", json=body) as begun:
            assert begun.status_code == 200
            next(begun.iter_lines())
        return _End.LEFT
    answer = client.post("/v1/chat/completions", json=body)
    assert (answer.status_code == 400) == bad, f"{answer.status_code}: {answer.text[:300]}"
    return _End.REFUSED if bad else _End.ANSWERED


def _held() -> tuple[int, int]:
    """Return bytes and descriptors of this process and its children."""
    gc.collect()
    own = psutil.Process(os.getpid())
    tree = [own, *own.children(recursive=True)]
    return sum(one.memory_info().rss for one in tree), own.num_fds()


def _check(server: Loopback) -> None:
    assert not server.service.running, "an answer is still under way"
    assert server.service.admission.active == 0


def _median(held: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return (
        int(statistics.median(memory for memory, _ in held)),
        int(statistics.median(files for _, files in held)),
    )


def main() -> None:
    """Soak, print what was held, and end with 1 where it grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    found = soak(parser.parse_args().requests)
    print(found)  # noqa: T201 # a script's result
    raise SystemExit(not found.flat)


if __name__ == "__main__":
    main()
