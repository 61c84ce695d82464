"""The tokenizer and the template inside a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoint.export.toys import save

from hocket._errors import CheckpointError
from hocket.checkpoint.export import open_source
from hocket.checkpoint.export._gguf.plan import FilePlan
from hocket.checkpoint.export._gguf.tokenizer import add_tokenizer

Document = dict[str, Any]
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "model")


@pytest.fixture
def planned(saved: Path, tmp_path: Path) -> Callable[..., FilePlan]:
    """Return what plans the tokenizer of a checkpoint with a changed ``tokenizer.json``."""

    def plan(
        change: Callable[[Document], None] = lambda _: None, *, rules: Document | None = None
    ) -> FilePlan:
        document = json.loads((saved / "tokenizer.json").read_text("utf-8"))
        change(document)
        folder = tmp_path / "tokenizer"
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
        for name in ("chat_template.jinja", "generation_config.json"):
            (folder / name).write_text((saved / name).read_text("utf-8"), encoding="utf-8")
        source = open_source(saved)
        source.processor.text_rules = rules
        made = FilePlan("llama")
        add_tokenizer(made, source._replace(folder=folder))
        return made

    return plan


def test_every_row_of_the_table_has_a_token(saved: Path, planned: Callable[..., FilePlan]) -> None:
    made = planned()
    source = open_source(saved)
    tokenizer, rows = source.processor.tokenizer, source.config.text_config.vocab_size
    tokens, kinds = made.keys["tokenizer.ggml.tokens"], made.keys["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(kinds, list)
    assert len(tokens) == len(kinds) == rows
    for text, number in tokenizer.get_vocab().items():
        assert tokens[number] == text
    assert kinds[tokenizer.convert_tokens_to_ids("<image>")] == 3
    assert kinds[tokenizer.convert_tokens_to_ids("a")] == 1
    assert all(kind == 5 for text, kind in zip(tokens, kinds, strict=True) if "[PAD" in str(text))
    assert made.keys["tokenizer.ggml.pre"] == "gpt-2"
    assert made.keys["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    assert made.keys["tokenizer.ggml.add_bos_token"] is False
    template = (saved / "chat_template.jinja").read_text("utf-8")
    assert made.keys["tokenizer.chat_template"] == template
    assert made.notes == []


def _split(expression: str, *, ignore_merges: bool) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        cut = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated"}
        level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
        steps = [cut | {"invert": False}, level]
        document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
        document["model"]["ignore_merges"] = ignore_merges

    return change


def test_the_rule_that_cuts_words_is_known_by_name(planned: Callable[..., FilePlan]) -> None:
    made = planned(_split(LLAMA_3, ignore_merges=True))
    assert made.keys["tokenizer.ggml.pre"] == "llama-bpe"
    qwen = LLAMA_3.replace("{1,3}", "")
    assert planned(_split(qwen, ignore_merges=False)).keys["tokenizer.ggml.pre"] == "qwen2"
    for change in (
        _split(LLAMA_3, ignore_merges=False),
        _split(qwen + "|x", ignore_merges=False),
        lambda document: document.update(pre_tokenizer={"type": "Whitespace"}),
        lambda document: document.update(pre_tokenizer=None),
    ):
        with pytest.raises(CheckpointError, match="the tokenizer's pre_tokenizer: found"):
            planned(change)


def _characters(document: Document, merges: list[list[str]]) -> None:
    pieces = ["<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "a", "b", "ab", "\u2581ab", "ba"]
    document["model"] |= {
        "byte_fallback": True,
        "unk_token": "<unk>",
        "vocab": {piece: number for number, piece in enumerate(pieces)},
        "merges": merges,
    }
    document["pre_tokenizer"] = None
    document["added_tokens"] = []
    document["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ],
    }


def test_merges_become_scores(planned: Callable[..., FilePlan]) -> None:
    merges = [["a", "b"], ["b", "a"], ["\u2581", "ab"], ["\u2581a", "b"]]
    made = planned(lambda document: _characters(document, merges))
    assert made.keys["tokenizer.ggml.model"] == "llama"
    scores = made.keys["tokenizer.ggml.scores"]
    assert isinstance(scores, list)
    assert scores[7:10] == [0.0, -2.0, -1.0]
    assert scores[5] == -4.0
    kinds = made.keys["tokenizer.ggml.token_type"]
    assert isinstance(kinds, list)
    assert kinds[:6] == [2, 1, 1, 6, 1, 1]
    assert made.keys["tokenizer.ggml.add_space_prefix"] is True
    (note,) = made.notes
    assert "a space before the text behind each medium" in note
    chunked = planned(lambda document: _characters(document, merges), rules={"chunked": True})
    assert chunked.notes == []
    merges.append(["a", "b"])
    with pytest.raises(CheckpointError, match="merges: found 'ab' at two ranks"):
        planned(lambda document: _characters(document, merges))


def test_a_space_in_front_of_the_first_text_alone(planned: Callable[..., FilePlan]) -> None:
    def change(document: Document) -> None:
        _characters(document, [["a", "b"]])
        document["normalizer"] = {
            "type": "Replace",
            "pattern": {"String": " "},
            "content": "\u2581",
        }
        # As hocket opens a tokenizer.model of SentencePiece without `legacy`.
        document["pre_tokenizer"] = {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Metaspace", "replacement": one, "prepend_scheme": scheme, "split": False}
                for one, scheme in ((" ", "first"), ("\u2581", "never"))
            ],
        }

    made = planned(change)
    assert made.keys["tokenizer.ggml.add_space_prefix"] is False
    assert "llama.cpp, as exported, never does" in made.notes[0]
    chunked = planned(change, rules={"chunked": True})
    assert chunked.keys["tokenizer.ggml.add_space_prefix"] is True
    assert "from the second turn on" in chunked.notes[0]


def test_start_tokens_and_texts_around_pictures(planned: Callable[..., FilePlan]) -> None:
    assert planned(rules={"start_tokens": 1}).keys["tokenizer.ggml.add_bos_token"] is True
    with pytest.raises(CheckpointError, match="start tokens: found 2"):
        planned(rules={"start_tokens": 2})
    with pytest.raises(CheckpointError, match="image_start: found <im_start>"):
        planned(rules={"image_start": "<im_start>"})
    assert "white space" in planned(rules={"strip": True}).notes[0]


def test_a_token_behind_the_table(planned: Callable[..., FilePlan]) -> None:
    def change(document: Document) -> None:
        document["added_tokens"][-1]["id"] = 9999

    with pytest.raises(CheckpointError, match="last token: found 9999, expected an id below"):
        planned(change)


def test_other_kinds_are_refused(planned: Callable[..., FilePlan]) -> None:
    with pytest.raises(CheckpointError, match="model: found Unigram, expected BPE"):
        planned(lambda document: document["model"].update(type="Unigram"))
