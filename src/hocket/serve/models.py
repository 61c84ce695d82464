"""The models of a server by name, and whose turn it is where one model has several adapters.

Knows engines; must not know HTTP.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError
from jinja2.meta import find_undeclared_variables

from hocket._errors import ConfigError, did_you_mean
from hocket.infer.engine import Engine, prompt
from hocket.infer.sampling import Sampling
from hocket.infer.stream import decode
from hocket.infer.thinking import in_thought
from hocket.model.adapters.attach import activate
from hocket.serve.errors import ApiError

BASE = "base"
"""Name of the variant without any adapter."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_THINKING = "enable_thinking"
_Names = tuple[str, ...]


class Turns:
    """Lets requests use one model, those with the same adapters at the same time.

    Whoever wants other adapters waits until the model is free, and nobody overtakes. Not for
    threads: all calls come from the event loop.

    Args:
        engine: the model's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._active: _Names = tuple(engine.model.adapters)
        self._users = 0
        self._queue: deque[tuple[_Names, asyncio.Future[None]]] = deque()

    async def enter(self, wanted: _Names) -> None:
        """Wait until the model has these adapters; `leave` must follow."""
        if not self._queue and (wanted == self._active or not self._users):
            self._switch(wanted)
            self._users += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waits = wanted, turn
        self._queue.append(waits)
        try:
            await turn
        except asyncio.CancelledError:
            if waits in self._queue:
                self._queue.remove(waits)
                self._let_in()
            elif not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Let others use the model."""
        self._users -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._queue and (not self._users or self._queue[0][0] == self._active):
            wanted, turn = self._queue.popleft()
            if not turn.done():
                self._switch(wanted)
                self._users += 1
                turn.set_result(None)

    def _switch(self, wanted: _Names) -> None:
        if wanted != self._active:
            model = self._engine.model
            activate(model, model.adapters, list(wanted))
            self._engine.forget()
            self._active = wanted


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """What a client calls a model: an engine, and which of its adapters are on.

    Attributes:
        id: name.
        engine: answers.
        adapters: names of the adapters that are on.
        turns: shared by all variants of the engine.
        parent: name of the variant with all adapters; None for itself.
        created: when the server opened it, in seconds since 1970.
    """

    id: str
    engine: Engine
    adapters: _Names
    turns: Turns
    parent: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))
    _opens: dict[tuple[str, bool | None], bool] = field(default_factory=dict)

    @property
    def modalities(self) -> list[str]:
        """What the model takes."""
        processor = self.engine.processor
        found = ["text"]
        found += ["image"] if processor.images else []
        found += ["audio"] if processor.sounds else []
        found += ["video"] if processor.films and processor.sampler else []
        return found

    def check_tools(self) -> None:
        """Refuse tools where the model's chat template shows none.

        Raises:
            ApiError: it does not.
        """
        if not self._reads("tools"):
            raise ApiError(
                f"tools: the chat template of {self.id} has no place for tools. Ask without them, "
                "or serve a model whose template has one, such as chatml.",
                param="tools",
                code="unsupported",
            )

    def check_thinking(self, sampling: Sampling) -> None:
        """Refuse a thought where the model's chat template asks for none.

        Raises:
            ApiError: a thought is wanted, and it does not.
        """
        if sampling.thinking and not (self._reads(_THINKING) or self.opens_thought(thinking=True)):
            raise ApiError(
                f"{_THINKING}: the chat template of {self.id} knows no thinking. Ask without it "
                "and without thinking_budget.",
                param="chat_template_kwargs",
                code="unsupported",
            )

    def opens_thought(self, *, thinking: bool | None) -> bool:
        """Say whether a prompt ends inside of a thought, which the answer then goes on with.

        Args:
            thinking: what the template reads as ``enable_thinking``.
        """
        template = self.engine.processor.chat_template or ""
        known = self._opens.get((template, thinking))
        if known is None:
            ids = self.engine.outline(prompt("x"), thinking=thinking).input_ids
            tail = decode(self.engine.processor.tokenizer, list(ids))
            known = self._opens[template, thinking] = in_thought(tail)
        return known

    def _reads(self, name: str) -> bool:
        """Say whether the chat template reads a variable; where it cannot be told, yes."""
        template = self.engine.processor.chat_template or ""
        try:
            # The tag is transformers' own and names nothing.
            tree = Environment(autoescape=True).parse(_GENERATION_TAG.sub("", template))
        except TemplateError:
            return True
        return name in find_undeclared_variables(tree)

    def describe(self) -> dict[str, Any]:
        """Return it as ``/v1/models`` lists it."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "hocket",
            "parent": self.parent,
            "max_model_len": self.engine.context,
            "modalities": self.modalities,
        }


class Catalogue:
    """The models of a server.

    Args:
        engines: name -> engine, the default first.

    Attributes:
        engines: the same.

    Raises:
        ConfigError: a name that no URL may hold.
    """

    def __init__(self, engines: dict[str, Engine]) -> None:
        self.engines = engines
        self._variants: dict[str, Variant] = {}
        for name, engine in engines.items():
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"model name {name!r}: expected letters, digits, '.', '_' and '-', at most 64. "
                    "Write NAME=DIR."
                )
            for variant in _variants(name, engine):
                self._variants[variant.id] = variant

    def __iter__(self) -> Iterator[Variant]:
        return iter(self._variants.values())

    def get(self, name: str) -> Variant:
        """Return a model by name; an empty one takes the first.

        Raises:
            ApiError: no model has the name.
        """
        if not name:
            return next(iter(self))
        found = self._variants.get(name)
        if found is None:
            raise ApiError(
                f"model: no model is called {name[:80]!r}.{did_you_mean(name, self._variants)} "
                f"Known: {', '.join(self._variants)}.",
                status=404,
                param="model",
                code="model_not_found",
            )
        return found


def named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    """Return name -> folder of ``DIR`` or ``NAME=DIR`` words.

    A run's folder ``runs/cats`` is called ``cats``, and so is ``runs/cats/checkpoint``.

    Raises:
        ConfigError: two have the same name.
    """
    found: dict[str, Path] = {}
    for word in arguments:
        name, equals, rest = word.partition("=")
        path = Path(rest) if equals and _NAME.fullmatch(name) else Path(word)
        if path == Path(word):
            whole = path.resolve()
            whole = whole.parent if whole.name == "checkpoint" else whole
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", whole.name).strip("-._") or "model"
        if name in found:
            raise ConfigError(
                f"two models are called {name!r}: {found[name]} and {path}. Write NAME=DIR."
            )
        found[name] = path
    return found


def _variants(name: str, engine: Engine) -> Iterator[Variant]:
    turns = Turns(engine)
    every = tuple(engine.model.adapters)
    yield Variant(name, engine, every, turns)
    if every:
        yield Variant(f"{name}:{BASE}", engine, (), turns, name)
    for one in every:
        yield Variant(f"{name}:{one}", engine, (one,), turns, name)
