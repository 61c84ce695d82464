"""An imported checkpoint goes back to its system with the same files, names and shapes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.export.toys import clip, save
from tests.checkpoint.import_.parity import GOLDEN, note
from tests.checkpoint.import_.vita_folders import lay_out

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.directory import load_checkpoint
from hocket.checkpoint.export import ExportOptions, export
from hocket.checkpoint.import_.engine import import_checkpoint

NAVILA = GOLDEN / "navila" / "navila-tiny"


def files_of(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


def tensors_of(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {str(one.relative_to(folder)): load_file(one) for one in folder.rglob("*.safetensors")}


def navila(room: Path) -> Path:
    return Path(shutil.copytree(NAVILA, room / "navila"))


def ovis(room: Path) -> Path:
    home = GOLDEN / "ovis25"
    folder = Path(shutil.copytree(home / "ovis2.5-tiny", room / "ovis"))
    shutil.copytree(home / "tokenizer", folder, dirs_exist_ok=True)
    shutil.copyfile(home / "navit.safetensors", folder / "vision.safetensors")
    return folder


def vita(room: Path) -> Path:
    return lay_out(room) / "vita-1.5-tiny"


def vila2(room: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "vila2" / "vila-tiny", room / "vila2"))


def llava(room: Path) -> Path:
    home = Path(shutil.copytree(GOLDEN / "llava15", room / "llava15"))
    whole, base = home / "llava-v1.5-tiny", home / "base-llm"
    for file in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(base / file, whole / file)
    tensors = {
        name: one for file in base.glob("*.safetensors") for name, one in load_file(file).items()
    }
    bridge = torch.load(home / "llava-tiny-pretrain" / "mm_projector.bin", weights_only=True)
    save_file(tensors | bridge, whole / "model.safetensors", metadata={"format": "pt"})
    return whole


ORIGINALS = {"llava15": llava, "navila": navila, "ovis25": ovis, "vila2": vila2, "vita15": vita}


@pytest.mark.parametrize("system", ORIGINALS)
def test_nothing_changes_on_the_way_there_and_back(system: str, tmp_path: Path) -> None:
    theirs = ORIGINALS[system](tmp_path / "theirs")
    ours, back, again = (tmp_path / name for name in ("ours", "back", "again"))
    import_checkpoint("auto", theirs, ours)
    export(ours, back, to="original", options=ExportOptions(base=theirs))
    assert files_of(back) - {"manifest.json"} == files_of(theirs)
    old, new = tensors_of(theirs), tensors_of(back)
    assert new.keys() == old.keys()
    for name, tensors in old.items():
        assert new[name].keys() == tensors.keys()
        for key, tensor in tensors.items():
            assert new[name][key].dtype == tensor.dtype
            assert torch.equal(new[name][key], tensor), (name, key)
    note("export", 0.0)
    import_checkpoint("auto", back, again, search=[theirs.parent])
    ids = torch.tensor([[5, 6, 7, 8]])
    first, second = load_checkpoint(ours).model, load_checkpoint(again).model
    with torch.inference_mode():
        difference = (first(input_ids=ids).logits - second(input_ids=ids).logits).abs().max()
    note("re-import", float(difference))
    assert difference == 0


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
