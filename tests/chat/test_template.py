from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import jinja2
import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from hocket._errors import UnknownNameError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.chat.template import read_template, template_names, to_messages
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video

S, U, A, T = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL
IMAGE, AUDIO, VIDEO = Image.from_path("a.png"), Audio.from_path("a.wav"), Video.from_path("a.mp4")
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
TOOL = {"type": "function", "function": {"name": "add", "description": "<b> & \u00e4"}}
# What the assistant may say: text is never trimmed, quoted or read as markup.
ANSWERS = [
    "Seven.",
    " two \n",
    "<think>\nIs it <image>?\n\n</think>\n\nNo: {{ messages }} {% if %}",
    '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
    "\u00e4 \u4e2d \U0001f642 'quoted' \"twice\" <b>&amp;",
]


def message(role: Role, *parts: Part | str, train: bool | None = None) -> Message:
    found = tuple(Text(part) if isinstance(part, str) else part for part in parts)
    return Message(role, found, train)


def talk(*messages: Message) -> Conversation:
    return Conversation(id="x", messages=messages)


def dialogue() -> Conversation:
    """Return a turn for each answer; every question holds a medium, as plain needs."""
    media = [IMAGE, AUDIO, VIDEO, IMAGE, IMAGE]
    return talk(
        *(
            turn
            for medium, answer in zip(media, ANSWERS, strict=True)
            for turn in (message(U, medium, "\nWhat is it? "), message(A, answer))
        )
    )


def pictures() -> Conversation:
    """Return the same dialogue with pictures only, which VITA's system message depends on."""
    return talk(
        *(
            replace(turn, parts=(IMAGE, *(one for one in turn.parts if isinstance(one, Text))))
            if turn.role is U
            else turn
            for turn in dialogue().messages
        )
    )


def render(
    name: str, messages: Conversation | list[dict[str, Any]], prompt: bool = False, **extra: Any
) -> tuple[str, list[str]]:
    """Return the text and the learned pieces of it."""
    plain = to_messages(messages) if isinstance(messages, Conversation) else messages
    texts, spans = render_jinja_template(
        conversations=[plain],
        chat_template=read_template(name),
        return_assistant_tokens_mask=True,
        add_generation_prompt=prompt,
        **extra,
    )
    return texts[0], [texts[0][start:stop] for start, stop in spans[0]]


def test_templates_are_listed_and_read() -> None:
    assert {"chatml", "llama_3", "ovis2_5", "plain", "vicuna_v1"} < set(template_names())
    assert all(read_template(name).isascii() for name in template_names())
    assert all("{%- generation -%}" in read_template(name) for name in template_names())


@pytest.mark.parametrize("name", ["chatlm", "../template", "chatml.jinja", ""])
def test_an_unknown_template_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"Known: chatml, chatml_direct, .* vicuna_v1"):
        read_template(name)
    with pytest.raises(UnknownNameError, match="Did you mean 'chatml'"):
        read_template("chatlm")


def test_names_of_the_originals_open_the_same_template() -> None:
    assert read_template("v1") == read_template("minicpm") == read_template("vicuna_v1")
    assert read_template("hermes-2") == read_template("mistral_direct")


def test_messages_are_plain_dictionaries_with_the_text_unchanged() -> None:
    conversation = talk(
        message(S, " S\n"),
        message(U, IMAGE, "\n", AUDIO, VIDEO, "<image>"),
        message(A, "a", train=False),
        message(T),
    )
    assert to_messages(conversation) == [
        {"role": "system", "content": [{"type": "text", "text": " S\n"}]},
        {
            "role": "user",
            "content": [
                {"type": "image"},
                {"type": "text", "text": "\n"},
                {"type": "audio"},
                {"type": "video"},
                {"type": "text", "text": "<image>"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "a"}], "train": False},
        {"role": "tool", "content": []},
    ]


TOKENS = [{}, {"bos_token": "<s>", "eos_token": "<|end|>"}]


