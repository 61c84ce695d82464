"""VILA 2 against its recording: ids, pixels, rows, logits, greedy answers, labels and loss."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange, repeat
from PIL import Image as Pil
from safetensors.torch import save_file
from tests.checkpoint.import_.parity import (
    GOLDEN,
    check_greedy,
    difference,
    logits_of,
    recorded,
    reopen,
)
from torch import Tensor
from torch.nn import functional

from hocket._errors import CheckpointError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.kinds.vila2 import read_endings
from hocket.checkpoint.import_.origin import Origin
from hocket.media.frames import AtFps, Uniform
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.parts.vision import vision_encoders
from hocket.tokens.batch import pad_batch
from hocket.tokens.layout.image_tiles import ImageTiles

HOME = GOLDEN / "vila2"
CASES, OUT = recorded("vila2")
MARGINS = {case["name"]: [step[0] for step in case["margins"]] for case in CASES["cases"]}
WIDE, TALL = (Image.from_path(HOME / f"images/{number}.png") for number in (0, 1))
FILM = Video.from_folder(HOME / "images/clip")
QUESTIONS: dict[str, tuple[Part, ...]] = {
    "one_image": (WIDE, Text("What is in the picture?")),
    "two_images": (Text("First "), WIDE, Text(" then "), TALL, Text(" compare.")),
    "video": (FILM, Text("What happens?")),
    "text": (Text("Hello, how are you?"),),
}
ROWS = 4
SCALES = {"image_aspect_ratio": "dynamic_s2", "dynamic_s2": True, "s2_scales": "56,112,168"}
TSP = "llava.model.encoders.TSPVideoEncoder"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    out = tmp_path_factory.mktemp("vila2") / "out"
    report = import_checkpoint("vila2", HOME / "vila-tiny", out)
    assert not report.ignored
    assert any("5 of 631 rows" in note for note in report.notes)
    return reopen(out)


def _batch(loaded: Loaded, talks: list[tuple[Message, ...]]) -> dict[str, Tensor]:
    examples = [
        loaded.processor.encode(
            Conversation(id="0", messages=messages, source=""),
            for_answer=messages[-1].role is Role.USER,
        )
        for messages in talks
    ]
    pad = loaded.processor.tokenizer.pad_token_id
    batch = dict(pad_batch(examples, pad_id=pad, side="right"))
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}


def _ask(loaded: Loaded, *parts: Part) -> dict[str, Tensor]:
    batch = _batch(loaded, [(Message(Role.USER, parts),)])
    batch.pop("labels")
    return batch


@torch.no_grad()
def _rows(loaded: Loaded, batch: dict[str, Tensor]) -> Tensor:
    if "pixel_values" in batch:
        return loaded.model.model.image_rows(batch["pixel_values"], batch.get("image_spans"))
    return loaded.model.model.video_rows(batch["pixel_values_videos"], batch.get("video_spans"))


def _expanded(loaded: Loaded, recorded_ids: Tensor, *, film: bool) -> list[int]:
    """Return recorded ids with a medium's rows and its line end in the place of its token."""
    tokenizer = loaded.processor.tokenizer
    image, line = CASES["media_token_ids"]["image"], tokenizer("\n")["input_ids"]
    shown = tokenizer.convert_tokens_to_ids("<video>") if film else image
    return [
        one
        for token in recorded_ids.tolist()
        for one in ([shown] * ROWS + line if token == image else [token])
    ]


def test_content_decides_the_kind() -> None:
    origin = Origin.open(HOME / "vila-tiny")
    kinds = ("llava", "navila", "ovis", "vila", "vila2")
    assert [kind for kind in kinds if importers.get(kind).detect(origin)] == ["vila2"]


@pytest.mark.parametrize("name", QUESTIONS)
def test_answers_are_the_recorded_ones(name: str, loaded: Loaded) -> None:
    batch = _ask(loaded, *QUESTIONS[name])
    wanted = _expanded(loaded, OUT[f"{name}.input_ids"][0], film=name == "video")
    assert batch["input_ids"][0].tolist() == wanted
    if name != "text":
        rows = _rows(loaded, batch).unflatten(0, (-1, ROWS))
        assert difference(rows, OUT[f"{name}.projector_out"], "features") <= 1e-5
    if name in ("one_image", "two_images"):
        with np.load(HOME / "pixels.npz") as stored:
            units = stored["units" if name == "one_image" else "several"]
        assert difference(batch["pixel_values"], torch.from_numpy(units), "preprocess") == 0
    ours = logits_of(loaded, batch)[:, -12:]
    assert difference(ours, OUT[f"{name}.logits_tail"], "logits") <= 1e-4
    check_greedy(loaded, batch, OUT[f"{name}.generated_ids"][0].tolist(), MARGINS[name])


