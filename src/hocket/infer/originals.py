"""The calls that scripts written for LLaVA, VILA, VITA and Ovis make, answered by the engine.

`hocket.load(...)` returns an engine that has them. Each is a thin form of an engine method: nothing
is prepared in a second way. Where an original reads ``<image>`` in the text as the place of a
medium, so do these; the engine's own methods never do.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.chat.template import to_messages
from hocket.infer.sampling import Sampling
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.accept import as_audio, as_image, as_list, as_video
from hocket.tokens.batch import pad_batch
from hocket.tokens.processor import HocketProcessor

_PLACE = re.compile(r"(<image>|<video>|<audio>)")
_MEDIA = {"image_path": "<image>", "video_path": "<video>", "audio_path": "<audio>"}


class Prepared(NamedTuple):
    """What Ovis' ``preprocess_inputs`` returns.

    Attributes:
        prompt: the text with its placeholders, as the chat template writes it.
        input_ids: int64 (T,) token ids, placeholders expanded.
        pixel_values: float32 (U, 3, H, W) of the pictures, or None without any.
    """

    prompt: str
    input_ids: Tensor
    pixel_values: Tensor | None


class OriginalCalls(ABC):
    """Mixed into the engine."""

    processor: HocketProcessor

    @abstractmethod
    def answer(
        self, conversations: Sequence[Conversation], sampling: Sampling | None = None
    ) -> list[Any]:
        """Answer a batch of conversations."""

    def preprocess_inputs(self, query: str, images: Sequence[Any] = ()) -> Prepared:
        """Return prompt, token ids and pixels of a question, as Ovis' method of that name.

        Args:
            query: the question; ``<image>`` marks the place of each picture.
            images: paths, bytes, PIL pictures or arrays, in order.

        Raises:
            DataError: placeholders and pictures differ in number.
        """
        question = place_media(query, images=images)
        example = self.processor.encode(question, for_answer=True)
        batch = pad_batch([example], pad_id=0, side="left")
        text = self.processor.apply_chat_template(
            to_messages(question), tokenize=False, add_generation_prompt=True
        )
        return Prepared(str(text), batch["input_ids"][0], batch.get("pixel_values"))

    def generate_batch(
        self, batch: Sequence[Mapping[str, Any]], sampling: Sampling | None = None
    ) -> list[str]:
        """Answer several questions, as VITA's method of that name.

        Args:
            batch: each has ``text`` and may have ``image_path``, ``audio_path``, ``video_path``:
                one path or a list.
            sampling: how tokens are drawn.

        Raises:
            DataError: an item has no text or an unknown key.
        """
        questions = [_read_item(number, item) for number, item in enumerate(batch)]
        return [one.text for one in self.answer(questions, sampling)]

    def generate_content(
        self, content: str | Sequence[Any], sampling: Sampling | None = None
    ) -> str:
        """Answer one turn of texts and media in order, as VILA's method of that name.

        Args:
            content: a text, or texts and `hocket.Image`, `Audio`, `Video` in order.
            sampling: how tokens are drawn.

        Raises:
            DataError: a part is neither text nor a medium.
        """
        parts: list[Part] = []
        for item in [content] if isinstance(content, str) else content:
            if isinstance(item, str):
                parts.append(Text(item))
            elif isinstance(item, Image | Audio | Video):
                parts.append(item)
            else:
                raise DataError(
                    f"content holds a {type(item).__name__}, expected text, hocket.Image, Audio or "
                    "Video. Wrap paths: hocket.Image.from_path(path)."
                )
        return str(self.answer([_ask(parts)], sampling)[0].text)


def place_media(
    query: str, *, images: Any = None, audios: Any = None, videos: Any = None, rate: int = 16000
) -> Conversation:
    """Return one user turn in which ``<image>``, ``<audio>`` and ``<video>`` are places for media.

    A kind of which the text has no place goes in front of the text, each medium on its own line.

    Raises:
        DataError: places and media of a kind differ in number.
    """
    queues: dict[str, list[Part]] = {
        "<image>": [as_image(item) for item in as_list(images)],
        "<audio>": [as_audio(item, rate=rate) for item in as_list(audios)],
        "<video>": [as_video(item) for item in as_list(videos)],
    }
    pieces = _PLACE.split(query)
    front: list[Part] = []
    for place, media in queues.items():
        wanted = pieces.count(place)
        if wanted and wanted != len(media):
            raise DataError(
                f"the text has {wanted} {place} but {len(media)} were given. Make them match."
            )
        if not wanted:
            front += [part for medium in media for part in (medium, Text("\n"))]
            media.clear()
    inside = [queues[piece].pop(0) if piece in queues else Text(piece) for piece in pieces if piece]
    return _ask([*front, *inside])


def _ask(parts: Sequence[Part]) -> Conversation:
    return Conversation(id="prompt", messages=(Message(Role.USER, tuple(parts)),), source="prompt")


def _read_item(number: int, item: Mapping[str, Any]) -> Conversation:
    unknown = item.keys() - {"text", *_MEDIA}
    if unknown or not isinstance(item.get("text"), str):
        raise DataError(
            f"batch item {number} has the keys {sorted(item)}, expected text and any of "
            f"{', '.join(_MEDIA)}."
        )
    question = place_media(
        item["text"],
        images=item.get("image_path"),
        audios=item.get("audio_path"),
        videos=item.get("video_path"),
    )
    return replace(question, source=f"batch item {number}")
