"""What the page of a run shows: its numbers as drawings, its previews, its samples left out.

Everything comes from the files of the run's folder and from the steps since, so a resumed run shows
the whole of it. The page is drawn when somebody asks for it, not by the step.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from hocket._errors import HocketError
from hocket.report.charts import SMOOTHING_STEPS, Band, Frame, Line, line_chart, short
from hocket.report.media import environment, turn_view
from hocket.train.observe.numbers import numbers_of
from hocket.train.observe.preview import Question
from hocket.train.observe.tracks import Track
from hocket.train.recipe import Stage

SHOWN_BAD = 8
SHOWN_ANSWERS = 6
PANEL_WIDTH, PANEL_HEIGHT = 420, 240


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing of the page.

    Attributes:
        title: what it shows.
        unit: of its y axis.
        names: numbers whose name begins so, or is it; what follows is the line's name.
        log: whether the y axis is logarithmic.
        from_zero: whether it starts at 0.
        smoothing: points of the running mean; 0 draws the numbers alone.
        named: names of lines where what follows does not tell.
    """

    title: str
    unit: str
    names: tuple[str, ...]
    log: bool = False
    from_zero: bool = False
    smoothing: int = 0
    named: tuple[tuple[str, str], ...] = ()


GROUPS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Loss",
        (
            Panel("All", "per learned token, log scale", ("loss",), log=True, smoothing=15),
            Panel("By data set", "log scale", ("loss/source/",), log=True, smoothing=15),
            Panel("By kind of sample", "log scale", ("loss/medium/",), log=True, smoothing=15),
            Panel("By head", "log scale", ("loss/head/",), log=True, smoothing=15),
            Panel("Accuracy of heads", "share of labels", ("accuracy/",), smoothing=15),
            Panel("Rewards of preferences", "", ("rewards/",), smoothing=15),
        ),
    ),
    ("Exams", (Panel("Scores", "headline number of each exam", ("eval/",)),)),
    (
        "Learning",
        (
            Panel("Learning rate", "by group", ("lr/",), from_zero=True),
            Panel(
                "Gradient norm",
                "before clipping, log scale",
                ("grad_norm",),
                log=True,
                smoothing=15,
                named=(("grad_norm", "all"),),
            ),
            Panel("Gradient norm by part", "log scale", ("norm/gradient/",), log=True),
            Panel("Update norm by part", "of one step, log scale", ("norm/update/",), log=True),
            Panel("Weight norm by part", "trained weights", ("norm/weight/",), log=True),
            Panel(
                "Embedding norm",
                "mean row given to the language model",
                ("norm/embedding/",),
                from_zero=True,
            ),
        ),
    ),
    (
        "Speed and memory",
        (
            Panel(
                "Time of a step",
                "seconds",
                ("time/data_seconds", "time/compute_seconds"),
                from_zero=True,
                named=(
                    ("time/data_seconds", "waiting for data"),
                    ("time/compute_seconds", "computing"),
                ),
            ),
            Panel(
                "Throughput",
                "tokens per second, all processes",
                ("time/tokens_per_second",),
                from_zero=True,
                smoothing=15,
                named=(("time/tokens_per_second", "tokens/s"),),
            ),
            Panel(
                "Memory",
                "GiB, first process",
                ("memory/",),
                from_zero=True,
                named=(
                    ("memory/process_gib", "process"),
                    ("memory/device_gib", "GPU, allocated"),
                    ("memory/device_peak_gib", "GPU, most so far"),
                ),
            ),
            Panel("How full rows are", "share of each limit", ("fill/",), from_zero=True),
            Panel(
                "Samples left out",
                "since the stage began",
                ("dropped",),
                from_zero=True,
                named=(("dropped", "left out"),),
            ),
        ),
    ),
)


