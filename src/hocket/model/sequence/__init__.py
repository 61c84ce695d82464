"""Sequence parallel: several processes share the tokens of the same rows.

Ulysses exchanges tokens for heads around each attention (DeepSpeed-Ulysses), a ring passes keys and
values on from process to process (Ring Attention; zigzag as in Megatron's context parallel), and
the hybrid of both is a ring of Ulysses groups (USP). Everything else of the language model works on
a process's own tokens alone; towers work on its share of the media.

Letters: B rows, T tokens of a row, N tokens of one process, H query heads, K key heads, D head
width, U processes of a Ulysses group, R processes of a ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hocket._errors import ConfigError

IMPLEMENTATION = "hocket_sequence"
"""Name of the attention function in transformers' AttentionInterface."""


class RingKind(StrEnum):
    """Which tokens a process of a ring holds.

    ``plain`` cuts a row into one piece each, so the last process works most; ``zigzag`` into two
    pieces each, one from either end, so that all have as many pairs under the causal mask.
    """

    PLAIN = "plain"
    ZIGZAG = "zigzag"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceSpec:
    """How many processes share a row.

    Attributes:
        ulysses: processes that share the heads; it divides the number of query heads.
        ring: processes that pass keys and values on.
        ring_kind: which tokens a process of the ring holds.
    """

    ulysses: int = 1
    ring: int = 1
    ring_kind: RingKind = RingKind.ZIGZAG

    def __post_init__(self) -> None:
        """Check the degrees."""
        if self.ulysses < 1 or self.ring < 1:
            raise ConfigError(
                f"sequence_parallel is {self.ulysses} x {self.ring} (ulysses x ring), expected 1 "
                "or more of each. 1 x 1 switches it off."
            )

    @property
    def degree(self) -> int:
        """Processes that share a row."""
        return self.ulysses * self.ring
