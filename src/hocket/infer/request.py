"""What goes into the engine and comes out of it: requests, pieces, answers and their counts.

A request is one conversation with one `Sampling`. It may ask for several answers (``n``), which are
called its choices and share the prompt. Nothing here computes; the scheduler fills it in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Protocol

from hocket._errors import DataError, HocketError
from hocket.infer.thinking import split_thought
from hocket.infer.tools import ToolCall, split_tool_calls
from hocket.tokens.span import Modality


class FinishReason(StrEnum):
    """Why an answer ended; the first two have OpenAI's names."""

    STOP = "stop"  # the model ended it, or a stop text came
    LENGTH = "length"  # `max_new_tokens` or the model's context is used up
    CANCELLED = "cancelled"  # somebody called `Handle.cancel`


class PromptTooLongError(DataError):
    """A prompt leaves no room for an answer.

    Attributes:
        tokens: positions that the prompt takes, or those that were counted until it was too long.
        limit: positions that the model, or the memory for keys and values, has.
    """

    def __init__(
        self, source: str, *, tokens: int, limit: int, what: str, counted: bool = True
    ) -> None:
        found = f"{tokens}" if counted else f"more than {tokens}"
        super().__init__(
            f"{source}: the prompt has {found} tokens, but {what} holds {limit}, answer included. "
            "Shorten the conversation or send fewer or smaller media."
        )
        self.tokens = tokens
        self.limit = limit


class CancelledError(HocketError):
    """A result was asked of a request that somebody cancelled."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with its share of the model's own distribution.

    Attributes:
        token: its id.
        text: what it stands for alone; a part of a character reads as U+FFFD.
        bytes: its UTF-8 bytes, which may be a part of a character.
        logprob: natural logarithm of its probability before temperature and any filter.
    """

    token: int
    text: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """The scores of one step.

    Attributes:
        score: of the token that was taken.
        top: of the most likely tokens, most likely first; as many as `Sampling.top_logprobs`.
    """

    score: TokenScore
    top: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step added to one choice.

    Attributes:
        choice: which of the ``n`` answers it belongs to.
        text: what no later token can take back; empty while a character or a possible stop text
            is not complete.
        token: id of the new token.
        chosen: its scores, where `Sampling.logprobs` asks for them.
        reason: why the answer ended with this piece; None while it goes on.
    """

    choice: int
    text: str
    token: int
    chosen: Chosen | None = None
    reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said.

    Attributes:
        text: the answer.
        tokens: its token ids, the end token left out.
        finished: whether the model ended it; False when it was cut at a limit or cancelled.
        prompt_tokens: tokens of the prompt, media included.
        reason: why it ended.
        scores: one entry per generated token, end token included; empty unless
            `Sampling.logprobs` asks for them.
    """

    text: str
    tokens: tuple[int, ...]
    finished: bool
    prompt_tokens: int
    reason: FinishReason = FinishReason.STOP
    scores: tuple[Chosen, ...] = ()

    @property
    def thought(self) -> str:
        """What the model thought aloud, tags included; empty where it did not finish a thought."""
        return split_thought(self.text)[0]

    @property
    def response(self) -> str:
        """The answer without the thought, as Ovis 2.5's ``chat`` returns it."""
        return split_thought(self.text)[1]

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the answer, without its thought, calls."""
        return split_tool_calls(self.response)[1]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request took.

    Attributes:
        prompt_tokens: tokens of the prompt, media included.
        answer_tokens: tokens that were generated, end tokens included, over all choices.
        media_tokens: how many of the prompt's tokens stand for pictures, videos and sounds.
        cached_tokens: how many of the prompt's tokens an earlier request had left ready.
    """

    prompt_tokens: int
    answer_tokens: int
    media_tokens: Mapping[Modality, int] = field(default_factory=dict)
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a request went, in seconds since it was submitted.

    Attributes:
        started_s: when its prompt was begun.
        first_token_s: when the first token was there.
        done_s: when the last choice ended.
    """

    started_s: float
    first_token_s: float
    done_s: float


@dataclass(frozen=True, slots=True)
class Completion:
    """Everything that came of a request.

    Attributes:
        answers: one per choice, in order.
        usage: what it took.
        timing: how long.
    """

    answers: tuple[Answer, ...]
    usage: Usage
    timing: Timing


class Driver(Protocol):
    """What a handle needs of the scheduler."""

    def wait(self, until: Callable[[], bool], timeout_s: float | None) -> bool:
        """Work or sleep until the condition holds; say whether it does."""
        ...

    def cancel(self, handle: Handle) -> None:
        """Take a request out."""
        ...


class Handle:
    """A submitted request: iterate over it for pieces, or ask for the result.

    All methods may be called from any thread. One thread at a time should iterate.

    Attributes:
        id: number of the request in its engine.
    """

    def __init__(self, number: int, driver: Driver) -> None:
        self.id = number
        self._driver = driver
        self._pieces: deque[Piece] = deque()
        self._completion: Completion | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Handle], None]] = []
        self._calling = Lock()

    @property
    def done(self) -> bool:
        """Whether it has a result, failed or was cancelled."""
        return self._completion is not None or self._error is not None

    @property
    def error(self) -> BaseException | None:
        """Why it failed; None while it has not. A cancelled request has a `CancelledError`."""
        return self._error

    @property
    def completion(self) -> Completion | None:
        """Its result if it is there; a cancelled request has what it had said until then."""
        return self._completion

    def cancel(self) -> None:
        """Take it out; its slot is free within one step. Of no effect when it is done."""
        self._driver.cancel(self)

    def result(self, timeout_s: float | None = None) -> Completion:
        """Wait for the result.

        Args:
            timeout_s: seconds to wait at most; None for ever.

        Raises:
            TimeoutError: it is not done in time; it goes on all the same.
            CancelledError: somebody cancelled it.
            HocketError: whatever else it failed with.
        """
        if not self._driver.wait(lambda: self.done, timeout_s):
            raise TimeoutError(f"request {self.id} is not done after {timeout_s} s.")
        if self._error is not None:
            raise self._error
        assert self._completion is not None
        return self._completion

    def __iter__(self) -> Iterator[Piece]:
        """Yield a piece for every token of every choice, until all have ended.

        Raises:
            CancelledError: somebody cancelled it.
            HocketError: whatever else it failed with.
        """
        while True:
            self._driver.wait(lambda: bool(self._pieces) or self.done, None)
            while self._pieces:
                yield self._pieces.popleft()
            if self.done and not self._pieces:
                if self._error is not None:
                    raise self._error
                return

    def add_done_callback(self, call: Callable[[Handle], None]) -> None:
        """Call this with the handle once it is done, in the scheduler's thread; now if it is.

        The callback must be quick and must not raise: it holds up every other request.
        """
        with self._calling:
            self._callbacks.append(call)
        if self.done:
            self._call_back()

    def _call_back(self) -> None:
        with self._calling:
            calls, self._callbacks = self._callbacks, []
        for call in calls:
            call(self)

    def _add(self, piece: Piece) -> None:
        self._pieces.append(piece)

    def _finish(self, completion: Completion | None, error: BaseException | None) -> None:
        self._completion, self._error = completion, error
        self._call_back()
