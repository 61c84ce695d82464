"""The Hydra fork, put together of LLaVA's recording: pictures answer as recorded there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import (
    GOLDEN,
    difference,
    expand,
    logits_of,
    recorded,
    reopen,
)
from torch import Tensor
from torch.nn import functional

from hocket._errors import CheckpointError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.origin import Origin
from hocket.media.frames import Segments
from hocket.media.video import Video
from hocket.parts.vision import vision_encoders
from hocket.tokens.batch import pad_batch

HOME = GOLDEN / "llava15"
_, OUT = recorded("llava15")
ROWS, FRAMES, POOL = 16, 16, 4
ENCODER = {
    "mm_vision_tower": "openai/clip-tiny",
    "use_mm_proj": True,
    "mm_projector_type": "mlp2x_gelu",
    "mm_hidden_size": 32,
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
    "mm_patch_merge_type": "flat",
    "hidden_size": 48,
}


def _config(**more: Any) -> dict[str, Any]:
    found = json.loads((HOME / "llava-v1.5-tiny/config.json").read_text("utf-8"))
    plain = {key: value for key, value in found.items() if not key.startswith("mm_")}
    return plain | {"image_encoder": ENCODER, "video_encoder": ENCODER} | more


def _projectors() -> dict[str, Tensor]:
    """Return both projectors: LLaVA's for pictures, one with other numbers for videos."""
    made = torch.load(HOME / "llava-tiny-pretrain/mm_projector.bin", weights_only=True)
    both = {}
    for name, tensor in made.items():
        both[name.replace("mm_projector", "image_mm_projector")] = tensor
        both[name.replace("mm_projector", "video_mm_projector")] = 0.5 * tensor + 0.1
    return both


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each layout, beside the base model and the tower."""
    home = tmp_path_factory.mktemp("hydra")
    for name in ("base-llm", "openai"):
        shutil.copytree(HOME / name, home / name)
    both = _projectors()
    for name in ("whole", "end", "way", "aside"):
        (home / name).mkdir()
        (home / name / "config.json").write_text(json.dumps(_config()), encoding="utf-8")
    for file in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(home / "base-llm" / file, home / "whole" / file)
    tensors = dict(both)
    for file in (home / "base-llm").glob("*.safetensors"):
        tensors |= load_file(file)
    # The tower with patches of sixteen frames, which the original never reads again.
    patches = "model.video_tower.vision_tower.vision_model.embeddings.patch_embedding.weight"
    tensors[patches] = torch.zeros(32, 16, 14, 14)
    save_file(tensors, home / "whole/model.safetensors", metadata={"format": "pt"})
    torch.save(both, home / "end/mm_projector.bin")
    for kind in ("image", "video"):
        own = {name: one for name, one in both.items() if f".{kind}_" in name}
        torch.save(own, home / f"way/{kind}_mm_projector.bin")
    (home / "mm_projector").mkdir()
    torch.save(both, home / "mm_projector/aside.bin")
    return home


@pytest.fixture(scope="module")
def loaded(sources: Path) -> Loaded:
    report = import_checkpoint("hydra", sources / "whole", sources / "whole-out")
    assert set(report.ignored.values()) == {"the original takes the tower's folder"}
    assert any(note.startswith("videos:") for note in report.notes)
    return reopen(sources / "whole-out")


def test_content_decides_the_kind(sources: Path) -> None:
    origin = Origin.open(sources / "whole")
    kinds = ("hydra", "llava", "vila", "vila2", "native_llava")
    assert [kind for kind in kinds if importers.get(kind).detect(origin)] == ["hydra"]


def test_pictures_answer_as_in_llava(loaded: Loaded) -> None:
    pixels = OUT["infer.pixel_values"]
    with torch.no_grad():
        rows = loaded.model.model.image_rows(pixels)
    assert difference(rows[None], OUT["infer.projector_out"], "features") <= 1e-5
    batch = {"input_ids": expand(loaded, OUT["infer.input_ids"], ROWS), "pixel_values": pixels}
    ours = logits_of(loaded, batch)[:, -24:]
    assert difference(ours, OUT["infer.logits_tail"], "logits") <= 1e-4


def test_frames_are_averaged_before_their_own_projector(loaded: Loaded) -> None:
    assert loaded.processor.sampler == Segments(frames=FRAMES)
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (40, 30, 50, 3), dtype=np.uint8)
    film = Video.from_array(frames, np.arange(40.0))
    talk = Message(Role.USER, (film, Text("\nWhat happens?")))
    example = loaded.processor.encode(
        Conversation(id="0", messages=(talk,), source=""), for_answer=True
    )
    batch = dict(pad_batch([example], pad_id=0, side="left"))
    pixels = batch["pixel_values_videos"]
    assert isinstance(pixels, Tensor)
    assert len(pixels) == FRAMES
    model, options = loaded.model.model, loaded.model.config.video_encoder
    assert model.video_tower is not None
    with torch.no_grad():
        kind = vision_encoders.get(options["kind"])
        features = kind.encode(model.video_tower, pixels, options, None)
        spans, times = batch["video_spans"], batch["frame_times"]
        rows = model.video_rows(pixels, spans, times)  # type: ignore[arg-type] # tensors, as above
    both = _projectors()
    x = rearrange(features, "(t p) k c -> t p k c", p=POOL).mean(dim=1)
    first, second = (f"model.video_mm_projector.{number}" for number in (0, 2))
    x = functional.gelu(x @ both[f"{first}.weight"].T + both[f"{first}.bias"])
    x = x @ both[f"{second}.weight"].T + both[f"{second}.bias"]
    assert difference(rows, x.flatten(0, 1), "features") <= 1e-5
    placeholder = loaded.processor.tokenizer.convert_tokens_to_ids("<video>")
    assert example.outline.input_ids.count(placeholder) == len(rows) == ROWS * FRAMES // POOL


@pytest.mark.parametrize("name", ["end", "way", "aside"])
def test_projectors_of_any_layout_are_the_same(name: str, sources: Path, loaded: Loaded) -> None:
    import_checkpoint("hydra", sources / name, sources / f"{name}-out")
    made = reopen(sources / f"{name}-out").model.state_dict()
    for tensor_name, tensor in loaded.model.state_dict().items():
        assert torch.equal(made[tensor_name], tensor), tensor_name


def test_one_encoder_alone_and_tokens_around_pictures(sources: Path, tmp_path: Path) -> None:
    source = _changed(sources / "way", tmp_path, mm_use_start_end=True)
    config = json.loads((source / "config.json").read_text("utf-8"))
    del config["video_encoder"]
    (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (source / "video_mm_projector.bin").unlink()
    import_checkpoint("hydra", source, tmp_path / "out", search=[sources])
    made = reopen(tmp_path / "out")
    assert made.model.model.video_tower is None and made.processor.sampler is None
    assert made.processor.text_rules["image_start"] == "<im_start>"
    vocabulary = made.processor.tokenizer.get_vocab()
    added = ["<im_start>", "<im_end>", "<vi_start>", "<vi_end>"]
    assert [vocabulary[one] for one in added] == list(range(700, 704))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"image_encoder": ENCODER | {"mm_patch_merge_type": "spatial_unpad"}}, "expected 'flat'"),
        ({"image_encoder": ENCODER | {"mm_vision_tower": "none"}}, "the image_encoder 'none' is"),
        ({"image_aspect_ratio": "anyres"}, "image_aspect_ratio is 'anyres'"),
        ({"image_encoder": {}, "video_encoder": {}}, "neither image_encoder nor video_encoder"),
    ],
)
def test_what_cannot_be_expressed_is_refused(
    change: dict[str, Any], match: str, sources: Path, tmp_path: Path
) -> None:
    source = _changed(sources / "end", tmp_path, **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("hydra", source, tmp_path / "out", search=[sources])
    assert not (tmp_path / "out").exists()


def test_a_folder_without_weights_is_refused(sources: Path, tmp_path: Path) -> None:
    source = _changed(sources / "end", tmp_path)
    (source / "mm_projector.bin").unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        import_checkpoint("hydra", source, tmp_path / "out", search=[sources])


def _changed(source: Path, target: Path, **change: Any) -> Path:
    shutil.copytree(source, target / "source")
    file = target / "source" / "config.json"
    config = json.loads(file.read_text("utf-8")) | change
    file.write_text(json.dumps(config), encoding="utf-8")
    return target / "source"
