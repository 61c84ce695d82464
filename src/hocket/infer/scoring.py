"""How likely given answers are: one forward pass, no generation.

Letters: B conversations, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.infer.prompt import check_open
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import IGNORED, pad_batch
from hocket.tokens.processor import HocketProcessor


def score(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    conversations: Sequence[Conversation],
    continuations: Sequence[str],
) -> list[float]:
    """Return the log-probability of each continuation as the answer, end token included.

    Raises:
        DataError: the two lists differ in length, or a conversation ends with an answer.
    """
    if len(conversations) != len(continuations):
        raise DataError(
            f"{len(conversations)} conversations but {len(continuations)} continuations."
        )
    if not conversations:
        return []
    examples = []
    for conversation, text in zip(conversations, continuations, strict=True):
        check_open(conversation)
        answered = Conversation(
            id=conversation.id,
            messages=(
                *(Message(one.role, one.parts, train=False) for one in conversation.messages),
                Message(Role.ASSISTANT, (Text(text),)),
            ),
            tools=conversation.tools,
            source=conversation.source,
        )
        examples.append(processor.encode(answered))
    pad = int(processor.tokenizer.pad_token_id)
    batch: dict[str, Any] = dict(pad_batch(examples, pad_id=pad, side="right"))
    labels = batch.pop("labels")[:, 1:].to(model.device)
    with torch.inference_mode():
        logits = model(**{name: one.to(model.device) for name, one in batch.items()}).logits
    picked = logits[:, :-1].float().log_softmax(-1)
    scores = picked.gather(-1, labels.clamp(min=0)[..., None])[..., 0] * (labels != IGNORED)
    return [float(value) for value in scores.sum(dim=1)]
