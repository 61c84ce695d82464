"""Exports to InternVL, to LLaVA's own flat layout, and of the trained parts alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.checkpoint.export.toys import clip, internvl, layout, save, siglip
from transformers import CLIPVisionModel

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.checkpoint.export import ExportOptions, export, exporters, verify_export
from hocket.checkpoint.manifest import write_directory
from hocket.checkpoint.tools.delta import apply_delta
from hocket.checkpoint.tools.diff import compare
from hocket.model.spec import PartSpec, TowerSpec

CLOSE = 1e-5


def test_every_target_is_documented() -> None:
    known = {"internvl", "llava", "llava_legacy", "llava_next", "llava_onevision", "slim"}
    assert known <= set(exporters.names())
    for name in exporters.names():
        assert (exporters.get(name).__doc__ or "").strip()


@pytest.mark.parametrize("fold", [2, 4])
def test_internvl_gives_the_same_logits(tmp_path: Path, fold: int) -> None:
    connector = PartSpec(kind="pixel_shuffle", options={"fold": fold})
    saved = save(tmp_path / "model", vision=internvl(connector=connector), text="qwen2")
    (note,) = export(saved, tmp_path / "out", to="internvl")
    assert f"put {16 // fold**2} <image> tokens" in note
    found = verify_export(saved, tmp_path / "out", to="internvl")
    assert found.opened_in == "InternVLForConditionalGeneration"
    assert found.same_inputs <= CLOSE * found.largest
    assert found.own_inputs is None
    assert "other text around pictures" in found.remark
    names = set(load_file(tmp_path / "out" / "model.safetensors"))
    assert "model.multi_modal_projector.layer_norm.weight" in names
    assert "model.vision_tower.encoder.layer.0.lambda_1" in names


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        (clip(), "model.vision.model_type: found clip_vision_model, expected internvl_vision"),
        (
            internvl(connector=PartSpec(kind="pixel_shuffle", options={"norm": False})),
            "model.vision.connector.norm: found False, expected True",
        ),
        (
            internvl(connector=PartSpec(kind="pixel_shuffle", options={"order": "column_major"})),
            "model.vision.connector.order: found column_major",
        ),
        (internvl(layout=layout(fit="crop")), "model.vision.layout.fit: found crop"),
    ],
)
def test_what_internvl_cannot_express(tmp_path: Path, vision: TowerSpec, message: str) -> None:
    saved = save(tmp_path / "model", vision=vision)
    with pytest.raises(CheckpointError, match=message):
        export(saved, tmp_path / "out", to="internvl")


@pytest.mark.parametrize(
    ("connector", "kind", "first"),
    [
        (PartSpec(kind="mlp"), "mlp2x_gelu", "model.mm_projector.0.weight"),
        (PartSpec(kind="linear"), "linear", "model.mm_projector.weight"),
    ],
)
def test_llava_legacy(tmp_path: Path, connector: PartSpec, kind: str, first: str) -> None:
    vision = clip(connector=connector, layout=layout(fit="pad", mean=[0.48, 0.46, 0.41]))
    saved = save(tmp_path / "model", vision=vision)
    notes = export(saved, tmp_path / "out", to="llava_legacy")
    assert "mm_vision_tower" in notes[0]
    made = load_file(tmp_path / "out" / "model.safetensors")
    ours = load_file(saved / "model.safetensors")
    table = {
        "lm_head.weight": "lm_head.weight",
        "model.embed_tokens.weight": "model.language_model.embed_tokens.weight",
        "model.layers.1.mlp.up_proj.weight": "model.language_model.layers.1.mlp.up_proj.weight",
        "model.vision_tower.vision_tower.vision_model.pre_layrnorm.bias": (
            "model.vision_tower.pre_layrnorm.bias"
        ),
        first: "model.multi_modal_projector."
        + ("linear.weight" if kind == "linear" else "linear_1.weight"),
    }
    if kind != "linear":
        table["model.mm_projector.2.bias"] = "model.multi_modal_projector.linear_2.bias"
    assert len(made) == len(ours)
    for theirs, name in table.items():
        assert torch.equal(made[theirs], ours[name])
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["architectures"] == ["LlavaLlamaForCausalLM"]
    assert config["mm_projector_type"] == kind
    assert config["image_aspect_ratio"] == "pad"
    assert (config["mm_vision_select_layer"], config["mm_hidden_size"]) == (-2, 32)
    tower, report = CLIPVisionModel.from_pretrained(
        tmp_path / "out" / "vision_tower", output_loading_info=True
    )
    assert not (report["missing_keys"] or report["unexpected_keys"])
    mine = load_checkpoint(saved).model.model.vision_tower
    assert mine is not None
    pixels = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(
            tower(pixel_values=pixels).last_hidden_state,
            mine(pixel_values=pixels).last_hidden_state,
        )
    with pytest.raises(CheckpointError, match="original LLaVA code only"):
        verify_export(saved, tmp_path / "out", to="llava_legacy")


@pytest.mark.parametrize(
    ("vision", "text", "message"),
    [
        (siglip(), "llama", "model.vision.model_type: found siglip_vision_model"),
        (clip(), "qwen3", "model.language.model_type: found qwen3, expected llama or mistral"),
        (
            clip(connector=PartSpec(kind="mlp", options={"bias": False})),
            "llama",
            "connector.bias: found False",
        ),
    ],
)
def test_what_llava_legacy_cannot_express(
    tmp_path: Path, vision: TowerSpec, text: str, message: str
) -> None:
    saved = save(tmp_path / "model", vision=vision, text=text)
    with pytest.raises(CheckpointError, match=message):
        export(saved, tmp_path / "out", to="llava_legacy")


def test_slim_holds_the_trained_parts_and_opens_again(tmp_path: Path) -> None:
    base = save(tmp_path / "base", vision=clip())
    model, processor = load_checkpoint(base)
    assert model.model.multi_modal_projector is not None
    with torch.no_grad():
        for value in model.model.multi_modal_projector.parameters():
            value.mul_(1.25)
    tuned = tmp_path / "tuned"
    write_directory(tuned, lambda folder: write_checkpoint(folder, model, processor))
    options = ExportOptions(base=base)
    (note,) = export(tuned, tmp_path / "slim", to="slim", options=options)
    assert note.startswith("4 tensors written;")
    stored = load_file(tmp_path / "slim" / "model.safetensors")
    assert {name.rpartition(".linear")[0] for name in stored} == {"model.multi_modal_projector"}
    assert torch.equal(
        stored["model.multi_modal_projector.linear_1.weight"],
        model.model.multi_modal_projector.get_submodule("linear_1").weight,
    )
    found = verify_export(tuned, tmp_path / "slim", to="slim", options=options)
    assert found.same_inputs == 0
    apply_delta(base, tmp_path / "slim", tmp_path / "again")
    assert compare(tuned, tmp_path / "again").same
    with pytest.raises(ConfigError, match="Name it with --base"):
        export(tuned, tmp_path / "slim", to="slim")