def test_training_sees_the_recorded_labels_and_loss(loaded: Loaded) -> None:
    def turns(*texts: tuple[Part, ...]) -> tuple[Message, ...]:
        roles = (Role.USER, Role.ASSISTANT)
        return tuple(Message(roles[at % 2], parts) for at, parts in enumerate(texts))

    batch = _batch(
        loaded,
        [
            turns((TALL, Text("What?")), (Text("a red chair"),)),
            turns(
                (Text("Hello"),),
                (Text("Hi there."),),
                (WIDE, Text(" and "), TALL, Text("?")),
                (Text("75 cm"),),
            ),
        ],
    )
    labels = batch.pop("labels")
    assert torch.equal(labels, OUT["train.merged.labels"])
    wanted = OUT["train.input_ids"][0][OUT["train.attention_mask"][0]]
    ids = batch["input_ids"][0][batch["attention_mask"][0].bool()]
    assert ids.tolist() == _expanded(loaded, wanted, film=False)
    batch["pixel_values"] = OUT["train.pixel_values"]
    # Over the recorded vocabulary: the rows added for placeholders take part in a loss too.
    known = logits_of(loaded, batch)[:, :-1, : CASES["media_token_ids"]["video"] + 1]
    loss = functional.cross_entropy(known.flatten(0, 1), labels[:, 1:].flatten())
    assert float(loss) == pytest.approx(float(OUT["train.loss"]), rel=1e-5)


def test_answers_end_as_recorded(loaded: Loaded) -> None:
    ends = loaded.model.generation_config.eos_token_id
    assert loaded.processor.tokenizer.convert_ids_to_tokens(ends) == CASES["stop_tokens"]


def test_rows_in_reserve_are_no_tokens(loaded: Loaded) -> None:
    table = loaded.model.get_input_embeddings().weight
    assert len(table) == len(loaded.processor.tokenizer) == CASES["media_token_ids"]["video"] + 3
    assert torch.allclose(table[-1], table[:-2].mean(dim=0), atol=1e-6)


def test_frames_are_averaged_behind_the_projector(tmp_path: Path) -> None:
    encoder = {"_target_": TSP, "pool_sizes": [[2, 1, 1]]}
    source = _changed(tmp_path, video_encoder=json.dumps(encoder))
    import_checkpoint("vila2", source, tmp_path / "out")
    model = reopen(tmp_path / "out")
    batch = _ask(model, *QUESTIONS["video"])
    wanted = rearrange(OUT["video.projector_out"], "(t p) k d -> t p k d", p=2).mean(dim=1)
    assert difference(_rows(model, batch), wanted.flatten(0, 1), "features") <= 1e-5
    text = model.processor.tokenizer.decode(batch["input_ids"][0])
    assert ("<video>" * ROWS + "\n") * 2 + "What happens?" in text
    batch = _ask(model, *QUESTIONS["one_image"])
    assert (
        difference(logits_of(model, batch)[:, -12:], OUT["one_image.logits_tail"], "logits") <= 1e-4
    )


def test_frames_are_averaged_in_several_ways(tmp_path: Path) -> None:
    encoder = {"_target_": TSP, "pool_sizes": [[2, 1, 1], [4, 2, 2]]}
    source = _changed(tmp_path, video_encoder=json.dumps(encoder))
    import_checkpoint("vila2", source, tmp_path / "out")
    model = reopen(tmp_path / "out")
    batch = _ask(model, *QUESTIONS["video"])
    rows = OUT["video.projector_out"]
    pairs = rearrange(rows, "(t p) k d -> t p k d", p=2).mean(dim=1).flatten(0, 1)
    whole = rows.mean(dim=(0, 1))[None]
    assert difference(_rows(model, batch), torch.cat([pairs, whole]), "features") <= 1e-5
    text = model.processor.tokenizer.decode(batch["input_ids"][0])
    assert ("<video>" * ROWS + "\n") * 2 + "<video>\nWhat happens?" in text


def test_texts_stand_around_rows_as_the_encoders_say(tmp_path: Path) -> None:
    texts = {"start_tokens": "ab", "end_tokens": "c"}
    film = texts | {"_target_": TSP, "pool_sizes": [[2, 1, 1], [4, 2, 2]], "sep_tokens": "d"}
    picture = texts | {"_target_": "llava.model.encoders.BasicImageEncoder"}
    source = _changed(
        tmp_path, image_encoder=json.dumps(picture), video_encoder=json.dumps(film), max_tiles=2
    )
    import_checkpoint("vila2", source, tmp_path / "out")
    model = reopen(tmp_path / "out")
    batch = _ask(model, *QUESTIONS["video"])
    text = model.processor.tokenizer.decode(batch["input_ids"][0])
    assert ("ab" + "<video>" * ROWS + "c") * 2 + "dab<video>cdWhat happens?" in text
    assert len(_rows(model, batch)) == 2 * ROWS + 1
    logits_of(model, batch)
    text = model.processor.tokenizer.decode(_ask(model, WIDE, Text("What?"))["input_ids"][0])
    assert ("ab" + "<image>" * ROWS + "c\n") * 3 + "What?" in text


