"""The largest batch, row, picture, video and sound that a device holds.

A size is guessed from the last one that fits, traced, and the next guess lies between what fits
and what does not, until they are less than 10 % apart. What is returned was traced itself, so
attention's square and every jump of a layout are in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from hocket._errors import ConfigError
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.plan.memory import Strategy, memory_of
from hocket.plan.rows import Content, made_up, tokens_of
from hocket.plan.trace import Sizes, trace
from hocket.tokens.processor import HocketProcessor

_FINENESS = 1.1
_MOST = 2**20
_FARTHEST = 64


class _Need(NamedTuple):
    """Bytes of a device at most, and of them those that do not grow with its rows."""

    peak: float
    standing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Looks for what fits.

    Attributes:
        model: on ``meta``, as its stage trains it.
        processor: its processor.
        sizes: bytes of the model.
        strategy: how devices share the run.
        usable: bytes of a device that may be used.
        scale: measured over traced bytes.
        autocast: whether a step computes as torch's autocast does.
    """

    model: HocketForConditionalGeneration
    processor: HocketProcessor
    sizes: Sizes
    strategy: Strategy
    usable: float
    scale: float = 1.0
    autocast: bool = False

    def largest(self, *, tokens_per_row: int) -> Iterator[tuple[str, int]]:
        """Yield what is counted and the most of it that fits, 0 where not even the least does.

        Args:
            tokens_per_row: length of the rows that the largest batch is counted in.
        """
        row = Content(tokens=tokens_per_row, targets=0.5)
        yield (
            f"rows of {tokens_per_row:,} tokens in a micro-batch",
            self._most(lambda count: (row, count), 1),
        )
        yield "tokens in a single row", self._most(lambda n: (Content(tokens=n), 1), 256)
        for what, least, content in self._media():
            yield what, self._most(partial(self._alone, content), least)

    def _alone(self, content: Callable[[int], Content], count: int) -> tuple[Content, int]:
        return self._filled(content(count)), 1

    def _media(self) -> Iterator[tuple[str, int, Callable[[int], Content]]]:
        images, films = self.processor.images, self.processor.films
        if images is not None:
            yield (
                "pictures of 640 x 480 in a single row",
                1,
                lambda n: Content(tokens=1, pictures=n),
            )
            if images.plan(224, 224).rows != images.plan(1792, 1792).rows:
                yield (
                    "side of a square picture in pixels",
                    224,
                    lambda n: Content(tokens=1, pictures=1, size=(n, n)),
                )
        if films is not None and self.processor.sampler is not None:
            yield "frames of a video", 2, lambda n: Content(tokens=1, frames=n)
        if self.processor.sounds is not None:
            yield "seconds of sound", 5, lambda n: Content(tokens=1, seconds=float(n))

    def _filled(self, content: Content) -> Content:
        """Return media with 128 tokens of text behind them."""
        return replace(content, tokens=tokens_of(self.processor, content) + 128)

    def _most(self, of: Callable[[int], tuple[Content, int]], least: int) -> int:
        low, high = least, _MOST
        need = self._need(*of(least))
        if need is None or need.peak > self.usable:
            return 0
        while high - low > (step := max(1, int(low * (_FINENESS - 1)))):
            # Memory is about a line, so the next try is where that line meets what is there.
            there = (self.usable - need.standing) / max(need.peak - need.standing, 1.0)
            guess = min(max(int(low * there), low + step), _FARTHEST * low)
            if guess >= high:
                guess = (low + high) // 2
            found = self._need(*of(guess))
            if found is None or found.peak > self.usable:
                high = guess
                continue
            if self._same(of(guess), of(low)):
                return guess  # a layout that cuts to a fixed number grows no further
            low, need = guess, found
        return low

    def _same(self, one: tuple[Content, int], other: tuple[Content, int]) -> bool:
        return one[1] == other[1] and one[0].tokens == other[0].tokens

    def _need(self, content: Content, rows: int) -> _Need | None:
        """Return what rows take; None where the model does not take them."""
        try:
            batch = made_up(self.processor, content, rows=rows)
        except ConfigError:
            return None
        traced = trace(self.model, batch, autocast=self.autocast)
        peak = memory_of(self.sizes, traced, self.strategy, scale=self.scale).peak
        made = traced.without_gradients * self.scale / self.strategy.sequence
        return _Need(peak, peak - made - traced.inputs)
