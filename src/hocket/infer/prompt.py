"""A prompt as the scheduler needs it: token ids, what each stands for, positions and media.

Made in the thread of the caller, so that a medium that cannot be decoded fails its own request and
holds up no other. Must not run the model.

Letters: T tokens, U encoder units, S spans.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Role
from hocket.infer.request import PromptTooLongError
from hocket.model.config import HocketConfig
from hocket.model.positions import shared_positions
from hocket.tokens.batch import span_table
from hocket.tokens.example import IGNORED, Cost, Example, Outline
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality, Span
from hocket.tokens.text import is_cut_off

CONTEXT = "the model's context"
"""What a prompt is too long for, in messages."""
_DIGEST_BYTES = 16
_SLICE_CHARS = 2**14
_CUT_TOKENS = 16  # that a cut through a text may add
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A medium of a prompt.

    Attributes:
        span: where it is.
        units: encoder inputs (U, ...).
        times: float32 (U,) seconds of the frames of a video.
        lengths: int64 (U,) positions of a sound that are not padding.
        digest: hash of all that the encoder is given.
    """

    span: Span
    units: Tensor
    times: Tensor | None
    lengths: Tensor | None
    digest: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A tokenised question.

    Attributes:
        source: where it comes from, for messages.
        ids: int64 (T,) token ids, placeholders expanded.
        keys: int64 (T,), the same number where the same token or row of a medium stands.
        positions: int64 (T,) as the language model counts them.
        shown: its media in reading order.
    """

    source: str
    ids: Ids
    keys: Ids
    positions: Ids
    shown: tuple[Shown, ...]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)

    @property
    def media_tokens(self) -> Mapping[Modality, int]:
        """Tokens that stand for media, by kind."""
        counts: Counter[Modality] = Counter()
        for one in self.shown:
            counts[one.span.modality] += one.span.rows
        return dict(counts)

    def kept_for(self, owner: str) -> Prompt:
        """Return the same prompt, which finds nothing that was kept of another owner's."""
        mark = hashlib.blake2b(owner.encode(), digest_size=_DIGEST_BYTES)
        keys = self.keys.copy()
        keys[0] = -1 - int.from_bytes(mark.digest()[:7], "little")
        shown = []
        for one in self.shown:
            both = mark.copy()
            both.update(one.digest)
            shown.append(replace(one, digest=both.digest()))
        return replace(self, keys=keys, shown=tuple(shown))


