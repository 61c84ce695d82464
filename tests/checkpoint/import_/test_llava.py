from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import (
    GOLDEN,
    as_recorded,
    ask,
    check_greedy,
    difference,
    expand,
    logits_of,
    recorded,
    reopen,
)
from torch.nn.functional import gelu, linear
from transformers import CLIPVisionModel

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.report import NAME, ImportReport
from hocket.media.image import Image
from hocket.parts.vision import vision_encoders
from hocket.tokens.span import Modality

HOME = GOLDEN / "llava15"
CASES, OUT = recorded("llava15")
QUESTION = "<image>\nWhat is in the picture?"
ROWS = 16


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded folders; the whole checkpoint is put together of the others."""
    home = tmp_path_factory.mktemp("llava15")
    shutil.copytree(HOME, home, dirs_exist_ok=True)
    whole = home / "llava-v1.5-tiny"
    for file in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(home / "base-llm" / file, whole / file)
    tower = load_file(home / "openai/clip-tiny/model.safetensors")
    tensors = _all_of(home / "base-llm") | _bin(home / "llava-tiny-pretrain/mm_projector.bin")
    # As in the original, which holds the tower too and does not use it.
    tensors |= {f"model.vision_tower.vision_tower.{name}": 2 * one for name, one in tower.items()}
    save_file(tensors, whole / "model.safetensors", metadata={"format": "pt"})
    steps = home / "steps"
    (steps / "mm_projector").mkdir(parents=True)
    shutil.copytree(home / "llava-tiny-pretrain", steps / "checkpoint-7")
    (steps / "checkpoint-7/mm_projector.bin").rename(steps / "mm_projector/checkpoint-7.bin")
    return home


@pytest.fixture(scope="module")
def whole(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded, ImportReport]:
    return _import(sources / "llava-v1.5-tiny", tmp_path_factory.mktemp("whole") / "out")


def test_whole_checkpoint_gives_the_recorded_numbers(whole: tuple[Loaded, ImportReport]) -> None:
    loaded, _ = whole
    pixels = OUT["infer.pixel_values"]
    options = loaded.model.config.vision_encoder
    kind = vision_encoders.get(options["kind"])
    with torch.no_grad():
        tower = kind.encode(loaded.model.model.vision_tower, pixels, options, None)
        rows = loaded.model.model.image_rows(pixels)
    assert difference(tower, OUT["infer.tower_features"], "features") <= 1e-5
    assert difference(rows[None], OUT["infer.projector_out"], "features") <= 1e-5
    batch = {"input_ids": expand(loaded, OUT["infer.input_ids"], ROWS), "pixel_values": pixels}
    ours = logits_of(loaded, batch)
    assert difference(ours[:, -24:], OUT["infer.logits_tail"], "logits") <= 1e-4
    margins = [step[0] for step in CASES["infer"]["greedy_margin_per_step"]]
    # The original's first id is its start token, which was never generated.
    check_greedy(loaded, batch, OUT["infer.generated_ids"][0, 1:].tolist(), margins)


def test_own_processor_gives_the_recorded_ids_and_pixels(
    whole: tuple[Loaded, ImportReport],
) -> None:
    loaded, _ = whole
    batch = ask(loaded, QUESTION, [Image.from_path(str(HOME / "images/0.png"))])
    assert as_recorded(loaded, batch["input_ids"], ROWS) == OUT["infer.input_ids"][0].tolist()
    assert difference(batch["pixel_values"], OUT["infer.pixel_values"], "preprocess") == 0


def test_report_accounts_for_every_tensor(
    whole: tuple[Loaded, ImportReport], sources: Path
) -> None:
    _, report = whole
    assert report.kind == "llava"
    used = {origin for origins in report.mapped.values() for origin in origins}
    names = load_file(sources / "llava-v1.5-tiny/model.safetensors").keys()
    tower = load_file(sources / "openai/clip-tiny/model.safetensors").keys()
    assert len(used) + len(report.ignored) == len(names) + len(tower)
    assert all("unfreeze_mm_vision_tower" in reason for reason in report.ignored.values())


@pytest.mark.parametrize(
    ("folder", "item"),
    [
        ("llava-tiny-pretrain", "projector_only"),
        ("steps/checkpoint-7", "projector_only"),
        ("llava-tiny-lora", "lora"),
    ],
)
def test_partial_checkpoints_take_their_base(
    folder: str, item: str, sources: Path, tmp_path: Path
) -> None:
    loaded, report = _import(sources / folder, tmp_path / "out")
    ids = expand(loaded, OUT[f"{item}.infer.input_ids"], ROWS)
    ours = logits_of(loaded, {"input_ids": ids, "pixel_values": OUT["infer.pixel_values"]})
    assert difference(ours[:, -24:], OUT[f"{item}.infer.logits_tail"], "logits") <= 1e-4
    assert any("base model" in note for note in report.notes)
    assert json.loads((tmp_path / "out" / NAME).read_text("utf-8"))["kind"] == "llava"


def test_tower_inside_counts_where_it_was_trained(sources: Path, tmp_path: Path) -> None:
    folder = _copy(sources / "llava-v1.5-tiny", tmp_path, unfreeze_mm_vision_tower=True)
    _, report = _import(folder, tmp_path / "out", search=sources)
    assert not report.ignored
    made = load_file(tmp_path / "out/model.safetensors")
    own = load_file(sources / "openai/clip-tiny/model.safetensors")
    name = "embeddings.patch_embedding.weight"
    assert torch.equal(made[f"model.vision_tower.{name}"], 2 * own[f"vision_model.{name}"])


def test_pickled_shards_are_the_same_model(sources: Path, tmp_path: Path) -> None:
    folder = _copy(sources / "llava-v1.5-tiny", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    homes = {name: f"pytorch_model-{number % 2}.bin" for number, name in enumerate(names)}
    for home in set(homes.values()):
        torch.save({name: tensors[name] for name in names if homes[name] == home}, folder / home)
    index = {"weight_map": homes}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    _import(folder, tmp_path / "out", search=sources)
    made = load_file(tmp_path / "out/model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(made[f"model.language_model.{name[6:]}"], tensors[name])


def test_new_tokens_come_from_the_adapter(sources: Path, tmp_path: Path) -> None:
    folder = _copy(sources / "llava-tiny-pretrain", tmp_path, mm_use_im_start_end=True)
    file = folder / "mm_projector.bin"
    base = _all_of(sources / "base-llm")["model.embed_tokens.weight"]
    learned = torch.randn(2, base.shape[1])
    torch.save(_bin(file) | {"model.embed_tokens.weight": torch.cat([base, learned])}, file)
    loaded, _ = _import(folder, tmp_path / "out", search=sources)
    start, end = loaded.processor.tokenizer.convert_tokens_to_ids(["<im_start>", "<im_end>"])
    assert (start, end) == (len(base), len(base) + 1)
    table = loaded.model.get_input_embeddings().weight
    assert torch.equal(table[start : end + 1], learned)
    ids = ask(loaded, QUESTION, [Image.from_path(str(HOME / "images/0.png"))])["input_ids"]
    assert (ids == start).sum() == 1 and (ids == end).sum() == 1


def test_missing_tower_is_named(sources: Path, tmp_path: Path) -> None:
    folder = _copy(sources / "llava-v1.5-tiny", tmp_path / "far/away")
    with pytest.raises(CheckpointError, match=r"vision tower 'openai/clip-tiny'.*--search"):
        import_checkpoint("auto", folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mm_projector_type": "mlp3x_gelu"}, "holds nothing for .*linear_3"),
        ({"mm_projector_type": "linear"}, "nothing is known about model.mm_projector.0"),
        (
            {"mm_vision_select_feature": "cls_patch", "s2": True, "s2_scales": "56,112"},
            "no grid of patches",
        ),
        ({"image_aspect_ratio": "highres"}, "image_aspect_ratio is 'highres'"),
        ({"intermediate_size": 48}, "does not fit"),
        ({"torch_dtype": "__import__('os')"}, "number format"),
    ],
)
def test_impossible_configurations_are_refused(
    change: dict[str, Any], match: str, sources: Path, tmp_path: Path
) -> None:
    folder = _copy(sources / "llava-v1.5-tiny", tmp_path, **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("auto", folder, tmp_path / "out", search=[sources])
    assert not (tmp_path / "out").exists()


@torch.no_grad()
def test_class_token_may_stay(sources: Path, tmp_path: Path) -> None:
    folder = _copy(sources / "llava-v1.5-tiny", tmp_path, mm_vision_select_feature="cls_patch")
    loaded, _ = _import(folder, tmp_path / "out", search=sources)
    batch = ask(loaded, QUESTION, [Image.from_path(str(HOME / "images/0.png"))])
    tower = CLIPVisionModel.from_pretrained(HOME / "openai/clip-tiny").eval()
    seen = tower(batch["pixel_values"], output_hidden_states=True).hidden_states[-2]
    rows = loaded.model.model.image_rows(batch["pixel_values"])
    theirs = _project(seen[0], _bin(HOME / "llava-tiny-pretrain/mm_projector.bin"))
    assert rows.shape == (ROWS + 1, 48)
    assert difference(rows, theirs) <= 1e-5
    image = loaded.processor.placeholder_ids[Modality.IMAGE]
    assert (batch["input_ids"] == image).sum() == ROWS + 1
    assert torch.isfinite(logits_of(loaded, batch)).all()


def _project(seen: torch.Tensor, layers: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what LLaVA's mlp2x_gelu makes of features."""
    first, last = (
        (layers[f"model.mm_projector.{one}.weight"], layers[f"model.mm_projector.{one}.bias"])
        for one in (0, 2)
    )
    return linear(gelu(linear(seen, *first)), *last)


