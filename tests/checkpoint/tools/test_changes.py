"""Compare, average, subtract and inspect folders of weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.toy import toy
from torch import Tensor

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.checkpoint.manifest import verify_directory, write_directory
from hocket.checkpoint.tools.average import average
from hocket.checkpoint.tools.delta import apply_delta, make_delta
from hocket.checkpoint.tools.diff import compare
from hocket.checkpoint.tools.inspection import find_risks, inspect_folder

BASE = {
    "table": torch.tensor([[1.0, 2.0], [3.0, float("nan")]]),
    "norm": torch.tensor([1.0, 1.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
}


def folder(path: Path, **changes: Tensor) -> Path:
    path.mkdir()
    save_file(BASE | changes, path / "model.safetensors")
    (path / "config.json").write_text('{"model_type": "toy"}', encoding="utf-8")
    return path


def test_compare(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", gone=torch.ones(1), wide=torch.ones(2, 3))
    b = folder(
        tmp_path / "b",
        new=torch.ones(1),
        wide=torch.ones(3, 2),
        table=torch.tensor([[1.0, 2.5], [1.0, float("nan")]]),
        norm=torch.tensor([1.0, 1.0]),
    )
    found = compare(a, b)
    assert (found.missing, found.extra) == (("gone",), ("new",))
    assert found.reshaped == {"wide": ((2, 3), (3, 2))}
    table, norm = found.changed
    assert (table.name, table.most, table.mean, table.changed) == ("table", 2.0, 2.5 / 4, 2)
    assert (norm.name, norm.most, norm.dtypes) == ("norm", 0.0, ("bfloat16", "float32"))
    assert not found.same
    assert compare(a, a).same
    c = folder(tmp_path / "c", table=torch.zeros(2, 2))
    assert compare(folder(tmp_path / "d"), c).changed[0].most == float("inf")


def test_average_is_the_weighted_mean_rounded_once(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(64, generator=generator).bfloat16() for _ in range(3)]
    folders = [
        folder(tmp_path / name, norm=value) for name, value in zip("abc", values, strict=True)
    ]
    average(folders, tmp_path / "mean", weights=[1, 1, 2])
    read = load_file(tmp_path / "mean" / "model.safetensors")
    exact = sum(value.double() * share for value, share in zip(values, (1, 1, 2), strict=True)) / 4
    assert torch.equal(read["norm"], exact.bfloat16())
    assert not torch.equal(read["norm"], ((values[0] + values[1]) / 2 + values[2]) / 2)
    assert read["count"] == 7
    verify_directory(tmp_path / "mean")
    note = json.loads((tmp_path / "mean" / "provenance.json").read_text(encoding="utf-8"))
    assert [one["share"] for one in note["of"]] == [0.25, 0.25, 0.5]
    assert (tmp_path / "mean" / "config.json").is_file()


def test_what_has_no_average(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", extra=torch.ones(1))
    c, d = folder(tmp_path / "c", norm=torch.ones(3)), folder(tmp_path / "d", count=torch.tensor(8))
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="two checkpoints or more, found 1"):
        average([a], out)
    with pytest.raises(ConfigError, match="1 weights were given for 2"):
        average([a, a], out, weights=[1])
    with pytest.raises(ConfigError, match="expected numbers of 0 or more"):
        average([a, a], out, weights=[0, 0])
    with pytest.raises(CheckpointError, match=r"extra is in one only"):
        average([a, b], out)
    with pytest.raises(CheckpointError, match=r"norm is \(2,\) in .* and \(3,\) in"):
        average([a, c], out)
    with pytest.raises(CheckpointError, match="count holds whole numbers that differ"):
        average([a, d], out)
    for path, words in ((a, {"x": 0}), (d, {"y": 0})):
        document = json.dumps({"model": {"vocab": words}})
        (path / "tokenizer.json").write_text(document, encoding="utf-8")
    with pytest.raises(CheckpointError, match="different tokenizers"):
        average([a, d], out)
    assert not out.exists()


@pytest.mark.parametrize("whole", [False, True])
def test_a_delta_gives_back_every_bit(tmp_path: Path, whole: bool) -> None:
    base = folder(tmp_path / "base", kept=torch.ones(100))
    tuned = folder(
        tmp_path / "tuned",
        kept=torch.ones(100),
        table=torch.tensor([[1.0000001, -0.0], [float("inf"), 1e-40]]),
        norm=torch.tensor([1.0, -3.5], dtype=torch.bfloat16),
        head=torch.randn(3, 3),
    )
    (tuned / "config.json").write_text('{"tuned": true}', encoding="utf-8")
    report = make_delta(base, tuned, tmp_path / "delta", whole=whole)
    assert (report.same, report.stored) == (2, 3)
    stored = load_file(tmp_path / "delta" / "model.safetensors")
    assert "kept" not in stored
    assert stored["norm"].dtype == (torch.bfloat16 if whole else torch.int16)
    made = apply_delta(base, tmp_path / "delta", tmp_path / "again")
    assert made == report
    assert compare(tuned, tmp_path / "again").same
    # -0.0 equals 0.0 for a comparison of numbers, but not for the hash.
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert torch.signbit(again["table"][0, 1])
    assert not (tmp_path / "again" / "delta.json").exists()
    assert json.loads((tmp_path / "again" / "config.json").read_text("utf-8")) == {"tuned": True}


def test_a_delta_refuses_another_base(tmp_path: Path) -> None:
    base, tuned = folder(tmp_path / "base"), folder(tmp_path / "tuned", norm=torch.ones(2))
    other = folder(tmp_path / "other", norm=torch.zeros(2))
    make_delta(base, tuned, tmp_path / "delta")
    with pytest.raises(CheckpointError, match="is not the base of"):
        apply_delta(other, tmp_path / "delta", tmp_path / "again")
    with pytest.raises(CheckpointError, match="there is no delta to write"):
        make_delta(base, base, tmp_path / "none")
    save_file({"norm": torch.ones(2) * 2}, tmp_path / "delta" / "model.safetensors")
    with pytest.raises(CheckpointError, match="The delta is damaged"):
        apply_delta(base, tmp_path / "delta", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / "none").exists()


def test_inspect_a_checkpoint(tmp_path: Path) -> None:
    saved = tmp_path / "model"
    write_directory(saved, lambda into: write_checkpoint(into, *toy()))
    found = inspect_folder(saved)
    assert found.model_type == "hocket"
    names = [part.name for part in found.parts]
    assert names == [
        "lm_head",
        "model.audio_projector",
        "model.audio_tower",
        "model.language_model",
        "model.multi_modal_projector",
        "model.vision_tower",
    ]
    model = toy().model
    tower = next(part for part in found.parts if part.name == "model.vision_tower")
    assert tower.parameters == sum(one.numel() for one in model.model.vision_tower.parameters())
    assert tower.dtypes == {"float32": tower.parameters}
    assert found.bytes == 4 * found.parameters == sum(found.files.values())
    # Two layers, one shared head of width 16, keys and values, two bytes each.
    assert found.cache_bytes_per_token == 2 * 1 * 16 * 2 * 2
    assert found.manifest == "good"
    assert [(risk.file, risk.known) for risk in found.risks] == [("hub_hocket.py", True)]
    (saved / "hub_hocket.py").write_text("import os\n", encoding="utf-8")
    assert not inspect_folder(saved).risks[0].known
    assert "hub_hocket.py" in inspect_folder(saved).manifest


def test_inspect_any_folder(tmp_path: Path) -> None:
    found = inspect_folder(folder(tmp_path / "a"), hashes=False)
    assert [part.name for part in found.parts] == ["count", "norm", "table"]
    assert (found.manifest, found.weights_sha256) == ("absent", "")
    assert found.cache_bytes_per_token is None


def test_pickles_are_found_by_content(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "innocent.txt")
    (tmp_path / "old.dat").write_bytes(b"\x80\x04K\x01.")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "code.py").touch()
    (tmp_path / "note.md").write_text("PK is a town", encoding="utf-8")
    (tmp_path / "empty").touch()
    found = {risk.file: risk.reason for risk in find_risks(tmp_path)}
    assert set(found) == {"innocent.txt", "old.dat", "inner/code.py"}
    assert "torch.save" in found["innocent.txt"]
    assert "pickle" in found["old.dat"]


def test_tools_work_on_transformers_own_folders(tmp_path: Path) -> None:
    text = toy().model.model.language_model
    text.save_pretrained(tmp_path / "llama")
    found = inspect_folder(tmp_path / "llama")
    assert found.model_type == "llama"
    assert found.parameters == sum(one.numel() for one in text.parameters())
    average([tmp_path / "llama", tmp_path / "llama"], tmp_path / "mean")
    assert compare(tmp_path / "llama", tmp_path / "mean").same


def test_a_restored_delta_opens(tmp_path: Path) -> None:
    write_directory(tmp_path / "base", lambda into: write_checkpoint(into, *toy()))
    model, processor = load_checkpoint(tmp_path / "base")
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.bias.add_(0.25)
    write_directory(tmp_path / "tuned", lambda into: write_checkpoint(into, model, processor))
    report = make_delta(tmp_path / "base", tmp_path / "tuned", tmp_path / "delta", whole=True)
    assert report.stored == 1
    apply_delta(tmp_path / "base", tmp_path / "delta", tmp_path / "again")
    again = load_checkpoint(tmp_path / "again").model
    assert torch.equal(
        again.model.multi_modal_projector.linear_2.bias,
        model.model.multi_modal_projector.linear_2.bias,
    )
