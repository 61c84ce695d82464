"""Checkpoints that ship only ``tokenizer.model`` (SentencePiece BPE), as fast tokenizers.

LLaVA, VILA and VITA train with transformers' slow Llama tokenizer. It puts SentencePiece's dummy
space in front of a text whatever the text starts with, and either once per call (``legacy`` false)
or also behind every special token (``legacy`` true). transformers' own conversion leaves the space
out where a text already starts with one, so its ids differ; this one is exact.

Knows the protobuf fields it needs and the ``tokenizers`` library; must not know models or chats.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hocket._errors import CheckpointError

MODEL_FILE = "tokenizer.model"
_SPACE = "\u2581"
# Numbers of sentencepiece_model.proto: a model's fields, its trainer's, its normalizer's.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_MODEL_TYPE, _BYTE_FALLBACK, _BPE = 3, 35, 2
_CHARSMAP, _DUMMY_PREFIX, _STRIP = 2, 3, 4
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")


class Piece(NamedTuple):
    """An entry of the vocabulary: its text, its score and SentencePiece's type number."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePieceModel:
    """What a ``tokenizer.model`` holds.

    Attributes:
        pieces: the vocabulary in the order of the ids.
        dummy_prefix: whether a space is put in front of every text.
        byte_fallback: whether unknown characters become byte tokens.
    """

    pieces: tuple[Piece, ...]
    dummy_prefix: bool
    byte_fallback: bool


