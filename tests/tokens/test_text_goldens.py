"""Ids and labels that LLaVA, NaVILA, VITA and Ovis 2.5 recorded, row by row."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.chat.template import read_template
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.batch import IGNORED
from hocket.tokens.sentencepiece import open_sentencepiece
from hocket.tokens.text import TextEncoder, TextRules
from hocket.tokens.tokenizer import ensure_control_tokens

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = GOLDEN / "pure_llava" / "tokenizers"
FRAME = ("<im_start>", "<im_end>")
MEDIA: dict[str, Part] = {
    "<image>": Image.from_path("a.png"),
    "<audio>": Audio.from_path("a.wav"),
    "<video>": Video.from_path("a.mp4"),
}
RECORDED = {"<image>": -200, "<audio>": -500, "<video>": -201}
LABELLED = ("pure_llava", "pure_navila", "pure_vita")
# Where ours has another name: the original trains plain without the question.
TEMPLATES = {"v1": "vicuna_v1", "plain": "v0_plain", "hermes-2": "chatml_direct"}

Row = dict[str, Any]


@functools.cache
def tokenizer(name: str, extra: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    if name in ("llama", "llama_legacy"):
        legacy = True if name == "llama_legacy" else None
        found = open_sentencepiece(FOLDERS / "llama", legacy=legacy)
    else:
        folder = GOLDEN / "ovis25" / "tokenizer" if name == "ovis" else FOLDERS / name
        found = AutoTokenizer.from_pretrained(folder)
    found.add_tokens([AddedToken(one, special=True, normalized=False) for one in extra], True)
    ensure_control_tokens(found)
    return found


def read(item: str, name: str) -> dict[str, Any]:
    return dict(json.loads((GOLDEN / item / f"{name}.json").read_text("utf-8")))


def as_recorded(ids: list[int], found: PreTrainedTokenizerFast) -> list[int]:
    """Return the ids with the originals' negative placeholders."""
    places = {found.convert_tokens_to_ids(token): number for token, number in RECORDED.items()}
    return [places.get(one, one) for one in ids]


def parts(text: str) -> tuple[Part, ...]:
    """Return the parts of a recorded text without what template or rules write themselves."""
    for wrapped in ("<im_start><image><im_end>", "<Image><image></Image>"):
        text = text.replace(wrapped, "<image>")
    return tuple(MEDIA.get(one) or Text(one) for one in re.split("(<[a-z]{5}>)", text) if one)


def rules(item: str, row: Row) -> TextRules:
    bos = {"qwen2": None}.get(row["tokenizer"], 2 if row["version"] == "llama_3" else 1)
    start, end = FRAME if row.get("mm_use_im_start_end") else ("", "")
    return TextRules(
        chunked=True,
        start_tokens=bos,
        image_start=start,
        image_end=end,
        strip=item == "pure_navila",
    )


def encode(item: str, row: Row, turns: list[list[str]]) -> tuple[list[int], list[int], TextEncoder]:
    """Return ids and labels; the originals drop an answer that comes before any question."""
    hashes = row["version"] in ("v0", "llava_v0")
    extra = (*(("[PAD]",) if hashes else ()), *(FRAME if row.get("mm_use_im_start_end") else ()))
    found = tokenizer(row["tokenizer"], extra)
    template = read_template(TEMPLATES.get(row["version"], row["version"]))
    encoder = TextEncoder(found, template, rules(item, row))
    texts = row["after_preprocess_multimodal"]
    messages = [
        Message(Role.USER if who == "human" else Role.ASSISTANT, parts(text))
        for (who, _), text in zip(turns, texts, strict=True)
    ]
    first = 1 if messages[0].role is Role.ASSISTANT else 0
    tokens = encoder.encode(Conversation(id="x", messages=tuple(messages[first:])))
    ids = as_recorded(tokens.ids, found)
    labels = [one if yes else IGNORED for one, yes in zip(ids, tokens.learned, strict=True)]
    return ids, labels, encoder


def labels_of(row: Row) -> list[int]:
    if "labels" in row:
        return list(row["labels"])
    supervised = {int(at): token for at, token in row["supervised"].items()}
    return [supervised.get(at, IGNORED) for at in range(row["n"])]


def taught(encoder: TextEncoder, labels: list[int]) -> str:
    """Return what is learned as text, without the spaces SentencePiece writes in front."""
    return str(encoder.tokenizer.decode([one for one in labels if one != IGNORED])).strip()


def label_rows() -> list[Any]:
    return [
        pytest.param(item, row, id=f"{item}-{row['version']}-{row['tokenizer']}-{index}")
        for item in LABELLED
        for index, row in enumerate(read(item, "preprocess_labels")["vectors"])
        if "after_preprocess_multimodal" in row
    ]