class Board:
    """The state of the page.

    Args:
        out: the run's folder.
        stages: every stage of the run, in order.
        config: the resolved configuration.
    """

    def __init__(self, out: Path, stages: Mapping[str, Stage], config: str) -> None:
        self._out, self._config = out, config
        self._stages = dict(stages)
        self._questions: Sequence[Question] = ()
        self._turns: list[dict[str, Any]] = []
        self.state = "starting"
        # A reader in another thread must not see half a step.
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._bands: list[Band] = []
        self._last: dict[str, Any] = {}
        self._answers: list[dict[str, Any]] = []
        self._steps = self._tokens = 0
        self._seconds = 0.0

    def refill(
        self,
        lines: Sequence[Mapping[str, Any]],
        answers: Sequence[dict[str, Any]],
        marks: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Start anew from the lines of the log, of the previews and of the exams."""
        known = {(one["stage"], one["step"]): one for one in marks}
        with self._lock:
            self._clear()
            self._answers = list(answers)
            for line in lines:
                self._take(line)
                if mark := known.get((line["stage"], line["step"])):
                    self._take_marks(mark)

    def add(self, line: Mapping[str, Any]) -> None:
        """Take in a step."""
        with self._lock:
            self.state = "running"
            self._take(line)

    def open_stage(self, name: str, stage: Stage) -> None:
        """Take over the steps of a stage, which may have been counted from its epochs."""
        with self._lock:
            self._stages[name] = stage

    def ask(self, questions: Sequence[Question]) -> None:
        """Show these questions; media that cannot be read are named instead."""
        self._questions = questions
        self._turns = [_question_view(one) for one in questions]

    def answer(self, record: dict[str, Any]) -> None:
        """Take in a record of answers, as `previews.jsonl` holds them."""
        with self._lock:
            self._answers.append(record)

    def mark(self, record: Mapping[str, Any]) -> None:
        """Take in the marks of exams, as `evals.jsonl` holds them."""
        with self._lock:
            self._take_marks(record)

    def _take_marks(self, record: Mapping[str, Any]) -> None:
        for name, one in record["marks"].items():
            if one["value"] is not None:
                self._tracks.setdefault(f"eval/{name}", Track()).add(self._steps, one["value"])

    def page(self, *, live: bool) -> str:
        """Return the page: live, to ask for news, or whole, to be kept."""
        template = _template("dashboard.html.jinja")
        style = (files("hocket.train.observe") / "page" / "dashboard.css").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
        return template.render(
            name=self._out.resolve().name,
            live=live,
            style=style,
            style_hash=digest,
            sections=self.sections(),
        )

    def sections(self) -> dict[str, str]:
        """Return the parts of the page that change, as HTML by their ids."""
        draw = vars(_template("sections.html.jinja").module)
        with self._lock:
            # Copied here, drawn later: a step must not wait for drawings.
            bands = tuple(self._bands)
            lines = {panel: list(self._lines(panel)) for _, panels in GROUPS for panel in panels}
            shown: dict[str, Any] = {"summary": self._summary(), "previews": self._previews()}
        shown["charts"] = [
            (title, [one for panel in panels if (one := _figure(panel, lines[panel], bands))])
            for title, panels in GROUPS
        ]
        shown["bad"] = self._bad()
        shown["config"] = self._config
        return {name: str(draw[name](value)).strip() for name, value in shown.items()}

    def _take(self, line: Mapping[str, Any]) -> None:
        self._steps += 1
        stage = str(line["stage"])
        if not self._bands or self._bands[-1].name != stage:
            self._bands.append(Band(stage, self._steps, self._steps + 1))
        else:
            self._bands[-1] = Band(stage, self._bands[-1].start, self._steps + 1)
        for name, value in numbers_of(line).items():
            self._tracks.setdefault(name, Track()).add(self._steps, value)
        self._tokens += int(line["tokens"])
        self._seconds += float(line["step_seconds"])
        self._last = {"stage": stage, "step": line["step"]}

    def _summary(self) -> dict[str, Any]:
        stage, step = self._last.get("stage", ""), int(self._last.get("step", 0))
        total = sum(one.steps for one in self._stages.values())
        rate = self._recent("time/tokens_per_second")
        each = self._recent("time/data_seconds") + self._recent("time/compute_seconds")
        points = min(SMOOTHING_STEPS, len(self._tracks["loss"].ys)) if self._steps else 0
        tiles = [
            ("loss", f"{self._recent('loss'):.3f}", f"mean of {points} points"),
            ("speed", f"{short(rate)}", "tokens per second"),
            ("step time", f"{each:.2f} s" if each < 10 else f"{each:.0f} s", self._waiting(each)),
            ("trained for", _clock(self._seconds), f"{short(self._tokens)} tokens"),
        ]
        if total > self._steps and self.state in ("running", "starting"):
            tiles.append(("left", _clock((total - self._steps) * each), "at this speed"))
        return {
            "state": self.state,
            "stage": stage,
            "step": step,
            "steps": self._stages[stage].steps if stage in self._stages else step,
            "number": list(self._stages).index(stage) + 1 if stage in self._stages else 0,
            "stages": len(self._stages),
            "done": self._steps,
            "total": max(total, self._steps),
            "tiles": tiles if self._steps else [],
            "written": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        }

    def _waiting(self, each: float) -> str:
        share = self._recent("time/data_seconds") / each if each else 0.0
        return f"{share:.0%} waiting for data"

    def _recent(self, name: str) -> float:
        track = self._tracks.get(name)
        some = track.ys[-SMOOTHING_STEPS:] if track else []
        return sum(some) / len(some) if some else 0.0

    def _lines(self, panel: Panel) -> Iterator[tuple[Line, float]]:
        named = dict(panel.named)
        for start in panel.names:
            for key in sorted(self._tracks):
                if key == start or (start.endswith("/") and key.startswith(start)):
                    track = self._tracks[key]
                    name = named.get(key, key.removeprefix(start) or key)
                    shown = Line(name=name, xs=tuple(track.xs), ys=tuple(track.ys))
                    yield shown, track.last

    def _previews(self) -> list[dict[str, Any]]:
        """Return each question with its answers, the newest first."""
        cards = []
        for question, view in zip(self._questions, self._turns, strict=True):
            target = _plain(question.target)
            told = [
                {
                    "stage": one["stage"],
                    "step": one["step"],
                    "text": one["answers"][question.id],
                    "right": bool(target) and _plain(one["answers"][question.id]) == target,
                }
                for one in reversed(self._answers)
                if question.id in one["answers"]
            ]
            cards.append(
                view
                | {
                    "recent": told[:SHOWN_ANSWERS],
                    "older": told[SHOWN_ANSWERS:],
                    "count": len(told),
                }
            )
        return cards

    def _bad(self) -> dict[str, Any]:
        """Return the last samples and batches that were left out, and how many there are."""
        samples = _json_lines(self._out / "bad_samples.jsonl")
        batches = _json_lines(self._out / "bad_batches.jsonl")
        return {
            "count": len(samples),
            "samples": samples[-SHOWN_BAD:][::-1],
            "batches": batches[-SHOWN_BAD:][::-1],
            "batch_count": len(batches),
        }


@functools.cache
def _template(name: str) -> jinja2.Template:
    return environment("hocket.train.observe").get_template(name)


def _figure(
    panel: Panel, found: Sequence[tuple[Line, float]], bands: Sequence[Band]
) -> dict[str, Any] | None:
    """Return a drawing with its title and legend; None if there is nothing to draw."""
    frame = Frame(
        label=f"{panel.title} over optimizer steps",
        note="optimizer steps",
        log=panel.log,
        from_zero=panel.from_zero,
        smoothing=panel.smoothing,
        width=PANEL_WIDTH,
        height=PANEL_HEIGHT,
    )
    drawing = line_chart([line for line, _ in found], bands, frame=frame)
    if not drawing:
        return None
    legend = [(line.name, short(last)) for line, last in found]
    return {"title": panel.title, "unit": panel.unit, "svg": drawing, "legend": legend}


def _question_view(question: Question) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    remark = ""
    try:
        turns = [turn_view(message) for message in question.conversation.messages]
    except HocketError as error:
        remark = str(error)
    return {"id": question.id, "turns": turns, "remark": remark, "target": question.target}


def _plain(text: str) -> str:
    return text.strip(" \t\n.").lower()


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file that may be growing."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return []
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def _clock(seconds: float) -> str:
    """Return ``2 d 3 h``, ``3 h 04 min``, ``4 min 05 s`` or ``5 s``."""
    whole = round(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"
