"""VITA's other towers and projectors against their recordings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import difference, logits_of, reopen
from tests.checkpoint.import_.vita_folders import (
    BY_NAME,
    INSIDE,
    TOWERS,
    batch_of,
    copy_of,
    install_tower,
    lay_out,
    set_projector,
)

from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.parts.vision import vision_encoders


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("vita15"))


@pytest.mark.parametrize("tower", ["siglip", "siglip_s2", "clip", "eva"])
def test_other_towers_give_the_recorded_features(tower: str, home: Path, tmp_path: Path) -> None:
    change, width = install_tower(tower, tmp_path)
    folder = copy_of(home, tmp_path, **change)
    (folder / "eyes.safetensors").unlink()
    set_projector(folder, {"0": (48, width), "2": (48, 48)})
    import_checkpoint("auto", folder, tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    model, options = loaded.model, loaded.model.config.vision_encoder
    name = "siglip_s2" if tower == "siglip_s2" else "features"
    found = load_file(TOWERS / f"{name}.safetensors")
    pixels, wanted = found[f"{tower}.pixel_values"], found[f"{tower}.features"]
    with torch.no_grad():
        x = vision_encoders.get(options["kind"]).encode(
            model.model.vision_tower, pixels, options, None
        )
    assert difference(x, wanted[: len(x)], "features") <= 1e-5
    assert logits_of(loaded, batch_of(loaded, BY_NAME["image_text"])).isfinite().all()
    layout = loaded.processor.image_layout
    assert layout["fit"] == ("squash" if "siglip" in tower else "crop")


def test_missing_last_layer_comes_from_the_folder(home: Path, tmp_path: Path) -> None:
    """VITA drops the layers of SigLIP that it does not read, so its checkpoint lacks them."""
    change, width = install_tower("siglip", tmp_path)
    folder = copy_of(home, tmp_path, **change)
    tower = load_file(TOWERS / "siglip-tiny/model.safetensors")
    kept = {INSIDE + name: 2 * one for name, one in tower.items() if ".layers.2." not in name}
    save_file(kept, folder / "eyes.safetensors")
    set_projector(folder, {"0": (48, width), "2": (48, 48)})
    import_checkpoint("auto", folder, tmp_path / "out")
    made = load_file(tmp_path / "out/model.safetensors")
    for layer, factor in ((1, 2), (2, 1)):
        name = f"encoder.layers.{layer}.mlp.fc1.weight"
        assert torch.equal(
            made[f"model.vision_tower.{name}"], factor * tower[f"vision_model.{name}"]
        )


@pytest.mark.parametrize(
    ("kind", "shapes", "target"),
    [
        ("linear", {"": (48, 32)}, "linear"),
        ("minigpt", {"linear": (48, 128)}, "linear"),
        ("vanilla", {"linear": (48, 128)}, "linear"),
        ("spp_v1", {"linear_0": (48, 32), "linear_1": (48, 32), "linear_2": (48, 48)}, "linear_1"),
        ("spp_v3", {"linear_0": (32, 32), "linear_1": (48, 32), "linear_2": (48, 48)}, "linear_0"),
    ],
)
def test_other_projectors_have_a_place(
    kind: str, shapes: dict[str, tuple[int, int]], target: str, home: Path, tmp_path: Path
) -> None:
    change, _ = install_tower("siglip", tmp_path)
    folder = copy_of(home, tmp_path, **change, mm_projector_type=kind)
    (folder / "eyes.safetensors").unlink()
    tensors = set_projector(folder, shapes)
    import_checkpoint("auto", folder, tmp_path / "out")
    made = load_file(tmp_path / "out/model.safetensors")
    source = f"model.mm_projector.{target}.weight" if shapes.get("") is None else ""
    wanted = tensors[source or "model.mm_projector.weight"]
    assert torch.equal(made[f"model.multi_modal_projector.{target}.weight"], wanted)


def test_ldp_has_a_place(home: Path, tmp_path: Path) -> None:
    change, _ = install_tower("siglip", tmp_path)
    folder = copy_of(home, tmp_path, **change, mm_projector_type="ldp")
    (folder / "eyes.safetensors").unlink()
    shapes: dict[str, tuple[int, ...]] = {"model.mlp.1": (48, 32), "model.mlp.3": (48, 48)}
    for number in (1, 2):
        block = f"model.mb_block.{number}.block"
        shapes |= {
            f"{block}.0.0": (48, 1, 3, 3),
            f"{block}.0.1": (48,),
            f"{block}.1.fc1": (16, 48, 1, 1),
            f"{block}.1.fc2": (48, 16, 1, 1),
            f"{block}.2.0": (48, 48, 1, 1),
            f"{block}.2.1": (48,),
        }
    bare = {f"model.mb_block.{number}.block.{place}.0" for number in (1, 2) for place in (0, 2)}
    tensors = set_projector(folder, shapes, bare=bare)
    import_checkpoint("auto", folder, tmp_path / "out")
    made = load_file(tmp_path / "out/model.safetensors")
    for source, name in (("0.0", "depthwise"), ("1.fc1", "squeeze"), ("2.1", "norm_2")):
        wanted = tensors[f"model.mm_projector.model.mb_block.2.block.{source}.weight"]
        assert torch.equal(made[f"model.multi_modal_projector.block_2.{name}.weight"], wanted)
