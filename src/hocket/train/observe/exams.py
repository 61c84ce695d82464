"""Exams that a model sits while it learns, for curves over the steps.

Which questions, and how answers are scored, is the caller's: training does not know evaluation.
As with previews, the random state is put back, so a run with exams is the run without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from hocket._errors import HocketError
from hocket._log import warn
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.observe.preview import on_one_device, undisturbed

Marks = Mapping[str, Mapping[str, float | None]]
"""Name of an exam -> ``value``, and ``low`` and ``high`` of its 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exams:
    """What is asked, and when.

    Attributes:
        every: optimizer steps of a stage between two; its last step has one too.
        sit: asks a model and scores its answers.
    """

    every: int
    sit: Callable[[HocketForConditionalGeneration, HocketProcessor], Marks]


def examine(
    exams: Exams,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    *,
    compiled: bool,
) -> Marks | None:
    """Return the marks; None, with a warning, if that fails.

    Args:
        exams: what is asked.
        model: it comes back in the modes it had.
        processor: its processor.
        compiled: whether its blocks are; they are left out of it.
    """
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    try:
        with undisturbed(model), on_one_device(model), eager, torch.no_grad():
            return exams.sit(model, processor)
    except (HocketError, torch.OutOfMemoryError) as error:
        warn(f"evaluation while training is given up: {error}")
        return None
