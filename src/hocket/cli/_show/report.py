"""The report of a data set: one page of figures, histograms, findings and rows to look at.

Knows counted data and how a page is drawn; must not know how anything was counted. Everything that
comes from the data is escaped by the template, and the page forbids scripts and connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hocket._errors import DataError, HocketError
from hocket.chat.conversation import Conversation, Text
from hocket.cli._legible import legible
from hocket.cli._show.histogram import draw_histogram
from hocket.cli._show.html import medium_view, sample_view, template
from hocket.cli._show.sheet import lay_out
from hocket.data.audit import MEANINGS, Finding, Kind
from hocket.data.budget import Budget, Cuts
from hocket.data.census.summary import Spread
from hocket.data.census.worst import Pick
from hocket.data.joined import JoinedRows
from hocket.tokens.processor import HocketProcessor

MOST_PIECES = 400
MOST_MEDIA = 12

_MOST_LETTERS = 2000
_LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What stands on the page.

    Attributes:
        title: what the data is called.
        note: which tokenizer measured it.
        rows: the data, to draw rows of.
        processor: what draws them.
        facts: name and value of each count.
        parts: data set -> rows, tokenised rows, tokens.
        columns: what is measured -> its values (N,).
        figures: the same -> its spread.
        budget: what a packed row may cost.
        cuts: what the budget cuts, of the rows that were tried.
        tried: rows over the budget that were tried, and that there are.
        findings: what is wrong.
        typical: rows to show.
        worst: rows to look at, and why.
        broken: place of a row -> what is wrong with it, some of those with findings.
    """

    title: str
    note: str
    rows: JoinedRows
    processor: HocketProcessor
    facts: Sequence[tuple[str, str]]
    parts: Mapping[str, tuple[int, int, int]]
    columns: Mapping[str, Any]
    figures: Mapping[str, Spread]
    budget: Budget
    cuts: Cuts
    tried: tuple[int, int]
    findings: Sequence[Finding]
    typical: Sequence[int]
    worst: Sequence[Pick]
    broken: Mapping[int, Sequence[Finding]]


def render_report(contents: Contents) -> str:
    """Return the page as HTML."""
    counts = Counter(finding.kind for finding in contents.findings)
    figures = contents.figures
    return template("report.html.jinja").render(
        title=contents.title,
        note=contents.note,
        facts=[(name, legible(value)) for name, value in contents.facts],
        parts=contents.parts if len(contents.parts) > 1 else {},
        charts=[_chart(contents, name) for name, one in figures.items() if one.least < one.most],
        alike=[(name, one) for name, one in figures.items() if one.least == one.most],
        budget=contents.budget,
        cuts=contents.cuts.counted(),
        told=contents.cuts.told(),
        tried=contents.tried,
        kinds=[(kind.value, MEANINGS[kind], counts[kind]) for kind in Kind if counts[kind]],
        findings=[_finding(one) for one in contents.findings[:_LISTED]],
        more=max(0, len(contents.findings) - _LISTED),
        typical=[_sample(contents, index) for index in contents.typical],
        worst=[_sample(contents, pick.number) | {"why": pick.why} for pick in contents.worst],
        broken=[_broken(contents, index, found) for index, found in contents.broken.items()],
    )


def _chart(contents: Contents, name: str) -> dict[str, Any]:
    limits = {
        "tokens": contents.budget.tokens,
        "vision patches": contents.budget.patches,
        "audio frames": contents.budget.audio_frames,
    }
    values, one = contents.columns[name], contents.figures[name]
    return {
        "name": name,
        "svg": draw_histogram(values, label=f"Histogram of {name}", limit=limits.get(name) or None),
        "count": one.count,
        "least": one.least,
        "median": one.percentiles["p50"],
        "p95": one.percentiles["p95"],
        "most": one.most,
        "total": one.total,
    }


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "kind": finding.kind.value,
        "row": f"{finding.dataset} row {finding.row}",
        "id": legible(finding.id),
        "reason": legible(" ".join(finding.reason.split())),
    }


def _sample(contents: Contents, index: int) -> dict[str, Any]:
    """Return a row as tokens and media, or why it cannot be drawn."""
    shown = {"id": "", "error": "", "why": "", "row": legible(contents.rows.where(index))}
    try:
        sheet = lay_out(index, contents.rows[index], contents.processor)
    except HocketError as error:
        return shown | {"error": legible(str(error))}
    return sample_view(sheet, contents.processor, most_pieces=MOST_PIECES) | {
        **shown,
        "id": legible(sheet.id),
    }


def _broken(contents: Contents, index: int, found: Sequence[Finding]) -> dict[str, Any]:
    """Return a row as it is written, with whatever of its media can be opened."""
    shown: dict[str, Any] = {
        "row": f"{found[0].dataset} row {found[0].row}",
        "id": legible(found[0].id),
        "reasons": [(one.kind.value, legible(" ".join(one.reason.split()))) for one in found],
        "turns": [],
        "media": [],
    }
    try:
        conversation = contents.rows[index]
    except DataError:
        return shown
    # What hung or crashed a decoder once does so again.
    safe = all(one.kind is not Kind.DECODER for one in found)
    media = list(conversation.media())[:MOST_MEDIA] if safe else []
    return shown | {
        "turns": _turns(conversation),
        "media": [
            medium_view(medium, contents.processor)
            | {
                "kind": type(medium).__name__.lower(),
                "file": legible(medium.where.name),
            }
            for medium in media
        ],
    }


def _turns(conversation: Conversation) -> list[tuple[str, str]]:
    turns = []
    for message in conversation.messages:
        text = "".join(
            part.text if isinstance(part, Text) else f"<{type(part).__name__.lower()}>"
            for part in message.parts
        )
        cut = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} [...]"
        turns.append((message.role.value, legible(cut, keep_lines=True)))
    return turns
