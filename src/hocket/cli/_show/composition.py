"""A composition drawn as one SVG: media on the left, towers and connectors, the language model.

Knows names and numbers only; `hocket model build --svg FILE` writes it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

BOX_WIDTH = 210
BOX_HEIGHT = 58
GAP = 46
ROW = 92
MARGIN = 24

_STYLE = (
    "svg{font-family:system-ui,sans-serif;background:#fcfbf7}"
    ".box{fill:#fff;stroke:#1f6f8b;stroke-width:1.4}.text{fill:#1c2630;font-size:14px;"
    "font-weight:600}.small{fill:#5d6975;font-size:12px}.line{stroke:#1f6f8b;stroke-width:1.4;"
    "fill:none}.medium{fill:#f1eee4;stroke:#b9b3a0}"
    "@media (prefers-color-scheme:dark){svg{background:#14181c}.box{fill:#1d242b}"
    ".text{fill:#e8ecef}.small{fill:#a4b0ba}.medium{fill:#262a2c;stroke:#555}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One box.

    Attributes:
        name: what the part is called.
        detail: one line below it.
    """

    name: str
    detail: str


def draw_composition(lanes: Sequence[Sequence[Stage]], language: Stage) -> str:
    """Return the SVG of lanes that run from a medium through its parts into the language model.

    Args:
        lanes: per medium its boxes from left to right; the first is the medium itself.
        language: the box they all end in.
    """
    columns = max((len(lane) for lane in lanes), default=1)
    right = MARGIN + columns * (BOX_WIDTH + GAP)
    height = 2 * MARGIN + max(len(lanes), 1) * ROW - (ROW - BOX_HEIGHT)
    middle = height / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + BOX_WIDTH + MARGIN} '
        f'{height}" role="img" aria-label="Composition of the model"><style>{_STYLE}</style>'
    ]
    for number, lane in enumerate(lanes):
        top = MARGIN + number * ROW
        for column, stage in enumerate(lane):
            left = MARGIN + column * (BOX_WIDTH + GAP)
            parts.append(_box(left, top, stage, medium=column == 0))
            last = column == len(lane) - 1
            target = right if last else left + BOX_WIDTH + GAP
            end = middle if last else top + BOX_HEIGHT / 2
            parts.append(_arrow(left + BOX_WIDTH, top + BOX_HEIGHT / 2, target, end))
    parts.append(_box(right, middle - BOX_HEIGHT / 2, language, medium=False))
    return "".join([*parts, "</svg>\n"])


def _box(left: float, top: float, stage: Stage, *, medium: bool) -> str:
    kind = "box medium" if medium else "box"
    return (
        f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="8"/><text class="text" x="{left + 14:g}" y="{top + 25:g}">{_short(stage.name, 24)}'
        f'</text><text class="small" x="{left + 14:g}" y="{top + 44:g}">{_short(stage.detail, 31)}'
        "</text>"
    )


def _arrow(left: float, top: float, right: float, bottom: float) -> str:
    bend = (left + right) / 2
    return (
        f'<path class="line" d="M{left:g} {top:g}C{bend:g} {top:g} {bend:g} {bottom:g} '
        f"{right - 6:g} {bottom:g}M{right - 13:g} {bottom - 5:g}L{right - 6:g} {bottom:g}L"
        f'{right - 13:g} {bottom + 5:g}"/>'
    )


def _short(text: str, letters: int) -> str:
    cut = text if len(text) <= letters else text[: letters - 3] + "..."
    return html.escape(cut)
