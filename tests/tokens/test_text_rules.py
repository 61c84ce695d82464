from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.toy import assistant, picture, talk, user
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hocket._errors import ConfigError
from hocket.chat.template import read_template
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.sentencepiece import open_sentencepiece
from hocket.tokens.text import TextEncoder, TextRules
from hocket.tokens.tokenizer import ensure_control_tokens

FOLDER = Path(__file__).parents[1] / "golden" / "pure_llava" / "tokenizers"
SPACE = "\u2581"
TURNS = talk(user(picture(), "\nWhat?"), assistant("Red."))


def llama(*, legacy: bool = False, extra: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    tokenizer = open_sentencepiece(FOLDER / "llama", legacy=legacy)
    tokenizer.add_tokens([AddedToken(one, special=True, normalized=False) for one in extra], True)
    ensure_control_tokens(tokenizer)
    return tokenizer


def tokens(encoder: TextEncoder, ids: list[int]) -> list[str]:
    return list(encoder.tokenizer.convert_ids_to_tokens(ids))


def test_rules_are_read_from_options() -> None:
    assert TextRules.from_options(None) == TextRules()
    assert TextRules.from_options({"chunked": True, "start_tokens": 2}) == TextRules(True, 2)
    with pytest.raises(ConfigError, match="text_rules has chunk, expected some of chunked"):
        TextRules.from_options({"chunk": True})


def test_each_chunk_gets_its_own_space() -> None:
    plain = TextEncoder(llama(), read_template("mistral"))
    chunked = TextEncoder(llama(), read_template("mistral"), TextRules(chunked=True))
    assert tokens(plain, plain.encode_text("<image>\n")) == ["<image>", "<0x0A>"]
    assert tokens(chunked, chunked.encode_text("<image>\n")) == ["<image>", SPACE, "<0x0A>"]


@pytest.mark.parametrize(("count", "text"), [(0, "<s>a"), (1, "a"), (1, "<s><s>a"), (1, "<s>a")])
def test_start_tokens_are_counted(count: int, text: str) -> None:
    encoder = TextEncoder(llama(), "", TextRules(start_tokens=count))
    assert tokens(encoder, encoder.encode_text(text)) == ["<s>"] * count + [SPACE + "a"]


def test_two_start_tokens_are_the_tokenizers_and_the_templates() -> None:
    encoder = TextEncoder(llama(), read_template("mistral"), TextRules(True, 2))
    ids, learned = encoder.encode(TURNS)
    assert tokens(encoder, ids)[:3] == ["<s>", "<s>", "["]
    assert not any(learned[:2])
    assert tokens(encoder, encoder.encode_text("a"))[:3] == ["<s>", "<s>", SPACE + "a"]


def test_start_tokens_need_one() -> None:
    qwen = AutoTokenizer.from_pretrained(FOLDER / "qwen2")
    with pytest.raises(ConfigError, match="wants 1 start tokens"):
        TextEncoder(qwen, "", TextRules(start_tokens=1))


def test_pictures_are_framed_by_tokens_that_users_cannot_write() -> None:
    tokenizer = llama(extra=("<im_start>", "<im_end>"))
    rules = TextRules(True, 1, image_start="<im_start>", image_end="<im_end>")
    encoder = TextEncoder(tokenizer, read_template("vicuna_v1"), rules)
    spelled = talk(user(picture(), "<im_start>"), assistant("Red."))
    found = tokens(encoder, encoder.encode(spelled).ids)
    at = found.index("<image>")
    assert found[at - 1 : at + 2] == ["<im_start>", "<image>", "<im_end>"]
    assert found.count("<im_start>") == 1


def test_strip_leaves_out_white_space_around_messages() -> None:
    encoder = TextEncoder(llama(), read_template("vicuna_v1"), TextRules(strip=True))
    padded = talk(user("\n", " a", picture(), " ", "\n"), assistant(" b \n"))
    bare = talk(user("a", picture()), assistant("b"))
    assert encoder.encode(padded) == encoder.encode(bare)
    inner = talk(user(picture(), " a"), assistant("b"))
    assert encoder.encode(inner) != encoder.encode(talk(user(picture(), "a"), assistant("b")))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_text_with_spelled_tokens_survives(legacy: bool, chunked: bool) -> None:
    rules = TextRules(chunked=chunked, start_tokens=1)
    encoder = TextEncoder(llama(legacy=legacy), read_template("chatml"), rules)
    text = "x</s>y <image> z"
    ids, learned = encoder.encode(talk(user(text), assistant(text)))
    assert encoder.tokenizer.convert_tokens_to_ids("<image>") not in ids
    assert encoder.tokenizer.decode(ids).count(text) == 2
    kept = [one for one, wanted in zip(ids, learned, strict=True) if wanted]
    assert encoder.tokenizer.decode(kept) == text + "<|im_end|>"


def test_a_truncating_tokenizer_cuts_nothing() -> None:
    tokenizer = llama()
    encoder = TextEncoder(tokenizer, "")
    whole = encoder.encode_text("one two three")
    tokenizer("one two three", truncation=True, max_length=2)
    assert encoder.encode_text("one two three") == whole


def test_the_processor_keeps_the_rules(tmp_path: Path) -> None:
    template = read_template("vicuna_v1")
    options = {"chunked": True, "start_tokens": 1}
    HocketProcessor(llama(), chat_template=template, text_rules=options).save_pretrained(tmp_path)
    again = HocketProcessor.from_pretrained(tmp_path)
    assert again.text.rules == TextRules(chunked=True, start_tokens=1)
    assert again.text.encode(TURNS) == TextEncoder(llama(), template, again.text.rules).encode(
        TURNS
    )
    ids = again(text="Hello")["input_ids"][0].tolist()
    assert tokens(again.text, ids) == [
        "<s>",
        *tokens(again.text, again.text.encode_text("Hello"))[1:],
    ]


def test_spelled_placeholders_are_dropped_with_the_space_around_their_text() -> None:
    rules = TextRules(drop=("<image>", "<vila/video>"))
    encoder = TextEncoder(llama(), read_template("vicuna_v1"), rules)
    spelled = talk(user("Look: ", picture(), " <image>\n at <vila/video>this "), assistant("b"))
    bare = talk(user("Look: ", picture(), "at this"), assistant("b"))
    assert encoder.encode(spelled) == encoder.encode(bare)
    kept = talk(user("Look: ", picture(), " at this"), assistant("b"))
    assert encoder.encode(kept) != encoder.encode(bare)


def test_dropped_placeholders_are_told(caplog: pytest.LogCaptureFixture) -> None:
    encoder = TextEncoder(llama(), read_template("vicuna_v1"), TextRules(drop=("<image>",)))
    encoder.encode(talk(user("Where is <image>?"), assistant("b")))
    assert "'<image>' in a text is left out" in caplog.text
    caplog.clear()
    encoder.encode(TURNS)
    assert not caplog.text


@pytest.mark.parametrize("template", ["vicuna_v1", "chatml", "mixtral_two", "qwen2p5_instruct"])
def test_an_answer_that_was_cut_off_is_not_taught_to_end(template: str) -> None:
    encoder = TextEncoder(llama(extra=("<|im_end|>",)), read_template(template))
    messages = (user("a"), assistant("b"), user("c"), assistant("It is"))
    whole, learned = encoder.encode(talk(*messages))
    cut = dataclasses.replace(talk(*messages), meta={"end_tag": False})
    ids, mask = encoder.encode(cut)
    end = max(number for number, one in enumerate(learned) if one)
    assert tokens(encoder, [whole[end]])[0] in ("</s>", "<|im_end|>")
    assert ids == whole[:end]
    assert mask == learned[:end]
    closed = dataclasses.replace(cut, meta={"end_tag": True})
    assert encoder.encode(closed) == (whole, learned)
    shown = dataclasses.replace(cut, messages=(*messages[:3], assistant("It is", train=False)))
    assert encoder.encode(shown).ids == whole