def test_a_tokenizer_with_a_start_token_writes_it_into_every_text() -> None:
    encoder = {"_target_": "BasicImageEncoder", "start_tokens": "a"}
    film = {"_target_": TSP, "start_tokens": "a", "sep_tokens": "s", "pool_sizes": [[2, 1, 1]]}
    found = read_endings({"image_encoder": encoder, "video_encoder": film}, ("<s>",))
    assert (found.before, found.after) == (("<s>", "a"), ("<s>", "\n"))
    assert (found.pool, found.pools, found.pool_after) == (1, ("2x1x1",), ("<s>", "s"))


def test_frames_are_tiled_where_a_video_may_have_several_tiles(tmp_path: Path) -> None:
    source = _changed(tmp_path, video_max_tiles=4)
    import_checkpoint("vila2", source, tmp_path / "out")
    model = reopen(tmp_path / "out")
    folder = tmp_path / "film"
    folder.mkdir()
    for number in range(4):
        Pil.fromarray(WIDE.load()).rotate(180 * number).save(folder / f"{number}.png")
    film = Video.from_folder(folder)
    batch = _ask(model, film, Text("What happens?"))
    frames, _ = film.load(model.processor.sampler)
    layout = model.processor.images
    assert isinstance(layout, ImageTiles)
    alone = replace(layout, max_tiles=4)
    tiles = []
    for pixels in frames:
        plan = alone.plan(*pixels.shape[:2])
        assert plan.units > 1
        tiles.append(torch.from_numpy(alone.units(pixels[None], plan)))
    assert torch.equal(batch["pixel_values_videos"], torch.cat(tiles))
    text = model.processor.tokenizer.decode(batch["input_ids"][0])
    assert ("<video>" * ROWS + "\n") * len(torch.cat(tiles)) + "What happens?" in text
    with torch.no_grad():
        wanted = model.model.model.image_rows(torch.cat(tiles), None)
    assert difference(_rows(model, batch), wanted, "features") <= 1e-5


def test_frames_have_scales_where_a_video_may_have_several_tiles(tmp_path: Path) -> None:
    source = _changed(tmp_path, _small_projector, **SCALES, max_tiles=10, video_max_tiles=2)
    import_checkpoint("vila2", source, tmp_path / "out")
    model = reopen(tmp_path / "out")
    batch = _ask(model, *QUESTIONS["video"])
    frames, _ = FILM.load(model.processor.sampler)
    layout = model.processor.images
    assert layout is not None
    plans = [layout.plan(*pixels.shape[:2]) for pixels in frames]
    tiles = [layout.units(one[None], plan) for one, plan in zip(frames, plans, strict=True)]
    units = torch.from_numpy(np.concatenate(tiles))
    assert torch.equal(batch["pixel_values_videos"], units)
    # Every tile is a frame of its own, whose channels stand for all scales.
    alike = repeat(_features(model, units), "u p c -> u p (n c)", n=3)
    assert (
        difference(_rows(model, batch), _projected(model, alike).flatten(0, 1), "features") <= 1e-5
    )


@pytest.mark.parametrize("output", [-1, 0, 1])
def test_scales_join_before_the_projector(output: int, tmp_path: Path) -> None:
    chosen = SCALES | {"s2_resize_output_to_scale_idx": output, "max_tiles": 12}
    source = _changed(tmp_path, _small_projector, **chosen)
    import_checkpoint("vila2", source, tmp_path / "out")
    model = reopen(tmp_path / "out")
    batch = _ask(model, WIDE, Text("What?"))
    # 130 x 60 pixels: 5 columns and 2 rows are the nearest of 9 to 12 tiles.
    grids = [(1, 1), (2, 2), (2, 5)]
    assert len(batch["pixel_values"]) == sum(down * across for down, across in grids)
    wanted = _joined(model, batch["pixel_values"], grids, output)
    assert difference(_rows(model, batch), wanted, "features") <= 1e-5
    text = model.processor.tokenizer.decode(batch["input_ids"][0])
    assert "user\n" + "<image>" * len(wanted) + "\nWhat?" in text
    batch = _ask(model, WIDE, Text(" and "), TALL)
    features = _features(model, batch["pixel_values"])
    alike = repeat(features, "u p c -> u p (n c)", n=3)
    assert (
        difference(_rows(model, batch), _projected(model, alike).flatten(0, 1), "features") <= 1e-5
    )


