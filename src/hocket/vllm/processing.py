"""Requests of vLLM as Hocket prepares them: the checkpoint's own processor does all the work.

vLLM has tokenised the prompt, with one placeholder token per medium, and has the media in memory.
`HocketProcessor.encode` plans and cuts them as in training; what it writes for a medium replaces
the medium's placeholder. vLLM's cache of processed media is left out, since pictures of one request
may share a budget of pixels.

Letters: U encoder units, S spans, L samples, N frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdateDetails,
)

from hocket._errors import ConfigError, DataError, MediaError
from hocket.chat.conversation import Conversation, Medium, Message, Role
from hocket.media.audio import Audio
from hocket.media.video import Video
from hocket.tokens.accept import as_image
from hocket.tokens.batch import pad_batch
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality
from hocket.tokens.text import TextRules

# Of each kind of medium: its table of spans, and what has one entry per encoder unit.
FIELDS = {
    "image": ("image_spans", ("pixel_values",)),
    "video": ("video_spans", ("pixel_values_videos", "frame_times")),
    "audio": ("audio_spans", ("input_features", "feature_lengths")),
}
# Sizes (height, width) among which the picture with most rows is found, to reserve memory for it.
_SIZES = ((448, 448), (1344, 1344), (2688, 2688), (448, 2688), (2688, 448))
_SECONDS, _FRAMES = 30, 64


class HocketParser(MultiModalDataParser):  # type: ignore[misc] # vLLM is not installed here
    """Brings sounds to the checkpoint's rate by the checkpoint's own resampler.

    Args:
        processor: the checkpoint's.
        **options: options of vLLM's parser.
    """

    def __init__(self, processor: HocketProcessor, **options: Any) -> None:
        self._sounds = processor.sounds
        rate = self._sounds.rate if self._sounds else None
        super().__init__(target_sr=rate, target_channels=1, **options)

    def _get_audio_with_sr(self, audio: Any) -> tuple[np.ndarray, float | None]:
        wave, rate = super()._get_audio_with_sr(audio)
        if rate is None or self._sounds is None:
            return wave, rate
        wave = np.asarray(wave)
        if wave.ndim == 2:  # (channels, L), or (L, channels) as files are read
            wave = wave.mean(axis=int(wave.shape[1] < wave.shape[0]))
        if not np.issubdtype(wave.dtype, np.floating):
            raise DataError(f"a sound has {wave.dtype} samples, expected floats in -1..1.")
        sound = Audio.from_array(wave, rate=round(rate))
        ours = self._sounds
        return sound.load(ours.rate, resampler=ours.resampler), float(ours.rate)


class HocketInfo(BaseProcessingInfo):  # type: ignore[misc] # as above
    """What vLLM asks of a checkpoint before the first request."""

    def get_hf_processor(self, **kwargs: object) -> HocketProcessor:
        """Return the checkpoint's processor.

        Raises:
            ConfigError: its text was tokenised in a way that vLLM cannot follow.
        """
        processor: HocketProcessor = self.ctx.get_hf_processor(HocketProcessor, **kwargs)
        if TextRules.from_options(processor.text_rules) != TextRules():
            raise ConfigError(
                f"the checkpoint's text_rules are {processor.text_rules}, but vLLM tokenises a "
                "prompt in one call. Export it instead: hocket model export --list names targets."
            )
        return processor

    def get_data_parser(self) -> HocketParser:
        """Return what normalises the media of a request."""
        return HocketParser(
            self.get_hf_processor(),
            expected_hidden_size=self._get_expected_hidden_size(),
            allow_missing_mm_embeddings=self.allow_missing_mm_embeddings,
        )

    def get_default_tok_params(self) -> Any:
        """Return how prompts are tokenised: the chat template writes every control token."""
        return super().get_default_tok_params().with_kwargs(add_special_tokens=False)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Return the kinds of media that the checkpoint takes, any number of each."""
        processor = self.get_hf_processor()
        takes = {
            "image": processor.images is not None,
            "video": processor.sampler is not None and processor.films is not None,
            "audio": processor.sounds is not None,
        }
        return {kind: None for kind, taken in takes.items() if taken}


