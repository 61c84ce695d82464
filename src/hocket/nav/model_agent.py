"""A model that decides, asked as NaVILA asks, or in few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hocket.chat.conversation import Conversation, Message, Role
from hocket.chat.navigation import QUESTIONS, Asking, clean_instruction, walk_frames
from hocket.infer.engine import Engine
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
    """

    frames: int = 8
    prompt: Asking = Asking.NAVILA
    clean: bool = False
    blind: bool = False
    max_new_tokens: int = 64


class ModelAgent:
    """A model, asked as NaVILA asks.

    Args:
        engine: what answers.
        options: how it is asked.
    """

    def __init__(self, engine: Engine, options: AgentOptions) -> None:
        self._engine, self._options = engine, options
        self._sampling = Sampling(max_new_tokens=options.max_new_tokens)

    def answer(self, turns: Sequence[Turn]) -> list[str]:
        """Return the model's answers; all walks are asked together."""
        asked = [self._question(turn) for turn in turns]
        return [one.response for one in self._engine.answer(asked, self._sampling)]

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
