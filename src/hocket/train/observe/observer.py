"""The one that a run tells what happens: it measures steps and hands them to whoever looks.

Files of its own in the run's folder: ``dashboard.html``, ``previews.jsonl``, ``evals.jsonl``,
``monitor.jsonl`` and what ``train.report_to`` names. None of them is needed to go on with the run;
what cannot be written of the page is told once and costs nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from hocket._errors import HocketError
from hocket._log import console, warn
from hocket.checkpoint.manifest import TEMPORARY
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.log import RunLog, read_log
from hocket.train.loop import Measured, Report
from hocket.train.observe.board import Board
from hocket.train.observe.debug import Debugger, DebugSpec
from hocket.train.observe.exams import Exams, examine
from hocket.train.observe.measure import Measure, When
from hocket.train.observe.numbers import numbers_of
from hocket.train.observe.preview import MOST_NEW_TOKENS, Previews, ask
from hocket.train.observe.server import HOST, Server
from hocket.train.observe.shares import answer_in_shares
from hocket.train.observe.sinks import Sink, sinks
from hocket.train.parallel import Sharding
from hocket.train.recipe import Recipe, Stage
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState
from hocket.train.stop import RunStoppedError
from hocket.train.trainable import Trainable

PAGE = "dashboard.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a run is looked at, beside what its recipe says.

    Attributes:
        previews: questions that are asked at each save; None asks none.
        exams: what is asked and scored while training; None for nothing.
        debug: what `--debug` looks at; None for nothing.
        config: the resolved configuration, as YAML.
    """

    previews: Previews | None = None
    exams: Exams | None = None
    debug: DebugSpec | None = None
    config: str = ""


