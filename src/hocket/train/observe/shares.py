"""Answers of a model whose weights are shared by several processes.

No process has the whole model, and each block's weights come together only if all of them ask. So
every process computes every prompt, and the first one says which token comes next: all of them end
together. Nothing is kept between tokens; previews are few and short.

Letters: R questions, V words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from hocket._errors import DataError, HocketError
from hocket.chat.conversation import Conversation
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import pad_batch
from hocket.tokens.processor import HocketProcessor
from hocket.train.runtime import Runtime


def answer_in_shares(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    conversations: Sequence[Conversation],
    *,
    runtime: Runtime,
    most_tokens: int,
) -> list[str]:
    """Return the likeliest answer to each question; every process calls it with the same ones.

    Args:
        model: in shares, in eval mode.
        processor: its processor.
        conversations: each ends with the user's turn.
        runtime: this process.
        most_tokens: tokens of an answer at most.

    Raises:
        DataError: a medium cannot be read, in this process or another.
    """
    batch = _prompts(processor, conversations, runtime, more=most_tokens)
    lengths = batch["attention_mask"].sum(dim=1)
    answers: list[list[int]] = [[] for _ in conversations]
    ends = _ends(model, processor)
    going = list(range(len(conversations)))
    try:
        for _ in range(most_tokens):
            found = _next(model, batch, lengths, runtime)
            for row in going:
                answers[row].append(found[row])
            going = [row for row in going if found[row] not in ends]
            if not going:
                break
            rows = torch.tensor(going, device=runtime.device)
            batch["input_ids"][rows, lengths[rows]] = torch.tensor(
                [found[row] for row in going], device=runtime.device
            )
            batch["attention_mask"][rows, lengths[rows]] = 1
            lengths[rows] += 1
    finally:
        if isinstance(model, FSDPModule):
            model.reshard()
    return [processor.tokenizer.decode(one, skip_special_tokens=True) for one in answers]


def _prompts(
    processor: HocketProcessor,
    conversations: Sequence[Conversation],
    runtime: Runtime,
    *,
    more: int,
) -> dict[str, Tensor]:
    """Return a batch with `more` empty places behind the longest prompt."""
    pad = int(processor.tokenizer.pad_token_id)
    problem, batch = "", {}
    try:
        examples = [processor.encode(one, for_answer=True) for one in conversations]
        batch = _moved(pad_batch(examples, pad_id=pad, side="right"), runtime.device)
    except HocketError as error:
        problem = str(error)
    # Who goes on alone would wait for the others for ever.
    if float(runtime.sum_over_processes(float(bool(problem)))):
        raise DataError(problem or "another process cannot read a medium of theirs.")
    del batch["labels"]
    for name, fill in (("input_ids", pad), ("attention_mask", 0)):
        batch[name] = torch.nn.functional.pad(batch[name], (0, more), value=fill)
    return batch


def _moved(batch: Any, device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in batch.items()}


def _next(
    model: HocketForConditionalGeneration,
    batch: dict[str, Tensor],
    lengths: Tensor,
    runtime: Runtime,
) -> list[int]:
    """Return the token behind each of R prompts."""
    width = int(lengths.max())
    cut = {name: batch[name][:, :width] for name in ("input_ids", "attention_mask")}
    # (R, R, V): each question's last place for all of them, of which its own counts.
    logits = model(**batch | cut, logits_to_keep=lengths - 1, use_cache=False).logits
    own = logits.diagonal(dim1=0, dim2=1).clone()
    config = model.config
    # A placeholder in an answer would ask the next pass for a medium that is not there.
    media = (config.image_token_id, config.video_token_id, config.audio_token_id)
    own[[token for token in media if token]] = -torch.inf
    own = own.argmax(dim=0)
    chosen = own if runtime.is_main else torch.zeros_like(own)
    return [int(token) for token in runtime.sum_over_processes(chosen).tolist()]


def _ends(model: HocketForConditionalGeneration, processor: HocketProcessor) -> set[int]:
    found = model.generation_config.eos_token_id
    listed = found if isinstance(found, list) else [found]
    return {int(processor.tokenizer.eos_token_id), *(one for one in listed if one is not None)}