@torch.no_grad()
def _features(model: Loaded, pixels: Tensor) -> Tensor:
    tower, options = model.model.model.vision_tower, model.model.config.vision_encoder
    assert tower is not None
    return vision_encoders.get(options["kind"]).encode(tower, pixels, options, None)


@torch.no_grad()
def _projected(model: Loaded, x: Tensor) -> Tensor:
    """Project maps of 4 x 4 positions, (U, 16, C), to (U, 4, D)."""
    x = rearrange(x, "u (h a w b) c -> u (h w) (a b c)", h=2, a=2, w=2, b=2)
    part = model.model.model.multi_modal_projector
    assert part is not None
    for name in ("norm_1", "linear_1", "act", "linear_2"):
        x = part.get_submodule(name)(x)
    return x


def _joined(model: Loaded, pixels: Tensor, grids: list[tuple[int, int]], output: int) -> Tensor:
    """Return the rows of a tiled picture, by the rule of VILA 2 written out."""
    features = _features(model, pixels)
    maps, start = [], 0
    for down, across in grids:
        one = features[start : start + down * across]
        start += down * across
        maps.append(rearrange(one, "(r c) (h w) d -> 1 d (r h) (c w)", r=down, h=4, w=4))
    size = maps[output].shape[-2:]
    whole = torch.cat([functional.interpolate(one, size=size, mode="area") for one in maps], dim=1)
    blocks = rearrange(whole, "1 d (r h) (c w) -> (r c) (h w) d", h=4, w=4)
    rows = _projected(model, blocks)
    return rearrange(rows, "(r c) (h w) d -> (r h c w) d", r=grids[output][0], h=2, w=2)


def test_a_rate_and_other_endings(tmp_path: Path, loaded: Loaded) -> None:
    assert loaded.processor.sampler == Uniform(frames=4, short="repeat")
    plain = {"_target_": "llava.BasicImageEncoder", "end_tokens": None}
    film = plain | {"_target_": "llava.BasicVideoEncoder"}
    source = _changed(
        tmp_path, fps=2.0, image_encoder=plain, video_encoder=film, image_aspect_ratio="resize"
    )
    import_checkpoint("vila2", source, tmp_path / "out")
    model = reopen(tmp_path / "out")
    assert model.processor.sampler == AtFps(rate=2.0, max_frames=4, rule="first")
    text = model.processor.tokenizer.decode(_ask(model, WIDE, Text("What?"))["input_ids"][0])
    assert "<image>" * ROWS + "What?" in text


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ps3": True}, "sets ps3 True"),
        ({"dynamic_s2": True}, "image_aspect_ratio 'dynamic'"),
        ({"image_encoder": "{"}, "expected an object with _target_"),
        ({"image_encoder": {"_target_": "a.Other"}}, "image_encoder is a 'Other'"),
        ({"image_encoder": {"_target_": "BasicImageEncoder", "end_tokens": "x"}}, "otherwise"),
        ({"video_encoder": {"_target_": TSP, "pool_sizes": [[2, 2]]}}, "pool_sizes"),
        ({"video_encoder": {"_target_": TSP, "start_tokens": "a"}}, "otherwise"),
        (
            {"image_aspect_ratio": "dynamic_s2", "dynamic_s2": True, "s2_scales": "28,56"},
            "s2_scales is '28,56'",
        ),
    ],
)
def test_what_cannot_be_expressed_is_refused(
    change: dict[str, Any], match: str, tmp_path: Path
) -> None:
    source = _changed(tmp_path, **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("vila2", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _changed(target: Path, change: Callable[[Path], None] | None = None, /, **options: Any) -> Path:
    """Return a copy of the recorded folder with other options in its config.json."""
    folder = target / "source"
    shutil.copytree(HOME / "vila-tiny", folder)
    config = json.loads((folder / "config.json").read_text("utf-8")) | options
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if change:
        change(folder)
    return folder


def _small_projector(folder: Path) -> None:
    """Put a random ``mlp_downsample`` for three scales in the place of the projector."""
    random = torch.Generator().manual_seed(0)
    wide, width = 3 * 4 * 32, 48
    tensors = {
        f"layers.{layer}.{name}": torch.randn(shape, generator=random) / shape[-1] ** 0.5
        for layer, rows, columns in ((1, wide, 0), (2, width, wide), (4, width, width))
        for name, shape in (
            ("weight", (rows, columns) if columns else (rows,)),
            ("bias", (rows,)),
        )
    }
    save_file(tensors, folder / "mm_projector/model.safetensors")
    file = folder / "mm_projector/config.json"
    config = json.loads(file.read_text("utf-8")) | {"mm_projector_type": "mlp_downsample"}
    file.write_text(json.dumps(config), encoding="utf-8")
