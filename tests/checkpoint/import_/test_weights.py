from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.weights import join, open_file, open_weights


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("exploded"),))


def test_pickles_are_read_one_tensor_at_a_time(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    found = open_weights(tmp_path)
    assert {name: found[name].shape for name in found} == {"a": (3,), "b": (2, 2)}
    assert torch.equal(found["b"].read(), tensors["b"])


def test_pickles_of_early_torch_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3), "b": torch.ones(2, 2)}
    file = tmp_path / "pytorch_model.bin"
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    found = open_weights(tmp_path)
    assert {name: found[name].read().tolist() for name in found} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }


def test_nobody_is_advised_to_run_the_code_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"a": Bomb()}, file)
    with pytest.raises(CheckpointError, match="would run code of its own") as caught:
        open_file(file)
    assert "weights_only" not in str(caught.value)


def test_safetensors_count_before_pickles(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    torch.save({"b": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert list(open_weights(tmp_path)) == ["a"]


@pytest.mark.parametrize("content", [Bomb(), {"a": Bomb()}, {"a": 1}, [torch.zeros(1)]])
def test_pickles_of_anything_else_are_refused_and_never_run(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        open_weights(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_plain_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="no file of tensors alone"):
        open_file(tmp_path / "pytorch_model.bin")


def test_missing_shards_are_named(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no file .*pytorch_model-00001-of-00002\.bin"):
        open_weights(tmp_path)


def test_names_must_differ_between_files(tmp_path: Path) -> None:
    for number in (1, 2):
        torch.save({"a": torch.zeros(1)}, tmp_path / f"pytorch_model-{number}.bin")
    with pytest.raises(CheckpointError, match="a is in two files"):
        open_weights(tmp_path)
    one = open_file(tmp_path / "pytorch_model-1.bin")
    assert list(join({"x.": one, "y.": one})) == ["x.a", "y.a"]


def test_folders_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_weights(tmp_path)
