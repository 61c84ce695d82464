"""Pages of evaluations: one HTML file that needs nothing else, with CSV and JSON beside it.

A run's page shows every result of a folder: scores with intervals, curves over training steps,
blind ways, groups, and questions to browse. A comparison's page shows differences, and what got
better and worse. Pages have no script: filters are style sheets. Knows results; must not know
models.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from hocket.eval.answers import read_answers
from hocket.eval.browser import Cards, Said, pick
from hocket.eval.compare import Change, Comparison
from hocket.eval.resample import Difference, Figure
from hocket.eval.run import log_files
from hocket.eval.scores import (
    SCORES,
    Scores,
    read_samples,
    read_scores,
    write_whole,
)
from hocket.eval.shown import interval, notes, shown
from hocket.report.charts import Frame, Line, change_bar, heat_map, interval_bar, line_chart
from hocket.report.media import environment

CARDS_PER_EXAM = 12
CHANGES_PER_EXAM = 8
VERDICTS = ("right", "partly", "wrong", "invalid", "unscored")


def collect(out: Path) -> dict[Path, Scores]:
    """Return every finished result below a folder, by its own folder.

    Raises:
        DataError: a file is damaged.
    """
    found = {file.parent: read_scores(file.parent) for file in sorted(out.glob(f"*/*/{SCORES}"))}
    kept = {folder: scores for folder, scores in found.items() if scores is not None}
    order = sorted(kept, key=lambda at: (kept[at].exam, kept[at].run, kept[at].step or 0))
    return {folder: kept[folder] for folder in order}


def write_run(out: Path, *, cards_per_exam: int = CARDS_PER_EXAM) -> Path:
    """Write ``report.html``, ``results.csv`` and ``results.json`` of a folder.

    Args:
        out: folder of results.
        cards_per_exam: questions of each exam to browse.

    Returns:
        The page.

    Raises:
        DataError: a file is damaged.
        MachineError: a file cannot be written.
    """
    results = collect(out)
    every = list(results.values())
    cards = Cards()
    exams: list[dict[str, Any]] = [
        {"number": number, "name": name, "cards": cards.of(origin.origin, chosen), "all": count}
        for number, (name, origin, chosen, count) in enumerate(_browsed(results, cards_per_exam))
    ]
    page = _render(
        "run.html.jinja",
        exams=len(exams),
        title=", ".join(dict.fromkeys(one.model for one in every)),
        rows=[_row(one) for one in every],
        several=len({one.model for one in every}) > 1,
        curves=_curves(every),
        blind=_blind_rows(every),
        details=[_details(one) for one in every],
        browsed=exams,
        without_media=cards.without_media,
        verdicts=_verdicts(card for exam in exams for card in exam["cards"]),
    )
    file = out / "report.html"
    write_whole(file, page)
    write_whole(out / "results.csv", _csv(_table_rows(every)))
    text = TypeAdapter(list[Scores]).dump_json(every, indent=1).decode()
    write_whole(out / "results.json", text + "\n")
    return file


def write_comparison(file: Path, comparisons: Sequence[Comparison]) -> None:
    """Write a comparison's page, with a CSV and a JSON of the same name.

    Raises:
        MachineError: a file cannot be written.
    """
    most = max(
        (max(abs(one.difference.low), abs(one.difference.high)) for one in comparisons), default=0
    )
    cards = Cards()
    exams = [_compared(one, number, most, cards) for number, one in enumerate(comparisons)]
    page = _render(
        "compare.html.jinja",
        exams=len(exams),
        first=comparisons[0].first.model,
        second=comparisons[0].second.model,
        compared=exams,
        without_media=cards.without_media,
    )
    write_whole(file, page)
    write_whole(file.with_suffix(".csv"), _csv([_comparison_row(one) for one in comparisons]))
    text = json.dumps([asdict(one) for one in comparisons], indent=1, default=str)
    write_whole(file.with_suffix(".json"), text + "\n")


def _browsed(
    results: Mapping[Path, Scores], count: int
) -> list[tuple[str, Scores, dict[str, Sequence[Said]], int]]:
    """Return for each exam its name, one of its scores, chosen answers and how many there are."""
    folders: dict[str, list[Path]] = {}
    for folder, scores in results.items():
        folders.setdefault(scores.exam, []).append(folder)
    found = []
    for name, some in folders.items():
        said: dict[str, list[Said]] = {}
        for folder in some:
            scores = results[folder]
            lines, samples = read_answers(log_files(folder)), read_samples(folder)
            for sample in samples.values():
                if sample.id in lines:
                    stat = sample.stats[scores.metrics[0].label]
                    said.setdefault(sample.id, []).append(
                        Said(
                            model=scores.model,
                            line=lines[sample.id],
                            stat=stat,
                            best=scores.metrics[0].best,
                        )
                    )
        found.append((name, results[some[0]], pick(said, count), len(said)))
    return found


def _row(scores: Scores) -> dict[str, Any]:
    first = scores.headline
    return {
        "scores": scores,
        "label": scores.metrics[0].label,
        "score": shown(first.value, percent=scores.percent),
        "interval": interval(first, percent=scores.percent),
        "bar": _bar(first, percent=scores.percent),
        "notes": notes(scores),
    }


def _bar(figure: Figure, *, percent: bool) -> str:
    if not percent or figure.value is None or figure.low is None or figure.high is None:
        return ""
    value, low, high = (min(1.0, max(0.0, end)) for end in (figure.value, figure.low, figure.high))
    return interval_bar(value, low, high)


def _curves(every: Sequence[Scores]) -> list[dict[str, Any]]:
    """Return a drawing per exam whose runs have several checkpoints."""
    points: dict[str, dict[str, dict[int, float]]] = {}
    percents = {}
    for one in every:
        value = one.headline.value
        if one.step is not None and value is not None:
            name = f"{one.run}, {one.stage}" if one.stage else one.run
            scale = 100 if one.percent else 1
            points.setdefault(one.exam, {}).setdefault(name, {})[one.step] = scale * value
            percents[one.exam] = one.percent
    found = []
    for exam, runs in points.items():
        lines = [
            Line(name=name, xs=sorted(values), ys=[values[step] for step in sorted(values)])
            for name, values in runs.items()
            if len(values) > 1
        ]
        if lines:
            unit = "percent" if percents[exam] else "points"
            frame = Frame(label=f"{exam} over training steps", note="optimizer steps of the stage")
            found.append(
                {
                    "exam": exam,
                    "unit": unit,
                    "svg": line_chart(lines, frame=frame),
                    "names": [line.name for line in lines],
                }
            )
    return found


def _blind_rows(every: Sequence[Scores]) -> list[dict[str, Any]]:
    most = max(
        (max(abs(drop.low), abs(drop.high)) for one in every for drop in one.blind.values()),
        default=0.0,
    )
    return [
        {"exam": one.exam, "model": one.model, "way": way}
        | _difference(drop, percent=one.percent, most=most)
        for one in every
        for way, drop in one.blind.items()
    ]


def _difference(found: Difference, *, percent: bool, most: float) -> dict[str, Any]:
    ends = interval(
        Figure(name="", value=found.value, low=found.low, high=found.high), percent=percent
    )
    change = shown(found.value, percent=percent, sign=True)
    return {
        "first": shown(found.first, percent=percent),
        "second": shown(found.second, percent=percent),
        "change": change,
        "interval": ends,
        "bar": change_bar(
            found.value,
            found.low,
            found.high,
            most=most,
            label=f"{change}, interval {ends}",
        ),
        "p": f"{found.p:.3f}",
    }


def _details(scores: Scores) -> dict[str, Any]:
    """Return the groups, all numbers and the heat map of a result."""
    cells = {
        (f"{frames:g} frames", f"{100 * depth:.0f}%"): share
        for frames, depth, share in scores.cells
    }
    drawing = ""
    if cells:
        drawing = heat_map(
            cells,
            across="length of the haystack",
            down="depth of the needle",
            label="Share of needles found by length and depth",
        )
    return {
        "scores": scores,
        "groups": [
            {
                "name": name or "others",
                "score": shown(one.value, percent=scores.percent),
                "interval": interval(one, percent=scores.percent),
                "bar": _bar(one, percent=scores.percent),
            }
            for name, one in scores.groups.items()
        ],
        "figures": [
            (metric.label, one.name, shown(one.value, percent=times), interval(one, percent=times))
            for metric in scores.metrics
            for one in metric.figures
            for times in (metric.percent and one.name not in metric.as_is,)
        ],
        "heat": drawing,
    }


def _verdicts(cards: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the verdicts that some card has."""
    found = {verdict for card in cards for verdict in card["verdicts"]}
    return [verdict for verdict in VERDICTS if verdict in found]


