"""How much an engine may hold at a time, and what it is doing."""

from __future__ import annotations

from dataclasses import dataclass

from hocket._errors import ConfigError

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Limits of an engine.

    Attributes:
        max_rows: answers that are generated at the same time.
        prefill_tokens: tokens of prompts that one step takes in while answers are under way, so
            that a long prompt does not hold those up.
        kv_mb: MiB of keys and values of the answers under way; what does not fit waits.
        prefix_mb: MiB of keys and values of earlier prompts, kept for prompts that begin alike.
        encoder_mb: MiB of media rows, kept for media that come again.

    Raises:
        ConfigError: a value is out of range.
    """

    max_rows: int = 32
    prefill_tokens: int = 512
    kv_mb: int = 4096
    prefix_mb: int = 256
    encoder_mb: int = 256

    def __post_init__(self) -> None:
        """Refuse what nothing could be answered with."""
        for name, value, least in (
            ("max_rows", self.max_rows, 1),
            ("prefill_tokens", self.prefill_tokens, 1),
            ("kv_mb", self.kv_mb, 1),
            ("prefix_mb", self.prefix_mb, 0),
            ("encoder_mb", self.encoder_mb, 0),
        ):
            if value < least:
                raise ConfigError(f"engine: {name} is {value}, but must be at least {least}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What an engine is doing, and what it has done since it was made.

    Attributes:
        waiting: answers that have not begun.
        prefilling: answers whose prompt is taken in.
        running: answers under way.
        kv_bytes: keys and values of those.
        kv_limit: bytes that they may take.
        prefix_bytes: keys and values of earlier prompts.
        prefix_hits: prompts that began like an earlier one.
        prefix_misses: prompts that did not.
        encoder_bytes: media rows that are kept.
        encoder_hits: media that were there.
        encoder_misses: media that ran through a tower.
        steps: steps of the scheduler.
        prompt_tokens: tokens of prompts that were taken in, those found in the cache not counted.
        answer_tokens: tokens that were generated.
        preempted: answers that had to make room and began again.
    """

    waiting: int
    prefilling: int
    running: int
    kv_bytes: int
    kv_limit: int
    prefix_bytes: int
    prefix_hits: int
    prefix_misses: int
    encoder_bytes: int
    encoder_hits: int
    encoder_misses: int
    steps: int
    prompt_tokens: int
    answer_tokens: int
    preempted: int
