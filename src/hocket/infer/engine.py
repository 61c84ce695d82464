"""The engine: conversations in, answers out.

Chat, evaluation, the server and every other caller use this class, so a prompt means the same
everywhere, and requests from all of them are answered together. It knows a model and its processor;
it must not know files, servers or benchmarks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.checkpoint.directory import load_checkpoint
from hocket.checkpoint.loading import Placement
from hocket.infer.grammar import Grammars
from hocket.infer.options import EngineOptions, EngineState
from hocket.infer.originals import OriginalCalls
from hocket.infer.prompt import CONTEXT, Prompt, PromptMaker
from hocket.infer.request import Answer as Answer
from hocket.infer.request import Handle, Piece, PromptTooLongError
from hocket.infer.row import Language, Row
from hocket.infer.sampling import Sampling
from hocket.infer.scheduler import Scheduler
from hocket.infer.scoring import score
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.accept import as_audio, as_image, as_list, as_video
from hocket.tokens.example import Outline
from hocket.tokens.processor import HocketProcessor


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
    """Answers conversations with one model, many at a time.

    Methods may be called from any thread. Work is done by whoever waits for an answer; a program
    that does not wait, such as a server, calls `start` for a thread that does it.

    Args:
        model: the composite.
        processor: its processor.
        options: limits.
    """

    def __init__(
        self,
        model: HocketForConditionalGeneration,
        processor: HocketProcessor,
        options: EngineOptions | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.options = options or EngineOptions()
        # Some chat formats end a turn with one token and a text with another.
        ends = model.generation_config.eos_token_id
        found = ends if isinstance(ends, list) else [ends]
        every = {token for token in found if token is not None}
        every.add(int(processor.tokenizer.eos_token_id))
        self._language = Language(processor.tokenizer, frozenset(every), _context(model))
        self._prompts = PromptMaker(processor, model.config)
        self._vocab_size = int(model.config.text_config.vocab_size)
        self._grammars = Grammars(processor.tokenizer, vocab_size=self._vocab_size, ends=every)
        self._scheduler = Scheduler(model, self.options)

    @classmethod
    def load(
        cls,
        path: str | Path,
        placement: Placement | None = None,
        options: EngineOptions | None = None,
    ) -> Engine:
        """Open a checkpoint directory or a run's folder.

        Raises:
            CheckpointError: it cannot be opened.
        """
        loaded = load_checkpoint(path, placement)
        return cls(loaded.model, loaded.processor, options)

    @property
    def context(self) -> int:
        """Positions that the model has, prompt and answer together."""
        return self._language.limit

    @property
    def state(self) -> EngineState:
        """What the engine is doing, and what it has done."""
        return self._scheduler.state()

    def submit(
        self,
        question: Conversation | str,
        sampling: Sampling | None = None,
        *,
        on_token: Callable[[Piece], None] | None = None,
        owner: str = "",
    ) -> Handle:
        """Hand in a request; it is answered together with all others.

        Media are decoded here, in the caller's thread.

        Args:
            question: a conversation that ends with a user or tool turn, or a text that is continued
                as it is, without a chat template.
            sampling: how tokens are drawn; `Sampling.n` answers are made.
            on_token: called with each piece in the thread that runs the steps. What it raises
                fails this request.
            owner: whose it is; what is kept of prompts and media is used for the same owner alone,
                so that nobody can tell from times or counts what another one asked.

        Raises:
            DataError: the conversation does not end with a user or tool turn.
            PromptTooLongError: the prompt leaves no room for an answer.
            MediaError: a medium cannot be opened or decoded.
            ConfigError: the model has no encoder for a medium, or a constraint cannot be used.
            MissingExtraError: a constraint is wanted and llguidance is not installed.
        """
        chosen = sampling or Sampling()
        made = self._prompt(question, chosen)
        if owner:
            made = made.kept_for(owner)
        if strange := [token for token, _ in chosen.logit_bias if token >= self._vocab_size]:
            raise ConfigError(
                f"sampling: logit_bias names token {strange[0]}, but the vocabulary has "
                f"{self._vocab_size}. Use ids of this model's tokenizer."
            )
        rows = []
        for choice in range(chosen.n):
            wanted = chosen.constraint
            matcher = self._grammars.matcher(wanted) if wanted else None
            rows.append(Row(made, chosen, choice, self._language, matcher))
        return self._scheduler.submit(rows, on_token)

    def outline(self, question: Conversation, *, thinking: bool | None = None) -> Outline:
        """Return the tokens of a question, media expanded; nothing is decoded or answered.

        Raises:
            DataError: it does not end with a user or tool turn.
            PromptTooLongError: its texts alone leave no room for an answer.
            MediaError: a header cannot be read.
            ConfigError: the model has no encoder for a medium.
        """
        self._prompts.check_texts(question.source, _texts(question), limit=self.context)
        return self._prompts.outline(question, thinking=thinking)

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
        """Answer conversations together, each of which ends with a user turn.

        Of `Sampling.n` answers to each, the first is returned.

        Raises:
            DataError: a conversation does not end with a user or tool turn.
        """
        handles: list[Handle] = []
        try:
            handles.extend(self.submit(one, sampling) for one in conversations)
            return [handle.result().answers[0] for handle in handles]
        finally:
            for handle in handles:
                handle.cancel()

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling | None = None,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """Yield the answer piece by piece; `stop` is asked for every token.

        Raises:
            DataError: the conversation does not end with a user or tool turn.
        """
        handle = self.submit(conversation, sampling)
        try:
            for piece in handle:
                if stop():
                    return
                if piece.text and piece.choice == 0:
                    yield piece.text
        finally:
            handle.cancel()

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
        return score(self.model, self.processor, conversations, continuations)

    def step(self) -> bool:
        """Give every answer under way one more token; say whether there was anything to do.

        For callers that drive the engine themselves, such as tests.
        """
        return self._scheduler.step()

    def start(self) -> None:
        """Answer requests in a thread of the engine from now on."""
        self._scheduler.start()

    def stop(self) -> None:
        """End that thread; requests that are left go on when somebody waits for them."""
        self._scheduler.stop()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer requests in a thread of the engine inside a ``with`` block."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def forget(self) -> None:
        """Drop what is kept of earlier prompts and media.

        Call it after a change of the model that writes to no parameter, such as another active
        adapter; changes of weights are noticed.
        """
        self._scheduler.forget()

    def _prompt(self, question: Conversation | str, sampling: Sampling) -> Prompt:
        outline: Outline
        if isinstance(question, str):
            self._prompts.check_texts("prompt", [question], limit=self.context)
            outline = self._prompts.text_outline(question)
            self._check_length(outline)
            return self._prompts.make(None, outline)
        outline = self.outline(question, thinking=sampling.thinking)
        # Before anything is decoded.
        self._check_length(outline)
        return self._prompts.make(question, outline)

    def _check_length(self, outline: Outline) -> None:
        tokens = self._prompts.count_positions(outline)
        if tokens >= self.context:
            raise PromptTooLongError(
                outline.source, tokens=tokens, limit=self.context, what=CONTEXT
            )


def _texts(conversation: Conversation) -> list[str]:
    """Return all text that a template writes out for sure."""
    texts = [message.text for message in conversation.messages]
    return [*texts, *(text for tool in conversation.tools for text in _strings(tool))]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)


def _context(model: HocketForConditionalGeneration) -> int:
    """Return the positions that the language model has."""
    text = model.config.text_config.to_dict()
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
        if isinstance(text.get(name), int):
            return int(text[name])
    return sys.maxsize
