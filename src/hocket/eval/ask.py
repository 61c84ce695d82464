"""Questions go into the engine, as many at a time as it takes, and answers come out in order.

One bad question, such as a damaged picture, does not stop the others: its answer says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hocket._errors import DataError
from hocket.eval.question import Question
from hocket.infer.engine import Engine
from hocket.infer.request import Handle
from hocket.infer.sampling import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a question.

    Attributes:
        text: the answer as the model gave it.
        tokens: of the answer.
        prompt_tokens: of the question, media included.
        finished: whether the model ended the answer itself.
        seconds: from handing the question in to the end of the answer.
        error: why there is no answer; empty where there is one.
    """

    text: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    finished: bool = True
    seconds: float = 0.0
    error: str = ""


def ask(
    engine: Engine, questions: Iterable[Question], sampling: Sampling
) -> Iterator[tuple[Question, Reply]]:
    """Yield each question with its answer, in order.

    Questions are taken while others are answered, so that the engine's rows stay full.

    Raises:
        ConfigError: the model cannot be asked such questions at all.
    """
    window = 2 * engine.options.max_rows
    waiting: deque[tuple[Question, Handle | Reply]] = deque()
    try:
        for question in questions:
            waiting.append((question, _submit(engine, question, sampling)))
            if len(waiting) >= window:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    finally:
        for _, handle in waiting:
            if isinstance(handle, Handle):
                handle.cancel()


def _submit(engine: Engine, question: Question, sampling: Sampling) -> Handle | Reply:
    try:
        return engine.submit(question.conversation, sampling)
    except DataError as error:
        return Reply(error=str(error))


def _first(waiting: deque[tuple[Question, Handle | Reply]]) -> tuple[Question, Reply]:
    question, handle = waiting[0]
    reply = handle if isinstance(handle, Reply) else _reply(handle)
    waiting.popleft()
    return question, reply


def _reply(handle: Handle) -> Reply:
    try:
        done = handle.result()
    except DataError as error:
        return Reply(error=str(error))
    answer = done.answers[0]
    return Reply(
        text=answer.text,
        tokens=len(answer.tokens),
        prompt_tokens=answer.prompt_tokens,
        finished=answer.finished,
        seconds=round(done.timing.done_s, 4),
    )
