from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.toy import SIZE, picture, sound, toy

import hocket
from hocket._errors import DataError
from hocket.chat.conversation import Text
from hocket.infer.engine import Engine
from hocket.infer.originals import place_media
from hocket.infer.sampling import Sampling

SHORT = Sampling(max_new_tokens=4)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(*toy())


def array() -> np.ndarray:
    return np.zeros((SIZE, SIZE, 3), np.uint8)


def test_ovis_inputs_are_the_models_inputs(engine: Engine) -> None:
    prompt, ids, pixels = engine.preprocess_inputs("<image>\nWhat is this?", [array()])
    assert prompt.count("<image>") == 1
    rows = engine.processor.images.plan(SIZE, SIZE).rows  # type: ignore[union-attr] # the toy sees
    assert int((ids == engine.processor.placeholder_ids["image"]).sum()) == rows  # type: ignore[index] # names are modalities
    assert pixels is not None
    assert pixels.shape == (1, 3, SIZE, SIZE)
    spans = torch.tensor([[1, rows, 1, 2, 2, 1, 1]])
    with torch.inference_mode():
        logits = engine.model(input_ids=ids[None], pixel_values=pixels, image_spans=spans).logits
    answer = engine.answer([place_media("<image>\nWhat is this?", images=[array()])], SHORT)[0]
    assert (
        int(logits[0, -1].argmax()) == (*answer.tokens, engine.processor.tokenizer.eos_token_id)[0]
    )


def test_vitas_calls_are_the_engines(engine: Engine) -> None:
    wave = np.zeros(1600, np.float32)
    own = engine.generate("What?", images=[array()], audios=[wave], sampling=SHORT)
    assert engine.generate("What?", image_path=array(), audio_path=wave, sampling=SHORT) == own
    items = [{"text": "What?", "image_path": array(), "audio_path": wave}, {"text": "2 + 3?"}]
    assert engine.generate_batch(items, SHORT) == [own, engine.generate("2 + 3?", sampling=SHORT)]


def test_vilas_content_keeps_its_order(engine: Engine) -> None:
    mixed = ["Look: ", picture(), " and hear ", sound(), "."]
    assert isinstance(engine.generate_content(mixed, SHORT), str)
    assert engine.generate_content("2 + 3?", SHORT) == engine.generate("2 + 3?", sampling=SHORT)
    with pytest.raises(DataError, match=r"content holds a int.*hocket\.Image"):
        engine.generate_content(["a", 3])


def test_places_are_filled_in_order() -> None:
    first, second = picture(1), picture(2)
    parts = place_media("<image> then <image>!", images=[first, second]).messages[0].parts
    assert parts == (first, Text(" then "), second, Text("!"))
    assert place_media("What?", images=[first]).messages[0].parts == (
        first,
        Text("\n"),
        Text("What?"),
    )
    with pytest.raises(DataError, match="1 <image> but 2 were given"):
        place_media("<image>", images=[first, second])
    with pytest.raises(DataError, match="1 <video> but 0 were given"):
        place_media("<video>")


@pytest.mark.parametrize("item", [{"txt": "a"}, {"text": "a", "image": "b.png"}, {}])
def test_a_wrong_item_is_named(engine: Engine, item: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"batch item 0 has the keys"):
        engine.generate_batch([item])


def test_the_media_types_are_public() -> None:
    assert hocket.Image.from_path("a.png").where.name == "a.png"
    assert {hocket.Audio, hocket.Video}
