"""The whole job on a laptop: write data, compose, train in stages, evaluate, report.

Everything here is a call of the library that a user would make too; the only things of its own are
the data set and the order of the calls.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hocket.data.mixture import Mixture, open_source
from hocket.data.sources import Source
from hocket.data.spec import DatasetSpec, DataSpec
from hocket.eval.blind import Way, blinded, concerned
from hocket.eval.interval import Share
from hocket.eval.question import Question, questions_of
from hocket.eval.scored import Scored, accuracy_by, evaluate
from hocket.infer.engine import Engine
from hocket.model.build import build
from hocket.model.spec import ModelSpec
from hocket.quickstart.report import pick_examples, write_report
from hocket.quickstart.result import QuickstartResult
from hocket.quickstart.write import Sizes, write_dataset
from hocket.train.log import read_log
from hocket.train.recipe import Recipe
from hocket.train.run import Run

BEFORE_QUESTIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a quickstart does.

    Attributes:
        out: folder of everything it writes.
        model: the composition.
        data: data sets below ``out/data``.
        recipe: the stages.
        seed: seed of the data set.
        fast: write the small data set and ask fewer questions.
        config_yaml: the resolved configuration.
    """

    out: Path
    model: ModelSpec
    data: DataSpec
    recipe: Recipe
    seed: int
    fast: bool
    config_yaml: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """How a caller follows the run.

    Attributes:
        phase: called with a sentence when a phase starts.
        progress: called with (what, done, all) inside a phase.
        train: runs the stages; wraps `hocket.train.run.train` with a display.
    """

    phase: Callable[[str], None]
    progress: Callable[[str, int, int], None]
    train: Callable[[Run, Engine], Path]


def run_quickstart(plan: Plan, callbacks: Callbacks) -> QuickstartResult:
    """Do everything and return what was measured; files stay in ``plan.out``.

    Raises:
        MissingExtraError: the quickstart extra is not installed.
        MachineError: the folder cannot be written.
    """
    watch = _Stopwatch()
    with watch("data"):
        callbacks.phase("writing the data set: scanned digits, spoken words, short videos")
        _write_data(plan, callbacks)
        heldout = _heldout(plan.data)
    with watch("compose"):
        callbacks.phase("composing the model from its parts, with random weights")
        texts = Mixture(_open_all(plan.data.datasets), seed=plan.seed).texts()
        model, processor = build(plan.model, texts)
        engine = Engine(model.eval(), processor)
    with watch("evaluate before"):
        callbacks.phase("asking the untrained model held-out questions")
        before = evaluate(
            engine,
            _thin(heldout, BEFORE_QUESTIONS),
            progress=lambda done, every: callbacks.progress("questions", done, every),
        )
    with watch("train"):
        callbacks.phase("training in stages")
        run = Run(recipe=plan.recipe, data=plan.data, out=plan.out, config_yaml=plan.config_yaml)
        finished = callbacks.train(run, engine)
    with watch("evaluate after"):
        callbacks.phase("asking the trained model, with and without pictures and sounds")
        # From the disk, as any user would open it.
        engine = Engine.load(finished)
        after = evaluate(
            engine,
            heldout,
            progress=lambda done, every: callbacks.progress("questions", done, every),
        )
        removed, swapped = _blind(engine, heldout, seed=plan.seed)
    result = QuickstartResult(
        seed=plan.seed,
        fast=plan.fast,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        before=_by_modality(before),
        after=_by_modality(after),
        tasks=accuracy_by(after, lambda question: question.task),
        removed=_by_modality(removed),
        swapped=_by_modality(swapped),
        examples=pick_examples(after),
        seconds=watch.seconds,
        peak_memory_bytes=_peak_memory_bytes(),
    )
    write_report(
        plan.out / "report.html",
        result,
        read_log(plan.out / "log.jsonl"),
        config_yaml=plan.config_yaml,
    )
    figures = json.dumps(result.figures(), indent=1)
    (plan.out / "result.json").write_text(figures, encoding="utf-8")
    return result


def _write_data(plan: Plan, callbacks: Callbacks) -> None:
    """Write the data set, unless a run that goes on has written it before."""
    sizes = Sizes.fast() if plan.fast else Sizes.full()
    root = plan.out / "data"
    # The set is renamed into place when it is whole, so this file means all of it.
    if not (root / "data.yaml").exists():
        write_dataset(root, seed=plan.seed, sizes=sizes, progress=callbacks.progress)


class _Stopwatch:
    """Wall seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - started


def _open_all(datasets: dict[str, DatasetSpec]) -> dict[str, tuple[Source, float]]:
    return {name: (open_source(name, spec), 1.0) for name, spec in datasets.items()}


def _heldout(data: DataSpec) -> list[Question]:
    conversations = (
        source[index]
        for source, _ in _open_all(data.heldout).values()
        for index in range(len(source))
    )
    return list(questions_of(conversations))


def _thin(questions: list[Question], count: int) -> list[Question]:
    """Take every n-th question, so that all tasks stay represented."""
    return questions[:: max(1, len(questions) // count)]


def _blind(
    engine: Engine, questions: list[Question], *, seed: int
) -> tuple[list[Scored], list[Scored]]:
    """Ask a share of the questions that have media without them, and with others' media."""
    with_media = [question for question in questions if question.modality != "text"]
    some = _thin(with_media, BEFORE_QUESTIONS)

    def without(way: Way) -> list[Scored]:
        chosen = concerned(some, way, seed=seed)
        return evaluate(engine, [blinded(question, way) for question in chosen])

    return without("removed"), without("swapped")


def _by_modality(scored: list[Scored]) -> dict[str, Share]:
    return accuracy_by(scored, lambda question: question.modality)


def _peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
