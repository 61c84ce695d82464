"""Small SVG drawings for the report: loss curves and intervals. Knows numbers only.

Everything is drawn with plain SVG elements, so the page needs no script and no library.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from hocket.eval.interval import Share

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 34
SMOOTHING_STEPS = 15


def loss_chart(log: Sequence[Mapping[str, Any]]) -> str:
    """Return the loss over all steps as an SVG: raw and smoothed, stages as bands, log scale."""
    if not log:
        return ""
    losses = [max(float(line["loss"]), 1e-4) for line in log]
    low, high = math.log10(min(losses)), math.log10(max(losses))
    high = max(high, low + 0.1)
    across = (WIDTH - LEFT - RIGHT) / max(len(losses) - 1, 1)

    def x(at: float) -> float:
        return LEFT + at * across

    def y(loss: float) -> float:
        share = (math.log10(loss) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Loss over steps">']
    parts += _bands(log, x)
    parts += _loss_axis(low, high, y)
    parts += _step_axis(len(losses), x)
    parts.append(f'<polyline class="raw" points="{_points(losses, x, y)}"/>')
    parts.append(f'<polyline class="smooth" points="{_points(_smooth(log, losses), x, y)}"/>')
    return "".join([*parts, "</svg>"])


def interval_bar(share: Share) -> str:
    """Return a bar of the value with a whisker of its 95 % interval as a small SVG."""
    width = 150
    value, low, high = (round(width * part, 1) for part in (share.value, share.low, share.high))
    label = f"{share.value:.1%}, interval {share.low:.1%} to {share.high:.1%}"
    return (
        f'<svg class="bar" viewBox="0 0 {width} 16" role="img" aria-label="{label}">'
        f'<rect class="back" width="{width}" height="10" y="3" rx="2"/>'
        f'<rect class="fill" width="{value}" height="10" y="3" rx="2"/>'
        f'<path class="whisker" d="M{low} 8H{high}M{low} 4V12M{high} 4V12"/></svg>'
    )


def _bands(log: Sequence[Mapping[str, Any]], x: Any) -> list[str]:
    parts, start = [], 0
    for number, (stage, lines) in enumerate(groupby(log, key=lambda line: str(line["stage"]))):
        stop = start + len(list(lines))
        left, right = x(start), x(min(stop, len(log) - 1))
        shade = "even" if number % 2 == 0 else "odd"
        parts.append(
            f'<rect class="{shade}" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/>'
            f'<text class="stage" x="{left + 5:.1f}" y="{TOP - 8}">{html.escape(stage)}</text>'
        )
        start = stop
    return parts


def _loss_axis(low: float, high: float, y: Any) -> list[str]:
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for digit in (1, 2, 5)
        if low <= math.log10(digit * 10.0**power) <= high
    ]
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y(t) + 4:.1f}">{t:g}</text>'
        for t in ticks
    ]


def _step_axis(steps: int, x: Any) -> list[str]:
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if steps / size <= 9)
    return [
        f'<text class="tick" text-anchor="middle" x="{x(at):.1f}" y="{HEIGHT - 14}">{at}</text>'
        for at in range(0, steps, every)
    ] + [
        f'<text class="tick" text-anchor="end" x="{WIDTH - RIGHT}" y="{HEIGHT - 1}">'
        "optimizer steps; loss per learned token, log scale</text>"
    ]


def _points(values: Sequence[float], x: Any, y: Any) -> str:
    return " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(values))


def _smooth(log: Sequence[Mapping[str, Any]], values: Sequence[float]) -> list[float]:
    """Return the running mean over the steps around each, within its stage."""
    half = SMOOTHING_STEPS // 2
    means, start = [], 0
    for _, lines in groupby(log, key=lambda line: str(line["stage"])):
        stage = values[start : start + len(list(lines))]
        start += len(stage)
        windows = (stage[max(0, at - half) : at + half + 1] for at in range(len(stage)))
        means += [sum(window) / len(window) for window in windows]
    return means
