"""The same questions again and again while a model learns: what it answers at each save.

How questions are answered is the caller's: training does not know the engine. Answers are given in
eval mode, and the random state is put back, so a run with previews is the run without.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from hocket._errors import HocketError
from hocket._log import warn
from hocket.chat.conversation import Conversation
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor

MOST_NEW_TOKENS = 64
"""Tokens of an answer at most."""
Answering = Callable[
    [HocketForConditionalGeneration, HocketProcessor, Sequence[Conversation]], list[str]
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One preview.

    Attributes:
        id: its name.
        conversation: ends with the user's turn.
        target: the right answer; empty if none is known.
    """

    id: str
    conversation: Conversation
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """What is asked, and how.

    Attributes:
        questions: asked at each save.
        answer: answers conversations with a model and its processor.
    """

    questions: Sequence[Question]
    answer: Answering


def ask(
    previews: Previews,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    *,
    compiled: bool,
) -> list[str] | None:
    """Return the answers in the order of the questions; None, with a warning, if that fails.

    Args:
        previews: what is asked.
        model: it comes back in the modes it had.
        processor: its processor.
        compiled: whether its blocks are: they are then left out of it, since each length of a
            prompt would be compiled anew.
    """
    conversations = [one.conversation for one in previews.questions]
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    try:
        with undisturbed(model), on_one_device(model), eager, torch.no_grad():
            return previews.answer(model, processor, conversations)
    except (HocketError, torch.OutOfMemoryError) as error:
        warn(f"previews are given up: {error}")
        return None


@contextmanager
def on_one_device(model: HocketForConditionalGeneration) -> Iterator[None]:
    """Put copies where the output head is in the place of towers that are elsewhere.

    A stage that takes features from the disk leaves its frozen towers in host memory, where they
    must stay as they are: a checkpoint may be written from the file that they came from.
    """
    device = model.lm_head.weight.device
    elsewhere = {
        name: part
        for name, part in model.model.named_children()
        if any(value.device != device for value in part.parameters())
    }
    try:
        for name, part in elsewhere.items():
            model.model.register_module(name, copy.deepcopy(part).to(device))
        yield
    finally:
        for name, part in elsewhere.items():
            model.model.register_module(name, part)


@contextmanager
def undisturbed(model: HocketForConditionalGeneration) -> Iterator[None]:
    """Put modes and the random state back afterwards."""
    modes = {module: module.training for module in model.modules()}
    device = model.lm_head.weight.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                # Not `train`, which would set the modules below as well.
                module.training = training