class Observer:
    """A run's hook and probe. Open it as a context; every process does.

    Args:
        out: the run's folder.
        recipe: the run.
        look: what else to look at.
        processor: the model's.
        runtime: this process; only the first one writes.
    """

    def __init__(
        self, out: Path, recipe: Recipe, look: Look, processor: HocketProcessor, runtime: Runtime
    ) -> None:
        self._out, self._recipe, self._look = out, recipe, look
        self._processor, self._runtime = processor, runtime
        self._writes = runtime.is_main
        self._names = list(recipe.stages)
        self._board = Board(out, recipe.stages, look.config)
        self._asked = look.previews if look.previews and look.previews.questions else None
        if recipe.sharding is Sharding.DEEPSPEED:
            self._asked = None
        elif self._asked and recipe.sharding is Sharding.FSDP:
            answer = partial(answer_in_shares, runtime=runtime, most_tokens=MOST_NEW_TOKENS)
            self._asked = replace(self._asked, answer=answer)
        records = recipe.monitor_step > 0 or look.debug is not None
        self._monitor = RunLog(out / "monitor.jsonl", enabled=self._writes and records)
        asks = self._asked is not None
        self._answers = RunLog(out / "previews.jsonl", enabled=self._writes and asks)
        self._exams = None if recipe.sharding is Sharding.DEEPSPEED else look.exams
        self._marks = RunLog(out / "evals.jsonl", enabled=self._writes and look.exams is not None)
        self._sinks: list[Sink] = []
        self._server: Server | None = None
        self._debug: Debugger | None = None
        self._measure: Measure | None = None
        self._done = 0
        self._page_fails = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for log in (self._monitor, self._answers, self._marks):
            self._stack.enter_context(log)
        if self._look.debug is not None:
            self._debug = Debugger(
                self._out, self._look.debug, self._runtime.device, writes=self._writes
            )
        if self._writes:
            # An unknown name, or a package that is not there, is told before anything is loaded.
            for name in self._recipe.report_to:
                sinks.get(name)
            self._serve()
            if self._asked:
                self._board.ask(self._asked.questions)
        if self._debug:
            self._stack.enter_context(self._debug)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._board.state = _ending(error)
        self._write_page()
        self._close_sinks()
        if self._server:
            self._server.close()
        self._stack.__exit__(kind, error, trace)

    def go_on(self, state: TrainState) -> None:
        """Show and count from a state on: the files are cut to the steps before it.

        Raises:
            MissingExtraError: a writer's package is not installed.
            MachineError: a file cannot be written.
        """
        if not self._writes:
            return
        for log in (self._monitor, self._answers, self._marks):
            log.cut_after(self._names, state)
        lines = read_log(self._out / "log.jsonl")
        self._done = len(lines)
        answers, marks = (read_log(self._out / f"{name}.jsonl") for name in ("previews", "evals"))
        self._board.refill(lines, answers, marks)
        self._close_sinks()
        for name in self._recipe.report_to:
            self._sinks.append(sinks.get(name)(self._out, self._done, self._look.config))

    def open_stage(
        self,
        name: str,
        stage: Stage,
        model: HocketForConditionalGeneration,
        optimizer: torch.optim.Optimizer,
        chosen: Sequence[Trainable],
    ) -> None:
        """Look at a stage from now on; every process calls it."""
        self._board.open_stage(name, stage)
        self._measure = Measure(
            model,
            optimizer,
            chosen,
            self._runtime,
            When(
                max_norm=stage.max_norm,
                pad_id=self._processor.tokenizer.pad_token_id,
                log_every=1 if self._debug else self._recipe.log_every,
                monitor_step=1 if self._debug else self._recipe.monitor_step,
                histograms=bool(self._recipe.report_to),
            ),
        )
        if self._debug:
            self._debug.open_stage(model)
        if self._server:
            # The first step forks the workers that read its data.
            self._server.pause()

    def begin(self, state: TrainState) -> None:
        """Look at the state before a step."""
        if self._debug:
            self._debug.begin(state)
        if self._measure:
            self._measure.begin(state)

    def updated(self, grad_norm: float) -> Measured:
        """Measure a step behind the optimizer's."""
        return self._measure.updated(grad_norm) if self._measure else Measured({}, {}, {})

    def __call__(self, state: TrainState, report: Report) -> None:
        """Hand a step on.

        Raises:
            MachineError: the disk is full.
        """
        measure = self._measure
        if self._debug and measure:
            self._debug.end(state, measure.parameters)
        if not self._writes:
            return
        line = {"stage": state.stage, "step": state.step} | asdict(report)
        self._done += 1
        self._board.add(line)
        if self._server:
            self._server.resume()
        if self._sinks:
            numbers = numbers_of(line)
            for sink in self._sinks:
                sink.scalars(self._done, numbers)
        if measure and measure.parameters:
            record = {"memory": report.memory, "parameters": measure.parameters}
            self._monitor.write(state, record)
        if measure and measure.histograms:
            for sink in self._sinks:
                sink.histograms(self._done, measure.histograms)

    @property
    def asks(self) -> bool:
        """Whether a save is followed by questions."""
        return self._asked is not None

    def ask(self, state: TrainState, model: HocketForConditionalGeneration) -> None:
        """Ask the model the previews, and keep what it answers.

        Args:
            state: the run behind a step.
            model: whole, or in shares, where every process calls it.
        """
        if self._asked is None:
            return
        compiled = self._recipe.compile_blocks
        texts = ask(self._asked, model, self._processor, compiled=compiled)
        if texts is None:
            self._asked = None
            return
        questions = self._asked.questions
        answers = {one.id: text for one, text in zip(questions, texts, strict=True)}
        self._answers.write(state, {"answers": answers})
        self._board.answer({"stage": state.stage, "step": state.step, "answers": answers})

    @property
    def examines(self) -> bool:
        """Whether exams are sat."""
        return self._exams is not None

    def examine(self, state: TrainState, model: HocketForConditionalGeneration) -> None:
        """Let the model sit the exams, and keep its marks.

        Args:
            state: the run behind a step.
            model: whole, or in shares, where every process calls it.
        """
        if self._exams is None:
            return
        compiled = self._recipe.compile_blocks
        answer = None
        if self._recipe.sharding is Sharding.FSDP:
            answer = partial(answer_in_shares, runtime=self._runtime)
        marks = examine(self._exams, model, self._processor, compiled=compiled, answer=answer)
        if marks is None:
            self._exams = None
            return
        record = {name: dict(one) for name, one in marks.items()}
        self._marks.write(state, {"marks": record})
        self._board.mark({"stage": state.stage, "step": state.step, "marks": record})
        numbers = {f"eval/{name}": one["value"] for name, one in marks.items()}
        for sink in self._sinks:
            sink.scalars(self._done, {k: v for k, v in numbers.items() if v is not None})

    def saved(self) -> None:
        """Write the page, at each save."""
        self._write_page()

    def _serve(self) -> None:
        port = self._recipe.dashboard
        if not port:
            return
        try:
            self._server = Server(port, lambda: self._board.page(live=True), self._board.sections)
        except (OSError, OverflowError) as error:
            # A run that is queued again, where nobody looks, must not end for this.
            warn(
                f"train.dashboard: {HOST}:{port} cannot be opened ({error}). The run goes on; its "
                f"page is {self._out / PAGE}. Choose another port to see it live."
            )
            return
        console().print(f"dashboard: {self._server.url}", highlight=False)
        self._server.resume()

    def _write_page(self) -> None:
        """Write the page aside and rename it, so that a reader never finds half of it."""
        if not self._writes or self._page_fails or not self._out.is_dir():
            return
        aside = self._out / f"{TEMPORARY}{PAGE}"
        try:
            aside.write_text(self._board.page(live=False), encoding="utf-8")
            aside.replace(self._out / PAGE)
        except OSError as error:
            self._page_fails = True
            # Where nothing can be written, nothing can be removed either.
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            warn(f"{self._out / PAGE} cannot be written ({error.strerror}). The run goes on.")

    def _close_sinks(self) -> None:
        for sink in self._sinks:
            sink.close()
        self._sinks = []


def _ending(error: BaseException | None) -> str:
    """Return in words how a run has ended."""
    if error is None:
        return "finished"
    if isinstance(error, RunStoppedError | KeyboardInterrupt):
        return "stopped"
    return f"failed: {error}" if isinstance(error, HocketError) else "failed"