@pytest.mark.parametrize("name", template_names())
@pytest.mark.parametrize("tokens", TOKENS)
def test_training_text_is_the_prompt_and_the_answer(name: str, tokens: dict[str, str]) -> None:
    messages = pictures().messages
    whole, learned = render(name, talk(*messages), **tokens)
    assert len(learned) == len(ANSWERS)
    # Ovis's prompts leave earlier answers without the empty thought they were learned behind.
    for turn, answer in enumerate(learned[:1] if name == "ovis2_5" else learned):
        prompt, _ = render(name, talk(*messages[: 2 * turn + 1]), prompt=True, **tokens)
        assert whole.startswith(prompt + answer)
        until, parts = render(name, talk(*messages[: 2 * turn + 2]), **tokens)
        assert until.startswith(prompt + parts[-1])
        line = "\n" if name in ("chatml", "qwen2") else ""
        assert until.removeprefix(prompt + parts[-1]) == line


@pytest.mark.parametrize(
    ("name", "tokens", "before", "end"),
    [
        ("chatml", {"eos_token": "</s>"}, "", "<|im_end|>"),
        ("plain", {"eos_token": "<|end|>"}, "", "<|end|>"),
        ("plain", {}, "", "\n"),
        ("vicuna_v1", {"eos_token": "<|end|>"}, " ", "<|end|>"),
        ("vicuna_v1", {"eos_token": None}, " ", "</s>"),
        ("v0_plain", {"eos_token": "<|end|>"}, "", "\n"),
        ("llava_v1", {}, " ", "</s>"),
        ("phi3", {"eos_token": "</s>"}, " ", "<|endoftext|>"),
        ("llama", {"eos_token": "</s>"}, " ", "<|end_of_text|>"),
        ("v0", {}, " ", "###"),
        ("llava_v0", {}, " ", "###"),
        ("llava_llama_2", {}, " ", " </s>"),
        ("mistral_instruct", {}, " ", " </s>"),
        ("mistral", {}, "", "</s>"),
        ("nemo", {}, "", "</s>"),
        ("mixtral_zh", {}, "", "</s>"),
        ("mpt", {}, "", "<|im_end|>"),
        ("qwen2p5_instruct", {}, "", "<|im_end|>"),
        ("ovis2_5", {}, "", "<|im_end|>"),
        ("ovis2_gemma", {}, "", "<end_of_turn>"),
    ],
)
def test_learned_is_exactly_the_answer_and_its_end(
    name: str, tokens: dict[str, str | None], before: str, end: str
) -> None:
    _, learned = render(name, dialogue(), **tokens)
    assert learned == [before + answer + end for answer in ANSWERS]


@pytest.mark.parametrize("name", [one for one in template_names() if one != "ovis2_5"])
def test_an_answer_marked_so_is_not_learned_and_the_text_is_the_same(name: str) -> None:
    messages = dialogue().messages
    ignored = tuple(
        replace(one, train=False) if index in (1, 5) else one for index, one in enumerate(messages)
    )
    whole, learned = render(name, talk(*messages))
    text, rest = render(name, talk(*ignored))
    assert text == whole
    assert rest == [learned[1], learned[3], learned[4]]


@pytest.mark.parametrize("name", [one for one in template_names() if "plain" not in one])
def test_another_role_is_learned_when_it_says_so(name: str) -> None:
    conversation = talk(message(U, "question", train=True), message(A, "answer", train=True))
    _, learned = render(name, conversation)
    assert [re.split(r"[<#]", one.strip())[0].strip() for one in learned] == ["question", "answer"]


def test_llama_3_ends_the_last_message_in_another_way() -> None:
    conversation = talk(message(U, "a"), message(A, "b"), message(U, "c"), message(A, "d"))
    text, learned = render("llama_3", conversation)
    assert learned == ["b<|eot_id|>", "d<|end_of_text|>"]
    assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are")


