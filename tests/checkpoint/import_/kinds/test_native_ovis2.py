"""transformers' Ovis 2 and its processor: pixels, ids, logits and greedy answers are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image as Pil
from safetensors.torch import load_file
from tests.checkpoint.import_.kinds.natives import (
    QWEN2,
    SIDE,
    SQUARE,
    TOWER,
    change_config,
    picture,
    tokenizer,
    write_native,
)
from tests.checkpoint.import_.parity import ask, check_greedy, difference, note, reopen
from torch import Tensor
from transformers import Ovis2Config, Ovis2ForConditionalGeneration, Ovis2Processor
from transformers.models.ovis2.image_processing_pil_ovis2 import Ovis2ImageProcessorPil

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.export import ExportOptions, export
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.tokens.span import Modality

MARKS = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
ATOM = "<IMG_ATOM>"
CUT = {"image_processor_type": "Ovis2ImageProcessor", "size": SQUARE, "crop_to_patches": True}
QUESTION = "<image>What is this?"
# Shapes that need one tile, several lines, several columns, and both.
SIZES = [(20, 28), (28, 90), (120, 30), (70, 70), (61, 150), (500, 411)]


class Toy(NamedTuple):
    """Both models, and the class's processor."""

    theirs: Any
    processor: Any
    ours: Loaded


def write(folder: Path, pixels: dict[str, Any] | None = CUT, **vision: Any) -> Any:
    words = tokenizer("<image>", ATOM, *MARKS)
    ids = words.convert_tokens_to_ids([ATOM, *MARKS])
    vision = TOWER | {"vocab_size": 40, "hidden_stride": 2, "rms_norm_eps": 1e-3} | vision
    vision.pop("model_type", None)
    config = Ovis2Config(
        vision_config=vision,
        text_config=QWEN2 | {"vocab_size": len(words)},
        image_token_id=ids[0],
        visual_indicator_token_ids=ids[1:],
        vocab_size=len(words),
        hidden_size=QWEN2["hidden_size"],
    )
    return write_native(folder, Ovis2ForConditionalGeneration, config, words, pixels=pixels)


def made(folder: Path, pixels: dict[str, Any] | None = CUT, **vision: Any) -> Toy:
    theirs = write(folder / "theirs", pixels, **vision)
    report = import_checkpoint("auto", folder / "theirs", folder / "ours")
    assert report.kind == "native_ovis2"
    known = {key: value for key, value in (pixels or {}).items() if "type" not in key}
    rows = (SIDE // 7 // 2) ** 2 if vision.get("hidden_stride", 2) == 2 else (SIDE // 7) ** 2
    processor = Ovis2Processor(
        image_processor=Ovis2ImageProcessorPil(**known),
        tokenizer=tokenizer("<image>", ATOM, *MARKS),
        image_seq_length=rows,
    )
    return Toy(theirs, processor, reopen(folder / "ours"))


def both(toy: Toy, sizes: list[tuple[int, int]], question: str) -> tuple[Any, dict[str, Tensor]]:
    """Return the inputs of the class and ours."""
    pictures = [picture(*size) for size in sizes]
    pil = [Pil.fromarray(one.load()) for one in pictures]
    shown = question.replace("<image>", "<image>\n")  # as the template has it
    text = f"<|im_start|>user\n{shown}<|im_end|>\n<|im_start|>assistant\n"
    wanted = toy.processor(text=text, images=pil, return_tensors="pt")
    return wanted, ask(toy.ours, question, pictures)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return made(tmp_path_factory.mktemp("ovis2"))


def check(toy: Toy, wanted: Any, batch: dict[str, Tensor]) -> None:
    assert torch.equal(batch["pixel_values"], wanted["pixel_values"])
    note("preprocess", 0.0)
    words = toy.processor.tokenizer
    media = torch.tensor(words.convert_tokens_to_ids([ATOM, *MARKS]))
    place = toy.ours.processor.placeholder_ids[Modality.IMAGE]
    expected = wanted["input_ids"].masked_fill(torch.isin(wanted["input_ids"], media), place)
    assert torch.equal(batch["input_ids"], expected)
    with torch.no_grad():
        logits = toy.theirs(**wanted).logits
        ours = toy.ours.model(**batch).logits
    assert float(logits.abs().max()) > 0.5
    assert difference(ours, logits, "logits") <= 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_one_picture(toy: Toy, size: tuple[int, int]) -> None:
    check(toy, *both(toy, [size], QUESTION))


def test_several_pictures_and_none(toy: Toy) -> None:
    check(toy, *both(toy, [SIZES[3], SIZES[0], SIZES[4]], "<image><image><image>What?"))
    with torch.no_grad():
        batch = ask(toy.ours, "What is this?", [])
        wanted = toy.theirs(input_ids=batch["input_ids"]).logits
        assert difference(toy.ours.model(**batch).logits, wanted) <= 1e-5


def test_answers_are_the_same(toy: Toy) -> None:
    wanted, batch = both(toy, [SIZES[4]], QUESTION)
    made = toy.theirs.generate(
        **wanted,
        max_new_tokens=8,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        eos_token_id=-1,
    )
    tokens = made.sequences[0, wanted["input_ids"].shape[1] :].tolist()
    margins = [float(one.topk(2).values[0] @ torch.tensor([1.0, -1.0])) for one in made.scores]
    toy.ours.model.generation_config.eos_token_id = None
    check_greedy(toy.ours, batch, tokens, margins)


@pytest.mark.parametrize(
    ("pixels", "vision"),
    [
        (CUT | {"use_covering_area_grid": False, "min_patches": 2, "max_patches": 6}, {}),
        (CUT | {"max_patches": 4, "image_mean": [0.5] * 3, "resample": 2}, {}),
        (CUT | {"crop_to_patches": False}, {"qkv_bias": True, "mlp_bias": True}),
        (CUT, {"tokenize_function": "st_argmax", "hidden_stride": 1}),
    ],
)
def test_options_of_the_class(
    pixels: dict[str, Any], vision: dict[str, Any], tmp_path: Path
) -> None:
    toy = made(tmp_path, pixels, **vision)
    check(toy, *both(toy, [SIZES[4], SIZES[2]], "<image><image>What?"))


def test_nothing_changes_on_the_way_there_and_back(tmp_path: Path) -> None:
    write(tmp_path / "theirs")
    import_checkpoint("auto", tmp_path / "theirs", tmp_path / "ours")
    options = ExportOptions(base=tmp_path / "theirs")
    export(tmp_path / "ours", tmp_path / "back", to="original", options=options)
    old = load_file(tmp_path / "theirs" / "model.safetensors")
    new = load_file(tmp_path / "back" / "model.safetensors")
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in old)
    note("export", 0.0)


def test_what_has_no_counterpart_is_named(tmp_path: Path) -> None:
    write(tmp_path / "size", CUT | {"size": {"height": 56, "width": 56}})
    with pytest.raises(CheckpointError, match=r"size is .*56.* the vision tower takes 28 pixels"):
        import_checkpoint("auto", tmp_path / "size", tmp_path / "out")
    write(tmp_path / "marks")
    vision = json.loads((tmp_path / "marks" / "config.json").read_text("utf-8"))["vision_config"]
    change_config(tmp_path / "marks", vision_config=vision | {"num_visual_indicator_tokens": 4})
    with pytest.raises(CheckpointError, match=r"num_visual_indicator_tokens is 4, expected 5"):
        import_checkpoint("auto", tmp_path / "marks", tmp_path / "out")
