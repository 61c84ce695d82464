"""The engine: conversations in, answers out.

Chat, evaluation and every other caller use this class, so a prompt means the same everywhere.
It knows a model and its processor; it must not know files, servers or benchmarks.

Letters: B conversations of a batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.checkpoint.directory import load_checkpoint
from hocket.checkpoint.loading import Placement
from hocket.infer.originals import OriginalCalls
from hocket.infer.sampling import Sampling, choose
from hocket.infer.thinking import ThinkingBudget, split_thought
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.accept import as_audio, as_image, as_list, as_video
from hocket.tokens.batch import IGNORED, Batch, pad_batch
from hocket.tokens.example import Example
from hocket.tokens.processor import HocketProcessor


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said.

    Attributes:
        text: the answer.
        tokens: its token ids, the end token left out.
        finished: whether the model ended it; False when it was cut at the limit.
        prompt_tokens: tokens of the prompt, media included.
    """

    text: str
    tokens: tuple[int, ...]
    finished: bool
    prompt_tokens: int

    @property
    def thought(self) -> str:
        """What the model thought aloud, tags included; empty where it did not finish a thought."""
        return split_thought(self.text)[0]

    @property
    def response(self) -> str:
        """The answer without the thought, as Ovis 2.5's ``chat`` returns it."""
        return split_thought(self.text)[1]


def prompt(
    text: str,
    *,
    images: Any = None,
    audios: Any = None,
    videos: Any = None,
    rate: int = 16000,
) -> Conversation:
    """Return a conversation of one user turn: media first, then the text.

    Args:
        text: the question; ``<image>`` in it is text like any other.
        images: a picture or a list: paths, bytes, PIL pictures or uint8 arrays (H, W, 3).
        audios: a sound or a list: paths, bytes or float32 arrays (L,) at `rate`.
        videos: a video or a list: paths or uint8 arrays (N, H, W, 3).
        rate: samples per second of sounds given as arrays.

    Raises:
        DataError: a medium is none of these.
    """
    media: list[Part] = [as_image(item) for item in as_list(images)]
    media += [as_audio(item, rate=rate) for item in as_list(audios)]
    media += [as_video(item) for item in as_list(videos)]
    parts: list[Part] = []
    for medium in media:
        parts += [medium, Text("\n")]
    message = Message(Role.USER, (*parts, Text(text)))
    return Conversation(id="prompt", messages=(message,), source="prompt")


