"""A Hocket checkpoint as lmms-eval sees a model: its chat messages go into our engine.

``lmms-eval --model hocket --model_args pretrained=DIR --tasks mme``. The same prompts, media and
engine as everywhere else. Imports lmms-eval, so only lmms-eval opens this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from lmms_eval.api.model import lmms

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.checkpoint.loading import Placement
from hocket.eval.ask import ask
from hocket.eval.question import Question, modality_of
from hocket.infer.engine import Engine
from hocket.infer.options import EngineOptions
from hocket.infer.sampling import Sampling
from hocket.tokens.accept import as_audio, as_image, as_video

_MOST_NEW_TOKENS = 128
Messages = Sequence[Mapping[str, Any]]


class HocketForLmms(lmms):  # type: ignore[misc]  # lmms-eval carries no types
    """The model class of lmms-eval's registry.

    Args:
        pretrained: checkpoint directory or run's folder.
        device: where it runs.
        dtype: number format.
        batch_size: answers generated at a time.
        others: arguments that lmms-eval gives to every model, such as ``max_batch_size``.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        dtype: str = "float32",
        batch_size: int | str = 32,
        **others: object,
    ) -> None:
        super().__init__()
        rows = 32 if batch_size == "auto" else max(1, int(batch_size))
        placement = Placement(device=device or "auto", dtype=dtype)
        self._engine = Engine.load(pretrained, placement, EngineOptions(max_rows=rows))

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answer requests, whose arguments end with messages, options, number, task and split.

        Raises:
            ConfigError: a question cannot be asked.
        """
        asked = [self._question(at, request.args) for at, request in enumerate(requests)]
        answers: dict[int, str] = {}
        for sampling in dict.fromkeys(sampling for _, sampling in asked):
            chosen = [question for question, one in asked if one == sampling]
            for question, reply in ask(self._engine, chosen, sampling):
                if reply.error:
                    raise ConfigError(reply.error)
                answers[int(question.id)] = reply.text
        return [answers[at] for at in range(len(asked))]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation, and whether it is the greedy answer.

        Arguments are the question, the answer or a function of the row, a function that gives the
        row's media, number, task and split.
        """
        conversations, wanted = [], []
        for request in requests:
            context, target, visuals, number, task, split = request.args
            row = self.task_dict[task][split][number]
            wanted.append(target if isinstance(target, str) else str(target(row)))
            content = [{"type": "image", "url": one} for one in visuals(row) or ()]
            message = {"role": "user", "content": [*content, {"type": "text", "text": context}]}
            conversations.append(conversation_of([message], f"{task} {number}"))
        scores = self._engine.score(conversations, wanted)
        sampling = Sampling(max_new_tokens=_MOST_NEW_TOKENS)
        greedy = self._engine.answer(conversations, sampling)
        return [
            (score, said.text.strip() == text.strip())
            for score, said, text in zip(scores, greedy, wanted, strict=True)
        ]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuse: tasks of several rounds call back into lmms-eval between them.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{len(requests)} requests of several rounds: the model 'hocket' answers tasks of one "
            "round. Choose another task, or ask with hocket eval."
        )

    def _question(self, at: int, arguments: tuple[Any, ...]) -> tuple[Question, Sampling]:
        # lmms-eval 0.7 puts the plain text first, 0.6 did not.
        to_messages: Callable[[Any], Messages]
        to_messages, options, number, task, split = arguments[-5:]
        conversation = conversation_of(
            to_messages(self.task_dict[task][split][number]), f"{task} {number}"
        )
        question = Question(
            id=str(at),
            conversation=conversation,
            target="",
            modality=modality_of(conversation),
            task=task,
        )
        return question, sampling_of(options)


def conversation_of(messages: Messages, name: str) -> Conversation:
    """Return lmms-eval's chat messages as a conversation.

    Raises:
        ConfigError: a part is of a kind that is not known.
        DataError: a medium cannot be used.
    """
    turns = []
    for message in messages:
        parts: list[Part] = []
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        for part in content:
            if parts and not isinstance(parts[-1], Text) and part["type"] == "text":
                parts.append(Text("\n" + part["text"]))
            else:
                parts.append(_part(part))
        turns.append(Message(Role(message["role"]), tuple(parts)))
    return Conversation(id=name, messages=tuple(turns), source=f"lmms-eval {name}")


def sampling_of(options: Mapping[str, Any]) -> Sampling:
    """Return lmms-eval's ``generation_kwargs`` as our options."""
    until = options.get("until") or ()
    temperature = float(options.get("temperature") or 0.0)
    sampling = Sampling(
        max_new_tokens=int(options.get("max_new_tokens") or _MOST_NEW_TOKENS),
        temperature=temperature if options.get("do_sample", temperature > 0) else 0.0,
        stop=tuple(text for text in ([until] if isinstance(until, str) else until) if text),
    )
    if options.get("top_p") is not None:
        sampling = replace(sampling, top_p=float(options["top_p"]))
    return sampling


def _part(part: Mapping[str, Any]) -> Part:
    match part["type"]:
        case "text":
            return Text(part["text"])
        case "image":
            return as_image(part["url"])
        case "video":
            return as_video(part["url"])
        case "audio":
            sound = part["url"]
            if isinstance(sound, Mapping):
                # As Hugging Face's datasets decode it.
                wave = np.asarray(sound["array"], np.float32)
                return as_audio(wave, rate=int(sound["sampling_rate"]))
            return as_audio(sound, rate=16000)
        case other:
            raise ConfigError(
                f"lmms-eval gave a part of type {other!r}, expected text, image, video or audio."
            )
