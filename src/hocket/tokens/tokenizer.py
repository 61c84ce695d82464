"""A tokenizer of our own, built from the text of a data set.

Byte-level BPE: any text survives a round trip and no word is unknown, yet with a small vocabulary
over a small data set most words are one token. Used for models trained from scratch.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD = "<|pad|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
IMAGE = "<image>"
VIDEO = "<video>"
AUDIO = "<audio>"
CONTROL = (PAD, TURN_START, TURN_END, IMAGE, VIDEO, AUDIO)
ROLES = ("system", "user", "assistant", "tool")


def build_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the texts.

    Args:
        texts: the text of the training conversations.
        vocab_size: largest vocabulary, control tokens included.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in CONTROL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    # Role names stand in every turn of the template, not in the data.
    core.train_from_iterator([*ROLES, *ROLES, *texts], trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=TURN_END,
        additional_special_tokens=[TURN_START, IMAGE, VIDEO, AUDIO],
        clean_up_tokenization_spaces=False,
    )


def ensure_control_tokens(tokenizer: PreTrainedTokenizerFast) -> int:
    """Add the media placeholders, and a pad token, where the tokenizer lacks them.

    Returns:
        The number of tokens that were new: the language model's table must grow by it.
    """
    known = tokenizer.get_vocab()
    missing = [token for token in (IMAGE, VIDEO, AUDIO) if token not in known]
    added = tokenizer.add_tokens(
        [AddedToken(token, special=True, normalized=False) for token in missing],
        special_tokens=True,
    )
    if tokenizer.pad_token is None:
        added += tokenizer.add_special_tokens({"pad_token": PAD})
    return int(added)