def test_ovis_2_for_llama_3_leaves_white_space_out() -> None:
    conversation = talk(message(S, " s "), message(U, " a\n"), message(A, "\nb "))
    text, learned = render("ovis2_llama3", conversation)
    head = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>"
    turns = [("system", "s"), ("user", "a"), ("assistant", "b")]
    assert text == "<|begin_of_text|>" + "".join(head.format(*turn) for turn in turns)
    assert learned == ["b<|eot_id|>"]


def test_ovis_2_for_gemma_and_qwen_to_the_letter() -> None:
    turns = [message(U, IMAGE, "a"), message(A, "b")]
    assert render("ovis2_gemma", talk(*turns))[0] == (
        "<bos><start_of_turn>user\n<image>a<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>"
    )
    assert render("ovis2_qwen", talk(*turns))[0] == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<image>a<|im_end|>\n<|im_start|>assistant\nb<|im_end|>"
    )


def test_vila_2_has_qwens_system_message_without_a_full_stop() -> None:
    text, _ = render("qwen2", talk(message(U, "a")), prompt=True)
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n"
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("name", ["qwen2p5_instruct", "mixtral_two", "nemo"])
def test_vita_speaks_of_the_video_where_there_are_both(name: str) -> None:
    text, _ = render(name, talk(message(U, VIDEO, IMAGE, "a"), message(A, "b")))
    assert "you are seeing the video, not the image." in text
    assert "you are seeing" not in render(name, talk(message(U, AUDIO, "a"), message(A, "b")))[0]


@pytest.mark.parametrize("name", ["v0_mmtag", "v1_mmtag"])
def test_mmtag_writes_pictures_between_tags(name: str) -> None:
    text, _ = render(name, talk(message(U, IMAGE, "\na"), message(A, "b")))
    assert "<Image><image></Image>\na" in text


def test_ovis_learns_thoughts_but_no_empty_one() -> None:
    thought = "<think>\nx\n</think>\n\n"
    turns = [message(U, "a"), message(A, "b"), message(U, "c"), message(A, thought + "d")]
    text, learned = render("ovis2_5", talk(*turns))
    assert learned == ["b<|im_end|>", thought + "d<|im_end|>"]
    assert "<|im_start|>assistant\n<think>\n\n</think>\n\nb<|im_end|>\n" in text
    ignored, _ = render("ovis2_5", talk(turns[0], message(A, "b", train=False), *turns[2:]))
    assert "<|im_start|>assistant\nb<|im_end|>\n" in ignored
    open_prompt, _ = render("ovis2_5", talk(turns[0]), prompt=True, enable_thinking=True)
    assert open_prompt.endswith("<|im_start|>assistant\n")


def test_chatml_to_the_letter() -> None:
    conversation = talk(
        message(S, "Be brief."),
        message(U, IMAGE, "\nWhat ", AUDIO, VIDEO, " is it?"),
        message(A, "Seven."),
    )
    assert render("chatml", conversation, prompt=True)[0] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<image>\nWhat <audio><video> is it?<|im_end|>\n"
        "<|im_start|>assistant\nSeven.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_vicuna_to_the_letter() -> None:
    # The prompt is that of LLaVA's own code for the same question.
    prompt, _ = render("vicuna_v1", talk(message(U, IMAGE, "\nWhat is in the picture?")), True)
    assert prompt == VICUNA + "USER: <image>\nWhat is in the picture? ASSISTANT:"
    text, _ = render(
        "vicuna_v1",
        talk(message(U, "a"), message(A, "b"), message(U, "c"), message(A, "d")),
        bos_token="<s>",
    )
    assert text == f"<s>{VICUNA}USER: a ASSISTANT: b</s>USER: c ASSISTANT: d</s>"


def test_vicuna_takes_another_system_message() -> None:
    turns = (message(U, "a"), message(A, "b"))
    text, _ = render("vicuna_v1", talk(message(S, "Be brief."), *turns))
    assert text == "Be brief. USER: a ASSISTANT: b</s>"
    assert render("vicuna_v1", talk(message(S), *turns))[0] == "USER: a ASSISTANT: b</s>"


