"""Every recorded template and dialogue of LLaVA, NaVILA, VILA 2, VITA and Ovis 2.5."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from hocket.chat.template import read_template

GOLDEN = Path(__file__).parents[1] / "golden"
ITEMS = ("pure_llava", "pure_navila", "pure_vila", "pure_vita")
RECORDED = {
    item: json.loads((GOLDEN / item / "conv_templates.json").read_text("utf-8")) for item in ITEMS
}
OVIS = json.loads((GOLDEN / "ovis25" / "formatter.json").read_text("utf-8"))
# The originals' names where ours is another one; "default" means another template in each.
OURS = {"pure_llava": {"default": "v0"}, "pure_navila": {"default": "v0"}} | {
    "pure_vila": {},
    "pure_vita": {"default": "mixtral_two"},
}
ROLES = {"U": "user", "A": "assistant", "system": "system", "human": "user", "gpt": "assistant"}

Row = dict[str, Any]


def rows(*, failing: bool, plain: bool) -> list[Any]:
    """Return the recorded rows as parameters; `failing` ones raised in the original."""
    return [
        pytest.param(item, row, id=f"{item}-{row['template']}-{row['dialogue']}-{index}")
        for item in ITEMS
        for index, row in enumerate(RECORDED[item]["vectors"])
        if ("error" in row) == failing and ("plain" in row["template"]) == plain
    ]


def media_of(text: str, kind: str) -> list[dict[str, str]]:
    parts: list[dict[str, str]] = []
    for number, piece in enumerate(text.split("<image>")):
        parts += [{"type": kind}] if number else []
        parts += [{"type": "text", "text": piece}] if piece else []
    return parts


def render(item: str, row: Row) -> str:
    """Render a recorded dialogue; an empty last message is where the model goes on."""
    turns = RECORDED[item]["dialogues"][row["dialogue"]]
    prompt = not turns[-1][1]
    kind = row.get("modality")
    messages = [
        {
            "role": ROLES[role],
            # VITA chooses the system message by the kind of media; elsewhere <image> is text.
            "content": media_of(text, kind) if kind in ("image", "video") else text,
        }
        for role, text in (turns[:-1] if prompt else turns)
    ]
    name = OURS[item].get(row["template"], row["template"])
    texts, _ = render_jinja_template(
        conversations=[messages], chat_template=read_template(name), add_generation_prompt=prompt
    )
    # VITA writes a picture's placeholder for each frame of a video.
    return str(texts[0]).replace("<video>", "<image>")


def test_the_recordings_are_here() -> None:
    counts = [len(rows(failing=failing, plain=False)) for failing in (False, True)]
    assert counts == [220, 48]


@pytest.mark.parametrize(("item", "row"), rows(failing=False, plain=False))
def test_text_is_that_of_the_original(item: str, row: Row) -> None:
    text = render(item, row)
    if "prompt" in row:
        assert text == row["prompt"]
    else:
        assert text.endswith(row["tail"])
        assert hashlib.sha256(text.encode()).hexdigest() == row["sha256"]


@pytest.mark.parametrize(("item", "row"), rows(failing=True, plain=False))
def test_where_the_original_raises_ours_knows_what_to_do(item: str, row: Row) -> None:
    """VILA's auto has no text of its own; VITA wants to be told the modality and checks it.

    Ours is the tokenizer's template (qwen2), and reads the modality off the media.
    """
    if row["template"] == "auto":
        assert row["error"] == "ValueError"
        assert "auto" not in read_template("qwen2")
    else:
        assert row["error"] == "AssertionError"
        assert "You are an AI robot and your name is VITA. " in render(item, row)


PLAIN = [*rows(failing=False, plain=True), *rows(failing=True, plain=True)]


@pytest.mark.parametrize("name", ["plain", "v0_plain"])
@pytest.mark.parametrize(("item", "row"), PLAIN)
def test_plain_writes_no_questions(item: str, row: Row, name: str) -> None:
    """The originals' plain prompt holds the question, which training leaves out, or raises.

    Ours has one text for both: media and captions. Questions without media are refused.
    """
    with pytest.raises(jinja2.TemplateError, match="writes no questions"):
        render(item, row | {"template": name})


@pytest.mark.parametrize("row", OVIS["formatter"], ids=lambda row: repr(row["generation_preface"]))
def test_ovis_formats_the_same(row: Row) -> None:
    turns = OVIS["conversations"][row["conversation"]]
    messages = [
        {"role": ROLES[one["from"].removeprefix("ignored_")], "content": one["value"]}
        | ({"train": False} if one["from"] == "ignored_gpt" else {})
        for one in turns
    ]
    preface = row["generation_preface"]
    texts, spans = render_jinja_template(
        conversations=[messages[:-1] if row["drop_last"] else messages],
        chat_template=read_template("ovis2_5"),
        return_assistant_tokens_mask=True,
        add_generation_prompt=preface is not None,
        enable_thinking=preface == "",
    )
    # Ovis writes the last line break and removes its token afterwards.
    expected = row["prompt"].removesuffix("\n") if preface is None else row["prompt"]
    assert texts[0] == expected
    learned = [texts[0][start:stop] for start, stop in spans[0]] if preface is None else []
    assert learned == [
        one["value"] + "<|im_end|>" for one in turns if one["from"] == "gpt" and preface is None
    ]
