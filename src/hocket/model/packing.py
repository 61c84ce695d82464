"""The start-up proof that packed examples do not see each other.

Transformers separates examples in a row by their restarting position ids, but only without an
attention mask and without a cache, and only in language models whose layers all read such masks.
So every run compares before it trusts.
"""

from __future__ import annotations

import torch

from hocket._errors import AlignmentError
from hocket.model.modeling import HocketForConditionalGeneration


def packed_matches_unpacked(
    model: HocketForConditionalGeneration, *, tolerance: float = 1e-4
) -> float:
    """Return the largest logit difference of two packed sequences against the same ones alone.

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
    with torch.inference_mode():
        packed = model(input_ids=ids, position_ids=positions, use_cache=False).logits[:, 7:]
        alone = model(input_ids=ids[:, 7:], use_cache=False).logits
    model.train(was_training)
    difference = float((packed - alone).abs().max())
    if difference > tolerance * max(1.0, float(alone.abs().max())):
        raise AlignmentError(
            f"packing is not safe with this language model: logits change by {difference:.3g} when "
            "two samples share a row. Set train.stages.*.tokens_per_row so that one sample fills a "
            "row, or choose another attention implementation."
        )
    return difference