def read_model(path: Path) -> SentencePieceModel:
    """Read a SentencePiece BPE model.

    Raises:
        CheckpointError: the file is no such model, or it normalises text in a way that no Llama
            tokenizer does.
    """
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = tuple(_piece(value) for number, value in fields if number == _PIECES)
        trainer = dict(_fields(next(value for number, value in fields if number == _TRAINER)))
        rules = dict(_fields(next((value for n, value in fields if n == _NORMALIZER), b"")))
    except (IndexError, StopIteration, KeyError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(
            f"{path} is no SentencePiece model ({error!r}). Copy the tokenizer files again."
        ) from error
    if trainer.get(_MODEL_TYPE, 1) != _BPE:
        raise CheckpointError(
            f"{path}: its model type is {trainer.get(_MODEL_TYPE, 1)}, expected {_BPE} (BPE). "
            "Save the tokenizer as tokenizer.json with transformers and import that."
        )
    if rules.get(_CHARSMAP) or rules.get(_STRIP, 1):
        raise CheckpointError(
            f"{path}: it rewrites characters or strips spaces, which Llama's models do not. "
            "Save the tokenizer as tokenizer.json with transformers and import that."
        )
    return SentencePieceModel(
        pieces=pieces,
        dummy_prefix=bool(rules.get(_DUMMY_PREFIX, 1)),
        byte_fallback=bool(trainer.get(_BYTE_FALLBACK, 0)),
    )


def open_sentencepiece(folder: Path, *, legacy: bool | None = None) -> PreTrainedTokenizerFast:
    """Open a folder with ``tokenizer.model`` and ``tokenizer_config.json`` as a fast tokenizer.

    The result saves as ``tokenizer.json``. It adds no start token by itself: templates or
    `hocket.tokens.text.TextRules` do.

    Args:
        folder: where the files lie.
        legacy: the dummy space behind every special token; None reads ``legacy`` from the folder,
            which transformers takes as true where it is missing.

    Raises:
        CheckpointError: ``tokenizer.model`` is missing or cannot be read.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {MODEL_FILE}. Open it with AutoTokenizer.")
    model = read_model(path)
    config = _read_json(folder / "tokenizer_config.json")
    named = {
        name: _content(value)
        for name, value in (_read_json(folder / "special_tokens_map.json") | config).items()
        if name in _NAMED and value is not None
    }
    if legacy is None:
        found = config.get("legacy")
        legacy = True if found is None else bool(found)
    # Without `legacy` transformers puts the space in front itself, whatever the model says.
    prefix = model.dummy_prefix if legacy else config.get("add_prefix_space") is not False
    core = _core(model, legacy=legacy, prefix=prefix, unknown=named.get("unk_token"))
    _add_tokens(core, model, folder, named)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        clean_up_tokenization_spaces=False,
        model_max_length=config.get("model_max_length", int(1e30)),
        **named,
    )


def without_dummy_prefix(core: Tokenizer) -> Tokenizer:
    """Return a tokenizer that puts no space in front, for text that goes on after a cut.

    It is a copy, or the same one where that puts no space in front either.
    """
    # Serialising the vocabulary takes a second for a large one, so the steps are looked at first.
    steps = [one.__getstate__() for one in (core.normalizer, core.pre_tokenizer) if one]
    if not any(b"Prepend" in step or b"Metaspace" in step for step in steps):
        return core
    state = json.loads(core.to_str())
    state["normalizer"] = _unprefixed(state["normalizer"], "normalizers")
    state["pre_tokenizer"] = _unprefixed(state["pre_tokenizer"], "pretokenizers")
    return Tokenizer.from_str(json.dumps(state))


def _unprefixed(step: dict[str, Any] | None, inner: str) -> dict[str, Any] | None:
    if step is None or step["type"] == "Prepend":
        return None
    if step["type"] == "Metaspace":
        return step | {"prepend_scheme": "never"}
    if step["type"] == "Sequence":
        kept = [_unprefixed(one, inner) for one in step[inner]]
        return step | {inner: [one for one in kept if one is not None]}
    return step


def _core(
    model: SentencePieceModel, *, legacy: bool, prefix: bool, unknown: str | None
) -> Tokenizer:
    ids = {piece.text: number for number, piece in enumerate(model.pieces)}
    core = Tokenizer(
        models.BPE(
            vocab=ids,
            merges=_merges(model),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=model.byte_fallback,
        )
    )
    spaces = normalizers.Replace(" ", _SPACE)
    core.normalizer = spaces
    if prefix and legacy:
        core.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces])
    elif prefix:
        # Metaspace prepends only where its own character does not come first already. After the
        # normalizer no plain space is left, so one that uses plain spaces always prepends.
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Metaspace(" ", prepend_scheme="first", split=False),
                pre_tokenizers.Metaspace(_SPACE, prepend_scheme="never", split=False),
            ]
        )
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    core.decoder = decoders.Sequence(steps)
    return core


def _merges(model: SentencePieceModel) -> list[tuple[str, str]]:
    """Return the pairs to join, best first: SentencePiece joins the pair of the best score."""
    reserved = (_UNKNOWN, _CONTROL, _BYTE)
    normal = [(id_, one) for id_, one in enumerate(model.pieces) if one.kind not in reserved]
    ids = {piece.text: id_ for id_, piece in normal}
    found: list[tuple[float, int, int, tuple[str, str]]] = []
    for _, piece in normal:
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in ids and right in ids:
                found.append((-piece.score, ids[left], ids[right], (left, right)))
    return [pair for *_, pair in sorted(found)]


def _add_tokens(
    core: Tokenizer, model: SentencePieceModel, folder: Path, named: dict[str, str]
) -> None:
    """Add what is never split: user-defined pieces, named tokens and those the folder added."""
    config = _read_json(folder / "tokenizer_config.json")
    wanted: dict[str, AddedToken] = {
        piece.text: AddedToken(piece.text, normalized=False)
        for piece in model.pieces
        if piece.kind == _USER_DEFINED and piece.text.strip()
    }
    for content in named.values():
        wanted[content] = AddedToken(content, special=True, normalized=False)
    rows = config.get("added_tokens_decoder", {})
    added = _read_json(folder / "added_tokens.json")
    for content in sorted(added, key=added.__getitem__):
        wanted.setdefault(content, AddedToken(content, special=True, normalized=False))
    for row in (rows[number] for number in sorted(rows, key=int)):
        wanted[row["content"]] = AddedToken(
            row["content"],
            special=row.get("special", False),
            normalized=False,
            lstrip=row.get("lstrip", False),
            rstrip=row.get("rstrip", False),
            single_word=row.get("single_word", False),
        )
    expected = {row["content"]: int(number) for number, row in rows.items()} | added
    core.add_tokens(sorted(wanted.values(), key=lambda one: expected.get(one.content, -1)))
    for content, number in expected.items():
        if core.token_to_id(content) != number:
            raise CheckpointError(
                f"{folder}: the token {content!r} would get id {core.token_to_id(content)}, but "
                f"the folder says {number}. Its tokenizer files do not belong together."
            )


def _content(value: Any) -> str:
    """Return a named token's text; older files hold a plain string."""
    return str(value["content"] if isinstance(value, dict) else value)


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _piece(message: bytes) -> Piece:
    found = dict(_fields(message))
    return Piece(found[1].decode(), struct.unpack("<f", found.get(2, bytes(4)))[0], found.get(3, 1))


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the numbers and raw values of a protobuf message: int, or bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"a field of {size} bytes at byte {at} of {len(message)}")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
