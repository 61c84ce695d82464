"""Exports with tiles and learned line ends, in transformers' LLaVA-1.6 and OneVision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.checkpoint.export.toys import clip, layout, save, siglip

from hocket._errors import CheckpointError
from hocket.checkpoint.export import export, verify_export
from hocket.model.spec import PartSpec, TowerSpec, VideoSpec

UNPAD = PartSpec(kind="spatial_unpad")
ANYRES = layout("image_anyres", merge="unpad", snap=True, grids=["1x2", "2x2", "3x1"])
CLOSE = 1e-5


@pytest.mark.parametrize(
    ("to", "vision"),
    [
        ("llava_next", clip(layout=ANYRES, arrange=UNPAD)),
        ("llava_next", siglip(layout=ANYRES, arrange=UNPAD)),
        ("llava_onevision", siglip(layout=ANYRES, arrange=UNPAD)),
    ],
)
def test_transformers_gives_the_same_logits(tmp_path: Path, to: str, vision: TowerSpec) -> None:
    saved = save(tmp_path / "model", vision=vision, text="qwen2")
    export(saved, tmp_path / "out", to=to)
    found = verify_export(saved, tmp_path / "out", to=to)
    assert found.same_inputs <= CLOSE * found.largest
    assert found.own_inputs is not None
    assert found.own_inputs <= CLOSE * found.largest
    assert "image_newline" in load_file(tmp_path / "out" / "model.safetensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    # Ours are written columns x rows, theirs (height, width).
    assert config["image_grid_pinpoints"] == [[32, 16], [32, 32], [16, 48]]


def test_notes_say_what_differs(tmp_path: Path) -> None:
    loose = layout("image_anyres", merge="unpad", grids=["2x2"])
    vision = siglip(layout=loose, arrange=UNPAD)
    saved = save(tmp_path / "model", vision=vision, video=VideoSpec(options={"frames": 2}))
    notes = export(saved, tmp_path / "out", to="llava_next")
    assert [note.partition(":")[0] for note in notes] == ["lines", "videos"]
    saved = save(
        tmp_path / "model",
        vision=siglip(layout=ANYRES, arrange=UNPAD),
        video=VideoSpec(options={"frames": 2}),
    )
    notes = export(saved, tmp_path / "out", to="llava_onevision")
    assert [note.partition(":")[0] for note in notes] == ["pictures", "videos"]


@pytest.mark.parametrize(
    ("to", "vision", "message"),
    [
        ("llava_next", clip(), "model.vision.arrange.kind: found none, expected 'spatial_unpad'"),
        ("llava", clip(layout=ANYRES, arrange=UNPAD), "model.vision.arrange: found spatial_unpad"),
        (
            "llava_onevision",
            clip(layout=ANYRES, arrange=UNPAD),
            "model.vision.drop: found 1, expected 0",
        ),
        (
            "llava_onevision",
            siglip(
                layout=layout("image_anyres", merge="unpad", snap=True, grids=["4x3"]),
                arrange=UNPAD,
            ),
            "model.vision.layout.grids: found 12 tiles, expected 10 at most",
        ),
    ],
)
def test_what_they_cannot_express(tmp_path: Path, to: str, vision: TowerSpec, message: str) -> None:
    saved = save(tmp_path / "model", vision=vision)
    with pytest.raises(CheckpointError, match=message):
        export(saved, tmp_path / "out", to=to)