class HocketDummyInputs(BaseDummyInputsBuilder[HocketInfo]):  # type: ignore[misc] # as above
    """Large media, by which vLLM reserves memory."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Return a placeholder for each medium."""
        return "".join(f"<{kind}>" * mm_counts.get(kind, 0) for kind in FIELDS)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return media that have many rows and still fit the context of `seq_len` tokens."""
        processor = self.info.get_hf_processor()
        data: dict[str, Any] = {}
        if processor.images is not None:
            layout = processor.images
            plans = {size: layout.plan(*size).rows for size in _SIZES}
            fitting = {size: rows for size, rows in plans.items() if rows <= seq_len} or plans
            height, width = max(fitting, key=lambda size: fitting[size])
            data["image"] = self._get_dummy_images(
                width=width,
                height=height,
                num_images=mm_counts.get("image", 0),
                overrides=mm_options.get("image"),
            )
        if processor.sampler is not None and processor.films is not None:
            data["video"] = self._get_dummy_videos(
                width=_SIZES[0][1],
                height=_SIZES[0][0],
                num_frames=_most_frames(processor, seq_len),
                num_videos=mm_counts.get("video", 0),
                overrides=mm_options.get("video"),
            )
        if processor.sounds is not None:
            seconds = _SECONDS
            rate = processor.sounds.rate
            while seconds > 1 and processor.sounds.plan(seconds * rate).rows > seq_len:
                seconds //= 2
            data["audio"] = self._get_dummy_audios(
                length=seconds * rate,
                num_audios=mm_counts.get("audio", 0),
                overrides=mm_options.get("audio"),
            )
        return data


class HocketMultiModalProcessor(BaseMultiModalProcessor[HocketInfo]):  # type: ignore[misc] # as above
    """Turns the media of a request into encoder inputs and placeholder tokens."""

    def _cached_apply_hf_processor(self, inputs: Any, timing_ctx: Any) -> Any:
        return self._apply_hf_processor(inputs, timing_ctx)

    def _get_mm_hashes(self, inputs: Any) -> Any:
        # A picture's rows may depend on how many there are, so its name in vLLM's cache of encoder
        # outputs must as well.
        pictures = inputs.mm_data_items.get_all_counts().get("image", 0)
        options = dict(inputs.hf_processor_mm_kwargs) | {"pictures": pictures}
        return super()._get_mm_hashes(dataclasses.replace(inputs, hf_processor_mm_kwargs=options))

    def _apply_hf_processor_main(
        self, mm_items: Any, hf_kwargs: Mapping[str, object]
    ) -> BatchFeature:
        processor = self.info.get_hf_processor()
        media = _media(mm_items, processor)
        if not media:
            return BatchFeature()
        conversation = Conversation(
            id="request", messages=(Message(Role.USER, tuple(media)),), source="the request"
        )
        example = processor.encode(conversation)
        batch: dict[str, Any] = dict(pad_batch([example], pad_id=0, side="left"))
        data: dict[str, Any] = {}
        for kind, (spans, fields) in FIELDS.items():
            found = example.spans(Modality(kind))
            if not found:
                continue
            written = [example.outline.input_ids[span.start : span.stop] for span in found]
            if not all(span.rows for span in found):
                raise MediaError(f"the request: a medium ({kind}) is too short to be one row.")
            data |= {name: batch[name] for name in (spans, *fields)}
            data[f"{kind}_written"] = torch.tensor([token for ids in written for token in ids])
            data[f"{kind}_lengths"] = torch.tensor([len(ids) for ids in written])
        return BatchFeature(data)

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        config = {}
        for kind, (spans, fields) in FIELDS.items():
            if spans not in hf_inputs:
                continue
            units = hf_inputs[spans][:, 0]
            for name in fields:
                config[name] = MultiModalFieldConfig.flat_from_sizes(kind, units)
            config[spans] = MultiModalFieldConfig.batched(kind, keep_on_cpu=True)
            config[f"{kind}_written"] = MultiModalFieldConfig.flat_from_sizes(
                kind, hf_inputs[f"{kind}_lengths"], keep_on_cpu=True
            )
        return config

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[PromptReplacement]:
        processor = self.info.get_hf_processor()
        updates = []
        for kind, items in out_mm_kwargs.items():
            token = processor.placeholder_ids[Modality(kind)]
            # Taken out: the model has no use for it.
            written = [item.pop(f"{kind}_written").data.tolist() for item in items]
            details = [PromptUpdateDetails.select_token_id(ids, token) for ids in written]
            updates.append(PromptReplacement(kind, [token], details.__getitem__))
        return updates


def _media(items: Any, processor: HocketProcessor) -> list[Medium]:
    """Return the media of a request, pictures first, then videos, then sounds."""
    media: list[Medium] = []
    counts = items.get_all_counts()
    media += [as_image(items["image"].get(number)) for number in range(counts.get("image", 0))]
    for number in range(counts.get("video", 0)):
        known = items["video"].metadata
        media.append(_video(items["video"].get(number), known[number] if known else None))
    for number in range(counts.get("audio", 0)):
        assert processor.sounds is not None
        wave = np.asarray(items["audio"].get(number), np.float32)
        media.append(Audio.from_array(wave, rate=processor.sounds.rate))
    return media


def _video(frames: Any, known: Mapping[str, Any] | None) -> Video:
    """Return frames (N, H, W, 3) with their times in seconds, or one a second if not known."""
    pixels = np.stack([np.asarray(frame) for frame in frames])
    times = np.arange(len(pixels), dtype=np.float64)
    rate, numbers = (known or {}).get("fps"), (known or {}).get("frames_indices")
    if rate and numbers is not None and len(numbers) == len(pixels):
        times = np.asarray(numbers, np.float64) / float(rate)
    return Video.from_array(pixels, times)


def _most_frames(processor: HocketProcessor, seq_len: int) -> int:
    """Return how many frames a long video has whose rows still fit the context."""
    assert processor.films is not None and processor.sampler is not None
    frames = _FRAMES
    while frames > 1:
        pixels = np.broadcast_to(np.zeros((), np.uint8), (frames, *_SIZES[0], 3))
        seen = Video.from_array(pixels, np.arange(frames)).pick_count(processor.sampler)
        if processor.films.plan(*_SIZES[0], frames=seen).rows <= seq_len:
            break
        frames //= 2
    return frames
