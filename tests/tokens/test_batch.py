from __future__ import annotations

import torch
from tests.toy import assistant, mixed, talk, toy, user

from hocket.tokens.batch import IGNORED, pack_batch, pad_batch
from hocket.tokens.example import Cost
from hocket.tokens.span import Modality

PAD = 0


def test_packed_rows_hold_every_example_in_order() -> None:
    examples = [toy().processor.encode(one) for one in mixed()]
    batch = pack_batch([examples[:3], examples[3:]], pad_id=PAD)
    assert "attention_mask" not in batch
    for row, group in enumerate((examples[:3], examples[3:])):
        at = 0
        for example in group:
            length = len(example.outline.input_ids)
            span = slice(at, at + length)
            assert batch["input_ids"][row, span].tolist() == example.outline.input_ids
            assert batch["labels"][row, span].tolist()[1:] == example.outline.labels[1:]
            assert batch["position_ids"][row, span].tolist() == list(range(length))
            at += length
        rest = batch["input_ids"].shape[1] - at
        assert batch["position_ids"][row, at:].tolist() == list(range(rest))
        assert batch["labels"][row, at:].tolist() == [IGNORED] * rest


def test_the_first_token_of_an_example_is_never_learned() -> None:
    example = toy().processor.encode(talk(assistant("hello")))
    example.outline.labels[0] = example.outline.input_ids[0]
    labels = pack_batch([[example, example]], pad_id=PAD)["labels"][0]
    assert labels[0] == labels[len(example.outline.labels)] == IGNORED


def test_padding_keeps_the_side_and_the_mask() -> None:
    examples = [toy().processor.encode(one) for one in mixed()]
    left = pad_batch(examples, pad_id=PAD, side="left")
    right = pad_batch(examples, pad_id=PAD, side="right")
    for row, example in enumerate(examples):
        length = len(example.outline.input_ids)
        assert left["input_ids"][row, -length:].tolist() == example.outline.input_ids
        assert right["labels"][row, :length].tolist() == example.outline.labels
        for batch in (left, right):
            ids = batch["input_ids"][row][batch["attention_mask"][row].bool()]
            assert ids.tolist() == example.outline.input_ids


def test_media_are_joined_in_reading_order() -> None:
    examples = [toy().processor.encode(one) for one in mixed()]
    batch = pad_batch(examples, pad_id=PAD, side="right")
    images = [example.images for example in examples if example.images is not None]
    assert torch.equal(batch["pixel_values"], torch.cat(images))
    for name, modality in (("image", "image"), ("video", "video"), ("audio", "audio")):
        rows = [span.rows for one in examples for span in one.spans(Modality(modality))]
        assert batch[f"{name}_spans"][:, 1].tolist() == rows  # type: ignore[literal-required] # a key of Batch
    assert batch["video_spans"][:, 0].sum() == len(batch["pixel_values_videos"])
    assert batch["frame_times"].tolist() == [0.0, torch.tensor(0.6).item()]
    assert batch["audio_spans"][:, 0].sum() == len(batch["input_features"])
    assert len(batch["feature_lengths"]) == len(batch["input_features"])


def test_text_alone_brings_no_media() -> None:
    batch = pad_batch([toy().processor.encode(talk(user("hi")))], pad_id=PAD, side="left")
    assert set(batch) == {"input_ids", "labels", "attention_mask"}


def test_costs_count_what_is_computed() -> None:
    outline = toy().processor.measure(mixed()[4])
    # Two pictures of 4 x 4 patches, a sound of 2 chunks of 25 frames.
    learned = sum(label != IGNORED for label in outline.labels)
    assert outline.cost == Cost(len(outline.input_ids), patches=32, frames=50, targets=learned)
    assert outline.cost + outline.cost == Cost(
        2 * len(outline.input_ids), patches=64, frames=100, targets=2 * learned
    )
