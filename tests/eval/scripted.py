"""An engine that says what a function tells it to, and checkpoints that nobody opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hocket.chat.conversation import Conversation
from hocket.eval.exam import Origin
from hocket.eval.sweep import Outcome, Plan, run_sweep
from hocket.infer.options import EngineOptions
from hocket.infer.request import Answer, Completion, Handle, Timing, Usage
from hocket.infer.sampling import Sampling

Script = Callable[[Conversation], str]


class _Done:
    """A driver with nothing to do."""

    def wait(self, until: Callable[[], bool], timeout_s: float | None) -> bool:
        return until()

    def cancel(self, handle: Handle) -> None:
        pass


class ScriptedEngine:
    """Answers with a script; what it raises, submitting raises.

    Attributes:
        asked: ids of the conversations that were submitted.
    """

    def __init__(self, script: Script) -> None:
        self.options = EngineOptions(max_rows=2)
        self.asked: list[str] = []
        self._script = script

    def submit(self, question: Conversation, sampling: Sampling) -> Handle:
        self.asked.append(question.id)
        text = self._script(question)
        answer = Answer(text=text, tokens=(1,), finished=True, prompt_tokens=3)
        handle = Handle(len(self.asked), _Done())
        handle._finish(
            Completion(
                answers=(answer,),
                usage=Usage(prompt_tokens=3, answer_tokens=1),
                timing=Timing(0.0, 0.0, 0.1),
            ),
            None,
        )
        return handle


class Told:
    """Keeps what a sweep tells."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int]] = []
        self.steps = 0
        self.ended: list[Outcome] = []

    def model(self, name: str) -> None:
        pass

    def begin(self, what: str, *, total: int, done: int) -> None:
        self.begun.append((what, total, done))

    def advance(self) -> None:
        self.steps += 1

    def end(self, outcome: Outcome) -> None:
        self.ended.append(outcome)


def checkpoint(folder: Path, weights: str = "w", *, step: int = 1) -> str:
    """Write what looks like a checkpoint and return its path."""
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_text(weights)
    (model / "provenance.json").write_text(f'{{"stage": "joint", "step": {step}}}')
    return str(folder)


def twins(out: Path, *names: str) -> tuple[Origin, ...]:
    return tuple(Origin(kind="twin", name=name, place=str(out / "twins" / name)) for name in names)


def sweep(plan: Plan) -> tuple[list[Outcome], Told]:
    told = Told()
    return run_sweep(plan, told), told
