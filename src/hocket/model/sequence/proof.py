"""The start-up proof that rows which several processes share give what whole rows give.

A language model may mix its tokens in other ways than attention, or hand its attention options that
ours does not know. So every run compares before it trusts.
"""

from __future__ import annotations

import torch

from hocket._errors import AlignmentError
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.sequence import IMPLEMENTATION
from hocket.model.sequence.group import SequenceGroup
from hocket.tokens.batch import IGNORED


def share_rows(
    model: HocketForConditionalGeneration, group: SequenceGroup, *, tolerance: float = 1e-3
) -> float:
    """Make a model's attention one that processes can share; return how far its losses are off.

    Args:
        model: changed in place; without ``sequence`` it works as before.
        group: the processes; all of them call this.
        tolerance: largest difference of the loss of a token, as a share of the largest.

    Raises:
        AlignmentError: the language model cannot be shared.
        ConfigError: its number of heads or an option of its attention forbids it.
    """
    model.set_attn_implementation({"text_config": IMPLEMENTATION})
    vocabulary = model.config.text_config.vocab_size
    media = {model.config.image_token_id, model.config.video_token_id, model.config.audio_token_id}
    words = torch.tensor([one for one in range(min(vocabulary, 64)) if one not in media])
    lengths = (7, 5 * group.spec.degree, 9)
    ids = words[torch.arange(sum(lengths)) * 7 % len(words)][None].to(model.device)
    positions = torch.cat([torch.arange(length) for length in lengths])[None].to(model.device)
    # Each token is a sample of its own for the sums, though not for the attention.
    index = torch.arange(ids.shape[1])[None].to(model.device)
    labels = torch.where(positions == 0, IGNORED, ids)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            batch = {
                "input_ids": ids,
                "labels": labels,
                "position_ids": positions,
                "sample_index": index,
            }
            whole = model(**batch, loss_only=True).sample_losses
            shared = model(**batch, loss_only=True, sequence=group).sample_losses
    finally:
        model.train(was_training)
    off = float((whole - shared).abs().max() / whole.abs().max().clamp(min=1.0))
    if not off <= tolerance:
        raise AlignmentError(
            "this language model cannot be shared by processes: the loss of a token changes by "
            f"{off:.3g} of itself. Set train.sequence_parallel to 1 x 1 (ulysses, ring)."
        )
    return off
