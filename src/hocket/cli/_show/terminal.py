"""A sample in the terminal: coloured tokens and their ids beside the spans and the cost.

Learned tokens are bold and underlined as well as green, and stand between ``>>`` and ``<<`` where
the output is no terminal. It knows rich; it must not know how samples are tokenised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from hocket.cli._legible import legible
from hocket.cli._show.sheet import Box, Piece, Sheet
from hocket.tokens.span import Modality

OPEN, CLOSE = ">>", "<<"
_WIDE_COLUMNS = 100

# Neighbours differ in shade, so that the ends of tokens are seen.
_PROMPT = ("black on #d7dee6", "black on #bac6d2")
_LEARNED = ("bold underline black on #a6e3a1", "bold underline black on #7dcf86")
_MEDIA = {
    Modality.IMAGE: "bold white on #7048a8",
    Modality.VIDEO: "bold white on #a8486e",
    Modality.AUDIO: "bold white on #2f6f9f",
}


def print_legend(console: Console) -> None:
    """Say once what the colours mean."""
    if not console.is_terminal:
        console.print(f"{OPEN}learned{CLOSE}  prompt  [medium x rows | span]", markup=False)
        return
    legend = Text()
    legend.append("learned", _LEARNED[0]).append("  ").append("prompt", _PROMPT[0])
    for modality, style in _MEDIA.items():
        legend.append("  ").append(f"[{modality.value}]", style)
    console.print(legend)


def print_sheet(console: Console, sheet: Sheet) -> None:
    """Draw one sample: the tokens left, spans and cost right; below each other if narrow."""
    plain = not console.is_terminal
    tokens = Group(
        _coloured(sheet, lambda piece: _shown(piece, console), plain=plain),
        Rule("token ids", style="dim", align="left", characters="-"),
        _coloured(sheet, _ids, plain=plain),
    )
    title = Text(legible(f"row {sheet.row}  id {sheet.id}"))
    left = Panel(tokens, title=title, title_align="left")
    right = Group(*(_box(box) for box in sheet.boxes), _cost(sheet))
    if console.width < _WIDE_COLUMNS:
        console.print(Group(left, right))
        return
    grid = Table.grid(expand=True)
    grid.add_column(ratio=2)
    grid.add_column(ratio=1)
    grid.add_row(left, right)
    console.print(grid)


def _coloured(sheet: Sheet, words: Callable[[Piece], tuple[str, str]], *, plain: bool) -> Text:
    """Join the pieces' words, each with its piece's style and followed by what separates it."""
    text = Text(overflow="fold")
    before = ""
    learned = False
    for number, piece in enumerate(sheet.pieces):
        if plain and learned and not piece.learned:
            text.append(CLOSE)
        text.append(before)
        if plain and piece.learned and not learned:
            text.append(OPEN)
        learned = piece.learned
        word, before = words(piece)
        text.append(word, _style(piece, number, sheet.boxes))
    if plain and learned:
        text.append(CLOSE)
    return text.append(before)


def _style(piece: Piece, number: int, boxes: tuple[Box, ...]) -> str:
    if piece.span is not None:
        return _MEDIA[boxes[piece.span].span.modality]
    return (_LEARNED if piece.learned else _PROMPT)[number % 2]


def _shown(piece: Piece, console: Console) -> tuple[str, str]:
    """Return a piece's text, line ends made visible, and the line ends it closes with."""
    if piece.span is not None:
        return f"[{piece.text} x {len(piece.ids)} | span {piece.span}]", ""
    mark = "\\n" if console.options.ascii_only else "\u21b5"
    body = piece.text.rstrip("\n")
    ends = len(piece.text) - len(body)
    lines = [legible(line) for line in body.split("\n")]
    return f"{mark}\n".join(lines) + mark * ends, "\n" * ends


def _ids(piece: Piece) -> tuple[str, str]:
    if piece.span is not None:
        return f"{piece.ids[0]} x {len(piece.ids)}", " "
    return " ".join(str(token) for token in piece.ids), " "


def _box(box: Box) -> RenderableType:
    span = box.span
    time, height, width = span.grid
    facts = Table.grid(padding=(0, 1))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("tokens", f"{span.start} to {span.stop - 1}")
    facts.add_row("rows", str(span.rows))
    facts.add_row("grid", f"{time} x {height} x {width} (time, h, w)")
    facts.add_row("units", str(span.units))
    facts.add_row("file", Text(legible(box.medium.where.name)))
    facts.add_row("size", box.size)
    title = Text(f"span {box.number}: {span.modality.value}", _MEDIA[span.modality])
    return Panel(facts, title=title, title_align="left")


def cost_rows(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Yield what a sample costs, as pairs of words."""
    cost = sheet.cost
    yield "tokens", str(cost.tokens)
    yield "learned", f"{cost.targets} ({cost.targets / max(cost.tokens, 1):.0%})"
    yield "patches", str(cost.patches)
    yield "frames", str(cost.frames)


def _cost(sheet: Sheet) -> RenderableType:
    facts = Table.grid(padding=(0, 1))
    facts.add_column(style="dim")
    facts.add_column()
    for name, value in cost_rows(sheet):
        facts.add_row(name, value)
    return Panel(facts, title="cost", title_align="left")
