"""An imported checkpoint goes back to its system with the same files, names and shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.export.toys import clip, save
from tests.checkpoint.import_.parity import GOLDEN

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.export import ExportOptions, export
from hocket.checkpoint.import_.engine import import_checkpoint

NAVILA = GOLDEN / "navila" / "navila-tiny"


def files_of(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


def tensors_of(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {str(one.relative_to(folder)): load_file(one) for one in folder.rglob("*.safetensors")}


def test_nothing_changes_on_the_way_there_and_back(tmp_path: Path) -> None:
    import_checkpoint("auto", NAVILA, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "back", to="original", options=ExportOptions(base=NAVILA))
    assert files_of(tmp_path / "back") - {"manifest.json"} == files_of(NAVILA)
    theirs, ours = tensors_of(NAVILA), tensors_of(tmp_path / "back")
    assert ours.keys() == theirs.keys()
    for name, tensors in theirs.items():
        assert ours[name].keys() == tensors.keys()
        for key, tensor in tensors.items():
            assert ours[name][key].dtype == tensor.dtype
            assert torch.equal(ours[name][key], tensor), (name, key)


def test_what_training_changed_is_written_back(tmp_path: Path) -> None:
    import_checkpoint("auto", NAVILA, tmp_path / "ours")
    (tmp_path / "ours" / "manifest.json").unlink()
    file = tmp_path / "ours" / "model.safetensors"
    tensors = load_file(file)
    key = "model.multi_modal_projector.linear_1.weight"
    tensors[key] = tensors[key] + 1
    save_file(tensors, file, metadata={"format": "pt"})
    export(tmp_path / "ours", tmp_path / "back", to="original", options=ExportOptions(base=NAVILA))
    old = load_file(NAVILA / "mm_projector" / "model.safetensors")
    new = load_file(tmp_path / "back" / "mm_projector" / "model.safetensors")
    changed = [name for name in old if not torch.equal(old[name], new[name])]
    assert len(changed) == 1
    torch.testing.assert_close(new[changed[0]], old[changed[0]] + 1)


def test_what_has_no_way_back_is_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "toy", vision=clip())
    with pytest.raises(ConfigError, match=r"Name it with --base FOLDER"):
        export(saved, tmp_path / "out", to="original")
    options = ExportOptions(base=NAVILA)
    with pytest.raises(CheckpointError, match=r"was not imported from another system"):
        export(saved, tmp_path / "out", to="original", options=options)


def test_merged_adapters_have_no_way_back(tmp_path: Path) -> None:
    home = GOLDEN / "llava15"
    base = home / "llava-tiny-lora"
    import_checkpoint("auto", base, tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "import_report.json").read_text("utf-8"))["kind"]
    with pytest.raises(CheckpointError, match=r"was made of several tensors"):
        export(tmp_path / "ours", tmp_path / "out", to="original", options=ExportOptions(base=base))
