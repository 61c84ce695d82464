"""What transformers' LLaVA, LLaVA-1.6, OneVision and InternVL save gives the same logits here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.checkpoint.export.toys import clip, internvl, layout, save, siglip
from tests.checkpoint.import_.kinds.natives import (
    CLIP,
    CROP,
    QWEN2,
    SIDE,
    SIGLIP,
    SQUARE,
    TOWER,
    change_config,
    gap,
    picture,
    rename_newer,
    tokenizer,
    write_native,
)
from tests.checkpoint.import_.parity import ask, note, reopen
from torch import Tensor
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
)

from hocket._errors import CheckpointError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.export import export
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.origin import Origin
from hocket.media.video import Video
from hocket.model.spec import PartSpec, TowerSpec
from hocket.tokens.batch import pad_batch

CLOSE = 1e-5
GRIDS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [SIDE, 6 * SIDE]]
SQUASH = {"image_processor_type": "SiglipImageProcessor", "size": SQUARE}
Adapt = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclasses.dataclass(frozen=True)
class Toy:
    """A class, its configuration and how it takes a picture of 40 x 84 pixels."""

    cls: Any
    config: Callable[[int, int], Any]
    pixels: dict[str, Any]
    adapt: Adapt
    place: str = "<image>"
    more: tuple[str, ...] = ()
    parts: int = 1


def _plain(media: dict[str, Tensor]) -> dict[str, Tensor]:
    media.pop("image_spans", None)
    return media


def _sized(media: dict[str, Tensor]) -> dict[str, Tensor]:
    sizes = {"image_sizes": torch.tensor([[40, 84]])}
    return _plain(media) | sizes | {"pixel_values": media["pixel_values"][None]}


def _llava(vision: dict[str, Any], **more: Any) -> Callable[[int, int], Any]:
    strategy = "default" if vision is CLIP else "full"
    return lambda image, rows: LlavaConfig(
        vision_config=vision,
        text_config=QWEN2 | {"vocab_size": rows},
        image_token_index=image,
        vision_feature_select_strategy=strategy,
        **more,
    )


def _next(image: int, rows: int) -> Any:
    return LlavaNextConfig(
        vision_config=CLIP,
        text_config=QWEN2 | {"vocab_size": rows},
        image_token_index=image,
        image_grid_pinpoints=GRIDS,
    )


def _onevision(most: int) -> Callable[[int, int], Any]:
    return lambda image, rows: LlavaOnevisionConfig(
        vision_config=SIGLIP,
        text_config=QWEN2 | {"vocab_size": rows},
        image_token_index=image,
        video_token_index=image + 1,
        image_grid_pinpoints=GRIDS,
        vision_aspect_ratio=f"anyres_max_{most}",
    )


def _internvl(image: int, rows: int) -> Any:
    vision = TOWER | {"model_type": "internvl_vision"}
    vision |= {"image_size": [SIDE, SIDE], "patch_size": [7, 7]}
    return InternVLConfig(
        vision_config=vision, text_config=QWEN2 | {"vocab_size": rows}, image_token_id=image
    )


TOYS = {
    "native_llava": Toy(LlavaForConditionalGeneration, _llava(CLIP), CROP, _plain),
    "native_llava-siglip": Toy(
        LlavaForConditionalGeneration,
        _llava(SIGLIP, vision_feature_layer=-1, multimodal_projector_bias=False),
        SQUASH,
        _plain,
    ),
    "native_llava_next": Toy(LlavaNextForConditionalGeneration, _next, CROP, _sized),
    "native_llava_onevision": Toy(
        LlavaOnevisionForConditionalGeneration, _onevision(9), SQUASH, _sized
    ),
    # One map at most: the picture's tiles are made smaller.
    "native_llava_onevision-small": Toy(
        LlavaOnevisionForConditionalGeneration, _onevision(1), SQUASH, _sized
    ),
    "native_internvl": Toy(
        InternVLForConditionalGeneration,
        _internvl,
        {"image_processor_type": "GotOcr2ImageProcessor", "size": SQUARE, "max_patches": 3},
        _plain,
        place="<IMG_CONTEXT>",
        more=("<IMG_CONTEXT>", "<img>", "</img>"),
    ),
}


def _write(name: str, folder: Path) -> tuple[Any, int]:
    """Write a toy and return it with the id of its placeholder."""
    toy = TOYS[name]
    words = tokenizer(*toy.more)
    image = words.convert_tokens_to_ids(toy.place)
    config = toy.config(image, len(words) + 3)
    model = write_native(folder, toy.cls, config, words, place=toy.place, pixels=toy.pixels)
    return model, image


def _kind(name: str) -> str:
    return name.partition("-")[0]


@pytest.mark.parametrize("newer", [False, True], ids=["before-4.52", "since-4.52"])
@pytest.mark.parametrize("name", TOYS)
def test_the_class_gives_the_same_logits(name: str, newer: bool, tmp_path: Path) -> None:
    model, image = _write(name, tmp_path / "in")
    if newer:
        rename_newer(tmp_path / "in")
    report = import_checkpoint(_kind(name), tmp_path / "in", tmp_path / "out")
    assert not report.ignored or set(report.ignored.values()) == {
        "lm_head.weight is tied to the token table"
    }
    loaded = reopen(tmp_path / "out")
    batch = ask(loaded, "Look: <image>What is this?", [picture(40, 84)])
    assert gap(loaded, model, batch, {"image": image}, TOYS[name].adapt) <= CLOSE


@pytest.mark.parametrize("name", TOYS)
def test_content_decides_the_kind(name: str, tmp_path: Path) -> None:
    _write(name, tmp_path / "in")
    origin = Origin.open(tmp_path / "in")
    kinds = [kind for kind in importers.names() if kind.startswith("native_")]
    kinds += ["llava", "vila", "vila2", "ovis"]
    assert [kind for kind in kinds if importers.get(kind).detect(origin)] == [_kind(name)]


def test_rows_of_onevision_are_limited(tmp_path: Path) -> None:
    rows = {}
    for name in ("native_llava_onevision", "native_llava_onevision-small"):
        _write(name, tmp_path / name)
        import_checkpoint(_kind(name), tmp_path / name, tmp_path / f"{name}-out")
        layout = reopen(tmp_path / f"{name}-out").processor.images
        assert layout is not None
        rows[name] = layout.plan(40, 84).rows
    # Six tiles side by side show the picture on 4 lines of 8; one map at most makes it 2 of 5.
    assert rows == {
        "native_llava_onevision": 16 + 4 * (8 + 1),
        "native_llava_onevision-small": 16 + 2 * (5 + 1),
    }


def test_videos_and_several_pictures_of_onevision(tmp_path: Path) -> None:
    model, image = _write("native_llava_onevision", tmp_path / "in")
    import_checkpoint("native_llava_onevision", tmp_path / "in", tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    frames = np.random.default_rng(0).integers(0, 256, (3, 30, 50, 3), dtype=np.uint8)
    talk = Message(Role.USER, (Video.from_array(frames, np.arange(3.0)), Text("What is this?")))
    batch = _encoded(loaded, talk)
    wanted = {"video": image + 1}

    def film(media: dict[str, Tensor]) -> dict[str, Tensor]:
        pixels = media["pixel_values_videos"][None]
        return {"attention_mask": media["attention_mask"], "pixel_values_videos": pixels}

    assert gap(loaded, model, batch, wanted, film) <= CLOSE
    talk = Message(Role.USER, (picture(40, 84), Text(" and "), picture(60, 20)))
    batch = _encoded(loaded, talk)

    def several(media: dict[str, Tensor]) -> dict[str, Tensor]:
        return _plain(media) | {
            "image_sizes": torch.tensor([[40, 84], [60, 20]]),
            "pixel_values": media["pixel_values"][:, None],
            "batch_num_images": torch.tensor([2]),
        }

    assert gap(loaded, model, batch, {"image": image}, several) <= CLOSE


def _encoded(loaded: Loaded, message: Message) -> dict[str, Tensor]:
    example = loaded.processor.encode(
        Conversation(id="0", messages=(message,), source=""), for_answer=True
    )
    pad = loaded.processor.tokenizer.pad_token_id
    batch = dict(pad_batch([example], pad_id=pad, side="left"))
    batch.pop("labels")
    return {name: one for name, one in batch.items() if isinstance(one, Tensor)}


def test_pictures_of_internvl_are_tiled_and_marked(tmp_path: Path) -> None:
    _write("native_internvl", tmp_path / "in")
    import_checkpoint("native_internvl", tmp_path / "in", tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    batch = ask(loaded, "<image>What?", [picture(40, 84)])
    # Two tiles and the whole; a tile's 4 x 4 patches become 2 x 2 rows.
    assert len(batch["pixel_values"]) == 3
    text = loaded.processor.tokenizer.decode(batch["input_ids"][0])
    assert "user\n<img>" + "<image>" * 12 + "</img>\nWhat?" in text


@pytest.mark.parametrize(
    ("to", "vision"),
    [
        ("llava", clip()),
        ("llava", siglip(layout=layout(resample="bilinear"))),
        ("llava", clip(layout=layout(fit="pad"))),
        ("internvl", internvl(layout=layout(mean=[0.4] * 3))),
        (
            "llava_next",
            clip(
                layout=layout("image_anyres", merge="unpad", snap=True, grids=["1x2", "3x1"]),
                arrange=PartSpec(kind="spatial_unpad"),
            ),
        ),
        (
            "llava_onevision",
            siglip(
                layout=layout("image_anyres", merge="unpad", snap=True, grids=["1x2", "3x1"]),
                arrange=PartSpec(kind="spatial_unpad"),
            ),
        ),
    ],
)
def test_exports_come_back_tensor_for_tensor(to: str, vision: TowerSpec, tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=vision, text="qwen2")
    export(saved, tmp_path / "there", to=to)
    import_checkpoint(f"native_{to}", tmp_path / "there", tmp_path / "back")
    ours, again = (load_file(tmp_path / one / "model.safetensors") for one in ("model", "back"))
    assert ours.keys() == again.keys()
    for name, tensor in ours.items():
        assert torch.equal(again[name], tensor), name
    note("export", 0.0)
    first, second = reopen(saved), reopen(tmp_path / "back")
    assert first.processor.chat_template == second.processor.chat_template
    batches = [ask(one, "<image>What is this?", [picture(30, 50)]) for one in (first, second)]
    for name, tensor in batches[0].items():
        assert torch.equal(batches[1][name], tensor), name


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("native_llava", {"projector_hidden_act": "relu"}, "projector_hidden_act is 'relu'"),
        ("native_llava", {"vision_feature_layer": [-1, -2]}, "expected one number"),
        ("native_llava", {"vision_feature_select_strategy": "full"}, "no grid of patches"),
        ("native_llava", {"text_config": {"model_type": "no"}}, "config.json is no 'llava'"),
        ("native_llava_next", {"image_grid_pinpoints": [[30, 56]]}, "multiples of the tower's 28"),
        ("native_llava_onevision", {"vision_aspect_ratio": "pad"}, "expected anyres_max_N"),
        ("native_internvl", {"downsample_ratio": 0.3}, "downsample_ratio is 0.3"),
    ],
)
def test_what_cannot_be_expressed_is_refused(
    name: str, change: dict[str, Any], match: str, tmp_path: Path
) -> None:
    _write(name, tmp_path / "in")
    change_config(tmp_path / "in", **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint(name, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rescale_factor": 1 / 127.5}, "scales pixels by"),
        ({"crop_size": {"height": 14, "width": 14}}, "the image processor's crop_size"),
    ],
)
def test_other_pixels_are_refused(change: dict[str, Any], match: str, tmp_path: Path) -> None:
    _write("native_llava", tmp_path / "in")
    file = tmp_path / "in" / "preprocessor_config.json"
    file.write_text(json.dumps(CROP | change), encoding="utf-8")
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("native_llava", tmp_path / "in", tmp_path / "out")


def test_where_files_are_missing_a_note_says_what_counts(tmp_path: Path) -> None:
    _write("native_llava", tmp_path / "in")
    for name in ("preprocessor_config.json", "chat_template.jinja"):
        (tmp_path / "in" / name).unlink()
    report = import_checkpoint("native_llava", tmp_path / "in", tmp_path / "out")
    assert [note.partition(":")[0] for note in report.notes][1:] == ["pictures"]
    assert report.notes[0].startswith("chat template chatml, since the tokenizer has <|im_start|>")
    layout = reopen(tmp_path / "out").processor.image_layout
    assert layout["fit"] == "crop" and layout["mean"][0] == 0.48145466
