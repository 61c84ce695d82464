"""Which answers go on in a step: continuous batching.

A step gives every answer under way one more token in one forward pass, and takes in a part of the
next prompts. So a request joins and leaves at any step, whatever the others are doing. Whoever
waits for a result runs the steps, unless a thread was started for them; then all wait for that.

Letters: B rows, V vocabulary.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Lock, Thread

import torch
from torch import Tensor

from hocket._errors import HocketError
from hocket._log import warn
from hocket.infer.cache import PrefixCache
from hocket.infer.draw import draw
from hocket.infer.media import MediaRows
from hocket.infer.options import MIB, EngineOptions, EngineState
from hocket.infer.prefill import MOST_TOKENS, Candidate, Lane, Prefill, pick, run
from hocket.infer.request import CancelledError, FinishReason, Handle, Piece
from hocket.infer.row import Row
from hocket.infer.slots import Slots, shares_rows
from hocket.infer.task import Request, Task
from hocket.model.modeling import HocketForConditionalGeneration

_IDLE_SECONDS = 0.05


class Scheduler:
    """Runs the model for all requests of an engine.

    Args:
        model: the composite.
        options: limits.
    """

    def __init__(self, model: HocketForConditionalGeneration, options: EngineOptions) -> None:
        self._model = model
        self._options = options
        text = model.config.text_config
        self.batches = shares_rows(text, stateful=model.model.language_model._is_stateful)
        self._layers = int(text.num_hidden_layers)
        self._media = MediaRows(model.model, options.encoder_mb * MIB)
        self._prefixes = PrefixCache(options.prefix_mb * MIB if self.batches else 0)
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._changed = Condition(Lock())  # guards what follows, and wakes whoever waits
        self._requests: dict[int, Request] = {}
        self._inbox: list[Task] = []
        self._numbers = 0
        self._thread: Thread | None = None
        self._stopping = False
        self._turn = Lock()  # guards what follows: one thread at a time runs steps
        self._waiting: deque[Task] = deque()
        self._prefill: Prefill | None = None
        self._lanes: list[Lane] = []
        self._token_bytes = 0
        self._steps = 0
        self._prompt_tokens = 0
        self._answer_tokens = 0
        self._preempted = 0

    def submit(self, rows: list[Row], on_token: Callable[[Piece], None] | None) -> Handle:
        """Queue a request of these choices."""
        with self._changed:
            self._numbers += 1
            handle = Handle(self._numbers, self)
            request = Request(handle, rows, on_token)
            if all(row.most > 0 for row in rows):
                self._requests[handle.id] = request
                self._inbox += [Task(row, request) for row in rows]
            self._changed.notify_all()
        if handle.id not in self._requests:
            for row in rows:
                row.reason = FinishReason.LENGTH
            request.complete()
        return handle

    def wait(self, until: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Run steps, or sleep while another thread does, until the condition holds.

        Returns:
            Whether it holds; False after `timeout_s`.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not until():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            if self._thread is None and self._turn.acquire(blocking=False):
                try:
                    self._step()
                finally:
                    self._release()
            else:
                pause = _IDLE_SECONDS if left is None else min(left, _IDLE_SECONDS)
                with self._changed:
                    if not until():
                        self._changed.wait(pause)
        return True

    def step(self) -> bool:
        """Run one step; say whether there was anything to do."""
        with self._turn:
            busy = self._step()
        self._wake()
        return busy

    def cancel(self, handle: Handle) -> None:
        """Take a request out, now or, where a step is being run, before the next one."""
        with self._changed:
            request = self._requests.get(handle.id)
        if request is None:
            return
        request.cancelled = True
        if self._turn.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                self._release()

    def start(self) -> None:
        """Run the steps in a thread of their own from now on. Of no effect when it runs."""
        with self._changed:
            if self._thread is not None:
                return
            self._stopping = False
            self._thread = Thread(target=self._run, name="hocket-engine", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread after its step; requests stay, for whoever waits for them."""
        thread = self._thread
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def forget(self) -> None:
        """Drop what is kept of earlier prompts and media."""
        with self._turn:
            self._prefixes.clear()
            self._media.kept.clear()

    def state(self) -> EngineState:
        """Return what is going on; between two steps it is exact."""
        group = self._prefill
        prefixes, media = self._prefixes.kept, self._media.kept
        return EngineState(
            waiting=len(self._waiting) + len(self._inbox),
            prefilling=len(group.lane) if group else 0,
            running=sum(len(lane) for lane in self._lanes),
            kv_bytes=sum(lane.bytes for lane in [*self._lanes, *([group.lane] if group else [])]),
            kv_limit=self._options.kv_mb * MIB,
            prefix_bytes=prefixes.bytes,
            prefix_hits=prefixes.hits,
            prefix_misses=prefixes.misses,
            encoder_bytes=media.bytes,
            encoder_hits=media.hits,
            encoder_misses=media.misses,
            steps=self._steps,
            prompt_tokens=self._prompt_tokens,
            answer_tokens=self._answer_tokens,
            preempted=self._preempted,
        )

    def _run(self) -> None:
        try:
            while not self._stopping:
                busy = False
                try:
                    busy = self.step()
                except (RuntimeError, HocketError) as error:
                    # Whoever asked has been told; requests that come later may do better.
                    warn(f"the engine failed and goes on: {error}")
                with self._changed:
                    if not busy and not self._inbox and not self._stopping:
                        self._changed.wait(_IDLE_SECONDS)
        finally:
            self._thread = None
            self._wake()

    def _release(self) -> None:
        self._turn.release()
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _step(self) -> bool:
        with self._changed:
            self._waiting += self._inbox
            self._inbox.clear()
        try:
            self._sweep()
            if not (self._waiting or self._prefill or self._lanes):
                return False
            self._steps += 1
            # Entered for each step, so that callers are left alone.
            with torch.inference_mode():
                self._decode()
                self._take_in()
            self._tidy()
        except BaseException as error:
            self._abandon(error)
            raise
        return True

    def _decode(self) -> None:
        """Give every answer under way one more token."""
        self._make_room()
        table = self._model.get_input_embeddings()
        for lane in self._lanes:
            rows = [task.row for task in lane.owners]
            device = self._model.device
            ids = torch.tensor([[row.generated[-1]] for row in rows], device=device)
            places = torch.tensor([[row.last_position] for row in rows], device=device)
            self._add_tokens(lane, run(self._model, lane, table(ids), places))

    def _take_in(self) -> None:
        """Compute a part of the next prompts; those that are complete join."""
        if self._prefill is None:
            self._prefill = self._begin()
        group = self._prefill
        if group is None:
            return
        count = len(group.lane) * group.left
        logits = group.step(self._options.prefill_tokens if self._lanes else MOST_TOKENS)
        self._prompt_tokens += count - len(group.lane) * group.left
        if group.left:
            return
        lane = group.lane
        if isinstance(lane, Slots):
            self._token_bytes = lane.bytes_per_token
            self._remember(group, lane)
        self._add_tokens(lane, logits)
        _tidy_lane(lane)
        self._prefill = None
        if not lane.owners:
            return
        if isinstance(lane, Slots) and self._lanes and isinstance(self._lanes[0], Slots):
            self._lanes[0].take(lane)
        else:
            self._lanes.append(lane)

    def _begin(self) -> Prefill | None:
        """Pick the next prompts, as many as there is room for."""
        free = self._options.max_rows - sum(len(lane) for lane in self._lanes)
        if not self._waiting or free <= 0:
            return None
        stamp = _stamp(self._model)
        if stamp != self._stamp:
            # The weights are others than those that made what is kept.
            self._prefixes.clear()
            self._media.kept.clear()
            self._stamp = stamp
        if not self.batches:
            (one,) = pick([self._waiting[0]], self._prefixes)
            chosen = [one]
        else:
            chosen = pick(list(self._waiting)[:free], self._prefixes)
            while chosen and not self._fits([len(one.prompt) for one in chosen]):
                chosen.pop()
        if not chosen:
            return None
        for one in chosen:
            one.task.request.start()
        taken = {id(one.task) for one in chosen}
        self._waiting = deque(task for task in self._waiting if id(task) not in taken)
        try:
            if self.batches:
                return Prefill.together(self._model, self._media, chosen, self._layers)
            return Prefill.alone(self._model, self._media, chosen[0])
        except HocketError as error:
            self._find_culprit(chosen, error)
            return None
        except BaseException:
            self._waiting.extendleft(one.task for one in reversed(chosen))
            raise

    def _find_culprit(self, chosen: list[Candidate], error: HocketError) -> None:
        """Fail those of the prompts that cannot be embedded; the others wait again."""
        for one in reversed(chosen):
            try:
                self._media.embed([(one.prompt, 0)])
            except HocketError as own:
                one.task.request.fail(own)
            else:
                self._waiting.appendleft(one.task)
        if all(not one.task.request.over for one in chosen):
            raise error

    def _fits(self, lengths: list[int]) -> bool:
        """Say whether the keys and values of all rows fit, with a token more for each."""
        widths = [lane.width for lane in self._lanes]
        count = sum(len(lane) for lane in self._lanes) + len(lengths)
        size = count * (max([*widths, *lengths]) + 1) * self._token_bytes
        return count == 1 or size <= self._options.kv_mb * MIB

    def _make_room(self) -> None:
        """Send the answers that began last back to wait, while keys and values do not fit."""
        for lane in self._lanes:
            while self.batches and len(lane) > 1 and not self._fits([]):
                youngest = max(range(len(lane)), key=lambda at: lane.owners[at].request.handle.id)
                self._waiting.appendleft(lane.owners[youngest])
                lane.drop(youngest)
                self._preempted += 1

    def _remember(self, group: Prefill, lane: Slots[Task]) -> None:
        """Keep the keys and values of prompts that are not known as a whole."""
        for at, task in enumerate(lane.owners):
            keys = group.prompts[id(task)].keys
            size = len(keys) * self._token_bytes
            if size <= self._prefixes.kept.limit and not self._prefixes.knows(keys):
                self._prefixes.put(keys, lane.prefix(at))

    def _add_tokens(self, lane: Lane, logits: Tensor) -> None:
        """Draw a token of logits (B, V) for every row and tell its request."""
        best = logits.argmax(dim=-1).tolist()
        for task, one, likely in zip(lane.owners, logits, best, strict=True):
            if task.request.over:
                continue
            try:
                piece = task.row.take(draw(one, task.row, likely))
            except HocketError as error:
                task.request.fail(error)
                continue
            self._answer_tokens += 1
            task.request.add(piece)

    def _sweep(self) -> None:
        """Tell whoever cancelled, and free what is over."""
        with self._changed:
            asked = [one for one in self._requests.values() if one.cancelled]
        for request in asked:
            request.cancel()
        if asked:
            self._tidy()

    @torch.inference_mode()
    def _tidy(self) -> None:
        """Free the rows of answers that have ended."""
        self._waiting = deque(task for task in self._waiting if not _ended(task))
        if self._prefill is not None:
            for at in reversed(range(len(self._prefill.lane))):
                if _ended(self._prefill.lane.owners[at]):
                    self._prefill.drop(at)
            if not self._prefill.lane.owners:
                self._prefill = None
        for lane in self._lanes:
            _tidy_lane(lane)
        self._lanes = [lane for lane in self._lanes if lane.owners]
        with self._changed:
            self._inbox = [task for task in self._inbox if not _ended(task)]
            # One that is cancelled during a step stays until a sweep has told whoever waits for it.
            self._requests = {k: one for k, one in self._requests.items() if not one.handle.done}

    def _abandon(self, error: BaseException) -> None:
        """Fail every request that has begun; those that wait stay."""
        told = error
        if not isinstance(error, Exception):
            told = CancelledError("the engine was interrupted while it answered. Ask again.")
        for task in self._begun():
            task.request.fail(told)
        self._prefill = None
        self._lanes = []
        self._waiting = deque(task for task in self._waiting if not _ended(task))
        with self._changed:
            self._requests = {k: one for k, one in self._requests.items() if not one.handle.done}

    def _begun(self) -> Iterator[Task]:
        lanes = [*self._lanes, *([self._prefill.lane] if self._prefill else [])]
        for lane in lanes:
            yield from lane.owners


def _tidy_lane(lane: Lane) -> None:
    for at in reversed(range(len(lane))):
        if _ended(lane.owners[at]):
            lane.drop(at)


def _ended(task: Task) -> bool:
    return task.row.reason is not None or task.request.over


def _stamp(model: HocketForConditionalGeneration) -> tuple[tuple[int, int], ...]:
    """Return what changes when an optimiser, or whoever loads weights, writes to a parameter."""
    return tuple(
        (one.data_ptr(), 0 if one.is_inference() else one._version) for one in model.parameters()
    )
