"""Histograms as small SVG drawings that need no script. Knows numbers only.

A distribution that spans more than two orders of magnitude is drawn over a logarithmic axis.
"""

from __future__ import annotations

import html
import math

import numpy as np

WIDTH, HEIGHT = 340, 170
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 22, 26

_BARS = 30
_LOG_FROM = 100
_TICKS = 4


def draw_histogram(values: np.ndarray, *, label: str, limit: float | None = None) -> str:
    """Return a histogram as SVG.

    Args:
        values: numbers (N,), N at least 1.
        label: what they are, for people who cannot see it.
        limit: where to draw a line, such as the budget of a row.
    """
    low, high = float(values.min()), float(values.max())
    logarithmic = low > 0 and high / low > _LOG_FROM
    whole = bool((values == np.rint(values)).all())
    edges = _edges(low, high, whole=whole, log=logarithmic)
    counts, _ = np.histogram(values, edges)
    first, last = (math.log10(edges[0]), math.log10(edges[-1])) if logarithmic else edges[[0, -1]]

    def x(value: float) -> float:
        place = math.log10(max(value, 1e-12)) if logarithmic else value
        return LEFT + (WIDTH - LEFT - RIGHT) * (place - first) / (last - first)

    tallest = int(counts.max())
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">',
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>',
    ]
    for start, stop, count in zip(edges, edges[1:], counts, strict=False):
        if count:
            height = max(1.0, (bottom - TOP) * float(count) / tallest)
            width = max(1.0, x(stop) - x(start) - 1)
            span = _span(start, stop, whole=whole)
            parts.append(
                f'<rect class="bar" x="{x(start):.1f}" y="{bottom - height:.1f}" '
                f'width="{width:.1f}" height="{height:.1f}"><title>{span}: {int(count):,}</title>'
                "</rect>"
            )
    parts.append(f'<text class="tick" x="{LEFT}" y="{TOP - 8}">{tallest:,} in the tallest</text>')
    parts += _axis(float(edges[0]), float(edges[-1]), x, log=logarithmic, whole=whole)
    if limit is not None and edges[0] <= limit <= edges[-1]:
        parts.append(_limit(limit, x(limit)))
    return "".join([*parts, "</svg>"])


def short(value: float) -> str:
    """Return a number in few characters: 1.5k, 2M, 0.25."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _edges(low: float, high: float, *, whole: bool, log: bool) -> np.ndarray:
    if log:
        return np.geomspace(low, high * (1 + 1e-9), _BARS + 1)
    if whole:
        step = max(1, math.ceil((high - low + 1) / _BARS))
        return np.arange(low - 0.5, high + step, step)
    if high == low:
        high = low + max(abs(low), 1.0) * 0.1
    return np.linspace(low, high, _BARS + 1)


def _span(start: float, stop: float, *, whole: bool) -> str:
    if not whole:
        return f"{short(start)} to {short(stop)}"
    # A whole number on the upper edge belongs to the next bar.
    least, most = math.ceil(start), math.ceil(stop) - 1
    return short(least) if least >= most else f"{short(least)} to {short(most)}"


def _axis(low: float, high: float, x: object, *, log: bool, whole: bool) -> list[str]:
    assert callable(x)
    if log:
        ticks = [
            10.0**power for power in range(math.ceil(math.log10(low)), 12) if 10.0**power <= high
        ]
        every = max(1, math.ceil(len(ticks) / (_TICKS + 1)))
        ticks = ticks[::every]
    else:
        rough = (high - low) / _TICKS
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * by for by in (1, 2, 5, 10) if size * by >= rough)
        step = max(step, 1.0) if whole else step
        ticks = [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [
        f'<line class="axis" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{HEIGHT - BOTTOM}" '
        f'y2="{HEIGHT - BOTTOM + 4}"/><text class="tick" text-anchor="{_anchor(x(tick))}" '
        f'x="{x(tick):.1f}" y="{HEIGHT - 8}">{short(tick)}</text>'
        for tick in ticks
    ]


def _anchor(place: float) -> str:
    if place < LEFT + 14:
        return "start"
    return "end" if place > WIDTH - RIGHT - 14 else "middle"


def _limit(limit: float, place: float) -> str:
    side, gap = ("end", -4) if place > WIDTH / 2 else ("start", 4)
    return (
        f'<line class="limit" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" '
        f'y2="{HEIGHT - BOTTOM}"/><text class="tick limit-name" text-anchor="{side}" '
        f'x="{place + gap:.1f}" y="{TOP + 10}">row: {short(limit)}</text>'
    )
