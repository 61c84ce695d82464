"""Language models and tokenizers of foreign checkpoints, from their ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.experts import expert_rules
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import Move, Rows, Rule
from hocket.checkpoint.import_.weights import Weights
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.spec import LanguageSpec, Options
from hocket.tokens.sentencepiece import MODEL_FILE, open_sentencepiece
from hocket.tokens.tokenizer import ensure_control_tokens

DTYPES = {
    "float32": torch.float32,
    "float": torch.float32,
    "float16": torch.float16,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
}
# Which tokens end an answer in the templates whose last message does not end as the others.
_STOPS = {
    "chatml_direct": ("<|im_end|>",),
    "mpt": ("<|im_end|>",),
    "llama_3": ("<|eot_id|>", "<|end_of_text|>"),
}
# What every configuration has and no model needs.
_BOOKKEEPING = frozenset(
    {"_name_or_path", "architectures", "dtype", "model_type", "torch_dtype", "transformers_version"}
)
# Templates that write the start token as part of their text in the originals.
_WRITES_START = frozenset({"llama_3", "mistral"})


def read_dtype(text: str) -> torch.dtype:
    """Return the type that a string such as ``torch.bfloat16`` names; it is never evaluated.

    Raises:
        CheckpointError: it names no type of weights.
    """
    name = text.removeprefix("torch.")
    if name not in DTYPES:
        raise CheckpointError(
            f"the number format {text!r} is none of {', '.join(DTYPES)}. Correct config.json."
        )
    return DTYPES[name]


def config_options(document: Mapping[str, Any], model_type: str) -> Options:
    """Return the options of a transformers configuration that differ from its defaults.

    Args:
        document: a ``config.json``, whose other keys are left out.
        model_type: the transformers model type that it describes.

    Raises:
        CheckpointError: transformers has no such type, or refuses the values.
    """
    if model_type not in CONFIG_MAPPING:
        raise CheckpointError(
            f"config.json describes a {model_type!r}, which transformers does not have. "
            "This importer cannot open it."
        )
    cls = CONFIG_MAPPING[model_type]
    plain = {key: value for key, value in document.items() if key not in _BOOKKEEPING}
    # The older name; without a scale it means nothing.
    scaling = plain.pop("rope_scaling", None)
    if scaling:
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        rest = {key: value for key, value in scaling.items() if key != "type"}
        plain["rope_parameters"] = rest | {"rope_type": kind}
    defaults = cls().to_dict()
    try:
        found = cls.from_dict(plain).to_dict()
    except (StrictDataclassError, TypeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise CheckpointError(f"config.json is no {model_type!r}: {reason}.") from error
    return {
        key: value
        for key, value in found.items()
        if key in defaults and key not in _BOOKKEEPING and value != defaults[key]
    }


def language_spec(
    document: Mapping[str, Any],
    model_type: str,
    *,
    rows: int,
    tokenizer: PreTrainedTokenizerFast,
    context: int = 0,
) -> LanguageSpec:
    """Return the language model of a ``config.json``.

    Args:
        document: the ``config.json``.
        model_type: the transformers model type, such as ``llama`` for ``llava_llama``.
        rows: rows of the checkpoint's token table.
        tokenizer: its tokenizer with Hocket's placeholders; the table grows to hold them.
        context: longest sequence where rotary positions must be stretched for it; 0 otherwise.

    Raises:
        CheckpointError: transformers has no such type, or refuses the values.
    """
    options = config_options(document, model_type)
    options["vocab_size"] = max(rows, len(tokenizer))
    return LanguageSpec(model_type=model_type, config=options, context=context)


def language_rules(prefix: str = "") -> tuple[Rule, ...]:
    """Return the rules of a causal language model whose names stand behind a prefix pattern.

    Experts are those of `hocket.checkpoint.import_.experts.fuse_experts`.
    """
    inner = "model.language_model"
    return (
        *expert_rules(prefix),
        Move(rf"{prefix}model\.embed_tokens\.weight", f"{inner}.embed_tokens.weight", Rows.MEAN),
        Move(rf"{prefix}lm_head\.weight", "lm_head.weight", Rows.MEAN),
        Move(rf"{prefix}model\.((?:layers|norm)\..+)", rf"{inner}.\1"),
    )


def table_rows(weights: Weights, name: str) -> int:
    """Return the rows of a token table.

    Raises:
        CheckpointError: there is no tensor of that name.
    """
    if name not in weights:
        raise CheckpointError(
            f"the source has no {name}, the token table of its language model. Files are missing."
        )
    return weights[name].shape[0]


def open_tokenizer(
    folder: Path, *, legacy: bool | None = None, more: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Open a folder's tokenizer, with Hocket's placeholders added to it.

    A ``tokenizer.model`` counts before a ``tokenizer.json``: the originals of LLaVA and VILA use
    the slow tokenizer, whose ids differ where both are there.

    Args:
        folder: the folder.
        legacy: how SentencePiece's dummy space is set, as in `open_sentencepiece`.
        more: tokens that the original adds to it, such as ``<im_start>``; they come first.

    Raises:
        CheckpointError: it holds none that can be opened.
    """
    try:
        if (folder / MODEL_FILE).is_file():
            tokenizer = open_sentencepiece(folder, legacy=legacy)
        elif (folder / "tokenizer.json").is_file():
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder} holds no tokenizer that can be opened: neither {MODEL_FILE} nor "
            "tokenizer.json. Copy it from the base model."
        ) from error
    if tokenizer.pad_token is None and tokenizer.unk_token is not None:
        tokenizer.pad_token = tokenizer.unk_token
    # As LLaVA does, which adds what is not there yet.
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in more])
    ensure_control_tokens(tokenizer)
    return tokenizer


