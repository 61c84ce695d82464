from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hocket.tokens.placed import Piece, PlacedTokens

LENGTHS = st.lists(st.lists(st.integers(0, 4), max_size=6), max_size=4)


def placed_of(pieces: list[list[int]]) -> tuple[PlacedTokens, list[tuple[int, int]]]:
    """Return pieces of tokens of so many characters, and where each token is in the text."""
    placed, places, base = PlacedTokens(), [], 0
    for lengths in pieces:
        ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
        spans = [(end - size, end) for end, size in zip(ends, lengths, strict=True)]
        placed.add(Piece(base, list(range(len(spans))), spans.__getitem__))
        places += [(base + start, base + stop) for start, stop in spans]
        base += sum(lengths) + 1  # a mark that is in no token
    return placed, places


@given(pieces=LENGTHS, start=st.integers(0, 30), more=st.integers(0, 30))
def test_the_tokens_of_a_stretch_are_those_that_begin_and_end_in_it(
    pieces: list[list[int]], start: int, more: int
) -> None:
    placed, places = placed_of(pieces)
    stop = start + more
    inside = placed.inside(start, stop)
    first = sum(begin < start for begin, _ in places)
    last = sum(begin < stop for begin, _ in places)
    while last > first and places[last - 1][1] > stop:
        last -= 1
    assert (inside.start, inside.stop) == (first, last)


@given(lengths=st.lists(st.integers(1, 4), max_size=8), borders=st.sets(st.integers(0, 30)))
def test_a_border_inside_of_a_token_is_found(lengths: list[int], borders: set[int]) -> None:
    spans = [(sum(lengths[:at]), sum(lengths[: at + 1])) for at in range(len(lengths))]
    piece = Piece(5, list(range(len(spans))), spans.__getitem__)
    crossing = [one for one in sorted(borders) if any(a < one - 5 < b for a, b in spans)]
    assert piece.crossed(sorted(borders)) == (crossing[0] if crossing else None)