def test_anyres_takes_grids_and_newline(sources: Path, tmp_path: Path) -> None:
    folder = _copy(
        sources / "llava-v1.5-tiny",
        tmp_path,
        image_aspect_ratio="anyres",
        mm_patch_merge_type="spatial_unpad",
        image_grid_pinpoints=[[56, 112], [112, 56]],
    )
    file = folder / "model.safetensors"
    newline = torch.randn(48)
    save_file(load_file(file) | {"model.image_newline": newline}, file)
    loaded, _ = _import(folder, tmp_path / "out", search=sources)
    assert loaded.processor.images is not None
    assert loaded.processor.images.plan(100, 40).tiles == (2, 1)
    assert loaded.model.model.image_arrange is not None
    state = loaded.model.model.image_arrange.state_dict()
    assert torch.equal(state["image_newline"], newline)


def _import(folder: Path, out: Path, *, search: Path | None = None) -> tuple[Loaded, ImportReport]:
    places = [search or folder.parent, (search or folder.parent).parent]
    return_report = import_checkpoint("auto", folder, out, search=places)
    return reopen(out), return_report


def _copy(folder: Path, target: Path, **change: Any) -> Path:
    copy = target / folder.name
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text("utf-8")) | change
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return copy


def _all_of(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def _bin(file: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(file, weights_only=True))  # weights_only runs no code
