"""Damage, made from a seed: bytes flipped, cut, doubled, filled, swapped for telling numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# Lengths, sizes and signs that decoders were caught with.
TELLING = (
    *(b"\x00" * size for size in (1, 2, 4, 8)),
    *(b"\xff" * size for size in (1, 2, 4, 8)),
    *(value.to_bytes(4, order) for order in ("big", "little") for value in (
        0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0x40000000, 0x10000, 0xFFFF, 1, 2, 255,
    )),
    *(value.to_bytes(2, order) for order in ("big", "little") for value in (0x7FFF, 0x8000, 1)),
    (2**63).to_bytes(8, "big"),
    (2**62).to_bytes(8, "little"),
)  # fmt: skip
_HEAD_BYTES = 64


def mutated(data: bytes, others: Sequence[bytes], seed: int) -> bytes:
    """Return the bytes with one to six kinds of damage.

    Args:
        data: a whole file.
        others: files that parts may come from.
        seed: says which damage, and where.
    """
    rng = random.Random(seed)
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_DAMAGES)(found, others, rng)
    return bytes(found)


def _place(found: bytearray, rng: random.Random) -> int:
    """Return a position, as often as not in the header."""
    most = len(found) if rng.random() < 0.5 else min(len(found), _HEAD_BYTES)
    return rng.randrange(most) if most else 0


def _flip(found: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 4, 16))):
        if found:
            found[_place(found, rng)] ^= 1 << rng.randrange(8)


def _number(found: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    value = rng.choice(TELLING)
    at = _place(found, rng)
    found[at : at + len(value)] = value


def _cut(found: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    del found[_place(found, rng) :]


def _drop(found: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = _place(found, rng)
    del found[at : at + rng.choice((1, 4, 64, 1024))]


def _double(found: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = _place(found, rng)
    found[at:at] = found[at : at + rng.choice((4, 64, 1024))]


def _fill(found: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = _place(found, rng)
    count = len(found[at : at + rng.choice((4, 16, 256))])
    found[at : at + count] = bytes([rng.choice((0, 255, 0x41, 0x20))]) * count


def _splice(found: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    at, start = _place(found, rng), rng.randrange(len(other))
    found[at : at + 256] = other[start : start + rng.choice((16, 256, 4096))]


def _grow(found: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    found += rng.randbytes(rng.choice((1, 64, 4096)))


_DAMAGES: tuple[Callable[[bytearray, Sequence[bytes], random.Random], None], ...] = (
    _flip, _flip, _number, _number, _number, _cut, _drop, _double, _fill, _splice, _grow,
)  # fmt: skip
