"""The processor: conversations in, token ids, labels, spans and encoder inputs out.

It is transformers' processor of the checkpoint (``AutoProcessor`` opens it) and the only code
that turns media into placeholder tokens, for training, evaluation, chat and serving alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerFast
from transformers.processing_utils import ProcessorMixin

from hocket._errors import AlignmentError, ConfigError, DataError
from hocket.chat.conversation import Conversation, Medium, Message, Role
from hocket.media.frames import FrameSampler, sampler_from
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.accept import as_audio, as_image, as_list, as_video
from hocket.tokens.batch import IGNORED, pad_batch
from hocket.tokens.cutter import FeatureSource, MediaCutter, MediaTransform, UnitTransform
from hocket.tokens.example import Example, Outline, cost_of
from hocket.tokens.layout import AudioLayout, ImageLayout, layout_from
from hocket.tokens.soundtrack import with_soundtracks
from hocket.tokens.span import Modality, Plan, Span
from hocket.tokens.text import TextEncoder, TextRules, Tokens
from hocket.tokens.tokenizer import AUDIO, IMAGE, VIDEO

Options = dict[str, Any]

_SAVED = (
    "image_layout",
    "audio_layout",
    "video_sampling",
    "video_layout",
    "video_sound",
    "text_rules",
)


class HocketProcessor(ProcessorMixin):  # type: ignore[misc] # transformers ships no types for it
    """Tokenizer, layouts and chat template of one checkpoint.

    Args:
        tokenizer: a fast tokenizer that knows ``<image>``, ``<video>`` and ``<audio>``.
        image_layout: options of the layout of pictures and frames, or None without vision.
        audio_layout: options of the layout of sounds, or None without audio.
        video_sampling: options of the frame sampler, or None without video.
        video_layout: options of the layout of frames; None shares that of pictures.
        video_sound: whether the sound of a video is heard, behind its frames.
        chat_template: Jinja source of the chat template.
        text_rules: options of `hocket.tokens.text.TextRules`, for imported checkpoints only.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        image_layout: Options | None = None,
        audio_layout: Options | None = None,
        video_sampling: Options | None = None,
        video_layout: Options | None = None,
        video_sound: bool = False,
        chat_template: str | None = None,
        text_rules: Options | None = None,
    ) -> None:
        super().__init__(tokenizer, chat_template=chat_template or tokenizer.chat_template)
        self.image_layout = image_layout
        self.audio_layout = audio_layout
        self.video_sampling = video_sampling
        self.video_layout = video_layout
        self.video_sound = video_sound
        self.text_rules = text_rules
        self.images: ImageLayout | None = layout_from(image_layout) if image_layout else None  # type: ignore[assignment] # the kind decides which protocol holds
        self.films: ImageLayout | None = layout_from(video_layout) if video_layout else self.images  # type: ignore[assignment] # as above
        self.sounds: AudioLayout | None = layout_from(audio_layout) if audio_layout else None  # type: ignore[assignment] # as above
        self.sampler: FrameSampler | None = sampler_from(video_sampling) if video_sampling else None
        self.media = MediaCutter(self.images, self.films, self.sounds, self.sampler)
        self.placeholder_ids = {
            Modality.IMAGE: self._id_of(IMAGE),
            Modality.VIDEO: self._id_of(VIDEO),
            Modality.AUDIO: self._id_of(AUDIO),
        }
        self._modality_of = {token: kind for kind, token in self.placeholder_ids.items()}
        self._rules = TextRules.from_options(text_rules)
        self._text: TextEncoder | None = None

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> HocketProcessor:
        """Open a checkpoint's processor, as `ProcessorMixin.from_pretrained` does."""
        # Fires hocket's import hook; else transformers asks whether to run the folder's shim.
        importlib.import_module("transformers.models.auto.processing_auto")
        return super().from_pretrained(*args, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``processor_config.json`` holds: the layouts, nothing derived."""
        return {"processor_class": type(self).__name__} | {
            name: self.__dict__[name] for name in _SAVED
        }

    @property
    def text(self) -> TextEncoder:
        """The encoder of this checkpoint's chat template.

        Raises:
            ConfigError: the checkpoint has no chat template.
        """
        if not self.chat_template:
            raise ConfigError("the processor has no chat template. Set model.tokenizer.template.")
        return self._encoder()

    def prepare(self, conversation: Conversation) -> Conversation:
        """Return the conversation with every medium that the model takes as a part of its own.

        Raises:
            MediaError: a video cannot be opened.
        """
        return with_soundtracks(conversation) if self.video_sound else conversation

    def measure(
        self,
        conversation: Conversation,
        *,
        for_answer: bool = False,
        thinking: bool | None = None,
        plans: Sequence[Plan] | None = None,
    ) -> Outline:
        """Tokenise a conversation and plan its media from their headers, decoding nothing.

        Args:
            conversation: the dialogue.
            for_answer: open the assistant's next turn, for generation.
            thinking: whether the turn opens with thinking; None leaves it to the template.
            plans: one for each medium, such as smaller ones than the layouts would make.

        Raises:
            MediaError: a header cannot be read.
            ConfigError: the model has no encoder for a medium.
        """
        conversation = self.prepare(conversation)
        tokens = self.text.encode(conversation, for_answer=for_answer, thinking=thinking)
        if plans is None:
            plans = self.media.plans(list(conversation.media()), conversation.source)
        return self._expand(tokens, plans, conversation)

    def encode(
        self,
        conversation: Conversation,
        *,
        for_answer: bool = False,
        thinking: bool | None = None,
        transform: MediaTransform | None = None,
        retouch: UnitTransform | None = None,
        outline: Outline | None = None,
        features: FeatureSource | None = None,
    ) -> Example:
        """Tokenise a conversation and decode its media.

        Args:
            conversation: the dialogue.
            for_answer: open the assistant's next turn, for generation.
            thinking: whether the turn opens with thinking; None leaves it to the template.
            transform: an augmentation of the decoded media.
            retouch: an augmentation of the encoder inputs of sounds.
            outline: what `measure` returned for the same conversation, to save the work.
            features: what frozen towers make of media; those that it knows are not decoded.

        Raises:
            MediaError: a medium cannot be decoded.
            AlignmentError: a decoded medium does not fill its plan.
        """
        conversation = self.prepare(conversation)
        outline = outline or self.measure(conversation, for_answer=for_answer, thinking=thinking)
        units: dict[Modality, list[Tensor]] = {kind: [] for kind in Modality}
        times: list[Tensor] = []
        lengths: list[int] = []
        for index, (medium, plan) in enumerate(
            zip(conversation.media(), outline.plans, strict=True)
        ):
            kind = outline.spans[index].modality
            if features is not None and kind in features.modalities:
                made, seconds = features.find(kind, medium, plan)
            else:
                made, seconds = self.units(
                    medium, plan, outline, index=index, transform=transform, retouch=retouch
                )
            units[kind].append(made)
            if seconds is not None:
                times.append(seconds)
            if kind is Modality.AUDIO:
                lengths.extend(self.media.lengths(plan, outline.source))
        joined = {
            kind: torch.cat(parts) if len(parts) > 1 else parts[0]
            for kind, parts in units.items()
            if parts
        }
        return Example(
            outline=outline,
            images=joined.get(Modality.IMAGE),
            frames=joined.get(Modality.VIDEO),
            frame_times=torch.cat(times) if times else None,
            sounds=joined.get(Modality.AUDIO),
            sound_lengths=torch.tensor(lengths) if lengths else None,
            encoded=features.modalities if features else frozenset(),
        )

    def units(
        self,
        medium: Medium,
        plan: Plan,
        outline: Outline,
        *,
        index: int,
        transform: MediaTransform | None = None,
        retouch: UnitTransform | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Decode one medium into encoder inputs (U, ...) and, of a video, float32 (U,) seconds.

        Args:
            medium: the picture, video or sound.
            plan: what was planned for it.
            outline: the sample that it is part of.
            index: its number there.
            transform: an augmentation of decoded media.
            retouch: an augmentation of the encoder inputs of sounds.

        Raises:
            MediaError: it cannot be decoded.
            AlignmentError: it does not fill its plan.
        """
        seconds = None
        if isinstance(medium, Image):
            made = self.media.image_units(medium, plan, transform, index, outline)
        elif isinstance(medium, Video):
            made, seconds = self.media.video_units(medium, plan, transform, index, outline)
        else:
            made = self.media.sound_units(medium, plan, transform, index, outline)
            if retouch:
                made = retouch(Modality.AUDIO, made, index=index, plan=plan)
        # A sound that is given as an array may be its caller's own, which torch must not share.
        units = torch.from_numpy(made if made.flags.writeable else made.copy())
        return units, None if seconds is None else torch.from_numpy(seconds)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        audio: Any = None,
        padding_side: Literal["left", "right"] = "left",
        **kwargs: Any,
    ) -> BatchFeature:
        """Transformers' processor call: text with placeholders, and the media in order.

        Args:
            images: one picture or a flat list, in the order of the ``<image>`` placeholders.
            text: one or several texts that contain ``<image>``, ``<video>`` or ``<audio>``.
            videos: one video or a flat list of uint8 arrays (N, H, W, 3) or paths.
            audio: one sound or a flat list of float32 arrays (L,) at the model's rate, or paths.
            padding_side: generation pads on the left, training on the right.
            **kwargs: accepted for the common processor interface; ``return_tensors`` is "pt".
        """
        texts = [text] if isinstance(text, str) else list(text or [])
        if not texts:
            raise DataError("the processor needs text: give it text=..., with placeholders.")
        rate = self.sounds.rate if self.sounds else 0
        queues: dict[Modality, list[Medium]] = {
            Modality.IMAGE: [as_image(item) for item in as_list(images)],
            Modality.VIDEO: [as_video(item) for item in as_list(videos)],
            Modality.AUDIO: [as_audio(item, rate=rate) for item in as_list(audio)],
        }
        examples = []
        for number, one in enumerate(texts):
            ids = self._encoder().encode_text(one)
            media = [
                self._next(queues, self._modality_of[i]) for i in ids if i in self._modality_of
            ]
            source = f"text {number}"
            stub = Conversation(id=str(number), messages=(), source=source)
            plans = self.media.plans(media, source)
            outline = self._expand(Tokens(ids, [False] * len(ids)), plans, stub)
            examples.append(self._decode_all(media, outline))
        if left := {kind.value: len(queue) for kind, queue in queues.items() if queue}:
            raise AlignmentError(f"media without a placeholder in the text: {left}.")
        pad_id = self.tokenizer.pad_token_id
        batch = dict(pad_batch(examples, pad_id=pad_id, side=padding_side))
        batch.pop("labels")
        return BatchFeature(batch)

    @property
    def model_input_names(self) -> list[str]:
        """Every key a batch may hold."""
        media = ["pixel_values", "image_spans", "pixel_values_videos", "video_spans"]
        sound = ["frame_times", "input_features", "feature_lengths", "audio_spans"]
        return ["input_ids", "attention_mask", *media, *sound]

    def _encoder(self) -> TextEncoder:
        template = self.chat_template or ""
        if self._text is None or self._text.template != template:
            self._text = TextEncoder(self.tokenizer, template, self._rules)
        return self._text

    def _decode_all(self, media: Sequence[Medium], outline: Outline) -> Example:
        message = Message(Role.USER, tuple(media))
        return self.encode(
            Conversation(id=outline.id, messages=(message,), source=outline.source), outline=outline
        )

    def _next(self, queues: dict[Modality, list[Medium]], kind: Modality) -> Medium:
        if not queues[kind]:
            raise AlignmentError(f"the text has more <{kind.value}> placeholders than media.")
        return queues[kind].pop(0)

    def _id_of(self, token: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(token)
        if index is None or index == self.tokenizer.unk_token_id:
            raise ConfigError(
                f"the tokenizer has no token {token}. Add it with "
                "hocket.tokens.tokenizer.ensure_control_tokens."
            )
        return int(index)

    def _expand(
        self,
        tokens: Tokens,
        plans: Sequence[Plan],
        conversation: Conversation,
    ) -> Outline:
        """Repeat each placeholder as often as its plan has rows."""
        places = sorted(at for one in self._modality_of for at in _places(tokens.ids, one))
        if len(places) != len(plans):
            raise AlignmentError(
                f"{conversation.source}: the template wrote {len(places)} placeholders for "
                f"{len(plans)} media. The chat template must write one per medium."
            )
        learned = [
            token if keep else IGNORED
            for token, keep in zip(tokens.ids, tokens.learned, strict=True)
        ]
        ids: list[int] = []
        labels: list[int] = []
        spans: list[Span] = []
        edges = [-1, *places, len(tokens.ids)]
        for number, (before, at) in enumerate(pairwise(edges)):
            text = slice(before + 1, at)
            ids += tokens.ids[text]
            labels += learned[text]
            if number < len(plans):
                plan, kind = plans[number], self._modality_of[tokens.ids[at]]
                written = self._placeholders(kind, tokens.ids[at], plan)
                spans.append(
                    Span(
                        modality=kind,
                        start=len(ids),
                        rows=plan.rows,
                        units=plan.units,
                        grid=plan.grid,
                        tiles=plan.tiles,
                        text_tokens=len(written) - plan.rows,
                    )
                )
                ids += written
                labels += [IGNORED] * len(written)
        return Outline(
            id=conversation.id,
            source=conversation.source,
            input_ids=ids,
            labels=labels,
            spans=tuple(spans),
            plans=tuple(plans),
            cost=cost_of(labels, spans, plans),
        )

    def _placeholders(self, kind: Modality, token: int, plan: Plan) -> list[int]:
        """Return a medium's placeholder tokens, with the layout's own text around each piece."""
        front, closing = self._text_ids(plan.front), self._text_ids(plan.closing)
        behind = self._text_ids((*self.media.after(kind), *plan.behind))
        ends = set(accumulate(plan.runs))
        written: list[int] = []
        for number, rows in enumerate(plan.pieces or (plan.rows,), start=1):
            written += front + [token] * rows + behind + (closing if number in ends else [])
        return written

    def _text_ids(self, texts: Sequence[str]) -> list[int]:
        found = (self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
        return [one for ids in found for one in ids]


def _places(ids: list[int], token: int) -> Iterator[int]:
    """Yield where a token stands."""
    at = -1
    for _ in range(ids.count(token)):
        at = ids.index(token, at + 1)
        yield at
