"""Exams that a model sits while it learns, for curves over the steps.

Which questions, and how answers are scored, is the caller's: training does not know evaluation.
As with previews, the random state is put back, so a run with exams is the run without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch

from hocket._errors import HocketError
from hocket._log import warn
from hocket.chat.conversation import Conversation
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.observe.preview import on_one_device, undisturbed

Marks = Mapping[str, Mapping[str, float | None]]
"""Name of an exam -> ``value``, and ``low`` and ``high`` of its 95 % interval."""


class Answering(Protocol):
    """Answers conversations with a model that no process has whole."""

    def __call__(
        self,
        model: HocketForConditionalGeneration,
        processor: HocketProcessor,
        conversations: Sequence[Conversation],
        *,
        most_tokens: int,
    ) -> list[str]:
        """Return the likeliest answers, of so many tokens at most; every process calls it."""
        ...


class Sitting(Protocol):
    """Asks a model and scores its answers."""

    def __call__(
        self,
        model: HocketForConditionalGeneration,
        processor: HocketProcessor,
        answer: Answering | None,
    ) -> Marks:
        """Return the marks; `answer` is how a model in shares is asked, None for a whole one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exams:
    """What is asked, and when.

    Attributes:
        every: optimizer steps of a stage between two; its last step has one too.
        sit: asks a model and scores its answers.
    """

    every: int
    sit: Sitting


def examine(
    exams: Exams,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    *,
    compiled: bool,
    answer: Answering | None = None,
) -> Marks | None:
    """Return the marks; None, with a warning, if that fails.

    Args:
        exams: what is asked.
        model: it comes back in the modes it had.
        processor: its processor.
        compiled: whether its blocks are; they are left out of it.
        answer: how a model in shares is asked, by every process; None for a whole one.
    """
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    try:
        with undisturbed(model), on_one_device(model), eager, torch.no_grad():
            return exams.sit(model, processor, answer)
    except (HocketError, torch.OutOfMemoryError) as error:
        warn(f"evaluation while training is given up: {error}")
        return None
