"""Tensors survive being read and written one by one, in any number of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.tools.consolidate import consolidate
from hocket.checkpoint.tools.tensors import INDEX, Entry, TensorFolder, write_tensors


def every_dtype() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(5, 7, generator=generator)
    return {
        "flag": torch.tensor([True, False, True]),
        "small": torch.arange(5, dtype=torch.uint8),
        "number": torch.tensor(3, dtype=torch.int64),
        "half": wide.half(),
        "brain": wide.bfloat16(),
        "eighth": wide.to(torch.float8_e4m3fn),
        "single": wide,
        "double": wide.double(),
        "empty": torch.zeros(0, 4),
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        value.dtype == other[name].dtype
        and value.shape == other[name].shape
        and bytes(value.reshape(-1).view(torch.uint8).numpy())
        == bytes(other[name].reshape(-1).view(torch.uint8).numpy())
        for name, value in one.items()
    )


def test_one_file_and_many_hold_the_same(tmp_path: Path) -> None:
    tensors = every_dtype()
    save_file(tensors, tmp_path / "model.safetensors")
    source = TensorFolder.open(tmp_path)
    (tmp_path / "many").mkdir()
    files = write_tensors(tmp_path / "many", source.entries(), shard_bytes=150)
    assert len(files) > 2
    assert files[0].name.startswith("model-00001-of-0000")
    read: dict[str, Tensor] = {}
    for file in files:
        read |= load_file(file)
    assert same(read, tensors)
    index = json.loads((tmp_path / "many" / INDEX).read_text(encoding="utf-8"))
    assert set(index["weight_map"]) == set(tensors)
    assert index["metadata"]["total_size"] == sum(one.nbytes for one in tensors.values())
    assert TensorFolder.open(tmp_path / "many").digest() == source.digest()


def test_consolidate_both_ways_with_what_lies_beside(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    save_file(every_dtype(), first / "model.safetensors")
    (first / "config.json").write_text("{}", encoding="utf-8")
    (first / "optimizer.pt").write_bytes(b"\x80\x02")
    consolidate(first, tmp_path / "many", shard_bytes=200)
    names = consolidate(tmp_path / "many", tmp_path / "one")
    assert names == ["model.safetensors"]
    found = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert found == ["config.json", "manifest.json", "model.safetensors"]
    assert same(load_file(tmp_path / "one" / "model.safetensors"), every_dtype())
    with pytest.raises(ConfigError, match="is the folder that is read"):
        consolidate(first, first)


def test_a_digest_is_of_names_types_shapes_and_bits(tmp_path: Path) -> None:
    digests = set()
    variants: list[dict[str, Tensor]] = [
        {"a": torch.zeros(4)},
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": -torch.zeros(4)},
        {"a": torch.zeros(4, dtype=torch.int32)},
    ]
    for number, tensors in enumerate(variants):
        save_file(tensors, tmp_path / f"{number}.safetensors")
        digests.add(TensorFolder.open(tmp_path / f"{number}.safetensors").digest())
    assert len(digests) == len(variants)


def test_reading_holds_one_tensor_at_a_time(tmp_path: Path) -> None:
    alive: list[int] = []

    class Watched:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    most = []

    def read() -> Tensor:
        tensor = torch.ones(1000)
        tensor.watched = Watched()  # type: ignore[attr-defined] # dies with the tensor
        most.append(len(alive))
        return tensor

    entries = [Entry(str(number), torch.float32, (1000,), read) for number in range(5)]
    write_tensors(tmp_path, entries)
    # The next is made while the last one's name is still bound, never more.
    assert max(most) <= 2


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        TensorFolder.open(tmp_path / "nowhere")
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: pickles can run code"):
        TensorFolder.open(tmp_path)
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"a": torch.ones(2)}, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"a is in one\.safetensors and in two\.safetensors"):
        TensorFolder.open(tmp_path)
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "three.safetensors"}}', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lacks three\.safetensors"):
        TensorFolder.open(tmp_path)
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "../a.safetensors"}}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="lacks"):
        TensorFolder.open(tmp_path)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "one.safetensors").read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors cannot be read"):
        TensorFolder.open(cut)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    good = Entry("a", torch.float32, (2,), lambda: torch.ones(2))
    with pytest.raises(CheckpointError, match="two tensors would be called a"):
        write_tensors(tmp_path, [good, good])
    with pytest.raises(CheckpointError, match="no tensor is left"):
        write_tensors(tmp_path, [])
    liar = Entry("a", torch.float32, (3,), lambda: torch.ones(2))
    with pytest.raises(CheckpointError, match=r"a became torch\.float32 \(2,\), expected"):
        write_tensors(tmp_path, [liar])
