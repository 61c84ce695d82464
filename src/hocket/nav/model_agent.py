"""A model that decides, asked as NaVILA asks, or in few words."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hocket.chat.conversation import Conversation, Message, Role
from hocket.chat.navigation import QUESTIONS, Asking, clean_instruction, walk_frames
from hocket.infer.engine import Engine
from hocket.infer.request import Handle
from hocket.infer.sampling import Sampling
from hocket.media.image import Image
from hocket.nav.agent import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How a model is asked.

    Attributes:
        frames: pictures that it is shown, the newest last; NaVILA's 8.
        prompt: ``navila`` or ``short``.
        clean: whether instructions are written as NaVILA's training data has them.
        blind: whether every picture is black.
        max_new_tokens: longest answer.
        temperature: of drawn answers; 0 takes the likeliest. Drawn ones differ each time somebody
            is asked, so that a walker who knows no past does not turn on the spot for ever.
        min_p: words this much less likely than the likeliest are never drawn. Whoever looks for
            something walks on one time in eight (`hocket.nav.rooms.seeker`), so a tenth would
            keep a walker turning on the spot.
    """

    frames: int = 8
    prompt: Asking = Asking.NAVILA
    clean: bool = False
    blind: bool = False
    max_new_tokens: int = 96
    temperature: float = 0.0
    min_p: float = 0.03


class ModelAgent:
    """A model, asked as NaVILA asks.

    Args:
        engine: what answers.
        options: how it is asked.
    """

    def __init__(self, engine: Engine, options: AgentOptions) -> None:
        self._engine, self._options = engine, options

    def answer(self, turns: Sequence[Turn]) -> list[str]:
        """Return the model's answers; all walks are asked together."""
        handles: list[Handle] = []
        try:
            handles.extend(
                self._engine.submit(self._question(turn), self._sampling(turn)) for turn in turns
            )
            return [handle.result().answers[0].response for handle in handles]
        finally:
            for handle in handles:
                handle.cancel()

    def _sampling(self, turn: Turn) -> Sampling:
        options = self._options
        if not options.temperature:
            return Sampling(max_new_tokens=options.max_new_tokens)
        return Sampling(
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            min_p=options.min_p,
            seed=zlib.crc32(f"{turn.episode}-{turn.asked}".encode()),
        )

    def _question(self, turn: Turn) -> Conversation:
        options = self._options

        def picture(at: int) -> Image:
            frame = turn.frames[at]
            pixels = np.zeros_like(frame) if options.blind else frame
            return Image.from_array(pixels, f"{turn.episode}, frame {at}")

        shown = walk_frames(len(turn.frames), options.frames, picture)
        words = clean_instruction(turn.instruction) if options.clean else turn.instruction
        parts = QUESTIONS[options.prompt](shown, words)
        name = f"{turn.episode}-{turn.asked}"
        return Conversation(id=name, messages=(Message(Role.USER, parts),), source=turn.episode)
