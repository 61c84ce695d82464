"""The start-up proof that packed examples do not see each other.

Transformers separates examples in a row by their restarting position ids, but only without an
attention mask and without a cache, and only in language models whose layers all read such masks.
So every run compares before it trusts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hocket._errors import AlignmentError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.model.documents import attend_alone, attend_together
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import Batch, pack_batch, pad_batch
from hocket.tokens.cutter import FeatureSource
from hocket.tokens.example import Example
from hocket.tokens.processor import HocketProcessor

# What a language model says, in its own words, of an argument that its layers do not hand on.
_REFUSALS = (AlignmentError, RuntimeError, TypeError, ValueError)


def isolate_samples(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    *,
    features: FeatureSource | None = None,
    compiled: bool = False,
) -> float:
    """Prove that packed samples do not see each other, and let each be attended to by itself.

    Args:
        model: the model as it will be trained; its attention may be set to a faster one.
        processor: makes the row with media.
        features: see `packed_matches_unpacked`.
        compiled: its layers will be compiled, which they would be again for each step's samples.

    Raises:
        AlignmentError: the language model does not isolate packed examples.
    """
    if compiled:
        attend_together(model)
    elif attend_alone(model):
        try:
            return packed_matches_unpacked(model, processor, features=features)
        except _REFUSALS:
            attend_together(model)
    return packed_matches_unpacked(model, processor, features=features)


def packed_matches_unpacked(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor | None = None,
    *,
    tolerance: float = 1e-4,
    features: FeatureSource | None = None,
) -> float:
    """Return the largest logit difference of packed sequences against the same ones alone.

    Two sequences of text are compared, then a row of text, a picture and a sound, as far as the
    model takes them.

    Args:
        model: the model as it will be trained.
        processor: makes the row with media; without one only text is compared.
        tolerance: largest difference allowed, as a share of the largest logit.
        features: what frozen towers make of the media of `proof_samples`; those towers do not run.

    Raises:
        AlignmentError: the language model does not isolate packed examples.
    """
    vocab = model.config.text_config.vocab_size
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randint(0, vocab, (1, length), generator=generator).to(model.device)
        for length in (7, 9)
    )
    placeholders = {
        model.config.image_token_id,
        model.config.video_token_id,
        model.config.audio_token_id,
    }
    ids = torch.cat([first, second], dim=1)
    for token in placeholders:
        ids = torch.where(ids == token, (token + 1) % vocab, ids)
    positions = torch.cat([torch.arange(7), torch.arange(9)])[None].to(model.device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            packed = model(input_ids=ids, position_ids=positions, use_cache=False).logits[:, 7:]
            alone = model(input_ids=ids[:, 7:], use_cache=False).logits
            difference = _difference(packed, alone, tolerance)
            if processor is not None:
                difference = max(difference, _with_media(model, processor, tolerance, features))
    finally:
        model.train(was_training)
    return difference


def _with_media(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    tolerance: float,
    features: FeatureSource | None,
) -> float:
    """Compare a row of samples with media against each of them alone."""
    examples = [processor.encode(one, features=features) for one in proof_samples(processor)]
    packed = _logits(model, pack_batch([examples], pad_id=0))
    at, most = 0, 0.0
    for example in examples:
        alone = _logits(model, _alone(example))
        most = max(most, _difference(packed[:, at : at + alone.shape[1]], alone, tolerance))
        at += alone.shape[1]
    return most


def proof_samples(processor: HocketProcessor) -> list[Conversation]:
    """Return samples that differ in all that one could see of another; text comes last."""
    generator = np.random.default_rng(0)
    media: list[Part] = []
    if processor.images is not None:
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        media.append(Image.from_array(pixels))
    if processor.sounds is not None:
        rate = processor.sounds.rate
        wave = generator.standard_normal(rate).astype(np.float32)
        media.append(Audio.from_array(wave * 0.1, rate=rate))
    questions = [(one, Text("What is it?")) for one in media]
    return [
        Conversation(
            id=f"packing-{number}",
            messages=(
                Message(Role.USER, parts),
                Message(Role.ASSISTANT, (Text(f"Number {number}."),)),
            ),
            source="the start-up proof of packing",
        )
        for number, parts in enumerate([*questions, (*media, Text("Both?")), (Text("And?"),)])
    ]


def _alone(example: Example) -> Batch:
    return pad_batch([example], pad_id=0, side="right")


def _logits(model: HocketForConditionalGeneration, batch: Batch) -> Tensor:
    inputs = {
        name: value.to(model.device)  # type: ignore[attr-defined] # every value of a Batch is a tensor
        for name, value in batch.items()
        if name != "labels"
    }
    return model(**inputs, use_cache=False).logits


def _difference(packed: Tensor, alone: Tensor, tolerance: float) -> float:
    """Return the largest difference of logits.

    Raises:
        AlignmentError: it is larger than rounding explains.
    """
    difference = float((packed - alone).abs().max())
    if difference > tolerance * max(1.0, float(alone.abs().max())):
        raise AlignmentError(
            f"packing is not safe with this language model: logits change by {difference:.3g} when "
            "two samples share a row.\nSet packing: false in each stage, so that each sample has a "
            "row of its own, or choose another attention implementation."
        )
    return difference