def prompts() -> list[Any]:
    names = {"pure_vita": "tokenizer_image_audio_token"}
    return [
        pytest.param(row, id=f"{item}-{row['tokenizer']}-{index}")
        for item in LABELLED
        for index, row in enumerate(read(item, names.get(item, "tokenizer_image_token"))["vectors"])
    ]


def test_the_recordings_are_here() -> None:
    assert (len(prompts()), len(label_rows())) == (152, 188)


@pytest.mark.parametrize("row", prompts())
def test_a_prompt_has_the_recorded_ids(row: Row) -> None:
    """`image_audio` is VITA's: the same function with both kinds of placeholders."""
    found = tokenizer(row["tokenizer"])
    bos = None if found.bos_token is None else 1
    encoder = TextEncoder(found, "", TextRules(chunked=True, start_tokens=bos))
    recorded = row["image_audio"] if "image_audio" in row else row["ids"]
    assert as_recorded(encoder.encode_text(row["prompt"]), found) == recorded


@pytest.mark.parametrize(("item", "row"), label_rows())
def test_ids_and_labels_are_the_recorded_ones(item: str, row: Row) -> None:
    """Ids are equal; labels too, but where the original masks or learns what is no answer."""
    turns = read(item, "preprocess_labels")["dialogues"][row["dialogue"]]
    version = row["version"]
    if version == "plain" and "error" in row:
        # The original asserts one picture and one answer.
        with pytest.raises(DataError, match="writes no questions"):
            encode(item, row, turns)
        return
    ids, labels, encoder = encode(item, row, turns)
    if version in ("v0", "llava_v0"):
        # The original trains on "\n\n### Human: ..." and asks with "###Human: ...", and its spans
        # are tokens off. Ours trains on what it asks with.
        check_answers(row, turns, encoder, labels, end="###")
        return
    if "error" in row:
        # Nothing was recorded: VITA's labels of mixtral_zh raise a TypeError.
        check_answers(row, turns, encoder, labels, end="</s>")
        return
    assert len(ids) == row.get("n", len(row["input_ids"]) if "input_ids" in row else 0)
    assert ids == row.get("input_ids", ids)
    recorded = labels_of(row)
    if labels == recorded:
        return
    extra = [at for at, one in enumerate(recorded) if one != labels[at]]
    if row.get("warned"):
        # Its count of tokens did not match its own text, so the original masked the sample.
        assert set(recorded) == {IGNORED}
        end = {"mpt": "<|im_end|>", "mixtral_two": "</s>"}[version]
        check_answers(row, turns, encoder, labels, end=end)
    elif version == "hermes-2":
        # Without the token <|im_end|> the original learns one token of its text; ours all nine.
        assert all(recorded[at] == IGNORED for at in extra)
        assert len(extra) == 8 * sum(who == "gpt" for who, _ in turns[-2 * (len(turns) // 2) :])
    else:
        # VITA's spans begin a token early in dialogues without media: it learns ":" or "]".
        assert version in ("mixtral_two", "nemo")
        assert all(labels[at] == IGNORED for at in extra)
        assert {taught(encoder, [recorded[at]]) for at in extra} <= {":", "]"}


def check_answers(
    row: Row, turns: list[list[str]], encoder: TextEncoder, labels: list[int], *, end: str
) -> None:
    """Ours learns exactly the answers and their ends, in runs of their own."""
    first = 1 if turns[0][0] == "gpt" else 0
    answers = [
        text
        for (who, _), text in zip(turns, row["after_preprocess_multimodal"], strict=True)
        if who == "gpt"
    ]
    runs: list[list[int]] = [[]]
    for one in labels:
        if one != IGNORED:
            runs[-1].append(one)
        elif runs[-1]:
            runs.append([])
    texts = [taught(encoder, run) for run in runs if run]
    assert texts == [answer + end for answer in answers[first:]]


@pytest.mark.parametrize(
    "row", read("ovis25", "formatter")["formatter"], ids=lambda row: row["conversation"]
)
def test_ovis_has_the_recorded_ids_and_labels(row: Row) -> None:
    turns = read("ovis25", "formatter")["conversations"][row["conversation"]]
    roles = {"human": Role.USER, "system": Role.SYSTEM}
    messages = [
        Message(
            roles.get(one["from"], Role.ASSISTANT),
            parts(one["value"]) if one["from"] == "human" else (Text(one["value"]),),
            train=False if one["from"] == "ignored_gpt" else None,
        )
        for one in (turns[:-1] if row["drop_last"] else turns)
    ]
    found = tokenizer("ovis")
    encoder = TextEncoder(found, read_template("ovis2_5"))
    preface = row["generation_preface"]
    tokens = encoder.encode(
        Conversation(id="x", messages=tuple(messages)),
        for_answer=preface is not None,
        thinking=preface == "",
    )
    ids = as_recorded(tokens.ids, found)
    assert ids == row["input_ids"]
    if preface is None:
        learned = zip(ids, tokens.learned, strict=True)
        assert [one if yes else IGNORED for one, yes in learned] == row["labels"]