def test_plain_is_media_and_captions_only() -> None:
    conversation = talk(message(U, "Describe it.\n", IMAGE, AUDIO), message(A, "a cat"))
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    assert render("plain", conversation, **tokens)[0] == "<s><image><audio>a cat</s>"
    prompt = talk(*conversation.messages[:1])
    assert render("plain", prompt, prompt=True, **tokens)[0] == "<s><image><audio>"


@pytest.mark.parametrize("name", template_names())
def test_content_may_be_a_string(name: str) -> None:
    messages = to_messages(dialogue())
    strings = [
        one | {"content": one["content"][0]["text"]} if one["role"] == "assistant" else one
        for one in messages
    ]
    assert render(name, strings) == render(name, messages)


def test_chatml_lists_tools_behind_the_system_message() -> None:
    turns = [message(U, "1 + 2?"), message(A, "3")]
    alone, _ = render("chatml", talk(*turns), tools=[TOOL])
    told, _ = render("chatml", talk(message(S, "Be brief."), *turns), tools=[TOOL])
    assert alone.startswith("<|im_start|>system\n# Tools\n\nYou may call one or more functions")
    assert told == alone.replace("system\n# Tools", "system\nBe brief.\n\n# Tools", 1)
    signature = '{"type": "function", "function": {"name": "add", "description": "<b> & \u00e4"}}'
    assert f"<tools>\n{signature}\n</tools>" in alone
    assert alone.endswith("<|im_end|>\n" + render("chatml", talk(*turns))[0])


def test_chatml_writes_calls_and_results() -> None:
    call = {"name": "add", "arguments": {"a": "\u00e4", "b": 2}}
    messages = [
        {"role": "user", "content": "1 + 2?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "function": call}, call | {"arguments": "{}"}],
        },
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": [{"type": "text", "text": "0"}, {"type": "image"}]},
        {"role": "assistant", "content": "Wait.", "tool_calls": [call]},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 3."},
    ]
    first = '<tool_call>\n{"name": "add", "arguments": {"a": "\u00e4", "b": 2}}\n</tool_call>'
    second = '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'
    text, learned = render("chatml", messages)
    assert learned == [
        f"{first}\n{second}<|im_end|>",
        f"Wait.\n{first}<|im_end|>",
        "It is 3.<|im_end|>",
    ]
    assert text == (
        "<|im_start|>user\n1 + 2?<|im_end|>\n"
        f"<|im_start|>assistant\n{learned[0]}\n"
        "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n"
        "<tool_response>\n0<image>\n</tool_response><|im_end|>\n"
        f"<|im_start|>assistant\n{learned[1]}\n"
        "<|im_start|>user\n<tool_response>\n4\n</tool_response><|im_end|>\n"
        f"<|im_start|>assistant\n{learned[2]}\n"
    )
    assert render("chatml", messages[:4], prompt=True)[0] == text.partition("Wait.")[0]


REFUSED = [
    ("chatml", [{"role": "robot", "content": "x"}], "not robot"),
    ("vicuna_v1", [{"role": "tool", "content": "x"}], "no tool turns"),
    ("vicuna_v1", [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}], "system"),
    ("plain", [{"role": "system", "content": "x"}], "no system turns"),
    ("plain", [{"role": "user", "content": "x"}], "writes no questions"),
    ("ovis2_gemma", [{"role": "system", "content": "x"}], "has no system turns"),
]


@pytest.mark.parametrize(("name", "messages", "reason"), REFUSED)
def test_what_a_template_cannot_write_is_refused(
    name: str, messages: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(jinja2.TemplateError, match=reason):
        render(name, messages)


@pytest.mark.parametrize("name", template_names())
def test_unknown_parts_are_refused(name: str) -> None:
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "file"}]}]
    with pytest.raises(jinja2.TemplateError, match="not file"):
        render(name, messages)


@pytest.mark.parametrize("name", [one for one in template_names() if one != "chatml"])
def test_tools_are_refused_where_there_is_no_place_for_them(name: str) -> None:
    with pytest.raises(jinja2.TemplateError, match="no place for tools"):
        render(name, dialogue(), tools=[TOOL])
