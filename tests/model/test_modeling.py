from __future__ import annotations

import pytest
import torch
from tests.toy import inputs, mixed, picture, questions, sound, talk, toy, user, video

from hocket._errors import AlignmentError
from hocket.tokens.batch import pack_batch, pad_batch


@pytest.mark.parametrize(
    ("medium", "key", "name"),
    [
        (picture(), "pixel_values", "image"),
        (video(), "pixel_values_videos", "video"),
        (sound(), "input_features", "audio"),
    ],
)
def test_a_row_too_few_names_both_counts(medium: object, key: str, name: str) -> None:
    model, processor = toy()
    example = processor.encode(talk(user(medium, "?")))  # type: ignore[arg-type] # one of the media
    batch = inputs(pad_batch([example], pad_id=0, side="right"), "labels")
    (span,) = example.outline.spans
    token = processor.placeholder_ids[span.modality]
    batch["input_ids"] = batch["input_ids"].clone()
    batch["input_ids"][0, span.start] = 200
    assert (batch["input_ids"] == token).sum() == span.rows - 1
    with pytest.raises(AlignmentError) as caught:
        model(**batch)
    expected = f"{span.rows - 1} <{name}> placeholder tokens.*made {span.rows} rows"
    assert caught.match(expected)


def test_media_change_the_logits_behind_them_and_nothing_before() -> None:
    model, processor = toy()
    for medium, other in ((picture(1), picture(2)), (sound(1), sound(2)), (video(1), video(2))):
        logits = []
        for one in (medium, other):
            example = processor.encode(talk(user("Look: ", one, " and say.")))
            batch = inputs(pad_batch([example], pad_id=0, side="right"), "labels")
            with torch.inference_mode():
                logits.append(model(**batch).logits[0])
        (span,) = example.outline.spans
        assert torch.equal(logits[0][: span.start], logits[1][: span.start])
        assert (logits[0][-1] - logits[1][-1]).abs().max() > 1e-3


def test_cached_generation_is_generation_without_a_cache() -> None:
    model, processor = toy()
    examples = [processor.encode(one, for_answer=True) for one in questions(mixed())]
    batch = inputs(pad_batch(examples, pad_id=0, side="left"), "labels")
    options = {"max_new_tokens": 6, "do_sample": False}
    cached = model.generate(**batch, **options)
    assert torch.equal(cached, model.generate(**batch, **options, use_cache=False))


def test_beams_keep_each_row_with_its_own_media() -> None:
    model, processor = toy()
    examples = [processor.encode(one, for_answer=True) for one in questions(mixed())]
    batch = inputs(pad_batch(examples, pad_id=0, side="left"), "labels")
    ids, rest = model._expand_inputs_for_generation(3, False, **batch)
    with torch.inference_mode():
        expected = model(**batch).logits.repeat_interleave(3, dim=0)
        torch.testing.assert_close(model(ids, **rest).logits, expected, rtol=0, atol=1e-5)
    options = {"max_new_tokens": 4, "num_beams": 2, "num_return_sequences": 2}
    assert len(model.generate(**batch, **options, do_sample=False)) == 2 * len(examples)


def test_only_the_last_logits_are_made_when_asked() -> None:
    model, processor = toy()
    batch = inputs(pad_batch([processor.encode(mixed()[0])], pad_id=0, side="right"), "labels")
    with torch.inference_mode():
        whole = model(**batch).logits
        last = model(**batch, logits_to_keep=2).logits
    torch.testing.assert_close(last, whole[:, -2:], rtol=0, atol=1e-6)


def test_the_loss_alone_is_the_loss_with_logits() -> None:
    model, processor = toy()
    batch = pack_batch([[processor.encode(one) for one in mixed()]], pad_id=0)
    with torch.inference_mode():
        alone = model(**inputs(batch), loss_only=True)
        both = model(**inputs(batch))
    assert alone.logits is None
    assert alone.loss == both.loss
    shifted = torch.nn.functional.cross_entropy(
        both.logits[0, :-1], batch["labels"][0, 1:], ignore_index=-100
    )
    torch.testing.assert_close(both.loss, shifted, rtol=0, atol=1e-5)


# Renamed in transformers 5.23; the oldest tested version has only this name.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning")
def test_gradient_checkpointing_changes_no_loss() -> None:
    model, processor = toy("qwen3")
    batch = inputs(pack_batch([[processor.encode(one) for one in mixed()]], pad_id=0))
    model.train()
    plain = model(**batch).loss
    model.gradient_checkpointing_enable()
    again = model(**batch).loss
    again.backward()
    model.gradient_checkpointing_disable()
    model.zero_grad(set_to_none=True)
    model.eval()
    torch.testing.assert_close(again, plain, rtol=0, atol=1e-6)
