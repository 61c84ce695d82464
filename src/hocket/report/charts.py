"""SVG drawings for pages: curves over steps and intervals. Knows numbers only.

Everything is drawn with plain SVG elements, so a page needs no script and no library. Colours are
the page's: a line is a group of class ``c0`` to ``c7``, whose ``--accent`` the page sets.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

SMOOTHING_STEPS = 15
LINE_COLOURS = 8
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 26, 34
_LEAST_LOSS = 1e-4
# A stage's name needs about so many of the drawing's units for each letter.
_LETTER = 7.2
_BIG = ((1e9, "G"), (1e6, "M"), (1e3, "k"))

Place = Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve.

    Attributes:
        name: what it is.
        xs: places from left to right.
        ys: a finite value for each.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the x axis with a name.

    Attributes:
        name: shown above it.
        start: its first place.
        stop: the place behind it.
    """

    name: str
    start: float
    stop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How a drawing looks.

    Attributes:
        label: what is read aloud in its place.
        note: words below the x axis.
        log: whether the y axis is logarithmic; values that are not above 0 are then left out.
        from_zero: whether a linear y axis starts at 0.
        smoothing: points of a running mean that is drawn over each curve, fewer where a curve is
            short; 0 draws the curve alone.
        width: units of the drawing.
        height: units of the drawing.
    """

    label: str
    note: str = ""
    log: bool = False
    from_zero: bool = False
    smoothing: int = 0
    width: int = 860
    height: int = 300


def line_chart(lines: Sequence[Line], bands: Sequence[Band] = (), *, frame: Frame) -> str:
    """Return curves as an SVG; empty without a point.

    Args:
        lines: curves, the first of class ``c0``.
        bands: stretches of the x axis, shaded in turn.
        frame: how it looks.
    """
    kept = [_above_zero(line) for line in lines] if frame.log else lines
    drawn = [(number, line) for number, line in enumerate(kept) if line.xs]
    if not drawn:
        return ""
    scale: Place = math.log10 if frame.log else float
    low, high = _limits([value for _, line in drawn for value in line.ys], frame)
    left, right = _ends(drawn, bands)

    def x(at: float) -> float:
        return _LEFT + (at - left) / (right - left) * (frame.width - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (scale(value) - low) / (high - low)
        return frame.height - _BOTTOM - share * (frame.height - _TOP - _BOTTOM)

    size = f"0 0 {frame.width} {frame.height}"
    parts = [f'<svg viewBox="{size}" role="img" aria-label="{html.escape(frame.label)}">']
    parts += _bands(bands, x, frame)
    parts += _value_axis(low, high, y, frame)
    parts += _step_axis(left, right, x, frame)
    parts += [_curve(number, line, bands, x, y, frame) for number, line in drawn]
    return "".join([*parts, "</svg>"])


def loss_chart(log: Sequence[Mapping[str, Any]]) -> str:
    """Return the loss over all steps as an SVG: raw and smoothed, stages as bands, log scale.

    Args:
        log: one line per optimizer step with ``stage`` and ``loss``.
    """
    bands, start = [], 0
    for stage, lines in groupby(log, key=lambda line: str(line["stage"])):
        stop = start + len(list(lines))
        bands.append(Band(stage, start, stop))
        start = stop
    losses = [max(float(line["loss"]), _LEAST_LOSS) for line in log]
    frame = Frame(
        label="Loss over steps",
        note="optimizer steps; loss per learned token, log scale",
        log=True,
        smoothing=SMOOTHING_STEPS,
    )
    return line_chart([Line(name="loss", xs=range(len(log)), ys=losses)], bands, frame=frame)


def interval_bar(value: float, low: float, high: float) -> str:
    """Return a bar of a share with a whisker of its 95 % interval as a small SVG.

    Args:
        value: from 0 to 1.
        low: lower end of the interval.
        high: upper end of the interval.
    """
    width = 150
    label = f"{value:.1%}, interval {low:.1%} to {high:.1%}"
    value, low, high = (round(width * part, 1) for part in (value, low, high))
    return (
        f'<svg class="bar" viewBox="0 0 {width} 16" role="img" aria-label="{label}">'
        f'<rect class="back" width="{width}" height="10" y="3" rx="2"/>'
        f'<rect class="fill" width="{value}" height="10" y="3" rx="2"/>'
        f'<path class="whisker" d="M{low} 8H{high}M{low} 4V12M{high} 4V12"/></svg>'
    )


def change_bar(value: float, low: float, high: float, *, most: float, label: str) -> str:
    """Return a bar from 0 to a difference with a whisker of its 95 % interval as a small SVG.

    Args:
        value: the difference; the bar is of class ``gain`` above 0 and ``loss`` below.
        low: lower end of the interval.
        high: upper end of the interval.
        most: the largest size of a difference that fits; bars side by side share it.
        label: what is read aloud in its place.
    """
    width = 150
    reach = max(most, 1e-12)

    def x(at: float) -> float:
        return round(width / 2 * (1 + max(-1.0, min(1.0, at / reach))), 1)

    left, right = sorted((x(0), x(value)))
    kind = "gain" if value > 0 else "loss"
    return (
        f'<svg class="bar" viewBox="0 0 {width} 16" role="img" aria-label="{html.escape(label)}">'
        f'<rect class="back" width="{width}" height="10" y="3" rx="2"/>'
        f'<rect class="{kind}" x="{left}" width="{right - left:.1f}" height="10" y="3"/>'
        f'<path class="middle" d="M{x(0)} 1V15"/>'
        f'<path class="whisker" d="M{x(low)} 8H{x(high)}M{x(low)} 4V12M{x(high)} 4V12"/></svg>'
    )


def heat_map(cells: Mapping[tuple[str, str], float], *, across: str, down: str, label: str) -> str:
    """Return shares from 0 to 1 as shaded squares with their percent, as an SVG.

    Args:
        cells: (column, row) -> share; columns and rows are drawn in order of appearance.
        across: what the columns are.
        down: what the rows are.
        label: what is read aloud in its place.
    """
    columns = list(dict.fromkeys(column for column, _ in cells))
    rows = list(dict.fromkeys(row for _, row in cells))
    wide, high, left, top = 64, 30, 64, 26
    size = f"0 0 {left + wide * len(columns)} {top + high * len(rows) + 20}"
    parts = [f'<svg class="heat" viewBox="{size}" role="img" aria-label="{html.escape(label)}">']
    for at, name in enumerate(columns):
        x = left + wide * (at + 0.5)
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x}" y="{top - 8}">{html.escape(name)}'
            "</text>"
        )
    for at, name in enumerate(rows):
        y = top + high * (at + 0.5) + 4
        parts.append(
            f'<text class="tick" text-anchor="end" x="{left - 8}" y="{y}">{html.escape(name)}'
            "</text>"
        )
    for (column, row), share in cells.items():
        x, y = left + wide * columns.index(column), top + high * rows.index(row)
        parts.append(
            f'<rect class="back" x="{x}" y="{y}" width="{wide - 2}" height="{high - 2}"/>'
            f'<rect class="fill" fill-opacity="{share:.2f}" x="{x}" y="{y}" width="{wide - 2}" '
            f'height="{high - 2}"/><text class="cell" text-anchor="middle" '
            f'x="{x + wide / 2 - 1}" y="{y + high / 2 + 3}">{share:.0%}</text>'
        )
    bottom = top + high * len(rows) + 14
    parts.append(
        f'<text class="tick" x="{left}" y="{bottom}">across: {html.escape(across)}; '
        f"down: {html.escape(down)}</text></svg>"
    )
    return "".join(parts)


def short(value: float) -> str:
    """Return a number in few letters: 12k, 1.5M, 0.03, 2e-5."""
    for size, letter in _BIG:
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    if value and abs(value) < 1e-3:
        digits, _, power = f"{value:.2g}".partition("e")
        return f"{digits}e{int(power)}" if power else digits
    return f"{value:.3g}"


def _above_zero(line: Line) -> Line:
    pairs = [pair for pair in zip(line.xs, line.ys, strict=True) if pair[1] > 0]
    return Line(name=line.name, xs=[x for x, _ in pairs], ys=[y for _, y in pairs])


def _limits(values: Sequence[float], frame: Frame) -> tuple[float, float]:
    """Return the ends of the y axis, logarithms if it is logarithmic."""
    if frame.log:
        low, high = math.log10(min(values)), math.log10(max(values))
        return low, max(high, low + 0.1)
    low, high = min(values), max(values)
    low = min(low, 0.0) if frame.from_zero else low
    if high - low < 1e-9 * max(abs(high), 1e-12):
        room = abs(high) * 0.1 or 1.0
        return (low if frame.from_zero else low - room), high + room
    return low, high + 0.04 * (high - low)


def _ends(drawn: Sequence[tuple[int, Line]], bands: Sequence[Band]) -> tuple[float, float]:
    left = min([line.xs[0] for _, line in drawn] + [band.start for band in bands[:1]])
    right = max([line.xs[-1] for _, line in drawn] + [band.stop - 1 for band in bands[-1:]])
    return left, max(right, left + 1)


def _curve(number: int, line: Line, bands: Sequence[Band], x: Place, y: Place, frame: Frame) -> str:
    parts = [f'<g class="c{number % LINE_COLOURS}"><title>{html.escape(line.name)}</title>']
    kind = "raw" if frame.smoothing else "smooth"
    parts.append(f'<polyline class="{kind}" points="{_points(line.xs, line.ys, x, y)}"/>')
    if len(line.xs) == 1:
        at, value = x(line.xs[0]), y(line.ys[0])
        parts.append(f'<circle class="dot" cx="{at:.1f}" cy="{value:.1f}" r="3"/>')
    if frame.smoothing:
        means = _smooth(line, bands, frame.smoothing)
        parts.append(f'<polyline class="smooth" points="{_points(line.xs, means, x, y)}"/>')
    return "".join([*parts, "</g>"])


def _bands(bands: Sequence[Band], x: Place, frame: Frame) -> list[str]:
    parts = []
    inside = frame.width - _RIGHT
    for number, band in enumerate(bands):
        left, right = x(band.start), min(x(band.stop), inside)
        shade = "even" if number % 2 == 0 else "odd"
        parts.append(
            f'<rect class="{shade}" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
            f'height="{frame.height - _TOP - _BOTTOM}"/>'
        )
        if len(bands) > 1 and len(band.name) * _LETTER > right - left:
            # Too narrow for its name, which would run into the next one.
            continue
        parts.append(
            f'<text class="stage" x="{left + 5:.1f}" y="{_TOP - 8}">{html.escape(band.name)}</text>'
        )
    return parts


def _value_axis(low: float, high: float, y: Place, frame: Frame) -> list[str]:
    ticks = _log_ticks(low, high) if frame.log else _even_ticks(low, high, 5)
    edge = frame.width - _RIGHT
    return [
        f'<line class="grid" x1="{_LEFT}" x2="{edge}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y(t) + 4:.1f}">{short(t)}</text>'
        for t in ticks
    ]


def _step_axis(left: float, right: float, x: Place, frame: Frame) -> list[str]:
    most = max(2, (frame.width - _LEFT) // 70)
    ticks = [at for at in _even_ticks(left, right, most) if at == int(at)]
    bottom = frame.height - (14 if frame.note else 12)
    parts = []
    for at in ticks:
        near_end = x(at) > frame.width - _RIGHT - 14
        anchor = "end" if near_end else "middle"
        place = frame.width - _RIGHT if near_end else x(at)
        parts.append(
            f'<text class="tick" text-anchor="{anchor}" x="{place:.1f}" y="{bottom}">'
            f"{short(at) if at >= 1e4 else int(at)}</text>"
        )
    if frame.note:
        parts.append(
            f'<text class="tick" text-anchor="end" x="{frame.width - _RIGHT}" '
            f'y="{frame.height - 1}">{html.escape(frame.note)}</text>'
        )
    return parts


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 of each power of ten between two logarithms, or powers alone if many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    digits: tuple[int, ...] = (1, 2, 5) if high - low <= 2.2 else (1,)
    ticks = [digit * 10.0**power for power in powers for digit in digits if 10.0**power > 0]
    inside = [tick for tick in ticks if low - 1e-9 <= math.log10(tick) <= high + 1e-9]
    if len(inside) >= 3:
        return inside[:: -(-len(inside) // 7)]
    return _even_ticks(10**low, 10**high, 4)


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most about `most` round values between two."""
    rough = max((high - low) / most, 1e-15)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 15) for number in range(first, last + 1)]


def _points(xs: Sequence[float], ys: Sequence[float], x: Place, y: Place) -> str:
    return " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(xs, ys, strict=True))


def _smooth(line: Line, bands: Sequence[Band], window: int) -> list[float]:
    """Return the running mean over the points around each, within its band."""
    half = min(window, len(line.xs) // 3) // 2
    starts = [band.start for band in bands]
    means: list[float] = []
    for _, pairs in groupby(
        zip(line.xs, line.ys, strict=True), key=lambda pair: sum(at <= pair[0] for at in starts)
    ):
        values = [value for _, value in pairs]
        windows = (values[max(0, at - half) : at + half + 1] for at in range(len(values)))
        means += [sum(some) / len(some) for some in windows]
    return means
