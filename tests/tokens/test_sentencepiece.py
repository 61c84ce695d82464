from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hocket._errors import CheckpointError
from hocket.tokens.sentencepiece import open_sentencepiece, read_model, without_dummy_prefix

FOLDER = Path(__file__).parents[1] / "golden" / "pure_llava" / "tokenizers" / "llama"
SPACE = "\u2581"


def pieces(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).tokens)


def test_the_model_is_read() -> None:
    model = read_model(FOLDER / "tokenizer.model")
    assert len(model.pieces) == 700
    assert [piece.text for piece in model.pieces[:4]] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert (model.dummy_prefix, model.byte_fallback) == (True, True)


@pytest.mark.parametrize("legacy", [False, True])
def test_one_space_is_put_in_front_whatever_comes_first(legacy: bool) -> None:
    tokenizer = open_sentencepiece(FOLDER, legacy=legacy)
    assert pieces(tokenizer, "a") == [SPACE + "a"]
    assert "".join(pieces(tokenizer, "  a")) == 3 * SPACE + "a"
    assert pieces(tokenizer, "") == []
    assert pieces(tokenizer, SPACE) == pieces(tokenizer, " ")


def test_legacy_puts_it_behind_special_tokens_too() -> None:
    new, old = (open_sentencepiece(FOLDER, legacy=legacy) for legacy in (False, True))
    assert pieces(new, "a</s>a") == [SPACE + "a", "</s>", "a"]
    assert pieces(old, "a</s>a") == [SPACE + "a", "</s>", SPACE + "a"]
    assert pieces(new, "</s>a") == ["</s>", "a"]


def test_unknown_characters_become_bytes_and_text_survives() -> None:
    tokenizer = open_sentencepiece(FOLDER)
    assert pieces(tokenizer, "\u00e9")[1:] == ["<0xC3>", "<0xA9>"]
    text = "Caf\u00e9  \u4e2d \U0001f600\n\n x"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_folder_says_whether_it_is_legacy(tmp_path: Path) -> None:
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(FOLDER / name, tmp_path / name)
    assert pieces(open_sentencepiece(tmp_path), "</s>a") == ["</s>", "a"]
    config = tmp_path / "tokenizer_config.json"
    found = json.loads(config.read_text("utf-8"))
    del found["legacy"]
    config.write_text(json.dumps(found), "utf-8")
    assert pieces(open_sentencepiece(tmp_path), "</s>a") == ["</s>", SPACE + "a"]


def test_a_folder_may_do_without_the_space(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "tokenizer_config.json"
    found = json.loads(config.read_text("utf-8")) | {"add_prefix_space": False}
    config.write_text(json.dumps(found), "utf-8")
    assert pieces(open_sentencepiece(tmp_path), "a b") == ["a", SPACE + "b"]


def test_it_is_saved_and_opened_again(tmp_path: Path) -> None:
    tokenizer = open_sentencepiece(FOLDER)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("  a b", "x</s>y", "\n\u00e9"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert again(text, add_special_tokens=False)["input_ids"] == ids
    assert (again.bos_token, again.eos_token, again.unk_token) == ("<s>", "</s>", "<unk>")


@pytest.mark.parametrize("legacy", [False, True])
def test_text_that_goes_on_gets_no_space(legacy: bool) -> None:
    core = open_sentencepiece(FOLDER, legacy=legacy).backend_tokenizer
    further = without_dummy_prefix(core)
    assert further.encode("a b").tokens == ["a", SPACE + "b"]
    assert without_dummy_prefix(further) is not core
    qwen = AutoTokenizer.from_pretrained(FOLDER.parent / "qwen2").backend_tokenizer
    assert without_dummy_prefix(qwen) is qwen


def test_added_tokens_keep_their_ids(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "added_tokens.json").write_text('{"<b>": 701, "<a>": 700}', "utf-8")
    tokenizer = open_sentencepiece(tmp_path)
    assert tokenizer.convert_tokens_to_ids(["<a>", "<b>"]) == [700, 701]
    (tmp_path / "added_tokens.json").write_text('{"<a>": 900}', "utf-8")
    with pytest.raises(CheckpointError, match=r"'<a>' would get id 700.* 900"):
        open_sentencepiece(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.model"):
        open_sentencepiece(tmp_path)
    path = tmp_path / "tokenizer.model"
    whole = (FOLDER / "tokenizer.model").read_bytes()
    for content in (b"", b"{}", whole[:5000], b"\xff" * 40):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="no SentencePiece model"):
            read_model(path)
    # A unigram model, and one that rewrites characters.
    path.write_bytes(bytes([0x12, 0x02, 0x18, 0x01]))
    with pytest.raises(CheckpointError, match=r"type is 1, expected 2"):
        read_model(path)
    path.write_bytes(bytes([0x12, 0x02, 0x18, 0x02, 0x1A, 0x03, 0x12, 0x01, 0x41]))
    with pytest.raises(CheckpointError, match="rewrites characters"):
        read_model(path)
