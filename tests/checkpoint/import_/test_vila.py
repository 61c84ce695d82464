from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
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
from transformers import AutoModel, SiglipVisionModel

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.media.frames import History, Uniform
from hocket.media.frames.at_fps import AtFps
from hocket.media.image import Image
from hocket.parts.vision import vision_encoders

HOME = GOLDEN / "navila"
CASES, OUT = recorded("navila")
ROWS = 9
HEAD, TAIL = "user<|end_header_id|>\n\n", "<|eot_id|><|start_header_id|>assistant"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    out = tmp_path_factory.mktemp("navila") / "out"
    report = import_checkpoint("auto", HOME / "navila-tiny", out)
    assert report.kind == "vila" and not report.ignored
    return reopen(out)


@pytest.mark.parametrize("number", [0, 1])
def test_walks_give_the_recorded_numbers(number: int, loaded: Loaded) -> None:
    case, name = CASES["cases"][number], f"nav{number}"
    question = case["prompt"].split(HEAD)[1].split(TAIL)[0]
    batch = ask(loaded, question, [_frame(index) for index in case["frame_index"]])
    recorded_ids = OUT[f"{name}.input_ids"]
    assert as_recorded(loaded, batch["input_ids"], ROWS) == recorded_ids[0].tolist()
    assert torch.equal(batch["input_ids"], expand(loaded, recorded_ids, ROWS))
    pixels, model = batch["pixel_values"], loaded.model.model
    if number == 0:
        options = loaded.model.config.vision_encoder
        with torch.no_grad():
            kind = vision_encoders.get(options["kind"])
            tower = kind.encode(model.vision_tower, pixels, options, None)
        assert difference(tower, OUT["nav0.tower_features"], "features") <= 1e-5
    with torch.no_grad():
        rows = model.image_rows(pixels).reshape(8, ROWS, -1)
    assert difference(rows, OUT[f"{name}.projector_out"], "features") <= 1e-5
    ours = logits_of(loaded, batch)
    assert difference(ours[:, -24:], OUT[f"{name}.logits_tail"], "logits") <= 1e-4
    margins = [step[0] for step in case["margins"]]
    check_greedy(loaded, batch, OUT[f"{name}.generated_ids"][0, 1:].tolist(), margins)


def test_answers_end_with_both_tokens(loaded: Loaded) -> None:
    tokens = loaded.processor.tokenizer.convert_ids_to_tokens(
        loaded.model.generation_config.eos_token_id
    )
    assert sorted(tokens) == sorted(CASES["stop_tokens"])


def test_kind_decides_how_videos_are_sampled(loaded: Loaded, tmp_path: Path) -> None:
    assert loaded.processor.sampler == Uniform(frames=8)
    import_checkpoint("navila", HOME / "navila-tiny", tmp_path / "out")
    assert reopen(tmp_path / "out").processor.sampler == History(frames=8)


def test_frames_a_second_decide_where_the_configuration_says_so(tmp_path: Path) -> None:
    import_checkpoint("auto", _changed(tmp_path, fps=2.0, num_video_frames=16), tmp_path / "out")
    found = reopen(tmp_path / "out").processor.sampler
    assert found == AtFps(2.0, 16, rule="ceiling")


def test_dump_of_the_whole_model_is_the_same(loaded: Loaded, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(HOME / "navila-tiny", source)
    whole: dict[str, torch.Tensor] = {}
    names = {
        "llm": "llm.",
        "vision_tower": "vision_tower.vision_tower.",
        "mm_projector": "mm_projector.",
    }
    for folder, prefix in names.items():
        for file in (source / folder).glob("*.safetensors"):
            whole |= {prefix + name: tensor for name, tensor in load_file(file).items()}
            file.unlink()
    (source / "llm/model.safetensors.index.json").unlink()
    save_file(whole, source / "model.safetensors")
    import_checkpoint("auto", source, tmp_path / "out")
    made = reopen(tmp_path / "out").model.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(made[name], tensor), name


def test_the_last_layer_is_read_before_the_norm_behind_it(tmp_path: Path) -> None:
    source = _changed(tmp_path, mm_vision_select_layer=-1)
    import_checkpoint("auto", source, tmp_path / "out")
    model = reopen(tmp_path / "out").model
    original = AutoModel.from_pretrained(source / "vision_tower", local_files_only=True).eval()
    pixels = torch.randn(2, 3, original.config.image_size, original.config.image_size)
    options = model.config.vision_encoder
    with torch.no_grad():
        ours = vision_encoders.get(options["kind"]).encode(
            model.model.vision_tower, pixels, options, None
        )
        normed = original(pixel_values=pixels).last_hidden_state
        original.post_layernorm = torch.nn.Identity()
        wanted = original(pixel_values=pixels).last_hidden_state
    assert difference(ours, wanted, "features") <= 1e-5
    assert difference(ours, normed) > 1e-2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mm_vision_select_feature": "patch"}, "no grid of patches"),
        ({"model_dtype": "print('hello')"}, "number format"),
        ({"image_aspect_ratio": "dynamic"}, "image_aspect_ratio is 'dynamic'"),
        ({"vision_resolution": 98}, "never enlarged"),
    ],
)
def test_what_cannot_be_expressed_is_refused(
    change: dict[str, Any], match: str, tmp_path: Path
) -> None:
    source = _changed(tmp_path, **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("auto", source, tmp_path / "out")


def test_missing_part_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(HOME / "navila-tiny", source)
    shutil.rmtree(source / "vision_tower")
    with pytest.raises(CheckpointError, match="the vision_tower 'vision_tower' is needed"):
        import_checkpoint("auto", source, tmp_path / "out")


@torch.no_grad()
def test_patch_drops_the_first_patch_of_a_tower_without_class_token(tmp_path: Path) -> None:
    source = _changed(tmp_path, mm_vision_select_feature="patch", mm_projector_type="linear")
    part = source / "mm_projector"
    config = json.loads((part / "config.json").read_text("utf-8"))
    (part / "config.json").write_text(json.dumps(config | {"mm_projector_type": "linear"}))
    wide = json.loads((source / "llm" / "config.json").read_text("utf-8"))["hidden_size"]
    seen = json.loads((source / "vision_tower" / "config.json").read_text("utf-8"))["hidden_size"]
    layer = {"layers.weight": torch.randn(wide, seen), "layers.bias": torch.randn(wide)}
    save_file(layer, part / "model.safetensors")
    report = import_checkpoint("auto", source, tmp_path / "out")
    assert any("import it as navila" in note for note in report.notes)
    loaded = reopen(tmp_path / "out")
    batch = ask(loaded, "<image>\nWhat?", [_frame(0)])
    tower = SiglipVisionModel.from_pretrained(source / "vision_tower").eval()
    states = tower(batch["pixel_values"], output_hidden_states=True).hidden_states[-2]
    theirs = torch.nn.functional.linear(states[0, 1:], *layer.values())
    rows = loaded.model.model.image_rows(batch["pixel_values"])
    assert difference(rows, theirs) <= 1e-5
    assert torch.isfinite(logits_of(loaded, batch)).all()


def _changed(room: Path, **change: Any) -> Path:
    """Return a copy of the recorded folder with other options."""
    source = Path(shutil.copytree(HOME / "navila-tiny", room / "source"))
    config = json.loads((source / "config.json").read_text("utf-8")) | change
    (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return source


def _frame(index: int) -> Image:
    """Return a recorded frame; the original fills short histories with black ones."""
    if index < 0:
        return Image.from_array(np.zeros((512, 512, 3), np.uint8))
    return Image.from_path(str(HOME / f"frames/{index:02}.png"))