def has_tokenizer(folder: Path) -> bool:
    """Say whether a folder holds the files of a tokenizer."""
    return any((folder / name).is_file() for name in (MODEL_FILE, "tokenizer.json", "vocab.json"))


def choose_template(
    origin: Origin, tokenizer: PreTrainedTokenizerFast, guesses: Mapping[str, str], last: str
) -> tuple[str, str]:
    """Return the name of a chat template and a note that says why.

    Foreign checkpoints do not store it, and the originals guess by the folder's name.

    Args:
        origin: the folder, with the caller's choice.
        tokenizer: its tokenizer.
        guesses: token of the vocabulary -> template, the first that is there counts.
        last: the template otherwise.
    """
    if origin.template:
        return origin.template, f"chat template {origin.template}, as asked for"
    vocabulary = tokenizer.get_vocab()
    for token, name in guesses.items():
        if token in vocabulary:
            return (
                name,
                f"chat template {name}, since the tokenizer has {token}; --template changes it",
            )
    return last, f"chat template {last}, the one of this family; --template changes it"


def stop_tokens(template: str, tokenizer: PreTrainedTokenizerFast) -> tuple[str, ...]:
    """Return the tokens beside the tokenizer's end token that end an answer in a template."""
    vocabulary = tokenizer.get_vocab()
    return tuple(token for token in _STOPS.get(template, ()) if token in vocabulary)


def start_tokens(folder: Path, tokenizer: PreTrainedTokenizerFast, template: str) -> int | None:
    """Return how many start tokens an original's prompt has; None for a tokenizer without one.

    The originals tokenise with special tokens, so that a template which writes one itself, such
    as VILA's for Llama 3, ends up with two.

    Args:
        folder: the tokenizer's folder.
        tokenizer: the tokenizer.
        template: the chat template.
    """
    if tokenizer.bos_token is None:
        return None
    if (folder / MODEL_FILE).is_file():
        file = folder / "tokenizer_config.json"
        # transformers' slow Llama tokenizer adds it unless told not to.
        own = int(read_json(file).get("add_bos_token", True) if file.is_file() else True)
    else:
        own = int(tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id)
    return own + int(template in _WRITES_START)
