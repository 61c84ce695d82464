from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pil
from tests.toy import RATE, mixed, picture, questions, sound, talk, toy, user, video

from hocket._errors import AlignmentError, ConfigError, DataError
from hocket.tokens.batch import pad_batch
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality

PROMPT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def test_the_call_of_transformers_gives_what_encode_gives() -> None:
    processor = toy().processor
    media = (picture(1), picture(2, height=60, width=9), sound(3), video(4))
    conversation = talk(user(*media[:2], "and", media[2], media[3], "?"))
    own = processor.encode(conversation, for_answer=True)
    expected = pad_batch([own], pad_id=processor.tokenizer.pad_token_id, side="left")
    text = processor.tokenizer.decode(processor.text.encode(conversation, for_answer=True).ids)
    assert text == PROMPT.format("<image><image>and<audio><video>?")
    called = processor(
        text=text,
        images=[Pil.fromarray(media[0].load()), media[1].load()],
        audio=media[2].load(RATE),
        videos=media[3],
        return_tensors="pt",
    )
    assert set(called) == set(expected) - {"labels"}
    for name, value in called.items():
        assert torch.equal(value, expected[name]), name  # type: ignore[literal-required] # a key of Batch


def test_a_batch_takes_media_from_flat_or_nested_lists() -> None:
    processor = toy().processor
    pictures = [picture(seed).load() for seed in range(3)]
    texts = ["<image> and <image>", "none", "<image>"]
    flat = processor(text=texts, images=pictures)
    nested = processor(text=texts, images=[pictures[:2], [], pictures[2:]])
    assert flat["image_spans"].shape == (3, 7)
    for name in flat:
        assert torch.equal(flat[name], nested[name])


def test_apply_chat_template_of_transformers_gives_the_same_tokens() -> None:
    processor = toy().processor
    image = Pil.fromarray(picture().load())
    content = [{"type": "image", "image": image}, {"type": "text", "text": "What is this?"}]
    batch = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    own = processor.encode(talk(user(picture(), "What is this?")), for_answer=True)
    assert batch["input_ids"][0].tolist() == own.outline.input_ids
    assert own.images is not None
    assert torch.equal(batch["pixel_values"], own.images)


def test_too_few_and_too_many_media_are_named() -> None:
    processor = toy().processor
    with pytest.raises(AlignmentError, match="more <image> placeholders"):
        processor(text="<image> <image>", images=[picture().load()])
    with pytest.raises(AlignmentError, match=r"without a placeholder.*'audio': 1"):
        processor(text="hi", audio=sound().load(RATE))
    with pytest.raises(DataError, match="needs text"):
        processor(images=picture().load())
    with pytest.raises(DataError, match=r"a picture must be a path.*found int"):
        processor(text="<image>", images=3)


def test_measuring_needs_no_pixels_and_agrees_with_encoding() -> None:
    processor = toy().processor
    for one in mixed():
        example = processor.encode(one)
        assert processor.measure(one) == example.outline
        for span, plan in zip(example.outline.spans, example.outline.plans, strict=True):
            token = processor.placeholder_ids[span.modality]
            assert example.outline.input_ids[span.start : span.stop] == [token] * plan.rows


def test_a_saved_processor_is_the_same(tmp_path: Path) -> None:
    processor = toy().processor
    processor.save_pretrained(tmp_path)
    again = HocketProcessor.from_pretrained(tmp_path, local_files_only=True)
    assert again.to_dict() == processor.to_dict()
    assert again.chat_template == processor.chat_template
    for one in mixed():
        assert again.measure(one) == processor.measure(one)
        first, second = again.encode(one), processor.encode(one)
        for name in ("images", "frames", "sounds"):
            one_of_them = getattr(first, name)
            assert one_of_them is None or torch.equal(one_of_them, getattr(second, name))


def test_a_template_that_forgets_a_medium_is_named() -> None:
    forgetful = "{% for m in messages %}{% generation %}x{% endgeneration %}{% endfor %}"
    built = toy().processor
    processor = HocketProcessor(
        built.tokenizer,
        image_layout=built.image_layout,
        audio_layout=built.audio_layout,
        video_sampling=built.video_sampling,
        chat_template=forgetful,
    )
    with pytest.raises(AlignmentError, match=r"toy.json row talk.* 0 placeholders for 2 media"):
        processor.measure(talk(user(picture(), sound())))


def test_a_file_that_changes_between_measure_and_encode_is_named(tmp_path: Path) -> None:
    processor = toy().processor
    one = talk(user(video(1)))
    outline = processor.measure(one)
    plan = replace(outline.plans[0], units=5)
    with pytest.raises(AlignmentError, match=r"row talk: video array was planned as 5.*to 2"):
        processor.encode(one, outline=replace(outline, plans=(plan,)))


def test_an_augmentation_may_not_outgrow_the_rows() -> None:
    processor = toy().processor

    def longer(
        modality: Modality, array: np.ndarray, *, index: int, limit: int | None
    ) -> np.ndarray:
        assert limit is not None
        return np.zeros(limit + 1, np.float32)

    with pytest.raises(AlignmentError, match=r"row talk.* 11201 samples of sound array.*11200"):
        processor.encode(talk(user(sound(seconds=0.7))), transform=longer)


def test_media_that_the_model_cannot_take_are_named() -> None:
    built = toy().processor
    blind = HocketProcessor(
        built.tokenizer, audio_layout=built.audio_layout, chat_template=built.chat_template
    )
    deaf = HocketProcessor(built.tokenizer, built.image_layout, chat_template=built.chat_template)
    with pytest.raises(ConfigError, match=r"row talk: has a picture.*no vision tower"):
        blind.measure(talk(user(picture())))
    with pytest.raises(ConfigError, match=r"row talk: has a sound.*no audio tower"):
        deaf.measure(talk(user(sound())))
    with pytest.raises(ConfigError, match=r"row talk: has a video.*model\.video"):
        deaf.measure(talk(user(video())))


def test_media_from_paths_are_those_from_arrays(tmp_path: Path) -> None:
    array = picture().load()
    Pil.fromarray(array).save(tmp_path / "a.png")
    call = toy().processor
    by_path = call(text="<image>", images=tmp_path / "a.png")
    by_bytes = call(text="<image>", images=(tmp_path / "a.png").read_bytes())
    by_array = call(text="<image>", images=array)
    assert torch.equal(by_path["pixel_values"], by_array["pixel_values"])
    assert torch.equal(by_bytes["pixel_values"], by_array["pixel_values"])


def test_for_answer_ends_where_the_assistant_starts() -> None:
    processor = toy().processor
    for question, full in zip(questions(mixed()), mixed(), strict=True):
        prompt = processor.encode(question, for_answer=True).outline.input_ids
        assert processor.encode(full).outline.input_ids[: len(prompt)] == prompt
