"""What every endpoint works with: models, limits, places for requests, and running answers.

The engine works in threads and the endpoints on an event loop; this is where the two meet. Knows
engines and asyncio; must not know shapes of requests or answers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from hocket._errors import HocketError
from hocket.chat.conversation import Conversation
from hocket.infer.request import Completion, Handle, Piece
from hocket.infer.sampling import Sampling
from hocket.infer.thinking import in_thought
from hocket.serve.decode import Decoder
from hocket.serve.errors import ApiError, api_error
from hocket.serve.limits import Admission, ServeLimits
from hocket.serve.media import MediaReader
from hocket.serve.metrics import Metrics
from hocket.serve.models import Catalogue, Variant
from hocket.tokens.text import is_cut_off

_logger = logging.getLogger("hocket.serve")
_KEEP_ALIVE_SECONDS = 15.0
Made = TypeVar("Made")
Question = Callable[[Decoder], Conversation | str]
"""Makes the question of a request, in a thread, with the decoder of that thread."""


class GoneError(Exception):
    """The client went away."""


class Running:
    """A request that the engine answers.

    Args:
        variant: the model.
        service: where it runs.
        key: name of the client's key.

    Attributes:
        in_thought: whether the answer begins inside of a thought; known once it is asked for.
        refused: whether the question was wrong, so that nothing was asked.
    """

    def __init__(self, variant: Variant, service: Service, key: str) -> None:
        self.in_thought = False
        self.refused = False
        self.variant = variant
        self._service = service
        self._key = key
        self._events: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._handle: Handle | None = None
        self._closed = False

    def submit(self, question: Question, sampling: Sampling, decoder: Decoder) -> None:
        """Hand the request in; called in a thread, since media are decoded here."""
        since = time.perf_counter()
        asked = question(decoder)
        self.in_thought = self._begins_in_thought(asked, sampling)
        handle = self.variant.engine.submit(asked, sampling, on_token=self._tell, owner=self._key)
        self._service.metrics.prepared(self.variant.id, time.perf_counter() - since)
        self._handle = handle
        if self._closed:
            handle.cancel()
        handle.add_done_callback(lambda _: self._tell(None))

    def _begins_in_thought(self, asked: Conversation | str, sampling: Sampling) -> bool:
        if isinstance(asked, str):
            return False
        if is_cut_off(asked):
            return in_thought(asked.messages[-1].text)
        # The engine ends a thought at its budget whether or not the model has opened one.
        limited = bool(sampling.thinking and sampling.thinking_budget)
        return limited or self.variant.opens_thought(thinking=sampling.thinking)

    async def pieces(self) -> AsyncIterator[Piece | None]:
        """Yield the pieces of all choices; None says that there is still nothing new.

        Raises:
            ApiError: the answer failed.
        """
        while True:
            try:
                piece = await asyncio.wait_for(self._events.get(), _KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield None
                continue
            if piece is None:
                self._check()
                return
            yield piece

    async def result(self) -> Completion:
        """Wait for all answers.

        Raises:
            ApiError: they failed.
        """
        async for _ in self.pieces():
            pass
        return self.completion

    @property
    def completion(self) -> Completion:
        """All answers, once `pieces` has ended."""
        assert self._handle is not None
        assert self._handle.completion is not None
        return self._handle.completion

    def stop(self) -> None:
        """End the answer; whoever reads it is told that the server stopped it."""
        if self._handle is not None:
            self._handle.cancel()

    def close(self) -> None:
        """Free the slot, whatever has come so far, and count."""
        self._closed = True
        handle = self._handle
        if self.refused:
            pass  # counted as an error by whoever answers it
        elif handle is None or not handle.done:
            self._service.metrics.cancelled(self.variant.id)
        elif handle.error is None and handle.completion is not None:
            self._service.metrics.done(self.variant.id, handle.completion)
            self._service.admission.took(handle.completion.timing.done_s)
        self._service.running.discard(self)
        if handle is not None:
            handle.cancel()

    def _tell(self, piece: Piece | None) -> None:
        self._loop.call_soon_threadsafe(self._events.put_nowait, piece)

    def _check(self) -> None:
        error = self._handle.error if self._handle else None
        if error is not None:
            told = api_error(error)
            if told.status >= 500:
                _logger.error("an answer failed", exc_info=error)
            raise told


@dataclass(eq=False)
class Service:
    """A server's parts.

    Attributes:
        catalogue: its models.
        limits: of requests.
        reader: reads media.
        metrics: counts.
        admission: places for requests.
        temperature: where a request does not say one.
        transcribe: what the model is asked for a transcription.
        running: the answers under way.
    """

    catalogue: Catalogue
    limits: ServeLimits
    reader: MediaReader
    metrics: Metrics
    admission: Admission
    temperature: float = 1.0
    transcribe: str = "Write down what is said in this recording."
    running: set[Running] = field(default_factory=set)
    _local: threading.local = field(default_factory=threading.local)
    _decoders: list[Decoder] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the threads."""
        self._threads = ThreadPoolExecutor(self.limits.threads, thread_name_prefix="prepare")

    def start(self) -> None:
        """Start the engines."""
        for engine in self.catalogue.engines.values():
            engine.start()

    def stop(self) -> None:
        """Stop the engines and the processes that decode."""
        for running in list(self.running):
            running.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for engine in self.catalogue.engines.values():
            engine.stop()
        for decoder in self._decoders:
            decoder.close()

    async def in_thread(self, work: Callable[[Decoder], Made]) -> Made:
        """Call a function in a thread that has a decoder.

        Raises:
            ApiError: whatever it raises.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: work(self._decoder())
            )
        except HocketError as error:
            raise self.told(error) from error

    async def begin(
        self, stack: ExitStack, variant: Variant, question: Question, sampling: Sampling, key: str
    ) -> Running:
        """Take a request of one question in.

        Args:
            stack: gives everything back when it is closed.
            variant: the model.
            question: makes the conversation.
            sampling: how it is answered.
            key: name of the client's key.

        Raises:
            ApiError: there is no place, or the question is wrong.
        """
        await self.enter(stack, variant, sampling.n, key)
        return await self.ask(stack, variant, question, sampling, key)

    async def enter(self, stack: ExitStack, variant: Variant, choices: int, key: str) -> None:
        """Take the place of a request and wait for its model, once for all of its questions.

        A request that waited a second time while it keeps a model from others could wait for ever.

        Args:
            stack: gives both back when it is closed.
            variant: the model.
            choices: answers to all of its questions.
            key: name of the client's key.

        Raises:
            ApiError: there is no place.
        """
        stack.enter_context(self.admission.enter(key, choices))
        await variant.turns.enter(variant.adapters)
        stack.callback(variant.turns.leave)

    async def ask(
        self, stack: ExitStack, variant: Variant, question: Question, sampling: Sampling, key: str
    ) -> Running:
        """Ask one question of a request that has its place.

        Args:
            stack: frees the slot when it is closed.
            variant: the model.
            question: makes the conversation.
            sampling: how it is answered.
            key: name of the client's key.

        Raises:
            ApiError: the question is wrong.
        """
        running = Running(variant, self, key)
        self.running.add(running)
        stack.callback(running.close)
        try:
            await self.in_thread(lambda decoder: running.submit(question, sampling, decoder))
        except ApiError:
            running.refused = True
            raise
        return running

    def told(self, error: BaseException) -> ApiError:
        """Return what a client is told of an error; faults of the server go into its log."""
        told = api_error(error, param=None)
        if told.status >= 500 and not isinstance(error, ApiError):
            _logger.error("a request failed", exc_info=error)
        return told

    def _decoder(self) -> Decoder:
        found: Decoder | None = vars(self._local).get("decoder")
        if found is None:
            found = self._local.decoder = Decoder(self.limits, self.metrics.decoded)
            self._decoders.append(found)
        return found


def service_of(request: Request) -> Service:
    """Return the parts of the server that a request came to."""
    found: Service = request.app.state.service
    return found


Parts = Annotated[Service, Depends(service_of)]
"""The server's parts, as an argument of an endpoint."""


async def or_gone(request: Request, work: Coroutine[None, None, Made]) -> Made:
    """Do some work, and stop when the client goes away.

    Raises:
        GoneError: it did.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise GoneError
        return task.result()
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