def _compared(one: Comparison, number: int, most: float, cards: Cards) -> dict[str, Any]:
    changes = {
        "better": one.fixed[:CHANGES_PER_EXAM],
        "worse": one.broken[:CHANGES_PER_EXAM],
    }
    return {
        "number": number,
        "name": one.first.exam,
        "title": one.first.title,
        "label": one.first.metrics[0].label,
        "questions": one.questions,
        "corrected": f"{one.corrected:.3f}",
        "mcnemar": one.mcnemar,
        "counts": {"better": len(one.fixed), "worse": len(one.broken)},
        "cards": {
            kind: cards.of(one.first.origin, {change.id: _pair(one, change) for change in some})
            for kind, some in changes.items()
        },
    } | _difference(one.difference, percent=one.first.percent, most=most)


def _pair(one: Comparison, change: Change) -> list[Said]:
    best = one.first.metrics[0].best
    return [
        Said(model=one.first.model, line=change.first, stat=change.first_stat, best=best),
        Said(model=one.second.model, line=change.second, stat=change.second_stat, best=best),
    ]


def _comparison_row(one: Comparison) -> dict[str, Any]:
    found = one.difference
    return {
        "exam": one.first.exam,
        "metric": one.first.metrics[0].label,
        "first_model": one.first.model,
        "second_model": one.second.model,
        "questions": one.questions,
        "first": found.first,
        "second": found.second,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "p_holm": one.corrected,
        "fixed": len(one.fixed),
        "broken": len(one.broken),
        "p_mcnemar": one.mcnemar.p if one.mcnemar else None,
    }


def _table_rows(every: Sequence[Scores]) -> list[dict[str, Any]]:
    return [
        {
            "model": one.model,
            "fingerprint": one.fingerprint,
            "stage": one.stage,
            "step": one.step,
            "exam": one.exam,
            "limit": one.limit,
            "metric": metric.label,
            "figure": figure.name,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "questions": one.questions,
            "errors": one.errors,
            "invalid": one.invalid,
            "unscored": one.unscored,
        }
        for one in every
        for metric in one.metrics
        for figure in metric.figures
    ]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def _render(template: str, *, exams: int, **values: Any) -> str:
    style = (files("hocket.eval") / "page" / "eval.css").read_text("utf-8")
    # One rule per exam and verdict: the page hides cards by itself, without a script.
    for number in range(exams):
        style += (
            f"main:has(#exam-{number}:checked) .exam:not(.exam-{number}) {{ display: none; }}\n"
        )
    for verdict in VERDICTS:
        style += (
            f"main:has(#only-{verdict}:checked) .card:not(.has-{verdict}) {{ display: none; }}\n"
        )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    pages = environment("hocket.eval")
    return pages.get_template(template).render(style=style, style_hash=digest, **values)