class Engine(OriginalCalls):
    """Answers conversations with one model.

    Args:
        model: the composite.
        processor: its processor.
    """

    def __init__(self, model: HocketForConditionalGeneration, processor: HocketProcessor) -> None:
        self.model = model
        self.processor = processor
        # Some chat formats end a turn with one token and a text with another.
        ends = model.generation_config.eos_token_id
        found = ends if isinstance(ends, list) else [ends]
        self._ends = {token for token in found if token is not None}
        self._ends.add(int(processor.tokenizer.eos_token_id))

    @classmethod
    def load(cls, path: str | Path, placement: Placement | None = None) -> Engine:
        """Open a checkpoint directory or a run's folder.

        Raises:
            CheckpointError: it cannot be opened.
        """
        loaded = load_checkpoint(path, placement)
        return cls(loaded.model, loaded.processor)

    def generate(
        self,
        text: str,
        *,
        images: Any = None,
        audios: Any = None,
        videos: Any = None,
        sampling: Sampling | None = None,
        image_path: Any = None,
        audio_path: Any = None,
        video_path: Any = None,
    ) -> str:
        """Answer one question about the given media; see `prompt` for what they may be.

        ``image_path``, ``audio_path`` and ``video_path`` are VITA's names for the same arguments.

        Raises:
            MediaError: a medium cannot be opened.
            ConfigError: the model has no encoder for it.
        """
        question = prompt(
            text,
            images=[images, image_path],
            audios=[audios, audio_path],
            videos=[videos, video_path],
        )
        return self.answer([question], sampling)[0].text

    def answer(
        self, conversations: Sequence[Conversation], sampling: Sampling | None = None
    ) -> list[Answer]:
        """Answer a batch of conversations, each of which ends with a user turn.

        Raises:
            DataError: a conversation does not end with a user or tool turn.
        """
        chosen = sampling or Sampling()
        if not conversations:
            return []
        examples = [self._encode(conversation, chosen) for conversation in conversations]
        tokens: list[list[int]] = [[] for _ in examples]
        ended = [False] * len(examples)
        for step in self._steps(examples, chosen):
            for row, token in enumerate(step.tolist()):
                if ended[row]:
                    continue
                if token in self._ends:
                    ended[row] = True
                else:
                    tokens[row].append(token)
                    ended[row] = self._hits_stop(tokens[row], chosen)
            if all(ended):
                break
        return [
            Answer(self._text(ids, chosen), tuple(ids), done, len(example.outline.input_ids))
            for ids, done, example in zip(tokens, ended, examples, strict=True)
        ]

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling | None = None,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """Yield the answer piece by piece; `stop` is asked before every token.

        Raises:
            DataError: the conversation does not end with a user or tool turn.
        """
        chosen = sampling or Sampling()
        ids: list[int] = []
        shown = 0
        for step in self._steps([self._encode(conversation, chosen)], chosen):
            if stop():
                return
            token = int(step[0])
            ended = token in self._ends
            if not ended:
                ids.append(token)
                ended = self._hits_stop(ids, chosen)
            text = self._text(ids, chosen)
            safe = len(text) if ended else _settled(text, chosen.stop)
            if safe > shown:
                yield text[shown:safe]
                shown = safe
            if ended:
                return
        if rest := self._text(ids, chosen)[shown:]:
            yield rest

    def score(
        self, conversations: Sequence[Conversation], continuations: Sequence[str]
    ) -> list[float]:
        """Return the log-probability of each continuation as the answer, end token included.

        Args:
            conversations: each ends with a user turn.
            continuations: one answer per conversation.

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
            _check_open(conversation)
            answered = Conversation(
                id=conversation.id,
                messages=(
                    *(_untrained(message) for message in conversation.messages),
                    Message(Role.ASSISTANT, (Text(text),)),
                ),
                tools=conversation.tools,
                source=conversation.source,
            )
            examples.append(self.processor.encode(answered))
        batch = self._batch(examples, side="right")
        labels = batch["labels"][:, 1:]
        with torch.inference_mode():
            logits = self.model(**{k: v for k, v in batch.items() if k != "labels"}).logits
        picked = logits[:, :-1].float().log_softmax(-1)
        wanted = labels.clamp(min=0)[..., None]
        scores = picked.gather(-1, wanted)[..., 0] * (labels != IGNORED)
        return [float(value) for value in scores.sum(dim=1)]

    def _encode(self, conversation: Conversation, sampling: Sampling) -> Example:
        _check_open(conversation)
        return self.processor.encode(conversation, for_answer=True, thinking=sampling.thinking)

    def _batch(self, examples: Sequence[Example], *, side: Any) -> Batch:
        pad = int(self.processor.tokenizer.pad_token_id)
        batch = pad_batch(examples, pad_id=pad, side=side)
        return {name: value.to(self.model.device) for name, value in batch.items()}  # type: ignore[attr-defined, return-value] # every value of a Batch is a tensor

    def _steps(self, examples: Sequence[Example], sampling: Sampling) -> Iterator[Tensor]:
        """Yield the next token int64 (B,) of every row, for ever or until the limit."""
        batch = self._batch(examples, side="left")
        mask = batch["attention_mask"]
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config.text_config)
        generator = torch.Generator(device=self.model.device).manual_seed(sampling.seed)
        inputs: dict[str, Any] = {
            name: value
            for name, value in batch.items()
            if name not in ("labels", "attention_mask", "input_ids")
        }
        ids = batch["input_ids"]
        budget = self._budget(sampling)
        for _ in range(sampling.max_new_tokens):
            # Entered for each step, not around the yield, so that callers are left alone.
            with torch.inference_mode():
                output = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                    **inputs,
                )
                token = choose(output.logits[:, -1], sampling, generator)
                token = budget.apply(token) if budget else token
            yield token
            inputs = {}
            ids = token[:, None]
            mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
            positions = positions[:, -1:] + 1

    def _budget(self, sampling: Sampling) -> ThinkingBudget | None:
        if not sampling.thinking or not sampling.thinking_budget:
            return None
        limit, words = sampling.thinking_budget, self.processor.tokenizer
        return ThinkingBudget(words, limit=limit, ends=self._ends)

    def _text(self, ids: Sequence[int], sampling: Sampling) -> str:
        text = str(self.processor.tokenizer.decode(ids, skip_special_tokens=False))
        cuts = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
        return text[: min(cuts)] if cuts else text

    def _hits_stop(self, ids: Sequence[int], sampling: Sampling) -> bool:
        if not sampling.stop:
            return False
        text = str(self.processor.tokenizer.decode(ids, skip_special_tokens=False))
        return any(stop in text for stop in sampling.stop)


def _check_open(conversation: Conversation) -> None:
    if not conversation.messages or conversation.messages[-1].role is Role.ASSISTANT:
        raise DataError(
            f"{conversation.source}: must end with a user turn to be answered. Drop the last turn."
        )


def _settled(text: str, stops: Sequence[str]) -> int:
    """Return how much of an unfinished answer no later token can take back.

    A character cut between two tokens decodes to U+FFFD until it is whole, and the end of the text
    may be the start of a stop text.
    """
    whole = text.rstrip("\ufffd")
    held = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(whole)), held, -1):
            if whole.endswith(stop[:length]):
                held = length
                break
    return len(whole) - held


def _untrained(message: Message) -> Message:
    return Message(message.role, message.parts, train=False)