class PromptMaker:
    """Makes prompts; from several threads if need be.

    Args:
        processor: of the checkpoint.
        config: of the model.
    """

    def __init__(self, processor: HocketProcessor, config: HocketConfig) -> None:
        self._processor = processor
        self._config = config
        self._words = Lock()  # a tokenizer that is set up by one thread must not run in another

    def outline(self, conversation: Conversation, *, thinking: bool | None = None) -> Outline:
        """Tokenise a conversation that waits for an answer; nothing is decoded.

        An answer at its end that was cut off is gone on with: its last token is the prompt's last.

        Raises:
            DataError: it does not end with a user or tool turn, or with an answer to go on with.
            MediaError: a header cannot be read.
            ConfigError: the model has no encoder for a medium.
        """
        goes_on = is_cut_off(conversation)
        if not goes_on:
            check_open(conversation)
        with self._words:
            found = self._processor.measure(conversation, for_answer=not goes_on, thinking=thinking)
        if goes_on and found.labels[-1] == IGNORED:
            raise DataError(
                f"{conversation.source}: its last answer cannot be gone on with: it is empty, or "
                "the chat template does not mark answers. End with a user turn."
            )
        return found

    def check_texts(self, source: str, texts: Sequence[str], *, limit: int) -> None:
        """Refuse texts that have too many tokens for sure, having made few more than that.

        A tokenizer stops every other thread while it works, so that whoever sent a long text would
        hold all others up for as long as its tokens take.

        Args:
            source: names the prompt.
            texts: all of its texts.
            limit: positions of the model.

        Raises:
            PromptTooLongError: they have.
        """
        whole, count = "".join(texts), 0
        if len(whole) <= max(limit, _SLICE_CHARS):
            return
        core = self._processor.tokenizer.backend_tokenizer
        for start in range(0, len(whole), _SLICE_CHARS):
            cut = whole[start : start + _SLICE_CHARS]
            made = core.encode(cut, add_special_tokens=False).ids
            count += max(len(made) - _CUT_TOKENS, 0)
            if count >= limit:
                raise PromptTooLongError(
                    source, tokens=limit, limit=limit, what=CONTEXT, counted=False
                )

    def text_outline(self, text: str) -> Outline:
        """Tokenise a text that is continued as it is, without a chat template.

        Raises:
            DataError: it has no token.
        """
        with self._words:
            ids = list(self._processor.tokenizer(text)["input_ids"])
        if not ids:
            raise DataError("prompt: has no token to go on from. Write some text.")
        return Outline("prompt", "prompt", ids, [IGNORED] * len(ids), (), (), Cost(len(ids)))

    def count_positions(self, outline: Outline) -> int:
        """Return how many positions of the language model a prompt takes."""
        return int(self._positions(np.array(outline.input_ids, np.int64))[-1]) + 1

    def make(self, conversation: Conversation | None, outline: Outline) -> Prompt:
        """Decode the media of an outline; no conversation means that it has none.

        Raises:
            MediaError: a medium cannot be decoded.
        """
        ids = np.array(outline.input_ids, np.int64)
        shown: tuple[Shown, ...] = ()
        if conversation is not None and outline.spans:
            shown = _shown(self._processor.encode(conversation, outline=outline))
        return Prompt(outline.source, ids, self._keys(ids, shown), self._positions(ids), shown)

    def _keys(self, ids: Ids, shown: tuple[Shown, ...]) -> Ids:
        keys = ids.copy()
        for one in shown:
            token = self._processor.placeholder_ids[one.span.modality]
            inside = slice(one.span.start, one.span.stop)
            # A negative number is never a token id. Equal rows of two media meet by chance only.
            first = int.from_bytes(one.digest[:7], "little")
            rows = -1 - (first + np.arange(one.span.stop - one.span.start))
            keys[inside] = np.where(ids[inside] == token, rows, ids[inside])
        return keys

    def _positions(self, ids: Ids) -> Ids:
        stride = self._config.shared_positions
        if stride <= 1:
            return np.arange(len(ids), dtype=np.int64)
        row = torch.from_numpy(ids)[None]
        visual = (row == self._config.image_token_id) | (row == self._config.video_token_id)
        real = torch.ones_like(visual)
        starts = torch.zeros_like(visual)
        starts[:, 0] = True
        found: Ids = shared_positions(visual, starts, real, stride=stride)[0].numpy()
        return found


def check_open(conversation: Conversation) -> None:
    """Refuse a conversation that does not wait for an answer.

    Raises:
        DataError: it is empty or ends with an answer.
    """
    if not conversation.messages or conversation.messages[-1].role is Role.ASSISTANT:
        raise DataError(
            f"{conversation.source}: must end with a user turn to be answered. Drop the last turn."
        )


def _shown(example: Example) -> tuple[Shown, ...]:
    """Cut the encoder inputs of an example into those of each medium."""
    inputs = {
        Modality.IMAGE: example.images,
        Modality.VIDEO: example.frames,
        Modality.AUDIO: example.sounds,
    }
    done: Counter[Modality] = Counter()
    found = []
    for span in example.outline.spans:
        at = slice(done[span.modality], done[span.modality] + span.units)
        done[span.modality] += span.units
        every = inputs[span.modality]
        assert every is not None
        times = lengths = None
        if span.modality is Modality.VIDEO and example.frame_times is not None:
            times = example.frame_times[at]
        if span.modality is Modality.AUDIO and example.sound_lengths is not None:
            lengths = example.sound_lengths[at]
        digest = _digest(span, every[at], times, lengths)
        found.append(Shown(span, every[at], times, lengths, digest))
    return tuple(found)


def _digest(span: Span, *inputs: Tensor | None) -> bytes:
    made = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    made.update(f"{span.modality} {span_table([span]).tolist()}".encode())
    for one in inputs:
        if one is not None:
            array = np.ascontiguousarray(one.numpy())
            made.update(f"{array.dtype} {array.shape}".encode())
            made.update(array.data)
    return made.digest()
